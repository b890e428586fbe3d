#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_decide
short_description: Decides whether a phase of a run begins, and with which nodes
description:
  - Holds the outcomes of all nodes of a run against its plan and its failure budget.
  - A node that is not through with what the others are through with counts as failed, whatever the reason.
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
    description: The phase that is about to begin or to go on; V(end) is the last look at every node.
    type: str
    choices: [reserve, switch, soak, rollback, commit, end]
    required: true
  wave:
    description: The wave of a switch or of a rollback, from 1.
    type: int
    default: 0
  ran:
    description: A hook that was just run once for many nodes. If its host was lost meanwhile, the hook failed.
    type: str
    default: ''
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role), whose registered variables it reads. Runs on the controller, once.
"""

EXAMPLES = r"""
- name: Decide whether the second wave begins
  emqx.fleet.emqx_decide:
    phase: switch
    wave: 2
  register: __emqx_upgrade_decision
  run_once: true
"""

RETURN = r"""
proceed:
  description: Whether it begins.
  returned: success
  type: bool
message:
  description: Why it does not begin.
  returned: success
  type: str
hosts:
  description: The hosts that have a turn in it, in their order.
  returned: success
  type: list
  elements: str
first:
  description: The host that runs what is run once for all of them; none if there is no such host.
  returned: success
  type: str
failures:
  description: The failure of each host that failed, by its name.
  returned: success
  type: dict
batches:
  description: For a rollback, lists of hosts; those of one list go back at the same time.
  returned: success
  type: list
  elements: list
watches:
  description:
    - Tasks that make up the watch, or the pause after the wave, each with C(seconds) in all, seconds to C(pause) before
      it, and its C(rounds).
    - Where all hosts are worked on at the same time, the watch is one task, in which each waits by itself.
  returned: success
  type: list
  elements: dict
final:
  description: Whether no later job of the same run has something to do.
  returned: success
  type: bool
parts:
  description: The parts of the run that this invocation is for.
  returned: success
  type: list
  elements: str
lost:
  description: Hosts that Ansible lost so far, also where they came back.
  returned: success
  type: list
  elements: str
problems:
  description: What went wrong with the run as a whole.
  returned: success
  type: list
  elements: str
phase:
  description: The phase.
  returned: success
  type: str
wave:
  description: The wave.
  returned: success
  type: int
rank:
  description: A number that grows from one decision of a run to the next.
  returned: success
  type: int
webhook_failed:
  description: The webhook did not take an event, so that no wave is told to it any more.
  returned: when it is so
  type: bool
"""
