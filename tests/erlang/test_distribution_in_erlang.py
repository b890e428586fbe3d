# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution protocol against real Erlang nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import distribution, peer, release_table
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import DistributionError, NotListeningError, Peer
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import parse_terms
from ansible_collections.emqx.fleet.plugins.module_utils.peer import BASE_PORT, Sources, peer_of

pytestmark = pytest.mark.skipif(not shutil.which("erl"), reason="Erlang is not installed")
COOKIE = "cookie-of-this-test"


def free_number() -> int:
    """Digits for a node's name whose port is free, and that no other process of pytest tries."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for number in range(21000 + 100 * worker, 21100 + 100 * worker):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", BASE_PORT + number))
            except OSError:
                continue
            return number
    raise AssertionError("no port is free")


@contextlib.contextmanager
def running(found: Peer, *arguments: str, **environment: str) -> Iterator[tuple[Peer, int]]:
    """A node of that name and cookie, once it answers, and its process."""
    process = subprocess.Popen(
        ["erl", "-noinput", "-setcookie", found.cookie, *arguments],
        env=dict(os.environ, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                distribution.evaluate(found, "ok.", 5)
                break
            except DistributionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield found, process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[Peer, int]]:
    """A node that listens where EMQX's do, and its process."""
    number = free_number()
    found = Peer(f"emqx{number}@127.0.0.1", COOKIE, BASE_PORT + number)
    with running(found, "-name", found.node, "-start_epmd", "false", "-erl_epmd_port", str(found.port)) as both:
        yield both


def test_values_come_back(node: tuple[Peer, int]) -> None:
    found = node[0]
    text = "{ok, [1, -2, 300, 1.5], <<1,2>>, #{a => [{}]}, 12345678901234567890, -12345678901234567890, [], '', true}."
    assert distribution.evaluate(found, text, 30) == (
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
        found, "{self(), make_ref(), fun() -> 1 end, fun lists:map/2, hd(erlang:ports())}.", 30
    )
    assert [kind for _other, kind in kinds] == ["pid", "reference", "fun", "fun", "port"]
    assert distribution.evaluate(found, "{<<5:3>>, [a | b], #{[1] => x, {[]} => y}}.", 30) == (
        b"\xa0",
        [("atom", "a")],
        {"[1]": ("atom", "x"), "([],)": ("atom", "y")},
    )


def test_large_answers_come_back(node: tuple[Peer, int]) -> None:
    assert distribution.evaluate(node[0], "lists:seq(1, 200000).", 30) == list(range(1, 200001))
    assert len(distribution.evaluate(node[0], "lists:duplicate(70000, $a).", 30)) == 70000
    assert len(distribution.evaluate(node[0], "binary:copy(<<7>>, 5000000).", 30)) == 5000000
    large = distribution.MAX_MESSAGE_BYTES - 1000
    assert len(distribution.evaluate(node[0], f"binary:copy(<<7>>, {large}).", 30)) == large


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("binary:copy(<<7>>, {0}).", "a message of"),
        ("lists:seq(1, 1000001).", "more than 1000000 terms"),
        ("1 bsl 40000.", "a number of"),
        ("lists:foldl(fun(_, A) -> [A] end, [], lists:seq(1, 300)).", "without end"),
    ],
)
def test_answers_beyond_all_bounds_are_refused(node: tuple[Peer, int], text: str, words: str) -> None:
    with pytest.raises(DistributionError, match=words):
        distribution.evaluate(node[0], text.format(distribution.MAX_MESSAGE_BYTES), 30)
    assert distribution.evaluate(node[0], "1.", 30) == 1, "and the next one is answered"


def test_a_question_longer_than_a_short_string(node: tuple[Peer, int]) -> None:
    numbers = ",".join("7" for _unused in range(40000))
    assert distribution.evaluate(node[0], f"length([{numbers}]).", 30) == 40000


@pytest.mark.parametrize("text", ["foo(.", "1 + a.", "exit(reason).", "throw(x).", "no_such_module:f().", "1", ""])
def test_what_fails_there_is_an_error_here(node: tuple[Peer, int], text: str) -> None:
    with pytest.raises(DistributionError, match="does not answer as expected") as caught:
        distribution.evaluate(node[0], text, 30)
    assert COOKIE not in str(caught.value)


def test_another_cookie_is_refused_and_not_told(node: tuple[Peer, int]) -> None:
    with pytest.raises(DistributionError, match="is not reached: the cookies differ") as caught:
        distribution.evaluate(node[0]._replace(cookie="some-other-secret"), "1.", 10)
    assert "secret" not in str(caught.value)


def test_a_node_of_another_name_is_not_the_one(node: tuple[Peer, int]) -> None:
    with pytest.raises(DistributionError, match="another node listens there"):
        distribution.evaluate(node[0]._replace(node="emqx@127.0.0.1"), "1.", 10)


def test_an_answer_that_does_not_come(node: tuple[Peer, int]) -> None:
    with pytest.raises(DistributionError, match="does not answer"):
        distribution.evaluate(node[0], "timer:sleep(60000).", 0.5)
    assert distribution.evaluate(node[0], "1.", 30) == 1, "and the next one is answered"


def test_this_end_is_hidden_and_goes_away(node: tuple[Peer, int]) -> None:
    visible, hidden = distribution.evaluate(node[0], "{nodes(), nodes(hidden)}.", 30)
    assert visible == []
    assert any(name.startswith("emqx_fleet") for _atom, name in hidden)


def test_a_name_that_is_taken_gives_way_to_the_next(node: tuple[Peer, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that only the node knows to be taken, as from another machine."""
    held: list[distribution._Connection] = []
    deadline = time.monotonic() + 60
    try:
        for _unused in range(distribution._NAMES):
            held.append(distribution._connect(node[0], deadline))
            # Only a connection that has carried something is certainly known to the node as one.
            assert distribution._Session(held[-1], deadline).evaluate("1.") == 1
        assert len({connection.own for connection in held}) == distribution._NAMES
        monkeypatch.setattr(distribution, "REACH_SECONDS", 0.5)
        with pytest.raises(DistributionError, match="of our name"):
            distribution._connect(node[0], deadline)
        for connection in held:
            connection._claim.close()
        with pytest.raises(DistributionError, match="of our name"):
            distribution._connect(node[0], deadline)
    finally:
        for connection in held:
            connection.close()


def test_many_at_once_all_get_through(node: tuple[Peer, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "REACH_SECONDS", 60)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(distribution.evaluate(node[0], "1.", 60))) for _unused in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 20


def test_the_release_table_comes_from_the_release_handler(node: tuple[Peer, int]) -> None:
    distribution.evaluate(node[0], "application:start(sasl).", 30)
    [rows] = parse_terms(distribution.evaluate(node[0], release_table._TABLE, 30))
    assert rows
    assert all(row[0] == "release" and len(row) == 6 and row[5] == "permanent" for row in rows)


def test_the_peer_of_a_process(node: tuple[Peer, int]) -> None:
    assert peer_of(Sources(argv=peer._strings(f"/proc/{node[1]}/cmdline"))) == node[0]
    with pytest.raises(DistributionError, match="not known"):
        peer_of(Sources(argv=peer._strings("/proc/1/cmdline")))


def test_short_names(tmp_path: Path) -> None:
    number = free_number()
    found = Peer(f"emqx{number}@{socket.gethostname().partition('.')[0]}", COOKIE, BASE_PORT + number)
    named = ("-sname", f"emqx{number}", "-start_epmd", "false", "-erl_epmd_port", str(found.port))
    with running(found, *named) as (_same, pid):
        assert peer_of(Sources(argv=peer._strings(f"/proc/{pid}/cmdline"))) == found
        assert distribution.evaluate(found, "node().", 30) == ("atom", found.node)


def test_a_node_of_ipv6() -> None:
    number = free_number()
    found = Peer(f"emqx{number}@::1", COOKIE, BASE_PORT + number)
    named = ("-name", found.node, "-start_epmd", "false", "-erl_epmd_port", str(found.port))
    with running(found, *named, "-proto_dist", "inet6_tcp") as (_same, pid):
        assert peer_of(Sources(argv=peer._strings(f"/proc/{pid}/cmdline"))) == found
        assert distribution.evaluate(found, "node().", 30) == ("atom", found.node)


def test_a_node_with_the_port_mapper() -> None:
    """It listens at a port that only the mapper knows; this one has a port mapper of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    mapper = subprocess.Popen(["epmd", "-port", str(number), "-address", "127.0.0.1"])
    try:
        found = Peer("emqx1@127.0.0.1", COOKIE, None, number)
        with running(found, "-name", found.node, "-start_epmd", "false", ERL_EPMD_PORT=str(number)) as (_same, pid):
            environment = dict(entry.split("=", 1) for entry in peer._strings(f"/proc/{pid}/environ"))
            argv = peer._strings(f"/proc/{pid}/cmdline")
            assert peer_of(Sources(argv=argv, environment=environment)) == found
            assert distribution.evaluate(found, "node().", 30) == ("atom", found.node)
            with pytest.raises(NotListeningError, match="epmd does not know it"):
                distribution.evaluate(found._replace(node="emqx2@127.0.0.1"), "1.", 30)
    finally:
        mapper.kill()
        mapper.wait()
