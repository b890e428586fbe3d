# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback_batches
short_description: The nodes that go back after a failure
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Lists the nodes that go back after a failure, in the reverse order of their waves.
positional: plan, policy, budget
options:
  _input:
    description: The outcome of every node by its host name.
    type: dict
    required: true
  plan:
    description: The plan, as M(emqx.fleet.emqx_plan) returns it.
    type: dict
    required: true
  policy:
    description: V(stop), V(rollback_node), V(rollback_wave) or V(rollback_fleet).
    type: str
    required: true
  budget:
    description: The failure budget of the run.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show who goes back
  ansible.builtin.debug:
    msg: "{{ outcomes | emqx.fleet.rollback_batches(plan, 'rollback_fleet', 0) }}"
"""

RETURN = r"""
_value:
  description: Lists of host names; the nodes of one list go back at the same time.
  type: list
  elements: list
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes


def rollback_batches(*arguments: Any) -> Any:
    """The filter; bad input is an error of the template that uses it."""
    try:
        return outcomes.rollback_batches(*arguments)
    except (outcomes.BudgetError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"emqx.fleet.rollback_batches: {error}") from error


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rollback_batches": rollback_batches}
