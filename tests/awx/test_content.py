# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What AWX gets: templates, surveys, credential types; and what is refused before AWX is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import awx_content

from .double import Double
from .places import ARGUMENTS, CONTENT, OPTIONS, PLAYBOOKS, SKELETON, content, objects

TEMPLATES = {template["name"]: template for template in CONTENT["templates"]}
(WORKFLOW,) = CONTENT["workflows"]
SECRETS = [settings.PREFIX + name for name, rule in settings.RULES.items() if rule.secret]


def ask(name: str, default: Any = None, *, required: bool = False) -> dict[str, Any]:
    return awx_content.question(name, required, "What?", OPTIONS[name], default)


def test_every_playbook_of_the_skeleton_has_its_template() -> None:
    assert {template["playbook"] for template in CONTENT["templates"]} == set(PLAYBOOKS)
    if SKELETON.is_dir():
        assert {path.name for path in SKELETON.glob("*.yml")} == set(PLAYBOOKS)


def test_no_job_is_sliced_and_none_runs_twice_at_a_time() -> None:
    found = objects()
    for template in found["job_templates"]:
        assert template["allow_simultaneous"] is False
        assert template["job_slice_count"] == 1
        assert template["ask_job_slice_count_on_launch"] is False
        assert template["diff_mode"] is False
        assert template["timeout"] == 0
        assert template["forks"] == 50
    assert [workflow["allow_simultaneous"] for workflow in found["workflows"]] == [False]


def test_the_limit_of_the_workflow_is_that_of_its_jobs() -> None:
    """AWX hands it on to templates that ask for it alone."""
    assert WORKFLOW["ask_limit_on_launch"]
    for template in objects()["job_templates"]:
        assert template["ask_limit_on_launch"] is True


def test_every_survey_asks_for_settings_and_for_no_secret() -> None:
    owners = [*CONTENT["templates"], *CONTENT["workflows"]]
    asked = {name for owner in owners for name in owner.get("survey") or ()}
    assert asked <= OPTIONS.keys()
    assert asked == CONTENT["questions"].keys()
    assert not asked & {name for name, rule in settings.RULES.items() if rule.secret}


def test_a_survey_of_the_workflow_answers_all_that_its_jobs_must_be_told() -> None:
    for node in WORKFLOW["nodes"]:
        if "template" in node:
            assert set(TEMPLATES[node["template"]].get("required") or ()) <= set(WORKFLOW["required"])


def test_no_survey_has_a_default_that_would_win_over_the_inventory_unseen() -> None:
    """But for choices and numbers, which AWX's forms let nobody leave empty."""
    for owner in (*objects()["job_templates"], *objects()["workflows"]):
        for question in owner.get("survey_spec", {"spec": []})["spec"]:
            assert ("default" in question) == (question["type"] in ("multiplechoice", "integer"))


def test_secrets_come_from_credentials_alone() -> None:
    kinds = objects()["credential_types"]
    injected = {name for kind in kinds for name in kind["injectors"]["extra_vars"]}
    assert set(SECRETS) <= injected
    for kind in kinds:
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        for name, template in kind["injectors"]["extra_vars"].items():
            if name in SECRETS:
                assert fields[template.strip("{} ")]["secret"] is True
    elsewhere = yaml.safe_dump({kind: found for kind, found in objects().items() if kind != "credential_types"})
    assert not [name for name in SECRETS if name in elsewhere]


def test_the_injected_variables_are_settings() -> None:
    for kind in objects()["credential_types"]:
        for name in kind["injectors"]["extra_vars"]:
            assert name.removeprefix(settings.PREFIX) in OPTIONS


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("version", "text", {"min": 0, "max": 1024}),
        ("packages", "textarea", {"min": 0, "max": 32768}),
        ("package_source", "multiplechoice", {"choices": "controller\nnode", "default": "controller"}),
        ("probe", "multiplechoice", {"choices": "yes\nno", "default": "no"}),
        ("probe_validate_certs", "multiplechoice", {"choices": "yes\nno", "default": "yes"}),
        ("max_per_cluster", "integer", {"min": 1, "max": 1_000_000, "default": 1}),
        ("probe_port", "integer", {"min": 0, "max": 65535, "default": 0}),
        ("soak_seconds", "text", {"min": 0, "max": 1024}),
        ("max_clock_skew", "text", {"min": 0, "max": 1024}),
        ("canary", "text", {"min": 0, "max": 1024}),
        ("hosts", "text", {"min": 0, "max": 1024}),
        ("accept", "multiselect", {"choices": "\n".join(settings.can_be_accepted())}),
    ],
)
def test_the_type_of_a_question_is_that_of_the_setting(name: str, kind: str, more: Mapping[str, Any]) -> None:
    question = ask(name)
    texts = {key: question[key] for key in ("question_name", "question_description", "required", "variable")}
    assert question == {**texts, "type": kind, **more}
    assert texts["variable"] == settings.PREFIX + name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("soak_seconds", "A time may have a unit, as in 90s, 2m or 1h30m. Left empty, it is 60."),
        ("packages", "One in a line, or with commas between them. Left empty, it is packages."),
        ("canary", "or a host pattern of Ansible such as all:!b1 or web:&db; 0 for none. Left empty, it is 1."),
        ("run_id", "May be left empty."),
        ("package_source", "The controller fetches each of them once as well, to see what is in it."),
    ],
)
def test_the_help_says_how_to_write_it_and_what_empty_means(name: str, said: str) -> None:
    assert ask(name)["question_description"].endswith(said)


def test_what_must_be_answered_says_nothing_of_empty() -> None:
    assert "empty" not in ask("version", required=True)["question_description"]


def test_what_is_asked_is_what_a_run_reads() -> None:
    """Every choice and every default of every question is a value that the settings take."""
    for name in (name for name in OPTIONS if name in settings.RULES and OPTIONS[name]["type"] != "dict"):
        question = ask(name)
        values = [question["default"]] if "default" in question else []
        values += question.get("choices", "").splitlines()
        for value in values:
            read = settings.read({"awx": {question["variable"]: value}}, OPTIONS, "status")
            assert read.problems.sentences() == []


def test_a_suggestion_is_the_default_of_the_question() -> None:
    found = objects(defaults={"packages": ["/srv/a", "/srv/b"], "soak_seconds": "30m", "keep_versions": 2})
    by_name = {owner["name"]: owner for owner in (*found["job_templates"], *found["workflows"])}
    asked = {question["variable"]: question for question in by_name["EMQX upgrade"]["survey_spec"]["spec"]}
    assert asked["emqx_upgrade_packages"]["default"] == "/srv/a\n/srv/b"
    assert asked["emqx_upgrade_soak_seconds"]["default"] == "30m"
    (kept,) = by_name["EMQX cleanup"]["survey_spec"]["spec"]
    assert kept["default"] == 2


def test_what_is_not_asked_is_in_no_survey() -> None:
    found = objects(not_asked=["packages", "keep_versions"])
    assert "emqx_upgrade_packages" not in yaml.safe_dump(found)
    (cleanup,) = (template for template in found["job_templates"] if template["name"] == "EMQX cleanup")
    assert cleanup["survey_enabled"] is False
    assert "survey_spec" not in cleanup


def test_credentials_are_left_alone_unless_some_are_named() -> None:
    assert all("credentials" not in template for template in objects()["job_templates"])
    named = objects(machine_credential="brokers", credentials=["probe", "brokers"])
    assert all(template["credentials"] == ["brokers", "probe"] for template in named["job_templates"])


def test_an_image_is_an_execution_environment_of_the_templates() -> None:
    found = objects(execution_environment_image="registry.example.com/emqx:1")
    assert [item["name"] for item in found["execution_environments"]] == ["EMQX fleet"]
    assert {template["execution_environment"] for template in found["job_templates"]} == {"EMQX fleet"}
    assert objects(execution_environment="theirs")["execution_environments"] == []


def test_without_a_url_the_project_is_somebody_elses() -> None:
    found = objects(project_url="", project="theirs")
    assert found["projects"] == []
    assert {template["project"] for template in found["job_templates"]} == {"theirs"}


def nodes_of(changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["identifier"]: node for node in changed["workflows"][0]["nodes"]}


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["templates"][1]["survey"].append("versoin"), "asks for versoin; expected are settings, without "),
        (lambda c: c["templates"][1]["survey"].append("versoin"), "Did you mean version?"),
        (lambda c: c["templates"][1]["survey"].append("webhook_token"), "asks for webhook_token, which is a secret"),
        (lambda c: c["templates"][1]["survey"].append("hooks"), "asks for hooks, which is no single value"),
        (lambda c: c["templates"][1]["survey"].append("probe"), "questions has no words for it"),
        (lambda c: c["templates"][1]["survey"].append("version"), "asks 2 times for version"),
        (lambda c: c["templates"][1]["required"].append("probe"), "requires probe, which it does not ask for"),
        (
            lambda c: c["templates"][1].update(extra_vars={"emqx_upgrade_webhook": "x"}),
            "has the secret emqx_upgrade_webhook",
        ),
        (lambda c: c["templates"].append(dict(c["templates"][0])), "The template status is there 2 times"),
        (lambda c: c["workflows"][0].update(required=[]), "requires version, which the workflow does not"),
        (lambda c: nodes_of(c)["stage"].update(success=["swich"]), "leads to swich, which is not there"),
        (lambda c: nodes_of(c)["stage"].update(template="stag"), "Did you mean stage?"),
        (lambda c: nodes_of(c)["stage"].update(always=["status"]), "leads to status by two edges"),
        (lambda c: nodes_of(c)["stage"].update(approval={"name": "x"}), "either a template or an approval"),
        (lambda c: nodes_of(c)["report"].update(success=["plan"]), "AWX allows no circles"),
        (lambda c: nodes_of(c)["approve-rest"]["approval"].update(timeout=0), "an approval without a timeout"),
        (
            lambda c: nodes_of(c)["approve-commit"]["approval"].update(timeout=18_000),
            "soak -> approve-commit -> status -> ",
        ),
        (lambda c: nodes_of(c)["approve-commit"]["approval"].update(timeout=18_000), "may take 36000"),
        (lambda c: c["workflows"][0].update(extra_vars={}), "for 14400 seconds (emqx_upgrade_park_seconds)"),
        (lambda c: c["workflows"][0].update(extra_vars={"emqx_upgrade_park_seconds": "10y"}), "park_seconds is '10y'"),
        (lambda c: c.update(teams=[]), "The content has teams, which is unknown"),
        (lambda c: c.pop("templates"), "The content has no templates"),
    ],
)
def test_content_that_awx_cannot_get_is_refused(change: Change, said: str) -> None:
    changed = content()
    change(changed)
    with pytest.raises(awx_content.ContentError) as refused:
        awx_content.objects(changed, OPTIONS, ARGUMENTS)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"defaults": {"soak_second": 5}}, "emqx_awx_defaults names soak_second, which no survey asks for"),
        ({"defaults": {"soak_second": 5}}, "Did you mean soak_seconds?"),
        ({"defaults": {"soak_seconds": "soon"}}, "emqx_awx_defaults: emqx_upgrade_soak_seconds is 'soon'"),
        ({"not_asked": ["version"]}, "which a run must be told"),
        ({"not_asked": ["everything"]}, "emqx_awx_not_asked names everything"),
        ({"project": "EMQX plan"}, "are named EMQX plan; expected are different names"),
    ],
)
def test_arguments_that_fit_no_content_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(awx_content.ContentError) as refused:
        objects(**arguments)
    assert said in str(refused.value)


def test_nodes_stay_reserved_for_longer_than_anybody_may_take() -> None:
    holds = [template["name"] for template in CONTENT["templates"] if template.get("holds_nodes")]
    gap = awx_content.longest_gap(WORKFLOW, holds)
    assert gap is not None
    seconds, way = gap
    assert way == ["switch-canary", "approve-rest", "status", "approve-rollback", "rollback"]
    assert seconds == 14400 + 1800 + 14400 + 1800
    assert WORKFLOW["extra_vars"]["emqx_upgrade_park_seconds"] > seconds


def test_awx_takes_the_surveys_and_the_credential_types() -> None:
    double = Double(PLAYBOOKS)
    for owner in (*objects()["job_templates"], *objects()["workflows"]):
        if owner["survey_enabled"]:
            template = double.add("workflow_job_templates", name=owner["name"])
            path = f"/api/v2/workflow_job_templates/{template}/survey_spec/"
            assert double.answer("POST", path, owner["survey_spec"]) == (200, {})
            # What is not the same when it comes back would be sent again each time.
            assert double.answer("GET", path, None) == (200, owner["survey_spec"])
    for kind in objects()["credential_types"]:
        number = double.add("credential_types", **kind)
        _status, back = double.answer("GET", f"/api/v2/credential_types/{number}/", None)
        assert {name: back[name] for name in kind} == kind


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({"a": {"success_nodes": ["b"]}, "b": {}}, {"nodes": [], "edges": []}),
        ({"a": {"failure_nodes": ["b"]}, "b": {}}, {"nodes": [], "edges": [("a", [], [], [])]}),
        ({"a": {"success_nodes": ["b", "c"]}, "b": {}, "c": {}}, {"nodes": ["c"], "edges": [("a", ["b"], [], [])]}),
        ({"a": {}}, {"nodes": [], "edges": []}),
        ({}, {"nodes": [], "edges": []}),
    ],
)
def test_what_is_left_over_of_a_workflow(there: dict[str, Any], expected: dict[str, Any]) -> None:
    """The workflow shall have a, and b behind it where it succeeds."""
    ids = {name: number for number, name in enumerate(there, 1)}
    nodes = [
        {"id": ids[name], "identifier": name}
        | {edge: [ids[child] for child in node.get(edge, ())] for edge in awx_content.EDGES.values()}
        for name, node in there.items()
    ]
    none: dict[str, list[str]] = {edge: [] for edge in awx_content.EDGES.values()}
    wanted = [{"identifier": "a", **none, "success_nodes": ["b"]}, {"identifier": "b", **none}]
    found = awx_content.leftovers(nodes, wanted)
    assert [node["identifier"] for node in found["nodes"]] == expected["nodes"]
    assert [
        (node["identifier"], node["success_nodes"], node["failure_nodes"], node["always_nodes"])
        for node in found["edges"]
    ] == expected["edges"]
