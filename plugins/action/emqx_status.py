# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_status``: what was read of all hosts, as one table."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import write_metrics, write_page
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import metrics, status_page, status_table


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        self.validate_argument_spec(argument_spec={})
        state = RunState(task_vars or {})
        facts = state.facts_of_all()
        messages = [status_table.unread(facts)]
        path = str(state.settings.get("report_html") or "")
        if path and not self._task.check_mode:
            messages.append(write_page(path, lambda: status_page.of_fleet(facts, time.time())))
        path = str(state.settings.get("report_metrics") or "")
        if path and not self._task.check_mode:
            problem = write_metrics(path, lambda earlier, fleet: metrics.of_fleet(facts, fleet, earlier))
            if problem:
                Display().warning(problem)
        message = " ".join(filter(None, messages))
        result.update(changed=False, table=status_table.lines(facts), message=message)
        return result
