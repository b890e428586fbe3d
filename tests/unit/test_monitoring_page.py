# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The page about what machines read names what there is: metrics with their labels, stats, events, and alert rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import webhook
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats, metrics
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import BEGAN, make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, make_plan

PAGE = (Path(__file__).resolve().parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")
ACCOUNTS = {"before": 1, "now": 1, "came": 0, "left": 0, "cut_off": 0}
DOCUMENT = make_document(
    make_plan(), {"a1": at("switched", before=read_facts(), after=read_facts(NEW, OLD), accounting=ACCOUNTS)}
)
#: What the textfile collector tells of every file.
OF_NODE_EXPORTER = "node_textfile_mtime_seconds"


def block(language: str, begin: str) -> str:
    (found,) = (text for text in re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE) if text.startswith(begin))
    return str(found)


def test_every_metric_with_its_labels() -> None:
    told = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"(?m)^\| `(emqx_fleet_\w+)` \| ([^|]*)\|[^|]*\|$", PAGE)
    }
    there = {}
    for line in metrics.of_run(DOCUMENT, "f").splitlines():
        if not line.startswith("#"):
            there[line.partition("{")[0]] = set(re.findall(r'(\w+)="', line)) - {"fleet"}
    assert told == there
    assert set(there) == set(metrics.METRICS)


def test_every_stat() -> None:
    section = PAGE.partition("## The next job")[2].partition("\n## ")[0]
    told = set(re.findall(r"(?m)^\| `(emqx_fleet_\w+)` \|", section))
    assert told == set(custom_stats.result(DOCUMENT, "")["data"])
    assert f"{custom_stats.LARGEST // 1000} kB" in section


def test_alert_rules_are_of_metrics_that_there_are() -> None:
    (group,) = yaml.safe_load(block("yaml", "groups:"))["groups"]
    assert len(group["rules"]) == 4
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        names = set(re.findall(r"\b[a-z]+_\w+", re.sub(r"\{.*?\}", "", rule["expr"])))
        assert names, rule
        assert names <= {*metrics.METRICS, OF_NODE_EXPORTER}, rule
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert labels <= {"fleet", "host", "file"}


def test_an_event_is_as_it_is_shown() -> None:
    shown: dict[str, Any] = json.loads(block("json", "{"))
    made = webhook.event("wave", "tower", shown["subject"], BEGAN, shown["data"])
    assert {**made, "id": shown["id"], "time": shown["time"]} == shown
    told = re.findall(rf"(?m)^\| `{re.escape(webhook.TYPE_PREFIX)}(\w+)` \|", PAGE)
    assert told == ["started", "wave", "failed", "refused", "finished"]
    assert (
        f"waits for it {webhook.WORKING.all:.0f} s at most for an event, {webhook.ENDED.all:.0f} s at the end" in PAGE
    )
