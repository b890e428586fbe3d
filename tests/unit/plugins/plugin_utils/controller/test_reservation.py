# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller asks a node's module for, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import cluster_runs, contention
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reservation, runs

HELD = {"verdict": "held", "changed": True, "others": []}
WAIT = {"verdict": "wait", "failed": True, "others": [], "msg": "it waits"}
YIELD = {"verdict": "yield", "failed": True, "others": [], "msg": "it gives way"}
DEAD = "4194305@1"


def other(run_id: str, held: bool = True, process: str = "7@7", controller: str = "desk") -> dict[str, Any]:
    found = {"id": run_id, "controller": controller, "controller_process": process, "held": held}
    return {**found, "identity": contention.identity(found), "node": "n1", "seconds_left": 90.0}


def refused(*others: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": "refused", "failed": True, "others": list(others), "msg": "it is refused"}


class Node:
    """A node that answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.slept: list[float] = []

    def run(self, module_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert module_name == "emqx_reservation"
        self.asked.append(arguments)
        if arguments["state"] == "absent":
            return {"changed": True}
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def reserve(self, *take_over: str, **more: Any) -> dict[str, Any]:
        return reservation.reserve(self, "run-1", 120, take_over, True, self.sleep, **more)

    @property
    def passed_over(self) -> list[list[str]]:
        return [asked["passed_over"] for asked in self.asked if asked["state"] != "absent"]


def test_the_module_is_told_who_asks_for_what() -> None:
    node = Node(HELD)
    assert node.reserve(who="olga@awx", options={"executable": "/opt/emqx/bin/emqx", "timeout": 60}) == HELD
    assert node.asked == [
        {
            "executable": "/opt/emqx/bin/emqx",
            "timeout": 60,
            "id": "run-1",
            "state": "present",
            "lease": 120,
            "verify_cluster": True,
            "who": "olga@awx",
            "controller": runs.identity(),
            "controller_process": runs.run_process(),
            "passed_over": [],
            "look_first": False,
        }
    ]
    assert node.slept == []


def test_renewing_parking_and_giving_up() -> None:
    node = Node(HELD)
    reservation.renew(node, "run-1", 60)
    assert (node.asked[0]["renew"], node.asked[0]["verify_cluster"], node.asked[0]["lease"]) == (True, False, 60)
    assert node.asked[0]["who"] == runs.who()
    reservation.renew(node, "run-1", 60, True)
    assert node.asked[1]["verify_cluster"] is True
    node.reserve(parked=True)
    assert node.asked[2]["state"] == "parked"
    assert reservation.give_up(node, "run-1", options={"timeout": 1}) == {"changed": True}
    assert {name: node.asked[3][name] for name in ("id", "state", "timeout", "controller_process")} == {
        "id": "run-1",
        "state": "absent",
        "timeout": 1,
        "controller_process": runs.run_process(),
    }


def test_while_it_is_not_decided_it_tries_again_and_looks_first() -> None:
    node = Node(YIELD, WAIT, HELD)
    assert node.reserve() == HELD
    assert node.slept == [reservation.POLL_SECONDS] * 2
    assert [asked["look_first"] for asked in node.asked] == [False, True, True]


@pytest.mark.parametrize("answer", [WAIT, YIELD])
def test_it_does_not_wait_for_ever_and_takes_its_own_away(answer: dict[str, Any]) -> None:
    node = Node(answer)
    assert node.reserve() == answer
    assert sum(node.slept) >= reservation.PATIENCE_SECONDS
    assert [asked["state"] for asked in node.asked].count("absent") == 1
    assert node.asked[-1]["state"] == "absent"


def test_a_node_that_it_has_is_not_given_up_for_contenders() -> None:
    answer = {**YIELD, "reservation": {"id": "run-1"}}
    node = Node(answer)
    assert reservation.renew(node, "run-1", 120, True, node.sleep) == answer
    assert "absent" not in [asked["state"] for asked in node.asked]


def test_a_member_that_does_not_tell_is_asked_again_before_that_is_an_answer() -> None:
    unread = {**refused(), "members_unread": [{"node": "n2", "reason": "it does not answer within 5 s"}]}
    node = Node(unread, HELD)
    assert node.reserve() == HELD
    assert node.slept == [reservation.POLL_SECONDS]
    node = Node(unread)
    assert node.reserve() == unread
    assert len(node.asked) == reservation.UNREAD_TRIES


def test_patience_is_longer_than_a_dead_contender_is_in_the_way() -> None:
    assert reservation.PATIENCE_SECONDS > contention.CONTENDER_SECONDS
    assert set(reservation._UNDECIDED) == {cluster_runs.WAIT, cluster_runs.YIELD}


@pytest.mark.parametrize(
    "answer",
    [
        refused(other("run-2")),
        {"verdict": "lost", "failed": True, "others": [other("run-2")]},
        {"failed": True, "msg": "The connection to the node was lost", "connection_lost": True},
        {"failed": True, "msg": "MODULE FAILURE"},
        {"changed": True, "reservation": None},
    ],
)
def test_other_answers_are_given_as_they_are(answer: dict[str, Any]) -> None:
    node = Node(answer)
    assert node.reserve("run-9") == answer
    assert len(node.asked) == 1


def test_a_run_that_is_known_to_be_dead_is_passed_over_on_every_node_of_it() -> None:
    dead = [other("run-2", process=DEAD, controller=runs.identity()), other("run-2", process=DEAD, controller="else")]
    mine = other("run-1", process=DEAD, controller=runs.identity())
    node = Node(refused(dead[0], mine), HELD)
    assert node.reserve() == HELD
    assert node.passed_over == [[], sorted([dead[0]["identity"], mine["identity"]])]
    assert node.slept == []
    assert Node(refused(dead[1])).reserve()["failed"], "its machine is another"


def test_a_contender_that_is_dead_is_not_waited_for() -> None:
    dead = other("run-2", held=False, process=DEAD, controller=runs.identity())
    node = Node({**YIELD, "others": [dead]}, HELD)
    assert node.reserve() == HELD
    assert (node.passed_over[-1], node.slept) == ([dead["identity"]], [])


def test_what_is_named_is_taken_over_and_nothing_else() -> None:
    node = Node(refused(other("run-2"), other("run-2", process="8@8")), HELD)
    assert node.reserve("run-2", "run-3") == HELD
    assert node.passed_over == [[], ["run-2 desk 7@7", "run-2 desk 8@8"]]
    node = Node(refused(other("run-2"), other("run-4")))
    assert node.reserve("run-2") == refused(other("run-2"), other("run-4"))
    assert node.passed_over == [[], ["run-2 desk 7@7"]]


def test_only_what_is_found_at_the_first_look_is_taken_over() -> None:
    """Whoever reserves it later is not gone, whatever its identifier: two would take over from each other."""
    node = Node({**WAIT, "others": [other("run-2", held=False)]}, refused(other("run-2")))
    assert node.reserve("run-2")["verdict"] == "refused"
    assert node.passed_over == [[], []]
    node = Node(refused(other("run-2")), refused(other("run-2", process="9@9")))
    assert node.reserve("run-2")["verdict"] == "refused"
    assert node.passed_over == [[], ["run-2 desk 7@7"]]


def test_renewing_takes_nothing_over() -> None:
    node = Node(refused(other("run-2")))
    assert reservation.renew(node, "run-1", 120, True, node.sleep)["failed"]
    assert node.passed_over == [[]]


def test_a_task_that_outlived_its_run_reserves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "run_process", lambda: "")
    node = Node(HELD)
    # Nor does it say ahead that it would: the row of a watch begins with something else.
    said = reservation.wish("run-1", 60, verify_cluster=False, renew=True)
    for work in (node.reserve, lambda: reservation.renew(node, "run-1", 60), lambda: reservation.first_call(said)):
        with pytest.raises(reservation.RunEndedError, match="has ended, so it reserves nothing any more"):
            work()
    assert node.asked == []
    reservation.give_up(node, "run-1")
    node.reserve(parked=True)
    assert [asked["state"] for asked in node.asked] == ["absent", "parked"]
