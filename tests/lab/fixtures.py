# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Labs for pytest: ``pytest_plugins = ["tests.lab.fixtures"]`` in a conftest.py, then ask for ``lab_factory``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.labkit import Fleet, Lab, parse_fleet, simple_fleet

LabFactory = Callable[..., Lab]


@pytest.fixture(scope="module")
def lab_factory(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """Makes labs that go down at the end of the module; tests that use it are skipped without root.

    ``lab_factory(3)``, ``lab_factory(3, version="4.4.18")``, ``lab_factory({"clusters": …})``, ``lab_factory(fleet)``;
    each lab has a name of its own, so what runs at the same time does not meet.
    """
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    made: list[Lab] = []

    def make(fleet: int | dict[str, Any] | Fleet, **settings: Any) -> Lab:
        if isinstance(fleet, int):
            fleet = simple_fleet(fleet, **settings)
        elif isinstance(fleet, dict):
            fleet = parse_fleet(fleet)
        lab = Lab.up(fleet, f"t{os.getpid()}-{len(made)}", replace=True)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.down()
