# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes what a run is made of - plans, outcomes, settings - for tests that change what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Action, Hop, Outcome, Plan, PlanNode, State

OLD, NEW = "4.4.18", "4.4.19"


def make_hop(version: str = NEW, **changes: Any) -> Hop:
    """A hop with a package of the controller."""
    hop: dict[str, Any] = {
        "version": version,
        "package": f"emqx-{version}.zip",
        "path": f"/packages/emqx-{version}.zip",
        "url": None,
        "sha256": None,
        "size": 1,
        "unpacked_size": 2,
        "upgrade_from": [],
        "downgrade_to": [],
    }
    return cast(Hop, {**hop, **changes})


def make_node(host: str = "a1", action: Action = "upgrade", wave: int | None = 1, **changes: Any) -> PlanNode:
    """A node of a plan, from 4.4.18 to 4.4.19 in one hop; its cluster is the first letter of its name."""
    node = {
        "host": host,
        "node": f"emqx@{host}",
        "cluster": host[0],
        "from": OLD if action == "upgrade" else NEW,
        "came_from": NEW if action == "none" else OLD,
        "to": NEW,
        "action": action,
        "hops": [make_hop()] if action == "upgrade" else [],
        "way_back": [OLD] if action in ("upgrade", "commit") else [],
        "wave": wave if action == "upgrade" else None,
        "gates": [],
        "unfinished_run": False,
    }
    return cast(PlanNode, {**node, **changes})


def make_plan(
    waves: Sequence[Sequence[str]] = (("a1",),), others: Mapping[str, Action] | None = None, **changes: Any
) -> Plan:
    """A plan that switches these waves, of which the first is the canary; ``others``: actions of further hosts."""
    nodes = {host: make_node(host, wave=number) for number, wave in enumerate(waves, 1) for host in wave}
    nodes |= {host: make_node(host, action) for host, action in (others or {}).items()}
    plan = {
        "run_id": "run-1",
        "purpose": "upgrade",
        "target": NEW,
        "feasible": True,
        "nodes": nodes,
        "waves": [
            {"number": number, "kind": "canary" if number == 1 else "wave", "hosts": list(wave)}
            for number, wave in enumerate(waves, 1)
        ],
        "obstacles": [],
        "warnings": [],
        "accepted": [],
    }
    return cast(Plan, {**plan, **changes})


def at(state: State, **changes: Any) -> Outcome:
    """The outcome of a node that has come this far without a failure."""
    return cast(Outcome, {**outcomes.new(), "state": state, **changes})


def failed_in(phase: str, message: str = "It broke.", state: State = "reserved", **changes: Any) -> Outcome:
    """The outcome of a node that failed in a phase; ``changes`` as ``after``."""
    told = {"message": message, **changes.pop("told", {})}
    return outcomes.fail(at(state), phase, told, **changes)


def make_settings(**changes: Any) -> dict[str, Any]:
    """Checked settings of a host, as ``emqx_settings`` gives them."""
    settings: dict[str, Any] = {
        "accept": [],
        "allow_downgrade": False,
        "client_loss_tolerance": 0,
        "commit": "fleet",
        "executable": None,
        "failure_budget": "0",
        "hooks": {},
        "keep_versions": 1,
        "lease_seconds": 120,
        "park_seconds": 14400,
        "on_failure": "stop",
        "pause_seconds": 0,
        "reconnect_timeout": 60,
        "report_file": None,
        "run_id": None,
        "settle_timeout": 30,
        "soak_interval": 30,
        "soak_seconds": 60,
        "take_over": [],
        "timeout": 600,
        "verify_seconds": 5,
    }
    return {**settings, **changes}


def make_variables(
    host: str = "a1",
    plan: Plan | None = None,
    registered: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A task's variables on one of the plan's hosts, as the tasks of the role leave them.

    ``registered``: of each host what its tasks registered, by the short names of :data:`REGISTERS`.
    """
    plan = make_plan([["a1"], ["a2"]]) if plan is None else plan
    hosts = list(plan["nodes"])
    common = {
        REGISTERS["settings"]: {"settings": {name: make_settings(**(settings or {})) for name in hosts}},
        REGISTERS["planned"]: {"plan": plan, "changed": False},
    }
    hostvars = {
        name: {"inventory_hostname": name}
        | common
        | {REGISTERS[key]: value for key, value in ((registered or {}).get(name) or {}).items()}
        for name in hosts
    }
    magic = {
        "hostvars": hostvars,
        "ansible_play_hosts": hosts,
        "ansible_play_hosts_all": hosts,
        "ansible_run_tags": ["all"],
        "ansible_skip_tags": [],
    }
    return {**hostvars[host], **magic, **more}


#: The variables in which a run keeps its state, by short names.
REGISTERS = {name: f"__emqx_upgrade_{name}" for name in ("settings", "reading", "planned", "turn", "decision")}
