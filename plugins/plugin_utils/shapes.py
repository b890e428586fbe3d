# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dictionaries that a run is made of, all of JSON types; docs/architecture.md says what the keys mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

#: What ``emqx_release_info`` returns of one node; empty where nothing is known.
NodeFacts = Mapping[str, Any]
#: What is known of one package zip.
Package = Mapping[str, Any]

#: Whether a plan takes nodes to a version, makes what they run permanent, or takes them back.
Purpose = Literal["upgrade", "commit", "rollback"]
#: Where nodes get their packages from: sent by the controller, or fetched by themselves.
PackageSource = Literal["controller", "node"]
#: What a plan has in mind for a node.
Action = Literal["upgrade", "commit", "none", "refuse"]
#: How far a node is in a run.
State = Literal["planned", "reserved", "staged", "switched", "soaked", "committed", "failed", "rolled_back"]
#: What became of a node, in the report.
Result = Literal[
    "nothing_to_do",
    "not_begun",
    "in_turn",
    "staged",
    "uncommitted",
    "not_committed",
    "committed",
    "failed",
    "failed_rolled_back",
    "rolled_back",
]


class Hop(TypedDict):
    """One switch on the way; ``package`` and ``path`` are None for a release that only the node has.

    ``url``: where the node fetches the package itself, with credentials masked; None where it is sent.
    """

    version: str
    package: str | None
    path: str | None
    url: str | None
    sha256: str | None
    size: int
    unpacked_size: int
    upgrade_from: list[str]
    downgrade_to: list[str]


class GateResult(TypedDict):
    """One gate held against one node; see the gates."""

    name: str
    passed: bool
    severity: str
    accepted: bool
    expected: str
    actual: str
    message: str


PlanNode = TypedDict(
    "PlanNode",
    {
        "host": str,
        "node": str | None,
        "cluster": str,
        "from": str | None,
        "came_from": str | None,
        "to": str,
        "action": Action,
        "hops": list[Hop],
        "way_back": list[str],
        "wave": int | None,
        "gates": list[GateResult],
        "unfinished_run": bool,
    },
)


class Wave(TypedDict):
    """The hosts that switch together, numbered from 1."""

    number: int
    kind: Literal["canary", "wave"]
    hosts: list[str]


class Obstacle(TypedDict):
    """One failure and all the hosts that have it."""

    gate: str
    severity: str
    accepted: bool
    message: str
    hosts: list[str]
    count: int


class Plan(TypedDict):
    """The whole plan of a run."""

    run_id: str
    purpose: Purpose
    target: str
    feasible: bool
    nodes: dict[str, PlanNode]
    waves: list[Wave]
    obstacles: list[Obstacle]
    warnings: list[str]
    accepted: list[str]


class Failure(TypedDict):
    """Why a node failed. ``phase`` is one of :data:`decide.outcomes.PHASES`; ``output`` are the command's lines."""

    phase: str
    task: str
    message: str
    failure_class: str
    output: list[str]
    log: list[str]
    crash_dumps: list[dict[str, Any]]


class HookFailure(TypedDict):
    """A hook that runs once for many nodes failed, on the node that happened to run it."""

    hook: str
    wave: int
    message: str


class Reservation(TypedDict):
    """What became of a node's reservation at the end: given up, or ``kept`` with the reason."""

    kept: bool
    message: str


class TimelineEntry(TypedDict):
    """Something that was done on a node: a turn of a phase, or a step of it.

    ``at``: seconds since 1970 by the controller's clock. ``action``: ``turn``, or a step as the node was told it.
    """

    at: float
    phase: str
    action: str
    version: str | None
    seconds: float | None
    clients: int | None
    command: list[str]
    rc: int | None
    output: list[str]


class ClientsSeen(TypedDict):
    """The clients of a node at a time (``at``, seconds since 1970 by the controller's clock)."""

    at: float
    phase: str
    connected: int | None
    cut_off: int | None


class Outcome(TypedDict, total=False):
    """What became of one node in one run; the state machine is :mod:`decide.outcomes`.

    ``accounting``: what became of the clients in the switch and since, by :mod:`decide.accounting`.
    """

    state: State
    looked: int | None
    before: NodeFacts | None
    after: NodeFacts | None
    checks: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    commit_actions: list[dict[str, Any]]
    timeline: list[TimelineEntry]
    clients_seen: list[ClientsSeen]
    accounting: dict[str, Any] | None
    failure: Failure | None
    hook_failures: list[HookFailure]
    rollback_message: str
    reservation: Reservation | None
    renewed: float | None
    given_up: bool
    reached: bool


class Decision(TypedDict):
    """Whether a phase (or a wave of it) begins, and with whom; the same for all nodes of the run.

    ``rank`` grows from one to the next, so that a host that was lost and comes back finds out what is over. ``first``
    runs what is run once. ``final``: no later job of the same run has something to do. ``due``: who has a turn by it,
    or had it. ``silent``: whose turn in which phase ended without a result, so far.
    """

    phase: str
    wave: int
    rank: int
    proceed: bool
    message: str
    hosts: list[str]
    first: str | None
    failures: dict[str, Failure]
    batches: list[list[str]]
    final: bool
    parts: list[str]
    problems: list[str]
    lost: list[str]
    due: list[str]
    silent: dict[str, str]
