# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's turns in a run that has a client probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import turn as turns
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.turn import Turn
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_check import probe_check
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_counts import NodeCounts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import Check
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.controller.test_turn import LOOK, decided_for, one
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import FakeHost, read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, make_settings

LOST = "Clients of the probe lost their connection to h1:1883 once: idle-1 at 22:13:20 UTC (closed)."
SWITCHED = at("switched", looked=1, before=read_facts(), after=read_facts(NEW, OLD))


class Probe:
    """A probe whose client loses its connection when ``breaks`` more counts were told."""

    def __init__(self, node: FakeHost, breaks: int | None = None) -> None:
        self.node = node
        self.breaks = breaks
        self._before: Mapping[str, Any] | None = None

    def begin_switch(self) -> None:
        self.node.steps.append("begin")

    def begin_way_back(self) -> None:
        self.node.steps.append("begin the way back")
        self._before = self._row()

    def checks(self, accepted: Sequence[str]) -> list[Check]:
        self.node.steps.append("count")
        if self.breaks is not None:
            self.breaks -= 1
        return [probe_check(self._before, self._row(), "", accepted)]

    def _row(self) -> dict[str, Any]:
        counts = NodeCounts("h1:1883", ["idle-1"], connected={"idle-1"})
        if self.breaks is not None and self.breaks < 0:
            counts.lose("idle-1", 1_700_000_000.0, "closed")
            counts.connected.add("idle-1")
        return counts.row(0.0)


@pytest.fixture(autouse=True)
def reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of the module are the node's own here."""
    monkeypatch.setattr(turns, "reservation", FakeHost())


def take(
    phase: str, outcome: Outcome, node: FakeHost, breaks: int | None = None, **settings: Any
) -> tuple[Outcome, list[str]]:
    """The outcome and the steps of a turn."""
    turn = Turn(
        node, "a1", one(), make_settings(verify_seconds=0, **settings), node.facts(), outcome, lambda _seconds: None
    )
    turn.probe = Probe(node, breaks)
    wave = 1 if phase in ("switch", "rollback") else 0
    return turn.take(phase, wave, decided_for(phase, wave), [LOOK]).outcome, node.steps


def checks_of(outcome: Outcome) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in outcome["checks"]}


def test_a_switch_is_asked_about_before_and_after() -> None:
    outcome, steps = take("switch", at("staged"), FakeHost())
    assert steps == ["begin", "count", "renew", "info", f"current {NEW}", "info", "count"]
    assert (outcome["state"], checks_of(outcome)["probe"]) == ("switched", True)


def test_what_clients_notice_fails_the_switch() -> None:
    outcome, steps = take("switch", at("staged"), FakeHost(), breaks=1)
    assert steps == ["begin", "count", "renew", "info", f"current {NEW}", "info", "count", "evidence"]
    assert outcome["state"] == "failed"
    assert outcome["failure"] is not None
    assert outcome["failure"]["message"] == LOST
    assert [name for name, passed in checks_of(outcome).items() if not passed] == ["probe"]


def test_what_clients_noticed_before_leaves_the_node_alone() -> None:
    """The row of a switch goes on by itself on the node, so it is asked before that is sent."""
    outcome, steps = take("switch", at("staged"), FakeHost(), breaks=0)
    assert steps == ["begin", "count", "evidence"]
    assert outcome["failure"] is not None
    assert (outcome["failure"]["task"], outcome["failure"]["message"]) == (
        "See what the client probe noticed before the switch",
        LOST,
    )
    assert checks_of(outcome) == {"probe": False}


@pytest.mark.parametrize("breaks", [0, 1])
def test_it_may_be_accepted(breaks: int) -> None:
    outcome, _steps = take("switch", at("staged"), FakeHost(), breaks, accept=["probe"])
    assert (outcome["state"], checks_of(outcome)["probe"]) == ("switched", True)


@pytest.mark.parametrize(
    ("phase", "outcome", "state"),
    [
        ("soak", SWITCHED, "soaked"),
        ("commit", at("soaked", before=read_facts(), after=read_facts(NEW, OLD)), "committed"),
    ],
)
def test_it_is_asked_in_the_soak_and_after_the_commit(phase: str, outcome: Outcome, state: str) -> None:
    good, steps = take(phase, outcome, FakeHost(NEW, OLD))
    assert (good["state"], steps.count("count")) == (state, 1)
    bad, _steps = take(phase, outcome, FakeHost(NEW, OLD), breaks=0)
    assert bad["failure"] is not None
    assert bad["failure"]["message"] == LOST


def test_a_way_back_answers_only_for_itself() -> None:
    outcome, steps = take("switch", at("staged"), FakeHost(), breaks=1, on_failure="rollback_node")
    assert outcome["state"] == "rolled_back"
    assert steps[-6:] == ["begin the way back", "renew", "info", f"permanent {OLD}", "info", "count"]
    outcome, _steps = take("rollback", SWITCHED, FakeHost(NEW, OLD), breaks=0)
    assert outcome["state"] == "failed", "it broke on the way back"
