# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The fault suite: traps of the real command and interruptions, set up for real; docs/faults.md tells the outcome."""

from __future__ import annotations

import functools

import pytest

from . import cases
from .conftest import Pool
from .side_by_side import job, outcome

CASES = {case.name: case for case in cases.load()}


for title, case in CASES.items():
    job(f"test_faults.py::test_fault[{title}]", functools.partial(cases.run, case))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if name in cases.REPEATED else []) for name in CASES]
)
def test_fault(pool: Pool, request: pytest.FixtureRequest, name: str) -> None:
    outcome(pool, request)
