# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The controller is killed when every node is committed: the same command still gives the nodes up and clears away.

With an identifier of its own a run keeps its nodes to the very end, which another job might be waiting for.
"""

from __future__ import annotations

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}
STAGED = "/opt/emqx/data/fleet/packages"


def converge(scenario: Scenario) -> None:
    """Do it."""
    settings = {"emqx_upgrade_version": NEW, "emqx_upgrade_run_id": "tonight"}
    outcome = scenario.playbook_killed("upgrade", "killed", on="TASK .*Decide what is left to be done", **settings)
    scenario.keep("killed", outcome.killed)
    # As if it had died a little earlier, while it removed the packages that it had brought.
    scenario.host("h1").write(f"{STAGED}/half-removed.zip", "")
    scenario.keep("after-kill", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.playbook("upgrade", **settings)
    scenario.playbook("upgrade", name="again", **settings)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    assert scenario.kept("killed")
    reservations = []
    for host, state in scenario.kept("after-kill").items():
        assert (state["running"], state["boots"]) == (NEW, NEW), f"{host}: {state}"
        reservations.append(state["reserved"]["id"])

    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    assert "To 4.4.19: 2 done" in run.output
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for host, state in scenario.require(NEW, NEW).items():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert state.statuses == {NEW: "permanent", OLD: "old"}
        assert state.reserved is None, f"{host} is still reserved for a run that died: {reservations}"
        assert not scenario.host(host).path(STAGED).exists(), f"{host} has packages left"

    again = scenario.run_of("again")
    assert again.code == 0, again.message
    assert all(counts["changed"] == 0 for counts in again.recap.values()), again.recap
