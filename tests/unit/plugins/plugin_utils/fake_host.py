# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as the controller sees it: it answers, notes what it was asked, and fails where a test wants it to."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import Call
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import OLD

Told = dict[str, Any]

PACKAGES = "/var/lib/emqx/fleet/packages"
DUMP = {"path": "/log/crash.dump", "size": 1, "time": 1.0, "slogan": "killed"}
#: The ways in which a step fails: by its own answer, with the connection, in Ansible, in the module, and silently.
FAILURES: dict[str, Told] = {
    "refused": {"failed": True, "msg": "It was refused.", "failure_class": "refused", "output": ["no"]},
    "lost": {
        "failed": True,
        "connection_lost": True,
        "failure_class": "unknown",
        "msg": "The connection to the node was lost and did not come back within 60 s: timed out",
    },
    "become": {
        "failed": True,
        "failure_class": "unknown",
        "msg": "The node cannot be worked on: Missing sudo password",
    },
    "crash": {
        "failed": True,
        "rc": 1,
        "module_stdout": "",
        "module_stderr": "Traceback (most recent call last):",
        "exception": "Traceback (most recent call last):",
        "msg": "MODULE FAILURE\nSee stdout/stderr for the exact error",
    },
    "silent": {"failed": True},
}


def read_facts(running: str = OLD, permanent: str | None = None, **changes: Any) -> dict[str, Any]:
    """Facts of a healthy node of a cluster of two, as they are read for a verification."""
    facts = make_facts("emqx@a1", running, ["emqx@a1", "emqx@a2"])
    facts.update(
        permanent=permanent or running,
        boot={"version": permanent or running, "consistent": True, "problems": []},
        connections=10,
        sessions=12,
        subscriptions=30,
        listeners=[{"protocol": "mqtt:tcp", "listen_on": "1883"}],
        plugins=[{"name": "emqx_retainer", "active": True}],
        listener_answers=[],
        settings={},
        data_dir="/var/lib/emqx",
        runner_user="emqx",
        leftovers=[],
        staged_packages=[],
    )
    facts.update(changes)
    return facts


class FakeHost:
    """Stands for :class:`controller.remote.Node` and for :mod:`controller.reservation`.

    ``answers``: what a step answers instead, by its name, or by its name and its turn (``info#2``). For a reading
    (``info``) and the evidence it may be facts that differ. A step that fails has not done what it was asked for.
    """

    connection_losses = 0

    def __init__(self, running: str = OLD, permanent: str | None = None, /, **answers: Any) -> None:
        self.reconnect_timeout = 60.0
        self.connection_losses = 0
        self.running = running
        self.permanent = permanent or running
        self.answers: dict[str, Told] = dict(answers)
        self.steps: list[str] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.timeouts: list[float | None] = []
        #: How often something was executed on the node.
        self.executions = 0
        #: Packages that are there already.
        self.packages: set[str] = set()
        #: The rows of calls that were said ahead.
        self.said: list[list[Call]] = []
        self._row: list[tuple[str, dict[str, Any]]] = []
        self._begun = False

    def answer(self, step: str, told: Told) -> Told:
        """What the step answers, once it was written down."""
        self.steps.append(step)
        numbered = f"{step}#{self.steps.count(step)}"
        return copy.deepcopy(self.answers.get(numbered) or self.answers.get(step) or told)

    def facts(self) -> Told:
        """What the node is."""
        return read_facts(self.running, self.permanent)

    # controller.remote.Node

    @property
    def has_row(self) -> bool:
        """Whether something that was said ahead is still to be run."""
        return bool(self._row)

    def ahead(self, title: str, row: Sequence[Call]) -> None:
        """What will be run next."""
        assert title
        self.said.append(list(row))
        self._row, self._begun = [(call.kind, dict(call.arguments)) for call in row], False

    def execute(self, kind: str, arguments: Mapping[str, Any]) -> None:
        """Count executions: what was said ahead, and comes in that order, is one; a failure ends it."""
        if not self._row or self._row[0] != (kind, dict(arguments)):
            self._row = []
            self.executions += 1
            return
        self._row.pop(0)
        self.executions += not self._begun
        self._begun = True

    def run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None = None) -> Told:
        """The result of a module."""
        self.execute(module, arguments)
        told = self._run(module, arguments, reconnect_timeout)
        if told.get("failed") or told.get("missing"):
            self._row = []
        return told

    def _run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None) -> Told:
        if module == "wait":
            return self.answer(f"wait {arguments['seconds']}", {"changed": False})
        if module == "packages":
            return self._bring(arguments)
        if module == "remove":
            self.asked.append(("remove", arguments))
            return self.answer(f"remove {arguments['path']}", {"changed": True})
        self.asked.append((module, arguments))
        self.timeouts.append(reconnect_timeout)
        if module == "emqx_release_info":
            found = self.answer("info", {})
            return found if found.get("failed") else {**self.facts(), **found}
        if module == "emqx_evidence":
            told = {"facts": self.facts(), "log": ["[error] x"], "crash_dumps": [DUMP], "noted": True}
            return self.answer("evidence", told)
        if module != "emqx_release":
            raise AssertionError(f"an unknown module {module}")
        version, state = arguments["version"], arguments["state"]
        rows = [{"action": {"permanent": "commit", "current": "switch"}.get(state, "unpack"), "version": version}]
        told = self.answer(f"{state} {version}", {"changed": True, "actions": rows, "log_errors": []})
        if not told.get("failed") and state in ("current", "permanent"):
            self.running = version
            self.permanent = version if state == "permanent" else self.permanent
        return told

    def _bring(self, arguments: Mapping[str, Any]) -> Told:
        self.asked.append(("packages", dict(arguments)))
        self.packages |= {*arguments["received"], *arguments.get("urls", ())}
        missing = [row["name"] for row in arguments["packages"] if row["name"] not in self.packages]
        return self.answer("packages", {"changed": True, "missing": missing})

    def remove(self, path: str) -> Told:
        """The result of removing a path."""
        return self.run("remove", {"path": path})

    def send(self, source: str, name: str) -> Told:
        """The result of sending a file."""
        self.asked.append(("send", {"source": source, "name": name}))
        return self.answer(f"send {name}", {"path": f"/tmp/{name}"})

    # controller.reservation

    def reserve(self, node: FakeHost, run_id: str, **how: Any) -> Told:
        """The result of reserving this node."""
        return node.reservation("park" if how.pop("parked", False) else "reserve", {"run_id": run_id, **how})

    def give_up(self, node: FakeHost, run_id: str) -> Told:
        """The result of giving it up."""
        return self.perform(node, self.absent(run_id))

    def absent(self, run_id: str) -> Told:
        """What is asked for by that."""
        return {"run_id": run_id, "state": "absent"}

    def wish(self, run_id: str, lease: float, verify_cluster: bool, who: str = "", **more: Any) -> Told:
        """What is asked for of a reservation."""
        del who
        return {"run_id": run_id, "lease": lease, "verify_cluster": verify_cluster, **more}

    def first_call(self, wish: Mapping[str, Any]) -> Call:
        """The call that has it done."""
        return Call("emqx_reservation", wish)

    def perform(self, node: FakeHost, wish: Mapping[str, Any], sleep: Any = None) -> Told:
        """The result of it."""
        del sleep
        node.execute("emqx_reservation", wish)
        how = dict(wish)
        state, renews = how.pop("state", "present"), how.pop("renew", False)
        step = "renew" if renews else {"absent": "give up", "parked": "park"}.get(state, "reserve")
        told = node.reservation(step, how)
        if told.get("failed"):
            node.ahead("nothing", [])
        return told

    def reservation(self, step: str, how: Mapping[str, Any]) -> Told:
        """Write the step down without the means of waiting."""
        self.asked.append((step, {name: value for name, value in how.items() if name not in ("sleep", "who")}))
        return self.answer(step, {"changed": True})

    def asked_for(self, name: str) -> list[dict[str, Any]]:
        """The arguments of all calls of a module or a step."""
        return [arguments for module, arguments in self.asked if module == name]
