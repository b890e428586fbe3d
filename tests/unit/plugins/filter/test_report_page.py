# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.filter.report_page import FilterModule, report_page
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils import document_maker


def test_a_page_of_a_file() -> None:
    assert FilterModule().filters() == {"report_page": report_page}
    document = document_maker.small()
    assert report_page(json.loads(json.dumps(document))) == page.of_run(document)


@pytest.mark.parametrize("document", ["{}", {}, None, {"schema": "emqx.fleet/report/1"}])
def test_anything_else_is_an_error_of_the_template(document: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"emqx\.fleet\.report_page: "):
        report_page(document)
