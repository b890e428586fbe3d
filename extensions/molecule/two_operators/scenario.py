# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A second run over one of the same nodes is refused at once, and told who runs."""

from __future__ import annotations

import re
import time

from harness import NEW, OLD, Scenario, verbs, wait_for

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}


def converge(scenario: Scenario) -> None:
    """Do it."""
    first = scenario.start(
        "upgrade", emqx_upgrade_version=NEW, emqx_upgrade_run_id="first-run", emqx_upgrade_commit="never"
    )
    wait_for(lambda: scenario.host("h2").path("/opt/emqx/data/fleet/run.json").exists(), 60, "no node is reserved")
    started = time.monotonic()
    scenario.playbook("upgrade", "--limit", "h2", name="second", emqx_upgrade_version=NEW)
    scenario.keep("second-seconds", time.monotonic() - started)
    scenario.keep("first-was-running", first.poll() is None)
    scenario.finish(first, "first")
    scenario.keep("after-first", {host: vars(state) for host, state in scenario.nodes().items()})
    # Another day.
    scenario.playbook("status")
    scenario.playbook("commit")


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    assert scenario.kept("first-was-running"), "the first run ended before the second one"
    second = scenario.run_of("second")
    assert second.code != 0
    assert "[run_lock] h2: the run first-run of" in second.output, second.output
    assert second.recap["h2"]["changed"] == 0
    assert scenario.kept("second-seconds") < 30

    first = scenario.run_of("first")
    assert first.code == 0, first.message
    for state in scenario.kept("after-first").values():
        assert (state["running"], state["boots"]) == (NEW, OLD)
        assert state["reserved"] is None
    status = scenario.run_of("status")
    # The last column: for how long.
    assert len(re.findall(r"^h\d +running +ce +4\.4\.19 +4\.4\.18 .* \d+ s$", status.output, re.MULTILINE)) == 2
    commit = scenario.run_of("commit")
    assert commit.code == 0, commit.message
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert state.reserved is None
