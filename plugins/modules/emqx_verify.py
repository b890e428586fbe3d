#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_verify
short_description: Verifies that nobody noticed the switch of an EMQX node
description:
  - Reads an EMQX node and holds it against how it was before, in version, process, cluster, clients, listeners,
    plugins, settings, alarms and the version that a restart would boot.
  - Makes one new connection to each TCP listener, over TLS where it speaks TLS; what answered before shall answer now.
  - Reads again until every check passes or O(wait) is over, since statistics need a moment, and tells every check that
    still fails.
author:
  - emqx.fleet contributors (@emqx-fleet)
extends_documentation_fragment:
  - emqx.fleet.node
  - emqx.fleet.node.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  timeout:
    default: 60
  before:
    description:
      - What this module (RV(facts)) returned before the switch, or M(emqx.fleet.emqx_release_info) with its option
        C(verification). Without that option no listener is tried, and settings are not compared.
      - Without it, the module looks whether the node is ready to be switched.
    type: dict
  version:
    description: The version that shall run.
    type: str
    required: true
  boots:
    description: The version that a restart shall boot. By default the same as O(version).
    type: str
  cluster:
    description: Node names that shall be running members of the cluster. By default those of O(before).
    type: list
    elements: str
  client_loss_tolerance:
    description: How many clients may be cut off or missing, as a number or a percentage of before.
    type: str
    default: '0'
  log_errors:
    description: Error lines of the node's log, as M(emqx.fleet.emqx_release) returns them; any is a failure.
    type: list
    elements: str
    default: []
  accept:
    description:
      - Obstacles that the user accepted by name, such as V(patches).
      - With V(known_defects) neither TLS listeners that take no new connection nor lost settings are a failure.
    type: list
    elements: str
    default: []
  wait:
    description: Seconds to go on reading until every check passes.
    type: float
    default: 30
  reconnect_timeout:
    description: Seconds to try again after the connection to the node was lost.
    type: float
    default: 120
seealso:
  - module: emqx.fleet.emqx_release
  - module: emqx.fleet.emqx_release_info
"""

EXAMPLES = r"""
- name: Remember how the node was
  emqx.fleet.emqx_release_info:
    verification: true
  register: before

- name: Switch
  emqx.fleet.emqx_release:
    version: 4.4.19
    state: current
  register: switch

- name: Nobody noticed
  emqx.fleet.emqx_verify:
    before: "{{ before }}"
    version: 4.4.19
    boots: "{{ before.boot.version }}"
    log_errors: "{{ switch.log_errors }}"
"""

RETURN = r"""
checks:
  description: Every check with C(name), C(passed), C(expected), C(actual) and C(message).
  returned: always
  type: list
  elements: dict
facts:
  description: The node as it was read last, as M(emqx.fleet.emqx_release_info) returns it.
  returned: success
  type: dict
seconds:
  description: How long it took until every check passed.
  returned: always
  type: float
"""
