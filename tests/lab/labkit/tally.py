# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the clients of a swarm count: pure bookkeeping, without sockets.

Every publisher numbers its messages from 1, for its one topic. A message is lost if its publisher knows that it went
out (QoS 1: acknowledged; QoS 0: written to the socket) and its subscriber never had it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Outgoing:
    """What one publisher sent. ``acked`` has the numbers that are known to have gone out."""

    topic: str
    qos: int
    last: int = 0
    skipped: int = 0
    acked: set[int] = field(default_factory=set)
    waiting: dict[int, int] = field(default_factory=dict)

    def next(self) -> int:
        """The number of the next message."""
        self.last += 1
        return self.last

    def sent(self, packet: int, number: int) -> None:
        """The message of this number went to the library under this packet id."""
        self.waiting[packet] = number

    def went_out(self, packet: int) -> None:
        """The packet is acknowledged (QoS 1) or written (QoS 0)."""
        number = self.waiting.pop(packet, None)
        if number is not None:
            self.acked.add(number)


@dataclass
class Incoming:
    """What one subscriber received of its one topic. Times are seconds of a clock that only goes forward."""

    topic: str
    seen: set[int] = field(default_factory=set)
    received: int = 0
    duplicated: int = 0
    reordered: int = 0
    gaps: int = 0
    highest: int = 0
    last_at: float | None = None
    longest: float = 0.0
    longest_ended: float | None = None

    def arrived(self, number: int, at: float) -> None:
        """A message came."""
        self.received += 1
        if self.last_at is not None and at - self.last_at > self.longest:
            self.longest, self.longest_ended = at - self.last_at, at
        self.last_at = at
        if number in self.seen:
            self.duplicated += 1
            return
        self.seen.add(number)
        if number < self.highest:
            self.reordered += 1
        elif number > self.highest + 1:
            self.gaps += 1
        self.highest = max(self.highest, number)

    def silence_ends(self, at: float) -> None:
        """Publishing has ended: what is silent since its last message until now is a gap as well."""
        if self.last_at is not None and at - self.last_at > self.longest:
            self.longest, self.longest_ended = at - self.last_at, at


@dataclass
class Tally:
    """One client's counts."""

    client: str
    node: str
    kind: str
    qos: int
    connects: int = 0
    disconnects: int = 0
    reconnects: int = 0
    failures: int = 0
    connected: bool = False
    connected_at_end: bool = False
    out: Outgoing | None = None
    incoming: Incoming | None = None
    source: Outgoing | None = None
    source_client: str | None = None

    def lost(self) -> list[int]:
        """The numbers that went out to this subscriber and never came, in order."""
        if self.incoming is None or self.source is None:
            return []
        return sorted(self.source.acked - self.incoming.seen)


@dataclass
class Visits:
    """What became of the clients that came to one node in the course of a run.

    Who came has left by itself, was ``cut`` off before, or is ``present`` at the end. Who was ``refused`` never came.
    """

    came: int = 0
    left: int = 0
    refused: int = 0
    cut: int = 0
    present: int = 0


def visits(by_node: Mapping[str, Visits]) -> dict[str, Any]:
    """``total`` and ``nodes`` for the result."""
    nodes = {name: asdict(one) for name, one in by_node.items()}
    return {"total": {key: sum(one[key] for one in nodes.values()) for key in asdict(Visits())}, "nodes": nodes}


COUNTS = (
    "clients",
    "connected",
    "kept",
    "connects",
    "disconnects",
    "reconnects",
    "connect_failures",
    "sent",
    "acked",
    "unacked",
    "skipped",
    "received",
    "lost",
    "lost_qos0",
    "lost_qos1",
    "duplicated",
    "reordered",
    "gaps",
)


def add_up(tallies: Iterable[Tally]) -> dict[str, Any]:
    """The counts of several clients together, and ``max_gap_ms`` as the longest of them.

    ``connected`` are those that had their connection at the end, ``kept`` those of them that never lost it.
    ``sent`` and ``acked`` count with the publisher's node, ``received`` and ``lost`` with the subscriber's.
    """
    found: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    longest = 0.0
    for tally in tallies:
        found["clients"] += 1
        found["connected"] += tally.connected_at_end
        found["kept"] += tally.connected_at_end and not tally.disconnects
        found["connects"] += tally.connects
        found["disconnects"] += tally.disconnects
        found["reconnects"] += tally.reconnects
        found["connect_failures"] += tally.failures
        if tally.out:
            found["sent"] += tally.out.last
            found["acked"] += len(tally.out.acked)
            found["unacked"] += tally.out.last - len(tally.out.acked)
            found["skipped"] += tally.out.skipped
        # An idle client gets nothing but the one message at the end, which is counted as such and not here.
        if tally.incoming and tally.kind != "idle":
            found["received"] += tally.incoming.received
            found["duplicated"] += tally.incoming.duplicated
            found["reordered"] += tally.incoming.reordered
            found["gaps"] += tally.incoming.gaps
            longest = max(longest, tally.incoming.longest)
            lost = len(tally.lost())
            found["lost"] += lost
            found["lost_qos1" if tally.qos else "lost_qos0"] += lost
    found["max_gap_ms"] = round(longest * 1000)
    return found


def subscriber(tally: Tally) -> dict[str, Any]:
    """One subscriber's row of the result."""
    incoming = tally.incoming or Incoming("")
    lost = tally.lost()
    return {
        "node": tally.node,
        "kind": tally.kind,
        "qos": tally.qos,
        "publisher": tally.source_client,
        "received": incoming.received,
        "lost": len(lost),
        "lost_numbers": lost[:20],
        "duplicated": incoming.duplicated,
        "reordered": incoming.reordered,
        "gaps": incoming.gaps,
        "max_gap_ms": round(incoming.longest * 1000),
        "disconnects": tally.disconnects,
        "kept": tally.connected_at_end and not tally.disconnects,
    }
