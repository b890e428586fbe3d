# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One cluster of three: planned, staged, switched in turn, committed, and nothing to do the second time.

What it costs is counted: commands of the nodes, executions on them, and results of tasks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2", "h3"]}}}


@contextlib.contextmanager
def counted(scenario: Scenario, name: str) -> Iterator[None]:
    """Keep what the playbook within has cost."""
    hosts = [scenario.host(host) for host in FLEET["clusters"]["blue"]["hosts"]]
    for host in hosts:
        host.write("/opt/emqx/data/faults/note_commands", "")
        host.write("/opt/emqx/data/commands", "")
        host.exec(["chmod", "0666", "/opt/emqx/data/commands"])
    counts = scenario.work / f"counts-{name}.json"
    callbacks = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parents[1] / "shared" / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "count_results",
        "COUNT_RESULTS_FILE": str(counts),
    }
    with scenario.surroundings(callbacks):
        yield
    scenario.keep(f"commands-{name}", {host.name: host.read("/opt/emqx/data/commands").splitlines() for host in hosts})
    for host in hosts:
        host.exec(["rm", "/opt/emqx/data/faults/note_commands"])


def converge(scenario: Scenario) -> None:
    """Do it."""
    with counted(scenario, "check"):
        scenario.playbook("upgrade", "--check", "--diff", name="check", emqx_upgrade_version=NEW)
    scenario.keep("after-check", {host: vars(state) for host, state in scenario.nodes().items()})
    with counted(scenario, "upgrade"):
        scenario.playbook(
            "upgrade",
            emqx_upgrade_version=NEW,
            emqx_upgrade_report_file=str(scenario.work / "report.json"),
            emqx_upgrade_soak_seconds=4,
            emqx_upgrade_soak_interval=1,
        )
    with counted(scenario, "again"):
        scenario.playbook("upgrade", name="again", emqx_upgrade_version=NEW)
    with counted(scenario, "status"):
        scenario.playbook("status")


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    # The check shows plan and steps, and changes nothing.
    check = scenario.run_of("check")
    assert check.code == 0, check.message
    assert "To 4.4.19: 3 to switch, in 3 waves; can start." in check.output
    assert check.output.count("-a restart boots 4.4.18") == 3
    assert check.output.count("+a restart boots 4.4.19") == 3
    assert scenario.kept("after-check") == scenario.kept("before")

    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"]
        assert all(entry["outcome"] == "done" for entry in state.journal)
        assert state.statuses == {NEW: "permanent", OLD: "old"}
        assert state.reserved is None
        assert state.leftovers == []
    report = scenario.kept("report")
    assert report["ok"]
    assert report["message"] == ""
    assert [report["nodes"][host]["wave"] for host in ("h1", "h2", "h3")] == [1, 2, 3]
    assert all(node["result"] == "committed" for node in report["nodes"].values())

    # Of the commands, each of which starts an Erlang of its own, only those that change something are run.
    for host, commands in scenario.kept("commands-upgrade").items():
        assert commands == [f"unpack {NEW}", f"upgrade --no-permanent {NEW}", f"install {NEW}"], host
    for name in ("check", "again", "status"):
        assert scenario.run_of(name).code == 0
        assert not any(scenario.kept(f"commands-{name}").values()), name
    # What is done once for the run stands on its first host besides.
    counts = scenario.kept("counts-upgrade")
    for host in ("h1", "h2", "h3"):
        assert counts["results"][host] <= 14, counts
        assert counts["remote_executions"][host] <= 8, counts

    again = scenario.run_of("again")
    assert again.code == 0, again.message
    assert all(counts["changed"] == 0 for counts in again.recap.values()), again.recap
    assert "To 4.4.19: 3 done" in again.output
