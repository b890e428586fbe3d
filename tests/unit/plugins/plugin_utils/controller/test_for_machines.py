# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What machines are told while a run goes on, and what an earlier job of the same run hands on."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import report_file, webhook
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import DECISION, PLANNED
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats, events, report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.http_server import Server, serving
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, failed_in, make_plan

ALL = ["plan", "stage", "switch", "soak", "commit"]
PLAN = make_plan([["a1"], ["a2"]])
SWITCHED = at("switched", looked=1, before=read_facts(), after=read_facts(NEW, OLD))
DONE = at("committed", before=read_facts(), after=read_facts(NEW))
BROKEN = failed_in("switch", before=read_facts(), after=read_facts(NEW, OLD))
TOKEN = "t0ken-of-ours"
Told = dict[str, Any]


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ("emqx.fleet.upgrade",), "tags": ("all",)})
    monkeypatch.setattr(webhook, "PAUSES", ())
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Ansible was told to warn of."""
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, **_how: said.append(text))
    return said


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(204) as found:
        yield found


def files(server: Server | None = None, variables: Told | None = None, **settings: Any) -> ReportFiles:
    """As the plugins of a task make it."""
    hook = {"webhook": f"http://{server.place}/hidden", "webhook_token": TOKEN} if server else {}
    return ReportFiles({**hook, **settings}, {"inventory_hostname": "a1", **(variables or {})}, 1000.0)


def decide(phase: str, wave: int = 0, found: dict[str, Outcome | None] | None = None) -> Decision:
    return outcomes.decide(PLAN, found or {}, phase, Rules(), wave)


def go_on(server: Server, decision: Decision, before: Decision | None = None, **more: Any) -> ReportFiles:
    """What a decision does, whose task finds the one before registered."""
    told = files(server, {DECISION: {**(before or {}), **more}})
    told.go_on(PLAN, {}, Rules(), decision, [])
    return told


def kinds(server: Server) -> list[str]:
    return [event["type"].removeprefix(webhook.TYPE_PREFIX) for event in server.events]


# Events


def test_events_of_a_run(server: Server) -> None:
    files(server).begin(PLAN, Rules(), "")
    staged = {"a1": at("staged"), "a2": at("staged")}
    first = decide("switch", 1, {**staged})
    go_on(server, first, decide("reserve"))
    go_on(server, first, first)  # after the hooks before the wave
    second = decide("switch", 2, {**staged, "a1": SWITCHED})
    go_on(server, second, first)
    go_on(server, decide("soak", 0, {"a1": SWITCHED, "a2": SWITCHED}), second)
    built = report.build(PLAN, {"a1": DONE, "a2": DONE}, Rules())
    files(server).finish(built, PLAN, {"a1": DONE, "a2": DONE})
    assert kinds(server) == ["started", "wave", "wave", "finished"]
    assert {event["subject"] for event in server.events} == {"run-1"}
    started, wave, _wave, finished = (event["data"] for event in server.events)
    same = {"run_id": "run-1", "purpose": "upgrade", "target": NEW}
    assert started == {
        **same,
        "verdict": "running",
        "phases": ["plan", "stage", "switch", "soak", "commit"],
        "nodes": {"upgrade": 2},
        "waves": 2,
    }
    told = {"number": 1, "of": 2, "kind": "canary", "count": 1, "hosts": ["a1"]}
    assert wave == {**same, "verdict": "running", "wave": told}
    assert finished["seconds"] > 0
    assert {**finished, "seconds": 1} == {
        **same,
        "verdict": "succeeded",
        "nodes": {"committed": 2},
        "cut_off": None,
        "seconds": 1,
        "final": True,
        "message": "",
    }


def test_the_first_failure_is_told_once(server: Server) -> None:
    first = decide("switch", 1)
    second = decide("switch", 2, {"a1": BROKEN, "a2": at("staged")})
    go_on(server, second, first)
    go_on(server, decide("soak", 0, {"a1": BROKEN, "a2": at("staged")}), second)
    assert kinds(server) == ["failed"]
    (event,) = server.events
    assert event["data"]["failures"] == [{"host": "a1", "phase": "switch", "message": "It broke."}]
    assert (event["data"]["failed"], event["data"]["goes_on"]) == (1, False)
    assert "no further node is touched" in event["data"]["message"]


def test_the_way_back_has_waves_as_well(server: Server) -> None:
    rules = Rules(on_failure="rollback_fleet")
    found: dict[str, Outcome | None] = {"a1": SWITCHED, "a2": BROKEN}
    first = outcomes.decide(PLAN, found, "rollback", rules)
    second = outcomes.decide(PLAN, found, "rollback", rules, 1, batches=first["batches"])
    go_on(server, first, decide("switch", 2, {**found}))
    assert server.got == []
    go_on(server, second, first)
    (event,) = server.events
    assert event["data"]["wave"] == {"number": 1, "of": 2, "kind": "rollback", "count": 1, "hosts": ["a2"]}


def test_a_refusal_is_told_of(server: Server) -> None:
    plan = make_plan([["a1"]], feasible=False)
    told = files(server).begin(plan, Rules(), "[space] There are 3 MB.")
    files(server).refuse(["plan", "switch"], "Mend that.")
    assert told is not None
    assert kinds(server) == ["refused", "refused"]
    first, second = server.events
    assert first["data"]["verdict"] == second["data"]["verdict"] == "refused"
    assert first["data"]["message"].startswith("[space] There are 3 MB.")
    assert (first["subject"], second.get("subject"), second["data"]["message"]) == ("run-1", None, "Mend that.")


def test_nobody_is_told_of_a_look(server: Server) -> None:
    assert files(server).begin(PLAN, Rules(parts=["plan"]), "") is None
    files(server).refuse(["plan"], "no")
    files(server).finish(report.build(PLAN, {}, Rules()), PLAN, {}, keep=False)
    assert server.got == []


def test_a_webhook_that_fails_is_warned_of_once(server: Server, warnings: list[str]) -> None:
    server.answers[:] = [500]
    told = files(server)
    told.begin(PLAN, Rules(), "")
    assert told.webhook_failed
    assert warnings == [
        f"The webhook at http://{server.place} was not told of io.github.emqx-fleet.run.started: it answered HTTP 500. "
        "The run goes on all the same."
    ]
    handed_on = {report_file.WEBHOOK_FAILED: True}
    first = go_on(server, decide("switch", 1), None, **handed_on)
    assert first.webhook_failed
    assert kinds(server) == ["started"], "no wave waits for it any more"
    go_on(server, decide("switch", 2, {"a1": BROKEN}), decide("switch", 1), **handed_on)
    told = files(server, {PLANNED: handed_on})
    told.finish(report.build(PLAN, {"a1": DONE, "a2": DONE}, Rules()), PLAN, {"a1": DONE, "a2": DONE})
    assert kinds(server) == ["started", "failed", "finished"], "of what matters it is told all the same"
    assert len(warnings) == 1


def test_an_event_is_small() -> None:
    hosts = [f"a{number}" for number in range(500)]
    plan = make_plan([hosts])
    broken = failed_in("switch", "x" * 5000, after=read_facts(NEW, OLD))
    decision = outcomes.decide(plan, dict.fromkeys(hosts, broken), "switch", Rules(), 1)
    decision["hosts"] = hosts
    assert len(json.dumps(events.failed(plan, decision))) < 60_000
    assert len(json.dumps(events.wave(plan, decision))) < 2000
    document = make_document(plan, dict.fromkeys(hosts, broken))
    assert len(json.dumps(events.ended(document))) < 2000


# Files


def test_files_tell_of_the_run_from_its_beginning(tmp_path: Path) -> None:
    junit, metrics = tmp_path / "new/junit.xml", tmp_path / "new/fleet.prom"
    settings: Told = {"report_junit": str(junit), "report_metrics": str(metrics)}
    old = os.umask(0o077)
    try:
        files(**settings).begin(PLAN, Rules(), "")
        assert "not begun" in junit.read_text(encoding="utf-8")
        assert 'emqx_fleet_run_in_progress{fleet="fleet"} 1\n' in metrics.read_text(encoding="utf-8")
        found: dict[str, Outcome | None] = {"a1": SWITCHED, "a2": at("staged")}
        files(**settings).go_on(PLAN, found, Rules(), decide("switch", 2, found), [])
        assert "was in its turn" in junit.read_text(encoding="utf-8")
        found = {"a1": DONE, "a2": DONE}
        files(**settings).finish(report.build(PLAN, found, Rules()), PLAN, found)
    finally:
        os.umask(old)
    assert 'failures="0" errors="0"' in junit.read_text(encoding="utf-8")
    assert 'emqx_fleet_run_success{fleet="fleet"} 1\n' in metrics.read_text(encoding="utf-8")
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644, "another user reads it"
    assert sorted(path.name for path in junit.parent.iterdir()) == ["fleet.prom", "junit.xml"]


@pytest.mark.parametrize("name", ["report_file", "report_junit", "report_metrics"])
def test_each_file_is_written_by_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x"
    settings: Told = {name: str(path)}
    files(**settings).go_on(PLAN, {}, Rules(), decide("reserve"), [])
    assert path.exists()


def test_files_of_refused_runs(tmp_path: Path) -> None:
    junit, metrics = tmp_path / "junit.xml", tmp_path / "fleet.prom"
    settings: Told = {"report_junit": str(junit), "report_metrics": str(metrics)}
    files(**settings).refuse(["plan", "switch"], "Mend that.")
    assert "Mend that." in junit.read_text(encoding="utf-8")
    assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in metrics.read_text(encoding="utf-8")
    junit.unlink()
    metrics.unlink()
    files(**settings).begin(make_plan(feasible=False), Rules(), "No room.")
    assert "No room." in junit.read_text(encoding="utf-8")
    assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in metrics.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["report_file", "report_junit", "report_metrics"])
def test_what_cannot_be_written_is_told_at_the_end(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    metrics = tmp_path / "fleet.prom"
    settings: Told = {"report_metrics": str(metrics), name: str(tmp_path / "file/x")}
    found: dict[str, Outcome | None] = {"a1": DONE, "a2": DONE}
    told = files(**settings).finish(report.build(PLAN, found, Rules()), PLAN, found)
    assert (told["ok"], told["verdict"]) == (False, "failed")
    assert told["message"].startswith(f"The report cannot be written to {tmp_path}/file/x: ")
    if name != "report_metrics":
        assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in metrics.read_text(encoding="utf-8")


# From job to job


def test_stats_of_a_run() -> None:
    document = make_document(PLAN, {"a1": DONE, "a2": BROKEN})
    found = custom_stats.result(document, "/r.json")
    assert (found["per_host"], found["aggregate"]) == (False, False), "as AWX and ansible-runner read them"
    assert found["data"] == {
        "emqx_fleet_run_id": "run-1",
        "emqx_fleet_verdict": "failed",
        "emqx_fleet_ok": False,
        "emqx_fleet_nodes": {"committed": 1, "failed": 1},
        "emqx_fleet_cut_off": None,
        "emqx_fleet_seconds": 600.0,
        "emqx_fleet_report_file": "/r.json",
        "emqx_fleet_report": document,
    }


def test_a_document_that_is_too_large_is_no_stat() -> None:
    document = make_document(PLAN, {"a1": DONE, "a2": DONE})
    room = custom_stats.LARGEST - len(json.dumps({**document, "message": ""}))
    assert "emqx_fleet_report" in custom_stats.result({**document, "message": "x" * room}, "")["data"]
    data = custom_stats.result({**document, "message": "x" * (room + 1)}, "")["data"]
    assert "emqx_fleet_report" not in data
    assert data["emqx_fleet_verdict"] == "succeeded"


def test_a_refusal_does_not_hide_the_document_of_an_earlier_job() -> None:
    data = custom_stats.result(make_document(None, message="Mend that."), "")["data"]
    assert (data["emqx_fleet_verdict"], data["emqx_fleet_ok"]) == ("refused", False)
    assert "emqx_fleet_report" not in data


@pytest.mark.parametrize("form", [lambda document: document, json.dumps, str])
def test_the_next_job_goes_on_with_it(form: Any) -> None:
    staged = at("staged", before=read_facts(), after=read_facts())
    earlier = make_document(PLAN, {"a1": staged, "a2": staged}, parts=("plan", "stage"))
    handed_on = custom_stats.result(earlier, "")["data"][report_file.HANDED_ON]
    told = files(variables={report_file.HANDED_ON: form(handed_on)})
    found: dict[str, Outcome | None] = {"a1": DONE, "a2": DONE}
    document = told.finish(report.build(PLAN, found, Rules()), PLAN, found)
    assert [job["phases"] for job in document["jobs"]] == [["plan", "stage"], ALL]
    assert document["started"] == earlier["started"]


@pytest.mark.parametrize("text", ["", "x", "{", "[" * 100_000, '{"a": 1}', "null", "\0"])
def test_what_is_no_document_is_left_alone(text: str) -> None:
    told = files(variables={report_file.HANDED_ON: text})
    found: dict[str, Outcome | None] = {"a1": DONE, "a2": DONE}
    assert len(told.finish(report.build(PLAN, found, Rules()), PLAN, found)["jobs"]) == 1
