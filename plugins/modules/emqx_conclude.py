#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_conclude
short_description: Tells what all jobs of a run did, and whether the nodes are where they should be
description:
  - >-
    Puts the documents together that the jobs of a run have handed on, as the custom stats C(emqx_fleet_report) and,
    for parts of a fleet, C(emqx_fleet_report_part_1_switch) and so on, and holds them against what was read of every
    host.
  - >-
    The run was a success where its last job was one, every node is committed, or was so before, runs the version of
    the run, and would boot it. A way back is none.
  - Where no job has handed a document on, because it was too large, it tells what the nodes run.
  - Writes the reports that the settings of the role name, and sets the custom stats anew.
author:
  - emqx.fleet contributors (@emqx-fleet)
extends_documentation_fragment:
  - emqx.fleet.node.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role), whose registered variables it reads. Runs on the controller, once.
"""

EXAMPLES = r"""
- name: Put together what all jobs of the run did
  emqx.fleet.emqx_conclude:
  register: conclusion
  run_once: true
"""

RETURN = r"""
table:
  description: The lines of a table with a row for each node.
  returned: success
  type: list
  elements: str
message:
  description: Why the run was no success, and what to do next. Empty where it was one.
  returned: success
  type: str
report:
  description: The document of the whole run, see docs/report.schema.json.
  returned: where a job has handed one on, not in check mode
  type: dict
"""
