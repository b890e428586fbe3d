# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_hook``: fails where a file of tasks could not be loaded, so that whoever includes it next is safe."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import hooks, host_variables
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings

_OPTIONS = {
    "path": {"type": "str", "required": True},
    "hook": {"type": "str", "choices": list(settings.HOOKS), "default": "before_node"},
}


class ActionModule(ActionBase):
    """Loads the file in the task's own process, which ends with the task."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        variable_manager, inventory = host_variables.managers(variables)
        host = inventory.get_host(variables["inventory_hostname"])
        found = hooks.check(options["path"], options["hook"], self._task, host, self._loader, variable_manager)
        for warning in found.warnings:
            Display().warning(f"emqx_hook: {warning}.")
        result.update(changed=False, problems=found.problems)
        if found.problems:
            told = " ".join(f"{masked(problem)}." for problem in found.problems)
            result.update(
                failed=True,
                msg=f"The file {options['path']} cannot be loaded, so none of its tasks was run. {told} Mend the file.",
            )
        return result
