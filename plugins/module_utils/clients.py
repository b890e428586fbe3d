# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients of a node: how many there are, who came, who left, and who was cut off. Pure functions.

EMQX counts every session that begins (``session.created``, ``session.resumed``) and every one that ends
(``session.terminated``, ``session.discarded``, ``session.takeovered``), and it has a row for each that is there. A
process that is killed, as those are that still run old code in a switch, ends in no counter. So the rows, less what
began, plus what ended, is a number that nothing changes but sessions that were cut off. The same holds of connections
(``client.connected``, ``client.disconnected``), where a connection also ends when another one takes its session; that
finds processes that crashed as well, whose sessions are counted as ended. Source: ``emqx_session.erl``,
``emqx_channel.erl``, ``emqx_cm.erl`` of 4.2.0 to 4.4.19.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

# The first one counts connected clients alone; versions before it have only the second. A node that is switched to a
# version that knows the first one begins to count with it there, and leaves out the clients that it already had.
COUNTERS = ("live_connections.count", "connections.count")
#: EMQX's counters by our names, in the order in which a node is asked for them.
METRICS = (
    ("came", "client.connected"),
    ("left", "client.disconnected"),
    ("created", "session.created"),
    ("resumed", "session.resumed"),
    ("terminated", "session.terminated"),
    ("discarded", "session.discarded"),
    ("takenover", "session.takeovered"),
    ("unsubscribed", "client.unsubscribe"),
)
#: Applications whose clients have rows and do not count, or count otherwise: other protocols than MQTT and MQTT-SN.
OTHER_PROTOCOLS = ("emqx_coap", "emqx_lwm2m", "emqx_exproto", "emqx_stomp")
#: What of the books only grows.
_GROWING = ("came", "left", "opened", "ended", "replaced", "unsubscribed")


class Sample(NamedTuple):
    """The counters (in the order of METRICS) before and after the rows were counted: sessions, connected clients."""

    before: Sequence[int]
    sessions: int
    connected: int
    after: Sequence[int]


def books(time: float, samples: Sequence[Sample], other_protocols: Sequence[str] = ()) -> Dict[str, Any]:
    """The books of a node from some samples, taken in a row, the newest last.

    ``time``: seconds since 1970 by the node's clock. ``reason``: why they do not tell who was cut off, or None.
    ``connected`` and ``sessions`` are there now; ``came``, ``left``, ``opened``, ``ended``, ``replaced`` (sessions that
    a new connection took over or discarded) and ``unsubscribed`` only grow. ``session_balance`` and
    ``connection_balance``: the smallest and the largest that it can be; equal where nothing went on meanwhile.
    """
    last = _named(samples[-1].after)
    reason = None
    if other_protocols:
        reason = "clients of {0} are not counted as those of MQTT are".format(", ".join(sorted(other_protocols)))
    return {
        "time": time,
        "reason": reason,
        "connected": samples[-1].connected,
        "sessions": samples[-1].sessions,
        "came": last["came"],
        "left": last["left"],
        "opened": _opened(last),
        "ended": _ended(last),
        "replaced": _replaced(last),
        "unsubscribed": last["unsubscribed"],
        "session_balance": _range([_session_balance(sample) for sample in samples]),
        "connection_balance": _range([_connection_balance(sample) for sample in samples]),
    }


def unknown_books(reason: str) -> Dict[str, Any]:
    """The books of a node that does not tell them."""
    names = ("time", "connected", "sessions", "session_balance", "connection_balance") + _GROWING
    return dict(dict.fromkeys(names), reason=reason)


def why_incomparable(before: Optional[Mapping[str, Any]], now: Optional[Mapping[str, Any]]) -> Optional[str]:
    """Why two of the books do not tell together who was cut off; None where they do."""
    if not before or not now:
        return "the node was read without its counters"
    for told in (before, now):
        if told.get("reason"):
            return str(told["reason"])
    if any(now[name] < before[name] for name in _GROWING):
        return "its counters began anew in between"
    return None


def cut_off(before: Optional[Mapping[str, Any]], now: Optional[Mapping[str, Any]]) -> Optional[int]:
    """How many clients were cut off between two books, at least; None where they do not tell."""
    if before is None or now is None or why_incomparable(before, now) is not None:
        return None
    lost = [before[name][0] - now[name][1] for name in ("session_balance", "connection_balance")]
    return max([0] + lost)


def comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> Tuple[Optional[int], Optional[int]]:
    """Clients before and after, by the best statistic that both know.

    Both are NodeFacts or members of a cluster in them, with ``connections`` and ``connection_counts``.
    """
    was, now = before.get("connection_counts") or {}, after.get("connection_counts") or {}
    for name in COUNTERS:
        if was.get(name) is not None and now.get(name) is not None:
            return was[name], now[name]
    return before.get("connections"), after.get("connections")


def _named(counters: Sequence[int]) -> Dict[str, int]:
    return {name: counters[place] for place, (name, _metric) in enumerate(METRICS)}


def _opened(counted: Mapping[str, int]) -> int:
    return counted["created"] + counted["resumed"]


def _ended(counted: Mapping[str, int]) -> int:
    return counted["terminated"] + _replaced(counted)


def _replaced(counted: Mapping[str, int]) -> int:
    return counted["discarded"] + counted["takenover"]


def _session_balance(sample: Sample) -> Tuple[int, int]:
    before, after = _named(sample.before), _named(sample.after)
    return (sample.sessions - _opened(after) + _ended(before), sample.sessions - _opened(before) + _ended(after))


def _connection_balance(sample: Sample) -> Tuple[int, int]:
    before, after = _named(sample.before), _named(sample.after)
    return (
        sample.connected - after["came"] + before["left"] + _replaced(before),
        sample.connected - before["came"] + after["left"] + _replaced(after),
    )


def _range(balances: Sequence[Tuple[int, int]]) -> List[int]:
    """Of samples in a row: what the last three agree on, else all that it may be."""
    last = set(balances[-3:])
    if len(balances) >= 3 and len(last) == 1 and balances[-1][0] == balances[-1][1]:
        return list(balances[-1])
    return [min(low for low, _high in balances), max(high for _low, high in balances)]
