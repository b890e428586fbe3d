# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The double refuses what AWX refuses, so that a test of what AWX takes means something."""

from __future__ import annotations

from typing import Any

import pytest

from .double import Change, Double
from .places import PLAYBOOKS

FIELD = {"id": "url", "label": "URL", "type": "string"}
QUESTION = {"type": "text", "question_name": "?", "variable": "x", "required": False}


@pytest.fixture
def double() -> Double:
    """With a project, an inventory and a job template (``look``) of which a workflow (``both``) has two nodes."""
    found = Double(PLAYBOOKS)
    project = found.add("projects", name="fleet", organization=1, scm_type="git", scm_url="https://git.example.com/x")
    inventory = found.add("inventories", name="brokers", organization=1)
    look = found.add("job_templates", name="look", project=project, inventory=inventory, playbook="status.yml")
    both = found.add("workflow_job_templates", name="both", organization=1)
    for name in ("one", "other"):
        found.add("workflow_job_template_nodes", identifier=name, workflow_job_template=both, unified_job_template=look)
    return found


def number(double: Double, endpoint: str, name: str) -> int:
    return int(double.named(endpoint)[name]["id"])


def post(double: Double, endpoint: str, body: Any) -> tuple[int, Any]:
    return double.answer("POST", f"/api/v2/{endpoint}/", body)


@pytest.mark.parametrize(
    ("endpoint", "body", "said"),
    [
        ("labels", {"name": "x", "organisation": 1}, "organization': ['This field is required"),
        ("labels", {"name": "x", "organization": 1, "colour": "red"}, "colour': ['This field is not known"),
        ("labels", {"name": "x", "organization": 99}, 'Invalid pk "99" - object does not exist.'),
        ("labels", {"name": "x", "organization": "Default"}, "Expected pk value, received str."),
        ("labels", {"name": 7, "organization": 1}, "Not a valid string."),
        ("organizations", {"name": "Default"}, "Organization with this (name) combination already exists."),
        ("organizations", {"name": "x" * 513}, "no more than 512 characters"),
        ("organizations", {"name": "x", "max_hosts": -1}, "greater than or equal to 0"),
        ("organizations", {"name": "x", "max_hosts": "5"}, "A valid integer is required."),
        ("credential_types", {"name": "x", "kind": "ssh"}, '"ssh" is not a valid choice.'),
        ("credential_types", {"name": "x", "kind": "cloud", "inputs": {"field": []}}, "'field' was unexpected"),
        (
            "credential_types",
            {"name": "x", "kind": "cloud", "inputs": {"fields": [{"id": "a"}]}},
            "'label' is a required",
        ),
        (
            "credential_types",
            {"name": "x", "kind": "cloud", "inputs": {"fields": [FIELD, FIELD]}},
            "field IDs must be unique (url)",
        ),
        (
            "credential_types",
            {"name": "x", "kind": "cloud", "inputs": {"fields": [{**FIELD, "type": "boolean", "secret": True}]}},
            "secret not allowed for boolean type",
        ),
        (
            "credential_types",
            {
                "name": "x",
                "kind": "cloud",
                "inputs": {"fields": [FIELD]},
                "injectors": {"extra_vars": {"a": "{{ ulr }}"}},
            },
            "uses an undefined field",
        ),
        (
            "credential_types",
            {"name": "x", "kind": "cloud", "injectors": {"extra_vars": {"a": "{{ tower.filename.ca }}"}}},
            "uses an undefined field",
        ),
        ("credential_types", {"name": "x", "kind": "cloud", "injectors": {"vars": {}}}, "'vars' was unexpected"),
        ("job_templates", {"name": "x"}, "project': ['This field is required."),
    ],
)
def test_a_bad_object_is_refused(double: Double, endpoint: str, body: dict[str, Any], said: str) -> None:
    status, answer = post(double, endpoint, body)
    assert status == 400
    assert said in str(answer)
    assert double.changes == [Change("POST", f"/api/v2/{endpoint}/", body, 400)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"playbook": "stats.yml"}, "Playbook not found for project."),
        ({"playbook": ""}, "Must select playbook for project."),
        ({"inventory": None}, "You must either set a default value or ask to prompt on launch."),
        ({"scm_branch": "main"}, "Project does not allow overriding branch."),
        ({"extra_vars": "- a"}, "Cannot parse as JSON or YAML."),
        ({"ask_limit_on_launch": "yes"}, "Must be a valid boolean."),
        ({"verbosity": 6}, '"6" is not a valid choice.'),
    ],
)
def test_a_bad_job_template_is_refused(double: Double, change: dict[str, Any], said: str) -> None:
    path = f"/api/v2/job_templates/{number(double, 'job_templates', 'look')}/"
    before = double.answer("GET", path, None)
    status, answer = double.answer("PATCH", path, change)
    assert status == 400
    assert said in str(answer)
    assert double.answer("GET", path, None) == before


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({**QUESTION, "type": "number"}, "'number' in survey question 0 is not one of"),
        ({**QUESTION, "required": "no"}, "'required' in survey question 0 expected to be bool"),
        ({key: value for key, value in QUESTION.items() if key != "variable"}, "'variable' missing"),
        ({**QUESTION, "default": 5}, "Default value 5 in survey question 0 expected to be str"),
        ({**QUESTION, "type": "integer", "default": "5"}, "Default value 5 in survey question 0 expected to be int"),
        ({**QUESTION, "min": "0"}, "The min limit in survey question 0 expected to be integer."),
        ({**QUESTION, "type": "multiplechoice"}, "must specify choices"),
        ({**QUESTION, "type": "multiplechoice", "choices": "a\nb", "default": "c"}, "answered from the choices listed"),
        (
            {**QUESTION, "type": "multiplechoice", "choices": "a\nb", "default": "a\nb"},
            "can only have one default value",
        ),
        ({**QUESTION, "help": "x"}, "has help, which is not known"),
    ],
)
def test_a_bad_survey_is_refused(double: Double, question: dict[str, Any], said: str) -> None:
    path = f"/api/v2/job_templates/{number(double, 'job_templates', 'look')}/survey_spec/"
    status, answer = double.answer("POST", path, {"name": "", "description": "", "spec": [question]})
    assert status == 400
    assert said in answer["error"]
    assert double.answer("GET", path, None) == (200, {})


def test_a_survey_that_asks_twice_for_the_same_is_refused(double: Double) -> None:
    path = f"/api/v2/job_templates/{number(double, 'job_templates', 'look')}/survey_spec/"
    status, answer = double.answer("POST", path, {"name": "", "description": "", "spec": [QUESTION, QUESTION]})
    assert (status, answer["error"]) == (400, "'variable' 'x' duplicated in survey question 1.")


def lead(double: Double, edge: str, parent: str, child: str) -> tuple[int, Any]:
    nodes = "workflow_job_template_nodes"
    path = f"/api/v2/{nodes}/{number(double, nodes, parent)}/{edge}/"
    return double.answer("POST", path, {"id": number(double, nodes, child)})


def test_edges_that_awx_refuses(double: Double) -> None:
    assert lead(double, "success_nodes", "one", "one") == (400, {"Error": "Cycle detected."})
    assert lead(double, "success_nodes", "one", "other") == (204, None)
    assert lead(double, "always_nodes", "one", "other") == (400, {"Error": "Relationship not allowed."})
    assert lead(double, "failure_nodes", "other", "one") == (400, {"Error": "Cycle detected."})


def test_what_a_node_may_give_is_what_its_template_asks_for(double: Double) -> None:
    nodes = "workflow_job_template_nodes"
    path = f"/api/v2/{nodes}/{number(double, nodes, 'one')}/"
    status, answer = double.answer("PATCH", path, {"extra_data": {"x": 1}})
    assert status == 400
    assert "Variables x are not allowed on launch." in str(answer)
    assert double.answer("PATCH", path, {"limit": "a1"})[0] == 400
    look = number(double, "job_templates", "look")
    assert double.answer("PATCH", f"/api/v2/job_templates/{look}/", {"ask_variables_on_launch": True})[0] == 200
    assert double.answer("PATCH", path, {"extra_data": {"x": 1}})[0] == 200


def test_a_field_that_is_not_there_cannot_be_searched_for(double: Double) -> None:
    status, answer = double.answer("GET", "/api/v2/labels/?colour=red", None)
    assert (status, answer) == (400, {"detail": "label has no field named 'colour'"})


def test_long_lists_have_pages(double: Double) -> None:
    for each in range(30):
        double.add("labels", name=f"label {each}", organization=1)
    _status, first = double.answer("GET", "/api/v2/labels/", None)
    _status, second = double.answer("GET", first["next"], None)
    assert (first["count"], len(first["results"]), len(second["results"]), second["next"]) == (30, 25, 5, None)


def test_what_is_deleted_is_gone_where_it_was_used(double: Double) -> None:
    look = number(double, "job_templates", "look")
    assert double.answer("DELETE", f"/api/v2/job_templates/{look}/", None) == (204, None)
    assert double.named("workflow_job_template_nodes")["one"]["unified_job_template"] is None
    both = number(double, "workflow_job_templates", "both")
    assert double.answer("DELETE", f"/api/v2/workflow_job_templates/{both}/", None) == (204, None)
    assert double.named("workflow_job_template_nodes") == {}


def test_a_credential_type_in_use_stays(double: Double) -> None:
    kind = double.add("credential_types", name="x", kind="cloud")
    double.add("credentials", name="theirs", organization=1, credential_type=kind)
    assert double.answer("DELETE", f"/api/v2/credential_types/{kind}/", None)[0] == 403


def test_two_credentials_of_a_type_are_refused(double: Double) -> None:
    kind = double.add("credential_types", name="Machine", kind="cloud")
    path = f"/api/v2/job_templates/{number(double, 'job_templates', 'look')}/credentials/"
    ids = [double.add("credentials", name=name, organization=1, credential_type=kind) for name in ("a", "b")]
    assert double.answer("POST", path, {"id": ids[0]}) == (204, None)
    assert double.answer("POST", path, {"id": ids[1]}) == (
        400,
        {"error": "Cannot assign multiple Machine credentials."},
    )
