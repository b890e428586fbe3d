# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does each listener take a new connection? Tried from the node itself, as a client would, without speaking MQTT.

A listener stays in the broker's table when it takes no connections any more: with esockd 5.8.7, to which EMQX 4.3.18
and 4.4.7 upgrade hot, every new TLS connection crashes before the first byte of the broker's answer.

What a try costs the broker, by the sources of EMQX 4.4.18 and esockd 5.8.9: one accepted connection, or two where it is
slow, each of which takes one token of ``max_conn_rate`` (1000 a second unless set) and a place below
``max_connections`` for a moment. Without an MQTT CONNECT there is no client: none of the hooks run,
``connections.count`` counts a client from its CONNECT on, and flapping goes by client identifier. A connection that is
closed in that state ends its process with ``tcp_closed``, one that waits for a PROXY protocol header with
``proxy_proto_close``: the listener's statistics count it, no log has it. What is logged as an error, as for any such
client, is a TLS handshake that fails for want of a client certificate, and an address that the listener's access rules
refuse. The connection is closed by us, so no time-out of the broker's runs.
"""

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

# Seconds that one listener has for all of it.
TIMEOUT = 3.0
# Seconds that a broker has to end a connection that it does not want: so many times what it takes for what it is asked
# to do, within these bounds. Ending one is less work for it than answering.
_PATIENCE = 5
_QUIET_SECONDS = 0.05
_LONGEST_QUIET_SECONDS = 0.2

_TLS = {"ssl", "tls", "wss", "https"}
_NO_TCP = {"udp", "dtls"}
# Alerts that end a handshake for want of a client certificate. Erlang's TLS says handshake_failure or, in 1.3,
# certificate_required; the others are what brokers behind a proxy say.
_CERTIFICATE_ALERTS = re.compile(
    r"alert (?:handshake failure|certificate required|bad certificate|no certificate|certificate unknown|unknown ca"
    r"|access denied)"
)
_PLACE = re.compile(r"^\[[^\]]*\] | \(_ssl\.c:\d+\)$")


def answers(listeners: List[Dict[str, str]], timeout: float = TIMEOUT) -> List[Dict[str, Any]]:
    """Try every TCP listener once, all at the same time; see :func:`begin`."""
    return begin(listeners, timeout)()


def begin(listeners: List[Dict[str, str]], timeout: float = TIMEOUT) -> Callable[[], List[Dict[str, Any]]]:
    """Begin to try every TCP listener once, all at the same time; gives what waits for the answers.

    ``listeners``: as in NodeFacts, ``protocol`` and ``listen_on``. The answers are one row a listener, in their order,
    with ``protocol``, ``listen_on``, ``tls``, ``answers`` and ``reason`` (null or a few words). Listeners of UDP and
    DTLS, and those whose address is not understood, are left out. Takes not much longer than ``timeout`` seconds
    altogether.
    """
    rows = []  # type: List[Dict[str, Any]]
    threads = []
    for listener in listeners:
        target = address(listener["listen_on"])
        words = set(listener["protocol"].lower().split(":"))
        if target is None or words & _NO_TCP:
            continue
        row = dict(listener, tls=bool(words & _TLS), answers=False, reason="it was not tried in time")
        rows.append(row)
        threads.append(threading.Thread(target=_fill, args=(row, target, timeout), daemon=True))
    deadline = time.monotonic() + timeout + 2 * _LONGEST_QUIET_SECONDS
    for thread in threads:
        thread.start()

    def wait() -> List[Dict[str, Any]]:
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        # Copies: a thread that is late must not change what was returned.
        return [dict(row) for row in rows]

    return wait


def address(listen_on: str) -> Optional[Tuple[List[str], int]]:
    """The addresses to try, in order, and the port; None where ``listen_on`` is no address of TCP.

    ``1883``, ``0.0.0.0:1883``, ``:::1883`` and ``[::]:1883`` are every address of the node, so loopback is tried.
    """
    host, _unused, text = listen_on.rpartition(":")
    if not text.isdigit() or not 0 < int(text) < 65536:
        return None
    host = host.strip("[]")
    if not host:
        return ["127.0.0.1", "::1"], int(text)
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return [host], int(text)
    if not parsed.is_unspecified:
        return [host], int(text)
    return (["127.0.0.1"] if parsed.version == 4 else ["::1", "127.0.0.1"]), int(text)


def _fill(row: Dict[str, Any], target: Tuple[List[str], int], timeout: float) -> None:
    try:
        reason = _refusal(target, row["tls"], timeout)
    except OSError as error:
        reason = "the connection broke: {0}".format(_words(error))
    row.update(answers=reason is None, reason=reason)


def _refusal(target: Tuple[List[str], int], tls: bool, timeout: float) -> Optional[str]:
    """Why no new connection is to be had; None where one is."""
    deadline = time.monotonic() + timeout
    reason = ""
    hosts, port = target
    for host in hosts:
        try:
            connection = socket.create_connection((host, port), _left(deadline))
        except OSError as error:
            reason = reason or "no connection to {0} port {1}: {2}".format(host, port, _words(error))
            continue
        with connection:
            if tls:
                return _tls_refusal(connection, deadline)
            refusal, quiet = _plain_refusal(connection, deadline, _QUIET_SECONDS)
        if refusal is None and quiet > _QUIET_SECONDS:
            # It is slow: what it had no time for in the first one shows in a second one.
            with socket.create_connection((host, port), _left(deadline)) as connection:
                refusal, _unused = _plain_refusal(connection, deadline, quiet)
        return refusal
    return reason


def _plain_refusal(connection: socket.socket, deadline: float, quiet: float) -> Tuple[Optional[str], float]:
    """The kernel takes connections also for a program that does not; that it ends ours after us shows it at work.

    Returns with it how long the broker should have had to end the connection before us, which shows by then.
    """
    connection.settimeout(quiet)
    try:
        if not connection.recv(1):
            return "it ends a new connection at once", quiet
    except socket.timeout:
        pass
    except ConnectionError:
        return "it resets a new connection at once", quiet
    asked = time.monotonic()
    try:
        connection.shutdown(socket.SHUT_WR)
        while time.monotonic() < deadline:
            connection.settimeout(_left(deadline))
            if not connection.recv(4096):
                return None, _quiet_after(asked)
    except socket.timeout:
        pass
    except ConnectionError:
        return None, _quiet_after(asked)
    return "a new connection is not taken care of", quiet


def _quiet_after(asked: float) -> float:
    """How long to listen to a broker that has just done what it was asked to do at that time."""
    return min(_LONGEST_QUIET_SECONDS, max(_QUIET_SECONDS, _PATIENCE * (time.monotonic() - asked)))


def _tls_refusal(connection: socket.socket, deadline: float) -> Optional[str]:
    # No server name is told: what is in a certificate does not matter here, only that there is an answer.
    with _context().wrap_socket(connection, do_handshake_on_connect=False) as tls:
        tls.settimeout(_left(deadline))
        asked = time.monotonic()
        try:
            tls.do_handshake()
        except socket.timeout:
            return "it does not answer a TLS handshake"
        except OSError as error:
            return None if _wants_certificate(tls, error) else "the TLS handshake fails: {0}".format(_words(error))
        tls.settimeout(_quiet_after(asked))
        try:
            if not tls.recv(1):
                return "it ends a new connection right after the TLS handshake"
        except socket.timeout:
            pass
        except OSError as error:
            # With TLS 1.3 the client is through before the broker has looked for its certificate.
            if _wants_certificate(tls, error):
                return None
            return "it ends a new connection right after the TLS handshake: {0}".format(_words(error))
        # It has answered; how it says goodbye does not matter.
        with contextlib.suppress(OSError, ValueError):
            tls.unwrap()
    return None


def _context() -> ssl.SSLContext:
    """Whatever this machine's library can do, however old: it is the broker's answer that counts, not its strength."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if hasattr(ssl, "TLSVersion"):  # Python 3.7
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    try:
        context.set_ciphers("ALL:@SECLEVEL=0")
    except ssl.SSLError:
        # Security levels came with OpenSSL 1.1.
        context.set_ciphers("ALL")
    return context


def _wants_certificate(tls: ssl.SSLSocket, error: OSError) -> bool:
    """Whether the broker only misses a client certificate.

    The same alert also says that it has no cipher or certificate of its own to offer, but before a cipher is agreed.
    """
    return bool(_CERTIFICATE_ALERTS.search(_words(error))) and tls.cipher() is not None


def _left(deadline: float) -> float:
    # Not zero, which would make the socket one that never waits.
    return max(0.01, deadline - time.monotonic())


def _words(error: OSError) -> str:
    """Without OpenSSL's file names and line numbers, which differ from machine to machine."""
    if isinstance(error, socket.timeout):
        return "timed out"
    # The words are OpenSSL's own; the reason in brackets is wrong where the library is newer than Python.
    return _PLACE.sub("", error.strerror or str(error))
