# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What `make test` says of its stages: a failure is never a success, and the counts come last."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/stages.py"

MAKEFILE = """
good:
\t@echo this is good
bad:
\t@exit 3
slow:
\t@trap 'kill $$!; echo cleaned up; exit 1' TERM INT; echo started; sleep 60 & wait
"""


@pytest.fixture
def stages(tmp_path: Path) -> list[str]:
    """The command, in a project that has nothing but three targets."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".build").mkdir()
    (tmp_path / "Makefile").write_text(MAKEFILE)
    script = tmp_path / "scripts/stages.py"
    script.write_text(SCRIPT.read_text())
    return [sys.executable, str(script)]


def outcome(command: list[str]) -> tuple[int, list[str]]:
    """Exit status and lines of the summary."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout.rpartition("\n\n")[2].splitlines()


def test_all_pass(stages: list[str]) -> None:
    status, lines = outcome([*stages, "good", "good"])
    assert status == 0
    assert lines[-1] == "2 passed, 0 failed"


def test_stops_at_the_first_failure(stages: list[str]) -> None:
    status, lines = outcome([*stages, "good", "bad", "good"])
    assert status == 1
    assert [line.split()[1] for line in lines[:3]] == ["passed", "FAILED", "not"]
    assert lines[-1] == "1 passed, 1 failed"


def test_keeps_going_when_told_to(stages: list[str]) -> None:
    status, lines = outcome([*stages, "--keep-going", "bad", "good"])
    assert status == 1
    assert lines[-1] == "1 passed, 1 failed"


def test_a_target_that_does_not_exist_fails(stages: list[str]) -> None:
    status, lines = outcome([*stages, "missing"])
    assert status == 1
    assert lines[-1] == "0 passed, 1 failed"


def test_interruption_lets_the_target_clean_up(stages: list[str]) -> None:
    with subprocess.Popen([*stages, "slow", "good"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "started\n":
                break
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cleaned up" in output
    assert output.splitlines()[-1] == "0 passed, 1 failed"
