# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run as it goes, in lines for a terminal: one a node and phase, made from the results of tasks. Pure functions.

What is not as the tasks of this collection return it makes a KeyError, a TypeError, an AttributeError or a ValueError.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from ansible_collections.emqx.fleet.plugins.module_utils.clients import comparable
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Result
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table, report

Kind = Literal["ok", "changed", "warning", "failed"]

#: Phases of ``emqx_turn`` in which all is said by a failure.
_SILENT = ("look", "end", "hook_failed")
#: A host's name takes no more room than this in the column of hosts.
_WIDEST_HOST = 30
_INDENT = "    "
_HOOK = re.compile(r"The hook \w+ failed")
_COMMAND = ": ansible-playbook "
#: Counts of Ansible, in the order and with the names of its recap.
_COUNTS = (
    ("ok", "ok"),
    ("changed", "changed"),
    ("unreachable", "unreachable"),
    ("failures", "failed"),
    ("skipped", "skipped"),
    ("rescued", "rescued"),
    ("ignored", "ignored"),
)
_BAR = 24
_LEAST_BAR = 8


class Entry(NamedTuple):
    """What is said of one node in one phase."""

    label: str
    host: str
    text: str
    kind: Kind


@dataclass
class Run:
    """What was seen of the run so far: results of ``emqx_plan``, ``emqx_decide`` and ``emqx_report``, empty before."""

    planned: Mapping[str, Any] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    #: Whether a node may have been changed.
    touched: bool = False

    @property
    def waves(self) -> int:
        """How many waves the plan has."""
        return len((self.planned.get("plan") or {}).get("waves") or ())

    def node(self, host: str) -> Mapping[str, Any]:
        """A node of the plan; empty where there is none."""
        found: Mapping[str, Any] = ((self.planned.get("plan") or {}).get("nodes") or {}).get(host) or {}
        return found

    def has_turn(self, host: str) -> bool:
        """Whether the host has a turn by the last decision."""
        return bool(self.decision.get("proceed")) and host in (self.decision.get("hosts") or ())


# Nodes


def turn(phase: str, host: str, result: Mapping[str, Any], run: Run, seconds: float | None = None) -> Entry | None:
    """What is said of a turn that went well; None where there is nothing to say, as of a node without a part in it.

    ``seconds``: how long the task took.
    """
    if phase in _SILENT:
        return None
    if phase == "read":
        text, kind = _read(result["facts"])
        return Entry(label(phase, run), host, _joined(text, _time(seconds)), kind)
    outcome, node = result["outcome"], run.node(host)
    state = outcome["state"]
    if phase in ("reserve", "stage", "preview") and state == "planned":
        text = _preview(node)
        return Entry("preview", host, text, "changed") if text else None
    if not run.has_turn(host):
        return None
    facts = outcome.get("after") or {}
    kind = "ok"
    if phase in ("reserve", "stage"):
        text = f"{node['to']} staged" if state == "staged" else "reserved"
    elif phase == "switch" and state in ("switched", "committed"):
        seconds = report_seconds(outcome)
        text, kind = _joined(f"{node['from']} -> {facts['running']}", _clients(outcome)), "changed"
    elif phase == "soak" and state == "soaked":
        text = _joined(facts["running"], _clients(outcome))
    elif phase == "commit" and state == "committed":
        text, kind = _joined(f"{facts['running']} is permanent", _clients(outcome)), "changed"
    elif phase == "rollback" and state == "rolled_back":
        was = node["from"] if run.planned["plan"]["purpose"] == "rollback" else node["to"]
        text, kind = _joined(f"{was} -> {facts['running']}", _clients(outcome)), "changed"
    else:
        return None
    if (outcome.get("accounting") or {}).get("cut_off"):
        kind = "warning"
    return Entry(label(phase, run), host, _joined(text, _time(seconds)), kind)


def failure(phase: str, host: str, result: Mapping[str, Any], run: Run) -> Entry:
    """What is said of a turn that failed."""
    message = str(result["msg"]).strip().removeprefix(f"{host}: ")
    if phase == "hook_failed":
        hook = _HOOK.search(message)
        # Why, the hook's own task has shown.
        message = f"{hook[0]}; why, is above" if hook else message
    return Entry(label(phase, run), host, f"FAILED  {message}", "failed")


def label(phase: str, run: Run) -> str:
    """The name of the phase with the wave in it: ``wave 3/50``, ``rollback 1/2``, ``stage``."""
    if phase == "switch":
        return f"wave {run.decision['wave']}/{run.waves}"
    if phase == "rollback":
        return f"rollback {run.decision['wave']}/{len(run.decision['batches'])}"
    return {"hook_failed": "hook", "end": "report"}.get(phase, phase)


def turns(phase: str, run: Run) -> int:
    """How many nodes have a turn in the phase, in all of its waves."""
    if phase == "switch":
        return sum(node["action"] == "upgrade" for node in run.planned["plan"]["nodes"].values())
    if phase == "rollback":
        return sum(map(len, run.decision["batches"]))
    return len(run.decision["hosts"]) if phase in ("reserve", "stage", "soak", "commit") else 0


def report_seconds(outcome: Mapping[str, Any]) -> float | None:
    """How long the node's switches took, as the report says it."""
    seconds = [row["seconds"] for row in outcome["actions"] if row["action"] == "switch" and "seconds" in row]
    return sum(seconds) if seconds else None


def removed(host: str, result: Mapping[str, Any]) -> Entry | None:
    """What ``emqx_cleanup`` removed from a node."""
    if not result["removed"]:
        return Entry("cleanup", host, "nothing to remove", "ok")
    return Entry("cleanup", host, f"removed {', '.join(result['removed'])}", "changed")


def _read(facts: Mapping[str, Any]) -> tuple[str, Kind]:
    if "state" not in facts:
        # Why, is among the obstacles of the plan, and below the table of the status.
        return "unreachable" if facts.get("unreachable") else "could not be read", "warning"
    if facts["state"] != "running":
        return f"{facts['state']}; a restart boots {facts['boot']['version']}", "warning"
    clients = facts.get("connections")
    permanent = "" if facts["running"] == facts["permanent"] else "not permanent"
    return _joined(facts["running"], permanent, "" if clients is None else f"{clients:,} clients"), "ok"


def _preview(node: Mapping[str, Any]) -> str:
    if node.get("action") == "upgrade":
        return f"would go {' -> '.join([node['from'], *(hop['version'] for hop in node['hops'])])}"
    if node.get("action") == "commit":
        if node["to"] != node["from"]:
            return f"would go {node['from']} -> {node['to']}"
        return f"would make {node['to']} permanent"
    return ""


def _clients(outcome: Mapping[str, Any]) -> str:
    """Of the clients before, how many are there: by name where they were accounted for, else by the counts."""
    accounting = outcome.get("accounting") or {}
    cut_off = accounting.get("cut_off")
    if cut_off:
        return f"{accounting['now']:,} of {accounting['before']:,} clients, {cut_off:,} cut off"
    before, after = comparable(outcome.get("before") or {}, outcome.get("after") or {})
    if before is None or after is None:
        return ""
    # More than before are no part of them.
    return f"{after:,} of {before:,} clients" if after <= before else f"{after:,} clients, {before:,} before"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _joined(*parts: object) -> str:
    return "  ".join(str(part) for part in parts if part not in (None, ""))


# Lines


@dataclass
class Columns:
    """Where the columns of hosts and of text begin, so that lines stand below each other."""

    label: int = 0
    host: int = 0

    def fit(self, labels: Sequence[str], hosts: Sequence[str]) -> None:
        """Make room for these."""
        self.label = max([self.label, *(len(each) + 2 for each in labels)])
        self.host = max([self.host, *(min(len(each), _WIDEST_HOST) for each in hosts)])


def line(entry: Entry, columns: Columns, width: int | None = None) -> str:
    """The line, or of a text that is longer than ``width`` lines; None: as it is, as in a log."""
    lead = f"{'[' + entry.label + ']':<{columns.label}} {entry.host:<{columns.host}}  ".rstrip(" ")
    lead = f"{lead:<{columns.label + columns.host + 1}}  "
    return prose(entry.text, width, lead, _INDENT)


def prose(text: str, width: int | None, lead: str = "", indent: str = "") -> str:
    """Sentences, with their own line breaks kept. What begins with a blank, and commands, is never broken."""
    lines: list[str] = []
    for place, each in enumerate(text.rstrip().split("\n")):
        begin = lead if place == 0 else indent
        if width is None or each.startswith((" ", "ansible-playbook ")):
            lines.append((begin + each).rstrip())
            continue
        said, command = _apart(each)
        lines += textwrap.wrap(
            begin + said,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        ) or [""]
        if command:
            lines.append(f"{indent}  {command}")
    return "\n".join(lines)


def _apart(text: str) -> tuple[str, str]:
    """A sentence, and the command at its end, which is to be copied in one piece."""
    before, _colon, command = text.partition(_COMMAND)
    return (f"{before}:", _COMMAND[2:] + command) if command else (text, "")


# The whole


def halt(run: Run) -> Entry | None:
    """Why the last decision lets no node go on; None where it does, or had nothing to say."""
    message = str(run.decision.get("message") or "")
    if run.decision.get("proceed") or not message:
        return None
    phase = str(run.decision["phase"])
    return Entry(label(phase, run) if phase == "switch" else phase, "", message, "warning")


def verdict(run: Run) -> str:
    """That all went well, in a sentence of the report or the plan; empty where neither says so."""
    plan = run.planned.get("plan") or {}
    if plan and plan["feasible"] and not run.report and not run.touched:
        return f"{plan_table.summary(plan)} Nothing was changed."
    if not run.report.get("ok"):
        return ""
    nodes = run.report["nodes"]
    counts: dict[str, int] = {}
    for node in sorted(nodes.values(), key=lambda node: bool(node["result"] == "nothing_to_do")):
        counts[node["result"]] = counts.get(node["result"], 0) + 1
    said = [f"{count:,} {report.WORDS[cast(Result, result)]}" for result, count in counts.items()]
    text = f"To {run.report['target']}, all went well: {', '.join(said) or 'no nodes'}."
    pairs = [(node["clients_before"], node["clients_after"]) for node in nodes.values()]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if known:
        before, after = (sum(column) for column in zip(*known, strict=True))
        text += f" Clients before: {before:,}, after: {after:,}."
    if counts.get("uncommitted"):
        text += " A restart brings the old version back where it is uncommitted."
    return text


def refusal(message: str, run: Run) -> str:
    """The message of the task that ended the run; what the plan has shown already is not repeated."""
    plan = run.planned.get("plan") or {}
    if plan and message == run.planned.get("msg"):
        return f"{plan_table.summary(plan)} No node was touched; the obstacles are above."
    return message


def recap(counts: Mapping[str, Mapping[str, int]], told: Mapping[str, int]) -> list[tuple[str, Kind]]:
    """Ansible's counts: of all hosts in one line, then of each that it counts as failed or unreachable.

    ``told``: failures that were the end of the run and none of the host's (host -> count); of them the verdict tells.
    """
    total = {name: sum(row[name] for row in counts.values()) for name, _word in _COUNTS}
    hosts = f"{len(counts)} host{'' if len(counts) == 1 else 's'}"
    lines: list[tuple[str, Kind]] = [(f"{hosts}: {_counted(total)}", "ok")]
    for host, row in sorted(counts.items()):
        if row["failures"] > told.get(host, 0) or row["unreachable"]:
            lines.append((f"{host}: {_counted(row)}", "failed"))
    return lines


def _counted(row: Mapping[str, int]) -> str:
    return " ".join(f"{word}={row[name]}" for name, word in _COUNTS)


def bar_line(title: str, done: int, total: int, failed: int, width: int) -> str:
    """A line of less than ``width`` characters: ``wave 3/50 [########----------------] 117 of 345 nodes, 1 failed``.

    Of as much as there is room for: the bar first gets shorter, then it is left out, then the line is cut.
    """
    said = f"{done:,} of {total:,} nodes" if total else f"{done:,} nodes"
    said += f", {failed:,} failed" if failed else ""
    room = width - 1 - len(title) - len(said) - len(" [] ")
    length = min(_BAR, room)
    if not total or length < _LEAST_BAR:
        return f"{title} {said}"[: max(0, width - 1)]
    full = length * min(done, total) // total
    return f"{title} [{'#' * full}{'-' * (length - full)}] {said}"
