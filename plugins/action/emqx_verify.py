# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_verify``: reads the node until it is as expected, or tells what is not."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import run_module
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.verification import read_until
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import verdicts

_OPTIONS = {
    "before": {"type": "dict"},
    "version": {"type": "str", "required": True},
    "boots": {"type": "str"},
    "cluster": {"type": "list", "elements": "str"},
    "client_loss_tolerance": {"type": "str", "default": "0"},
    "log_errors": {"type": "list", "elements": "str", "default": []},
    "accept": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "float", "default": 30},
    "reconnect_timeout": {"type": "float", "default": 120},
    "executable": {"type": "path"},
    "timeout": {"type": "float", "default": 60},
}


class ActionModule(ActionBase):
    """Polls ``emqx_release_info`` and evaluates the checks."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        reading = read_until(
            lambda: self._read(options, task_vars), lambda facts: self._checks(options, facts), options["wait"]
        )
        if reading.error is not None:
            result.update(reading.error)
            return result
        failed = bool(reading.message)
        result.update(
            changed=False,
            failed=failed,
            checks=[check.as_dict() for check in reading.checks],
            seconds=round(reading.seconds, 3),
        )
        if failed:
            result["msg"] = reading.message
        else:
            result["facts"] = reading.facts
        return result

    def _read(self, options: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {name: options[name] for name in ("executable", "timeout") if options[name] is not None}
        arguments.update(old_code=False, verification=True)
        return run_module(self, "emqx_release_info", arguments, task_vars, options["reconnect_timeout"])

    def _checks(self, options: dict[str, Any], facts: dict[str, Any]) -> list[verdicts.Check]:
        before = options["before"]
        if before is None:
            return verdicts.ready_to_switch(facts, options["version"], options["cluster"] or [])
        expectation = verdicts.Expectation(
            version=options["version"],
            boots=options["boots"] or options["version"],
            tolerance=options["client_loss_tolerance"],
            log_errors=options["log_errors"],
            accepted=options["accept"],
        )
        try:
            return verdicts.after_switch(before, facts, expectation)
        except verdicts.ToleranceError as error:
            raise AnsibleActionFail(f"client_loss_tolerance: {error}") from None
        except KeyError as error:
            raise AnsibleActionFail(
                f"before: there is no {error} in it; give the whole result of emqx_release_info."
            ) from None
