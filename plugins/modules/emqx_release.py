#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_release
short_description: Brings a release of a running EMQX node into a state
description:
  - Unpacks, switches to, makes permanent or uninstalls a release of a running EMQX node, without a restart.
  - Works out the steps from where the node is, does them, and reads the node again after each one. An exit code alone
    is never believed.
  - A release counts as permanent only if the node, C(start_erl.data), C(emqx_vars) and the files in C(bin/) agree, so
    that a restart would really boot it. A commit that was interrupted half-way is completed.
  - Before a switch the module waits until no process runs code from an earlier switch, because the switch would
    disconnect the clients of such processes.
  - The module can be started again after any interruption and goes on from where the node is.
  - Check mode tells the steps from where the node is. It does not look for the package, which need not be on the node
    yet.
author:
  - emqx.fleet contributors (@emqx-fleet)
extends_documentation_fragment:
  - emqx.fleet.node
  - emqx.fleet.node.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  version:
    description: The version, such as V(4.4.19).
    type: str
    required: true
  state:
    description:
      - V(staged) makes sure that all is done that can be done before a switch. That is an unpack, except on nodes whose
        own upgrade script unpacks in the switch (EMQX 4.3.13 to 4.3.22 and 4.4.2 to 4.4.14); there the package is
        checked and a release that was left unpacked is uninstalled.
      - V(unpacked) makes sure that the release is on the node, whole and ready to be installed. Refused where the
        switch unpacks.
      - V(current) makes sure that it runs. If another release was permanent it still is, and a restart brings it back.
      - V(permanent) makes sure that it runs and that a restart boots it.
      - V(absent) uninstalls it. The running release and the one that a restart would boot are never uninstalled.
    type: str
    choices: [staged, unpacked, current, permanent, absent]
    default: permanent
  package:
    description:
      - Path of the package zip on the managed host.
      - It is linked into C(releases/) only while a command unpacks it. Without this option the package must be in
        C(releases/), where exactly one zip may match the version.
    type: path
  allow_downgrade:
    description:
      - Whether the node may be switched to a version older than the one that runs.
      - A downgrade is safe only right after the upgrade, with no data changed in between.
    type: bool
    default: false
  settle_timeout:
    description: Seconds to wait before a switch until no process runs old code. If some still do, nothing is switched.
    type: float
    default: 120
  force_switch:
    description: Switch although processes run old code. The clients that they serve are disconnected.
    type: bool
    default: false
  accept:
    description:
      - Obstacles to go on with.
      - V(patches) accepts files in C(data/patches), which the next restart loads over the release.
      - V(dry_check) accepts that the node's own check refuses the release. The C(emqx) command checks once more.
    type: list
    elements: str
    choices: [patches, dry_check]
    default: []
  lock_timeout:
    description:
      - Seconds to wait for another operation of this collection on the same node.
      - By default as long as O(reconnect_timeout), so that after a lost connection the module waits for what it began.
    type: float
  reconnect_timeout:
    description:
      - Seconds to try again after the connection to the node was lost.
      - What runs on the node then goes on, and the module finds out where it came to.
    type: float
    default: 120
seealso:
  - module: emqx.fleet.emqx_release_info
  - module: emqx.fleet.emqx_package_check
"""

EXAMPLES = r"""
- name: Upgrade the node and make the new version permanent
  emqx.fleet.emqx_release:
    version: 4.4.19
    package: /var/tmp/emqx-4.4.19-otp24.3.4.2-1-el8-amd64.zip

- name: Do all that can be done before the switch
  emqx.fleet.emqx_release:
    version: 4.4.19
    state: staged
    package: /var/tmp/emqx-4.4.19-otp24.3.4.2-1-el8-amd64.zip

- name: Run the new version; a restart would bring the old one back
  emqx.fleet.emqx_release:
    version: 4.4.19
    state: current

- name: Go back at once
  emqx.fleet.emqx_release:
    version: 4.4.18
    allow_downgrade: true

- name: Remove the old version
  emqx.fleet.emqx_release:
    version: 4.4.18
    state: absent
"""

RETURN = r"""
actions:
  description: The steps that were done, or that would be done in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(unpack), V(switch), V(commit), V(repair_commit), V(repair_table) or V(uninstall).
        - V(repair_table) writes C(releases/RELEASES) anew from the running node's own table.
      type: str
      sample: switch
    version:
      description: The version.
      type: str
      sample: 4.4.19
    seconds:
      description: What it took. Not in check mode.
      type: float
    command:
      description: The command that was run, where one was.
      type: list
      elements: str
    rc:
      description: Its exit code; null if it was still running at the time-out.
      type: int
before:
  description: C(releases), C(running), C(permanent) and C(boot) before.
  returned: when the node could be read
  type: dict
after:
  description: The same after the last step; in check mode as predicted.
  returned: when the node could be read
  type: dict
running:
  description: The version that runs.
  returned: when the node could be read
  type: str
  sample: 4.4.19
permanent:
  description: The version that is permanent.
  returned: when the node could be read
  type: str
  sample: 4.4.19
clients:
  description: Connected clients C(before) and C(after).
  returned: when the node could be read
  type: dict
pid:
  description: The broker's process C(before) and C(after).
  returned: when the node could be read
  type: dict
uptime_seconds:
  description:
    - Seconds that the node tells as its uptime, C(before) and C(after).
    - The age of the broker application up to EMQX 4.3.12 and 4.4.1, that of the virtual machine from 4.3.13 and 4.4.2
      on; so it may change in a switch from the one to the other although nothing was restarted.
  returned: when the node could be read
  type: dict
dry_check:
  description:
    - What the node's own check says of the release, with C(version), C(passed) and C(message).
    - Null unless the release is unpacked or old.
  returned: when the node could be read
  type: dict
log_errors:
  description: Error lines about the relup in the node's own log since the switch.
  returned: when the node could be read
  type: list
  elements: str
failure_class:
  description:
    - V(not_started) if no command that changes the node was run.
    - V(refused) if a command or a guard said no and the releases are as before.
    - V(changed) if the releases are neither as before nor as asked for.
    - V(unknown) if the node could not be read, or a command may still be at work.
  returned: failure
  type: str
  sample: refused
hint:
  description: The way out.
  returned: failure
  type: str
output:
  description: The last lines that the command printed, without secrets.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Bring the release into the state asked for."""
    kind = calls.KINDS["emqx_release"]
    module = AnsibleModule(argument_spec=kind.arguments, supports_check_mode=True)
    module_support.survive_lost_connection()
    try:
        result = kind.work(module.params, module.check_mode)
    except FleetError as error:
        module_support.fail(module, error)
    module_support.succeed(module, result)


if __name__ == "__main__":
    main()
