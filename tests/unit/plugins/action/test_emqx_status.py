# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that shows where every node is: of one that could not be read it says so, and never nothing."""

from __future__ import annotations

from pathlib import Path
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


def status(a1: dict[str, Any], a2: dict[str, Any] | None, check_mode: bool = False, **settings: Any) -> dict[str, Any]:
    """The result of the task; a2 may have registered nothing."""
    readings: dict[str, dict[str, Any]] = {
        "a1": {"reading": {"facts": a1}},
        "a2": {"reading": {"facts": a2} if a2 is not None else None},
    }
    variables = make_variables("a1", None, readings, settings)
    del variables[REGISTERS["planned"]]
    return run_action(emqx_status, variables, check_mode)


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


def test_a_page_of_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.html"
    assert status(read_facts(), None, check_mode=True, report_html=str(path))["message"] == UNREAD.format("a2")
    assert not path.exists()
    assert status(read_facts(), None, report_html=str(path))["message"] == UNREAD.format("a2")
    text = path.read_text(encoding="utf-8")
    assert "<title>Not all nodes could be read: the fleet at " in text
    assert "The node could not be read." in text


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = status(read_facts(), read_facts(), report_html=str(tmp_path / "file/fleet.html"))["message"]
    assert said == f"The report cannot be written to {tmp_path}/file/fleet.html: File exists."
