# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version that each node shall run, for each purpose of a plan. Pure functions over NodeFacts.

An upgrade names one version for all. A commit leaves every node at the version that it runs. A rollback takes each
node back to where it came from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils import version as versions

Facts = Mapping[str, Any]

_CAN_BE_SWITCHED_TO = ("old", "permanent")


def commit_targets(facts_by_host: Mapping[str, Facts], only: str | None = None) -> dict[str, str]:
    """Every node at the version that it runs; with ``only``, just the nodes that run that version."""
    running = {host: str(facts["running"]) for host, facts in facts_by_host.items() if facts.get("running")}
    return {host: version for host, version in running.items() if only is None or version == only}


def rollback_targets(facts_by_host: Mapping[str, Facts], only: str | None = None) -> dict[str, str]:
    """The version that each node goes back to; a node that has none to go back to is left out."""
    targets = {host: rollback_target(facts, only) for host, facts in facts_by_host.items()}
    return {host: version for host, version in targets.items() if version is not None}


def rollback_target(facts: Facts, only: str | None = None) -> str | None:
    """Where a node goes back to: ``only`` if it has it, else what is permanent while something else runs, else the
    newest old release below what runs.
    """
    running = facts.get("running")
    if not running or not versions.is_valid(running):
        return None
    status = {str(row["version"]): row["status"] for row in facts.get("releases") or []}
    bound = versions.parse(running)
    known = [version for version, word in status.items() if word in _CAN_BE_SWITCHED_TO and versions.is_valid(version)]
    older = [version for version in known if versions.parse(version) < bound]
    if only is not None:
        return only if only in older else None
    if facts.get("permanent") in older:
        return str(facts["permanent"])
    return max(older, key=versions.parse, default=None)


def has_newer_release(facts: Facts) -> bool:
    """Whether the node has a release above the one that it runs, as one has that went back."""
    found = [str(row["version"]) for row in facts.get("releases") or []]
    bound = versions.parse(str(facts["running"]))
    return any(versions.is_valid(version) and versions.parse(version) > bound for version in found)


def way_back_of_uncommitted(facts: Facts) -> list[str]:
    """The way back to the permanent version of a node that runs another one; empty where both are the same."""
    permanent = facts.get("permanent")
    return way_back(facts, str(permanent)) if permanent and permanent != facts.get("running") else []


def way_back(facts: Facts, target: str) -> list[str]:
    """The versions to switch to, one after the other, by the relups on the node; empty where none leads back."""
    running = str(facts.get("running"))
    installed = {str(row["version"]) for row in facts.get("releases") or []}
    ways: Mapping[str, Sequence[str]] = facts.get("ways_back") or {}
    came_from = {running: ""}
    queue = deque([running])
    while queue:
        here = queue.popleft()
        for version in ways.get(here, ()):
            if version in installed and version not in came_from:
                came_from[version] = here
                queue.append(version)
    if target not in came_from or target == running:
        return []
    way = [target]
    while came_from[way[-1]] != running:
        way.append(came_from[way[-1]])
    return way[::-1]


def came_from(facts: Facts, action: str) -> str | None:
    """The version that the node ran before the roll-out: also where an earlier job of it has switched the node.

    A version that is not permanent leaves the one that was; where that was half committed, the node's journal has the
    version that it ran before.
    """
    running, permanent = facts.get("running"), facts.get("permanent")
    if action != "commit" or not running:
        return str(running) if running else None
    if permanent and permanent != running:
        return str(permanent)
    ran = [entry.get("running") for entry in facts.get("journal") or () if entry.get("outcome") == "done"]
    return next((str(version) for version in reversed(ran) if version and version != running), str(running))


def most_common(targets: Mapping[str, str]) -> str | None:
    """The version that most of the nodes have; None where there is none."""
    counted = sorted(targets.values())
    return max(counted, key=counted.count, default=None)
