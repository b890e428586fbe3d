# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that shows where every node is: of one that could not be read it says so, and never nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.action import emqx_status
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import status_table
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import REGISTERS, make_variables

UNREAD = (
    "These nodes could not be read, so what they run is not known: {}. Make their hosts reachable, or leave them out "
    "with --limit."
)


def status(a1: dict[str, Any], a2: dict[str, Any] | None) -> dict[str, Any]:
    """The result of the task; a2 may have registered nothing."""
    readings: dict[str, dict[str, Any]] = {
        "a1": {"reading": {"facts": a1}},
        "a2": {"reading": {"facts": a2} if a2 is not None else None},
    }
    variables = make_variables("a1", None, readings)
    del variables[REGISTERS["planned"]]
    return run_action(emqx_status, variables)


def test_a_fleet_that_could_be_read() -> None:
    facts = read_facts()
    assert status(facts, facts) == {
        "changed": False,
        "table": status_table.lines({"a1": facts, "a2": facts}),
        "message": "",
    }


@pytest.mark.parametrize(
    ("a2", "said", "state"),
    [
        ({"msg": "no route", "unreachable": True}, "a2: no route", "unreachable"),
        ({"msg": "Missing sudo password"}, "a2: Missing sudo password", "unreadable"),
        (None, "a2: The node could not be read.", "unreadable"),
    ],
)
def test_a_node_that_could_not_be_read(a2: dict[str, Any] | None, said: str, state: str) -> None:
    found = status(read_facts(), a2)
    assert found["message"] == UNREAD.format("a2")
    assert said in found["table"]
    assert any(line.split()[:2] == ["a2", state] for line in found["table"])


def test_none_could_be_read() -> None:
    assert status({"msg": "x"}, None)["message"] == UNREAD.format("a1, a2")
