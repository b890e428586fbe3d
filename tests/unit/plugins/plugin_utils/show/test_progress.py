# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of a run as it goes: of every node in every phase one line, and of what has no part in it nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import PHASES, Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table, progress, report
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.progress import Columns, Entry, Run
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, make_hop, make_plan
from hypothesis import given
from hypothesis import strategies as st

PLAN = make_plan([["a1"], ["a2", "b1"]], {"c1": "none", "c2": "commit"})
SWITCH = [{"action": "switch", "version": NEW, "seconds": 1.25}, {"action": "verify", "version": NEW}]


def facts(running: str | None = NEW, clients: int | None = 2345, **changes: Any) -> dict[str, Any]:
    return {"state": "running", "running": running, "permanent": OLD, "connections": clients, **changes}


def make_run(phase: str = "switch", wave: int = 2, plan: Plan = PLAN, **decision: Any) -> Run:
    """A run in a phase in which all but c1 have their turns."""
    decided = {"phase": phase, "wave": wave, "proceed": True, "hosts": ["a1", "a2", "b1", "c2"], "message": ""}
    decided["batches"] = [["b1", "a2"], ["a1"]]
    return Run({"plan": plan, "msg": plan_table.refusal(plan)}, {**decided, **decision})


def said(phase: str, outcome: Mapping[str, Any], host: str = "a2", run: Run | None = None, **more: Any) -> str:
    """The line without its columns; empty where there is none."""
    entry = progress.turn(phase, host, {"outcome": outcome}, run or make_run(phase), **more)
    return "" if entry is None else f"[{entry.label}] {entry.host} {entry.text} ({entry.kind})"


def read(told: Mapping[str, Any], seconds: float | None = None) -> tuple[str, str]:
    entry = progress.turn("read", "a1", {"facts": told}, Run(), seconds)
    assert entry is not None
    return entry.text, entry.kind


def switched(before: int | None = 2345, after: int | None = 2345, **changes: Any) -> Outcome:
    return at("switched", before=facts(OLD, before), after=facts(NEW, after), actions=SWITCH, **changes)


# Turns


def test_a_node_that_is_read() -> None:
    assert read(facts(OLD), 0.44) == (f"{OLD}  2,345 clients  0.4 s", "ok")
    assert read(facts(NEW, None)) == (f"{NEW}  not permanent", "ok")
    stopped = facts(None, None, state="stopped", boot={"version": OLD})
    assert read(stopped) == (f"stopped; a restart boots {OLD}", "warning")
    assert read({"msg": "no route", "unreachable": True}, 1) == ("unreachable  1.0 s", "warning")
    assert read({"msg": "Missing sudo password"}) == ("could not be read", "warning")


def test_a_node_that_is_switched() -> None:
    assert said("switch", switched()) == f"[wave 2/2] a2 {OLD} -> {NEW}  2,345 of 2,345 clients  1.2 s (changed)"
    assert said("switch", switched(None, None)) == f"[wave 2/2] a2 {OLD} -> {NEW}  1.2 s (changed)"
    hops = {**switched(), "actions": [*SWITCH, *SWITCH]}
    assert said("switch", hops).endswith("  2.5 s (changed)")
    no_time = {**switched(), "actions": [{"action": "switch"}]}
    assert said("switch", no_time, seconds=9.0).endswith("clients (changed)"), "not the time of the whole turn"


@pytest.mark.parametrize(
    ("accounting", "words", "kind"),
    [
        ({"before": 2345, "now": 2343, "cut_off": 2}, "2,343 of 2,345 clients, 2 cut off", "warning"),
        ({"before": 2345, "now": 2343, "cut_off": 0}, "2,340 of 2,345 clients", "changed"),
        ({}, "2,340 of 2,345 clients", "changed"),
        (None, "2,340 of 2,345 clients", "changed"),
    ],
)
def test_clients_that_were_cut_off(accounting: Any, words: str, kind: str) -> None:
    outcome = {**switched(2345, 2340), "accounting": accounting}
    assert said("switch", outcome) == f"[wave 2/2] a2 {OLD} -> {NEW}  {words}  1.2 s ({kind})"


def test_more_clients_than_before_are_no_part_of_them() -> None:
    assert "  1,002 clients, 1,000 before  " in said("switch", switched(1000, 1002))


def test_clients_are_counted_by_one_statistic() -> None:
    before = facts(OLD, 9, connection_counts={"connections.count": 7})
    after = facts(NEW, 9, connection_counts={"live_connections.count": 1, "connections.count": 6})
    assert "  6 of 7 clients  " in said("switch", {**switched(), "before": before, "after": after})


def test_the_other_phases() -> None:
    after = {"before": facts(OLD), "after": facts(NEW)}
    assert said("reserve", at("reserved"), "c2", seconds=1.0) == "[reserve] c2 reserved  1.0 s (ok)"
    assert said("stage", at("staged"), seconds=62.04) == f"[stage] a2 {NEW} staged  62.0 s (ok)"
    assert said("stage", at("staged"), seconds=125) == f"[stage] a2 {NEW} staged  2 min 5 s (ok)"
    assert said("stage", at("reserved"), "c2") == "[stage] c2 reserved (ok)"
    assert said("soak", at("soaked", **after)) == f"[soak] a2 {NEW}  2,345 of 2,345 clients (ok)"
    assert said("commit", at("committed", **after)) == (
        f"[commit] a2 {NEW} is permanent  2,345 of 2,345 clients (changed)"
    )
    back = at("rolled_back", before=facts(OLD), after=facts(OLD))
    assert said("rollback", back) == f"[rollback 2/2] a2 {NEW} -> {OLD}  2,345 of 2,345 clients (changed)"


def test_a_planned_way_back() -> None:
    plan = make_plan([["a1"], ["a2"]], purpose="rollback", target=OLD)
    plan["nodes"]["a2"]["from"], plan["nodes"]["a2"]["to"] = NEW, OLD
    back = at("rolled_back", before=facts(NEW), after=facts(OLD))
    assert said("rollback", back, run=make_run("rollback", 1, plan)).startswith(f"[rollback 1/2] a2 {NEW} -> {OLD}  ")


@pytest.mark.parametrize("phase", ["reserve", "stage", "look", "switch", "soak", "commit", "rollback", "end"])
def test_of_a_node_without_a_part_in_it_nothing_is_said(phase: str) -> None:
    for state in ("reserved", "staged", "switched", "soaked", "committed", "rolled_back", "failed"):
        outcome = at(state, before=facts(OLD), after=facts(NEW))
        assert said(phase, outcome, "c1") == "", "it has no turn"
        assert said(phase, outcome, "a2", make_run(phase, proceed=False)) == "", "the phase does not begin"
    assert said(phase, at("planned"), "c1") == ""


def test_of_a_watch_that_goes_on_nothing_is_said() -> None:
    assert said("soak", switched()) == ""


def test_check_mode() -> None:
    assert said("stage", at("planned")) == f"[preview] a2 would go {OLD} -> {NEW} (changed)"
    assert said("preview", at("planned"), "c2") == f"[preview] c2 would make {NEW} permanent (changed)"
    hops = make_plan([["a2"]])
    hops["nodes"]["a2"]["hops"] = [make_hop("4.4.18"), make_hop("4.4.19")]
    hops["nodes"]["a2"]["from"] = "4.4.17"
    assert "would go 4.4.17 -> 4.4.18 -> 4.4.19" in said("preview", at("planned"), run=make_run(plan=hops))
    back = make_plan([["a2"]], purpose="rollback")
    back["nodes"]["a2"].update({"action": "commit", "from": NEW, "to": OLD})
    assert f"would go {NEW} -> {OLD}" in said("reserve", at("planned"), run=make_run(plan=back))


@pytest.mark.parametrize("result", [{}, {"outcome": None}, {"outcome": {}}, {"outcome": {"state": "switched"}}])
def test_results_of_another_shape_are_left_to_others(result: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        progress.turn("switch", "a2", result, make_run())


# Failures


def test_a_failed_turn() -> None:
    result = {"msg": "a2: Verify that nobody noticed: There are new alarms: x.", "outcome": {}}
    assert progress.failure("switch", "a2", result, make_run()) == Entry(
        "wave 2/2", "a2", "FAILED  Verify that nobody noticed: There are new alarms: x.", "failed"
    )
    assert progress.failure("end", "a2", {"msg": "x"}, make_run()).label == "report"
    # The hook's own task has told why.
    told = {"msg": "a2: hook before_node: The hook before_node failed: no route"}
    assert progress.failure("hook_failed", "a2", told, make_run()).text == (
        "FAILED  The hook before_node failed; why, is above"
    )


def test_why_no_node_goes_on() -> None:
    stopped = make_run("switch", 2, proceed=False, message="1 of 6 nodes failed and 0 may.")
    assert progress.halt(stopped) == Entry("wave 2/2", "", "1 of 6 nodes failed and 0 may.", "warning")
    assert progress.halt(make_run()) is None
    assert progress.halt(make_run("soak", proceed=False)) is None
    assert progress.halt(make_run("end", message="x")) is None


def test_every_phase_has_a_label() -> None:
    assert {progress.label(phase, make_run()) for phase in (*PHASES, "read", "end", "preview")} >= {
        "wave 2/2",
        "rollback 2/2",
        "stage",
        "report",
        "preview",
    }


# Lines


def test_lines_stand_below_each_other() -> None:
    columns = Columns()
    columns.fit(["wave 10/10", "read"], ["h1", "broker10.example.com", "x" * 80])
    lines = [
        progress.line(entry, columns)
        for entry in (
            Entry("read", "h1", "A", "ok"),
            Entry("wave 10/10", "broker10.example.com", "B", "ok"),
            Entry("commit", "", "C", "ok"),
        )
    ]
    assert {line.index(word) for line, word in zip(lines, "ABC", strict=True)} == {12 + 1 + 30 + 2}
    assert lines[0].startswith("[read]       h1 ")
    long = progress.line(Entry("read", "x" * 80, "D", "ok"), columns)
    assert long.endswith(f"{'x' * 80}  D")


def test_a_message_is_wrapped_on_a_terminal_alone() -> None:
    columns = Columns(label=10, host=4)
    entry = Entry("wave 2/2", "h1", "FAILED  " + "It broke. " * 20 + "\nA second line.", "failed")
    kept = progress.line(entry, columns)
    assert kept.split("\n") == ["[wave 2/2] h1    FAILED  " + ("It broke. " * 20).rstrip(), "    A second line."]
    wrapped = progress.line(entry, columns, 60).split("\n")
    assert max(map(len, wrapped)) <= 60
    assert " ".join(line.strip() for line in wrapped).split() == kept.split()
    assert all(line.startswith("    ") for line in wrapped[1:])


def test_commands_are_in_one_piece() -> None:
    command = "ansible-playbook -i inventory emqx.fleet.upgrade -e emqx_upgrade_version=4.4.19" + " -e a=b" * 30
    text = (
        f"{'It broke. ' * 10}Twice.\nTo go on, run it again: {command}\nTo see it: ansible-playbook emqx.fleet.status"
    )
    lines = progress.prose(text, 50).split("\n")
    assert f"  {command}" in lines
    assert lines[-2:] == ["To see it:", "  ansible-playbook emqx.fleet.status"]
    assert max(len(line) for line in lines if "ansible-playbook" not in line) <= 50
    assert progress.prose(text, None) == text
    assert progress.prose("  " + "x " * 60, 20) == "  " + ("x " * 60).rstrip(), "what is set by its author stays so"
    assert progress.prose("", 20) == ""


# The end


def test_the_verdict_of_a_run_that_went_well() -> None:
    committed = at("committed", looked=1, before=facts(OLD, 10), after=facts(NEW, 10), reservation=None)
    plan = make_plan([["a1"], ["a2"]], {"c1": "none"})
    run = Run({"plan": plan}, {}, report.build(plan, {"a1": committed, "a2": committed}, Rules()), touched=True)
    assert progress.verdict(run) == (
        f"To {NEW}, all went well: 2 committed, 1 nothing to do. Clients before: 20, after: 20."
    )
    soaked = at("soaked", before=facts(OLD, None), after=facts(NEW, None))
    left = report.build(plan, {"a1": soaked, "a2": soaked}, Rules(commit="never"))
    assert progress.verdict(Run({"plan": plan}, {}, left)) == (
        f"To {NEW}, all went well: 2 uncommitted, 1 nothing to do. A restart brings the old version back where it is "
        "uncommitted."
    )
    assert progress.verdict(Run({"plan": plan}, {}, report.build(plan, {}, Rules()))) == "", "it did not go well"


def test_the_verdict_of_a_plan() -> None:
    assert progress.verdict(Run({"plan": PLAN})) == f"{plan_table.summary(PLAN)} Nothing was changed."
    assert progress.verdict(Run({"plan": PLAN}, touched=True)) == "", "the run died before its report"
    refused = make_plan([["a1"]], feasible=False)
    assert progress.verdict(Run({"plan": refused})) == ""
    assert progress.verdict(Run()) == ""


def test_obstacles_that_were_shown_are_not_repeated() -> None:
    run = make_run()
    assert progress.refusal(plan_table.refusal(PLAN), run) == (
        f"{plan_table.summary(PLAN)} No node was touched; the obstacles are above."
    )
    assert progress.refusal("There is no package.", run) == "There is no package."
    assert progress.refusal("There is no package.", Run()) == "There is no package."


def count(**changes: int) -> dict[str, int]:
    names = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")
    return {**dict.fromkeys(names, 0), "ok": 3, **changes}


def test_the_recap() -> None:
    assert progress.recap({"h1": count(), "h2": count(changed=2)}, {}) == [
        ("2 hosts: ok=6 changed=2 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0", "ok")
    ]
    counts = {"h2": count(failures=1), "h1": count(failures=1), "h3": count(unreachable=1)}
    told = progress.recap(counts, {"h1": 1})
    assert [text.partition(":")[0] for text, _kind in told] == ["3 hosts", "h2", "h3"], "the end is no fault of h1"
    assert "failed=2" in told[0][0]
    assert [text.partition(":")[0] for text, _kind in progress.recap({"h1": count(failures=2)}, {"h1": 1})] == [
        "1 host",
        "h1",
    ]


# The progress bar


def test_the_progress_bar() -> None:
    assert progress.bar_line("wave 3/50", 0, 2345, 0, 80) == f"wave 3/50 [{'-' * 24}] 0 of 2,345 nodes"
    assert progress.bar_line("stage", 10, 10, 2, 80) == f"stage [{'#' * 24}] 10 of 10 nodes, 2 failed"
    assert progress.bar_line("stage", 5, 10, 0, 36) == "stage [######-------] 5 of 10 nodes"
    assert progress.bar_line("stage", 5, 10, 0, 24) == "stage 5 of 10 nodes"
    assert progress.bar_line("read", 5, 0, 0, 80) == "read 5 nodes"


@given(done=st.integers(0, 10**6), total=st.integers(0, 10**6), failed=st.integers(0, 99), width=st.integers(0, 300))
def test_the_progress_bar_never_fills_the_line(done: int, total: int, failed: int, width: int) -> None:
    """A terminal would go on to the next one."""
    text = progress.bar_line("wave 3/50", done, total, failed, width)
    assert len(text) <= max(0, width - 1)
    assert "#" not in text or "[" in text
