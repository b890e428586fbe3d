# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who the controller is, so that a dead run's reservation can be told from a living one's."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

#: States of a process that is only there for its parent to ask for its exit code.
_ENDED = ("Z", "X")


def identity() -> str:
    """This machine and its present boot; a container has a host name of its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot} {_pid_namespace()}".strip()


def run_process() -> str:
    """The process of the whole run, as ``pid@start time``; empty if it has ended.

    A task's own process is a fork of it that ends with the task. Whoever asked the system for its parent would name
    another process where the run was killed and the task outlives it.
    """
    parent = multiprocessing.parent_process()
    process = _process(os.getppid() if parent is None or parent.pid is None else parent.pid)
    return "" if process.endswith("@") else process


def watched_process() -> str:
    """The process of the whole run, for :func:`has_ended`: also where the system does not tell when it was started."""
    parent = multiprocessing.parent_process()
    return _process(os.getppid() if parent is None or parent.pid is None else parent.pid)


def has_ended(process: str) -> bool:
    """Whether a process, ``pid@start time``, has ended. Without ``/proc``: whether its number is free."""
    pid = int(process.partition("@")[0])
    if os.path.exists("/proc/self/stat"):
        return process.endswith("@") or _process(pid) != process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def who(variables: Mapping[str, Any] | None = None) -> str:
    """User and host, for the message that another operator reads.

    ``variables``: of a task. AWX and Tower pass who started a job as extra variables, ``awx_user_name`` and
    ``tower_user_name``; a job that a schedule started has none.
    """
    given = variables or {}
    names = [given.get(name) for name in ("awx_user_name", "tower_user_name")]
    names += [os.environ.get(name) for name in ("AWX_USER", "TOWER_USER", "SUDO_USER")]
    name = next((str(name).strip() for name in names if name and str(name).strip()), "") or _user()
    return f"{name}@{socket.gethostname()}"


def _user() -> str:
    """The name of the user; in a container that runs as a user without an account, its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def is_dead(holder: Mapping[str, Any]) -> bool:
    """Whether the run that holds a reservation is known to have ended: its process was on this very machine."""
    process = str(holder.get("controller_process") or "")
    pid, _at, started = process.partition("@")
    if not pid.isdigit() or not started or holder.get("controller") != identity():
        return False
    return _process(int(pid)) != process


def without_dead_run(facts: Mapping[str, Any], take_over: Collection[str] = ()) -> dict[str, Any]:
    """NodeFacts in which the reservation of a run that is known to have ended, or is taken over, does not count."""
    run = facts.get("run")
    return dict(facts, run=None) if run and (is_dead(run) or run["id"] in take_over) else dict(facts)


def has_unfinished_run(facts: Mapping[str, Any], run_id: str, take_over: Collection[str] = ()) -> bool:
    """Whether the run that has a node reserved will not give it up: it has ended, is taken over, or is ours."""
    run = facts.get("run")
    return run is not None and (run["id"] == run_id or run["id"] in take_over or is_dead(run))


def _process(pid: int) -> str:
    """``pid@start time``: a number that is used again later is another process. ``pid@`` for one that has ended, also
    where nobody has asked for its exit code yet.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        fields = []
    return f"{pid}@{fields[19] if len(fields) > 19 and fields[0] not in _ENDED else ''}"


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
