# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a fleet for several controllers: whole clusters, about equally many hosts in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import waves
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import find_clusters, members_of
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.settings import PREFIX
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts

_NAMES_SHOWN = 20
_REASONS = {"stopped": "its broker is stopped", "unreachable": "its broker's process is there but does not answer"}


class SplitError(ValueError):
    """The fleet cannot be parted like that: what was found, what was expected, and the remedy."""


class Part(NamedTuple):
    """The clusters of a part, by their labels, with their hosts; both in natural order."""

    clusters: dict[str, list[str]]

    @property
    def hosts(self) -> list[str]:
        """All hosts of the part, in natural order."""
        return sorted((host for hosts in self.clusters.values() for host in hosts), key=waves.natural)


class Split(NamedTuple):
    """The parts, first the one with the largest cluster; and what a person should know of members in none of them."""

    parts: list[Part]
    warnings: list[str]

    def by_name(self) -> dict[str, list[str]]:
        """The hosts of each part, by its number as a text, from "1" on."""
        return {str(number): part.hosts for number, part in enumerate(self.parts, 1)}


def split(facts_by_host: Mapping[str, NodeFacts], count: int) -> Split:
    """Part the fleet into so many parts. Raises :class:`SplitError`.

    Membership is what the nodes say, as for a plan. The largest cluster comes first, each into the part that has the
    fewest hosts so far: no part has more hosts than another has and the largest cluster besides. The same facts give
    the same parts, in whatever order they come.
    """
    _require_read(facts_by_host)
    clusters = find_clusters(facts_by_host)
    if count > len(clusters):
        raise SplitError(
            f"{PREFIX}split is {count}, and the fleet has {_clusters(len(clusters))}, which {_stay(len(clusters))} "
            f"whole; expected are at most as many parts as clusters. Write {PREFIX}split={len(clusters)}, and take the "
            "jobs for further parts out of the workflow."
        )
    found: list[dict[str, list[str]]] = [{} for _number in range(count)]
    sizes = [0] * count
    for label in sorted(clusters, key=lambda label: (-len(clusters[label]), waves.natural(label))):
        smallest = sizes.index(min(sizes))
        found[smallest][label] = clusters[label]
        sizes[smallest] += len(clusters[label])
    parts = [Part({label: part[label] for label in sorted(part, key=waves.natural)}) for part in found]
    return Split(parts, _warnings(facts_by_host, clusters))


def _require_read(facts_by_host: Mapping[str, NodeFacts]) -> None:
    """Raise SplitError for nodes of which it is not known what is in their cluster; a plan refuses them as well."""
    by_reason: dict[str, list[str]] = {}
    for host in sorted(facts_by_host, key=waves.natural):
        facts = facts_by_host[host] or {}
        if facts.get("state") != "running":
            said = str(facts.get("msg") or "nothing is known of it").strip().rstrip(".")
            by_reason.setdefault(_REASONS.get(str(facts.get("state")), said), []).append(host)
    if by_reason:
        named = "; ".join(f"{listed(hosts, _NAMES_SHOWN)} ({reason})" for reason, hosts in by_reason.items())
        raise SplitError(
            f"Not every node tells which cluster it is in: {named}. Expected are brokers that run and answer, since a "
            "part has whole clusters. Start them and make their hosts reachable, or leave them out with --limit; then "
            "run the same command again."
        )


def _warnings(facts_by_host: Mapping[str, NodeFacts], clusters: Mapping[str, list[str]]) -> list[str]:
    found = []
    for label, hosts in clusters.items():
        outside = members_of([facts_by_host[host] for host in hosts]).outside
        if outside:
            found.append(
                f"{listed(outside, _NAMES_SHOWN)} of the cluster of {hosts[0]} ({label}) is no host of the play, so "
                "that it is in no part and keeps its version. Take it into the inventory, or run it for the whole "
                "cluster afterwards."
            )
    return found


def _clusters(count: int) -> str:
    return "1 cluster" if count == 1 else f"{count} clusters"


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"
