# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What Ansible and SSH need to reach the hosts, written as files into the lab's folder.

Everything works from outside the lab's network: the ``ssh``, ``sftp`` and ``scp`` that the inventory names are
wrappers that step into it, so pipelining and persistent connections are as ever.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import net
from .host import Host, python_path

LOGIN = "ops"


def inventory(state: Path, hosts: Sequence[Host]) -> dict[str, Any]:
    """The inventory: group ``emqx`` with a group for each cluster below it, and ``no_broker`` for the rest."""
    every: dict[str, Any] = {}
    clusters: dict[str, Any] = {}
    alone: dict[str, Any] = {}
    without: dict[str, Any] = {}
    for host in hosts:
        spec = host.spec
        every[host.name] = {
            "ansible_host": host.address,
            "ansible_python_interpreter": python_path(spec),
            "lab_broker": spec.broker,
            **({} if spec.broker == "none" else _broker_vars(host)),
            **spec.vars,
        }
        if spec.broker == "none":
            without[host.name] = {}
        elif spec.cluster:
            clusters.setdefault(spec.cluster, {"hosts": {}})["hosts"][host.name] = {}
        else:
            alone[host.name] = {}
    children = {group_name(name, set(every)): group for name, group in clusters.items()}
    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(state / "key"),
                "ansible_ssh_executable": str(state / "ssh"),
                "ansible_sftp_executable": str(state / "sftp"),
                "ansible_scp_executable": str(state / "scp"),
                "ansible_control_path_dir": str(state / "cp"),
                "lab_login": LOGIN,
                "lab_state": str(state),
            },
            "hosts": every,
            "children": {
                "emqx": {"hosts": alone, "children": children},
                "no_broker": {"hosts": without},
            },
        }
    }


def group_name(cluster: str, taken: set[str]) -> str:
    """The group of a cluster: its name, made to be one that Ansible takes and nothing else has."""
    name = cluster.replace("-", "_")
    return f"cluster_{name}" if name in taken | {"all", "emqx", "no_broker", "ungrouped"} else name


def _broker_vars(host: Host) -> dict[str, Any]:
    return {
        "emqx_upgrade_executable": host.executable,
        "lab_cluster": host.spec.cluster,
        "lab_node": host.node,
        "lab_mqtt_port": host.spec.port,
    }


def write(state: Path, lab: str, hosts: Sequence[Host]) -> None:
    """Write the inventory, the SSH settings and the wrappers."""
    # JSON is YAML, and Ansible reads it as such by the file's name; so nothing here needs PyYAML.
    text = json.dumps(inventory(state, hosts), indent=2)
    (state / "inventory.yml").write_text(f"{text}\n", encoding="utf-8")
    (state / "cp").mkdir(mode=0o700, exist_ok=True)
    (state / "ssh_config").write_text(_ssh_config(state, hosts), encoding="utf-8")
    for program in ("ssh", "sftp", "scp"):
        wrapper = state / program
        line = net.inside(lab, [f"/usr/bin/{program}", "-F", str(state / "ssh_config")])
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(line)} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)


def _ssh_config(state: Path, hosts: Sequence[Host]) -> str:
    lines = [f"Host {host.name}\n  HostName {host.address}" for host in hosts]
    lines.append(
        "Host *\n"
        f"  IdentityFile {state}/key\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {state}/known_hosts\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        "  LogLevel ERROR\n"
        # A host that is cut off is given up within seconds; the default is to wait for as long as TCP does.
        "  ConnectTimeout 5\n"
        "  ServerAliveInterval 2\n"
        "  ServerAliveCountMax 3\n"
    )
    return "\n".join(lines)
