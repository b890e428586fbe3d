# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dead run is told from a living one, with real processes."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs

FORK = multiprocessing.get_context("fork")


def holder(process: str, **changed: Any) -> dict[str, Any]:
    return {"id": "run-1", "controller": runs.identity(), "controller_process": process, **changed}


def task(say: Connection, go: Connection) -> None:
    """A task's worker: tells its run's process at once and once more when told to, as a run forks it for each task."""
    say.send(runs.run_process())
    go.recv()
    say.send(runs.run_process())


def run(say: Connection, go: Connection) -> None:
    """A run that has begun a task and waits for it."""
    worker = FORK.Process(target=task, args=(say, go))
    worker.start()
    say.send(os.getpid())
    worker.join()


def test_a_task_that_outlives_its_killed_run_names_nobody() -> None:
    """Its parent is init then, which never ends: a reservation in its name would keep everybody out."""
    hear, say = FORK.Pipe(duplex=False)
    wait, go = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run, args=(say, wait))
    process.start()
    said = [hear.recv(), hear.recv()]
    named = next(word for word in said if isinstance(word, str))
    assert named.startswith(f"{process.pid}@")
    assert not runs.is_dead(holder(named))
    process.kill()
    process.join()
    go.send("now")
    assert hear.recv() == ""
    assert runs.is_dead(holder(named))


def test_a_process_that_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = runs._process(child.pid)
    assert not runs.is_dead(holder(process))
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert runs.is_dead(holder(process)), "it has ended, though nobody has asked how"
    child.wait()
    assert runs.is_dead(holder(process))


@pytest.mark.parametrize(
    "change",
    [
        lambda known: {"controller_process": ""},
        lambda known: {"controller_process": "4194305@"},
        lambda known: {"controller_process": "x"},
        lambda known: {"controller": "another machine"},
    ],
)
def test_what_cannot_be_known_is_not_said_to_be_dead(change: Callable[[str], dict[str, Any]]) -> None:
    process = f"{os.getpid()}@1"
    assert runs.is_dead(holder(process)), "the number is another process's now"
    assert not runs.is_dead(holder(process, **change(process)))


def test_facts_without_the_reservation_of_a_dead_run() -> None:
    dead, alive = holder(f"{os.getpid()}@1"), holder(runs._process(os.getpid()))
    assert runs.without_dead_run({"run": dead, "state": "running"}) == {"run": None, "state": "running"}
    assert runs.without_dead_run({"run": alive})["run"] == alive
    assert runs.without_dead_run({"run": None}) == {"run": None}


def test_a_run_that_will_not_give_a_node_up_any_more() -> None:
    dead, alive = holder(f"{os.getpid()}@1"), holder(runs._process(os.getpid()))
    assert runs.has_unfinished_run({"run": dict(dead, id="other")}, "ours")
    assert not runs.has_unfinished_run({"run": dict(alive, id="other")}, "ours")
    assert runs.has_unfinished_run({"run": dict(alive, id="ours")}, "ours")
    assert runs.has_unfinished_run({"run": None}, "ours") is False
    assert runs.has_unfinished_run({}, "ours") is False


def test_facts_without_a_reservation_that_is_taken_over() -> None:
    alive = dict(holder(runs._process(os.getpid())), id="gone")
    assert runs.without_dead_run({"run": alive}, ["gone"])["run"] is None
    assert runs.without_dead_run({"run": alive}, ["go", "gone2"])["run"] == alive
    assert runs.has_unfinished_run({"run": alive}, "ours", ["gone"]), "nobody else gives it up"
    assert not runs.has_unfinished_run({"run": alive}, "ours", ["go"])


def test_who(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWX_USER", "olga")
    assert runs.who().startswith("olga@")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"awx_user_name": "ann", "tower_user_name": "bob"}, "ann"),
        ({"tower_user_name": "bob"}, "bob"),
        ({"awx_user_name": "", "tower_user_name": " bob "}, "bob"),
        ({"awx_user_name": None}, "olga"),
        ({"awx_user_name": " "}, "olga"),
        ({"awx_user_name": 4711}, "4711"),
        ({}, "olga"),
        (None, "olga"),
    ],
)
def test_who_by_the_words_of_awx(monkeypatch: pytest.MonkeyPatch, variables: Any, name: str) -> None:
    monkeypatch.setenv("AWX_USER", "olga")
    assert runs.who(variables) == f"{name}@{socket.gethostname()}"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_an_account_has_a_number(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """As in a container that is given any number; Python 3.13 raises another error for it."""

    def nobody() -> str:
        raise error("getpwuid(): uid not found: 61234")

    for name in ("AWX_USER", "TOWER_USER", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    assert runs.who().partition("@")[0] == str(os.getuid())
