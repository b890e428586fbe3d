# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the callback of the benchmarks wrote becomes turns of hosts."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.emqx.fleet.tests.benchmarks.fleets import read_turns


def test_the_waves_of_a_task_have_one_name(tmp_path: Path) -> None:
    times = tmp_path / "times"
    events = []
    for wave in (1, 2):
        name = f"emqx.fleet.emqx_upgrade : Switch | Take the turn (wave {wave} of 12)"
        events += [
            {
                "event": "task",
                "time": 1.0,
                "task": str(wave),
                "name": name,
                "action": "emqx.fleet.emqx_turn",
                "phase": "x",
            },
            {"event": "begin", "time": 2.0, "task": str(wave), "host": "h1"},
            {"event": "end", "time": 3.0, "task": str(wave), "host": "h1", "actions": [], "changed": True}
            | {"skipped": False, "failed": False},
        ]
    times.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert [turn.name for turn in read_turns(times)] == ["Switch | Take the turn"] * 2
