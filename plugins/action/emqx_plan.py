# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_plan``: reads the packages and every host's facts, and returns the plan for the whole play."""

from __future__ import annotations

import fnmatch
import os
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, BinaryIO, cast

from ansible.errors import AnsibleActionFail
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import package_sources, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import purposes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanError, PlanOptions, build_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table

_OPTIONS = {
    "purpose": {"type": "str", "choices": ["upgrade", "commit", "rollback"], "default": "upgrade"},
    "version": {"type": "str"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "download_dir": {"type": "str", "default": "~/.cache/emqx-fleet/packages"},
    "facts_variable": {"type": "str", "required": True},
    "accept": {"type": "list", "elements": "str", "default": []},
    "allow_downgrade": {"type": "bool", "default": False},
    "max_per_cluster": {"type": "int", "default": 1},
    "wave_size": {"type": "str", "default": "0"},
    "canary": {"type": "str", "default": "1"},
    "coordinators": {"type": "list", "elements": "str", "default": []},
    "run_id": {"type": "str"},
}
_AMOUNT = re.compile(r"^\d+%?$")


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        run_id = options["run_id"] or f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
        read = self._facts(options["facts_variable"], variables)
        facts = {host: runs.without_dead_run(found) for host, found in read.items()}
        try:
            plan = self._plan(options, run_id, facts, variables)
        except (PlanError, package_sources.SourceError) as error:
            raise AnsibleActionFail(str(error)) from error
        plan["purpose"] = options["purpose"]
        for host, node in plan["nodes"].items():
            node["unfinished_run"] = runs.has_unfinished_run(read[host], run_id)
        widest = max((len(wave["hosts"]) for wave in plan["waves"]), default=0)
        if widest > int(variables.get("ansible_forks") or widest):
            plan["warnings"].append(
                f"a wave has {widest} nodes and forks is {variables['ansible_forks']}, so they are worked on in turns; "
                f"use --forks {widest}"
            )
        result.update(
            changed=False,
            plan=plan,
            table=plan_table.lines(plan),
            order=[host for wave in plan["waves"] for host in wave["hosts"]],
            wave_sizes=[len(wave["hosts"]) for wave in plan["waves"]],
            run_id=run_id,
            msg=plan_table.summary(plan),
        )
        return result

    def _facts(self, name: str, variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The facts of every host of the play; empty for a host that could not be read."""
        found = {}
        for host in variables["ansible_play_hosts_all"]:
            facts = variables["hostvars"][host].get(name) or {}
            found[host] = facts if "state" in facts else {}
        return found

    def _plan(
        self, options: dict[str, Any], run_id: str, facts: dict[str, dict[str, Any]], variables: dict[str, Any]
    ) -> dict[str, Any]:
        purpose, version = options["purpose"], options["version"] or None
        targets: dict[str, str] = {}
        if purpose == "upgrade":
            if version is None:
                raise AnsibleActionFail("version: say which version the fleet shall run, for example 4.4.19.")
            target = version
        else:
            find = purposes.commit_targets if purpose == "commit" else purposes.rollback_targets
            targets = find(facts, version)
            target = version or _most_common(targets)
            if target is None:
                raise AnsibleActionFail(f"No node of the play can be read and has a version to {purpose}.")
            # A node with nothing to do stays where it is.
            targets = {host: targets.get(host) or str(facts[host].get("running") or target) for host in facts}
        packages = package_sources.load(
            options["packages"] if purpose == "upgrade" else [],
            os.getcwd(),
            options["download_dir"],
            lambda url: cast(BinaryIO, open_url(url, timeout=60)),
        )
        plan = build_plan(
            facts,
            packages,
            PlanOptions(
                target=target,
                targets=targets,
                max_per_cluster=options["max_per_cluster"],
                wave_size=options["wave_size"],
                canary=self._canary(options["canary"], variables),
                coordinators=options["coordinators"],
                accept=options["accept"],
                allow_downgrade=options["allow_downgrade"] or purpose == "rollback",
                run_id=run_id,
            ),
        )
        for host, node in plan["nodes"].items():
            if purpose == "rollback":
                node["way_back"] = purposes.way_back(facts[host], node["to"])
            elif node["action"] == "commit":
                node["way_back"] = purposes.way_back_of_uncommitted(facts[host])
        return cast("dict[str, Any]", plan)

    def _canary(self, text: str, variables: Mapping[str, Any]) -> int | str | list[str]:
        """A number, a percentage, or the hosts that a pattern of host and group names means."""
        text = text.strip()
        if _AMOUNT.match(text):
            return text if text.endswith("%") else int(text)
        hosts = variables["ansible_play_hosts_all"]
        found: list[str] = []
        for pattern in filter(None, re.split(r"[,:]", text)):
            members = variables.get("groups", {}).get(pattern, [])
            found += [host for host in hosts if host in members or fnmatch.fnmatchcase(host, pattern)]
        if not found:
            raise AnsibleActionFail(f"canary: no host of the play matches {text!r}.")
        return list(dict.fromkeys(found))


def _most_common(targets: Mapping[str, str]) -> str | None:
    counted = sorted(targets.values())
    return max(counted, key=counted.count, default=None)
