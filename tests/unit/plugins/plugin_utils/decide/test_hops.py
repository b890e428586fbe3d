# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.hops import find_path, find_way_back
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import Package, make_package
from hypothesis import given
from hypothesis import strategies as st

VERSIONS = [f"4.4.{patch}" for patch in range(8)]
CHAIN = [make_package("4.4.18", ["4.4.17"]), make_package("4.4.19", ["4.4.18"]), make_package("4.4.20", ["4.4.19"])]


def test_one_hop_where_the_relup_allows() -> None:
    path = find_path("4.4.18", "4.4.19", CHAIN)
    assert (path.found, path.versions, path.packages) == (True, ("4.4.19",), (CHAIN[1],))


def test_several_hops_where_it_does_not() -> None:
    assert find_path("4.4.17", "4.4.20", CHAIN).versions == ("4.4.18", "4.4.19", "4.4.20")


def test_the_shortest_way_with_the_newest_versions() -> None:
    packages = [*CHAIN[:2], make_package("4.4.20", ["4.4.18", "4.4.19"])]
    assert find_path("4.4.17", "4.4.20", packages).versions == ("4.4.18", "4.4.20")
    packages.append(make_package("4.4.19", ["4.4.17", "4.4.18"]))
    assert find_path("4.4.17", "4.4.20", packages).versions == ("4.4.19", "4.4.20")


def test_goes_to_4_5_by_the_version_that_it_takes() -> None:
    packages = [make_package("4.4.11", ["4.4.5"]), make_package("4.5.0", ["4.4.11"])]
    assert find_path("4.4.5", "4.5.0", packages).versions == ("4.4.11", "4.5.0")


def test_names_the_nearest_version_that_would_do() -> None:
    packages = [make_package("4.5.0", ["4.4.8", "4.4.11", "4.4.13", "4.4.19"])]
    path = find_path("4.4.12", "4.5.0", packages)
    assert (path.found, path.nearest) == (False, "4.4.13")
    assert "with a package of 4.4.13 that upgrades from 4.4.12 there is a way" in path.reason
    path = find_path("4.4.20", "4.5.0", packages)
    assert (path.nearest, "older" in path.reason) == ("4.4.19", True)


def test_a_package_without_relup_leads_nowhere() -> None:
    path = find_path("4.4.18", "4.4.19", [make_package(relup=None)])
    assert (path.found, path.nearest) == (False, None)
    assert "no relup that upgrades from any version" in path.reason


def test_a_broken_package_is_no_stepping_stone() -> None:
    broken = make_package("4.4.18", ["4.4.17"], problems=[{"code": "truncated", "message": "x"}])
    assert not find_path("4.4.17", "4.4.19", [broken, CHAIN[1]]).found
    # As the target it is found, so that its own gate can say what is wrong.
    assert find_path("4.4.17", "4.4.18", [broken]).found


def test_never_leaves_the_span_between_the_ends() -> None:
    packages = [make_package("4.4.20", ["4.4.17"]), make_package("4.4.19", ["4.4.20"])]
    assert not find_path("4.4.17", "4.4.19", packages).found


def test_a_downgrade_asks_the_relup_that_is_left() -> None:
    assert find_path("4.4.20", "4.4.18", CHAIN).versions == ("4.4.19", "4.4.18")
    assert not find_path("4.4.18", "4.4.17", [make_package("4.4.17", [])]).found
    assert "its relup decides" in find_path("4.4.18", "4.4.17", [make_package("4.4.17", [])]).reason
    assert "goes back to nothing" in find_path("4.4.19", "4.4.18", [CHAIN[0], make_package(downgrade_to=[])]).reason


@pytest.mark.parametrize(("running", "target"), [("x", "4.4.19"), ("4.4.18", "x"), ("4.4.18", "4.4.21")])
def test_says_why_nothing_is_looked_for(running: str, target: str) -> None:
    path = find_path(running, target, CHAIN)
    assert not path.found
    assert path.reason


def test_the_way_back() -> None:
    assert find_way_back("4.4.17", find_path("4.4.17", "4.4.20", CHAIN)) == ("4.4.19", "4.4.18", "4.4.17")
    short = [make_package("4.4.18", ["4.4.17"]), make_package("4.4.19", ["4.4.18"], ["4.4.17"])]
    assert find_way_back("4.4.17", find_path("4.4.17", "4.4.19", short)) == ("4.4.17",)
    one_way = [make_package(downgrade_to=[])]
    assert find_way_back("4.4.18", find_path("4.4.18", "4.4.19", one_way)) == ()
    assert find_way_back("4.4.18", find_path("4.4.18", "4.4.21", CHAIN)) == ()
    assert find_way_back("4.4.20", find_path("4.4.20", "4.4.18", CHAIN)) == ("4.4.19", "4.4.20")


@st.composite
def package_sets(draw: st.DrawFn) -> list[Package]:
    return [
        make_package(
            version,
            draw(st.lists(st.sampled_from(VERSIONS), max_size=3, unique=True)),
            draw(st.lists(st.sampled_from(VERSIONS), max_size=3, unique=True)),
        )
        for version in draw(st.lists(st.sampled_from(VERSIONS), unique=True))
    ]


@given(package_sets(), st.sampled_from(VERSIONS), st.sampled_from(VERSIONS))
def test_a_way_is_one_that_the_relups_allow_and_the_shortest(packages: list[Package], start: str, target: str) -> None:
    if start == target:
        return
    by_version = {package["version"]: package for package in packages}
    up = VERSIONS.index(start) < VERSIONS.index(target)

    def allowed(one: str, other: str) -> bool:
        if other not in by_version or (one < other) != up or not min(start, target) <= other <= max(start, target):
            return False
        if up:
            return one in by_version[other]["relup"]["upgrade_from"]
        return one in by_version and other in by_version[one]["relup"]["downgrade_to"]

    # Reached in one more step each round: as plain as can be, for comparison.
    reached, rounds = {start}, 0
    while target not in reached:
        more = {other for one in reached for other in VERSIONS if allowed(one, other)} - reached
        if not more:
            break
        reached |= more
        rounds += 1
    path = find_path(start, target, packages)
    assert path.found == (target in reached)
    if path.found:
        assert len(path.versions) == rounds
        assert all(allowed(one, other) for one, other in pairwise([start, *path.versions]))
        assert path.versions[-1] == target
    else:
        assert path.reason
