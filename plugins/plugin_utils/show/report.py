# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run did, put together from the outcomes of its nodes. Pure functions; every number was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ansible_collections.emqx.fleet.plugins.module_utils.clients import comparable
from ansible_collections.emqx.fleet.plugins.module_utils.command import decisive
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes as machine
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan, PlanNode, Result
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import text_table

HEADER = ("host", "result", "from", "runs", "boots", "switch", "clients before", "clients after", "same process")
#: The results in words, for the table.
WORDS: Mapping[Result, str] = {
    "nothing_to_do": "nothing to do",
    "not_begun": "not begun",
    "in_turn": "in its turn",
    "staged": "staged",
    "uncommitted": "uncommitted",
    "not_committed": "not committed",
    "committed": "committed",
    "failed": "failed",
    "failed_rolled_back": "failed, back",
    "rolled_back": "back",
}
#: Stands in the report's file until the run has come to its end.
NOT_ENDED = (
    "The run has not come to its end; if it does not work any more, it was killed or Ansible gave it up, and this is "
    "how far it was known to be{0}."
)
#: Names in a sentence; the table above it has them all.
_NAMES_SHOWN = 20
_LINES_SHOWN = 3
_DATA_WARNING = (
    "EMQX guarantees a downgrade only right after the upgrade and with no data changed in between, so look after them."
)


class InTurn(NamedTuple):
    """A phase that has begun, and the hosts that have their turn in it."""

    phase: str = ""
    hosts: Sequence[str] = ()


def build(
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    rules: Rules,
    commands: Mapping[str, str] | None = None,
    problems: Sequence[str] = (),
    lost: Collection[str] = (),
    in_turn: InTurn | None = None,
) -> dict[str, Any]:
    """The report: ``run_id``, ``target``, ``ok``, ``ended``, ``final``, ``nodes`` (host -> row), ``table`` (lines),
    ``message``.

    ``in_turn``: the run has not ended; what these nodes run is not known before the end of their turn.
    ``message`` is empty when all that was planned was done and every reservation was given up. What is left to another
    invocation by ``rules.parts`` is no failure, and ``final`` tells whether nothing is. ``commands`` have what is to be
    called to go on (``again``), to go back (``rollback``) and to look (``status``). ``problems`` are sentences about
    the whole run.
    """
    view = machine.judged(plan, outcomes, lost=lost)
    seen = {host: view.get(host) or outcomes.get(host) or machine.new() for host in plan["nodes"]}
    nodes = {host: _node(plan, node, seen[host], rules) for host, node in sorted(plan["nodes"].items())}
    if in_turn is not None:
        problems = [*problems, NOT_ENDED.format(f" when phase {in_turn.phase} began" if in_turn.phase else "")]
        for host in in_turn.hosts:
            nodes[host]["result"] = "in_turn"
    message = _message(plan, nodes, commands or {}, problems)
    return {
        "run_id": plan["run_id"],
        "purpose": plan["purpose"],
        "target": plan["target"],
        "ok": not message,
        "ended": in_turn is None,
        "final": machine.is_final(plan, view, rules),
        "commit": rules.commit,
        "phases": list(rules.parts),
        "nodes": nodes,
        "table": table(nodes),
        "message": message,
    }


def table(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of the table of nodes, from their rows by host."""
    return text_table.lines(HEADER, [_row(host, node) for host, node in nodes.items()])


def refused(message: str) -> dict[str, Any]:
    """The report of a run that was refused before there was a plan: :func:`build`'s keys, and no node."""
    return {
        "run_id": None,
        "purpose": None,
        "target": None,
        "ok": False,
        "ended": True,
        "final": False,
        "commit": None,
        "phases": [],
        "nodes": {},
        "table": [],
        "message": message,
    }


def _node(plan: Plan, planned: PlanNode, outcome: Outcome, rules: Rules) -> dict[str, Any]:
    before, after = outcome["before"] or {}, outcome["after"] or {}
    seconds = [
        action["seconds"] for action in outcome["actions"] if action["action"] == "switch" and "seconds" in action
    ]
    clients_before, clients_after = comparable(before, after)
    failure: Mapping[str, Any] = outcome["failure"] or {}
    return {
        "result": _result(plan, planned, outcome, rules),
        "reached": outcome["reached"] and planned["node"] is not None,
        "from": planned.get("came_from") or planned["from"],
        "to": planned["to"],
        "running": after.get("running"),
        "permanent": after.get("permanent"),
        "boots": (after.get("boot") or {}).get("version"),
        "switch_seconds": round(sum(seconds), 1) if seconds else None,
        "clients_before": clients_before,
        "clients_after": clients_after,
        "pid_before": before.get("pid"),
        "pid_after": after.get("pid"),
        "wave": planned["wave"],
        "actions": list(outcome["actions"]) + list(outcome["commit_actions"]),
        "checks": list(outcome["checks"]),
        "gates_accepted": [gate["name"] for gate in planned["gates"] if gate.get("accepted")],
        "phase": failure.get("phase"),
        "task": failure.get("task"),
        "message": failure.get("message"),
        "failure_class": failure.get("failure_class"),
        "output": list(failure.get("output") or []),
        "releases": list(after.get("releases") or []),
        "log": list(failure.get("log") or []),
        "crash_dumps": list(failure.get("crash_dumps") or []),
        "rollback_message": outcome["rollback_message"] or None,
        "reservation": outcome["reservation"],
    }


def _result(plan: Plan, planned: PlanNode, outcome: Outcome, rules: Rules) -> Result:
    """What became of a node."""
    state = outcome["state"]
    if state == "rolled_back":
        return "failed_rolled_back" if machine.is_failed(outcome) else "rolled_back"
    if state == "failed":
        return "failed"
    if state == "committed":
        return "committed"
    if planned["action"] == "none":
        return "nothing_to_do"
    if state in ("switched", "soaked"):
        awaited = machine.never_commits(plan, rules) or "commit" not in rules.parts
        return "uncommitted" if awaited else "not_committed"
    if state == "staged" and ("switch" not in rules.parts or machine.is_left(planned)):
        return "staged"
    if planned["action"] == "commit" and not {"switch", "soak", "commit"} & set(rules.parts):
        return "uncommitted"
    return "not_begun"


def _row(host: str, node: Mapping[str, Any]) -> tuple[object, ...]:
    same = None
    if node["pid_before"] is not None and node["pid_after"] is not None:
        same = "yes" if node["pid_before"] == node["pid_after"] else "NO"
    return (
        host,
        WORDS[cast(Result, node["result"])],
        node["from"],
        node["running"],
        node["boots"],
        None if node["switch_seconds"] is None else f"{node['switch_seconds']} s",
        node["clients_before"],
        node["clients_after"],
        same,
    )


def _message(
    plan: Plan, nodes: Mapping[str, Mapping[str, Any]], commands: Mapping[str, str], problems: Sequence[str]
) -> str:
    """What happened where, what was done about it, and how to go on."""
    by_result: dict[str, list[str]] = {}
    for host, node in nodes.items():
        by_result.setdefault(str(node["result"]), []).append(host)
    planned_back = plan["purpose"] == "rollback"
    failed = sorted(by_result.get("failed", []) + by_result.get("failed_rolled_back", []))
    back = [] if planned_back else by_result.get("rolled_back", [])
    later = {host for host, node in plan["nodes"].items() if machine.is_left(node)}
    left, uncommitted = by_result.get("not_begun", []), by_result.get("not_committed", [])
    kept = [host for host, node in nodes.items() if node["reservation"]]
    if not (failed or set(left) - later or uncommitted or back or kept or problems):
        return ""
    parts = [_sentence(part) for part in problems]
    for host in failed:
        parts += _about_failure(host, nodes[host])
    if back:
        parts.append(f"These nodes were switched and went back: {listed(back, _NAMES_SHOWN)}. {_DATA_WARNING}")
    if by_result.get("in_turn"):
        parts.append(
            f"These nodes were in their turn, so look what they run: {listed(by_result['in_turn'], _NAMES_SHOWN)}."
        )
    # Of a plan that was refused some nodes may not have been read at all; the refusal says which.
    left = left if plan["feasible"] else []
    untouched = [host for host in left if nodes[host]["reached"]]
    if untouched:
        parts.append(f"These nodes were not touched: {listed(untouched, _NAMES_SHOWN)}.")
    unreached = [host for host in left if not nodes[host]["reached"]]
    if unreached:
        parts.append(
            "This run changed nothing on these nodes, and they could not be reached at its end, so what they run is "
            f"not known: {listed(unreached, _NAMES_SHOWN)}."
        )
    if uncommitted:
        parts.append(
            f"These nodes run {plan['target']} without it being permanent, so a restart brings the old version back: "
            f"{listed(uncommitted, _NAMES_SHOWN)}."
        )
    if kept:
        said = str(nodes[kept[0]]["reservation"]["message"])
        parts.append(
            f"These nodes are still reserved for this run until their lease is over: {listed(kept, _NAMES_SHOWN)}. "
            + _sentence(said)
        )
    again = commands.get("again", "the same command")
    parts.append(f"To go on, mend what is named here and run it again, which skips the nodes that are done: {again}")
    moved = [host for host, node in nodes.items() if node["running"] and node["running"] != node["from"]]
    if moved and not planned_back:
        parts.append(f"To go back instead: {commands.get('rollback', 'ansible-playbook emqx.fleet.rollback')}")
    parts.append(f"To see where every node is: {commands.get('status', 'ansible-playbook emqx.fleet.status')}")
    return "\n".join(parts)


def _about_failure(host: str, node: Mapping[str, Any]) -> list[str]:
    parts = [_sentence(f"{host} failed in phase {node['phase']}: {node['message']}")]
    said = decisive(node["output"]) or " / ".join(node["output"][-_LINES_SHOWN:])
    if said and said not in parts[0]:
        parts.append(_sentence(f"The command said: {said}"))
    if node["log"]:
        parts.append(f"Its log ends with: {' / '.join(node['log'][-_LINES_SHOWN:])}.")
    for dump in node["crash_dumps"]:
        parts.append(f"There is a new crash dump, {dump['path']}: {dump['slogan'] or 'it tells no reason'}.")
    if node["rollback_message"]:
        parts.append(_sentence(f"{host} could not go back: {node['rollback_message']}"))
    if node["result"] == "failed_rolled_back":
        where = f" to {node['running']}" if node["running"] else ""
        parts.append(f"{host} went back{where}. {_DATA_WARNING}")
    elif node["running"]:
        parts.append(f"{host} runs {node['running']}, and a restart boots {node['boots']}.")
    if not node["running"]:
        parts.append(f"{host} could not be read at the end, so what it runs is not known.")
    return parts


def _sentence(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
