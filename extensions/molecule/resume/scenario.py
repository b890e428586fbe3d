# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The controller is killed again and again, each time at another task: the same command goes on until all is done."""

from __future__ import annotations

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}
#: Tasks as they begin, and what is killed: all that the controller started, or its first process alone.
KILLS = (
    (r"Stage \| Decide whether to begin", "tree"),
    (r"Stage \| Reserve the node", "process"),
    (r"Switch \| Take the node", "tree"),
    (r"Switch \| Take the node", "process"),
    (r"Watch \| Take the node", "tree"),
    (r"Commit \| Commit, and see", "process"),
)


def converge(scenario: Scenario) -> None:
    """Do it."""
    killed = []
    for number, (task, scope) in enumerate(KILLS):
        outcome = scenario.playbook_killed(
            "upgrade",
            f"killed-{number}",
            on=f"TASK .*{task}",
            scope=scope,
            emqx_upgrade_version=NEW,
            emqx_upgrade_soak_seconds=1,
        )
        killed.append({"task": task, "scope": scope, "killed": outcome.killed, "code": outcome.code})
    scenario.keep("kills", killed)
    scenario.playbook("upgrade", emqx_upgrade_version=NEW)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    kills = scenario.kept("kills")
    story = str(kills)
    assert all(kill["killed"] for kill in kills), story
    run = scenario.run_of("upgrade")
    assert run.code == 0, f"{run.message} {story}"
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for host, state in scenario.require(NEW, NEW).items():
        done = verbs(state.journal)
        # What a module did that was killed before it could note it is missing in the journal; nothing is there twice.
        assert len(done) == len(set(done)), f"{host}: {done} {story}"
        assert f"switch {OLD}" not in done, f"{host}: {done} {story}"
        assert state.statuses == {NEW: "permanent", OLD: "old"}
        assert state.leftovers == [], f"{host}: {state.leftovers} {story}"
        assert state.reserved is None
