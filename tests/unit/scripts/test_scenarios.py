# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A scenario that is interrupted ends with all that it has started, in whatever session."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
PROGRAM = """
import subprocess, sys
import scenarios
line = "sh -c 'echo $$; sleep 300' & setsid --wait sh -c 'echo $$; sleep 300' & wait"
with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, text=True) as process:
    print(process.stdout.readline(), process.stdout.readline(), process.pid)
    scenarios.end_with_all_below(process.pid)
"""


def test_nothing_outlives_an_interruption() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=SCRIPTS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    pids = done.stdout.split()
    assert len(pids) == 3
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
