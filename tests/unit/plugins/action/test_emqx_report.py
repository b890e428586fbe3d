# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that reports: the outcomes of all hosts, the commands to go on with, and a file that is whole."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_report
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.report_schema import validate
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    REGISTERS,
    at,
    failed_in,
    make_plan,
    make_variables,
)

PLAN = make_plan([["a1"], ["a2"]])
DONE = at("committed", before=read_facts(), after=read_facts(NEW))
BROKEN = failed_in("switch", before=read_facts(), after=read_facts(NEW, OLD))
WELL: dict[str, Outcome] = {"a1": DONE, "a2": DONE}


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How Ansible was called."""
    arguments: dict[str, Any] = {"args": ("emqx.fleet.upgrade",), "inventory": ("hosts.yml",), "tags": ("all",)}
    monkeypatch.setattr(context, "CLIARGS", arguments)
    return arguments


def run(
    found: dict[str, Outcome],
    path: Path | str | None = None,
    decisions: dict[str, Any] | None = None,
    variables: dict[str, Any] | None = None,
    check_mode: bool = False,
    **options: Any,
) -> dict[str, Any]:
    registered = {
        host: {"turn": {"outcome": found.get(host)}, "decision": (decisions or {}).get(host)} for host in PLAN["nodes"]
    }
    settings = {"report_file": str(path) if path else ""}
    ready = make_variables("a1", PLAN, registered, settings, **(variables or {}))
    result = run_action(emqx_report, ready, check_mode, **options)
    assert result["changed"] is False
    assert not result.get("failed")
    assert result["message"] == result["report"]["message"]
    assert result["report"]["ok"] == (result["message"] == "")
    return result


def test_reports_what_became_of_every_host() -> None:
    result = run(WELL)
    built = report.build(PLAN, WELL, Rules(parts=["plan", "stage", "switch", "soak", "commit"]))
    assert {name: result["report"][name] for name in built if name != "nodes"} == {
        name: value for name, value in built.items() if name != "nodes"
    }
    for host, row in built["nodes"].items():
        assert {name: result["report"]["nodes"][host][name] for name in row} == row
    validate(result["report"])
    assert result["table"] == result["report"]["table"]
    assert (result["message"], result["final"]) == ("", True)


def test_a_host_that_told_nothing_is_in_it_too() -> None:
    result = run({"a1": DONE})
    assert result["report"]["nodes"]["a2"]["result"] == "not_begun"
    assert "These nodes were not touched: a2." in result["message"]


def test_heeds_the_settings_and_the_tags() -> None:
    soaked = at("soaked", after=read_facts(NEW, OLD))
    result = run({"a1": soaked, "a2": soaked}, variables={"ansible_run_tags": ["stage", "switch"]})
    assert (result["message"], result["final"], result["report"]["phases"]) == ("", False, ["stage", "switch", "soak"])


def test_problems_of_the_run_are_told() -> None:
    decisions = {"a2": {"rank": 1, "problems": ["The hook after_fleet failed: no route"]}}
    result = run(WELL, decisions=decisions, problems=["The load balancer was not told."])
    assert result["message"].startswith("The hook after_fleet failed: no route.\nThe load balancer was not told.\n")
    assert run(WELL, problems=["It rains."])["message"].startswith("It rains.\n")


# What to call next


def commands(message: str) -> list[str]:
    """The commands at the message's end: to go on, to go back, and to look."""
    again, _back, rest = message.partition("which skips the nodes that are done: ")[2].partition(
        "\nTo go back instead: "
    )
    return [again, *rest.split("\nTo see where every node is: ")]


def test_the_commands_are_those_for_the_same_fleet(called: dict[str, Any]) -> None:
    called["extra_vars"] = ("secret=s3cret",)
    result = run({"a1": BROKEN})
    found = commands(result["message"])
    assert [re.findall(r"emqx\.fleet\.\w+", command) for command in found] == [
        ["emqx.fleet.upgrade"],
        ["emqx.fleet.rollback"],
        ["emqx.fleet.status"],
    ]
    assert all(command.startswith("ansible-playbook -i hosts.yml ") for command in found)
    assert found[1].endswith(" -e emqx_upgrade_version="), "a file may name the version of the upgrade"
    assert "s3cret" not in json.dumps(result)


# The file


def test_writes_the_document(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "of today" / "report.json"
    result = run({"a1": DONE, "a2": BROKEN}, path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(result["report"]))
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.json", "report.json.sha256"]


def test_replaces_an_older_document(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    os.link(path, tmp_path / "kept")
    run(WELL, path)
    assert json.loads(path.read_text(encoding="utf-8"))["ok"]
    assert (tmp_path / "kept").read_text(encoding="utf-8") == "old", "it is replaced, never written over"


def test_writes_nothing_in_check_mode_or_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(WELL, tmp_path / "report.json", check_mode=True)
    run(WELL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_with_what_happened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = tmp_path / "file" / "reports" / "report.json"
    well = run(WELL, path)
    assert well["message"] == f"The report cannot be written to {path}: Not a directory."
    assert well["table"]
    broken = run({"a1": DONE, "a2": BROKEN}, path)
    assert broken["message"].startswith(
        f"The report cannot be written to {path}: Not a directory.\na2 failed in phase "
    )


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    assert run(WELL, tmp_path)["message"] == f"The report cannot be written to {tmp_path}: Is a directory."
    assert [file.name for file in tmp_path.parent.iterdir() if file.name.endswith(".new")] == []


def test_a_disk_that_is_full_leaves_the_older_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")

    def half_written(self: Path, text: str, **_how: Any) -> None:
        with self.open("w", encoding="utf-8") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half_written)
    assert run(WELL, path)["message"] == f"The report cannot be written to {path}: No space left on device."
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text(encoding="utf-8") == "old"


# The client probe


def test_a_probe_ends_with_the_report_and_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stopped: list[str] = []

    def stop(identifier: str) -> dict[str, Any]:
        stopped.append(identifier)
        return {"id": identifier, "nodes": {}}

    monkeypatch.setattr(emqx_report.asking, "stop", stop)
    assert run(WELL)["report"]["probe"] is None
    assert stopped == []
    planned = {REGISTERS["planned"]: {"plan": PLAN, "probed": True}}
    result = run(WELL, tmp_path / "report.json", variables=planned)
    assert stopped == ["run-1"]
    assert result["report"]["probe"] == {"id": "run-1", "nodes": {}}
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["probe"]["id"] == "run-1"


# What does not go as it should


def test_without_a_plan_there_is_no_report() -> None:
    variables = make_variables()
    del variables[REGISTERS["planned"]]
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_report, variables)
    assert "There is no plan that has a1: the phase 'plan' of the role was not run before this one" in str(raised.value)


def test_options_that_make_no_sense() -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_report, make_variables(), file="x")
    assert "Unsupported parameters for (emqx_report) module: file" in str(raised.value)


def test_a_probe_that_noticed_something_after_the_last_look_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a1": {"disconnects": [{"at": 1.0, "client": "idle-1", "reason": "x"}], "lost": 0}}
    monkeypatch.setattr(emqx_report.asking, "stop", lambda _id: {"id": "run-1", "error": None, "nodes": rows})
    result = run(WELL, variables={REGISTERS["planned"]: {"plan": PLAN, "probed": True}})
    assert result["message"].startswith("Clients of the probe lost their connection to a1 once.")
    assert (result["report"]["ok"], result["report"]["verdict"]) == (False, "failed")
