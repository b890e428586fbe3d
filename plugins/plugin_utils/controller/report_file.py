# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's file. From the beginning of a run it tells of that run and of no other, also where it never ends.

What cannot be written meanwhile is told when the report itself cannot be.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import command_line
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Outcome, Plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import report

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
_REPORTED = {"stage", "switch", "commit"}


def next_commands() -> dict[str, str]:
    """What a person is to call next, as the present command was called: ``again``, ``rollback`` and ``status``."""
    given, defaults = context.CLIARGS, command_line.configured()
    return {
        "again": command_line.again(given, defaults),
        # Files and inventories may name the version of the upgrade, which is none to go back to.
        "rollback": command_line.another("emqx.fleet.rollback", given, _SETTINGS_OF_ROLLBACK, defaults)
        + " -e emqx_upgrade_version=",
        "status": command_line.another("emqx.fleet.status", given, _SETTINGS_OF_STATUS, defaults),
    }


def begin(path: str, plan: Plan, rules: Rules, refusal: str) -> None:
    """Write that the run has begun, or that it was refused (``refusal`` is not empty), where it is to be reported."""
    if path and _REPORTED.intersection(rules.parts):
        problems, in_turn = ([refusal], None) if refusal else ([], report.InTurn())
        write(path, report.build(plan, {}, rules, next_commands(), problems, in_turn=in_turn))


def go_on(
    path: str,
    plan: Plan,
    outcomes: Mapping[str, Outcome | None],
    rules: Rules,
    decision: Decision,
    lost: Collection[str],
) -> None:
    """Write how far the run is when a phase begins, or a wave of it."""
    if path:
        in_turn = report.InTurn(decision["phase"], decision["hosts"])
        write(path, report.build(plan, outcomes, rules, next_commands(), decision["problems"], lost, in_turn))


def refuse(path: str, parts: Sequence[str], message: str) -> None:
    """Write that nothing was begun, not even a plan: nobody must find the report of the last run there."""
    if path and _REPORTED.intersection(parts):
        write(path, report.refused(message))


def write(path: str, document: Mapping[str, Any]) -> str:
    """Replace the file as a whole; gives why that could not be done, or nothing."""
    target = Path(path)
    fresh = target.with_name(f"{target.name}.new")
    text = json.dumps(dict(document, written=round(time.time(), 3)), indent=2, sort_keys=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text + "\n", encoding="utf-8")
        os.replace(fresh, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        return f"The report cannot be written to {path}: {error.strerror}."
    return ""
