# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: report_page
short_description: A page from the report of a run
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Makes one HTML file from the JSON document of a run, as O(_input). It has no script and loads nothing.
  - A run writes the same page by itself where the setting C(emqx_upgrade_report_html) of the role names a file.
options:
  _input:
    description: The document, with schema C(emqx.fleet/report/1).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Make a page from a report that was kept
  ansible.builtin.copy:
    content: "{{ lookup('ansible.builtin.file', 'report.json') | from_json | emqx.fleet.report_page }}"
    dest: report.html
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The text of the HTML file.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page


def report_page(document: Any) -> str:
    """The filter; bad input is an error of the template that uses it."""
    try:
        return page.of_run(document)
    except page.PageError as error:
        raise AnsibleFilterError(f"emqx.fleet.report_page: {error}") from None


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report_page": report_page}
