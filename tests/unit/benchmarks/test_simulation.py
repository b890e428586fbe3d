# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The collection understands what simulated nodes say, by each way that it asks them, and finds their brokers."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import cluster_runs, distribution, facts, package, probe
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import Peer
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom, parse_term
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.benchmarks.simulation import erlang
from ansible_collections.emqx.fleet.tests.benchmarks.simulation.nodes import (
    NEW,
    OLD,
    Ports,
    SimulatedNode,
    make_fleet,
    write_package,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, USER, FakeCommand

PORTS = Ports(commands=9, listener=1883, distribution=4371)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SimulatedNode]:
    made = make_fleet(tmp_path, [3], PORTS)
    made[0].use_own_tmp(monkeypatch)
    return made


@pytest.fixture
def node(cluster: list[SimulatedNode]) -> SimulatedNode:
    return cluster[0]


class Command(FakeCommand):
    """The ``emqx`` command of a simulated node, without the shell and the socket."""

    def _run(self, arguments: list[str], timeout: float, kill: bool) -> CommandResult:
        del timeout, kill
        assert isinstance(self.node, SimulatedNode)
        said = self.node.execute("emqx", arguments)
        return CommandResult(self.argv(arguments), said.code, said.text, "", said.seconds, 99, [])


def provide(node: SimulatedNode) -> Path:
    return write_package(node.path("releases"), PORTS)


def statuses(node: SimulatedNode) -> dict[str, str]:
    told = node.execute("emqx", ["versions"]).text
    return dict(re.findall(r"(?m)^\* (\S+)\t(\w+)$", told))


def parts(text: str) -> dict[str, Any]:
    return {str(name): value for name, value in parse_term(text)[1]}


def test_every_part_of_a_question_is_answered(node: SimulatedNode) -> None:
    provide(node)
    node.execute("emqx", ["unpack", NEW])
    answer = parts(node.answer(probe.expression(check_version=NEW, settings=True, survivors_of=1.0)))
    assert [name for name, value in answer.items() if value == Atom("undefined")] == []
    assert set(answer) == {name for name, _code in probe._FACTS}


def test_reservations_of_a_cluster(cluster: list[SimulatedNode]) -> None:
    claim = {"id": "r1", "who": "ann", "controller": "desk", "controller_process": "1@2"}
    StateDir(cluster[1].installation.state_dir, USER).contend(claim, [])
    reading = cluster_runs.parse(parts(cluster[0].answer(cluster_runs.question())))
    assert reading is not None
    assert reading.unread == []
    assert [(member.reservation or {}).get("id") for member in reading.members] == [None, "r1", None]


def test_the_steps_of_an_upgrade(node: SimulatedNode) -> None:
    provide(node)
    assert node.execute("emqx", ["unpack", NEW]).code == 0
    assert statuses(node) == {NEW: "unpacked", OLD: "permanent"}
    switch = node.execute("emqx", ["upgrade", "--no-permanent", NEW])
    assert switch.code == 0
    assert switch.seconds == pytest.approx(1.2)
    assert statuses(node) == {NEW: "current", OLD: "permanent"}
    assert node.execute("emqx", ["install", NEW]).code == 0
    assert statuses(node) == {NEW: "permanent", OLD: "old"}
    assert node.boots() == NEW


def test_an_upgrade_by_one_command(node: SimulatedNode) -> None:
    assert node.execute("emqx", ["upgrade", NEW]).code != 0, "there is no package"
    provide(node)
    assert node.execute("emqx", ["upgrade", NEW]).code == 0
    assert statuses(node) == {NEW: "permanent", OLD: "old"}
    assert f" {NEW} is started" in node.execute("emqx_ctl", ["status"]).text


def test_the_package_is_sound(tmp_path: Path) -> None:
    path = str(write_package(tmp_path, PORTS))
    found = package.read_package(path)
    assert (found["version"], found["problems"], package.verify_members(path)) == (NEW, [], [])


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedNode]:
    """The first of a cluster of three, which listens where its name says, and whose broker is seen."""
    loop = asyncio.new_event_loop()
    made: list[SimulatedNode] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await erlang.serve(reader, writer, made[0].name, COOKIE, made[0].answer)

    server = loop.run_until_complete(asyncio.start_server(client, "0.0.0.0", 0))
    made += make_fleet(tmp_path, [3], PORTS._replace(distribution=server.sockets[0].getsockname()[1]))
    made[0].use_own_tmp(monkeypatch)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    broker = subprocess.Popen(made[0].broker_command(), stdin=subprocess.PIPE)
    try:
        made[0].pid = broker.pid
        yield made[0]
    finally:
        broker.communicate()
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_broker_is_found(reached: SimulatedNode) -> None:
    assert reached.installation.broker_pid() == reached.pid


def test_facts_of_a_node(reached: SimulatedNode) -> None:
    state_dir = StateDir(reached.installation.state_dir, USER)
    found, _result = facts.collect(reached.installation, Command(reached), state_dir)
    assert (found["state"], found["running"], found["permanent"]) == ("running", OLD, OLD)
    assert found["boot"]["problems"] == []
    assert found["cluster"]["running"] == [member.name for member in reached.members]
    assert [member["version"] for member in found["cluster"]["members"]] == [OLD] * 3
    assert found["listeners"] == [{"protocol": "mqtt:tcp", "listen_on": "127.0.0.1:1883"}]


@pytest.mark.parametrize("version", [6, 5])
def test_over_the_distribution_port(reached: SimulatedNode, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    handshake: Callable[..., None] = distribution._handshake
    monkeypatch.setattr(distribution, "_handshake", lambda *given: handshake(*given[:3], version))
    text = distribution.evaluate(
        Peer(reached.name, COOKIE, reached.ports.distribution), probe.expression(settings=True, printed=False), 20
    )
    assert probe.Probe(parts(text.decode())).running == OLD


def test_another_cookie_is_refused(reached: SimulatedNode) -> None:
    with pytest.raises(distribution.DistributionError):
        distribution.evaluate(Peer(reached.name, "another", reached.ports.distribution), "1.", 20)
