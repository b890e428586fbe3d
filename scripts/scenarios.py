# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Play the scenarios in `extensions/molecule`, two at a time.

usage: scenarios.py [--with-molecule] [SCENARIO...]

Without names all are played but those that `scripts/matrix.py` plays: a few by molecule itself, the others by what
molecule's playbooks call, which does the same and starts Ansible five times less often. With names, or with
`--with-molecule`, all are played by molecule. What is said is in `.build/molecule/SCENARIO.log`, and printed where a
scenario fails, after the reason. When interrupted, the labs that are up are taken down. The exit status is 0 only if
every scenario passed.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from matrix import SCENARIOS as ELSEWHERE

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.labkit.procs import descendants  # noqa: E402 -- the tests are no installed package

FOLDER = ROOT / "extensions/molecule"
LOGS = ROOT / ".build/molecule"
# What molecule remembers of a scenario; it would not create anew what an interrupted run left there as created.
STATES = ROOT / ".build/molecule-states"
DURATIONS = ROOT / ".build/durations"
AT_A_TIME = 2
#: The longest first, so that the last to end is a short one; the others follow.
LONGEST = ("awx", "phases", "forms", "two_operators", "soak_fails", "fleet")

#: Played by molecule itself in any event.
BY_MOLECULE = ("rolling", "resume")


class InterruptionError(Exception):
    """A signal came."""


def end_with_all_below(pid: int) -> None:
    """SIGKILL a process and all that it descends to, in whatever session; none can start another one meanwhile."""
    held: set[int] = set()
    while new := {pid, *descendants(pid)} - held:
        for each in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        held |= new
    for each in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


class Play:
    """Scenarios that are played."""

    def __init__(self, names: list[str], by_molecule: Collection[str]) -> None:
        self.names = names
        self._by_molecule = by_molecule
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Play all of them."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            jobs = [pool.submit(self._one, name) for name in self.names]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                self._end()
                raise

    def _one(self, name: str) -> None:
        if self._over.is_set():
            return
        begun = time.monotonic()
        log, state = LOGS / f"{name}.log", STATES / name
        shutil.rmtree(state, ignore_errors=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(name),
                cwd=FOLDER.parent,
                env={**os.environ, "MOLECULE_EPHEMERAL_DIRECTORY": str(state)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._processes[name] = process
            status = process.wait()
        if self._over.is_set():
            return
        self.seconds[name] = time.monotonic() - begun
        if status == 0:
            print(f"{name}: passed after {self.seconds[name]:.0f} s", flush=True)
            return
        self.failed.append(name)
        failure = LOGS / name / "failure.txt"
        reason = failure.read_text(encoding="utf-8") if failure.exists() else ""
        text = log.read_text(encoding="utf-8", errors="replace")
        print(f"{name}: FAILED after {self.seconds[name]:.0f} s\n{text}\n{reason}", flush=True)

    def _command(self, name: str) -> tuple[str | Path, ...]:
        if name in self._by_molecule:
            return (Path(sys.executable).with_name("molecule"), "test", "--scenario-name", name)
        return (sys.executable, FOLDER / "shared/run.py", name, "test")

    def _end(self) -> None:
        """End what is under way, and take its labs down."""
        self._over.set()
        for name, process in self._processes.items():
            if process.poll() is None:
                end_with_all_below(process.pid)
                process.wait()
                subprocess.run((sys.executable, FOLDER / "shared/run.py", name, "destroy"), check=False)


def wanted() -> list[str]:
    """Names of the scenarios to play."""
    found = sorted(path.parent.name for path in FOLDER.glob("*/molecule.yml"))
    found.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    return [name for name in found if name not in ELSEWHERE]


def main() -> int:
    """Play them; 0 if all passed."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in signals:  # once: what it does then is to clean up
            signal.signal(other, signal.SIG_IGN)
        raise InterruptionError(signal.Signals(number).name)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, stop)
    names = [name for name in sys.argv[1:] if name != "--with-molecule"]
    by_molecule = wanted() if sys.argv[1:] else BY_MOLECULE
    if not names:
        shutil.rmtree(LOGS, ignore_errors=True)
    play = Play(names or wanted(), by_molecule=names or by_molecule)
    try:
        play.run()
    except InterruptionError as interruption:
        print(f"interrupted by {interruption}; the labs are down")
        return 1
    DURATIONS.mkdir(parents=True, exist_ok=True)
    (DURATIONS / "molecule.json").write_text(json.dumps(play.seconds), encoding="utf-8")
    print(f"{len(play.seconds) - len(play.failed)} passed, {len(play.failed)} failed: {', '.join(play.failed) or '-'}")
    return 1 if play.failed else 0


if __name__ == "__main__":
    sys.exit(main())
