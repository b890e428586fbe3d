# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Several runs want nodes of one cluster, each another one: one gets the cluster, and the others are told so."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reservation, runs

from .conftest import Pool
from .node import Node
from .plays import one_task

MODULE = "emqx.fleet.emqx_reservation"
ROUNDS = 4
#: What there is to find a member's data directory by differs with them.
FORMS: tuple[dict[str, Any], ...] = ({}, {"layout": "package", "runner_user": "emqx"}, {"form": "4.2"})


class OnNode:
    """A node as a controller has it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def run(self, module_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.node.begin(module_name, **arguments, timeout=60).finish().data


def ctl(node: Node, *arguments: str) -> str:
    """What ``emqx_ctl`` prints."""
    return node.host.exec([f"{node.root}/bin/emqx_ctl", *arguments]).stdout


@pytest.fixture(scope="module")
def cluster(pool: Pool) -> Iterator[list[Node]]:
    """A cluster of brokers that are of as many forms as there are hosts for."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(pool.node()) for _form, _node in zip(FORMS, pool.nodes, strict=False)]
        for node, form in zip(nodes, FORMS, strict=False):
            node.reset(clients=0, **form)
        for node in nodes[1:]:
            ctl(node, "cluster", "join", nodes[0].host.node)
        for node in nodes:
            assert node.wait_for(sees_all(node, nodes), 60, 0.5), ctl(node, "cluster", "status")
        yield nodes


def sees_all(node: Node, nodes: list[Node]) -> Callable[[], bool]:
    """Whether the node sees all others as running."""

    def sees() -> bool:
        running = ctl(node, "cluster", "status").partition("stopped_nodes")[0]
        return all(other.host.node in running for other in nodes)

    return sees


@pytest.fixture
def controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread is a run on a controller of its own, of which the others cannot see whether it lives."""
    monkeypatch.setattr(runs, "identity", lambda: f"controller-{threading.current_thread().name}")
    monkeypatch.setattr(runs, "run_process", lambda: "7@7")
    monkeypatch.setattr(runs, "is_dead", lambda holder: False)
    monkeypatch.setattr(runs, "who", lambda variables=None: f"ann@{threading.current_thread().name}")


@pytest.fixture(autouse=True)
def nothing_reserved(cluster: list[Node]) -> None:
    """Every test begins with a cluster that nobody has."""
    for node in cluster:
        node.host.path(f"{node.data_dir}/fleet/run.json").unlink(missing_ok=True)


def reserve(node: Node, run_id: str, *take_over: str, **more: Any) -> dict[str, Any]:
    """As a run does it, with its tries."""
    return reservation.reserve(OnNode(node), run_id, 120, take_over, **more)


def at_once(works: Sequence[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Have several runs begin at the same instant."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.mark.usefixtures("controllers")
@pytest.mark.parametrize("name", ["run-{0}", "one run in several jobs"])
def test_of_runs_that_begin_at_one_instant_one_gets_the_cluster(cluster: list[Node], name: str) -> None:
    for _round in range(ROUNDS):
        names = [name.format(place) for place, _node in enumerate(cluster)]
        works = [
            lambda node=node, run_id=run_id: reserve(node, run_id) for node, run_id in zip(cluster, names, strict=True)
        ]
        results = at_once(works)
        verdicts = sorted(result["verdict"] for result in results)
        assert verdicts == ["held", *["refused"] * (len(cluster) - 1)], results
        (winner,) = [place for place, result in enumerate(results) if result["verdict"] == "held"]
        for place, result in enumerate(results):
            if place != winner:
                assert cluster[winner].host.node in [other["node"] for other in result["others"] if other["held"]]
                assert f"has reserved {cluster[winner].host.node} of the same cluster since" in result["msg"]
        left = [node.host.path(f"{node.data_dir}/fleet/run.json").exists() for node in cluster]
        assert left == [place == winner for place, _node in enumerate(cluster)]
        cluster[winner].host.path(f"{cluster[winner].data_dir}/fleet/run.json").unlink()


@pytest.mark.usefixtures("controllers")
def test_a_run_that_dies_while_it_contends_holds_nobody_up(cluster: list[Node]) -> None:
    """Its module is killed after it has written, while it waits for a member that stands still."""
    one, other = cluster[0], cluster[-1]
    with one.faults.freeze(other.name, "broker"):
        running = one.begin("emqx_reservation", id="a-first", controller="elsewhere", controller_process="1@1")
        assert one.wait_for(one.host.path(f"{one.data_dir}/fleet/run.json").exists, 60)
        one.kill_module(tree=True)
        running.finish()
    found = json.loads(one.host.read(f"{one.data_dir}/fleet/run.json"))
    assert (found["id"], found["held"]) == ("a-first", False)
    assert reserve(other, "b-second")["verdict"] == "held"


@pytest.mark.usefixtures("controllers")
def test_a_member_that_stands_still_is_named(cluster: list[Node]) -> None:
    one, other = cluster[0], cluster[-1]
    with one.faults.freeze(other.name, "broker"):
        answer = reserve(one, "run-1")
    assert answer["failed"]
    assert answer["members_unread"] == [{"node": other.host.node, "reason": "it does not answer within 5 s"}]
    assert answer["msg"] == (
        "Whether another run works on the cluster is not known, since not all of its running members tell their "
        f"reservations: {other.host.node}: it does not answer within 5 s. "
        "See that the broker answers (emqx_ctl status), and may read the folder fleet of its data, and start again. "
        f"A member that is gone for good is taken out by: emqx_ctl cluster force-leave {other.host.node}."
    )
    assert not one.host.path(f"{one.data_dir}/fleet/run.json").exists()


@pytest.mark.usefixtures("controllers")
def test_a_file_that_a_broker_may_not_read_is_told(cluster: list[Node]) -> None:
    one, other = cluster[0], cluster[1]
    assert reserve(other, "run-2")["verdict"] == "held"
    path = f"{other.data_dir}/fleet/run.json"
    other.host.exec(["chown", "root:", path])
    answer = reserve(one, "run-1")
    reason = "its broker may not read the file"
    assert answer["members_unread"] == [{"node": other.host.node, "reason": reason}]


@pytest.mark.usefixtures("controllers")
def test_reserving_and_renewing_cost_no_command(cluster: list[Node]) -> None:
    node = cluster[0]
    real, calls = node.inside("bin/emqx"), node.host.path("/var/tmp/calls")
    text = real.read_text(encoding="utf-8")
    node.sh(f"cp -p {node.root}/bin/emqx {node.root}/bin/emqx.real")
    real.write_text(f'#!/bin/sh\necho "$1" >>/var/tmp/calls\nexec {node.root}/bin/emqx.real "$@"\n', encoding="utf-8")

    def commands(work: Callable[[], dict[str, Any]]) -> str:
        calls.write_text("", encoding="utf-8")
        assert work()["verdict"] == "held"
        return calls.read_text(encoding="utf-8")

    try:
        assert commands(lambda: reserve(node, "run-1")) == ""
        assert commands(lambda: reservation.renew(OnNode(node), "run-1", 120)) == ""
        assert commands(lambda: reservation.renew(OnNode(node), "run-1", 120, True)) == ""
    finally:
        real.write_text(text, encoding="utf-8")
        node.sh(f"rm {node.root}/bin/emqx.real /var/tmp/calls")


def facts_of(answer: dict[str, Any]) -> tuple[str, str]:
    """When the reservation began, and the run's identifier."""
    found = answer["reservation"]
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found["since"])), found["id"]


@pytest.mark.usefixtures("controllers")
def test_taking_over_on_another_member_and_on_the_node_itself(cluster: list[Node]) -> None:
    """By Ansible, on a node whose other members are no hosts of the run; and the run that lost it is told."""
    one, other = cluster[0], cluster[1]
    since, gone = facts_of(reserve(one, "gone-1"))
    told = one_task(other, MODULE, {"id": "run-2"}, "-e", "awx_user_name=olga")
    assert told.rc != 0
    assert told.result["msg"] == (
        f"The run {gone} of ann@MainThread has reserved {one.host.node} of the same cluster since {since}, for at most "
        "2 minutes more unless it renews that. Only one run at a time may work on a cluster. Wait until it has ended "
        f"or, if it is gone, until that time is over; -e emqx_upgrade_take_over={gone} takes over at once."
    )
    assert told.result["verdict"] == "refused"
    (holder,) = told.result["others"]
    assert (holder["node"], holder["id"], holder["held"]) == (one.host.node, gone, True)

    told = one_task(other, MODULE, {"id": "run-2", "take_over": gone}, "-e", "awx_user_name=olga")
    assert told.rc == 0, told.output
    taken = told.result["reservation"]
    assert re.fullmatch(r"olga@\S+", taken["who"])
    assert taken["took_over"] == [f"{gone} controller-MainThread 7@7"]
    lost = reservation.renew(OnNode(one), gone, 120, True)
    assert lost["verdict"] == "lost"
    assert lost["msg"].startswith(
        f"This run has the node no more: the run run-2 of {taken['who']} has reserved {other.host.node} of the same"
    )
    assert reservation.give_up(OnNode(one), gone)["changed"]

    # The process of the task above has ended, so that a run of this machine needs no leave; one elsewhere does.
    assert reserve(other, "run-3")["verdict"] == "refused"
    assert reserve(other, "run-3", "run-2")["verdict"] == "held"
    told = one_task(other, MODULE, {"id": "run-2", "renew": True})
    assert told.result["msg"].startswith(
        "This run has the node no more: the run run-3 of ann@MainThread has reserved this node since "
    )
    told = one_task(other, MODULE, {"id": "run-2", "state": "absent"})
    assert (told.rc, told.result["changed"]) == (0, False), "it is not its own to give up"


@pytest.mark.usefixtures("controllers")
def test_a_run_of_this_machine_that_has_ended_is_passed_over_on_other_members(
    cluster: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    one, other = cluster[0], cluster[1]
    told = one_task(one, MODULE, {"id": "run-1"})
    assert told.rc == 0, told.output
    told = one_task(other, MODULE, {"id": "run-2"})
    assert told.rc == 0, told.output
    assert [name.partition(" ")[0] for name in told.result["reservation"]["took_over"]] == ["run-1"]


@pytest.mark.usefixtures("controllers")
def test_members_that_do_not_run_are_not_asked(cluster: list[Node]) -> None:
    """Last of all: this cluster is not as it was afterwards."""
    one, other = cluster[0], cluster[-1]
    assert reserve(other, "run-2")["verdict"] == "held"
    other.emqx("stop")
    stopped = other.host.node
    assert one.wait_for(lambda: stopped in ctl(one, "cluster", "status").partition("stopped_nodes")[2], 60, 0.5)
    assert reserve(one, "run-1")["verdict"] == "held"
    # It has nobody to ask, and is reserved for itself.
    answer = reserve(other, "run-1")
    assert answer["msg"].startswith("The run run-2 of ann@MainThread has reserved this node since ")
    assert reserve(other, "run-1", "run-2")["verdict"] == "held"
    assert reserve(other, "run-1")["verdict"] == "held"
