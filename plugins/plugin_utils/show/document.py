# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one JSON document of a run, with everything that shows what was done and found. Pure functions.

``docs/report.schema.json`` describes it key by key; :data:`SCHEMA` names that description in every document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes as machine
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts, Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

SCHEMA = "emqx.fleet/report/1"
#: What a hop tells of its package.
_OF_A_HOP = ("version", "package", "sha256", "size")
#: What is told of a node's state before and after its turn, of all that is known.
_OF_A_STATE = (
    "state",
    "running",
    "permanent",
    "boot",
    "releases",
    "edition",
    "otp",
    "os",
    "arch",
    "pid",
    "supervisor",
    "uptime_seconds",
    "connections",
    "sessions",
    "subscriptions",
    "cluster",
    "plugins",
    "modules",
    "alarms",
    "listeners",
    "listener_answers",
    "patches",
    "read_by",
)
#: Of the settings of a run those that say how it judges and what it does about it; none can hold a secret.
_SETTINGS = (
    "canary",
    "max_per_cluster",
    "wave_size",
    "client_loss_tolerance",
    "failure_budget",
    "on_failure",
    "commit",
    "soak_seconds",
    "soak_interval",
    "verify_seconds",
    "settle_timeout",
    "pause_seconds",
    "allow_downgrade",
)


def rfc3339(seconds: float | None) -> str | None:
    """A time of UTC with milliseconds, ``2026-11-28T01:02:03.456Z``, from seconds since 1970."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def build(
    told: Mapping[str, Any],
    plan: Plan | None,
    outcomes: Mapping[str, Outcome | None],
    job: Mapping[str, Any],
    now: float,
    settings: Mapping[str, Any] | None = None,
    probe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document of one job.

    ``told``: what :func:`report.build` tells. ``plan``: None where the run was refused before there was one. ``job``:
    who runs this, and where (:func:`controller.job.describe`). ``now``: seconds since 1970. ``settings``: of one of the
    hosts. ``probe``: what the client probe counted, None where there was none.
    """
    ended = bool(told["ended"])
    verdict = _verdict(told, plan)
    this_job = {
        **job,
        "started": rfc3339(job["started"]),
        "finished": rfc3339(now) if ended else None,
        "seconds": round(now - job["started"], 3),
        "phases": list(told["phases"]),
        "verdict": verdict,
    }
    nodes = {
        host: _node(row, plan["nodes"][host] if plan else {}, outcomes.get(host) or machine.new())
        for host, row in told["nodes"].items()
    }
    return {
        **told,
        "schema": SCHEMA,
        "verdict": verdict,
        "started": this_job["started"],
        "finished": this_job["finished"],
        "seconds": this_job["seconds"],
        "written": rfc3339(now),
        "jobs": [this_job],
        "settings": {name: (settings or {}).get(name) for name in _SETTINGS if name in (settings or {})},
        "plan": _plan(plan) if plan else None,
        "probe": dict(probe) if probe else None,
        "nodes": nodes,
        "totals": totals(nodes),
    }


def totals(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sums over all nodes: how many have which result, and what became of their clients."""
    told = [node["accounting"] for node in nodes.values() if node["accounting"]]
    names = ("before", "now", "came", "left", "cut_off")
    return {
        "nodes": len(nodes),
        "results": dict(sorted(Counter(str(node["result"]) for node in nodes.values()).items())),
        "clients": {name: _sum([row.get(name) for row in told]) for name in names},
        "accounted_nodes": len(told),
    }


def _sum(numbers: Sequence[int | None]) -> int | None:
    """Of those that are known; None where none is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def merged(document: Mapping[str, Any], earlier: Any, is_part: bool = False) -> dict[str, Any]:
    """The document of a later job of the same run, with what earlier ones did.

    ``earlier``: what the job before wrote, or anything else, which then is left alone. A node's ``from`` is what it ran
    before the first job; a node that the later job did not change keeps what is known of it. ``is_part``: the job is
    for a part of the fleet, and tells nothing of other nodes.
    """
    if not is_of_run(earlier, document.get("run_id")) or earlier["jobs"][-1]["started"] == document["started"]:
        return dict(document)
    jobs = [*earlier["jobs"], *document["jobs"]]
    known: Mapping[str, Mapping[str, Any]] = earlier["nodes"]
    nodes = {host: _merged_node(node, known.get(host)) for host, node in document["nodes"].items()}
    if not is_part:
        nodes = {**{host: dict(node) for host, node in known.items()}, **nodes}
    nodes = dict(sorted(nodes.items()))
    return {
        **document,
        "jobs": jobs,
        "started": earlier["started"],
        "seconds": round(sum(float(job["seconds"] or 0) for job in jobs), 3),
        "probe": document["probe"] or earlier.get("probe"),
        "plan": document["plan"] or earlier.get("plan"),
        "table": report.table(nodes),
        "nodes": nodes,
        "totals": totals(nodes),
    }


def combined(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One document of those that jobs of one run handed on, some of them at the same time; None where there is none.

    Each of them has what the jobs before it did, so that of each node the row is taken that was written last.
    """
    known = sorted(documents, key=lambda one: str(one["written"]))
    if not known:
        return None
    newest = known[-1]
    jobs: dict[tuple[str, str], Mapping[str, Any]] = {}
    nodes: dict[str, dict[str, Any]] = {}
    for one in known:
        jobs.update({(str(row["started"]), str(row["command"])): row for row in one["jobs"]})
        for host, node in one["nodes"].items():
            if host not in nodes or _last_touched(node) >= _last_touched(nodes[host]):
                nodes[host] = dict(node)
    rows = [dict(jobs[key]) for key in sorted(jobs)]
    # One whose jobs another document has too is superseded by that.
    last = [one for place, one in enumerate(known) if not any(_has_jobs_of(one, later) for later in known[place + 1 :])]
    failed = next((one for one in reversed(last) if not one["ok"]), newest)
    nodes = dict(sorted(nodes.items()))
    return {
        **newest,
        "ok": failed["ok"],
        "verdict": failed["verdict"],
        "message": failed["message"],
        "started": min(str(one["started"]) for one in known),
        "seconds": round(sum(float(row["seconds"] or 0) for row in rows), 3),
        "jobs": rows,
        "probe": next((one["probe"] for one in reversed(known) if one["probe"]), None),
        "table": report.table(nodes),
        "nodes": nodes,
        "totals": totals(nodes),
    }


def _has_jobs_of(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    started = {str(row["started"]) for row in other["jobs"]}
    return all(str(row["started"]) in started for row in one["jobs"])


def _last_touched(node: Mapping[str, Any]) -> str:
    return max((str(row["at"]) for row in node["timeline"]), default="")


def is_of_run(earlier: Any, run_id: str | None) -> bool:
    """Whether this is a document of the run, as this version of the collection writes it."""
    if not isinstance(earlier, Mapping) or earlier.get("schema") != SCHEMA:
        return False
    whole = isinstance(earlier.get("nodes"), Mapping) and bool(earlier.get("jobs"))
    return whole and run_id is not None and earlier.get("run_id") == run_id


def _merged_node(node: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    if not known:
        return dict(node)
    either = {name: node[name] if node[name] is not None else known[name] for name in _KEPT if name in known}
    found = {
        **node,
        **either,
        "from": known["from"] or node["from"],
        "timeline": _by_time([*known["timeline"], *node["timeline"]]),
        "clients": _by_time([*known["clients"], *node["clients"]]),
        "actions": [*known["actions"], *node["actions"]],
        "gates_accepted": sorted({*known["gates_accepted"], *node["gates_accepted"]}),
        "state_before": known["state_before"] or node["state_before"],
    }
    if node["result"] == "nothing_to_do" and known["result"] in ("committed", "uncommitted", "rolled_back"):
        found["result"] = known["result"]
    if node["result"] == "not_begun" and known["result"] == "staged":
        found["result"] = "staged"
    return found


#: What a later job that did not do it leaves as an earlier one told it.
_KEPT = ("switch_seconds", "clients_before", "pid_before", "wave", "accounting", "state_after")


def _by_time(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(row) for row in sorted(rows, key=lambda row: str(row["at"]))]


def _verdict(told: Mapping[str, Any], plan: Plan | None) -> str:
    if plan is None or not plan["feasible"]:
        return "refused"
    if not told["ended"]:
        return "running"
    return "succeeded" if told["ok"] else "failed"


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "feasible": plan["feasible"],
        "waves": [dict(wave) for wave in plan["waves"]],
        "obstacles": [dict(row) for row in plan["obstacles"]],
        "warnings": list(plan["warnings"]),
        "accepted": list(plan["accepted"]),
    }


def _node(row: Mapping[str, Any], planned: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    timeline = [{**entry, "at": rfc3339(entry["at"])} for entry in outcome["timeline"]]
    return {
        **row,
        "node": planned.get("node"),
        "cluster": planned.get("cluster"),
        "action": planned.get("action"),
        "hops": [{name: hop.get(name) for name in _OF_A_HOP} for hop in planned.get("hops") or ()],
        "way_back": list(planned.get("way_back") or ()),
        "gates": [dict(gate) for gate in planned.get("gates") or ()],
        "timeline": _by_time(timeline),
        "clients": [{**seen, "at": rfc3339(seen["at"])} for seen in outcome["clients_seen"]],
        "accounting": outcome["accounting"],
        "state_before": _state(outcome["before"]),
        "state_after": _state(outcome["after"]),
    }


def _state(facts: NodeFacts | None) -> dict[str, Any] | None:
    return {name: facts[name] for name in _OF_A_STATE if name in facts} if facts else None
