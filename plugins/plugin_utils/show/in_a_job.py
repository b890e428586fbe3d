# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people are told by a job of AWX or Tower, where nobody types a command. Pure functions.

Remedies are written for a command line, also by modules on nodes, which do not know where they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_VALUE = r"[^\s;,]*[^\s;,.]"
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\bAdd -e (\w+)=({_VALUE})"), r"Add \1: \2 to the extra variables, or answer it in the survey"),
    (re.compile(r"-e '(\{.*?\})'"), r"\1 as extra variables"),
    (re.compile(rf"(?<!\w)-e (\w+)=({_VALUE})"), r"\1: \2 as an extra variable"),
    (re.compile(r"-e (\w+)=(?=\s|$)"), r"an empty \1 as an extra variable"),
    (re.compile(r"\bwith -e or\b"), "as an extra variable or"),
    (re.compile(r"\brun the same command again\b"), "launch the job again"),
    (re.compile(r"\bRun the same command again\b"), "Launch the job again"),
    (re.compile(r"\buse --forks (\d+)"), r"let the job template have \1 forks"),
    (re.compile(r"`?--limit`?"), "the limit of the job"),
)


def reworded(text: str) -> str:
    """A message with its remedies in the words of a job: extra variables, launching, the limit of the job."""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def next_steps(job: Mapping[str, str | None]) -> dict[str, str]:
    """What a person does next, in the place of commands: ``again``, ``rollback`` and ``status``.

    ``job``: ``job_id``, ``job_template``, ``workflow_job_id``, ``workflow``, ``inventory``, as far as they are known.
    """
    this = f"this job ({_named(job.get('job_id'), job.get('job_template'))})"
    workflow = job.get("workflow_job_id")
    if workflow:
        again = f"relaunch {this}, or all of the workflow ({_named(workflow, job.get('workflow'))})"
    else:
        again = f"relaunch {this}"
    where = f" on the inventory {job['inventory']}" if job.get("inventory") else ""
    return {
        "again": f"{again}.",
        "rollback": f"launch the job template of emqx.fleet.rollback{where}, without a version.",
        "status": f"launch the job template of emqx.fleet.status{where}.",
    }


def _named(number: str | None, template: str | None) -> str:
    return ", ".join(filter(None, [number, template])) or "of AWX"
