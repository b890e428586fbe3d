# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The controller is killed at random points, ten times: the same command goes on until all is done."""

from __future__ import annotations

import random

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}
KILLS = 10
#: Of a run on an idle machine; every kill hits somewhere else in what is left of the way.
LONGEST = 14.0


def converge(scenario: Scenario) -> None:
    """Do it."""
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    killed = []
    for number in range(KILLS):
        after = chance.uniform(1.5, LONGEST)
        scope = chance.choice(["tree", "process"])
        outcome = scenario.playbook_killed(
            "upgrade", f"killed-{number}", after, scope=scope, emqx_upgrade_version=NEW, emqx_upgrade_soak_seconds=1
        )
        killed.append({"after": after, "scope": scope, "killed": outcome.killed, "code": outcome.code})
    scenario.keep("kills", {"seed": seed, "kills": killed})
    scenario.playbook("upgrade", emqx_upgrade_version=NEW)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    kills = scenario.kept("kills")
    story = f"seed {kills['seed']}, {kills['kills']}"
    # One that was not killed got to its end; then it did all.
    assert all(kill["killed"] or kill["code"] == 0 for kill in kills["kills"]), story
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
