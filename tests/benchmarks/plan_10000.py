# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""How long the plan of a fleet takes: 10,000 nodes unless told otherwise, uneven and some of them in bad shape.

usage: plan_10000.py [NODES]

Prints what it found as JSON: ``nodes``, ``cpu_seconds``, ``table_lines``, ``table_cpu_seconds``, ``summary``, ``goal``.
Exits with 1 if planning takes more than the goal, which is 5 seconds for 10,000 nodes, or in proportion.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.emqx.fleet"
SECONDS = 5.0
NODES = 10_000


def uneven_fleet(maker: ModuleType, nodes: int) -> dict[str, Any]:
    """Clusters of one to seven nodes, of several systems, editions and versions; a tenth has something wrong."""
    fleet: dict[str, Any] = {}
    cluster = 0
    while len(fleet) < nodes:
        names = [f"emqx@c{cluster}n{place}" for place in range(1 + cluster % 7)]
        words = {
            "os": ("debian12", "el8", "ubuntu20.04")[cluster % 3],
            "edition": ("ce", "ce", "ee")[cluster % 4 % 3],
            "arch": ("amd64", "arm64")[cluster % 5 == 0],
        }
        version = ("4.4.16", "4.4.17", "4.4.18", "4.4.19")[cluster % 4]
        for name in names:
            facts = maker.make_facts(name, version, names, **words)
            if len(fleet) % 10 == 0:
                facts.update(({"alarms": ["high_cpu"]}, {"unwritable": ["/opt/emqx/bin"]}, {"otp": "24"})[cluster % 3])
            fleet[f"host{len(fleet)}"] = facts
        cluster += 1
    return fleet


def packages(maker: ModuleType) -> list[dict[str, Any]]:
    """A package of every version for every system, edition and architecture, each from the version before."""
    return [
        maker.make_package(f"4.4.{patch}", [f"4.4.{patch - 1}"], os=system, edition=edition, arch=arch)
        for patch in (17, 18, 19)
        for system in ("debian12", "el8", "ubuntu20.04")
        for edition in ("ce", "ee")
        for arch in ("amd64", "arm64")
    ]


def main() -> int:
    """Plan and print; 1 if it takes too long."""
    # Under its full name the collection is in a copy of the checkout.
    tree = subprocess.run([sys.executable, ROOT / "scripts/tree.py"], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(Path(tree.stdout.strip()).parents[2]))
    from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanOptions, build_plan
    from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table

    maker = importlib.import_module(f"{COLLECTION}.tests.unit.plugins.plugin_utils.fleet_maker")
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else NODES
    fleet, at_hand = uneven_fleet(maker, nodes), packages(maker)
    started = time.process_time()
    plan = build_plan(fleet, at_hand, PlanOptions("4.4.19", wave_size="5%"))
    planned = time.process_time()
    lines = plan_table.lines(plan)
    shown = time.process_time()
    seconds, goal = round(planned - started, 2), SECONDS * max(nodes, 1000) / NODES
    told = {
        "nodes": len(fleet),
        "cpu_seconds": seconds,
        "table_lines": len(lines),
        "table_cpu_seconds": round(shown - planned, 2),
        "summary": plan_table.summary(plan),
        "goal": goal,
    }
    print(json.dumps(told, indent=2))
    return int(seconds > goal)


if __name__ == "__main__":
    sys.exit(main())
