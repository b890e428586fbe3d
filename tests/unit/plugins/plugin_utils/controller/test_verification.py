# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node is read until it is as expected, or the time is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.verification import Reading, read_until
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import Check


def checks_of(facts: dict[str, Any]) -> Sequence[Check]:
    clients = facts["clients"]
    message = "" if clients >= 5 else f"It has {clients} clients."
    return [Check("other", True, "", ""), Check("clients", not message, "5", str(clients), message)]


class Clock:
    """Time that passes only in readings and while somebody sleeps."""

    def __init__(self, *readings: dict[str, Any], takes: float = 0.25) -> None:
        self.now = 50.0
        self.readings = list(readings)
        self.taken: list[dict[str, Any]] = []
        self.takes = takes
        self.slept: list[float] = []

    def read(self) -> dict[str, Any]:
        self.now += self.takes
        self.taken.append(self.readings.pop(0) if len(self.readings) > 1 else self.readings[0])
        return self.taken[-1]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def until(self, wait: float) -> Reading:
        return read_until(self.read, checks_of, wait, self.sleep, lambda: self.now)


@pytest.mark.parametrize("wait", [0, 0.0, 10])
def test_what_is_as_expected_is_read_once(wait: float) -> None:
    clock = Clock({"clients": 5})
    reading = clock.until(wait)
    assert (reading.facts, reading.seconds, reading.error, reading.message) == ({"clients": 5}, 0.25, None, "")
    assert [check.name for check in reading.checks] == ["other", "clients"]
    assert (len(clock.taken), clock.slept) == (1, [])


def test_waits_for_clients_that_come_back() -> None:
    clock = Clock({"clients": 1}, {"clients": 2}, {"clients": 5}, {"clients": 0})
    reading = clock.until(10)
    assert (reading.facts, reading.message) == ({"clients": 5}, "")
    assert reading.seconds == 2.75
    assert clock.slept == [1.0, 1.0]


def test_gives_up_when_the_time_is_over_with_what_was_read_last() -> None:
    clock = Clock({"clients": 1}, {"clients": 2}, {"clients": 3}, {"clients": 5})
    reading = clock.until(2.5)
    assert (reading.facts, reading.message) == ({"clients": 3}, "It has 3 clients.")
    assert reading.seconds == 2.75
    assert reading.error is None


def test_without_time_one_look() -> None:
    clock = Clock({"clients": 1}, {"clients": 5})
    assert clock.until(0).message == "It has 1 clients."
    assert (len(clock.taken), clock.slept) == (1, [])


@pytest.mark.parametrize(("told", "message"), [({"msg": "no route"}, "no route"), ({}, "the node could not be read")])
def test_a_node_that_cannot_be_read_is_not_asked_again(told: dict[str, str], message: str) -> None:
    """Whoever reads it has waited for the connection."""
    clock = Clock({"clients": 1}, {"failed": True, **told}, {"clients": 5})
    reading = clock.until(10)
    assert reading.error == {"failed": True, **told}
    assert reading.message == message
    assert (reading.facts, list(reading.checks), reading.seconds) == ({}, [], 1.5)
    assert len(clock.taken) == 2
