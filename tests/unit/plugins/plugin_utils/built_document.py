# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes documents of runs from plans and outcomes, as a run makes them, at times that are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import PARTS, Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import document, report

#: When the job began, 2026-11-28T01:00:00Z, and when the document is written.
BEGAN = 1795827600.0
NOW = BEGAN + 600
JOB: Mapping[str, Any] = {
    "started": BEGAN,
    "command": "ansible-playbook emqx.fleet.upgrade",
    "controller": {"host": "tower", "user": "ann", "process": "7@1"},
    "awx": None,
    "versions": {"collection": "0.1.0", "ansible_core": "2.19.0", "python": "3.11.7"},
}


def make_document(
    plan: Plan | None,
    outcomes: Mapping[str, Outcome | None] | None = None,
    in_turn: report.InTurn | None = None,
    message: str = "",
    parts: tuple[str, ...] = PARTS,
    **job: Any,
) -> dict[str, Any]:
    """The document of a run that ended at NOW, or that is in a phase (``in_turn``).

    ``message``: a problem of the whole run, or why it was refused. Without a plan the settings were refused.
    """
    if plan is None:
        built = report.refused(message)
    else:
        problems = [message] if message else []
        built = report.build(plan, outcomes or {}, Rules(parts=parts), {}, problems, in_turn=in_turn)
    return document.build(built, plan, outcomes or {}, {**JOB, **job}, NOW)
