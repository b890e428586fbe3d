# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state machine of a run: how far each node is, what takes it further, and whether the run goes on. Pure functions.

:data:`PHASES` is the one table of it. A node's outcome is changed only by :func:`advance`, :func:`fail`, :func:`note`
and :func:`note_hook_failure`; whether a phase begins is decided only by :func:`decide`, from the plan and all outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import (
    ClientsSeen,
    Decision,
    Failure,
    NodeFacts,
    Outcome,
    Plan,
    PlanNode,
    State,
    TimelineEntry,
)

POLICIES = ("stop", "rollback_node", "rollback_wave", "rollback_fleet")
#: How far a node has come; every state includes those before it.
PROGRESS: tuple[State, ...] = ("planned", "reserved", "staged", "switched", "soaked", "committed")
#: The phase of a node of which nothing was heard any more.
DROPPED_OUT = "dropped out"
_DROPPED_OUT_MESSAGE = (
    "it dropped out of the run before it was done with its turn, for example because a task of a hook lost the "
    "connection."
)
_SILENT_MESSAGE = "its turn ended without a result, as when a task_timeout of Ansible ends it; see what the node runs."
_LOST = "the connection to {0}, on which it ran, was lost"
#: How many rows of clients over time a node has at most.
MOST_SEEN = 120
_NUMBER = re.compile(r"^(\d+)\s*(%?)$")


class Phase(NamedTuple):
    """One row of the machine.

    ``begins``: the states from which a node's turn in it may begin; ``reaches``: the state after it, None for a hook,
    which takes a node nowhere. ``actions``: the plan's actions of the nodes that it is for. ``before_switch``: a
    failure leaves the node running what it ran. ``fatal``: a failure ends the run whatever the budget, since nothing
    may be touched without it. ``once``: a hook that one node runs for the whole wave.
    """

    begins: frozenset[State]
    reaches: State | None
    actions: frozenset[str]
    before_switch: bool = False
    fatal: bool = False
    once: bool = False


def _phase(begins: str, reaches: State | None, actions: str = "upgrade commit", **more: bool) -> Phase:
    return Phase(cast("frozenset[State]", frozenset(begins.split())), reaches, frozenset(actions.split()), **more)


PHASES: Mapping[str, Phase] = {
    "reserve": _phase("planned", "reserved", before_switch=True, fatal=True),
    "stage": _phase("reserved", "staged", "upgrade", before_switch=True),
    "before_fleet": _phase("reserved staged", None, "upgrade", before_switch=True, fatal=True, once=True),
    "before_wave": _phase("reserved staged", None, "upgrade", before_switch=True, once=True),
    "look": _phase("reserved staged", None, "upgrade", before_switch=True),
    "before_node": _phase("reserved staged", None, "upgrade", before_switch=True),
    "switch": _phase("reserved staged", "switched", "upgrade"),
    "after_node": _phase("switched", None, "upgrade"),
    "after_wave": _phase("switched", None, "upgrade", once=True),
    # A node that an earlier run switched is only looked after and committed.
    "soak": _phase("switched reserved", "soaked"),
    "commit": _phase("soaked", "committed"),
    "rollback": _phase("reserved switched soaked committed failed", "rolled_back"),
}
#: The phases that are decided, in their order; "end" is the last look at every node.
ORDER = ("reserve", "switch", "soak", "rollback", "commit", "end")
_WAVES = 1_000_000
#: The parts of a run. The tag `switch` of the playbook stands for the soak as well.
PARTS = ("plan", "stage", "switch", "soak", "commit")
#: States after which nothing can lose a node but a hook at the very end.
_DONE = ("soaked", "committed", "rolled_back")
#: Phases of a wave: a failure in one of them shows that the wave was begun.
_OF_A_WAVE = ("before_wave", "look", "before_node", "switch", "after_node", "after_wave")


class BudgetError(ValueError):
    """A failure budget that is neither a number nor a percentage."""


class TransitionError(ValueError):
    """A phase was to take a node further from a state that it does not begin from."""


@dataclass(frozen=True)
class Rules:
    """What the user said about failures.

    ``budget``: nodes that may fail, as a number (``2``) or a percentage of those that the plan changes (``5%``).
    ``on_failure``: one of :data:`POLICIES`. ``commit``: ``fleet``, ``node`` or ``never``. ``parts``: what this
    invocation is for, of :data:`PARTS`.
    """

    budget: str | int = "0"
    on_failure: str = "stop"
    commit: str = "fleet"
    parts: Sequence[str] = PARTS


class Ran(NamedTuple):
    """A hook that was just run once for many nodes, and the host that ran it."""

    hook: str
    host: str


# The node


def new() -> Outcome:
    """The outcome of a node with which nothing was done yet."""
    return {
        "state": "planned",
        "looked": None,
        "before": None,
        "after": None,
        "checks": [],
        "actions": [],
        "commit_actions": [],
        "timeline": [],
        "clients_seen": [],
        "accounting": None,
        "failure": None,
        "hook_failures": [],
        "rollback_message": "",
        "reservation": None,
        "reached": True,
        "renewed": None,
        "given_up": False,
    }


def begins(outcome: Outcome, phase: str, node: PlanNode) -> bool:
    """Whether the node has a turn in this phase, from where it is now."""
    row = PHASES[phase]
    if phase == "reserve" and node["unfinished_run"]:
        return outcome["state"] in row.begins
    if node["action"] not in row.actions or outcome["state"] not in row.begins:
        return False
    return not (phase == "soak" and outcome["state"] == "reserved" and node["action"] != "commit")


def advance(outcome: Outcome, phase: str, **changes: Any) -> Outcome:
    """The outcome after the phase was done; ``changes`` are facts, checks and actions. Raises TransitionError."""
    row = PHASES[phase]
    if outcome["state"] not in row.begins:
        raise TransitionError(f"phase {phase} begins from {', '.join(sorted(row.begins))}, not from {outcome['state']}")
    return cast(Outcome, {**outcome, **changes, "state": row.reaches or outcome["state"]})


def fail(outcome: Outcome, phase: str, failure: Mapping[str, Any], **changes: Any) -> Outcome:
    """The outcome after the phase failed. The first failure is the one that is told; a rollback's comes on top."""
    if phase == "rollback" and outcome["failure"]:
        # Never empty: it tells that the way back was tried, so that it is not tried again.
        said = make_failure(phase, failure)["message"]
        return cast(Outcome, {**outcome, **changes, "state": "failed", "rollback_message": said})
    told = outcome["failure"] or make_failure(phase, failure)
    return cast(Outcome, {**outcome, **changes, "state": "failed", "failure": told})


def make_failure(phase: str, told: Mapping[str, Any]) -> Failure:
    """A failure with every key, from what a step told of it."""
    return {
        "phase": phase,
        "task": str(told.get("task") or ""),
        # A hook, or a module of somebody else's, may quote a URL with its password.
        "message": masked(str(told.get("message") or told.get("msg") or "it did not say why")),
        "failure_class": str(told.get("failure_class") or ""),
        "output": [masked(str(line)) for line in told.get("output") or ()],
        "log": list(told.get("log") or ()),
        "crash_dumps": list(told.get("crash_dumps") or ()),
    }


def note(outcome: Outcome, **changes: Any) -> Outcome:
    """The outcome with more that is known of the node: it got no further by that. Raises TransitionError."""
    if {"state", "failure"} & set(changes):
        raise TransitionError("state and failure are changed by a phase alone")
    return cast(Outcome, {**outcome, **changes})


def note_turn(outcome: Outcome, phase: str, began: float, ended: float) -> Outcome:
    """The outcome with a row for a turn in its time line; times are seconds since 1970 by the controller's clock."""
    seen = outcome["clients_seen"][-1]["connected"] if outcome["clients_seen"] else None
    row: TimelineEntry = {
        "at": round(began, 3),
        "phase": phase,
        "action": "turn",
        "version": None,
        "seconds": round(ended - began, 3),
        "clients": seen,
        "command": [],
        "rc": None,
        "output": [],
    }
    return cast(Outcome, {**outcome, "timeline": [*outcome["timeline"], row]})


def note_actions(outcome: Outcome, phase: str, actions: Iterable[Mapping[str, Any]], clock_offset: float) -> Outcome:
    """The outcome with rows for what was done on the node, whose clock is ``clock_offset`` seconds before ours."""
    rows: list[TimelineEntry] = [
        {
            "at": round(float(action["at"]) - clock_offset, 3),
            "phase": phase,
            "action": str(action["action"]),
            "version": action.get("version"),
            "seconds": action.get("seconds"),
            "clients": action.get("clients_after"),
            "command": list(action.get("command") or ()),
            "rc": action.get("rc"),
            "output": list(action.get("output") or ()),
        }
        for action in actions
        if "at" in action
    ]
    return cast(Outcome, {**outcome, "timeline": [*outcome["timeline"], *rows]})


def note_clients(outcome: Outcome, seen: ClientsSeen) -> Outcome:
    """The outcome with the clients that were seen now. Of a long watch every second row is left out."""
    rows = [*outcome["clients_seen"], seen]
    if len(rows) > MOST_SEEN:
        rows = [*rows[:1], *rows[2:-1:2], rows[-1]]
    return cast(Outcome, {**outcome, "clients_seen": rows})


def note_hook_failure(outcome: Outcome, hook: str, wave: int, message: str) -> Outcome:
    """The outcome of the node that ran a hook for many, and failed in it; what that means for the many is decided."""
    rows = [*outcome["hook_failures"], {"hook": hook, "wave": wave, "message": masked(message)}]
    return cast(Outcome, {**outcome, "hook_failures": rows})


def is_failed(outcome: Outcome) -> bool:
    """Whether it failed, also when it has gone back since."""
    return outcome["failure"] is not None


# The fleet


def is_changed(node: PlanNode) -> bool:
    """Whether the plan does something with the node."""
    return node["action"] in ("upgrade", "commit")


def is_left(node: PlanNode) -> bool:
    """Whether a later job of the run switches the node: it is in no wave of this one."""
    return node["action"] == "upgrade" and node["wave"] is None


class _Begun(NamedTuple):
    """What of the run was begun: a node that had a part in it and did not get through dropped out."""

    reserve: bool
    stage: bool
    wave: int
    soak: bool
    commit: bool


def _begun(plan: Plan, outcomes: Mapping[str, Outcome | None]) -> _Begun:
    told = [(plan["nodes"][host], outcome) for host, outcome in outcomes.items() if outcome and host in plan["nodes"]]
    states = {outcome["state"] for _node, outcome in told}
    failed_in = {outcome["failure"]["phase"] for _node, outcome in told if outcome["failure"]}
    wave = 0
    for node, outcome in told:
        failure = outcome["failure"]
        moved = outcome["state"] in ("switched", "soaked", "committed") and node["action"] == "upgrade"
        if moved or outcome["looked"] is not None or (failure and failure["phase"] in _OF_A_WAVE):
            wave = max(wave, node["wave"] or 0)
        wave = max([wave, *(row["wave"] for row in outcome["hook_failures"] if row["hook"] in _OF_A_WAVE)])
    return _Begun(
        reserve=bool(states & set(PROGRESS[1:])) or "reserve" in failed_in,
        stage="staged" in states or "stage" in failed_in,
        wave=wave,
        soak=bool(states & {"soaked", "committed"}) or "soak" in failed_in,
        commit="committed" in states or "commit" in failed_in,
    )


def judged(
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    upcoming: str = "",
    wave: int = 0,
    lost: Collection[str] = (),
) -> dict[str, Outcome]:
    """The outcome of every node that the plan changes, with the failures that the nodes themselves did not tell.

    A node that is not through with what others are through with dropped out without a word, as when a task outside of
    the collection's reach loses its connection. A hook that one node ran for its wave, or for all, failed for all of
    them. ``upcoming`` is the phase about to begin or to go on, and ``wave`` that of a switch; nothing after
    them is due yet. Without them all have had their turns.
    """
    begun = _before(_begun(plan, outcomes), upcoming)
    hooks = [row for outcome in outcomes.values() if outcome for row in outcome["hook_failures"]]
    found: dict[str, Outcome] = {}
    for host, node in plan["nodes"].items():
        if not is_changed(node):
            continue
        outcome = outcomes.get(host) or new()
        for row in hooks:
            if not is_failed(outcome) and node["action"] == "upgrade" and _concerns(row, node):
                outcome = fail(outcome, row["hook"], _hook_failure(row))
        needed = _needed(node, begun, wave) if plan["purpose"] != "rollback" else "planned"
        state = outcome["state"]
        behind = state in PROGRESS and PROGRESS.index(state) < PROGRESS.index(needed)
        if behind or (host in lost and not is_failed(outcome) and state not in _DONE):
            outcome = fail(outcome, DROPPED_OUT, {"message": _DROPPED_OUT_MESSAGE})
        found[host] = outcome
    return found


def _before(begun: _Begun, upcoming: str) -> _Begun:
    """What was begun before the phase."""
    if upcoming in ("reserve", "switch", "soak", "commit"):
        begun = begun._replace(commit=False)
    if upcoming in ("reserve", "switch", "soak"):
        begun = begun._replace(soak=False)
    return begun._replace(reserve=False, stage=False, wave=0) if upcoming == "reserve" else begun


def _needed(node: PlanNode, begun: _Begun, wave: int) -> State:
    """How far a node must be, by what was begun with the others."""
    if is_left(node):
        return "staged" if begun.stage else "reserved" if begun.reserve else "planned"
    if begun.commit:
        return "committed" if node["action"] == "commit" or (node["wave"] or 0) <= begun.wave else "planned"
    if begun.soak:
        return "soaked" if node["action"] == "commit" or (node["wave"] or 0) <= begun.wave else "planned"
    if node["action"] == "upgrade":
        own = node["wave"] or 0
        if own <= begun.wave and (not wave or own < wave):
            return "switched"
        if begun.stage:
            return "staged"
    return "reserved" if begun.reserve else "planned"


def _concerns(row: Mapping[str, Any], node: PlanNode) -> bool:
    return row["hook"] == "before_fleet" or (row["hook"] in PHASES and row["wave"] == node["wave"])


def _hook_failure(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"task": f"hook {row['hook']}", "message": f"The hook {row['hook']} failed: {row['message']}"}


def failures(outcomes: Iterable[Outcome]) -> int:
    """Count the nodes that failed."""
    return sum(1 for outcome in outcomes if is_failed(outcome))


def budget(text: str | int, nodes: int) -> int:
    """How many of ``nodes`` may fail, from a number (``2``) or a percentage (``5%``, rounded down)."""
    found = _NUMBER.match(str(text).strip())
    if found is None:
        raise BudgetError(f"{text!r} is not a failure budget; give a number of nodes (2) or a percentage (5%).")
    number = int(found.group(1))
    return nodes * number // 100 if found.group(2) else number


def decide(
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    phase: str,
    rules: Rules,
    wave: int = 0,
    alive: Collection[str] | None = None,
    ran: Ran | None = None,
    batches: Sequence[Sequence[str]] | None = None,
    lost: Collection[str] = (),
    previous: Decision | None = None,
    silent: Mapping[str, str] | None = None,
) -> Decision:
    """Whether a phase begins, or a wave of it, and with which nodes.

    ``alive``: hosts that Ansible still works on; None for all. ``lost``: hosts that it lost before, also where they
    came back. ``ran``: a hook for many nodes that was just run; where its host was lost meanwhile, the hook failed.
    ``batches``: those of a rollback that is under way. ``previous``: the decision before this one; whoever had a turn
    by it and told nothing of it has failed. ``silent``: those of whom that was found before. A rollback that a failure
    ordered goes on whatever fails; one that was planned stops when the budget is used up.
    """
    problems = _problems(outcomes)
    gone = {host for host in plan["nodes"] if host in lost or (alive is not None and host not in alive)}
    if ran is not None and ran.host in gone:
        told = note_hook_failure(outcomes.get(ran.host) or new(), ran.hook, wave, _LOST.format(ran.host))
        outcomes = {**outcomes, ran.host: told}
        problems.append(str(_hook_failure(told["hook_failures"][-1])["message"]))
    silent = {**(silent or {}), **_silent(plan, outcomes, phase, wave, previous, gone)}
    for host, missed in silent.items():
        outcome = outcomes.get(host) or new()
        if not _told(outcome, missed) and outcome["state"] in PHASES[missed].begins:
            outcomes = {**outcomes, host: fail(outcome, missed, {"message": _SILENT_MESSAGE})}
    planned_back = plan["purpose"] == "rollback"
    view = judged(plan, outcomes, phase, wave if phase == "switch" else 0, gone)
    back = [] if phase != "rollback" else way_back(plan, view, rules) if batches is None else batches
    message = _why_halted(view, rules) if phase != "rollback" or planned_back else ""
    if not message and phase == "commit" and never_commits(plan, rules):
        message = "The version is not to be made permanent in this run."
    if not message and plan["purpose"] == "upgrade" and phase in ("switch", "commit") and phase not in rules.parts:
        message = f"The {phase} is left to another job."
    hosts = _hosts_of(plan, view, phase, wave, back) if not message or phase == "end" else []
    living = [host for host in hosts if host not in gone]
    return {
        "phase": phase,
        "wave": wave,
        "rank": ORDER.index(phase) * _WAVES + wave,
        "proceed": not message,
        "message": message,
        "hosts": hosts,
        "first": living[0] if living else None,
        "failures": {host: outcome["failure"] for host, outcome in view.items() if outcome["failure"] is not None},
        "batches": [list(batch) for batch in back],
        "final": is_final(plan, view, rules),
        "parts": list(rules.parts),
        "problems": problems,
        "lost": sorted(gone),
        "due": _due(phase, wave, hosts, ran, previous),
        "silent": dict(silent),
    }


def _due(phase: str, wave: int, hosts: list[str], ran: Ran | None, previous: Decision | None) -> list[str]:
    """Who has a turn by a decision, or had it where a hook came after that."""
    if phase not in PHASES:
        return []
    if ran is not None and previous is not None and not PHASES[ran.hook].before_switch:
        return list(previous.get("due") or ()) if (previous["phase"], previous["wave"]) == (phase, wave) else []
    return hosts


def _silent(
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    phase: str,
    wave: int,
    previous: Decision | None,
    gone: Collection[str],
) -> dict[str, str]:
    """The nodes whose turn by the decision before ended without a result (host -> phase); not those that were lost."""
    if previous is None or (previous["phase"], previous["wave"]) == (phase, wave):
        return {}
    missed = previous["phase"]
    found = {}
    for host in previous.get("due") or ():
        outcome = outcomes.get(host) or new()
        if host in gone or _told(outcome, missed) or not is_changed(plan["nodes"][host]):
            continue
        if outcome["state"] in PHASES[missed].begins:
            found[host] = missed
    return found


def _told(outcome: Outcome, phase: str) -> bool:
    """Whether the node told of a failure in the phase, or of an earlier one where that keeps it from having a turn."""
    failure = outcome["failure"]
    if phase == "rollback":
        return bool(outcome["rollback_message"]) or (failure is not None and failure["phase"] == "rollback")
    return failure is not None


def _problems(outcomes: Mapping[str, Outcome | None]) -> list[str]:
    """What went wrong with the run as a whole: hooks that no node depends on."""
    rows = [row for outcome in outcomes.values() if outcome for row in outcome["hook_failures"]]
    return [str(_hook_failure(row)["message"]) for row in rows if row["hook"] not in PHASES]


def never_commits(plan: Plan, rules: Rules) -> bool:
    """Whether no version is to become permanent. A run that is for the commit commits, whatever roll-outs are told."""
    return rules.commit == "never" and plan["purpose"] != "commit"


def is_final(plan: Plan, view: Mapping[str, Outcome], rules: Rules) -> bool:
    """Whether no later job of the same run has something to do."""
    if plan["purpose"] != "upgrade" or failures(view.values()) > 0:
        return True
    if any(is_left(node) for node in plan["nodes"].values()):
        return False
    return "commit" in rules.parts or (bool({"switch", "soak"} & set(rules.parts)) and rules.commit != "fleet")


def parts_of(run_tags: Collection[str], skip_tags: Collection[str]) -> list[str]:
    """What an invocation is for: all of :data:`PARTS`, or those that ``--tags`` and ``--skip-tags`` leave."""
    tag_of = {part: "switch" if part == "soak" else part for part in PARTS}
    asked = [part for part in PARTS if tag_of[part] in run_tags]
    everything = not asked or bool({"all", "tagged"} & set(run_tags))
    return [part for part in (PARTS if everything else asked) if tag_of[part] not in skip_tags]


def rounds(seconds: int, interval: int, longest: int) -> list[dict[str, Any]]:
    """The rounds of a watch of ``seconds``, or of a pause where ``interval`` is 0.

    Each has ``seconds`` to wait, whether to ``verify`` after it, and whether it is the ``last``. None waits longer than
    ``longest`` seconds, so that reservations are renewed meanwhile. A watch of no time is one look.
    """
    if seconds <= 0:
        return [{"seconds": 0, "verify": True, "last": True}] if interval else []
    step = min(interval, seconds) if interval else seconds
    count = max(1, seconds // step)
    found: list[dict[str, Any]] = []
    for place in range(count):
        left = step
        while left > 0:
            part = min(left, max(1, longest))
            left -= part
            found.append({"seconds": part, "verify": bool(interval) and left == 0, "last": False})
        found[-1]["last"] = place == count - 1
    return found


def watches(rounds: Sequence[Mapping[str, Any]], at_once: bool) -> list[dict[str, Any]]:
    """The tasks that rounds are made of: one for all of them, in which every host waits by itself, or one for each.

    ``at_once``: whether all hosts are worked on at the same time; where a host has to wait for others, their waiting
    would add up. Each task has ``seconds`` in all, those to ``pause`` before it, and the ``rounds`` in it.
    """
    if not rounds:
        return []
    if at_once:
        return [{"seconds": sum(int(row["seconds"]) for row in rounds), "pause": 0, "rounds": [*map(dict, rounds)]}]
    return [{"seconds": row["seconds"], "pause": row["seconds"], "rounds": [{**row, "seconds": 0}]} for row in rounds]


def _why_halted(view: Mapping[str, Outcome], rules: Rules) -> str:
    """Why no further node may be touched; empty when the run goes on."""
    for host, outcome in view.items():
        failure = outcome["failure"]
        if failure and failure["phase"] in PHASES and PHASES[failure["phase"]].fatal:
            return f"{host} failed in phase {failure['phase']}, without which no node may be touched."
    count, allowed = failures(view.values()), budget(rules.budget, len(view))
    if count > allowed:
        return f"{count} of {len(view)} nodes failed and {allowed} may, so no further node is touched."
    return ""


def _hosts_of(
    plan: Plan, view: Mapping[str, Outcome], phase: str, wave: int, batches: Sequence[Sequence[str]]
) -> list[str]:
    if phase == "end":
        return [host for host, node in plan["nodes"].items() if is_changed(node)]
    if phase == "rollback":
        return list(batches[wave - 1]) if 0 < wave <= len(batches) else []
    order = [host for row in plan["waves"] for host in row["hosts"]]
    hosts = order + [host for host in plan["nodes"] if host not in set(order)]
    return [
        host
        for host in hosts
        if begins(view.get(host) or new(), phase, plan["nodes"][host])
        and (not wave or plan["nodes"][host]["wave"] == wave)
    ]


# The way back


def way_back(plan: Plan, view: Mapping[str, Outcome], rules: Rules) -> list[list[str]]:
    """The nodes that go back: those of one list at a time, never more of them than went forward together.

    A plan for a rollback takes back whom it names, in the order of its waves. In a roll-out the order is the reverse of
    the waves. With ``rollback_node`` those go that failed and have not gone back yet; the other policies take back more
    than the failed ones, and only when the budget is used up. A node whose switch never began has nothing to go back
    from. Nodes that an earlier run of the same roll-out had switched went first, so they go back last.
    """
    if plan["purpose"] == "rollback":
        return [list(wave["hosts"]) for wave in plan["waves"]]
    policy = rules.on_failure
    if policy not in ("rollback_node", "rollback_wave", "rollback_fleet"):
        return []
    if policy != "rollback_node" and failures(view.values()) <= budget(rules.budget, len(view)):
        return []
    batches = []
    for wave in reversed(plan["waves"]):
        if policy == "rollback_wave" and not failures(view[host] for host in wave["hosts"]):
            continue
        back = [host for host in reversed(wave["hosts"]) if may_have_moved(view[host], plan["nodes"][host])]
        if policy == "rollback_node":
            back = [host for host in back if _waits_to_go_back(view[host])]
        if back:
            batches.append(back)
    resumed = [host for host, node in plan["nodes"].items() if node["action"] == "commit" and node["way_back"]]
    if policy != "rollback_fleet":
        resumed = [host for host in resumed if _waits_to_go_back(view[host])]
    return batches + _one_of_each_cluster(reversed(resumed), plan)


def _waits_to_go_back(outcome: Outcome) -> bool:
    """Failed, and has not gone back or tried to already."""
    return is_failed(outcome) and outcome["state"] != "rolled_back" and not outcome["rollback_message"]


def _one_of_each_cluster(hosts: Iterable[str], plan: Plan) -> list[list[str]]:
    batches: list[list[str]] = []
    turns: dict[str, int] = {}
    for host in hosts:
        cluster = str(plan["nodes"][host]["cluster"])
        turn = turns.get(cluster, 0)
        turns[cluster] = turn + 1
        if turn == len(batches):
            batches.append([])
        batches[turn].append(host)
    return batches


def may_have_moved(outcome: Outcome, node: PlanNode) -> bool:
    """Whether the node may run something else than before: switched, or failed and not known to run the old version."""
    if outcome["state"] in ("switched", "soaked", "committed"):
        return True
    failure = outcome["failure"]
    if outcome["state"] == "rolled_back" or failure is None:
        return False
    row = PHASES.get(failure["phase"])
    if row is not None and row.before_switch:
        return False
    after = outcome["after"] or {}
    return not (after.get("running") == node["from"] and after.get("permanent") == node["from"])


def superfluous_releases(facts: NodeFacts, keep: int) -> list[str]:
    """Old releases of a node beyond the newest ``keep`` ones; never what runs, is permanent, or would be booted."""
    needed = {facts["running"], facts["permanent"], facts["boot"]["version"]}
    old = [
        row["version"]
        for row in facts["releases"]
        if row["status"] == "old" and row["version"] not in needed and versions.is_valid(row["version"])
    ]
    return sorted(old, key=versions.parse, reverse=True)[keep:]
