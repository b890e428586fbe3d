# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_turn``: what one node does in one phase of a run."""

from __future__ import annotations

import time
import traceback
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job, reading, reservation, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe.asking import NodeProbe
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import Node
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.turn import Result, Turn, crashed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes

_OPTIONS = {
    "phase": {
        "type": "str",
        "choices": [
            "read",
            "reserve",
            "stage",
            "look",
            "switch",
            "soak",
            "commit",
            "rollback",
            "hook_failed",
            "end",
            "preview",
            "give_up",
        ],
        "required": True,
    },
    "wave": {"type": "int", "default": 0},
    "rounds": {"type": "list", "elements": "dict", "default": []},
    "hook": {"type": "str", "default": ""},
    "message": {"type": "str", "default": ""},
    "purpose": {"type": "str", "choices": ["upgrade", "plan", "commit", "rollback"], "default": "upgrade"},
}


class ActionModule(ActionBase):
    """Takes the state of the run from the variables, and returns the host's new outcome."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        state = RunState(variables)
        if options["phase"] == "read":
            # A verification before a switch reads the node anew; of these two, this reading is the one from before.
            verification = options["purpose"] in ("commit", "rollback")
            reader = Node(self, variables, state.settings)
            result.update(reading.read(reader, verification), remote_executions=reader.executions)
            return result
        if options["phase"] == "give_up":
            result.update(self._give_up(state, variables))
            return result
        node: Node | None = None
        turn: Turn | None = None
        probe = NodeProbe(state.run_id, state.host) if state.is_probed else None
        try:
            node = Node(self, variables, state.settings)
            began = time.time()
            turn = Turn(
                node, state.host, state.plan, state.settings, state.facts, state.outcome, who=runs.who(variables)
            )
            turn.probe = probe
            taken = self._take(turn, state, options)
            if taken.outcome != state.outcome:
                taken.outcome = outcomes.note_turn(taken.outcome, options["phase"], began, time.time())
        except NoPlanError as error:
            raise AnsibleActionFail(str(error)) from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001
            # Whatever it is, also the time-out of a task: raised, it would take with it how far the node is.
            outcome = turn.outcome if turn else state.outcome
            phase = options["hook"] or options["phase"]
            # A turn that stages begins with the reservation.
            phase = "reserve" if phase == "stage" and outcome["state"] == "planned" else phase
            taken = crashed(outcome, phase, error)
            result["exception"] = traceback.format_exc()
        finally:
            if probe:
                probe.end_turn()
        decision = state.decision
        named = decision is not None and state.host in decision["hosts"] and not state.is_late
        in_turn = named and taken.outcome["failure"] is None
        result.update(changed=taken.changed, outcome=taken.outcome, in_turn=in_turn)
        if node is not None:
            result["remote_executions"] = node.executions
            if node.connection_losses:
                result["connection_losses"] = node.connection_losses
        if taken.diff:
            result["diff"] = taken.diff
        if taken.message:
            result.update(failed=True, msg=job.worded(f"{state.host}: {taken.message}", variables))
        return result

    def _give_up(self, state: RunState, variables: dict[str, Any]) -> dict[str, Any]:
        """Give the node up where it was kept for a later job of the run.

        ``kept`` says why that could not be done; it is empty where it was, or nothing was reserved. What a job that was
        cancelled had reserved ends with its lease.
        """
        run, run_id = state.facts.get("run") or {}, str(state.settings.get("run_id") or "")
        if not run_id or run.get("id") != run_id or self._task.check_mode:
            return {"changed": False, "kept": ""}
        node = Node(self, variables, state.settings)
        told = reservation.give_up(node, run_id)
        return {"changed": bool(told.get("changed")), "kept": str(told.get("msg") or "") if told.get("failed") else ""}

    def _take(self, turn: Turn, state: RunState, options: dict[str, Any]) -> Result:
        phase, decision = options["phase"], state.decision
        if phase == "preview" or (self._task.check_mode and phase in ("reserve", "stage")):
            return turn.preview()
        if phase in ("reserve", "stage"):
            if decision is not None and (state.is_late or not decision["proceed"]):
                return turn.nothing(keep=not state.is_late)
            return turn.reserve(stage=phase == "stage" and "stage" in state.parts())
        if phase == "hook_failed":
            return turn.hook_failed(options["hook"], options["wave"], options["message"])
        if decision is None or state.is_late:
            return turn.nothing()
        if phase == "end":
            return turn.end(decision)
        if phase == "soak" and not any(each["verify"] for each in options["rounds"]):
            # Also in the pause between two waves, whatever was decided last.
            return turn.nothing(keep=True)
        return turn.take(phase, options["wave"], decision, options["rounds"])
