# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_report``: the outcomes of all hosts, as one report."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import command_line
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import NoPlanError, RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

_OPTIONS = {
    "problems": {"type": "list", "elements": "str", "default": []},
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
        state = RunState(task_vars or {})
        path = str(state.settings.get("report_file") or "")
        try:
            outcomes = state.outcomes()
            built = report.build(
                state.plan,
                outcomes,
                state.rules(),
                self._commands(),
                state.problems() + options["problems"],
                state.lost(),
            )
        except NoPlanError as error:
            raise AnsibleActionFail(str(error)) from None
        if path and not self._task.check_mode:
            problem = self._write(Path(path), dict(built, written=round(time.time(), 3)))
            if problem:
                # What happened is told all the same.
                built["ok"], built["message"] = False, f"{problem} {built['message']}".strip()
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

    def _write(self, path: Path, document: dict[str, Any]) -> str:
        """Replace the report as a whole; gives why it could not be, or nothing."""
        fresh = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(fresh, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            return f"The report cannot be written to {path}: {error.strerror}."
        return ""
