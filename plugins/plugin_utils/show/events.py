# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an event tells of a run, its ``data``; small, since the document has the rest. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Plan

#: Hosts that are named, and signs of a message.
HOSTS_NAMED, MESSAGE_SHOWN = 50, 1000


def started(plan: Plan, rules: Rules) -> dict[str, Any]:
    """A run begins: ``waves`` are those that the plan has."""
    actions = [node["action"] for node in plan["nodes"].values()]
    counts = {action: actions.count(action) for action in sorted(set(actions))}
    return {**_run(plan), "phases": list(rules.parts), "nodes": counts, "waves": len(plan["waves"])}


def wave(plan: Plan, decision: Decision) -> dict[str, Any]:
    """A wave begins, or a batch of the way back, of the kind ``rollback``."""
    back = decision["phase"] == "rollback"
    kinds = {row["number"]: row["kind"] for row in plan["waves"]}
    number, hosts = decision["wave"], decision["hosts"]
    told = {
        "number": number,
        "of": len(decision["batches"] if back else plan["waves"]),
        "kind": "rollback" if back else kinds.get(number),
        "count": len(hosts),
    }
    return {**_run(plan), "wave": {**told, "hosts": list(hosts[:HOSTS_NAMED])}}


def failed(plan: Plan, decision: Decision) -> dict[str, Any]:
    """Nodes have failed; the run may go on, by its failure budget."""
    failures = [
        {"host": host, "phase": failure["phase"], "message": failure["message"][:MESSAGE_SHOWN]}
        for host, failure in sorted(decision["failures"].items())
    ]
    return {
        **_run(plan),
        "failed": len(failures),
        "failures": failures[:HOSTS_NAMED],
        "goes_on": decision["proceed"],
        "message": decision["message"],
    }


def ended(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run has ended, or was refused. ``cut_off`` is null where no node could tell."""
    totals = document["totals"]
    return {
        "run_id": document["run_id"],
        "purpose": document["purpose"],
        "target": document["target"],
        "verdict": document["verdict"],
        "nodes": dict(totals["results"]),
        "cut_off": totals["clients"]["cut_off"] if totals["accounted_nodes"] else None,
        "seconds": document["seconds"],
        "final": document["final"],
        "message": document["message"][:MESSAGE_SHOWN],
    }


def _run(plan: Plan) -> dict[str, Any]:
    return {"run_id": plan["run_id"], "purpose": plan["purpose"], "target": plan["target"], "verdict": "running"}
