# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run did, put together from the outcomes of its nodes. Pure functions; every number was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils.clients import comparable
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import judged
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import text_table

Outcome = Mapping[str, Any]
Plan = Mapping[str, Any]

#: The parts of a run, by the tags of the playbook.
PHASES = ("plan", "stage", "switch", "commit")
HEADER = ("host", "result", "from", "runs", "boots", "switch", "clients before", "clients after", "same process")
#: Names in a sentence; the table above it has them all.
_NAMES_SHOWN = 20
_LINES_SHOWN = 3
_DATA_WARNING = (
    "EMQX guarantees a downgrade only right after the upgrade and with no data changed in between, so look after them."
)


def build(
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    run_id: str,
    commit: str,
    phases: Sequence[str] = PHASES,
    commands: Mapping[str, str] | None = None,
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """The report: ``run_id``, ``target``, ``ok``, ``final``, ``nodes`` (host -> row), ``table`` (lines), ``message``.

    ``message`` is empty when everything that was planned was done. ``phases`` are those that this invocation was for:
    what is left to another one is no failure, and ``final`` tells whether nothing is. ``commands`` have what is to be
    called to go on (``again``), to go back (``rollback``) and to look (``status``). ``problems`` are sentences about
    the run as a whole.
    """
    seen = {host: outcomes.get(host) or {} for host in plan["nodes"]}
    if not any(outcome.get("result") == "failed" for outcome in seen.values()):
        # With nothing failed every node has had its turn, so one that did not get there dropped out.
        seen |= judged(seen, plan, _due(phases, plan))
    nodes = {host: _node(node, seen[host], commit, phases) for host, node in sorted(plan["nodes"].items())}
    message = _message(plan, nodes, commit, commands or {}, problems)
    return {
        "run_id": run_id,
        "target": plan["target"],
        "ok": not message,
        "final": _is_final(nodes, commit, phases),
        "commit": commit,
        "phases": list(phases),
        "nodes": nodes,
        "table": text_table.lines(HEADER, [_row(host, node) for host, node in nodes.items()]),
        "message": message,
    }


def _due(phases: Sequence[str], plan: Plan) -> str:
    """What every node must have reached at the end of these phases."""
    if plan.get("purpose") == "rollback":
        return ""
    if "switch" in phases:
        return "watched"
    return "staged" if "stage" in phases and "commit" not in phases else ""


def _is_final(nodes: Mapping[str, Mapping[str, Any]], commit: str, phases: Sequence[str]) -> bool:
    """Whether no later job of the same run has something to do."""
    if "commit" in phases or ("switch" in phases and commit != "fleet"):
        return True
    return any(str(node["result"]).startswith("failed") for node in nodes.values())


def _node(planned: Mapping[str, Any], outcome: Outcome, commit: str, phases: Sequence[str]) -> dict[str, Any]:
    before, after = outcome.get("before") or {}, outcome.get("after") or {}
    seconds = [
        action["seconds"]
        for action in outcome.get("actions") or []
        if action["action"] == "switch" and "seconds" in action
    ]
    clients_before, clients_after = comparable(before, after)
    return {
        "result": _result(planned, outcome, commit, phases),
        "from": planned["from"],
        "to": planned["to"],
        "running": after.get("running"),
        "permanent": after.get("permanent"),
        "boots": (after.get("boot") or {}).get("version"),
        "switch_seconds": round(sum(seconds), 1) if seconds else None,
        "clients_before": clients_before,
        "clients_after": clients_after,
        "pid_before": before.get("pid"),
        "pid_after": after.get("pid"),
        "wave": planned.get("wave"),
        "actions": list(outcome.get("actions") or []) + list(outcome.get("commit_actions") or []),
        "checks": list(outcome.get("checks") or []),
        "gates_accepted": [gate["name"] for gate in planned.get("gates") or [] if gate.get("accepted")],
        "phase": outcome.get("phase"),
        "task": outcome.get("task"),
        "message": outcome.get("message"),
        "failure_class": outcome.get("failure_class"),
        "output": list(outcome.get("output") or []),
        "releases": list(after.get("releases") or []),
        "log": list(outcome.get("log") or []),
        "crash_dumps": list(outcome.get("crash_dumps") or []),
        "rollback": outcome.get("rollback"),
        "rollback_message": outcome.get("rollback_message"),
    }


def _result(planned: Mapping[str, Any], outcome: Outcome, commit: str, phases: Sequence[str]) -> str:
    """What became of a node, in words for the table."""
    result = str(outcome.get("result") or "")
    if outcome.get("rollback") == "done":
        return {"failed": "failed, back", "back": "back"}.get(result, "went back")
    if result in ("failed", "committed"):
        return result
    if planned["action"] == "none":
        return "nothing to do"
    if result in ("switched", "watched"):
        awaited = commit == "never" or "commit" not in phases
        return "uncommitted" if awaited else "not committed"
    if result == "staged" and "switch" not in phases:
        return "staged"
    if planned["action"] == "commit" and "switch" not in phases and "commit" not in phases:
        return "uncommitted"
    return "not begun"


def _row(host: str, node: Mapping[str, Any]) -> tuple[object, ...]:
    same = None
    if node["pid_before"] is not None and node["pid_after"] is not None:
        same = "yes" if node["pid_before"] == node["pid_after"] else "NO"
    return (
        host,
        node["result"],
        node["from"],
        node["running"],
        node["boots"],
        None if node["switch_seconds"] is None else f"{node['switch_seconds']} s",
        node["clients_before"],
        node["clients_after"],
        same,
    )


def _message(
    plan: Plan,
    nodes: Mapping[str, Mapping[str, Any]],
    commit: str,
    commands: Mapping[str, str],
    problems: Sequence[str],
) -> str:
    """What happened where, what was done about it, and how to go on."""
    by_result: dict[str, list[str]] = {}
    for host, node in nodes.items():
        by_result.setdefault(str(node["result"]), []).append(host)
    failed = by_result.get("failed", []) + by_result.get("failed, back", [])
    untouched, uncommitted = by_result.get("not begun", []), by_result.get("not committed", [])
    if not failed and not untouched and not uncommitted and not problems:
        return ""
    parts = [part if part.endswith(".") else f"{part}." for part in problems]
    for host in failed:
        parts += _about_failure(host, nodes[host])
    back = by_result.get("went back", [])
    if back:
        parts.append(f"These nodes were switched and went back: {listed(back, _NAMES_SHOWN)}. {_DATA_WARNING}")
    if untouched:
        parts.append(f"These nodes were not touched: {listed(untouched, _NAMES_SHOWN)}.")
    if uncommitted:
        parts.append(
            f"These nodes run {plan['target']} without it being permanent, so a restart brings the old version back: "
            f"{listed(uncommitted, _NAMES_SHOWN)}."
        )
    again = commands.get("again", "the same command")
    parts.append(f"To go on, mend what is named here and run it again, which skips the nodes that are done: {again}")
    moved = [host for host, node in nodes.items() if node["running"] and node["running"] != node["from"]]
    if moved and plan.get("purpose") != "rollback":
        parts.append(f"To go back instead: {commands.get('rollback', 'ansible-playbook emqx.fleet.rollback')}")
    parts.append(f"To see where every node is: {commands.get('status', 'ansible-playbook emqx.fleet.status')}")
    return " ".join(parts)


def _about_failure(host: str, node: Mapping[str, Any]) -> list[str]:
    parts = [_sentence(f"{host} failed in phase {node['phase']}: {node['message']}")]
    if node["output"]:
        parts.append(f"The command said: {' / '.join(node['output'][-_LINES_SHOWN:])}.")
    if node["log"]:
        parts.append(f"Its log ends with: {' / '.join(node['log'][-_LINES_SHOWN:])}.")
    for dump in node["crash_dumps"]:
        parts.append(f"There is a new crash dump, {dump['path']}: {dump['slogan'] or 'it tells no reason'}.")
    if node["rollback"] == "failed":
        parts.append(_sentence(f"{host} could not go back: {node['rollback_message']}"))
    elif node["rollback"] == "done":
        parts.append(f"{host} went back to {node['running']}. {_DATA_WARNING}")
    elif node["running"]:
        parts.append(f"{host} runs {node['running']}, and a restart boots {node['boots']}.")
    return parts


def _sentence(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
