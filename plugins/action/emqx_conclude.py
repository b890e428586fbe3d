# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_conclude``: what all jobs of a run did, and whether the nodes are where they should be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import (
    ReportFiles,
    handed_on,
    next_commands,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import TURN, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import conclusion, custom_stats


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        state, now = RunState(variables), time.time()
        started = now if state.started is None else state.started
        steps = next_commands(variables)
        facts = state.facts_of_all()
        ok = variables.get("emqx_fleet_ok")
        told = conclusion.conclude(
            handed_on(variables, self._run_id(state, variables)),
            facts,
            None if ok is None else str(ok).lower() == "true",
            self._kept(facts, variables),
            job.describe(variables, started, steps["again"]),
            now,
            steps,
            str(state.settings.get("version") or ""),
        )
        message = job.worded(told.message, variables)
        if told.document is not None and not self._task.check_mode:
            files = ReportFiles(state.settings, variables, started)
            document = files.conclude({**told.document, "message": message})
            message = document["message"]
            stats = custom_stats.result(document, str(state.settings.get("report_file") or ""))
            result.update(ansible_stats=stats, report=document)
        result.update(changed=False, table=told.table, message=message)
        return result

    @staticmethod
    def _run_id(state: RunState, variables: Mapping[str, Any]) -> str | None:
        """That of the settings, or that of the document of the job before this one."""
        given = str(state.settings.get("run_id") or variables.get(custom_stats.RUN_ID) or "")
        document = job.from_text(variables.get(custom_stats.DOCUMENT))
        return given or (str(document.get("run_id") or "") if isinstance(document, Mapping) else "") or None

    @staticmethod
    def _kept(facts: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, str]:
        """The hosts whose reservation could not be given up, and why."""
        turns = {host: variables["hostvars"][host].get(TURN) or {} for host in facts}
        return {host: str(turn["kept"]) for host, turn in turns.items() if turn.get("kept")}
