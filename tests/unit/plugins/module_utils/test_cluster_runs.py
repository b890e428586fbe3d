# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The question for the members' reservations, its answers, and a try's way of not ending well."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, cluster_runs, distribution, peer
from ansible_collections.emqx.fleet.plugins.module_utils.cluster_runs import Reading, Wish
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult
from ansible_collections.emqx.fleet.plugins.module_utils.contention import Member
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER, wide

OWN, OTHER = "emqx@10.0.0.1", "emqx@10.0.0.2"
RUN = {"id": "b", "who": "bob@desk", "controller": "desk", "controller_process": "7@7", "held": True, "took_over": []}


def claim(run: str = "a") -> Dict[str, Any]:
    return {"id": run, "who": "ann@tower", "controller": "tower", "controller_process": "1@1"}


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(str(tmp_path / "fleet"), USER)


def held(left: float = 100, **more: Any) -> Dict[str, Any]:
    now = time.time()
    return dict(dict(RUN, since=now, lease_until=now + left), **more)


def printed(rows: Any) -> str:
    """What the node prints; strings as lists of characters."""
    return wide([Atom("emqx_fleet"), [(Atom("node"), Atom(OWN)), (Atom("reservations"), rows)]])


def read_of(text: str) -> Optional[Reading]:
    answer = asking.parse_answer(text)
    assert answer is not None
    return cluster_runs.parse(answer)


# The question


def test_nothing_in_it_that_the_command_would_change() -> None:
    for text in (cluster_runs.question(), cluster_runs.question(printed=False)):
        assert not set(text) & set('"$`\\\n\r\0%*?')
        for word in text.split():
            assert not re.match(r"\[[^\]]*\]\Z", word), word


# The answer


def test_members_tell_their_clock_and_their_reservation() -> None:
    content = json.dumps(held(id="\u00fc")).encode("utf-8")
    reading = read_of(
        printed(
            [
                (Atom(OWN), 1764238500250, b'{"torn'),
                (Atom(OTHER), 1764230000000, content),
                (Atom("emqx@10.0.0.3"), 1764238500000, "{error,enoent}"),
            ]
        )
    )
    assert reading is not None
    assert reading.node == OWN
    assert reading.unread == []
    assert reading.members == [
        Member(OWN, 1764238500.25, None),
        Member(OTHER, 1764230000.0, json.loads(content.decode())),
        Member("emqx@10.0.0.3", 1764238500.0, None),
    ]


@pytest.mark.parametrize(
    ("clock", "content", "reason"),
    [
        (Atom("unknown"), "{badrpc,timeout}", "it does not answer within 5 s"),
        (Atom("unknown"), "{badrpc,nodedown}", "it has no connection to this node"),
        ((Atom("badrpc"), Atom("timeout")), "{badrpc,timeout}", "it does not answer within 5 s"),
        ((Atom("badrpc"), Atom("timeout")), "{error,enoent}", "{error,enoent}"),
        ((Atom("badrpc"), Atom("timeout")), b"{}", "it does not tell its time"),
        (1764238500000, "{error,eacces}", "its broker may not read the file"),
        (1764238500000, "{error,eio}", "{error,eio}"),
        (Atom("unknown"), "undefined", "undefined"),
    ],
)
def test_a_member_that_does_not_tell_is_named_with_the_reason(clock: Any, content: Any, reason: str) -> None:
    reading = read_of(printed([(Atom(OWN), 1, "{error,enoent}"), (Atom(OTHER), clock, content)]))
    assert reading is not None
    assert reading.unread == [{"node": OTHER, "reason": reason}]


@pytest.mark.parametrize("rows", [Atom("undefined"), [], [Atom("x")], [(Atom(OWN), 1)], [(1, 2, 3)]])
def test_an_answer_without_members_is_none(rows: Any) -> None:
    assert read_of(printed(rows)) is None


class Command:
    """An emqx command that prints something."""

    timeout = 3.0
    installation = SimpleNamespace(executable="/opt/emqx/bin/emqx")

    def __init__(self, rc: int, stdout: str) -> None:
        self.settings: Dict[str, str] = {}
        self.result = CommandResult(["/opt/emqx/bin/emqx", "eval", "x"], rc, stdout, "it died", 0.1, 1)
        self.asked: List[Tuple[str, ...]] = []

    def read(self, *arguments: str) -> CommandResult:
        self.asked.append(arguments)
        return self.result

    def output(self, result: CommandResult) -> List[str]:
        return [result.stderr]


PEER = distribution.Peer(OWN, "cookie", 4370)


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find", lambda *_unused, **_more: PEER)


def test_one_command_asks_for_all(state_dir: StateDir) -> None:
    command = Command(0, "banner " + printed([(Atom(OWN), 1, "{error,enoent}")]) + "\nok\n")
    reading = cluster_runs.read(command, 4711, state_dir)  # type: ignore[arg-type]
    assert reading.members == [Member(OWN, 0.001, None)]
    assert command.asked == [("eval", cluster_runs.question())]


def test_no_command_runs_where_the_node_answers_by_itself(state_dir: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Tuple[Any, str, float]] = []

    def evaluate(*arguments: Any) -> bytes:
        asked.append(arguments)
        return printed([(Atom(OWN), 1, "{error,enoent}")]).encode()

    monkeypatch.setattr(asking, "evaluate", evaluate)
    command = Command(127, "")
    assert cluster_runs.read(command, 4711, state_dir).node == OWN  # type: ignore[arg-type]
    assert asked == [(PEER, cluster_runs.question(printed=False), 3.0)]
    assert command.asked == []


def test_a_node_that_does_not_answer_is_an_error_with_what_it_said(state_dir: StateDir) -> None:
    for text in ("", printed(Atom("undefined"))):
        with pytest.raises(FleetError) as caught:
            cluster_runs.read(Command(0, text), 4194305, state_dir)  # type: ignore[arg-type]
        assert caught.value.result()["msg"] == (
            "The node does not tell the reservations of its cluster's members; another run may be at work there. "
            "See why /opt/emqx/bin/emqx eval does not work on the node, and start again."
        )
        assert caught.value.output == ["it died"]


def test_a_node_that_does_not_run_has_its_own_reservation_alone(state_dir: StateDir) -> None:
    assert cluster_runs.read(Command(1, ""), None, state_dir).members[0].reservation is None  # type: ignore[arg-type]
    mine = state_dir.contend(claim())
    reading = cluster_runs.read(Command(1, ""), None, state_dir)  # type: ignore[arg-type]
    assert (reading.node, reading.unread) == (None, [])
    assert [member.reservation for member in reading.members] == [mine]


# A try


def seen(state_dir: StateDir, *others: Member, unread: Any = ()) -> Reading:
    """The node itself, as it is now, and others."""
    return Reading(OWN, [Member(OWN, time.time(), state_dir.run()), *others], list(unread))


def attempt(state_dir: StateDir, reading: Any, **wish: Any) -> Dict[str, Any]:
    return cluster_runs.attempt(state_dir, Wish(claim(), 100, **wish), reading)


def no_reading() -> Reading:
    raise AssertionError("the members were asked")


def member(**more: Any) -> Member:
    return Member(OTHER, time.time(), held(**more))


def test_alone_it_takes_one_reading_and_renewing_takes_none(state_dir: StateDir) -> None:
    asked: List[Optional[Dict[str, Any]]] = []

    def reading() -> Reading:
        asked.append(state_dir.run())
        return seen(state_dir)

    answer = attempt(state_dir, reading)
    assert (answer["verdict"], answer["changed"], answer["node"]) == ("held", True, OWN)
    assert [found["held"] for found in asked if found] == [False], "it was written before it was read"
    answer = attempt(state_dir, no_reading)
    assert (answer["verdict"], answer["changed"], answer["node"]) == ("held", False, None)
    assert answer["reservation"] == state_dir.run()
    assert attempt(state_dir, no_reading, renew=True)["verdict"] == "held"
    assert attempt(state_dir, reading, verify=True)["changed"] is False
    assert len(asked) == 2


def test_a_lease_that_was_over_is_proved_again(state_dir: StateDir) -> None:
    attempt(state_dir, lambda: seen(state_dir))
    found = state_dir.run()
    assert found is not None
    found["lease_until"] = time.time() - 1
    Path(state_dir.run_path).write_text(json.dumps(found))
    answer = attempt(state_dir, lambda: seen(state_dir, member()), renew=True)
    assert answer["verdict"] == "refused"
    assert state_dir.run() is None


def test_refused_for_another_member(state_dir: StateDir) -> None:
    answer = attempt(state_dir, lambda: seen(state_dir, member(since=1764238500.0)))
    assert answer["verdict"] == "refused"
    assert answer["message"] == (
        "The run b of bob@desk has reserved emqx@10.0.0.2 of the same cluster since 2025-11-27 10:15 UTC, for at most "
        "2 minutes more unless it renews that. Only one run at a time may work on a cluster."
    )
    assert answer["hint"] == (
        "Wait until it has ended or, if it is gone, until that time is over; -e emqx_upgrade_take_over=b takes over at "
        "once."
    )
    (other,) = answer["others"]
    assert (other["node"], other["id"], other["who"], other["identity"]) == (OTHER, "b", "bob@desk", "b desk 7@7")
    assert 99 < other["seconds_left"] <= 100
    assert state_dir.run() is None, "its own is taken away again"


def test_refused_for_the_node_itself(state_dir: StateDir) -> None:
    state_dir.create()
    Path(state_dir.run_path).write_text(json.dumps(held(since=None)))
    answer = attempt(state_dir, lambda: seen(state_dir))
    assert answer["message"] == (
        "The run b of bob@desk has reserved this node, for at most 2 minutes more unless it renews that. "
        "Only one run at a time may work on a cluster."
    )
    found = state_dir.run()
    assert found is not None
    assert found["id"] == "b"


def test_a_member_that_does_not_tell_refuses(state_dir: StateDir) -> None:
    unread = [{"node": OTHER, "reason": "it does not answer within 5 s"}]
    answer = attempt(state_dir, lambda: seen(state_dir, unread=unread))
    assert (answer["verdict"], answer["members_unread"]) == ("refused", unread)
    assert answer["message"] == (
        "Whether another run works on the cluster is not known, since not all of its running members tell their "
        "reservations: emqx@10.0.0.2: it does not answer within 5 s."
    )
    assert answer["hint"] == (
        "See that the broker answers (emqx_ctl status), and may read the folder fleet of its data, and start again. "
        "A member that is gone for good is taken out by: emqx_ctl cluster force-leave emqx@10.0.0.2."
    )
    assert state_dir.run() is None
    unread = [{"node": OWN, "reason": "its broker may not read the file"}]
    answer = attempt(state_dir, lambda: Reading(OWN, [], unread))
    assert "reservations: this node: its broker may not read the file." in answer["message"]
    assert "force-leave" not in answer["hint"]


def test_a_node_that_is_had_stays_so_when_a_member_does_not_tell(state_dir: StateDir) -> None:
    attempt(state_dir, lambda: seen(state_dir))
    unread = [{"node": OTHER, "reason": "it does not answer within 5 s"}]
    assert attempt(state_dir, lambda: seen(state_dir, unread=unread), verify=True)["verdict"] == "refused"
    assert attempt(state_dir, no_reading)["verdict"] == "held"


def test_a_broker_whose_data_is_elsewhere(state_dir: StateDir) -> None:
    """What is not found for this node would not be found for the others either."""
    with pytest.raises(FleetError) as caught:
        attempt(state_dir, lambda: Reading(OWN, [Member(OWN, time.time(), None)], []))
    assert caught.value.result()["msg"] == (
        "The broker does not find the reservation that was just written for it: its data is in another directory than "
        "releases/emqx_vars says, so that reservations of other runs would not be found either. Set RUNNER_DATA_DIR "
        "there to the directory that the broker was started with, and start again."
    )
    assert state_dir.run() is None


def test_an_error_while_reading_leaves_nothing_behind(state_dir: StateDir) -> None:
    def fails() -> Reading:
        raise FleetError("no")

    with pytest.raises(FleetError):
        attempt(state_dir, fails)
    assert state_dir.run() is None


def test_a_run_that_lost_its_node_is_told_by_whom(state_dir: StateDir) -> None:
    attempt(state_dir, lambda: seen(state_dir))
    taken = state_dir.contend(claim("b"), ["a tower 1@1"])
    assert taken is not None
    state_dir.hold(taken, 100)
    answer = attempt(state_dir, no_reading, renew=True)
    assert answer["verdict"] == "lost"
    assert answer["message"].startswith("This run has the node no more: the run b of ann@tower has reserved this node ")
    assert answer["hint"] == (
        "This run touches nothing more of the cluster. See by emqx.fleet.status what its nodes run, and start again "
        "when the other run has ended."
    )
    assert [other["id"] for other in answer["others"]] == ["b"]
    assert state_dir.release(claim("b"))
    answer = attempt(state_dir, no_reading, renew=True)
    assert (answer["verdict"], answer["others"]) == ("lost", [])
    assert answer["message"] == (
        "This run has the node no more: its reservation was taken over by a run that has ended, or was removed."
    )
    assert state_dir.run() is None


def test_a_run_whose_cluster_was_taken_over_with_another_node_is_told_at_its_turn(state_dir: StateDir) -> None:
    attempt(state_dir, lambda: seen(state_dir))
    found = member(took_over=["a tower 1@1"])
    answer = attempt(state_dir, lambda: seen(state_dir, found), renew=True, verify=True)
    assert answer["verdict"] == "lost"
    assert "the run b of bob@desk has reserved emqx@10.0.0.2 of the same cluster" in answer["message"]
    assert attempt(state_dir, lambda: seen(state_dir, found))["verdict"] == "held", "nobody is asked, nobody is told"


def test_among_contenders_the_first_waits_and_the_others_give_way(state_dir: StateDir) -> None:
    answer = attempt(state_dir, lambda: seen(state_dir, member(held=False)))
    assert answer["verdict"] == "wait"
    assert state_dir.run() is not None
    earlier = member(held=False, id="A")
    answer = attempt(state_dir, lambda: seen(state_dir, earlier))
    assert answer["verdict"] == "yield"
    assert answer["message"] == "The run A of bob@desk is just about to reserve emqx@10.0.0.2 of the same cluster."
    assert state_dir.run() is None
    written: List[Any] = []

    def reading() -> Reading:
        written.append(state_dir.run())
        return seen(state_dir, earlier)

    answer = attempt(state_dir, reading, look_first=True)
    assert (answer["verdict"], written) == ("yield", [None]), "it only looks"
    assert attempt(state_dir, lambda: seen(state_dir), look_first=True)["verdict"] == "held"


def test_a_try_that_outlasts_its_own_reservation_is_none(state_dir: StateDir) -> None:
    def slow() -> Reading:
        reading = seen(state_dir)
        found = dict(state_dir.run() or {}, lease_until=time.time() - 1)
        Path(state_dir.run_path).write_text(json.dumps(found))
        return reading

    answer = attempt(state_dir, slow)
    assert answer["verdict"] == "wait"
    assert answer["message"] == "The node took more than 30 s to tell the reservations of its cluster's members."
