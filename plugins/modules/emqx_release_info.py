#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_release_info
short_description: Tells everything about the releases of an EMQX node
description:
  - Tells which releases are installed on an EMQX node, which one runs, and which one a restart would boot.
  - Tells what a hot upgrade depends on, such as edition, platform, cluster, clients, patches, leftovers and free space.
  - Nothing is changed. The running node is asked for everything at once, the rest is read from its files.
  - It is asked over the Erlang distribution protocol, at the broker's own port on the host itself, which takes some
    milliseconds. Where that does not work, the same is asked by one C(emqx eval), which takes more than a second.
  - A node that is stopped or does not answer is a result, not a failure.
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
  check_version:
    description: A version that is unpacked or old; the node then checks it as if it were to be installed.
    type: str
  old_code:
    description:
      - Whether to search every process for code from before the last switch.
      - On a node with many clients that takes a while.
    type: bool
    default: true
  verification:
    description:
      - Whether to find out also what a verification compares, RV(listener_answers) and RV(settings).
      - Makes one new connection to each TCP listener of the node, without a client identifier.
    type: bool
    default: false
  survivors_of:
    description:
      - A time by the node's clock, in seconds since 1970, such as C(time) of earlier RV(client_books).
      - Counts the clients that were connected by then and still are, RV(survivors).
    type: float
  operation_timeout:
    description:
      - Seconds to wait for the end of an operation that outlived the run that started it.
      - An operation of a run that lives is reported at once.
    type: float
    default: 0
seealso:
  - module: emqx.fleet.emqx_release
  - module: emqx.fleet.emqx_package_check
"""

EXAMPLES = r"""
- name: Look at the node
  emqx.fleet.emqx_release_info:
  register: emqx

- name: Stop if a restart would not boot what is permanent
  ansible.builtin.assert:
    that: emqx.boot.consistent
    fail_msg: "{{ emqx.boot.problems | map(attribute='message') | join(' ') }}"
"""

RETURN = r"""
state:
  description:
    - V(running), V(stopped), or V(unreachable) if the broker's process is there but does not answer.
  returned: success
  type: str
  sample: running
read_by:
  description:
    - How the node was asked. V(distribution) by the Erlang distribution protocol, V(command) by C(emqx eval).
    - Null if the node did not answer.
  returned: success
  type: str
  sample: distribution
read_by_reason:
  description: Why it was not asked by the Erlang distribution protocol, or did not answer it; null where it did.
  returned: success
  type: str
  sample: 'emqx@192.0.2.11 is not reached: the cookies differ.'
executable:
  description: The C(emqx) command, symbolic links resolved.
  returned: success
  type: str
  sample: /opt/emqx/bin/emqx
root_dir:
  description: The installation's root directory.
  returned: success
  type: str
  sample: /opt/emqx
data_dir:
  description: The broker's data directory.
  returned: success
  type: str
  sample: /opt/emqx/data
runner_user:
  description: The user that the broker runs as.
  returned: success
  type: str
  sample: emqx
node:
  description: The Erlang node name; null if the node does not answer.
  returned: success
  type: str
  sample: emqx@192.0.2.11
pid:
  description: The broker's operating system process.
  returned: success
  type: int
  sample: 8099
uptime_seconds:
  description:
    - Seconds by the broker's own word.
    - Up to EMQX 4.3.12 and 4.4.1 that is the age of its application, later of the Erlang virtual machine.
  returned: success
  type: int
  sample: 86400
supervisor:
  description: The broker's top process in Erlang. It is another one when a relup crashed and restarted the broker.
  returned: success
  type: str
  sample: <0.1862.0>
releases:
  description: The node's release table. Of a node that does not answer, what C(RELEASES) tells.
  returned: success
  type: list
  elements: dict
  contains:
    version:
      description: The version.
      type: str
      sample: 4.4.19
    status:
      description: V(permanent), V(current), V(old) or V(unpacked).
      type: str
      sample: permanent
ways_back:
  description: For each installed release with a relup, the versions that it leads back to.
  returned: success
  type: dict
  sample: {"4.4.19": ["4.4.18", "4.4.17"]}
running:
  description: The version whose code runs; null if the node does not answer.
  returned: success
  type: str
  sample: 4.4.19
permanent:
  description: The version that is permanent by the release table.
  returned: success
  type: str
  sample: 4.4.19
boot:
  description: What a restart would boot.
  returned: success
  type: dict
  contains:
    version:
      description: The version that C(emqx start) would boot, which is the last C(REL_VSN) of C(releases/emqx_vars).
      type: str
      sample: 4.4.19
    erts:
      description: Its Erlang runtime system.
      type: str
      sample: 13.1.5
    consistent:
      description: Whether nothing disagrees about it.
      type: bool
    problems:
      description: Every disagreement.
      type: list
      elements: dict
      contains:
        code:
          description: What kind of disagreement.
          type: str
          sample: emqx_vars
        path:
          description: The file.
          type: str
        message:
          description: What was found and what was expected.
          type: str
        repairable:
          description: Whether M(emqx.fleet.emqx_release) cures it.
          type: bool
edition:
  description: V(ce), V(ee) or V(edge).
  returned: success
  type: str
  sample: ce
otp:
  description: First number of the Erlang/OTP that runs; null if the node does not answer.
  returned: success
  type: str
  sample: '25'
erts:
  description: Version of the Erlang runtime system.
  returned: success
  type: str
  sample: 13.1.5
os:
  description: Operating system that the running release was built on, in the word that package names use.
  returned: success
  type: str
  sample: debian12
arch:
  description: Architecture that the running release was built for, in the word that package names use.
  returned: success
  type: str
  sample: amd64
host:
  description: The machine itself, C(system), C(os), C(arch) and C(python).
  returned: success
  type: dict
  sample: {"system": "Linux", "os": "debian12", "arch": "amd64", "python": "3.11.2"}
package_manager:
  description:
    - The package manager that the installation belongs to; null if it belongs to none.
    - It may reset what boots, by a reinstall or an upgrade of its own.
  returned: success
  type: dict
  contains:
    name:
      description: V(dpkg) or V(rpm).
      type: str
      sample: dpkg
    package:
      description: The package.
      type: str
      sample: emqx
    version:
      description: The version that the package manager believes to be installed.
      type: str
      sample: 4.4.18
    held:
      description: Whether it was told to leave the package as it is.
      type: bool
container:
  description:
    - V(docker), V(podman), V(kubernetes) or V(containerd) if the broker runs in such a container, else null.
    - Null also for a container with an init system, such as LXC, which is like a machine.
  returned: success
  type: str
  sample: docker
connections:
  description: Clients that are connected now.
  returned: success
  type: int
connection_counts:
  description: Clients by each of the node's statistics that counts them.
  returned: success
  type: dict
  sample: {"connections.count": 5120, "live_connections.count": 5000}
client_books:
  description:
    - Who came, who left and who is there, by the node's own counters. Two of them tell who was cut off in between.
    - Clients whose process is killed or crashes, as some may in a switch, are in no counter of EMQX.
    - Costs a node the same with any number of clients, but for 4.2 and 4.3, where 1,000,000 take it a second.
  returned: success
  type: dict
  contains:
    time:
      description: When it was read, in seconds since 1970 by the node's clock.
      type: float
      sample: 1767225600.25
    reason:
      description: Why the books do not tell who was cut off. Null if they do.
      type: str
      sample: clients of emqx_coap are not counted as those of MQTT are
    connected:
      description: Clients that are connected now.
      type: int
      sample: 5000
    sessions:
      description: Sessions, connected or not.
      type: int
      sample: 5120
    came:
      description: Connections so far.
      type: int
      sample: 81220
    left:
      description: Connections so far that ended in an orderly way.
      type: int
      sample: 76220
    opened:
      description: Sessions so far that began or were resumed.
      type: int
      sample: 81220
    ended:
      description: Sessions so far that ended, also where a new connection took them.
      type: int
      sample: 76100
    replaced:
      description: Sessions so far that a new connection took over or discarded.
      type: int
      sample: 120
    unsubscribed:
      description: Requests to unsubscribe so far.
      type: int
      sample: 12
    session_balance:
      description:
        - Sessions that are there, less those that began, plus those that ended; becomes less only if some are cut off.
        - The least and the most that it can be, which are the same unless clients come and go at that very moment.
      type: list
      elements: int
      sample: [0, 0]
    connection_balance:
      description: The same of connections.
      type: list
      elements: int
      sample: [120, 120]
survivors:
  description: Clients that have been connected since O(survivors_of). Null without it, or if the node does not answer.
  returned: success
  type: int
sessions:
  description: Sessions, connected or not.
  returned: success
  type: int
subscriptions:
  description: Subscriptions.
  returned: success
  type: int
cluster:
  description: The cluster as this node sees it.
  returned: success
  type: dict
  contains:
    running:
      description: Node names.
      type: list
      elements: str
    stopped:
      description: Node names.
      type: list
      elements: str
    members:
      description: The running ones with C(node), C(version), C(connections) and C(sessions).
      type: list
      elements: dict
plugins:
  description: Plugins with C(name) and C(active).
  returned: success
  type: list
  elements: dict
modules:
  description: Modules of the broker with C(name) and C(active).
  returned: success
  type: list
  elements: dict
alarms:
  description: Names of active alarms.
  returned: success
  type: list
  elements: str
listeners:
  description: Listeners with C(protocol) and C(listen_on).
  returned: success
  type: list
  elements: dict
listener_answers:
  description:
    - Whether each TCP listener takes a new connection from the node itself, and where it is one of TLS, a handshake.
    - A handshake that fails only for want of a client certificate counts as an answer.
    - Null without O(verification), or if the node does not answer. UDP and DTLS are not tried.
  returned: success
  type: list
  elements: dict
  contains:
    protocol:
      description: As in RV(listeners).
      type: str
      sample: mqtt:ssl:external
    listen_on:
      description: As in RV(listeners).
      type: str
      sample: 0.0.0.0:8883
    tls:
      description: Whether TLS was tried.
      type: bool
    answers:
      description: Whether it takes a new connection.
      type: bool
    reason:
      description: Why not, or null.
      type: str
settings:
  description:
    - For each running application and each of its settings, a digest of the value, keyed with the node's cookie.
    - Values are never returned. A digest compares with another of the same node only.
    - Null without O(verification), or if the node does not answer.
  returned: success
  type: dict
  sample: {"emqx_retainer": {"expiry_interval": 2981507264}}
old_code:
  description:
    - Modules with processes that still run code from before the last switch, with C(module) and C(processes).
    - A second switch would end these processes, and the clients that they serve.
    - Null if they were not searched, or the node does not answer.
  returned: success
  type: list
  elements: dict
patches:
  description:
    - Files in C(data/patches) with C(module), C(path) and C(stale).
    - A stale one is not what runs now, but the next start would load it over the release.
  returned: success
  type: list
  elements: dict
packages:
  description: Zips in C(releases/) with C(name), C(path) and C(size) in bytes.
  returned: success
  type: list
  elements: dict
staged_packages:
  description: Zips that a run has brought to the node, in C(fleet/packages/) of its data directory, as RV(packages).
  returned: success
  type: list
  elements: dict
leftovers:
  description: What earlier upgrades left behind, with C(kind) (V(untar), V(tarball), V(binary)), C(path) and C(size).
  returned: success
  type: list
  elements: dict
free_bytes:
  description: Free bytes by path, for the root directory and C(/tmp).
  returned: success
  type: dict
  sample: {"/opt/emqx": 1073741824, "/tmp": 536870912}
devices:
  description: Numbers of the file systems that the paths of RV(free_bytes) are on.
  returned: success
  type: dict
unwritable:
  description: Paths that a hot upgrade writes to and that the broker's user cannot write to.
  returned: success
  type: list
  elements: str
clock:
  description: The host's clock in seconds since the epoch.
  returned: success
  type: float
clock_offset:
  description: Seconds by which the host's clock is ahead of the controller's; null unless the controller measured it.
  returned: success
  type: float
operation:
  description: The operation of this collection that holds the node's lock now, or null.
  returned: success
  type: dict
run:
  description: The fleet run that has reserved the node, or null.
  returned: success
  type: dict
journal:
  description: The newest operations of this collection on the node, oldest first.
  returned: success
  type: list
  elements: dict
unpacks_in_switch:
  description:
    - Whether the node's own upgrade script unpacks a release in the switch itself, as those of EMQX 4.3.13 to 4.3.22
      and 4.4.2 to 4.4.14 do.
    - Nothing may be unpacked beforehand there; see O(emqx.fleet.emqx_release#module:state).
  returned: success
  type: bool
dry_check:
  description: Null, except for O(check_version) if that version is unpacked or old.
  returned: success
  type: dict
  contains:
    version:
      description: The version.
      type: str
    passed:
      description: Whether the release handler would install it.
      type: bool
    message:
      description: Its reason if not.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Read the node and return NodeFacts."""
    kind = calls.KINDS["emqx_release_info"]
    module = AnsibleModule(argument_spec=kind.arguments, supports_check_mode=True)
    try:
        result = kind.work(module.params, module.check_mode)
    except FleetError as error:
        module_support.fail(module, error)
    module_support.succeed(module, result)


if __name__ == "__main__":
    main()
