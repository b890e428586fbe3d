# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Ending a run in the middle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parent.parent / "lab_cli.py"

# A run that has children of its own, one of which leaves its session, and says how far it is.
RUN = """
import os, subprocess, sys, time
for place, settings in enumerate(({}, {"start_new_session": True})):
    child = subprocess.Popen(["sleep", "300"], **settings)
    print("CHILD", child.pid, flush=True)
for task in range(100):
    print("TASK", task, flush=True)
    time.sleep(0.2)
"""


def kill_run(*options: str, run: str = RUN) -> tuple[int, list[str], str]:
    """Run it under the killer; its exit code, lines and what the killer said."""
    argv = [sys.executable, str(LAB), "kill-run", *options, "--", sys.executable, "-c", run]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def children(lines: list[str]) -> list[int]:
    """The process ids that the run told."""
    return [int(line.split()[1]) for line in lines if line.startswith("CHILD")]


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"


def test_at_a_line_of_its_output_with_all_that_it_started() -> None:
    code, lines, said = kill_run("--on", "TASK 5")
    assert code == 137
    assert "killed after" in said
    assert "TASK 5" in lines
    assert "TASK 9" not in lines
    assert len(children(lines)) == 2
    assert not any(alive(pid) for pid in children(lines))


def test_at_an_instant() -> None:
    code, lines, said = kill_run("--after", "2")
    assert code == 137
    killed = re.search(r"killed after ([\d.]+) s", said)
    assert killed
    assert float(killed[1]) >= 2
    assert "TASK 99" not in lines


def test_the_process_alone_leaves_its_children() -> None:
    code, lines, _unused = kill_run("--on", "TASK 1", "--scope", "process")
    left = [pid for pid in children(lines) if alive(pid)]
    subprocess.run(["kill", *map(str, left)], check=True)
    assert code == 137
    assert len(left) == 2


# As a host does, something comes up between two runs, and its processes come and go while the second is killed.
# It tells of every one that did not end by itself.
BETWEEN = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from tests.lab.labkit.killer import run_and_kill
run_and_kill(["sleep", "30"], after=0.1)
daemon = "echo PID $$; while sleep 0.1; do sh -c 'sleep 0.1' || echo KILLED; done"
with open(sys.argv[2], "w") as log:
    subprocess.run(["setsid", "--fork", "sh", "-c", daemon], stdout=log, stderr=log, check=True)
for _unused in range(5):
    run_and_kill(["sleep", "30"], after=0.3)
"""


def test_what_is_started_between_two_runs_is_no_part_of_the_second(tmp_path: Path) -> None:
    log = tmp_path / "log"
    subprocess.run([sys.executable, "-c", BETWEEN, str(LAB.parents[2]), str(log)], check=True, timeout=60)
    said = log.read_text(encoding="utf-8").split()
    assert alive(int(said[1]))
    subprocess.run(["kill", said[1]], check=True)
    assert said[2:] == []


def test_another_signal() -> None:
    code, _lines, _said = kill_run("--on", "TASK 1", "--signal", "INT", run=RUN.replace("300", "1"))
    assert code in (1, 130)


def test_what_ends_by_itself_keeps_its_exit_code() -> None:
    code, _unused, said = kill_run("--on", "never", run="raise SystemExit(3)")
    assert code == 3
    assert "ended by itself" in said


@pytest.mark.parametrize("options", [[], ["--after", "1", "--signal", "NONE"]])
def test_wrong_options(options: list[str]) -> None:
    assert kill_run(*options)[0] == 2
