# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_evidence``: what cannot be collected is missing, and nothing fails."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import run_module

_NOTHING: dict[str, Any] = {"facts": {}, "log": [], "crash_dumps": [], "noted": False}


class ActionModule(ActionBase):
    """Runs the module; a node that cannot be reached has nothing to tell."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        answer = run_module(self, "emqx_evidence", arguments, task_vars, float(arguments.get("reconnect_timeout", 10)))
        result.update(_NOTHING, changed=False, msg=str(answer.get("msg", "")))
        if not answer.get("failed"):
            result.update(answer)
        return result
