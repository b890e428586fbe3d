# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reserving nodes for a run, from the controller: what only it knows is which runs are dead, and who may be replaced.

The node is anything with ``run(module_name, arguments)``, which gives the module's result and raises for no lost
connection, as :func:`controller.remote.run_module` does. The protocol is in ``module_utils/contention.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import Call

MODULE = "emqx_reservation"
#: Seconds between two tries, while it is not decided which of several runs gets the cluster.
POLL_SECONDS = 2.0
#: Seconds that are slept so in all: more than the reservation of a run lasts that died while it contended.
PATIENCE_SECONDS = 40.0

#: Tries to hear from a member that does not tell what it has: it may be busy, or just about to stop.
UNREAD_TRIES = 3

_UNDECIDED = ("wait", "yield")


class RunEndedError(Exception):
    """The process of the run has ended, and this task outlived it: nobody would renew what it reserved."""


class Node(Protocol):
    """A node that modules can be run on."""

    def run(self, module_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The module's result."""


def reserve(
    node: Node,
    run_id: str,
    lease: float,
    take_over: Collection[str] = (),
    verify_cluster: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    *,
    parked: bool = False,
    who: str = "",
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Reserve the node for ``lease`` seconds; the result of ``emqx_reservation``, with ``failed`` where it is refused.

    ``take_over``: identifiers of runs whose reservations do not count; those that are found held at the first look
    are taken over. ``verify_cluster``: have the cluster's members asked also where the node is this run's already.
    ``parked``: keep it for a later job with the same identifier. ``options``: more of the module's arguments, such as
    ``executable``. Raises RunEndedError.
    """
    state = "parked" if parked else "present"
    wanted = wish(run_id, lease, verify_cluster, who, take_over=list(take_over), state=state)
    return perform(node, {**(options or {}), **wanted}, sleep)


def renew(
    node: Node,
    run_id: str,
    lease: float,
    verify_cluster: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    *,
    who: str = "",
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Reserve the node for ``lease`` seconds more; fails where another run has taken it over (``verdict: lost``).

    One command at the most, and none without ``verify_cluster``, as long as the lease was not over. Raises
    RunEndedError.
    """
    wanted = wish(run_id, lease, verify_cluster, who, renew=True)
    return perform(node, {**(options or {}), **wanted}, sleep)


def give_up(node: Node, run_id: str, *, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the reservation up, where it is this run's."""
    return perform(node, {**(options or {}), **absent(run_id)})


def absent(run_id: str) -> dict[str, Any]:
    """The arguments of ``emqx_reservation`` for giving a node up."""
    return {"id": run_id, "state": "absent"}


def wish(run_id: str, lease: float, verify_cluster: bool, who: str = "", **more: Any) -> dict[str, Any]:
    """The arguments of ``emqx_reservation`` for a node of this run."""
    wanted = {"id": run_id, "lease": lease, "verify_cluster": verify_cluster, "state": "present", **more}
    return {**wanted, "who": who} if who else wanted


def first_call(arguments: Mapping[str, Any]) -> Call:
    """The first call of the node in :func:`perform`, to be said ahead; the only one, where nobody is in the way.

    Raises RunEndedError.
    """
    asked = _asked(arguments)
    asked.pop("take_over", None)
    if asked.get("state") == "absent":
        return Call(MODULE, asked)
    return Call(MODULE, {**asked, "passed_over": [], "look_first": False})


def _asked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """With who asks, and from where. Raises RunEndedError."""
    asked = {"who": runs.who(), **arguments, "controller": runs.identity(), "controller_process": runs.run_process()}
    if asked.get("state", "present") == "present" and not asked["controller_process"]:
        # Reserved without it, nobody could tell that the run is dead.
        raise RunEndedError("The run that this task belongs to has ended, so it reserves nothing any more.")
    return asked


def perform(node: Node, arguments: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Do what these arguments of ``emqx_reservation`` ask for. Raises RunEndedError."""
    asked = _asked(arguments)
    take_over = frozenset(asked.pop("take_over", None) or ())
    state = asked.get("state", "present")
    if state == "absent":
        return node.run(MODULE, asked)
    return _settle(node, asked, take_over, sleep)


def _settle(
    node: Node, arguments: dict[str, Any], take_over: frozenset[str], sleep: Callable[[float], None]
) -> dict[str, Any]:
    """Try until the node is had or refused."""
    passed_over: list[str] = []
    unread = 0
    slept = 0.0
    while True:
        answer = node.run(MODULE, {**arguments, "passed_over": list(passed_over), "look_first": slept > 0})
        fresh = {
            str(other["identity"])
            for other in answer.get("others") or ()
            if runs.is_dead(other) or (other["held"] and other["id"] in take_over)
        }.difference(passed_over)
        # What such a run reserves after the first look was reserved by one that is not gone.
        take_over = frozenset()
        unread += bool(answer.get("members_unread"))
        if fresh and answer.get("failed"):
            passed_over += sorted(fresh)
        elif not _is_undecided(answer, unread):
            return answer
        elif slept >= PATIENCE_SECONDS:
            # A node that the run has it keeps, also where it could not prove it.
            if not answer.get("reservation"):
                node.run(MODULE, {**arguments, "state": "absent"})
            return answer
        else:
            sleep(POLL_SECONDS)
            slept += POLL_SECONDS


def _is_undecided(answer: Mapping[str, Any], unread: int) -> bool:
    """Whether another try may end otherwise; ``unread``: tries in which members did not tell what they have."""
    if answer.get("verdict") in _UNDECIDED:
        return True
    held = any(other["held"] for other in answer.get("others") or ())
    return bool(answer.get("members_unread")) and not held and unread < UNREAD_TRIES
