# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A node is cut off in the middle of its switch and heals later: the run waits for it and goes on."""

from __future__ import annotations

import threading

from harness import NEW, Scenario, verbs, wait_for

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}
#: The cut is longer than the switch, so that the node is done before anybody can ask it.
SWITCH_SECONDS, CUT_SECONDS = 3, 9


def converge(scenario: Scenario) -> None:
    """Do it."""
    scenario.broker_fault("h2", f"relup_sleep-{NEW}", str(SWITCH_SECONDS))
    lock = scenario.host("h2").path("/opt/emqx/data/fleet/lock")

    def cut() -> None:
        wait_for(lambda: lock.exists() and "current" in lock.read_text(encoding="utf-8"), 90, "h2 is not switched")
        scenario.faults.cut("h2", CUT_SECONDS)

    cutting = threading.Thread(target=cut)
    cutting.start()
    # A cluster that is cut in two is not whole, so the clients of the other half are not looked at meanwhile.
    scenario.playbook("upgrade", "-v", emqx_upgrade_version=NEW, emqx_upgrade_verify_seconds=30)
    cutting.join()
    scenario.keep("faults-left", len(scenario.faults.active()))


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    assert scenario.kept("faults-left") == 0
    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    assert '"connection_losses"' in run.output, "the connection was not lost"
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert state.reserved is None
    # TCP outlives the cut: no client is lost with it.
    scenario.require_clients_kept()
