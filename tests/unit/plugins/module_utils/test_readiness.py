# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node sees by itself; that the controller's checks say the same, ``test_verdicts.py`` shows."""

import json
from typing import Any, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.clients import Sample, books, unknown_books
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
        ({}, 10, None, True),
        ({}, 11, None, False),
        ({"connections": None}, 1, None, False),
        ({}, None, "4.4.18", True),
        ({}, None, "4.4.19", False),
        ({"boot": {"version": None}}, None, "4.4.18", False),
    ],
)
def test_as_planned(changes: Dict[str, Any], least: Optional[int], boots: Optional[str], planned: bool) -> None:
    assert is_as_planned(facts(**changes), "4.4.18", ["a", "b"], least, boots) is planned


@pytest.mark.parametrize(("lost", "tolerance", "planned"), [(0, 0, True), (1, 0, False), (2, 2, True), (3, 2, False)])
def test_by_the_books_numbers_do_not_matter(lost: int, tolerance: int, planned: bool) -> None:
    before = books(1.0, [Sample([0] * 8, 20, 20, [0] * 8)])
    counted = [3, 9, 3, 0, 9, 0, 0, 0]
    after = books(2.0, [Sample(counted, 14 - lost, 14 - lost, counted)])
    found = facts(client_books=after, connections=14 - lost)
    assert is_as_planned(found, "4.4.18", ["a"], least=20, books=before, tolerance=tolerance) is planned


def test_where_the_books_do_not_tell_the_numbers_do() -> None:
    found = facts(client_books=unknown_books("it did not say"))
    assert is_as_planned(found, "4.4.18", ["a"], least=10, books=unknown_books("it did not say"))
    assert not is_as_planned(found, "4.4.18", ["a"], least=11, books=unknown_books("it did not say"))


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
