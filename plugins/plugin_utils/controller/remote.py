# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running this collection's modules on a node whose connection may be lost meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

RETRY_SECONDS = 3.0


def run_module(
    action: ActionBase,
    name: str,
    arguments: dict[str, Any],
    task_vars: dict[str, Any] | None,
    reconnect_timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Run a module of this collection, and run it again when the connection was lost.

    That is safe because every module of this collection finds out where the node is and goes on from there. A
    connection that does not come back within ``reconnect_timeout`` seconds is a failure (``failure_class: unknown``,
    ``connection_lost: true``) and not an unreachable host, so that a block's rescue handles it like any other.
    """
    started = clock()
    lost = 0
    while True:
        try:
            answer: dict[str, Any] = action._execute_module(  # pylint: disable=protected-access
                module_name=f"emqx.fleet.{name}", module_args=arguments, task_vars=task_vars
            )
            if not answer.get("unreachable"):
                if lost:
                    answer["connection_losses"] = lost
                return answer
            reason = str(answer.get("msg"))
        except AnsibleConnectionFailure as error:
            reason = str(error)
        lost += 1
        if clock() - started >= reconnect_timeout:
            return {
                "failed": True,
                "connection_lost": True,
                "failure_class": "unknown",
                "msg": f"The connection to the node was lost and did not come back within {reconnect_timeout:g} s: "
                f"{reason.strip()} What was begun there may still be at work; run the same task again.",
            }
        # Some connections connect anew in their reset, and that may fail as well.
        with contextlib.suppress(AnsibleConnectionFailure):
            action._connection.reset()  # pylint: disable=protected-access
        sleep(RETRY_SECONDS)
