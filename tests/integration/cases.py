# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What a case of the fault suite is, and how every one of them is run.

A case sets a fault up on a real node with idle clients, has ``emqx_release`` work on it, and takes the fault away; then
the same task is run again and must converge: the version asked for runs and is permanent, a restart boots it, every
client that the fault itself did not end is still there. A third run must find nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from .node import COOKIE, NEW, OLD, Node, Result, State

CLIENTS = 4
#: A case's steps: what it yields is run (arguments of the module, or a result that it got by itself), and sent back.
Steps = Generator[Any, Result, None]

# What a run may leave behind: the release table and what a restart boots.
BEFORE = State({OLD: "permanent"}, OLD)
UNPACKED = State({OLD: "permanent", NEW: "unpacked"}, OLD)
CURRENT = State({OLD: "permanent", NEW: "current"}, OLD)
DONE = State({OLD: "old", NEW: "permanent"}, NEW)
HALF = State({OLD: "old", NEW: "permanent"}, OLD)
TORN = State({OLD: "old", NEW: "permanent"}, NEW, ["cuttlefish"])
BACK = State({OLD: "permanent", NEW: "old"}, OLD)
ALONE = State({NEW: "permanent"}, NEW)
OLDER = State({"4.4.17": "permanent"}, "4.4.17")
DOWN = State({}, OLD)
DOWN_DONE = State({}, NEW)

WORDS = {
    "BEFORE": "as before",
    "UNPACKED": f"{NEW} unpacked",
    "CURRENT": f"{NEW} runs, a restart boots {OLD}",
    "DONE": f"{NEW} runs and boots",
    "HALF": f"{NEW} runs and is permanent, a restart boots {OLD}; told",
    "TORN": f"{NEW} runs and boots, a file in `bin/` is torn; told",
    "BACK": f"{OLD} runs and boots, {NEW} is there",
    "ALONE": f"{NEW} runs and boots, {OLD} is gone",
    "OLDER": "4.4.17 runs and boots, nothing else is there",
    "DOWN": f"the node does not answer, a start boots {OLD}",
    "DOWN_DONE": f"the node does not answer, a start boots {NEW}",
}


@dataclass(frozen=True)
class Case:
    """One row of docs/faults.md. What stands here is asserted, word by word.

    ``verdict`` and ``leaves`` hold more than one where a race decides. ``ends``: the version that is permanent at the
    end. ``lost``: clients that the fault itself ends. ``goal``: the state asked for; what only concerns an unpack need
    not go on. ``staged``: the folder that the task says the package is in.
    """

    name: str
    group: str
    fault: str
    steps: Callable[[Node], Steps]
    verdict: tuple[str, ...] = ("done",)
    says: str = ""
    does: tuple[str, ...] | None = None
    leaves: tuple[str, ...] = ("DONE",)
    ends: str = NEW
    lost: int = 0
    goal: str = "permanent"
    staged: str = ""
    base: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)


#: What others show as well, on the same way through the code, takes its minutes in the long-running tests alone.
REPEATED = {
    "torn-emqx-ctl",
    "torn-nodetool",
    "torn-install-upgrade-escript",
    "empty-emqx",
    "garbage-package",
    "empty-package",
    "wrong-top-folder",
    "killed-unpack-begins",
    "script14-killed-as-it-unzips",
    "login-profile-banner",
}
CASES: list[Case] = []
_GROUP = [""]


def group(title: str) -> None:
    """The heading of the cases that follow."""
    _GROUP[0] = title


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def case(
    fault: str,
    *,
    verdict: str | tuple[str, ...] = "done",
    leaves: str | tuple[str, ...] = "DONE",
    **more: Any,
) -> Callable[[Callable[[Node], Steps]], Callable[[Node], Steps]]:
    """Make a function that sets a fault up a case, named as the function is."""

    def add(steps: Callable[[Node], Steps]) -> Callable[[Node], Steps]:
        name = steps.__name__.replace("_", "-")
        CASES.append(Case(name, _GROUP[0], fault, steps, _several(verdict), leaves=_several(leaves), **more))
        return steps

    return add


def run(case: Case, node: Node) -> None:
    """Run a case from a fresh node to its end; AssertionError tells where it differs."""
    node.reset(**{"clients": CLIENTS, **case.base})
    results: list[Result] = []
    asked_for = {"state": case.goal, **case.task}
    if case.staged:
        asked_for["package"] = f"{case.staged}/{node.package_name()}"

    def work(asked: Any) -> Result:
        result = asked if isinstance(asked, Result) else node.release(**{**asked_for, **(asked or {})})
        results.append(result)
        return result

    steps = case.steps(node)
    try:
        first = work(next(steps))
        _check_first(case, node, first)
        try:
            while True:
                work(steps.send(results[-1]))
        except StopIteration:
            pass
    finally:
        steps.close()
    task = {"lock_timeout": 60, "settle_timeout": 60, **asked_for, **case.again}
    results.append(node.release(**task))
    assert results[-1].verdict == "done", f"the run without the fault: {results[-1].story}"
    results.append(node.release(**task))
    assert results[-1].verdict == "done", f"the third run: {results[-1].story}"
    assert not results[-1].changed, f"the third run still did {results[-1].actions}"
    _check_end(case, node)
    for result in results:
        assert COOKIE not in result.raw, "the cookie is in a result"
    assert COOKIE not in node.journal(), "the cookie is in the journal"


def _check_first(case: Case, node: Node, first: Result) -> None:
    story = first.story
    assert first.verdict in case.verdict, f"expected {' or '.join(case.verdict)}, found {story}"
    assert case.says in first.message, f"expected it to say {case.says!r}: {story}"
    assert case.does is None or tuple(first.actions) == case.does, (
        f"expected {case.does}, found {first.actions}: {story}"
    )
    if first.verdict not in ("done", "killed"):
        assert first.data["hint"], f"no way out is told: {story}"
    state = node.state()
    allowed = [globals()[name] for name in case.leaves if name != "ANY"]
    assert not allowed or state in allowed, f"expected {allowed}, found {state} after {story}"
    if first.verdict in ("done", "refused", "changed") and state.table and first.data.get("after"):
        told = {row["version"]: row["status"] for row in first.data["after"]["releases"]}
        assert told == state.table, f"it tells {told}, the node {state.table}"
        assert first.data["after"]["boot"]["version"] == state.boots, (
            f"it tells another boot than {state.boots}: {story}"
        )
        if state.boots != state.running or state.torn:
            consistent = first.data["after"]["boot"]["consistent"]
            assert not consistent or "current" in state.table.values(), f"it tells nothing of {state}: {story}"


def _check_end(case: Case, node: Node) -> None:
    state = node.state()
    expected = case.ends if case.goal == "permanent" else OLD
    assert state.running == state.loaded == expected, f"at the end {state}"
    assert state.table[expected] == "permanent", f"at the end {state}"
    assert state.boots == expected, f"at the end {state}"
    assert not state.torn, f"at the end {state}"
    if node.clients:
        assert node.clients.lost() == case.lost, f"{node.clients.lost()} of {len(node.clients)} clients were lost"
        assert node.clients.unanswered() == case.lost, "a client's process is gone"
    user = node.host.spec.runner_user
    if user:
        others = node.sh(f"find {node.root} {node.data_dir} ! -user {user} | head -5").stdout
        assert not others, f"not {user}'s: {others}"
    if case.goal != "permanent":
        assert state == UNPACKED, f"at the end {state}"
        return
    node.restart()
    state = node.state()
    assert state.loaded == case.ends, f"the restart booted {state}"
    assert state.table[case.ends] == "permanent", f"after a restart {state}"


def load() -> list[Case]:
    """All cases, in the order of the table."""
    if not CASES:
        from . import faults_files, faults_kills, faults_nodes, faults_official, faults_packages  # noqa: F401 -- each adds its cases
    return CASES
