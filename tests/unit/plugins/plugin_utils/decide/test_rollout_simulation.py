# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hundred random fleets are planned and "run" with random failures: no rule of the roll-out is broken.

The runner below does what the playbooks do, in their order, and only through the functions that they use.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanOptions, build_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts, make_package

OLD, NEW = "4.4.18", "4.4.19"
Outcomes = dict[str, dict[str, Any]]


class Node:
    """A node of the simulation, and what happened to it."""

    def __init__(self, running: str, permanent: str) -> None:
        self.running, self.permanent = running, permanent
        self.switches = 0

    def facts(self) -> dict[str, Any]:
        return {"running": self.running, "permanent": self.permanent, "boot": {"version": self.permanent}}


class Simulation:
    """One fleet, one run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.nodes: dict[str, Node] = {}
        self.max_per_cluster = self.chance.choice([1, 1, 1, 2])
        self.budget = self.chance.choice(["0", "0", "1", "3", "10%", "50%"])
        self.policy = self.chance.choice(outcomes.POLICIES)
        self.failure_rate = self.chance.choice([0.0, 0.02, 0.1, 0.5])
        sizes: list[int | str] = [0, 0, 1, 4, "25%"]
        canaries: list[int | str] = [0, 1, 2, "10%"]
        facts = self._fleet()
        self.plan: dict[str, Any] = dict(
            build_plan(
                facts,
                [make_package(NEW, upgrade_from=[OLD], downgrade_to=[OLD])],
                PlanOptions(
                    target=NEW,
                    max_per_cluster=self.max_per_cluster,
                    wave_size=self.chance.choice(sizes),
                    canary=self.chance.choice(canaries),
                    accept=["cluster_mixed"],
                ),
            )
        )
        for node in self.plan["nodes"].values():
            if node["action"] == "commit":
                node["way_back"] = [OLD]
        self.outcomes: Outcomes = {host: {} for host in self.plan["nodes"]}
        self.touched_after_halt: list[str] = []
        self.halted_at: int | None = None

    def _fleet(self) -> dict[str, dict[str, Any]]:
        facts = {}
        for cluster in range(self.chance.randint(1, 12)):
            names = [f"emqx{number}@c{cluster}" for number in range(self.chance.randint(1, 6))]
            for name in names:
                running, permanent = self.chance.choices([(OLD, OLD), (NEW, OLD), (NEW, NEW)], [8, 1, 1])[0]
                rows = [{"version": permanent, "status": "permanent"}]
                if running != permanent:
                    rows.append({"version": running, "status": "current"})
                facts[name.replace("@", "-")] = make_facts(
                    name, running, names, permanent=permanent, releases=rows,
                    boot={"version": permanent, "consistent": True, "problems": []},
                )  # fmt: skip
                self.nodes[name.replace("@", "-")] = Node(running, permanent)
        return facts

    def fails(self) -> bool:
        return self.chance.random() < self.failure_rate

    def changing(self) -> list[str]:
        return [host for host, node in self.plan["nodes"].items() if node["action"] in ("upgrade", "commit")]

    def run(self) -> None:
        self._stage()
        self._switch()
        self._soak()
        self.halted = outcomes.halted(self.outcomes, self.plan, self.budget, "watched")
        self.batches = outcomes.rollback_batches(self.outcomes, self.plan, self.policy, self.budget)
        self.before_rollback = {host: node.running for host, node in self.nodes.items()}
        for batch in self.batches:
            for host in batch:
                self._go_back(host)
        self._commit()

    def _failed(self, host: str, phase: str) -> None:
        if self.chance.random() < 0.2:
            return  # It drops out of the run without a word.
        self.outcomes[host] = dict(
            self.outcomes[host], result="failed", phase=phase, message="as it came", after=self.nodes[host].facts()
        )

    def _stage(self) -> None:
        for host in self.changing():
            if self.plan["nodes"][host]["action"] != "upgrade":
                continue
            if self.fails():
                self._failed(host, "stage")
            else:
                self.outcomes[host] = {"result": "staged"}

    def _switch(self) -> None:
        for wave in self.plan["waves"]:
            if outcomes.halted(self.outcomes, self.plan, self.budget, "staged", wave["number"]):
                self.halted_at = self.halted_at or wave["number"]
                continue
            assert self.halted_at is None, "a run that was halted goes on"
            for host in wave["hosts"]:
                node = self.nodes[host]
                if self.outcomes[host].get("result") != "staged":
                    continue
                if self.fails():
                    if self.chance.random() < 0.5:
                        node.running = NEW
                        node.switches += 1
                    self._failed(host, "switch")
                    told = self.outcomes[host].get("result") == "failed"
                    if self.policy == "rollback_node" and told and node.running != OLD:
                        self._go_back(host)
                    continue
                node.running = NEW
                node.switches += 1
                self.outcomes[host] = {"result": "switched", "after": node.facts()}

    def _soak(self) -> None:
        if outcomes.halted(self.outcomes, self.plan, self.budget, "switched"):
            return
        for host in self.changing():
            resumed = self.plan["nodes"][host]["action"] == "commit"
            if self.outcomes[host].get("result") == "switched" or resumed:
                if self.fails():
                    self._failed(host, "soak")
                else:
                    self.outcomes[host] = dict(self.outcomes[host], result="watched", after=self.nodes[host].facts())

    def _go_back(self, host: str) -> None:
        node = self.nodes[host]
        if self.fails():
            self.outcomes[host] = dict(self.outcomes[host], result="failed", rollback="failed", rollback_message="no")
            return
        node.running = node.permanent
        node.switches += 1
        self.outcomes[host] = dict(self.outcomes[host], rollback="done", after=node.facts())

    def _commit(self) -> None:
        if outcomes.halted(self.outcomes, self.plan, self.budget, "watched"):
            return
        for host in self.changing():
            if self.outcomes[host].get("result") == "watched":
                node = self.nodes[host]
                node.permanent = NEW
                self.outcomes[host] = dict(self.outcomes[host], result="committed", after=node.facts())


@pytest.mark.parametrize("seed", range(300))
def test_no_rule_is_broken(seed: int) -> None:
    run = Simulation(seed)
    assert run.plan["feasible"], run.plan["obstacles"]
    run.run()
    plan, changing = run.plan, set(run.changing())
    waves = [set(wave["hosts"]) for wave in plan["waves"]]

    # Every node that switches has one turn, and no wave takes more of a cluster than is allowed.
    rollout = [host for wave in plan["waves"] for host in wave["hosts"]]
    assert sorted(rollout) == sorted(host for host in changing if plan["nodes"][host]["action"] == "upgrade")
    for hosts in [*waves, *map(set, run.batches)]:
        clusters = [plan["nodes"][host]["cluster"] for host in hosts]
        assert all(clusters.count(cluster) <= run.max_per_cluster for cluster in clusters)

    # A node is switched at most there and back.
    assert all(node.switches <= 2 for node in run.nodes.values())
    done = {host for host in plan["nodes"] if plan["nodes"][host]["action"] == "none"}
    assert all(run.nodes[host].switches == 0 for host in done)

    # A wave begins only within the budget: all that went wrong before it is in the waves before it, or in staging.
    allowed = outcomes.budget(run.budget, len(changing))
    final = outcomes.judged(run.outcomes, plan, "watched")
    broken = {host for host, outcome in final.items() if outcome.get("result") == "failed"}
    if run.halted_at is not None:
        assert all(run.nodes[host].switches == 0 for wave in waves[run.halted_at - 1 :] for host in wave)
    assert run.halted == (len(broken) > allowed)

    # Nothing becomes permanent in a run that failed, and never a node that failed or dropped out.
    committed = {host for host in changing if run.outcomes[host].get("result") == "committed"}
    assert not committed or not run.halted
    assert not committed & broken
    if not run.halted:
        assert committed == changing - broken

    # Who goes back had moved, goes once, by the policy, and the last ones to go there are the first to return.
    back = [host for batch in run.batches for host in batch]
    assert len(back) == len(set(back))
    assert set(back) <= changing
    if run.policy == "stop" or (run.policy in ("rollback_wave", "rollback_fleet") and not run.halted):
        assert back == []
    if run.policy == "rollback_node":
        assert set(back) <= broken
    if run.policy == "rollback_fleet" and back:
        told = {host for host in changing if run.outcomes[host].get("result") in ("watched", "switched")}
        moved = {host for host in told if run.before_rollback[host] == NEW}
        assert moved <= set(back), "a node that was switched was forgotten"
    turns = [plan["nodes"][batch[0]]["wave"] or 0 for batch in run.batches]
    assert turns == sorted(turns, reverse=True)

    # The report is silent only when all is done, and names every node that failed.
    final_report = report.build(plan, run.outcomes, "run", "fleet")
    assert (final_report["message"] == "") == (committed == changing)
    assert all(
        f"{host} failed" in final_report["message"] for host in broken if run.outcomes[host].get("result") == "failed"
    )
    assert final_report["final"]


def test_the_runs_differ() -> None:
    """The simulation is worth something only if runs end in every way."""
    ends = set()
    for seed in range(300):
        run = Simulation(seed)
        run.run()
        ends.add((run.policy, run.halted, bool(run.batches), run.halted_at is not None))
    assert {policy for policy, *_rest in ends} == set(outcomes.POLICIES)
    assert {(halted, back) for _policy, halted, back, _at in ends} == {
        (False, False), (True, False), (True, True), (False, True),
    }  # fmt: skip
    assert any(stopped for *_rest, stopped in ends)
