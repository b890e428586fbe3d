# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as the controller sees it: it answers, notes what it was asked, and fails where a test wants it to."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

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

    def answer(self, step: str, told: Told) -> Told:
        """What the step answers, once it was written down."""
        self.steps.append(step)
        numbered = f"{step}#{self.steps.count(step)}"
        return copy.deepcopy(self.answers.get(numbered) or self.answers.get(step) or told)

    def facts(self) -> Told:
        """What the node is."""
        return read_facts(self.running, self.permanent)

    # controller.remote.Node

    def run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None = None) -> Told:
        """The result of a module."""
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

    def make_directory(self, path: str, owner: str) -> Told:
        """The result of making a directory."""
        self.asked.append(("directory", {"path": path, "owner": owner}))
        return self.answer("mkdir", {"changed": True})

    def remove(self, path: str) -> Told:
        """The result of removing a path."""
        self.asked.append(("remove", {"path": path}))
        return self.answer(f"remove {path}", {"changed": True})

    def copy(self, source: str, target: str, owner: str) -> Told:
        """The result of copying a file."""
        self.asked.append(("copy", {"source": source, "target": target, "owner": owner}))
        return self.answer(f"copy {target.rpartition('/')[2]}", {"changed": True})

    # controller.reservation

    def reserve(self, node: FakeHost, run_id: str, **how: Any) -> Told:
        """The result of reserving this node."""
        return node.reservation("park" if how.pop("parked", False) else "reserve", {"run_id": run_id, **how})

    def renew(self, node: FakeHost, run_id: str, **how: Any) -> Told:
        """The result of keeping it."""
        return node.reservation("renew", {"run_id": run_id, **how})

    def give_up(self, node: FakeHost, run_id: str) -> Told:
        """The result of giving it up."""
        return node.reservation("give up", {"run_id": run_id})

    def reservation(self, step: str, how: Mapping[str, Any]) -> Told:
        """Write the step down without the means of waiting."""
        self.asked.append((step, {name: value for name, value in how.items() if name not in ("sleep", "who")}))
        return self.answer(step, {"changed": True})

    def asked_for(self, name: str) -> list[dict[str, Any]]:
        """The arguments of all calls of a module or a step."""
        return [arguments for module, arguments in self.asked if module == name]
