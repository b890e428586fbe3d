# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node is read for a plan; a command that outlived its run is waited for."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reading, runs
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import FAILURES, FakeHost, read_facts

OPERATION = {"pid": 1, "user": "root", "since": 1.0, "what": "current 4.4.19"}
NOW = 1_700_000_005.25


def holder(process: str) -> dict[str, Any]:
    return {"id": "run-0", "controller": runs.identity(), "controller_process": process}


DEAD, ALIVE = holder(f"{os.getpid()}@1"), holder(runs._process(os.getpid()))


class Reader:
    """Reads a node, in time that passes only while it sleeps."""

    def __init__(self, node: FakeHost, reconnect_timeout: float = 60.0) -> None:
        self.node = node
        self.node.reconnect_timeout = reconnect_timeout
        self.now = 10.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self, verification: bool = False) -> dict[str, Any]:
        found = reading.read(self.node, verification, self.sleep, lambda: self.now)
        assert found["changed"] is False
        facts: dict[str, Any] = found["facts"]
        return facts


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "time", SimpleNamespace(time=lambda: NOW))


@pytest.mark.parametrize("verification", [True, False])
def test_reads_the_node_once_and_compares_its_clock(verification: bool) -> None:
    reader = Reader(FakeHost())
    assert reader.read(verification) == read_facts(clock_offset=-5.25)
    assert reader.node.asked == [("emqx_release_info", {"verification": verification})]
    assert reader.node.timeouts == [0], "a node that is down does not keep the whole fleet waiting"


@pytest.mark.parametrize("kind", FAILURES)
def test_a_node_that_cannot_be_read_has_only_the_reason(kind: str) -> None:
    reader = Reader(FakeHost(info=FAILURES[kind]))
    unreachable = {"unreachable": True} if kind == "lost" else {}
    assert reader.read() == {"msg": FAILURES[kind].get("msg", "it did not say why"), **unreachable}
    assert reader.node.steps == ["info"]


@pytest.mark.parametrize("run", [None, DEAD])
def test_a_command_that_outlived_its_run_is_waited_for(run: Any) -> None:
    busy = {"operation": OPERATION, "run": run}
    reader = Reader(FakeHost(**{"info#1": busy, "info#2": busy}))
    assert reader.read()["operation"] is None
    assert len(reader.node.steps) == 3
    assert reader.now == 14.0


def test_a_command_of_a_living_run_is_for_the_plan_to_judge() -> None:
    reader = Reader(FakeHost(info={"operation": OPERATION, "run": ALIVE}))
    assert reader.read()["operation"] == OPERATION
    assert reader.node.steps == ["info"]


def test_the_reservation_of_a_dead_run_alone_is_not_waited_for() -> None:
    reader = Reader(FakeHost(info={"operation": None, "run": DEAD}))
    assert reader.read()["run"] == DEAD
    assert reader.node.steps == ["info"]


@pytest.mark.parametrize(("timeout", "readings"), [(0, 1), (1, 2), (4, 3), (5, 4)])
def test_it_is_not_waited_for_without_an_end(timeout: float, readings: int) -> None:
    reader = Reader(FakeHost(info={"operation": OPERATION, "run": None}), timeout)
    assert reader.read()["operation"] == OPERATION
    assert len(reader.node.steps) == readings


def test_a_connection_that_is_lost_while_waiting() -> None:
    busy = {"operation": OPERATION, "run": None}
    reader = Reader(FakeHost(**{"info#1": busy, "info#2": FAILURES["lost"]}))
    assert reader.read() == {"msg": FAILURES["lost"]["msg"], "unreachable": True}
