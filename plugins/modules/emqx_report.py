#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_report
short_description: Reports what a run did to a fleet
description:
  - Puts together what became of every node of a plan, as a table for people and as a JSON document.
  - Everything in it was measured on the nodes.
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
  run_id:
    description: Identifier of the run.
    type: str
    required: true
  plan:
    description: The plan, as M(emqx.fleet.emqx_plan) returned it.
    type: dict
    required: true
  outcome_variable:
    description: Name of the variable that holds the outcome of each host.
    type: str
    required: true
  commit:
    description: When versions are made permanent in this run.
    type: str
    choices: [fleet, node, never]
    default: fleet
  phases:
    description: The parts of the run that this invocation was for; what is left to another one is no failure.
    type: list
    elements: str
    default: [plan, stage, switch, commit]
  problems:
    description: Sentences about the run as a whole that belong into the message.
    type: list
    elements: str
    default: []
  file:
    description: Path on the controller to write the JSON document to.
    type: path
notes:
  - Runs on the controller; use it with C(run_once).
"""

EXAMPLES = r"""
- name: Read every node
  emqx.fleet.emqx_release_info:
  register: before

- name: Plan
  emqx.fleet.emqx_plan:
    version: 4.4.19
    packages: [packages]
    facts_variable: before
  register: planned
  run_once: true

- name: Do with each node what is to be done
  emqx.fleet.emqx_release:
    version: 4.4.19
  register: release

- name: Read every node again
  emqx.fleet.emqx_release_info:
  register: after

- name: Put together what became of each node
  ansible.builtin.set_fact:
    outcome: "{{ {'result': 'committed', 'before': before, 'after': after, 'actions': release.actions} }}"

- name: Report
  emqx.fleet.emqx_report:
    run_id: "{{ planned.run_id }}"
    plan: "{{ planned.plan }}"
    outcome_variable: outcome
    file: report.json
  register: report
  run_once: true

- name: Show the table
  ansible.builtin.debug:
    msg: "{{ report.table }}"
  run_once: true
"""

RETURN = r"""
table:
  description: The lines of a table.
  returned: success
  type: list
  elements: str
message:
  description: What went wrong, what was done about it, and how to go on. Empty when all that was planned was done.
  returned: success
  type: str
final:
  description: Whether no later job of the same run has something to do.
  returned: success
  type: bool
report:
  description: The JSON document.
  returned: success
  type: dict
"""
