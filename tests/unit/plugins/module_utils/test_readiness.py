# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node sees by itself; that the controller's checks say the same, ``test_verdicts.py`` shows."""

import json
from typing import Any, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.readiness import (
    WATCHED,
    absent_members,
    digests,
    is_as_planned,
)


def facts(**changes: Any) -> Dict[str, Any]:
    found = {
        "state": "running",
        "running": "4.4.18",
        "boot": {"version": "4.4.18"},
        "cluster": {"running": ["a", "b"], "stopped": []},
        "connections": 10,
        "sessions": None,
    }
    return dict(found, **changes)


@pytest.mark.parametrize(
    ("running", "stopped", "expected", "absent"),
    [
        (["a", "b"], [], ["a", "b"], []),
        (["a", "b", "c"], [], ["a", "b"], []),
        (["a"], [], ["b", "a"], ["b"]),
        (["a"], ["b"], ["a"], ["b"]),
        (["a"], ["c"], ["b", "a"], ["b", "c"]),
        (["a"], ["b"], ["a", "b"], ["b"]),
        ([], [], [], []),
    ],
)
def test_members_that_are_not_there(
    running: List[str], stopped: List[str], expected: List[str], absent: List[str]
) -> None:
    assert absent_members({"cluster": {"running": running, "stopped": stopped}}, expected) == absent


@pytest.mark.parametrize(
    ("changes", "least", "boots", "planned"),
    [
        ({}, None, None, True),
        ({"state": "stopped"}, None, None, False),
        ({"state": "unreachable", "running": None}, None, None, False),
        ({"running": "4.4.19"}, None, None, False),
        ({"running": None}, None, None, False),
        ({"cluster": {"running": ["a"], "stopped": []}}, None, None, False),
        ({"cluster": {"running": ["a", "b"], "stopped": ["c"]}}, None, None, False),
        ({}, {}, None, True),
        ({}, {"connections": 10}, None, True),
        ({}, {"connections": 11}, None, False),
        ({}, {"sessions": 0, "connections": 1}, None, True),
        ({}, {"sessions": 1, "connections": 1}, None, False),
        ({}, None, "4.4.18", True),
        ({}, None, "4.4.19", False),
        ({"boot": {"version": None}}, None, "4.4.18", False),
    ],
)
def test_as_planned(
    changes: Dict[str, Any], least: Optional[Dict[str, int]], boots: Optional[str], planned: bool
) -> None:
    assert is_as_planned(facts(**changes), "4.4.18", ["a", "b"], least, boots) is planned


@pytest.mark.parametrize("name", WATCHED)
def test_whatever_changes_while_a_node_is_watched_ends_the_row(name: str) -> None:
    """A trouble that is gone by the end of the row must have been looked at while it was there."""
    before = facts(**{each: [each] for each in WATCHED if each != "boot"})
    # As it comes back from the node, through JSON.
    same = digests(json.loads(json.dumps(before)))
    assert is_as_planned(before, "4.4.18", ["a"], same=same)
    assert not is_as_planned(
        dict(before, **{name: {"version": "4.4.18", "problems": ["new"]}}), "4.4.18", [], same=same
    )
    assert not is_as_planned(dict(before, **{name: None}), "4.4.18", [], same=same)
