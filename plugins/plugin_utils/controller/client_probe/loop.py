# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe's process: all clients in one loop, by paho-mqtt, which only this file and only this process imports.

It ends when it is told to, and soon after the process of the run has ended, however that ended.

A question is a line of JSON on the socket of the probe's directory, and so is the answer:

``ready``
    answered when every client is connected or has tried three times in vain, or the time for that is over: ``nodes``,
    see ``probe_check.refusal``.
``count``
    of ``hosts``: ``nodes``, the row of each now. Every subscriber and idle client is sent one message more, and the
    answer is given when all of it has come, or after some three seconds; ``answered`` tells which.
``mark``
    the ``window`` of a ``host`` for the messages from now on.
``stop``
    counts all nodes, closes all connections, answers with the whole result, and ends.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import re
import resource
import secrets
import selectors
import shutil
import signal
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_counts import GRACE, Link, NodeCounts

STATE = "state.json"
#: Seconds between two looks at clients, at the process of the run, and two states on the disk.
_TICK = 0.5
_STATE_SECONDS = 1.0
#: Seconds for TCP and TLS, and for the broker's answer to CONNECT and SUBSCRIBE.
_CONNECT_SECONDS = 5.0
_HANDSHAKE_SECONDS = 10.0
_KEEPALIVE = 30
#: Messages a second of all publishers together, whatever the rate of each.
_MOST_MESSAGES = 1000
#: Messages of a publisher that wait for their acknowledgement; the library sends as many ahead.
_MOST_UNACKED = 20
_LONGEST_PAUSE = 5.0
#: Failures of a client, in a row, after which a run is not kept waiting for it.
_TRIES = 3
_LEAVE_SECONDS = 0.3
#: For an answer, so that what is lost counts as lost in it.
_COUNT_SECONDS = GRACE + 0.5
_DIALLERS = 32
#: Descriptors of a client of the library, and of all the rest.
_DESCRIPTORS, _OTHER_DESCRIPTORS = 3, 200
_MOST_QUESTION = 65536
_NO_ANSWER = "no answer yet"
#: What the library calls the end of a connection.
_WORDS = {
    "Unspecified error": "the connection was closed or reset",
    "Protocol error": "what answers there does not keep to MQTT",
    "Keep alive timeout": f"no answer to a ping within {_KEEPALIVE} s",
}


class OrderError(Exception):
    """What was ordered cannot be done; said to whoever started the process."""


class Client:
    """One client: the library's, with what it is for."""

    def __init__(self, probe: Probe, node: Node, kind: str, number: int) -> None:
        self.name = f"{kind}-{number}"
        self.node = node
        self.kind = kind
        #: What it subscribes to, and the link that this is the end of.
        self.incoming: tuple[str, Link] | None = None
        self.ready = False
        self.reason = _NO_ANSWER
        self._probe = probe
        self.attempts = 0
        self._connection: socket.socket | None = None
        self._since = 0.0
        self._connected = False
        self._leaving = False
        self._unacked: dict[int, tuple[Link, int]] = {}
        self.wire = probe.new_wire(f"emqx-fleet-probe-{probe.tag}-{node.word}-{self.name}", node.order)
        self.wire.connect_async(node.order["host"], node.order["port"], _KEEPALIVE)
        self.wire.on_connect = self._on_connect
        self.wire.on_disconnect = self._on_disconnect
        self.wire.on_subscribe = self._on_subscribe
        self.wire.on_message = self._on_message
        self.wire.on_publish = self._on_publish
        self.wire.on_socket_open = lambda _client, _data, sock: probe.watch(self, sock)
        self.wire.on_socket_close = lambda _client, _data, sock: probe.unwatch(sock)
        self.wire.on_socket_register_write = lambda _client, _data, sock: probe.watch(self, sock, write=True)
        self.wire.on_socket_unregister_write = lambda _client, _data, sock: probe.watch(self, sock)

    def attach(self, connection: socket.socket) -> None:
        """Speak MQTT over a connection that was made elsewhere: making one takes time, and all others would wait."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._since = connection, time.monotonic()
        self.wire._create_socket_connection = lambda: connection
        self.wire.reconnect()

    def failed(self, reason: str) -> None:
        """It has no connection; try again, less and less often."""
        self.reason = reason
        self.ready = False
        if not self._leaving:
            self.attempts += 1
            pause = min(_LONGEST_PAUSE, 0.25 * 2 ** min(self.attempts - 1, 5))
            self._probe.at(time.monotonic() + pause, lambda: self._probe.dial(self))

    def look_after(self) -> None:
        """Keep-alive, and an end to a handshake that is not answered: a broker that hangs still accepts connections."""
        self.wire.loop_misc()
        late = time.monotonic() - self._since > _HANDSHAKE_SECONDS
        if self._connection is not None and not self.ready and late:
            self.reason = f"no answer within {_HANDSHAKE_SECONDS:g} s"
            with contextlib.suppress(OSError):
                # The loop sees the end of it then, as of any other connection.
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection = None

    def read(self) -> None:
        """Take in what has come; of TLS also what is decrypted already, for which no selector wakes."""
        self.wire.loop_read()
        pending = getattr(self._connection, "pending", None)
        while pending is not None and self.wire.socket() is self._connection and pending():
            self.wire.loop_read()

    def can_publish(self) -> bool:
        """Whether a message would be sent now."""
        return self.ready and len(self._unacked) < _MOST_UNACKED

    def publish(self, topic: str, link: Link) -> int:
        """Send the next message of a link; its number."""
        number = link.send(time.monotonic(), self.node.counts.window)
        info = self.wire.publish(topic, str(number).encode(), 1)
        self._unacked[info.mid] = link, number
        return number

    def leave(self) -> None:
        """Close the connection in good order."""
        self._leaving = True
        if self._connected:
            self.wire.disconnect()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.reason = f"the broker refused it: {reason}"
            return
        self._connected = True
        if self.incoming is None:
            self._is_ready()
        else:
            self.wire.subscribe(self.incoming[0], 1)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused and self.incoming is not None:
            self.reason = f"the broker refused its subscription to {self.incoming[0]}: {', '.join(refused)}"
            return
        self._is_ready()

    def _is_ready(self) -> None:
        self.ready = True
        self.attempts = 0
        self.node.counts.connected.add(self.name)
        self._probe.settle()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was, self._connected, self._connection = self.ready, False, None
        if self._leaving:
            return
        if was:
            self.reason = _WORDS.get(str(reason), str(reason))
            self.node.counts.lose(self.name, time.time(), self.reason)
        elif self.reason == _NO_ANSWER:
            self.reason = _WORDS.get(str(reason), str(reason))
        self.failed(self.reason)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if self.incoming is not None and message.topic == self.incoming[0] and message.payload.isdigit():
            self.node.counts.arrived(self.incoming[1], int(message.payload), time.monotonic(), time.time())
            self._probe.settle()

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        link, number = self._unacked.pop(mid, (None, 0))
        if link is not None:
            link.acknowledge(number, time.monotonic())
            self._probe.settle()


class Node:
    """One node: its clients, and who sends to whom."""

    def __init__(self, probe: Probe, host: str, order: Mapping[str, Any], word: str) -> None:
        self.host = host
        self.order = order
        self.word = word
        number = int(order["clients"])
        name = f"[{order['host']}]" if ":" in order["host"] else order["host"]
        self.counts = NodeCounts(f"{name}:{order['port']}", [])
        self.clients: list[Client] = []
        #: Publisher, subscriber, topic and link: of the pairs, and of the idle clients, which share the publishers.
        self.pairs: list[tuple[Client, Client, str, Link]] = []
        self.idle: list[tuple[Client, Client, str, Link]] = []
        base = f"{order['topic_prefix']}/{probe.tag}/{word}"
        for place in range(1, number + 1):
            publisher, subscriber = (Client(probe, self, kind, place) for kind in ("publisher", "subscriber"))
            idle = Client(probe, self, "idle", place)
            self.clients += [publisher, subscriber, idle]
            for client, rows in ((subscriber, self.pairs), (idle, self.idle)):
                topic, link = f"{base}/{client.name}", Link(silence=client is subscriber)
                client.incoming = topic, link
                rows.append((publisher, client, topic, link))
                self.counts.links.append(link)
        self.counts.clients = [client.name for client in self.clients]

    def flush(self) -> list[tuple[Link, int]]:
        """Send one more message on every link that takes one, and whose subscriber is there; the last number of each.

        One that is away would miss it because we asked.
        """
        return [
            (link, publisher.publish(topic, link) if publisher.can_publish() else link.sent)
            for publisher, subscriber, topic, link in [*self.pairs, *self.idle]
            if publisher.ready and subscriber.ready
        ]

    def standing(self) -> dict[str, Any]:
        """Whether its clients got connected."""
        missing = [client for client in self.clients if not client.ready]
        return {
            "address": self.counts.address,
            "clients": len(self.clients),
            "connected": len(self.clients) - len(missing),
            "reason": missing[0].reason if missing else "",
        }


class _Question:
    """A question that is answered later: when ``holds``, or at the deadline. ``answer`` is told which."""

    def __init__(
        self, asker: socket.socket, deadline: float, holds: Callable[[], bool], answer: Callable[[bool], dict[str, Any]]
    ) -> None:
        self.asker, self.deadline, self.holds, self.answer = asker, deadline, holds, answer


class Probe:
    """All clients, in one loop."""

    def __init__(self, order: Mapping[str, Any], mqtt: Any) -> None:
        self.tag = secrets.token_hex(4)
        self._order = order
        self._mqtt = mqtt
        self._directory = Path(order["directory"])
        self._selector = selectors.DefaultSelector()
        self._pool: ThreadPoolExecutor | None = None
        self._dialled: deque[tuple[Client, Future[socket.socket]]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order_of_later = itertools.count()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._askers: dict[socket.socket, bytes] = {}
        self._questions: list[_Question] = []
        self._started = time.time()
        self._ended: float | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._wanted = True
        self._begin = 0.0
        words = (re.sub(r"[^A-Za-z0-9._-]", "_", host)[:40] for host in order["nodes"])
        self.nodes = {
            host: Node(self, host, node, f"{number}-{word}")
            for number, (word, (host, node)) in enumerate(zip(words, order["nodes"].items(), strict=True), 1)
        }
        self.clients = [client for node in self.nodes.values() for client in node.clients]
        for node in self.nodes.values():
            self._context(node.order)

    def new_wire(self, name: str, order: Mapping[str, Any]) -> Any:
        """A client of the library, that keeps nothing on the broker when it is gone."""
        version = self._mqtt.CallbackAPIVersion.VERSION2
        wire = self._mqtt.Client(version, client_id=name, clean_session=True, protocol=self._mqtt.MQTTv311)
        if order.get("username") or order.get("password"):
            wire.username_pw_set(order.get("username") or None, order.get("password") or None)
        return wire

    # The course of it

    def listen(self) -> None:
        """Take questions from now on."""
        path = self._order["socket"]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener.bind(path)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wakes)

    def run(self) -> None:
        """Until told to stop, or the run has ended."""
        self._pool = ThreadPoolExecutor(max_workers=_DIALLERS, thread_name_prefix="connect")
        self._begin = time.monotonic()
        for client in self.clients:
            self.dial(client)
        self.at(self._begin, self._tick)
        self.at(self._begin, self._write_state)
        publishers = [row for node in self.nodes.values() for row in node.pairs]
        pause = max(1 / float(self._order["rate"]), len(publishers) / _MOST_MESSAGES)
        for place, (publisher, _subscriber, topic, link) in enumerate(publishers):
            self._publish_again(publisher, topic, link, self._begin + pause * place / len(publishers), pause)
        while self._wanted:
            self.turn()

    def close(self, keep: bool) -> None:
        """End what is still there; with ``keep`` the directory stays, for whoever asks why."""
        for client in self.clients:
            client.leave()
        end = time.monotonic() + _LEAVE_SECONDS
        while any(client.wire.want_write() for client in self.clients) and time.monotonic() < end:
            self.turn()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._listener.close()
        if keep:
            self._write_now()
        else:
            shutil.rmtree(self._directory, ignore_errors=True)
            path = Path(self._order["socket"])
            if path.parent != self._directory:
                shutil.rmtree(path.parent, ignore_errors=True)

    def end(self) -> None:
        """Leave the loop."""
        self._wanted = False

    def turn(self) -> None:
        """One turn: what came is read, what waits is written, what is due is done."""
        pause = self._later[0][0] - time.monotonic() if self._later else _TICK
        for key, mask in self._selector.select(max(0.0, min(_TICK, pause))):
            if not isinstance(key.data, Client):
                key.data()
                continue
            if mask & selectors.EVENT_READ:
                key.data.read()
            if mask & selectors.EVENT_WRITE and key.data.wire.want_write():
                key.data.wire.loop_write()
        while self._dialled:
            self._answered(*self._dialled.popleft())
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time of the monotonic clock."""
        heapq.heappush(self._later, (when, next(self._order_of_later), do))

    def watch(self, data: Any, sock: Any, *, write: bool = False) -> None:
        """Wait for a client's socket to be readable, and writable if asked."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if sock.fileno() < 0:
            return
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, wanted, data)
        else:
            self._selector.register(sock, wanted, data)

    def unwatch(self, sock: Any) -> None:
        """Forget a socket that is about to be closed."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def _tick(self) -> None:
        process = str(self._order["process"])
        if runs.has_ended(process) or not self._directory.is_dir():
            self.end()
        for client in self.clients:
            client.look_after()
        self.settle()
        self.at(time.monotonic() + _TICK, self._tick)

    def _publish_again(self, publisher: Client, topic: str, link: Link, when: float, pause: float) -> None:
        def publish() -> None:
            now = time.monotonic()
            if publisher.can_publish() and self._is_heard(publisher):
                link.opens(now, time.time())
                publisher.publish(topic, link)
            # From the time it was due, so that a late turn does not lower the rate; but no burst after a long stop.
            self._publish_again(publisher, topic, link, max(when + pause, now), pause)

        self.at(when, publish)

    def _is_heard(self, publisher: Client) -> bool:
        """Whether the subscriber has been there: what is sent before is lost by our own doing."""
        node = publisher.node
        return bool(node.pairs[0][3].sent) or all(client.ready for client in node.clients)

    # Connecting

    def dial(self, client: Client) -> None:
        """Make a connection for a client, in the background."""

        def finished(future: Future[socket.socket]) -> None:
            self._dialled.append((client, future))
            with contextlib.suppress(OSError):
                self._wake_write.send(b".")

        if self._wanted and self._pool is not None:
            self._pool.submit(self._connect, client.node.order).add_done_callback(finished)

    def _connect(self, order: Mapping[str, Any]) -> socket.socket:
        connection = socket.create_connection((order["host"], order["port"]), _CONNECT_SECONDS)
        context = self._context(order)
        if context is None:
            return connection
        try:
            return context.wrap_socket(connection, server_hostname=order["host"])
        except BaseException:
            connection.close()
            raise

    def _context(self, order: Mapping[str, Any]) -> ssl.SSLContext | None:
        tls = order.get("tls")
        if not tls:
            return None
        key = json.dumps(tls, sort_keys=True)
        if key not in self._contexts:
            self._contexts[key] = _tls_context(tls)
        return self._contexts[key]

    def _answered(self, client: Client, future: Future[socket.socket]) -> None:
        if future.cancelled():
            return
        try:
            client.attach(future.result())
        except OSError as error:
            client.failed(_in_words(error))

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_read.recv(4096):
                pass

    # Questions

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            asker, _address = self._listener.accept()
            asker.setblocking(False)
            self._askers[asker] = b""
            self._selector.register(asker, selectors.EVENT_READ, lambda: self._hear(asker))

    def _hear(self, asker: socket.socket) -> None:
        try:
            data = asker.recv(_MOST_QUESTION)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        said = self._askers[asker] + data
        self._askers[asker] = said
        if data and not said.endswith(b"\n") and len(said) < _MOST_QUESTION:
            return
        self.unwatch(asker)
        del self._askers[asker]
        try:
            question = json.loads(said)
            self._ask(asker, question)
        except (ValueError, KeyError, TypeError):
            self._tell(asker, {"error": "the probe was asked for something that it does not know"})

    def _ask(self, asker: socket.socket, question: Mapping[str, Any]) -> None:
        what = question["what"]
        if what == "ready":
            deadline = self._begin + float(self._order["connect_timeout"])

            def connected() -> bool:
                return all(client.ready or client.attempts >= _TRIES for client in self.clients)

            def standing(_held: bool) -> dict[str, Any]:
                return {"nodes": {host: node.standing() for host, node in self.nodes.items()}}

            self._questions.append(_Question(asker, deadline, connected, standing))
        elif what == "count":
            self._questions.append(self._count(asker, {host: self.nodes[host] for host in question["hosts"]}))
        elif what == "mark":
            self.nodes[question["host"]].counts.window = question["window"]
            self._tell(asker, {})
        elif what == "stop":
            counted = self._count(asker, self.nodes)
            self._questions.append(_Question(asker, counted.deadline, counted.holds, lambda _held: self._last()))
        else:
            raise KeyError(what)
        self.settle()

    def _count(self, asker: socket.socket, nodes: Mapping[str, Node]) -> _Question:
        expected = {host: node.flush() for host, node in nodes.items()}

        def is_answered(host: str) -> bool:
            return all(link.is_through(number) for link, number in expected[host])

        def answer(_held: bool) -> dict[str, Any]:
            now = time.monotonic()
            return {
                "nodes": {host: dict(node.counts.row(now), answered=is_answered(host)) for host, node in nodes.items()}
            }

        return _Question(asker, time.monotonic() + _COUNT_SECONDS, lambda: all(map(is_answered, expected)), answer)

    def settle(self) -> None:
        """Answer the questions whose time has come."""
        now = time.monotonic()
        for question in list(self._questions):
            held = question.holds()
            if (held or now >= question.deadline) and question in self._questions:
                self._questions.remove(question)
                self._tell(question.asker, question.answer(held))

    def _last(self) -> dict[str, Any]:
        self._ended = time.time()
        result = self.state()
        self.end()
        return {"result": result}

    @staticmethod
    def _tell(asker: socket.socket, answer: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            asker.settimeout(2.0)
            asker.sendall(json.dumps(answer).encode() + b"\n")
        asker.close()

    # What it leaves

    def state(self) -> dict[str, Any]:
        """The whole result so far."""
        now = time.monotonic()
        return {
            "id": self._order["id"],
            "started": round(self._started, 3),
            "ended": None if self._ended is None else round(self._ended, 3),
            "error": None,
            "clients": len(self.clients),
            "nodes": {host: node.counts.row(now) for host, node in self.nodes.items()},
        }

    def _write_state(self) -> None:
        self._write_now()
        # A hundred nodes take some milliseconds.
        self.at(time.monotonic() + max(_STATE_SECONDS, len(self.nodes) / 100), self._write_state)

    def _write_now(self) -> None:
        fresh = self._directory / f"{STATE}.new"
        # The run may have ended and taken the directory with it.
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(self.state()), encoding="utf-8")
            fresh.replace(self._directory / STATE)


def _tls_context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """Raises OrderError that names the file which cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.get("ca_file") or None)
    except OSError as error:
        raise OrderError(f"ca_file {tls['ca_file']} cannot be used: {_in_words(error)}.") from None
    if not tls.get("validate_certs", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.get("cert_file"):
        files = f"cert_file {tls['cert_file']} with key_file {tls.get('key_file') or 'of its own'}"
        try:
            # A text, so that OpenSSL never asks at a terminal.
            context.load_cert_chain(tls["cert_file"], tls.get("key_file") or None, tls.get("key_password") or "")
        except (OSError, ValueError) as error:
            raise OrderError(f"{files} cannot be used: {_in_words(error)}.") from None
    return context


def _in_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_SECONDS:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def main() -> int:
    """Start by an order on standard input, go on in the background; the exit code of what does not go on."""
    order = json.load(sys.stdin)
    os.umask(0o077)
    try:
        probe = _prepared(order)
    except OrderError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps({}), flush=True)
    if os.fork():
        # Nobody waits for the other one, which the system adopts.
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    os.chdir("/")
    ended: list[int] = []

    def end(number: int, _frame: Any) -> None:
        ended.append(number)
        probe.end()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    probe.run()
    probe.close(keep=bool(ended) and not runs.has_ended(str(order["process"])))
    if ended:
        print(f"ended by {signal.Signals(ended[0]).name}", file=sys.stderr, flush=True)
    # Without the threads that may still be connecting.
    os._exit(0)


def _prepared(order: Mapping[str, Any]) -> Probe:
    try:
        import paho.mqtt.client as mqtt  # of the controller, where this process alone needs it

        version = mqtt.CallbackAPIVersion.VERSION2
    except (ImportError, AttributeError):
        raise OrderError("paho-mqtt (version 2) cannot be imported; install it: pip install paho-mqtt.") from None
    del version
    _allow_files(sum(3 * int(node["clients"]) for node in order["nodes"].values()))
    probe = Probe(order, mqtt)
    probe.listen()
    return probe


def _allow_files(clients: int) -> None:
    """Raises OrderError where the process may not open as many files as its clients need."""
    needed = clients * _DESCRIPTORS + _OTHER_DESCRIPTORS
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise OrderError(
            f"it needs {needed} open files for its {clients} clients, and the limit is {hard} (ulimit -Hn). Raise it, "
            "or have fewer clients a node or fewer nodes a run."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
