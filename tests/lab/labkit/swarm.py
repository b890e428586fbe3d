# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""MQTT clients at scale: real ones, hundreds in one process and one thread, that count what becomes of every message.

A busy client publishes numbered messages to a topic of its own and subscribes to that of a peer on the next node. An
idle client subscribes and says nothing, with a long keep-alive; at the very end one message is sent to each, to see
that its connection is more than a socket that nobody has closed yet.

Beside these, which last, others may come and go: each subscribes, stays for a while and leaves. When who comes, and who
of them leaves without saying so, is fixed by their numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import heapq
import itertools
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from .tally import Incoming, Outgoing, Tally, Visits, add_up, subscriber, visits

RESULT_FORMAT = 2
TICK = 0.5
MOST_EVENTS = 10_000
HANDSHAKE_SECONDS = 10.0
# Of the clients that come and go, every so many-th closes its socket without a DISCONNECT.
SILENT_EVERY = 4
SETTINGS = (
    *("busy", "idle", "rate", "qos", "keepalive", "busy_keepalive"),
    *("churn", "churn_stay", "drift", "drain", "reconnect", "probe"),
)


@dataclass(frozen=True)
class Node:
    """A broker to connect to; messages go from node to node of one cluster."""

    name: str
    host: str
    port: int
    cluster: str = ""


class Wire(mqtt.Client):
    """A paho client over a connection made elsewhere: making one can take seconds, and all others would wait."""

    prepared: socket.socket | None = None

    def _create_socket_connection(self) -> socket.socket:
        if self.prepared is None:
            raise OSError("no connection was prepared")
        made, self.prepared = self.prepared, None
        return made


class Member:
    """One client of the swarm: the library's client with its counts."""

    def __init__(self, swarm: Swarm, node: Node, tally: Tally, keepalive: int) -> None:
        self.swarm = swarm
        self.node = node
        self.tally = tally
        self.ready = False
        self.leaving = False
        self.attempts = 0
        self.connection: socket.socket | None = None
        self.attached_at = 0.0
        self.subscribe_to: str | None = tally.incoming.topic if tally.incoming else None
        self.wire = Wire(CallbackAPIVersion.VERSION2, client_id=tally.client, protocol=mqtt.MQTTv311)
        self.wire.max_inflight_messages_set(1000)
        self.wire.connect_async(node.host, node.port, keepalive)
        self.wire.on_connect = self._on_connect
        self.wire.on_connect_fail = None
        self.wire.on_disconnect = self._on_disconnect
        self.wire.on_subscribe = self._on_subscribe
        self.wire.on_message = self._on_message
        self.wire.on_publish = self._on_publish
        self.wire.on_socket_open = lambda _client, _data, sock: swarm.watch(self, sock)
        self.wire.on_socket_close = lambda _client, _data, sock: swarm.unwatch(sock)
        self.wire.on_socket_register_write = lambda _client, _data, sock: swarm.watch(self, sock, write=True)
        self.wire.on_socket_unregister_write = lambda _client, _data, sock: swarm.watch(self, sock)

    def attach(self, connection: socket.socket) -> None:
        """Speak MQTT over a connection."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.attached_at = connection, time.monotonic()
        self.wire.prepared = connection
        self.wire.reconnect()

    def look_after(self) -> None:
        """Keep-alive, and an end to a handshake that the broker does not answer (a frozen one accepts connections)."""
        self.wire.loop_misc()
        waited = time.monotonic() - self.attached_at
        if self.connection is not None and not self.tally.connected and waited > HANDSHAKE_SECONDS:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)  # the loop then sees the end of it, as of any other
            self.connection = None

    def not_connected(self, reason: str) -> None:
        """There is nobody at the other end."""
        self.tally.failures += 1
        self.swarm.event("connect_failed", self, reason)
        self.swarm.lost_connection(self)

    def publish(self) -> None:
        """Send the next message, or note that it could not be sent."""
        out = self.tally.out
        assert out is not None
        if not self.tally.connected:
            out.skipped += 1
            return
        number = out.next()
        info = self.wire.publish(out.topic, b"%d %d" % (number, time.time_ns()) + self.swarm.padding, out.qos)
        out.sent(info.mid, number)
        # QoS 0 is often written, and reported, before its packet id is known here.
        if info.is_published():
            out.went_out(info.mid)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.tally.failures += 1
            self.swarm.event("connect_failed", self, str(reason))
            return
        self.tally.connected = True
        self.tally.connects += 1
        self.attempts = 0
        if self.tally.connects > 1:
            self.tally.reconnects += 1
            self.swarm.event("reconnect", self, "")
        if self.subscribe_to:
            self.wire.subscribe(self.subscribe_to, self.tally.qos)
        else:
            self.ready = True

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self.swarm.event("subscribe_failed", self, ", ".join(map(str, reasons)))
            return
        self.ready = True

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was, self.tally.connected = self.tally.connected, False
        if self.leaving:
            return
        if was:
            self.tally.disconnects += 1
            self.swarm.event("disconnect", self, str(reason))
        self.swarm.lost_connection(self)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if self.tally.incoming:
            self.tally.incoming.arrived(int(message.payload.split(b" ", 1)[0]), time.monotonic())

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        if self.tally.out:
            self.tally.out.went_out(mid)


class Visitor(Member):
    """A client that comes in the course of a run and leaves by itself, or stays until the end if ``stay`` is None."""

    def __init__(
        self, swarm: Swarm, node: Node, tally: Tally, visits: Visits, stay: float | None, silently: bool
    ) -> None:
        super().__init__(swarm, node, tally, swarm.options.busy_keepalive)
        self.visits, self.stay, self.silently = visits, stay, silently
        self.state = "coming"

    def not_connected(self, reason: str) -> None:
        self._refused(reason)

    def leave(self) -> None:
        """Disconnect, if it still has its connection."""
        if self.state != "here":
            return
        self._gone(leaving=True)
        self.visits.left += 1
        if self.silently:
            assert self.connection is not None
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wire.disconnect()

    def _refused(self, reason: str) -> None:
        self._gone()
        self.visits.refused += 1
        self.swarm.event("connect_failed", self, reason)

    def _gone(self, *, leaving: bool = False) -> None:
        self.state, self.leaving, self.tally.connected = "gone", leaving, False
        self.swarm.visitors.discard(self)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused(str(reason))
            return
        self.state = "here"
        self.visits.came += 1
        super()._on_connect(client, data, flags, reason, properties)
        if self.stay is not None:
            self.swarm.at(time.monotonic() + self.stay, self.leave)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self.state == "coming":
            self._refused(str(reason))
        elif self.state == "here":
            self._gone()
            self.visits.cut += 1
            self.swarm.event("disconnect", self, str(reason))


class Swarm:
    """All clients, in one loop."""

    def __init__(self, nodes: Sequence[Node], options: argparse.Namespace) -> None:
        self.options = options
        self.nodes = list(nodes)
        self.padding = b" " + b"x" * options.payload if options.payload else b""
        self.events: list[dict[str, Any]] = []
        self.events_left_out = 0
        self.phase = "connecting"
        self.stop_reason: str | None = None
        self.times: dict[str, float | None] = {"started": time.time(), "ready": None, "stopped": None, "finished": None}
        self._interrupts = 0
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="connect")
        self._dialled: deque[tuple[Member, Future[socket.socket]]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self.members = self._populate()
        self.visitors: set[Visitor] = set()
        self.churn = {node.name: Visits() for node in self.nodes}
        self.drift = {node.name: Visits() for node in self.nodes}

    # What the clients are

    def _populate(self) -> list[Member]:
        options, nodes = self.options, self.nodes
        members: list[Member] = []
        busy: dict[tuple[int, int], Tally] = {}
        for place, node in enumerate(nodes):
            for number in range(options.busy):
                name = f"{options.prefix}-{node.name}-busy-{number + 1}"
                qos = number % 2 if options.qos == "mixed" else int(options.qos)
                tally = Tally(name, node.name, "busy", qos, out=Outgoing(f"{options.prefix}/busy/{name}", qos))
                busy[place, number] = tally
                members.append(Member(self, node, tally, options.busy_keepalive))
        for (place, number), tally in busy.items():
            peer = busy[self._peer(place, number)]
            assert peer.out is not None
            tally.source, tally.source_client = peer.out, peer.client
            tally.incoming = Incoming(peer.out.topic)
        for node in nodes:
            for number in range(options.idle):
                name = f"{options.prefix}-{node.name}-idle-{number + 1}"
                qos = number % 2 if options.qos == "mixed" else int(options.qos)
                tally = Tally(name, node.name, "idle", qos, incoming=Incoming(f"{options.prefix}/idle/{name}"))
                members.append(Member(self, node, tally, options.keepalive))
        for member in members:
            member.subscribe_to = member.tally.incoming.topic if member.tally.incoming else None
        return members

    def _peer(self, place: int, number: int) -> tuple[int, int]:
        """Whose messages a busy client receives: the same client of the cluster's next node, or, with one node only,
        the next client there that has the same QoS.
        """
        cluster = self.nodes[place].cluster
        places = [index for index, node in enumerate(self.nodes) if node.cluster == cluster]
        if len(places) > 1:
            return places[(places.index(place) + 1) % len(places)], number
        step = 2 if self.options.qos == "mixed" else 1
        same = range(number % step, self.options.busy, step)
        return place, same[(same.index(number) + 1) % len(same)]

    # The loop

    def watch(self, member: Member, sock: Any, *, write: bool = False) -> None:
        """Wait for a client's socket to be readable, and writable if asked."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if sock.fileno() < 0:
            return
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, wanted, member)
        else:
            self._selector.register(sock, wanted, member)

    def unwatch(self, sock: Any) -> None:
        """Forget a socket that is about to be closed."""
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time of the monotonic clock."""
        heapq.heappush(self._later, (when, next(self._order), do))

    def turn(self, longest: float = TICK) -> None:
        """One turn: what is due is done, what came is read, what waits is written."""
        now = time.monotonic()
        pause = longest if not self._later else max(0.0, min(longest, self._later[0][0] - now))
        for key, mask in self._selector.select(pause):
            if key.data is None:
                self._drain_wakes()
                continue
            if mask & selectors.EVENT_READ:
                key.data.wire.loop_read()
            if mask & selectors.EVENT_WRITE and key.data.wire.want_write():
                key.data.wire.loop_write()
        while self._dialled:
            self._answered(*self._dialled.popleft())
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def _drain_wakes(self) -> None:
        try:
            while self._wake_read.recv(4096):
                pass
        except BlockingIOError:
            return

    def _tick(self) -> None:
        for member in [*self.members, *self.visitors]:
            member.look_after()
        self._write_status()
        self.at(time.monotonic() + TICK, self._tick)

    # Connecting

    def dial(self, member: Member) -> None:
        """Make a connection for a client, in the background."""

        def finished(future: Future[socket.socket]) -> None:
            self._dialled.append((member, future))
            self._wake_write.send(b".")

        address = (member.node.host, member.node.port)
        self._pool.submit(socket.create_connection, address, 5).add_done_callback(finished)

    def _answered(self, member: Member, future: Future[socket.socket]) -> None:
        try:
            member.attach(future.result())
        except OSError as error:
            member.not_connected(str(error))

    def lost_connection(self, member: Member) -> None:
        """A client has no connection (any more): try again if that is wanted, or if it never had one."""
        if self.phase == "connecting" or (self.options.reconnect and self.phase in ("running", "draining")):
            member.attempts += 1
            self.at(time.monotonic() + min(5.0, 0.25 * 2 ** min(member.attempts, 5)), lambda: self.dial(member))

    def event(self, what: str, member: Member, reason: str) -> None:
        """Note what happened to a client, with the time."""
        if len(self.events) >= MOST_EVENTS:
            self.events_left_out += 1
            return
        now = time.time()
        tally = member.tally
        self.events.append(
            {
                "time": round(now, 3),
                "utc": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
                "event": what,
                "client": tally.client,
                "node": tally.node,
                "kind": tally.kind,
                "phase": self.phase,
                "reason": reason,
            }
        )

    # The course of a run

    def run(self) -> int:
        """Connect, run until told to stop, drain, write the result. The exit code: 0, or 1 if not all got connected."""
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.at(time.monotonic(), self._tick)
        for member in self.members:
            self.dial(member)
        limit = time.monotonic() + self.options.connect_timeout
        while not all(member.ready for member in self.members) and time.monotonic() < limit and not self.stop_reason:
            self.turn()
        complete = all(member.ready for member in self.members)
        if complete:
            self._publish_until_stopped()
        elif not self.stop_reason:
            self.stop_reason = "connect timeout"
            late = [member.tally.client for member in self.members if not member.ready]
            print(
                f"swarm: {len(late)} of {len(self.members)} clients were not connected and subscribed within "
                f"{self.options.connect_timeout:g} s: {', '.join(late[:5])}{' …' if len(late) > 5 else ''}",
                file=sys.stderr,
            )
        self._drain()
        self._leave()
        self._write_result()
        return 1 if self.stop_reason == "connect timeout" else 0

    def _publish_until_stopped(self) -> None:
        self.phase = "running"
        self.times["ready"] = time.time()
        self._write_status()
        if self.options.ready_file:
            Path(self.options.ready_file).write_text(f"{os.getpid()}\n", encoding="ascii")
        busy = [member for member in self.members if member.tally.out]
        pause = 1 / self.options.rate
        begin = time.monotonic()
        for place, member in enumerate(busy):
            self._schedule(member.publish, begin + pause * place / len(busy), pause)
        self._schedule_visits(begin)
        end = begin + self.options.duration if self.options.duration else None
        while not self.stop_reason:
            if end is not None and time.monotonic() >= end:
                self.stop_reason = "duration"
                break
            self.turn()

    def _schedule(self, do: Callable[[], None], when: float, pause: float) -> None:
        """Do something at a time and again after each pause, until the end of the run."""

        def once() -> None:
            if self.phase == "running" and not self.stop_reason:
                do()
                # From the time it was due, so that a late turn does not lower the rate; but no burst after a long stop.
                self._schedule(do, max(when + pause, time.monotonic() - 1), pause)

        self.at(when, once)

    def _schedule_visits(self, begin: float) -> None:
        """Clients that come and go, and idle ones that become more or less: each node in its turn."""
        churn, drift = self.options.churn, self.options.drift
        for place, node in enumerate(self.nodes):
            turn = place / len(self.nodes)
            if churn:
                numbers = itertools.count(1)
                come = functools.partial(self._come, node, "churn", numbers, self.churn[node.name])
                self._schedule(come, begin + turn / churn, 1 / churn)
            if drift > 0:
                numbers = itertools.count(1)
                come = functools.partial(self._come, node, "drift", numbers, self.drift[node.name])
                self._schedule(come, begin + (1 + turn) / drift, 1 / drift)
            if drift < 0:
                self._schedule(functools.partial(self._one_less, node), begin + (1 + turn) / -drift, 1 / -drift)

    def _come(self, node: Node, kind: str, numbers: Iterator[int], visits: Visits) -> None:
        number = next(numbers)
        name = f"{self.options.prefix}-{node.name}-{kind}-{number}"
        tally = Tally(name, node.name, kind, 1, incoming=Incoming(f"{self.options.prefix}/{kind}/{name}"))
        stay = self.options.churn_stay if kind == "churn" else None
        visitor = Visitor(self, node, tally, visits, stay, silently=number % SILENT_EVERY == 0)
        self.visitors.add(visitor)
        self.dial(visitor)

    def _one_less(self, node: Node) -> None:
        """The last of a node's idle clients leaves, and counts no more among those that last."""
        idle = [m for m in self.members if m.node is node and m.tally.kind == "idle" and m.tally.connected]
        if not idle:
            return
        last = idle[-1]
        self.members.remove(last)
        last.leaving = True
        last.wire.disconnect()
        self.drift[node.name].left += 1

    def _drain(self) -> None:
        """Wait for what is on its way, at most as long as asked, and see whether idle clients can still be reached."""
        self.times["stopped"] = time.time()
        ran, self.phase = self.phase == "running", "draining"
        stopped = time.monotonic()
        for member in self.members:
            if ran and member.tally.out and member.tally.incoming:
                member.tally.incoming.silence_ends(stopped)
        probes = self._probe_idle() if ran and self.options.idle and self.options.probe else []
        self._interrupts = 0
        end = stopped + self.options.drain
        while time.monotonic() < end and not self._settled() and not self._interrupts:
            self.turn(0.1)
        for probe in probes:
            probe.leaving = True
            probe.wire.disconnect()

    def _probe_idle(self) -> list[Member]:
        """Send one message to each idle client, by a client of its own on the same node."""
        probes = []
        for node in self.nodes:
            tally = Tally(f"{self.options.prefix}-{node.name}-probe", node.name, "probe", 1)
            probe = Member(self, node, tally, 60)
            idle = [member for member in self.members if member.tally.kind == "idle" and member.node is node]
            for member in idle:
                assert member.tally.incoming is not None
                member.tally.source = Outgoing(member.tally.incoming.topic, 1)
                member.tally.source_client = tally.client

            def connected(
                client: Any, _data: Any, _flags: Any, reason: Any, _props: Any, probed: Sequence[Member] = idle
            ) -> None:
                for member in [] if reason.is_failure else probed:
                    out = member.tally.source
                    assert out is not None
                    info = client.publish(out.topic, b"1", 1)
                    out.sent(info.mid, out.next())

            def published(
                _client: Any, _data: Any, mid: int, _reason: Any, _props: Any, probed: Sequence[Member] = idle
            ) -> None:
                for member in probed:
                    if member.tally.source:
                        member.tally.source.went_out(mid)

            probe.wire.on_connect = connected
            probe.wire.on_publish = published
            probes.append(probe)
            self.dial(probe)
        return probes

    def _settled(self) -> bool:
        """Whether all that was sent is acknowledged and has come, every idle client was reached, and nobody is about to
        come.
        """
        if any(visitor.state == "coming" for visitor in self.visitors):
            return False
        for member in self.members:
            tally = member.tally
            if tally.out and (tally.connected and tally.out.waiting):
                return False
            if tally.source and tally.incoming:
                if not tally.incoming.seen >= tally.source.acked:
                    return False
                if tally.kind == "idle" and not tally.incoming.seen:
                    return False
        return True

    def _leave(self) -> None:
        self.phase = "leaving"
        for member in self.members:
            member.leaving = True
            member.tally.connected_at_end = member.tally.connected
            if member.tally.connected:
                member.wire.disconnect()
        for visitor in list(self.visitors):
            if visitor.state == "here":
                visitor.visits.present += 1
                visitor.state, visitor.leaving = "gone", True
                visitor.wire.disconnect()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            self.turn(0.05)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_reason is None:
            self.stop_reason = signal.Signals(number).name
        else:
            self._interrupts += 1  # a second one cuts the draining short; the result is written all the same

    # What comes out

    def _idle_reached(self, tallies: Sequence[Tally]) -> dict[str, int]:
        idle = [tally for tally in tallies if tally.kind == "idle"]
        return {
            "idle_probed": sum(1 for tally in idle if tally.source),
            "idle_reached": sum(1 for tally in idle if tally.source and tally.incoming and tally.incoming.seen),
        }

    def _counts(self, tallies: Sequence[Tally]) -> dict[str, Any]:
        return {**add_up(tallies), **self._idle_reached(tallies)}

    def result(self) -> dict[str, Any]:
        """Everything that was counted; docs/lab.md tells the keys."""
        tallies = [member.tally for member in self.members]

        def by_kind(some: Sequence[Tally]) -> dict[str, Any]:
            return {
                "total": self._counts(some),
                "busy": self._counts([tally for tally in some if tally.kind == "busy"]),
                "idle": self._counts([tally for tally in some if tally.kind == "idle"]),
            }

        return {
            "format": RESULT_FORMAT,
            "complete": self.times["ready"] is not None,
            "stop_reason": self.stop_reason,
            "times": {key: None if value is None else round(value, 3) for key, value in self.times.items()},
            "settings": {key: getattr(self.options, key) for key in SETTINGS},
            **by_kind(tallies),
            "qos": {
                str(qos): self._counts([t for t in tallies if t.qos == qos and t.kind == "busy"]) for qos in (0, 1)
            },
            "nodes": {
                node.name: by_kind([tally for tally in tallies if tally.node == node.name]) for node in self.nodes
            },
            "churn": visits(self.churn),
            "drift": visits(self.drift),
            "events": self.events,
            "events_left_out": self.events_left_out,
            "subscribers": {tally.client: subscriber(tally) for tally in tallies if tally.incoming},
        }

    def _write_result(self) -> None:
        self.times["finished"] = time.time()
        self.phase = "finished"
        result = self.result()
        if self.options.result:
            write_whole(Path(self.options.result), json.dumps(result, indent=1))
        self._write_status()
        total = result["total"]
        print(
            f"swarm: {total['clients']} clients, {total['disconnects']} disconnects, sent {total['sent']}, "
            f"acked {total['acked']}, received {total['received']}, lost {total['lost']}, "
            f"duplicated {total['duplicated']}"
        )
        for kind in ("churn", "drift"):
            seen = result[kind]["total"]
            if any(seen.values()):
                print(f"swarm: {kind}: " + ", ".join(f"{number} {what}" for what, number in seen.items()))

    def _write_status(self) -> None:
        if not self.options.status_file:
            return
        tallies = [member.tally for member in self.members]
        status = {
            "phase": self.phase,
            "time": round(time.time(), 3),
            "pid": os.getpid(),
            "clients": len(tallies),
            "connected": sum(tally.connected for tally in tallies),
            "ready": sum(member.ready for member in self.members),
            "disconnects": sum(tally.disconnects for tally in tallies),
            "reconnects": sum(tally.reconnects for tally in tallies),
            "sent": sum(tally.out.last for tally in tallies if tally.out),
            "acked": sum(len(tally.out.acked) for tally in tallies if tally.out),
            "received": sum(tally.incoming.received for tally in tallies if tally.incoming),
            "churn": visits(self.churn)["total"],
            "drift": visits(self.drift)["total"],
        }
        write_whole(Path(self.options.status_file), json.dumps(status))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(f"{text}\n", encoding="utf-8")
    fresh.replace(path)


def parse_node(text: str) -> Node:
    """``NAME=HOST:PORT`` or ``CLUSTER/NAME=HOST:PORT``; the name may be left out, and then is the address.

    :raises argparse.ArgumentTypeError: if the port is not a number.
    """
    label, equals, rest = text.partition("=")
    if not equals:
        label, rest = "", text
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, "1883"
    if not port.isdigit() or not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not a node; expected NAME=HOST:PORT, such as h1=10.99.0.11:1883")
    cluster, _unused, name = label.rpartition("/")
    return Node(name or rest, host, int(port), cluster)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="swarm", description="MQTT clients that count what becomes of every message; see docs/lab.md."
    )
    add = options.add_argument
    add(
        "--node",
        type=parse_node,
        action="append",
        required=True,
        metavar="[CLUSTER/]NAME=HOST:PORT",
        help="a broker; repeat for each node",
    )
    add(
        "--busy",
        type=int,
        default=10,
        metavar="N",
        help="publishing and subscribing clients a node (default: %(default)s)",
    )
    add("--idle", type=int, default=10, metavar="N", help="silent subscribers a node (default: %(default)s)")
    add("--rate", type=float, default=1.0, help="messages a second of each busy client (default: %(default)s)")
    add("--qos", choices=["0", "1", "mixed"], default="1", help="mixed: every other client (default: %(default)s)")
    add(
        "--churn",
        type=float,
        default=0.0,
        metavar="RATE",
        help="clients a second that come to each node besides, subscribe, stay for a while and leave",
    )
    add(
        "--churn-stay",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="for which each of them stays (default: %(default)s)",
    )
    add(
        "--drift",
        type=float,
        default=0.0,
        metavar="RATE",
        help="clients a second that come to each node and stay; below 0: idle ones that leave it for good",
    )
    add("--payload", type=int, default=0, metavar="BYTES", help="added to each message")
    add("--keepalive", type=int, default=600, metavar="SECONDS", help="of idle clients (default: %(default)s)")
    add("--busy-keepalive", type=int, default=60, metavar="SECONDS", help="of busy clients (default: %(default)s)")
    add("--prefix", default="lab", help="of client ids and topics (default: %(default)s)")
    add("--duration", type=float, metavar="SECONDS", help="stop by itself; else SIGTERM or SIGINT stops it")
    add(
        "--drain", type=float, default=5.0, metavar="SECONDS", help="how long to wait at the end for what is on its way"
    )
    add(
        "--connect-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for all to be connected (default: %(default)s)",
    )
    add("--reconnect", action="store_true", help="connect again after a disconnect, which counts all the same")
    add("--no-probe", dest="probe", action="store_false", help="do not send each idle client a message at the end")
    add("--result", metavar="FILE", help="where the JSON result goes")
    add("--ready-file", metavar="FILE", help="written (with the process id) when all are connected and subscribed")
    add("--status-file", metavar="FILE", help="JSON, written anew twice a second")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run a swarm. Exit code 0 whatever was lost, 1 if not all clients got connected, 2 for wrong options."""
    arguments = parser()
    options = arguments.parse_args(argv)
    names = [node.name for node in options.node]
    if len(set(names)) != len(names):
        arguments.error(f"two nodes have one name: {', '.join(names)}")
    if options.busy < 0 or options.idle < 0 or options.busy + options.idle == 0 or options.rate <= 0:
        arguments.error("expected --busy and --idle of 0 or more, not both 0, and a --rate above 0")
    if options.churn < 0 or options.churn_stay <= 0:
        arguments.error("expected a --churn of 0 or more clients a second, and a --churn-stay above 0 s")
    # A client of the library holds three descriptors.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Swarm(options.node, options).run()
