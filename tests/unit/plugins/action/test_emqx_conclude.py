# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last task of a run of several jobs: what it finds in a job's variables, and what it writes and hands on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible_collections.emqx.fleet.plugins.action import emqx_conclude
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    REGISTERS,
    at,
    make_plan,
    make_variables,
)

PLAN = make_plan([["a1"], ["a2"]])
DONE = at("committed", before=read_facts(), after=read_facts(NEW))
DOCUMENT = make_document(PLAN, {"a1": DONE, "a2": DONE})
NOW = {**read_facts(NEW), "journal": []}
OF_AWX: dict[str, Any] = {"awx_job_id": 9, "awx_job_template_name": "EMQX report", "awx_workflow_job_id": 7}


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ("report.yml",), "tags": ("all",)})


def conclude(
    facts: dict[str, Any] | None = None, kept: str = "", check_mode: bool = False, **variables: Any
) -> dict[str, Any]:
    readings: dict[str, dict[str, Any]] = {
        "a1": {"reading": {"facts": facts or NOW}, "turn": {"kept": kept}},
        "a2": {"reading": {"facts": NOW}},
    }
    settings = variables.pop("settings", {})
    given = make_variables("a1", None, readings, settings, **variables)
    del given[REGISTERS["planned"]]
    return run_action(emqx_conclude, given, check_mode)


@pytest.mark.parametrize("handed_on", [DOCUMENT, json.dumps(DOCUMENT)])
def test_a_success_is_handed_on_and_written(handed_on: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    found = conclude(emqx_fleet_report=handed_on, settings={"report_file": str(path), "run_id": "run-1"}, **OF_AWX)
    assert found["message"] == ""
    data = found["ansible_stats"]["data"]
    assert (data["emqx_fleet_ok"], data[custom_stats.DOCUMENT]["jobs"][-1]["awx"]["job_id"]) == (True, "9")
    assert json.loads(path.read_text(encoding="utf-8")) == found["report"]


def test_what_is_no_success_is_told_in_the_words_of_a_job() -> None:
    found = conclude({**read_facts(NEW, OLD), "journal": []}, emqx_fleet_report=DOCUMENT, **OF_AWX)
    assert f"a1 runs {NEW}, but a restart would boot {OLD}." in found["message"]
    assert "launch the job template of emqx.fleet.rollback" in found["message"]
    assert "ansible-playbook" not in found["message"]
    assert found["ansible_stats"]["data"]["emqx_fleet_ok"] is False
    found = conclude({**read_facts(NEW, OLD), "journal": []}, emqx_fleet_report=DOCUMENT)
    assert "ansible-playbook" in found["message"]


def test_the_document_of_another_run_is_none() -> None:
    found = conclude(emqx_fleet_report=DOCUMENT, settings={"run_id": "awx-workflow-7"})
    assert "No job of the run has handed anything on" in found["message"]
    assert "report" not in found


def test_a_node_that_could_not_be_given_up_is_told() -> None:
    assert "a1 is still reserved: No route." in conclude(kept="No route.", emqx_fleet_report=DOCUMENT)["message"]


def test_without_a_document_the_word_of_the_job_before_counts() -> None:
    for ok in (True, "True"):
        assert conclude(emqx_fleet_ok=ok, settings={"version": NEW})["message"] == ""
        assert "not " + OLD in conclude(emqx_fleet_ok=ok, settings={"version": OLD})["message"]
    for ok in (False, "False", "no"):
        assert "The job before this one failed" in conclude(emqx_fleet_ok=ok)["message"]


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    found = conclude(check_mode=True, emqx_fleet_report=DOCUMENT, settings={"report_file": str(path)})
    assert found["message"] == ""
    assert "ansible_stats" not in found
    assert not path.exists()


def test_a_report_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = conclude(emqx_fleet_report=DOCUMENT, settings={"report_file": str(tmp_path / "file/report.json")})
    assert "cannot be written" in found["message"]
    assert found["ansible_stats"]["data"]["emqx_fleet_ok"] is False
