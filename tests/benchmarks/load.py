# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Load of large fleets, on simulated nodes: the whole run against the documented steps, and what a node costs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.labkit import cgroup
from tests.lab.labkit.cgroup import Group

from . import runs
from .measure import ROOT, BenchError, Usage

SERVER = "ansible_collections.emqx.fleet.tests.benchmarks.simulation.server"
#: Of a run that takes longer than a lease, as its documentation says.
_SETTINGS = {"lease_seconds": 7200}


@dataclass(frozen=True)
class Simulated:
    """A simulation that is up."""

    folder: Path
    package: Path
    nodes: Sequence[dict[str, Any]]
    group: Group

    def inventory(self, name: str, nodes: Sequence[dict[str, Any]]) -> Path:
        """An inventory of some of its nodes."""
        hosts = {
            f"n{node['number']}": {
                "ansible_connection": "local",
                "ansible_python_interpreter": node["interpreter"],
                "emqx_upgrade_executable": node["executable"],
            }
            for node in nodes
        }
        path = self.folder.parent / f"inventory-{name}.json"
        path.write_text(json.dumps({"all": {"children": {"emqx": {"hosts": hosts}}}}), encoding="utf-8")
        return path

    def modules_cpu(self) -> float:
        """Processor seconds that modules and commands have taken on the nodes so far."""
        for line in (self.group.path / "cpu.stat").read_text(encoding="ascii").splitlines():
            name, _unused, value = line.partition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
        raise BenchError(f"{self.group.path}/cpu.stat tells no usage")

    def require_upgraded(self, nodes: Sequence[dict[str, Any]]) -> None:
        """Every node would boot the new version, by its own files."""
        for node in nodes:
            path = Path(node["executable"]).parents[1] / "releases/start_erl.data"
            if path.read_text(encoding="ascii").split()[1:] != [runs.NEW]:
                raise BenchError(f"{node['name']} was not upgraded: {path}")


@contextlib.contextmanager
def simulation(sizes: Sequence[int]) -> Iterator[Simulated]:
    """Nodes in clusters of these sizes; gone at the end, however that comes about."""
    tree = subprocess.run([sys.executable, ROOT / "scripts/tree.py"], check=True, capture_output=True, text=True)
    folder = runs.WORK / "simulation"
    # Of one that was killed.
    shutil.rmtree(folder, ignore_errors=True)
    group = Group(cgroup.lab_root().parent / "emqx-fleet-bench").make()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(tree.stdout.strip()).parents[2]),
        "SIMULATION_GROUP": str(group.path),
    }
    # In a session of its own: what is interrupted here ends it, and not the terminal.
    process = subprocess.Popen(
        [sys.executable, "-m", SERVER, str(folder), *map(str, sizes)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError("the simulation did not begin; see above")
        told = json.loads(line)
        yield Simulated(folder, Path(told["package"]), told["nodes"], group)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.communicate()
        group.remove()


def clusters(nodes: int) -> list[int]:
    """Clusters of three; the last one has what is left."""
    return [3] * (nodes // 3) + ([nodes % 3] if nodes % 3 else [])


def against_documented(nodes: int, sample: int, forks: int) -> dict[str, Any]:
    """The whole run over so many nodes, and the documented steps over a sample of others, scaled to as many."""
    with simulation([*clusters(nodes), *clusters(sample)]) as simulated:
        all_nodes, sampled = simulated.nodes[:nodes], simulated.nodes[nodes:]
        name = f"load-{nodes}"
        inventory = simulated.inventory(name, all_nodes)
        mine = runs.ours(inventory, f"{name}-ours.log", forks=forks, package=simulated.package, settings=_SETTINGS)
        simulated.require_upgraded(all_nodes)
        inventory = simulated.inventory(f"{name}-sample", sampled)
        theirs = runs.documented(inventory, f"{name}-documented.log", forks=forks, package=simulated.package)
        simulated.require_upgraded(sampled)
    scaled = theirs.seconds * nodes / sample
    return {
        "nodes": nodes,
        "clusters": len(clusters(nodes)),
        "forks": forks,
        "simulated": True,
        "seconds": round(mine.seconds, 1),
        "documented_nodes": sample,
        "documented_seconds": round(theirs.seconds, 1),
        "documented_seconds_scaled": round(scaled, 1),
        "times_faster": round(scaled / mine.seconds, 2),
    }


def cost_of_a_node(small: int, large: int, forks: int) -> dict[str, Any]:
    """What a node costs the controller in a small run and in a large one, while the nodes of both are there."""
    result: dict[str, Any] = {"forks": forks, "simulated": True}
    with simulation([*clusters(small), *clusters(large)]) as simulated:
        parts = {"small": simulated.nodes[:small], "large": simulated.nodes[small:]}
        for name, nodes in parts.items():
            before = simulated.modules_cpu()
            inventory = simulated.inventory(f"cost-{name}", nodes)
            usage = runs.ours(
                inventory, f"cost-{len(nodes)}.log", forks=forks, package=simulated.package, settings=_SETTINGS
            )
            simulated.require_upgraded(nodes)
            result[name] = _cost(usage, simulated.modules_cpu() - before, nodes)
    for figure in ("controller_cpu_seconds_a_node", "peak_mib_a_node"):
        result[f"ratio_{figure}"] = round(result["large"][figure] / result["small"][figure], 3)
    return result


def _cost(usage: Usage, modules: float, nodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    controller = usage.cpu_seconds - modules
    mib = usage.peak_bytes / 1048576
    return {
        "nodes": len(nodes),
        "clusters": len({node["cluster"] for node in nodes}),
        "seconds": round(usage.seconds, 1),
        "controller_cpu_seconds": round(controller, 1),
        "controller_cpu_seconds_a_node": round(controller / len(nodes), 3),
        "modules_cpu_seconds_a_node": round(modules / len(nodes), 3),
        "peak_mib": round(mib, 1),
        "peak_mib_a_node": round(mib / len(nodes), 3),
    }
