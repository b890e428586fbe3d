# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""As little of an MQTT 3.1.1 client as shows what a broker does to one."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13


@dataclass
class Packet:
    kind: int
    flags: int
    body: bytes

    @property
    def topic(self) -> str:
        (length,) = struct.unpack_from(">H", self.body)
        return self.body[2 : 2 + length].decode()

    @property
    def payload(self) -> bytes:
        (length,) = struct.unpack_from(">H", self.body)
        return self.body[2 + length + (2 if self.flags & 6 else 0) :]

    @property
    def packet_id(self) -> int:
        (length,) = struct.unpack_from(">H", self.body)
        return int(struct.unpack_from(">H", self.body, 2 + length if self.kind == PUBLISH else 0)[0])


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


class Client:
    def __init__(self, port: int, client_id: str, *, clean: bool = True, keepalive: int = 0, ack: bool = True) -> None:
        self.client_id, self.ack, self.next_id = client_id, ack, 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buffer = b""
        flags = 2 if clean else 0
        self.send(0x10, text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive) + text(client_id))
        answer = self.read()
        assert answer is not None
        assert answer.kind == CONNACK
        self.session_present, self.code = bool(answer.body[0] & 1), answer.body[1]

    def send(self, first: int, body: bytes = b"") -> None:
        size, length = len(body), b""
        while True:
            size, digit = divmod(size, 128)
            length += bytes([digit | (0x80 if size else 0)])
            if not size:
                break
        self.socket.sendall(bytes([first]) + length + body)

    def read(self, timeout: float = 5) -> Packet | None:
        """The next packet, or nothing in that time; ConnectionError when the broker has closed."""
        deadline = time.monotonic() + timeout
        while True:
            packet = self._take()
            if packet:
                if packet.kind == PUBLISH and packet.flags & 2 and self.ack:
                    self.send(0x40, struct.pack(">H", packet.packet_id))
                return packet
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionResetError(self.client_id)
            self.buffer += data

    def _take(self) -> Packet | None:
        length, shift, at = 0, 0, 1
        while True:
            if len(self.buffer) <= at:
                return None
            digit = self.buffer[at]
            length, shift, at = length | (digit & 0x7F) << shift, shift + 7, at + 1
            if not digit & 0x80:
                break
        if len(self.buffer) < at + length:
            return None
        first, body, self.buffer = self.buffer[0], self.buffer[at : at + length], self.buffer[at + length :]
        return Packet(first >> 4, first & 15, body)

    def _id(self) -> bytes:
        self.next_id = self.next_id % 65535 + 1
        return struct.pack(">H", self.next_id)

    def _expect(self, kind: int) -> Packet:
        answer = self.read()
        assert answer is not None
        assert answer.kind == kind, answer
        return answer

    def subscribe(self, topic: str, qos: int = 1) -> int:
        self.send(0x82, self._id() + text(topic) + bytes([qos]))
        return self._expect(SUBACK).body[2]

    def unsubscribe(self, topic: str) -> None:
        self.send(0xA2, self._id() + text(topic))
        self._expect(UNSUBACK)

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        body = text(topic) + (self._id() if qos else b"") + payload
        self.send(0x30 | qos << 1, body)
        if qos:
            self._expect(PUBACK)

    def ping(self) -> None:
        self.send(0xC0)
        self._expect(PINGRESP)

    def message(self, timeout: float = 5) -> tuple[str, bytes] | None:
        packet = self.read(timeout)
        if packet is None:
            return None
        assert packet.kind == PUBLISH, packet
        return packet.topic, packet.payload

    def alive(self) -> bool:
        try:
            self.ping()
        except OSError:
            return False
        return True

    def connected(self) -> bool:
        """Whether the broker has closed the connection, found out without sending anything."""
        self.socket.settimeout(0.2)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return True
        except OSError:
            return False
        self.buffer += data
        return bool(data)

    def disconnect(self) -> None:
        self.send(0xE0)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()
