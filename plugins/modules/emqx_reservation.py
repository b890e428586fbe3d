#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_reservation
short_description: Reserves an EMQX node, and with it its cluster, for one fleet run
description:
  - Makes sure that only one fleet run works on a cluster, across controllers and operators. A node is reserved only if
    no running member of its cluster is reserved by another run; the members are asked through the node, so they need
    not be hosts of the run. Of several runs that begin at the same time, one gets the cluster.
  - A node whose broker does not run has no members to ask, and is reserved by itself.
  - The reservation has a lease. Reserving again with the same O(id) renews it. When a run dies, another one may have
    the cluster once the lease is over, or at once if it is started on the same controller, where the process of the
    dead run can be seen to be gone, or if it is told to by O(take_over).
  - Jobs that run at the same time with one O(id), such as the slices of a job, are as many runs.
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
  id:
    description: Identifier of the fleet run.
    type: str
    required: true
  state:
    description:
      - V(present) reserves the node or renews the lease, V(absent) gives it up.
      - V(parked) reserves it for a later job with the same O(id), which may run on another controller. Nobody has
        such a cluster before the lease is over, unless told to by O(take_over).
    type: str
    choices: [present, parked, absent]
    default: present
  lease:
    description: Seconds that the reservation lasts unless it is renewed.
    type: float
    default: 120
  take_over:
    description:
      - Identifiers of runs that are gone and whose reservations do not count. They are taken over as they are found
        at the beginning; what such a run reserves later does count.
    type: list
    elements: str
    default: []
  verify_cluster:
    description:
      - Whether the members of the cluster are asked also where the lease of this run is renewed in time. When it is
        reserved, or the lease was over meanwhile, they always are.
    type: bool
    default: false
  renew:
    description: Whether the node must be reserved by this run already; it fails where it is not any more.
    type: bool
    default: false
  who:
    description: Who runs it. By default the user of AWX, or the user and host name of the controller.
    type: str
  controller:
    description: Identity of the controller's machine; set by the action plugin.
    type: str
  controller_process:
    description: Process of the run on the controller with its start time; set by the action plugin.
    type: str
  reconnect_timeout:
    description: Seconds to try again after the connection to the node was lost.
    type: float
    default: 120
  passed_over:
    description: Reservations that do not count, by the C(identity) of each in RV(others); set by the action plugin.
    type: list
    elements: str
    default: []
  look_first:
    description: Whether nothing is written while it is another run's turn; set by the action plugin.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Reserve the node
  emqx.fleet.emqx_reservation:
    id: "{{ awx_workflow_job_id | default('2026-11-24-emqx-4.4.19') }}"

- name: Reserve the node, and take over from a run whose container is gone
  emqx.fleet.emqx_reservation:
    id: 2026-11-24-emqx-4.4.19
    take_over: [20261124T101500Z-1a2b3c4d]

- name: Renew the reservation, and see that no other run has reserved a node of the cluster
  emqx.fleet.emqx_reservation:
    id: 2026-11-24-emqx-4.4.19
    renew: true
    verify_cluster: true

- name: Give it up
  emqx.fleet.emqx_reservation:
    id: "{{ awx_workflow_job_id | default('2026-11-24-emqx-4.4.19') }}"
    state: absent
"""

RETURN = r"""
reservation:
  description:
    - C(id), C(who), C(since), C(lease_until), C(held), and C(took_over), the identities of those that were passed over.
    - Null where the node is not reserved for this run.
  returned: unless O(state=absent)
  type: dict
verdict:
  description:
    - V(held) where the node is reserved; V(refused), or V(lost) where it was this run's and is not any more.
    - The module by itself also knows V(wait) and V(yield), after which the action plugin tries again.
  returned: unless O(state=absent)
  type: str
node:
  description: Name of the node; null where no members were asked.
  returned: unless O(state=absent)
  type: str
others:
  description:
    - The reservations of other runs that are in the way. Each has C(node), C(id), C(who), C(since), C(held),
      C(seconds_left) by the clock of that node, and C(identity).
  returned: unless O(state=absent)
  type: list
  elements: dict
members_unread:
  description: Running members of the cluster whose reservations could not be read, as C(node) and C(reason).
  returned: unless O(state=absent)
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Reserve the node or give it up."""
    kind = calls.KINDS["emqx_reservation"]
    module = AnsibleModule(argument_spec=kind.arguments, supports_check_mode=True)
    try:
        result = kind.work(module.params, module.check_mode)
    except FleetError as error:
        module_support.fail(module, error)
    module_support.succeed(module, result)


if __name__ == "__main__":
    main()
