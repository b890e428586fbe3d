# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tasks so far registered, read from the variables of one host and of the others."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import run_state
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    REGISTERS,
    at,
    failed_in,
    make_plan,
    make_settings,
    make_variables,
)


def state(host: str = "a1", **more: Any) -> RunState:
    return RunState(make_variables(host, **more))


def decision(rank: int, *problems: str) -> dict[str, Any]:
    return {"rank": rank, "problems": list(problems)}


def test_the_registers_are_those_of_the_role() -> None:
    own = {name: getattr(run_state, name.upper()) for name in REGISTERS}
    assert own == REGISTERS


# The plan


def test_the_plan_of_the_run() -> None:
    plan = make_plan([["a1"], ["a2"]])
    assert state(plan=plan).plan == plan


@pytest.mark.parametrize(
    "planned",
    [
        None,
        {},
        {"skipped": True, "changed": False},
        {"failed": True, "msg": "no"},
        {"plan": {}},
        {"plan": make_plan([["b1"]])},
    ],
)
def test_a_phase_without_a_plan_is_told_why(planned: Any) -> None:
    variables = make_variables()
    if planned is None:
        del variables[REGISTERS["planned"]]
    else:
        variables[REGISTERS["planned"]] = planned
    found = RunState(variables)
    for ask in (lambda: found.plan, found.outcomes, found.latest_rank, found.problems):
        with pytest.raises(NoPlanError) as raised:
            ask()
        assert str(raised.value) == (
            "There is no plan that has a1: the phase 'plan' of the role was not run before this one, or not to its "
            "end. Run the whole playbook; the plan belongs to every part that its tags can choose."
        )


# What is known of a host


def test_settings_of_this_host_and_of_others() -> None:
    variables = make_variables()
    variables[REGISTERS["settings"]] = {"settings": {"a1": {"timeout": 1}, "a2": {"timeout": 2}}}
    found = RunState(variables)
    assert found.settings == {"timeout": 1}
    assert found.settings_of("a2") == {"timeout": 2}
    assert found.settings_of("a3") == {}


@pytest.mark.parametrize("settings", [None, {}, {"failed": True, "msg": "bad"}, {"settings": None}])
def test_settings_that_were_not_checked(settings: Any) -> None:
    variables = make_variables()
    variables[REGISTERS["settings"]] = settings
    assert RunState(variables).settings == {}


def test_facts_of_this_host_and_of_all() -> None:
    registered = {"a1": {"reading": {"facts": {"state": "running"}}}, "a2": {"reading": {"facts": {"msg": "gone"}}}}
    found = state(registered=registered, ansible_play_hosts_all=["a1", "a2", "a3"])
    assert found.facts == {"state": "running"}
    assert found.facts_of_all() == {"a1": {"state": "running"}, "a2": {"msg": "gone"}, "a3": {}}
    assert state("a2", registered=registered).facts == {"msg": "gone"}
    assert state().facts == {}


def test_outcomes_of_this_host_and_of_all() -> None:
    registered = {
        "a1": {"turn": {"outcome": at("staged")}},
        "a2": {"turn": {"outcome": failed_in("stage"), "failed": True}},
    }
    found = state(registered=registered)
    assert found.outcome == at("staged")
    assert found.outcomes() == {"a1": at("staged"), "a2": failed_in("stage")}
    assert state("a2", registered=registered).outcome == failed_in("stage")


@pytest.mark.parametrize("turn", [None, {}, {"skipped": True}, {"failed": True, "msg": "MODULE FAILURE"}])
def test_a_host_that_told_nothing_is_at_the_beginning(turn: Any) -> None:
    found = state(registered={"a1": {"turn": turn}, "a2": {"turn": turn}})
    assert found.outcome == outcomes.new()
    assert found.outcomes() == {"a1": outcomes.new(), "a2": outcomes.new()}


def test_a_host_of_the_plan_that_has_no_variables() -> None:
    variables = make_variables()
    variables["hostvars"] = {}
    assert RunState(variables).outcomes() == {"a1": outcomes.new(), "a2": outcomes.new()}


# Decisions


def test_the_decision_of_this_host() -> None:
    assert state(registered={"a1": {"decision": decision(3)}}).decision == decision(3)
    assert state(registered={"a2": {"decision": decision(3)}}).decision is None
    for none in (None, {}, {"failed": True, "msg": "no"}, {"skipped": True, "changed": False}):
        assert state(registered={"a1": {"decision": none}}).decision is None


def test_the_latest_decision_is_that_of_any_host() -> None:
    registered = {"a1": {"decision": decision(2_000_001)}, "a2": {"decision": decision(3_000_000)}}
    for host in ("a1", "a2"):
        assert state(host, registered=registered).latest_rank() == 3_000_000
    assert state().latest_rank() == 0
    assert state(registered={"a1": {"decision": {"skipped": True}}}).latest_rank() == 0


def test_problems_are_those_that_any_host_heard_of() -> None:
    """A host that came back has only old decisions, and the newest may be on another."""
    registered = {"a1": {"decision": decision(1, "one", "two")}, "a2": {"decision": decision(2, "two", "three")}}
    assert state(registered=registered).problems() == ["one", "two", "three"]
    assert state("a2", registered=registered).problems() == ["one", "two", "three"]
    assert state().problems() == []


# Who takes part


def test_whether_the_host_is_still_in_the_play() -> None:
    assert state().is_in_play
    assert not state(ansible_play_hosts=["a2"]).is_in_play


@pytest.mark.parametrize(
    ("own", "in_play", "late"), [(2, True, False), (2, False, True), (3, False, False), (None, False, False)]
)
def test_whether_the_host_comes_back_to_what_is_over(own: int | None, in_play: bool, late: bool) -> None:
    registered = {"a1": {"decision": decision(own) if own else None}, "a2": {"decision": decision(3)}}
    found = state(registered=registered, ansible_play_hosts=["a1", "a2"] if in_play else ["a2"])
    assert found.is_late is late


@pytest.mark.parametrize(
    "hook", ["before_fleet", "before_wave", "before_node", "after_node", "after_wave", "after_fleet"]
)
def test_a_host_whose_hook_could_not_be_loaded_went_on(hook: str) -> None:
    """Ansible takes it out of the play, although its rescue was run."""
    noted = outcomes.note_hook_failure(at("staged"), hook, 1, "no")
    for outcome in (noted, failed_in(hook)):
        assert state(ansible_play_hosts=["a2"]).alive({"a1": outcome, "a2": at("staged")}) == {"a1", "a2"}


@pytest.mark.parametrize("outcome", [at("staged"), failed_in("switch"), failed_in(outcomes.DROPPED_OUT)])
def test_other_hosts_that_are_not_in_the_play_were_lost(outcome: Any) -> None:
    assert state(ansible_play_hosts=["a2"]).alive({"a1": outcome, "a2": at("staged")}) == {"a2"}


# What the user said


def test_rules_are_those_of_the_settings() -> None:
    settings = {"failure_budget": "5%", "on_failure": "rollback_wave", "commit": "never"}
    found = state(settings=settings, ansible_run_tags=["switch"]).rules()
    assert found == Rules("5%", "rollback_wave", "never", ["switch", "soak"])


def test_rules_without_settings_are_the_careful_ones() -> None:
    variables = make_variables()
    del variables[REGISTERS["settings"]]
    assert RunState(variables).rules() == Rules("0", "stop", "fleet", list(outcomes.PARTS))


@pytest.mark.parametrize(
    ("run", "skip", "parts"),
    [
        (None, None, list(outcomes.PARTS)),
        ((), (), list(outcomes.PARTS)),
        (("all",), ("commit",), ["plan", "stage", "switch", "soak"]),
        (("stage", "switch"), (), ["stage", "switch", "soak"]),
    ],
)
def test_parts_are_those_of_the_tags(run: Any, skip: Any, parts: list[str]) -> None:
    assert state(ansible_run_tags=run, ansible_skip_tags=skip).parts() == parts
    assert state(ansible_run_tags=run, ansible_skip_tags=skip).rules().parts == parts


def test_what_is_read_is_a_copy() -> None:
    variables = make_variables(registered={"a1": {"turn": {"outcome": at("staged")}, "reading": {"facts": {"x": 1}}}})
    found = RunState(variables)
    found.outcome["state"] = "failed"
    found.settings["timeout"] = 0
    dict(found.facts)["x"] = 2
    assert RunState(variables).outcome == at("staged")
    assert RunState(variables).settings == make_settings()
