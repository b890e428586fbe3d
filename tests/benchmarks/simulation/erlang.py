# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The server's side of the Erlang distribution protocol, as far as a client needs it that has an expression evaluated.

Handshakes 5 and 6, and calls through ``rex``: ``erl_scan:string/1``, ``erl_parse:parse_exprs/1`` and
``erl_eval:exprs/2``. An expression is handed back and forth as the text that it is, and the last step gives it to
``answer``. The protocol is described in the ERTS user's guide, "Distribution Protocol" and "External Term Format".
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Callable

from ansible_collections.emqx.fleet.plugins.module_utils import distribution

_SEND = 2
_CREATION = 7
#: HANDSHAKE_23 among the flags of a client.
_HANDSHAKE_23 = 0x1000000
_FLAGS = 0x4 | 0x10 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x20000 | 0x40000 | _HANDSHAKE_23 | 0x400000000
_OK = b"w\x02ok"


class RefusedError(Exception):
    """The client has another cookie, or does not speak the protocol."""


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    name: str,
    cookie: str,
    answer: Callable[[str], str],
) -> None:
    """Serve one client to its end."""
    try:
        await _handshake(reader, writer, name, cookie)
        while True:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            if size:
                reply = _reply(await reader.readexactly(size), answer)
                writer.write(struct.pack(">I", len(reply)) + reply)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, RefusedError):
        return
    finally:
        writer.close()


async def _handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, cookie: str) -> None:
    greeting = await _receive(reader)
    if greeting[:1] == b"N":
        (flags,) = struct.unpack(">Q", greeting[1:9])
    elif greeting[:1] == b"n":
        (flags,) = struct.unpack(">I", greeting[3:7])
    else:
        raise RefusedError("no greeting")
    _send(writer, b"sok")
    (challenge,) = struct.unpack(">I", os.urandom(4))
    own = name.encode("utf-8")
    if flags & _HANDSHAKE_23:
        _send(writer, b"N" + struct.pack(">QIIH", _FLAGS, challenge, _CREATION, len(own)) + own)
    else:
        _send(writer, b"n" + struct.pack(">HII", 5, _FLAGS & 0xFFFFFFFF, challenge) + own)
    reply = await _receive(reader)
    if reply[:1] == b"c":
        reply = await _receive(reader)
    if reply[:1] != b"r" or reply[5:] != digest(cookie, challenge):
        raise RefusedError("another cookie")
    _send(writer, b"a" + digest(cookie, struct.unpack(">I", reply[1:5])[0]))


def digest(cookie: str, challenge: int) -> bytes:
    """The proof of a cookie."""
    return hashlib.md5(f"{cookie}{challenge}".encode("latin-1")).digest()


async def _receive(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">H", await reader.readexactly(2))
    return await reader.readexactly(size)


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(struct.pack(">H", len(data)) + data)


def _reply(message: bytes, answer: Callable[[str], str]) -> bytes:
    """The message that answers ``{'$gen_call', {Pid, Reference}, {call, Module, Function, Arguments, user}}``."""
    if message[:2] != b"p\x83":
        raise RefusedError("another kind of message")
    at = distribution.end_of(message, 2)
    if message[at : at + 3] != b"\x83h\x03":
        raise RefusedError("no call")
    sender = distribution.end_of(message, at + 3)
    if message[sender : sender + 2] != b"h\x02":
        raise RefusedError("nobody to answer")
    reference = distribution.end_of(message, sender + 2)
    pid, end = message[sender + 2 : reference], distribution.end_of(message, reference)
    request = distribution.decode(message, end)[0]
    result = _result(request, answer)
    control = b"h\x03a" + bytes([_SEND]) + b"w\x00" + pid
    return b"p\x83" + control + b"\x83h\x02" + message[reference:end] + result


def _result(request: object, answer: Callable[[str], str]) -> bytes:
    if not (isinstance(request, tuple) and len(request) == 5):
        raise RefusedError("no call")
    _call, (_kind, module), (_kind, function), arguments, _leader = request
    if (module, function) == ("erl_scan", "string"):
        return b"h\x03" + _OK + _text(bytes(arguments[0])) + b"a\x01"
    if (module, function) == ("erl_parse", "parse_exprs"):
        return b"h\x02" + _OK + _text(bytes(arguments[0]))
    if (module, function) == ("erl_eval", "exprs"):
        told = answer(bytes(arguments[0]).decode("latin-1")).encode("utf-8")
        return b"h\x03w\x05valuem" + struct.pack(">I", len(told)) + told + b"j"
    return b"h\x02w\x06badrpcw\x05undef"


def _text(text: bytes) -> bytes:
    """A list of characters."""
    if len(text) < 1 << 16:
        return b"k" + struct.pack(">H", len(text)) + text
    return b"l" + struct.pack(">I", len(text)) + b"".join(b"a" + bytes([byte]) for byte in text) + b"j"
