# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where every node of a fleet is, as a table and the remarks that a person must see. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import text_table

Facts = Mapping[str, Any]

_NAMES_SHOWN = 20
HEADER = ("host", "state", "edition", "runs", "boots", "others", "clients", "cluster", "uncommitted for")


def lines(facts_by_host: Mapping[str, Facts]) -> list[str]:
    """The table, then a line for each node that needs attention."""
    rows = [_row(host, facts) for host, facts in sorted(facts_by_host.items())]
    text = text_table.lines(HEADER, rows)
    remarks = [f"{host}: {remark}" for host, facts in sorted(facts_by_host.items()) for remark in attention(facts)]
    return text + ([""] + remarks if remarks else [])


def unread(facts_by_host: Mapping[str, Facts]) -> str:
    """Which nodes could not be read, in words; empty where all could."""
    hosts = sorted(host for host, facts in facts_by_host.items() if "state" not in facts)
    if not hosts:
        return ""
    return (
        f"These nodes could not be read, so what they run is not known: {listed(hosts, _NAMES_SHOWN)}. Make their "
        "hosts reachable, or leave them out with --limit."
    )


def attention(facts: Facts) -> list[str]:
    """What an operator should know of a node, a sentence each."""
    if "state" not in facts:
        return [str(facts.get("msg", "The node could not be read."))]
    remarks = [problem["message"] for problem in facts["boot"]["problems"]]
    if facts["state"] != "running":
        remarks.append(f"The node is {facts['state']}; a restart boots {facts['boot']['version']}.")
    elif facts["running"] != facts["boot"]["version"] and not facts["boot"]["problems"]:
        remarks.append(f"{facts['running']} is not permanent: a restart would bring {facts['boot']['version']} back.")
    stopped = facts["cluster"]["stopped"]
    if stopped:
        remarks.append(f"Members of the cluster are stopped: {', '.join(stopped)}.")
    if facts["alarms"]:
        remarks.append(f"Alarms are active: {', '.join(facts['alarms'])}.")
    if facts["operation"]:
        remarks.append(f"An operation is at work: {facts['operation']['what']} by {facts['operation']['user']}.")
    last = facts["journal"][-1] if facts.get("journal") else {}
    if last.get("outcome") not in (None, "done"):
        remarks.append(f"The last operation did not end well: {last.get('message') or last.get('what')}")
    if facts["run"] and facts["run"]["lease_until"] > facts["clock"]:
        remarks.append(f"Reserved for the run {facts['run']['id']} of {facts['run']['who']}.")
    return remarks


def uncommitted_seconds(facts: Facts) -> float | None:
    """How long a node has run a version that is not permanent, by its journal; None where it is, or nobody noted it."""
    if facts.get("state") != "running" or facts["running"] == facts["permanent"]:
        return None
    since = None
    for entry in facts["journal"]:
        if entry.get("running") == facts["running"] and entry.get("permanent") == facts["permanent"]:
            since = since or entry["time"]
        else:
            since = None
    return None if since is None else max(0.0, facts["clock"] - since)


def _row(host: str, facts: Facts) -> tuple[object, ...]:
    if "state" not in facts:
        return (host, "unreachable" if facts.get("unreachable") else "unreadable") + (None,) * (len(HEADER) - 2)
    others = [f"{row['version']} {row['status']}" for row in facts["releases"] if row["version"] != facts["running"]]
    cluster = facts["cluster"]
    members = len(cluster["running"])
    return (
        host,
        facts["state"],
        facts["edition"],
        facts["running"],
        facts["boot"]["version"] if facts["boot"]["consistent"] else f"{facts['boot']['version']} !",
        ", ".join(others) or None,
        facts["connections"],
        f"{members}/{members + len(cluster['stopped'])}" if members else None,
        text_table.duration(uncommitted_seconds(facts)),
    )
