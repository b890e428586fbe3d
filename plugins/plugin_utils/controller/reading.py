# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a node for a plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.turn import Node

_POLL_SECONDS = 2.0


def read(
    node: Node,
    verification: bool,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """``facts`` of the node, or facts that only have a ``msg`` why it could not be read; the plan names such nodes.

    A command that outlived the run that started it is waited for, as long as for a connection that is lost.
    """
    deadline = clock() + node.reconnect_timeout
    while True:
        facts = node.run("emqx_release_info", {"verification": verification}, 0)
        if facts.get("failed"):
            reason = facts.get("reason") or facts.get("msg") or "it did not say why"
            found = {"msg": str(reason), **({"unreachable": True} if facts.get("connection_lost") else {})}
            return {"changed": False, "facts": found}
        run = facts.get("run")
        orphan = facts.get("operation") and (not run or runs.is_dead(run))
        if not orphan or clock() >= deadline:
            break
        sleep(_POLL_SECONDS)
    if "clock" in facts:
        facts["clock_offset"] = round(facts["clock"] - time.time(), 3)
    return {"changed": False, "facts": facts}
