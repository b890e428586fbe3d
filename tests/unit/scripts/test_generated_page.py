# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A page that is made from code: it is written, and a page that is not what the code says is told."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"

PROGRAM = """\
import sys
from pathlib import Path
from generated_page import main, table
text = table(("Name", "Meaning"), [("a", "one | other"), ("b", {meaning!r})])
sys.exit(main("Write it.", "page.md", lambda: text, Path(sys.argv.pop(1))))
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def run(page: Path, *options: str, meaning: str = "two") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PROGRAM.format(meaning=meaning), str(page.parent), *options]
    return subprocess.run(argv, cwd=SCRIPTS, capture_output=True, text=True, check=False)


def test_a_page_that_was_written_is_up_to_date(page: Path) -> None:
    assert run(page).returncode == 0
    assert page.read_text() == "| Name | Meaning |\n|---|---|\n| a | one \\| other |\n| b | two |\n"
    done = run(page, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_that_differs_is_told_and_left(page: Path) -> None:
    run(page)
    before = page.read_text()
    done = run(page, "--check", meaning="three")
    assert done.returncode == 1
    assert "-| b | two |\n+| b | three |\n" in done.stdout
    assert page.read_text() == before


def test_a_page_that_is_missing_is_told(page: Path) -> None:
    done = run(page, "--check")
    assert done.returncode == 1
    assert "+| b | two |" in done.stdout
    assert not page.exists()
