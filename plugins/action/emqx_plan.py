# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_plan``: reads the packages and every host's facts, and returns the plan for the whole play."""

from __future__ import annotations

import os
import uuid
from datetime import datetime, timezone
from typing import Any, BinaryIO, cast

from ansible.errors import AnsibleActionFail
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job, package_sources, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import WEBHOOK_FAILED, ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import RunState
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_check
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.gates import DEFAULT_MAX_CLOCK_SKEW
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanError, PlanOptions, build_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.waves import PARTS
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Purpose
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats, plan_table

_OPTIONS = {
    "purpose": {"type": "str", "choices": ["upgrade", "plan", "commit", "rollback"], "default": "upgrade"},
    "version": {"type": "str"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "package_source": {"type": "str", "choices": ["controller", "node"], "default": "controller"},
    "download_dir": {"type": "str", "default": "~/.cache/emqx-fleet/packages"},
    "facts_variable": {"type": "str", "required": True},
    "accept": {"type": "list", "elements": "str", "default": []},
    "allow_downgrade": {"type": "bool", "default": False},
    "max_per_cluster": {"type": "int", "default": 1},
    "wave_size": {"type": "str", "default": "0"},
    "canary": {"type": "raw", "default": "1"},
    "coordinators": {"type": "list", "elements": "str", "default": []},
    "waves": {"type": "str", "choices": list(PARTS), "default": "all"},
    "run_id": {"type": "str"},
    "max_clock_skew": {"type": "float", "default": DEFAULT_MAX_CLOCK_SKEW},
    "settings": {"type": "dict"},
}


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        checked = options["settings"] or {}
        settings = {**options, **{name: checked[name] for name in options if name in checked}}
        purpose: Purpose = "upgrade" if options["purpose"] == "plan" else options["purpose"]
        run_id = settings["run_id"] or f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
        read = self._facts(options["facts_variable"], variables)
        take_over = list(checked.get("take_over") or ())
        state = RunState(variables)
        files = ReportFiles(checked, variables, state.started)
        forks = variables.get("ansible_forks")
        try:
            packages = package_sources.load(
                self._sources(settings["packages"], state, options["purpose"]),
                os.getcwd(),
                options["download_dir"],
                lambda url: cast(BinaryIO, open_url(url, timeout=60)),
            )
            plan = build_plan(
                {host: runs.without_dead_run(found, take_over) for host, found in read.items()},
                packages,
                PlanOptions(
                    purpose=purpose,
                    target=settings["version"] or None,
                    max_per_cluster=settings["max_per_cluster"],
                    wave_size=settings["wave_size"],
                    canary=settings["canary"] if purpose == "upgrade" else 0,
                    coordinators=settings["coordinators"],
                    accept=settings["accept"],
                    allow_downgrade=settings["allow_downgrade"],
                    run_id=run_id,
                    unfinished=frozenset(
                        host for host in read if runs.has_unfinished_run(read[host], run_id, take_over)
                    ),
                    forks=int(forks) if forks else None,
                    max_clock_skew=settings["max_clock_skew"],
                    package_source=settings["package_source"],
                    waves=settings["waves"] if purpose == "upgrade" else "all",
                    is_part=bool(job.part(variables)),
                ),
            )
            if plan["feasible"]:
                package_sources.complete_digests(plan)
        except (PlanError, package_sources.SourceError) as error:
            message = job.worded(str(error), variables)
            if not self._task.check_mode:
                files.refuse(state.parts(), message)
            raise AnsibleActionFail(message) from None
        message = job.worded(plan_table.refusal(plan), variables)
        if not self._task.check_mode:
            told = files.begin(plan, state.rules(), "" if plan["feasible"] else message)
            if plan["feasible"] and options["purpose"] == "plan" and settings["run_id"]:
                result["ansible_stats"] = custom_stats.of_plan(run_id)
            if told and not plan["feasible"]:
                result["ansible_stats"] = custom_stats.result(
                    told, str(checked.get("report_file") or ""), job.part(variables)
                )
            if files.webhook_failed:
                result[WEBHOOK_FAILED] = True
        plain = not checked.get("hooks") and not checked.get("pause_seconds")
        probed = not self._task.check_mode and probe_check.is_asked_for(plan, checked, RunState(variables).parts())
        result.update(
            changed=False,
            plan=plan,
            table=[job.worded(line, variables) for line in plan_table.lines(plan)],
            msg=message,
            plain_waves=plain,
            probed=probed,
        )
        return result

    @staticmethod
    def _sources(packages: list[str], state: RunState, purpose: str) -> list[str]:
        """Where packages are looked for. A job that only watches or commits needs none."""
        if purpose == "plan" or (purpose == "upgrade" and {"stage", "switch"} & set(state.parts())):
            return packages
        return [source for source in packages if purpose == "upgrade" and os.path.exists(os.path.expanduser(source))]

    def _facts(self, name: str, variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The facts of every host of the play; without a state for a host that could not be read."""
        found = {}
        for host in variables["ansible_play_hosts_all"]:
            facts = variables["hostvars"][host].get(name) or {}
            found[host] = dict(facts.get("facts", facts))
        return found
