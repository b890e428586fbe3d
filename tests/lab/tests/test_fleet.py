# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Fleet files: layers, short forms, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.labkit import Fleet, LabError, load_fleet, parse_fleet, simple_fleet

EXAMPLE = Path(__file__).resolve().parent.parent / "example-fleet.yml"


def test_settings_are_looked_for_at_the_host_then_its_cluster_then_the_defaults() -> None:
    fleet = parse_fleet(
        {
            "defaults": {"version": "4.4.17", "runner_user": "emqx"},
            "clusters": {
                "blue": {"version": "4.4.18", "hosts": {"b1": None, "b2": {"version": "4.4.19", "size": "64M"}}}
            },
            "hosts": {"spare": {"broker": "none"}},
        }
    )
    rows = [(host.name, host.cluster, host.version, host.runner_user, host.broker) for host in fleet.hosts]
    assert rows == [
        ("b1", "blue", "4.4.18", "emqx", "running"),
        ("b2", "blue", "4.4.19", "emqx", "running"),
        ("spare", None, "4.4.17", "emqx", "none"),
    ]
    assert fleet.hosts[1].sizes == {"root": "64m", "opt": "64m", "var": "64m", "tmp": "64m"}


def test_a_number_of_hosts_names_them_after_their_cluster() -> None:
    assert [host.name for host in parse_fleet({"clusters": {"blue": {"hosts": 2}}}).hosts] == ["blue1", "blue2"]


def test_a_number_alone_has_no_brokers_and_a_version_gives_them() -> None:
    assert [host.broker for host in simple_fleet(2).hosts] == ["none", "none"]
    assert list(simple_fleet(2, version="4.4.18").clusters) == ["emqx"]


def test_the_example_is_a_fleet_and_survives_the_way_through_json() -> None:
    fleet = load_fleet(EXAMPLE)
    assert [host.name for host in fleet.hosts] == ["blue1", "blue2", "blue3", "g1", "g2", "g3", "spare"]
    assert Fleet.from_dict(fleet.as_dict()) == fleet


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected a mapping"),
        ({"cluster": {}}, "unknown cluster; known are defaults, clusters, hosts"),
        ({}, "has no hosts"),
        ({"hosts": {"A_1": {}}}, "not a name"),
        ({"hosts": {"a": {"edition": "pro"}}}, "edition is 'pro'; expected one of ce, ee, edge"),
        ({"hosts": {"a": {"version": 4.4}}}, "version is '4.4'"),
        ({"hosts": {"a": {"size": "big"}}}, "size of root is 'big'"),
        ({"hosts": {"a": {"port": 0}}}, "port is 0"),
        ({"hosts": {"a": {"colour": 1}}}, "unknown colour"),
        ({"hosts": {"a": {}}, "clusters": {"c": {"hosts": ["a"]}}}, "more than one host named a"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data: Any, message: str) -> None:
    with pytest.raises(LabError, match=message) as caught:
        parse_fleet(data)
    assert caught.value.exit_code == 2
