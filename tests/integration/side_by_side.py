# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What each test waits for is under way beside that of the others, on as many nodes as the pool has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Pool
from .node import Node

#: By a part of the test's identifier, which is that of one test, of one module, …
_JOBS: dict[str, Callable[[Node], Any]] = {}


def job(tests: str, work: Callable[[Node], Any]) -> None:
    """Have ``work`` done on a node of its own for all tests whose identifiers contain ``tests``."""
    _JOBS[tests] = work


def outcome(pool: Pool, request: pytest.FixtureRequest) -> Any:
    """What came of the job of this test, or module; the first who asks sets off those of all that were selected."""
    selected = [item.nodeid for item in request.session.items]
    for tests, work in _JOBS.items():
        if not pool.has(tests) and any(tests in name for name in selected):
            pool.submit(tests, work)
    (mine,) = (tests for tests in _JOBS if tests in request.node.nodeid)
    return pool.outcome(mine)
