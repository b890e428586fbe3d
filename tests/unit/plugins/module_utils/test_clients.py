# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who was cut off, by the books; and numbers before and after, which mean something only by the same statistic."""

import random
from typing import Any, Dict, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import clients
from ansible_collections.emqx.fleet.plugins.module_utils.clients import Sample, comparable, cut_off, unknown_books
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.client_model import Broker

LIVE, ALL = "live_connections.count", "connections.count"


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({LIVE: 5, ALL: 7}, {LIVE: 4, ALL: 9}, (5, 4)),
        ({ALL: 7}, {LIVE: 1, ALL: 7}, (7, 7)),
        ({LIVE: 5, ALL: 7}, {ALL: 7}, (7, 7)),
        ({LIVE: 5}, {ALL: 7}, (50, 60)),
        ({}, {}, (50, 60)),
    ],
)
def test_the_same_statistic(was: Dict[str, int], now: Dict[str, int], expected: Tuple[int, int]) -> None:
    before, after = {"connections": 50, "connection_counts": was}, {"connections": 60, "connection_counts": now}
    assert comparable(before, after) == expected


def live(broker: Broker, chance: random.Random, turns: int) -> None:
    """Whatever clients do by themselves."""
    for _turn in range(turns):
        deed = chance.choice(["connect", "connect", "leave", "sleep", "expire", "resume", "replace", "unsubscribe"])
        asleep = [client for client in broker.sessions if client not in broker.connected]
        if deed == "connect" or not broker.connected:
            broker.connect()
        elif deed in ("leave", "sleep"):
            broker.disconnect(chance.choice(broker.connected), keeps_session=deed == "sleep")
        elif deed in ("expire", "resume") and asleep:
            client = chance.choice(asleep)
            if deed == "expire":
                broker.expire(client)
            else:
                broker.replace(client, take_over=chance.random() < 0.5)
        elif deed == "replace":
            broker.replace(chance.choice(broker.connected), take_over=chance.random() < 0.5)
        elif deed == "unsubscribe":
            broker.counted["unsubscribed"] += 1


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("killed", [0, 1, 10, 100])
def test_whatever_goes_on_those_who_were_cut_off_are_found(seed: int, killed: int) -> None:
    chance = random.Random(seed)
    broker = Broker(200)
    before = broker.books()
    live(broker, chance, 150)
    for _number in range(killed):
        broker.kill(chance.choice(broker.sessions))
    live(broker, chance, 150)
    assert cut_off(before, broker.books()) == killed


@pytest.mark.parametrize("seed", range(10))
def test_processes_that_crash_are_found_where_no_session_is_resumed_meanwhile(seed: int) -> None:
    """Their sessions are counted as ended, so that only the connections tell of them."""
    chance = random.Random(seed)
    broker = Broker(50)
    before = broker.books()
    for _number in range(20):
        broker.disconnect(chance.choice(broker.connected), keeps_session=chance.random() < 0.5)
        broker.replace(chance.choice(broker.connected), take_over=True)
        broker.connect()
    for _number in range(7):
        broker.crash(chance.choice(broker.connected))
    assert cut_off(before, broker.books()) == 7


def test_more_clients_than_before_hide_nothing() -> None:
    broker = Broker(10)
    before = broker.books()
    broker.kill(broker.connected[0])
    for _number in range(50):
        broker.connect()
    found = broker.books()
    assert (found["connected"], cut_off(before, found)) == (59, 1)


def moved(broker: Broker, **changes: int) -> Sample:
    """A sample in which these counters have gone on by its end, and the rows have not."""
    sample = broker.sample()
    names = [name for name, _metric in clients.METRICS]
    after = [number + changes.get(name, 0) for name, number in zip(names, sample.before)]
    return sample._replace(after=after)


def test_what_goes_on_in_the_middle_of_it_is_no_loss() -> None:
    """A client that is counted and has no row yet, and one that is counted as gone and still has its row."""
    broker = Broker(10)
    quiet = broker.books()
    for changes in ({"came": 1, "created": 1}, {"left": 1, "terminated": 1}, {"came": 3, "created": 3, "left": 2}):
        unquiet = broker.books(samples=[moved(broker, **changes)] * 8)
        assert unquiet["connection_balance"][0] < unquiet["connection_balance"][1]
        assert cut_off(quiet, unquiet) == 0
        assert cut_off(unquiet, dict(unquiet, session_balance=[0, 0], connection_balance=[0, 0])) == 0


def test_a_quiet_moment_among_the_samples_is_exact() -> None:
    broker = Broker(10)
    samples = [moved(broker, came=1, created=1), moved(broker, left=1), *[broker.sample()] * 3]
    assert broker.books(samples=samples)["session_balance"] == [0, 0]
    assert broker.books(samples=samples[:4])["connection_balance"] == [-1, 1]


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (None, Broker(1).books(), "the node was read without its counters"),
        (Broker(1).books(), {}, "the node was read without its counters"),
        (unknown_books("it did not say"), Broker(1).books(), "it did not say"),
        (Broker(1).books(), unknown_books("it did not say"), "it did not say"),
        (Broker(2).books(), Broker(1).books(), "its counters began anew in between"),
        (
            Broker(1).books(others=["emqx_stomp", "emqx_coap"]),
            Broker(1).books(),
            "clients of emqx_coap, emqx_stomp are not counted as those of MQTT are",
        ),
    ],
)
def test_books_that_do_not_tell(before: Optional[Dict[str, Any]], now: Optional[Dict[str, Any]], reason: str) -> None:
    assert clients.why_incomparable(before, now) == reason
    assert cut_off(before, now) is None
