# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things stand in the drawings of a page, in percent of their width or height. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_text as text

#: Height of a row of a time line, in pixels, and of its bar.
ROW, BAR = 20, 10
#: Seconds without anything that are cut out of the axis, as between two jobs of a run, and how wide the cut is.
_GAP, _CUT = 60.0, 3.0
_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
_TICKS = 6
#: Room above and below the line of clients, in percent, and the least share of the clients that the height shows.
_ROOM, _LEAST_SHARE = 12.0, 0.1
#: What a phase is drawn as.
_KINDS = {
    "reserve": "stage",
    "stage": "stage",
    "look": "stage",
    "switch": "switch",
    "soak": "soak",
    "commit": "commit",
    "rollback": "rollback",
}


class Span(NamedTuple):
    """A stretch of time (seconds since 1970), and where it is drawn."""

    begins: float
    ends: float
    left: float
    right: float


class Axis:
    """The one axis of time that all drawings of a run share. ``spans``: pairs of seconds since 1970."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        merged = _merged(spans) or [(0.0, 1.0)]
        busy = sum(ends - begins for begins, ends in merged) or 1.0
        room = max(50.0, 100.0 - _CUT * (len(merged) - 1))
        cut = (100.0 - room) / (len(merged) - 1) if len(merged) > 1 else 0.0
        left = 0.0
        self.spans: list[Span] = []
        for begins, ends in merged:
            right = left + (ends - begins) / busy * room
            self.spans.append(Span(begins, ends, left, right))
            left = right + cut
        self.begins, self.ends = merged[0][0], merged[-1][1]
        self.ticks = self._ticks(busy)
        #: The stretches that are cut out: where, how wide, and how long they are.
        self.cuts = [
            {"x": _short(one.right), "width": _short(two.left - one.right), "seconds": two.begins - one.ends}
            for one, two in zip(self.spans, self.spans[1:], strict=False)
        ]

    def place(self, at: float) -> float:
        """Where a time is drawn, 0 to 100."""
        for span in self.spans:
            if at <= span.ends:
                share = (at - span.begins) / ((span.ends - span.begins) or 1.0)
                return span.left + min(max(share, 0.0), 1.0) * (span.right - span.left)
        return 100.0

    def _ticks(self, busy: float) -> list[dict[str, Any]]:
        step = next((step for step in _STEPS if busy / step <= _TICKS), busy)
        found: list[dict[str, Any]] = []
        for span in self.spans:
            at = -(-span.begins // step) * step
            while at <= span.ends and len(found) < 3 * _TICKS:
                x = self.place(at)
                anchor = "start" if x < 6 else "end" if x > 94 else "middle"
                found.append({"x": _short(x), "label": text.clock(at), "anchor": anchor})
                at += step
        return found


def axis_of(document: Mapping[str, Any]) -> Axis:
    """The axis of a run: from the beginning of its first job to what was last seen."""
    spans = []
    for job in document["jobs"]:
        begins = text.epoch(job["started"])
        if begins is not None:
            ends = text.epoch(job["finished"])
            spans.append((begins, begins + float(job["seconds"] or 0) if ends is None else ends))
    for node in document["nodes"].values():
        for entry in node["timeline"]:
            begins = text.epoch(entry["at"])
            if begins is not None:
                spans.append((begins, begins + float(entry["seconds"] or 0)))
        times = [at for at in (text.epoch(seen["at"]) for seen in node["clients"]) if at is not None]
        spans += [(at, at) for at in times]
    return Axis(spans)


def timeline(entries: Sequence[Mapping[str, Any]], axis: Axis) -> dict[str, Any]:
    """The time line of a node: ``rows``, one an entry, of which those with ``seconds`` have a ``bar``; ``height``."""
    return {"rows": [_row(place, entry, axis) for place, entry in enumerate(entries)], "height": ROW * len(entries)}


def clients(seen: Sequence[Mapping[str, Any]], axis: Axis) -> dict[str, Any] | None:
    """The clients of a node over time; None where they were never counted.

    ``line``: a polyline in a square of 1000 by 100; ``cuts``: where clients were cut off; ``most`` and ``least``.
    """
    told = [(text.epoch(row["at"]), row) for row in seen if row["connected"] is not None]
    if not told:
        return None
    counts = [row["connected"] for _at, row in told]
    most, least = int(max(counts)), int(min(counts))
    span = max(float(most - least), most * _LEAST_SHARE, 1.0)
    bottom = max(0.0, (most + least - span) / 2)

    def height(count: int) -> float:
        return 100.0 - _ROOM - (count - bottom) / span * (100 - 2 * _ROOM)

    points: list[str] = []
    cuts: list[dict[str, Any]] = []
    known, last = 0, None
    for at, row in told:
        x = axis.place(at if at is not None else axis.begins)
        y = height(row["connected"])
        if last is not None and last != y:
            points.append(f"{_short(x * 10)},{_short(last)}")
        points.append(f"{_short(x * 10)},{_short(y)}")
        last = y
        lost = row["cut_off"] or 0
        if lost and lost != known:
            cuts.append({"x": _short(x), "y": _short(y), "count": lost, "at": text.moment(row["at"]), "late": x > 70})
        known = lost
    return {"line": " ".join(points), "cuts": cuts, "most": most, "least": least, "seen": len(told)}


def _row(place: int, entry: Mapping[str, Any], axis: Axis) -> dict[str, Any]:
    whole = entry["action"] == "turn"
    begins = text.epoch(entry["at"])
    bad = entry["rc"] not in (None, 0)
    what = [entry["phase"] if whole else entry["action"], entry["version"] if not whole else None]
    kind = _KINDS.get(entry["phase"], "other")
    row: dict[str, Any] = {
        "whole": whole,
        "label": " ".join(str(word) for word in what if word),
        "phase": entry["phase"],
        "seconds": entry["seconds"],
        "at": text.clock(begins, milliseconds=True) if begins is not None else str(entry["at"]),
        "rc": entry["rc"],
        "bad": bad,
        "kind": f"k-{kind}" + (" whole" if whole else "") + (" bad" if bad else ""),
        "y": place * ROW + (ROW - BAR) // 2,
    }
    left = axis.place(begins if begins is not None else axis.begins)
    row["x"] = _short(left)
    row["bar"] = entry["seconds"] is not None
    if row["bar"]:
        right = axis.place((begins if begins is not None else axis.begins) + entry["seconds"])
        row["width"] = _short(max(right - left, 0.0))
    return row


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans in order, those with less than a gap between them as one."""
    found: list[tuple[float, float]] = []
    for begins, ends in sorted(spans):
        if found and begins - found[-1][1] <= _GAP:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, ends))
    return found


def _short(value: float) -> str:
    """A number as a drawing needs it, without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
