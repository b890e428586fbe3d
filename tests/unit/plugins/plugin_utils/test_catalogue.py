# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils import catalogue as c
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


def test_shortens_long_lists() -> None:
    assert c.listed("abcdefgh", 3) == "a, b, c and 5 more"
    assert c.listed("abc", 3) == "a, b, c"
