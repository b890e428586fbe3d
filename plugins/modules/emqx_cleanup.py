#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_cleanup
short_description: Removes old releases and what upgrades left behind
description:
  - Reserves the node, uninstalls old releases but the newest ones, removes leftovers, and gives the node up again.
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
    description: V(check) fails if any node of the play is not fit for it; use it with C(run_once). V(remove) removes.
    type: str
    choices: [check, remove]
    required: true
  run_id:
    description: Identifier of the run, as O(phase=check) returned it; required for O(phase=remove).
    type: str
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role), whose registered variables it reads.
"""

EXAMPLES = r"""
- name: See that every node is fit for it
  emqx.fleet.emqx_cleanup:
    phase: check
  register: checked
  run_once: true

- name: Remove old releases
  emqx.fleet.emqx_cleanup:
    phase: remove
    run_id: "{{ checked.run_id }}"
"""

RETURN = r"""
run_id:
  description: Identifier of the run.
  returned: O(phase=check)
  type: str
removed:
  description: Releases and paths that were removed.
  returned: O(phase=remove)
  type: list
  elements: str
"""
