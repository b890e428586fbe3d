# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Three clusters of uneven sizes; one node already has the version, one runs it and is not committed."""

from __future__ import annotations

import yaml
from harness import NEW, OLD, PACKAGES, Scenario, verbs

FLEET = {
    "clusters": {
        "red": {"hosts": ["r1", "r2", "r3"]},
        "green": {"hosts": {"g1": {}, "g2": {"version": NEW}}},
        "blue": {"hosts": ["b1"]},
    }
}

DONE, HALF = "g2", "b1"


def converge(scenario: Scenario) -> None:
    """Do it."""
    # As a run that died, or a person, may have left it.
    half = scenario.host(HALF)
    package = next(PACKAGES.glob(f"emqx-{NEW}-*.zip"))
    half.put(package, f"/opt/emqx/releases/{package.name}")
    half.exec(["/opt/emqx/bin/emqx", "upgrade", "--no-permanent", NEW])
    half.exec(["rm", f"/opt/emqx/releases/{package.name}"])
    scenario.playbook(
        "upgrade",
        emqx_upgrade_version=NEW,
        emqx_upgrade_accept=["cluster_mixed"],
        emqx_upgrade_report_file=str(scenario.work / "report.json"),
    )
    scenario.keep("after-upgrade", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.playbook("cleanup", emqx_upgrade_keep_versions=0)
    scenario.playbook("status")
    scenario.playbook("split", emqx_upgrade_split_inventory=str(scenario.work / "parts.yml"))


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    assert "To 4.4.19: 4 to switch, 1 to commit, 1 done, in 3 waves; can start." in run.output
    report = scenario.kept("report")
    # The canary, and then as many turns as the largest cluster has nodes left.
    assert max(node["wave"] or 0 for node in report["nodes"].values()) == 3
    scenario.require_clients_kept()
    scenario.require_same_processes()
    upgraded = scenario.kept("after-upgrade")
    for host, state in scenario.require(NEW, NEW).items():
        journal = verbs(upgraded[host]["journal"])
        if host == DONE:
            assert journal == [], "a node that was done was touched"
        elif host == HALF:
            assert journal == [f"commit {NEW}"]
        else:
            assert journal == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
            assert upgraded[host]["statuses"] == {NEW: "permanent", OLD: "old"}
        assert state.statuses == {NEW: "permanent"}, "cleanup left an old release"
        assert state.leftovers == []
        assert state.reserved is None
    cleanup = scenario.run_of("cleanup")
    assert cleanup.code == 0, cleanup.message
    assert "4.4.18" not in scenario.run_of("status").output
    split = scenario.run_of("split")
    assert split.code == 0, split.message
    parts = yaml.safe_load((scenario.work / "parts.yml").read_text(encoding="utf-8"))
    assert {name: list(part["hosts"]) for name, part in parts.items()} == {
        "emqx_part_1": ["r1", "r2", "r3"],
        "emqx_part_2": ["b1", "g1", "g2"],
    }
