# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The parts of a roll-out as separate jobs, as a workflow with approvals runs them."""

from __future__ import annotations

import time
from typing import Any

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}
RUN = {"emqx_upgrade_version": NEW, "emqx_upgrade_run_id": "workflow-42"}
HOOKS = ("before_fleet", "before_wave", "after_wave", "after_fleet")
NOTES = "/opt/emqx/data/hooks"
NOTE = f"""
- name: Note which hook it is
  ansible.builtin.lineinfile:
    path: {NOTES}
    line: "{{{{ [hook.name, hook.wave, hook.hosts | join(' ')] | join(' ') }}}}"
    create: true
    mode: "0644"
  vars:
    hook: "{{{{ emqx_upgrade_hook }}}}"
"""


def converge(scenario: Scenario) -> None:
    """Do it."""

    def keep(name: str) -> None:
        scenario.keep(name, {host: vars(state) for host, state in scenario.nodes().items()})

    with scenario.faults.cut("h2"):
        started = time.monotonic()
        scenario.playbook("upgrade", name="cut-off", emqx_upgrade_version=NEW)
        scenario.keep("cut-off-seconds", time.monotonic() - started)
    keep("after-cut-off")
    hook = scenario.work / "note.yml"
    hook.write_text(NOTE, encoding="utf-8")
    run = {**RUN, "emqx_upgrade_hooks": dict.fromkeys(HOOKS, str(hook))}
    scenario.playbook("upgrade", "--tags", "plan", name="plan", **run)
    scenario.playbook("upgrade", "--tags", "stage", name="stage", **run)
    keep("after-stage")
    # Somebody else, while the approval is waited for.
    scenario.playbook("upgrade", name="other", emqx_upgrade_version=NEW)
    scenario.playbook("upgrade", "--tags", "switch", name="switch", **run)
    keep("after-switch")
    scenario.playbook("upgrade", "--tags", "commit", name="commit", **run)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    cut_off = scenario.run_of("cut-off")
    assert cut_off.code != 0
    assert "[node_running] h2: the node could not be read: " in cut_off.message, cut_off.output
    assert "make its host reachable and start again" in cut_off.message, cut_off.output
    assert scenario.kept("cut-off-seconds") < 30
    assert scenario.kept("after-cut-off") == scenario.kept("before")

    for name in ("plan", "stage", "switch", "commit"):
        run = scenario.run_of(name)
        assert run.code == 0, f"{name}: {run.message}"
    assert all(counts["changed"] == 0 for counts in scenario.run_of("plan").recap.values())
    other = scenario.run_of("other")
    assert other.code != 0
    assert "the run workflow-42 of" in other.output, other.output

    def require(name: str, running: str, done: list[str]) -> None:
        found: dict[str, dict[str, Any]] = scenario.kept(name)
        for state in found.values():
            assert (state["running"], state["boots"]) == (running, OLD), f"{name}: {state}"
            assert verbs(state["journal"]) == done, f"{name}: {state}"
            assert (state["reserved"] or {}).get("id") == "workflow-42", f"{name}: {state}"

    require("after-stage", OLD, [f"unpack {NEW}"])
    require("after-switch", NEW, [f"unpack {NEW}", f"switch {NEW}"])
    # Hooks belong to the switch: that job alone runs them, each on one host for all that it is told of.
    notes = [scenario.host(host).read(NOTES).splitlines() for host in ("h1", "h2")]
    assert notes == [
        ["before_fleet 0 h1 h2", "before_wave 1 h1", "after_wave 1 h1", "after_fleet 0 h1 h2"],
        ["before_wave 2 h2", "after_wave 2 h2"],
    ], notes
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert state.reserved is None
