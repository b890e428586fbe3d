# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Terms that are cut off or nonsense, nodes that are older than those of the other tests, and others that are none."""

import contextlib
import hashlib
import io
import os
import random
import socket
import struct
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import distribution
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import (
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    MAX_TERMS,
    AnswerTimeoutError,
    DistributionError,
    NotListeningError,
    Peer,
    decode,
    end_of,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import TIMES, more, seeds

TERM = (
    b"h\x05w\x02okl\x00\x00\x00\x02a\x01b\x00\x00\x01\x00jm\x00\x00\x00\x03abc"
    b"t\x00\x00\x00\x01w\x01ka\x07n\x02\x01\x00\x01"
)
#: An address of this process alone: names of this end are taken for a whole machine, on which other tests may be run.
HOST = "127.{0}.{1}.1".format(os.getpid() % 250 + 1, os.getpid() // 250 % 250)
NAME = "emqx@" + HOST
COOKIE = "biscuit"
NO_TERM = (ValueError, IndexError, struct.error)


# Terms


def test_a_term() -> None:
    assert decode(TERM, 0) == ((("atom", "ok"), [1, 256], b"abc", {("atom", "k"): 7}, -256), len(TERM))
    assert end_of(TERM, 0) == len(TERM)


def test_a_term_that_is_cut_off_is_an_error() -> None:
    for length in range(len(TERM)):
        with pytest.raises(NO_TERM):
            decode(TERM[:length], 0)
        with pytest.raises(NO_TERM):
            end_of(TERM[:length], 0)


NODE = b"w\x03a@b"
KINDS = [
    (b"a\xff", 255),
    (b"b\xff\xff\xff\xfe", -2),
    (b"F\x3f\xf8" + bytes(6), 1.5),
    (b"o\x00\x00\x00\x02\x01\x00\x01", -256),
    (b"d\x00\x02\xe4b", ("atom", "\u00e4b")),
    (b"s\x01\xe4", ("atom", "\u00e4")),
    (b"v\x00\x02\xc3\xa4", ("atom", "\u00e4")),
    (b"i\x00\x00\x00\x01a\x01", (1,)),
    (b"l\x00\x00\x00\x01a\x01a\x02", [1]),
    (b"l\x00\x00\x00\x01a\x01k\x00\x01\x02", [1, 2]),
    (b"M\x00\x00\x00\x01\x03\xe0", b"\xe0"),
    (b"X" + NODE + bytes(12), ("other", "pid")),
    (b"g" + NODE + bytes(9), ("other", "pid")),
    (b"Y" + NODE + bytes(8), ("other", "port")),
    (b"f" + NODE + bytes(5), ("other", "port")),
    (b"x" + NODE + bytes(12), ("other", "port")),
    (b"Z\x00\x03" + NODE + bytes(16), ("other", "reference")),
    (b"r\x00\x03" + NODE + bytes(13), ("other", "reference")),
    (b"q" + NODE + NODE + b"a\x02", ("other", "fun")),
    (b"p\x00\x00\x00\x06xx", ("other", "fun")),
    (b"t\x00\x00\x00\x02jjh\x01ja\x01", {"[]": [], "([],)": 1}),
]


@pytest.mark.parametrize(("data", "value"), KINDS)
def test_every_kind_of_term(data: bytes, value: Any) -> None:
    assert decode(data + b"rest", 0) == (value, len(data))
    assert end_of(data + b"rest", 0) == len(data)
    for length in range(len(data)):
        with pytest.raises(NO_TERM):
            decode(data[:length], 0)


@more
def test_nonsense_is_an_error_and_nothing_else() -> None:
    tags = b"abFnowsvdhijklmMtXgxYfZrqpQP\x83\x00\x00\x01\xff"
    for seed in seeds(20000):
        numbers = random.Random(seed)
        data = bytes(bytearray(numbers.choice(bytearray(tags)) for _place in range(numbers.randrange(1, 40))))
        for read in (decode, end_of):
            with contextlib.suppress(*NO_TERM):
                assert read(data, 0)


@more
def test_a_term_with_some_bytes_changed_is_another_one_or_an_error() -> None:
    whole = b"h\x15" + b"".join(data for data, _value in KINDS)
    assert decode(whole, 0)[1] == len(whole)
    for seed in seeds(3000):
        numbers = random.Random(seed)
        data = bytearray(whole)
        for _change in range(numbers.randrange(1, 6)):
            data[numbers.randrange(len(data))] = numbers.randrange(256)
        for read in (decode, end_of):
            with contextlib.suppress(*NO_TERM):
                assert read(bytes(data), 0)


def test_terms_within_terms_end_somewhere() -> None:
    with pytest.raises(ValueError, match="without end"):
        decode(b"h\x01" * 100000 + b"a\x01", 0)
    deepest = b"h\x01" * MAX_DEPTH + b"a\x01"
    assert decode(deepest, 0)[1] == len(deepest)
    assert end_of(b"h\x01" * 100000 + b"a\x01", 0) == 200002


@pytest.mark.parametrize(
    "data",
    [
        b"l" + struct.pack(">I", MAX_TERMS + 1) + b"j" * (MAX_TERMS + 2),
        b"i" + struct.pack(">I", MAX_TERMS + 1) + b"j" * (MAX_TERMS + 1),
        b"t" + struct.pack(">I", MAX_TERMS // 2 + 1) + b"j" * (MAX_TERMS + 2),
        b"h\x10" + (b"k\xff\xff" + bytes(65535)) * 16,
        b"h\x02" + (b"l" + struct.pack(">I", MAX_TERMS // 2 + 1) + b"j" * (MAX_TERMS // 2 + 2)) * 2,
    ],
)
def test_terms_are_counted_before_anything_is_made_of_them(data: bytes) -> None:
    with pytest.raises(ValueError, match="more than 1000000 terms"):
        decode(data, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"l\xff\xff\xff\xffj", "more terms than there are bytes"),
        (b"t\xff\xff\xff\xffj", "more terms than there are bytes"),
        (b"o\x00\xff\xff\xff\x00" + bytes(1 << 24), "a number of 16777215 bytes"),
        (b"m\xff\xff\xff\xffabc", "cut off"),
        (b"p\x00\x00\x00\x00", "without a size"),
        # A compressed term may swell to anything.
        (b"P\xff\xff\xff\xffx\x9c\x03\x00\x00\x00\x00\x01", "unknown kind"),
        (b"\x83a\x01", "unknown kind"),
        (b"R\x00", "unknown kind"),
    ],
)
def test_what_would_swell_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(data, 0)


# Nodes


def term(text: bytes) -> bytes:
    """The value of an evaluated expression, a binary."""
    return b"h\x03w\x05valuem" + struct.pack(">I", len(text)) + text + b"j"


class Node:
    """Somebody who listens. ``talk`` gets the connection of each who comes, in a thread of its own."""

    listens_at = HOST

    def __init__(self, talk: Callable[["Node", distribution._Stream], None]) -> None:
        self.talk = talk
        self.greetings: List[bytes] = []
        self.names: List[bytes] = []
        self.questions: List[bytes] = []
        self.digests = 0
        #: What a node may say at each step, instead of what one of OTP 25 does.
        self.says: Dict[str, Any] = {}
        self.listener = socket.socket()
        self.listener.bind((self.listens_at, 0))
        self.listener.listen(50)
        self.peer = Peer(NAME, COOKIE, self.listener.getsockname()[1])
        self._threads: List[threading.Thread] = []
        self._closed = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            self.talk(self, distribution._Stream(connection, time.monotonic() + 60))

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def evaluate(self, timeout: float = 10) -> Any:
        return distribution.evaluate(self.peer, "1.", timeout)

    def digest(self, number: int) -> bytes:
        return hashlib.md5(COOKIE.encode() + str(number).encode()).digest()


def step(node: Node, stream: distribution._Stream, name: str, data: bytes, short: bool = True) -> None:
    """Send ``data``, or what this step is to send instead: bytes as they are, sizes of their own included."""
    said = node.says.get(name)
    whole = struct.pack(">H" if short else ">I", len(data)) + data
    stream.send(whole if said is None else said(whole))


def handshake(node: Node, stream: distribution._Stream, known: str = "N") -> bool:
    """As OTP 25 (``N``), 23 and 24 (``nN``), or 22 (``n``), which hang up on any greeting that they do not know."""
    greeting = stream.receive_short()
    kind = greeting[:1]
    node.greetings.append(kind)
    if kind.decode() not in known:
        return False
    node.names.append(greeting[15:] if kind == b"N" else greeting[7:])
    step(node, stream, "status", b"sok")
    name = node.says.get("name", NAME.encode())
    if "N" in known:
        step(node, stream, "challenge", b"N" + struct.pack(">QIIH", 0xD07DF7FBD, 4711, 5, len(name)) + name)
    else:
        step(node, stream, "challenge", b"n" + struct.pack(">HII", 5, 0x7499F, 4711) + name)
    reply = stream.receive_short()
    if "N" in known and kind == b"n":
        assert reply == b"c" + struct.pack(">II", distribution._FLAGS >> 32, 1)
        reply = stream.receive_short()
    node.digests += 1
    if reply[5:] != node.digest(4711):
        return False
    step(node, stream, "ack", b"a" + node.digest(struct.unpack(">I", reply[1:5])[0]))
    return True


def answers(node: Node, stream: distribution._Stream) -> None:
    """The three calls of a question, with what is handed back in between."""
    for call, value in ((1, b"h\x03w\x02okjj"), (2, b"h\x02w\x02okj"), (3, term(b"yes"))):
        question = stream.receive(struct.unpack(">I", stream.receive(4))[0])
        node.questions.append(question)
        reference = b"Z\x00\x03" + NODE + struct.pack(">IIII", 1, call, 0, 0)
        control = b"h\x03a\x02w\x00X" + NODE + bytes(12)
        data = b"p\x83" + control + b"\x83h\x02" + reference + value
        step(node, stream, "answer{0}".format(call), data, short=False)
    with contextlib.suppress(OSError):
        stream.receive(1)


def whole(known: str = "N") -> Callable[[Node, distribution._Stream], None]:
    def talk(node: Node, stream: distribution._Stream) -> None:
        if handshake(node, stream, known):
            answers(node, stream)

    return talk


@pytest.fixture
def listen() -> Iterator[Callable[..., Node]]:
    nodes: List[Node] = []

    def start(talk: Callable[[Node, distribution._Stream], None]) -> Node:
        nodes.append(Node(talk))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


@pytest.mark.parametrize(("known", "greetings"), [("N", [b"N"]), ("nN", [b"N"]), ("n", [b"N", b"n"])])
def test_the_handshakes_of_old_and_new_nodes(listen: Any, known: str, greetings: List[bytes]) -> None:
    node = listen(whole(known))
    assert node.evaluate() == b"yes"
    assert node.greetings == greetings
    assert len(node.questions) == 3
    assert node.names[0].startswith(b"emqx_fleet")
    assert node.names[0].endswith(("@" + HOST).encode("ascii"))


def test_a_newer_node_that_is_greeted_in_the_old_way_is_told_the_rest(listen: Any) -> None:
    """As OTP 23 and 24 want it, which answer an old greeting with a new challenge."""

    def talk(node: Node, stream: distribution._Stream) -> None:
        if not node.greetings:
            # The first time it has no time for us.
            node.greetings.append(stream.receive_short()[:1])
            return
        if handshake(node, stream, "nN"):
            answers(node, stream)

    node = listen(talk)
    assert node.evaluate() == b"yes"
    assert node.greetings == [b"N", b"n"]


@pytest.mark.parametrize("known", ["N", "n"])
def test_another_cookie_is_tried_once_and_not_told(listen: Any, known: str) -> None:
    node = listen(whole(known))
    node.peer = node.peer._replace(cookie="some-other-secret")
    with pytest.raises(DistributionError, match="is not reached: the cookies differ") as caught:
        node.evaluate()
    assert "secret" not in str(caught.value) + repr(node.peer)
    assert node.digests == 1, "each try makes a line in the node's log"


def test_a_cookie_that_is_no_atom(listen: Any) -> None:
    node = listen(whole())
    node.peer = node.peer._replace(cookie="\u0434\u0430")
    with pytest.raises(DistributionError, match="characters of no node's") as caught:
        node.evaluate()
    assert "\u0434" not in str(caught.value)


def test_nothing_is_proved_to_another_node(listen: Any) -> None:
    node = listen(whole())
    node.says["name"] = b"other@127.0.0.1"
    with pytest.raises(DistributionError, match="another node listens there"):
        node.evaluate()
    assert node.digests == 0


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        with pytest.raises(NotListeningError, match="nothing listens at port"):
            distribution.evaluate(Peer(NAME, COOKIE, free.getsockname()[1]), "1.", 5)


def test_a_node_at_one_address_of_the_machine_alone_is_found_whatever_its_name(listen: Any) -> None:
    """A name of a host is not looked up, which may take as long as it likes; the kernel knows who listens where."""
    node = listen(whole())
    node.listener.close()
    node.listener = socket.socket()
    node.listener.bind(("127.0.0.7", 0))
    node.listener.listen(5)
    threading.Thread(target=node._accept, daemon=True).start()
    name = b"emqx@host.of.no.domain.invalid"
    node.says["name"] = name
    node.peer = Peer(name.decode(), COOKIE, node.listener.getsockname()[1])
    assert node.evaluate() == b"yes"


def test_a_node_of_ipv6(listen: Any) -> None:
    node = listen(whole())
    node.listener.close()
    node.listener = socket.socket(socket.AF_INET6)
    node.listener.bind(("::1", 0))
    node.listener.listen(5)
    threading.Thread(target=node._accept, daemon=True).start()
    node.says["name"] = b"emqx@::1"
    node.peer = Peer("emqx@::1", COOKIE, node.listener.getsockname()[1])
    assert node.evaluate() == b"yes"


def test_who_listens_by_the_tables_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    head = "  sl  local_address rem_address   st tx_queue\n"
    words = struct.pack("=I", struct.unpack("!I", socket.inet_aton("10.1.2.3"))[0])
    ours = "{0:08X}".format(struct.unpack("=I", struct.pack("!I", struct.unpack("=I", words)[0]))[0])
    tables = {
        "/proc/self/net/tcp": head
        + "   0: {0}:1112 00000000:0000 0A 0\n   1: 00000000:1112 00000000:0000 0A 0\n".format(ours)
        + "   2: 0100007F:1113 00000000:0000 0A 0\n   3: 0400007F:1112 0100007F:8888 01 0\n"
        + "   4: 0500007F:1112 00000000:0000 0A 0\n",
        "/proc/self/net/tcp6": head + "   0: {0}:1112 {0}:0000 0A 0\n  1: odd\n".format("0" * 32),
    }
    monkeypatch.setattr(distribution, "open", lambda path: io.StringIO(tables[path]), raising=False)
    assert distribution._listeners(0x1112) == ["10.1.2.3", "127.0.0.1", "::1"]
    assert distribution._addresses("emqx.example.org", 0x1112) == ["10.1.2.3", "127.0.0.1", "::1"]
    assert distribution._addresses("10.9.9.9", 9) == ["10.9.9.9", "127.0.0.1", "::1"]
    tables.update({"/proc/self/net/tcp": "", "/proc/self/net/tcp6": head + "x\n"})
    assert distribution._listeners(0x1112) == []


# Names of this end


@pytest.mark.parametrize("status", [b"snok", b"salive"])
def test_a_name_that_is_taken_gives_way_to_the_next(listen: Any, status: bytes) -> None:
    def talk(node: Node, stream: distribution._Stream) -> None:
        if len(node.names) < 11:
            node.names.append(stream.receive_short()[15:])
            stream.send_short(status)
        elif handshake(node, stream):
            answers(node, stream)

    node = listen(talk)
    assert node.evaluate() == b"yes"
    assert len(set(node.names[:8])) == 8, "all of them, and then again"
    assert len(set(node.names)) == 8


def test_all_names_are_taken_for_good(listen: Any) -> None:
    def talk(_node: Node, stream: distribution._Stream) -> None:
        stream.receive_short()
        stream.send_short(b"salive")

    node = listen(talk)
    with pytest.raises(DistributionError, match="connected to others of our name"):
        node.evaluate(timeout=3)


def test_no_two_greet_by_one_name_at_the_same_time(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node would hang up on the first of them. There are more of them here than names, and all get through."""
    greet, lock = distribution._handshake, threading.Lock()
    busy: List[str] = []
    twice: List[str] = []

    def counted(stream: distribution._Stream, own: str, *rest: Any) -> None:
        with lock:
            twice.extend([own] if own in busy else [])
            busy.append(own)
        try:
            greet(stream, own, *rest)
        finally:
            with lock:
                busy.remove(own)

    monkeypatch.setattr(distribution, "_handshake", counted)
    monkeypatch.setattr(distribution, "REACH_SECONDS", 60)
    node = listen(whole())
    found: List[Any] = []
    threads = [threading.Thread(target=lambda: found.append(node.evaluate(60))) for _unused in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"yes"] * 20
    assert twice == []


# Who is no node, or one that goes astray: an error, in time, and nothing else


def limited(node: Node, timeout: float = 0.5) -> DistributionError:
    """What comes of a question to it; never anything but an error, and never nothing.

    The machine may be busy, so there is much time: what does not end at all is what the test is about.
    """
    outcome: List[Any] = []

    def ask() -> None:
        try:
            outcome.append(node.evaluate(timeout))
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(60)
    assert outcome, "it does not come back"
    assert isinstance(outcome[0], DistributionError), repr(outcome[0])
    return outcome[0]


def drip(data: bytes, seconds: float) -> Callable[[Node, distribution._Stream], None]:
    def talk(_node: Node, stream: distribution._Stream) -> None:
        for place in range(len(data)):
            stream.send(data[place : place + 1])
            time.sleep(seconds)

    return talk


def test_somebody_who_says_nothing(listen: Any) -> None:
    node = listen(lambda _node, stream: stream.receive(1 << 20) and None)
    assert str(limited(node)) == NAME + " is not reached: it does not answer"


def test_somebody_who_sends_one_byte_at_a_time(listen: Any) -> None:
    """Each of them in time, and all together never."""
    node = listen(drip(b"\x00\x03sok" + b"\x01\x00N" + bytes(5000), 0.05))
    assert "does not answer" in str(limited(node))


def test_a_node_that_sends_its_answer_one_byte_at_a_time(listen: Any) -> None:
    def talk(node: Node, stream: distribution._Stream) -> None:
        assert handshake(node, stream)
        drip(b"\x00\x00\x10\x00" + bytes(5000), 0.05)(node, stream)

    assert isinstance(limited(listen(talk), 3), AnswerTimeoutError)


def test_ticks_without_end(listen: Any) -> None:
    def talk(node: Node, stream: distribution._Stream) -> None:
        assert handshake(node, stream)
        while True:
            stream.send(bytes(4 * 64))

    assert isinstance(limited(listen(talk), 3), AnswerTimeoutError)


def test_messages_that_are_no_answer_without_end(listen: Any) -> None:
    message = b"p\x83h\x04a\x13X" + NODE + bytes(12) + b"w\x03rexj"

    def talk(node: Node, stream: distribution._Stream) -> None:
        assert handshake(node, stream)
        while True:
            stream.send(struct.pack(">I", len(message)) + message)

    assert isinstance(limited(listen(talk), 3), AnswerTimeoutError)


def test_ticks_between_are_answered(listen: Any) -> None:
    ticks: List[bytes] = []

    def talk(node: Node, stream: distribution._Stream) -> None:
        assert handshake(node, stream)
        question = stream.receive(struct.unpack(">I", stream.receive(4))[0])
        assert question
        stream.send(bytes(8))
        ticks.append(stream.receive(8))

    assert "closed the connection" in str(limited(listen(talk), 10))
    assert ticks == [bytes(8)]


@pytest.mark.parametrize(
    ("place", "said", "words"),
    [
        ("status", b"\x00\x0csnot_allowed", "refuses the handshake"),
        ("status", b"\x00\x00", "refuses the handshake"),
        ("status", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer"),
        ("challenge", b"\x00\x00", "no challenge"),
        ("challenge", b"\x00\x01N", ""),
        ("challenge", b"\x00\x13N" + bytes(16) + b"\xff\xff", "cut off"),
        ("ack", b"\x00\x11a" + bytes(16), "cookies differ"),
        ("ack", b"\x00\x00", "cookies differ"),
        ("answer1", b"\x00\x00\x00\x05hello", "not of the kind"),
        ("answer1", b"\x7f\xff\xff\xff", "a message of 2147483647 bytes"),
        ("answer1", struct.pack(">I", MAX_MESSAGE_BYTES + 1), "a message of"),
        ("answer1", b"\x00\x00\x00\x02p\x83", "does not answer as expected"),
        ("answer1", b"\x00\x00\x00\x04p\x83P\x00", "unknown kind"),
        ("answer2", b"\x00\x00\x00\x1ap\x83h\x03a\x02w\x00X" + NODE + bytes(12) + b"a", "not the form of one"),
    ],
)
def test_what_no_node_says_is_an_error(listen: Any, place: str, said: bytes, words: str) -> None:
    node = listen(whole())
    node.says[place] = lambda _whole: said
    assert words in str(limited(node, 1 if words == "does not answer" else 30))


def test_an_answer_to_another_question_is_none(listen: Any) -> None:
    node = listen(whole())
    node.says["answer2"] = lambda data: data.replace(struct.pack(">III", 2, 0, 0), struct.pack(">III", 1, 0, 0))
    assert "to another question" in str(limited(node, 10))


def test_an_answer_that_swells(listen: Any) -> None:
    node = listen(whole())
    size = MAX_MESSAGE_BYTES - 100

    def swollen(data: bytes) -> bytes:
        data = data[4 : -len(term(b"yes"))] + b"h\x03w\x05valuel" + struct.pack(">I", size) + b"j" * size + b"jj"
        return struct.pack(">I", len(data)) + data

    node.says["answer3"] = swollen
    assert "more than 1000000 terms" in str(limited(node, 60))


PLACES = ("status", "challenge", "ack", "answer1", "answer2", "answer3")


def damaged(numbers: random.Random, data: bytes) -> bytes:
    """What a step is to say, cut off, changed, with noise, or noise alone."""
    noise = bytes(bytearray(numbers.randrange(256) for _unused in range(numbers.randrange(1, 60))))
    kind = numbers.randrange(5)
    if kind == 0:
        return data[: numbers.randrange(len(data))]
    if kind == 1:
        return noise
    if kind == 2:
        place = numbers.randrange(len(data))
        return data[:place] + noise + data[place:]
    changed = bytearray(data)
    for _change in range(numbers.randrange(1, 4)):
        # Kinds of terms more often than anything else, for what is of no known kind goes no further.
        options = bytearray(b"hilktmMwsdZrXgpqnojFab\x00\x01\x02\x83")
        value = numbers.choice(options) if numbers.random() < 0.5 else numbers.randrange(256)
        # Sizes stay as they are most of the time, so that something comes of the rest.
        first = 0 if kind == 3 else min(4, len(data) - 1)
        changed[numbers.randrange(first, len(changed))] = value
    return bytes(changed)


@more
@pytest.mark.parametrize("place", PLACES)
def test_damage_at_any_step_is_an_error_or_an_answer(listen: Any, place: str) -> None:
    node = listen(whole())
    for seed in seeds(40):
        numbers = random.Random("{0} {1}".format(place, seed))
        node.says = {place: lambda data, numbers=numbers: damaged(numbers, data)}
        problem = ""
        try:
            # Whoever waits for the rest of something waits as long as it may.
            assert node.evaluate(0.15) is not None
        except DistributionError as error:
            problem = str(error)
        assert COOKIE not in problem, seed


@more
def test_noise_from_the_beginning_is_an_error(listen: Any) -> None:
    numbers = random.Random(7)

    def talk(_node: Node, stream: distribution._Stream) -> None:
        stream.receive_short()
        for _unused in range(numbers.randrange(1, 5)):
            size = numbers.randrange(1, 30)
            stream.send_short(bytes(bytearray(numbers.randrange(256) for _byte in range(size))))

    node = listen(talk)
    for _unused in range(40 * TIMES):
        with pytest.raises(DistributionError):
            node.evaluate(1)


# The port mapper


class Mapper(Node):
    """epmd, which says something to whoever asks for a port."""

    listens_at = "127.0.0.1"

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.asked: List[bytes] = []
        self._answer = answer
        super().__init__(self._map)

    def _map(self, _node: Node, stream: distribution._Stream) -> None:
        self.asked.append(stream.receive_short())
        stream.send(self._answer(self.asked[-1]))


@pytest.fixture
def mapped(listen: Any) -> Iterator[Callable[..., Tuple[Node, Mapper]]]:
    mappers: List[Mapper] = []

    def start(answer: Optional[bytes] = None) -> Tuple[Node, Mapper]:
        node = listen(whole())
        port = struct.pack(">H", node.peer.port)
        rest = b"M\x00\x00\x06\x00\x05\x00\x04emqx\x00\x00"
        mappers.append(Mapper(lambda _asked: b"w\x00" + port + rest if answer is None else answer))
        node.peer = Peer(NAME, COOKIE, None, mappers[-1].peer.port or 0)
        return node, mappers[-1]

    yield start
    for mapper in mappers:
        mapper.close()


def test_the_port_by_the_port_mapper(mapped: Any) -> None:
    node, mapper = mapped()
    assert node.evaluate() == b"yes"
    assert mapper.asked == [b"zemqx"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"w\x01", NotListeningError, "epmd does not know it"),
        (b"HTTP", DistributionError, "is not epmd"),
        (b"w", DistributionError, "closed the connection"),
        (b"w\x00\x11", DistributionError, "closed the connection"),
        (b"w\x00\x00\x00", DistributionError, "is not reached"),
    ],
)
def test_a_port_mapper_that_does_not_tell(mapped: Any, answer: bytes, kind: Any, words: str) -> None:
    node, _mapper = mapped(answer)
    error = limited(node, 30)
    assert isinstance(error, kind)
    assert words in str(error)


def test_no_port_mapper() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NotListeningError, match="no epmd listens at port"):
            distribution.evaluate(Peer(NAME, COOKIE, None, free.getsockname()[1]), "1.", 5)
