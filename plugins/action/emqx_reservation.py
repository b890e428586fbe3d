# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_reservation``: tells who runs, and takes over from a run that is known to be dead."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import run_module


class ActionModule(ActionBase):
    """Runs the module, and once more with the dead run named if its process is gone."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        state = self._task.args.get("state", "present")
        # Without a process, nobody can find that it is gone: the reservation lasts until its lease is over.
        process = "" if state == "parked" else runs.run_process()
        if state == "present" and not process:
            raise AnsibleActionFail("The run that this task belongs to has ended, so it reserves nothing any more.")
        arguments = dict(self._task.args, controller=runs.identity(), controller_process=process)
        arguments.setdefault("who", runs.who())
        answer = self._reserve(arguments, task_vars)
        holder = answer.get("holder")
        if answer.get("failed") and holder and runs.is_dead(holder):
            answer = self._reserve(dict(arguments, dead=[holder["id"]]), task_vars)
        result.update(answer)
        return result

    def _reserve(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        reconnect_timeout = float(arguments.get("reconnect_timeout", 120))
        return run_module(self, "emqx_reservation", arguments, task_vars, reconnect_timeout)
