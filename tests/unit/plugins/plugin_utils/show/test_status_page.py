# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a fleet as it is."""

from __future__ import annotations

import html
import re
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page, status_page
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_clusters, make_facts

NOW = 1_700_000_000.0


def fleet(clusters: int = 2, size: int = 2, **changes: Any) -> dict[str, dict[str, Any]]:
    return make_clusters(clusters, size, connections=12, journal=[], **changes)


def words(text: str) -> str:
    """What a person reads; a blank stands for each tag."""
    body = re.sub(r"(?s)^.*<body>", "", text)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def test_nothing_needs_attention() -> None:
    text = status_page.of_fleet(fleet(), NOW)
    told = words(text)
    assert "Nothing needs attention The fleet as it is 4 nodes in 2 clusters, of which 0 need attention." in told
    assert "c0n1 ✓ running ce 4.4.18 4.4.18 — 12 2/2 — —" in told
    assert 'data-total="clients">48<' in text
    assert "Read at 2023-11-14 22:13:20 UTC" in told
    assert "<script" not in text


def test_what_needs_attention() -> None:
    facts = fleet()
    facts["c0n0"].update(running="4.4.19", alarms=["high <b>memory</b>\x00"])
    facts["c0n1"]["run"] = {"id": "run-7", "who": "anna@control1", "lease_until": NOW + 60, "held": True}
    facts["c1n0"].update(state="stopped", running=None, connections=None)
    text = status_page.of_fleet(facts, NOW)
    told = words(text)
    assert "Needs attention The fleet as it is 4 nodes in 2 clusters, of which 3 need attention." in told
    assert "4.4.19 is not permanent: a restart would bring 4.4.18 back." in told
    assert "Alarms are active: high <b>memory</b>⟨NUL⟩." in told
    assert "<b>memory" not in text
    assert "run-7 of anna@control1" in told
    assert 'data-total="uncommitted">1<' in text
    assert "36 clients, of 3 nodes" in told


def test_nodes_that_could_not_be_read() -> None:
    facts: dict[str, dict[str, Any]] = {**fleet(1, 1), "lost": {"unreachable": True, "msg": "no <route>"}, "mute": {}}
    told = words(status_page.of_fleet(facts, NOW))
    assert "Not all nodes could be read" in told
    assert "lost ✕ could not be read no <route>" in told
    assert "mute ✕ could not be read The node could not be read." in told
    assert "Cluster not known" in told


def test_none_could_be_read() -> None:
    told = words(status_page.of_fleet({"a": {}, "b": {}}, NOW))
    assert "2 nodes in 0 clusters, of which 2 need attention." in told


def test_a_large_fleet_is_folded_but_for_what_needs_attention() -> None:
    facts = fleet(page.FOLDED_ABOVE // 3 + 1, 3)
    facts["c4n1"]["alarms"] = ["high_memory"]
    text = status_page.of_fleet(facts, NOW)
    found = re.findall(r'<details class="cluster"( open)?>', text)
    assert len(found) == page.FOLDED_ABOVE // 3 + 1
    assert found.count(" open") == 1
    assert "<details" not in status_page.of_fleet(fleet(), NOW)


def test_facts_as_an_older_release_tells_them() -> None:
    facts = make_facts(connections=1)
    del facts["supervisor"]
    assert "emqx@node1" in status_page.of_fleet({"node1": facts}, NOW)
