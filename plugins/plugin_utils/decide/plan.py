# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run: for every node its package, its way and its wave, and every obstacle, before anything is touched.

The rules of the waves: never more than ``max_per_cluster`` nodes of a cluster in one, never more than ``wave_size``
nodes in all, the canaries first, a cluster's coordinator last, and the same plan for the same facts in any order.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import catalogue as catalogues
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates, purposes, waves
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import Catalogue, Words
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.gates import ClusterView, Context
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.hops import Path, find_path, find_way_back
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import (
    GateResult,
    Hop,
    NodeFacts,
    Obstacle,
    Package,
    PackageSource,
    Plan,
    PlanNode,
    Purpose,
    Wave,
)

#: Statuses of a release that is on the node and can be switched to without a package.
_ON_THE_NODE = ("old", "unpacked", "permanent")
#: Reasons of nodes that could not be read; most of them say the same.
_REASONS_SHOWN = 3
_VERBS = {"commit": "commit", "rollback": "go back to"}
_LOOPBACK = re.compile(r"@(?:127\.|localhost\b|::1\b|\[::1\])")


class PlanError(ValueError):
    """The options of a plan make no sense; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """What a user may say about a plan.

    ``purpose``: what the nodes are planned for. ``target``: the version for all, None where a commit or a rollback
    finds each node's own; ``targets``: another one for single hosts. ``idle``: hosts that stay as they are.
    ``wave_size``: nodes in a wave, as number or percentage of those that switch; 0 or None for no bound. ``canary``:
    how many nodes go first, as number, percentage or list of hosts. ``coordinators``: hosts or node names that come
    last in their cluster. ``accept``: names of gates whose failure is accepted. ``run_id``: this run's own.
    ``unfinished``: hosts that a run which has ended, or this one, still has reserved. ``forks``: how many nodes Ansible
    works on at a time, None where that is not known. ``package_source``: who brings packages to the nodes. ``waves``:
    which of them this job is for, out of ``waves.PARTS``; nodes that switch in none of these have no wave.
    ``is_part``: the nodes are a part of the fleet, of which the canaries may be in another one.
    """

    target: str | None
    targets: Mapping[str, str] = dataclasses.field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    max_per_cluster: int = 1
    wave_size: int | str | None = None
    canary: int | str | Sequence[str] = 1
    coordinators: Sequence[str] = ()
    accept: Sequence[str] = ()
    allow_downgrade: bool = False
    run_id: str = ""
    purpose: Purpose = "upgrade"
    unfinished: frozenset[str] = frozenset()
    forks: int | None = None
    max_clock_skew: float = gates.DEFAULT_MAX_CLOCK_SKEW
    package_source: PackageSource = "controller"
    waves: str = "all"
    is_part: bool = False


def build_plan(facts_by_host: Mapping[str, NodeFacts], packages: Iterable[Package], options: PlanOptions) -> Plan:
    """Return the plan for all nodes. Raises :class:`PlanError` for options that make no sense.

    A host whose facts are empty counts as one of which nothing is known, and is refused.
    """
    return _Planner(facts_by_host, packages, options).plan()


class _Planner:
    """One plan in the making."""

    def __init__(
        self, facts_by_host: Mapping[str, NodeFacts], packages: Iterable[Package], options: PlanOptions
    ) -> None:
        self._facts = {host: facts_by_host[host] or {} for host in sorted(facts_by_host, key=waves.natural)}
        self._asked = options.target
        options = _with_targets(options, self._facts)
        self._goal = str(options.target)
        for version in (self._goal, *options.targets.values()):
            if not emqx_version.is_valid(version):
                raise PlanError(f"{version!r} is not a version; give one such as 4.4.19")
        try:
            self._accept = gates.check_accept(options.accept)
        except gates.GateError as exc:
            raise PlanError(str(exc)) from exc
        self._options = options
        self._catalogue: Catalogue = catalogues.build(packages)
        self._paths: dict[tuple[Any, ...], Path] = {}
        self._hops: dict[tuple[int, ...], list[Hop]] = {}
        self._ways_back: dict[tuple[Any, ...], list[str]] = {}

    def plan(self) -> Plan:
        """Return the plan."""
        clusters = find_clusters(self._facts)
        packages = {host: self._package_for(host) for host in self._facts}
        paths = {host: self._path_for(host, packages[host][0]) for host in self._facts}
        nodes: dict[str, PlanNode] = {}
        for label, hosts in clusters.items():
            view = self._view(label, hosts, paths)
            for host in hosts:
                nodes[host] = self._node(host, view, packages[host], paths[host])
        nodes = {host: nodes[host] for host in self._facts}
        rollout = self._waves(nodes)
        for wave in rollout:
            for host in wave["hosts"]:
                nodes[host]["wave"] = wave["number"]
        return {
            "run_id": self._options.run_id,
            "purpose": self._options.purpose,
            "target": self._goal,
            "feasible": all(node["action"] != "refuse" for node in nodes.values()),
            "nodes": nodes,
            "waves": rollout,
            "obstacles": group_obstacles(nodes),
            "warnings": self._warnings(nodes) + _forks_warning(rollout, self._options.forks),
            "accepted": sorted(self._accept),
        }

    def _target(self, host: str) -> str:
        return self._options.targets.get(host, self._goal)

    def _package_for(self, host: str) -> tuple[Package | None, str]:
        """Return the package of the target, the closest one where none fits, or the release that is on the node."""
        facts, target = self._facts[host], self._target(host)
        choice = self._catalogue.choose(catalogues.words_of(facts), target)
        package = choice.package or choice.closest
        if package is None and target not in self._catalogue.by_version and _is_on_node(facts, target):
            return {"version": target, "name": None}, ""
        return package, choice.reason

    def _path_for(self, host: str, package: Package | None) -> Path:
        facts, target = self._facts[host], self._target(host)
        running = facts.get("running")
        if package is None or not running or running == target:
            return Path()
        words = catalogues.words_of(facts)
        left = [] if self._relup_is_known(words, str(running)) else gates.release_left(facts)
        key = (running, target, words, id(package), *(tuple(row["relup"]["downgrade_to"]) for row in left))
        if key not in self._paths:
            self._paths[key] = find_path(str(running), target, [*left, *self._at_hand(words, target, package)])
        path = self._paths[key]
        if not path.found and package.get("name") is None and not self._relup_is_known(words, str(running)):
            # The relup that decides is on the node alone, where the module and the node's own check read it.
            return Path((package,))
        return path

    def _at_hand(self, words: Words, target: str, package: Package) -> list[Package]:
        """Return the packages that fit a node, one a version."""
        found = [package]
        for version in self._catalogue.by_version:
            if version != target:
                fitting = self._catalogue.choose(words, version).package
                if fitting is not None:
                    found.append(fitting)
        return found

    def _relup_is_known(self, words: Words, version: str) -> bool:
        return self._catalogue.choose(words, version).package is not None

    def _view(self, label: str, hosts: Sequence[str], paths: Mapping[str, Path]) -> ClusterView:
        """Return what the hosts of one cluster say together."""
        versions: dict[str, str] = {}
        for host in hosts:
            for row in (self._facts[host].get("cluster") or {}).get("members") or []:
                if row.get("version"):
                    versions.setdefault(str(row["node"]), str(row["version"]))
        for host in hosts:
            # What a node says of itself is newer than what others heard of it.
            facts = self._facts[host]
            if facts.get("node") and facts.get("running"):
                versions[str(facts["node"])] = str(facts["running"])
        own = [str(self._facts[host]["node"]) for host in hosts if self._facts[host].get("node")]
        members = members_of([self._facts[host] for host in hosts])
        offsets = [float(self._facts[host]["clock_offset"]) for host in hosts if _has_offset(self._facts[host])]
        explained = {version for host in hosts for version in paths[host].versions}
        return ClusterView(
            label=label,
            versions=versions,
            stopped=members.stopped,
            outside=members.outside,
            explained=frozenset(explained | {self._target(host) for host in hosts}),
            duplicates=frozenset(node for node in own if own.count(node) > 1)
            if len(set(own)) < len(own)
            else frozenset(),
            clock_spread=max(offsets) - min(offsets) if len(offsets) > 1 else None,
        )

    def _node(self, host: str, view: ClusterView, choice: tuple[Package | None, str], path: Path) -> PlanNode:
        facts, target = self._facts[host], self._target(host)
        action: gates.Action = "none" if host in self._options.idle else gates.action_for(facts, target)
        results: list[GateResult] = []
        if action != "none":
            context = Context(
                target=target,
                path=path,
                package_reason=choice[1],
                allow_downgrade=self._options.allow_downgrade or self._options.purpose == "rollback",
                accept=self._accept,
                run_id=self._options.run_id,
                cluster=view,
                max_clock_skew=self._options.max_clock_skew,
                package_source=self._options.package_source,
            )
            # A commit needs no package, so what is at hand cannot stand in its way.
            package = choice[0] if action == "upgrade" else None
            results = gates.evaluate(facts, package, context, failed_only=True)
            if "state" not in facts:
                # Nothing is known of it, which is one obstacle and not one for each gate.
                results = [row for row in results if row["name"] == "node_running"]
        refused = gates.refused(results)
        switches = action == "upgrade"
        return {
            "host": host,
            "node": facts.get("node"),
            "cluster": view.label,
            "from": facts.get("running"),
            "came_from": purposes.came_from(facts, action),
            "to": target,
            "action": "refuse" if refused else action,
            "hops": self._hops_of(path) if switches else [],
            "way_back": self._way_back(facts, target, action, path),
            "wave": None,
            "gates": results,
            "unfinished_run": host in self._options.unfinished,
        }

    def _hops_of(self, path: Path) -> list[Hop]:
        key = tuple(id(package) for package in path.packages)
        if key not in self._hops:
            self._hops[key] = [_hop(package, self._options.package_source) for package in path.packages]
        return self._hops[key]

    def _way_back(self, facts: NodeFacts, target: str, action: str, path: Path) -> list[str]:
        """The versions to switch to, one after the other, to be back where the node came from, or goes back to."""
        if self._options.purpose == "rollback":
            return purposes.way_back(facts, target)
        if action == "commit":
            return purposes.way_back_of_uncommitted(facts)
        if action != "upgrade":
            return []
        running = str(facts.get("running"))
        key = (running, *(id(package) for package in path.packages))
        if key not in self._ways_back:
            self._ways_back[key] = list(find_way_back(running, path))
        return self._ways_back[key]

    def _waves(self, nodes: Mapping[str, PlanNode]) -> list[Wave]:
        switching = [host for host, node in nodes.items() if node["action"] == "upgrade"]
        switched = Counter(node["cluster"] for node in nodes.values() if node["action"] == "commit")
        awaited = self._options.waves == "rest" and not self._options.is_part
        if awaited and switching and not self._runs_somewhere(nodes):
            raise PlanError(
                f"emqx_upgrade_waves is rest, but no node runs {self._goal}; expected are canaries that an earlier job "
                "has switched. Switch them first with emqx_upgrade_waves=canary, or all nodes with "
                "emqx_upgrade_waves=all."
            )
        last = set(self._options.coordinators)
        candidates = [
            waves.Candidate(host, nodes[host]["cluster"], nodes[host]["node"] or "", _is_one_of(last, nodes[host]))
            for host in switching
        ]
        try:
            return waves.arrange(
                candidates,
                max_per_cluster=self._options.max_per_cluster,
                wave_size=self._options.wave_size,
                canary=self._options.canary,
                part=self._options.waves,
                switched=switched,
            )
        except waves.WaveError as exc:
            raise PlanError(str(exc)) from exc

    @staticmethod
    def _runs_somewhere(nodes: Mapping[str, PlanNode]) -> bool:
        """Whether the version to go to runs on some node."""
        return any(node["from"] == node["to"] for node in nodes.values())

    def _warnings(self, nodes: Mapping[str, PlanNode]) -> list[str]:
        used = {hop["path"] for node in nodes.values() for hop in node["hops"]}
        found = [
            str(warning)
            for rows in self._catalogue.by_version.values()
            for package in rows
            if package.get("path") in used
            for warning in package.get("warnings") or []
        ]
        unknown = sorted(set(self._options.targets) - set(nodes), key=waves.natural)
        if unknown:
            found.append(f"a version is asked for hosts that are not in the run: {catalogues.listed(unknown)}")
        if not isinstance(self._options.canary, (int, str)):
            idle = [host for host in self._options.canary if host not in nodes or nodes[host]["wave"] is None]
            if idle:
                found.append(f"canary hosts that do not switch in this run: {catalogues.listed(idle)}")
        names = {name for host, node in nodes.items() for name in (host, node["node"])}
        strangers = [name for name in self._options.coordinators if name not in names]
        if strangers:
            found.append(f"coordinators that are not in the run: {catalogues.listed(strangers)}")
        found += self._stays_where_it_is(nodes)
        return list(dict.fromkeys(found))

    def _stays_where_it_is(self, nodes: Mapping[str, PlanNode]) -> list[str]:
        """Of a rollback: nodes that run the version that was asked for, as one that the whole inventory has does.

        A node that has a newer release has come back to that version already. Where no node goes back at all, this is
        no warning: raises PlanError.
        """
        target = self._asked
        if self._options.purpose != "rollback" or target is None:
            return []
        could = {
            host: version
            for host, node in nodes.items()
            if node["action"] == "none" and node["from"] == target
            for version in [purposes.rollback_target(self._facts[host])]
            if version is not None and not purposes.has_newer_release(self._facts[host])
        }
        if not could:
            return []
        named = catalogues.listed(sorted(could, key=waves.natural))
        way_out = (
            f"without emqx_upgrade_version each goes back to where it came from, most of them to "
            f"{purposes.most_common(could)}: -e emqx_upgrade_version="
        )
        if all(node["action"] == "none" for node in nodes.values()):
            raise PlanError(
                f"No node goes back, since these run {target}, the version that is asked for: {named}; {way_out}"
            )
        return [f"these nodes run {target}, the version that is asked for, so they do not go back: {named}; {way_out}"]


def _with_targets(options: PlanOptions, facts: Mapping[str, NodeFacts]) -> PlanOptions:
    """The options with a version for every node, as its purpose finds it."""
    if options.purpose == "upgrade":
        if options.target is None:
            raise PlanError("version: say which version the fleet shall run, for example 4.4.19.")
        return options
    find = purposes.commit_targets if options.purpose == "commit" else purposes.rollback_targets
    found = find(facts, options.target)
    target = options.target or purposes.most_common(found)
    if target is None:
        told = [f"{host}: {str(row['msg']).strip()}" for host, row in facts.items() if row.get("msg")]
        why = f" The first said: {' / '.join(told[:_REASONS_SHOWN])}" if told else ""
        raise PlanError(f"No node of the play can be read and has a version to {_VERBS[options.purpose]}.{why}")
    running = {host: str(facts[host]["running"]) for host in facts if facts[host].get("running")}
    if running and not found and target not in running.values() and emqx_version.is_valid(target):
        more = ", so there is none to commit" if options.purpose == "commit" else f", or has it to {_VERBS['rollback']}"
        raise PlanError(f"No node of the play runs {target}{more}.")
    # A node that its purpose finds no version for stays where it is, also where a restart would boot another one.
    targets = {host: found.get(host) or running.get(host) or target for host in facts}
    return dataclasses.replace(options, target=target, targets=targets, idle=frozenset(running) - set(found))


def _forks_warning(rollout: Sequence[Wave], forks: int | None) -> list[str]:
    widest = max((len(wave["hosts"]) for wave in rollout), default=0)
    if forks is None or widest <= forks:
        return []
    return [
        f"a wave has {widest} nodes and forks is {forks}, so they are worked on in turns; use --forks {widest}",
    ]


def find_clusters(facts_by_host: Mapping[str, NodeFacts]) -> dict[str, list[str]]:
    """Return the hosts of each cluster by its label, both in natural order.

    Membership comes from the nodes themselves: two hosts are of one cluster if their nodes know each other, directly
    or through others. The label is the first of the cluster's node names. A node that is alone under a loopback name,
    as every EMQX is out of the box, is a cluster of its own, for the name says nothing beyond its machine.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    homes: dict[str, str] = {}
    alone: dict[tuple[Any, ...], str] = {}
    for host in sorted(facts_by_host, key=waves.natural):
        facts = facts_by_host[host] or {}
        cluster = facts.get("cluster") or {}
        node = str(facts.get("node") or "")
        names = {node, *map(str, cluster.get("running") or ()), *map(str, cluster.get("stopped") or ())}
        names.update(str(row["node"]) for row in cluster.get("members") or ())
        names.discard("")
        if not names:
            names = {f"({host})"}
        elif names == {node} and _LOOPBACK.search(node):
            # The same process seen through two inventory names is still one node.
            start = round((facts.get("clock") or 0) - (facts.get("uptime_seconds") or 0), -1)
            names = {alone.setdefault((node, facts.get("pid"), facts.get("root_dir"), start), f"{node} ({host})")}
        for name in names:
            parent[root(name)] = root(min(names, key=waves.natural))
        homes[host] = min(names, key=waves.natural)
    labels: dict[str, str] = {}
    for name in list(parent):
        top = root(name)
        labels[top] = min(labels.get(top, name), name, key=waves.natural)
    found: dict[str, list[str]] = {}
    for host, name in homes.items():
        found.setdefault(labels[root(name)], []).append(host)
    return {label: found[label] for label in sorted(found, key=waves.natural)}


class Members(NamedTuple):
    """Names of nodes of a cluster: those that are stopped, and those that run and are no host; in natural order."""

    stopped: tuple[str, ...]
    outside: tuple[str, ...]


def members_of(facts_of_hosts: Iterable[NodeFacts]) -> Members:
    """Return what the hosts of one cluster say of its other members."""
    stopped: set[str] = set()
    members: set[str] = set()
    own: set[str] = set()
    running: set[str] = set()
    for facts in facts_of_hosts:
        cluster = facts.get("cluster") or {}
        members.update(str(row["node"]) for row in cluster.get("members") or [])
        members.update(cluster.get("running") or ())
        stopped.update(cluster.get("stopped") or ())
        if facts.get("node"):
            own.add(str(facts["node"]))
            if facts.get("running"):
                running.add(str(facts["node"]))
    # What a node says of itself is newer than what others heard of it.
    stopped -= running
    return Members(tuple(sorted(stopped, key=waves.natural)), tuple(sorted(members - own - stopped, key=waves.natural)))


def group_obstacles(nodes: Mapping[str, PlanNode]) -> list[Obstacle]:
    """Return equal failures once, with their hosts: errors before warnings, and the most frequent first."""
    found: dict[tuple[str, str, bool, str], list[str]] = {}
    for host, node in nodes.items():
        for row in node["gates"]:
            if not row["passed"]:
                key = (row["name"], row["severity"], row["accepted"], row["message"])
                found.setdefault(key, []).append(host)
    rows: list[Obstacle] = [
        {
            "gate": gate,
            "severity": severity,
            "accepted": accepted,
            "message": message,
            "hosts": hosts,
            "count": len(hosts),
        }
        for (gate, severity, accepted, message), hosts in found.items()
    ]
    order = {name: place for place, name in enumerate(gates.GATES)}
    rows.sort(
        key=lambda row: (
            row["severity"] != "error" or row["accepted"],
            row["severity"] != "error",
            -row["count"],
            order[row["gate"]],
            row["message"],
        )
    )
    return rows


def _hop(package: Package, source: PackageSource) -> Hop:
    relup = package.get("relup") or {}
    return {
        "version": str(package["version"]),
        "package": package.get("name"),
        "path": package.get("path"),
        "url": package.get("url") if source == "node" else None,
        "sha256": package.get("sha256"),
        "size": int(package.get("size") or 0),
        "unpacked_size": int(package.get("unpacked_size") or 0),
        "upgrade_from": list(relup.get("upgrade_from") or ()),
        "downgrade_to": list(relup.get("downgrade_to") or ()),
    }


def _is_on_node(facts: NodeFacts, version: str) -> bool:
    rows = facts.get("releases") or []
    # Where the switch unpacks, an unpacked release cannot be switched to without its package.
    useless = ("unpacked",) if facts.get("unpacks_in_switch") else ()
    statuses = [row.get("status") for row in rows if row.get("version") == version]
    return any(status in _ON_THE_NODE and status not in useless for status in statuses)


def _is_one_of(names: set[str], node: PlanNode) -> bool:
    return node["host"] in names or node["node"] in names


def _has_offset(facts: NodeFacts) -> bool:
    return isinstance(facts.get("clock_offset"), (int, float))
