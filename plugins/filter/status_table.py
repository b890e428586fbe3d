# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: A table of the fleet for people to read
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Shows where every node of a fleet is, as lines of text.
options:
  _input:
    description: What M(emqx.fleet.emqx_release_info) returned, by host name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the fleet
  ansible.builtin.debug:
    msg: "{{ facts_by_host | emqx.fleet.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import status_table as table


def status_table(*arguments: Any) -> Any:
    """The filter; bad input is an error of the template that uses it."""
    try:
        return table.lines(*arguments)
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"emqx.fleet.status_table: {error}") from None


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"status_table": status_table}
