# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The fault suite: traps of the real command and interruptions, set up for real; docs/faults.md tells the outcome."""

from __future__ import annotations

import functools

import pytest

from . import cases
from .conftest import Pool

CASES = {case.name: case for case in cases.load()}


@pytest.fixture(scope="module")
def work(pool: Pool, request: pytest.FixtureRequest) -> Pool:
    """All cases that were selected, under way side by side."""
    selected = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    for name, case in CASES.items():
        if name in selected:
            pool.submit(name, functools.partial(cases.run, case))
    return pool


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if name in cases.REPEATED else []) for name in CASES]
)
def test_fault(work: Pool, name: str) -> None:
    work.outcome(name)
