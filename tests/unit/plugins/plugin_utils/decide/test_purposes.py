# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version each node is to run, by what the plan is for, and the way back by the relups on the node."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import purposes


def node(running: str | None, permanent: str | None, *rows: tuple[str, str], **more: Any) -> dict[str, Any]:
    listed = [{"version": version, "status": status} for version, status in rows]
    return {"running": running, "permanent": permanent, "releases": listed, **more}


HALF = node("4.4.19", "4.4.18", ("4.4.19", "current"), ("4.4.18", "permanent"), ("4.4.17", "old"))
DONE = node("4.4.19", "4.4.19", ("4.4.19", "permanent"), ("4.4.18", "old"), ("4.4.9", "old"), ("4.4.17", "old"))
FRESH = node("4.4.18", "4.4.18", ("4.4.18", "permanent"), ("4.4.19", "unpacked"))
DEAD = node(None, "4.4.18", ("4.4.18", "permanent"))


def test_a_commit_leaves_every_node_where_it_is() -> None:
    fleet = {"a": HALF, "b": FRESH, "c": DEAD, "d": {}}
    assert purposes.commit_targets(fleet) == {"a": "4.4.19", "b": "4.4.18"}
    assert purposes.commit_targets(fleet, "4.4.19") == {"a": "4.4.19"}
    assert purposes.commit_targets(fleet, "4.4.20") == {}


@pytest.mark.parametrize(
    ("found", "only", "target"),
    [
        (HALF, None, "4.4.18"),
        (HALF, "4.4.17", "4.4.17"),
        (HALF, "4.4.16", None),
        (DONE, None, "4.4.18"),
        (DONE, "4.4.9", "4.4.9"),
        (DONE, "4.4.19", None),
        (FRESH, None, None),
        (FRESH, "4.4.19", None),
        (DEAD, None, None),
        ({}, None, None),
        (node("what", "what"), None, None),
        (node("4.4.19", "4.4.19", ("odd", "old"), ("4.4.19", "permanent")), None, None),
    ],
)
def test_where_a_rollback_goes(found: dict[str, Any], only: str | None, target: str | None) -> None:
    assert purposes.rollback_target(found, only) == target
    assert purposes.rollback_targets({"h": found}, only) == ({"h": target} if target else {})


def test_a_newer_permanent_version_is_no_way_back() -> None:
    found = node("4.4.17", "4.4.18", ("4.4.17", "current"), ("4.4.18", "permanent"), ("4.4.16", "old"))
    assert purposes.rollback_target(found) == "4.4.16"


def test_ways_back_follow_the_relups() -> None:
    ways = {"4.4.19": ["4.4.18"], "4.4.18": ["4.4.17"]}
    assert purposes.way_back(dict(DONE, ways_back=ways), "4.4.17") == ["4.4.18", "4.4.17"]
    assert purposes.way_back(dict(DONE, ways_back={"4.4.19": ["4.4.17", "4.4.18"]}), "4.4.17") == ["4.4.17"]
    assert purposes.way_back(dict(DONE, ways_back={}), "4.4.18") == []
    assert purposes.way_back(DONE, "4.4.18") == []
    # Not over a version that is not on the node, and not to where it is.
    assert purposes.way_back(dict(HALF, ways_back={"4.4.19": ["4.4.9"], "4.4.9": ["4.4.17"]}), "4.4.17") == []
    assert purposes.way_back(dict(DONE, ways_back=ways), "4.4.19") == []


def test_circles_end() -> None:
    ways = {"4.4.19": ["4.4.18"], "4.4.18": ["4.4.19"]}
    assert purposes.way_back(dict(DONE, ways_back=ways), "4.4.17") == []


def test_the_way_back_of_an_uncommitted_node() -> None:
    ways = {"4.4.19": ["4.4.18"]}
    assert purposes.way_back_of_uncommitted(dict(HALF, ways_back=ways)) == ["4.4.18"]
    assert purposes.way_back_of_uncommitted(dict(DONE, ways_back=ways)) == []
    assert purposes.way_back_of_uncommitted(dict(HALF, permanent=None, ways_back=ways)) == []


@pytest.mark.parametrize(
    ("found", "action", "version"),
    [
        (FRESH, "upgrade", "4.4.18"),
        (HALF, "commit", "4.4.18"),
        (DONE, "none", "4.4.19"),
        # Half committed: the journal knows.
        (
            {**DONE, "journal": [{"running": "4.4.17", "outcome": "done"}, {"running": "4.4.18", "outcome": "done"}]},
            "commit",
            "4.4.18",
        ),
        (
            {**DONE, "journal": [{"running": "4.4.18", "outcome": "done"}, {"running": "4.4.19", "outcome": "done"}]},
            "commit",
            "4.4.18",
        ),
        ({**DONE, "journal": [{"running": "4.4.18", "outcome": "refused"}]}, "commit", "4.4.19"),
        ({**DONE, "journal": []}, "commit", "4.4.19"),
        (DEAD, "commit", None),
        ({}, "refuse", None),
    ],
)
def test_where_a_node_came_from(found: dict[str, Any], action: str, version: str | None) -> None:
    assert purposes.came_from(found, action) == version
