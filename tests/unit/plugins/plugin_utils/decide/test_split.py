# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a fleet: every host in one of them, every cluster whole, about equally large, and always the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import find_clusters
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.split import SplitError, split
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import Facts, make_clusters, make_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import more, seeds

Fleet = dict[str, Facts]


def fleet_of(sizes: Sequence[int]) -> Fleet:
    """Clusters of these sizes: host c3n1 is the node emqx@c3n1."""
    found: Fleet = {}
    for cluster, size in enumerate(sizes):
        names = [f"emqx@c{cluster}n{place}" for place in range(size)]
        found |= {name.removeprefix("emqx@"): make_facts(name, members=names) for name in names}
    return found


def sizes_of(fleet: Fleet, count: int) -> list[int]:
    return [len(hosts) for hosts in split(fleet, count).by_name().values()]


def test_a_fleet_in_two_parts() -> None:
    found = split(fleet_of([2, 3, 1, 1]), 2)
    assert found.by_name() == {"1": ["c1n0", "c1n1", "c1n2", "c3n0"], "2": ["c0n0", "c0n1", "c2n0"]}
    assert [list(part.clusters) for part in found.parts] == [["emqx@c1n0", "emqx@c3n0"], ["emqx@c0n0", "emqx@c2n0"]]
    assert found.warnings == []


def test_names_are_in_the_order_that_people_give_them() -> None:
    assert split(make_clusters(1, 11), 1).by_name() == {"1": [f"c0n{number}" for number in range(11)]}


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([3, 3, 3, 3], 2, [6, 6]),
        ([5], 1, [5]),
        ([1, 1, 1, 1, 1], 2, [3, 2]),
        ([1] * 7, 7, [1] * 7),
        ([9, 1, 1, 1], 2, [9, 3]),
        ([3, 3, 2, 2, 2], 2, [7, 5]),
    ],
)
def test_about_equally_large(sizes: Sequence[int], count: int, expected: list[int]) -> None:
    assert sizes_of(fleet_of(sizes), count) == expected


@more
@pytest.mark.parametrize("seed", seeds(60))
def test_whatever_the_fleet(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice((1, 1, 2, 3, 3, 5, 7)) for _cluster in range(chance.randint(1, 40))]
    count = chance.randint(1, min(len(sizes), 8))
    fleet = fleet_of(sizes)
    found = split(fleet, count)
    parts = found.by_name()
    # Every host in exactly one part.
    assert list(parts) == [str(number) for number in range(1, count + 1)]
    assert sorted(host for hosts in parts.values() for host in hosts) == sorted(fleet)
    # No cluster in two parts.
    where = {host: name for name, hosts in parts.items() for host in hosts}
    for hosts in find_clusters(fleet).values():
        assert len({where[host] for host in hosts}) == 1
    # No part empty; none has more than another has and the largest cluster besides.
    counts = [len(hosts) for hosts in parts.values()]
    assert min(counts) > 0
    assert max(counts) - min(counts) <= max(sizes)
    # Graham's bound of this way to share work: 4/3 of the best, which is at least the mean and the largest.
    best = max(-(-sum(sizes) // count), *sizes)
    if len(sizes) <= 9 and count <= 3:
        best = min(largest(sizes, places, count) for places in itertools.product(range(count), repeat=len(sizes)))
        assert max(counts) * 3 * count <= best * (4 * count - 1)
    assert max(counts) >= best
    # The same in any order.
    shuffled = list(fleet.items())
    chance.shuffle(shuffled)
    for _host, facts in shuffled:
        chance.shuffle(facts["cluster"]["members"])
        chance.shuffle(facts["cluster"]["running"])
    assert split(dict(shuffled), count) == found


def largest(sizes: Sequence[int], places: Sequence[int], count: int) -> int:
    """The hosts of the largest part, with each cluster in its place."""
    return max(sum(size for size, place in zip(sizes, places, strict=True) if place == part) for part in range(count))


def test_names_that_differ_in_noughts_alone_have_an_order_as_well() -> None:
    names = ("n1", "n01", "n001", "n0001")
    fleets = [{name: make_facts(f"emqx@{name}") for name in order} for order in itertools.permutations(names)]
    assert {str(split(fleet, 2).by_name()) for fleet in fleets} == {"{'1': ['n0001', 'n01'], '2': ['n001', 'n1']}"}


def test_where_an_upgrade_has_come_to_changes_no_part() -> None:
    """What a node runs, and how many clients it has, is another matter."""
    fleet = fleet_of([3, 2, 2])
    before = split(fleet, 2)
    fleet["c0n1"].update(running="4.4.19", connections=7)
    fleet["c0n0"]["cluster"]["members"][1].update(version="4.4.19", connections=7)
    assert split(fleet, 2) == before


def test_two_names_of_one_node_stay_together() -> None:
    fleet = fleet_of([1, 1, 1])
    fleet["alias"] = fleet["c1n0"]
    where = {host: name for name, hosts in split(fleet, 3).by_name().items() for host in hosts}
    assert where["alias"] == where["c1n0"]


@pytest.mark.parametrize(
    ("sizes", "count", "message"),
    [
        (
            [3, 3],
            3,
            "emqx_upgrade_split is 3, and the fleet has 2 clusters, which stay whole; expected are at most as many "
            "parts as clusters. Write emqx_upgrade_split=2, and take the jobs for further parts out of the workflow.",
        ),
        (
            [3],
            2,
            "emqx_upgrade_split is 2, and the fleet has 1 cluster, which stays whole; expected are at most as many "
            "parts as clusters. Write emqx_upgrade_split=1, and take the jobs for further parts out of the workflow.",
        ),
    ],
)
def test_more_parts_than_clusters(sizes: Sequence[int], count: int, message: str) -> None:
    with pytest.raises(SplitError) as refused:
        split(fleet_of(sizes), count)
    assert str(refused.value) == message


def test_nodes_that_do_not_tell_their_cluster() -> None:
    fleet = fleet_of([3, 3])
    fleet["c0n1"] = {"msg": "no route to host.\n", "unreachable": True}
    fleet["c1n0"] = {"msg": "no route to host", "unreachable": True}
    fleet["c1n1"] = {}
    fleet["c1n2"].update(state="stopped", running=None)
    fleet["c0n2"].update(state="unreachable", running=None)
    with pytest.raises(SplitError) as refused:
        split(fleet, 2)
    assert str(refused.value) == (
        "Not every node tells which cluster it is in: c0n1, c1n0 (no route to host); c0n2 (its broker's process is "
        "there but does not answer); c1n1 (nothing is known of it); c1n2 (its broker is stopped). Expected are brokers "
        "that run and answer, since a part has whole clusters. Start them and make their hosts reachable, or leave "
        "them out with --limit; then run the same command again."
    )


def test_members_that_are_no_hosts_are_warned_of() -> None:
    """As the plan warns of them (gate ``cluster_in_run``); those that are stopped it refuses (``cluster_complete``)."""
    fleet = fleet_of([3, 2])
    del fleet["c0n2"]
    found = split(fleet, 2)
    assert found.by_name() == {"1": ["c0n0", "c0n1"], "2": ["c1n0", "c1n1"]}
    assert found.warnings == [
        "emqx@c0n2 of the cluster of c0n0 (emqx@c0n0) is no host of the play, so that it is in no part and keeps its "
        "version. Take it into the inventory, or run it for the whole cluster afterwards."
    ]
    # Also a member that nobody else has for a host holds its cluster together.
    fleet["c0n1"]["cluster"] = {"running": ["emqx@c0n1", "emqx@c0n2"], "stopped": [], "members": []}
    fleet["c0n0"]["cluster"] = {"running": ["emqx@c0n0", "emqx@c0n2"], "stopped": [], "members": []}
    assert split(fleet, 2).by_name() == found.by_name()
