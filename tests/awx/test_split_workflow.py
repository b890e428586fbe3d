# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The workflow of two parts, whatever becomes of its nodes.

It is walked through by the rules of AWX 24.6.1: which nodes may run and which never will, and when a workflow has
failed (``awx/main/scheduler/dag_workflow.py``); what jobs hand on to later ones (``WorkflowJobNode.get_job_kwargs`` in
``awx/main/models/workflow.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings

ROOT = Path(__file__).resolve().parents[2]
CONTENT = yaml.safe_load((ROOT / "extensions/awx/split-workflow.yml").read_text(encoding="utf-8"))
(WORKFLOW,) = CONTENT["workflows"]
TEMPLATES = {template["name"]: template for template in CONTENT["templates"]}
NODES: dict[str, dict[str, Any]] = {node["identifier"]: node for node in WORKFLOW["nodes"]}
#: Templates of content.yml, by the names that they have there.
SHARED = {"status", "plan", "split", "stage", "switch canary", "soak", "commit", "rollback", "report"}
OPTIONS = settings.options_of(
    yaml.safe_load((ROOT / "roles/emqx_upgrade/meta/argument_specs.yml").read_text(encoding="utf-8"))
)
PARTS = ("1", "2")
NEVER = "never"
#: Behind the first approval: after a failure of one of these a person is asked whether to go back.
TOUCHING = [
    *("stage-1", "stage-2", "stage", "switch-canary", "approve-rest"),
    *("switch-1", "switch-2", "soak", "approve-commit", "commit"),
]
Nodes = Mapping[str, Mapping[str, Any]]


class HangsError(Exception):
    """AWX waits forever for these nodes."""


class End(NamedTuple):
    """What became of each node (how it ended, or NEVER), in which step it began, and whether the workflow is green."""

    became: dict[str, str]
    step: dict[str, int]
    green: bool

    def ran(self, *names: str) -> bool:
        return all(self.became[name] != NEVER for name in names)

    def all_well(self, *names: str) -> bool:
        return all(self.became[name] == "successful" for name in names)


def parents_of(nodes: Nodes) -> dict[str, list[str]]:
    """Of each node, in the order in which they were made, which is that of the file."""
    edges = ("success", "failure", "always")
    targets = {name: {child for edge in edges for child in node.get(edge, ())} for name, node in nodes.items()}
    return {name: [one for one, children in targets.items() if name in children] for name in nodes}


def leads(node: Mapping[str, Any], outcome: str, child: str) -> bool:
    edge = "success" if outcome == "successful" else "failure"
    return outcome != NEVER and (child in node.get(edge, ()) or child in node.get("always", ()))


class Walker:
    """A workflow with its nodes by name; the file has every node behind its parents."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.parents = parents_of(nodes)

    def walks(self, ends: Callable[[str], Sequence[str]]) -> Iterator[End]:
        """Every way through; ``ends`` are the ways in which a node can end. Raises HangsError."""
        left: list[tuple[dict[str, str], dict[str, int]]] = [({}, {})]
        while left:
            became, step = left.pop()
            self._mark_never(became)
            ready = [name for name in self.nodes if self._may_run(name, became)]
            if not ready:
                if len(became) < len(self.nodes):
                    raise HangsError(", ".join(sorted(set(self.nodes) - set(became))))
                failed = [self.nodes[name] for name, how in became.items() if how not in ("successful", NEVER)]
                yield End(became, step, all(node.get("failure") or node.get("always") for node in failed))
                continue
            begun = step | dict.fromkeys(ready, max(step.values(), default=0) + 1)
            for outcomes in itertools.product(*map(ends, ready)):
                left.append((became | dict(zip(ready, outcomes, strict=True)), begun))

    def _met_by_all(self, name: str, became: Mapping[str, str]) -> bool:
        """Of a node that waits for all of its parents. AWX asks no job that was canceled, or ended in an error."""
        ended = ((one, became.get(one)) for one in self.parents[name])
        return all(leads(self.nodes[one], how, name) for one, how in ended if how in ("successful", "failed"))

    def _mark_never(self, became: dict[str, str]) -> None:
        for name, parents in self.parents.items():
            if name in became or not parents:
                continue
            if self.nodes[name].get("converge"):
                never = any(became.get(one) == NEVER for one in parents) or not self._met_by_all(name, became)
            else:
                never = all(one in became and not leads(self.nodes[one], became[one], name) for one in parents)
            if never:
                became[name] = NEVER

    def _may_run(self, name: str, became: Mapping[str, str]) -> bool:
        parents = self.parents[name]
        if name in became or any(one not in became for one in parents):
            return False
        # A node is come to by an edge; one that waits for all is asked about all of them besides.
        reached = not parents or any(leads(self.nodes[one], became[one], name) for one in parents)
        return reached and (not self.nodes[name].get("converge") or self._met_by_all(name, became))


def walks(nodes: Nodes, ends: Callable[[str], Sequence[str]]) -> Iterator[End]:
    return Walker(nodes).walks(ends)


def however(name: str) -> Sequence[str]:
    """An approval that is denied, or runs out of time, has failed."""
    return ("successful", "failed") if "approval" in NODES[name] else ("successful", "failed", "error")


def violations(nodes: Nodes, ends: Callable[[str], Sequence[str]] = however) -> set[str]:
    """What does not hold of the workflow."""
    found = set()
    for end in walks(nodes, ends):
        if end.green and not end.all_well("report"):
            found.add("green without a report")
        if end.ran("rollback") and not end.all_well("approve-rollback"):
            found.add("a way back that nobody approved")
        touched = [name for name in TOUCHING if end.ran(name)]
        if touched and not end.all_well("split", "plan", "approve-plan"):
            found.add("touched without approval")
        if not end.all_well(*touched) and not end.ran("status", "approve-rollback", "report"):
            found.add("a failure that nobody is asked about")
        for job, parts in (("stage", ("stage-1", "stage-2")), ("soak", ("switch-1", "switch-2"))):
            if end.ran(job) and "failed" in (end.became[part] for part in parts):
                found.add("goes on after a part has failed")
        if end.ran("switch-canary") and not end.all_well("stage"):
            found.add("switched before all is staged")
        for part in PARTS:
            if end.ran(f"switch-{part}") and not end.all_well("switch-canary", "approve-rest"):
                found.add("a part before the canary and its approval")
        if end.ran("commit") and not end.all_well("soak", "approve-commit"):
            found.add("a commit that nobody approved")
    return found


def test_whatever_happens() -> None:
    assert violations(NODES) == set()


def test_all_goes_well_with_both_parts_at_the_same_time() -> None:
    (end,) = walks(NODES, lambda _name: ["successful"])
    assert end.green
    assert end.became["status"] == end.became["rollback"] == NEVER
    assert end.step["stage-1"] == end.step["stage-2"] < end.step["stage"] < end.step["switch-canary"]
    assert end.step["switch-1"] == end.step["switch-2"] < end.step["soak"]


@pytest.mark.parametrize("other", ["successful", "failed", "error"])
@pytest.mark.parametrize("how", ["failed", "error"])
@pytest.mark.parametrize(("parts", "job", "later"), [("stage", "stage", "switch-canary"), ("switch", "soak", "commit")])
def test_a_part_that_does_not_end_well(parts: str, job: str, later: str, how: str, other: str) -> None:
    """The other part is not stopped. After an error AWX goes on to the job for all nodes, which finds out by itself."""
    ends = {f"{parts}-1": how, f"{parts}-2": other, job: "failed"}
    (end,) = walks(NODES, lambda name: [ends.get(name, "successful")])
    assert end.ran(f"{parts}-2", "status", "approve-rollback", "rollback", "report")
    assert end.ran(job) == ("failed" not in (how, other))
    assert not end.ran(later)


@pytest.mark.parametrize(("approval", "job"), [("approve-plan", "stage"), ("approve-rest", "soak")])
def test_awx_waits_forever_where_all_that_come_together_end_in_an_error(approval: str, job: str) -> None:
    """Which is what the edge from the approval is for."""
    nodes = {name: dict(node) for name, node in NODES.items()}
    nodes[approval]["success"] = [name for name in nodes[approval]["success"] if name != job]
    with pytest.raises(HangsError, match=job):
        violations(nodes)


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda nodes: nodes["soak"].update(converge=False), "goes on after a part has failed"),
        (lambda nodes: nodes["stage"].update(converge=False), "goes on after a part has failed"),
        (
            lambda nodes: nodes["stage-1"].update(success=["stage", "switch-canary"]),
            "switched before all is staged",
        ),
        (lambda nodes: nodes["switch-1"].update(failure=[]), "a failure that nobody is asked about"),
        (
            lambda nodes: nodes["stage-2"].update(success=["switch-canary", "switch-2"]),
            "a part before the canary and its approval",
        ),
        (lambda nodes: nodes["report"].update(always=["end"]), "green without a report"),
        (lambda nodes: nodes["status"].update(always=["rollback"]), "a way back that nobody approved"),
        (lambda nodes: nodes["plan"].update(success=["stage-1", "stage-2"]), "touched without approval"),
        (lambda nodes: nodes["soak"].update(success=["commit"]), "a commit that nobody approved"),
    ],
)
def test_a_wrong_edge_is_found(change: Callable[[dict[str, dict[str, Any]]], None], violation: str) -> None:
    nodes = {name: dict(node) for name, node in NODES.items()} | {"end": {}}
    change(nodes)
    if "end" not in nodes["report"].get("always", ()):
        del nodes["end"]
    assert violation in violations(nodes, lambda name: however(name) if name in NODES else ["successful"])


# What is handed on


def artifacts_of(nodes: Nodes, name: str, hands_on: Callable[[str], Mapping[str, str]]) -> dict[str, str]:
    """What a job gets of those before it: of each parent, what that one got, and then what it handed on itself."""
    found: dict[str, str] = {}
    for parent in parents_of(nodes)[name]:
        if parent in ("status", "rollback", "approve-rollback") or name == "status":
            continue
        found |= artifacts_of(nodes, parent, hands_on)
        found |= hands_on(parent)
    return found


def test_the_parts_are_known_to_all_jobs_for_a_part() -> None:
    for part in PARTS:
        for name in (f"stage-{part}", f"switch-{part}"):
            assert artifacts_of(NODES, name, lambda job: {"emqx_fleet_parts": job} if job == "split" else {}) == {
                "emqx_fleet_parts": "split"
            }


def test_a_name_that_two_jobs_of_a_part_use_has_the_older_value_behind_the_parts() -> None:
    """What one parent got overwrites what another handed on itself; so each job for a part needs names of its own."""
    same = artifacts_of(NODES, "soak", lambda job: {f"report_{job[-1]}": job} if job[-1] in PARTS else {})
    assert same == {"report_1": "stage-1", "report_2": "switch-2"}
    own = artifacts_of(NODES, "soak", lambda job: {f"report_{job}": job} if job[-1] in PARTS else {})
    assert own == {f"report_{job}": job for job in ("stage-1", "stage-2", "switch-1", "switch-2")}


# The data


def test_every_template_is_there() -> None:
    used = {node["template"] for node in NODES.values() if "template" in node}
    assert used == SHARED | set(TEMPLATES)


def test_every_part_has_its_jobs() -> None:
    assert len(PARTS) == WORKFLOW["extra_vars"]["emqx_upgrade_split"] == OPTIONS["split"]["default"]
    parents = parents_of(NODES)
    for part in PARTS:
        assert f"stage-{part}" in parents["stage"]
        assert f"switch-{part}" in parents["soak"]
        for job in ("stage", "switch"):
            template = TEMPLATES[NODES[f"{job}-{part}"]["template"]]
            assert (template["playbook"], template["extra_vars"]["emqx_fleet_part"]) == (f"{job}.yml", part)
        assert TEMPLATES[f"switch part {part}"]["extra_vars"]["emqx_upgrade_waves"] == "rest"
    assert len({node["template"] for node in NODES.values() if "template" in node}) == sum(
        "template" in node for node in NODES.values()
    ), "AWX would run two jobs of one template one after the other"


def test_edges_lead_to_nodes_behind() -> None:
    order = list(NODES)
    for name, node in NODES.items():
        assert ("template" in node) != ("approval" in node)
        assert name.startswith("approve-") == ("approval" in node)
        for edge in ("success", "failure", "always"):
            assert all(order.index(child) > order.index(name) for child in node.get(edge, ()))


def test_surveys_ask_for_settings_and_nothing_lacks_an_answer() -> None:
    for one in (*TEMPLATES.values(), WORKFLOW):
        assert set(one["survey"]) <= set(settings.RULES)
        assert not [name for name in one["survey"] if settings.RULES[name].secret]
        assert set(one["required"]) <= set(one["survey"])
    for template in TEMPLATES.values():
        assert set(template["required"]) <= set(WORKFLOW["required"])


def test_nodes_stay_reserved_for_as_long_as_anybody_may_take() -> None:
    """From the end of a part, over the other one and the answer, to the next job; over the way back as well."""
    parked = WORKFLOW["extra_vars"]["emqx_upgrade_park_seconds"]
    rule = settings.RULES["park_seconds"]
    longest = max(
        node["approval"]["timeout"] for name, node in NODES.items() if name != "approve-plan" and "approval" in node
    )
    assert longest + 2 * WORKFLOW["job_seconds"] < parked <= rule.most
