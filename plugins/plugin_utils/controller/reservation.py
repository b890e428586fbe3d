# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reserving a node for a run."""

from __future__ import annotations
import time
from collections.abc import Callable, Sequence
from typing import Any
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs


def _args(run_id: str, lease: float, **more: Any) -> dict[str, Any]:
    return dict(
        id=run_id,
        lease=lease,
        controller=runs.identity(),
        controller_process=runs.run_process(),
        who=runs.who(),
        **more,
    )


def reserve(
    node: Any,
    run_id: str,
    lease: float,
    take_over: Sequence[str] = (),
    verify_cluster: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    arguments = _args(run_id, lease)
    answer = node.run("emqx_reservation", arguments)
    holder = answer.get("holder")
    if answer.get("failed") and holder and runs.is_dead(holder):
        answer = node.run("emqx_reservation", dict(arguments, dead=[holder["id"]]))
    return answer


def renew(node: Any, run_id: str, lease: float, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    return node.run("emqx_reservation", _args(run_id, lease))


def give_up(node: Any, run_id: str, parked: bool = False, lease: float = 120) -> dict[str, Any]:
    args = _args(run_id, lease, state="parked" if parked else "absent")
    if parked:
        args["controller_process"] = ""
    return node.run("emqx_reservation", args, 0)
