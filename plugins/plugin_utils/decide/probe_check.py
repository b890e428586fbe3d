# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client probe in the decisions of a run: where it connects to, whether it may begin, and its verdict. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils.listener_check import address
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import Check
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Plan

DEFAULT_PORT, DEFAULT_TLS_PORT = 1883, 8883
#: What of the counts of a node is for the check alone.
INTERNAL = ("disconnected", "answered")

_SHOWN = 3
_CLIENTS_SHOWN = 6
_NODES_SHOWN = 10


def is_asked_for(plan: Plan, settings: Mapping[str, Any], parts: Sequence[str]) -> bool:
    """Whether this invocation has something to measure: it was asked for, and nodes are switched or committed."""
    return (
        bool(settings.get("probe"))
        and plan["feasible"]
        and {"switch", "soak", "commit"} & set(parts) != set()
        and bool(hosts(plan))
    )


def hosts(plan: Plan) -> list[str]:
    """The hosts that the run works on."""
    return [host for host, node in plan["nodes"].items() if node["action"] in ("upgrade", "commit")]


def port(facts: Mapping[str, Any], tls: bool, local: bool = False) -> int:
    """The port of the node's MQTT listener, the one for clients from outside if there are several.

    Where the node has none that other machines reach, or with ``local`` none at all: 1883, with TLS 8883.
    """
    found = []
    for listener in facts.get("listeners") or ():
        words = str(listener["protocol"]).lower().split(":")
        target = address(str(listener["listen_on"]))
        if target is None or words[0] != "mqtt" or ("ssl" if tls else "tcp") not in words:
            continue
        inside = not _is_open(str(listener["listen_on"]))
        found.append((inside or "internal" in words, "external" not in words, target[1]))
    reachable = [row for row in sorted(found) if local or not row[0]]
    return reachable[0][2] if reachable else DEFAULT_TLS_PORT if tls else DEFAULT_PORT


def order(settings: Mapping[str, Any], facts: Mapping[str, Any], address_of_host: str, password: str) -> dict[str, Any]:
    """What the probe is told of a node of a run, by the host's settings; see ``client_probe.asking.start``."""
    tls = bool(settings["probe_tls"])
    files = {name: settings[f"probe_{name}"] for name in ("ca_file", "cert_file", "key_file", "validate_certs")}
    host = settings["probe_address"] or address_of_host
    return {
        "host": host,
        "port": settings["probe_port"] or port(facts, tls, local=not _is_open(f"{host}:0")),
        "clients": settings["probe_clients"],
        "username": settings["probe_username"],
        "password": password,
        "tls": files if tls else None,
    }


def _is_open(listen_on: str) -> bool:
    """Whether a listener is not for the node itself alone."""
    host = listen_on.rpartition(":")[0].strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def refusal(nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a run does not begin: nodes with clients that are not connected; empty where all are.

    ``nodes``: host -> ``address``, ``clients``, ``connected`` and ``reason``.
    """
    missing = {host: node for host, node in nodes.items() if node["connected"] < node["clients"]}
    if not missing:
        return ""
    said = [
        f"{host} at {node['address']} ({node['connected']} of {node['clients']} clients; {node['reason']})"
        for host, node in missing.items()
    ]
    return (
        "The client probe cannot connect, so nothing was touched: "
        f"{listed(said, _NODES_SHOWN)}. Expected are all of its clients connected and subscribed on every node that "
        "the run works on. Look whether the controller reaches these addresses, and whether the broker lets the "
        "probe's user in and lets it publish and subscribe to emqx-fleet/probe/#; the settings are "
        "emqx_upgrade_probe_address, _port, _tls, _username and so on. emqx_upgrade_probe=false leaves the probe out."
    )


def probe_check(
    before: Mapping[str, Any] | None, now: Mapping[str, Any] | None, error: str = "", accepted: Sequence[str] = ()
) -> Check:
    """No client of the probe was disconnected since ``before``, all are there and answered, nothing was lost.

    ``before`` and ``now`` are rows of :meth:`probe_counts.NodeCounts.row`; without ``before`` it is since the probe
    began. ``now`` has ``answered`` besides: whether all that the broker was sent for the count has come. ``error``: why
    there is no ``now``. Where ``probe`` is accepted it passes, and ``actual`` tells.
    """
    expected = "no disconnect, nothing lost"
    if now is None:
        problems = [f"The client probe cannot tell what clients noticed: {error or 'It gave no count.'}"]
        actual = "not known"
    else:
        problems, actual = _noticed(before or {}, now)
    message = "" if "probe" in accepted else " ".join(problems)
    return Check("probe", not message, expected, actual, message)


def _noticed(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], str]:
    disconnected = now["disconnected"] - before.get("disconnected", 0)
    lost = now["lost"] - before.get("lost", 0)
    away = now["clients"] - now["connected"]
    problems = []
    if disconnected > 0:
        rows = now["disconnects"][len(before.get("disconnects", ())) :]
        together: dict[tuple[str, str], dict[str, None]] = {}
        for row in rows:
            together.setdefault((_time(row["at"]), row["reason"]), {})[row["client"]] = None
        told = [f"{listed(sorted(who), _CLIENTS_SHOWN)} at {at} ({why})" for (at, why), who in together.items()]
        problems.append(
            f"Clients of the probe lost their connection to {now['address']} {_times(disconnected)}"
            f"{': ' + listed(told, _SHOWN) if told else ''}."
        )
    if away > 0:
        problems.append(f"Of the probe's {now['clients']} clients {away} {'is' if away == 1 else 'are'} not connected.")
    if lost > 0:
        problems.append(f"The broker acknowledged {_messages(lost)} of the probe that never came to the subscriber.")
    if not now.get("answered", True) and not problems:
        problems.append(
            "The broker did not answer the probe's clients: messages were not acknowledged or did not come."
        )
    actual = f"{disconnected} disconnects, {max(lost, 0)} lost, {now['connected']} of {now['clients']} connected"
    return problems, actual


def at_the_end(probe: Mapping[str, Any], failed: Collection[str], accepted: Sequence[str] = ()) -> list[str]:
    """What the probe noticed that no check told of, as sentences, such as after the last look at a node.

    ``probe``: its result, as the report has it. ``failed``: hosts whose own failure is told anyway.
    """
    if "probe" in accepted:
        return []
    found = []
    if probe.get("error"):
        found.append(f"The client probe cannot tell what clients noticed until the end: {probe['error']}")
    for host, row in probe["nodes"].items():
        if host in failed:
            continue
        if row["disconnects"]:
            found.append(f"Clients of the probe lost their connection to {host} {_times(len(row['disconnects']))}.")
        if row["lost"] > 0:
            found.append(
                f"{host} acknowledged {_messages(row['lost'])} of the probe that never came to the subscriber."
            )
    return found


def without_internal(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as the report has them."""
    return {host: {name: value for name, value in row.items() if name not in INTERNAL} for host, row in rows.items()}


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, timezone.utc).strftime("%H:%M:%S UTC")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
