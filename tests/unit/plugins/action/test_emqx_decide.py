# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision whether a phase begins, made once for all hosts from what their tasks registered."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_decide
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    REGISTERS,
    at,
    failed_in,
    make_plan,
    make_variables,
)

PLAN = make_plan([["a1"], ["a2", "b1"]])
STAGED: dict[str, Outcome] = {host: at("staged") for host in PLAN["nodes"]}
LOST_ON_A2 = "The hook before_wave failed: the connection to a2, on which it ran, was lost"


def decide(
    phase: str,
    found: dict[str, Outcome],
    wave: int = 0,
    decisions: dict[str, Any] | None = None,
    plan: Plan = PLAN,
    settings: dict[str, Any] | None = None,
    host: str = "a1",
    variables: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    registered = {
        name: {"turn": {"outcome": found.get(name)}, "decision": (decisions or {}).get(name)} for name in plan["nodes"]
    }
    ready = make_variables(host, plan, registered, settings, **(variables or {}))
    before = copy.deepcopy(ready)
    result = run_action(emqx_decide, ready, phase=phase, wave=wave, **options)
    assert ready == before, "it writes nothing"
    assert result["changed"] is False
    assert "failed" not in result, "Ansible takes that for its own word"
    return result


def test_returns_the_decision_as_it_is_made() -> None:
    found = {**STAGED, "a1": at("switched")}
    result = decide("switch", found, 2)
    assert result == {**outcomes.decide(PLAN, found, "switch", Rules(), 2), "changed": False, "watches": []}
    assert (result["proceed"], result["hosts"], result["first"]) == (True, ["a2", "b1"], "a2")


def test_the_reports_file_tells_how_far_the_run_is(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    settings = {"report_file": str(path)}
    decide("switch", {**STAGED, "a1": at("switched", after=read_facts(NEW, OLD))}, 2, settings=settings)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["ok"], found["ended"], found["nodes"]["a1"]["running"]) == (False, False, NEW)
    assert found["nodes"]["a2"]["result"] == "in_turn"
    assert report.NOT_ENDED.format(" when phase switch began") in found["message"]


def test_heeds_the_settings() -> None:
    found = {**STAGED, "a1": failed_in("switch")}
    assert decide("switch", found, 2)["message"] == "1 of 3 nodes failed and 0 may, so no further node is touched."
    assert decide("switch", found, 2, settings={"failure_budget": "50%"})["proceed"]
    soaked: dict[str, Outcome] = {host: at("soaked") for host in PLAN["nodes"]}
    assert not decide("commit", soaked, settings={"commit": "never"})["proceed"]
    moved = {**soaked, "a1": failed_in("soak", after={"running": NEW, "permanent": OLD})}
    assert decide("rollback", moved, settings={"on_failure": "rollback_fleet"})["batches"] == [["b1", "a2"], ["a1"]]


def test_heeds_the_tags() -> None:
    result = decide("end", STAGED, variables={"ansible_run_tags": ["stage"]})
    assert (result["parts"], result["final"]) == (["stage"], False)
    result = decide("end", STAGED, variables={"ansible_run_tags": ["all"], "ansible_skip_tags": ["commit"]})
    assert (result["parts"], result["final"]) == (["plan", "stage", "switch", "soak"], False)


# Who ran what is run once


def before(wave: int = 2, first: str | None = "a2", **more: Any) -> dict[str, Any]:
    """What was decided before the hook was run, as every host has it."""
    rank = outcomes.ORDER.index("switch") * 1_000_000 + wave
    own = {"phase": "switch", "wave": wave, "rank": rank, "first": first, "problems": [], "batches": [], **more}
    return dict.fromkeys(PLAN["nodes"], own)


def test_a_hook_whose_host_was_lost_failed_for_its_wave() -> None:
    found = {**STAGED, "a1": at("switched")}
    play = {"ansible_play_hosts": ["a1", "b1"]}
    result = decide("switch", found, 2, before(), ran="before_wave", variables=play)
    assert {host: row["message"] for host, row in result["failures"].items()} == {"a2": LOST_ON_A2, "b1": LOST_ON_A2}
    assert (result["problems"], result["proceed"], result["hosts"]) == ([LOST_ON_A2], False, [])


@pytest.mark.parametrize(
    ("decisions", "play", "ran"),
    [
        (before(), ["a1", "a2", "b1"], "before_wave"),
        (before(), ["a1", "b1"], ""),
        (before(first=None), ["a1", "b1"], "before_wave"),
        ({}, ["a1", "b1"], "before_wave"),
    ],
)
def test_a_hook_that_was_not_lost_with_its_host(decisions: Any, play: list[str], ran: str) -> None:
    found = {**STAGED, "a1": at("switched")}
    settings = {"failure_budget": "50%"}
    result = decide("switch", found, 2, decisions, settings=settings, ran=ran, variables={"ansible_play_hosts": play})
    lost = sorted(set(PLAN["nodes"]) - set(play))
    assert (sorted(result["failures"]), result["problems"], result["proceed"]) == (lost, [], True)
    assert result["lost"] == lost


def test_a_host_whose_hook_could_not_be_loaded_is_not_lost() -> None:
    """It says itself what failed; Ansible takes it out of the play for it."""
    found = {
        **STAGED,
        "a1": at("switched"),
        "a2": outcomes.note_hook_failure(at("staged"), "before_wave", 2, "no file"),
    }
    play = {"ansible_play_hosts": ["a1", "b1"]}
    result = decide("switch", found, 2, before(), ran="before_wave", variables=play)
    assert {row["message"] for row in result["failures"].values()} == {"The hook before_wave failed: no file"}
    assert result["problems"] == []


def test_the_first_host_is_one_that_is_there() -> None:
    play = {"ansible_play_hosts": ["a1", "b1"]}
    budget = {"failure_budget": "50%"}
    result = decide("switch", {**STAGED, "a1": at("switched")}, 2, settings=budget, variables=play)
    assert (result["first"], result["hosts"]) == ("b1", ["b1"])


def test_who_was_lost_is_handed_on() -> None:
    decisions = before(lost=["a2"])
    result = decide("end", STAGED, decisions=decisions, settings={"failure_budget": "100%"})
    assert (result["lost"], sorted(result["failures"])) == (["a2"], ["a2"])


def test_problems_are_handed_on() -> None:
    """Who was lost cannot tell of it, so that the next decision says it again, once."""
    decisions = before(problems=["The hook after_fleet failed: x"]) | {"a1": before(1, problems=["older"])["a1"]}
    noted = outcomes.note_hook_failure(at("staged"), "after_fleet", 2, "y")
    result = decide("end", {**STAGED, "b1": noted}, decisions=decisions)
    assert result["problems"] == ["older", "The hook after_fleet failed: x", "The hook after_fleet failed: y"]
    again = decide("end", {**STAGED, "b1": noted}, decisions=dict.fromkeys(PLAN["nodes"], result))
    assert again["problems"] == result["problems"]


# Batches of a way back


def test_the_batches_stay_those_that_were_decided_first() -> None:
    plan = make_plan([["a1"], ["a2", "b1"]])
    found: dict[str, Outcome] = {host: at("switched") for host in plan["nodes"]}
    found["b1"] = failed_in("switch", after={"running": NEW, "permanent": OLD})
    settings = {"on_failure": "rollback_fleet"}
    first = decide("rollback", found, plan=plan, settings=settings)
    assert (first["batches"], first["hosts"]) == ([["b1", "a2"], ["a1"]], [])
    gone = {"b1": outcomes.advance(found["b1"], "rollback"), "a2": outcomes.advance(found["a2"], "rollback")}
    decisions = dict.fromkeys(plan["nodes"], first)
    second = decide("rollback", {**found, **gone}, 2, decisions, plan, settings)
    assert (second["batches"], second["hosts"]) == (first["batches"], ["a1"])
    # The one that begins a way back asks anew, whatever another phase had decided.
    other = {**first, "phase": "soak", "rank": 1, "batches": [["x"]]}
    stale = dict.fromkeys(plan["nodes"], other)
    assert decide("rollback", found, 0, stale, plan, settings)["batches"] == first["batches"]


# Who comes back to what is over


def test_a_host_that_comes_back_begins_nothing_again() -> None:
    late = {"a1": before(1)["a1"], "a2": {**before()["a2"], "phase": "end", "rank": 5_000_000, "problems": ["x"]}}
    result = decide("switch", STAGED, 2, late)
    assert result["message"] == "This part of the run is over."
    assert (result["proceed"], result["hosts"], result["first"], result["watches"]) == (False, [], None, [])
    assert result["problems"] == ["x"]
    assert result["rank"] == 1_000_002
    assert decide("end", STAGED, 0, late)["hosts"] == ["a1", "a2", "b1"]


@pytest.mark.parametrize("registered", [{}, {"failed": True, "msg": "no"}, {"skipped": True, "changed": False}])
def test_a_decision_that_was_none_does_not_stand_in_the_way_of_the_last_one(registered: dict[str, Any]) -> None:
    decisions = dict.fromkeys(PLAN["nodes"], registered)
    assert decide("end", STAGED, decisions=decisions, ran="after_fleet")["hosts"] == ["a1", "a2", "b1"]


# How long it is waited


def wait(seconds: int, verify: bool, last: bool) -> dict[str, Any]:
    return {"seconds": seconds, "verify": verify, "last": last}


def at_once(*rounds: dict[str, Any]) -> list[dict[str, Any]]:
    """One task, in which every host waits by itself."""
    return [{"seconds": sum(each["seconds"] for each in rounds), "pause": 0, "rounds": list(rounds)}]


def one_by_one(*rounds: dict[str, Any]) -> list[dict[str, Any]]:
    """A task for each round, with a pause on the controller before it."""
    return [
        {"seconds": each["seconds"], "pause": each["seconds"], "rounds": [{**each, "seconds": 0}]} for each in rounds
    ]


@pytest.mark.parametrize(("forks", "watches"), [(3, at_once), ("3", at_once), (2, one_by_one), (None, one_by_one)])
@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ({}, {}, [wait(30, True, False), wait(30, True, True)]),
        (
            {"soak_seconds": 100, "soak_interval": 50, "lease_seconds": 90},
            {},
            [wait(30, False, False), wait(20, True, False), wait(30, False, False), wait(20, True, True)],
        ),
        # A commit in a job of its own comes after the watch, so that one look is enough.
        ({}, {"ansible_run_tags": ["commit"]}, [wait(0, True, True)]),
        ({"soak_seconds": 0}, {}, [wait(0, True, True)]),
    ],
)
def test_the_rounds_of_the_watch(settings: Any, variables: Any, expected: Any, forks: Any, watches: Any) -> None:
    """Hosts that Ansible does not work on at the same time would wait one after the other."""
    found: dict[str, Outcome] = {host: at("switched") for host in PLAN["nodes"]}
    variables = variables if forks is None else {**variables, "ansible_forks": forks}
    assert decide("soak", found, settings=settings, variables=variables)["watches"] == watches(*expected)
    failed = {**found, "a1": failed_in("switch")}
    assert decide("soak", failed, settings=settings, variables=variables)["watches"] == []


def test_a_commit_on_its_own_looks_once() -> None:
    plan = make_plan([], {"r1": "commit"}, purpose="commit")
    assert decide("soak", {"r1": at("reserved")}, plan=plan, host="r1")["watches"] == at_once(wait(0, True, True))


@pytest.mark.parametrize(
    ("wave", "settings", "expected"),
    [
        (1, {"pause_seconds": 0}, []),
        (1, {"pause_seconds": 50}, [wait(40, False, False), wait(10, False, True)]),
        (1, {"pause_seconds": 50, "lease_seconds": 300.0}, [wait(50, False, True)]),
        # After the last wave there is nothing to wait for.
        (2, {"pause_seconds": 50}, []),
    ],
)
def test_the_pause_between_two_waves(wave: int, settings: Any, expected: Any) -> None:
    found = STAGED if wave == 1 else {**STAGED, "a1": at("switched")}
    for forks in (1, 3):
        paused = decide("switch", found, wave, settings=settings, variables={"ansible_forks": forks})
        assert paused["watches"] == one_by_one(*expected), "the controller waits, so that no wave begins meanwhile"


def test_other_phases_wait_for_nothing() -> None:
    for phase in ("reserve", "rollback", "commit", "end"):
        assert decide(phase, STAGED, settings={"pause_seconds": 50})["watches"] == []


def test_without_a_plan_nothing_is_decided() -> None:
    variables = make_variables()
    del variables[REGISTERS["planned"]]
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_decide, variables, phase="reserve")
    assert "There is no plan that has a1: the phase 'plan' of the role was not run before this one" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing required arguments: phase"),
        ({"phase": "look"}, "value of phase must be one of: reserve, switch, soak, rollback, commit, end"),
        ({"phase": "stage"}, "value of phase must be one of: reserve, switch"),
        ({"phase": "reserve", "hosts": []}, "Unsupported parameters for (emqx_decide) module: hosts"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_decide, make_variables(), **options)
    assert message in str(raised.value)
