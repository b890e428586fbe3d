# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Ansible on the collection as it lies in the checkout, and a node that is one script and some files.

``EMQX_FLEET_ANSIBLE`` is the folder of another release's commands; ``scripts/matrix.py`` runs the tests of this folder
under the oldest and the newest release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.tests import deprecations
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, FakeNode

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = Path(os.environ.get("EMQX_FLEET_ANSIBLE") or Path(sys.executable).parent)
OLD, NEW = "4.4.18", "4.4.19"
#: Processes that stand for brokers, as long as they are known here.
BROKERS: list[subprocess.Popen[bytes]] = []


# The cluster is asked for reservations; the node has its own, as bytes.
_SCRIPT = """#!/bin/sh
[ "$1" = eval ] || {{ echo "no such thing"; exit 2; }}
case "$2" in
*reservations*)
  bytes=$(od -An -v -tu1 {0}/data/fleet/run.json | tr -s ' \\n' , | sed 's/^,//; s/,$//')
  echo "{{emqx_fleet,[{{node,'emqx@127.0.0.1'}},{{reservations,[{{'emqx@127.0.0.1',$(date +%s)000,<<$bytes>>}}]}}]}}" ;;
*) cat {0}/answer ;;
esac
"""


@dataclass(frozen=True)
class Played:
    """The end of a command: its code, all that it printed, and by the names of the tasks what they returned."""

    rc: int
    output: str
    results: dict[str, Any]


def make_node(root: Path, new: bool = True) -> FakeNode:
    """A node that runs OLD, with NEW unpacked; its ``emqx`` command answers questions and refuses all else.

    Its broker is a process that listens nowhere, so that it is the command that is asked.
    """
    node = FakeNode(root, OLD, ["4.4.17"], ["4.4.17"])
    if new:
        node.add_release(NEW, "unpacked", [OLD], [OLD])
    counts = {"connections.count": 20, "sessions.count": 20, "subscriptions.count": 20}
    node.extra["facts"] = {"stats": [(Atom(name), count) for name, count in counts.items()]}
    asked = "check_process_code get_all_env V=:=[{0}]".format(",".join(str(ord(sign)) for sign in NEW))
    root.joinpath("answer").write_text(node.answer(asked))
    for name in ("bin/emqx", f"bin/emqx-{OLD}"):
        node.path(name).write_text(_SCRIPT.format(root))
    runtime = node.path("erts-13.1.5/bin/beam.smp")
    runtime.parent.mkdir(parents=True, exist_ok=True)
    runtime.symlink_to("/bin/sh")
    words = ["-boot", f"{root}/releases/{OLD}/start", "-name", "emqx@127.0.0.1", "-setcookie", COOKIE]
    # It ends with these tests, which close the pipe that it reads from.
    BROKERS.append(subprocess.Popen([str(runtime), "-c", "read end", "--", *words], stdin=subprocess.PIPE))
    return node


def environment(folder: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of a command of Ansible, with the checkout alone in sight."""
    collections = folder / "collections"
    if not collections.exists():
        (collections / "ansible_collections/emqx").mkdir(parents=True)
        (collections / "ansible_collections/emqx/fleet").symlink_to(ROOT)
    found = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    return found | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        **deprecations.ENVIRONMENT,
        **(env or {}),
    }


def run(
    folder: Path, command: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible on this machine, with the checkout alone.

    AssertionError where it makes deprecation warnings.
    """
    done = subprocess.run(
        [str(COMMANDS / command), *arguments],
        cwd=folder,
        env=environment(folder, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    deprecations.require_none(done.stdout + done.stderr, command)
    return done


def play(
    folder: Path,
    tasks: Mapping[str, Mapping[str, Any]],
    *options: str,
    keywords: Mapping[str, Any] | None = None,
    hosts: Sequence[str] = ("node1",),
) -> Played:
    """Run these tasks (name -> module and arguments) on this machine, going on after each that fails."""
    answers = folder / "results.json"
    answers.unlink(missing_ok=True)
    steps: list[dict[str, Any]] = [
        {"name": name, "register": f"result_{number}", "ignore_errors": True, **task}
        for number, (name, task) in enumerate(tasks.items())
    ]
    named = ", ".join(f"{name!r}: result_{number}" for number, name in enumerate(tasks))
    steps.append(
        {
            "name": "Keep what they returned",
            "ansible.builtin.copy": {"content": f"{{{{ {{{named}}} | to_json }}}}", "dest": str(answers)},
        }
    )
    book = folder / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, **(keywords or {}), "tasks": steps}]))
    inventory = folder / "inventory"
    inventory.write_text("".join(f"{host} ansible_connection=local\n" for host in hosts))
    python = f"ansible_python_interpreter={COMMANDS / 'python'}"
    done = run(folder, "ansible-playbook", "-i", str(inventory), "-e", python, str(book), *options)
    results = json.loads(answers.read_text()) if answers.exists() else {}
    return Played(done.returncode, done.stdout + done.stderr, results)
