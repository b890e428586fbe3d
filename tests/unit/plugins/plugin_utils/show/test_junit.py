# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JUnit XML: what became of each node is told as a test case, in a form that is valid wherever it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import DROPPED_OUT
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import GateResult, Outcome
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import junit, report
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import NEW, OLD, at, failed_in, make_plan

PLAN = make_plan([["a1"], ["a2", "b1"]], {"b2": "none"})
SWITCHED = [{"action": "switch", "version": NEW, "seconds": 1.26}]
DONE = at("committed", before=read_facts(), after=read_facts(NEW), actions=SWITCHED)
BROKEN = failed_in(
    "switch",
    "It broke.",
    before=read_facts(),
    after=read_facts(NEW, OLD),
    told={
        "failure_class": "changed",
        "output": ["Unpacked", "error: \x1b[31mbad_relup\x1b[0m"],
        "log": ["[error] x"],
        "crash_dumps": [{"path": "/log/crash.dump", "slogan": "killed"}],
    },
    checks=[
        {"name": "connections", "passed": False, "message": "3 of 10 clients are gone."},
        {"name": "alarms", "passed": True, "message": ""},
    ],
)
GATE: GateResult = {
    "name": "space",
    "passed": False,
    "severity": "error",
    "accepted": False,
    "expected": "1 GB",
    "actual": "3 MB",
    "message": "There are 3 MB & no more.",
}


class Rule(NamedTuple):
    """What an element may have: attributes that it must have, others, children, and whether text."""

    needed: str
    others: str
    children: str
    text: bool = False


#: What both ``junit-10.xsd`` of the xUnit plugin of Jenkins and ``JUnit.xsd`` for Apache Ant allow.
RULES: Mapping[str, Rule] = {
    "testsuites": Rule("", "", "testsuite"),
    "testsuite": Rule(
        "name tests failures errors time timestamp hostname id package",
        "skipped",
        "properties testcase system-out system-err",
    ),
    "properties": Rule("", "", "property"),
    "property": Rule("name value", "", ""),
    "testcase": Rule("name classname time", "", "skipped error failure"),
    "skipped": Rule("", "message", "", text=True),
    "error": Rule("type message", "", "", text=True),
    "failure": Rule("type message", "", "", text=True),
    "system-out": Rule("", "", "", text=True),
    "system-err": Rule("", "", "", text=True),
}
FORMS = {
    "time": r"\d+\.\d{3}",
    "timestamp": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
    **dict.fromkeys(("tests", "failures", "errors", "skipped", "id"), r"\d+"),
    **dict.fromkeys(("name", "classname", "hostname", "package"), r"\S(?:.*\S)?"),
}


def check(element: ElementTree.Element) -> None:
    """AssertionError where an element, or one in it, is not as the schemas have it."""
    rule = RULES[element.tag]
    assert set(rule.needed.split()) <= set(element.attrib), element.tag
    assert set(element.attrib) <= {*rule.needed.split(), *rule.others.split()}, element.tag
    for name, value in element.attrib.items():
        assert re.fullmatch(FORMS.get(name, "(?s:.*)"), value), (element.tag, name, value)
    places = [rule.children.split().index(child.tag) for child in element]
    assert places == sorted(places), "a sequence"
    assert rule.text or not (element.text or "").strip()
    if element.tag == "testsuite":
        assert [places.count(place) for place in (0, 2, 3)] == [1, 1, 1]
        for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(element.attrib[name]) == len(element.findall(f"testcase/{kind}"))
        assert int(element.attrib["tests"]) == len(element.findall("testcase"))
    if element.tag == "testcase":
        assert len(element) <= 1
    for child in element:
        check(child)


def read(document: Mapping[str, Any]) -> ElementTree.Element:
    """The file as a parser reads it, after it was checked."""
    text = junit.build(document)
    root = ElementTree.fromstring(text.encode("utf-8"))
    check(root)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>')
    names = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(names) == len(set(names)), "of equal ones GitLab shows the first alone"
    return root


def kinds(root: ElementTree.Element) -> dict[str, str]:
    """What became of each case: the name of the element in it, empty where it passed."""
    return {case.attrib["name"]: next((child.tag for child in case), "") for case in root.iter("testcase")}


def text_of(root: ElementTree.Element, host: str) -> str:
    (case,) = (case for case in root.iter("testcase") if case.attrib["name"] == host)
    return str(case[0].text)


def test_a_suite_for_each_cluster_and_a_case_for_each_node() -> None:
    root = read(make_document(PLAN, dict.fromkeys(("a1", "a2", "b1"), DONE)))
    suites = {suite.attrib["name"]: [case.attrib["name"] for case in suite.iter("testcase")] for suite in root}
    assert suites == {junit.WHOLE: [junit.RUN], "a": ["a1", "a2"], "b": ["b1", "b2"]}
    assert kinds(root) == {"run": "", "a1": "", "a2": "", "b1": "", "b2": "skipped"}
    assert text_of(root, "b2") == "nothing to do"
    (case,) = (case for case in root.iter("testcase") if case.attrib["name"] == "a1")
    assert case.attrib == {"name": "a1", "classname": "a", "time": "1.300"}
    assert root[1].attrib["time"] == "2.600"
    assert (root[0].attrib["time"], root[0].attrib["timestamp"]) == ("600.000", "2026-11-28T01:00:00")
    assert "a2    committed" in str(root[0].findtext("system-out"))


def test_every_suite_says_what_run_it_is_of() -> None:
    root = read(make_document(PLAN, {}, awx={"job_id": "7", "user_name": None}))
    for suite in root:
        found = {row.attrib["name"]: row.attrib["value"] for row in suite.iter("property")}
        assert found == {
            "run_id": "run-1",
            "purpose": "upgrade",
            "target": NEW,
            "verdict": "failed",
            "controller": "tower",
            "user": "ann",
            "version_collection": "0.1.0",
            "version_ansible_core": "2.19.0",
            "version_python": "3.11.7",
            "awx_job_id": "7",
        }


def test_a_failure_has_its_evidence() -> None:
    root = read(make_document(PLAN, {"a1": BROKEN}))
    assert kinds(root) == {"run": "failure", "a1": "failure", "a2": "skipped", "b1": "skipped", "b2": "skipped"}
    (failure,) = root.findall("testsuite/testcase[@name='a1']/failure")
    assert failure.attrib == {"message": "It failed in phase switch: It broke.", "type": "changed"}
    assert str(failure.text).split("\n") == [
        "It failed in phase switch: It broke.",
        f"It was to run {NEW}; it runs {NEW}, and a restart boots {OLD}.",
        "check connections: 3 of 10 clients are gone.",
        "crash dump /log/crash.dump: killed",
        "output:",
        "  Unpacked",
        "  error: [31mbad_relup[0m",
        "log:",
        "  [error] x",
    ], "GitLab shows no attribute, and XML allows no escape signs of a terminal"


@pytest.mark.parametrize(
    ("outcome", "kind", "said"),
    [
        (failed_in("switch", after=None), "error", "It failed in phase switch"),
        (failed_in(DROPPED_OUT, after=read_facts(NEW, OLD)), "error", "It failed in phase dropped out"),
        (at("switched", before=read_facts(), after=read_facts(NEW, OLD)), "failure", f"a restart boots {OLD}"),
        (at("rolled_back", before=read_facts(), after=read_facts(OLD)), "failure", f"it runs {OLD}"),
    ],
)
def test_what_is_no_success(outcome: Outcome, kind: str, said: str) -> None:
    root = read(make_document(make_plan(), {"a1": outcome}))
    assert kinds(root)["a1"] == kind
    assert said in text_of(root, "a1")


def test_a_rollback_that_was_planned_is_a_success() -> None:
    plan = make_plan(purpose="rollback", target=OLD)
    plan["nodes"]["a1"].update({"from": NEW, "to": OLD})
    back = at("rolled_back", before=read_facts(NEW), after=read_facts(OLD))
    assert set(kinds(read(make_document(plan, {"a1": back}))).values()) == {""}


def test_a_job_that_leaves_the_rest_to_a_later_one_is_a_success() -> None:
    staged = at("staged", before=read_facts(), after=read_facts())
    assert set(kinds(read(make_document(make_plan(), {"a1": staged}, parts=("plan", "stage")))).values()) == {""}


def test_a_plan_that_was_refused() -> None:
    plan = make_plan([["a1"], ["a2"]], feasible=False)
    accepted: GateResult = {**GATE, "accepted": True, "name": "clock"}
    plan["nodes"]["a1"].update({"action": "refuse", "gates": [GATE, accepted]})
    root = read(make_document(plan, {}, message="[space] There are 3 MB."))
    assert kinds(root) == {"run": "error", "a1": "failure", "a2": "skipped"}
    assert text_of(root, "a1") == "space: There are 3 MB & no more."


def test_settings_that_were_refused() -> None:
    root = read(make_document(None, message="Mend that.\n- Really."))
    assert kinds(root) == {"run": "error"}
    assert text_of(root, "run").startswith("Mend that.\n- Really.")


def test_a_run_that_was_killed_is_no_success() -> None:
    root = read(make_document(PLAN, {"a1": DONE}, report.InTurn("switch", ["a2"])))
    assert kinds(root) == {"run": "error", "a1": "", "a2": "error", "b1": "skipped", "b2": "skipped"}


@pytest.mark.parametrize("sign", ["\0", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_signs_that_xml_forbids(sign: str) -> None:
    root = read(make_document(make_plan(), {"a1": failed_in("switch", f"a{sign}<b>&\t]]>é\U0001f600\x85")}))
    assert text_of(root, "a1").startswith("It failed in phase switch: a<b>&\t]]>é\U0001f600\x85")


def test_a_cluster_with_the_name_of_the_run() -> None:
    plan = make_plan([["a1"], ["a2"]])
    plan["nodes"]["a1"]["cluster"] = junit.WHOLE
    plan["nodes"]["a2"]["cluster"] = ""
    names = [suite.attrib["name"] for suite in read(make_document(plan, {}))]
    assert names == [junit.WHOLE, f"cluster {junit.WHOLE}", "no cluster"]
