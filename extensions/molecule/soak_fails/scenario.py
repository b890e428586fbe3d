# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A member gets into trouble after its turn: the watch finds it, nothing is committed, and all go back."""

from __future__ import annotations

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}
# A hook is the one thing that comes at a known moment between the check of a turn and the watch.
_HOOK = """
- name: Trouble
  ansible.builtin.command:
    argv: [/opt/emqx/bin/emqx, eval, "emqx_alarm:activate(molecule_alarm, #{})."]
  changed_when: false
  when: inventory_hostname == 'h2'
"""


def converge(scenario: Scenario) -> None:
    """Do it."""
    hook = scenario.work / "trouble.yml"
    hook.write_text(_HOOK, encoding="utf-8")
    scenario.playbook(
        "upgrade",
        emqx_upgrade_hooks={"after_node": str(hook)},
        emqx_upgrade_version=NEW,
        emqx_upgrade_verify_seconds=2,
        emqx_upgrade_commit="fleet",
        emqx_upgrade_report_file=str(scenario.work / "report.json"),
    )
    scenario.keep("after-soak", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.playbook("status")
    # The operator decides to go back.
    scenario.playbook("rollback", emqx_upgrade_accept=["alarms"])


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    run = scenario.run_of("upgrade")
    assert run.code != 0
    assert "h2 failed in phase soak: There are new alarms: molecule_alarm." in run.message, run.message
    assert "These nodes run 4.4.19 without it being permanent" in run.message
    for state in scenario.kept("after-soak").values():
        # A plain restart would have brought the old version back.
        assert (state["running"], state["boots"]) == (NEW, OLD)
        assert state["statuses"] == {NEW: "current", OLD: "permanent"}
        assert f"commit {NEW}" not in verbs(state["journal"])
        assert state["reserved"] is None
    status = scenario.run_of("status")
    assert status.code == 0
    assert "4.4.19 is not permanent: a restart would bring 4.4.18 back." in status.output
    assert "The last operation did not end well: soak: There are new alarms: molecule_alarm." in status.output

    rollback = scenario.run_of("rollback")
    assert rollback.code == 0, rollback.message
    assert "no data changed in between" in " ".join(rollback.output.split())
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(OLD, OLD).values():
        assert verbs(state.journal)[-1] == f"switch {OLD}"
        assert state.reserved is None
