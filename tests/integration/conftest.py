# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One lab for all integration tests, and a pool of its hosts that works cases off side by side."""

from __future__ import annotations

import os
import queue
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.integration.cases", "tests.integration.node")

from tests.broker import broker as test_broker  # noqa: E402 -- after the line above
from tests.lab.labkit import Lab, broker, simple_fleet  # noqa: E402

from .node import ROOT, Node, make_library  # noqa: E402

VERSIONS = ("4.4.17", "4.4.18", "4.4.19")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many kills, and which; the rest of the tests has no options."""
    parser.addoption("--kills", type=int, default=None, help="how many runs are killed at a random instant")
    parser.addoption("--kills-seed", type=int, default=None, help="kill them at the same instants as before")


class Pool:
    """Nodes, each of which one case at a time has for itself."""

    def __init__(self, lab: Lab, nodes: list[Node]) -> None:
        self.lab = lab
        self.nodes = nodes
        self._free: queue.SimpleQueue[Node] = queue.SimpleQueue()
        for node in nodes:
            self._free.put(node)
        self._workers = ThreadPoolExecutor(len(nodes))
        self._futures: dict[str, Future[Any]] = {}
        #: How long each took on its node, and those that were waited for since :meth:`asked` was called.
        self._seconds: dict[str, float] = {}
        self._asked: list[str] = []

    @contextmanager
    def node(self) -> Iterator[Node]:
        """A node that nobody else has."""
        node = self._free.get()
        try:
            yield node
        finally:
            self._free.put(node)

    def submit(self, name: str, work: Callable[[Node], Any]) -> None:
        """Have something done as soon as a node is free."""

        def task() -> Any:
            with self.node() as node:
                begun = time.monotonic()
                try:
                    return work(node)
                finally:
                    self._seconds[name] = time.monotonic() - begun

        self._futures[name] = self._workers.submit(task)

    def outcome(self, name: str) -> Any:
        """Wait for it, and raise what it raised."""
        self._asked.append(name)
        return self._futures[name].result()

    def asked(self) -> float:
        """Seconds that what was waited for since the last call took on its node."""
        names, self._asked = self._asked, []
        return sum(self._seconds.get(name, 0.0) for name in names)

    def has(self, name: str) -> bool:
        """Whether it was submitted."""
        return name in self._futures

    def close(self) -> None:
        """End at once: what is under way loses its host. Nothing is under way when every outcome was waited for."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self.lab.down()
        self._workers.shutdown(wait=True)


@pytest.fixture(autouse=True)
def _own_seconds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tell what a test itself took, without what it waited for others, for the list of the slowest."""
    yield
    pool = getattr(request.node, "funcargs", {}).get("pool")
    seconds = pool.asked() if pool else 0
    if seconds:
        request.node.user_properties.append(("seconds", round(seconds, 3)))


@pytest.fixture(scope="session")
def collection() -> Path:
    """The collection as it is shipped: built and installed."""
    subprocess.run([str(ROOT / "scripts/install-collection")], check=True, stdout=subprocess.DEVNULL)
    return ROOT / ".build/collections"


@pytest.fixture(scope="session")
def pool(collection: Path) -> Iterator[Pool]:
    """The hosts, without brokers at first: each case installs what it needs."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    test_broker.build()
    count = int(os.environ.get("EMQX_FLEET_TEST_HOSTS", "0")) or (os.cpu_count() or 2) + 1
    name = f"it{os.getpid()}"
    try:
        lab = Lab.up(simple_fleet(count), name)
        with tempfile.TemporaryDirectory() as folder:
            make_library(Path(folder) / "library")
            nodes = [Node(lab, host, Path(folder) / "library") for host in lab.hosts]
        for version in VERSIONS:  # once, before several nodes want it at the same time
            broker.unpacked(test_broker.package(version), lab.state / "packages")
        made = Pool(lab, nodes)
        try:
            yield made
        finally:
            made.close()
            for node in nodes:
                node.drop_clients()
                node.end_modules()
    finally:
        Lab(name).down()
