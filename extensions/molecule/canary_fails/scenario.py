# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A hook, and then the canary itself fails; nothing else is touched."""

from __future__ import annotations

import json

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}


def converge(scenario: Scenario) -> None:
    """Do it."""
    hook = scenario.work / "hook.yml"
    hook.write_text(
        "- name: Ask the load balancer\n  ansible.builtin.fail:\n    msg: the load balancer says no\n", encoding="utf-8"
    )
    scenario.playbook(
        "upgrade",
        name="hook",
        emqx_upgrade_version=NEW,
        emqx_upgrade_canary=0,
        emqx_upgrade_max_per_cluster=2,
        emqx_upgrade_hooks={"before_wave": str(hook)},
    )
    scenario.keep("after-hook", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.broker_fault("h1", f"relup_alarm-{NEW}", "molecule_alarm")
    scenario.playbook(
        "upgrade",
        emqx_upgrade_version=NEW,
        emqx_upgrade_verify_seconds=2,
        emqx_upgrade_report_file=str(scenario.work / "report.json"),
    )


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    hook = scenario.run_of("hook")
    assert hook.code != 0
    assert "h1 failed in phase before_wave: The hook before_wave failed: the load balancer says no." in hook.message, (
        hook.message
    )
    assert "h2 failed in phase before_wave: The hook before_wave failed: the load balancer says no." in hook.message, (
        hook.message
    )
    assert "These nodes were not touched: h3." in hook.message
    for state in scenario.kept("after-hook").values():
        assert (state["running"], state["boots"]) == (OLD, OLD)
        assert verbs(state["journal"]) == [f"unpack {NEW}"]
        assert state["reserved"] is None

    run = scenario.run_of("upgrade")
    assert run.code != 0
    assert "h1 failed in phase switch: There are new alarms: molecule_alarm." in run.message, run.message
    assert "h1 runs 4.4.19, and a restart boots 4.4.18." in run.message
    assert "These nodes were not touched: h2, h3." in run.message
    again = f"ansible-playbook -i {scenario.lab.inventory} emqx.fleet.upgrade "
    assert again in run.message
    assert "-e emqx_upgrade_version=4.4.19" in run.message
    assert f"ansible-playbook -i {scenario.lab.inventory} emqx.fleet.rollback" in run.message
    assert run.recap["h2"].get("failed", 0) + run.recap["h3"].get("failed", 0) <= 2
    scenario.require_clients_kept()
    scenario.require_same_processes()
    canary = scenario.require(NEW, OLD, ["h1"])["h1"]
    assert canary.statuses == {NEW: "current", OLD: "permanent"}
    assert canary.journal[-1]["outcome"] == "failed"
    assert "molecule_alarm" in canary.journal[-1]["message"]
    for state in scenario.require(OLD, OLD, ["h2", "h3"]).values():
        assert verbs(state.journal) == [f"unpack {NEW}"]
        assert state.reserved is None
    report = json.loads((scenario.work / "report.json").read_text(encoding="utf-8"))
    evidence = report["nodes"]["h1"]
    assert evidence["result"] == "failed"
    assert report["nodes"]["h2"]["result"] == "not_begun"
    assert {row["version"]: row["status"] for row in evidence["releases"]} == {NEW: "current", OLD: "permanent"}
