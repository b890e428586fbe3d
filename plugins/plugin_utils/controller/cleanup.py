# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing old releases, and what upgrades left behind, from one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reservation
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.turn import Node
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts


def unfit(facts: NodeFacts) -> str:
    """Why nothing can be removed from the node; empty where it can."""
    if "state" not in facts:
        return f"it could not be read: {facts.get('msg') or 'it did not say why'}"
    if facts["state"] != "running":
        return f"it is {facts['state']}, and releases can be removed only from a running node"
    if facts.get("operation"):
        return "an operation of this collection is at work on it"
    return ""


def remove(node: Node, settings: Mapping[str, Any], facts: NodeFacts, run_id: str) -> dict[str, Any]:
    """Reserve the node, remove what is superfluous, and give it up. Gives a task's result."""
    lease = float(settings["lease_seconds"])
    taken = reservation.reserve(node, run_id, lease=lease, take_over=settings["take_over"], verify_cluster=False)
    if taken.get("failed"):
        return dict(taken, removed=[])
    removed: list[str] = []
    try:
        problem = _remove(node, settings, facts, removed)
    finally:
        given_up = reservation.give_up(node, run_id)
    if not problem and given_up.get("failed"):
        problem = given_up
    return dict(problem or {}, changed=bool(removed), removed=removed)


def _remove(node: Node, settings: Mapping[str, Any], facts: NodeFacts, removed: list[str]) -> dict[str, Any] | None:
    """Remove and note what was; gives the failed result of the step at which it ended, if it did."""
    for version in outcomes.superfluous_releases(facts, int(settings["keep_versions"])):
        told = node.run(
            "emqx_release",
            {
                "version": version,
                "state": "absent",
                "timeout": settings["timeout"],
                "lock_timeout": node.reconnect_timeout,
            },
        )
        if told.get("failed"):
            return told
        removed.append(f"release {version}")
    now = node.run("emqx_release_info", {"old_code": False})
    if now.get("failed"):
        return now
    for path in [*(row["path"] for row in now["leftovers"]), f"{now['data_dir']}/fleet/packages"]:
        told = node.remove(path)
        if told.get("failed"):
            return told
        if told.get("changed"):
            removed.append(path)
    return None
