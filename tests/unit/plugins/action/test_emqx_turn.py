# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task that is a node's turn: reads the state of the run, and always returns the node's whole outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_turn
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import turn as turns
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes, verdicts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import FAILURES, FakeHost, read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    REGISTERS,
    at,
    failed_in,
    make_plan,
    make_variables,
)

PLAN = make_plan([["a1"], ["a2"]])
#: Rounds of a watch: one look that is the last, one that is not, and one that only keeps the reservation.
LAST: list[dict[str, Any]] = [{"seconds": 0, "verify": True, "last": True}]
LOOK = [{**LAST[0], "last": False}]
KEEP = [{**LOOK[0], "verify": False}]
SWITCHED = at("switched", looked=1, before=read_facts(), after=read_facts(NEW, OLD))


class Task:
    """Tasks of one host, whose node is a fake one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = FakeHost()
        self.made_for: list[Mapping[str, Any]] = []
        monkeypatch.setattr(emqx_turn, "Node", self._node)
        monkeypatch.setattr(turns, "reservation", FakeHost())

    def _node(self, action: Any, task_vars: dict[str, Any], settings: Mapping[str, Any]) -> FakeHost:
        assert isinstance(action, emqx_turn.ActionModule)
        assert task_vars["inventory_hostname"] == "a1"
        self.made_for.append(settings)
        return self.node

    def run(
        self,
        phase: str,
        outcome: Outcome | None = None,
        decided: str = "",
        plan: Plan = PLAN,
        others: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
        check_mode: bool = False,
        outcomes_of_others: Mapping[str, Outcome] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The result of a task on a1; ``decided``: the phase that was decided before it."""
        # A pause comes after the first wave.
        wave = 1 if decided == "switch" and phase == "soak" else int(options.get("wave", 0))
        found: dict[str, Outcome | None] = {"a1": outcome, "a2": outcome if decided != "switch" else at("staged")}
        found |= outcomes_of_others or {}
        registered: dict[str, Any] = {
            "reading": {"facts": self.node.facts()},
            "turn": {"outcome": outcome} if outcome else None,
            "decision": dict(outcomes.decide(plan, found, decided, Rules(), wave)) if decided else None,
        }
        settings = {"verify_seconds": 0, "lease_seconds": 90, **options.pop("settings", {})}
        ready = make_variables("a1", plan, {"a1": registered, **(others or {})}, settings, **(variables or {}))
        return run_action(emqx_turn, ready, check_mode, phase=phase, **options)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    return Task(monkeypatch)


def test_reads_a_node_for_the_plan(task: Task) -> None:
    found = task.run("read")
    assert found["changed"] is False
    assert found["facts"]["running"] == OLD
    assert set(found) == {"changed", "facts", "remote_executions"}
    assert task.made_for[0]["lease_seconds"] == 90


@pytest.mark.parametrize(("purpose", "verification"), [("upgrade", False), ("commit", True), ("rollback", True)])
def test_reads_for_a_commit_or_a_way_back_what_it_is_compared_with(
    task: Task, purpose: str, verification: bool
) -> None:
    task.run("read", purpose=purpose)
    assert task.node.asked_for("emqx_release_info") == [{"verification": verification}]


@pytest.mark.parametrize("kind", FAILURES)
def test_a_node_that_cannot_be_read_is_for_the_plan_to_refuse(task: Task, kind: str) -> None:
    task.node.answers["info"] = FAILURES[kind]
    found = task.run("read")
    assert not found.get("failed")
    assert list(found["facts"]) == (["msg", "unreachable"] if kind == "lost" else ["msg"])


def test_reads_without_settings_or_a_plan(task: Task) -> None:
    variables = make_variables()
    for name in REGISTERS.values():
        variables.pop(name, None)
    assert run_action(emqx_turn, variables, phase="read")["facts"]["running"] == OLD
    assert task.made_for == [{}]


def test_reserves(task: Task) -> None:
    found = task.run("reserve", at("planned"), "reserve")
    assert found["outcome"]["state"] == "reserved"
    assert found["outcome"]["renewed"] > 0
    assert (found["changed"], found["in_turn"], found.get("failed")) == (True, True, None)
    assert task.node.asked_for("reserve")[0]["lease"] == 90.0


def test_a_failure_is_told_and_the_outcome_is_there_all_the_same(task: Task) -> None:
    task.node.answers["reserve"] = {"failed": True, "msg": "The run run-0 of ann@tower has it."}
    found = task.run("reserve", at("planned"), "reserve")
    assert (found["failed"], found["in_turn"]) == (True, False)
    assert found["msg"] == "a1: Reserve the node: The run run-0 of ann@tower has it."
    assert found["outcome"]["failure"]["phase"] == "reserve"
    assert "unreachable" not in found


SENT, STAGED = [f"send emqx-{NEW}.zip"], ["packages", f"staged {NEW}"]


@pytest.mark.parametrize(
    ("phase", "outcome", "decided", "options", "state", "steps"),
    [
        ("reserve", at("planned"), "reserve", {}, "reserved", ["reserve"]),
        ("stage", at("planned"), "reserve", {}, "staged", [*SENT, "reserve", *STAGED]),
        ("stage", at("reserved"), "reserve", {}, "staged", [*SENT, *STAGED]),
        ("look", at("staged"), "switch", {"wave": 1}, "staged", ["renew", "info"]),
        ("switch", at("staged"), "switch", {"wave": 1}, "switched", ["renew", "info", f"current {NEW}", "info"]),
        ("soak", SWITCHED, "soak", {"rounds": LOOK}, "switched", ["renew", "info"]),
        ("soak", SWITCHED, "soak", {"rounds": LAST}, "soaked", ["renew", "info"]),
        ("soak", SWITCHED, "soak", {"rounds": [*LOOK, *LAST]}, "soaked", ["renew", "info"] * 2),
        ("soak", SWITCHED, "soak", {"rounds": KEEP}, "switched", ["renew"]),
        # In the pause between two waves, for which no phase was decided.
        ("soak", SWITCHED, "switch", {"rounds": KEEP}, "switched", ["renew"]),
        ("soak", at("staged"), "switch", {"rounds": KEEP}, "staged", ["renew"]),
        (
            "commit",
            dict(SWITCHED, state="soaked"),
            "commit",
            {},
            "committed",
            ["renew", f"permanent {NEW}", "info", "remove /var/lib/emqx/fleet/packages", "give up"],
        ),
        ("end", dict(SWITCHED, state="committed", given_up=True), "end", {}, "committed", []),
        ("end", dict(SWITCHED, state="committed"), "end", {}, "committed", ["give up"]),
        ("preview", at("planned"), "", {}, "planned", [f"permanent {NEW}"]),
    ],
)
def test_takes_the_turn_that_was_decided(
    task: Task, phase: str, outcome: Any, decided: str, options: dict[str, Any], state: str, steps: list[str]
) -> None:
    if outcome["state"] in outcomes.PROGRESS[3:]:
        task.node = FakeHost(NEW, OLD)
    found = task.run(phase, outcome, decided, **options)
    assert not found.get("failed"), found
    assert found["outcome"]["state"] == state
    assert task.node.steps == steps
    assert found["changed"] == (steps not in ([], ["info"], ["renew"], ["give up"]))


def test_a_job_that_stages_nothing_only_reserves(task: Task) -> None:
    found = task.run("stage", at("planned"), "reserve", variables={"ansible_run_tags": ["switch", "commit"]})
    assert (found["outcome"]["state"], task.node.steps) == ("reserved", ["reserve"])


def test_check_mode_shows_the_steps_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    for phase in ("reserve", "stage"):
        task = Task(monkeypatch)
        found = task.run(phase, at("planned"), "reserve", check_mode=True)
        assert (found["outcome"]["state"], task.node.steps) == ("planned", [f"permanent {NEW}"])


def test_no_node_is_reserved_where_that_was_not_decided(task: Task) -> None:
    """As when so many hosts were lost before that the run ends."""
    lost = {"a2": failed_in("look")}
    for phase in ("reserve", "stage"):
        for outcome, steps in ((at("planned"), []), (at("reserved"), ["renew"])):
            task.node.steps.clear()
            found = task.run(phase, outcome, "reserve", outcomes_of_others=lost)
            assert (found["outcome"]["state"], found["in_turn"]) == (outcome["state"], False)
            assert task.node.steps == steps


def test_a_host_that_comes_back_is_not_reserved_behind_the_others(task: Task) -> None:
    others = {"a2": {"decision": {"rank": 5_000_000, "problems": []}}}
    for phase in ("reserve", "stage"):
        for outcome in (at("planned"), at("reserved")):
            found = task.run(phase, outcome, "reserve", others=others, variables={"ansible_play_hosts": ["a2"]})
            assert (found["outcome"], found["in_turn"], task.node.steps) == (outcome, False, [])


def test_goes_back_in_its_batch(task: Task) -> None:
    plan = make_plan([["a1"], ["a2"]], purpose="rollback")
    task.node = FakeHost(NEW, OLD)
    found = task.run("rollback", at("reserved"), "rollback", plan, wave=1)
    assert found["outcome"]["state"] == "rolled_back"
    other = task.run("rollback", at("reserved", renewed=1e12), "rollback", plan, wave=2)
    assert (other["outcome"]["state"], other["in_turn"]) == ("reserved", False)


def test_notes_a_hook_that_failed(task: Task) -> None:
    for hook, state in (("before_wave", "staged"), ("before_node", "failed")):
        found = task.run("hook_failed", at("staged"), "switch", wave=1, hook=hook, message="no route")
        assert found["failed"]
        assert found["outcome"]["state"] == state
    assert found["msg"] == "a1: hook before_node: The hook before_node failed: no route"
    assert found["in_turn"] is False


def test_a_hook_that_one_ran_for_many_is_noted_with_its_wave(task: Task) -> None:
    found = task.run("hook_failed", at("staged"), "switch", wave=1, hook="before_wave", message="no")
    assert found["outcome"]["hook_failures"] == [{"hook": "before_wave", "wave": 1, "message": "no"}]


class Probe:
    """Keeps what it was told."""

    made: ClassVar[list[Probe]] = []

    def __init__(self, *whose: str) -> None:
        self.told: list[Any] = [*whose]
        self.made.append(self)

    def checks(self, _accepted: Sequence[str]) -> list[verdicts.Check]:
        self.told.append("count")
        return [verdicts.Check("probe", True, "", "")]

    def __getattr__(self, name: str) -> Any:
        return lambda: self.told.append(name)


def test_the_probe_of_a_run_is_asked_and_told_when_the_turn_is_over(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emqx_turn, "NodeProbe", Probe)
    monkeypatch.setattr(Probe, "made", [])
    task.run("switch", at("staged"), "switch", wave=1)
    assert Probe.made == []
    task.node = FakeHost()
    planned = {REGISTERS["planned"]: {"plan": PLAN, "probed": True}}
    found = task.run("switch", at("staged"), "switch", wave=1, variables=planned)
    assert "probe" in [check["name"] for check in found["outcome"]["checks"]]
    assert Probe.made[0].told == ["run-1", "a1", "begin_switch", "count", "count", "end_turn"]

    def broken(*_arguments: Any) -> Any:
        raise KeyError("releases")

    monkeypatch.setattr(task.node, "answer", broken)
    task.run("switch", at("staged"), "switch", wave=1, variables=planned)
    assert Probe.made[1].told == ["run-1", "a1", "begin_switch", "count", "end_turn"]


# Whose turn it is


def test_a_host_that_is_not_named_has_no_turn(task: Task) -> None:
    found = task.run("switch", at("staged", renewed=1e12), "switch", wave=2)
    assert (found["outcome"]["state"], found["in_turn"], task.node.steps) == ("staged", False, [])


def test_a_host_without_a_decision_has_no_turn(task: Task) -> None:
    for phase in ("stage", "look", "switch", "soak", "commit", "rollback", "end"):
        found = task.run(phase, at("staged"))
        assert (found["outcome"], found["in_turn"], found["changed"]) == (at("staged"), False, False)
    assert task.node.steps == []


def test_a_failed_host_has_no_turn(task: Task) -> None:
    found = task.run("switch", failed_in("stage"), "switch", wave=1)
    assert (found["outcome"]["state"], found["in_turn"], task.node.steps) == ("failed", False, [])


@pytest.mark.parametrize(("in_play", "turn"), [(True, True), (False, False)])
def test_a_host_that_was_lost_and_comes_back_has_no_turn_in_what_is_over(task: Task, in_play: bool, turn: bool) -> None:
    """Its errors were cleared, and the decision that it has is an old one; the others are further."""
    others = {"a2": {"decision": {"rank": 5_000_000, "problems": []}}}
    play = ["a1", "a2"] if in_play else ["a2"]
    found = task.run("switch", at("staged"), "switch", wave=1, others=others, variables={"ansible_play_hosts": play})
    assert (found["outcome"]["state"] == "switched") is turn
    assert (task.node.steps != []) is turn
    assert found["in_turn"] is turn, "nor has it one in a hook"


def test_a_host_that_was_lost_has_the_last_look_with_the_others(task: Task) -> None:
    found = task.run("end", at("staged"), "end", variables={"ansible_play_hosts": ["a2"]})
    assert task.node.steps == ["info", "give up"]
    assert found["outcome"]["after"]["running"] == OLD


# What does not go as it should


@pytest.mark.parametrize("phase", ["reserve", "stage", "switch", "soak", "commit", "rollback", "end", "hook_failed"])
def test_without_a_plan_there_is_no_turn(task: Task, phase: str) -> None:
    variables = make_variables()
    del variables[REGISTERS["planned"]]
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_turn, variables, phase=phase)
    assert "There is no plan that has a1: the phase 'plan' of the role was not run before this one" in str(raised.value)
    assert task.node.steps == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing required arguments: phase"),
        ({"phase": "jump"}, "value of phase must be one of: read, reserve, stage"),
        ({"phase": "switch", "wave": "first"}, "wave"),
        ({"phase": "switch", "host": "a2"}, "Unsupported parameters for (emqx_turn) module: host"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_turn, make_variables(), **options)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("phase", "outcome", "decided", "options"),
    [
        ("reserve", at("planned"), "reserve", {}),
        ("stage", at("reserved"), "reserve", {}),
        ("stage", at("planned"), "reserve", {}),
        ("switch", at("staged"), "switch", {"wave": 1}),
        ("soak", SWITCHED, "soak", {"rounds": LAST}),
        ("end", at("staged"), "end", {}),
        ("hook_failed", at("staged"), "", {"hook": "before_node"}),
    ],
)
def test_an_error_of_our_own_does_not_lose_how_far_the_node_is(
    task: Task, monkeypatch: pytest.MonkeyPatch, phase: str, outcome: Any, decided: str, options: dict[str, Any]
) -> None:
    def broken(*_arguments: Any) -> Any:
        raise KeyError("releases")

    monkeypatch.setattr(task.node, "answer", broken)
    found = task.run(phase, outcome, decided, **options)
    phase = "reserve" if outcome["state"] == "planned" else options.get("hook", phase)
    message = "An error in emqx.fleet itself, KeyError: 'releases'"
    assert found["failed"]
    assert found["msg"] == f"a1: {phase}: {message}"
    assert "Traceback" in found["exception"]
    assert found["outcome"]["state"] == "failed"
    assert (found["outcome"]["failure"]["phase"], found["outcome"]["failure"]["message"]) == (phase, message)
    assert found["outcome"]["after"] == outcome["after"]


def test_an_error_before_the_turn_does_not_either(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> Any:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(emqx_turn.runs, "who", broken)
    found = task.run("stage", at("reserved"), "reserve")
    assert found["failed"]
    assert found["outcome"]["state"] == "failed"
    assert "uid not found" in found["outcome"]["failure"]["message"]
    assert task.node.steps == []


def test_the_time_out_of_a_task_does_not_either(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    class TaskTimeoutError(BaseException):
        """As Ansible raises it from a signal, which is no Exception."""

    def ended(*_arguments: Any) -> Any:
        raise TaskTimeoutError("2 s")

    def interrupted(*_arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(task.node, "answer", ended)
    found = task.run("switch", at("staged"), "switch", wave=1)
    assert found["failed"]
    assert found["outcome"]["failure"]["phase"] == "switch"
    assert found["outcome"]["failure"]["message"] == (
        "The turn was cut off by a timeout for tasks of Ansible's (TaskTimeoutError: 2 s); what was begun goes on on "
        "the node."
    )
    monkeypatch.setattr(task.node, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        task.run("switch", at("staged"), "switch", wave=1)


@pytest.mark.parametrize(
    ("run", "run_id", "asked"),
    [
        ({"id": "w"}, "w", [{"id": "w", "state": "absent"}]),
        ({"id": "other"}, "w", []),
        ({"id": "w"}, "", []),
        (None, "w", []),
    ],
)
def test_gives_up_what_was_kept_for_a_later_job(
    task: Task, monkeypatch: pytest.MonkeyPatch, run: Any, run_id: str, asked: list[dict[str, str]]
) -> None:
    given_up: list[dict[str, str]] = []

    def give_up(_node: Any, name: str) -> dict[str, Any]:
        given_up.append({"id": name, "state": "absent"})
        return {"changed": True}

    monkeypatch.setattr(emqx_turn.reservation, "give_up", give_up)
    readings = {"a1": {"reading": {"facts": {**read_facts(), "run": run}}}}
    variables = make_variables("a1", None, readings, {"run_id": run_id})
    assert run_action(emqx_turn, variables, phase="give_up") == {"changed": bool(asked), "kept": ""}
    assert given_up == asked
    given_up.clear()
    assert run_action(emqx_turn, variables, check_mode=True, phase="give_up") == {"changed": False, "kept": ""}
    assert given_up == []
    refused = {"failed": True, "msg": "No route."}
    monkeypatch.setattr(emqx_turn.reservation, "give_up", lambda _node, _id: refused)
    assert run_action(emqx_turn, variables, phase="give_up")["kept"] == ("No route." if asked else "")
