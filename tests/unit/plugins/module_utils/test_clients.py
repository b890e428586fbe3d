# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Clients before and after are counted by the same statistic."""

from typing import Any, Dict

from ansible_collections.emqx.fleet.plugins.module_utils.clients import comparable


def node(**counts: int) -> Dict[str, Any]:
    named = {name + ".count": number for name, number in counts.items()}
    return {"connections": next(iter(named.values()), None), "connection_counts": named}


def test_the_best_statistic_that_both_know() -> None:
    both = node(live_connections=5, connections=9)
    assert comparable(both, both) == (5, 5)
    # The version before did not know live connections, and the new one has not seen those clients connect.
    assert comparable(node(connections=9), node(live_connections=0, connections=8)) == (9, 8)
    assert comparable(node(live_connections=3, connections=9), node(connections=8)) == (9, 8)


def test_no_statistic_in_common() -> None:
    assert comparable(node(connections=9), node()) == (9, None)
    assert comparable({"connections": 9}, {"connections": 8}) == (9, 8)
    assert comparable({}, {}) == (None, None)
