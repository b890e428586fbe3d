# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state machine of a run, row by row: who has a turn, what a failure means for whom, and who goes back."""

from __future__ import annotations

from typing import Any, cast, get_args

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import (
    DROPPED_OUT,
    ORDER,
    PARTS,
    PHASES,
    POLICIES,
    PROGRESS,
    BudgetError,
    Ran,
    Rules,
    TransitionError,
    advance,
    begins,
    budget,
    decide,
    fail,
    is_final,
    judged,
    make_failure,
    may_have_moved,
    note,
    note_hook_failure,
    parts_of,
    rounds,
    superfluous_releases,
    watches,
    way_back,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Action, Outcome, Plan, State
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    at,
    failed_in,
    make_node,
    make_plan,
)
from hypothesis import given
from hypothesis import strategies as st

STATES: tuple[State, ...] = get_args(State)
ACTIONS: tuple[Action, ...] = get_args(Action)
WAVES = [["a1"], ["a2", "b1"], ["a3", "b2"]]
HOSTS = [host for wave in WAVES for host in wave]
#: Three waves; an earlier run switched r1 and committed d1.
PLAN = make_plan(WAVES, {"r1": "commit", "d1": "none"})
BACK = make_plan(WAVES, purpose="rollback")

OLD_FACTS = {"running": OLD, "permanent": OLD}
NEW_FACTS = {"running": NEW, "permanent": OLD}
HALF_BACK = {"running": OLD, "permanent": NEW}


def failed_hosts(view: dict[str, Outcome]) -> dict[str, str]:
    return {host: row["failure"]["phase"] for host, row in view.items() if row["failure"]}


# Budgets


@pytest.mark.parametrize(
    ("text", "nodes", "allowed"),
    [
        ("0", 10, 0),
        (2, 10, 2),
        ("5%", 10, 0),
        ("5%", 20, 1),
        ("5%", 39, 1),
        ("100%", 7, 7),
        (" 3 ", 1, 3),
        ("50 %", 4, 2),
    ],
)
def test_budgets(text: str | int, nodes: int, allowed: int) -> None:
    assert budget(text, nodes) == allowed


@pytest.mark.parametrize("text", ["", "-1", "few", "1.5", "5 percent", "%", "5%%", True])
def test_no_budgets(text: Any) -> None:
    with pytest.raises(BudgetError) as raised:
        budget(text, 10)
    assert str(raised.value) == (f"{text!r} is not a failure budget; give a number of nodes (2) or a percentage (5%).")


# The table of the phases

#: Phase: the state after it, and for each action the states from which a node has a turn in it.
TABLE: dict[str, tuple[str, dict[str, str]]] = {
    "reserve": ("reserved", {"upgrade": "planned", "commit": "planned"}),
    "stage": ("staged", {"upgrade": "reserved"}),
    "before_fleet": ("", {"upgrade": "reserved staged"}),
    "before_wave": ("", {"upgrade": "reserved staged"}),
    "look": ("", {"upgrade": "reserved staged"}),
    "before_node": ("", {"upgrade": "reserved staged"}),
    "switch": ("switched", {"upgrade": "reserved staged"}),
    "after_node": ("", {"upgrade": "switched"}),
    "after_wave": ("", {"upgrade": "switched"}),
    "soak": ("soaked", {"upgrade": "switched", "commit": "reserved switched"}),
    "commit": ("committed", {"upgrade": "soaked", "commit": "soaked"}),
    "rollback": (
        "rolled_back",
        dict.fromkeys(("upgrade", "commit"), "reserved switched soaked committed failed"),
    ),
}


def test_the_table_has_every_phase() -> None:
    assert list(TABLE) == list(PHASES)
    assert {phase for phase, row in PHASES.items() if row.once} == {"before_fleet", "before_wave", "after_wave"}
    assert {phase for phase, row in PHASES.items() if row.fatal} == {"reserve", "before_fleet"}
    assert {phase for phase, row in PHASES.items() if not row.before_switch} == {
        "switch", "after_node", "after_wave", "soak", "commit", "rollback",
    }  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_who_has_a_turn(phase: str) -> None:
    for action in ACTIONS:
        found = {state for state in STATES if begins(at(state), phase, make_node(action=action))}
        assert found == set(TABLE[phase][1].get(action, "").split()), action


def test_a_node_with_an_unfinished_run_is_reserved_although_there_is_nothing_to_do() -> None:
    for action in ACTIONS:
        node = make_node(action=action, unfinished_run=True)
        assert begins(at("planned"), "reserve", node)
        assert not begins(at("reserved"), "reserve", node)
        assert begins(at("reserved"), "stage", node) == (action == "upgrade")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("state", STATES)
def test_what_takes_a_node_further(phase: str, state: State) -> None:
    reached, rows = TABLE[phase]
    allowed = {word for row in rows.values() for word in row.split()}
    outcome = at(state, checks=[1])
    if state in allowed:
        assert advance(outcome, phase, checks=[2]) == {**outcome, "checks": [2], "state": reached or state}
        assert outcome["checks"] == [1], "what was given is not changed"
        return
    with pytest.raises(TransitionError) as raised:
        advance(outcome, phase)
    assert str(raised.value) == f"phase {phase} begins from {', '.join(sorted(allowed))}, not from {state}"


def test_a_refusal_is_told_word_by_word() -> None:
    with pytest.raises(TransitionError) as raised:
        advance(at("staged"), "soak")
    assert str(raised.value) == "phase soak begins from reserved, switched, not from staged"


def test_nothing_takes_a_failed_node_further_but_the_way_back() -> None:
    assert [phase for phase in PHASES if begins(at("failed"), phase, make_node())] == ["rollback"]
    assert [phase for phase in PHASES if begins(at("rolled_back"), phase, make_node())] == []


@pytest.mark.parametrize("phase", [*PHASES, DROPPED_OUT])
@pytest.mark.parametrize("state", [state for state in STATES if state != "failed"])
def test_every_failure_ends_the_nodes_run(phase: str, state: State) -> None:
    outcome = at(state)
    found = fail(outcome, phase, {"msg": "no", "output": [1]}, after=NEW_FACTS)
    assert found["state"] == "failed"
    assert found["failure"] == {
        "phase": phase, "task": "", "message": "no", "failure_class": "", "output": ["1"], "log": [], "crash_dumps": [],
    }  # fmt: skip
    assert found["after"] == NEW_FACTS
    assert outcomes.is_failed(found)
    assert outcome == at(state)


def test_the_first_failure_is_the_one_that_is_told() -> None:
    first = failed_in("switch", "first")
    second = fail(first, "after_node", {"message": "second"}, after=OLD_FACTS)
    assert second == {**first, "after": OLD_FACTS}


def test_a_way_back_that_fails_comes_on_top() -> None:
    first = failed_in("switch", "first", after=NEW_FACTS)
    assert fail(first, "rollback", {"message": "no relup"}) == {**first, "rollback_message": "no relup"}
    # Silent or not, it was tried, and is not tried again.
    assert fail(first, "rollback", {})["rollback_message"] == "it did not say why"


def test_a_way_back_that_fails_on_a_node_that_was_well_is_its_failure() -> None:
    found = fail(at("soaked"), "rollback", {"message": "no relup"})
    assert (found["state"], found["failure"] and found["failure"]["phase"]) == ("failed", "rollback")
    assert found["rollback_message"] == ""


def test_a_node_that_went_back_has_still_failed() -> None:
    found = advance(failed_in("switch"), "rollback")
    assert found["state"] == "rolled_back"
    assert outcomes.is_failed(found)
    assert not outcomes.is_failed(advance(at("soaked"), "rollback"))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "it did not say why"),
        ({"msg": None, "message": ""}, "it did not say why"),
        ({"msg": "of the module"}, "of the module"),
        ({"msg": "of the module", "message": "ours"}, "ours"),
    ],
)
def test_a_failure_always_says_something(told: dict[str, Any], message: str) -> None:
    assert make_failure("switch", told)["message"] == message


def test_a_failure_keeps_what_was_told() -> None:
    told = {
        "task": "Switch", "message": "m", "failure_class": "refused", "output": ["o"], "log": ["l"],
        "crash_dumps": [{"path": "/x"}],
    }  # fmt: skip
    assert make_failure("switch", {**told, "changed": True}) == {**told, "phase": "switch"}


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(list(PHASES))), max_size=20))
def test_no_way_leads_a_failed_node_on(steps: list[tuple[bool, str]]) -> None:
    outcome, first = outcomes.new(), None
    for well, phase in steps:
        before = outcome
        if not well:
            outcome = fail(outcome, phase, {"message": phase})
        elif outcome["state"] in PHASES[phase].begins:
            outcome = advance(outcome, phase)
        first = first or outcome["failure"]
        assert outcome["failure"] == first
        if first:
            assert outcome["state"] in ("failed", "rolled_back")
        elif phase != "rollback" and before["state"] in PROGRESS:
            assert PROGRESS.index(outcome["state"]) >= PROGRESS.index(before["state"])


# What the nodes did not tell themselves


def fleet(default: State = "staged", /, **states: Any) -> dict[str, Outcome | None]:
    """Outcomes of all hosts of the plan; each a state or a whole outcome."""
    found: dict[str, Any] = {host: at(default) for host in HOSTS} | {"r1": at("reserved"), "d1": None}
    found |= {host: at(cast(State, state)) if isinstance(state, str) else state for host, state in states.items()}
    return found


SWITCHED_1 = {"a1": "switched"}
SWITCHED_2 = {"a1": "switched", "a2": "switched", "b1": "switched"}
ALL_SWITCHED = dict.fromkeys(HOSTS, "switched")
ALL_SOAKED = dict.fromkeys([*HOSTS, "r1"], "soaked")


@pytest.mark.parametrize(
    ("found", "upcoming", "wave", "dropped"),
    [
        # Nothing was begun.
        (fleet("planned", r1="planned"), "reserve", 0, []),
        (fleet("planned", r1="planned"), "", 0, []),
        # While a phase is under way, nobody is through with it.
        (fleet("reserved", b1="planned"), "reserve", 0, []),
        (fleet("reserved", b1="planned"), "switch", 1, ["b1"]),
        (fleet("reserved", r1="planned"), "switch", 1, ["r1"]),
        (fleet("reserved", b1="planned"), "end", 0, ["b1"]),
        (fleet("planned", r1="planned", a1=failed_in("reserve", state="planned")), "switch", 1, [*HOSTS[1:], "r1"]),
        # Staging; a run that stages nothing misses nothing.
        (fleet("staged", b1="reserved"), "reserve", 0, []),
        (fleet("staged", b1="planned"), "reserve", 0, []),
        (fleet("staged", b1="planned"), "switch", 1, ["b1"]),
        (fleet("staged", b1="reserved"), "switch", 1, ["b1"]),
        (fleet("staged", b1="reserved"), "", 0, ["b1"]),
        (fleet("reserved"), "switch", 1, []),
        (fleet("reserved", a1=failed_in("stage")), "switch", 1, HOSTS[1:]),
        # The waves before this one, and no later ones.
        (fleet("staged", **SWITCHED_1), "switch", 1, []),
        (fleet("staged", **SWITCHED_1), "switch", 2, []),
        (fleet("staged", a1="switched", a2="switched"), "switch", 2, []),
        (fleet("staged", a1="switched", a2="switched"), "switch", 3, ["b1"]),
        (fleet("staged", a2="switched", b1="switched"), "switch", 3, ["a1"]),
        (fleet("staged", a1="switched", a2="switched"), "soak", 0, ["b1"]),
        # A wave of which no node came through, though all were looked at, or the hook for one failed.
        (fleet("staged", **SWITCHED_1, b1=at("staged", looked=2)), "switch", 3, ["a2", "b1"]),
        (fleet("staged", **SWITCHED_1, b1=at("staged", looked=2)), "switch", 2, []),
        (fleet("staged", **SWITCHED_1, b1=failed_in("before_node")), "soak", 0, ["a2"]),
        (fleet("staged", **SWITCHED_1, b1=failed_in("look")), "soak", 0, ["a2"]),
        # Watching: those that were switched, and those that an earlier run had switched.
        (fleet("staged", **SWITCHED_2), "soak", 0, []),
        (fleet("staged", **SWITCHED_2), "rollback", 0, []),
        (fleet(**ALL_SWITCHED | {"a1": "soaked"}), "soak", 0, []),
        (fleet(**ALL_SWITCHED | {"a1": "soaked"}), "rollback", 0, [*HOSTS[1:], "r1"]),
        (fleet(**ALL_SOAKED | {"b2": "switched"}), "commit", 0, ["b2"]),
        (fleet(**ALL_SOAKED | {"r1": "reserved"}), "commit", 0, ["r1"]),
        (fleet(**ALL_SOAKED), "commit", 0, []),
        (fleet(**ALL_SWITCHED | {"a1": failed_in("soak")}), "commit", 0, [*HOSTS[1:], "r1"]),
        # Committing.
        (fleet(**ALL_SOAKED | {"a1": "committed"}), "commit", 0, []),
        (fleet(**ALL_SOAKED | {"a1": "committed"}), "end", 0, [*HOSTS[1:], "r1"]),
        (fleet(**ALL_SOAKED | {"a1": "committed"}), "", 0, [*HOSTS[1:], "r1"]),
        (fleet(**dict.fromkeys([*HOSTS, "r1"], "committed")), "", 0, []),
        (fleet(**ALL_SOAKED | {"a1": failed_in("commit")}), "end", 0, [*HOSTS[1:], "r1"]),
        # Waves that were not begun are not missed, however far the others came.
        (fleet("staged", **dict.fromkeys(["a1", "a2", "b1", "r1"], "committed")), "", 0, []),
        (fleet("staged", **dict.fromkeys(["a1", "a2", "b1", "r1"], "soaked")), "end", 0, []),
        # Whoever failed or went back is missed nowhere.
        (fleet("switched", a1=failed_in("switch"), a2=advance(failed_in("switch"), "rollback")), "soak", 0, []),
    ],
)
def test_who_is_missed(found: dict[str, Outcome | None], upcoming: str, wave: int, dropped: list[str]) -> None:
    view = judged(PLAN, found, upcoming, wave)
    assert list(view) == [*HOSTS, "r1"]
    silent = {host for host, outcome in found.items() if not outcome or not outcome["failure"]}
    assert [host for host in failed_hosts(view) if host in silent] == dropped
    assert all(failed_hosts(view)[host] == DROPPED_OUT for host in dropped)
    untouched = [host for host in view if host not in dropped and found[host]]
    assert all(view[host] == found[host] for host in untouched)


def test_a_node_that_said_nothing_at_all_is_missed_like_one_at_the_beginning() -> None:
    view = judged(PLAN, {**fleet("reserved"), "b1": None}, "switch", 1)
    assert view["b1"]["failure"] == {
        "phase": "dropped out",
        "task": "",
        "message": "it dropped out of the run before it was done with its turn, for example because a task of a hook "
        "lost the connection.",
        "failure_class": "",
        "output": [],
        "log": [],
        "crash_dumps": [],
    }
    assert failed_hosts(judged(PLAN, {"a1": at("reserved")}, "switch", 1)) == dict.fromkeys(
        [*HOSTS[1:], "r1"], "dropped out"
    )


def test_nobody_is_missed_in_a_planned_way_back() -> None:
    found = {host: at("reserved") for host in HOSTS} | {"a1": at("rolled_back"), "a2": at("planned")}
    assert failed_hosts(judged(BACK, found)) == {}


@pytest.mark.parametrize(
    ("hook", "wave", "concerned"),
    [
        ("before_fleet", 1, HOSTS),
        ("before_wave", 2, ["a2", "b1"]),
        ("after_wave", 1, ["a1"]),
        ("after_wave", 3, ["a3", "b2"]),
        ("after_fleet", 3, []),
    ],
)
def test_a_hook_that_one_node_ran_for_many(hook: str, wave: int, concerned: list[str]) -> None:
    state: State = "staged" if hook.startswith("before") else "switched"
    runner = concerned[-1] if concerned else "a1"
    found = fleet(state) | {host: at("switched") for before in WAVES[: wave - 1] for host in before}
    found[runner] = note_hook_failure(found[runner] or at(state), hook, wave, "no route")
    view = judged(PLAN, found, "switch", wave)
    assert failed_hosts(view) == dict.fromkeys(concerned, hook)
    for host in concerned:
        assert view[host]["state"] == "failed"
        assert view[host]["failure"] == make_failure(
            hook, {"task": f"hook {hook}", "message": f"The hook {hook} failed: no route"}
        )


def test_a_node_that_had_failed_itself_keeps_its_own_failure() -> None:
    found = fleet("staged", a1="switched", a2=note_hook_failure(at("staged"), "before_wave", 2, "no route"))
    found["b1"] = failed_in("stage", "disk full")
    view = judged(PLAN, found, "switch", 2)
    assert failed_hosts(view) == {"a2": "before_wave", "b1": "stage"}


def test_a_node_that_went_back_is_not_sent_back_by_its_waves_hook() -> None:
    back = advance(there(), "rollback", after=OLD_FACTS)
    found = fleet("staged", a1="switched", b1=back)
    found["a2"] = note_hook_failure(at("switched"), "after_wave", 2, "no route")
    view = judged(PLAN, found, "rollback")
    assert view["b1"] == back
    assert way_back(PLAN, view, Rules(5, "rollback_node")) == [["a2"]]


def test_a_wave_whose_hook_failed_was_begun() -> None:
    """Its nodes failed with the hook, which is what is told, and not that they dropped out."""
    found = fleet("staged", a1="switched", a2=note_hook_failure(at("staged"), "before_wave", 2, "no route"))
    for upcoming, wave in (("switch", 3), ("soak", 0), ("end", 0), ("", 0)):
        assert failed_hosts(judged(PLAN, found, upcoming, wave)) == {"a2": "before_wave", "b1": "before_wave"}


def test_what_is_noted_takes_a_node_no_further() -> None:
    assert note(at("switched"), renewed=7.0) == at("switched", renewed=7.0)
    for changes in ({"state": "committed"}, {"failure": None}):
        with pytest.raises(TransitionError):
            note(at("switched"), **changes)


def test_hook_failures_add_up() -> None:
    found = note_hook_failure(note_hook_failure(at("staged"), "before_fleet", 1, "a"), "after_fleet", 3, "b")
    assert found["hook_failures"] == [
        {"hook": "before_fleet", "wave": 1, "message": "a"},
        {"hook": "after_fleet", "wave": 3, "message": "b"},
    ]
    assert found["state"] == "staged"
    assert found["failure"] is None


# Whether the run goes on


def test_a_phase_that_begins() -> None:
    decision = decide(PLAN, fleet(), "switch", Rules(), 2)
    assert decision == {
        "phase": "switch",
        "wave": 2,
        "rank": 1 * 1_000_000 + 2,
        "proceed": True,
        "message": "",
        "hosts": ["a2", "b1"],
        "first": "a2",
        "failures": {},
        "batches": [],
        "final": True,
        "parts": ["plan", "stage", "switch", "soak", "commit"],
        "problems": [],
        "lost": [],
        "due": ["a2", "b1"],
        "silent": {},
    }


@pytest.mark.parametrize(
    ("phase", "wave", "found", "hosts"),
    [
        ("reserve", 0, {}, [*HOSTS, "r1"]),
        # Who reserved already only stages, which is no decision of its own.
        ("reserve", 0, {**fleet("reserved"), "a2": at("planned")}, ["a2"]),
        ("switch", 3, fleet(**SWITCHED_2), ["a3", "b2"]),
        # A job that stages nothing begins from the reservation.
        ("switch", 1, fleet("reserved"), ["a1"]),
        ("soak", 0, fleet(**SWITCHED_2), ["a1", "a2", "b1", "r1"]),
        ("commit", 0, fleet(**ALL_SOAKED), [*HOSTS, "r1"]),
        ("end", 0, fleet(), [*HOSTS, "r1"]),
    ],
)
def test_whose_turn_it_is(phase: str, wave: int, found: Any, hosts: list[str]) -> None:
    decision = decide(PLAN, found, phase, Rules(), wave)
    assert decision["proceed"]
    assert decision["hosts"] == hosts


def test_the_order_of_the_waves_is_the_order_of_the_turns() -> None:
    mixed = make_plan([["b2"], ["a1", "b1"]])
    assert list(mixed["nodes"]) == ["b2", "a1", "b1"]
    mixed["nodes"] = {host: mixed["nodes"][host] for host in ("a1", "b1", "b2")}
    assert decide(mixed, {}, "reserve", Rules())["hosts"] == ["b2", "a1", "b1"]


def test_who_is_to_be_freed_of_a_run_that_died_is_reserved_although_it_is_done() -> None:
    plan = make_plan([["a1"]], {"d1": "none"})
    plan["nodes"]["d1"]["unfinished_run"] = True
    assert decide(plan, {}, "reserve", Rules())["hosts"] == ["a1", "d1"]
    assert decide(plan, {"a1": at("reserved"), "d1": at("reserved")}, "switch", Rules(), 1)["hosts"] == ["a1"]


def test_ranks_grow_from_one_decision_to_the_next() -> None:
    turns = [("reserve", 0), ("switch", 1), ("switch", 2), ("switch", 3), ("soak", 0), ("rollback", 0)]
    turns += [("rollback", 1), ("rollback", 2), ("commit", 0), ("end", 0)]
    ranks = [decide(PLAN, {}, phase, Rules(), wave)["rank"] for phase, wave in turns]
    assert ranks == sorted(set(ranks))
    assert {phase for phase, _wave in turns} == set(ORDER)


@pytest.mark.parametrize(("alive", "first"), [(None, "a2"), ({"b1", "a3"}, "b1"), ({"a1"}, None), (set(), None)])
def test_who_runs_what_is_run_once(alive: set[str] | None, first: str | None) -> None:
    decision = decide(PLAN, fleet(**SWITCHED_1), "switch", Rules("100%"), 2, alive=alive)
    assert decision["first"] == first
    assert decision["hosts"] == [host for host in ("a2", "b1") if alive is None or host in alive]


def test_who_was_lost_has_failed_and_stays_so_when_it_comes_back() -> None:
    """As a host of a wave of its own, of which nobody else can tell that it was begun."""
    found = fleet("staged", r1="reserved")
    decision = decide(PLAN, found, "switch", Rules(), 2, alive=set(PLAN["nodes"]) - {"a1"})
    assert decision["failures"]["a1"]["phase"] == DROPPED_OUT
    assert (decision["proceed"], decision["lost"]) == (False, ["a1"])
    again = decide(PLAN, found, "end", Rules(), alive=set(PLAN["nodes"]), lost=["a1"])
    assert again["failures"]["a1"]["phase"] == DROPPED_OUT
    assert again["lost"] == ["a1"]
    done = fleet(**ALL_SOAKED)
    assert decide(PLAN, done, "end", Rules(), lost=["a1"])["failures"] == {}, "nothing was left to be done there"


@pytest.mark.parametrize("phase", ["reserve", "before_fleet"])
def test_without_these_no_node_is_touched_whatever_the_budget(phase: str) -> None:
    found = fleet("reserved", b1=failed_in(phase))
    for upcoming in ("reserve", "switch", "soak", "commit"):
        decision = decide(PLAN, found, upcoming, Rules("100%"), 1 if upcoming == "switch" else 0)
        assert not decision["proceed"]
        assert decision["hosts"] == []
        assert decision["first"] is None
        assert decision["message"] == f"b1 failed in phase {phase}, without which no node may be touched."


@pytest.mark.parametrize("phase", [phase for phase, row in PHASES.items() if not row.fatal])
def test_other_failures_are_counted(phase: str) -> None:
    found = fleet("staged", a1=failed_in(phase))
    decision = decide(PLAN, found, "switch", Rules(), 2)
    assert not decision["proceed"]
    assert decision["message"] == "1 of 6 nodes failed and 0 may, so no further node is touched."
    assert (decision["hosts"], decision["first"]) == ([], None)
    within = decide(PLAN, found, "switch", Rules(1), 2)
    assert (within["proceed"], within["message"], within["hosts"]) == (True, "", ["a2", "b1"])
    assert list(within["failures"]) == ["a1"]
    assert within["failures"]["a1"]["phase"] == phase


def test_a_percentage_is_of_the_nodes_that_the_plan_changes() -> None:
    found = fleet("staged", a1=failed_in("switch"))
    assert not decide(PLAN, found, "switch", Rules("16%"), 2)["proceed"]
    assert decide(PLAN, found, "switch", Rules("17%"), 2)["proceed"]


def test_who_was_missed_counts_and_is_told() -> None:
    found = fleet("staged", a1="switched", a2="switched")
    decision = decide(PLAN, found, "switch", Rules(), 3)
    assert decision["message"] == "1 of 6 nodes failed and 0 may, so no further node is touched."
    assert decision["failures"]["b1"]["phase"] == DROPPED_OUT
    within = decide(PLAN, found, "soak", Rules("1"))
    assert within["hosts"] == ["a1", "a2", "r1"]


def test_a_failed_node_has_no_turn_within_the_budget() -> None:
    found = fleet(**ALL_SOAKED | {"a2": failed_in("soak")})
    assert decide(PLAN, found, "commit", Rules(1))["hosts"] == ["a1", "b1", "a3", "b2", "r1"]


def test_no_commit_where_it_is_not_wanted() -> None:
    decision = decide(PLAN, fleet(**ALL_SOAKED), "commit", Rules(commit="never"))
    assert not decision["proceed"]
    assert decision["message"] == "The version is not to be made permanent in this run."
    assert decision["hosts"] == []
    # Why it was halted goes before that.
    found = fleet(**ALL_SOAKED | {"a2": failed_in("soak")})
    assert decide(PLAN, found, "commit", Rules(commit="never"))["message"].startswith("1 of 6 nodes failed")
    assert decide(PLAN, fleet(**ALL_SWITCHED), "soak", Rules(commit="never"))["proceed"]


def test_a_run_that_is_for_the_commit_commits() -> None:
    """The roll-out of the fleet never commits, and another day the playbook for it does, with the same settings."""
    plan = make_plan([], {"r1": "commit", "r2": "commit"}, purpose="commit")
    found = {"r1": at("soaked"), "r2": at("soaked")}
    for commit in ("never", "fleet", "node"):
        decision = decide(plan, found, "commit", Rules(commit=commit))
        assert decision["proceed"], commit
        assert decision["hosts"] == ["r1", "r2"]


def test_the_last_look_is_for_all_whatever_happened() -> None:
    found = fleet("staged", a1=failed_in("reserve"), b2=failed_in("switch"))
    decision = decide(PLAN, found, "end", Rules(), alive={"a3", "r1"})
    assert not decision["proceed"]
    assert decision["hosts"] == [*HOSTS, "r1"]
    assert decision["first"] == "a3"


# Whose turn ended without a result


SILENT = "its turn ended without a result, as when a task_timeout of Ansible ends it; see what the node runs."
ENTIRE = [
    ("reserve", 0, "planned", "switch", 1),
    ("switch", 1, "staged", "switch", 2),
    ("switch", 2, "staged", "soak", 0),
    ("soak", 0, "switched", "rollback", 0),
    ("commit", 0, "soaked", "end", 0),
]


@pytest.mark.parametrize(("phase", "wave", "state", "upcoming", "next_wave"), ENTIRE)
def test_who_had_a_turn_and_told_nothing_has_failed(
    phase: str, wave: int, state: State, upcoming: str, next_wave: int
) -> None:
    """Also where nobody else shows that the phase was begun, as with a canary that is alone."""
    found = fleet(state, **(ALL_SOAKED if phase == "commit" else {}))
    first = decide(PLAN, found, phase, Rules(), wave)
    assert first["proceed"], first
    (silent, *others) = first["due"]
    for host in others:
        found[host] = advance(found[host] or at("planned"), phase)
        if phase == "reserve" and begins(found[host] or at("planned"), "stage", PLAN["nodes"][host]):
            # The same turn brings the packages.
            found[host] = advance(found[host] or at("planned"), "stage")
    second = decide(PLAN, found, upcoming, Rules(), next_wave, previous=first)
    assert second["silent"] == {silent: phase}
    assert second["proceed"] == (upcoming == "rollback")
    assert (second["failures"][silent]["phase"], second["failures"][silent]["message"]) == (phase, SILENT)
    third = decide(PLAN, found, "end", Rules(), previous=second, silent=second["silent"])
    assert third["silent"] == {silent: phase}
    assert third["failures"][silent]["phase"] == phase, "it is handed on until the node has it in its outcome"


def test_a_way_back_that_ended_without_a_result_has_failed() -> None:
    failed = failed_in("switch", before=OLD_FACTS, after=NEW_FACTS)
    found = fleet("switched", a1=failed, a2=at("switched", after=NEW_FACTS))
    rules = Rules("0", "rollback_fleet")
    batches = decide(PLAN, found, "rollback", rules)["batches"]
    last = len(batches)
    assert "a1" in batches[last - 2]
    first = decide(PLAN, found, "rollback", rules, last - 1, batches=batches)
    second = decide(PLAN, found, "rollback", rules, last, batches=batches, previous=first)
    assert second["silent"] == dict.fromkeys(first["due"], "rollback")
    end = decide(PLAN, found, "end", rules, previous=second, silent=second["silent"])
    assert end["failures"]["a1"]["phase"] == "switch", "what failed first is what is told"


def test_a_hook_after_the_turns_does_not_hide_who_told_nothing() -> None:
    found = fleet()
    first = decide(PLAN, found, "switch", Rules(), 2)
    found["a2"] = at("switched")
    hook = decide(PLAN, found, "switch", Rules(), 2, ran=Ran("after_wave", "a2"), previous=first)
    assert (hook["silent"], hook["due"]) == ({}, ["a2", "b1"])
    assert decide(PLAN, found, "switch", Rules(), 3, previous=hook)["silent"] == {"b1": "switch"}
    before = decide(PLAN, fleet(), "switch", Rules(), 2, ran=Ran("before_wave", "a2"), previous=first)
    assert before["due"] == ["a2", "b1"]


def test_who_was_not_let_go_owes_nothing() -> None:
    stopped = decide(PLAN, fleet(a1=failed_in("switch")), "switch", Rules(), 2)
    assert (stopped["proceed"], stopped["due"]) == (False, [])
    assert decide(PLAN, fleet(a1=failed_in("switch")), "switch", Rules(), 3, previous=stopped)["silent"] == {}


# Who ran a hook for many and was lost


def test_a_hook_failed_whose_host_was_lost() -> None:
    found = fleet("staged", a1="switched")
    decision = decide(PLAN, found, "switch", Rules("100%"), 2, lost=["a2"], ran=Ran("before_wave", "a2"))
    message = "The hook before_wave failed: the connection to a2, on which it ran, was lost"
    assert {host: failure["message"] for host, failure in decision["failures"].items()} == {
        "a2": message,
        "b1": message,
    }
    assert decision["problems"] == [message]
    assert decision["hosts"] == []
    assert found["a2"] == at("staged"), "it cannot tell of it itself"


def test_a_hook_before_the_fleet_whose_host_was_lost_ends_the_run() -> None:
    decision = decide(PLAN, fleet(), "switch", Rules("100%"), 1, lost=["a1"], ran=Ran("before_fleet", "a1"))
    assert list(decision["failures"]) == HOSTS
    assert decision["message"] == "a1 failed in phase before_fleet, without which no node may be touched."


def test_a_hook_after_the_fleet_whose_host_was_lost_is_told() -> None:
    found = fleet(**ALL_SOAKED)
    decision = decide(PLAN, found, "end", Rules(), alive={"a2"}, ran=Ran("after_fleet", "a1"))
    assert decision["failures"] == {}
    assert decision["problems"] == ["The hook after_fleet failed: the connection to a1, on which it ran, was lost"]


def test_a_host_that_was_lost_before_it_said_anything_may_have_run_a_hook() -> None:
    found = {**fleet("reserved"), "a1": None}
    decision = decide(PLAN, found, "switch", Rules(), 1, alive={"a2"}, ran=Ran("before_wave", "a1"))
    assert decision["failures"]["a1"]["phase"] == "before_wave"


@pytest.mark.parametrize("alive", [None, set(PLAN["nodes"])])
def test_a_hook_whose_host_is_there_says_itself_whether_it_failed(alive: set[str] | None) -> None:
    decision = decide(PLAN, fleet(), "switch", Rules(), 1, alive=alive, ran=Ran("before_wave", "a1"))
    assert decision["proceed"]
    assert (decision["failures"], decision["problems"]) == ({}, [])


def test_only_hooks_that_no_node_depends_on_are_problems_of_the_run() -> None:
    found = fleet("switched", a1=note_hook_failure(at("switched"), "after_fleet", 3, "no route"))
    found["a2"] = note_hook_failure(at("switched"), "after_wave", 2, "no")
    assert decide(PLAN, found, "end", Rules())["problems"] == ["The hook after_fleet failed: no route"]


# What is left to other jobs


@pytest.mark.parametrize(
    ("parts", "commit", "final"),
    [
        (PARTS, "fleet", True),
        (("plan", "stage"), "fleet", False),
        (("plan", "stage"), "never", False),
        (("stage", "switch"), "fleet", False),
        (("stage", "switch"), "node", True),
        (("switch",), "never", True),
        (("commit",), "fleet", True),
    ],
)
def test_whether_it_is_the_last_job(parts: tuple[str, ...], commit: str, final: bool) -> None:
    rules = Rules(commit=commit, parts=parts)
    assert is_final(PLAN, judged(PLAN, fleet("reserved")), rules) is final
    assert decide(PLAN, fleet("reserved"), "end", rules)["final"] is final
    assert decide(PLAN, fleet("reserved"), "end", rules)["parts"] == list(parts)
    failing = fleet("reserved", a1=failed_in("stage"))
    assert is_final(PLAN, judged(PLAN, failing), rules), "a failed job is the last one"
    for purpose in ("commit", "rollback"):
        assert is_final(make_plan([["a1"]], purpose=purpose), {}, rules)


@pytest.mark.parametrize(
    ("run", "skip", "parts"),
    [
        ([], [], list(PARTS)),
        (["all"], [], list(PARTS)),
        (["tagged"], [], list(PARTS)),
        (["switch"], [], ["switch", "soak"]),
        (["commit", "stage"], [], ["stage", "commit"]),
        (["all", "stage"], [], list(PARTS)),
        (["all"], ["commit"], ["plan", "stage", "switch", "soak"]),
        (["switch", "commit"], ["commit"], ["switch", "soak"]),
        (["mine"], [], list(PARTS)),
        (["stage", "mine"], ["other"], ["stage"]),
    ],
)
def test_parts_by_tags(run: list[str], skip: list[str], parts: list[str]) -> None:
    assert parts_of(run, skip) == parts


# Rounds of a watch, and of a pause


def rows(*found: tuple[int, bool, bool]) -> list[dict[str, Any]]:
    return [{"seconds": seconds, "verify": verify, "last": last} for seconds, verify, last in found]


@pytest.mark.parametrize(
    ("seconds", "interval", "longest", "expected"),
    [
        (60, 30, 40, rows((30, True, False), (30, True, True))),
        (100, 30, 40, rows((30, True, False), (30, True, False), (30, True, True))),
        (10, 60, 40, rows((10, True, True))),
        (300, 300, 120, rows((120, False, False), (120, False, False), (60, True, True))),
        (0, 30, 40, rows((0, True, True))),
        (-1, 30, 40, rows((0, True, True))),
        (90, 0, 40, rows((40, False, False), (40, False, False), (10, False, True))),
        (0, 0, 40, []),
        (2, 1, 0, rows((1, True, False), (1, True, True))),
    ],
)
def test_rounds(seconds: int, interval: int, longest: int, expected: list[dict[str, Any]]) -> None:
    assert rounds(seconds, interval, longest) == expected


def test_watches() -> None:
    found = rows((30, False, False), (20, True, True))
    assert watches(found, at_once=True) == [{"seconds": 50, "pause": 0, "rounds": found}]
    assert watches(found, at_once=False) == [
        {"seconds": 30, "pause": 30, "rounds": rows((0, False, False))},
        {"seconds": 20, "pause": 20, "rounds": rows((0, True, True))},
    ]
    assert watches([], at_once=True) == watches([], at_once=False) == []
    look = rows((0, True, True))
    assert watches(look, at_once=True) == watches(look, at_once=False) == [{"seconds": 0, "pause": 0, "rounds": look}]


@given(st.integers(1, 5000), st.integers(0, 700), st.integers(0, 200))
def test_no_round_outlives_a_lease_and_one_is_the_last(seconds: int, interval: int, longest: int) -> None:
    found = rounds(seconds, interval, longest)
    step = min(interval, seconds) if interval else seconds
    assert all(0 < row["seconds"] <= max(1, longest) for row in found)
    assert [row["last"] for row in found] == [False] * (len(found) - 1) + [True]
    assert sum(row["seconds"] for row in found) == seconds // step * step
    assert sum(row["verify"] for row in found) == (seconds // step if interval else 0)
    assert found[-1]["verify"] == bool(interval)


# The way back


def run(failing: dict[str, Outcome], policy: str, failure_budget: str | int = 0, plan: Plan = PLAN) -> list[list[str]]:
    """Batches after a run where these nodes failed, the rest of their waves was switched and later waves not begun."""
    last = max(number for number, wave in enumerate(WAVES) if set(wave) & set(failing))
    had_turn = [host for wave in WAVES[: last + 1] for host in wave]
    found: dict[str, Outcome] = {host: at("staged") for host in HOSTS} | {"r1": at("reserved")}
    found |= {host: at("switched") for host in had_turn} | failing
    return way_back(plan, judged(plan, found, "rollback"), Rules(failure_budget, policy))


def there() -> Outcome:
    return failed_in("switch", after=NEW_FACTS)


def stayed() -> Outcome:
    return failed_in("switch", after=OLD_FACTS)


def test_fleet_goes_back_in_the_reverse_order_of_its_waves() -> None:
    assert run({"b2": there()}, "rollback_fleet") == [["b2", "a3"], ["b1", "a2"], ["a1"], ["r1"]]
    assert run({"a2": there()}, "rollback_fleet") == [["b1", "a2"], ["a1"], ["r1"]]


def test_only_the_wave_goes_back() -> None:
    assert run({"a2": there()}, "rollback_wave") == [["b1", "a2"]]
    assert run({"a1": failed_in("switch")}, "rollback_wave") == [["a1"]]
    two = make_plan(WAVES)
    found = {host: at("switched") for host in HOSTS} | {"a1": there(), "b2": there()}
    assert way_back(two, found, Rules(0, "rollback_wave")) == [["b2", "a3"], ["a1"]]


@pytest.mark.parametrize("policy", ["rollback_fleet", "rollback_wave"])
def test_node_that_runs_the_old_version_stays(policy: str) -> None:
    assert run({"a2": stayed()}, policy)[0] == ["b1"]
    assert run({"a1": stayed()}, policy) == ([["r1"]] if policy == "rollback_fleet" else [])


@pytest.mark.parametrize("after", [None, {}, HALF_BACK])
def test_node_of_which_nothing_is_known_goes_back(after: dict[str, str] | None) -> None:
    assert run({"a1": failed_in("switch", after=after)}, "rollback_fleet")[0] == ["a1"]


def test_stop_takes_nothing_back() -> None:
    assert POLICIES == ("stop", "rollback_node", "rollback_wave", "rollback_fleet")
    assert run({"a2": there()}, "stop") == []


def test_only_the_failed_node_goes_back_and_only_once() -> None:
    assert run({"a2": there(), "b1": stayed()}, "rollback_node", 5) == [["a2"]]
    went = advance(there(), "rollback", after=OLD_FACTS)
    could_not = fail(there(), "rollback", {"message": "no relup"})
    silent = fail(there(), "rollback", {})
    for outcome in (went, could_not, silent):
        assert run({"a2": outcome}, "rollback_node") == []


def test_a_node_that_could_not_go_back_is_tried_again_with_its_wave() -> None:
    assert run({"a2": fail(there(), "rollback", {"message": "no relup"})}, "rollback_wave") == [["b1", "a2"]]


@pytest.mark.parametrize("policy", ["rollback_fleet", "rollback_wave"])
def test_within_the_budget_nothing_goes_back(policy: str) -> None:
    assert run({"a2": there()}, policy, 1) == []
    assert run({"a2": there()}, policy, "17%") == []
    assert run({"a2": there()}, policy, "16%") != []
    assert run({"a1": there(), "a2": there()}, policy, 1) != []


@pytest.mark.parametrize("phase", [phase for phase, row in PHASES.items() if row.before_switch])
@pytest.mark.parametrize("policy", POLICIES)
def test_whoever_failed_before_its_switch_has_nothing_to_go_back_from(phase: str, policy: str) -> None:
    batches = run({"a1": failed_in(phase)}, policy)
    assert batches == ([["r1"]] if policy == "rollback_fleet" else [])


def test_whoever_dropped_out_goes_back_too() -> None:
    found = fleet("staged", a1="switched", a2="switched", b1=at("staged", looked=2))
    view = judged(PLAN, found, "rollback")
    assert failed_hosts(view) == {"b1": DROPPED_OUT}
    assert way_back(PLAN, view, Rules(0, "rollback_node")) == [["b1"]]
    assert way_back(PLAN, view, Rules(0, "rollback_fleet")) == [["b1", "a2"], ["a1"], ["r1"]]


def test_nodes_of_an_earlier_run_go_back_last_and_one_of_each_cluster_at_a_time() -> None:
    plan = make_plan([["a1"]], dict.fromkeys(("a2", "a3", "b1", "b2", "c1", "x1"), "commit"))
    plan["nodes"]["x1"]["way_back"] = []
    found = {host: at("reserved") for host in plan["nodes"]} | {"a1": there()}
    assert way_back(plan, found, Rules(0, "rollback_fleet")) == [["a1"], ["c1", "b2", "a3"], ["b1", "a2"]]
    # The other policies take back the failed ones of them alone.
    found["b1"] = failed_in("soak", after=NEW_FACTS)
    for policy in ("rollback_node", "rollback_wave"):
        assert way_back(plan, found, Rules(0, policy)) == [["a1"], ["b1"]]


def test_a_planned_way_back_takes_its_own_waves_in_their_order() -> None:
    for policy in POLICIES:
        assert way_back(BACK, judged(BACK, {}), Rules(0, policy)) == WAVES


def test_the_batches_are_decided_once_and_taken_one_by_one() -> None:
    found = fleet(**ALL_SWITCHED | {"b2": there()})
    rules = Rules(0, "rollback_fleet")
    first = decide(PLAN, found, "rollback", rules)
    assert first["proceed"]
    assert first["batches"] == [["b2", "a3"], ["b1", "a2"], ["a1"], ["r1"]]
    assert first["hosts"] == []
    batches = first["batches"]
    for number, batch in enumerate(batches, 1):
        decision = decide(PLAN, found, "rollback", rules, number, batches=batches)
        assert (decision["hosts"], decision["batches"]) == (batch, batches)
        found |= {host: advance(found[host] or at("reserved"), "rollback", after=OLD_FACTS) for host in batch}
    assert decide(PLAN, found, "rollback", rules, 5, batches=batches)["hosts"] == []


def test_a_way_back_that_a_failure_ordered_goes_on_whatever_fails() -> None:
    found = fleet(**ALL_SWITCHED | {"b2": there()})
    rules = Rules(0, "rollback_fleet")
    batches = decide(PLAN, found, "rollback", rules)["batches"]
    found |= {host: fail(found[host] or at("switched"), "rollback", {"message": "no"}) for host in batches[0]}
    decision = decide(PLAN, found, "rollback", rules, 2, batches=batches)
    assert (decision["proceed"], decision["message"], decision["hosts"]) == (True, "", ["b1", "a2"])


def test_a_way_back_that_was_planned_heeds_failures() -> None:
    found = {host: at("reserved") for host in HOSTS}
    first = decide(BACK, found, "rollback", Rules())
    assert (first["proceed"], first["batches"]) == (True, WAVES)
    found["a1"] = fail(at("reserved"), "rollback", {"message": "no"})
    for allowed, proceeds in (("0", False), ("1", True), ("19%", False), ("20%", True)):
        decision = decide(BACK, found, "rollback", Rules(allowed), 2, batches=WAVES)
        assert decision["proceed"] is proceeds, allowed
        assert decision["hosts"] == (["a2", "b1"] if proceeds else [])
    message = decide(BACK, found, "rollback", Rules(), 2, batches=WAVES)["message"]
    assert message == "1 of 5 nodes failed and 0 may, so no further node is touched."


def test_a_node_that_another_run_has_ends_a_planned_way_back() -> None:
    found: dict[str, Outcome] = {host: at("reserved") for host in HOSTS} | {"b1": failed_in("reserve", state="planned")}
    decision = decide(BACK, found, "rollback", Rules("100%"), 1)
    assert decision["message"] == "b1 failed in phase reserve, without which no node may be touched."


@given(
    st.fixed_dictionaries(
        {
            host: st.sampled_from([at("staged"), at("switched"), at("soaked"), stayed(), there(), failed_in("look")])
            for host in HOSTS
        }
    ),
    st.sampled_from(POLICIES),
    st.integers(0, 5),
)
def test_whoever_moved_goes_back_once_and_nobody_else(found: dict[str, Any], policy: str, allowed: int) -> None:
    plan = make_plan(WAVES)
    batches = way_back(plan, found, Rules(allowed, policy))
    back = [host for batch in batches for host in batch]
    moved = {host for host, row in found.items() if row["state"] in ("switched", "soaked") or row == there()}
    assert len(set(back)) == len(back)
    assert set(back) <= moved
    exhausted = sum(1 for row in found.values() if row["failure"]) > allowed
    if policy == "rollback_fleet" and exhausted:
        assert set(back) == moved
    if policy == "rollback_node":
        assert set(back) == {host for host, row in found.items() if row == there()}
    elif not exhausted or policy == "stop":
        assert back == []
    # Never more at a time than went forward, and never from two waves at once.
    numbers = [[set(batch) <= set(wave) for wave in WAVES].index(True) for batch in batches]
    assert numbers == sorted(set(numbers), reverse=True)


@pytest.mark.parametrize(
    ("outcome", "moved"),
    [
        (at("planned"), False),
        (at("reserved"), False),
        (at("staged"), False),
        (at("switched"), True),
        (at("soaked"), True),
        (at("committed"), True),
        (at("rolled_back"), False),
        (advance(there(), "rollback"), False),
        (there(), True),
        (stayed(), False),
        (failed_in("switch"), True),
        (failed_in("switch", after=HALF_BACK), True),
        (failed_in("stage", after=NEW_FACTS), False),
        (failed_in("reserve"), False),
        (failed_in(DROPPED_OUT), True),
        (failed_in(DROPPED_OUT, after=OLD_FACTS), False),
        (failed_in("soak", state="switched", after=NEW_FACTS), True),
        (failed_in("after_wave", state="switched"), True),
    ],
)
def test_who_may_have_moved(outcome: Outcome, moved: bool) -> None:
    assert may_have_moved(outcome, make_node()) is moved


# What may be removed


def facts(listed: list[tuple[str, str]], running: str = NEW, permanent: str = NEW, boots: str = NEW) -> dict[str, Any]:
    return {
        "running": running,
        "permanent": permanent,
        "boot": {"version": boots},
        "releases": [{"version": version, "status": status} for version, status in listed],
    }


def test_newest_old_releases_are_kept() -> None:
    listed = [("4.4.9", "old"), ("4.4.19", "permanent"), ("4.4.18", "old"), ("4.4.10", "old"), ("4.4.20", "unpacked")]
    assert superfluous_releases(facts(listed), 0) == ["4.4.18", "4.4.10", "4.4.9"]
    assert superfluous_releases(facts(listed), 1) == ["4.4.10", "4.4.9"]
    assert superfluous_releases(facts(listed), 9) == []


def test_what_runs_is_permanent_or_boots_is_never_superfluous() -> None:
    listed = [("4.4.16", "old"), ("4.4.17", "old"), ("4.4.18", "old"), ("4.4.19", "permanent"), ("odd", "old")]
    assert superfluous_releases(facts(listed, running="4.4.17", boots="4.4.18"), 0) == ["4.4.16"]
    assert superfluous_releases(facts(listed, permanent="4.4.16"), 0) == ["4.4.18", "4.4.17"]


# A job for some of the waves


def test_nodes_of_a_later_job_are_left_where_they_are() -> None:
    plan = make_plan([["a1"]], {"a2": "upgrade", "b1": "upgrade"})
    for host in ("a2", "b1"):
        plan["nodes"][host]["wave"] = None
    rules = Rules(parts=("plan", "stage", "switch", "soak"), commit="node")
    staged = {host: at("staged") for host in plan["nodes"]}
    assert decide(plan, staged, "switch", rules, 1)["hosts"] == ["a1"]
    switched = {**staged, "a1": at("switched", looked=1)}
    decision = decide(plan, switched, "soak", rules)
    assert (decision["hosts"], decision["failures"]) == (["a1"], {})
    soaked = {**staged, "a1": at("soaked")}
    end = decide(plan, soaked, "end", rules)
    assert (end["failures"], end["final"]) == ({}, False), "the others are for a later job"
    assert end["hosts"] == ["a1", "a2", "b1"]
    # One that got lost on the way to where the others are is a failure all the same.
    lost = {**soaked, "b1": at("reserved")}
    assert decide(plan, lost, "end", rules)["failures"]["b1"]["phase"] == "dropped out"
    assert decide(plan, {**soaked, "a1": failed_in("switch")}, "end", rules)["final"]


@pytest.mark.parametrize("phase", ["switch", "commit"])
def test_what_is_not_of_this_job_is_not_begun(phase: str) -> None:
    rules = Rules(parts=("plan", "stage"))
    decision = decide(PLAN, fleet("staged"), phase, rules, 1 if phase == "switch" else 0)
    assert (decision["proceed"], decision["message"]) == (False, f"The {phase} is left to another job.")
    assert decision["hosts"] == []
    # A way back, and a commit as a purpose of its own, are no roll-out in parts.
    assert decide({**PLAN, "purpose": "commit"}, fleet(**ALL_SOAKED), "commit", rules)["proceed"]
