# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Makes facts, packages and whole fleets, as sound as they come; tests change what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Facts = dict[str, Any]
Package = dict[str, Any]


def make_facts(
    node: str = "emqx@node1", running: str = "4.4.18", members: Sequence[str] | None = None, **changes: Any
) -> Facts:
    """Facts of a node that nothing stands in the way of; ``members``: its cluster, by default itself."""
    names = list(members or [node])
    facts: Facts = {
        "state": "running",
        "node": node,
        "pid": 100,
        "uptime_seconds": 1000,
        "supervisor": "<0.1862.0>",
        "modules": [],
        "running": running,
        "permanent": running,
        "releases": [{"version": running, "status": "permanent"}],
        "boot": {"version": running, "consistent": True, "problems": []},
        "root_dir": "/opt/emqx",
        "edition": "ce",
        "otp": "25",
        "os": "debian12",
        "arch": "amd64",
        "host": {"system": "Linux", "os": "debian12", "arch": "amd64", "python": "3.11.2"},
        "cluster": {
            "running": names,
            "stopped": [],
            "members": [{"node": name, "version": running, "connections": 10} for name in names],
        },
        "alarms": [],
        "patches": [],
        "packages": [],
        "free_bytes": {"/opt/emqx": 10 << 30, "/tmp": 5 << 30},
        "devices": {"/opt/emqx": 1, "/tmp": 2},
        "unwritable": [],
        "clock": 1_700_000_000.0,
        "clock_offset": 0.1,
        "operation": None,
        "run": None,
    }
    facts.update(changes)
    return facts


def make_package(
    version: str = "4.4.19",
    upgrade_from: Sequence[str] = ("4.4.18",),
    downgrade_to: Sequence[str] | None = None,
    **changes: Any,
) -> Package:
    """A sound package for the nodes of :func:`make_facts`; it leads back where it comes from."""
    words = {"edition": "ce", "otp": "25.2.3-1", "os": "debian12", "arch": "amd64"} | {
        key: changes[key] for key in ("edition", "otp", "os", "arch") if key in changes
    }
    edition = "" if words["edition"] == "ce" else f"{words['edition']}-"
    name = f"emqx-{edition}{version}-otp{words['otp']}-{words['os']}-{words['arch']}.zip"
    package: Package = {
        "name": name,
        "path": f"packages/{name}",
        "size": 30 << 20,
        "version": version,
        **words,
        "erts": "13.1.5",
        "built_on": "x86_64-pc-linux-gnu-debian12",
        "relup": {
            "target": version,
            "upgrade_from": list(upgrade_from),
            "downgrade_to": list(upgrade_from if downgrade_to is None else downgrade_to),
        },
        "unpacked_size": 60 << 20,
        "sha256": None,
        "checksum_source": None,
        "problems": [],
        "warnings": [],
    }
    package.update(changes)
    return package


def make_clusters(clusters: int, size: int, **changes: Any) -> dict[str, Facts]:
    """Facts by host of equal clusters: host c3n1 is the node emqx@c3n1."""
    fleet = {}
    for cluster in range(clusters):
        names = [f"emqx@c{cluster}n{place}" for place in range(size)]
        for name in names:
            fleet[name.removeprefix("emqx@")] = make_facts(name, members=names, **changes)
    return fleet
