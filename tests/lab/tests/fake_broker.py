# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A broker in a thread that speaks just enough MQTT 3.1.1, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


class FakeBroker:
    """Delivers to subscribers of exactly the same topic, at the QoS of the subscription.

    ``deliver`` is given the topic and the payload and returns the payloads that go out in place of it: none loses the
    message, two of it duplicate it. ``answer`` false: connections are accepted and nothing is answered. ``refuse``: the
    return code of the CONNACK by the name of a client. ``ended`` tells of each client how its connection ended,
    ``connects`` are what clients sent to connect. With ``tls`` it speaks TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.deliver: Callable[[str, bytes], list[bytes]] = lambda _topic, payload: [payload]
        self.answer = True
        self.refuse: Callable[[str], int] = lambda _name: 0
        self.ended: dict[str, str] = {}
        self.connects: list[bytes] = []
        self.clients: dict[str, asyncio.StreamWriter] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._subscribers: dict[str, dict[str, int]] = {}
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeBroker:
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def drop(self, client: str) -> None:
        """Close the connection of a client."""
        self._loop.call_soon_threadsafe(self.clients[client].close)

    def close_listener(self) -> None:
        """Accept no connection any more."""
        assert self._server is not None
        self._loop.call_soon_threadsafe(self._server.close)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls))
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _end(self) -> None:
        """Leave no connection open, also none that was only just accepted and is in nobody's hands yet."""
        for _turn in range(200):
            for writer in self._writers:
                writer.transport.abort()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not tasks:
                break
            await asyncio.sleep(0.01)
        for task in tasks:
            # A TLS handshake that the client does not go on with.
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A transport closes its socket in the turn after that.
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, ended = "", "closed"
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                head = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await self._length(reader))
                if not self.answer:
                    continue
                kind = head >> 4
                if kind == CONNECT:
                    length = int.from_bytes(body[10:12], "big")
                    name = body[12 : 12 + length].decode()
                    self.connects.append(body)
                    code = int(self.refuse(name))
                    self._send(writer, CONNACK << 4, bytes([0, code]))
                    if code:
                        break
                    self.clients[name] = writer
                elif kind == SUBSCRIBE:
                    length = int.from_bytes(body[2:4], "big")
                    qos = body[4 + length]
                    self._subscribers.setdefault(body[4 : 4 + length].decode(), {})[name] = qos
                    self._send(writer, SUBACK << 4, body[:2] + bytes([qos]))
                elif kind == PUBLISH:
                    self._publish(writer, head, body)
                elif kind == PINGREQ:
                    self._send(writer, PINGRESP << 4, b"")
                elif kind == DISCONNECT:
                    ended = "disconnect"
                    break
        self.ended[name] = ended
        if self.clients.get(name) is writer:
            del self.clients[name]
            for subscribers in self._subscribers.values():
                subscribers.pop(name, None)
        writer.close()

    def _publish(self, writer: asyncio.StreamWriter, head: int, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + length], body[2 + length :]
        if head & 6:
            self._send(writer, PUBACK << 4, rest[:2])
            rest = rest[2:]
        for payload in self.deliver(topic.decode(), rest):
            for client, qos in self._subscribers.get(topic.decode(), {}).items():
                granted = min(qos, (head & 6) >> 1)
                packet = b"\0\1" if granted else b""
                self._send(
                    self.clients[client],
                    PUBLISH << 4 | granted << 1,
                    len(topic).to_bytes(2, "big") + topic + packet + payload,
                )

    @staticmethod
    def _send(writer: asyncio.StreamWriter, head: int, body: bytes) -> None:
        length, encoded = len(body), b""
        while True:
            length, digit = divmod(length, 128)
            encoded += bytes([digit | (0x80 if length else 0)])
            if not length:
                break
        writer.write(bytes([head]) + encoded + body)

    @staticmethod
    async def _length(reader: asyncio.StreamReader) -> int:
        length, shift = 0, 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 127) << shift
            shift += 7
            if not digit & 128:
                return length
