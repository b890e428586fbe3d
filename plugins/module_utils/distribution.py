# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking a running Erlang node over the Erlang distribution protocol, without any command of the installation.

A hidden node that listens nowhere: it connects to the broker's own distribution port, proves that it knows the cookie,
and has one expression evaluated through ``rex``, as ``emqx eval`` does. The cookie is sent in no form and stands in no
argument list and no message. The protocol is described in the chapters "Distribution Protocol" and "External Term
Format" of the ERTS user's guide; handshakes 5 (OTP 22) and 6 (OTP 23 and later) are spoken, TLS is not.

Whoever answers may be anybody: times, sizes, numbers and depths are bounded, and nothing is raised but
:class:`DistributionError`.
"""

import errno
import hashlib
import hmac
import os
import random
import socket
import struct
import time
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

EPMD_PORT = 4369
#: Bytes of one message from the node; an answer has some 100 KB.
MAX_MESSAGE_BYTES = 16 << 20
#: Terms of one message, elements of strings included; some 100 MB of memory at the most.
MAX_TERMS = 1000000
#: Levels of terms within terms; an answer has ten.
MAX_DEPTH = 200
#: Bytes of one whole number.
MAX_NUMBER_BYTES = 4096
#: Seconds until the node has accepted the connection; one that lives takes some milliseconds.
REACH_SECONDS = 5.0

# Seconds for one address: those are of this machine, where a connection is made or refused at once.
_CONNECT_SECONDS = 2.0
# The name of this end. A node keeps the name of everyone who ever connected for as long as it lives, so there are only
# a few of them; one that is in use gives way to the next.
_NAMES = 8
_PAUSE_SECONDS = 0.05
_MAX_NAME_BYTES = 255

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
_PORT_PLEASE, _PORT_ANSWER = b"z", b"w"

# Nothing has this port, or not this address.
_NOBODY = (errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_LISTENS = "0A"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_MAX_LISTENERS = 10000


class DistributionError(Exception):
    """The node could not be asked: not reached, another cookie, or an answer that is not understood."""


class NotListeningError(DistributionError):
    """Nothing on this machine listens where the node would."""


class AnswerTimeoutError(DistributionError):
    """The node took the question, and the time was up before it answered."""


class Peer(NamedTuple):
    """Who is asked: the node's name and cookie, and its distribution port; without one, epmd is asked for it."""

    node: str
    cookie: str
    port: Optional[int] = None
    epmd_port: int = EPMD_PORT

    def __repr__(self) -> str:
        """Without the cookie, which a trace of calls would show."""
        return "Peer({0!r}, ..., {1!r}, {2!r})".format(self.node, self.port, self.epmd_port)

    @property
    def host(self) -> str:
        """The part of the name behind the ``@``."""
        return self.node.rpartition("@")[2]

    @property
    def alive(self) -> str:
        """The part of the name before the ``@``."""
        return self.node.partition("@")[0]


def evaluate(peer: Peer, expression: str, timeout: float) -> Any:
    """The value of an Erlang expression in the node. ``timeout``: seconds for all of it. Raises DistributionError.

    Atoms come back as ``("atom", text)``, lists and strings as lists, binaries as bytes, tuples as tuples, maps as
    dictionaries, pids and the like as ``("other", kind)``.
    """
    deadline = time.monotonic() + timeout
    connection = _connect(peer, deadline)
    try:
        return _Session(connection, deadline).evaluate(expression)
    except socket.timeout as error:
        raise AnswerTimeoutError("{0} does not answer within {1:g} s".format(peer.node, timeout)) from error
    except (OSError, *_NO_TERM) as error:
        raise DistributionError("{0} does not answer as expected: {1}".format(peer.node, error)) from error
    finally:
        connection.close()


# Reaching the node


class _HandshakeError(OSError):
    """The other end is no node that speaks this protocol, or not the one that is looked for."""


class _NotUnderstoodError(_HandshakeError):
    """It went away at the greeting, as a node does that knows only another version of the handshake."""


class _NameTakenError(_HandshakeError):
    """Another of ours is connected under this name."""


class _Stream:
    """A connection that never waits beyond its deadline, however slowly something arrives."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self.deadline = deadline

    def _wait(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("the time is up")
        self._connection.settimeout(left)

    def send(self, data: bytes) -> None:
        """All of it."""
        self._wait()
        self._connection.sendall(data)

    def receive(self, size: int) -> bytes:
        """So many bytes."""
        parts = []  # type: List[bytes]
        while size:
            self._wait()
            part = self._connection.recv(min(size, 1 << 16))
            if not part:
                raise ConnectionResetError("it closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def send_short(self, data: bytes) -> None:
        """A message of the handshake."""
        self.send(struct.pack(">H", len(data)) + data)

    def receive_short(self) -> bytes:
        """A message of the handshake."""
        return self.receive(struct.unpack(">H", self.receive(2))[0])

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class _Connection:
    """A connection that both ends believe in, and the name of this end, which is ours as long as it lasts."""

    def __init__(self, stream: _Stream, own: str, claim: socket.socket) -> None:
        self.stream = stream
        self.own = own
        self._claim = claim

    def close(self) -> None:
        """End the connection and give up the name."""
        self.stream.close()
        self._claim.close()


def _connect(peer: Peer, deadline: float) -> _Connection:
    """Raises DistributionError."""
    deadline = min(deadline, time.monotonic() + REACH_SECONDS)
    try:
        port = _port_by_epmd(peer, deadline) if peer.port is None else peer.port
        return _connect_to_one(peer, port, deadline)
    except socket.timeout as error:
        raise DistributionError("{0} is not reached: it does not answer".format(peer.node)) from error
    except (OSError, UnicodeError, *_NO_TERM) as error:
        text = "its name or cookie has characters of no node's" if isinstance(error, UnicodeError) else str(error)
        raise DistributionError("{0} is not reached: {1}".format(peer.node, text)) from None


def _connect_to_one(peer: Peer, port: int, deadline: float) -> _Connection:
    """The first address where the node itself answers."""
    problem = None  # type: Optional[OSError]
    for address in _addresses(peer.host, port):
        try:
            return _connect_to(peer, (address, port), deadline)
        except _NameTakenError:
            raise
        except OSError as error:
            if isinstance(error, socket.timeout) and time.monotonic() >= deadline:
                raise
            # What somebody at another address says is worth more than that nobody is there.
            if problem is None or (problem.errno in _NOBODY and error.errno not in _NOBODY):
                problem = error
    if problem is None or problem.errno in _NOBODY:
        raise NotListeningError("{0} is not reached: nothing listens at port {1}".format(peer.node, port))
    raise problem


def _connect_to(peer: Peer, address: Tuple[str, int], deadline: float) -> _Connection:
    version, taken = 6, False
    for place in _places(deadline):
        own = "emqx_fleet{0}@{1}".format(place, peer.host)
        claim = _claim(own, address[1])
        if claim is None:
            continue
        stream = None  # type: Optional[_Stream]
        try:
            stream = _reach(address, deadline)
            try:
                _handshake(stream, own, peer, version)
            except _NotUnderstoodError:
                if version == 5:
                    raise
                version = 5
                stream.close()
                stream = _reach(address, deadline)
                _handshake(stream, own, peer, version)
            connection = _Connection(stream, own, claim)
            stream = claim = None
            return connection
        except _NameTakenError:
            taken = True
        except socket.timeout:
            # A node that has told us so does answer.
            if not taken:
                raise
        finally:
            for mine in (stream, claim):
                if mine is not None:
                    mine.close()
    raise _NameTakenError("it is connected to others of our name")


def _places(deadline: float) -> Iterator[int]:
    """Numbers of names to try: all of them, and after a short pause again, until the time is up."""
    first = random.randrange(_NAMES)
    while True:
        for place in range(_NAMES):
            yield (first + place) % _NAMES
        pause = _PAUSE_SECONDS * (1 + random.random())
        if time.monotonic() + pause >= deadline:
            return
        time.sleep(pause)


def _claim(own: str, port: int) -> Optional[socket.socket]:
    """Keep other processes of this machine from the name at this node, until it is closed; None where one has it.

    The node would let the later one of two that greet it at the same time by the same name go on, and hang up on the
    first. A name of the kernel's own leaves no file behind, whatever becomes of this process.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind("\0{0} {1}".format(port, own).encode("utf-8")[:100])
    except OSError:
        claim.close()
        return None
    return claim


def _addresses(host: str, port: int) -> List[str]:
    """Where to look for a node of this machine: where something listens, its name's own address, and the machine's own.

    A name is not looked up, for that may take as long as it likes.
    """
    found = _listeners(port)
    if _is_address(host):
        found.insert(0, host)
    return list(dict.fromkeys(found + ["127.0.0.1", "::1"]))


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def _listeners(port: int) -> List[str]:
    """Addresses of this machine that something listens on at this port; empty where that cannot be told."""
    found = []  # type: List[str]
    for path, family in (("/proc/self/net/tcp", socket.AF_INET), ("/proc/self/net/tcp6", socket.AF_INET6)):
        try:
            with open(path) as stream:
                next(stream, None)
                for _line, words in zip(range(_MAX_LISTENERS), map(str.split, stream)):
                    # Those that listen come first, and there may be a million others behind them.
                    if words[3] != _LISTENS:
                        break
                    address, _unused, number = words[1].partition(":")
                    if int(number, 16) == port:
                        found.append(_address_of(address, family))
        except (OSError, ValueError, IndexError):
            continue
    return found


def _address_of(text: str, family: int) -> str:
    """The address from the kernel's table, which has words of 32 bits in the order of the machine."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    address = socket.inet_ntop(family, struct.pack("={0}I".format(len(words)), *words))
    return _ANY.get(address, address)


def _reach(address: Tuple[str, int], deadline: float) -> _Stream:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("the time is up")
    connection = socket.create_connection(address, min(_CONNECT_SECONDS, left))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Stream(connection, deadline)


def _port_by_epmd(peer: Peer, deadline: float) -> int:
    """The port that the node has told the Erlang port mapper of this machine. Raises OSError or DistributionError."""
    name = peer.alive.encode("utf-8")
    problem = None  # type: Optional[OSError]
    for address in ("127.0.0.1", "::1"):
        try:
            stream = _reach((address, peer.epmd_port), deadline)
        except OSError as error:
            problem = problem or error
            continue
        try:
            stream.send_short(_PORT_PLEASE + name)
            if stream.receive(1) != _PORT_ANSWER:
                raise _HandshakeError("what listens at port {0} is not epmd".format(peer.epmd_port))
            if stream.receive(1) != b"\0":
                raise NotListeningError("{0} is not reached: epmd does not know it".format(peer.node))
            return struct.unpack(">H", stream.receive(2))[0]
        finally:
            stream.close()
    if problem is not None and problem.errno not in _NOBODY:
        raise problem
    raise NotListeningError("{0} is not reached: no epmd listens at port {1}".format(peer.node, peer.epmd_port))


def _handshake(stream: _Stream, own: str, peer: Peer, version: int) -> None:
    """Greet in the new way, which OTP 23 and later know, or in the old one, which OTP 22 to 24 know."""
    name = own.encode("utf-8")
    if len(name) > _MAX_NAME_BYTES:
        raise _HandshakeError("its name is too long")
    if version == 6:
        stream.send_short(b"N" + struct.pack(">QIH", _FLAGS, _CREATION, len(name)) + name)
    else:
        stream.send_short(b"n" + struct.pack(">HI", 5, _FLAGS & 0xFFFFFFFF) + name)
    try:
        status = stream.receive_short()
    except ConnectionError:
        raise _NotUnderstoodError("it hangs up at the greeting") from None
    if status in (b"snok", b"salive"):
        raise _NameTakenError("the node is connected to another of our name")
    if status not in (b"sok", b"sok_simultaneous"):
        raise _HandshakeError("it refuses the handshake")
    new, theirs, node = _challenge(stream.receive_short())
    if node != peer.node:
        # Nothing is proved to another one.
        raise _HandshakeError("another node listens there")
    if new and version == 5:
        # It knows the new handshake, and wants to be told what an old greeting has no room for.
        stream.send_short(b"c" + struct.pack(">II", _FLAGS >> 32, _CREATION))
    ours = struct.unpack(">I", os.urandom(4))[0]
    stream.send_short(b"r" + struct.pack(">I", ours) + _digest(peer.cookie, theirs))
    try:
        answer = stream.receive_short()
    except ConnectionError:
        answer = b""
    if not hmac.compare_digest(answer, b"a" + _digest(peer.cookie, ours)):
        raise _HandshakeError("the cookies differ")


def _challenge(data: bytes) -> Tuple[bool, int, str]:
    """Whether it is that of the new handshake, the number in it, and the name of the node."""
    if data[:1] == b"N":
        _flags, number, _creation, size = struct.unpack_from(">QIIH", data, 1)
        name = _take(data, 19, size)
    elif data[:1] == b"n":
        _version, _flags, number = struct.unpack_from(">HII", data, 1)
        name = data[11:]
    else:
        raise _HandshakeError("it sends no challenge")
    return data[:1] == b"N", number, name.decode("utf-8", "replace")


def _digest(cookie: str, challenge: int) -> bytes:
    # MD5 is the protocol's, not a choice of ours. A cookie is an atom, by its characters.
    return hashlib.md5(cookie.encode("latin-1") + str(challenge).encode("ascii")).digest()


class _Session:
    """Calls through ``rex``, one after the other."""

    def __init__(self, connection: _Connection, deadline: float) -> None:
        self._stream = connection.stream
        self._stream.deadline = deadline
        self._own = connection.own
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
        numbers = struct.pack(">III", self._calls, 0, 0)
        own = b"X" + _atom(self._own) + struct.pack(">III", 1, 0, _CREATION)
        reference = b"Z" + struct.pack(">H", 3) + _atom(self._own) + struct.pack(">I", _CREATION) + numbers
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
            replied, start = decode(data, end + 3)
            if replied != ("other", "reference") or data[start - len(numbers) : start] != numbers:
                raise ValueError("the answer is to another question")
            return data[start:]

    def _send(self, data: bytes) -> None:
        self._stream.send(struct.pack(">I", len(data)) + data)

    def _receive(self) -> bytes:
        while True:
            size = struct.unpack(">I", self._stream.receive(4))[0]
            if size > MAX_MESSAGE_BYTES:
                raise ValueError("a message of {0} bytes".format(size))
            if size:
                return self._stream.receive(size)
            # A tick: who does not answer it counts as dead after a minute.
            self._send(b"")


# External term format

# What is raised for bytes that are no term.
_NO_TERM = (ValueError, IndexError, struct.error)


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


def decode(data: bytes, at: int) -> Tuple[Any, int]:
    """The term that begins at ``at``, and where it ends. Raises ValueError, IndexError or struct.error for none."""
    return _Decoder(data).term(at, 0)


def end_of(data: bytes, at: int) -> int:
    """Where the term that begins at ``at`` ends, however deep: a list of an expression is terms within terms."""
    decoder = _Decoder(data)
    missing = 1
    while missing:
        missing -= 1
        tag = data[at : at + 1]
        if tag in (b"h", b"i", b"l", b"t"):
            count, at = (data[at + 1], at + 2) if tag == b"h" else _size(data, at + 1, ">I")
            missing += decoder.spent(2 * count if tag == b"t" else count) + (tag == b"l")
        else:
            at = decoder.term(at, 0)[1]
    return at


_NUMBERS = {b"a": (">B", 1), b"b": (">i", 4), b"F": (">d", 8)}
# What stands behind the name of the node, in bytes.
_OTHERS = {b"X": ("pid", 12), b"g": ("pid", 9), b"x": ("port", 12), b"Y": ("port", 8), b"f": ("port", 5)}


class _Decoder:
    """Reads terms of one message, and only so many."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_TERMS

    def spent(self, count: int) -> int:
        """Count so many terms; what is too many is refused before anything is made of it."""
        self._left -= count
        if self._left < 0:
            raise ValueError("more than {0} terms".format(MAX_TERMS))
        return count

    def term(self, at: int, depth: int) -> Tuple[Any, int]:
        """The term at ``at``, and where it ends."""
        data = self._data
        if depth > MAX_DEPTH:
            raise ValueError("terms within terms without end")
        tag = data[at : at + 1]
        at += 1
        number = _NUMBERS.get(tag)
        if number is not None:
            form, size = number
            return struct.unpack_from(form, data, at)[0], at + size
        if tag in (b"n", b"o"):
            return self._whole_number(at, tag == b"o")
        if tag in (b"w", b"s", b"v", b"d"):
            size, at = (data[at], at + 1) if tag in (b"w", b"s") else _size(data, at, ">H")
            text = _take(data, at, size).decode("utf-8" if tag in (b"w", b"v") else "latin-1")
            return ("atom", text), at + size
        if tag in (b"h", b"i"):
            count, at = (data[at], at + 1) if tag == b"h" else _size(data, at, ">I")
            parts, at = self._many(at, count, depth)
            return tuple(parts), at
        if tag == b"j":
            return [], at
        if tag == b"k":
            size, at = _size(data, at, ">H")
            return list(bytearray(_take(data, at, self.spent(size)))), at + size
        if tag == b"l":
            count, at = _size(data, at, ">I")
            parts, at = self._many(at, count, depth)
            tail, at = self.term(at, depth + 1)
            return (parts + tail if isinstance(tail, list) else parts), at
        if tag == b"m":
            size, at = _size(data, at, ">I")
            return _take(data, at, size), at + size
        if tag == b"M":
            size, at = _size(data, at, ">I")
            return _take(data, at + 1, size), at + 1 + size
        if tag == b"t":
            count, at = _size(data, at, ">I")
            pairs, at = self._many(at, 2 * count, depth)
            return {_key(key): value for key, value in zip(pairs[::2], pairs[1::2])}, at
        return self._other(at, tag, depth)

    def _whole_number(self, at: int, large: bool) -> Tuple[int, int]:
        data = self._data
        size, at = _size(data, at, ">I") if large else (data[at], at + 1)
        if size > MAX_NUMBER_BYTES:
            raise ValueError("a number of {0} bytes".format(size))
        value = int.from_bytes(_take(data, at + 1, size), "little")
        return (-value if data[at] else value), at + 1 + size

    def _many(self, at: int, count: int, depth: int) -> Tuple[List[Any], int]:
        if count > len(self._data) - at:
            # Every term has a byte at least.
            raise ValueError("more terms than there are bytes")
        parts = []
        for _place in range(self.spent(count)):
            part, at = self.term(at, depth + 1)
            parts.append(part)
        return parts, at

    def _other(self, at: int, tag: bytes, depth: int) -> Tuple[Any, int]:
        """What only the node itself can do something with: its kind, without what it is."""
        data = self._data
        if tag in _OTHERS:
            kind, size = _OTHERS[tag]
            return ("other", kind), self._within(self.term(at, depth + 1)[1] + size)
        if tag in (b"Z", b"r"):
            count, at = _size(data, at, ">H")
            at = self.term(at, depth + 1)[1]
            return ("other", "reference"), self._within(at + 4 * count + (4 if tag == b"Z" else 1))
        if tag == b"q":
            return ("other", "fun"), self._many(at, 3, depth)[1]
        if tag == b"p":
            # Its size counts itself.
            size = _size(data, at, ">I")[0]
            if size < 4:
                raise ValueError("a fun without a size")
            return ("other", "fun"), self._within(at + size)
        # Among them a compressed term, which nothing was agreed on about.
        raise ValueError("a term of an unknown kind")

    def _within(self, end: int) -> int:
        if end > len(self._data):
            raise ValueError("a term that is cut off")
        return end


def _size(data: bytes, at: int, form: str) -> Tuple[int, int]:
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _take(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) != size:
        raise ValueError("a term that is cut off")
    return part


def _key(term: Any) -> Any:
    try:
        hash(term)
    except TypeError:
        return repr(term)
    return term
