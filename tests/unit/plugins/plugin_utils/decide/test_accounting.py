# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of the clients: on brokers whose clients come and go, nothing is told that is none, and every loss is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.clients import unknown_books
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import accounting, verdicts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.accounting import Watch, at_most
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.client_model import Broker
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.report_schema import SCHEMA, validate_part

CLIENTS = 200


def facts(broker: Broker, time: float, **changes: Any) -> dict[str, Any]:
    told = broker.books(time)
    return read_facts(client_books=told, connections=told["connected"], sessions=told["sessions"], **changes)


def churn(broker: Broker, chance: random.Random, seconds: float, rate: float, drift: float = 0.0) -> None:
    """Clients come and go at this rate a second, and so many more (or less) a second come than go."""
    for came in (True, False):
        time = 0.0
        each = rate + (drift if came else 0.0)
        while each > 0:
            time += chance.expovariate(each)
            if time > seconds:
                break
            if came:
                broker.connect()
            elif broker.connected:
                broker.disconnect(chance.choice(broker.connected), keeps_session=chance.random() < 0.3)


def judged(seed: int, rate: float, drift: float, loss: Callable[[Broker, random.Random], None]) -> list[dict[str, Any]]:
    """A whole run on one node: the plan, the look 15 s later, the switch of 1.5 s, and a watch of six looks."""
    chance = random.Random(seed)
    broker = Broker(CLIENTS)
    plan = facts(broker, 0.0)
    churn(broker, chance, 15, rate, drift)
    before = facts(broker, 15.0)
    watch = Watch(before, plan)
    churn(broker, chance, 0.7, rate, drift)
    loss(broker, chance)
    churn(broker, chance, 0.8, rate, drift)
    accounts = [watch.look(facts(broker, 16.5))]
    for place in range(6):
        churn(broker, chance, 10, rate, drift)
        # As over several tasks: what was known comes back as JSON types.
        accounts.append(watch.look(facts(broker, 26.5 + 10 * place)))
    return accounts


def red(account: dict[str, Any]) -> set[str]:
    checks = verdicts._clients(read_facts(client_books=None), read_facts(), {**account, "told_by": "books"}, 0)[:3]
    return {check.name for check in checks if not check.passed}


CHURN = [(50, 5.0, 0.0), (50, 5.0, 1.0), (50, 5.0, -1.0), (50, 0.1, 0.0), (8, 100.0, 0.0)]


@pytest.mark.parametrize(
    ("seed", "rate", "drift"), [(seed, rate, drift) for runs, rate, drift in CHURN for seed in range(runs)]
)
def test_no_false_alarm(seed: int, rate: float, drift: float) -> None:
    for account in judged(seed, rate, drift, lambda *_unused: None):
        assert (account["told_by"], account["cut_off"], account["burst"]) == ("books", 0, 0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", [1, 10, 100])
@pytest.mark.parametrize(("rate", "drift"), [(0.0, 0.0), (5.0, 0.0), (5.0, 2.0), (5.0, -1.0), (100.0, 5.0)])
def test_every_cut_is_found(seed: int, number: int, rate: float, drift: float) -> None:
    def kill(broker: Broker, chance: random.Random) -> None:
        for client in chance.sample(broker.sessions, number):
            broker.kill(client)

    for account in judged(seed, rate, drift, kill):
        assert account["cut_off"] == number


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rate", [0.0, 5.0])
def test_a_listener_that_is_restarted_is_found(seed: int, rate: float) -> None:
    def close(broker: Broker, chance: random.Random) -> None:
        for client in chance.sample(broker.connected, 100):
            broker.disconnect(client)

    accounts = judged(seed, rate, 0.0, close)
    assert {account["cut_off"] for account in accounts} == {0}
    assert all(account["burst"] > 50 for account in accounts), "in the first look, and told in all later ones"
    assert accounts[-1]["expected_left"] == accounts[0]["expected_left"]


@pytest.mark.parametrize(
    ("measured", "measured_seconds", "seconds", "expected"),
    [(0, 20, 1, 4), (0, 4, 1, 8), (100, 20, 1, 20), (100, 20, 20, 180), (10000, 1000, 1, 28), (0, 1e-3, 10, 138162)],
)
def test_how_many_may_leave(measured: int, measured_seconds: float, seconds: float, expected: int) -> None:
    assert at_most(measured, measured_seconds, seconds) == expected


def test_the_bound_is_that_of_the_binomial_distribution() -> None:
    part = 1 / 21
    assert accounting._probability(20, 100, part) >= accounting.CHANCE > accounting._probability(21, 100, part)
    # By hand: all of four within a part of the time is the fourth power of it.
    assert accounting._probability(4, 0, part) == pytest.approx(part**4)


def test_without_an_earlier_reading_no_rate_is_known() -> None:
    broker = Broker(10)
    before = facts(broker, 5.0)
    broker.disconnect(broker.connected[0])
    for measured in (None, before, read_facts(client_books=unknown_books("x"))):
        account = Watch(before, measured).look(facts(broker, 6.0))
        assert (account["expected_left"], account["burst"], account["left"]) == (None, None, 1)


def test_counts_where_the_node_cannot_tell() -> None:
    broker = Broker(10)
    before, after = facts(broker, 1.0), facts(Broker(8), 2.0)
    account = Watch(before).look(after)
    assert (account["told_by"], account["reason"]) == ("counts", "its counters began anew in between")
    assert (account["before"], account["now"], account["cut_off"], account["came"]) == (10, 8, 2, None)
    checks = {check.name: check for check in verdicts._clients(before, after, account, 0)}
    assert set(checks) == {"cluster_clients", "clients", "sessions", "subscriptions"}
    assert checks["clients"].actual == "8, by counts: its counters began anew in between"
    assert checks["clients"].message == "The node had 10 clients and has 8; at least 10 are expected."
    assert {name for name, check in verdicts_by_name(before, after, account, 2).items() if not check.passed} == set()


def verdicts_by_name(before: Any, after: Any, account: Any, tolerance: Any) -> dict[str, verdicts.Check]:
    return {check.name: check for check in verdicts._clients(before, after, account, tolerance)}


def member(node: str, broker: Broker, time: float) -> dict[str, Any]:
    told = broker.books(time)
    return {"node": node, "version": "4.4.18", "connections": told["connected"], "connection_counts": {}} | {
        "sessions": told["sessions"],
        "client_books": told,
    }


def cluster(*members: dict[str, Any]) -> dict[str, Any]:
    return {"running": ["emqx@a1", "emqx@a2"], "stopped": [], "members": list(members)}


def test_the_other_members_have_books_as_well() -> None:
    own, other = Broker(10), Broker(20)
    before = facts(own, 1.0, cluster=cluster(member("emqx@a1", own, 1.0), member("emqx@a2", other, 1.0)))
    for _number in range(5):
        other.disconnect(other.connected[0])
    other.kill(other.connected[0])
    after = facts(own, 2.0, cluster=cluster(member("emqx@a1", own, 2.0), member("emqx@a2", other, 2.0)))
    account = Watch(before).look(after)
    assert account["members"] == {
        "emqx@a2": {"told_by": "books", "before": 20, "now": 14, "came": 0, "left": 5, "cut_off": 1}
    }
    check = verdicts_by_name(before, after, account, 0)["cluster_clients"]
    assert check.message == "Other members of the cluster have fewer clients: of emqx@a2 1 client was cut off."
    assert verdicts_by_name(before, after, account, 1)["cluster_clients"].passed
    validate_part(account, "accounting")
    assert SCHEMA.is_file()


@pytest.mark.parametrize(
    ("gone", "unsubscribed", "now", "passed"),
    [
        (0, 0, 30, True),
        (0, 0, 29, False),
        (0, 2, 14, True),
        (0, 2, 12, False),
        (5, 0, 8, True),
        (5, 0, 7, True),
        (5, 0, 6, False),
        (10, 0, 0, True),
    ],
)
def test_subscriptions_go_only_with_who_left(gone: int, unsubscribed: int, now: int, passed: bool) -> None:
    broker = Broker(10)
    before = facts(broker, 1.0, subscriptions=30)
    for _number in range(gone):
        broker.disconnect(broker.connected[0])
    broker.counted["unsubscribed"] += unsubscribed
    after = facts(broker, 2.0, subscriptions=now)
    assert verdicts_by_name(before, after, Watch(before).look(after), 0)["subscriptions"].passed is passed
