# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all of these tests share."""

import os
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, distribution


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at what a power failure leaves, and a busy disk takes long to sync thousands of times."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def no_way_but_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks a broker of this machine by chance: a model of a node is asked by its command, unless told else."""

    def evaluate(*_arguments: Any) -> Any:
        raise distribution.DistributionError("emqx@127.0.0.1 is not reached: the cookies differ")

    monkeypatch.setattr(asking, "evaluate", evaluate)
