# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plugins beside modules: what they ask of the node, and what they make of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import (
    emqx_evidence,
    emqx_hook,
    emqx_package_check,
    emqx_release,
    emqx_release_info,
    emqx_reservation,
    emqx_settings,
    emqx_verify,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import remote, reservation, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.hooks import Found
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import make_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts, make_package
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD

Told = dict[str, Any]
LOST = {"unreachable": True, "msg": "no route"}


class Node:
    """Answers one after the other, the last one for ever; keeps what it was asked."""

    def __init__(self, *answers: Told) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Told]] = []

    def execute(self, module_name: str, module_args: Told, task_vars: Any) -> Told:
        """In the place of ``_execute_module``."""
        assert task_vars == {"inventory_hostname": "a1"}
        self.asked.append((module_name, dict(module_args)))
        return dict(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def run(module: ModuleType, node: Node, **options: Any) -> Told:
    action = make_action(module, **options)
    action._execute_module = node.execute
    action._connection.reset = lambda: None
    result: Told = action.run(task_vars={"inventory_hostname": "a1"})
    return result


# emqx_release, emqx_evidence


def test_release_is_tried_again_and_waits_for_the_command_of_the_first_try() -> None:
    node = Node(LOST, {"changed": True, "running": NEW})
    result = run(emqx_release, node, version=NEW, reconnect_timeout=33)
    assert (
        node.asked == [("emqx.fleet.emqx_release", {"version": NEW, "reconnect_timeout": 33, "lock_timeout": 33.0})] * 2
    )
    assert (result["changed"], result["running"], result["connection_losses"]) == (True, NEW, 1)


def test_release_on_a_node_that_stays_away_is_a_failure_and_no_lost_host() -> None:
    result = run(emqx_release, Node(LOST), version=NEW, reconnect_timeout=0)
    assert (result["failed"], result["connection_lost"], result["failure_class"]) == (True, True, "unknown")
    assert "unreachable" not in result


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"facts": {"running": OLD}, "log": ["[error] x"]},
            {"facts": {"running": OLD}, "log": ["[error] x"], "msg": ""},
        ),
        (LOST, {"facts": {}, "log": [], "crash_dumps": [], "noted": False}),
        ({"failed": True, "msg": "no python"}, {"facts": {}, "msg": "no python"}),
    ],
)
def test_evidence_never_fails(answer: Told, told: Told) -> None:
    result = run(emqx_evidence, Node(answer), reconnect_timeout=0)
    assert "failed" not in result
    assert {name: result[name] for name in told} == told


# emqx_release_info


def test_a_reading_tells_how_far_the_clocks_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    result = run(emqx_release_info, Node({"clock": 1002.5, "running": OLD}))
    assert result["clock_offset"] == 2.5


@pytest.mark.parametrize(
    ("run_of", "dead", "questions"),
    [(None, False, 2), ({"id": "run-0"}, True, 2), ({"id": "run-0"}, False, 1)],
)
def test_a_reading_waits_for_an_operation_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch, run_of: Told | None, dead: bool, questions: int
) -> None:
    monkeypatch.setattr(runs, "is_dead", lambda found: dead)
    node = Node({"operation": {"pid": 7}, "run": run_of}, {"operation": None, "run": run_of})
    run(emqx_release_info, node, operation_timeout=60)
    assert len(node.asked) == questions


# emqx_reservation


def test_a_reservation_is_made_for_the_run_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "who", lambda variables=None: "ann@tower")
    monkeypatch.setattr(runs, "run_process", lambda: "7@7")
    node = Node({"changed": True, "reservation": {"id": "run-1"}})
    result = run(emqx_reservation, node, id="run-1", take_over="run-0,run-9")
    ((name, asked),) = node.asked
    assert name == f"emqx.fleet.{reservation.MODULE}"
    assert (asked["id"], asked["who"], asked["controller_process"]) == ("run-1", "ann@tower", "7@7")
    assert "take_over" not in asked, "who may be replaced is decided on the controller"
    assert result["reservation"] == {"id": "run-1"}


def test_a_task_that_outlives_its_run_reserves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "run_process", lambda: "")
    node = Node({})
    with pytest.raises(AnsibleActionFail, match="has ended"):
        run(emqx_reservation, node, id="run-1")
    assert node.asked == []


# emqx_verify


def test_a_node_is_held_against_itself_until_it_is_as_before() -> None:
    before = read_facts(OLD)
    node = Node(dict(read_facts(NEW, OLD), connections=3), read_facts(NEW, OLD))
    result = run(emqx_verify, node, before=before, version=NEW, boots=OLD, wait=60)
    assert not result["failed"]
    assert result["facts"] == read_facts(NEW, OLD)
    assert [name for name, _asked in node.asked] == ["emqx.fleet.emqx_release_info"] * 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (dict(read_facts(NEW, OLD), connections=3), "client_loss_tolerance"),
        (read_facts(OLD), f"runs {OLD}"),
        ({"failed": True, "msg": "no answer"}, "no answer"),
    ],
)
def test_what_is_not_as_before_is_told(answer: Told, message: str) -> None:
    result = run(emqx_verify, Node(answer), before=read_facts(OLD), version=NEW, boots=OLD, wait=0)
    assert result["failed"]
    assert message in result["msg"]
    assert "facts" not in result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_loss_tolerance": "1.5"}, "client_loss_tolerance: "),
        ({"before": {"running": OLD}}, "before: there is no "),
    ],
)
def test_options_of_a_verification_that_mean_nothing(options: Told, message: str) -> None:
    with pytest.raises(AnsibleActionFail, match=message):
        run(emqx_verify, Node(read_facts(NEW, OLD)), **{"before": read_facts(OLD), "version": NEW, **options})


# emqx_package_check


def check(node: Node, **options: Any) -> Told:
    return run(emqx_package_check, node, src="/node/emqx.zip", remote_src=True, **options)


def test_a_package_that_fits() -> None:
    package = make_package(NEW, upgrade_from=[OLD])
    result = check(Node({"facts": make_facts(running=OLD), "package": package}))
    assert (result["compatible"], result["changed"], result["package"]) == (True, False, package)
    assert "failed" not in result


@pytest.mark.parametrize("fail", [True, False])
def test_a_package_that_does_not_fit(fail: bool) -> None:
    package = make_package(NEW, upgrade_from=["4.4.17"])
    result = check(Node({"facts": make_facts(running=OLD), "package": package}), fail_on_incompatible=fail)
    assert (result["compatible"], result["failed"]) == (False, fail)
    assert f"{package['name']} cannot upgrade this node: " in result["msg"]


def test_a_gate_that_is_none_is_refused_before_the_node_is_asked() -> None:
    node = Node({})
    with pytest.raises(AnsibleActionFail, match="accept: "):
        check(node, accept=["no_such_gate"])
    assert node.asked == []


def test_a_node_that_cannot_be_read_is_told_of_as_it_is() -> None:
    assert check(Node(LOST))["unreachable"]


# emqx_hook, emqx_settings


class Inventory:
    """Knows its hosts by their names."""

    @staticmethod
    def get_host(name: str) -> str:
        """The name is enough."""
        return name


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Found(), ""),
        (
            Found(problems=["/h.yml:1: https://me:s3cret@host is no module"]),
            "The file /h.yml cannot be loaded, so none of its tasks was run. /h.yml:1: https://********@host is no "
            "module. Mend the file.",
        ),
    ],
)
def test_a_hook_is_loaded_before_it_is_run(monkeypatch: pytest.MonkeyPatch, found: Found, message: str) -> None:
    def load(path: str, hook: str, _task: Any, host: str, *_managers: Any) -> Found:
        assert (path, hook, host) == ("/h.yml", "after_wave", "a1")
        return found

    monkeypatch.setattr(emqx_hook.host_variables, "managers", lambda variables: (None, Inventory))
    monkeypatch.setattr(emqx_hook.hooks, "check", load)
    result = run(emqx_hook, Node({}), path="/h.yml", hook="after_wave")
    assert result.get("failed", False) == bool(message)
    assert result.get("msg", "") == message


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., Told]:
    """The result of the task that checks settings, for one host that has these."""
    monkeypatch.chdir(tmp_path)

    def check_settings(purpose: str = "upgrade", variables: dict[str, Any] | None = None, **values: Any) -> Told:
        found = {"a1": {f"emqx_upgrade_{name}": value for name, value in values.items()}}
        monkeypatch.setattr(emqx_settings.host_variables, "of_hosts", lambda *_arguments: found)
        action = make_action(emqx_settings, purpose=purpose)
        action._task.tags = []
        known = {"inventory_hostname": "a1", "ansible_play_hosts_all": ["a1"], "groups": {"all": ["a1"]}}
        result: Told = action.run(task_vars={**known, **(variables or {})})
        return result

    return check_settings


def test_settings_of_every_host_with_the_parts_of_the_run(settings_of: Callable[..., Told], tmp_path: Any) -> None:
    (tmp_path / "packages").mkdir()
    result = settings_of(version=" 4.4.19 ", soak_seconds="2m", packages="packages")
    assert not result.get("failed"), result
    assert (result["settings"]["a1"]["version"], result["settings"]["a1"]["soak_seconds"]) == ("4.4.19", 120)
    assert result["phases"] == ["plan", "stage", "switch", "soak", "commit"]
    assert settings_of("plan", version="4.4.19", packages="packages")["phases"] == ["plan"]


OF_A_WORKFLOW = {"awx_job_id": 12, "awx_workflow_job_id": 7, "awx_workflow_job_name": "w", "awx_job_template_name": "t"}


@pytest.mark.parametrize(
    ("purpose", "values", "variables", "run_id", "take_over"),
    [
        ("upgrade", {"phases": "switch"}, OF_A_WORKFLOW, "awx-workflow-7", []),
        ("upgrade", {"phases": "switch", "run_id": "change-1"}, OF_A_WORKFLOW, "change-1", []),
        # A run in one job has nothing to hand on.
        ("upgrade", {}, OF_A_WORKFLOW, "", []),
        ("rollback", {}, OF_A_WORKFLOW, "awx-workflow-7", []),
        ("report", {}, OF_A_WORKFLOW, "awx-workflow-7", []),
        ("status", {}, OF_A_WORKFLOW, "", []),
        ("upgrade", {"phases": "switch"}, {}, "", []),
        (
            "upgrade",
            {"phases": "switch", "take_over": "x"},
            {"awx_job_id": 13, "awx_job_launch_type": "relaunch", "emqx_fleet_run_id": "awx-workflow-7"},
            "awx-workflow-7",
            ["x", "awx-workflow-7"],
        ),
        ("upgrade", {"run_id": "c"}, {"awx_job_launch_type": "relaunch"}, "c", ["c"]),
    ],
)
def test_a_job_of_awx_goes_on_with_the_run_of_its_workflow(
    settings_of: Callable[..., Told],
    tmp_path: Any,
    purpose: str,
    values: dict[str, Any],
    variables: dict[str, Any],
    run_id: str,
    take_over: list[str],
) -> None:
    (tmp_path / "packages").mkdir()
    result = settings_of(purpose, variables=variables, version="4.4.19", packages="packages", **values)
    assert not result.get("failed"), result
    found = result["settings"]["a1"]
    assert (found["run_id"], found["take_over"]) == (run_id, take_over)


@pytest.mark.parametrize(
    ("variables", "version"),
    [
        # Answers of a workflow's survey reach its roll-back as well.
        (OF_A_WORKFLOW | {"emqx_fleet_run_id": "awx-workflow-7"}, ""),
        (OF_A_WORKFLOW | {"emqx_fleet_run_id": "another"}, "4.4.19"),
        (OF_A_WORKFLOW, "4.4.19"),
        ({}, "4.4.19"),
    ],
)
def test_a_workflow_goes_back_to_where_it_came_from(
    settings_of: Callable[..., Told], variables: dict[str, Any], version: str
) -> None:
    result = settings_of("rollback", variables=variables, version="4.4.19")
    assert result["settings"]["a1"]["version"] == version


@pytest.mark.parametrize("purpose", ["upgrade", "rollback", "commit", "cleanup", "status", "plan"])
def test_a_slice_of_a_job_changes_nothing(settings_of: Callable[..., Told], tmp_path: Any, purpose: str) -> None:
    (tmp_path / "packages").mkdir()
    variables = {**OF_A_WORKFLOW, "awx_workflow_job_name": "t"}
    result = settings_of(purpose, variables=variables, version="4.4.19", packages="packages")
    assert bool(result.get("failed")) is (purpose not in ("status", "plan"))
    if result.get("failed"):
        assert "This job is a slice of the job template t" in result["msg"]
        assert "launch the job again" in result["msg"]


@pytest.mark.parametrize(
    ("values", "phases"),
    [
        ({"phases": "soak"}, ["plan", "soak"]),
        ({"phases": "stage,switch"}, ["plan", "stage", "switch"]),
        ({"phases": "plan"}, ["plan"]),
    ],
)
def test_parts_of_a_run_by_the_setting(
    settings_of: Callable[..., Told], tmp_path: Any, values: dict[str, Any], phases: list[str]
) -> None:
    (tmp_path / "packages").mkdir()
    assert settings_of(version="4.4.19", packages="packages", **values)["phases"] == phases
    # Of what the tags leave.
    result = settings_of(version="4.4.19", packages="packages", variables={"ansible_run_tags": ["commit"]}, **values)
    assert bool(result.get("failed")) is (phases != ["plan"])


def test_a_job_that_brings_nothing_needs_no_packages(settings_of: Callable[..., Told]) -> None:
    for phases, refused in (("commit", False), ("soak", False), ("switch", True)):
        assert bool(settings_of(version="4.4.19", packages="nowhere", phases=phases).get("failed")) is refused, phases


def test_the_password_of_the_probe_is_in_no_result(settings_of: Callable[..., Told], tmp_path: Any) -> None:
    (tmp_path / "packages").mkdir()
    for purpose in ("upgrade", "status"):
        result = settings_of(purpose, version="4.4.19", packages="packages", probe=True, probe_password="s3cret")
        assert not result.get("failed"), result
        assert "s3cret" not in str(result)
        assert not result.get("_ansible_no_log"), "the rest may be seen"


@pytest.mark.parametrize(
    ("probe", "purpose", "refused"), [("yes", "plan", True), ("yes", "status", False), ("no", "plan", False)]
)
def test_a_probe_needs_its_library_and_its_files(
    settings_of: Callable[..., Told],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    probe: str,
    purpose: str,
    refused: bool,
) -> None:
    (tmp_path / "packages").mkdir()
    monkeypatch.setattr(emqx_settings.asking, "missing_library", lambda: "there is none")
    result = settings_of(purpose, version="4.4.19", packages="packages", probe=probe, probe_ca_file="ca.pem")
    assert bool(result.get("failed")) is refused
    if refused:
        assert len(result["problems"]) == 2
        assert result["problems"][0].startswith(
            "emqx_upgrade_probe is on; expected is a controller that has paho-mqtt of version 2. Install it for "
        )
        assert result["problems"][1] == (
            f"emqx_upgrade_probe_ca_file is '{tmp_path}/ca.pem', which cannot be read; expected is a file of the "
            "controller. Mend the path or who may read it."
        )
    else:
        assert result["settings"]["a1"]["probe_ca_file"] == f"{tmp_path}/ca.pem"


def test_bad_settings_are_one_failure_and_replace_the_last_report(
    settings_of: Callable[..., Told], tmp_path: Any
) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"ok": true}')
    result = settings_of(version="v4", timeout="soon", packages="nowhere", report_file=str(path))
    assert result["failed"]
    assert len(result["problems"]) == 3
    assert all(problem in result["msg"] for problem in result["problems"])
    assert "Nothing was touched" in path.read_text()
    path.write_text('{"ok": true}')
    assert settings_of("status", timeout="soon", report_file=str(path))["failed"]
    assert settings_of("plan", timeout="soon", report_file=str(path))["failed"]
    assert path.read_text() == '{"ok": true}', "a look at the fleet has no report"


def test_a_page_is_wanted_of_a_look_at_the_fleet_too(settings_of: Callable[..., Told], tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    assert settings_of("status", report_html="fleet.html")["settings"]["a1"]["report_html"] == f"{tmp_path}/fleet.html"
    (problem,) = settings_of("status", report_html="file/fleet.html", report_file="file/r.json")["problems"]
    assert problem.startswith("emqx_upgrade_report_html is 'file/fleet.html', and ")
