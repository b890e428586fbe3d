# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waves: who switches with whom, and in which order."""

from __future__ import annotations

import functools
import heapq
import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Wave

#: What a job may be for: all waves, those of the canaries, or the others once an earlier job switched the canaries.
PARTS = ("all", "canary", "rest")

_DIGITS = re.compile(r"([0-9]+)")


class WaveError(ValueError):
    """An option of the waves makes no sense."""


class Candidate(NamedTuple):
    """A node that switches; ``last``: it is its cluster's coordinator."""

    host: str
    cluster: str
    node: str
    last: bool


@functools.lru_cache(maxsize=100_000)
def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which node10 comes after node9."""
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part)


def arrange(
    candidates: Iterable[Candidate],
    *,
    max_per_cluster: int = 1,
    wave_size: int | str | None = None,
    canary: int | str | Sequence[str] = 1,
    part: str = "all",
    switched: Mapping[str, int] | None = None,
) -> list[Wave]:
    """Return the waves: canaries first, then as few waves as the two bounds allow.

    ``part``: the waves that this job is for, out of :data:`PARTS`. ``switched``: how many nodes of each cluster earlier
    jobs of the run have switched; where this one is for the canaries, these are some of them.

    ``wave_size`` and ``canary`` are numbers, or percentages of all candidates; ``canary`` may be a list of hosts. The
    bounds hold for the canaries too, so that two of one cluster make two canary waves. Raises :class:`WaveError`.
    """
    if isinstance(max_per_cluster, bool) or not isinstance(max_per_cluster, int) or max_per_cluster < 1:
        raise WaveError(f"the nodes of a cluster in one wave are 1 or more, not {max_per_cluster!r}")
    clusters = _by_cluster(candidates)
    total = sum(len(rows) for rows in clusters.values())
    had = dict(switched or {}) if part == "canary" else {}
    size = total if wave_size is None else amount("wave_size", wave_size, total) or total
    chosen = _canaries(clusters, 0 if part == "rest" else canary, total, had)
    first = {label: [row for row in rows if row.host in chosen] for label, rows in clusters.items()}
    rest = {label: [row for row in rows if row.host not in chosen] for label, rows in clusters.items()}
    waves: list[Wave] = []
    for kind, queued in (("canary", first), ("wave", {} if part == "canary" else rest)):
        for hosts in _pack(queued, max_per_cluster, size):
            waves.append({"number": len(waves) + 1, "kind": "canary" if kind == "canary" else "wave", "hosts": hosts})
    return waves


def amount(name: str, value: int | str, total: int) -> int:
    """Return a number, or a percentage of ``total`` rounded up. Raises :class:`WaveError` for anything else."""
    text = str(value).strip()
    digits = text[:-1].strip() if text.endswith("%") else text
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise WaveError(f"{name} is a number or a percentage, such as 5 or 10%, not {value!r}")
    number = int(digits)
    if digits == text:
        return number
    if number > 100:
        raise WaveError(f"{name} is at most 100%, not {value!r}")
    return math.ceil(total * number / 100)


def _by_cluster(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    found: dict[str, list[Candidate]] = {}
    for row in candidates:
        found.setdefault(row.cluster, []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: (row.last, natural(row.node), natural(row.host)))
    return {label: found[label] for label in sorted(found, key=natural)}


def _canaries(
    clusters: dict[str, list[Candidate]], canary: int | str | Sequence[str], total: int, had: Mapping[str, int]
) -> set[str]:
    """Return the hosts that go first: the first of every cluster, then the second, and so on, or those asked for.

    A coordinator that others of its cluster still have to precede is none, even if asked for. ``had``: how many of each
    cluster have gone before, which were its first.
    """
    if not isinstance(canary, (int, str)):
        wanted = set(canary)
        chosen = {row.host for rows in clusters.values() for row in rows if row.host in wanted}
        for rows in clusters.values():
            if any(row.host not in chosen and not row.last for row in rows):
                chosen -= {row.host for row in rows if row.last}
        return chosen
    left = amount("canary", canary, total + sum(had.values()))
    found: set[str] = set()
    labels = sorted({*clusters, *had}, key=natural)
    longest = max((had.get(label, 0) + len(clusters.get(label, ())) for label in labels), default=0)
    for place in range(longest):
        for label in labels:
            rows, gone = clusters.get(label, []), had.get(label, 0)
            if left <= 0:
                return found
            if place < gone + len(rows):
                left -= 1
                found.update([] if place < gone else [rows[place - gone].host])
    return found


def _pack(clusters: dict[str, list[Candidate]], per_cluster: int, size: int) -> Iterable[list[str]]:
    """Yield waves. The clusters with the most nodes left come first, which makes the fewest waves."""
    queues = {label: deque(rows) for label, rows in clusters.items() if rows}
    places = {label: place for place, label in enumerate(queues)}
    heap = [(-len(rows), places[label], label) for label, rows in queues.items()]
    heapq.heapify(heap)
    while heap:
        hosts: list[tuple[int, str]] = []
        waiting: list[tuple[int, int, str]] = []
        while heap and len(hosts) < size:
            _left, place, label = heapq.heappop(heap)
            rows = queues[label]
            for _turn in range(min(per_cluster, size - len(hosts), len(rows))):
                hosts.append((place, rows.popleft().host))
            if rows:
                waiting.append((-len(rows), place, label))
        for entry in waiting:
            heapq.heappush(heap, entry)
        # Within a wave the order is that of the clusters, and within a cluster that of its nodes.
        yield [host for _place, host in sorted(hosts, key=lambda pair: pair[0])]
