# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_report``: the outcomes of all hosts, as one report."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import asking
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles, next_commands
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_check
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import is_failed
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats, report

_OPTIONS = {
    "problems": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Reads the outcomes from the hosts' variables and builds the report."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        state = RunState(task_vars or {})
        try:
            outcomes = state.outcomes()
            probe = asking.stop(state.run_id) if state.is_probed else None
            problems = state.problems() + options["problems"]
            if probe:
                failed = [host for host, outcome in outcomes.items() if is_failed(outcome)]
                problems += probe_check.at_the_end(probe, failed, state.settings.get("accept") or ())
            built = report.build(
                state.plan, outcomes, state.rules(), next_commands(task_vars or {}), problems, state.lost()
            )
            built["message"] = job.worded(built["message"], task_vars or {})
            files = ReportFiles(state.settings, task_vars or {}, state.started)
            told = files.finish(built, state.plan, outcomes, probe, keep=not self._task.check_mode)
        except NoPlanError as error:
            raise AnsibleActionFail(str(error)) from None
        if not self._task.check_mode:
            # What ansible.builtin.set_stats returns; Ansible sets it for any task that did not fail.
            result["ansible_stats"] = custom_stats.result(
                told, str(state.settings.get("report_file") or ""), job.part(task_vars or {})
            )
        result.update(changed=False, table=told["table"], message=told["message"], final=told["final"], report=told)
        return result
