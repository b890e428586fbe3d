# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs a job, where and with what, for the document of a run."""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import release as ansible_release
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import in_a_job

_ROOT = Path(__file__).resolve().parents[3]
#: What AWX and Tower pass to a playbook as extra variables, by the name that the document has for it.
#: Source: ``awx_meta_vars`` in ``awx/main/models`` of AWX 24.6.1, and "Extra Variables" of its user guide.
_OF_AWX = {
    "job_id": "job_id",
    "job_template": "job_template_name",
    "workflow_job_id": "workflow_job_id",
    "launched_by": "user_name",
    "project_revision": "project_revision",
}
_RUN_OF_WORKFLOW = "awx-workflow-"


def describe(variables: Mapping[str, Any], started: float, command: str) -> dict[str, Any]:
    """The job of a task's variables.

    ``started`` (seconds since 1970), ``command`` (the command line, without secrets), ``controller``: ``host``,
    ``user`` and ``process``; ``awx``: None, or what AWX or Tower told of the job; ``versions``: ``collection``,
    ``ansible_core`` and ``python``.
    """
    user, _at, _host = runs.who(variables).rpartition("@")
    return {
        "started": started,
        "command": command,
        "controller": {"host": socket.gethostname(), "user": user, "process": runs.run_process() or None},
        "awx": _awx(variables),
        "versions": {
            "collection": collection_version(),
            "ansible_core": ansible_release.__version__,
            "python": platform.python_version(),
        },
    }


@functools.cache
def collection_version() -> str:
    """The version of this collection, from the manifest of an installed one or the sources' own file."""
    manifest, sources = _ROOT / "MANIFEST.json", _ROOT / "galaxy.yml"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(yaml.safe_load(sources.read_text(encoding="utf-8"))["version"]) if sources.is_file() else "unknown"


def worded(text: str, variables: Mapping[str, Any]) -> str:
    """A message for whoever reads it: in a job of AWX or Tower in the words of a job."""
    return in_a_job.reworded(text) if _awx(variables) else text


def next_steps(variables: Mapping[str, Any]) -> dict[str, str] | None:
    """What is to be done next after a job, by the names of ``report_file.next_commands``; None where this is none."""
    found = _awx(variables)
    if found is None:
        return None
    more = {"workflow": _of_awx(variables, "workflow_job_name"), "inventory": _of_awx(variables, "inventory_name")}
    return in_a_job.next_steps({**found, **more})


def run_of_workflow(variables: Mapping[str, Any]) -> str:
    """The identifier that all jobs of one workflow job share; empty in any other job.

    A job of a workflow that is relaunched by itself is told of no workflow any more, but has its artifacts.
    """
    workflow_job = _of_awx(variables, "workflow_job_id")
    if workflow_job:
        return f"{_RUN_OF_WORKFLOW}{workflow_job}"
    handed_on = str(variables.get("emqx_fleet_run_id") or "")
    return handed_on if is_relaunched(variables) and handed_on.startswith(_RUN_OF_WORKFLOW) else ""


def is_relaunched(variables: Mapping[str, Any]) -> bool:
    """Whether somebody relaunched this job, or the workflow job that it is of: the one before has ended.

    Of the parallel jobs of a workflow, each for a part of the fleet, the others may be at work.
    """
    if _of_awx(variables, "job_launch_type") == "relaunch":
        return True
    return _of_awx(variables, "workflow_job_launch_type") == "relaunch" and not part(variables)


def from_text(value: Any) -> Any:
    """What a variable holds that was handed on as text, in JSON or as a template writes it; anything else as it is."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return read(value)
    return None


def part(variables: Mapping[str, Any]) -> str:
    """The part of the fleet that this job is for, as ``emqx.fleet.split`` made them; empty for all of it."""
    return str(variables.get("emqx_fleet_part") or "")


def slice_of(variables: Mapping[str, Any]) -> str:
    """The job template that this job is a slice of; empty where it is none.

    AWX makes a workflow job of the template's own name for the slices, and tells the jobs nothing else of it.
    """
    template, workflow = _of_awx(variables, "job_template_name"), _of_awx(variables, "workflow_job_name")
    return template if template and template == workflow else ""


def _of_awx(variables: Mapping[str, Any], name: str) -> str:
    values = (variables.get(f"{prefix}_{name}") for prefix in ("awx", "tower"))
    return next((str(value) for value in values if value not in (None, "")), "")


def _awx(variables: Mapping[str, Any]) -> dict[str, str | None] | None:
    found = {name: _of_awx(variables, variable) or None for name, variable in _OF_AWX.items()}
    return found if any(found.values()) else None
