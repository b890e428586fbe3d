# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run of several jobs: what they did, and whether the nodes are where they should be. Pure functions.

A workflow of AWX is green where the last job of each of its ways is, whatever failed before. So this one fails unless
the run as a whole was a success, by what its jobs told and by what the nodes tell now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import document, report, status_table

_NAMES_SHOWN = 20
_DONE = ("committed", "nothing_to_do")
#: How the lines of a message begin that say what to do next, which is another thing now.
_ADVICE = ("To go on", "To go back", "To see")


class Told(NamedTuple):
    """What is told at the end; ``message`` is empty for a success, ``document`` None where no job handed one on."""

    ok: bool
    message: str
    table: list[str]
    document: dict[str, Any] | None


def conclude(
    documents: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    handed_on_ok: bool | None,
    kept: Mapping[str, str],
    job: Mapping[str, Any],
    now: float,
    steps: Mapping[str, str],
    target: str = "",
) -> Told:
    """Tell of a run by the documents of its jobs.

    ``facts``: what was read of every host just now, without a ``state`` where that failed. ``handed_on_ok``: the custom
    stat ``emqx_fleet_ok`` of the job before, None where there is none. ``kept``: hosts that could not be given up, and
    why. ``job``, ``now``: as for :func:`document.build`. ``steps``: what to do next (``again``, ``rollback`` and
    ``status``). ``target``: the version of the run, which without a document nothing else tells; empty if not known.
    """
    told = document.combined(documents)
    problems = _of_the_nodes(told, facts)
    problems += [f"{host} is still reserved: {why}" for host, why in kept.items()]
    if told is None:
        if handed_on_ok is None:
            problems.append("No job of the run has handed anything on, so nothing is known of what it did.")
        elif not handed_on_ok:
            problems.append("The job before this one failed, or was refused.")
        else:
            problems += _not_done(facts, target)
        table = status_table.lines(facts)
    else:
        problems += _of_the_jobs(told)
        told = _now(told, facts, job, now)
        table = report.table(told["nodes"])
    message = "\n".join([*problems, *_what_next(facts, steps)] if problems else [])
    if told is not None:
        told.update(ok=not problems, verdict="failed" if problems else "succeeded", message=message, table=table)
        told["jobs"][-1]["verdict"] = told["verdict"]
    return Told(not problems, message, table, told)


def _now(
    told: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], job: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """The document with what the nodes run now, and with this job."""
    nodes = {host: _node_now(node, facts.get(host) or {}) for host, node in told["nodes"].items()}
    this_job = {
        **job,
        "started": document.rfc3339(job["started"]),
        "finished": document.rfc3339(now),
        "seconds": round(now - job["started"], 3),
        "phases": [],
        "verdict": "succeeded",
    }
    return {
        **told,
        "ended": True,
        "final": True,
        "finished": this_job["finished"],
        "written": this_job["finished"],
        "seconds": round(told["seconds"] + this_job["seconds"], 3),
        "jobs": [*told["jobs"], this_job],
        "nodes": nodes,
        "totals": document.totals(nodes),
    }


def _node_now(node: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    if "state" not in facts:
        return {**node, "reached": False}
    return {
        **node,
        "reached": True,
        "running": facts["running"],
        "permanent": facts["permanent"],
        "boots": facts["boot"]["version"],
    }


def _of_the_jobs(told: Mapping[str, Any]) -> list[str]:
    """What the jobs did not do."""
    problems = []
    last = told["jobs"][-1]
    if last["verdict"] != "succeeded":
        number = (last.get("awx") or {}).get("job_id")
        which = f"The job {number} ({last['awx']['job_template']})" if number else "The job before this one"
        how = {"running": "did not come to its end", "refused": "was refused"}.get(last["verdict"], "failed")
        said = [line for line in told["message"].splitlines() if not line.startswith(_ADVICE)]
        problems.append("\n".join([f"{which} {how}:", *said] if said else [f"{which} {how}."]))
    if told["purpose"] == "rollback":
        back = [host for host, node in told["nodes"].items() if node["result"] in ("rolled_back", "failed_rolled_back")]
        problems.append(
            f"These nodes went back: {listed(back, _NAMES_SHOWN)}." if back else "The run ended with a way back."
        )
        return problems
    awaited = (*_DONE, "uncommitted") if told["commit"] == "never" else _DONE
    left: dict[str, list[str]] = {}
    for host, node in told["nodes"].items():
        if node["result"] not in awaited:
            left.setdefault(report.WORDS[node["result"]], []).append(host)
    problems += [f"These nodes are no further than '{word}': {listed(left[word], _NAMES_SHOWN)}." for word in left]
    return problems


def _of_the_nodes(told: Mapping[str, Any] | None, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Nodes that are not known, or not where the run has left them."""
    unread = status_table.unread(facts)
    problems = [unread] if unread else []
    for host, node in (told or {"nodes": {}})["nodes"].items():
        found = facts.get(host) or {}
        if "state" not in found or node["result"] not in (*_DONE, "uncommitted"):
            continue
        if found["running"] != node["to"]:
            problems.append(
                f"{host} runs {found['running'] or 'nothing'} and not {node['to']}, which it was left with."
            )
        elif node["result"] in _DONE and found["boot"]["version"] != node["to"]:
            problems.append(f"{host} runs {node['to']}, but a restart would boot {found['boot']['version']}.")
    missing = [host for host in (told or {"nodes": {}})["nodes"] if host not in facts]
    if missing:
        problems.append(
            f"These hosts of the run are not among those of this job, so what they run is not known: "
            f"{listed(missing, _NAMES_SHOWN)}."
        )
    return problems


def _not_done(facts: Mapping[str, Mapping[str, Any]], target: str) -> list[str]:
    """What the nodes tell against a success; an earlier job that went well says nothing of what came after it."""
    if not target:
        return ["The version of the run is not known, so it cannot be told whether the nodes have come to it."]
    found = [
        f"{host} runs {facts[host]['running'] or 'nothing'} and not {target}."
        for host in facts
        if "state" in facts[host] and facts[host]["running"] != target
    ]
    return found + [
        f"{host} runs {found['running'] or 'nothing'}, and a restart would boot {found['boot']['version']}."
        for host, found in facts.items()
        if "state" in found and (found["running"] != found["boot"]["version"] or not found["boot"]["consistent"])
    ]


def _what_next(facts: Mapping[str, Mapping[str, Any]], steps: Mapping[str, str]) -> list[str]:
    uncommitted = [
        host
        for host, found in facts.items()
        if "state" in found and found["running"] and found["running"] != found["permanent"]
    ]
    lines = []
    if uncommitted:
        lines.append(
            "A restart would bring another version back on: "
            f"{listed(uncommitted, _NAMES_SHOWN)}. To take them back at once: {steps['rollback']}"
        )
    return [*lines, f"To see where every node is: {steps['status']}"]
