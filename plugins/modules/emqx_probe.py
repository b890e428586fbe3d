#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_probe
short_description: Measures with MQTT clients what a change of EMQX nodes does to clients
description:
  - Starts a process on the controller that has MQTT clients on every node, idle ones and pairs of a publisher and a
    subscriber with QoS 1. Until it is stopped, it measures disconnects, silence, lost, duplicated and reordered
    messages, and round trips.
  - The process ends with C(ansible-playbook), however that ends. Tasks go on meanwhile.
  - A client that was disconnected connects again, and the disconnect stays counted. The clients leave no sessions on
    the broker.
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
  state:
    description:
      - With V(started), the clients are connected, and all nodes must let all of them in. A probe that is there already
        is left as it is.
      - With V(read), it tells what was measured until now. Every client is sent one more message for it, which takes
        some milliseconds, and three seconds where a message does not come.
      - With V(stopped), it ends and tells everything.
    type: str
    choices: [started, read, stopped]
    default: started
  id:
    description:
      - Name of the probe within this run of C(ansible-playbook). By default the identifier of the run of the role
        P(emqx.fleet.emqx_upgrade#role), and V(probe) where there is none.
    type: str
  nodes:
    description:
      - For O(state=started), the nodes by any name, each with C(host) (the name unless told otherwise) and C(port)
        (1883, with O(tls) 8883).
      - Without it, those that a run of the role P(emqx.fleet.emqx_upgrade#role) works on, with its settings
        C(emqx_upgrade_probe_*) in the place of the options below.
    type: dict
  clients:
    description: How many idle clients and how many pairs each node gets; with 2 there are six clients on a node.
    type: int
    default: 2
  rate:
    description: Messages a second of each publisher. All publishers together send no more than 1000.
    type: float
    default: 5
  username:
    description: User name of the clients.
    type: str
  password:
    description: Password of the clients. It is passed to the process by a pipe, and stands in no file.
    type: str
  tls:
    description: Whether the clients connect over TLS.
    type: bool
    default: false
  ca_file:
    description: File with the certificates that are trusted. By default the system's.
    type: path
  cert_file:
    description: File with a client certificate.
    type: path
  key_file:
    description: File with the key of O(cert_file), where it is another one.
    type: path
  key_password:
    description: Passphrase of the key.
    type: str
  validate_certs:
    description: Whether the broker's certificate must be trusted, and be for C(host).
    type: bool
    default: true
  topic_prefix:
    description:
      - What the topics begin with. The clients publish and subscribe below it; their identifiers begin with
        C(emqx-fleet-probe-).
    type: str
    default: emqx-fleet/probe
  connect_timeout:
    description:
      - Seconds for all clients to be connected, and one more for each hundred of them. A client that has tried three
        times in vain is not waited for.
    type: float
    default: 10
requirements:
  - paho-mqtt 2 for the Python that runs C(ansible-playbook)
  - a platform with Unix sockets
notes:
  - Runs on the controller, once for all nodes, so use C(run_once).
  - The clients are counted by the broker like any others.
seealso:
  - module: emqx.fleet.emqx_verify
"""

EXAMPLES = r"""
- name: Connect clients to the brokers
  emqx.fleet.emqx_probe:
    nodes:
      b1: {host: 10.0.0.1}
      b2: {host: 10.0.0.2, port: 2883}
    username: probe
    password: secret
  run_once: true

- name: Change something
  ansible.builtin.command: emqx_ctl plugins reload emqx_auth_http
  changed_when: true

- name: Count
  emqx.fleet.emqx_probe:
    state: read
  register: probe
  run_once: true

- name: See that nobody noticed
  ansible.builtin.assert:
    that: probe.checks.values() | rejectattr('passed') | list | length == 0
  run_once: true

- name: End the clients
  emqx.fleet.emqx_probe:
    state: stopped
  run_once: true
"""

RETURN = r"""
nodes:
  description:
    - For O(state=started), by node, C(address), how many C(clients) there are and how many are C(connected), and the
      C(reason) why not all are.
    - For O(state=read), by node, the same as in RV(probe).
  returned: O(state=started), O(state=read)
  type: dict
checks:
  description:
    - By node, the check that no client was disconnected and no acknowledged message lost, with C(name), C(passed),
      C(expected), C(actual) and C(message).
  returned: O(state=read)
  type: dict
probe:
  description:
    - C(id), C(started), C(ended), C(error) (null, or why not all is known), how many C(clients), and C(nodes).
    - A node has C(address), C(clients), C(connected), C(disconnects) (C(at), C(client), C(reason); the first 1000),
      C(sent), C(acked), C(received), C(lost), C(duplicated), C(reordered), C(longest_gap_ms) between two messages of a
      pair and when it began (C(longest_gap_at)), and C(round_trip_ms) with C(median), C(p99), C(max) and C(count) for
      C(before), C(during) and C(after) its switch. Times are seconds since the epoch.
  returned: O(state=stopped)
  type: dict
"""
