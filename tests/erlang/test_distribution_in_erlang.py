# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution protocol against a real Erlang node."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import distribution, release_table
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import BASE_PORT, DistributionError, Peer
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import parse_terms

pytestmark = pytest.mark.skipif(not shutil.which("erl"), reason="Erlang is not installed")
COOKIE = "cookie-of-this-test"


def free_number() -> int:
    """Digits for a node's name whose port is free."""
    for number in range(21000, 27000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", BASE_PORT + number))
            except OSError:
                continue
            return number
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[Peer, int]]:
    """A node that listens where EMQX's do, and its process."""
    peer = Peer(f"emqx{free_number()}@127.0.0.1", COOKIE)
    process = subprocess.Popen(
        ["erl", "-noinput", "-name", peer.node, "-setcookie", COOKIE, "-start_epmd", "false"]
        + ["-erl_epmd_port", str(peer.port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                distribution.evaluate(peer, "ok.", 5)
                break
            except DistributionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield peer, process.pid
    finally:
        process.kill()
        process.wait()


def test_values_come_back(node: tuple[Peer, int]) -> None:
    peer = node[0]
    text = "{ok, [1, -2, 300, 1.5], <<1,2>>, #{a => [{}]}, 12345678901234567890, -12345678901234567890, [], '', true}."
    assert distribution.evaluate(peer, text, 30) == (
        ("atom", "ok"),
        [1, -2, 300, 1.5],
        b"\x01\x02",
        {("atom", "a"): [()]},
        12345678901234567890,
        -12345678901234567890,
        [],
        ("atom", ""),
        ("atom", "true"),
    )
    kinds = distribution.evaluate(
        peer, "{self(), make_ref(), fun() -> 1 end, fun lists:map/2, hd(erlang:ports())}.", 30
    )
    assert [kind for _other, kind in kinds] == ["pid", "reference", "fun", "fun", "port"]


def test_large_answers_come_back(node: tuple[Peer, int]) -> None:
    assert distribution.evaluate(node[0], "lists:seq(1, 200000).", 30) == list(range(1, 200001))
    assert len(distribution.evaluate(node[0], "lists:duplicate(70000, $a).", 30)) == 70000
    assert len(distribution.evaluate(node[0], "binary:copy(<<7>>, 5000000).", 30)) == 5000000


def test_a_question_longer_than_a_short_string(node: tuple[Peer, int]) -> None:
    numbers = ",".join("7" for _unused in range(40000))
    assert distribution.evaluate(node[0], f"length([{numbers}]).", 30) == 40000


@pytest.mark.parametrize("text", ["foo(.", "1 + a.", "exit(reason).", "throw(x).", "no_such_module:f().", "1", ""])
def test_what_fails_there_is_an_error_here(node: tuple[Peer, int], text: str) -> None:
    with pytest.raises(DistributionError, match="does not answer as expected") as caught:
        distribution.evaluate(node[0], text, 30)
    assert COOKIE not in str(caught.value)


def test_another_cookie_is_refused_and_not_told(node: tuple[Peer, int]) -> None:
    with pytest.raises(DistributionError, match="is not reached") as caught:
        distribution.evaluate(node[0]._replace(cookie="some-other-secret"), "1.", 10)
    assert "secret" not in str(caught.value)


def test_an_answer_that_does_not_come(node: tuple[Peer, int]) -> None:
    with pytest.raises(DistributionError, match="does not answer"):
        distribution.evaluate(node[0], "timer:sleep(60000).", 0.5)
    assert distribution.evaluate(node[0], "1.", 30) == 1, "and the next one is answered"


def test_a_name_that_is_taken_gives_way_to_the_next(node: tuple[Peer, int]) -> None:
    held: list[distribution._Connection] = []
    deadline = time.monotonic() + 30
    try:
        for _unused in range(distribution._NAMES):
            held.append(distribution._connect(node[0], deadline))
            # Only a connection that has carried something is certainly known to the node as one.
            assert distribution._Session(held[-1], deadline).evaluate("1.") == 1
        assert len({connection.own for connection in held}) == distribution._NAMES
        with pytest.raises(OSError, match="of our name"):
            distribution._connect(node[0], deadline)
    finally:
        for connection in held:
            connection.socket.close()


def test_the_release_table_comes_from_the_release_handler(node: tuple[Peer, int]) -> None:
    distribution.evaluate(node[0], "application:start(sasl).", 30)
    [rows] = parse_terms(distribution.evaluate(node[0], release_table._TABLE, 30))
    assert rows
    assert all(row[0] == "release" and len(row) == 6 and row[5] == "permanent" for row in rows)


def test_the_peer_of_a_process(node: tuple[Peer, int]) -> None:
    assert distribution.peer_of(node[1]) == node[0]
    assert distribution.peer_of(1) is None
