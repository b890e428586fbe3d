# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A walk through a workflow of ``content.yml`` by AWX's rules, for every outcome of every node.

The rules are those of ``awx/main/scheduler/dag_workflow.py`` in AWX 24.6.1: which nodes may run (``bfs_nodes_to_run``),
which decidedly never will (``mark_dnr_nodes``), and when a workflow has failed (``has_workflow_failed``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.plugin_utils.show.awx_content import children

#: How a job can end; an approval is denied or times out as `failed`. For all rules, `error` is as `canceled`.
OUTCOMES = ("successful", "failed", "canceled")
NEVER = "never"


class End(NamedTuple):
    """The end of a walk: what became of each node (an outcome, or NEVER), and whether AWX shows the workflow green."""

    nodes: dict[str, str]
    green: bool

    def ran(self, name: str) -> bool:
        """Whether a node was begun."""
        return self.nodes[name] != NEVER


Possible = Callable[[str, Mapping[str, str]], Sequence[str]]


def _any(_node: str, _so_far: Mapping[str, str]) -> Sequence[str]:
    return OUTCOMES


def walks(workflow: Mapping[str, Any], possible: Possible = _any) -> Iterator[End]:
    """The end of every walk. ``possible`` says how a node can end, by what became of the others so far."""
    nodes = {node["identifier"]: dict(node) for node in workflow["nodes"]}
    for name, node in nodes.items():
        node["parents"] = [parent for parent, other in nodes.items() if name in children(other)]
    order = _in_order(nodes)
    left: list[dict[str, str]] = [{}]
    while left:
        became = left.pop()
        _mark(nodes, order, became)
        ready = [name for name in order if name not in became and _may_run(nodes, name, became)]
        if not ready:
            assert len(became) == len(nodes), f"the workflow hangs: {became}"
            yield End(became, not _failed(nodes, became))
            continue
        for outcomes in itertools.product(*(possible(name, became) for name in ready)):
            left.append(became | dict(zip(ready, outcomes, strict=True)))


def _in_order(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every node behind all that lead to it."""
    order: list[str] = []
    while len(order) < len(nodes):
        found = [name for name in nodes if name not in order and all(one in order for one in nodes[name]["parents"])]
        assert found, "the workflow has a circle"
        order += found
    return order


def _leads(node: Mapping[str, Any], outcome: str, child: str) -> bool:
    """Whether an outcome of a node opens the way to a child."""
    edges = ("success", "always") if outcome == "successful" else ("failure", "always")
    return any(child in (node.get(edge) or ()) for edge in edges)


def _met_by_all(nodes: Mapping[str, Mapping[str, Any]], name: str, became: Mapping[str, str]) -> bool:
    """For a node that waits for all of its parents; AWX looks at nothing but `successful` and `failed` there."""
    ended = {parent: became.get(parent) for parent in nodes[name]["parents"]}
    return all(
        _leads(nodes[parent], outcome, name) for parent, outcome in ended.items() if outcome in ("successful", "failed")
    )


def _may_run(nodes: Mapping[str, Mapping[str, Any]], name: str, became: Mapping[str, str]) -> bool:
    parents = nodes[name]["parents"]
    if any(parent not in became for parent in parents):
        return False
    if nodes[name].get("converge"):
        return _met_by_all(nodes, name, became)
    return not parents or any(_leads(nodes[one], became[one], name) for one in parents if became[one] != NEVER)


def _mark(nodes: Mapping[str, Mapping[str, Any]], order: Sequence[str], became: dict[str, str]) -> None:
    """Note the nodes that will never run."""
    for name in order:
        parents = nodes[name]["parents"]
        if name in became or not parents:
            continue
        if nodes[name].get("converge"):
            if any(became.get(one) == NEVER for one in parents) or not _met_by_all(nodes, name, became):
                became[name] = NEVER
        elif all(one in became for one in parents) and not any(
            became[one] != NEVER and _leads(nodes[one], became[one], name) for one in parents
        ):
            became[name] = NEVER


def _failed(nodes: Mapping[str, Mapping[str, Any]], became: Mapping[str, str]) -> bool:
    """A workflow has failed where a node did from which no way leads on."""
    return any(
        outcome not in ("successful", NEVER) and not (nodes[name].get("failure") or nodes[name].get("always"))
        for name, outcome in became.items()
    )
