# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host patterns mean what they mean to Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.host_patterns import (
    Hosts,
    PatternError,
    literal,
    singles,
)

NAMES = ["b1", "b2", "b10", "h x", "::1", "[odd", "10.0.0.1", "x,y", "host:22"]


@pytest.fixture
def hosts() -> Hosts:
    groups = {"all": NAMES, "ungrouped": NAMES[3:], "web": ["b1", "b2"], "db": ["b2", "b10"], "empty": []}
    return Hosts(groups, DataLoader())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", NAMES),
        ("b2", ["b2"]),
        ("web", ["b1", "b2"]),
        ("all:!b1", NAMES[1:]),
        ("web:&db", ["b2"]),
        ("web,db,!b2", ["b1", "b10"]),
        ("~b[0-9]{2}", ["b10"]),
        ("web[1]", ["b2"]),
        ("all[1:2]", ["b2", "b10"]),
        ("b*", ["b1", "b2", "b10"]),
        ("10.0.0.1", ["10.0.0.1"]),
        ("::1", ["::1"]),
        (["web", "!b1"], ["b2"]),
        ("empty", []),
        ("nosuch", []),
    ],
)
def test_patterns(hosts: Hosts, pattern: Any, expected: list[str]) -> None:
    assert hosts.matching(pattern) == expected


def test_within_a_limit(hosts: Hosts, tmp_path: Path) -> None:
    assert hosts.matching("web", "db") == ["b2"]
    assert hosts.matching("web", "b10,::1") == []
    assert hosts.matching("web") == ["b1", "b2"], "a limit is forgotten"
    (tmp_path / "limit").write_text("b1\nb10\n", encoding="utf-8")
    assert hosts.matching("web", f"@{tmp_path}/limit") == ["b1"]


@pytest.mark.parametrize("pattern", ["web[7]", "~("])
def test_what_ansible_cannot_read(hosts: Hosts, pattern: str) -> None:
    with pytest.raises(PatternError):
        hosts.matching(pattern)


def test_a_part_that_matches_nothing_may_be_an_error(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HOST_PATTERN_MISMATCH", "error")
    with pytest.raises(PatternError, match="nosuch"):
        hosts.matching("web,nosuch")
    assert hosts.matching("web:&db") == ["b2"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_host_whatever_is_in_it(hosts: Hosts, name: str) -> None:
    assert hosts.named(name) == [name]
    assert hosts.named([name, "b1"]) == [name, "b1"]


def test_named_patterns(hosts: Hosts) -> None:
    assert hosts.named("web:!b1") == ["b2"]
    assert hosts.named(["web", "!b1"]) == ["b2"]
    assert hosts.named(["web", "h x"]) == ["b1", "b2", "h x"], "no host is left out for its name"
    assert hosts.named(["all", "!h x", "!x,y", "!host:22"]) == ["b1", "b2", "b10", "::1", "[odd", "10.0.0.1"]
    assert hosts.named("web:h x") == ["b1", "b2", "h x"]
    assert hosts.named("all:!h x:!b1") == [name for name in NAMES if name not in ("h x", "b1")]


ODD = [
    "Edge 1",
    "edge[1]",
    "edge",
    "edge1",
    "[::1]:2201",
    "fe80::1%lo",
    "gr\u00f6\u00dfe, \u00fc:x",
    "\U0001f680",
    "!no",
    "&and",
    "~b.*",
    "b*",
    "b.1",
    "bx1",
    "10",
    "None",
    "(1)",
    "a\\b",
    "{{ x }}",
    "-e",
    "o'b\"r",
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("mismatch", ["error", "warning"])
def test_every_name_can_be_chosen_and_left_out(name: str, mismatch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HOST_PATTERN_MISMATCH", mismatch)
    hosts = Hosts({"all": ODD, "web": ODD[2:4]}, DataLoader())
    for written in (hosts.singles([name]), ",".join(hosts.singles([name]))):
        assert hosts.matching(written) == [name]
    others = [other for other in ODD if other != name]
    assert hosts.matching(",".join(hosts.singles(["all", f"!{name}"]))) == others
    assert hosts.matching(hosts.singles(["all", f"& {name} "])) == [name]
    assert hosts.matching(literal(name)) == [name]


@pytest.mark.parametrize(
    ("given", "pieces"),
    [
        (["web:!b1", "db:&x"], ["web", "!b1", "db", "&x"]),
        (["a[1:2], b"], ["a[1:2]", "b"]),
        (["Edge 1"], [r"~Edge\x201\Z"]),
        (["all:!Edge 1"], ["all", r"!~Edge\x201\Z"]),
        (["edge[1]"], ["edge[1]"]),
        (["!edge[1]"], [r"!~edge\x5b1\x5d\Z"]),
        (["10"], [r"~10\Z"]),
        (["::1", "web"], ["::1", "web"]),
    ],
)
def test_only_names_that_are_misread_are_written_in_another_way(given: list[str], pieces: list[str]) -> None:
    assert singles(given, {"Edge 1", "edge[1]", "edge", "10", "::1", "web"}) == pieces
