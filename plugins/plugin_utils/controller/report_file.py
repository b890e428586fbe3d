# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that tell of a run, on the controller: JSON with its digest, a page, and what machines read.

From the beginning of a run they tell of that run and of no other, also where it never ends. What cannot be written
meanwhile is told when the report itself cannot be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import command_line, job, webhook
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import DECISION, PLANNED
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import (
    custom_stats,
    document,
    events,
    junit,
    metrics,
    page,
    report,
)

#: What a roll-out and its way back are called with alike. The version is not: a rollback's is the one to go back to.
_SETTINGS_OF_ROLLBACK = (
    "emqx_upgrade_accept",
    "emqx_upgrade_executable",
    "emqx_upgrade_hosts",
    "emqx_upgrade_probe",
    "emqx_upgrade_probe_address",
    "emqx_upgrade_probe_ca_file",
    "emqx_upgrade_probe_cert_file",
    "emqx_upgrade_probe_clients",
    "emqx_upgrade_probe_key_file",
    "emqx_upgrade_probe_password",
    "emqx_upgrade_probe_port",
    "emqx_upgrade_probe_tls",
    "emqx_upgrade_probe_username",
    "emqx_upgrade_probe_validate_certs",
    "emqx_upgrade_run_id",
    "emqx_upgrade_settle_timeout",
    "emqx_upgrade_timeout",
)
_SETTINGS_OF_STATUS = ("emqx_upgrade_executable", "emqx_upgrade_hosts")
#: Parts that end with a report.
_REPORTED = {"stage", "switch", "soak", "commit"}
#: The variable by which a job of a workflow hands its document to the next one; see ``emqx_report``.
HANDED_ON = custom_stats.DOCUMENT
#: Settings that name a file which is written as the run goes.
_FILES = ("report_file", "report_html", "report_junit", "report_metrics")
#: In the results of tasks: the webhook did not answer in this run.
WEBHOOK_FAILED = "webhook_failed"


def next_commands(variables: Mapping[str, Any]) -> dict[str, str]:
    """What a person is to call next, as the present command was called: ``again``, ``rollback`` and ``status``.

    ``variables``: those of a task. In a job of AWX it is what to launch next.
    """
    return job.next_steps(variables) or _commands()


def _commands() -> dict[str, str]:
    given, defaults = context.CLIARGS, command_line.configured()
    return {
        "again": command_line.again(given, defaults),
        # Files and inventories may name the version of the upgrade, which is none to go back to.
        "rollback": command_line.another("emqx.fleet.rollback", given, _SETTINGS_OF_ROLLBACK, defaults)
        + " -e emqx_upgrade_version=",
        "status": command_line.another("emqx.fleet.status", given, _SETTINGS_OF_STATUS, defaults),
    }


class ReportFiles:
    """The files that the settings of a run name; none of them need be.

    ``settings``: the checked ones of a host. ``variables``: those of a task. ``started``: when the run began, in
    seconds since 1970.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        variables: Mapping[str, Any],
        started: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._variables = variables
        self._clock = clock
        self._started = clock() if started is None else started
        self._path = str(settings.get("report_file") or "")
        self._page = str(settings.get("report_html") or "")
        url, token = str(settings.get("webhook") or ""), str(settings.get("webhook_token") or "")
        self._webhook = webhook.Webhook(url, token) if url else None
        results = [variables.get(name) or {} for name in (PLANNED, DECISION)]
        #: Whether the webhook did not answer; to be handed on as :data:`WEBHOOK_FAILED`.
        self.webhook_failed = any(bool(found.get(WEBHOOK_FAILED)) for found in results)

    def begin(self, plan: Plan, rules: Rules, refusal: str) -> dict[str, Any] | None:
        """Tell that the run has begun, or that it was refused (``refusal`` says why), where it is to be reported.

        Gives the document, None where there is to be none.
        """
        if not _REPORTED.intersection(rules.parts):
            return None
        self._keep_earlier(plan["run_id"])
        problems, in_turn = ([refusal], None) if refusal else ([], report.InTurn())
        built = report.build(plan, {}, rules, next_commands(self._variables), problems, in_turn=in_turn)
        told = self._document(built, plan, {})
        self._write(told)
        if refusal:
            self._forget_earlier()
            self._tell("refused", plan["run_id"], events.ended(told), webhook.ENDED)
        else:
            self._tell("started", plan["run_id"], events.started(plan, rules))
        return told

    def go_on(
        self,
        plan: Plan,
        outcomes: Mapping[str, Outcome | None],
        rules: Rules,
        decision: Decision,
        lost: Collection[str],
    ) -> None:
        """Tell how far the run is when a phase begins, or a wave of it."""
        self._tell_of(plan, decision)
        if not self._is_wanted:
            return
        in_turn = report.InTurn(decision["phase"], decision["hosts"])
        built = report.build(plan, outcomes, rules, next_commands(self._variables), decision["problems"], lost, in_turn)
        self._write(self._document(built, plan, outcomes))

    def refuse(self, parts: Sequence[str], message: str) -> None:
        """Tell that nothing was begun, not even a plan: nobody must find the report of the last run there."""
        if _REPORTED.intersection(parts):
            told = self._document(report.refused(message), None, {})
            self._write(told)
            self._tell("refused", None, events.ended(told), webhook.ENDED)

    def finish(
        self,
        built: Mapping[str, Any],
        plan: Plan,
        outcomes: Mapping[str, Outcome | None],
        probe: Mapping[str, Any] | None = None,
        keep: bool = True,
    ) -> dict[str, Any]:
        """The document of the run at its end; what could not be written is in its ``message``.

        ``keep``: whether anything is written.
        """
        found = self._document(built, plan, outcomes, probe)
        problem = self._write(found) if keep else ""
        if problem:
            # What happened is told all the same.
            found.update(ok=False, verdict="failed", message=f"{problem}\n{found['message']}".strip())
            self._write_for_machines(found)
        self._forget_earlier()
        if keep:
            self._tell("finished", plan["run_id"], events.ended(found), webhook.ENDED)
        return found

    def conclude(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Write the document of a run of several jobs; what could not be written is in its ``message``."""
        found = dict(told)
        problem = self._write(found)
        if problem:
            found.update(ok=False, verdict="failed", message=f"{problem}\n{found['message']}".strip())
        self._tell("finished", found["run_id"], events.ended(found), webhook.ENDED)
        return found

    @property
    def _is_wanted(self) -> bool:
        return any(self._settings.get(name) for name in _FILES)

    def _document(
        self,
        built: Mapping[str, Any],
        plan: Plan | None,
        outcomes: Mapping[str, Outcome | None],
        probe: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        this_job = job.describe(self._variables, self._started, _commands()["again"])
        told = document.build(built, plan, outcomes, this_job, self._clock(), self._settings, probe)
        return document.merged(told, self._earlier(told.get("run_id")), is_part=bool(job.part(self._variables)))

    def _write(self, told: Mapping[str, Any]) -> str:
        problems = [write(self._path, told) if self._path else ""]
        if self._page:
            problems.append(write_page(self._page, lambda: page.of_run(told)))
        problems.append(self._write_for_machines(told))
        return " ".join(filter(None, problems))

    def _write_for_machines(self, told: Mapping[str, Any]) -> str:
        problems = []
        path = str(self._settings.get("report_junit") or "")
        if path:
            problems.append(replace(path, junit.build(told)))
        path = str(self._settings.get("report_metrics") or "")
        if path:
            problems.append(write_metrics(path, lambda earlier, fleet: metrics.of_run(told, fleet, earlier)))
        return " ".join(problem for problem in problems if problem)

    # Events

    def _tell_of(self, plan: Plan, decision: Decision) -> None:
        """Tell of a wave that begins, and of the first failure; not again where a phase is decided twice."""
        before = self._variables.get(DECISION) or {}
        if decision["failures"] and not before.get("failures"):
            self._tell("failed", plan["run_id"], events.failed(plan, decision))
        again = (before.get("phase"), before.get("wave")) == (decision["phase"], decision["wave"])
        if decision["phase"] in ("switch", "rollback") and decision["wave"] and decision["proceed"] and not again:
            self._tell("wave", plan["run_id"], events.wave(plan, decision))

    def _tell(
        self, kind: str, run_id: str | None, data: Mapping[str, Any], patience: webhook.Patience = webhook.WORKING
    ) -> None:
        """Tell the webhook, where there is one; of one that failed before there is no second warning, and no wave."""
        if self._webhook is None or (self.webhook_failed and kind == "wave"):
            return
        host = job.describe(self._variables, self._started, "")["controller"]["host"]
        event = webhook.event(kind, host, run_id, self._clock(), data)
        problem = self._webhook.send(event, webhook.WORKING if self.webhook_failed else patience)
        if problem and not self.webhook_failed:
            Display().warning(f"{problem} The run goes on all the same.")
            self.webhook_failed = True

    # What an earlier job of the same run told

    def _earlier(self, run_id: str | None) -> Any:
        if self._path and self._earlier_path.exists():
            return _read(self._earlier_path)
        return document.combined(handed_on(self._variables, run_id))

    @property
    def _earlier_path(self) -> Path:
        return Path(f"{self._path}.earlier")

    def _keep_earlier(self, run_id: str) -> None:
        """Put the report of an earlier job of the same run aside, since this job's is written over and over again."""
        if self._path and document.is_of_run(_read(Path(self._path)), run_id):
            with contextlib.suppress(OSError):
                os.replace(self._path, self._earlier_path)

    def _forget_earlier(self) -> None:
        if self._path:
            with contextlib.suppress(OSError):
                self._earlier_path.unlink()


def handed_on(variables: Mapping[str, Any], run_id: str | None) -> list[dict[str, Any]]:
    """The documents that earlier jobs of the run handed on; of jobs for parts of a fleet there is one for each."""
    names = [name for name in variables if name == HANDED_ON or str(name).startswith(f"{HANDED_ON}_part_")]
    found = [job.from_text(variables[name]) for name in sorted(names)]
    return [dict(each) for each in found if document.is_of_run(each, run_id)]


def write(path: str, told: Mapping[str, Any]) -> str:
    """Replace the file as a whole, and that of its digest; gives why that could not be done, or nothing."""
    text = json.dumps(told, indent=2, sort_keys=True) + "\n"
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return replace(path, text) or replace(f"{path}.sha256", f"{digest}  {Path(path).name}\n")


def write_page(path: str, made: Callable[[], str]) -> str:
    """Replace the page by a new one; gives why that could not be done, or nothing."""
    try:
        text = made()
    except Exception as error:  # noqa: BLE001
        # A run goes on, whatever is wrong with a page of it.
        return f"The page {path} cannot be made: an error in emqx.fleet itself, {type(error).__name__}: {error}."
    return replace(path, text)


def write_metrics(path: str, make: Callable[[str, str], str]) -> str:
    """Replace the file of metrics, readable for all; gives why that could not be done, or nothing.

    ``make``: gives the text from what stands in the file and from the label for the fleet, which is the file's name.
    """
    name = Path(path).name
    try:
        earlier = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        earlier = ""
    return replace(path, make(earlier, name.removesuffix(".prom")), mode=0o644)


def replace(path: str, text: str, mode: int | None = None, what: str = "report") -> str:
    """Replace a file as a whole; gives why that could not be done, or nothing. ``what``: the word for it."""
    target = Path(path)
    fresh = target.with_name(f"{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        if mode is not None:
            fresh.chmod(mode)
        os.replace(fresh, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        return f"The {what} cannot be written to {path}: {error.strerror}."
    return ""


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
