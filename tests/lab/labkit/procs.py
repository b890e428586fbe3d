# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Processes: running commands, and finding out what runs where."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError


def run(
    argv: Sequence[str],
    *,
    text: str | None = None,
    check: bool = True,
    timeout: float | None = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its output.

    :param text: what it reads from its standard input; nothing by default.
    :raises LabError: if ``check`` and it fails, or if it takes longer than ``timeout`` seconds.
    """
    shown = shlex.join(argv)
    try:
        # An empty input where none is given: nothing here may wait for the terminal.
        done = subprocess.run(
            list(argv), input=text or "", capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed, and the lab needs it for: {shown}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"took longer than {timeout} s: {shown}") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"exit code {done.returncode} from: {shown}\n{said}")
    return done


def spawn(argv: Sequence[str], log: str | Path, env: dict[str, str] | None = None) -> None:
    """Start a command that lives on by itself, in a session of its own, and return at once.

    It is nobody's child here, so whoever uses the lab need not wait for it. What it says is appended to ``log``.
    """
    with open(log, "ab") as output:
        subprocess.run(
            ["setsid", "--fork", *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, check=True
        )


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Wait until a condition holds; false if it still does not after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True


@dataclass(frozen=True)
class Process:
    """A process as the machine sees it."""

    pid: int
    parent: int
    state: str
    comm: str
    argv: tuple[str, ...]


def read_process(pid: int) -> Process | None:
    """What /proc says of a process; null if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            head, _unused, tail = stat.read().rpartition(")")
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            words = cmdline.read().decode(errors="replace").rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = tail.split()
    return Process(pid, int(fields[1]), fields[0], head.partition("(")[2], tuple(words) if words != [""] else ())


def all_pids() -> Iterator[int]:
    """The ids of all processes."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            yield int(entry)


def in_network_namespaces(paths: Sequence[str]) -> set[int]:
    """The processes whose network is one of these namespaces, whatever else they are."""
    wanted = set()
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    found = set()
    for pid in all_pids():
        try:
            status = os.stat(f"/proc/{pid}/ns/net")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if (status.st_dev, status.st_ino) in wanted:
            found.add(pid)
    return found


def ancestry(pid: int) -> set[int]:
    """A process and all that it descends from."""
    line: set[int] = set()
    while pid > 0 and pid not in line:
        line.add(pid)
        process = read_process(pid)
        pid = process.parent if process else 0
    return line


def descendants(root: int) -> set[int]:
    """All that descends from a process, without itself."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        process = read_process(pid)
        if process:
            children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found
