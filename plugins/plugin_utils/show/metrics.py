# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The document of a run, or what was read of a fleet, as metrics for Prometheus. Pure functions.

The text is valid in both formats: in the text format of Prometheus (prometheus.io, "Exposition formats"), the only one
that the textfile collector of the node exporter reads, ``# UNIT`` and ``# EOF`` are comments; in OpenMetrics 1.0 they
belong to it. So every type is one that both have, and ``_info`` is a gauge: of the type ``info`` the text format knows
nothing, and a reader gives up the whole file.

Each sample has the label ``fleet``, since equal samples of two files make a scrape of the node exporter fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import find_clusters
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.status_table import uncommitted_seconds

_END = "# EOF"
_VERSIONS = "emqx_fleet_node_version_info"


class Metric(NamedTuple):
    """What stands before the samples of a metric; all are gauges."""

    help: str
    unit: str = ""


#: All metrics, in their order in the file.
METRICS: Mapping[str, Metric] = {
    "emqx_fleet_run_success": Metric("Whether the last run did all that was planned. Not there until it has ended."),
    "emqx_fleet_run_in_progress": Metric("Whether the last run has not ended; 1 stays there where it was killed."),
    "emqx_fleet_run_duration_seconds": Metric("How long the jobs of the last run took together.", "seconds"),
    "emqx_fleet_run_timestamp_seconds": Metric("When the last run told of itself last, since 1970.", "seconds"),
    "emqx_fleet_run_cut_off_clients": Metric(
        "Clients whose connection the last run cut off. Not there where no node could tell."
    ),
    "emqx_fleet_node_result": Metric("What became of a node in the last run, always 1."),
    "emqx_fleet_node_reached": Metric("Whether the node could be read when it was looked at last."),
    _VERSIONS: Metric("The versions of a node, always 1: what runs, is permanent, would boot."),
    "emqx_fleet_node_boots_other_version": Metric(
        "Whether a restart would boot another version than the one that runs."
    ),
    "emqx_fleet_node_uncommitted_seconds": Metric(
        "How long a node had run a version that a restart would not boot, when it was looked at; 0 where it would.",
        "seconds",
    ),
}
#: What only a run tells, and a look at the fleet leaves as it is.
_OF_A_RUN = tuple(name for name in METRICS if name.startswith("emqx_fleet_run_") or name == "emqx_fleet_node_result")
_HOST = re.compile(r',host="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, Mapping[str, Any], float]


def of_run(document: Mapping[str, Any], fleet: str, earlier: str = "") -> str:
    """The file's text for a run, also one that has not ended.

    ``fleet``: the label of all samples. ``earlier``: what stands in the file. Of nodes that the run is not for, or of
    which it knows nothing yet, what was known stays.
    """
    now = _epoch(document["written"])
    samples: list[Sample] = [
        ("emqx_fleet_run_in_progress", {}, not document["ended"]),
        ("emqx_fleet_run_duration_seconds", {}, document["seconds"]),
        ("emqx_fleet_run_timestamp_seconds", {}, now),
    ]
    if document["ended"]:
        samples.append(("emqx_fleet_run_success", {}, document["verdict"] == "succeeded"))
    if document["totals"]["accounted_nodes"]:
        samples.append(("emqx_fleet_run_cut_off_clients", {}, document["totals"]["clients"]["cut_off"]))
    for host, node in sorted(document["nodes"].items()):
        samples.append(("emqx_fleet_node_result", {"host": host, "result": node["result"]}, 1))
        if document["ended"]:
            samples.append(("emqx_fleet_node_reached", {"host": host}, node["reached"]))
        since = _since(document, node)
        samples += _node(host, node["cluster"], node["running"], node["permanent"], node["boots"], now - since)
    known = {labels["host"] for name, labels, _value in samples if name == _VERSIONS}
    hosts = {_escaped(host) for host in (document["nodes"] if document["ended"] else known)}
    kept = _kept(earlier, fleet, lambda name, host: name not in _OF_A_RUN and host not in hosts)
    return _text(samples, fleet, kept)


def of_fleet(facts_by_host: Mapping[str, NodeFacts], fleet: str, earlier: str = "") -> str:
    """The file's text for a fleet as it is. ``earlier``: what stands in the file, of which a run's metrics are kept."""
    clusters = {host: label for label, hosts in find_clusters(facts_by_host).items() for host in hosts}
    samples: list[Sample] = []
    for host, facts in sorted(facts_by_host.items()):
        samples.append(("emqx_fleet_node_reached", {"host": host}, "state" in facts))
        if "state" not in facts:
            continue
        running = facts["running"] if facts["state"] == "running" else None
        boots = facts["boot"]["version"]
        samples += _node(host, clusters.get(host), running, facts["permanent"], boots, uncommitted_seconds(facts))
    return _text(samples, fleet, _kept(earlier, fleet, lambda name, _host: name in _OF_A_RUN))


def _node(
    host: str,
    cluster: str | None,
    running: str | None,
    permanent: str | None,
    boots: str | None,
    uncommitted: float | None,
) -> list[Sample]:
    """What is known of a node's versions; nothing of one that does not run, or was not read."""
    if running is None:
        return []
    versions = {"host": host, "cluster": cluster, "running": running, "permanent": permanent, "boots": boots}
    found: list[Sample] = [(_VERSIONS, versions, 1)]
    if boots is None:
        return found
    found.append(("emqx_fleet_node_boots_other_version", {"host": host}, running != boots))
    seconds = 0 if running == boots else uncommitted
    if seconds is not None:
        found.append(("emqx_fleet_node_uncommitted_seconds", {"host": host}, max(0, seconds)))
    return found


def _since(document: Mapping[str, Any], node: Mapping[str, Any]) -> float:
    """Since when a node has run what it runs, by its time line; since the run began where none tells."""
    ends = [
        _epoch(row["at"]) + (row["seconds"] or 0)
        for row in node["timeline"]
        if row["action"] == "switch" and row["version"] == node["running"]
    ]
    return max(ends) if ends else _epoch(document["started"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _text(samples: Iterable[Sample], fleet: str, kept: Mapping[str, Sequence[str]] | None = None) -> str:
    rows: dict[str, list[str]] = {name: list((kept or {}).get(name) or ()) for name in METRICS}
    for name, labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in {"fleet": fleet, **labels}.items())
        rows[name].append(f"{name}{{{pairs}}} {_number(value)}")
    lines = []
    for name, metric in METRICS.items():
        if not rows[name]:
            continue
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
        if metric.unit:
            lines.append(f"# UNIT {name} {metric.unit}")
        lines += rows[name]
    return "\n".join([*lines, _END]) + "\n"


def _kept(earlier: str, fleet: str, keep: Callable[[str, str], bool]) -> dict[str, list[str]]:
    """The samples of a file of this collection that are to stay, by metric; asked by metric and escaped host."""
    found: dict[str, list[str]] = {}
    for line in earlier.split("\n"):
        name, _sign, labels = line.partition("{")
        host = _HOST.search(labels)
        if (
            name in METRICS
            and labels.startswith(f'fleet="{_escaped(fleet)}"')
            and keep(name, host.group(1) if host else "")
        ):
            found.setdefault(name, []).append(line)
    return found


def _escaped(text: object) -> str:
    found = "" if text is None else str(text)
    found = found.encode("utf-8", "replace").decode("utf-8")
    return found.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    # A bool is a number of Python's as well. Numbers of milliseconds are exact enough, and never in exponents.
    number = float(value)
    return str(int(number)) if number.is_integer() else f"{number:.3f}"
