# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Runs of ``emqx_release`` that are killed at a random instant: the same task, run again, always gets there.

The fault suite kills at chosen places; this looks for those that nobody thought of. Every kill has numbers of its own,
made from the seed and its place, so that one that failed can be had again with ``--kills-seed``.
"""

from __future__ import annotations

import functools
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab.labkit.errors import LabError

from . import cases
from .conftest import Pool
from .node import NEW, Node, Result, Running

SCOPES = ("module alone", "module and command", "command alone")
MANY = 200
TASK: dict[str, Any] = {"version": NEW, "state": "permanent", "timeout": 240}
# A deadline for what hangs; nothing is expected to take long.
LAST_SECONDS = 600


@dataclass(frozen=True)
class Kill:
    """One kill: ``part`` of the duration of a whole run has gone by."""

    number: int
    seed: int
    scope: str
    part: float

    @staticmethod
    def drawn(seed: int, number: int) -> Kill:
        """The kill of this number; the same whichever others there are."""
        numbers = random.Random(f"{seed}/{number}")
        return Kill(number, seed, numbers.choice(SCOPES), numbers.random())


@dataclass
class Outcome:
    """What came of a kill.

    ``at`` and ``whole`` are seconds, ``met`` counts processes that it ended, ``again`` is what the second run had to
    do; ``problems`` is empty when the node converged. ``done``: it came to the kill; what fails before is the lab.
    """

    kill: Kill
    at: float = 0.0
    whole: float = 0.0
    met: int = 0
    done: bool = False
    again: list[str] = field(default_factory=list)
    lost: int = 0
    starts: bool = True
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        instant = f"at {self.at:.2f} s of {self.whole:.1f} s"
        return f"kill {self.kill.number} (seed {self.kill.seed}, {instant}, {self.kill.scope})"


class Kills:
    """The kills of one test, over the nodes of the pool."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        self.kills = [Kill.drawn(seed, number) for number in range(1, count + 1)]
        #: How long the last run took on a node that nothing disturbed; each node is worked on by one thread at a time.
        self.durations: dict[str, float] = {}

    def run(self, pool: Pool) -> list[Outcome]:
        """All of them, side by side."""
        names = {f"kill {self.seed}/{kill.number}": kill for kill in self.kills}
        for name, kill in names.items():
            pool.submit(name, functools.partial(self._one, kill))
        return [pool.outcome(name) for name in names]

    def _one(self, kill: Kill, node: Node) -> Outcome:
        outcome = Outcome(kill)
        try:
            first = self._interrupted(kill, node, outcome)
            outcome.problems += _converge(node, outcome, first)
        except (AssertionError, LabError, OSError, subprocess.SubprocessError) as error:
            outcome.problems.append(f"{type(error).__name__}: {error}")
        return outcome

    def _interrupted(self, kill: Kill, node: Node, outcome: Outcome) -> Result:
        """A run that was killed. One that was over too early tells its duration, and there is another."""
        if node.name not in self.durations:
            _fresh(node)
            running, begun = _begin(node)
            done = running.finish(LAST_SECONDS)
            assert done.verdict == "done", f"undisturbed: {done.story}"
            self.durations[node.name] = time.monotonic() - begun
        for _attempt in range(3):
            _fresh(node)
            running, begun = _begin(node)
            outcome.whole = self.durations[node.name]
            outcome.met = _strike(kill, node, running, begun + kill.part * outcome.whole)
            outcome.at = time.monotonic() - begun
            first = running.finish(LAST_SECONDS)
            outcome.done = True
            if outcome.met:
                break
            self.durations[node.name] = time.monotonic() - begun
        return first


def _fresh(node: Node) -> None:
    node.reset(clients=cases.CLIENTS)
    node.provide()


def _begin(node: Node) -> tuple[Running, float]:
    """Start the module, and say when it was there."""
    running = node.begin(**TASK)
    assert node.wait_for(lambda: bool(node.modules()) or _ended(running), LAST_SECONDS, 0.002), (
        "the module does not start"
    )
    return running, time.monotonic()


def _ended(running: Running) -> bool:
    return running.process.poll() is not None


def _strike(kill: Kill, node: Node, running: Running, instant: float) -> int:
    """Kill at that instant, or as soon as there is a command to kill; the number of processes that were met."""
    time.sleep(max(0.0, instant - time.monotonic()))
    while not _ended(running):
        # Nothing may be started between looking and killing.
        with node.standing_still():
            if kill.scope == "module alone":
                met = node.kill_module(tree=False)
            elif kill.scope == "command alone":
                met = node.kill_below_module()
            else:
                met = node.kill_module(tree=True) + node.kill_commands()
        if met:
            return met
        time.sleep(0.01)
    return 0


def _converge(node: Node, outcome: Outcome, first: Result) -> Iterator[str]:
    """What is wrong after the same task was run again, and once more, and the node was restarted."""
    task = {**TASK, "lock_timeout": 60, "settle_timeout": 60}
    again = node.begin(**task).finish(LAST_SECONDS)
    outcome.again = again.actions
    if again.verdict != "done":
        yield f"the second run: {again.story} (the first: {first.story})"
    state = node.state()
    if state != cases.DONE or state.loaded != NEW:
        yield f"after the second run {state}"
    third = node.begin(**task).finish(LAST_SECONDS)
    if third.verdict != "done" or third.changed:
        yield f"the third run: {third.story}"
    left = node.sh(f"find {node.root} {node.data_dir} -name '*.fleet-new' -o -name '*.jsonl.new'").stdout.split()
    if left:
        yield f"left over: {left}"
    assert node.clients is not None
    outcome.lost = max(node.clients.lost(), node.clients.unanswered())
    if outcome.lost:
        yield f"{outcome.lost} of {len(node.clients)} idle clients were lost"
    try:
        node.restart()
    except LabError as error:
        outcome.starts = False
        yield f"it cannot start: {error}"
        return
    state = node.state()
    if state.loaded != NEW or state.table.get(NEW) != "permanent":
        yield f"the restart booted {state}"


def _check(pool: Pool, request: pytest.FixtureRequest, count: int) -> None:
    # Given on the command line only where this folder is named there.
    seed = request.config.getoption("--kills-seed", None)
    kills = Kills(
        random.SystemRandom().randrange(1 << 32) if seed is None else seed,
        request.config.getoption("--kills", None) or count,
    )
    outcomes = kills.run(pool)
    wrong = [outcome for outcome in outcomes if outcome.problems]
    done = [outcome for outcome in outcomes if outcome.done]
    scopes = Counter(outcome.kill.scope for outcome in done)
    left = Counter(", ".join(outcome.again) or "nothing" for outcome in done)
    summary = (
        f"{len(outcomes) - len(wrong)} of {len(done)} converged (--kills-seed {kills.seed}); "
        f"{sum(outcome.lost for outcome in done)} clients lost, "
        f"{sum(not outcome.starts for outcome in done)} unable to start, "
        f"{sum(not outcome.met for outcome in done)} met nothing, "
        f"{len(outcomes) - len(done)} not carried out"
    )
    print(f"{summary}\nkilled: {dict(scopes)}\nleft to do: {dict(left)}")
    assert not wrong, "\n".join([summary, *(f"{outcome}: {'; '.join(outcome.problems)}" for outcome in wrong)])


@pytest.mark.soak
def test_many_runs_killed_at_any_instant_can_be_run_again(pool: Pool, request: pytest.FixtureRequest) -> None:
    _check(pool, request, MANY)
