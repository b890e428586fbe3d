# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_package_check``: reads a package that is here, and evaluates the gates."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.module_utils import package as packages
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import GateResult


class ActionModule(ActionBase):
    """The module reads the node (and a package that is there); the decision is made here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        try:
            accept = gates.check_accept(arguments.get("accept") or [])
        except gates.GateError as error:
            # Not from it: Ansible would show its words twice.
            raise AnsibleActionFail(f"accept: {error}") from None
        package = None
        if not boolean(arguments.get("remote_src", False)) and arguments.get("src"):
            package = self._read(arguments)
        answer = self._execute_module(
            module_name="emqx.fleet.emqx_package_check", module_args=arguments, task_vars=task_vars
        )
        if answer.get("failed") or answer.get("unreachable"):
            result.update(answer)
            return result
        package = package or answer["package"]
        evaluated = gates.evaluate(
            answer["facts"],
            package,
            gates.Context(
                target=str(package["version"] or ""),
                allow_downgrade=boolean(arguments.get("allow_downgrade", False)),
                accept=accept,
            ),
        )
        compatible = not gates.refused(evaluated)
        result.update(changed=False, compatible=compatible, gates=evaluated, package=package)
        if not compatible:
            failed = [gate for gate in evaluated if not gate["passed"] and gate["severity"] == "error"]
            result["msg"] = f"{package['name']} cannot upgrade this node: " + " ".join(
                _told(gate) for gate in failed if not gate["accepted"]
            )
            result["failed"] = boolean(arguments.get("fail_on_incompatible", True))
        return result

    def _read(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            path = self._find_needle("files", arguments["src"])
        except AnsibleError as error:
            raise AnsibleActionFail(f"src: {error}") from None
        return packages.describe(path, arguments.get("checksum"), boolean(arguments.get("verify_members", False)))


def _told(gate: GateResult) -> str:
    """A gate in one sentence, with what was found where its message leaves that to the table."""
    found = "" if str(gate["actual"]) in gate["message"] else f" (found: {gate['actual']})"
    return f"{gate['name']}: {gate['message'].rstrip('.')}{found}."
