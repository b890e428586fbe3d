# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Nodes for the tests: each with its own directory, name and port, and gone afterwards, whatever happened."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import broker


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def mqtt_ports(number: int) -> tuple[int, int]:
    """A node's listener and a second one: below what the kernel hands out for connections (from 32768 on)."""
    return 20000 + 2 * number, 20001 + 2 * number


@pytest.fixture(scope="session")
def numbers(worker_id: str) -> Iterator[int]:
    """Numbers for nodes, each given once and apart from the other test process's; their ports are free."""
    first = 100 + 1000 * int(worker_id.removeprefix("gw").replace("master", "0"))
    return (n for n in range(first, first + 1000) if all(map(is_free, (4370 + n, *mqtt_ports(n)))))


@pytest.fixture(scope="session")
def packages() -> Path:
    return broker.build()


@pytest.fixture
def make_node(packages: Path, numbers: Iterator[int]) -> Iterator[Callable[..., broker.Broker]]:
    """A function that makes nodes, each with ports of its own; the one after `port` is free too."""
    nodes: list[broker.Broker] = []
    # Not pytest's own directory: users other than the present one have to get in. Not /tmp: it is filled by a test.
    base = Path(tempfile.mkdtemp(prefix="emqx-contract-", dir="/var/tmp"))
    base.chmod(0o755)

    def make(version: str = "4.4.18", **options: Any) -> broker.Broker:
        number = next(numbers)
        name, port = f"emqx{number}@127.0.0.1", mqtt_ports(number)[0]
        node = broker.Broker(base / f"n{len(nodes)}", version, name, port, out=packages, **options)
        nodes.append(node)
        node.install()
        return node

    try:
        yield make
    finally:
        for node in nodes:
            node.kill()
            node.clean_tmp()
        shutil.rmtree(base, ignore_errors=True)
