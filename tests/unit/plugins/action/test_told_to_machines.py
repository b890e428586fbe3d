# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks tell machines besides their results: custom stats, the file of metrics, and that the webhook is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.action import emqx_decide, emqx_report, emqx_status
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.http_server import serving
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, make_variables

DONE = at("committed", before=read_facts(), after=read_facts(NEW))


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ("emqx.fleet.upgrade",), "tags": ("all",)})
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, **_how: said.append(text))
    return said


def variables(registered: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return make_variables("a1", None, {host: dict(registered) for host in ("a1", "a2")}, settings)


def test_the_report_sets_stats() -> None:
    ready = variables({"turn": {"outcome": DONE}}, report_file="")
    result = run_action(emqx_report, ready)
    assert result["ansible_stats"] == custom_stats.result(result["report"], "")
    assert "ansible_stats" not in run_action(emqx_report, ready, check_mode=True)


def test_a_look_writes_metrics(tmp_path: Path, warnings: list[str]) -> None:
    path = tmp_path / "new/fleet.prom"
    ready = variables({"reading": {"facts": read_facts(NEW, OLD, journal=[])}}, report_metrics=str(path))
    run_action(emqx_status, ready, check_mode=True)
    assert not path.parent.exists()
    run_action(emqx_status, ready)
    assert 'emqx_fleet_node_boots_other_version{fleet="fleet",host="a2"} 1\n' in path.read_text(encoding="utf-8")
    assert (path.stat().st_mode & 0o777, warnings) == (0o644, [])


def test_a_look_goes_on_where_metrics_cannot_be_written(tmp_path: Path, warnings: list[str]) -> None:
    ready = variables({"reading": {"facts": read_facts()}}, report_metrics=str(tmp_path))
    assert run_action(emqx_status, ready)["table"]
    assert warnings == [f"The report cannot be written to {tmp_path}: Is a directory."]


def test_a_decision_hands_on_that_the_webhook_is_gone(warnings: list[str]) -> None:
    with serving(404) as server:
        url = f"http://{server.place}/"
        staged = {"turn": {"outcome": at("staged")}}
        result = run_action(emqx_decide, variables(staged, webhook=url), phase="switch", wave=1)
        assert result["webhook_failed"] is True
        ready = variables({**staged, "decision": result}, webhook=url)
        again = run_action(emqx_decide, ready, phase="switch", wave=2)
    assert again["webhook_failed"] is True
    kinds = [event["type"].rpartition(".")[2] for event in server.events]
    assert kinds == ["wave", "failed"], "a turn that told nothing is a failure, and no second wave is told"
    assert len(warnings) == 1


def test_a_webhook_that_is_there_is_no_word_in_a_result() -> None:
    with serving(204) as server:
        ready = variables({"turn": {"outcome": at("staged")}}, webhook=f"http://{server.place}/")
        result = run_action(emqx_decide, ready, phase="switch", wave=1)
    assert "webhook_failed" not in result
    assert [event["data"]["wave"]["hosts"] for event in server.events] == [["a1"]]
