# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Idle MQTT clients of one node: each a connection, nothing sent unless asked for."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

CLONE_NEWNET = 0x40000000
_CONNACK, _SUBACK, _PINGRESP = 0x20, 0x90, 0xD0


def in_network(path: str, action: Callable[[], None]) -> None:
    """Run ``action`` in a thread whose network is the namespace at ``path``; a socket made there stays in it."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns to {path}")
            finally:
                os.close(handle)
            action()
        except BaseException as error:  # noqa: BLE001 -- raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode("ascii")


class IdleClients:
    """So many subscribers with a long keep-alive. As a context manager they are gone at the end."""

    def __init__(self, network: str, address: str, port: int, count: int) -> None:
        self._sockets: list[socket.socket] = []
        in_network(network, lambda: self._connect(address, port, count))

    def __enter__(self) -> IdleClients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, address: str, port: int, count: int) -> None:
        try:
            for number in range(count):
                self._sockets.append(socket.create_connection((address, port), 10))
                name = f"idle-{os.getpid()}-{id(self)}-{number}"
                connect = _text("MQTT") + b"\x04\x02" + struct.pack(">H", 3600) + _text(name)
                subscribe = struct.pack(">H", 1) + _text(f"idle/{number}") + b"\x01"
                self._ask(self._sockets[-1], b"\x10" + bytes([len(connect)]) + connect, _CONNACK, 4)
                self._ask(self._sockets[-1], b"\x82" + bytes([len(subscribe)]) + subscribe, _SUBACK, 5)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _ask(connection: socket.socket, packet: bytes, kind: int, size: int) -> None:
        connection.settimeout(10)
        connection.sendall(packet)
        answer = b""
        while len(answer) < size:
            part = connection.recv(size - len(answer))
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            answer += part
        if answer[0] != kind:
            raise ConnectionError(f"the broker answered {answer!r}")

    def __len__(self) -> int:
        return len(self._sockets)

    def lost(self) -> int:
        """How many the broker has disconnected; found out without sending anything, so idle ones stay idle."""
        return sum(not self._is_connected(connection) for connection in self._sockets)

    def unanswered(self) -> int:
        """How many get no answer to a ping: those lost, and those that a process serves no more."""
        silent = 0
        for connection in self._sockets:
            try:
                self._ask(connection, b"\xc0\x00", _PINGRESP, 2)
            except OSError:
                silent += 1
        return silent

    @staticmethod
    def _is_connected(connection: socket.socket) -> bool:
        connection.setblocking(False)
        try:
            return bool(connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Drop the connections."""
        for connection in self._sockets:
            connection.close()
        self._sockets = []


class ComingAndGoing:
    """Clients that come ``rate`` times a second, stay for ``stay`` seconds and leave, as long as this lasts."""

    def __init__(self, network: str, address: str, port: int, rate: float = 5, stay: float = 3) -> None:
        self._ended = threading.Event()
        self._pause, self._most = 1 / rate, round(rate * stay)
        self.came = 0
        self._thread = threading.Thread(target=in_network, args=(network, lambda: self._go_on(address, port)))
        self._thread.start()

    def __enter__(self) -> ComingAndGoing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _go_on(self, address: str, port: int) -> None:
        there: deque[socket.socket] = deque()
        while not self._ended.wait(self._pause):
            self.came += 1
            # One that the broker cuts off, or does not let in just now, is the business of who counts.
            with contextlib.suppress(OSError):
                there.append(socket.create_connection((address, port), 10))
                connect = (
                    _text("MQTT") + b"\x04\x02" + struct.pack(">H", 60) + _text(f"going-{os.getpid()}-{self.came}")
                )
                there[-1].sendall(b"\x10" + bytes([len(connect)]) + connect)
            if len(there) > self._most:
                self._leave(there.popleft(), politely=self.came % 4 != 0)
        for connection in there:
            self._leave(connection, politely=True)

    @staticmethod
    def _leave(connection: socket.socket, politely: bool) -> None:
        with contextlib.suppress(OSError):
            if politely:
                connection.sendall(b"\xe0\x00")
        connection.close()
