# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_decide``: whether a phase of a run begins, or a wave of it, and with which nodes."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import WEBHOOK_FAILED, ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision

_OPTIONS = {
    "phase": {"type": "str", "choices": list(outcomes.ORDER), "required": True},
    "wave": {"type": "int", "default": 0},
    "ran": {"type": "str", "default": ""},
}
#: Part of a lease that a wait may take.
_WAIT_OF_LEASE = 3


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts; reads the outcomes of all and writes nothing."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        state = RunState(task_vars or {})
        phase, wave = options["phase"], options["wave"]
        before = state.decision
        try:
            found = state.outcomes()
            rules = state.rules()
            decision = outcomes.decide(
                state.plan,
                found,
                phase,
                rules,
                wave,
                alive=state.alive(found),
                lost=state.lost(),
                ran=outcomes.Ran(options["ran"], before["first"])
                if options["ran"] and before and before["first"]
                else None,
                batches=before["batches"] if before and before["phase"] == phase and wave else None,
                previous=state.latest_decision(),
                silent=state.silent(),
            )
        except NoPlanError as error:
            raise AnsibleActionFail(str(error)) from None
        if decision["rank"] < state.latest_rank():
            # Who asks was lost and came back; this is over.
            decision["proceed"], decision["message"] = False, "This part of the run is over."
            decision["hosts"], decision["first"] = [], None
        # Who ran a hook and was lost cannot tell of it, so the decisions hand that on.
        decision["problems"] = list(dict.fromkeys([*state.problems(), *decision["problems"]]))
        if not self._task.check_mode:
            files = ReportFiles(state.settings, task_vars or {}, state.started)
            files.go_on(state.plan, found, rules, decision, state.lost())
            if files.webhook_failed:
                result[WEBHOOK_FAILED] = True
        result.update(changed=False, **decision, watches=self._watches(state, decision, rules))
        return result

    def _watches(self, state: RunState, decision: Decision, rules: outcomes.Rules) -> list[dict[str, Any]]:
        """The tasks that the watch is made of, or the pause between two waves."""
        settings, phase = state.settings, decision["phase"]
        if not decision["proceed"]:
            return []
        longest = int(float(settings["lease_seconds"])) // _WAIT_OF_LEASE
        if phase == "soak":
            soaks = "soak" in rules.parts and state.plan["purpose"] == "upgrade"
            seconds = int(settings["soak_seconds"]) if soaks else 0
            rounds = outcomes.rounds(seconds, int(settings["soak_interval"]), longest)
            return outcomes.watches(rounds, len(state.plan["nodes"]) <= state.forks)
        if phase == "switch" and decision["wave"] < len(state.plan["waves"]):
            return outcomes.watches(outcomes.rounds(int(settings["pause_seconds"]), 0, longest), at_once=False)
        return []
