#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_split
short_description: Parts a fleet by whole clusters, for several jobs
description:
  - Finds the clusters by what the nodes say, and puts each as a whole into one of C(emqx_upgrade_split) parts, so that
    the parts have about equally many hosts. The same fleet gives the same parts.
  - Sets the custom stat C(emqx_fleet_parts), as M(ansible.builtin.set_stats) does; AWX hands it on to later jobs of a
    workflow, each of which takes the hosts of its part.
  - Writes an inventory with a group for each part where C(emqx_upgrade_split_inventory) of the role names a file.
  - Where a node cannot be read, or there are fewer clusters than parts, there are none, and RV(message) says why.
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
- name: Part the fleet by whole clusters
  emqx.fleet.emqx_split:
  register: split
  run_once: true
"""

RETURN = r"""
parts:
  description: The hosts of each part, by its number as a text. Empty where the fleet cannot be parted.
  returned: success
  type: dict
  sample: {"1": [broker1, broker2, broker3], "2": [broker4, broker5]}
table:
  description: The lines of a table, and below it members of clusters that are no hosts of the play.
  returned: success
  type: list
  elements: str
message:
  description: Why the fleet cannot be parted, or the inventory not be written. Empty when all was well.
  returned: success
  type: str
"""
