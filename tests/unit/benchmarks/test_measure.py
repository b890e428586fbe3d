# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What is measured of a run is of tasks by their names."""

from __future__ import annotations

from ansible_collections.emqx.fleet.tests.benchmarks.measure import task_name


def test_a_task_has_one_name_in_all_waves() -> None:
    role = "emqx.fleet.emqx_upgrade : "
    names = {task_name(f"{role}Switch | Take the turn (wave {wave} of 12)") for wave in (1, 12)}
    assert names == {"Switch | Take the turn"}
    assert task_name(f"{role}Plan | Read (all)") == "Plan | Read (all)"
    assert task_name("Read") == "Read"
