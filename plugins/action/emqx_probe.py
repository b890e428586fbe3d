# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_probe``: MQTT clients in a process of their own, from here to the end of the run, and what they noticed."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import host_variables
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import asking
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_check, settings

_NODE = {"host": {"type": "str"}, "port": {"type": "int"}}
_OPTIONS = {
    "state": {"type": "str", "choices": ["started", "read", "stopped"], "default": "started"},
    "id": {"type": "str"},
    "nodes": {"type": "dict"},
    "clients": {"type": "int", "default": asking.CLIENTS},
    "rate": {"type": "float", "default": asking.RATE},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "tls": {"type": "bool", "default": False},
    "ca_file": {"type": "path"},
    "cert_file": {"type": "path"},
    "key_file": {"type": "path"},
    "key_password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "topic_prefix": {"type": "str", "default": asking.TOPIC_PREFIX},
    "connect_timeout": {"type": "float", "default": asking.CONNECT_TIMEOUT},
}
_PASSWORD = f"{settings.PREFIX}probe_password"
_TLS = ("ca_file", "cert_file", "key_file", "key_password", "validate_certs")


class ActionModule(ActionBase):
    """Runs on the controller, once for all nodes."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        state = RunState(variables)
        of_run = options["nodes"] is None and options["state"] == "started"
        try:
            identifier = options["id"] or state.run_id or "probe"
            if options["state"] == "stopped":
                found = {} if self._task.check_mode else asking.stop(identifier)
                result.update(changed=bool(found.get("nodes")), probe=found)
            elif options["state"] == "read":
                rows = asking.count(identifier, asking.hosts_of(identifier))
                checks = {host: probe_check.probe_check(None, row).as_dict() for host, row in rows.items()}
                result.update(changed=False, nodes=probe_check.without_internal(rows), checks=checks)
            else:
                nodes = self._nodes_of_run(state, variables) if of_run else _nodes(options)
                result.update(self._start(identifier, nodes, options))
        except asking.ProbeError as error:
            result.update(failed=True, msg=str(error))
        except NoPlanError:
            raise AnsibleActionFail(
                "nodes is missing: name the nodes that the clients connect to, such as {b1: {host: 10.0.0.1}}. Only "
                "in a run of the role emqx.fleet.emqx_upgrade, behind its plan, they are those of the run."
            ) from None
        if result.get("failed") and of_run and not self._task.check_mode:
            files = ReportFiles(state.settings, variables, state.started)
            files.begin(state.plan, state.rules(), str(result["msg"]))
        return result

    def _start(self, identifier: str, nodes: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        missing = asking.missing_library()
        if missing:
            return {"failed": True, "msg": f"The client probe cannot be started: {missing}."}
        if self._task.check_mode:
            return {"changed": True, "nodes": {}}
        changed = asking.start(identifier, nodes, options["rate"], options["connect_timeout"])
        try:
            standing = asking.standing(identifier)
        except asking.ProbeError:
            asking.stop(identifier)
            raise
        refusal = probe_check.refusal(standing)
        if not refusal:
            return {"changed": changed, "nodes": standing}
        if changed:
            asking.stop(identifier)
        return {"changed": False, "nodes": standing, "failed": True, "msg": refusal}

    def _nodes_of_run(self, state: RunState, variables: dict[str, Any]) -> dict[str, Any]:
        """Those that the run works on, by its settings. A password is in no setting: it is looked up here."""
        hosts = probe_check.hosts(state.plan)
        facts = state.facts_of_all()
        names = [_PASSWORD, "ansible_host"]
        found = {}
        for host, values in host_variables.of_hosts(hosts, "", names, self._task, variables, self._loader):
            address, password = (values.get(name) for name in ("ansible_host", _PASSWORD))
            address = host if address is None or isinstance(address, settings.NotKnown) else str(address)
            order = probe_check.order(
                state.settings_of(host), facts[host], address, "" if password is None else str(password)
            )
            found[host] = {**order, "topic_prefix": asking.TOPIC_PREFIX}
        return found


def _nodes(options: dict[str, Any]) -> dict[str, Any]:
    """The nodes that were named, each with what is for all of them."""
    if options["clients"] < 1 or options["rate"] <= 0 or not options["nodes"]:
        raise AnsibleActionFail("Expected are nodes, clients of 1 or more, and a rate above 0.")
    common = {name: options[name] for name in ("clients", "username", "password", "topic_prefix")}
    common["tls"] = {name: options[name] for name in _TLS} if options["tls"] else None
    found = {}
    for name, given in options["nodes"].items():
        node = given or {}
        strange = set(node) - set(_NODE) if isinstance(node, dict) else {str(node)}
        if strange:
            raise AnsibleActionFail(
                f"nodes: {name} has {', '.join(sorted(map(str, strange)))}; expected are host and port, both optional."
            )
        default = probe_check.DEFAULT_TLS_PORT if options["tls"] else probe_check.DEFAULT_PORT
        port = str(node.get("port") or default)
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise AnsibleActionFail(f"nodes: the port of {name} is {port}; expected is a number from 1 to 65535.")
        found[str(name)] = {"host": str(node.get("host") or name), "port": int(port), **common}
    return found
