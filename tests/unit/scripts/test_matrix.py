# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""No scenario is left out of `make test`: those that `make molecule` leaves out, `make matrix` plays."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_what_one_stage_leaves_out_the_other_plays() -> None:
    script = ast.parse((ROOT / "scripts/matrix.py").read_text(encoding="utf-8"))
    (played,) = [
        ast.literal_eval(node.value)
        for node in script.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SCENARIOS"
    ]
    left_out = re.findall(r"--exclude (\w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert sorted(left_out) == sorted(played)
    assert all((ROOT / "extensions/molecule" / name / "scenario.py").is_file() for name in played)
