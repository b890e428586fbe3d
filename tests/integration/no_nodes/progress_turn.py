# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands for ``emqx_turn``: no node is there, and all goes well but for the switch of the host in ``FAILS``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes


class ActionModule(ActionBase):
    """Its results have the shape of the real ones."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the turn."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        state = RunState(task_vars or {})
        facts = json.loads(Path(os.environ["FACTS"]).read_text(encoding="utf-8"))[state.host]
        phase, decision, outcome = self._task.args["phase"], state.decision, state.outcome
        if phase == "read":
            return {**result, "changed": False, "facts": facts}
        turn = phase in ("stage", "switch", "soak", "commit") and decision and state.host in decision["hosts"]
        version = facts["running"] if phase == "stage" or not turn else state.plan["target"]
        known = {"before": facts, "after": {**facts, "running": version}}
        if turn and phase == "switch" and state.host == os.environ.get("FAILS"):
            message = "There are new alarms: x."
            told = {"message": message, "task": "Verify that nobody noticed"}
            outcome = outcomes.fail(outcome, phase, told, before=facts, after=facts)
            result.update(failed=True, msg=f"{state.host}: Verify that nobody noticed: {message}")
        elif turn:
            actions = [{"action": "switch", "version": version, "seconds": 0.5}]
            for each in ("reserve", "stage") if phase == "stage" else (phase,):
                outcome = outcomes.advance(outcome, each, actions=actions, **known)
        return {**result, "changed": bool(turn), "outcome": outcome, "in_turn": bool(turn)}
