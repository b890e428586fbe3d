# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's file tells of the run from its beginning, so that none that is killed leaves the last one's there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import report_file
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.accounting import Watch
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.report_schema import validate
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, make_plan

PLAN = make_plan([["a1"], ["a2"]])
LAST = {"ok": True, "message": "", "run_id": "last night"}


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ("emqx.fleet.upgrade",), "tags": ("all",)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "report.json"
    found.write_text(json.dumps(LAST))
    return found


def files(path: Path | str, started: float = 1_790_000_000.0, **variables: Any) -> ReportFiles:
    return ReportFiles({"report_file": str(path)}, variables, started, lambda: started + 20)


def read(path: Path) -> dict[str, Any]:
    """The document, which is as the schema has it, and whose digest is right."""
    text = path.read_bytes()
    document: dict[str, Any] = json.loads(text)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.sha256"]
    digest = Path(f"{path}.sha256").read_text(encoding="utf-8")
    assert digest == f"{hashlib.sha256(text).hexdigest()}  {path.name}\n"
    validate(document)
    return document


def test_a_run_that_has_begun(path: Path) -> None:
    files(path).begin(PLAN, Rules(), "")
    found = read(path)
    assert (found["ok"], found["ended"], found["run_id"]) == (False, False, PLAN["run_id"])
    assert found["message"].startswith(
        f"{report.NOT_ENDED.format('')}\nThese nodes were not touched: a1, a2.\nTo go on, "
    )
    assert [row["result"] for row in found["nodes"].values()] == ["not_begun", "not_begun"]


def test_how_far_it_is(path: Path) -> None:
    switched = at("switched", looked=1, before=read_facts(OLD), after=read_facts(NEW, OLD))
    found: dict[str, Outcome | None] = {"a1": switched, "a2": at("staged")}
    decision = outcomes.decide(PLAN, found, "switch", Rules(), wave=2)
    decision["problems"] = ["The hook before_fleet failed: no route"]
    files(path).go_on(PLAN, found, Rules(), decision, [])
    told = read(path)
    assert (told["ok"], told["ended"]) == (False, False)
    assert told["message"].startswith(
        "The hook before_fleet failed: no route.\n"
        "The run has not come to its end; if it does not work any more, it was killed or Ansible gave it up, and this "
        "is how far it was known to be when phase switch began.\n"
        "These nodes were in their turn, so look what they run: a2.\n"
        f"These nodes run {NEW} without it being permanent, so a restart brings the old version back: a1.\n"
    )
    assert "not touched" not in told["message"]
    assert [(row["result"], row["running"]) for row in told["nodes"].values()] == [
        ("not_committed", NEW),
        ("in_turn", None),
    ]


def test_a_plan_that_was_refused(path: Path) -> None:
    plan = make_plan([["a1"], ["a2"]])
    plan["feasible"] = False
    plan["nodes"]["a2"]["node"] = None
    files(path).begin(plan, Rules(), "a2: the node could not be read: no route")
    found = read(path)
    assert (found["ok"], found["ended"]) == (False, True)
    assert found["message"].startswith("a2: the node could not be read: no route.\nTo go on, ")
    assert "not touched" not in found["message"], "of a node that was not reached"
    assert [row["reached"] for row in found["nodes"].values()] == [True, False]


def test_settings_that_were_refused(path: Path) -> None:
    files(path).refuse(["plan", "switch"], "Mend that.")
    found = read(path)
    assert (found["ok"], found["ended"], found["message"], found["nodes"]) == (False, True, "Mend that.", {})
    built = report.build(PLAN, {}, Rules())
    assert set(built) <= set(found), "whoever reads it finds every key"


@pytest.mark.parametrize(
    "call",
    [
        lambda path: files(path).begin(PLAN, Rules(parts=["plan"]), ""),
        lambda path: files(path).begin(PLAN, Rules(parts=["plan"]), "no"),
        lambda path: files(path).refuse(["plan"], "no"),
    ],
)
def test_an_invocation_that_ends_without_a_report_leaves_it(path: Path, call: Callable[[str], None]) -> None:
    call(str(path))
    assert json.loads(path.read_text(encoding="utf-8")) == LAST


def test_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files("").begin(PLAN, Rules(), "")
    files("").go_on(PLAN, {}, Rules(), outcomes.decide(PLAN, {}, "reserve", Rules()), [])
    files("").refuse(["switch"], "no")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_now_disturbs_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files(tmp_path / "file/report.json").begin(PLAN, Rules(), "")
    assert report_file.write(str(tmp_path / "file/report.json"), {}) == (
        f"The report cannot be written to {tmp_path}/file/report.json: File exists."
    )


def finished(path: Path, outcome: Outcome, started: float, plan: Plan = PLAN, **variables: Any) -> dict[str, Any]:
    found = dict.fromkeys(plan["nodes"], outcome)
    built = report.build(plan, found, Rules())
    files(path, started, **variables).begin(plan, Rules(), "")
    return files(path, started, **variables).finish(built, plan, found)


def row_at(at: float, action: str = "switch") -> dict[str, Any]:
    return {
        "at": at,
        "phase": "switch",
        "action": action,
        "version": NEW,
        "seconds": 1.5,
        "clients": 5,
        "command": [],
    } | {
        "rc": None,
        "output": [],
    }


def test_jobs_of_one_run_become_one_document(path: Path) -> None:
    """Each job plans anew, from what runs then; where the fleet came from is what the first one found."""
    account = Watch(read_facts(OLD)).look(read_facts(NEW, OLD))
    switched = at("switched", before=read_facts(OLD), after=read_facts(NEW, OLD), timeline=[row_at(1_790_000_005)])
    finished(path, outcomes.note(switched, accounting=account), 1_790_000_000.0)
    second = make_plan([], {"a1": "commit", "a2": "commit"})
    committed = at("committed", before=read_facts(NEW, OLD), after=read_facts(NEW), timeline=[row_at(1_790_000_705)])
    told = finished(path, committed, 1_790_000_700.0, second)
    assert told == read(path)
    assert [job["started"] for job in told["jobs"]] == ["2026-09-21T14:13:20.000Z", "2026-09-21T14:25:00.000Z"]
    assert (told["started"], told["seconds"]) == ("2026-09-21T14:13:20.000Z", 40.0)
    for row in told["nodes"].values():
        assert (row["from"], row["running"], row["permanent"], row["result"]) == (OLD, NEW, NEW, "committed")
        assert [entry["at"][11:19] for entry in row["timeline"]] == ["14:13:25", "14:25:05"]
        assert row["accounting"] == account
        assert row["state_before"]["running"] == OLD


def test_what_the_next_job_of_a_workflow_was_handed(tmp_path: Path) -> None:
    first = finished(tmp_path / "a" / "r.json", at("switched", before=read_facts(OLD)), 1_790_000_000.0)
    told = finished(tmp_path / "b" / "r.json", at("committed"), 1_790_000_700.0, emqx_fleet_report=first)
    assert len(told["jobs"]) == 2
    stranger = dict(first, run_id="another")
    told = finished(tmp_path / "c" / "r.json", at("committed"), 1_790_000_700.0, emqx_fleet_report=stranger)
    assert len(told["jobs"]) == 1


@pytest.mark.parametrize("there", ["", "{", "[]", '{"schema": "emqx.fleet/report/1"}', '{"run_id": "run-1"}'])
def test_anything_else_that_lies_there_is_no_earlier_job(path: Path, there: str) -> None:
    path.write_text(there, encoding="utf-8")
    assert len(finished(path, at("committed"), 1_790_000_000.0)["jobs"]) == 1
    read(path)
