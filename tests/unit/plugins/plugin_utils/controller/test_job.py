# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job of AWX tells of itself, and how people are told in it what to do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import in_a_job


def of_awx(**values: Any) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for prefix in ("awx", "tower") for name, value in values.items()}


IN_A_WORKFLOW = of_awx(
    job_id=12, job_template_name="EMQX switch", workflow_job_id=7, workflow_job_name="EMQX rolling upgrade"
)


@pytest.mark.parametrize(
    ("variables", "run"),
    [
        ({}, ""),
        (of_awx(job_id=12), ""),
        (IN_A_WORKFLOW, "awx-workflow-7"),
        ({"tower_workflow_job_id": 7}, "awx-workflow-7"),
        # Relaunched by itself, a job of a workflow has its artifacts alone.
        (of_awx(job_launch_type="relaunch") | {"emqx_fleet_run_id": "awx-workflow-7"}, "awx-workflow-7"),
        # Who handed it on may have been a run of its own.
        (of_awx(job_launch_type="relaunch") | {"emqx_fleet_run_id": "20260101T000000Z-ab"}, ""),
        (of_awx(job_launch_type="manual") | {"emqx_fleet_run_id": "awx-workflow-7"}, ""),
    ],
)
def test_the_run_that_the_jobs_of_a_workflow_share(variables: dict[str, Any], run: str) -> None:
    assert job.run_of_workflow(variables) == run


@pytest.mark.parametrize(
    ("variables", "relaunched"),
    [
        ({}, False),
        (of_awx(job_launch_type="manual"), False),
        (of_awx(job_launch_type="relaunch"), True),
        (of_awx(job_launch_type="workflow", workflow_job_launch_type="manual"), False),
        (of_awx(job_launch_type="workflow", workflow_job_launch_type="relaunch"), True),
        # The other parts of the fleet may be at work.
        (of_awx(job_launch_type="workflow", workflow_job_launch_type="relaunch") | {"emqx_fleet_part": 2}, False),
        (of_awx(job_launch_type="relaunch") | {"emqx_fleet_part": 2}, True),
    ],
)
def test_a_job_that_comes_after_one_that_has_ended(variables: dict[str, Any], relaunched: bool) -> None:
    assert job.is_relaunched(variables) is relaunched


def test_a_slice_is_known_by_the_name_of_its_workflow() -> None:
    assert job.slice_of(of_awx(job_template_name="EMQX upgrade", workflow_job_name="EMQX upgrade")) == "EMQX upgrade"
    assert job.slice_of(IN_A_WORKFLOW) == ""
    assert job.slice_of({}) == ""


def test_what_is_next_in_a_job_is_to_launch_something() -> None:
    assert job.next_steps({}) is None
    steps = job.next_steps(IN_A_WORKFLOW | of_awx(inventory_name="Brokers"))
    assert steps == {
        "again": "relaunch this job (12, EMQX switch), or all of the workflow (7, EMQX rolling upgrade).",
        "rollback": "launch the job template of emqx.fleet.rollback on the inventory Brokers, without a version.",
        "status": "launch the job template of emqx.fleet.status on the inventory Brokers.",
    }
    assert (job.next_steps(of_awx(job_id=12)) or {})["again"] == "relaunch this job (12)."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "is gone, until that time is over; -e emqx_upgrade_take_over=20260101T1Z-ab takes over at once.",
            "is gone, until that time is over; emqx_upgrade_take_over: 20260101T1Z-ab as an extra variable takes over "
            "at once.",
        ),
        (
            '; -e \'{"emqx_upgrade_take_over": ["a", "b"]}\' takes over at once',
            '; {"emqx_upgrade_take_over": ["a", "b"]} as extra variables takes over at once',
        ),
        (
            "Add -e emqx_upgrade_version=4.4.19.",
            "Add emqx_upgrade_version: 4.4.19 to the extra variables, or answer it in the survey.",
        ),
        (
            "Set it once for all, with -e or in the group all.",
            "Set it once for all, as an extra variable or in the group all.",
        ),
        ("Mend it and run the same command again.", "Mend it and launch the job again."),
        ("in turns; use --forks 20", "in turns; let the job template have 20 forks"),
        ("or leave them out with --limit.", "or leave them out with the limit of the job."),
        (
            "back to 4.4.18: -e emqx_upgrade_version=",
            "back to 4.4.18: an empty emqx_upgrade_version as an extra variable",
        ),
        ("nothing of the kind, be-e x=1", "nothing of the kind, be-e x=1"),
    ],
)
def test_remedies_in_the_words_of_a_job(text: str, words: str) -> None:
    assert in_a_job.reworded(text) == words
    assert job.worded(text, of_awx(job_id=1)) == words
    assert job.worded(text, {}) == text
