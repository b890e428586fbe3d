# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking a running Erlang node over the Erlang distribution protocol, without any command of the installation.

A hidden node that listens nowhere: it connects to the broker's own distribution port, proves that it knows the cookie,
and has one expression evaluated through ``rex``, as ``emqx eval`` does. The cookie is sent in no form and stands in no
argument list and no message. The protocol is described in the chapters "Distribution Protocol" and "External Term
Format" of the ERTS user's guide; handshakes 5 (OTP 22) and 6 (OTP 23 and later) are spoken.
"""

import hashlib
import os
import re
import socket
import struct
import time
from typing import Any, List, NamedTuple, Optional, Tuple

#: EMQX's nodes listen at this port plus the digits at the end of their name (``ekka_epmd``).
BASE_PORT = 4370
#: Bytes of one message from the node; an answer has some 100 KB.
MAX_MESSAGE_BYTES = 64 << 20
#: Levels of terms within terms; an answer has ten.
MAX_DEPTH = 200
CONNECT_SECONDS = 5.0

# The name of this end. A node keeps the name of everyone who ever connected for as long as it lives, so there are only
# a few of them; one that is in use is refused, and then comes the next.
_NAMES = 8

# What this end understands, as OTP's erl_dist_protocol names it.
_FLAGS = (
    0x4  # EXTENDED_REFERENCES
    | 0x10  # FUN_TAGS
    | 0x80  # NEW_FUN_TAGS
    | 0x100  # EXTENDED_PIDS_PORTS
    | 0x200  # EXPORT_PTR_TAG
    | 0x400  # BIT_BINARIES
    | 0x800  # NEW_FLOATS
    | 0x10000  # UTF8_ATOMS
    | 0x20000  # MAP_TAG
    | 0x40000  # BIG_CREATION
    | 0x1000000  # HANDSHAKE_23
    | 0x2000000  # UNLINK_ID
    | 0x400000000  # V4_NC
)
_CREATION = 1
_REG_SEND = 6
_SEND = (2, 22)
_DIGITS = re.compile(r"[0-9]+\Z")


class DistributionError(Exception):
    """The node could not be asked: not reached, another cookie, or an answer that is not understood."""


class Peer(NamedTuple):
    """Who is asked: the node's name and its cookie."""

    node: str
    cookie: str

    @property
    def host(self) -> str:
        """The part of the name behind the ``@``."""
        return self.node.rpartition("@")[2]

    @property
    def port(self) -> int:
        """The distribution port by the digits of the name, as ``ekka_epmd`` has it."""
        digits = _DIGITS.search(self.node.partition("@")[0])
        return BASE_PORT + (int(digits.group(0)) if digits else 0)


def peer_of(pid: int) -> Optional[Peer]:
    """Name and cookie of a broker from its own command line; None where it does not tell, or may not be read."""
    try:
        with open("/proc/{0}/cmdline".format(pid), "rb") as stream:
            argv = stream.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return None
    found = {}
    for flag, value in zip(argv, argv[1:]):
        if flag in ("-name", "-setcookie"):
            found[flag] = value
    if len(found) < 2 or "@" not in found["-name"]:
        return None
    return Peer(found["-name"], found["-setcookie"])


def evaluate(peer: Peer, expression: str, timeout: float) -> Any:
    """The value of an Erlang expression in the node. ``timeout``: seconds for all of it. Raises DistributionError.

    Atoms come back as ``("atom", text)``, lists and strings as lists, binaries as bytes, tuples as tuples, maps as
    dictionaries, pids and the like as ``("other", kind)``.
    """
    deadline = time.monotonic() + timeout
    try:
        connection = _connect(peer, deadline)
    except OSError as error:
        raise DistributionError("{0} is not reached: {1}".format(peer.node, error)) from error
    try:
        return _Session(connection, deadline).evaluate(expression)
    except (OSError, struct.error, IndexError, ValueError, UnicodeError) as error:
        raise DistributionError("{0} does not answer as expected: {1}".format(peer.node, error)) from error
    finally:
        connection.socket.close()


class _Connection(NamedTuple):
    """A connection that both ends believe in, and the name of this end."""

    socket: socket.socket
    own: str


def _connect(peer: Peer, deadline: float) -> _Connection:
    taken = None  # type: Optional[_NameTakenError]
    for place in range(_NAMES):
        own = "emqx_fleet{0}@{1}".format((os.getpid() + place) % _NAMES, peer.host)
        try:
            return _connect_as(peer, own, deadline)
        except _NameTakenError as error:
            taken = error
    raise OSError(str(taken))


def _connect_as(peer: Peer, own: str, deadline: float) -> _Connection:
    problem = None  # type: Optional[Exception]
    for version in (6, 5):
        stream = _reach(peer, deadline)
        try:
            _handshake(stream, own, peer.cookie, version)
            return _Connection(stream, own)
        except _NameTakenError:
            stream.close()
            raise
        except (OSError, struct.error, IndexError) as error:
            stream.close()
            problem = error
    raise OSError(str(problem))


def _reach(peer: Peer, deadline: float) -> socket.socket:
    """A connection to the address of the name, or to this machine, which is the one that the broker runs on."""
    problem = None  # type: Optional[OSError]
    for address in dict.fromkeys((peer.host, "127.0.0.1", "::1")):
        seconds = min(CONNECT_SECONDS, max(0.1, deadline - time.monotonic()))
        try:
            return socket.create_connection((address, peer.port), seconds)
        except OSError as error:
            problem = problem or error
    raise OSError(str(problem))


class _NameTakenError(OSError):
    """Another of ours is connected under this name."""


def _handshake(stream: socket.socket, own: str, cookie: str, version: int) -> None:
    name = own.encode("utf-8")
    if version == 6:
        _send_short(stream, b"N" + struct.pack(">QIH", _FLAGS, _CREATION, len(name)) + name)
    else:
        _send_short(stream, b"n" + struct.pack(">HI", 5, _FLAGS & 0xFFFFFFFF) + name)
    status = _receive_short(stream)
    if status in (b"snok", b"salive"):
        raise _NameTakenError("the node is connected to another of our name")
    if status not in (b"sok", b"sok_simultaneous"):
        raise OSError("the node refuses the handshake")
    challenge = _receive_short(stream)
    if challenge[:1] == b"N":
        theirs = struct.unpack(">I", challenge[9:13])[0]
    elif challenge[:1] == b"n":
        theirs = struct.unpack(">I", challenge[7:11])[0]
        if version == 6:
            # An older node took the new greeting for an old one: it has to be told what is new in it.
            _send_short(stream, b"c" + struct.pack(">II", _FLAGS >> 32, _CREATION))
    else:
        raise OSError("the node sends no challenge")
    ours = struct.unpack(">I", os.urandom(4))[0]
    _send_short(stream, b"r" + struct.pack(">I", ours) + _digest(cookie, theirs))
    answer = _receive_short(stream)
    if answer != b"a" + _digest(cookie, ours):
        raise OSError("the node does not accept the cookie")


def _digest(cookie: str, challenge: int) -> bytes:
    # MD5 is the protocol's, not a choice of ours.
    return hashlib.md5(cookie.encode("latin-1", "replace") + str(challenge).encode("ascii")).digest()


def _send_short(stream: socket.socket, data: bytes) -> None:
    stream.sendall(struct.pack(">H", len(data)) + data)


def _receive_short(stream: socket.socket) -> bytes:
    return _receive(stream, struct.unpack(">H", _receive(stream, 2))[0])


def _receive(stream: socket.socket, size: int) -> bytes:
    parts = []  # type: List[bytes]
    while size:
        part = stream.recv(min(size, 1 << 16))
        if not part:
            raise OSError("the node closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Session:
    """Calls through ``rex``, one after the other."""

    def __init__(self, connection: _Connection, deadline: float) -> None:
        self._stream = connection.socket
        self._own = connection.own
        self._deadline = deadline
        self._calls = 0

    def evaluate(self, expression: str) -> Any:
        """Scan, parse and evaluate; the steps in between are handed back as they came."""
        tokens = self._part_of_ok(self._call("erl_scan", "string", _list(_string(expression))), "is no Erlang")
        forms = self._part_of_ok(self._call("erl_parse", "parse_exprs", _list(tokens)), "is no expression")
        answer = self._call("erl_eval", "exprs", _list(forms, _list()))
        value = decode(answer, 0)[0]
        if not (isinstance(value, tuple) and len(value) == 3 and value[0] == ("atom", "value")):
            raise ValueError("the expression failed")
        return value[1]

    @staticmethod
    def _part_of_ok(answer: bytes, complaint: str) -> bytes:
        """The second part of ``{ok, Part}`` or ``{ok, Part, End}``, as bytes."""
        if answer[:1] == b"h" and answer[1] in (2, 3):
            word, start = decode(answer, 2)
            if word == ("atom", "ok"):
                return answer[start : end_of(answer, start)]
        raise ValueError("the question {0}".format(complaint))

    def _call(self, module: str, function: str, arguments: bytes) -> bytes:
        """The result of one call, as bytes of the external term format."""
        self._calls += 1
        own = b"X" + _atom(self._own) + struct.pack(">III", 1, 0, _CREATION)
        reference = b"Z" + struct.pack(">H", 3) + _atom(self._own) + struct.pack(">IIII", _CREATION, self._calls, 0, 0)
        control = _tuple(_small(_REG_SEND), own, _atom(""), _atom("rex"))
        request = _tuple(_atom("call"), _atom(module), _atom(function), arguments, _atom("user"))
        self._send(b"p\x83" + control + b"\x83" + _tuple(_atom("$gen_call"), _tuple(own, reference), request))
        while True:
            data = self._receive()
            if data[:2] != b"p\x83":
                raise ValueError("a message is not of the kind that was agreed on")
            control_word, end = decode(data, 2)
            if not (isinstance(control_word, tuple) and control_word and control_word[0] in _SEND):
                # A monitor or a link that the node sets up on its side; nothing to do for us.
                continue
            if data[end : end + 3] != b"\x83h\x02":
                raise ValueError("the answer has not the form of one")
            return data[decode(data, end + 3)[1] :]

    def _send(self, data: bytes) -> None:
        self._stream.settimeout(self._left())
        self._stream.sendall(struct.pack(">I", len(data)) + data)

    def _receive(self) -> bytes:
        while True:
            self._stream.settimeout(self._left())
            size = struct.unpack(">I", _receive(self._stream, 4))[0]
            if size > MAX_MESSAGE_BYTES:
                raise ValueError("a message of {0} bytes".format(size))
            if size:
                return _receive(self._stream, size)
            # A tick: who does not answer it counts as dead after a minute.
            self._send(b"")

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("the time is up")
        return left


# External term format


def _atom(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"w" + bytes(bytearray([len(data)])) + data


def _small(number: int) -> bytes:
    return b"a" + bytes(bytearray([number]))


def _tuple(*parts: bytes) -> bytes:
    return b"h" + bytes(bytearray([len(parts)])) + b"".join(parts)


def _list(*parts: bytes) -> bytes:
    return b"l" + struct.pack(">I", len(parts)) + b"".join(parts) + b"j" if parts else b"j"


def _string(text: str) -> bytes:
    """A list of characters; longer ones than the short form can hold are written out."""
    data = text.encode("latin-1")
    if len(data) < 1 << 16:
        return b"k" + struct.pack(">H", len(data)) + data if data else b"j"
    return _list(*[_small(number) for number in bytearray(data)])


def decode(data: bytes, at: int, depth: int = 0) -> Tuple[Any, int]:
    """The term that begins at ``at``, and where it ends. Raises ValueError, IndexError or struct.error for none."""
    if depth > MAX_DEPTH:
        raise ValueError("terms within terms without end")
    tag = data[at : at + 1]
    at += 1
    number = _NUMBERS.get(tag)
    if number is not None:
        form, size = number
        if at + size > len(data):
            raise ValueError("a term that is cut off")
        return struct.unpack_from(form, data, at)[0], at + size
    if tag in (b"n", b"o"):
        return _decode_big(data, at, tag == b"o")
    if tag in (b"w", b"s", b"v", b"d"):
        size, at = (data[at], at + 1) if tag in (b"w", b"s") else _size(data, at, ">H")
        text = _take(data, at, size).decode("utf-8" if tag in (b"w", b"v") else "latin-1")
        return ("atom", text), at + size
    if tag in (b"h", b"i"):
        count, at = (data[at], at + 1) if tag == b"h" else _size(data, at, ">I")
        parts, at = _decode_many(data, at, count, depth)
        return tuple(parts), at
    if tag == b"j":
        return [], at
    if tag == b"k":
        size, at = _size(data, at, ">H")
        return list(bytearray(_take(data, at, size))), at + size
    if tag == b"l":
        count, at = _size(data, at, ">I")
        parts, at = _decode_many(data, at, count, depth)
        tail, at = decode(data, at, depth + 1)
        return (parts + tail if isinstance(tail, list) else parts), at
    if tag == b"m":
        size, at = _size(data, at, ">I")
        return _take(data, at, size), at + size
    if tag == b"M":
        size, at = _size(data, at, ">I")
        return _take(data, at + 1, size), at + 1 + size
    if tag == b"t":
        count, at = _size(data, at, ">I")
        pairs, at = _decode_many(data, at, 2 * count, depth)
        return {_key(key): value for key, value in zip(pairs[::2], pairs[1::2])}, at
    return _decode_other(data, at, tag, depth)


def end_of(data: bytes, at: int) -> int:
    """Where the term that begins at ``at`` ends, however deep: a list of an expression is terms within terms."""
    missing = 1
    while missing:
        missing -= 1
        tag = data[at : at + 1]
        if tag in (b"h", b"i"):
            count, at = (data[at + 1], at + 2) if tag == b"h" else _size(data, at + 1, ">I")
            missing += count
        elif tag == b"l":
            count, at = _size(data, at + 1, ">I")
            missing += count + 1
        elif tag == b"t":
            count, at = _size(data, at + 1, ">I")
            missing += 2 * count
        else:
            at = decode(data, at)[1]
    return at


_NUMBERS = {b"a": (">B", 1), b"b": (">i", 4), b"F": (">d", 8)}


def _decode_big(data: bytes, at: int, large: bool) -> Tuple[int, int]:
    size, at = _size(data, at, ">I") if large else (data[at], at + 1)
    value = int.from_bytes(_take(data, at + 1, size), "little")
    return (-value if data[at] else value), at + 1 + size


def _decode_many(data: bytes, at: int, count: int, depth: int) -> Tuple[List[Any], int]:
    if count > len(data) - at:
        # Every term has a byte at least.
        raise ValueError("more terms than there are bytes")
    parts = []
    for _place in range(count):
        part, at = decode(data, at, depth + 1)
        parts.append(part)
    return parts, at


# What stands behind the name of the node, in bytes.
_OTHERS = {b"X": ("pid", 12), b"g": ("pid", 9), b"x": ("port", 12), b"Y": ("port", 8), b"f": ("port", 5)}


def _decode_other(data: bytes, at: int, tag: bytes, depth: int) -> Tuple[Any, int]:
    """What only the node itself can do something with: its kind, without what it is."""
    if tag in _OTHERS:
        kind, size = _OTHERS[tag]
        return ("other", kind), decode(data, at, depth + 1)[1] + size
    if tag in (b"Z", b"r"):
        count, at = _size(data, at, ">H")
        at = decode(data, at, depth + 1)[1]
        return ("other", "reference"), at + 4 * count + (4 if tag == b"Z" else 1)
    if tag == b"q":
        return ("other", "fun"), _decode_many(data, at, 3, depth)[1]
    if tag == b"p":
        # Its size counts itself.
        return ("other", "fun"), at + _size(data, at, ">I")[0]
    raise ValueError("a term of an unknown kind")


def _size(data: bytes, at: int, form: str) -> Tuple[int, int]:
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _take(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) != size:
        raise ValueError("a term that is cut off")
    return part


def _key(term: Any) -> Any:
    return repr(term) if isinstance(term, (list, dict)) else term
