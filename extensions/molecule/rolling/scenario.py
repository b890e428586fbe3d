# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One cluster of three: planned, staged, switched in turn, committed, and nothing to do the second time."""

from __future__ import annotations

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}


def converge(scenario: Scenario) -> None:
    """Do it."""
    scenario.playbook("upgrade", "--check", "--diff", name="check", emqx_upgrade_version=NEW)
    scenario.keep("after-check", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.playbook(
        "upgrade",
        emqx_upgrade_version=NEW,
        emqx_upgrade_report_file=str(scenario.work / "report.json"),
    )
    scenario.playbook("upgrade", name="again", emqx_upgrade_version=NEW)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    # The check shows plan and steps, and changes nothing.
    check = scenario.run_of("check")
    assert check.code == 0, check.message
    assert "To 4.4.19: 3 to switch, in 3 waves; can start." in check.output
    assert check.output.count("-a restart boots 4.4.18") == 3
    assert check.output.count("+a restart boots 4.4.19") == 3
    assert scenario.kept("after-check") == scenario.kept("before")

    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert all(entry["outcome"] == "done" for entry in state.journal)
        assert state.statuses == {NEW: "permanent", OLD: "old"}
        assert state.reserved is None
        assert state.leftovers == []
    report = scenario.kept("report")
    assert report["ok"]
    assert report["message"] == ""
    assert [report["nodes"][host]["wave"] for host in ("h1", "h2", "h3")] == [1, 2, 3]
    assert all(node["result"] == "committed" for node in report["nodes"].values())

    again = scenario.run_of("again")
    assert again.code == 0, again.message
    assert all(counts["changed"] == 0 for counts in again.recap.values()), again.recap
    assert "To 4.4.19: 3 done" in again.output
