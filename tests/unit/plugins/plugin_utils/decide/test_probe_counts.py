# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client probe counts, against random courses of messages of which everything is known."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_counts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_counts import GRACE, Link, NodeCounts, RoundTrips
from ansible_collections.emqx.fleet.tests.unit.plugins import rounds

WALL = 1_700_000_000.0


def delivered(link: Link, number: int, now: float) -> None:
    link.acknowledge(number, now)
    link.arrive(number, now, WALL + now)


@rounds.more
@pytest.mark.parametrize("seed", rounds.seeds(20))
def test_courses_of_messages_are_counted_as_they_were(seed: int) -> None:
    """A hundred courses a seed: each message is acknowledged or not, and comes never, once or twice, in any order."""
    chance = random.Random(seed)
    for _course in range(100):
        link = Link()
        count = chance.randint(1, 30)
        for _number in range(count):
            link.send(0.0, "before")
        acknowledged = {number for number in range(1, count + 1) if chance.random() < 0.9}
        arrivals = [number for number in range(1, count + 1) for _time in range(chance.choice([0, 1, 1, 1, 1, 2]))]
        if chance.random() < 0.5:
            chance.shuffle(arrivals)
        events: list[tuple[str, int]] = [("arrives", number) for number in arrivals]
        for number in acknowledged:
            events.insert(chance.randint(0, len(events)), ("is acknowledged", number))
        came: set[int] = set()
        acked: set[int] = set()
        duplicated = reordered = 0
        for what, number in events:
            if what == "is acknowledged":
                acked.add(number)
                link.acknowledge(number, 1.0)
            else:
                duplicated += number in came
                reordered += number not in came and number < max(came, default=0)
                came.add(number)
                link.arrive(number, 1.0, WALL)
            at_once = {one for one in acked - came if one < max(came, default=0)}
            assert link.lost(1.0) == len(at_once), events
            assert link.lost(1.0 + GRACE) == len(acked - came), events
        assert (link.sent, link.acked, link.received) == (count, len(acked), len(came)), events
        assert (link.duplicated, link.reordered) == (duplicated, reordered), events
        assert all(link.is_through(number) == (number in acked & came) for number in range(1, count + 1)), events


def test_a_message_on_its_way_is_not_lost() -> None:
    link = Link()
    link.send(0.0, "before")
    assert link.lost(100.0) == 0, "nobody has acknowledged it"
    link.acknowledge(1, 100.0)
    assert link.lost(100.0 + GRACE - 0.1) == 0
    assert link.lost(100.0 + GRACE) == 1
    assert link.arrive(1, 110.0, WALL) == ("before", 110.0)
    assert link.lost(200.0) == 0, "it was late"


def test_what_was_never_sent_does_not_count() -> None:
    link = Link()
    link.send(0.0, "before")
    for number in (0, 2, -1):
        assert link.arrive(number, 1.0, WALL) is None
    assert (link.received, link.duplicated) == (0, 0)


def test_of_very_many_losses_none_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_counts, "MOST_WAITING", 10)
    link = Link()
    for _message in range(1000):
        link.acknowledge(link.send(0.0, "before"), 0.0)
    assert link.lost(GRACE) == 1000
    assert len(link._waiting) == 10


# Silence


def test_the_longest_silence_and_when_it_began() -> None:
    link = Link()
    assert link.gap(50.0) == (0.0, None), "nobody sends yet"
    link.opens(100.0, WALL)
    assert link.gap(101.0) == (1.0, WALL)
    for now in (101.0, 101.5, 105.5, 106.0):
        delivered(link, link.send(now, "before"), now)
    assert link.gap(106.0) == (4.0, WALL + 101.5)
    assert link.gap(109.0) == (4.0, WALL + 101.5)
    assert link.gap(111.0) == (5.0, WALL + 106.0), "the one that lasts"
    link.opens(111.0, WALL)
    assert link.gap(111.0) == (5.0, WALL + 106.0), "it began once"


def test_nobody_expects_an_idle_client_to_be_heard() -> None:
    link = Link(silence=False)
    link.opens(0.0, WALL)
    delivered(link, link.send(50.0, "before"), 50.0)
    assert link.gap(100.0) == (0.0, None)


# Round trips


def nearest_rank(values: list[float], part: float) -> float:
    return sorted(values)[math.ceil(part * len(values)) - 1]


@rounds.more
@pytest.mark.parametrize("seed", rounds.seeds(30))
def test_percentiles_are_those_of_all_values(seed: int) -> None:
    chance = random.Random(seed)
    for _case in range(20):
        values = [chance.lognormvariate(0, chance.choice([0.1, 1, 3])) for _value in range(chance.randint(1, 300))]
        trips = RoundTrips()
        for ms in values:
            trips.add(ms / 1000)
        found = trips.summary()
        assert found["count"] == len(values)
        assert found["max"] == pytest.approx(max(values), abs=0.006)
        for name, part in (("median", 0.5), ("p99", 0.99)):
            exact = nearest_rank(values, part)
            assert exact - 0.006 <= found[name] <= exact * 1.0101 + 0.016, (name, values)
        assert found["median"] <= found["p99"] <= found["max"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 86400.0])
def test_strange_round_trips(seconds: float) -> None:
    trips = RoundTrips()
    trips.add(seconds)
    found = trips.summary()
    assert found["median"] == found["p99"] == found["max"] == max(0.0, round(seconds * 1000, 2))


def test_no_round_trips() -> None:
    assert RoundTrips().summary() == {"median": None, "p99": None, "max": None, "count": 0}


def test_a_long_run_takes_no_more_room_than_a_short_one() -> None:
    trips = RoundTrips()
    for number in range(100_000):
        trips.add(number % 5000 / 1000)
    assert len(trips._buckets) < 1400


# A node


def make_node(*links: Link) -> NodeCounts:
    return NodeCounts("h1:1883", ["publisher-1", "subscriber-1", "idle-1"], list(links))


def test_a_row_has_what_the_report_has() -> None:
    node = make_node()
    row = node.row(0.0)
    assert list(row) == [
        "address",
        "clients",
        "connected",
        "disconnects",
        "disconnected",
        "sent",
        "acked",
        "received",
        "lost",
        "duplicated",
        "reordered",
        "longest_gap_ms",
        "longest_gap_at",
        "round_trip_ms",
    ]
    assert (row["clients"], row["connected"], row["longest_gap_ms"], row["longest_gap_at"]) == (3, 0, 0, None)
    assert {window: trips["count"] for window, trips in row["round_trip_ms"].items()} == dict.fromkeys(
        probe_counts.WINDOWS, 0
    )


def test_a_message_belongs_to_the_window_in_which_it_was_sent() -> None:
    link = Link()
    node = make_node(link)
    link.send(0.0, node.window)
    node.window = "during"
    link.send(1.0, node.window)
    node.arrived(link, 1, 2.0, WALL)
    node.arrived(link, 2, 2.0, WALL)
    node.arrived(link, 2, 3.0, WALL)
    found = node.row(2.0)["round_trip_ms"]
    assert (found["before"]["max"], found["during"]["max"], found["after"]["max"]) == (2000.0, 1000.0, None)
    assert node.row(2.0)["duplicated"] == 1


def test_a_lost_connection_has_its_time_and_reason() -> None:
    node = make_node()
    node.connected.update(["idle-1", "publisher-1"])
    node.lose("idle-1", WALL, "closed")
    row = node.row(0.0)
    assert row["disconnects"] == [{"at": WALL, "client": "idle-1", "reason": "closed"}]
    assert (row["disconnected"], row["connected"]) == (1, 1)


def test_of_very_many_disconnects_all_are_counted() -> None:
    node = make_node()
    for number in range(probe_counts.MOST_DISCONNECTS + 5):
        node.lose("idle-1", WALL + number, "closed")
    row = node.row(0.0)
    assert (len(row["disconnects"]), row["disconnected"]) == (1000, 1005)


def test_a_row_adds_up_links_and_has_the_longest_gap() -> None:
    first, second = Link(), Link()
    node = make_node(first, second)
    for link, pause in ((first, 1.0), (second, 2.5)):
        link.opens(0.0, WALL)
        delivered(link, link.send(pause, "before"), pause)
    first.acknowledge(first.send(2.5, "before"), 2.5)
    row: dict[str, Any] = node.row(3.0)
    assert (row["sent"], row["acked"], row["received"]) == (3, 3, 2)
    assert (row["longest_gap_ms"], row["longest_gap_at"], row["lost"]) == (2500, WALL, 0)
    assert node.row(2.5 + GRACE)["lost"] == 1
