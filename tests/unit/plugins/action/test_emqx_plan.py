# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that plans: reads what is known of every host, and returns the whole plan."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import package_sources, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table, report
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import (
    make_clusters,
    make_facts,
    make_package,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import make_settings

DEAD = {"id": "run-0", "controller": runs.identity(), "controller_process": f"{os.getpid()}@1"}
ALIVE = {**DEAD, "controller_process": runs._process(os.getpid())}


CONTENT = b"emqx 4.4.19"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What packages were asked for; there is always the one of 4.4.19."""
    asked: list[Any] = []
    package = make_package()
    path = tmp_path_factory.mktemp("packages") / package["name"]
    path.write_bytes(CONTENT)

    def load(sources: list[str], base: str, download_dir: str, _fetch: Any) -> list[dict[str, Any]]:
        asked.append((sources, base, download_dir))
        if "missing" in sources:
            raise package_sources.SourceError("There is no package missing.")
        if "gone" in sources:
            path.unlink()
        return [make_package(path=str(path))] if sources else []

    monkeypatch.setattr(package_sources, "load", load)
    return asked


def plan(
    fleet: dict[str, Any], variables: dict[str, Any] | None = None, check_mode: bool = False, **options: Any
) -> dict[str, Any]:
    """The result of a task; facts are those that a reading registered."""
    given = {"version": "4.4.19", "packages": ["packages"], "facts_variable": "reading", **options}
    ready = {
        "inventory_hostname": next(iter(fleet)),
        "ansible_play_hosts_all": list(fleet),
        "hostvars": {host: {"reading": {"facts": facts, "changed": False}} for host, facts in fleet.items()},
        **(variables or {}),
    }
    return run_action(
        emqx_plan, ready, check_mode, **{name: value for name, value in given.items() if value is not None}
    )


@pytest.mark.usefixtures("loaded")
def test_returns_the_plan_its_table_and_a_sentence() -> None:
    found = plan(make_clusters(2, 2))
    assert found["changed"] is False
    assert not found.get("failed")
    assert list(found["plan"]["nodes"]) == ["c0n0", "c0n1", "c1n0", "c1n1"]
    assert found["plan"]["feasible"]
    assert found["table"] == plan_table.lines(found["plan"])
    assert found["msg"] == "To 4.4.19: 4 to switch, in 3 waves; can start."


@pytest.mark.usefixtures("loaded")
def test_a_plan_that_is_not_feasible_is_no_failure_of_the_task() -> None:
    """It is shown first, and refused by the task after it."""
    found = plan({"a": {"msg": "no route"}, "b": make_facts("emqx@b")})
    assert not found["plan"]["feasible"]
    assert not found.get("failed")
    assert found["plan"]["nodes"]["a"]["action"] == "refuse"
    assert found["msg"].startswith("To 4.4.19: 1 to switch, 1 refused, in 1 wave; NOT feasible.")


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("fleet", "packages", "ended", "said"),
    [
        (make_clusters(2, 2), "packages", False, report.NOT_ENDED.format("")),
        ({"a": {"msg": "no route"}}, "packages", True, "To 4.4.19: 1 refused, in 0 waves; NOT feasible.\n"),
        (make_clusters(1, 1), "missing", True, "There is no package missing."),
    ],
)
def test_the_reports_file_tells_of_this_run_from_now_on(
    tmp_path: Path, fleet: dict[str, Any], packages: str, ended: bool, said: str
) -> None:
    path = tmp_path / "report.json"
    settings = make_settings(report_file=str(path), packages=[packages], version="4.4.19")
    variables = {"__emqx_upgrade_settings": {"settings": dict.fromkeys(fleet, settings), "phases": ["plan", "switch"]}}
    with contextlib.suppress(AnsibleActionFail):
        plan(fleet, variables, settings=settings)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["ok"], found["ended"]) == (False, ended)
    assert found["message"].startswith(said)


@pytest.mark.usefixtures("loaded")
def test_check_mode_writes_no_report(tmp_path: Path) -> None:
    settings = make_settings(report_file=str(tmp_path / "report.json"), packages=["packages"], version="4.4.19")
    assert plan(make_clusters(1, 1), check_mode=True, settings=settings)["plan"]["feasible"]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("loaded")
def test_facts_may_be_the_modules_own_result() -> None:
    variables = {"hostvars": {"a": {"reading": make_facts()}}}
    assert plan({"a": {}}, variables)["plan"]["nodes"]["a"]["action"] == "upgrade"


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("reading", [{}, {"reading": None}, {"reading": {"facts": {}}}, {"reading": {"skipped": True}}])
def test_a_host_that_was_not_read_is_refused(reading: Any) -> None:
    assert plan({"a": {}}, {"hostvars": {"a": reading}})["plan"]["nodes"]["a"]["action"] == "refuse"


# By what nodes tell whether they have a package


@pytest.mark.usefixtures("loaded")
def test_every_hop_has_the_digest_of_its_package() -> None:
    found = plan(make_clusters(2, 2))["plan"]
    digests = [hop["sha256"] for node in found["nodes"].values() for hop in node["hops"]]
    assert digests == 4 * [hashlib.sha256(CONTENT).hexdigest()]


@pytest.mark.usefixtures("loaded")
def test_a_package_that_is_gone_is_told(tmp_path: Path) -> None:
    settings = make_settings(report_file=str(tmp_path / "report.json"), packages=["gone"], version="4.4.19")
    with pytest.raises(AnsibleActionFail) as raised:
        plan({"a": make_facts()}, settings=settings)
    assert re.fullmatch(
        r"the package /\S+/emqx-4\.4\.19-\S+\.zip cannot be read any more: No such file or directory; packages must "
        r"stay where they are until the run has ended\.",
        str(raised.value),
    )
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["message"] == str(raised.value)


@pytest.mark.usefixtures("loaded")
def test_what_stands_in_the_way_is_told_before_a_package_that_is_gone() -> None:
    """No node is asked for a package by a plan that cannot start."""
    found = plan({"a": {"msg": "no route"}, "b": make_facts("emqx@b")}, packages=["gone"])
    assert not found["plan"]["feasible"]
    assert "no route" in found["msg"]
    assert [hop["sha256"] for node in found["plan"]["nodes"].values() for hop in node["hops"]] == [None]


# Whether waves are plain ones


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, True),
        ({"hooks": {}, "pause_seconds": 0}, True),
        ({"hooks": {"before_wave": "/hooks/w.yml"}}, False),
        ({"pause_seconds": 1}, False),
    ],
)
def test_waves_without_hooks_and_pauses_are_plain(settings: Any, plain: bool) -> None:
    given = make_settings(packages=["packages"], version="4.4.19", **settings)
    assert plan({"a": make_facts()}, settings=given)["plain_waves"] is plain
    assert plan({"a": make_facts()})["plain_waves"] is True


# Whether it has a client probe


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("settings", "options", "probed"),
    [
        ({"probe": True}, {}, True),
        ({"probe": False}, {}, False),
        ({}, {}, False),
        ({"probe": True}, {"check_mode": True}, False),
        ({"probe": True}, {"variables": {"ansible_run_tags": ["stage"]}}, False),
        ({"probe": True}, {"variables": {"ansible_run_tags": ["commit"]}}, True),
    ],
)
def test_a_run_that_switches_or_commits_may_have_a_probe(settings: Any, options: Any, probed: bool) -> None:
    given = make_settings(packages=["."], version="4.4.19", **settings)
    assert plan({"a": make_facts()}, settings=given, **options)["probed"] is probed


# Options, and checked settings that stand for them


def test_packages_are_looked_for_where_ansible_was_called(loaded: list[Any]) -> None:
    plan({"a": make_facts()}, packages=["p", "q"], download_dir="/cache")
    plan({"a": make_facts()})
    assert loaded == [(["p", "q"], os.getcwd(), "/cache"), (["packages"], os.getcwd(), "~/.cache/emqx-fleet/packages")]


@pytest.mark.parametrize("purpose", ["commit", "rollback"])
def test_other_purposes_need_no_packages_and_no_canary(loaded: list[Any], purpose: str) -> None:
    rows = [{"version": "4.4.18", "status": "permanent"}, {"version": "4.4.19", "status": "current"}]
    boot = {"version": "4.4.18", "consistent": True, "problems": []}
    facts = {
        host: make_facts(
            f"emqx@{host}", "4.4.19", permanent="4.4.18", releases=rows, boot=boot, ways_back={"4.4.19": ["4.4.18"]}
        )
        for host in ("a", "b")
    }
    found = plan(facts, purpose=purpose, version=None)["plan"]
    assert loaded[0][0] == []
    assert (found["purpose"], found["feasible"]) == (purpose, True)
    assert [wave["kind"] for wave in found["waves"]] == ([] if purpose == "commit" else ["wave"])
    assert [node["way_back"] for node in found["nodes"].values()] == [["4.4.18"], ["4.4.18"]]


@pytest.mark.usefixtures("loaded")
def test_options_shape_the_plan() -> None:
    fleet = make_clusters(2, 3, alarms=["high_cpu"])
    found = plan(
        fleet,
        canary=["c1n2"],
        wave_size="1",
        coordinators=["c0n0"],
        accept=["alarms"],
        run_id="night",
        max_per_cluster=2,
    )["plan"]
    assert (found["run_id"], found["accepted"]) == ("night", ["alarms"])
    assert found["waves"][0]["hosts"] == ["c1n2"]
    assert all(len(wave["hosts"]) == 1 for wave in found["waves"])
    hosts = [host for wave in found["waves"] for host in wave["hosts"] if host.startswith("c0")]
    assert hosts[-1] == "c0n0"


def test_checked_settings_stand_for_the_options(loaded: list[Any]) -> None:
    settings = make_settings(
        version="4.4.19", packages=["/abs"], run_id="night", canary=["b"], wave_size="0", max_per_cluster=1,
        coordinators=[], max_clock_skew=60.0, accept=["alarms"],
    )  # fmt: skip
    names = ["emqx@a", "emqx@b"]
    fleet = {
        "a": make_facts("emqx@a", members=names, clock_offset=30.0, alarms=["x"]),
        "b": make_facts("emqx@b", members=names),
    }
    found = plan(fleet, version=None, packages=None, settings=settings)["plan"]
    assert loaded[0][0] == ["/abs"]
    assert (found["run_id"], found["target"]) == ("night", "4.4.19")
    assert [wave["hosts"] for wave in found["waves"]] == [["b"], ["a"]]
    assert {row["gate"] for row in found["obstacles"]} == {"alarms"}, "half a minute between clocks is allowed"


@pytest.mark.usefixtures("loaded")
def test_a_run_without_a_name_is_given_one() -> None:
    one, two = (plan({"a": make_facts()})["plan"]["run_id"] for _time in range(2))
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", one)
    assert one != two
    assert plan({"a": make_facts()}, run_id="")["plan"]["run_id"] != ""


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(("forks", "warned"), [(None, False), (2, False), ("2", False), (1, True), ("1", True)])
def test_a_wave_that_is_wider_than_ansible_works_is_warned_of(forks: Any, warned: bool) -> None:
    variables = {} if forks is None else {"ansible_forks": forks}
    assert bool(plan(make_clusters(2, 1), variables, canary=0)["plan"]["warnings"]) is warned


def test_nodes_may_be_planned_to_fetch_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(url="https://********@files/a.zip", sha256="ab" * 32)
    monkeypatch.setattr(package_sources, "load", lambda *_given: [package])
    for options, url in (
        ({}, None),
        ({"package_source": "node"}, package["url"]),
        ({"settings": make_settings(package_source="node")}, package["url"]),
    ):
        (hop,) = plan({"a": make_facts()}, **options)["plan"]["nodes"]["a"]["hops"]
        assert hop["url"] == url
    package["url"] = None
    found = plan({"a": make_facts()}, package_source="node")
    assert not found["plan"]["feasible"]
    assert "[package_source] a: nodes are to fetch their packages themselves, and emqx-4.4.19-" in found["msg"]


# Runs that ended before they were done


@pytest.mark.usefixtures("loaded")
def test_the_reservation_of_a_dead_run_is_no_obstacle_and_is_known() -> None:
    fleet = {
        "a": make_facts("emqx@a", run={**DEAD, "who": "ann@tower", "until": 0, "since": 0}),
        "b": make_facts("emqx@b"),
    }
    found = plan(fleet)["plan"]
    assert {host: (node["action"], node["unfinished_run"]) for host, node in found["nodes"].items()} == {
        "a": ("upgrade", True),
        "b": ("upgrade", False),
    }
    assert found["feasible"]


@pytest.mark.usefixtures("loaded")
def test_this_runs_own_reservation_is_that_of_an_earlier_job() -> None:
    fleet = {"a": make_facts("emqx@a", "4.4.19", run={**ALIVE, "id": "night", "who": "w", "until": 0, "since": 0})}
    assert plan(fleet, run_id="night")["plan"]["nodes"]["a"]["unfinished_run"] is True
    assert plan(fleet, run_id="day")["plan"]["nodes"]["a"]["unfinished_run"] is False


# What cannot be planned


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": None}, "version: say which version the fleet shall run, for example 4.4.19."),
        ({"version": ""}, "version: say which version the fleet shall run, for example 4.4.19."),
        ({"version": "4"}, "'4' is not a version; give one such as 4.4.19"),
        ({"canary": "some"}, "canary is a number or a percentage, such as 5 or 10%, not 'some'"),
        ({"packages": ["missing"]}, "There is no package missing."),
        ({"purpose": "rollback", "version": None}, "No node of the play can be read and has a version to go back to."),
        ({"facts_variable": None}, "missing required arguments: facts_variable"),
        ({"colour": "red"}, "Unsupported parameters for (emqx_plan) module: colour"),
    ],
)
def test_what_cannot_be_planned_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        plan({"a": make_facts()}, **options)
    assert message in str(raised.value)
