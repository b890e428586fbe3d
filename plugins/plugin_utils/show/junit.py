# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The document of a run as JUnit XML, for continuous integration. Pure functions.

There is no one schema of JUnit XML. What is made here is valid by the two that are used most: ``junit-10.xsd`` of the
xUnit plugin of Jenkins (jenkinsci/xunit-plugin), and ``JUnit.xsd`` for Apache Ant (windyroad/JUnit-Schema). GitLab
shows the text of a failure and no attribute of it, and of test cases with equal names only the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import DROPPED_OUT
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

Node = Mapping[str, Any]

#: The suite and the case of the run as a whole, in which what no node depends on fails.
WHOLE = "emqx.fleet"
RUN = "run"
#: The suite of nodes whose cluster is not known.
_NO_CLUSTER = "no cluster"
#: What XML 1.0 does not allow in a document, not even escaped (2.2, "Characters").
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Case(NamedTuple):
    """A test case; ``kind``: ``failure``, ``error`` or ``skipped``, empty where it passed."""

    name: str
    seconds: float
    kind: str = ""
    type: str = ""
    message: str = ""
    evidence: Sequence[str] = ()


def build(document: Mapping[str, Any]) -> str:
    """The file's text: a test suite for the run and one for each cluster, with a test case for each node."""
    root = ElementTree.Element("testsuites")
    suites: dict[str, list[_Case]] = {WHOLE: [_run(document)]}
    for host, node in sorted(document["nodes"].items()):
        suites.setdefault(_suite_of(node), []).append(_node(host, node))
    for number, (name, cases) in enumerate(suites.items()):
        table = document["table"] if name == WHOLE else ()
        root.append(_suite(document, number, name, cases, table))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite_of(node: Node) -> str:
    name = str(node["cluster"] or _NO_CLUSTER)
    return f"cluster {name}" if name == WHOLE else name


def _suite(
    document: Mapping[str, Any], number: int, name: str, cases: Sequence[_Case], table: Iterable[str]
) -> ElementTree.Element:
    kinds = [case.kind for case in cases]
    job = document["jobs"][-1]
    suite = ElementTree.Element(
        "testsuite",
        {
            "id": str(number),
            "name": _clean(name),
            "package": WHOLE,
            "tests": str(len(cases)),
            "failures": str(kinds.count("failure")),
            "errors": str(kinds.count("error")),
            "skipped": str(kinds.count("skipped")),
            "time": _seconds(sum(case.seconds for case in cases)),
            # Of UTC: the schema for Ant allows neither fractions nor a time zone.
            "timestamp": str(document["started"])[:19],
            "hostname": _clean(job["controller"]["host"]) or "localhost",
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(document, job):
        ElementTree.SubElement(properties, "property", {"name": key, "value": _clean(value)})
    for case in cases:
        suite.append(_element(case, name))
    ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(table))
    ElementTree.SubElement(suite, "system-err")
    return suite


def _properties(document: Mapping[str, Any], job: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    told = {
        "run_id": document["run_id"],
        "purpose": document["purpose"],
        "target": document["target"],
        "verdict": document["verdict"],
        "controller": job["controller"]["host"],
        "user": job["controller"]["user"],
        **{f"version_{name}": version for name, version in job["versions"].items()},
        **{f"awx_{name}": value for name, value in (job["awx"] or {}).items()},
    }
    return ((key, str(value)) for key, value in told.items() if value not in (None, ""))


def _element(case: _Case, suite: str) -> ElementTree.Element:
    names = {"name": _clean(case.name), "classname": _clean(suite), "time": _seconds(case.seconds)}
    element = ElementTree.Element("testcase", names)
    if case.kind:
        given = {"message": _clean(case.message)}
        if case.kind != "skipped":
            given["type"] = _clean(case.type)
        found = ElementTree.SubElement(element, case.kind, given)
        found.text = _clean("\n".join([case.message, *case.evidence]))
    return element


def _run(document: Mapping[str, Any]) -> _Case:
    seconds = float(document["seconds"])
    if document["verdict"] == "succeeded":
        return _Case(RUN, seconds)
    kind = "failure" if document["verdict"] == "failed" else "error"
    return _Case(RUN, seconds, kind, document["verdict"], document["message"])


def _node(host: str, node: Node) -> _Case:
    seconds = float(node["switch_seconds"] or 0)
    result = node["result"]
    words = report.WORDS[result]
    refused = [gate for gate in node["gates"] if gate["severity"] == "error" and not gate["accepted"]]
    if refused:
        messages = [f"{gate['name']}: {gate['message']}" for gate in refused]
        return _Case(host, seconds, "failure", "refused", messages[0], messages[1:])
    if node["phase"]:
        kind = "error" if node["phase"] == DROPPED_OUT or node["running"] is None else "failure"
        message = f"It failed in phase {node['phase']}: {node['message']}"
        return _Case(host, seconds, kind, node["failure_class"] or result, message, _evidence(node))
    if result in ("nothing_to_do", "not_begun"):
        return _Case(host, seconds, "skipped", message=words)
    if result == "in_turn":
        return _Case(host, seconds, "error", result, "The run has not come to its end, and the node was in its turn.")
    if result == "not_committed" or (result == "rolled_back" and node["running"] != node["to"]):
        return _Case(host, seconds, "failure", result, _where(node))
    return _Case(host, seconds)


def _where(node: Node) -> str:
    """What it runs, and what it was to run."""
    return f"It was to run {node['to']}; it runs {node['running']}, and a restart boots {node['boots']}."


def _evidence(node: Node) -> list[str]:
    found = [_where(node)] if node["running"] else []
    for title, key in (("task", "task"), ("could not go back", "rollback_message")):
        if node[key]:
            found.append(f"{title}: {node[key]}")
    found += [f"check {check['name']}: {check['message']}" for check in node["checks"] if not check["passed"]]
    found += [f"crash dump {dump['path']}: {dump['slogan']}" for dump in node["crash_dumps"]]
    for title, key in (("output", "output"), ("log", "log")):
        if node[key]:
            found += [f"{title}:", *(f"  {line}" for line in node[key])]
    return found


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _clean(text: object) -> str:
    return _FORBIDDEN.sub("", str(text or ""))
