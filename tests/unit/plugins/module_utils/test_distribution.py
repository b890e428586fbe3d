# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Terms that are cut off or nonsense, and the handshake of nodes that are older than those of the other tests."""

import contextlib
import hashlib
import io
import random
import socket
import struct
import threading
import time
from typing import Any, Iterator, List

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import distribution
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import DistributionError, Peer, decode

TERM = (
    b"h\x05w\x02okl\x00\x00\x00\x02a\x01b\x00\x00\x01\x00jm\x00\x00\x00\x03abc"
    b"t\x00\x00\x00\x01w\x01ka\x07n\x02\x01\x00\x01"
)


def test_a_term() -> None:
    assert decode(TERM, 0) == ((("atom", "ok"), [1, 256], b"abc", {("atom", "k"): 7}, -256), len(TERM))
    assert distribution.end_of(TERM, 0) == len(TERM)


def test_a_term_that_is_cut_off_is_an_error() -> None:
    for length in range(len(TERM)):
        with pytest.raises((ValueError, IndexError, struct.error)):
            decode(TERM[:length], 0)


def test_nonsense_is_an_error_and_nothing_else() -> None:
    numbers = random.Random(4)
    tags = b"abFnowsvdhijklmMtXgxYfZrqpQ"
    for _unused in range(20000):
        data = bytes(bytearray(numbers.choice(bytearray(tags)) for _place in range(numbers.randrange(1, 30))))
        for read in (decode, distribution.end_of):
            with contextlib.suppress(ValueError, IndexError, struct.error):
                read(data, 0)


def test_terms_within_terms_end_somewhere() -> None:
    with pytest.raises(ValueError, match="without end"):
        decode(b"h\x01" * 100000 + b"a\x01", 0)


@pytest.mark.parametrize(
    ("node", "port"), [("emqx@127.0.0.1", 4370), ("emqx1@10.0.0.1", 4371), ("n2x12@h", 4382), ("emqx@host7", 4370)]
)
def test_the_port_comes_from_the_digits_of_the_name(node: str, port: int) -> None:
    assert Peer(node, "x").port == port


class OldNode(threading.Thread):
    """As OTP 22: it knows handshake 5 alone, and hangs up on anything else."""

    def __init__(self, cookie: str) -> None:
        super().__init__(daemon=True)
        self.cookie = cookie
        self.greetings: List[bytes] = []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(5)

    def run(self) -> None:
        while True:
            try:
                stream = self.listener.accept()[0]
            except OSError:
                return
            with stream:
                self._talk(stream)

    def _talk(self, stream: socket.socket) -> None:
        greeting = distribution._receive_short(stream)
        self.greetings.append(greeting[:1])
        if greeting[:1] != b"n":
            return
        distribution._send_short(stream, b"sok")
        distribution._send_short(stream, b"n" + struct.pack(">HII", 5, 0x7499F, 4711) + b"emqx@127.0.0.1")
        reply = distribution._receive_short(stream)
        if reply[5:] != hashlib.md5(self.cookie.encode() + b"4711").digest():
            return
        theirs = struct.unpack(">I", reply[1:5])[0]
        answer = hashlib.md5(self.cookie.encode() + str(theirs).encode()).digest()
        distribution._send_short(stream, b"a" + answer)


@pytest.fixture
def old_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[OldNode]:
    node = OldNode("biscuit")
    node.start()
    monkeypatch.setattr(distribution, "BASE_PORT", node.listener.getsockname()[1])
    yield node
    node.listener.close()


def test_the_handshake_of_older_nodes(old_node: OldNode) -> None:
    with distribution._connect(Peer("emqx@127.0.0.1", "biscuit"), _soon()).socket:
        assert old_node.greetings == [b"N", b"n"]


def test_an_older_node_with_another_cookie(old_node: OldNode) -> None:
    with pytest.raises(DistributionError, match="is not reached"):
        distribution.evaluate(Peer("emqx@127.0.0.1", "other"), "1.", 10)


def test_nobody_listens() -> None:
    with pytest.raises(DistributionError, match="is not reached"):
        distribution.evaluate(Peer("emqx60000@127.0.0.1", "x"), "1.", 5)


@pytest.mark.parametrize(
    "argv",
    [[], ["beam.smp", "-name", "emqx@127.0.0.1"], ["beam.smp", "-setcookie", "x"], ["-sname", "a", "-setcookie", "x"]],
)
def test_a_command_line_that_does_not_tell(argv: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def opened(path: Any, *arguments: Any, **options: Any) -> Any:
        if path != "/proc/77/cmdline":
            return real(path, *arguments, **options)
        return io.BytesIO("\0".join(argv).encode())

    monkeypatch.setattr(distribution, "open", opened, raising=False)
    assert distribution.peer_of(77) is None


def _soon() -> float:
    return time.monotonic() + 10
