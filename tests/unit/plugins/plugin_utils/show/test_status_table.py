# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of where every node is, and the remarks below it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import status_table

OLD, NEW = "4.4.18", "4.4.19"


def facts(**changed: Any) -> dict[str, Any]:
    found = {
        "state": "running",
        "edition": "ce",
        "running": NEW,
        "permanent": NEW,
        "releases": [{"version": NEW, "status": "permanent"}, {"version": OLD, "status": "old"}],
        "boot": {"version": NEW, "consistent": True, "problems": []},
        "connections": 12,
        "cluster": {"running": ["a", "b"], "stopped": []},
        "alarms": [],
        "operation": None,
        "run": None,
        "journal": [],
        "clock": 10_000.0,
    }
    return found | changed


UNCOMMITTED = {"permanent": OLD, "boot": {"version": OLD, "consistent": True, "problems": []}}


def entry(time: float, running: str = NEW, permanent: str = OLD, **more: Any) -> dict[str, Any]:
    return {"time": time, "running": running, "permanent": permanent, "outcome": "done", **more}


def test_a_healthy_node_is_a_row_and_nothing_more() -> None:
    text = status_table.lines({"h1": facts()})
    assert len(text) == 3
    assert text[2].split() == ["h1", "running", "ce", NEW, NEW, OLD, "old", "12", "2/2", "-"]


def test_an_uncommitted_node_tells_for_how_long() -> None:
    text = status_table.lines({"h1": facts(**UNCOMMITTED, journal=[entry(1.0, OLD), entry(10_000.0 - 7200)])})
    assert text[2].endswith("2 h")
    assert text[-1] == f"h1: {NEW} is not permanent: a restart would bring {OLD} back."


@pytest.mark.parametrize(
    ("journal", "seconds"),
    [
        ([], None),
        ([entry(9000.0)], 1000.0),
        ([entry(8000.0), entry(9000.0)], 2000.0),
        ([entry(8000.0), entry(8500.0, OLD), entry(9000.0)], 1000.0),
        ([entry(8000.0), entry(9000.0, NEW, NEW)], None),
        ([entry(11_000.0)], 0.0),
    ],
)
def test_since_when_a_node_is_uncommitted(journal: list[dict[str, Any]], seconds: float | None) -> None:
    assert status_table.uncommitted_seconds(facts(**UNCOMMITTED, journal=journal)) == seconds


def test_a_committed_or_stopped_node_is_not_uncommitted() -> None:
    assert status_table.uncommitted_seconds(facts(journal=[entry(1.0)])) is None
    assert status_table.uncommitted_seconds(facts(state="stopped", **UNCOMMITTED, journal=[entry(1.0)])) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": "stopped", "running": None}, f"The node is stopped; a restart boots {NEW}."),
        ({"boot": {"version": OLD, "consistent": False, "problems": [{"message": "Torn."}]}}, "Torn."),
        ({"cluster": {"running": ["a"], "stopped": ["b"]}}, "Members of the cluster are stopped: b."),
        ({"alarms": ["disk"]}, "Alarms are active: disk."),
        ({"operation": {"what": "current 4.4.19", "user": "root"}}, "An operation is at work: current 4.4.19 by root."),
        ({"run": {"id": "r1", "who": "eva@ops", "lease_until": 10_001.0}}, "Reserved for the run r1 of eva@ops."),
        (
            {"journal": [entry(1.0, NEW, NEW, outcome="failed", message="soak: bad.", what="failure")]},
            "The last operation did not end well: soak: bad.",
        ),
    ],
)
def test_what_needs_attention_is_said(changed: dict[str, Any], said: str) -> None:
    assert status_table.attention(facts(**changed)) == [said]


@pytest.mark.parametrize(
    "changed",
    [
        {"run": {"id": "r1", "who": "eva@ops", "lease_until": 9_999.0}},
        {"journal": [entry(1.0, outcome="failed", message="x"), entry(2.0, NEW, NEW)]},
    ],
)
def test_what_is_over_is_not_said(changed: dict[str, Any]) -> None:
    assert status_table.attention(facts(**changed)) == []


def test_a_host_that_could_not_be_read_is_a_row_too() -> None:
    text = status_table.lines({"h1": {"unreachable": True, "msg": "No route."}, "h2": {"msg": "No emqx."}})
    assert text[2].split()[:2] == ["h1", "unreachable"]
    assert text[3].split()[:2] == ["h2", "unreadable"]
    assert text[-2:] == ["h1: No route.", "h2: No emqx."]
