#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_evidence
short_description: Collects what a failure on an EMQX node left to look at
description:
  - Reads the node once more, the last lines of its log, and crash dumps that are new, and notes the failure in
    the journal of the node.
  - Cookies never show. It does not fail, since what it collects is part of the message about another failure.
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
  since:
    description:
      - Seconds since the epoch by the node's clock; what is older in the log, and older crash dumps, are left out.
      - A line of the log without a time belongs to the one before it. Without this option nothing is left out.
    type: float
    default: 0
  lines:
    description: How many lines of the log at warning level or above.
    type: int
    default: 20
  note:
    description: What failed, for the node's journal.
    type: str
  reconnect_timeout:
    description: Seconds to try again after the connection to the node was lost.
    type: float
    default: 10
"""

EXAMPLES = r"""
- name: Remember when it began, by the clock of the node
  emqx.fleet.emqx_release_info:
  register: before

- name: Upgrade, and collect what there is if that fails
  block:
    - name: Upgrade
      emqx.fleet.emqx_release:
        version: 4.4.19

  rescue:
    - name: Collect what there is
      emqx.fleet.emqx_evidence:
        since: "{{ before.clock }}"
        note: "{{ ansible_failed_result.msg }}"
      register: evidence

    - name: Show the end of the log
      ansible.builtin.debug:
        msg: "{{ evidence.log }}"
"""

RETURN = r"""
facts:
  description: What M(emqx.fleet.emqx_release_info) returns; empty if the node could not be read.
  returned: always
  type: dict
log:
  description: The last lines of the node's log at warning level or above, not older than O(since).
  returned: always
  type: list
  elements: str
crash_dumps:
  description: New crash dumps, each with C(path), C(size), C(time) and C(slogan).
  returned: always
  type: list
  elements: dict
noted:
  description: Whether the journal has the note.
  returned: always
  type: bool
"""


from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import evidence, facts, module_support, node_log
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Collect it."""
    module = AnsibleModule(
        argument_spec=dict(
            executable=dict(type="path"),
            timeout=dict(type="float", default=60),
            since=dict(type="float", default=0),
            lines=dict(type="int", default=20),
            note=dict(type="str"),
            reconnect_timeout=dict(type="float", default=10),
        ),
        supports_check_mode=True,
    )
    params = module.params
    found: Dict[str, Any] = dict(facts={}, log=[], crash_dumps=[], noted=False)
    try:
        node = module_support.open_node(params["executable"], params["timeout"])
        secrets = node.command.secrets
        found["log"] = node_log.last_lines(node.installation, secrets, params["lines"], params["since"])
        found["crash_dumps"] = evidence.crash_dumps(node.installation, params["since"], secrets)
        found["facts"] = facts.collect(node.installation, node.command, node.state_dir)[0]
        if params["note"] and not module.check_mode:
            found["noted"] = evidence.note(node.state_dir, params["note"], found["facts"], secrets)
    except FleetError as error:
        found["msg"] = error.message
    module_support.succeed(module, dict(found, changed=False))


if __name__ == "__main__":
    main()
