#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_report
short_description: Reports what a run did to a fleet
description:
  - Puts together what became of every node of a plan, as a table for people and as a JSON document.
  - Everything in it was measured on the nodes. C(emqx_upgrade_report_file) tells where the document is written to.
  - Sets custom stats as M(ansible.builtin.set_stats) does, C(emqx_fleet_verdict) and others; AWX has them as artifacts.
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
  problems:
    description: Sentences about the run as a whole that belong into the message.
    type: list
    elements: str
    default: []
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role), whose registered variables it reads. Runs on the controller, once.
"""

EXAMPLES = r"""
- name: Report
  emqx.fleet.emqx_report:
    problems: [The load balancer was not told.]
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
