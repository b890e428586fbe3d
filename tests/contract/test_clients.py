# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the test broker does for its clients, above all while it is switched."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
