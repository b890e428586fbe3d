# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""No scenario is left out of `make test`: those that `make molecule` leaves out, `make matrix` plays."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
QUESTION = """
import json, matrix, scenarios
print(json.dumps([scenarios.wanted(), matrix.SCENARIOS, scenarios.LONGEST, scenarios.BY_MOLECULE]))
"""


def test_what_one_stage_leaves_out_the_other_plays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUESTION], cwd=ROOT / "scripts", check=True, capture_output=True, text=True
    )
    wanted, elsewhere, longest, by_molecule = json.loads(done.stdout)
    there = sorted(path.parent.name for path in (ROOT / "extensions/molecule").glob("*/scenario.py"))
    assert sorted([*wanted, *elsewhere]) == there
    assert wanted[: len(longest)] == longest
    assert by_molecule
    assert set(by_molecule) <= set(wanted), "molecule itself plays some of them"
