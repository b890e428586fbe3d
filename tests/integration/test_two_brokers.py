# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Two brokers on one machine, of different installations, are worked on at the same time and leave nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker import broker as packages
from tests.lab.labkit import broker

from .conftest import Pool
from .node import COOKIE, NEW, OLD, Node, Result

HOME = "/srv/two/emqx"
STAGING = "/var/tmp"
ROUNDS = 5


def second_broker(node: Node) -> str:
    """Install and start another one beside the first; its command."""
    host = node.host
    host.put(broker.unpacked(packages.package(OLD), host.lab.state / "packages"), HOME)
    for folder in ("data", "log"):
        host.path(f"{HOME}/{folder}").mkdir(parents=True, exist_ok=True)
    name = f"emqx77@{host.address}"
    settings = {
        "node.name": name,
        "node.cookie": COOKIE,
        "listener.tcp.external": "0.0.0.0:2883",
        "cluster.discovery": "static",
        "cluster.static.seeds": name,
    }
    broker.set_keys(host.path(f"{HOME}/etc/emqx.conf"), settings)
    node.sh(f"{HOME}/bin/emqx start")
    return f"{HOME}/bin/emqx"


def both(node: Node, other: str, state: str, **more: Any) -> list[Result]:
    """The same task for both at the same time."""
    arguments: dict[str, Any] = {"version": NEW, "state": state, "timeout": 90, **more}
    running = [node.begin(**arguments), node.begin(executable=other, **arguments)]
    return [each.finish() for each in running]


def trees(node: Node) -> list[str]:
    return sorted(path.name for path in node.host.path("/tmp").glob("emqx_untar_*"))


def work(node: Node) -> None:
    """Unpack on both, take it back, and so on; a tree of somebody else stays through all of it."""
    node.reset(clients=0)
    try:
        other = second_broker(node)
        package = node.provide(folder=STAGING)
        node.sh("mkdir -p /tmp/emqx_untar_1700000000000000000/emqx")
        for turn in range(ROUNDS):
            for result in both(node, other, "unpacked", package=package):
                assert result.verdict == "done", f"round {turn}: {result.story}"
                assert result.actions == ["unpack"], f"round {turn}: {result.story}"
                (made,) = (path for path in result.data["actions"][0]["removed"] if "emqx_untar_" in path)
                assert made != "/tmp/emqx_untar_1700000000000000000"
            assert trees(node) == ["emqx_untar_1700000000000000000"], f"round {turn}"
            for result in both(node, other, "absent"):
                assert result.verdict == "done", f"round {turn}: {result.story}"
        for result in both(node, other, "permanent", package=package):
            assert result.verdict == "done", result.story
        assert trees(node) == ["emqx_untar_1700000000000000000"]
        # Nobody works in it, so a person who cleans up may have it removed.
        rows = node.facts()["leftovers"]
        assert "/tmp/emqx_untar_1700000000000000000" in [row["path"] for row in rows]
    finally:
        node.kill_everything()
        node.end_modules()
        node.sh("rm -rf /srv/two")


@pytest.mark.root
def test_two_brokers_on_one_machine(pool: Pool) -> None:
    with pool.node() as node:
        work(node)
