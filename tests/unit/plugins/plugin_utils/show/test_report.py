# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told at the end of a run: what happened where, what was done about it, and what to call next."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

OLD, NEW = "4.4.18", "4.4.19"
COMMANDS = {"again": "RUN AGAIN", "rollback": "GO BACK", "status": "LOOK"}


def facts(running: str = NEW, permanent: str = OLD, **changed: Any) -> dict[str, Any]:
    return {
        "running": running,
        "permanent": permanent,
        "boot": {"version": permanent},
        "releases": [{"version": permanent, "status": "permanent"}],
        "connections": 5,
        "pid": 7,
        **changed,
    }


def node(action: str = "upgrade", wave: int | None = 1, **changed: Any) -> dict[str, Any]:
    return {"from": OLD, "to": NEW, "action": action, "wave": wave, "gates": [], "way_back": [OLD], **changed}


def plan(*hosts: str, **changed: Any) -> dict[str, Any]:
    return {"target": NEW, "nodes": {host: node(wave=number + 1) for number, host in enumerate(hosts)}, **changed}


def committed(**changed: Any) -> dict[str, Any]:
    found = {"result": "committed", "before": facts(OLD, OLD), "after": facts(NEW, NEW), "actions": []}
    return found | changed


def failed(**changed: Any) -> dict[str, Any]:
    found = {"result": "failed", "phase": "switch", "message": "It broke.", "before": facts(OLD), "after": facts()}
    return found | changed


def build(found: dict[str, Any], *arguments: Any, commit: str = "fleet", **options: Any) -> dict[str, Any]:
    return report.build(arguments[0] if arguments else plan(*found), found, "run-1", commit, **options)


def test_a_good_run_has_nothing_to_say() -> None:
    told = build({"h1": committed(actions=[{"action": "switch", "version": NEW, "seconds": 1.26}]), "h2": committed()})
    assert told["ok"]
    assert told["message"] == ""
    assert told["final"]
    assert told["nodes"]["h1"]["switch_seconds"] == 1.3
    assert told["table"][2].split() == ["h1", "committed", OLD, NEW, NEW, "1.3", "s", "5", "5", "yes"]


def test_a_process_that_changed_is_shouted() -> None:
    told = build({"h1": committed(after=facts(NEW, NEW, pid=8))})
    assert told["table"][2].endswith("NO")


def test_a_failure_is_told_with_its_evidence() -> None:
    bad = failed(
        output=["one", "two", "three", "four"],
        log=["[error] a", "[error] b"],
        crash_dumps=[{"path": "/log/crash.dump", "size": 1, "time": 1.0, "slogan": "killed"}],
    )
    told = build({"h1": committed(), "h2": bad, "h3": {}}, commands=COMMANDS)
    message = told["message"]
    assert "h2 failed in phase switch: It broke. " in message
    assert "The command said: two / three / four." in message
    assert "Its log ends with: [error] a / [error] b." in message
    assert "/log/crash.dump: killed." in message
    assert f"h2 runs {NEW}, and a restart boots {OLD}." in message
    assert "These nodes were not touched: h3." in message
    assert message.index("RUN AGAIN") < message.index("GO BACK") < message.index("LOOK")
    assert told["nodes"]["h2"]["releases"] == [{"version": OLD, "status": "permanent"}]


def test_what_was_done_about_it_is_told() -> None:
    went_back = {"result": "watched", "rollback": "done", "before": facts(OLD), "after": facts(OLD)}
    told = build({"h1": went_back, "h2": failed(rollback="done", after=facts(OLD))}, commands=COMMANDS)
    assert told["nodes"]["h1"]["result"] == "went back"
    assert told["nodes"]["h2"]["result"] == "failed, back"
    assert "These nodes were switched and went back: h1." in told["message"]
    assert f"h2 went back to {OLD}." in told["message"]
    assert "no data changed in between" in told["message"]
    assert "GO BACK" not in told["message"]


def test_a_way_back_that_failed_is_told() -> None:
    told = build({"h1": failed(rollback="failed", rollback_message="no relup")})
    assert "h1 could not go back: no relup." in told["message"]


def test_a_node_that_dropped_out_without_a_word_has_failed() -> None:
    told = build({"h1": committed(), "h2": {"result": "switched", "after": facts()}})
    assert told["nodes"]["h2"]["result"] == "failed"
    assert "h2 failed in phase dropped out: it dropped out of the run" in told["message"]


@pytest.mark.parametrize(
    ("phases", "outcome", "result", "final"),
    [
        (("stage",), {"result": "staged"}, "staged", False),
        (("stage", "switch"), {"result": "watched", "after": facts()}, "uncommitted", False),
        (("switch",), {"result": "watched", "after": facts()}, "uncommitted", False),
        (("commit",), committed(), "committed", True),
    ],
)
def test_what_is_left_to_another_job_is_no_failure(
    phases: tuple[str, ...], outcome: dict[str, Any], result: str, final: bool
) -> None:
    told = build({"h1": outcome}, phases=phases)
    assert told["message"] == ""
    assert told["nodes"]["h1"]["result"] == result
    assert told["final"] == final


def test_a_commit_that_is_never_wanted_is_not_missed() -> None:
    found = {"h1": {"result": "watched", "after": facts()}}
    told = build(found, commit="never")
    assert told["ok"]
    assert told["final"]
    assert told["nodes"]["h1"]["result"] == "uncommitted"
    assert not build(found)["ok"]
    assert "a restart brings the old version back: h1." in build(found)["message"]


def test_a_failed_job_is_the_last_one() -> None:
    assert build({"h1": failed(phase="stage")}, phases=("stage",))["final"]


def test_nothing_to_do_is_done() -> None:
    told = report.build({"target": NEW, "nodes": {"h1": node("none", None)}}, {"h1": None}, "run", "fleet")
    assert told["ok"]
    assert told["nodes"]["h1"]["result"] == "nothing to do"


def test_problems_of_the_run_are_told_although_every_node_is_well() -> None:
    told = build({"h1": committed()}, problems=["The hook after_fleet failed: no route"])
    assert told["message"].startswith("The hook after_fleet failed: no route. To go on")


def test_accepted_gates_are_recorded() -> None:
    gates = [{"name": "alarms", "accepted": True}, {"name": "os", "accepted": False}]
    told = build({"h1": committed()}, {"target": NEW, "nodes": {"h1": node(gates=gates)}})
    assert told["nodes"]["h1"]["gates_accepted"] == ["alarms"]
