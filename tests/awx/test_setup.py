# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""``emqx.fleet.awx_setup`` with the real modules of awx.awx, against a double of AWX."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Play
from .double import FIELDS, Change, Double
from .places import ARGUMENTS, CONTENT, PLAYBOOKS, content, objects

URL = str(ARGUMENTS["project_url"])
#: In one process, so that AWX gets all of it once.
ALL = pytest.mark.xdist_group("all")
Setup = Callable[..., subprocess.CompletedProcess[str]]


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks changed something, of a play that did not fail."""
    assert done.returncode == 0, done.stdout + done.stderr
    (count,) = re.findall(r"^localhost .*changed=(\d+) .*failed=0 ", done.stdout, re.MULTILINE)
    return int(count)


def of_double(play: Play, awx_collection: Path, double: Double) -> Setup:
    def setup(*options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        double.changes.clear()
        given = {f"emqx_awx_{name}": value for name, value in ({"project_url": URL} | variables).items()}
        return play("awx_setup", "-e", json.dumps(given), *options, env=double.environment, beside=awx_collection)

    return setup


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with Double(PLAYBOOKS) as found:
        machine = found.add("credential_types", name="Machine", kind="cloud")
        found.add("credentials", name="brokers", organization=1, credential_type=machine)
        yield found


@pytest.fixture(scope="module")
def setup(play: Play, awx_collection: Path, double: Double) -> Setup:
    """Play awx_setup against the double, which has got the whole content once."""
    found = of_double(play, awx_collection, double)
    options = {"machine_credential": "brokers", "execution_environment_image": "registry.example.com/emqx:1"}
    assert changed(found(**options)) > 0
    assert [change for change in double.changes if change.status >= 300] == []
    return found


def edges(double: Double, workflow: str) -> dict[str, dict[str, list[str]]]:
    """Of each node of a workflow, by its identifier, what it leads to by each edge, without those that lead nowhere."""
    nodes = double.objects["workflow_job_template_nodes"]
    number = double.named("workflow_job_templates")[workflow]["id"]
    found: dict[str, dict[str, list[str]]] = {}
    for node in nodes.values():
        if node["workflow_job_template"] == number:
            leads = {
                edge: [
                    nodes[child]["identifier"]
                    for child in double.lists.get(("workflow_job_template_nodes", node["id"], edge), [])
                ]
                for edge in ("success_nodes", "failure_nodes", "always_nodes")
            }
            found[node["identifier"]] = {edge: children for edge, children in leads.items() if children}
    return found


def wanted_edges(nodes: list[dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    kinds = ("success", "failure", "always")
    return {node["identifier"]: {f"{kind}_nodes": node[kind] for kind in kinds if node.get(kind)} for node in nodes}


@ALL
def test_awx_has_all_of_it(setup: Setup, double: Double) -> None:
    wanted = objects()
    assert double.named("job_templates").keys() == {template["name"] for template in wanted["job_templates"]}
    for template in wanted["job_templates"]:
        there = double.named("job_templates")[template["name"]]
        plain = [
            name
            for name in template
            if name in there and name not in ("extra_vars", "organization", "project", "inventory")
        ]
        assert {name: there[name] for name in plain} == {name: template[name] for name in plain}
        assert json.loads(there["extra_vars"]) == template["extra_vars"]
        assert double.surveys.get(there["id"], {}) == template.get("survey_spec", {})
        assert double.lists["job_templates", there["id"], "credentials"] == [
            double.named("credentials")["brokers"]["id"]
        ]
        assert double.lists["job_templates", there["id"], "labels"] == [double.named("labels")["emqx-fleet"]["id"]]
        assert there["execution_environment"] == double.named("execution_environments")["EMQX fleet"]["id"]
    workflow = double.named("workflow_job_templates")["EMQX upgrade"]
    assert double.surveys[workflow["id"]] == wanted["workflows"][0]["survey_spec"]
    assert json.loads(workflow["extra_vars"]) == CONTENT["workflows"][0]["extra_vars"]
    assert edges(double, "EMQX upgrade") == wanted_edges(CONTENT["workflows"][0]["nodes"])
    approvals = double.named("workflow_approval_templates")
    for node in CONTENT["workflows"][0]["nodes"]:
        there = double.named("workflow_job_template_nodes")[node["identifier"]]
        if "approval" in node:
            approval = approvals[node["approval"]["name"]]
            assert there["unified_job_template"] == approval["id"]
            assert {name: approval[name] for name in node["approval"]} == node["approval"]
        else:
            assert there["unified_job_template"] == double.named("job_templates")[f"EMQX {node['template']}"]["id"]
    assert {"EMQX client probe", "EMQX fleet webhook"} <= double.named("credential_types").keys()


@ALL
def test_a_second_time_nothing_changes(setup: Setup, double: Double) -> None:
    options = {"machine_credential": "brokers", "execution_environment_image": "registry.example.com/emqx:1"}
    assert changed(setup(**options)) == 0
    assert double.changes == []


#: Small, since each object takes a start of Python.
SMALL: dict[str, Any] = {
    "labels": [],
    "questions": CONTENT["questions"],
    "template": CONTENT["template"],
    "templates": [
        {"name": "look", "description": "", "playbook": "status.yml"},
        {"name": "clean", "description": "", "playbook": "cleanup.yml", "survey": ["keep_versions"]},
    ],
    "credential_types": CONTENT["credential_types"][1:],
    "workflows": [
        {
            **{
                name: CONTENT["workflows"][0][name]
                for name in ("allow_simultaneous", "ask_limit_on_launch", "ask_variables_on_launch")
            },
            "name": "both",
            "description": "",
            "nodes": [
                {"identifier": "look", "template": "look", "success": ["approve-it"], "failure": ["last"]},
                {
                    "identifier": "approve-it",
                    "approval": {"name": "Clean?", "description": "", "timeout": 60},
                    "success": ["clean"],
                },
                {"identifier": "clean", "template": "clean", "always": ["last"]},
                {"identifier": "last", "template": "look"},
            ],
        }
    ],
}


@pytest.fixture
def small(
    play: Play, awx_collection: Path, tmp_path: Path
) -> Iterator[tuple[Double, Callable[..., subprocess.CompletedProcess[str]]]]:
    """A double, and awx_setup of content for it; it has got the small one once."""
    with Double(PLAYBOOKS) as double:
        setup = of_double(play, awx_collection, double)

        def bring(found: Mapping[str, Any], **variables: Any) -> subprocess.CompletedProcess[str]:
            path = tmp_path / "content.yml"
            path.write_text(json.dumps(found), encoding="utf-8")
            return setup(content=str(path), **variables)

        assert changed(bring(SMALL)) > 0
        yield double, bring


def test_a_changed_survey_is_one_change(small: Any) -> None:
    double, bring = small
    assert changed(bring(SMALL, defaults={"keep_versions": 3})) == 1
    clean = double.named("job_templates")["EMQX clean"]["id"]
    (change,) = double.changes
    assert change[:2] == ("POST", f"/api/v2/job_templates/{clean}/survey_spec/")
    assert double.surveys[clean]["spec"][0]["default"] == 3


def test_what_is_gone_from_a_workflow_goes_from_awx(small: Any) -> None:
    """An edge that is no more, one that became another, a node, and what led to it."""
    double, bring = small
    found = json.loads(json.dumps(SMALL))
    look, approve, clean, _last = found["workflows"][0]["nodes"]
    look.update(success=[], failure=[], always=["approve-it"])
    clean.update(always=[])
    found["workflows"][0]["nodes"] = [look, approve, clean]
    assert changed(bring(found)) > 0
    assert [change for change in double.changes if change.status >= 300] == []
    assert edges(double, "EMQX both") == {
        "look": {"always_nodes": ["approve-it"]},
        "approve-it": {"success_nodes": ["clean"]},
        "clean": {},
    }


def test_absent_takes_away_what_present_brought(small: Any) -> None:
    double, bring = small
    double.add(
        "credentials",
        name="theirs",
        organization=1,
        credential_type=double.named("credential_types")["EMQX fleet webhook"]["id"],
    )
    assert changed(bring(SMALL, state="absent")) > 0
    left = {
        kind: [item["name"] for item in found.values()]
        for kind, found in double.objects.items()
        if found and kind != "project_updates"
    }
    assert left == {
        "organizations": ["Default"],
        "inventories": ["EMQX brokers"],
        "credential_types": ["EMQX fleet webhook"],
        "credentials": ["theirs"],
    }
    assert changed(bring(SMALL, state="absent")) == 0
    assert double.changes == []


def test_without_awx_awx_it_says_what_to_install(play: Play) -> None:
    done = play("awx_setup", "-e", f"emqx_awx_project_url={URL}")
    assert done.returncode != 0
    assert "ansible-galaxy collection install awx.awx" in done.stdout


def test_a_state_that_is_none_is_told(play: Play, awx_collection: Path) -> None:
    done = play("awx_setup", "-e", "emqx_awx_state=gone", beside=awx_collection)
    assert done.returncode != 0
    assert "value of state must be one of: present, absent, got: gone" in done.stdout


def test_bad_content_is_told_before_awx_is_asked(play: Play, awx_collection: Path, tmp_path: Path) -> None:
    found = content()
    found["workflows"][0]["extra_vars"] = {}
    path = tmp_path / "content.yml"
    path.write_text(json.dumps(found), encoding="utf-8")
    done = play(
        "awx_setup",
        "-e",
        f"emqx_awx_content={path}",
        env={"CONTROLLER_HOST": "http://127.0.0.1:9"},
        beside=awx_collection,
    )
    assert done.returncode != 0
    assert "AWX was not contacted." in done.stdout
    assert "emqx_upgrade_park_seconds" in done.stdout


def documented(awx_collection: Path, module: str) -> set[str]:
    """Options of a module of awx.awx."""
    text = (awx_collection / f"ansible_collections/awx/awx/plugins/modules/{module}.py").read_text(encoding="utf-8")
    (documentation,) = re.findall(r"(?s)^DOCUMENTATION = '''(.*?)'''", text, re.MULTILINE)
    return set(yaml.safe_load(documentation)["options"])


def test_the_export_has_the_same_objects(play: Play, awx_collection: Path, tmp_path: Path) -> None:
    """Written without AWX and without awx.awx, twice the same, and all that it says is known to the modules."""
    path = tmp_path / "awx.yml"
    options = ("-e", json.dumps({"emqx_awx_project_url": URL, "emqx_awx_export": str(path)}))
    assert changed(play("awx_setup", *options)) == 1
    assert changed(play("awx_setup", *options)) == 0
    exported = yaml.safe_load(path.read_text(encoding="utf-8"))
    wanted = objects()
    assert exported["controller_templates"] == wanted["job_templates"]
    assert exported["controller_projects"] == wanted["projects"]
    assert exported["controller_labels"] == wanted["labels"]
    assert exported["controller_inventories"] == wanted["inventories"]
    (workflow,) = exported["controller_workflows"]
    assert workflow.pop("simplified_workflow_nodes") == wanted["workflows"][0]["nodes"]
    assert workflow == {name: value for name, value in wanted["workflows"][0].items() if name != "nodes"}
    # With blanks between the braces, so that Ansible takes nothing for a template; the roles take the blanks out.
    assert "{{" not in path.read_text(encoding="utf-8")
    assert "{%" not in path.read_text(encoding="utf-8")
    kinds = json.loads(json.dumps(exported["controller_credential_types"]).replace("{  {", "{{"))
    assert kinds == wanted["credential_types"]
    for variable, module in (
        ("controller_templates", "job_template"),
        ("controller_projects", "project"),
        ("controller_labels", "label"),
        ("controller_inventories", "inventory"),
        ("controller_credential_types", "credential_type"),
    ):
        for item in exported[variable]:
            assert item.keys() <= documented(awx_collection, module)
    assert workflow.keys() <= documented(awx_collection, "workflow_job_template")
    for node in wanted["workflows"][0]["nodes"]:
        assert node.keys() <= documented(awx_collection, "workflow_job_template_node")


def test_the_double_knows_what_the_modules_can_send(awx_collection: Path) -> None:
    """Every option of a module is a field in fields.yml, but for those that say something else."""
    apart = {
        "job_template": {"credential", "vault_credential", "instance_groups"},
        "workflow_job_template": {"workflow_nodes", "destroy_current_nodes"},
        "workflow_job_template_node": {"approval_node", "lookup_organization", "organization", "instance_groups"},
        "project": {"wait", "update_project", "interval", "signature_validation_credential"},
        "inventory": {"input_inventories", "instance_groups"},
    }
    endpoints = {of["type"]: of for of in FIELDS.values() if of.get("type") in apart}
    assert endpoints.keys() == apart.keys()
    for module, of in endpoints.items():
        options = documented(awx_collection, module)
        options -= {"new_name", "copy_from", "state", "survey_spec", *apart[module]}
        sent = {name for name in options if not name.startswith("notification_templates_")}
        assert sent <= {*of["fields"], *of["lists"], *of.get("read_only", ())}, module


def test_the_double_notes_what_it_refuses() -> None:
    double = Double(PLAYBOOKS)
    answer = double.answer("POST", "/api/v2/labels/", {"name": "x", "organisation": 1})
    assert answer == (400, {"organisation": ["This field is not known."], "organization": ["This field is required."]})
    assert double.changes == [Change("POST", "/api/v2/labels/", {"name": "x", "organisation": 1}, 400)]
