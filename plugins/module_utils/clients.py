# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many clients a node has, and had: counted by the same statistic, or the two numbers mean nothing together."""

from typing import Any, Mapping, Optional, Tuple

# The first one counts connected clients alone; versions before it have only the second. A node that is switched to a
# version that knows the first one begins to count with it there, and leaves out the clients that it already had.
COUNTERS = ("live_connections.count", "connections.count")


def comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> Tuple[Optional[int], Optional[int]]:
    """Clients before and after, by the best statistic that both know.

    Both are NodeFacts or members of a cluster in them, with ``connections`` and ``connection_counts``.
    """
    was, now = before.get("connection_counts") or {}, after.get("connection_counts") or {}
    for name in COUNTERS:
        if was.get(name) is not None and now.get(name) is not None:
            return was[name], now[name]
    return before.get("connections"), after.get("connections")
