# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a run is written whenever its JSON is, and also where that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles, write_page
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page, report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import at, make_plan

PLAN = make_plan([["a1"], ["a2"]])


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ("emqx.fleet.upgrade",), "tags": ("all",)})


def files(folder: Path, **settings: str) -> ReportFiles:
    named = {name: str(folder / path) for name, path in settings.items()}
    return ReportFiles(named, {"inventory_hostname": "a1"}, 1_795_827_723.0, lambda: 1_795_827_730.0)


def word(path: Path) -> str:
    """The word of the page's title."""
    return path.read_text(encoding="utf-8").partition("<title>")[2].partition(":")[0]


def test_a_page_alone_tells_of_the_run_all_the_way(tmp_path: Path) -> None:
    made, path = files(tmp_path, report_html="pages/run.html"), tmp_path / "pages/run.html"
    made.begin(PLAN, Rules(), "")
    assert word(path) == "Not ended"
    begun = path.read_text(encoding="utf-8")
    staged = {"a1": at("staged"), "a2": at("staged")}
    made.go_on(PLAN, staged, Rules(), outcomes.decide(PLAN, staged, "switch", Rules(), wave=1), [])
    assert path.read_text(encoding="utf-8") != begun
    done: dict[str, Any] = {"a1": at("committed"), "a2": at("committed")}
    told = made.finish(report.build(PLAN, done, Rules()), PLAN, done)
    assert (told["ok"], word(path)) == (True, "Succeeded")
    assert [file.name for file in path.parent.iterdir()] == ["run.html"]


def test_a_page_beside_the_document_is_of_it(tmp_path: Path) -> None:
    made = files(tmp_path, report_html="run.html", report_file="run.json")
    made.refuse(["switch"], "Mend <that>.")
    document = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == page.of_run(document)
    assert word(tmp_path / "run.html") == "Refused"


def test_a_page_that_cannot_be_written_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = files(tmp_path, report_html="file/run.html", report_file="run.json")
    made.begin(PLAN, Rules(), "")
    done: dict[str, Any] = {"a1": at("committed"), "a2": at("committed")}
    told = made.finish(report.build(PLAN, done, Rules()), PLAN, done)
    assert told["message"] == f"The report cannot be written to {tmp_path}/file/run.html: File exists."
    assert told["verdict"] == "failed"


def test_neither_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = files(tmp_path, report_html="file/run.html", report_file="file/run.json")
    done: dict[str, Any] = {"a1": at("committed"), "a2": at("committed")}
    message = made.finish(report.build(PLAN, done, Rules()), PLAN, done)["message"]
    assert "file/run.json: File exists. The report cannot be written to" in message
    assert message.endswith("file/run.html: File exists.")


def test_a_page_that_cannot_be_made_ends_no_run(tmp_path: Path) -> None:
    def broken() -> str:
        raise ZeroDivisionError("by nought")

    path = tmp_path / "run.html"
    assert write_page(str(path), broken) == (
        f"The page {path} cannot be made: an error in emqx.fleet itself, ZeroDivisionError: by nought."
    )
    assert not path.exists()
