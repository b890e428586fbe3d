# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Run make targets one after the other, and sum up what became of each.

usage: stages.py [--keep-going] TARGET...

Stops at the first that fails, unless told to keep going. The last line printed is `N passed, N failed`; the exit status
is 0 only if every target was run and passed. When interrupted, it lets the running target clean up and then sums up.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Stage(NamedTuple):
    """What became of one target: `passed`, `FAILED`, `interrupted` or `not run`."""

    name: str
    outcome: str
    seconds: float


@contextlib.contextmanager
def signals_passed_on(process: subprocess.Popen[bytes]) -> Iterator[set[int]]:
    """Hand what would end us to `process` instead; gives the set of signals that came.

    Ctrl-C in a terminal reaches both of us, so that one is only noted.
    """
    came: set[int] = set()

    def note(number: int, _frame: FrameType | None) -> None:
        came.add(number)
        if number != signal.SIGINT:
            process.send_signal(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(name: str) -> Stage:
    """Run one target, its output going where ours goes."""
    print(f"\n=== {name}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(("make", "--no-print-directory", name), cwd=ROOT, stdin=subprocess.DEVNULL)
    with signals_passed_on(process) as came:
        status = process.wait()
    seconds = time.monotonic() - start
    outcome = "interrupted" if came else "passed" if status == 0 else "FAILED"
    print(f"=== {name}: {outcome} after {seconds:.0f} s", flush=True)
    return Stage(name, outcome, seconds)


def run_all(names: list[str], keep_going: bool) -> list[Stage]:
    """Run the targets in order; those after the end of the run are `not run`."""
    stages: list[Stage] = []
    over = False
    for name in names:
        stages.append(Stage(name, "not run", 0.0) if over else run(name))
        outcome = stages[-1].outcome
        over = over or outcome == "interrupted" or (outcome == "FAILED" and not keep_going)
    return stages


def summary(stages: list[Stage]) -> str:
    """Return the table and the line of counts."""
    width = max(len(stage.name) for stage in stages)
    rows = [f"{stage.name:{width}}  {stage.outcome:11}  {stage.seconds:6.0f} s" for stage in stages]
    total = sum(stage.seconds for stage in stages)
    passed = sum(stage.outcome == "passed" for stage in stages)
    failed = sum(stage.outcome in ("FAILED", "interrupted") for stage in stages)
    return "\n".join(["", *rows, f"{'':{width}}  {'':11}  {total:6.0f} s", f"{passed} passed, {failed} failed"])


def main() -> int:
    """Read the command line, run, sum up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("target", nargs="+")
    arguments = parser.parse_args()
    # Whoever starts us in the background may have us ignore Ctrl-C, and with us all tests of what it does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stages = run_all(arguments.target, arguments.keep_going)
    result = summary(stages)
    print(result, flush=True)
    (ROOT / ".build/summary.txt").write_text(result + "\n", encoding="utf-8")
    return 0 if all(stage.outcome == "passed" for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
