# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``emqx_release_info``: how far the node's clock is from the controller's."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs

_POLL_SECONDS = 2.0


class ActionModule(ActionBase):
    """Runs the module; the node reads its clock last, so the answer's arrival is what it is compared with."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        deadline = time.monotonic() + float(arguments.get("operation_timeout", 0))
        while True:
            answer = self._execute_module(
                module_name="emqx.fleet.emqx_release_info", module_args=arguments, task_vars=task_vars
            )
            run = answer.get("run")
            orphan = answer.get("operation") and (not run or runs.is_dead(run))
            if not orphan or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECONDS)
        if "clock" in answer:
            answer["clock_offset"] = round(answer["clock"] - time.time(), 3)
        result.update(answer)
        return result
