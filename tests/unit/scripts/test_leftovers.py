# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A process or a file that a test leaves behind is noticed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/leftovers.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the script, committed to, and an empty `.build`."""
    (tmp_path / ".build").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/leftovers.py").write_text(SCRIPT.read_text())
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    subprocess.run(("git", "add", "scripts"), cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def running(project: Path) -> Iterator[int]:
    """A process that works in `.build`."""
    with subprocess.Popen(("sleep", "60"), cwd=project / ".build") as process:
        yield process.pid
        process.kill()


def verdict(project: Path) -> subprocess.CompletedProcess[str]:
    """Run the check as CI does."""
    command = [sys.executable, "scripts/leftovers.py", "machine"]
    environment = {**os.environ, "CI": "true"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_nothing(project: Path) -> None:
    assert (verdict(project).returncode, verdict(project).stdout) == (0, "nothing is left\n")


def test_process(project: Path, running: int) -> None:
    assert f"process {running} is still running: sleep 60" in verdict(project).stdout


def test_file(project: Path) -> None:
    (project / "crash.dump").touch()
    result = verdict(project)
    assert (result.returncode, result.stdout) == (1, "crash.dump is new and not in git\n")


@pytest.mark.parametrize(
    "folder",
    ["run/emqx-fleet-lab/demo", "tmp/emqx-fleet-lab-0/demo", "var/tmp/emqx-contract-x", "tmp/emqx_untar_1"],
)
def test_lab_or_node(project: Path, folder: str) -> None:
    (project / "machine" / folder).mkdir(parents=True)
    result = verdict(project)
    assert (result.returncode, result.stdout) == (1, f"machine/{folder} is still there\n")
