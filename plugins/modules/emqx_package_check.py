#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_package_check
short_description: Checks whether a package can hot upgrade an EMQX node
description:
  - Reads a package zip without unpacking it to disk, reads the node, and evaluates every gate between the two, such as
    edition, platform, version, relup, checksum, space and permissions.
  - Returns every gate with what was expected and what was found. A failed one comes with the way out.
  - Nothing is changed.
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
  src:
    description:
      - Path of the package zip on the controller, or on the managed host with O(remote_src=true).
      - The name of the file is compared with what is inside.
    type: path
    required: true
  remote_src:
    description: Whether the zip is on the managed host.
    type: bool
    default: false
  checksum:
    description: SHA-256 of the zip. By default that of a C(.sha256) file beside it, if there is one.
    type: str
  verify_members:
    description: Whether to check the checksum of every file in the zip, which reads it as a whole.
    type: bool
    default: false
  allow_downgrade:
    description: Whether the package may be older than what runs.
    type: bool
    default: false
  accept:
    description: Names of gates that may fail.
    type: list
    elements: str
    default: []
  fail_on_incompatible:
    description: Whether the module fails if the package cannot be used on the node.
    type: bool
    default: true
seealso:
  - module: emqx.fleet.emqx_plan
    description: The same gates for a whole fleet.
  - module: emqx.fleet.emqx_release
"""

EXAMPLES = r"""
- name: Stop if the package does not fit the node
  emqx.fleet.emqx_package_check:
    src: packages/emqx-4.4.19-otp24.3.4.2-1-el8-amd64.zip

- name: Look at a package that is already on the node
  emqx.fleet.emqx_package_check:
    src: /opt/emqx/releases/emqx-4.4.19-otp24.3.4.2-1-el8-amd64.zip
    remote_src: true
    fail_on_incompatible: false
  register: check

- name: Show what is in the way
  ansible.builtin.debug:
    msg: "{{ check.gates | rejectattr('passed') | map(attribute='message') }}"
"""

RETURN = r"""
compatible:
  description: Whether no gate failed that counts, which leaves out warnings and what was accepted.
  returned: success or failure
  type: bool
gates:
  description: Every gate that applies.
  returned: success or failure
  type: list
  elements: dict
  contains:
    name:
      description: Identifier of the gate.
      type: str
      sample: otp
    passed:
      description: Whether it passed.
      type: bool
    severity:
      description: V(error) or V(warning).
      type: str
    accepted:
      description: Whether its failure was accepted by name.
      type: bool
    expected:
      description: What was expected.
      type: str
    actual:
      description: What was found.
      type: str
    message:
      description: What was found, what was expected, and the way out. Empty if it passed.
      type: str
package:
  description:
    - What is known of the package, with C(name), C(path), C(size), C(edition), C(version), C(otp), C(os), C(arch),
      C(erts), C(built_on), C(relup), C(unpacked_size), C(sha256), C(problems) and C(warnings).
  returned: success or failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.fleet.plugins.module_utils import facts, module_support
from ansible_collections.emqx.fleet.plugins.module_utils import package as packages
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Read the node, and the package if it is here; the action plugin evaluates the gates."""
    module = AnsibleModule(
        argument_spec=dict(
            src=dict(type="path", required=True),
            remote_src=dict(type="bool", default=False),
            checksum=dict(type="str"),
            verify_members=dict(type="bool", default=False),
            allow_downgrade=dict(type="bool", default=False),
            accept=dict(type="list", elements="str", default=[]),
            fail_on_incompatible=dict(type="bool", default=True),
            executable=dict(type="path"),
            timeout=dict(type="float", default=60),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        node = module_support.open_node(params["executable"], params["timeout"])
        found, _result = facts.collect(node.installation, node.command, node.state_dir)
    except FleetError as error:
        module_support.fail(module, error)
    package = (
        packages.describe(params["src"], params["checksum"], params["verify_members"]) if params["remote_src"] else None
    )
    module.exit_json(changed=False, facts=found, package=package)


if __name__ == "__main__":
    main()
