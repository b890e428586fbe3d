# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_report``: the outcomes of all hosts, as one report."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import command_line
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

_OPTIONS = {
    "run_id": {"type": "str", "required": True},
    "plan": {"type": "dict", "required": True},
    "outcome_variable": {"type": "str", "required": True},
    "commit": {"type": "str", "choices": ["fleet", "node", "never"], "default": "fleet"},
    "phases": {"type": "list", "elements": "str", "default": list(report.PHASES)},
    "problems": {"type": "list", "elements": "str", "default": []},
    "file": {"type": "path"},
}
#: What a roll-out and its way back are called with alike. The version is not: a rollback's is the one to go back to.
_SETTINGS_OF_ROLLBACK = (
    "emqx_upgrade_accept",
    "emqx_upgrade_executable",
    "emqx_upgrade_hosts",
    "emqx_upgrade_run_id",
    "emqx_upgrade_settle_timeout",
    "emqx_upgrade_timeout",
)
_SETTINGS_OF_STATUS = ("emqx_upgrade_executable", "emqx_upgrade_hosts")


class ActionModule(ActionBase):
    """Reads the outcomes from the hosts' variables and builds the report."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        hostvars = (task_vars or {})["hostvars"]
        outcomes = {
            host: hostvars[host].get(options["outcome_variable"]) if host in hostvars else None
            for host in options["plan"]["nodes"]
        }
        built = report.build(
            options["plan"],
            outcomes,
            options["run_id"],
            options["commit"],
            options["phases"],
            self._commands(),
            options["problems"],
        )
        if options["file"] and not self._task.check_mode:
            self._write(Path(os.path.expanduser(options["file"])), dict(built, written=round(time.time(), 3)))
        result.update(changed=False, table=built["table"], message=built["message"], final=built["final"], report=built)
        return result

    def _commands(self) -> dict[str, str]:
        """What a person is to call next, as the present command was called."""
        given, defaults = context.CLIARGS, command_line.configured()
        return {
            "again": command_line.again(given, defaults),
            "rollback": command_line.another("emqx.fleet.rollback", given, _SETTINGS_OF_ROLLBACK, defaults),
            "status": command_line.another("emqx.fleet.status", given, _SETTINGS_OF_STATUS, defaults),
        }

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise AnsibleActionFail(f"The report cannot be written to {path}: {error.strerror}.") from error
