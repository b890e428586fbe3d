# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_settings``: checks every setting of every host of the play, and returns what they mean."""

from __future__ import annotations

import copy
import functools
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked, may_hold_secret
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import hooks as hook_files
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import (
    host_variables,
    job,
    setting_files,
    terminal,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import asking
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.host_patterns import Hosts, PatternError
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.report_file import ReportFiles
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings, tags
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.custom_stats import RUN_ID

_OPTIONS = {"purpose": {"type": "str", "choices": list(settings.PURPOSES), "default": "upgrade"}}
_ARGUMENT_SPECS = Path(__file__).resolve().parents[2] / "roles/emqx_upgrade/meta/argument_specs.yml"
#: Purposes that bring packages to nodes, choose canaries and run hooks.
_ROLL_OUT = ("upgrade", "plan")
#: Purposes that change nodes.
_CHANGES = ("upgrade", "rollback", "commit", "cleanup")
_PROBE_FILES = ("probe_ca_file", "probe_cert_file", "probe_key_file")
#: Parts that bring packages to nodes, or go the way that packages tell.
_NEED_PACKAGES = frozenset({"stage", "switch"})
_REPORT = ("upgrade", "plan", "rollback", "commit")
#: Settings that name a file for a report.
_REPORTS = ("report_file", "report_html", "report_junit", "report_metrics")
#: A file that only a split writes.
_SPLIT = "split_inventory"
#: Settings that say who is told of a run otherwise.
_TOLD = ("webhook", "webhook_token")


class ActionModule(ActionBase):
    """Runs on the controller, once for all hosts."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables, started = task_vars or {}, time.time()
        _validated, arguments = self.validate_argument_spec(argument_spec=_OPTIONS)
        options = settings.options_of(_argument_specs())
        names = [settings.PREFIX + name for name in options if name != settings.PATTERN]
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        values = host_variables.of_hosts(hosts, settings.PREFIX, names, self._task, variables, self._loader)
        read = settings.read(dict(values), options, arguments["purpose"])
        run, skip = variables.get("ansible_run_tags") or ("all",), variables.get("ansible_skip_tags") or ()
        own = set(self._task.tags) - {"always", *tags.PHASES}
        phases = ["plan"] if arguments["purpose"] == "plan" else tags.chosen(run, skip, own)
        if arguments["purpose"] == "upgrade":
            self._phases(read, phases)
        self._job(read, arguments["purpose"], phases, variables)
        self._canary(read, arguments["purpose"], variables)
        self._files(read, arguments["purpose"], phases, variables)
        self._probe(read, arguments["purpose"])
        for warning in read.warnings:
            Display().warning(warning)
        message = job.worded(read.problems.message(), variables)
        if message:
            if arguments["purpose"] in _REPORT and not self._task.check_mode:
                files = ReportFiles({name: _of_all(read, name) for name in (*_REPORTS, *_TOLD)}, variables, started)
                files.refuse(phases, message)
            terminal.show(message, fails=True)
            result.update(failed=True, msg=message, problems=read.problems.sentences())
            return result
        for found in read.settings.values():
            # Whoever needs it looks it up: it is in no result, no report and no log.
            found.pop("probe_password", None)
        result.update(changed=False, settings=read.settings, phases=phases, started=started)
        if may_hold_secret(read.settings):
            # Ansible shows the result with -v, and keeps it in files of facts and logs of jobs.
            result["_ansible_no_log"] = True
        return result

    def _job(self, read: settings.Read, purpose: str, phases: list[str], variables: Mapping[str, Any]) -> None:
        """Let a job of AWX go on with the run of its workflow, and refuse one that sees a slice of the fleet only."""
        template = job.slice_of(variables)
        if template and purpose in _CHANGES:
            read.problems.add(
                f"This job is a slice of the job template {template}, so that it sees a part of each cluster alone; "
                "expected is one job for all nodes of a cluster. Set the template's job slicing to 1; emqx.fleet.split "
                "parts a large fleet by whole clusters. (A workflow template must not have the name of its job "
                "template: that is how slices are known.)"
            )
        if purpose not in (*_REPORT, "report") or _of_all(read, "run_id") is None:
            return
        # A run that does all of it in one job has nothing to hand on.
        if purpose != "upgrade" or phases != list(settings.PARTS):
            _put(read, "run_id", _of_all(read, "run_id") or job.run_of_workflow(variables))
        run_id, take_over = _of_all(read, "run_id"), _of_all(read, "take_over")
        version = _of_all(read, "version")
        if purpose == "rollback" and version and run_id and run_id == variables.get(RUN_ID):
            # Answers of a workflow's survey reach all of its jobs, and win over what a template says.
            _put(read, "version", "")
            read.warnings.append(
                f"{settings.PREFIX}version is {version}, which the jobs of the run {run_id} before this one have gone "
                "to: the nodes go back to where they came from."
            )
        if run_id and take_over is not None and job.is_relaunched(variables):
            _put(read, "take_over", list(dict.fromkeys([*take_over, run_id])))

    def _phases(self, read: settings.Read, phases: list[str]) -> None:
        """Leave those that the setting names of the parts that the tags left."""
        wanted = _of_all(read, "phases")
        if wanted is None:
            return
        left = [phase for phase in phases if phase in wanted]
        if left == ["plan"] and wanted != ["plan"] and phases != ["plan"]:
            read.problems.add(
                settings.Problem(
                    "phases",
                    f"is {settings.shown(','.join(wanted))}, of which the tags of the command leave nothing",
                    "are parts that its tags leave as well",
                    "Give one of the two.",
                )
            )
        phases[:] = left

    def _canary(self, read: settings.Read, purpose: str, variables: Mapping[str, Any]) -> None:
        """Put the hosts into the place of a host pattern."""
        pattern = _of_all(read, "canary")
        if not isinstance(pattern, (str, list)) or (isinstance(pattern, str) and pattern.endswith("%")):
            return
        hosts = Hosts(variables.get("groups") or {}, self._loader)
        try:
            matched, reason = set(hosts.named(pattern)), "which matches no host of the play"
        except PatternError as error:
            matched, reason = set(), f"which cannot be used as a host pattern ({str(error).rstrip('.')})"
        found = [host for host in read.settings if host in matched]
        for host_settings in read.settings.values():
            host_settings["canary"] = list(found)
        if found or purpose not in _ROLL_OUT:
            return
        near = settings.did_you_mean(str(pattern), [*hosts.groups, *read.settings])
        read.problems.add(
            settings.Problem(
                "canary",
                f"is {settings.shown(pattern)}, {reason}",
                "is a number, a percentage, or a pattern for hosts of the play",
                f"Did you mean {near}?" if near else "Write, for example, emqx_upgrade_canary=1.",
            )
        )

    def _files(self, read: settings.Read, purpose: str, phases: list[str], variables: Mapping[str, Any]) -> None:
        """Look at the files that settings name, as far as the purpose needs them, and make their paths absolute."""
        base = os.getcwd()
        sources = _of_all(read, "packages")
        if sources and purpose in _ROLL_OUT and (purpose == "plan" or _NEED_PACKAGES.intersection(phases)):
            for problem in setting_files.packages(sources, base):
                read.problems.add(problem)
        for name in (*_REPORTS, _SPLIT):
            report = _of_all(read, name)
            if not report:
                continue
            path, problems = setting_files.report(name, report, base)
            _put(read, name, path)
            written = (purpose, name) in (("status", "report_html"), ("split", _SPLIT))
            written = written or (purpose in (*_REPORT, "report") and name in _REPORTS)
            for problem in problems if written else ():
                read.problems.add(problem)
        hooks = _of_all(read, "hooks")
        if hooks:
            folders = [base, *_folders(variables)]
            absolute = {hook: setting_files.hook(path, folders) for hook, path in hooks.items()}
            _put(read, "hooks", absolute)
            told = [problem.sentence() for problem in setting_files.missing_hooks(hooks, absolute, folders)]
            there = {hook: path for hook, path in absolute.items() if os.path.exists(path)}
            told += self._hooks(read, there, variables)
            # Where none of them is due, a broken one is no reason to do nothing.
            for sentence in told:
                if purpose in _ROLL_OUT:
                    read.problems.add(sentence)
                elif purpose in _REPORT:
                    read.warnings.append(sentence)

    def _probe(self, read: settings.Read, purpose: str) -> None:
        """See that a probe can be had, and make the paths of its files absolute."""
        wanted = bool(_of_all(read, "probe")) and purpose in _REPORT
        if wanted and asking.missing_library():
            read.problems.add(
                settings.Problem(
                    "probe",
                    "is on",
                    "is a controller that has paho-mqtt of version 2",
                    f"Install it for {sys.executable}, or in the execution environment: pip install paho-mqtt.",
                )
            )
        for host, found in read.settings.items():
            for name in _PROBE_FILES:
                if found.get(name):
                    found[name] = os.path.abspath(os.path.expanduser(found[name]))
                    if wanted and not os.access(found[name], os.R_OK):
                        read.problems.add(
                            settings.Problem(
                                name,
                                f"is {settings.shown(found[name])}, which cannot be read",
                                "is a file of the controller",
                                "Mend the path or who may read it.",
                            ),
                            [host],
                        )

    def _hooks(self, read: settings.Read, hooks: Mapping[str, str], variables: Mapping[str, Any]) -> list[str]:
        """Load every hook, and tell why one cannot be."""
        variable_manager, inventory = host_variables.managers(variables)
        host = inventory.get_host(next(iter(read.settings)))
        told = []
        for hook, path in hooks.items():
            found = hook_files.check(path, hook, self._task, host, self._loader, variable_manager)
            told += [
                settings.Problem(
                    "hooks",
                    f"cannot be used for {hook} ({masked(problem)})",
                    "are files of tasks that Ansible can load",
                    "Mend the file.",
                ).sentence()
                for problem in found.problems
            ]
            read.warnings.extend(f"{settings.PREFIX}hooks, {hook}: {warning}." for warning in found.warnings)
        return told


@functools.cache
def _argument_specs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_ARGUMENT_SPECS.read_text(encoding="utf-8"))
    return found


def _of_all(read: settings.Read, name: str) -> Any:
    """A setting that all hosts have alike; None where it has problems of its own, which are known already."""
    return next((found[name] for found in read.settings.values() if name in found), None)


def _put(read: settings.Read, name: str, value: Any) -> None:
    for found in read.settings.values():
        if name in found:
            found[name] = copy.copy(value)


def _folders(variables: Mapping[str, Any]) -> Iterable[str]:
    """Where relative paths of hooks begin besides the working directory: beside the playbooks and the inventories.

    ``playbook_dir`` is that of a playbook which is imported, so those of the command line come as well.
    """
    for playbook in context.CLIARGS.get("args") or ():
        if os.path.isfile(playbook):
            yield os.path.dirname(os.path.abspath(playbook))
    if variables.get("playbook_dir"):
        yield str(variables["playbook_dir"])
    for source in variables.get("ansible_inventory_sources") or ():
        if os.path.exists(source):
            yield os.path.abspath(source) if os.path.isdir(source) else os.path.dirname(os.path.abspath(source))
