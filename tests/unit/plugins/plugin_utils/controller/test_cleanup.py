# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is superfluous is removed under a reservation, which is given up whatever fails."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import cleanup
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import (
    FAILURES,
    PACKAGES,
    FakeHost,
    read_facts,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, make_settings

RELEASES = [
    {"version": NEW, "status": "permanent"},
    *({"version": f"4.4.{patch}", "status": "old"} for patch in (16, 17, 18)),
]
LEFT = ["/opt/emqx/releases/4.4.18.leftover", "/opt/emqx/lib/x"]
DONE = [
    "reserve", "absent 4.4.17", "absent 4.4.16", "info", f"remove {LEFT[0]}", f"remove {LEFT[1]}",
    f"remove {PACKAGES}", "give up",
]  # fmt: skip
REMOVED = ["release 4.4.17", "release 4.4.16", *LEFT, PACKAGES]


@pytest.fixture(autouse=True)
def reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "reservation", FakeHost())


def host(**answers: Any) -> FakeHost:
    left = {"leftovers": [{"path": path} for path in LEFT]}
    return FakeHost(NEW, **{"info": left, **answers})


def remove(node: FakeHost, **settings: Any) -> dict[str, Any]:
    return cleanup.remove(node, make_settings(**settings), read_facts(NEW, releases=RELEASES), "cleanup-1")


def test_removes_what_is_superfluous_under_a_reservation() -> None:
    node = host()
    assert remove(node, take_over=["a1"]) == {"changed": True, "removed": REMOVED}
    assert node.steps == DONE
    assert node.asked[0] == (
        "reserve",
        {"run_id": "cleanup-1", "lease": 120.0, "take_over": ["a1"], "verify_cluster": False},
    )
    assert node.asked[-1] == ("give up", {"run_id": "cleanup-1"})
    assert node.asked_for("emqx_release")[0] == {
        "version": "4.4.17",
        "state": "absent",
        "timeout": 600,
        "lock_timeout": 60.0,
    }


def test_keeps_as_many_old_releases_as_are_wanted() -> None:
    assert remove(host(), keep_versions=3)["removed"] == [*LEFT, PACKAGES]
    assert remove(host(), keep_versions="0")["removed"][:3] == [f"release 4.4.{patch}" for patch in (18, 17, 16)]


def test_tells_only_what_was_there() -> None:
    absent = {"changed": False}
    node = host(**{f"remove {path}": absent for path in (*LEFT, PACKAGES)})
    assert remove(node, keep_versions=3) == {"changed": False, "removed": []}


def test_a_node_that_another_run_has_is_left_alone() -> None:
    node = host(reserve=FAILURES["refused"])
    assert remove(node) == {**FAILURES["refused"], "removed": []}
    assert node.steps == ["reserve"]


@pytest.mark.parametrize(
    ("step", "removed"),
    [
        ("absent 4.4.17", []),
        ("absent 4.4.16", REMOVED[:1]),
        ("info", REMOVED[:2]),
        (f"remove {LEFT[0]}", REMOVED[:2]),
        (f"remove {LEFT[1]}", REMOVED[:3]),
        (f"remove {PACKAGES}", REMOVED[:4]),
    ],
)
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("given_up", [True, False])
def test_whatever_fails_it_is_told_what_was_removed_and_the_node_is_given_up(
    step: str, removed: list[str], kind: str, given_up: bool
) -> None:
    node = host(**{step: FAILURES[kind]}, **({} if given_up else {"give up": {"failed": True, "msg": "and more"}}))
    assert remove(node) == {**FAILURES[kind], "changed": bool(removed), "removed": removed}
    assert node.steps == [*DONE[: DONE.index(step) + 1], "give up"]


def test_a_node_that_cannot_be_given_up_is_told() -> None:
    assert remove(host(**{"give up": FAILURES["lost"]})) == {**FAILURES["lost"], "changed": True, "removed": REMOVED}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (read_facts(), ""),
        ({}, "it could not be read: it did not say why"),
        ({"msg": "no route"}, "it could not be read: no route"),
        (read_facts(state="stopped"), "it is stopped, and releases can be removed only from a running node"),
        (read_facts(operation={"pid": 1}), "an operation of this collection is at work on it"),
    ],
)
def test_what_nodes_are_fit(facts: dict[str, Any], reason: str) -> None:
    assert cleanup.unfit(facts) == reason
