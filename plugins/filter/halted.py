# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: halted
short_description: Whether a run must not touch further nodes
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Tells whether more nodes of the run have failed than its failure budget allows.
  - A node that did not get as far as it should have by now counts as failed, whatever the reason.
positional: plan, budget, due, wave
options:
  _input:
    description: The outcome of every node by its host name.
    type: dict
    required: true
  plan:
    description: The plan, as M(emqx.fleet.emqx_plan) returns it.
    type: dict
    required: true
  budget:
    description: A number of nodes, or a percentage of those that the plan changes.
    type: str
    required: true
  due:
    description: What every node must have reached, one of V(staged), V(switched) and V(watched); empty for nothing.
    type: str
    default: ''
  wave:
    description: The wave that is about to begin; the nodes of the waves before it must have been switched.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Stop when more than two nodes have failed
  ansible.builtin.assert:
    that: not (outcomes | emqx.fleet.halted(plan, 2))
"""

RETURN = r"""
_value:
  description: Whether no further node may be touched.
  type: bool
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes


def halted(*arguments: Any) -> Any:
    """The filter; bad input is an error of the template that uses it."""
    try:
        return outcomes.halted(*arguments)
    except (outcomes.BudgetError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"emqx.fleet.halted: {error}") from error


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"halted": halted}
