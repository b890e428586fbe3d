# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a fleet as it is: what :mod:`status_table` tells, by cluster, as one HTML file. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import waves
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import find_clusters
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page, status_table, text_table
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_text as text
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.document import rfc3339

Facts = Mapping[str, Any]

_STATES = {
    "running": ("good", "✓", "running"),
    "stopped": ("warn", "!", "stopped"),
    "unreachable": ("bad", "✕", "does not answer"),
}
_UNREAD = {"kind": "bad", "sign": "✕", "word": "could not be read"}


def of_fleet(facts_by_host: Mapping[str, Facts], now: float) -> str:
    """The page. ``facts_by_host`` as for :func:`status_table.lines`; ``now``: seconds since 1970."""
    read = {host: facts for host, facts in facts_by_host.items() if "state" in facts}
    nodes = {host: _node(host, facts_by_host[host]) for host in sorted(facts_by_host, key=waves.natural)}
    clusters: list[dict[str, Any]] = [
        {"name": label, "nodes": [nodes[host] for host in hosts]} for label, hosts in find_clusters(read).items()
    ]
    unread = [node for node in nodes.values() if not node["read"]]
    if unread:
        clusters.append({"name": "", "nodes": unread})
    for cluster in clusters:
        cluster["open"] = any(node["remarks"] for node in cluster["nodes"])
    return page.render("status.html.j2", fleet=text.cleaned(_told(nodes, clusters, now)))


def _told(nodes: Mapping[str, dict[str, Any]], clusters: list[dict[str, Any]], now: float) -> dict[str, Any]:
    """What the template asks."""
    unread = sum(1 for node in nodes.values() if not node["read"])
    noted = [node for node in nodes.values() if node["remarks"]]
    read = [node for node in nodes.values() if node["read"]]
    if unread:
        verdict = {"kind": "bad", "sign": "✕", "word": "Not all nodes could be read"}
    elif noted:
        verdict = {"kind": "warn", "sign": "!", "word": "Needs attention"}
    else:
        verdict = {"kind": "good", "sign": "✓", "word": "Nothing needs attention"}
    known = [node["clients"] for node in read if node["clients"] is not None]
    states = Counter((node["state"]["kind"], node["state"]["sign"], node["state"]["word"]) for node in nodes.values())
    return {
        "verdict": verdict,
        "written": rfc3339(now),
        "nodes": len(nodes),
        "noted": noted,
        "clusters": clusters,
        "known_clusters": sum(1 for row in clusters if row["name"]),
        "folded": len(nodes) > page.FOLDED_ABOVE,
        "states": [
            {"kind": kind, "sign": sign, "word": word, "count": count}
            for (kind, sign, word), count in sorted(states.items(), key=lambda item: (item[0][0] == "good", item[0]))
        ],
        "versions": sorted(
            Counter(str(node["runs"]) for node in read if node["runs"]).items(), key=lambda item: waves.natural(item[0])
        ),
        "clients": sum(known) if known else None,
        "clients_of": len(known),
        "uncommitted": sum(1 for node in read if node["runs"] and node["boots"] != node["runs"]),
        "reserved": sum(1 for node in read if node["reserved"]),
    }


def _node(host: str, facts: Facts) -> dict[str, Any]:
    """A node's row; of one that could not be read only why."""
    remarks = status_table.attention(facts)
    if "state" not in facts:
        return {"host": host, "read": False, "state": dict(_UNREAD), "remarks": remarks}
    kind, sign, word = _STATES.get(facts["state"], ("warn", "?", str(facts["state"])))
    running, stopped = len(facts["cluster"]["running"]), len(facts["cluster"]["stopped"])
    run = facts["run"] if facts["run"] and facts["run"]["lease_until"] > facts["clock"] else None
    return {
        "host": host,
        "read": True,
        "state": {"kind": kind, "sign": sign, "word": word},
        "remarks": remarks,
        "edition": facts["edition"],
        "runs": facts["running"],
        "boots": facts["boot"]["version"],
        "sound": facts["boot"]["consistent"],
        "others": [
            f"{row['version']} {row['status']}" for row in facts["releases"] if row["version"] != facts["running"]
        ],
        "clients": facts["connections"],
        "members": f"{running}/{running + stopped}" if running else None,
        "uncommitted": text_table.duration(status_table.uncommitted_seconds(facts)),
        "reserved": f"{run['id']} of {run['who']}" if run else None,
    }
