# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several runs want one cluster at the same time: what is shipped, in hundreds of orders that chance decides.

Every run has a task for each of its nodes. Where a task touches a node's reservation, asks a member or sleeps, another
one may go on; clocks are simulated, and each node has its own. Everything else is the code that is shipped: the
controller's tries, the try on a node, and what is written there.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import cluster_runs, contention
from ansible_collections.emqx.fleet.plugins.module_utils.cluster_runs import Reading, Wish
from ansible_collections.emqx.fleet.plugins.module_utils.contention import Member
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reservation, runs
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import more, seeds

LEASE = 120.0
#: Worlds of most of the tests; `make other-rounds` makes more of them.
ROUNDS = 40

pytestmark = more


class CrashError(BaseException):
    """The controller of this run is gone, whatever its tasks were doing."""


class Slot(StateDir):
    """The reservation of a simulated node."""

    def __init__(self, world: World, name: str, skew: float) -> None:
        super().__init__(f"/{name}", "nobody")
        self.world, self.name, self.skew = world, name, skew
        self.content: dict[str, Any] | None = None

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.world.step()
        yield
        self.world.check()

    def _clock(self) -> float:  # type: ignore[override]
        return self.world.now + self.skew

    def _load(self) -> dict[str, Any] | None:
        return dict(self.content) if self.content else None

    def _store(self, reservation: dict[str, Any] | None) -> dict[str, Any] | None:
        if reservation is not None:
            self.content = dict(reservation)
        return reservation

    def _remove(self) -> None:
        self.content = None

    def member(self) -> Member:
        """As the node tells it to another."""
        return Member(self.name, self._clock(), self._load())

    def holder(self) -> dict[str, Any] | None:
        """The reservation, if it is held and not over."""
        found = self.content
        return found if found and found["held"] and found["lease_until"] > self._clock() else None


@dataclass
class Run:
    """A run with its process on a controller, and what became of its nodes."""

    id: str
    process: str
    nodes: tuple[str, ...]
    take_over: tuple[str, ...] = ()
    crashes_at: float = math.inf
    crashed: bool = False
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """As reservations have it."""
        return contention.identity(vars(self) | {"controller": "tower", "controller_process": self.process})

    @property
    def has_all(self) -> bool:
        """Whether it got every node that it wanted."""
        return all(self.results.get(name, {}).get("verdict") == "held" for name in self.nodes)


class Task(threading.Thread):
    """What a run does with one of its nodes."""

    def __init__(self, world: World, run: Run, node: str, work: Callable[[Task], None]) -> None:
        super().__init__(daemon=True)
        self.world, self.of_run, self.node, self.work = world, run, node, work
        self.go, self.wakes, self.done = threading.Semaphore(0), world.now, False
        self.error: BaseException | None = None

    def run(self) -> None:
        self.go.acquire()
        try:
            self.work(self)
        except CrashError:
            self.of_run.crashed = True
        except BaseException as error:  # noqa: BLE001 -- told by the world's own thread
            self.error = error
        self.done = True
        self.world.turn.release()


class World:
    """A cluster, the runs that want it, and chance, all of which a seed decides."""

    def __init__(self, seed: int, longest_step: float) -> None:
        self.seed, self.longest_step, self.now = seed, longest_step, 1_700_000_000.0
        self.chance = chance = random.Random(seed)
        places = range(chance.randint(2, 5))
        self.slots = {f"n{place}": Slot(self, f"n{place}", chance.uniform(-90000, 90000)) for place in places}
        self.runs: list[Run] = []
        self.tasks: list[Task] = []
        self.turn = threading.Semaphore(0)
        self.broken = ""
        self.had_holder = self.loose_ends = False

    # The tasks' side

    def step(self, seconds: float = 0.0) -> None:
        """Let others go on, and so much time pass at least."""
        task = threading.current_thread()
        if not isinstance(task, Task):
            return
        task.wakes = self.now + seconds
        self.turn.release()
        task.go.acquire()
        if self.now >= task.of_run.crashes_at or self.broken:
            raise CrashError

    def check(self) -> None:
        """No two runs hold the cluster, unless one was told to take over from the other."""
        found = [slot.holder() for slot in self.slots.values()]
        holders = {contention.identity(one): one for one in found if one}
        self.had_holder = self.had_holder or bool(holders)
        for one, other in itertools.combinations(holders.values(), 2):
            names = {contention.identity(one), contention.identity(other)}
            if not contention.is_same(one, other) and not names & {*one["took_over"], *other["took_over"]}:
                self.broken = f"{sorted(names)} hold the cluster at the same time"

    def read(self, own: str) -> Reading:
        """All members, one after the other, in any order."""
        names = sorted(self.slots)
        self.chance.shuffle(names)
        members = []
        for name in names:
            self.step()
            members.append(self.slots[name].member())
        return Reading(own, members, [])

    def module(self, node: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What ``emqx_reservation`` does there."""
        slot = self.slots[node]
        claim = {name: arguments[name] for name in ("id", "who", "controller", "controller_process")}
        if arguments["state"] == "absent":
            return {"changed": slot.release(claim)}
        wish = Wish(
            claim,
            arguments["lease"],
            arguments["passed_over"],
            arguments["state"] == "parked",
            arguments["verify_cluster"],
            arguments["look_first"],
            arguments.get("renew", False),
        )
        answer = cluster_runs.attempt(slot, wish, lambda: self.read(node))
        return answer | {"failed": answer["verdict"] != "held"}

    def loose(self, node: str, arguments: dict[str, Any]) -> None:
        """A module whose answer nobody will hear."""
        self.module(node, arguments)

    # The world's side

    def start(self, run: Run, work: Callable[[Task], None]) -> None:
        """Begin a run: its tasks, at about the same time."""
        self.runs.append(run)
        for node in run.nodes:
            self.tasks.append(Task(self, run, node, work))
            self.tasks[-1].start()

    def play(self) -> None:
        """Let all tasks come to their ends."""
        while True:
            left = [task for task in self.tasks if not task.done]
            if not left:
                break
            ready = [task for task in left if task.wakes <= self.now]
            if ready:
                self.chance.choice(ready).go.release()
                self.turn.acquire()
                if self.chance.random() < 0.3:
                    self.now += self.chance.uniform(0, self.longest_step)
            else:
                self.now = min(task.wakes for task in left)
        for task in self.tasks:
            task.join()
            if task.error is not None:
                raise RuntimeError(f"in the world of seed {self.seed}") from task.error
        assert not self.broken, f"seed {self.seed}: {self.broken}"


class OnNode:
    """A node as the controller has it; now and then an answer is lost, and the module is run again.

    In worlds with ``loose_ends`` the first one is still at work meanwhile.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def run(self, module_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert module_name == "emqx_reservation"
        world = self.task.world
        if world.chance.random() < 0.05 and world.loose_ends:
            loose = Task(world, self.task.of_run, self.task.node, lambda task: world.loose(task.node, arguments))
            world.tasks.append(loose)
            loose.start()
        elif world.chance.random() < 0.05:
            world.module(self.task.node, arguments)
        return world.module(self.task.node, arguments)


def reserve(task: Task) -> None:
    """Reserve the node, whatever comes of it."""
    run, sleep = task.of_run, task.world.step
    run.results[task.node] = reservation.reserve(OnNode(task), run.id, LEASE, run.take_over, True, sleep)


def reserve_and_work(task: Task) -> None:
    """Reserve, renew now and then, sometimes too late, and give up."""
    world, run = task.world, task.of_run
    world.step(world.chance.uniform(0, 5))
    reserve(task)
    if run.results[task.node]["verdict"] != "held":
        return
    for _unused in range(world.chance.randrange(4)):
        world.step(world.chance.choice((LEASE / 2, LEASE / 2, LEASE * 1.5)))
        again = reservation.renew(OnNode(task), run.id, LEASE, world.chance.random() < 0.5, world.step)
        if again["verdict"] != "held":
            break
    reservation.give_up(OnNode(task), run.id)


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has a process of its own, on a controller that can see none of the others'."""

    def process() -> str:
        task = threading.current_thread()
        return task.of_run.process if isinstance(task, Task) else ""

    monkeypatch.setattr(runs, "identity", lambda: "tower")
    monkeypatch.setattr(runs, "run_process", process)
    monkeypatch.setattr(runs, "is_dead", lambda holder: False)


def make_world(seed: int, longest_step: float, jobs_of_one_run: bool = False) -> World:
    """A cluster of two to five nodes; two to four runs that want one to three of them each."""
    world = World(seed, longest_step)
    chance = world.chance
    for place in range(chance.randint(2, 4)):
        nodes = chance.sample(sorted(world.slots), min(len(world.slots), chance.randint(1, 3)))
        name = "job" if jobs_of_one_run else chance.choice("abcdef") + str(place)
        world.runs.append(Run(name, f"{place}@1", tuple(nodes)))
    return world


def begin(world: World, work: Callable[[Task], None]) -> None:
    """Start all runs of the world at one instant, and let them come to their ends."""
    found, world.runs = world.runs, []
    for run in found:
        world.start(run, work)
    world.play()


@pytest.mark.parametrize("jobs_of_one_run", [False, True])
def test_of_runs_that_begin_at_one_instant_exactly_one_gets_all_that_it_wants(jobs_of_one_run: bool) -> None:
    for seed in seeds(ROUNDS):
        world = make_world(seed, 0.5, jobs_of_one_run)
        begin(world, reserve)
        winners = [run for run in world.runs if run.has_all]
        assert len(winners) == 1, f"seed {seed}"
        had = [run for run in world.runs if any(result["verdict"] == "held" for result in run.results.values())]
        assert had == winners, f"seed {seed}"
        for run in world.runs:
            for result in run.results.values():
                if run not in winners:
                    assert result["verdict"] == "refused", f"seed {seed}"
                    held = {other["identity"] for other in result["others"] if other["held"]}
                    assert held == {winners[0].identity}, f"seed {seed}"
        left = {slot.content["id"] for slot in world.slots.values() if slot.content}
        assert left == {winners[0].id}, f"seed {seed}"


def test_never_two_whatever_happens() -> None:
    """Slow tries, leases that run out while their run thinks it works, controllers that vanish at any point."""
    seen = 0
    for seed in seeds(3 * ROUNDS):
        world = make_world(seed, world_step(seed))
        world.loose_ends = True
        for run in world.runs:
            if world.chance.random() < 0.3:
                run.crashes_at = world.now + world.chance.uniform(0, 300)
        begin(world, reserve_and_work)
        seen += world.had_holder
    assert seen > len(seeds(2 * ROUNDS)), "most of these worlds had somebody at work"


def world_step(seed: int) -> float:
    """Seconds between two steps: from hurried to so slow that leases are over within one try."""
    return (0.1, 2.0, 20.0)[seed % 3]


def test_one_that_dies_while_it_contends_holds_nobody_up() -> None:
    dead = 0
    for seed in seeds(ROUNDS):
        world = make_world(seed, 0.3)
        victim = world.chance.choice(world.runs)
        victim.crashes_at = world.now + world.chance.uniform(0, 6)
        begin(world, reserve)
        dead += victim.crashed
        holders = [slot.holder() for slot in world.slots.values()]
        if victim.crashed and any(holder and holder["id"] == victim.id for holder in holders):
            continue
        assert sum(run.has_all for run in world.runs) == 1, f"seed {seed}"
    assert dead > len(seeds(ROUNDS)) / 10


def test_a_run_that_is_taken_over_is_told_so_and_goes_no_further() -> None:
    marked = 0
    for seed in seeds(ROUNDS // 4):
        world = make_world(seed, 0.5)
        first = Run("gone", "77@1", tuple(world.chance.sample(sorted(world.slots), 2)))
        wanting, world.runs = world.runs, [first]
        begin(world, reserve)
        assert first.has_all
        for run in wanting:
            run.take_over = ("gone", "never was")
        world.runs = [*wanting, first]
        begin_again(world, wanting)
        (winner,) = [run for run in wanting if run.has_all]
        told = [result["reservation"]["took_over"] for result in winner.results.values()]
        assert all(set(names) <= {first.identity} for names in told), f"seed {seed}"
        marked += any(told)
        world.start(first, prove)
        world.play()
        for result in first.results.values():
            assert (result["verdict"], result["failed"]) == ("lost", True), f"seed {seed}"
            assert result["message"].startswith("This run has the node no more: "), f"seed {seed}"
            assert {other["id"] for other in result["others"]} <= {winner.id}, f"seed {seed}"
    assert marked > len(seeds(ROUNDS // 4)) / 2


def begin_again(world: World, wanting: list[Run]) -> None:
    """Let further runs begin."""
    for run in wanting:
        world.start(run, reserve)
    world.play()


def prove(task: Task) -> None:
    """What a node does at its turn."""
    run = task.of_run
    run.results[task.node] = reservation.renew(OnNode(task), run.id, LEASE, True, task.world.step)


def test_of_runs_that_were_told_to_take_over_from_each_other_one_at_most_goes_on() -> None:
    went_on = 0
    for seed in seeds(ROUNDS // 2):
        world = make_world(seed, 0.5)
        for run in world.runs:
            run.take_over = tuple(other.id for other in world.runs)
        begin(world, reserve)
        having = [run for run in world.runs if run.has_all]
        for run in having:
            world.start(run, prove)
        world.play()
        assert sum(run.has_all for run in having) <= 1, f"seed {seed}"
        went_on += any(run.has_all for run in having)
    assert went_on > len(seeds(ROUNDS // 2)) / 2


def test_a_cluster_that_is_parked_goes_to_one_job_of_that_run() -> None:
    for seed in seeds(ROUNDS // 4):
        world = make_world(seed, 0.5)
        strangers, world.runs = world.runs, []
        stage = Run("workflow", "1@9", tuple(sorted(world.slots)))
        world.start(stage, park)
        world.play()
        assert stage.has_all
        jobs = [Run("workflow", f"{place}@9", (name,)) for place, name in enumerate(sorted(world.slots)[:3], 2)]
        begin_again(world, [*strangers, *jobs])
        assert sum(run.has_all for run in jobs) == 1, f"seed {seed}"
        assert not any(run.has_all for run in strangers), f"seed {seed}"


def park(task: Task) -> None:
    """Reserve for a later job."""
    run, sleep = task.of_run, task.world.step
    reserve(task)
    run.results[task.node] = reservation.reserve(OnNode(task), run.id, 1800, (), False, sleep, parked=True)
