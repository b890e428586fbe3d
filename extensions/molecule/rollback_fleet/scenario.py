# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The third node fails after two were switched: all go back, and no client is lost."""

from __future__ import annotations

import re

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}


def converge(scenario: Scenario) -> None:
    """Do it."""
    scenario.broker_fault("h3", f"relup_alarm-{NEW}", "molecule_alarm")
    scenario.playbook(
        "upgrade",
        emqx_upgrade_version=NEW,
        emqx_upgrade_on_failure="rollback_fleet",
        emqx_upgrade_verify_seconds=2,
        emqx_upgrade_report_file=str(scenario.work / "report.json"),
    )


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    run = scenario.run_of("upgrade")
    assert run.code != 0
    assert "h3 failed in phase switch: There are new alarms: molecule_alarm." in run.message, run.message
    assert "h3 went back to 4.4.18." in run.message
    assert "These nodes were switched and went back: h1, h2." in run.message
    assert "no data changed in between" in run.message
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for host, state in scenario.require(OLD, OLD).items():
        assert verbs(state.journal)[:3] == [f"unpack {NEW}", f"switch {NEW}", f"switch {OLD}"], f"{host}: {state}"
        assert state.statuses[OLD] == "permanent"
        assert state.statuses[NEW] == "old"
        assert state.reserved is None
    # In the reverse order of the way there.
    turns = [part for part in run.output.split("TASK [") if "Rollback | Switch back" in part]
    assert [re.findall(r"^changed: \[(\w+)\]", part, re.MULTILINE) for part in turns] == [["h3"], ["h2"], ["h1"]]
    report = scenario.kept("report")
    assert [report["nodes"][host]["result"] for host in ("h1", "h2", "h3")] == [
        "rolled_back",
        "rolled_back",
        "failed_rolled_back",
    ]
