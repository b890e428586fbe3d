# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics, as the parsers of the Prometheus client read them: those of both formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import metrics, report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import BEGAN, NOW, make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, failed_in, make_plan
from prometheus_client import parser as text_format
from prometheus_client.openmetrics import parser as openmetrics

PLAN = make_plan([["a1"], ["a2"]])
FLEET = "emqx_fleet"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def switched_at(seconds: float, version: str = NEW, took: float = 2.0) -> dict[str, Any]:
    row = {"at": seconds, "phase": "switch", "action": "switch", "version": version, "seconds": took}
    return {**row, "clients": 3, "command": [], "rc": 0, "output": []}


DONE = at("committed", before=read_facts(), after=read_facts(NEW), timeline=[switched_at(BEGAN + 60)])
SWITCHED = at("switched", before=read_facts(), after=read_facts(NEW, OLD), timeline=[switched_at(BEGAN + 60)])
ACCOUNTS = {"before": 10, "now": 9, "came": 1, "left": 1, "cut_off": 1}


def read(text: str) -> Samples:
    """All samples, which both parsers find alike."""
    families = list(text_format.text_string_to_metric_families(text))
    found: Samples = {}
    for family in families:
        assert (family.type, bool(family.documentation)) == ("gauge", True), family
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, "a scrape with equal samples fails as a whole"
            found[key] = sample.value
    strict = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert strict == found
    units = {family.name: family.unit for family in openmetrics.text_string_to_metric_families(text)}
    assert {name for name, unit in units.items() if unit} == {name for name in units if name.endswith("_seconds")}
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    """The one sample of a metric that has these labels, whatever it has besides."""
    values = [
        value
        for (known, pairs), value in found.items()
        if known == f"emqx_fleet_{name}" and labels.items() <= dict(pairs).items()
    ]
    assert len(values) <= 1, labels
    return values[0] if values else None


def of_run(outcomes_by_host: Mapping[str, Outcome], earlier: str = "", **more: Any) -> Samples:
    return read(metrics.of_run(make_document(PLAN, outcomes_by_host, **more), FLEET, earlier))


def test_a_run_that_did_all() -> None:
    found = of_run({"a1": {**DONE, "accounting": ACCOUNTS}, "a2": DONE})
    assert value(found, "run_success") == 1
    assert value(found, "run_in_progress") == 0
    assert value(found, "run_duration_seconds") == NOW - BEGAN
    assert value(found, "run_timestamp_seconds") == NOW
    assert value(found, "run_cut_off_clients") == 1
    versions = {"cluster": "a", "running": NEW, "permanent": NEW, "boots": NEW}
    for host in PLAN["nodes"]:
        assert value(found, "node_version_info", host=host, fleet=FLEET, **versions) == 1
        assert value(found, "node_result", host=host, result="committed") == 1
        assert value(found, "node_reached", host=host) == 1
        assert value(found, "node_boots_other_version", host=host) == 0
        assert value(found, "node_uncommitted_seconds", host=host) == 0


def test_a_run_that_failed() -> None:
    found = of_run({"a1": SWITCHED, "a2": failed_in("reserve", reached=False)})
    assert value(found, "run_success") == 0
    assert value(found, "run_cut_off_clients") is None, "nobody could tell, which is not nobody"
    assert value(found, "node_boots_other_version", host="a1") == 1
    assert value(found, "node_uncommitted_seconds", host="a1") == 600 - 62, "since the switch was through"
    assert value(found, "node_reached", host="a2") == 0
    assert value(found, "node_version_info", host="a2") is None
    assert value(found, "node_uncommitted_seconds", host="a2") is None, "nothing is known, which is not 0"


@pytest.mark.parametrize(
    ("timeline", "seconds"),
    [
        ([], 600.0),
        ([switched_at(BEGAN + 10), switched_at(BEGAN + 60, OLD), switched_at(BEGAN + 100)], 498.0),
        ([{**switched_at(BEGAN + 10), "action": "turn"}], 600.0),
        ([switched_at(NOW + 60)], 0.0),
    ],
)
def test_since_when_a_node_is_uncommitted(timeline: list[Any], seconds: float) -> None:
    assert value(of_run({"a1": {**SWITCHED, "timeline": timeline}}), "node_uncommitted_seconds", host="a1") == seconds


def test_a_refused_run() -> None:
    refused = read(metrics.of_run(make_document(None, message="no"), FLEET))
    assert value(refused, "run_success") == 0
    plan = make_plan(feasible=False)
    assert value(read(metrics.of_run(make_document(plan, message="no"), FLEET)), "run_success") == 0


def test_a_run_that_has_not_ended() -> None:
    found = of_run({"a1": SWITCHED}, in_turn=report.InTurn("switch", ["a2"]))
    assert (value(found, "run_in_progress"), value(found, "run_success")) == (1, None)
    assert value(found, "node_result", host="a2", result="in_turn") == 1
    assert value(found, "node_reached", host="a2") is None


def test_what_is_known_of_other_nodes_stays() -> None:
    plan = make_plan([["a1"], ["a2"], ["b1"]])
    waits = failed_in("switch", after=read_facts(NEW, OLD))
    before = metrics.of_run(make_document(plan, {"a1": waits, "a2": waits, "b1": waits}), FLEET)
    begun = metrics.of_run(make_document(PLAN, {}, report.InTurn()), FLEET, before)
    for host in ("a1", "a2", "b1"):
        assert value(read(begun), "node_boots_other_version", host=host) == 1, "an alert goes on while a run works"
    assert value(read(begun), "node_result", host="b1") is None, "of this run"
    ended = read(metrics.of_run(make_document(PLAN, {"a1": DONE}), FLEET, begun))
    assert value(ended, "node_boots_other_version", host="a1") == 0
    assert value(ended, "node_boots_other_version", host="a2") is None, "it is of this run, which does not know"
    assert value(ended, "node_boots_other_version", host="b1") == 1
    assert value(ended, "run_success") == 0


@pytest.mark.parametrize("sign", ['"', "\\", "\n", "\\n", "{", "},", 'a",host="b1', "é", "\ud800", " ", "#"])
def test_signs_in_labels(sign: str) -> None:
    host = f"a{sign}1"
    plan = make_plan([[host]])
    plan["nodes"][host]["cluster"] = sign
    text = metrics.of_run(make_document(plan, {host: SWITCHED}), f"f{sign}")
    shown = host.replace("\ud800", "?")
    found = read(text)
    assert value(found, "node_version_info", host=shown, cluster=sign.replace("\ud800", "?")) == 1
    again = make_document(plan, {host: DONE})
    assert value(read(metrics.of_run(again, f"f{sign}", text)), "node_boots_other_version", host=shown) == 0
    kept = read(metrics.of_run(make_document(PLAN, {"a1": DONE}), f"f{sign}", text))
    assert value(kept, "node_boots_other_version", host=shown) == 1


def test_a_look_at_the_fleet() -> None:
    entry = {"time": 0.0, "what": "x", "outcome": "done", "message": "", "running": NEW, "permanent": OLD}
    waits = read_facts(NEW, OLD, clock=7200.0, journal=[{**entry, "actions": []}])
    stopped = read_facts(OLD, state="stopped")
    facts = {"a1": waits, "a2": read_facts(NEW), "a3": stopped, "a4": {"msg": "no route"}, "a5": {}}
    run = metrics.of_run(make_document(PLAN, {"a1": DONE, "a2": DONE}), FLEET)
    found = read(metrics.of_fleet(facts, FLEET, run))
    assert value(found, "node_boots_other_version", host="a1") == 1
    assert value(found, "node_uncommitted_seconds", host="a1") == 7200
    assert value(found, "node_version_info", host="a1", cluster="emqx@a1", running=NEW, boots=OLD) == 1
    assert value(found, "node_boots_other_version", host="a2") == 0
    reached = {host: value(found, "node_reached", host=host) for host in facts}
    assert reached == {"a1": 1, "a2": 1, "a3": 1, "a4": 0, "a5": 0}
    assert [value(found, "node_version_info", host=host) for host in ("a3", "a4", "a5")] == [None] * 3
    assert value(found, "run_success") == 1, "of the last run"
    assert value(found, "node_result", host="a2", result="committed") == 1


def test_a_look_at_a_node_that_nobody_noted() -> None:
    found = read(metrics.of_fleet({"a1": read_facts(NEW, OLD, journal=[])}, FLEET))
    assert value(found, "node_boots_other_version", host="a1") == 1
    assert value(found, "node_uncommitted_seconds", host="a1") is None


@pytest.mark.parametrize(
    "earlier", ["", "x", "emqx_fleet_run_success 1", 'emqx_fleet_run_success{fleet="other"} 1', "{\n}", "# EOF\n"]
)
def test_a_file_of_others_is_replaced(earlier: str) -> None:
    assert metrics.of_fleet({"a1": read_facts()}, FLEET, earlier) == metrics.of_fleet({"a1": read_facts()}, FLEET)


def test_every_metric_is_one_that_a_run_or_a_look_has() -> None:
    whole = of_run({"a1": {**SWITCHED, "accounting": ACCOUNTS}})
    assert {name for name, _labels in whole} == set(metrics.METRICS)
