# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_reservation``: tells who runs, and tries until it is decided which run has the cluster."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.validation import check_type_list
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import reservation, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import run_module


class ActionModule(ActionBase):
    """Reserves the node, or gives it up, for the run that this task belongs to."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = {"who": runs.who(task_vars), **self._task.args}
        if arguments.get("take_over"):
            arguments["take_over"] = check_type_list(arguments["take_over"])
        try:
            result.update(reservation.perform(_Node(self, task_vars), arguments))
        except reservation.RunEndedError as error:
            raise AnsibleActionFail(str(error)) from None
        return result


class _Node:
    """The task's host."""

    def __init__(self, action: ActionBase, task_vars: dict[str, Any] | None) -> None:
        self._action = action
        self._task_vars = task_vars

    def run(self, module_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reconnect_timeout = float(arguments.get("reconnect_timeout", 120))
        return run_module(self._action, module_name, arguments, self._task_vars, reconnect_timeout)
