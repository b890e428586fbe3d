# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs a job, where and with what, for the document of a run."""

from __future__ import annotations

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

_ROOT = Path(__file__).resolve().parents[3]
#: What AWX and Tower pass to a playbook as extra variables, by the name that the document has for it.
#: Source: "Job Templates", "Extra Variables" of the AWX user guide.
_OF_AWX = {
    "job_id": "job_id",
    "job_template": "job_template_name",
    "workflow_job_id": "workflow_job_id",
    "launched_by": "user_name",
    "project_revision": "project_revision",
}


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


def _awx(variables: Mapping[str, Any]) -> dict[str, str | None] | None:
    found: dict[str, str | None] = {}
    for name, variable in _OF_AWX.items():
        values = (variables.get(f"{prefix}_{variable}") for prefix in ("awx", "tower"))
        found[name] = next((str(value) for value in values if value not in (None, "")), None)
    return found if any(found.values()) else None
