# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: awx_leftovers
short_description: What has to go from a workflow of AWX
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Compares the nodes of a workflow job template in AWX with those that it shall have.
  - For the playbook C(emqx.fleet.awx_setup).
options:
  _input:
    description: The nodes that are there, as the API of AWX returns them.
    type: list
    elements: dict
    required: true
  wanted:
    description: The nodes of a workflow, as M(emqx.fleet.emqx_awx_content) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what would go
  ansible.builtin.debug:
    msg: "{{ there | emqx.fleet.awx_leftovers(content.objects.workflows[0].nodes) }}"
"""

RETURN = r"""
_value:
  description: What has to go.
  type: dict
  contains:
    nodes:
      description: The C(identifier) of each node that is no more.
      type: list
      elements: dict
    edges:
      description: Of each node that has an edge too many, its C(identifier) and the edges that stay.
      type: list
      elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.show import awx_content


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"awx_leftovers": awx_content.leftovers}
