#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_reservation
short_description: Reserves an EMQX node for one fleet run
description:
  - Makes sure that only one fleet run works on a node, across controllers and operators.
  - The reservation has a lease. Reserving again with the same O(id) renews it. When a run dies, another one may take
    the node over once the lease is over, or at once if it is started on the same controller, where the process of the
    dead run can be seen to be gone.
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
      - V(parked) reserves it for a later job with the same O(id), which may run on another controller. Nobody takes
        such a reservation over before its lease is over.
    type: str
    choices: [present, parked, absent]
    default: present
  lease:
    description: Seconds that the reservation lasts unless it is renewed.
    type: float
    default: 1800
  who:
    description: Who runs it. By default the user and host name of the controller.
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
  dead:
    description: Runs known to have ended; set by the action plugin.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Reserve the node
  emqx.fleet.emqx_reservation:
    id: "{{ awx_workflow_job_id | default('2026-11-24-emqx-4.4.19') }}"

- name: Give it up
  emqx.fleet.emqx_reservation:
    id: "{{ awx_workflow_job_id | default('2026-11-24-emqx-4.4.19') }}"
    state: absent
"""

RETURN = r"""
reservation:
  description: C(id), C(who), C(since), C(lease_until) and C(taken_from), the dead run's reservation if there was one.
  returned: unless O(state=absent)
  type: dict
holder:
  description: The reservation of the run that has the node.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Reserve the node or give it up."""
    module = AnsibleModule(
        argument_spec=dict(
            id=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "parked", "absent"], default="present"),
            lease=dict(type="float", default=1800),
            who=dict(type="str"),
            controller=dict(type="str"),
            controller_process=dict(type="str"),
            reconnect_timeout=dict(type="float", default=120),
            dead=dict(type="list", elements="str", default=[]),
            executable=dict(type="path"),
            timeout=dict(type="float", default=600),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        state_dir = module_support.open_node(params["executable"], params["timeout"]).state_dir
        held = state_dir.run()
        mine = held is not None and held["id"] == params["id"]
        if module.check_mode:
            module.exit_json(changed=mine == (params["state"] == "absent"), reservation=held)
        if params["state"] == "absent":
            module.exit_json(changed=state_dir.release(params["id"]))
        claim = {name: params[name] for name in ("id", "who", "controller", "controller_process")}
        reservation = state_dir.reserve(claim, params["lease"], params["dead"])
    except FleetError as error:
        module_support.fail(module, error)
    module.exit_json(changed=not mine, reservation=reservation)


if __name__ == "__main__":
    main()
