# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The custom stats of a run, as ``ansible.builtin.set_stats`` sets them; AWX calls them artifacts. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: The stat that has the whole document, and the variable by which the next job of a workflow gets it.
DOCUMENT = "emqx_fleet_report"
RUN_ID = "emqx_fleet_run_id"
#: Bytes of JSON above which the document is left out: AWX keeps artifacts in a row of its database, and gives them to
#: every later job of a workflow.
LARGEST = 500_000
#: The stat that has the hosts of each part of a fleet.
PARTS = "emqx_fleet_parts"
TOO_MANY_HOSTS = (
    f"The hosts of the parts make more than {LARGEST} bytes, so they are not handed on to other jobs as {PARTS}. Write "
    "them into an inventory with emqx_upgrade_split_inventory."
)


def of_plan(run_id: str) -> dict[str, Any]:
    """What a job that only plans hands on, where its run goes on in other jobs."""
    return {"data": {RUN_ID: run_id}, "per_host": False, "aggregate": False}


def result(document: Mapping[str, Any], report_file: str, part: str = "") -> dict[str, Any]:
    """What a task returns as ``ansible_stats``.

    ``report_file``: the path of the document, empty where it is written nowhere. A document without a run is nothing
    to go on with, and would hide that of an earlier job. ``part``: the part of the fleet that the job is for. Its stats
    have names of their own, with the part and the job's last phase: other jobs set theirs at the same time, and where
    they come together, AWX lets what one of them had from the jobs before it win over what another has set.
    """
    totals = document["totals"]
    data: dict[str, Any] = {
        RUN_ID: document["run_id"],
        "emqx_fleet_verdict": document["verdict"],
        "emqx_fleet_ok": document["ok"],
        "emqx_fleet_nodes": dict(totals["results"]),
        "emqx_fleet_cut_off": totals["clients"]["cut_off"] if totals["accounted_nodes"] else None,
        "emqx_fleet_seconds": document["seconds"],
        "emqx_fleet_report_file": report_file,
    }
    if document["run_id"] and len(json.dumps(document)) <= LARGEST:
        data[DOCUMENT] = dict(document)
    if part:
        suffix = f"_part_{part}_{document['phases'][-1] if document['phases'] else 'plan'}"
        data = {name if name == RUN_ID else f"{name}{suffix}": value for name, value in data.items()}
    return {"data": data, "per_host": False, "aggregate": False}


def of_parts(parts: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """What a task returns as ``ansible_stats`` for the hosts of each part; None where that is too much."""
    data = {PARTS: {name: list(hosts) for name, hosts in parts.items()}}
    if len(json.dumps(data)) > LARGEST:
        return None
    return {"data": data, "per_host": False, "aggregate": False}
