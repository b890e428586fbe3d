# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import catalogue as c
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts, make_package

PACKAGES = [
    make_package(),
    make_package(edition="ee"),
    make_package(otp="24.3.4.2-1"),
    make_package(os="el8"),
    make_package(os="el8", arch="arm64"),
    make_package("4.4.18", ["4.4.17"]),
]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, 0),
        ({"edition": "ee"}, 1),
        ({"otp": "24"}, 2),
        ({"os": "el8"}, 3),
        ({"os": "centos8", "arch": "aarch64"}, 4),
        # Where the release does not tell what it was built for, the machine does.
        ({"os": None, "host": {"os": "rocky8"}}, 3),
        # Nor where it tells a word that is none of a system or an architecture.
        ({"os": "gnu", "arch": "25.2.3", "host": {"os": "el8", "arch": "aarch64"}}, 4),
        ({"arch": "25.2.3"}, 0),
    ],
)
def test_selects_the_package_of_the_node(changes: dict[str, Any], place: int) -> None:
    chosen, reason = c.select(make_facts(**changes), "4.4.19", c.build(PACKAGES))
    assert (chosen, reason) == (PACKAGES[place], "")


def test_says_what_was_looked_for_and_what_is_there() -> None:
    chosen, reason = c.select(make_facts(os="ubuntu20.04"), "4.4.19", c.build(PACKAGES[:2]))
    assert chosen is None
    assert reason == (
        "no package of 4.4.19 fits; looked for ce, ubuntu20.04, amd64, OTP 25; there is "
        "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip, emqx-ee-4.4.19-otp25.2.3-1-debian12-amd64.zip"
    )


def test_says_that_there_is_none_of_the_version() -> None:
    assert c.select(make_facts(), "4.4.20", c.build(PACKAGES))[1] == (
        "there is no package of 4.4.20; there is 4.4.19, 4.4.18"
    )
    assert "none at all" in c.select(make_facts(), "4.4.20", c.build([]))[1]


def test_does_not_choose_between_several() -> None:
    other = make_package(otp="25.3-1")
    chosen, reason = c.select(make_facts(), "4.4.19", c.build([make_package(), other]))
    assert chosen is None
    assert "several packages of 4.4.19 fit" in reason
    assert other["name"] in reason


def test_a_broken_copy_is_no_choice() -> None:
    broken = make_package(path="other/copy.zip", problems=[{"code": "truncated", "message": "x"}])
    assert c.select(make_facts(), "4.4.19", c.build([broken, make_package()]))[0] == make_package()
    assert c.select(make_facts(), "4.4.19", c.build([broken]))[0] == broken


def test_the_same_file_counts_once() -> None:
    assert c.select(make_facts(), "4.4.19", c.build([make_package(), make_package()]))[0] == make_package()


def test_the_closest_is_the_only_one_that_misses_least() -> None:
    catalogue = c.build([make_package(edition="ee"), make_package(edition="ee", os="el8")])
    choice = catalogue.choose(c.words_of(make_facts()), "4.4.19")
    assert choice.package is None
    assert choice.closest == make_package(edition="ee")
    catalogue = c.build([make_package(os="el7"), make_package(os="el8")])
    assert catalogue.choose(c.words_of(make_facts()), "4.4.19").closest is None


def test_what_is_not_known_fits() -> None:
    package = make_package(os=None, arch=None, otp=None, name="emqx-4.4.19.zip")
    assert c.misses(c.words_of(make_facts()), package) == ()
    assert c.misses(c.words_of({}), make_package()) == ()


@pytest.mark.parametrize(
    ("node", "package", "missed"),
    [
        ({"os": "opensuse"}, {"os": "opensuse15.2"}, ()),
        ({"os": "raspbian9", "arch": "arm"}, {"os": "raspbian9", "arch": "armv7l"}, ()),
        ({"os": "raspbian9"}, {"os": "raspbian10"}, ("os",)),
        ({"arch": "mips64"}, {"arch": "mips64"}, ()),
        ({"arch": "arm"}, {"arch": "arm64"}, ("arch",)),
        # The machine's own words, for a release of 4.2 or of Enterprise: unlike a package for an older system.
        ({"os": None, "host": {"os": "el8"}}, {"os": "centos7"}, ("os",)),
        ({"os": None, "arch": None, "host": {"os": "el7", "arch": "x86_64"}}, {"os": "centos7"}, ()),
    ],
)
def test_words_as_published(node: dict[str, Any], package: dict[str, Any], missed: tuple[str, ...]) -> None:
    assert c.misses(c.words_of(make_facts(**node)), make_package(**package)) == missed


def test_enterprise_4_2_is_chosen_by_its_version_as_it_stands() -> None:
    words = {"edition": "ee", "otp": "22", "os": "el7"}
    packages = [make_package(version, **words) for version in ("e4.2.3", "e4.2.10", "4.2.4")]
    facts = make_facts(running="e4.2.2", **words)
    assert c.select(facts, "e4.2.3", c.build(packages))[0] == packages[0]
    assert c.select(facts, "e4.2.4", c.build(packages))[1] == (
        "there is no package of e4.2.4; there is e4.2.10, 4.2.4, e4.2.3"
    )


def test_shortens_long_lists() -> None:
    assert c.listed("abcdefgh", 3) == "a, b, c and 5 more"
    assert c.listed("abc", 3) == "a, b, c"
