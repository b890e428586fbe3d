# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What failures mean for the rest of a fleet: the budget, who goes back and in which order, what may be removed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import (
    POLICIES,
    BudgetError,
    budget,
    over_budget,
    rollback_batches,
    superfluous_releases,
)
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = "4.4.18", "4.4.19"
SWITCHED = {"result": "switched"}
COMMITTED = {"result": "committed"}
FAILED_BACK = {"result": "failed", "after": {"running": OLD, "permanent": OLD}}
FAILED_THERE = {"result": "failed", "after": {"running": NEW, "permanent": OLD}}
FAILED_UNKNOWN = {"result": "failed"}

PLAN: dict[str, Any] = {
    "waves": [
        {"number": 1, "kind": "canary", "hosts": ["a1"]},
        {"number": 2, "kind": "wave", "hosts": ["a2", "b1"]},
        {"number": 3, "kind": "wave", "hosts": ["a3", "b2"]},
    ],
    "nodes": {host: {"from": OLD, "to": NEW} for host in ("a1", "a2", "a3", "b1", "b2")},
}


@pytest.mark.parametrize(
    ("text", "nodes", "allowed"),
    [("0", 10, 0), (2, 10, 2), ("5%", 10, 0), ("5%", 20, 1), ("5%", 39, 1), ("100%", 7, 7), (" 3 ", 1, 3)],
)
def test_budgets(text: str | int, nodes: int, allowed: int) -> None:
    assert budget(text, nodes) == allowed


@pytest.mark.parametrize("text", ["", "-1", "few", "1.5", "5 percent", "%"])
def test_no_budgets(text: str) -> None:
    with pytest.raises(BudgetError, match="not a failure budget"):
        budget(text, 10)


@given(st.lists(st.sampled_from([None, {}, SWITCHED, COMMITTED, FAILED_UNKNOWN]), max_size=50), st.integers(0, 100))
def test_over_budget_means_more_failures_than_allowed(found: list[Any], percent: int) -> None:
    failed = sum(1 for outcome in found if outcome is FAILED_UNKNOWN)
    assert outcomes.failures(found) == failed
    assert over_budget(found, f"{percent}%") == (failed * 100 > percent * len(found))
    assert over_budget(found, failed) is False
    assert over_budget(iter(found), 0) == (failed > 0)


def run(failing: dict[str, Any], policy: str, failure_budget: str | int = 0) -> list[list[str]]:
    """Batches after a run where these nodes failed, the rest of their waves was switched and later waves not begun."""
    last = max(number for number, wave in enumerate(PLAN["waves"]) if set(wave["hosts"]) & set(failing))
    had_turn = [host for wave in PLAN["waves"][: last + 1] for host in wave["hosts"]]
    found = {host: failing.get(host, SWITCHED) for host in had_turn}
    return rollback_batches(found, PLAN, policy, failure_budget)


def test_fleet_goes_back_in_the_reverse_order_of_its_waves() -> None:
    assert run({"b2": FAILED_THERE}, "rollback_fleet") == [["b2", "a3"], ["b1", "a2"], ["a1"]]
    assert run({"a2": FAILED_THERE}, "rollback_fleet") == [["b1", "a2"], ["a1"]]


def test_only_the_wave_goes_back() -> None:
    assert run({"a2": FAILED_THERE}, "rollback_wave") == [["b1", "a2"]]
    assert run({"a1": FAILED_UNKNOWN}, "rollback_wave") == [["a1"]]


@pytest.mark.parametrize("policy", ["rollback_fleet", "rollback_wave"])
def test_node_that_is_back_already_stays(policy: str) -> None:
    assert run({"a2": FAILED_BACK}, policy)[0] == ["b1"]
    assert run({"a1": FAILED_BACK}, policy) == []


def test_node_of_which_nothing_is_known_goes_back() -> None:
    half = {"result": "failed", "after": {"running": OLD, "permanent": NEW}}
    for outcome in (FAILED_UNKNOWN, {"result": "failed", "after": None}, {"result": "failed", "after": {}}, half):
        assert run({"a1": outcome}, "rollback_fleet") == [["a1"]]


def test_stop_takes_nothing_back() -> None:
    assert "stop" in POLICIES
    assert run({"a2": FAILED_THERE}, "stop") == []


def test_only_the_failed_node_goes_back_and_only_once() -> None:
    assert run({"a2": FAILED_THERE, "b1": FAILED_BACK}, "rollback_node", 5) == [["a2"]]
    assert run({"a2": dict(FAILED_THERE, rollback="done")}, "rollback_node") == []


@pytest.mark.parametrize("policy", ["rollback_fleet", "rollback_wave"])
def test_within_the_budget_nothing_goes_back(policy: str) -> None:
    assert run({"a2": FAILED_THERE}, policy, 1) == []
    assert run({"a2": FAILED_THERE}, policy, "20%") == []
    assert run({"a2": FAILED_THERE}, policy, "19%") != []
    assert run({"a1": FAILED_THERE, "a2": FAILED_THERE}, policy, 1) != []


@given(
    st.fixed_dictionaries(
        {host: st.sampled_from([None, {}, SWITCHED, COMMITTED, FAILED_BACK, FAILED_THERE]) for host in PLAN["nodes"]}
    ),
    st.sampled_from(POLICIES),
    st.integers(0, 5),
)
def test_whoever_moved_goes_back_once_and_nobody_else(found: dict[str, Any], policy: str, allowed: int) -> None:
    batches = rollback_batches(found, PLAN, policy, allowed)
    back = [host for batch in batches for host in batch]
    moved = {host for host, outcome in found.items() if outcome and outcome is not FAILED_BACK}
    assert len(set(back)) == len(back)
    assert set(back) <= moved
    exhausted = sum(1 for outcome in found.values() if outcome in (FAILED_BACK, FAILED_THERE)) > allowed
    if policy == "rollback_fleet" and exhausted:
        assert set(back) == moved
    if policy == "rollback_node":
        assert set(back) == {host for host, outcome in found.items() if outcome is FAILED_THERE}
    elif not exhausted or policy == "stop":
        assert back == []
    # Never more at a time than went forward, and never from two waves at once.
    waves = [set(wave["hosts"]) for wave in PLAN["waves"]]
    numbers = [[set(batch) <= wave for wave in waves].index(True) for batch in batches]
    assert numbers == sorted(numbers, reverse=True)


def facts(rows: list[tuple[str, str]], running: str = NEW, permanent: str = NEW, boots: str = NEW) -> dict[str, Any]:
    return {
        "running": running,
        "permanent": permanent,
        "boot": {"version": boots},
        "releases": [{"version": version, "status": status} for version, status in rows],
    }


def test_newest_old_releases_are_kept() -> None:
    rows = [("4.4.9", "old"), ("4.4.19", "permanent"), ("4.4.18", "old"), ("4.4.10", "old"), ("4.4.20", "unpacked")]
    assert superfluous_releases(facts(rows), 0) == ["4.4.18", "4.4.10", "4.4.9"]
    assert superfluous_releases(facts(rows), 1) == ["4.4.10", "4.4.9"]
    assert superfluous_releases(facts(rows), 9) == []


def test_what_runs_is_permanent_or_boots_is_never_superfluous() -> None:
    rows = [("4.4.16", "old"), ("4.4.17", "old"), ("4.4.18", "old"), ("4.4.19", "permanent"), ("odd", "old")]
    assert superfluous_releases(facts(rows, running="4.4.17", boots="4.4.18"), 0) == ["4.4.16"]
    assert superfluous_releases(facts(rows, permanent="4.4.16"), 0) == ["4.4.18", "4.4.17"]
