# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_release``: goes on when the connection to the node was lost and comes back."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import run_module


class ActionModule(ActionBase):
    """Runs the module, again after a lost connection; the second time it may wait for the first one's command."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        reconnect_timeout = float(arguments.get("reconnect_timeout", 120))
        arguments.setdefault("lock_timeout", reconnect_timeout)
        result.update(run_module(self, "emqx_release", arguments, task_vars, reconnect_timeout))
        return result
