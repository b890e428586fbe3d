# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run of several jobs: nothing but a success of the whole is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import note
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import conclusion, custom_stats, document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.built_document import BEGAN, JOB, NOW, make_document
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import read_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.report_schema import validate
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    at,
    failed_in,
    make_plan,
)

STEPS = {"again": "again.", "rollback": "back.", "status": "look."}
PLAN = make_plan([["a1"], ["a2"]])
DONE = at("committed", before=read_facts(), after=read_facts(NEW))
UNCOMMITTED = at("soaked", before=read_facts(), after=read_facts(NEW, OLD))
WELL = {"a1": read_facts(NEW), "a2": read_facts(NEW)}
#: Each job begins a minute after the one before it.
LATER = {**JOB, "started": BEGAN + 60}


def conclude(
    *documents: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    ok: bool | None = None,
    kept: Mapping[str, str] | None = None,
    target: str = NEW,
) -> conclusion.Told:
    told = conclusion.conclude(
        documents, WELL if facts is None else facts, ok, kept or {}, LATER, NOW + 60, STEPS, target
    )
    assert told.ok == (told.message == "")
    if told.document:
        validate(told.document)
        assert told.document["ok"] == told.ok
        assert told.document["verdict"] == ("succeeded" if told.ok else "failed")
    return told


def test_all_went_well() -> None:
    told = conclude(make_document(PLAN, {"a1": DONE, "a2": DONE}))
    assert told.ok, told.message
    assert told.document is not None
    assert [job["verdict"] for job in told.document["jobs"]] == ["succeeded", "succeeded"]
    assert told.table[2].split()[:4] == ["a1", "committed", OLD, NEW]


@pytest.mark.parametrize(
    ("found", "facts", "words"),
    [
        (
            {"a1": DONE, "a2": failed_in("commit")},
            {},
            "The job before this one failed:\na2 failed in phase commit: It broke.",
        ),
        (
            {"a1": UNCOMMITTED, "a2": UNCOMMITTED},
            {"a2": read_facts(NEW, OLD)},
            "These nodes are no further than 'not committed': a1, a2.",
        ),
        (
            {"a1": UNCOMMITTED, "a2": UNCOMMITTED},
            {"a2": read_facts(NEW, OLD)},
            "would bring another version back on: a2. To take them back at once: back.",
        ),
        ({"a1": DONE, "a2": DONE}, {"a2": read_facts(OLD)}, f"a2 runs {OLD} and not {NEW}, which it was left with."),
        ({"a1": DONE, "a2": DONE}, {"a2": read_facts(NEW, OLD)}, f"a2 runs {NEW}, but a restart would boot {OLD}."),
        ({"a1": DONE, "a2": DONE}, {"a2": {"msg": "no route"}}, "These nodes could not be read"),
    ],
)
def test_what_is_no_success(found: dict[str, Any], facts: dict[str, Any], words: str) -> None:
    told = conclude(
        make_document(PLAN, found), facts={**WELL, **{host: {"journal": [], **found} for host, found in facts.items()}}
    )
    assert not told.ok
    assert words in told.message, told.message
    assert told.message.endswith("To see where every node is: look.")
    assert "To go on" not in told.message, "that was for the job which failed"


def test_a_way_back_is_no_success_of_the_run() -> None:
    plan = make_plan([["a1"]], {"a2": "none"}, purpose="rollback", target=OLD)
    plan["nodes"]["a1"].update({"from": NEW, "came_from": NEW, "to": OLD})
    back = at("rolled_back", before=read_facts(NEW, OLD), after=read_facts())
    told = conclude(make_document(plan, {"a1": back}), facts={"a1": read_facts(), "a2": read_facts()})
    assert "These nodes went back: a1." in told.message
    idle = make_plan([], {"a1": "none", "a2": "none"}, purpose="rollback", target=OLD)
    told = conclude(make_document(idle, {}), facts={"a1": read_facts(NEW), "a2": read_facts(NEW)})
    assert "The run ended with a way back." in told.message


def test_a_host_that_is_not_of_this_job_is_not_known() -> None:
    told = conclude(make_document(PLAN, {"a1": DONE, "a2": DONE}), facts={"a1": read_facts(NEW)})
    assert "are not among those of this job, so what they run is not known: a2." in told.message


def test_what_is_still_reserved_is_told() -> None:
    told = conclude(make_document(PLAN, {"a1": DONE, "a2": DONE}), kept={"a1": "No route."})
    assert "a1 is still reserved: No route." in told.message


@pytest.mark.parametrize(
    ("ok", "facts", "words"),
    [
        (None, WELL, "No job of the run has handed anything on"),
        (False, WELL, "The job before this one failed, or was refused."),
        (True, {**WELL, "a2": read_facts(NEW, OLD)}, f"a2 runs {NEW}, and a restart would boot {OLD}."),
        (True, {**WELL, "a2": {"msg": "no route"}}, "These nodes could not be read"),
        # The job before went well, and the one after it was cancelled, or has taken the nodes back.
        (True, {"a1": read_facts(), "a2": read_facts()}, f"a1 runs {OLD} and not {NEW}."),
    ],
)
def test_without_a_document(ok: bool | None, facts: dict[str, Any], words: str) -> None:
    assert words in conclude(facts={host: {"journal": [], **found} for host, found in facts.items()}, ok=ok).message
    assert conclude(ok=True).ok
    assert "The version of the run is not known" in conclude(ok=True, target="").message


def test_parts_of_a_fleet_become_one_document() -> None:
    """Of each node what the job of its part wrote, whichever was the last; of the run the failure."""
    staged = at("staged", before=read_facts(), after=read_facts())
    first = make_document(PLAN, {"a1": staged, "a2": staged}, parts=("plan", "stage"))
    one, two = make_plan([["a1"]]), make_plan([["a2"]])

    def part(plan: Any, outcome: Any, host: str, started: float) -> dict[str, Any]:
        row = {
            "at": started,
            "phase": "switch",
            "action": "turn",
            "version": None,
            "seconds": 1.0,
            "clients": 1,
            "command": [],
            "rc": None,
            "output": [],
        }
        told = make_document(plan, {host: note(outcome, timeline=[row])}, parts=("plan", "switch"), started=started)
        return document.merged({**told, "written": document.rfc3339(started + 5)}, first, is_part=True)

    documents = [first, part(one, failed_in("switch"), "a1", BEGAN + 120), part(two, UNCOMMITTED, "a2", BEGAN + 130)]
    for order in (documents, documents[::-1]):
        found = document.combined(order)
        assert found is not None
        validate(found)
        assert {host: node["result"] for host, node in found["nodes"].items()} == {"a1": "failed", "a2": "uncommitted"}
        assert [job["phases"] for job in found["jobs"]] == [["plan", "stage"], ["plan", "switch"], ["plan", "switch"]]
        assert (found["ok"], found["verdict"]) == (False, "failed")
        assert "a1 failed in phase switch" in found["message"]
    # A later job has it all.
    later = make_document(PLAN, {"a1": DONE, "a2": DONE}, started=BEGAN + 180)
    later = {**document.merged(later, document.combined(documents)), "written": document.rfc3339(NOW + 99)}
    found = document.combined([*documents, later])
    assert found is not None
    assert found["ok"]
    assert document.combined([]) is None


def test_stats_of_a_part_have_names_of_their_own() -> None:
    told = make_document(PLAN, {"a1": DONE, "a2": DONE})
    names = set(custom_stats.result(told, "", "2")["data"])
    assert {"emqx_fleet_run_id", "emqx_fleet_ok_part_2_commit", "emqx_fleet_report_part_2_commit"} <= names
    assert "emqx_fleet_ok" not in names
    staged = make_document(PLAN, {}, parts=("plan", "stage"))
    assert "emqx_fleet_report_part_2_stage" in custom_stats.result(staged, "", "2")["data"]
