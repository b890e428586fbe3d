# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What of a run's output is a deprecation warning; the integration tests and the scenarios rely on it."""

import pytest
from ansible_collections.emqx.fleet.tests import deprecations

TASK = "TASK [emqx.fleet.emqx_upgrade : Read] ****\n"
OLD = """[DEPRECATION WARNING]: Use of the old way is deprecated. This feature will be
removed from emqx.fleet in version 2.0. Deprecation warnings can be disabled by
setting deprecation_warnings=False in ansible.cfg.
"""
NEW = """[DEPRECATION WARNING]: The old way. This feature will be removed from collection 'emqx.fleet' version 2.0.
Origin: /roles/emqx_upgrade/tasks/main.yml:7:9

7 - name: Read
          ^ column 9
"""


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (TASK + OLD + "ok: [h1]\n\n" + TASK, OLD),
        (TASK + NEW + "\nok: [h1]\n", NEW.partition("\n\n")[0] + "\n"),
        (TASK + NEW.partition("\n")[0] + "\n[WARNING]: another\n" + TASK, NEW.partition("\n")[0] + "\n"),
        (OLD + TASK + "ok: [h1]\n" + OLD, OLD),
    ],
    ids=["of an old release", "of a new one", "followed by another warning", "said twice"],
)
def test_warnings_are_told_as_they_came(output: str, shown: str) -> None:
    with pytest.raises(AssertionError) as raised:
        deprecations.require_none(output, "upgrade")
    assert str(raised.value).rstrip() == f"Ansible warns in upgrade of what will be gone:\n{shown}".rstrip()


@pytest.mark.parametrize("output", ["", TASK + "[WARNING]: it is late\nok: [h1]\n", '"deprecations": []\n'])
def test_other_output_is_fine(output: str) -> None:
    deprecations.require_none(output, "upgrade")


def test_one_of_a_file_of_the_tests_own() -> None:
    own = "[DEPRECATION WARNING]: File '/tmp/bytes.yml' could not be decoded.\n"
    deprecations.require_none(own, "upgrade", but="/tmp/bytes.yml")
    with pytest.raises(AssertionError, match="The old way"):
        deprecations.require_none(own + TASK + NEW, "upgrade", but="/tmp/bytes.yml")
