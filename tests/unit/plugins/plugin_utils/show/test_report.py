# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told at the end of a run: what happened where, what was done about it, and what to call next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes as machine
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import DROPPED_OUT, PARTS, PHASES, Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan, Result, State
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
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

COMMANDS = {"again": "RUN AGAIN", "rollback": "GO BACK", "status": "LOOK"}
AGAIN = "To go on, mend what is named here and run it again, which skips the nodes that are done: RUN AGAIN"
BACK = "To go back instead: GO BACK"
LOOK = "To see where every node is: LOOK"
DATA = (
    "EMQX guarantees a downgrade only right after the upgrade and with no data changed in between, so look after them."
)


def facts(running: str = NEW, permanent: str = OLD, **changed: Any) -> dict[str, Any]:
    return {
        "running": running,
        "permanent": permanent,
        "boot": {"version": permanent},
        "releases": [{"version": permanent, "status": "permanent"}],
        "connections": 5,
        "pid": 7,
        **changed,
    }


def committed(**changed: Any) -> Outcome:
    return at("committed", **{"looked": 1, "before": facts(OLD, OLD), "after": facts(NEW, NEW), **changed})


def soaked(**changed: Any) -> Outcome:
    return at("soaked", **{"before": facts(OLD, OLD), "after": facts(), **changed})


def failed(message: str = "It broke.", phase: str = "switch", **changed: Any) -> Outcome:
    return failed_in(phase, message, **{"before": facts(OLD, OLD), "after": facts(), **changed})


def went_back(outcome: Outcome, **changed: Any) -> Outcome:
    return machine.advance(outcome, "rollback", **{"before": facts(OLD, OLD), "after": facts(OLD, OLD), **changed})


def untouched(**changed: Any) -> Outcome:
    """As the last look leaves a node of which the run did nothing."""
    return at("staged", **{"after": facts(OLD, OLD), **changed})


def unreached(**changed: Any) -> Outcome:
    return at("staged", after=None, reached=False, **changed)


def build(
    found: Mapping[str, Outcome | None], plan: Plan | None = None, rules: Rules | None = None, *problems: str
) -> dict[str, Any]:
    """The report of a run with a wave for each host, unless there is another plan."""
    told = report.build(plan or make_plan([[host] for host in found]), found, rules or Rules(), COMMANDS, problems)
    assert told["ok"] == (told["message"] == "")
    json.dumps(told)
    return told


def results(told: dict[str, Any]) -> dict[str, str]:
    return {host: node["result"] for host, node in told["nodes"].items()}


def test_a_good_run_has_nothing_to_say() -> None:
    switch = {"action": "switch", "version": NEW, "seconds": 1.26}
    told = build({"a1": committed(actions=[switch], commit_actions=[{"action": "commit"}]), "a2": committed()})
    assert told["ok"]
    assert told["message"] == ""
    assert told["final"]
    assert (told["run_id"], told["purpose"], told["target"]) == ("run-1", "upgrade", NEW)
    assert (told["commit"], told["phases"]) == ("fleet", list(PARTS))
    node = told["nodes"]["a1"]
    assert node["switch_seconds"] == 1.3
    assert node["actions"] == [switch, {"action": "commit"}]
    assert told["table"][0].split() == " ".join(report.HEADER).split()
    assert told["table"][2].split() == ["a1", "committed", OLD, NEW, NEW, "1.3", "s", "5", "5", "yes"]
    assert told["table"][3].split() == ["a2", "committed", OLD, NEW, NEW, "-", "5", "5", "yes"]


def test_the_whole_row_of_a_node() -> None:
    dump = {"path": "/log/crash.dump", "size": 1, "time": 1.0, "slogan": "killed"}
    told = {
        "task": "Switch", "failure_class": "changed", "output": ["o"], "log": ["l"], "crash_dumps": [dump],
    }  # fmt: skip
    kept = {"kept": True, "message": "It cannot be reached."}
    outcome = failed(told=told, checks=[{"name": "clients"}], reservation=kept)
    assert build({"a1": outcome})["nodes"]["a1"] == {
        "result": "failed",
        "reached": True,
        "from": OLD,
        "to": NEW,
        "running": NEW,
        "permanent": OLD,
        "boots": OLD,
        "switch_seconds": None,
        "clients_before": 5,
        "clients_after": 5,
        "pid_before": 7,
        "pid_after": 7,
        "wave": 1,
        "actions": [],
        "checks": [{"name": "clients"}],
        "gates_accepted": [],
        "phase": "switch",
        "task": "Switch",
        "message": "It broke.",
        "failure_class": "changed",
        "output": ["o"],
        "releases": [{"version": OLD, "status": "permanent"}],
        "log": ["l"],
        "crash_dumps": [dump],
        "rollback_message": None,
        "reservation": kept,
    }


def test_a_process_that_changed_is_shouted() -> None:
    assert build({"a1": committed(after=facts(NEW, NEW, pid=8))})["table"][2].endswith("NO")


def test_clients_are_compared_by_one_statistic() -> None:
    before = facts(OLD, OLD, connections=9, connection_counts={"connections.count": 9})
    after = facts(NEW, NEW, connections=2, connection_counts={"live_connections.count": 2, "connections.count": 8})
    node = build({"a1": committed(before=before, after=after)})["nodes"]["a1"]
    assert (node["clients_before"], node["clients_after"]) == (9, 8)


# Results


def test_every_result_has_its_words() -> None:
    assert set(report.WORDS) == set(get_args(Result))
    assert all(report.WORDS.values())
    assert report.WORDS["failed_rolled_back"] == "failed, back"


STAGE, SWITCH, COMMIT = ("plan", "stage"), ("stage", "switch"), ("commit",)


@pytest.mark.parametrize(
    ("outcome", "action", "rules", "result"),
    [
        (at("planned"), "none", Rules(), "nothing_to_do"),
        (at("planned"), "upgrade", Rules(), "not_begun"),
        (at("reserved"), "upgrade", Rules(parts=STAGE), "not_begun"),
        (at("staged"), "upgrade", Rules(parts=STAGE), "staged"),
        (at("staged"), "upgrade", Rules(parts=SWITCH), "not_begun"),
        (at("planned"), "refuse", Rules(), "not_begun"),
        (at("switched"), "upgrade", Rules(parts=SWITCH), "uncommitted"),
        (soaked(), "upgrade", Rules(parts=SWITCH), "uncommitted"),
        (soaked(), "upgrade", Rules(commit="never"), "uncommitted"),
        (soaked(), "upgrade", Rules(), "not_committed"),
        (at("switched"), "upgrade", Rules(), "not_committed"),
        (soaked(), "commit", Rules(parts=COMMIT), "not_committed"),
        # What an earlier run switched is at least that.
        (at("reserved"), "commit", Rules(parts=STAGE), "uncommitted"),
        (at("reserved"), "commit", Rules(), "not_begun"),
        (committed(), "upgrade", Rules(), "committed"),
        (failed(), "upgrade", Rules(), "failed"),
        (went_back(failed()), "upgrade", Rules(), "failed_rolled_back"),
        (went_back(soaked()), "upgrade", Rules(), "rolled_back"),
        (failed_in("reserve"), "none", Rules(), "failed"),
    ],
)
def test_results(outcome: Outcome, action: Any, rules: Rules, result: Result) -> None:
    plan = make_plan([["a1"]]) if action == "upgrade" else make_plan([], {"a1": action})
    told = build({"a1": outcome}, plan, rules)
    assert results(told) == {"a1": result}
    assert report.WORDS[result] in told["table"][2]


@pytest.mark.parametrize(
    ("parts", "outcome", "result", "final"),
    [
        (STAGE, at("staged"), "staged", False),
        (SWITCH, soaked(), "uncommitted", False),
        (("switch",), soaked(), "uncommitted", False),
        (COMMIT, committed(), "committed", True),
    ],
)
def test_what_is_left_to_another_job_is_no_failure(
    parts: tuple[str, ...], outcome: Outcome, result: str, final: bool
) -> None:
    told = build({"a1": outcome}, rules=Rules(parts=parts))
    assert told["message"] == ""
    assert results(told) == {"a1": result}
    assert told["final"] == final


def test_a_commit_that_is_never_wanted_is_not_missed() -> None:
    told = build({"a1": soaked()}, rules=Rules(commit="never"))
    assert told["ok"]
    assert told["final"]
    assert build({"a1": soaked()})["message"] == (
        f"These nodes run {NEW} without it being permanent, so a restart brings the old version back: a1.\n"
        f"{AGAIN}\n{BACK}\n{LOOK}"
    )


def test_a_run_that_is_for_the_commit_misses_it() -> None:
    plan = make_plan([], {"a1": "commit"}, purpose="commit")
    for commit in ("never", "fleet", "node"):
        assert results(build({"a1": soaked()}, plan, Rules(commit=commit))) == {"a1": "not_committed"}


def test_a_failed_job_is_the_last_one() -> None:
    assert build({"a1": failed(phase="stage")}, rules=Rules(parts=STAGE))["final"]


@pytest.mark.parametrize("outcome", [None, at("planned"), at("reserved", after=facts(NEW, NEW))])
def test_nothing_to_do_is_done(outcome: Outcome | None) -> None:
    told = build({"a1": outcome}, make_plan([], {"a1": "none"}))
    assert told["ok"]
    assert results(told) == {"a1": "nothing_to_do"}


def test_accepted_gates_are_recorded() -> None:
    gates = [{"name": "alarms", "accepted": True}, {"name": "os", "accepted": False}]
    plan = make_plan([["a1"]])
    plan["nodes"]["a1"] = make_node(gates=gates)
    assert build({"a1": committed()}, plan)["nodes"]["a1"]["gates_accepted"] == ["alarms"]


# The message, word by word


def test_a_failure_is_told_with_its_evidence() -> None:
    told = {
        "output": [
            "one",
            "ERROR: Unpack failed: release_package_not_found",
            "Installed versions:",
            "* 4.4.18 permanent",
        ],
        "log": ["[error] a", "[error] b"],
        "crash_dumps": [{"path": "/log/a.dump", "slogan": "killed"}, {"path": "/log/b.dump", "slogan": ""}],
    }
    assert build({"a1": failed("It broke", told=told)})["message"] == (
        "a1 failed in phase switch: It broke.\n"
        "The command said: ERROR: Unpack failed: release_package_not_found.\n"
        "Its log ends with: [error] a / [error] b.\n"
        "There is a new crash dump, /log/a.dump: killed.\n"
        "There is a new crash dump, /log/b.dump: it tells no reason.\n"
        f"a1 runs {NEW}, and a restart boots {OLD}.\n"
        f"{AGAIN}\n{BACK}\n{LOOK}"
    )


def test_what_the_message_quotes_already_is_not_repeated() -> None:
    message = build({"a1": failed("It broke: no space", told={"output": ["no space"]})})["message"]
    assert message.startswith("a1 failed in phase switch: It broke: no space.\na1 runs")


def test_no_secret_is_in_a_report() -> None:
    found = {
        "a1": failed("The hook after_node failed: https://me:s3cret@drain/ said 500"),
        "a2": machine.note_hook_failure(untouched(), "before_wave", 1, "ftp://me:s3cret@lb/x?token=s3cret gone"),
    }
    built = json.dumps(build(found, make_plan([["a1"], ["a2"]])))
    assert "s3cret" not in built
    assert "https://********@drain/ said 500" in built


def test_a_run_that_stopped_at_a_failure() -> None:
    found = {"a1": soaked(), "a2": failed("It broke!"), "a3": untouched(), "b1": unreached()}
    assert build(found, make_plan([["a1"], ["a2"], ["a3", "b1"]]))["message"] == (
        "a2 failed in phase switch: It broke!\n"
        f"a2 runs {NEW}, and a restart boots {OLD}.\n"
        "These nodes were not touched: a3.\n"
        "This run changed nothing on these nodes, and they could not be reached at its end, so what they run is not "
        "known: b1.\n"
        f"These nodes run {NEW} without it being permanent, so a restart brings the old version back: a1.\n"
        f"{AGAIN}\n{BACK}\n{LOOK}"
    )


def test_without_commands_the_message_still_says_how_to_go_on() -> None:
    message = report.build(make_plan([["a1"]]), {"a1": failed()}, Rules())["message"]
    assert message.endswith(
        "run it again, which skips the nodes that are done: the same command\nTo go back instead: ansible-playbook "
        "emqx.fleet.rollback\nTo see where every node is: ansible-playbook emqx.fleet.status"
    )


def test_a_node_that_is_not_there_at_the_end() -> None:
    assert build({"a1": failed(after=None, reached=False)})["message"] == (
        "a1 failed in phase switch: It broke.\n"
        "a1 could not be read at the end, so what it runs is not known.\n"
        f"{AGAIN}\n{LOOK}"
    )


def test_what_was_done_about_it_is_told() -> None:
    found = {"a1": went_back(soaked()), "a2": went_back(failed())}
    told = build(found)
    assert results(told) == {"a1": "rolled_back", "a2": "failed_rolled_back"}
    assert told["message"] == (
        "a2 failed in phase switch: It broke.\n"
        f"a2 went back to {OLD}. {DATA}\n"
        f"These nodes were switched and went back: a1. {DATA}\n"
        f"{AGAIN}\n{LOOK}"
    )


def test_a_node_that_went_back_and_is_not_there_at_the_end() -> None:
    """The last look reads it again; what it ran before that is not what it runs."""
    told = build({"a1": went_back(failed(), after=None, reached=False)})
    assert told["message"] == (
        "a1 failed in phase switch: It broke.\n"
        f"a1 went back. {DATA}\n"
        "a1 could not be read at the end, so what it runs is not known.\n"
        f"{AGAIN}\n{LOOK}"
    )


def test_a_run_in_which_every_node_went_back_is_no_clean_end() -> None:
    assert build({"a1": went_back(soaked())})["message"] == (
        f"These nodes were switched and went back: a1. {DATA}\n{AGAIN}\n{LOOK}"
    )


def test_a_way_back_that_failed_is_told() -> None:
    told = build({"a1": machine.fail(failed(), "rollback", {"message": "no relup"}, after=facts(NEW, OLD))})
    assert told["message"] == (
        "a1 failed in phase switch: It broke.\n"
        "a1 could not go back: no relup.\n"
        f"a1 runs {NEW}, and a restart boots {OLD}.\n"
        f"{AGAIN}\n{BACK}\n{LOOK}"
    )
    assert told["nodes"]["a1"]["rollback_message"] == "no relup"


def test_a_node_that_dropped_out_without_a_word_has_failed() -> None:
    told = build({"a1": committed(), "a2": at("switched", after=facts())})
    assert results(told) == {"a1": "committed", "a2": "failed"}
    assert told["nodes"]["a2"]["phase"] == DROPPED_OUT
    assert told["message"].startswith(
        "a2 failed in phase dropped out: it dropped out of the run before it was done with its turn, for example "
        f"because a task of a hook lost the connection.\na2 runs {NEW}, and a restart boots {OLD}.\n"
    )


def test_a_hook_that_one_ran_for_many_failed_for_all_of_them() -> None:
    noted = machine.note_hook_failure(untouched(), "before_fleet", 1, "no route")
    told = build({"a1": noted, "a2": untouched()})
    assert results(told) == {"a1": "failed", "a2": "failed"}
    assert told["message"].startswith(
        "a1 failed in phase before_fleet: The hook before_fleet failed: no route.\n"
        f"a1 runs {OLD}, and a restart boots {OLD}.\n"
        "a2 failed in phase before_fleet: The hook before_fleet failed: no route.\n"
    )


def test_problems_of_the_run_are_told_although_every_node_is_well() -> None:
    told = build({"a1": committed()}, None, None, "The hook after_fleet failed: no route", "It rains!")
    assert told["message"] == f"The hook after_fleet failed: no route.\nIt rains!\n{AGAIN}\n{BACK}\n{LOOK}"
    assert results(told) == {"a1": "committed"}


# Reservations


KEPT = {"kept": True, "message": "The connection to the node was lost"}


def test_reservations_that_are_kept_are_told() -> None:
    found = {"a1": failed(after=None, reached=False, reservation=KEPT), "a2": unreached(reservation=KEPT)}
    assert build(found)["message"] == (
        "a1 failed in phase switch: It broke.\n"
        "a1 could not be read at the end, so what it runs is not known.\n"
        "This run changed nothing on these nodes, and they could not be reached at its end, so what they run is not "
        "known: a2.\n"
        "These nodes are still reserved for this run until their lease is over: a1, a2. "
        "The connection to the node was lost.\n"
        f"{AGAIN}\n{LOOK}"
    )


def test_a_reservation_that_is_kept_is_no_clean_end() -> None:
    """Whoever works on the cluster next is refused, and has to find out why from here."""
    told = build({"a1": committed(reservation=KEPT), "a2": committed()})
    assert results(told) == {"a1": "committed", "a2": "committed"}
    assert told["message"].startswith(
        "These nodes are still reserved for this run until their lease is over: a1. The connection to the node was "
        "lost.\n"
    )


# Planned ways back


def test_a_planned_way_back() -> None:
    plan = make_plan([["a1"], ["a2"]], purpose="rollback", target=OLD)
    for node in plan["nodes"].values():
        node["from"], node["came_from"], node["to"] = NEW, NEW, OLD
    back = went_back(at("reserved"), before=facts(NEW, NEW))
    told = build({"a1": back, "a2": back}, plan)
    assert (told["ok"], told["final"], told["purpose"]) == (True, True, "rollback")
    assert told["table"][2].split()[:5] == ["a1", "back", NEW, OLD, OLD]
    found = {"a1": failed(phase="rollback", after=facts(NEW, NEW)), "a2": untouched(after=facts(NEW, NEW))}
    stopped = build(found, plan)
    assert results(stopped) == {"a1": "failed", "a2": "not_begun"}
    assert stopped["message"] == (
        "a1 failed in phase rollback: It broke.\n"
        f"a1 runs {NEW}, and a restart boots {NEW}.\n"
        "These nodes were not touched: a2.\n"
        f"{AGAIN}\n{LOOK}"
    )


# No fleet makes a report that keeps silent or lies


def any_outcome() -> st.SearchStrategy[Outcome]:
    """Outcomes as turns leave them, with the last look at the node done or not."""

    def make(state: State, phase: str, back: str, looks: int) -> Outcome:
        outcome = at(state, before=facts(OLD, OLD), after=facts() if state in machine.PROGRESS[3:] else None)
        if phase:
            outcome = machine.fail(outcome, phase, {"message": "no"}, after=facts())
            if back == "back":
                outcome = machine.advance(outcome, "rollback", after=facts(OLD, OLD))
            elif back:
                outcome = machine.fail(outcome, "rollback", {"message": "no way"})
        if looks and (outcome["failure"] or outcome["after"] is None):
            outcome = {**outcome, "after": None if looks == 2 else facts(), "reached": looks == 1}
        if looks == 2 and state != "planned":
            outcome = {**outcome, "reservation": KEPT}  # type: ignore[typeddict-item]
        return outcome

    return st.builds(
        make,
        st.sampled_from(machine.PROGRESS),
        st.sampled_from(["", "", "", *PHASES]),
        st.sampled_from(["", "back", "could not"]),
        st.integers(1, 2),
    )


@given(
    st.fixed_dictionaries({host: any_outcome() for host in ("a1", "a2", "a3", "r1")}),
    st.sampled_from([PARTS, STAGE, SWITCH, COMMIT]),
    st.sampled_from(["fleet", "node", "never"]),
)
def test_no_report_keeps_silent_or_lies(found: dict[str, Any], parts: tuple[str, ...], commit: str) -> None:
    told = build(found, make_plan([["a1"], ["a2"], ["a3"]], {"r1": "commit"}), Rules("0", "stop", commit, parts))
    message = told["message"]
    said = message.partition("These nodes were not touched: ")[2].partition(". ")[0].split(", ")
    for host, node in told["nodes"].items():
        outcome = found[host]
        if outcome["failure"]:
            assert f"{host} failed in phase" in message
        if not outcome["reached"]:
            assert host not in said, "a node that was not reached was called untouched"
        if outcome["state"] in machine.PROGRESS[3:]:
            assert host not in said
        if outcome["reservation"]:
            assert host in message
        if node["result"].startswith("failed"):
            assert f"{host} runs" in message or f"{host} went back" in message or f"{host} could not be read" in message
    assert "None" not in message
    assert ".." not in message
    clean = {"committed"} if "commit" in parts and commit != "never" else {"committed", "uncommitted", "staged"}
    if told["ok"]:
        assert set(results(told).values()) <= clean


def test_a_job_for_the_canaries_leaves_the_others() -> None:
    plan = make_plan([["a1"]], {"a2": "upgrade"})
    plan["nodes"]["a2"]["wave"] = None
    rules = Rules(parts=("plan", "stage", "switch", "soak"))
    told = build({"a1": soaked(), "a2": at("staged")}, plan, rules)
    assert (told["message"], told["final"]) == ("", False)
    assert results(told) == {"a1": "uncommitted", "a2": "staged"}
    told = build({"a1": soaked(), "a2": at("reserved")}, plan, rules)
    assert (told["message"], results(told)["a2"]) == ("", "not_begun"), "an earlier job has staged it"
    told = build({"a1": failed(), "a2": at("reserved", after=facts(OLD))}, plan, rules)
    assert "These nodes were not touched: a2." in told["message"]


def test_a_node_that_an_earlier_job_switched_came_from_another_version() -> None:
    plan = make_plan([], {"a1": "commit"})
    told = build({"a1": committed()}, plan, Rules(parts=("plan", "commit")))
    assert told["nodes"]["a1"]["from"] == OLD
