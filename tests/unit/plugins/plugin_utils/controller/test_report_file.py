# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's file tells of the run from its beginning, so that none that is killed leaves the last one's there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import report_file
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
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


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing else is left there"
    return document


def test_a_run_that_has_begun(path: Path) -> None:
    report_file.begin(str(path), PLAN, Rules(), "")
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
    report_file.go_on(str(path), PLAN, found, Rules(), decision, [])
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
    report_file.begin(str(path), plan, Rules(), "a2: the node could not be read: no route")
    found = read(path)
    assert (found["ok"], found["ended"]) == (False, True)
    assert found["message"].startswith("a2: the node could not be read: no route.\nTo go on, ")
    assert "not touched" not in found["message"], "of a node that was not reached"
    assert [row["reached"] for row in found["nodes"].values()] == [True, False]


def test_settings_that_were_refused(path: Path) -> None:
    report_file.refuse(str(path), ["plan", "switch"], "Mend that.")
    found = read(path)
    assert (found["ok"], found["ended"], found["message"], found["nodes"]) == (False, True, "Mend that.", {})
    built = report.build(PLAN, {}, Rules())
    assert set(found) == {*built, "written"}, "whoever reads it finds every key"


@pytest.mark.parametrize(
    "call",
    [
        lambda path: report_file.begin(path, PLAN, Rules(parts=["plan"]), ""),
        lambda path: report_file.begin(path, PLAN, Rules(parts=["plan"]), "no"),
        lambda path: report_file.refuse(path, ["plan"], "no"),
    ],
)
def test_an_invocation_that_ends_without_a_report_leaves_it(path: Path, call: Callable[[str], None]) -> None:
    call(str(path))
    assert read(path) == LAST


def test_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report_file.begin("", PLAN, Rules(), "")
    report_file.go_on("", PLAN, {}, Rules(), outcomes.decide(PLAN, {}, "reserve", Rules()), [])
    report_file.refuse("", ["switch"], "no")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_now_disturbs_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report_file.begin(str(tmp_path / "file/report.json"), PLAN, Rules(), "")
    assert report_file.write(str(tmp_path / "file/report.json"), {}) == (
        f"The report cannot be written to {tmp_path}/file/report.json: File exists."
    )
