#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_calls
short_description: Does the work of several modules on an EMQX node in one go
description:
  - Does one call after the other, up to the first that fails, and returns what each of them returned.
  - What was done is written down on the node as it goes. A row that is asked for again after a lost connection goes on
    where it was, and returns also what was done before. Where the connection is lost, the call at work is done to its
    end, and no further one is begun.
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
  row:
    description:
      - The calls in their order. Each has C(kind), which is a module of this collection that works on a node,
        C(packages), C(remove) or C(wait), and its C(arguments).
      - With C(expect), a reading ends the row unless the node runs the version C(running), the members C(cluster)
        of its cluster are all there, of what it counts there are at C(least) these numbers, a restart C(boots) that
        version, and what is watched is the C(same) by its digests; the last three only where they are given.
    type: list
    elements: dict
    required: true
  identity:
    description: What tells this row from every other one.
    type: str
    required: true
  lock_timeout:
    description: Seconds to wait for another process that is at work on a row of this node.
    type: float
    default: 0
  executable:
    description: Path of the C(emqx) command of the installation on the managed host, for all calls.
    type: path
  secret_urls:
    description:
      - URLs with credentials in them, by the names of the packages that the node fetches from there. Others are
        C(urls) of the call C(packages).
    type: dict
    default: {}
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role); a node's turn is one of these.
"""

EXAMPLES = r"""
- name: Switch, and read the node before and after
  emqx.fleet.emqx_calls:
    identity: "{{ 1000000 | random }}"
    row:
      - kind: emqx_release_info
        expect: {running: 4.4.18, cluster: []}
      - kind: emqx_release
        arguments: {version: 4.4.19, state: current}
      - kind: emqx_release_info
"""

RETURN = r"""
results:
  description: What the calls returned, as far as they were made. The last one has C(failed) where it failed.
  returned: always
  type: list
  elements: dict
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def main() -> None:
    """Do the calls."""
    module = AnsibleModule(
        argument_spec=dict(
            row=dict(type="list", elements="dict", required=True),
            identity=dict(type="str", required=True),
            lock_timeout=dict(type="float", default=0),
            executable=dict(type="path"),
            secret_urls=dict(type="dict", default={}, no_log=True),
        ),
        supports_check_mode=True,
    )
    module_support.survive_lost_connection()
    params = module.params
    try:
        row = [_checked(call, params["executable"], params["secret_urls"]) for call in params["row"]]
        state_dir = module_support.open_node(params["executable"], 0).state_dir
        results = calls.perform(state_dir, row, params["identity"], params["lock_timeout"], module.check_mode)
    except FleetError as error:
        module_support.fail(module, error)
    warnings = [warning for result in results for warning in result.pop("warnings", None) or ()]
    changed = any(result.get("changed") for result in results)
    module_support.succeed(module, dict(changed=changed, results=results, warnings=warnings))


def _checked(
    given: Dict[str, Any], executable: Optional[str], secret_urls: Optional[Dict[str, str]] = None
) -> calls.Call:
    """The call with all its arguments. Raises FleetError."""
    kind = calls.KINDS.get(str(given.get("kind")))
    if kind is None:
        raise FleetError(
            "The kind of a call is {0!r}; expected is one of {1}.".format(
                given.get("kind"), ", ".join(sorted(calls.KINDS))
            )
        )
    arguments = given.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise FleetError("The arguments of the call {0} are no dictionary, but {1!r}.".format(given["kind"], arguments))
    arguments = dict(arguments)
    if executable is not None and "executable" in kind.arguments:
        arguments.setdefault("executable", executable)
    if given["kind"] == "packages" and secret_urls:
        arguments["urls"] = dict(arguments.get("urls") or {}, **secret_urls)
    checked = ArgumentSpecValidator(kind.arguments).validate(arguments)
    errors = list(checked.error_messages)
    expect = given.get("expect")
    if expect is not None and given["kind"] != "emqx_release_info":
        errors.append("only emqx_release_info can expect something")
    elif expect is not None and not isinstance(expect, dict):
        errors.append("expect is no dictionary, but {0!r}".format(expect))
    elif expect is not None:
        expected = ArgumentSpecValidator(_EXPECT).validate(expect)
        errors += expected.error_messages
        expect = expected.validated_parameters
    if errors:
        raise FleetError("The call {0} cannot be made: {1}".format(given["kind"], "; ".join(errors)))
    return calls.Call(given["kind"], checked.validated_parameters, expect)


_EXPECT = dict(
    running=dict(type="str", required=True),
    cluster=dict(type="list", elements="str", required=True),
    least=dict(type="int"),
    books=dict(type="dict"),
    tolerance=dict(type="int", default=0),
    boots=dict(type="str"),
    same=dict(type="dict"),
)  # type: Dict[str, Any]


if __name__ == "__main__":
    main()
