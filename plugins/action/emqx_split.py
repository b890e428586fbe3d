# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_split``: parts the hosts by whole clusters, for several jobs."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import replace
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import split
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats, split_table


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        state = RunState(variables)
        try:
            found = split.split(state.facts_of_all(), int(state.settings["split"]))
        except split.SplitError as error:
            result.update(changed=False, table=[], message=str(error), parts={})
            return result
        parts, path, messages = found.by_name(), str(state.settings.get("split_inventory") or ""), []
        stats = custom_stats.of_parts(parts)
        if stats:
            # What ansible.builtin.set_stats returns; Ansible sets it for any task that did not fail.
            result["ansible_stats"] = stats
        elif not path:
            messages.append(custom_stats.TOO_MANY_HOSTS)
        if path and not self._task.check_mode:
            sources = [str(source) for source in variables.get("ansible_inventory_sources") or ()]
            try:
                messages.append(replace(path, split_table.inventory(found, sources), what="inventory"))
            except ValueError as error:
                messages.append(str(error))
        message = " ".join(filter(None, messages))
        result.update(changed=False, table=split_table.lines(found), message=message, parts=parts)
        return result
