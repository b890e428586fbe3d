# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random fleets are planned and "run" with random failures: no rule of the roll-out is broken.

The runner below calls the shipped state machine in the order of the playbook, as the role's tasks do, and makes up only
what happens on the nodes: it fails at random, loses hosts at random, sometimes those that run a hook for all, and now
and then a turn ends without a word of what became of it.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Ran, Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanOptions, build_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts, make_package
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import more, seeds

OLD, NEW = "4.4.18", "4.4.19"

pytestmark = more


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
        self.policy = self.chance.choice(outcomes.POLICIES)
        self.rules = Rules(self.chance.choice(["0", "0", "1", "3", "10%", "50%"]), self.policy)
        self.failure_rate = self.chance.choice([0.0, 0.02, 0.1, 0.5])
        self.lost_rate = self.chance.choice([0.0, 0.02, 0.1, 0.3])
        self.silent_rate = self.chance.choice([0.0, 0.0, 0.02, 0.2])
        self.refused_rate = self.chance.choice([0.0, 0.0, 0.0, 0.0, 0.05, 0.5])
        self.hooks = self.chance.random() < 0.5
        sizes: list[int | str] = [0, 0, 1, 4, "25%"]
        canaries: list[int | str] = [0, 1, 2, "10%"]
        self.plan = build_plan(
            self._fleet(),
            [make_package(NEW, upgrade_from=[OLD], downgrade_to=[OLD])],
            PlanOptions(
                target=NEW,
                max_per_cluster=self.max_per_cluster,
                wave_size=self.chance.choice(sizes),
                canary=self.chance.choice(canaries),
                accept=["cluster_mixed"],
            ),
        )
        self.outcomes: dict[str, Outcome] = {}
        self.alive = set(self.plan["nodes"])
        self.silent: set[str] = set()
        self.refused: set[str] = set()
        self.previous: Decision | None = None
        self.halted_at: int | None = None
        self.batches: list[list[str]] = []
        self.failed_hooks: list[tuple[str, int]] = []
        self.before_rollback: dict[str, str] = {}

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
                    ways_back={NEW: [OLD]},
                    boot={"version": permanent, "consistent": True, "problems": []},
                )  # fmt: skip
                self.nodes[name.replace("@", "-")] = Node(running, permanent)
        return facts

    def fails(self) -> bool:
        return self.chance.random() < self.failure_rate

    def outcome(self, host: str) -> Outcome:
        return self.outcomes.get(host) or outcomes.new()

    def changing(self) -> list[str]:
        return [host for host, node in self.plan["nodes"].items() if outcomes.is_changed(node)]

    def decide(self, phase: str, wave: int = 0, **more: Any) -> Decision:
        lost = self.previous["lost"] if self.previous else []
        self.previous = outcomes.decide(
            self.plan,
            self.outcomes,
            phase,
            self.rules,
            wave,
            alive=self.alive,
            lost=lost,
            previous=self.previous,
            silent=self.previous["silent"] if self.previous else None,
            **more,
        )
        return self.previous

    def turns(self, decision: Decision) -> list[str]:
        """Every host takes note of the decision; gives those that have a turn, as ``controller.turn`` sees it."""
        found = []
        for host in self.plan["nodes"]:
            if host not in self.alive:
                continue
            failure = decision["failures"].get(host)
            if failure and not outcomes.is_failed(self.outcome(host)):
                self.outcomes[host] = outcomes.fail(self.outcome(host), failure["phase"], failure)
            node = self.plan["nodes"][host]
            mine = decision["proceed"] and host in decision["hosts"]
            if mine and outcomes.begins(self.outcome(host), decision["phase"], node):
                found.append(host)
        return found

    def lose(self, host: str) -> bool:
        """A hook's task loses the connection; Ansible never comes back to the host in this play."""
        if not self.hooks or len(self.alive) == 1 or self.chance.random() >= self.lost_rate:
            return False
        self.alive.discard(host)
        return True

    def run(self) -> None:
        for host in self.turns(self.decide("reserve")):
            self._reserve_and_stage(host)
        self.reserved = {host for host in self.nodes if self.outcome(host)["state"] in ("reserved", "staged")}
        for wave in self.plan["waves"]:
            self._wave(wave["number"])
        for host in self.turns(self.decide("soak")):
            if not self._step(host, "soak") and host not in self.silent:
                self.outcomes[host] = dict(self.outcomes[host], after=self.nodes[host].facts())  # type: ignore[assignment]
        decision = self.decide("rollback")
        self.batches = decision["batches"]
        self.before_rollback = {host: node.running for host, node in self.nodes.items()}
        for number in range(1, len(self.batches) + 1):
            decision = self.decide("rollback", number, batches=self.batches)
            for host in self.turns(decision):
                self._go_back(host)
        decision = self.decide("commit")
        self.halted = not decision["proceed"]
        for host in self.turns(decision):
            self._step(host, "commit", permanent=NEW)
        self.end = self.decide("end")

    def _reserve_and_stage(self, host: str) -> None:
        """One turn: whoever has its reservation goes on with staging, whatever becomes of the others meanwhile."""
        if self.chance.random() < self.refused_rate:
            self.refused.add(host)
            self.outcomes[host] = outcomes.fail(self.outcome(host), "reserve", {"message": "another run has it"})
            return
        if self.chance.random() < self.silent_rate:
            self.silent.add(host)
            return
        self.outcomes[host] = outcomes.advance(self.outcome(host), "reserve")
        if outcomes.begins(self.outcome(host), "stage", self.plan["nodes"][host]):
            self._step(host, "stage", tells=True)

    def _wave(self, number: int) -> None:
        decision = self.decide("switch", number)
        if not decision["proceed"]:
            self.halted_at = self.halted_at or number
        assert self.halted_at is None or not decision["proceed"], "a run that was halted goes on"
        gone = set(self.changing()) - self.alive
        assert not decision["proceed"] or len(gone) <= outcomes.budget(self.rules.budget, len(self.changing()))
        hook = "before_fleet" if number == 1 else "before_wave"
        decision = self._hook(hook, number, decision)
        for host in self.turns(decision):
            self.outcomes[host] = outcomes.advance(self.outcome(host), "look", looked=number)
            if self.lose(host):
                continue
            failed = self._step(host, "switch", running=NEW)
            if failed and self.policy == "rollback_node" and self.nodes[host].running != OLD:
                self._go_back(host)
        if any(self.outcome(host)["state"] == "switched" for host in decision["hosts"]):
            self.turns(self._hook("after_wave", number, decision))

    def _hook(self, hook: str, wave: int, decision: Decision) -> Decision:
        """One host runs it for all."""
        first = decision["first"]
        if not self.hooks or not decision["proceed"] or first is None:
            return decision
        if self.lose(first):
            self.failed_hooks.append((hook, wave))
        elif self.fails():
            self.failed_hooks.append((hook, wave))
            self.outcomes[first] = outcomes.note_hook_failure(self.outcome(first), hook, wave, "as it came")
        after = self.decide("switch", wave, ran=Ran(hook, first))
        assert bool(after["problems"]) == (first not in self.alive)
        return after

    def _step(self, host: str, phase: str, running: str = "", permanent: str = "", tells: bool = False) -> bool:
        """Whether it failed; a switch that fails may have been done all the same."""
        node = self.nodes[host]
        failed = self.fails()
        if not permanent and not tells and self.chance.random() < self.silent_rate:
            self.silent.add(host)
            if running and failed:
                node.running = running
                node.switches += 1
            return False
        if running and (not failed or self.chance.random() < 0.5):
            node.running = running
            node.switches += 1
        if permanent and not failed:
            node.permanent = permanent
        if failed:
            self.outcomes[host] = outcomes.fail(
                self.outcome(host), phase, {"message": "as it came"}, after=node.facts()
            )
        else:
            read = {} if phase == "stage" else {"after": node.facts()}
            self.outcomes[host] = outcomes.advance(self.outcome(host), phase, **read)
        return failed

    def _go_back(self, host: str) -> None:
        node = self.nodes[host]
        if self.fails() or host in self.refused:
            self.outcomes[host] = outcomes.fail(self.outcome(host), "rollback", {"message": "no"})
            return
        node.running = node.permanent
        node.switches += 1
        self.outcomes[host] = outcomes.advance(self.outcome(host), "rollback", after=node.facts())


@pytest.mark.parametrize("seed", seeds(60))
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

    # Without the reservation of every node none goes forward, whatever the budget; others are staged by then.
    if run.refused:
        assert run.halted
        assert run.halted_at in (1, None)
        assert not {run.outcome(host)["state"] for host in changing} & {"switched", "soaked", "committed"}
        earlier = {host for host in changing if plan["nodes"][host]["action"] == "commit"}
        moved = {host for host, node in run.nodes.items() if node.switches}
        assert moved <= earlier - run.refused, "only what an earlier run had switched goes back, where it is this run's"

    # A wave begins only within the budget, and no node of it before the hook that it waits for.
    lost = set(plan["nodes"]) - run.alive
    assert set(run.end["silent"]) <= run.silent
    final = outcomes.judged(plan, run.outcomes, lost=lost)
    broken = {host for host, outcome in final.items() if outcomes.is_failed(outcome)}
    assert run.silent <= broken, "a turn that ended without a word passed for a good one"
    if run.halted_at is not None:
        assert all(run.nodes[host].switches == 0 for wave in waves[run.halted_at - 1 :] for host in wave)
    for hook, number in run.failed_hooks:
        hosts = {host for wave in waves for host in wave} if hook == "before_fleet" else waves[number - 1]
        assert hosts & run.alive <= broken, f"{hook} failed for {hosts}, and they did not"
        if hook != "after_wave":
            assert all(run.nodes[host].switches == 0 for host in hosts)

    # Nothing becomes permanent in a run that failed, and never a node that failed or dropped out.
    committed = {host for host in changing if run.outcome(host)["state"] == "committed"}
    assert all((run.nodes[host].permanent == NEW) == (host in committed) for host in changing)
    assert not committed or not run.halted
    assert not committed & broken
    if not run.halted:
        assert committed == changing - broken

    # Who goes back had moved, goes once, by the policy, and the last ones to go there are the first to return.
    back = [host for batch in run.batches for host in batch]
    assert len(back) == len(set(back))
    assert set(back) <= changing
    known = run.alive - run.silent
    assert not {host for host in back if run.before_rollback[host] == OLD and run.nodes[host].switches == 0} & known
    if run.policy == "stop" or (run.policy in ("rollback_wave", "rollback_fleet") and not run.halted):
        assert back == []
    if run.policy == "rollback_node":
        assert set(back) <= broken
    if run.policy == "rollback_fleet" and back:
        moved = {host for host in changing if run.before_rollback[host] == NEW}
        assert moved <= set(back), "a node that was switched was forgotten"
    turns = [plan["nodes"][batch[0]]["wave"] or 0 for batch in run.batches]
    assert turns == sorted(turns, reverse=True)

    # The report is silent only when all is done, and names every node that failed.
    final_report = report.build(plan, run.outcomes, run.rules, lost=lost)
    assert (final_report["message"] == "") == (committed == changing)
    assert all(f"{host} failed" in final_report["message"] for host in broken)
    assert final_report["final"]
    assert run.end["final"]


def test_the_runs_differ() -> None:
    """The simulation is worth something only if runs end in every way."""
    ways = {
        *(("policy", policy) for policy in outcomes.POLICIES),
        *(("halted, gone back", halted, back) for halted in (False, True) for back in (False, True)),
        ("not reserved, others staged", True), ("not reserved, others staged", False),
        ("halted before the end", True), ("halted before the end", False),
        ("a host was lost", True), ("a host was lost", False),
        ("a turn ended silently", True), ("a turn ended silently", False),
        *(("hook", name) for name in ("before_fleet", "before_wave", "after_wave")),
    }  # fmt: skip
    seen: set[tuple[Any, ...]] = set()
    for seed in seeds(5000):
        run = Simulation(seed)
        run.run()
        seen |= {
            ("policy", run.policy),
            ("halted, gone back", run.halted, bool(run.batches)),
            ("not reserved, others staged", bool(run.refused and run.reserved)),
            ("halted before the end", run.halted_at is not None),
            ("a host was lost", len(run.alive) < len(run.plan["nodes"])),
            ("a turn ended silently", bool(run.silent)),
            *(("hook", row["hook"]) for outcome in run.outcomes.values() for row in outcome["hook_failures"]),
        }
        if seen == ways:
            return
    assert seen == ways
