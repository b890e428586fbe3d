# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a node until it is as expected."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import verdicts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import Check

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Reading:
    """What was read last, and the checks of it; with ``error``, the failed result of the module instead."""

    facts: dict[str, Any]
    checks: Sequence[Check]
    seconds: float
    error: dict[str, Any] | None = None

    @property
    def message(self) -> str:
        """What is not as expected; empty when all is."""
        if self.error is not None:
            return str(self.error.get("msg") or "the node could not be read")
        return verdicts.summary(self.checks)


def read_until(
    read: Callable[[], dict[str, Any]],
    checks_of: Callable[[dict[str, Any]], Sequence[Check]],
    wait: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Reading:
    """Read again and again, for up to ``wait`` seconds, until all checks pass."""
    started = clock()
    while True:
        facts = read()
        waited = clock() - started
        if facts.get("failed"):
            return Reading({}, (), waited, facts)
        checks = checks_of(facts)
        waited = clock() - started
        if not verdicts.failed(checks) or waited >= wait:
            return Reading(facts, checks, waited)
        sleep(_POLL_SECONDS)
