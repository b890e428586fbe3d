# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Run make targets, several at a time, and sum up what became of each.

usage: stages.py [--keep-going] [--lanes N] [--alone TARGET]... TARGET...

Targets begin in the order given, N at a time; one that is named with `--alone` has nothing beside it, and what comes
after it waits for it. With one lane the output goes where ours goes. With more, a target's output is printed as a whole
when the target ends, and is in `.build/stages/TARGET.log` meanwhile.

No target begins after one has failed, unless told to keep going; those under way then run to their end. The ten tests
that took longest are printed, by what targets leave in `.build/durations`: JUnit files (`TARGET.xml`, where a property
`seconds` of a test is worth more than its time) and objects of names and seconds (`TARGET.json`). The last line is
`N passed, N failed`; the exit status is 0 only if every target was run and passed. When interrupted, it lets the
running targets clean up and then sums up.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".build/stages"
DURATIONS = ROOT / ".build/durations"
SLOWEST = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stage(NamedTuple):
    """What became of one target: `passed`, `FAILED`, `interrupted` or `not run`."""

    name: str
    outcome: str
    seconds: float


class Running(NamedTuple):
    """A target that is under way; `log` is null where its output goes where ours goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None
    begun: float


class Stages:
    """Targets that are run; `run` gives what became of them, in the order in which they were named."""

    def __init__(self, names: list[str], lanes: int, alone: frozenset[str], keep_going: bool) -> None:
        self.names, self.lanes, self.alone, self.keep_going = names, lanes, alone, keep_going
        self.interrupted = False
        self._passed_on: int | None = None
        self._waiting = list(enumerate(names))
        self._running: dict[int, Running] = {}
        self._done: dict[int, Stage] = {}

    def run(self) -> list[Stage]:
        """Run them; those that could not begin any more are `not run`."""
        with self._signals_passed_on():
            while True:
                self._begin_what_can()
                if not self._running:
                    break
                # One of them has ended; which one, its own object tells.
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                for place, running in list(self._running.items()):
                    if running.process.poll() is not None:
                        del self._running[place]
                        self._done[place] = self._ended(running)
        return [self._done.get(place, Stage(name, "not run", 0.0)) for place, name in enumerate(self.names)]

    def _begin_what_can(self) -> None:
        while self._waiting and self._may_begin(self._waiting[0][1]):
            place, name = self._waiting.pop(0)
            running = self._begin(name)
            # A signal that came since the process began found nobody to be passed on to; from here on it does.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            self._running[place] = running
            if self._passed_on is not None:
                running.process.send_signal(self._passed_on)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _may_begin(self, name: str) -> bool:
        if self.interrupted or not (self.keep_going or all(done.outcome == "passed" for done in self._done.values())):
            return False
        beside = [running.name for running in self._running.values()]
        return not beside or (len(beside) < self.lanes and not self.alone & {name, *beside})

    def _begin(self, name: str) -> Running:
        print(f"\n=== {name}" if self.lanes == 1 else f"=== {name}: begun", flush=True)
        begun = time.monotonic()
        command = ("make", "--no-print-directory", name)
        if self.lanes == 1:
            return Running(name, subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL), None, begun)
        log = LOGS / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        return Running(name, process, log, begun)

    def _ended(self, running: Running) -> Stage:
        seconds = time.monotonic() - running.begun
        outcome = "interrupted" if self.interrupted else "passed" if running.process.returncode == 0 else "FAILED"
        if running.log:
            text = running.log.read_text(encoding="utf-8", errors="replace").rstrip("\n")
            print(f"\n=== {running.name}\n{text}", flush=True)
        print(f"=== {running.name}: {outcome} after {seconds:.0f} s", flush=True)
        return Stage(running.name, outcome, seconds)

    @contextlib.contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        """Hand what would end us to the running targets instead.

        Ctrl-C in a terminal reaches all of us, so that one is only noted.
        """

        def note(number: int, _frame: FrameType | None) -> None:
            self.interrupted = True
            if number != signal.SIGINT:
                self._passed_on = number
                for running in self._running.values():
                    running.process.send_signal(number)

        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def durations(folder: Path) -> list[tuple[float, str]]:
    """Seconds and names of all tests that left theirs; the longest first."""
    found = []
    for path in folder.glob("*.xml"):
        with contextlib.suppress(xml.etree.ElementTree.ParseError):  # of a target that was interrupted
            for test in xml.etree.ElementTree.parse(path).iter("testcase"):
                own = [one.get("value") for one in test.iter("property") if one.get("name") == "seconds"]
                name = f"{test.get('classname', '').rpartition('.')[2]}::{test.get('name')}"
                found.append((float(own[0] if own and own[0] else test.get("time", 0)), f"{path.stem}: {name}"))
    for path in folder.glob("*.json"):
        with contextlib.suppress(json.JSONDecodeError):
            found += [
                (float(seconds), f"{path.stem}: {name}")
                for name, seconds in json.loads(path.read_text(encoding="utf-8")).items()
            ]
    return sorted(found, reverse=True)


def summary(stages: list[Stage], seconds: float, slowest: list[tuple[float, str]]) -> str:
    """Return the slowest tests, the table, whose last row is the time of the whole run, and the line of counts."""
    width = max(len(stage.name) for stage in stages)
    rows = [f"{stage.name:{width}}  {stage.outcome:11}  {stage.seconds:6.0f} s" for stage in stages]
    passed = sum(stage.outcome == "passed" for stage in stages)
    failed = sum(stage.outcome in ("FAILED", "interrupted") for stage in stages)
    lines = ["", "slowest tests:", *(f"{took:7.1f} s  {name}" for took, name in slowest)] if slowest else []
    lines += ["", *rows, f"{'':{width}}  {'':11}  {seconds:6.0f} s", f"{passed} passed, {failed} failed"]
    return "\n".join(lines)


def main() -> int:
    """Read the command line, run, sum up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--alone", action="append", default=[])
    parser.add_argument("target", nargs="+")
    arguments = parser.parse_args()
    # Whoever starts us in the background may have us ignore Ctrl-C, and with us all tests of what it does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for folder in (LOGS, DURATIONS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    begun = time.monotonic()
    stages = Stages(arguments.target, arguments.lanes, frozenset(arguments.alone), arguments.keep_going).run()
    result = summary(stages, time.monotonic() - begun, durations(DURATIONS)[:SLOWEST])
    print(result, flush=True)
    (ROOT / ".build/summary.txt").write_text(result + "\n", encoding="utf-8")
    return 0 if all(stage.outcome == "passed" for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
