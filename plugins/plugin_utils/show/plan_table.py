# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan as text for a person: a row a node (or a row for many equal ones), and every obstacle once."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import is_left
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import text_table

#: More nodes than this are shown by groups of equal ones.
MAX_ROWS = 60
#: Names of a group that are spelled out.
_NAMES_IN_GROUP = 3
_MIN_WIDTH = 60
_HEADER = ("node", "from", "to", "package", "hops", "wave", "verdict")
_NODE, _PACKAGE, _WAVE = 0, 3, 5


def render(plan: Mapping[str, Any], width: int = 120) -> str:
    """Return the plan as lines of at most about ``width`` characters, without a line break at the end."""
    return "\n".join(lines(plan, width))


def lines(plan: Mapping[str, Any], width: int = 120) -> list[str]:
    """Return the lines of :func:`render`."""
    width = max(width, _MIN_WIDTH)
    nodes: list[Mapping[str, Any]] = list(plan["nodes"].values())
    rows = [_row(node) for node in _ordered(nodes)]
    if len(rows) > MAX_ROWS:
        rows = _grouped(rows)
    text = text_table.lines(_HEADER, _fitted(rows, width)) if rows else ["no nodes"]
    text += ["", summary(plan)]
    for wave in plan["waves"]:
        if len(plan["waves"]) <= MAX_ROWS:
            text += _wrapped(f"  {wave['kind']} {wave['number']}: ", listed(wave["hosts"], 8), width)
    for title, rows_of in _obstacles(plan["obstacles"]):
        if rows_of:
            text += ["", title]
            for row in rows_of:
                text += _wrapped(f"  [{row['gate']}] ", _obstacle(row), width)
    if plan["warnings"]:
        text += ["", "Warnings"]
        for warning in plan["warnings"]:
            text += _wrapped("  - ", warning, width)
    return text


def summary(plan: Mapping[str, Any]) -> str:
    """Return the plan in one sentence."""
    counts: dict[str, int] = {}
    for node in plan["nodes"].values():
        counts[node["action"]] = counts.get(node["action"], 0) + 1
    later = sum(is_left(node) for node in plan["nodes"].values())
    words = (("upgrade", "to switch"), ("commit", "to commit"), ("none", "done"), ("refuse", "refused"))
    said = [f"{counts[action]} {word}" for action, word in words if counts.get(action)]
    if later and counts["upgrade"] > later:
        said[0] = f"{counts['upgrade'] - later} to switch, {later} in a later job"
    elif later:
        said[0] = f"{later} to switch in a later job"
    verdict = "can start" if plan["feasible"] else "NOT feasible"
    turns = f"{len(plan['waves'])} wave{'' if len(plan['waves']) == 1 else 's'}"
    return f"To {plan['target']}: {', '.join(said) or 'no nodes'}, in {turns}; {verdict}."


def refusal(plan: Mapping[str, Any]) -> str:
    """Return the summary with every obstacle: all that a job's event shows of a plan that cannot start."""
    rows = [row for row in plan["obstacles"] if row["severity"] == "error" and not row["accepted"]]
    return "\n".join([summary(plan), *(f"[{row['gate']}] {_sentence(_obstacle(row))}" for row in rows)])


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _ordered(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what is refused first, then the nodes in the order of their turns, then the rest."""
    return sorted(nodes, key=lambda node: (node["action"] != "refuse", node["wave"] is None, node["wave"] or 0))


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    hops = node["hops"]
    name = node["host"] if not node["node"] or node["node"] == node["host"] else f"{node['host']} ({node['node']})"
    way = " > ".join(hop["version"] for hop in hops) if len(hops) > 1 else str(len(hops) or "-")
    return (
        name,
        str(node["from"] or "-"),
        str(node["to"]),
        str(hops[-1]["package"] or "on the node") if hops else "-",
        way,
        str(node["wave"] or "-"),
        _verdict(node),
    )


def _verdict(node: Mapping[str, Any]) -> str:
    if node["action"] == "refuse":
        blocking = [row["name"] for row in node["gates"] if row["severity"] == "error" and not row["accepted"]]
        return f"refused: {', '.join(blocking)}"
    notes = [row["name"] for row in node["gates"]]
    word = {"upgrade": "switch", "commit": "commit", "none": "done"}[node["action"]]
    word = "switch in a later job" if node["action"] == "upgrade" and node["wave"] is None else word
    return f"{word}, mind {', '.join(notes)}" if notes else word


def _grouped(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return one row for nodes that differ in nothing but their names and waves."""
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        groups.setdefault((*row[1:_WAVE], *row[_WAVE + 1 :]), []).append(row)
    grouped = []
    for members in groups.values():
        names = [row[_NODE] for row in members]
        first, last = members[0], members[-1]
        name = f"{len(names)} nodes: {listed(names, _NAMES_IN_GROUP)}" if len(names) > 1 else names[0]
        wave = first[_WAVE] if first[_WAVE] == last[_WAVE] else f"{first[_WAVE]}-{last[_WAVE]}"
        grouped.append((name, *first[1:_WAVE], wave, *first[_WAVE + 1 :]))
    return grouped


def _fitted(rows: Sequence[tuple[str, ...]], width: int) -> list[list[str]]:
    """Shorten the wide columns of words until the table fits: first the packages, then the nodes."""
    fitted = [list(row) for row in rows]
    for column, least in ((_PACKAGE, 12), (_NODE, 12)):
        widths = [max(len(row[place]) for row in [*fitted, _HEADER]) for place in range(len(_HEADER))]
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        if excess > 0:
            room = max(least, widths[column] - excess)
            for row in fitted:
                row[column] = _shortened(row[column], room)
    return fitted


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    # A package's name differs at its end as much as at its beginning.
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def _obstacles(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    errors = [row for row in rows if row["severity"] == "error"]
    return [
        ("Obstacles", [row for row in errors if not row["accepted"]]),
        ("Accepted", [row for row in rows if row["accepted"]]),
        ("To be aware of", [row for row in rows if row["severity"] != "error" and not row["accepted"]]),
    ]


def _obstacle(row: Mapping[str, Any]) -> str:
    hosts = row["hosts"]
    who = hosts[0] if row["count"] == 1 else f"{row['count']} nodes ({listed(hosts)})"
    return f"{who}: {row['message']}"


def _wrapped(lead: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(lead + text, width, subsequent_indent="    ", break_on_hyphens=False) or [lead]
