# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Tasks and plays of real Ansible on a node, over SSH, with what they return as data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .node import Node, ansible


@dataclass(frozen=True)
class Played:
    """The end of a command: all that it printed, and by the names of the tasks what they returned."""

    rc: int
    output: str
    results: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """What the only task returned."""
        (result,) = self.results.values()
        return dict(result)


def play(node: Node, tasks: Mapping[str, Mapping[str, Any]], *options: str) -> Played:
    """Run a playbook of these tasks (name -> module and arguments) to its end, or until one fails."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "results.json"
        steps: list[dict[str, Any]] = [
            {"name": name, "register": f"result_{number}", **task} for number, (name, task) in enumerate(tasks.items())
        ]
        named = ", ".join(f"{name!r}: result_{number}" for number, name in enumerate(tasks))
        # Not a part of what is tested: it writes in check mode, and is no change.
        steps.append(
            {
                "name": "Keep what they returned",
                "ansible.builtin.copy": {"content": f"{{{{ {{{named}}} | to_json }}}}", "dest": str(answers)},
                "delegate_to": "localhost",
                "check_mode": False,
                "changed_when": False,
                "diff": False,
            }
        )
        book = Path(folder) / "play.yml"
        book.write_text(json.dumps([{"hosts": node.name, "gather_facts": False, "tasks": steps}]), encoding="utf-8")
        done = ansible(node.lab, ["ansible-playbook", str(book), *options])
        results = json.loads(answers.read_text(encoding="utf-8")) if answers.exists() else {}
    return Played(done.returncode, done.stdout + done.stderr, results)


def one_task(node: Node, module: str, arguments: Mapping[str, Any], *options: str) -> Played:
    """Run a single task; what it returned stands under the module's name."""
    given = ["-a", json.dumps(arguments)] if arguments else []
    done = ansible(node.lab, ["ansible", node.name, "-m", module, *given, *options])
    begin = done.stdout.find("=> {")
    assert begin >= 0, f"the task returned nothing: {done.stdout}{done.stderr}"
    result, _end = json.JSONDecoder().raw_decode(done.stdout, begin + len("=> "))
    return Played(done.returncode, done.stdout + done.stderr, {module: result})
