# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of the nodes of a run, and what follows from it for the rest of the fleet. Pure functions.

An outcome is a dictionary with ``result`` (``staged``, ``switched``, ``watched``, ``committed``, ``failed``), and for
a failure ``phase``, ``task``, ``message`` and ``rollback`` (``done``, ``failed``); it is empty for a node that has not
had its turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils import version as versions

Outcome = Mapping[str, Any]
Plan = Mapping[str, Any]

POLICIES = ("stop", "rollback_node", "rollback_wave", "rollback_fleet")
#: How far a node has come; every result includes those before it.
PROGRESS = ("", "staged", "switched", "watched", "committed")
#: A failure in these phases ends the run whatever the budget: nothing may have been touched without them.
_FATAL_PHASES = ("reserve", "before_fleet")
#: Failures in these phases come before the node is switched.
_BEFORE_THE_SWITCH = ("reserve", "stage", "before_fleet", "before_wave")
_NUMBER = re.compile(r"^(\d+)(%?)$")


class BudgetError(ValueError):
    """A failure budget that is neither a number nor a percentage."""


def failures(outcomes: Iterable[Outcome | None]) -> int:
    """Count the nodes that failed."""
    return sum(1 for outcome in outcomes if outcome and outcome.get("result") == "failed")


def budget(text: str | int, nodes: int) -> int:
    """How many of ``nodes`` may fail, from a number (``2``) or a percentage (``5%``, rounded down)."""
    found = _NUMBER.match(str(text).strip())
    if found is None:
        raise BudgetError(f"{text!r} is not a failure budget; give a number of nodes (2) or a percentage (5%).")
    number = int(found.group(1))
    return nodes * number // 100 if found.group(2) else number


def over_budget(outcomes: Iterable[Outcome | None], text: str | int) -> bool:
    """Whether so many nodes of the whole run have failed that no further node may be touched."""
    listed = list(outcomes)
    return failures(listed) > budget(text, len(listed))


def judged(outcomes: Mapping[str, Outcome | None], plan: Plan, due: str = "", wave: int = 0) -> dict[str, Outcome]:
    """The outcome of every node that the plan changes; one that did not get as far as it is ``due`` has failed.

    A node drops out of a run without a word when a task outside of the collection's reach loses its connection.
    ``wave`` is the one about to begin: the nodes of those before it must have been switched, whatever is due.
    """
    found: dict[str, Outcome] = {}
    for host, node in plan["nodes"].items():
        if node["action"] not in ("upgrade", "commit"):
            continue
        outcome = outcomes.get(host) or {}
        result = str(outcome.get("result") or "")
        needed = due
        if node["action"] == "commit" and due != "watched":
            needed = ""
        elif wave and (node.get("wave") or wave) < wave:
            needed = "switched"
        if result in PROGRESS and PROGRESS.index(result) < PROGRESS.index(needed):
            found[host] = dict(outcome, result="failed", phase="dropped out", message=DROPPED_OUT)
        else:
            found[host] = outcome
    return found


DROPPED_OUT = (
    "it dropped out of the run before it was "
    "done with its turn, for example because a task of a hook lost the connection; what it runs is not known."
)


def halted(outcomes: Mapping[str, Outcome | None], plan: Plan, text: str | int, due: str = "", wave: int = 0) -> bool:
    """Whether no further node may be touched: the failure budget is used up, or something failed that nothing goes
    without. For ``due`` and ``wave`` see :func:`judged`.
    """
    found = judged(outcomes, plan, due, wave).values()
    fatal = any(row.get("result") == "failed" and row.get("phase") in _FATAL_PHASES for row in found)
    return fatal or over_budget(found, text)


def rollback_batches(
    outcomes: Mapping[str, Outcome | None], plan: Plan, policy: str, failure_budget: str | int
) -> list[list[str]]:
    """The nodes that go back, in the reverse order of their waves, never more of them at a time than went forward.

    With ``rollback_node`` those are the failed ones that have not gone back yet. The other policies take back more than
    the failed node, and only when the budget is used up. A node whose switch never began has nothing to go back from.
    Nodes that an earlier run of the same roll-out had switched went first, so they go back last.
    """
    if policy not in ("rollback_node", "rollback_wave", "rollback_fleet"):
        return []
    rollout = [host for wave in plan["waves"] for host in wave["hosts"]]
    resumed = [host for host, node in plan["nodes"].items() if node.get("action") == "commit" and node.get("way_back")]
    if policy != "rollback_node" and not over_budget(
        [outcomes.get(host) for host in rollout + resumed], failure_budget
    ):
        return []
    batches = []
    for wave in reversed(plan["waves"]):
        if policy == "rollback_wave" and not failures(outcomes.get(host) for host in wave["hosts"]):
            continue
        back = [host for host in reversed(wave["hosts"]) if _moved(outcomes.get(host), plan["nodes"][host])]
        if policy == "rollback_node":
            back = [host for host in back if _is_failed(outcomes.get(host))]
        if back:
            batches.append(back)
    if policy != "rollback_fleet":
        resumed = [host for host in resumed if _is_failed(outcomes.get(host))]
    return batches + _one_of_each_cluster(reversed(resumed), plan)


def _is_failed(outcome: Outcome | None) -> bool:
    """Failed, and not gone back or tried to already."""
    return bool(outcome) and (outcome or {}).get("result") == "failed" and not (outcome or {}).get("rollback")


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


def _moved(outcome: Outcome | None, node: Mapping[str, Any]) -> bool:
    """Whether the node may run something else than before: switched, or failed and not known to run the old version."""
    if not outcome:
        return False
    if outcome.get("result") in ("switched", "watched", "committed"):
        return True
    after = outcome.get("after") or {}
    if outcome.get("phase") in _BEFORE_THE_SWITCH:
        return False
    return outcome.get("result") == "failed" and not (
        after.get("running") == node["from"] and after.get("permanent") == node["from"]
    )


def superfluous_releases(facts: Mapping[str, Any], keep: int) -> list[str]:
    """Old releases of a node beyond the newest ``keep`` ones; never what runs, is permanent, or would be booted."""
    needed = {facts["running"], facts["permanent"], facts["boot"]["version"]}
    old = [
        row["version"]
        for row in facts["releases"]
        if row["status"] == "old" and row["version"] not in needed and versions.is_valid(row["version"])
    ]
    return sorted(old, key=versions.parse, reverse=True)[keep:]
