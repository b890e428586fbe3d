# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Results of the benchmarks become the tables of the page."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.tests.benchmarks import tables

WINDOW: dict[str, Any] = {
    "ratio": {"median": 1.4, "min": 1.3, "max": 1.6},
    "turn_seconds": {"median": 1.68, "min": 1.6, "max": 1.8},
    "bare_seconds": {"median": 1.2, "min": 1.1, "max": 1.3},
    "pairs": 5,
}
FLEET: dict[str, Any] = {
    "nodes": 12,
    "clusters": 4,
    "forks": 12,
    "rounds": 2,
    "seconds": {"median": 30.0, "min": 29.0, "max": 31.0},
    "documented_seconds": {"median": 50.0, "min": 49.0, "max": 51.0},
    "ratio": {"median": 0.6, "min": 0.6, "max": 0.6},
}


def test_figures() -> None:
    assert tables.figures({"window": WINDOW, "fleet12": FLEET}) == (
        "| what | figure | goal | from |\n"
        "|---|---|---|---|\n"
        "| window of a node, against the bare switch | 1.40 (1.30 to 1.60) | <= 1.5, met |"
        " 1.68 s against 1.20 s, 5 pairs |\n"
        "| whole run, 12 nodes in 4 clusters, against the documented steps | 0.60 | <= 0.5, missed |"
        " 30.0 s against 50.0 s, 2 rounds, 12 forks |\n"
    )


def test_goals_that_were_missed() -> None:
    assert tables.missed("window", WINDOW) == []
    assert tables.missed("fleet12", FLEET) == [
        "whole run, 12 nodes in 4 clusters, against the documented steps: 0.60, the goal is <= 0.5"
    ]
    # Of so many there is no goal.
    assert tables.missed("fleet48", {**FLEET, "nodes": 48}) == []


def test_the_page_keeps_what_people_wrote() -> None:
    page = "before\n<!-- bench: figures -->\nold\n<!-- bench: end -->\nafter\n"
    put = tables.put_into(page, "figures", "new\n")
    assert put == "before\n<!-- bench: figures -->\nnew\n<!-- bench: end -->\nafter\n"
    assert tables.put_into(put, "figures", "new") == put


def test_a_page_without_a_place_for_it() -> None:
    with pytest.raises(ValueError, match="<!-- bench: figures -->"):
        tables.put_into("nothing\n", "figures", "new")


def test_a_machine_that_does_something_else() -> None:
    quiet: dict[str, Any] = {"window": {"busy_percent_before": 2}, "plan": {"busy_percent_before": 4}}
    assert tables.busy(quiet) == "Before the parts began, others had 2 to 4 % of the processors."
    busy = {**quiet, "plan": {"busy_percent_before": 90}}
    assert tables.busy(busy).endswith("others had 2 to 90 % of the processors; so the figures are provisional.")


def test_a_profile() -> None:
    task: dict[str, Any] = {
        "task": "Plan | Read the nodes",
        "runs": 1,
        "seconds": 5.0,
        "host_seconds": 10.0,
        "connections": 3,
        "connected_seconds": 8.0,
        "changing_commands_seconds": 3.0,
        "reading_commands_seconds": 1.0,
    }
    short = {**task, "task": "Report | Show", "seconds": 0.0, "host_seconds": 0.0, "connections": 0}
    short.update({name: 0.0 for name in short if name.endswith("_seconds")})
    told = tables.profile(
        {"nodes": 3, "seconds": 6.0, "connections": 3, "outside_tasks_seconds": 1.0, "tasks": [task, short]}
    )
    assert told.startswith("3 nodes, 6.0 s, 3 connections.\n")
    assert "| `emqx` commands that change the node | 3.0 | 30 % |\n" in told
    assert "reads without a command | 4.0 | 40 % |\n" in told
    assert "| Ansible on the controller | 2.0 | 20 % |\n" in told
    assert "| Plan \\| Read the nodes | 1 | 5.0 | 10.0 | 3 | 3.0 | 1.0 |\n" in told
    assert "| 1 others, below 1 % each | 1 | 0.0 | 0.0 | 0 |  |  |\n" in told
