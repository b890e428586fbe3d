# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client probe counts: messages, disconnects, silence and round trips. Pure; the times are given.

``now`` is seconds of a monotonic clock, ``wall`` seconds since the epoch. A link is one publisher and one subscriber on
a topic of their own, with QoS 1. A message of it is lost when the broker acknowledged it and it does not come: a later
one has come, or :data:`GRACE` is over. It is not lost any more if it comes after all, and is reordered then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Seconds after its acknowledgement in which a message may come.
GRACE = 3.0
#: Messages of a link that are kept while they wait for their acknowledgement or their arrival.
MOST_WAITING = 10_000
#: Disconnects of a node that are kept with their time and reason; all are counted.
MOST_DISCONNECTS = 1000
#: Parts of a run, by a node's own switch.
WINDOWS = ("before", "during", "after")

_SMALLEST_MS = 0.01
_STEP = math.log(1.01)


class RoundTrips:
    """Times from sending to arrival. A bounded number of buckets keeps them: median and p99 are up to 1 % too high."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._max = 0.0

    def add(self, seconds: float) -> None:
        """Add one."""
        ms = max(0.0, seconds * 1000)
        bucket = max(0, math.ceil(math.log(ms / _SMALLEST_MS) / _STEP)) if ms > _SMALLEST_MS else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1
        self._max = max(self._max, ms)

    def summary(self) -> dict[str, Any]:
        """``median``, ``p99`` and ``max`` in milliseconds, null where there were none, and their ``count``."""
        return {
            "median": self._percentile(0.5),
            "p99": self._percentile(0.99),
            "max": round(self._max, 2) if self._count else None,
            "count": self._count,
        }

    def _percentile(self, part: float) -> float | None:
        """The time that this part of them did not exceed (nearest rank)."""
        left = math.ceil(part * self._count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return round(min(_SMALLEST_MS * math.exp(bucket * _STEP), self._max), 2)
        return None


@dataclass
class _Message:
    sent_at: float
    window: str
    acked_at: float | None = None
    arrived: bool = False


class Link:
    """The messages from one publisher to one subscriber. ``silence``: whether the time between them is looked at."""

    def __init__(self, silence: bool = True) -> None:
        self.sent = self.acked = self.received = self.duplicated = self.reordered = 0
        self.longest_gap = 0.0
        self.longest_gap_at: float | None = None
        self._silence = silence
        self._last_arrival: tuple[float, float] | None = None
        self._highest = 0
        self._waiting: dict[int, _Message] = {}
        self._lost_for_good = 0

    def opens(self, now: float, wall: float) -> None:
        """The publisher begins to send: from here on there is silence."""
        if self._last_arrival is None:
            self._last_arrival = now, wall

    def send(self, now: float, window: str) -> int:
        """The number of the next message."""
        self.sent += 1
        self._waiting[self.sent] = _Message(now, window)
        if len(self._waiting) > MOST_WAITING:
            oldest = self._waiting.pop(next(iter(self._waiting)))
            self._lost_for_good += oldest.acked_at is not None and not oldest.arrived
        return self.sent

    def acknowledge(self, number: int, now: float) -> None:
        """The broker has taken a message."""
        message = self._waiting.get(number)
        self.acked += 1
        if message is None:
            return
        message.acked_at = now
        if message.arrived:
            del self._waiting[number]

    def arrive(self, number: int, now: float, wall: float) -> tuple[str, float] | None:
        """A message has come. Its window and its time on the way in seconds; None where it came before."""
        if not 0 < number <= self.sent:
            return None
        self._heard(now, wall)
        message = self._waiting.get(number)
        if message is None or message.arrived:
            self.duplicated += 1
            return None
        self.received += 1
        self.reordered += number < self._highest
        self._highest = max(self._highest, number)
        message.arrived = True
        if message.acked_at is not None:
            del self._waiting[number]
        return message.window, now - message.sent_at

    def lost(self, now: float) -> int:
        """How many messages are lost by now."""
        return self._lost_for_good + sum(
            message.acked_at is not None
            and not message.arrived
            and (number < self._highest or now - message.acked_at >= GRACE)
            for number, message in self._waiting.items()
        )

    def is_through(self, number: int) -> bool:
        """Whether a message was acknowledged and has come."""
        return number not in self._waiting

    def gap(self, now: float) -> tuple[float, float | None]:
        """The longest silence in seconds, with the one that lasts, and when it began."""
        if self._silence and self._last_arrival is not None and now - self._last_arrival[0] > self.longest_gap:
            return now - self._last_arrival[0], self._last_arrival[1]
        return self.longest_gap, self.longest_gap_at

    def _heard(self, now: float, wall: float) -> None:
        self.longest_gap, self.longest_gap_at = self.gap(now)
        self._last_arrival = now, wall


@dataclass
class NodeCounts:
    """What is counted of one node. ``clients`` are the names of its clients, such as ``idle-1``."""

    address: str
    clients: Sequence[str]
    links: list[Link] = field(default_factory=list)
    connected: set[str] = field(default_factory=set)
    disconnects: list[dict[str, Any]] = field(default_factory=list)
    disconnected: int = 0
    window: str = "before"
    round_trips: Mapping[str, RoundTrips] = field(default_factory=lambda: {window: RoundTrips() for window in WINDOWS})

    def lose(self, client: str, wall: float, reason: str) -> None:
        """A client has lost its connection."""
        self.connected.discard(client)
        self.disconnected += 1
        if len(self.disconnects) < MOST_DISCONNECTS:
            self.disconnects.append({"at": round(wall, 3), "client": client, "reason": reason})

    def arrived(self, link: Link, number: int, now: float, wall: float) -> None:
        """A message of a link has come."""
        found = link.arrive(number, now, wall)
        if found is not None:
            self.round_trips[found[0]].add(found[1])

    def row(self, now: float) -> dict[str, Any]:
        """The node's row in the result; ``longest_gap_at`` is when the silence began."""
        gap, gap_at = max((link.gap(now) for link in self.links), key=lambda found: found[0], default=(0.0, None))
        return {
            "address": self.address,
            "clients": len(self.clients),
            "connected": len(self.connected),
            "disconnects": list(self.disconnects),
            "disconnected": self.disconnected,
            "sent": sum(link.sent for link in self.links),
            "acked": sum(link.acked for link in self.links),
            "received": sum(link.received for link in self.links),
            "lost": sum(link.lost(now) for link in self.links),
            "duplicated": sum(link.duplicated for link in self.links),
            "reordered": sum(link.reordered for link in self.links),
            "longest_gap_ms": round(gap * 1000),
            "longest_gap_at": None if gap_at is None else round(gap_at, 3),
            "round_trip_ms": {window: self.round_trips[window].summary() for window in WINDOWS},
        }
