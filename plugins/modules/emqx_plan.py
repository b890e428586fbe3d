#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_plan
short_description: Plans the hot upgrade of a whole EMQX fleet
description:
  - Chooses the package for every node, evaluates every gate of every node, and puts the nodes into waves.
  - Nothing is changed. The same facts and packages always give the same plan.
  - With O(purpose=rollback) it plans the way back to the version that each node ran before, and with
    O(purpose=commit) it finds the nodes whose running version is not permanent.
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
  purpose:
    description: What is planned. V(plan) is an upgrade that is only looked at.
    type: str
    choices: [upgrade, plan, commit, rollback]
    default: upgrade
  version:
    description:
      - The version that the fleet shall run.
      - Required for O(purpose=upgrade). For O(purpose=rollback) it names the version to go back to, and by default each
        node goes back to the one that is permanent, or else to its newest old one. For O(purpose=commit) only nodes
        that run it are planned for a commit, and by default all.
    type: str
  packages:
    description:
      - Package zips on the controller. A folder stands for the zips in it and in the folders below it, four levels
        deep; hidden ones are left out, C(.ZIP) counts, and copies of a package under the same name count once.
      - A C(.sha256) file beside a package is compared with it.
      - A URL is fetched into O(download_dir). It needs the checksum, as in V(https://example.com/emqx.zip#sha256=...).
        User and password in it are masked in messages.
      - Only looked at for O(purpose=upgrade).
    type: list
    elements: str
    default: []
  package_source:
    description:
      - Who brings the packages to the nodes. With V(node) they fetch them from their URLs by themselves, and packages
        without a URL are an obstacle.
    type: str
    choices: [controller, node]
    default: controller
  download_dir:
    description: Folder on the controller for packages that are fetched.
    type: str
    default: ~/.cache/emqx-fleet/packages
  facts_variable:
    description:
      - Name of the variable that holds what M(emqx.fleet.emqx_release_info) returned on each host.
    type: str
    required: true
  accept:
    description: Names of gates that may fail.
    type: list
    elements: str
    default: []
  allow_downgrade:
    description: Whether the version may be older than the one that runs.
    type: bool
    default: false
  max_per_cluster:
    description: How many nodes of one cluster may be in a wave.
    type: int
    default: 1
  wave_size:
    description: How many nodes may be in a wave, as a number or a percentage; V(0) for as many as the clusters allow.
    type: str
    default: '0'
  canary:
    description:
      - The nodes that switch first, as a number, a percentage, or a list of hosts; V(0) for none.
      - Only for O(purpose=upgrade).
    type: raw
    default: '1'
  waves:
    description:
      - The waves that this job is for. V(canary) are those of the canaries alone, V(rest) all others once an earlier
        job has switched the canaries. A node that switches in none of them has no wave in the plan.
      - Only for O(purpose=upgrade).
    type: str
    choices: [all, canary, rest]
    default: all
  coordinators:
    description: Hosts or node names that come last in their cluster.
    type: list
    elements: str
    default: []
  run_id:
    description: Identifier of the run. By default one is made.
    type: str
  max_clock_skew:
    description: Seconds that the clocks of a cluster's nodes may differ.
    type: float
    default: 10
  settings:
    description:
      - Checked settings of a host as M(emqx.fleet.emqx_settings) returned them; they stand for the options above.
      - With C(take_over), reservations of these runs do not count. With C(report_file), that file says from here on how
        far the run is.
    type: dict
notes:
  - Runs on the controller for all hosts of the play; use it with C(run_once).
"""

EXAMPLES = r"""
- name: Read every node
  emqx.fleet.emqx_release_info:
  register: emqx

- name: Plan
  emqx.fleet.emqx_plan:
    version: 4.4.19
    packages: [packages]
    facts_variable: emqx
  register: planned
  run_once: true

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ planned.table }}"
  run_once: true
"""

RETURN = r"""
plan:
  description:
    - The plan, with C(run_id), C(purpose), C(target), C(feasible), C(nodes), C(waves), C(obstacles), C(warnings) and
      C(accepted).
  returned: success
  type: dict
table:
  description: The plan as lines of text.
  returned: success
  type: list
  elements: str
plain_waves:
  description: Whether a wave is its turns alone, without hooks and without a pause behind it.
  returned: success
  type: bool
probed:
  description: Whether this run has a client probe, see M(emqx.fleet.emqx_probe).
  returned: success
  type: bool
msg:
  description: The plan in one sentence, with every obstacle that refuses a node.
  returned: success
  type: str
webhook_failed:
  description: The webhook did not take an event, so that no wave is told to it any more.
  returned: when it is so
  type: bool
"""
