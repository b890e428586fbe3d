# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Ending the controller's run in the middle, as a crash, an impatient operator or a lost machine would."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import LabError
from .procs import descendants

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code (128 + signal when it was killed), whether we did that, and what it printed."""

    code: int
    killed: bool
    output: str
    seconds: float


def run_and_kill(
    argv: Sequence[str],
    *,
    after: float | None = None,
    on: str | None = None,
    delay: float = 0.0,
    signal_number: int = signal.SIGKILL,
    scope: str = "tree",
    env: dict[str, str] | None = None,
    echo: Callable[[str], object] | None = None,
) -> Outcome:
    """Run a command and kill it after so many seconds, or when a line of its output matches.

    :param on: regular expression, searched in each line; ``delay`` seconds later it is killed.
    :param scope: ``process`` (it alone, as by ``kill -9``: its children live on), or ``tree`` (all it started, also
        what moved to a session of its own, as when its machine dies).
    """
    if scope not in ("process", "tree"):
        raise LabError(f"scope is {scope!r}; expected process or tree", 2)
    before = descendants(os.getpid())
    begin = time.monotonic()
    _adopt_orphans(True)
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        _adopt_orphans(False)
        raise LabError(f"{argv[0]} cannot be run: {error.strerror}", 127) from error
    pattern = re.compile(on) if on else None
    lines: list[str] = []
    killed = threading.Event()
    timers: list[threading.Timer] = []

    def shoot() -> None:
        if killed.is_set() or process.poll() is not None:
            return
        killed.set()
        if scope == "process":
            os.kill(process.pid, signal_number)
        else:
            _signal_tree(process.pid, before, signal_number)

    def arm(seconds: float) -> None:
        timer = threading.Timer(seconds, shoot)
        timer.daemon = True
        timers.append(timer)
        timer.start()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if echo:
                echo(line)
            if pattern and not timers and pattern.search(line):
                arm(delay) if delay else shoot()

    if after is not None:
        arm(after)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    code = process.wait()
    # A child that lives on may hold the pipe for long; what it still says is not waited for.
    reader.join(5)
    for timer in timers:
        timer.cancel()
        # Whoever is still at killing this run's processes must not meet those of the next one.
        timer.join()
    _adopt_orphans(False)
    return Outcome(128 - code if code < 0 else code, killed.is_set(), "".join(lines), time.monotonic() - begin)


def _adopt_orphans(adopt: bool) -> None:
    """What loses its parent becomes our child, so that a tree can be found to its last leaf.

    For as long as a run lasts: hosts that are brought up later are nobody's children, and no part of the next run.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def _signal_tree(root: int, spared: set[int], number: int) -> None:
    """Signal a process and all that it started; with SIGKILL until none is left."""
    for _unused in range(200):
        targets = {root} | descendants(os.getpid()) - spared
        alive = 0
        for pid in targets:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            alive += 1
            if pid != root and number == signal.SIGKILL:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        if number != signal.SIGKILL or alive <= 1:
            return
        time.sleep(0.01)


def add_command(parser: argparse.ArgumentParser) -> None:
    """The command line of this: ``lab kill-run --on 'TASK .*Switch' -- ansible-playbook …``."""
    parser.add_argument("--after", type=float, metavar="SECONDS", help="kill it after so many seconds")
    parser.add_argument("--on", metavar="REGEX", help="kill it when a line of its output matches")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="with --on: so many seconds after the match"
    )
    parser.add_argument("--signal", default="KILL", help="which signal (default: %(default)s)")
    parser.add_argument(
        "--scope",
        choices=["process", "tree"],
        default="tree",
        help="it alone, or all that it started (default: %(default)s)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parser.set_defaults(action=_command)


def _command(options: argparse.Namespace) -> int:
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words or (options.after is None and options.on is None):
        raise LabError(
            "expected --after SECONDS or --on REGEX, and a command: lab kill-run --after 5 -- ansible-playbook x.yml",
            2,
        )
    try:
        number = signal.Signals[f"SIG{options.signal.upper().removeprefix('SIG')}"]
    except KeyError:
        raise LabError(f"{options.signal} is not a signal; expected a name such as KILL, TERM or INT", 2) from None

    def echo(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    outcome = run_and_kill(
        words,
        after=options.after,
        on=options.on,
        delay=options.delay,
        signal_number=number,
        scope=options.scope,
        echo=echo,
    )
    what = "killed" if outcome.killed else "ended by itself"
    print(f"lab: {what} after {outcome.seconds:.1f} s, exit code {outcome.code}", file=sys.stderr)
    return outcome.code
