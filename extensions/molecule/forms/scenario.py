# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Nodes as EMQX was published otherwise: a cluster with the upgrade script of 4.4.14, and a node of 4.2.

The cluster's first run is killed in the middle and goes on, what it brought is gone back from, and brought for good.
"""

from __future__ import annotations

from harness import NEW, OLD, VARIANTS, Scenario, verbs

FLEET = {
    "clusters": {"late": {"package": "script14", "hosts": ["late1", "late2"]}},
    "hosts": {"old": {"package": "4.2", "version": "4.2.13"}},
}
CLIENTS = {"busy": 2, "idle": 2}
LATE = {"emqx_upgrade_version": NEW, "emqx_upgrade_hosts": "late*"}


def converge(scenario: Scenario) -> None:
    """Do it."""
    killed = scenario.playbook_killed("upgrade", "killed", on=r"Wait \| Pause", emqx_upgrade_pause_seconds=5, **LATE)
    scenario.keep("killed", killed.killed)
    scenario.playbook("upgrade", name="current", emqx_upgrade_commit="never", **LATE)
    scenario.keep("after-current", {host: vars(state) for host, state in scenario.nodes("late1", "late2").items()})
    scenario.playbook("rollback", name="back", emqx_upgrade_hosts="late*")
    scenario.keep("after-back", {host: vars(state) for host, state in scenario.nodes("late1", "late2").items()})
    scenario.playbook("upgrade", name="late", **LATE)
    scenario.playbook(
        "upgrade",
        name="old",
        emqx_upgrade_version="4.2.14",
        emqx_upgrade_hosts="old",
        emqx_upgrade_packages=str(VARIANTS / "4.2"),
    )


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    assert scenario.kept("killed"), "the first run was not killed"
    for name in ("current", "back", "late", "old"):
        run = scenario.run_of(name)
        assert run.code == 0, f"{name}: {run.message}"
    said = " ".join(scenario.run_of("current").output.replace('",', "").replace('"', "").split())
    assert "unpacks in the switch itself" in said, "the plan does not tell of the longer switch"
    for state in scenario.kept("after-current").values():
        assert (state["running"], state["boots"]) == (NEW, OLD), state
    for state in scenario.kept("after-back").values():
        assert (state["running"], state["boots"]) == (OLD, OLD), state
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for host, state in scenario.require(NEW, NEW, ["late1", "late2"]).items():
        done = verbs(state.journal)
        assert not [step for step in done if step.startswith("unpack")], f"{host}: {done}"
        assert done[-2:] == [f"switch {NEW}", f"commit {NEW}"], f"{host}: {done}"
        assert state.statuses == {NEW: "permanent", OLD: "old"}
    for state in scenario.require("4.2.14", "4.2.14", ["old"]).values():
        assert verbs(state.journal) == ["unpack 4.2.14", "switch 4.2.14", "commit 4.2.14"]
    for host, state in scenario.nodes().items():
        assert state.leftovers == [], f"{host}: {state.leftovers}"
        assert state.reserved is None
