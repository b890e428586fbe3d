#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_status
short_description: Shows where every node of a fleet is
description:
  - Puts together what was read of every host of the play, as a table for people.
  - Writes a page of it where the setting C(emqx_upgrade_report_html) of the role names a file.
  - Where C(emqx_upgrade_report_metrics) is set, writes it as metrics for Prometheus as well.
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
- name: Put together where every node is
  emqx.fleet.emqx_status:
  register: status
  run_once: true
"""

RETURN = r"""
table:
  description: The lines of a table, and below it what needs attention.
  returned: success
  type: list
  elements: str
message:
  description: Which nodes could not be read, and whether the page could not be written. Empty when all was well.
  returned: success
  type: str
"""
