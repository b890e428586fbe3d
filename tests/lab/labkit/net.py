# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The network: a bridge in a namespace of its own, and one namespace for each host.

There is no link between the bridge's namespace and the machine's, so nothing can leave the lab and two labs can use
the same addresses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import LabError
from .procs import run

NETNS_FOLDER = Path("/run/netns")
SUBNET = "10.99"
PREFIX_LENGTH = 16
CONTROLLER = f"{SUBNET}.0.1"
SWITCH = "switch"
MOST_HOSTS = 60_000


def namespace(lab: str, member: str) -> str:
    """The name of a namespace; the dots keep lab ``a`` from owning what belongs to lab ``a-b``."""
    return f"efl.{lab}.{member}"


def namespace_path(lab: str, member: str) -> str:
    """The file that stands for a namespace."""
    return str(NETNS_FOLDER / namespace(lab, member))


def namespaces(lab: str) -> list[str]:
    """The names of a lab's namespaces that exist, also those of a run that was killed."""
    if not NETNS_FOLDER.is_dir():
        return []
    return sorted(entry for entry in os.listdir(NETNS_FOLDER) if entry.startswith(f"efl.{lab}."))


def address(index: int) -> str:
    """The address of the host with this number, counted from 1."""
    if not 1 <= index <= MOST_HOSTS:
        raise LabError(f"host number {index} is outside 1 to {MOST_HOSTS}, which is what the lab's network holds", 2)
    number = index + 9
    return f"{SUBNET}.{number // 250}.{number % 250 + 1}"


def port(index: int) -> str:
    """The bridge's end of a host's link."""
    return f"port{index}"


def create(lab: str, hosts: Iterable[str]) -> None:
    """Make the bridge, and for each host a namespace with its end of a link, address set and up."""
    names = list(hosts)
    switch = namespace(lab, SWITCH)
    _batch([], [f"netns add {namespace(lab, name)}" for name in [SWITCH, *names]])
    wiring = ["link set lo up", "link add bridge type bridge", f"addr add {CONTROLLER}/{PREFIX_LENGTH} dev bridge"]
    wiring.append("link set bridge up")
    for index, name in enumerate(names, 1):
        wiring.append(f"link add {port(index)} type veth peer name eth0 netns {namespace(lab, name)}")
        wiring.append(f"link set {port(index)} master bridge up")
    _batch(["-n", switch], wiring)
    for index, name in enumerate(names, 1):
        lines = ["link set lo up", f"addr add {address(index)}/{PREFIX_LENGTH} dev eth0", "link set eth0 up"]
        _batch(["-n", namespace(lab, name)], lines)


def destroy(lab: str) -> None:
    """Remove a lab's namespaces, and with them every link and address; processes in them must be gone."""
    names = namespaces(lab)
    if names:
        _batch([], [f"netns del {name}" for name in names])


def inside(lab: str, argv: Iterable[str], member: str = SWITCH) -> list[str]:
    """The command that runs ``argv`` in the network of the bridge (or of a host), with the machine's files."""
    return ["nsenter", f"--net={namespace_path(lab, member)}", "--", *argv]


def _batch(options: list[str], lines: list[str]) -> None:
    run(["ip", *options, "-batch", "-"], text="\n".join(lines) + "\n")
