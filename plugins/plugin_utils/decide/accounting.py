# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of the clients of a node in its switch and since, from the books that the node tells. Pure functions.

Cut off are those whose connection ended without that the broker told of it (:mod:`module_utils.clients`). Whoever left
in an orderly way may still have been made to, as when a relup restarts a listener, so their number is held against the
rate at which clients left before. Both numbers are taken as those of a Poisson process of one rate; given how many left
in all, the later one is then binomial, and more than :data:`CHANCE` allows is a burst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils import clients

Facts = Mapping[str, Any]

#: How probable it may be that a burst is told which is none, in one look at one node.
CHANCE = 1e-6
#: A term of a sum that is smaller than this part of it does not matter any more.
_NEGLIGIBLE = 1e-12


class Watch:
    """The clients of a node from before its switch on, look by look.

    ``before``: NodeFacts just before the switch. ``measured``: earlier ones of the same node, since when the rate at
    which clients leave is measured; None where there are none. ``previous`` and ``known``: the facts and the account of
    the last look, where the watch goes on.
    """

    def __init__(
        self,
        before: Facts,
        measured: Facts | None = None,
        previous: Facts | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self._before = before
        self._measured = _rate(measured, before)
        self._previous = previous or before
        self._known = dict(known or {})

    def look(self, now: Facts) -> dict[str, Any]:
        """The account of the clients by now, as ``docs/report.schema.json`` has it."""
        account = _account(self._before, now)
        expected, burst = self._expected(now)
        if int(self._known.get("burst") or 0) >= (burst or 0) and self._known.get("expected_left"):
            # What was a burst once does not become less by waiting.
            expected, burst = self._known["expected_left"], self._known["burst"]
        members = {
            node: _account(was, row) for node, was, row in _members(self._before, now) if row["connections"] is not None
        }
        account.update(
            survivors=now.get("survivors"),
            expected_left=expected,
            burst=burst,
            members={node: {name: told[name] for name in _OF_A_MEMBER} for node, told in members.items()},
        )
        self._previous, self._known = now, account
        return account

    def _expected(self, now: Facts) -> tuple[dict[str, Any] | None, int | None]:
        was, books = self._previous.get("client_books"), now.get("client_books")
        if self._measured is None or not was or not books or clients.why_incomparable(was, books) is not None:
            return None, None
        seconds, left = float(books["time"]) - float(was["time"]), int(books["left"]) - int(was["left"])
        if seconds <= 0:
            return None, None
        measured_seconds, measured_left = self._measured
        most = at_most(measured_left, measured_seconds, seconds)
        expected = {
            "measured_seconds": round(measured_seconds, 3),
            "measured_left": measured_left,
            "per_second": round(measured_left / measured_seconds, 3),
            "at_most": most,
            "left": left,
            "seconds": round(seconds, 3),
        }
        return expected, max(0, left - most)


#: What is told of another member of the cluster.
_OF_A_MEMBER = ("told_by", "before", "now", "came", "left", "cut_off")


def at_most(measured: int, measured_seconds: float, seconds: float, chance: float = CHANCE) -> int:
    """How many may leave within ``seconds`` by chance alone, where ``measured`` left within ``measured_seconds``.

    The largest number that is not less probable than ``chance``, it or a larger one.
    """
    part = seconds / (seconds + measured_seconds)
    low, high = 0, 1
    while _probability(high, measured, part) >= chance:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _probability(middle, measured, part) >= chance:
            low = middle
        else:
            high = middle
    return low


def _probability(number: int, measured: int, part: float) -> float:
    """That of ``number + measured`` in all ``number`` or more fall into a ``part`` of the time."""
    total = number + measured
    if number <= total * part:
        return 1.0
    found = 0.0
    for count in range(number, total + 1):
        term = math.exp(
            math.lgamma(total + 1)
            - math.lgamma(count + 1)
            - math.lgamma(total - count + 1)
            + count * math.log(part)
            + (total - count) * math.log1p(-part)
        )
        found += term
        if term < found * _NEGLIGIBLE:
            break
    return found


def _rate(measured: Facts | None, before: Facts) -> tuple[float, int] | None:
    """Seconds, and how many left in them; None where that is not known."""
    if measured is None:
        return None
    was, now = measured.get("client_books"), before.get("client_books")
    if not was or not now or clients.why_incomparable(was, now) is not None:
        return None
    seconds = float(now["time"]) - float(was["time"])
    return (seconds, int(now["left"]) - int(was["left"])) if seconds > 0 else None


def _account(before: Facts, now: Facts) -> dict[str, Any]:
    """Of a node, or of a member of a cluster, whose facts have the same keys where it matters."""
    was, books = before.get("client_books"), now.get("client_books")
    lost = clients.cut_off(was, books)
    if lost is None or not was or not books:
        had, has = clients.comparable(before, now)
        return {
            "told_by": "counts",
            "reason": clients.why_incomparable(was, books),
            "seconds": None,
            "before": had,
            "now": has,
            "came": None,
            "left": None,
            "replaced": None,
            "cut_off": None if had is None or has is None else max(0, had - has),
        }
    came, left = books["came"] - was["came"], books["left"] - was["left"]
    return {
        "told_by": "books",
        "reason": None,
        "seconds": round(max(0.0, books["time"] - was["time"]), 3),
        "before": was["connected"],
        "now": books["connected"],
        "came": came,
        "left": left,
        # Of the sessions that new connections took some had a connection, and some had none any more.
        "replaced": min(
            books["replaced"] - was["replaced"], max(0, was["connected"] + came - left - lost - books["connected"])
        ),
        "cut_off": lost,
    }


def _members(before: Facts, now: Facts) -> list[tuple[str, Facts, Facts]]:
    """The other members of the cluster that were there before and are there now: node, then and now."""
    are = {str(row["node"]): row for row in now["cluster"].get("members") or ()}
    return [
        (str(row["node"]), row, are[str(row["node"])])
        for row in before["cluster"].get("members") or ()
        if row["node"] != before.get("node") and str(row["node"]) in are
    ]
