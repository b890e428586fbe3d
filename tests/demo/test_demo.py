# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The demo as a user runs it: it passes, it fails when a node is restarted under it, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]
LAB = [str(ROOT / "tests" / "lab" / "lab"), "--name", "demo"]


def nothing_is_left() -> bool:
    done = subprocess.run([*LAB, "down"], capture_output=True, text=True, check=True)
    return "was not up" in done.stdout


@pytest.fixture(autouse=True)
def _cleared() -> object:
    yield
    subprocess.run([*LAB, "down"], capture_output=True, check=True)


def test_every_client_is_kept() -> None:
    done = subprocess.run(DEMO, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.search(
        r"^All 60 clients stayed connected, none of the (\d+) that came and went was cut off,"
        r" and no acknowledged message was lost\.$",
        done.stdout,
        re.MULTILINE,
    )
    assert said, done.stdout
    rows = re.findall(
        r"^h\d +4\.4\.18 +4\.4\.19 +4\.4\.19 +[\d.]+ s +yes +20 +0 +(\d+) +0 +\d+ +\d+ +0$",
        done.stdout,
        re.MULTILINE,
    )
    assert len(rows) == 3, done.stdout
    assert sum(map(int, rows)) == int(said[1])
    assert all(int(came) > 0 for came in rows)
    assert nothing_is_left()


def test_a_node_that_is_restarted_is_seen() -> None:
    done = subprocess.run([*DEMO, "--restart", "h2"], check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: h2 was restarted" in done.stdout
    assert re.search(r"FAILED: \d+ disconnects", done.stdout)
    assert re.search(r"FAILED: of the clients that came and went [1-9]\d* were cut off", done.stdout)
    assert "stayed connected" not in done.stdout
    assert nothing_is_left()


def test_ctrl_c_leaves_nothing_behind() -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("[read]"):
                break
        time.sleep(2)
        os.killpg(demo.pid, signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(timeout=60) == 130
    assert nothing_is_left()
