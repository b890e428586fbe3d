# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the test broker does for its clients, above all while it is switched."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.broker import broker
from tests.broker.broker import Broker
from tests.contract.mqtt import Client

MakeNode = Callable[..., Broker]
Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A function that connects clients, which are closed at the end."""
    clients: list[Client] = []

    def make(node: Broker, client_id: str, **options: Any) -> Client:
        clients.append(Client(node.port, client_id, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def node(make_node: MakeNode) -> Broker:
    made = make_node("4.4.18")
    made.start()
    return made


def done(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.2)


def old_code(node: Broker) -> str:
    expression = (
        "[{M,N} || {M,_} <- code:all_loaded(), erlang:check_old_code(M),"
        " N <- [length([P || P <- processes(), erlang:check_process_code(P, M)])], N > 0]."
    )
    return node.emqx("eval", expression).stdout.strip()


def test_publish_and_subscribe(node: Broker, connect: Connect) -> None:
    subscriber, publisher = connect(node, "sub"), connect(node, "pub")
    assert subscriber.subscribe("a/+/c") == 1
    assert subscriber.subscribe("deep/#", qos=0) == 0
    assert subscriber.subscribe("bad/#/x") == 0x80
    publisher.publish("a/b/c", b"one")
    assert subscriber.message() == ("a/b/c", b"one")
    publisher.publish("a/b/c", b"zero", qos=0)
    assert subscriber.message() == ("a/b/c", b"zero")
    publisher.publish("deep/er/est", b"x" * 100_000)
    assert subscriber.message() == ("deep/er/est", b"x" * 100_000)
    subscriber.unsubscribe("a/+/c")
    publisher.publish("a/b/c", b"unheard")
    assert subscriber.message(0.3) is None
    assert "'connections.count',2" in node.emqx("eval", "emqx_stats:getstats().").stdout


def test_takeover_and_session(node: Broker, connect: Connect) -> None:
    first = connect(node, "same", clean=False)
    first.subscribe("t")
    second = connect(node, "same", clean=False)
    assert second.session_present
    assert not first.connected()
    second.close()
    eventually(lambda: "'live_connections.count',0" in node.emqx("eval", "emqx_stats:getstats().").stdout)
    publisher = connect(node, "pub")
    for n in range(50):
        publisher.publish("t", b"%d" % n)
    third = connect(node, "same", clean=False)
    assert third.session_present
    assert [third.message() for _unused in range(50)] == [("t", b"%d" % n) for n in range(50)]
    third.disconnect()
    assert not connect(node, "same", clean=True).session_present


def test_keepalive(node: Broker, connect: Connect) -> None:
    """Who says nothing for one and a half times as long is gone; who does, stays for longer than that."""
    silent, talking = connect(node, "silent", keepalive=1), connect(node, "talking", keepalive=2)
    end = time.monotonic() + 4
    while time.monotonic() < end or silent.connected():
        talking.ping()
        time.sleep(0.2)
    assert talking.alive()


def test_upgrade_keeps_clients_and_messages(node: Broker, connect: Connect) -> None:
    node.provide("4.4.19")
    node.fault("keep_old_code")
    done(node.emqx("unpack", "4.4.19"))
    idle = [connect(node, f"idle{n}") for n in range(10)]
    subscriber, publisher = connect(node, "sub"), connect(node, "pub")
    subscriber.subscribe("load")
    sent, ended = 0, threading.Event()

    def publish() -> None:
        nonlocal sent
        while not ended.is_set():
            publisher.publish("load", b"%d" % sent)
            sent += 1

    thread = threading.Thread(target=publish)
    thread.start()
    received = []
    process = threading.Thread(target=lambda: done(node.emqx("upgrade", "4.4.19")))
    process.start()
    while process.is_alive():
        message = subscriber.message(0.2)
        if message:
            received.append(int(message[1]))
    ended.set()
    thread.join()
    while message := subscriber.message(0.3):
        received.append(int(message[1]))
    assert sent > 100
    assert received == list(range(sent))
    assert all(client.connected() for client in idle)
    assert old_code(node) == "[{emqx_connection,10}]"
    assert all(client.alive() for client in idle)
    assert old_code(node) == "[]"


def test_second_switch_ends_idle_clients(node: Broker, connect: Connect) -> None:
    node.provide("4.4.19")
    node.fault("keep_old_code")
    done(node.emqx("unpack", "4.4.19"))
    idle = [connect(node, f"idle{n}") for n in range(10)]
    busy = connect(node, "busy")
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            busy.ping()

    thread = threading.Thread(target=work)
    thread.start()
    done(node.emqx("upgrade", "4.4.19"))
    done(node.emqx("downgrade", "4.4.18"))
    ended.set()
    thread.join()
    assert [client.connected() for client in idle] == [False] * 10
    assert busy.alive()


def test_idle_clients_survive_after_a_pause(node: Broker, connect: Connect) -> None:
    """They leave the old code on their own, nine seconds after the switch."""
    node.provide("4.4.19")
    kept = node.fault("keep_old_code")
    idle = [connect(node, f"idle{n}") for n in range(10)]
    done(node.emqx("upgrade", "4.4.19"))
    assert old_code(node) == "[{emqx_connection,10}]"
    kept.unlink()
    eventually(lambda: old_code(node) == "[]")
    done(node.emqx("downgrade", "4.4.18"))
    assert all(client.connected() for client in idle)


def test_cluster(make_node: MakeNode, connect: Connect) -> None:
    first = make_node()
    first.start()
    second = make_node(seeds=[first.node_name])
    second.start()
    deadline = time.monotonic() + 10
    while first.node_name not in (status := second.ctl("cluster", "status").stdout) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert first.node_name in status
    assert "stopped_nodes => []" in status
    subscriber, publisher = connect(second, "sub", clean=False), connect(first, "pub")
    subscriber.subscribe("x/#")
    publisher.publish("x/y", b"across")
    assert subscriber.message() == ("x/y", b"across")
    # The same client on the other node: the session goes along.
    moved = connect(first, "sub", clean=False)
    assert moved.session_present
    publisher.publish("x/z", b"moved")
    assert moved.message() == ("x/z", b"moved")
    # Mixed versions go on talking.
    second.provide("4.4.19")
    done(second.emqx("upgrade", "--no-permanent", "4.4.19"))
    other = connect(second, "other")
    other.publish("x/mixed", b"1")
    assert moved.message() == ("x/mixed", b"1")
    second.stop()
    status = first.ctl("cluster", "status").stdout
    assert f"stopped_nodes => ['{second.node_name}']" in status
    second.start()
    assert "stopped_nodes => []" in first.ctl("cluster", "status").stdout
    assert "Leave the cluster successfully." in second.ctl("cluster", "leave").stdout
    assert second.node_name not in first.ctl("cluster", "status").stdout
    assert "Join the cluster successfully." in second.ctl("cluster", "join", first.node_name).stdout
    assert second.node_name in first.ctl("cluster", "status").stdout


# What the broker tells of its clients: tests/broker/README.md has the rules, by EMQX's sources.

FORMS = ("", "4.2", "4.3", "4.4.0")


def told_by(node: Broker, expression: str) -> str:
    """A term without line breaks and indents."""
    return re.sub(r"\s", "", node.emqx("eval", expression).stdout)


def counts(node: Broker) -> dict[str, int]:
    """The counters that are not zero, `client.` left out."""
    told = told_by(node, "[{N,V} || {N,V} <- emqx_metrics:all(), V > 0].")
    return {name.removeprefix("client."): int(n) for name, n in re.findall(r"\{'([a-z.]+)',(\d+)\}", told)}


def counted(node: Broker, **expected: int) -> None:
    """Wait until these are the counters that are not zero; `_` stands for a dot."""
    wanted = {name.replace("_", "."): n for name, n in expected.items()}
    deadline = time.monotonic() + 10
    while (found := counts(node)) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


def rows(node: Broker) -> dict[str, str]:
    """Client id -> `conn_state` in the table of channels."""
    told = told_by(node, "[{I,S} || {{I,_},#{conn_state := S},_} <- ets:tab2list(emqx_channel_info)].")
    return dict(re.findall(r'\{<<"(.*?)">>,(\w+)\}', told))


def live(node: Broker) -> str:
    return told_by(node, "[{is_pid(P),V} || {P,V} <- ets:tab2list(emqx_channel_live)].")


@pytest.mark.parametrize("form", FORMS)
def test_row_of_a_client(form: str, make_node: MakeNode, connect: Connect) -> None:
    node = make_node(broker.versions(form)[-1], variant=form)
    node.start()
    begun = time.time_ns() // 1_000_000
    client = connect(node, "one")
    ended = time.time_ns() // 1_000_000
    told = told_by(
        node,
        "[{I,is_process_alive(P),A,M,U,N,C,S} || {{I,P},#{conninfo := #{connected_at := A, conn_mod := M,"
        "username := U, peername := N}, clientinfo := #{clientid := C}},S} <- ets:tab2list(emqx_channel_info)].",
    )
    pattern = r'\[\{<<"one">>,true,(\d+),emqx_connection,undefined,\{\{127,0,0,1\},(\d+)\},<<"one">>,\[\]\}\]'
    match = re.fullmatch(pattern, told)
    assert match, told
    assert begun <= int(match[1]) <= ended
    assert int(match[2]) == client.socket.getsockname()[1]
    if form in ("4.2", "4.3"):
        assert told_by(node, "ets:info(emqx_channel_live).") == "undefined"
    else:
        assert live(node) == "[{true,true}]"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["disconnect", "close"])
def test_end_of_a_connection(form: str, way: str, make_node: MakeNode, connect: Connect) -> None:
    node = make_node(broker.versions(form)[-1], variant=form)
    node.start()
    client, other = connect(node, "one"), connect(node, "other")
    client.subscribe("a")
    client.subscribe("b")
    client.unsubscribe("b")
    before = {"connected": 2, "session_created": 2, "subscribe": 2, "unsubscribe": 1}
    counted(node, **before)
    getattr(client, way)()
    counted(node, **before, disconnected=1, session_terminated=1)
    eventually(lambda: rows(node) == {"other": "connected"}, 10)
    assert other.alive()


def test_end_by_keepalive_and_by_what_is_no_packet(node: Broker, connect: Connect) -> None:
    silent, odd = connect(node, "silent", keepalive=1), connect(node, "odd")
    odd.send(0xF0)
    counted(node, connected=2, session_created=2, disconnected=2, session_terminated=2)
    assert not silent.connected()
    eventually(lambda: rows(node) == {}, 10)


def test_end_of_who_never_connected_counts_nothing(node: Broker) -> None:
    with socket.create_connection(("127.0.0.1", node.port)) as stranger:
        stranger.sendall(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01x")
        assert stranger.recv(64) == b"\x20\x02\x00\x01"
        assert stranger.recv(64) == b""
    socket.create_connection(("127.0.0.1", node.port)).close()
    assert counts(node) == {}
    assert rows(node) == {}


def test_persistent_session_without_a_connection(node: Broker, connect: Connect) -> None:
    """Only its connection has ended: counted, and to be seen in its row."""
    connect(node, "kept", clean=False).disconnect()
    counted(node, connected=1, session_created=1, disconnected=1)
    assert rows(node) == {"kept": "disconnected"}
    assert live(node) == "[]"
    assert connect(node, "kept", clean=False).session_present
    counted(node, connected=2, session_created=1, disconnected=1, session_resumed=1, session_takeovered=1)
    eventually(lambda: rows(node) == {"kept": "connected"}, 10)
    assert live(node) == "[{true,true}]"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("was_clean", [True, False])
def test_taken_over(form: str, was_clean: bool, make_node: MakeNode, connect: Connect) -> None:
    """Without `client.disconnected`, and also where the session was to end with its connection."""
    node = make_node(broker.versions(form)[-1], variant=form)
    node.start()
    first = connect(node, "same", clean=was_clean)
    first.subscribe("t")
    second = connect(node, "same", clean=False)
    assert second.session_present
    second.publish("t", b"to the second")
    assert second.message() == ("t", b"to the second")
    assert not first.connected()
    counted(node, connected=2, session_created=1, session_resumed=1, session_takeovered=1, subscribe=1)
    eventually(lambda: rows(node) == {"same": "connected"}, 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("was_clean", [True, False])
def test_discarded(form: str, was_clean: bool, make_node: MakeNode, connect: Connect) -> None:
    node = make_node(broker.versions(form)[-1], variant=form)
    node.start()
    first = connect(node, "same", clean=was_clean)
    second = connect(node, "same", clean=True)
    assert not second.session_present
    assert not first.connected()
    counted(node, connected=2, session_created=2, session_discarded=1)
    eventually(lambda: rows(node) == {"same": "connected"}, 10)


def test_taken_over_by_another_node(make_node: MakeNode, connect: Connect) -> None:
    """Each node counts what happened on it."""
    first = make_node()
    first.start()
    second = make_node(seeds=[first.node_name])
    second.start()
    eventually(lambda: first.node_name in second.ctl("cluster", "status").stdout, 20)
    connect(first, "moves", clean=False)
    moved = connect(second, "moves", clean=False)
    assert moved.session_present
    counted(first, connected=1, session_created=1, session_takeovered=1)
    counted(second, connected=1, session_resumed=1)
    eventually(lambda: rows(first) == {}, 10)
    assert rows(second) == {"moves": "connected"}


def test_crashed(node: Broker, connect: Connect) -> None:
    clients = [connect(node, f"c{n}") for n in range(3)]
    assert node.emqx("eval", "emqx_faults:crash(1).").stdout == '[<<"c0">>]\n'
    assert [client.connected() for client in clients] == [False, True, True]
    counted(node, connected=3, session_created=3, session_terminated=1)
    eventually(lambda: rows(node) == {"c1": "connected", "c2": "connected"}, 10)
    assert live(node) == "[{true,true},{true,true}]"


def test_cut_off(node: Broker, connect: Connect) -> None:
    """Nothing is counted of those that are killed, of which the rows go all the same."""
    clients = [connect(node, f"c{n}") for n in range(4)]
    assert node.emqx("eval", "emqx_faults:cut_off(2).").stdout == '[<<"c0">>,<<"c1">>]\n'
    assert [client.connected() for client in clients] == [False, False, True, True]
    assert counts(node) == {"connected": 4, "session.created": 4}
    eventually(lambda: rows(node) == {"c2": "connected", "c3": "connected"}, 10)
    assert live(node) == "[{true,true},{true,true}]"


def test_closed(node: Broker, connect: Connect) -> None:
    """Those that have been connected for longest, whoever left before."""
    clients = [connect(node, f"c{n}", clean=n != 2) for n in range(4)]
    clients[0].disconnect()
    counted(node, connected=4, session_created=4, disconnected=1, session_terminated=1)
    assert node.emqx("eval", "emqx_faults:close(2).").stdout == '[<<"c1">>,<<"c2">>]\n'
    assert [client.connected() for client in clients[1:]] == [False, False, True]
    counted(node, connected=4, session_created=4, disconnected=3, session_terminated=2)
    eventually(lambda: rows(node) == {"c2": "disconnected", "c3": "connected"}, 10)


def test_clients_that_a_purge_ends_are_not_counted(node: Broker, connect: Connect) -> None:
    node.provide("4.4.19")
    node.fault("keep_old_code")
    idle = [connect(node, f"idle{n}") for n in range(3)]
    done(node.emqx("upgrade", "4.4.19"))
    done(node.emqx("downgrade", "4.4.18"))
    assert [client.connected() for client in idle] == [False] * 3
    assert counts(node) == {"connected": 3, "session.created": 3}
    eventually(lambda: rows(node) == {}, 10)


@pytest.mark.parametrize("form", [*FORMS, "script14", "erts", "ee43"])
def test_switches_keep_counts_and_rows(form: str, make_node: MakeNode, connect: Connect) -> None:
    """Up and down, between all versions of a form; those whom a switch found are counted by the code after it."""
    oldest, *newer = broker.versions(form)
    node = make_node(oldest, variant=form)
    node.start()
    for version in newer:
        node.provide(version)
    staying = connect(node, "staying")
    staying.subscribe("a")
    leaving = [connect(node, f"leaving{n}") for n in range(len(newer) + 1)]
    expected = {"connected": len(newer) + 2, "session_created": len(newer) + 2, "subscribe": 1}
    switches = [*((version, "upgrade") for version in newer), (oldest, "downgrade")]
    for gone, (version, direction) in enumerate(switches, 1):
        done(node.emqx(direction, version))
        counted(node, **expected)
        leaving.pop().disconnect()
        staying.subscribe("b")
        expected["subscribe"] += 1
        expected |= {"disconnected": gone, "session_terminated": gone}
        counted(node, **expected)
        # Out of the old code, which the next switch would end them for.
        assert all(client.alive() for client in leaving)
    assert rows(node) == {"staying": "connected"}
    assert staying.alive()


@pytest.mark.parametrize(
    ("fault", "number", "left", "more"),
    [
        ("relup_drop_clients", "2", 2, {}),
        ("relup_drop_clients", "", 0, {}),
        ("relup_close_clients", "3", 1, {"disconnected": 3, "session_terminated": 3}),
        ("relup_close_clients", "", 0, {"disconnected": 4, "session_terminated": 4}),
    ],
)
def test_clients_lost_in_a_switch(
    fault: str, number: str, left: int, more: dict[str, int], node: Broker, connect: Connect
) -> None:
    node.provide("4.4.19")
    node.fault(fault, number)
    clients = [connect(node, f"c{n}") for n in range(4)]
    done(node.emqx("upgrade", "4.4.19"))
    assert [client.connected() for client in clients] == [n >= 4 - left for n in range(4)]
    counted(node, connected=4, session_created=4, **more)
    eventually(lambda: set(rows(node)) == {f"c{n}" for n in range(4 - left, 4)}, 10)
