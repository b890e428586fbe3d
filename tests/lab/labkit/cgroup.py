# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Control groups (version 2): who belongs to a lab, frozen and killed as one.

Membership is inherited and cannot be left, so a group knows every process of a host, also those of a run that was
killed half-way and wrote nothing down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .errors import LabError
from .procs import wait_for

ROOT_NAME = "emqx-fleet-lab"


def mount_point() -> Path:
    """Where the version 2 hierarchy is mounted (alone, or beside version 1)."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return Path(fields[1])
    raise LabError(
        "no cgroup2 file system is mounted, and the lab needs one to freeze and to clear hosts; "
        "mount -t cgroup2 none /sys/fs/cgroup/unified",
        2,
    )


def lab_root() -> Path:
    """The group under which every lab has its own; made if it is missing."""
    root = mount_point() / ROOT_NAME
    root.mkdir(exist_ok=True)
    return root


def legacy_group(lab: str) -> Group | None:
    """The lab's group in systemd's own version 1 hierarchy, where the machine has one; its systemd hosts need it."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup" and "name=systemd" in fields[3].split(","):
                return Group(Path(fields[1]) / ROOT_NAME / lab)
    return None


class Group:
    """One control group; the object may outlive the group."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> Group:
        """Make the group if it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def child(self, name: str) -> Group:
        """The group of this name inside this one."""
        return Group(self.path / name)

    def pids(self) -> list[int]:
        """The processes in this group and in those below it."""
        found: list[int] = []
        for folder, _unused, _unused in os.walk(self.path):
            try:
                with open(f"{folder}/cgroup.procs", encoding="ascii") as procs:
                    found += [int(line) for line in procs]
            except OSError:
                continue
        return sorted(pid for pid in found if pid > 0)

    def first_process(self) -> int | None:
        """The process that is number 1 in its own process tree, by its number on the machine."""
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
                    numbers = next((line.split()[1:] for line in status if line.startswith("NSpid:")), [])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if len(numbers) > 1 and numbers[-1] == "1":
                return pid
        return None

    def freeze(self, frozen: bool) -> None:
        """Stop every process where it is, or let all go on; returns when it is so."""
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0", encoding="ascii")
        if not wait_for(lambda: self.is_frozen() == frozen, 10):
            raise LabError(f"{self.path} did not {'freeze' if frozen else 'thaw'} within 10 s")

    def is_frozen(self) -> bool:
        """Whether every process in it is stopped."""
        return dict(self._events()).get("frozen") == "1"

    def populated(self) -> bool:
        """Whether a process is left in it."""
        return self.path.exists() and dict(self._events()).get("populated") == "1"

    def kill(self) -> None:
        """SIGKILL for every process in it, frozen ones as well; returns when all are gone."""
        if not self.path.exists():
            return
        (self.path / "cgroup.kill").write_text("1", encoding="ascii")
        if not wait_for(lambda: not self.populated(), 30):
            raise LabError(f"processes {self.pids()} are still there 30 s after SIGKILL; look at {self.path}")

    def remove(self) -> None:
        """Kill what is left in it and remove it with those below it."""
        if (self.path / "cgroup.kill").exists():  # not in version 1, where the processes are the same ones
            self.kill()
        for folder, _unused, _unused in os.walk(self.path, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue

    def _events(self) -> Iterator[tuple[str, str]]:
        try:
            text = (self.path / "cgroup.events").read_text(encoding="ascii")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            key, _unused, value = line.partition(" ")
            yield key, value
