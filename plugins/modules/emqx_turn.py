#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_turn
short_description: Does a node's part of one phase of a run
description:
  - Works on one node as far as the decision before it allows, and returns the node's whole outcome.
  - Whatever happens on the node or on the way there is in the outcome. A host never becomes unreachable in this task.
author:
  - emqx.fleet contributors (@emqx-fleet)
extends_documentation_fragment:
  - emqx.fleet.node.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  phase:
    description:
      - The phase. V(read) reads the node for the plan, V(reserve) reserves it and V(stage) brings the packages to it
        besides (in check mode both are V(preview)), V(look) proves just before the turn that nobody else works on
        the node or its cluster, V(hook_failed) notes a hook that failed, V(preview) shows in check mode what would be
        done, V(end) looks at the node for the report and gives it up, and V(give_up) gives it up where an earlier job
        of the run kept it for a later one.
    type: str
    choices: [read, reserve, stage, look, switch, soak, commit, rollback, hook_failed, end, preview, give_up]
    required: true
  wave:
    description: The wave of a switch or of a rollback, from 1.
    type: int
    default: 0
  rounds:
    description:
      - For O(phase=soak), the rounds of the watch. Each has C(seconds) to wait before it, whether to C(verify) that
        nobody notices, and whether it is the C(last); without a look the node only keeps its reservation.
    type: list
    elements: dict
    default: []
  hook:
    description: For O(phase=hook_failed), the name of the hook.
    type: str
    default: ''
  message:
    description: For O(phase=hook_failed), why it failed.
    type: str
    default: ''
  purpose:
    description: For O(phase=read), what the node is read for.
    type: str
    choices: [upgrade, plan, commit, rollback]
    default: upgrade
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role), whose registered variables it reads.
"""

EXAMPLES = r"""
- name: Switch the nodes of the second wave
  emqx.fleet.emqx_turn:
    phase: switch
    wave: 2
  register: __emqx_upgrade_turn
"""

RETURN = r"""
outcome:
  description: What became of the node so far.
  returned: for every O(phase) but V(read) and V(give_up), also on failure
  type: dict
in_turn:
  description: Whether the node has its turn now and has not failed.
  returned: for every O(phase) but V(read) and V(give_up), also on failure
  type: bool
remote_executions:
  description: How often something was executed on the node for it, or sent there.
  returned: always
  type: int
kept:
  description: Why the node could not be given up; empty where it was, or was not kept.
  returned: O(phase=give_up)
  type: str
facts:
  description: What M(emqx.fleet.emqx_release_info) returned, or only C(msg) with why the node could not be read.
  returned: O(phase=read)
  type: dict
"""
