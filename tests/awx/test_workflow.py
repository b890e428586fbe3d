# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The workflow, whatever becomes of its nodes: it is green for a success alone, and nothing goes back unasked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from .places import CONTENT, content
from .walker import OUTCOMES, End, walks

#: Nodes behind the first approval that lead on to the question whether to go back.
TOUCHING = ("stage", "switch-canary", "approve-rest", "switch", "soak", "approve-commit", "commit")
Change = Callable[[dict[str, dict[str, Any]]], Any]


def as_emqx_fleet_report_does(node: str, so_far: Mapping[str, str]) -> Sequence[str]:
    """Every outcome of every node, but that ``emqx.fleet.report`` fails unless the run was a success."""
    if node == "report" and so_far.get("commit") != "successful":
        return [outcome for outcome in OUTCOMES if outcome != "successful"]
    return OUTCOMES


def violations(workflow: Mapping[str, Any]) -> set[str]:
    """What does not hold of a workflow."""
    found = set()
    for end in walks(workflow):
        if end.green and end.nodes["report"] != "successful":
            found.add("green without a report")
        if end.ran("rollback") and end.nodes["approve-rollback"] != "successful":
            found.add("a way back that nobody approved")
        if any(end.ran(name) and end.nodes[name] != "successful" for name in TOUCHING):
            found |= {f"no {name} after a failure" for name in ("status", "report") if not end.ran(name)}
        if end.nodes["plan"] != "successful" or end.nodes["approve-plan"] != "successful":
            if end.green:
                found.add("green although nothing was done")
            if any(end.ran(name) for name in (*TOUCHING, "rollback")):
                found.add("nodes were touched without approval")
        if end.ran("commit") and not _all_successful(end, ("stage", "switch-canary", "switch", "soak")):
            found.add("a commit after a failure")
        if end.ran("commit") and not _all_successful(end, ("approve-plan", "approve-rest", "approve-commit")):
            found.add("a commit that nobody approved")
    for end in walks(workflow, as_emqx_fleet_report_does):
        if end.green and not _all_successful(end, ("commit", "report")):
            found.add("green without a commit")
    return found


def _all_successful(end: End, names: Sequence[str]) -> bool:
    return all(end.nodes[name] == "successful" for name in names)


def test_whatever_happens() -> None:
    (workflow,) = CONTENT["workflows"]
    assert violations(workflow) == set()


def test_all_went_well_is_green() -> None:
    (workflow,) = CONTENT["workflows"]
    (end,) = walks(workflow, lambda _node, _so_far: ["successful"])
    assert end.green
    assert not end.ran("rollback")
    assert not end.ran("status")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda nodes: nodes["commit"].pop("failure"), "no status after a failure"),
        (lambda nodes: nodes["approve-rest"].pop("failure"), "no report after a failure"),
        (lambda nodes: nodes["status"].update(always=["rollback"]), "a way back that nobody approved"),
        (lambda nodes: nodes["approve-rollback"].update(failure=["rollback"]), "a way back that nobody approved"),
        (lambda nodes: nodes["soak"].update(success=[], always=["approve-commit"]), "a commit after a failure"),
        (lambda nodes: nodes["soak"].update(success=["commit"]), "a commit that nobody approved"),
        (lambda nodes: nodes["plan"].update(failure=["report"]), "green although nothing was done"),
        (lambda nodes: nodes["plan"].update(success=["stage"]), "nodes were touched without approval"),
        (lambda nodes: nodes["rollback"].update(always=[]), "no report after a failure"),
        (lambda nodes: nodes["approve-rollback"].update(failure=[]), "no report after a failure"),
        (lambda nodes: nodes["report"].update(failure=["last"]), "green without a report"),
    ],
)
def test_a_workflow_that_is_not_so_is_found(change: Change, expected: str) -> None:
    (workflow,) = content()["workflows"]
    nodes = {node["identifier"]: node for node in workflow["nodes"]}
    change(nodes)
    if nodes["report"].get("failure"):
        workflow["nodes"].append({"identifier": "last", "template": "cleanup"})
    assert expected in violations(workflow)
