# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New connections to real servers: sound ones, and ones that fail in each way that a listener can."""

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import listener_check

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(handler: Optional[Handler], address: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server that hands each connection to ``handler``; with None nobody accepts one."""
    with contextlib.closing(socket.socket()) as server:
        server.bind((address, 0))
        server.listen(5)
        stopped = threading.Event()

        def accept() -> None:
            while not stopped.is_set():
                connection, _unused = server.accept()
                with contextlib.suppress(OSError), contextlib.closing(connection):
                    if handler and not stopped.is_set():
                        handler(connection)

        thread = threading.Thread(target=accept, daemon=True)
        if handler:
            thread.start()
        yield server.getsockname()[1]
        stopped.set()
        if handler:
            with contextlib.suppress(OSError):
                socket.create_connection(server.getsockname(), 1).close()
            thread.join(5)


def until_it_ends(connection: socket.socket) -> None:
    """What a broker does with a client that says nothing."""
    connection.settimeout(5)
    while connection.recv(100):
        pass


def at_once(connection: socket.socket) -> None:
    """Ends the connection."""


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def crash_on_hello(connection: socket.socket) -> None:
    """What esockd 5.8.7 does after a hot upgrade from an older one: it is gone once the client has begun."""
    connection.recv(5)
    reset(connection)


def silent(connection: socket.socket) -> None:
    """Reads, and never says a word."""
    until_it_ends(connection)


def tls_with(context: ssl.SSLContext, then: Handler = until_it_ends) -> Handler:
    def handler(connection: socket.socket) -> None:
        connection.settimeout(5)
        with context.wrap_socket(connection, server_side=True) as tls:
            then(tls)

    return handler


def tried(port: int, protocol: str = "mqtt:tcp:external", timeout: float = 3.0) -> Dict[str, Any]:
    listener = {"protocol": protocol, "listen_on": "127.0.0.1:{0}".format(port)}
    (row,) = listener_check.answers([listener], timeout)
    assert set(row) == {"protocol", "listen_on", "tls", "answers", "reason"}
    assert row["answers"] == (row["reason"] is None)
    assert "_ssl.c" not in (row["reason"] or "")
    return row


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tuple[str, str]:
    """Paths of a certificate and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    found = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other.example"]
        + ["-out", found[0], "-keyout", found[1]],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return found


def server_context(certificate: Optional[Tuple[str, str]], newest: str = "", mutual: bool = False) -> ssl.SSLContext:
    """``newest``: ``TLSv1`` or ``TLSv1_2``, beyond which it does not go. ``mutual``: it demands a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(*certificate)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificate[0])
    if newest and hasattr(ssl, "TLSVersion"):
        with warnings.catch_warnings():
            # That TLS 1.0 is not to be used any more is what this is about.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = getattr(ssl.TLSVersion, newest)
    elif newest:
        context.options |= {"TLSv1_2": 0, "TLSv1": ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_1}[newest]
        context.options |= getattr(ssl, "OP_NO_TLSv1_3", 0)
    if newest:
        with contextlib.suppress(ssl.SSLError):
            context.set_ciphers("ALL:@SECLEVEL=0")
    return context


# Plain TCP


def test_a_listener_that_takes_a_connection() -> None:
    with serving(until_it_ends) as port:
        assert tried(port)["answers"]


def test_nothing_is_sent() -> None:
    """No MQTT, nothing that would count as a client."""
    received: List[bytes] = []

    def read(connection: socket.socket) -> None:
        connection.settimeout(5)
        received.append(connection.recv(100))

    with serving(read) as port:
        assert tried(port)["answers"]
    assert set(received) == {b""}


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (at_once, "ends a new connection at once"),
        # It may be that early that it is not even connected.
        (reset, "reset"),
        (None, "is not taken care of"),
    ],
)
def test_a_listener_that_takes_none(handler: Optional[Handler], said: str) -> None:
    with serving(handler) as port:
        row = tried(port, timeout=1)
    assert not row["answers"]
    assert said in row["reason"]


@pytest.mark.parametrize("sound", [True, False])
def test_a_slow_listener_is_given_more_time(sound: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own work takes it longer than it was listened to: what it would say then shows in a second connection."""
    monkeypatch.setattr(listener_check, "_PATIENCE", 1000)
    monkeypatch.setattr(listener_check, "_LONGEST_QUIET_SECONDS", 2.0)
    taken = []  # type: List[None]

    def slow(connection: socket.socket) -> None:
        taken.append(None)
        if sound:
            until_it_ends(connection)
        time.sleep(2 * listener_check._QUIET_SECONDS)

    with serving(slow) as port:
        row = tried(port, timeout=10)
    assert row["reason"] == (None if sound else "it ends a new connection at once")
    assert len(taken) <= 2


def test_how_long_a_broker_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert [listener_check._quiet_after(100.0 - took) for took in (0.0, 0.01, 0.02, 0.03, 0.04, 1.0)] == pytest.approx(
        [0.05, 0.05, 0.1, 0.15, 0.2, 0.2]
    )


def test_nobody_listens() -> None:
    with serving(None) as port:
        pass
    for protocol in ("mqtt:tcp", "mqtt:ssl"):
        assert "no connection to 127.0.0.1 port" in tried(port, protocol)["reason"]


def test_every_address_is_loopback() -> None:
    with serving(until_it_ends) as port:
        for listen_on in ("{0}", "0.0.0.0:{0}", ":::{0}", "[::]:{0}", "0:0:0:0:0:0:0:0:{0}"):
            (row,) = listener_check.answers([{"protocol": "http:management", "listen_on": listen_on.format(port)}])
            assert row["answers"], row


@pytest.mark.parametrize(
    ("listen_on", "found"),
    [
        ("1883", (["127.0.0.1", "::1"], 1883)),
        ("0.0.0.0:1883", (["127.0.0.1"], 1883)),
        (":::1883", (["::1", "127.0.0.1"], 1883)),
        ("[::]:8883", (["::1", "127.0.0.1"], 8883)),
        ("127.0.0.1:11883", (["127.0.0.1"], 11883)),
        ("10.0.0.1:1883", (["10.0.0.1"], 1883)),
        ("fe80:0:0:0:0:0:0:abc:8883", (["fe80:0:0:0:0:0:0:abc"], 8883)),
        ("[::1]:8883", (["::1"], 8883)),
        ("broker.example:1883", (["broker.example"], 1883)),
        ("undefined", None),
        ("0", None),
        ("1.2.3.4:65536", None),
        ("", None),
    ],
)
def test_address(listen_on: str, found: Optional[Tuple[List[str], int]]) -> None:
    assert listener_check.address(listen_on) == found


@pytest.mark.parametrize(
    "protocol", ["mqttsn:udp", "mqttsn:dtls", "lwm2m:udp", "lwm2m:dtls", "coap:udp", "coap:dtls", "exproto:udp"]
)
def test_what_is_no_tcp_is_left_out(protocol: str) -> None:
    assert listener_check.answers([{"protocol": protocol, "listen_on": "127.0.0.1:1884"}]) == []
    assert listener_check.answers([{"protocol": "unix", "listen_on": "undefined"}]) == []


@pytest.mark.parametrize(
    ("protocol", "tls"),
    [
        ("mqtt:tcp", False),
        ("mqtt:tcp:external", False),
        ("mqtt:ws:8083", False),
        ("http:dashboard", False),
        ("stomp:tcp", False),
        ("mqtt:ssl", True),
        ("mqtt:ssl:external", True),
        ("mqtt:wss:8084", True),
        ("https:management", True),
        ("https:dashboard", True),
        ("stomp:ssl", True),
        ("MQTT:TLS", True),
    ],
)
def test_who_speaks_tls_is_told_by_the_name(protocol: str, tls: bool) -> None:
    with serving(at_once) as port:
        assert tried(port, protocol, timeout=1)["tls"] is tls


# TLS


@pytest.mark.parametrize("newest", ["", "TLSv1_2", "TLSv1"])
@pytest.mark.parametrize("mutual", [False, True])
def test_tls_of_every_version(certificate: Tuple[str, str], newest: str, mutual: bool) -> None:
    """A stranger's certificate, and one that is demanded of the client, are no obstacle."""
    with serving(tls_with(server_context(certificate, newest, mutual))) as port:
        row = tried(port, "mqtt:ssl:external")
    assert row["answers"], row


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (at_once, "handshake fails"),
        (crash_on_hello, "handshake fails"),
        (silent, "does not answer a TLS handshake"),
        (None, "does not answer a TLS handshake"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "handshake fails"),
    ],
)
def test_a_listener_that_speaks_no_tls(handler: Optional[Handler], said: str) -> None:
    with serving(handler) as port:
        row = tried(port, "mqtt:ssl:external", timeout=1)
    assert not row["answers"]
    assert said in row["reason"]


def test_a_broker_that_has_lost_its_certificate_does_not_pass_for_one_that_demands_ours() -> None:
    """Both say handshake_failure."""
    with serving(tls_with(server_context(None))) as port:
        row = tried(port, "https:dashboard")
    assert not row["answers"]
    assert "alert handshake failure" in row["reason"]


def test_a_crash_right_after_the_handshake(certificate: Tuple[str, str]) -> None:
    with serving(tls_with(server_context(certificate), at_once)) as port:
        row = tried(port, "mqtt:wss:8084")
    assert not row["answers"]
    assert "right after the TLS handshake" in row["reason"]


# Many


def test_twenty_dead_listeners_take_no_longer_than_one() -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(serving(None)) for _unused in range(20)]
        listeners = [
            {"protocol": "mqtt:ssl" if number % 2 else "mqtt:tcp", "listen_on": "127.0.0.1:{0}".format(port)}
            for number, port in enumerate([*ports, stack.enter_context(serving(until_it_ends))])
        ]
        started = time.monotonic()
        rows = listener_check.answers(listeners, timeout=1)
        # One after the other takes twenty.
        assert time.monotonic() - started < 10
    assert [row["listen_on"] for row in rows] == [row["listen_on"] for row in listeners]
    assert [row["answers"] for row in rows] == [False] * 20 + [True]


def test_an_answer_that_comes_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()

    def slow(*unused: Any) -> None:
        late.wait(10)

    monkeypatch.setattr(listener_check, "_refusal", slow)
    (row,) = listener_check.answers([{"protocol": "mqtt:tcp", "listen_on": "1883"}], timeout=0.1)
    late.set()
    time.sleep(0.2)
    assert (row["answers"], row["reason"]) == (False, "it was not tried in time")


def test_a_connection_that_breaks_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*unused: Any) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(listener_check, "_plain_refusal", broken)
    with serving(until_it_ends) as port:
        assert tried(port)["reason"] == "the connection broke: Transport endpoint is not connected"
