# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The lab as a whole: up, down, and what is left of a run that was killed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from . import cgroup, inventory, net
from .accounts import write_accounts
from .cgroup import Group
from .errors import LabError
from .fleet import Fleet, simple_fleet
from .host import HERE, Host, wait_for_ports
from .procs import ancestry, in_network_namespaces, run, spawn, wait_for

STATES = Path("/run/emqx-fleet-lab")
DEFAULT_NAME = "fleet"
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
TOOLS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "sudo": "sudo",
}


class Lab:
    """A lab by its name, up or not. As a context manager it goes down at the end."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        if not LAB_NAME.fullmatch(name):
            raise LabError(f"{name!r} is not a name for a lab; expected lower case letters, digits and hyphens", 2)
        require_root()
        self.name = name
        self.state = STATES / name
        self.group = Group(cgroup.lab_root() / name)
        self.fleet = Fleet(())
        self.hosts: dict[str, Host] = {}
        self.complete = False
        self._read()

    @classmethod
    def up(cls, fleet: Fleet | int, name: str = DEFAULT_NAME, *, brokers: bool = True, replace: bool = False) -> Lab:
        """Bring a lab up and return it when every host answers and every broker that shall run does.

        What an earlier run of this name left half done is cleared first.

        :param fleet: the fleet, or the number of hosts without brokers.
        :param brokers: false leaves the hosts bare.
        :param replace: take a lab of this name down if there is one; without it that is an error.
        """
        if isinstance(fleet, int):
            fleet = simple_fleet(fleet)
        lab = cls(name)
        with lab.locked():
            lab._read()
            if lab.is_up() and not replace:
                raise LabError(
                    f"lab {name} is up with {len(lab.hosts)} hosts; "
                    f"take it down first (lab --name {name} down) or use another --name"
                )
            lab.clear()
            try:
                lab._build(fleet)
                if brokers:
                    from . import broker  # only a fleet with brokers needs the test broker

                    broker.install_all(list(lab.hosts.values()))
                lab._write(complete=True)
            except BaseException:
                if not os.environ.get("LAB_KEEP_FAILED"):
                    lab.clear()
                raise
        return lab

    def down(self) -> None:
        """Take the lab down, however far it came; nothing of it is left then."""
        with self.locked():
            self.clear()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def host(self, name: str) -> Host:
        """The host of this name."""
        try:
            return self.hosts[name]
        except KeyError:
            have = ", ".join(self.hosts) or "none; bring it up first: lab up N"
            raise LabError(f"lab {self.name} has no host {name}; it has {have}") from None

    @property
    def inventory(self) -> Path:
        """The inventory file for Ansible."""
        return self.state / "inventory.yml"

    def is_up(self) -> bool:
        """Whether it came up completely and its processes are still there."""
        return self.complete and self._keeper().populated()

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs ``argv`` in the network of the bridge, with the machine's files."""
        return net.inside(self.name, argv)

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the network of the bridge and return it with its output."""
        return run(self.command(argv), check=check, timeout=timeout)

    def ssh(
        self, host: str, argv: Sequence[str], *, user: str = "root", check: bool = True, timeout: float | None = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host over SSH, as Ansible would; the words arrive there as they are here."""
        return run(
            [str(self.state / "ssh"), "-l", user, self.host(host).name, "--", shlex.join(argv)],
            check=check,
            timeout=timeout,
        )

    def keeper_pid(self) -> int:
        """The process that holds the hosts' disks."""
        pids = self._keeper().pids()
        if not pids:
            raise LabError(f"lab {self.name} is not up; bring it up first: lab up N")
        return pids[0]

    @contextmanager
    def locked(self, seconds: float = 120) -> Iterator[None]:
        """Hold the lab's lock, which dies with this process; ups and downs of one name wait for each other."""
        STATES.mkdir(mode=0o755, exist_ok=True)
        path = STATES / f"{self.name}.lock"
        end = time.monotonic() + seconds
        while (lock := self._try_lock(path)) is None:
            if time.monotonic() > end:
                holder = path.read_text(encoding="ascii").strip() if path.exists() else "?"
                raise LabError(
                    f"lab {self.name} has been locked for {seconds:g} s by process {holder}; wait for it or end it"
                )
            time.sleep(0.05)
        with lock:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                yield
            finally:
                if not self.state.exists():
                    path.unlink(missing_ok=True)

    @staticmethod
    def _try_lock(path: Path) -> IO[str] | None:
        """The locked file, or null if another has it, or has just removed it with the lab that it was for."""
        lock = open(path, "a+", encoding="ascii")  # noqa: SIM115 -- the caller closes it, and so gives the lock back
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass
        lock.close()
        return None

    def leftovers(self) -> list[str]:
        """What there is of this lab on the machine: empty when it is down."""
        found = [f"network namespace {name}" for name in net.namespaces(self.name)]
        found += [f"process {pid}" for pid in self.group.pids()]
        found += [f"control group {self.group.path}"] if self.group.path.exists() else []
        legacy = cgroup.legacy_group(self.name)
        found += [f"control group {legacy.path}"] if legacy and legacy.path.exists() else []
        found += [f"folder {self.state}"] if self.state.exists() else []
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            found += [f"mount {line.split()[4]}" for line in mounts if line.split()[4].startswith(f"{self.state}/")]
        return found

    def clear(self) -> None:
        """Remove all there is of this lab, found by what the machine says and not by what was written down."""
        self.group.kill()
        self._end_visitors()
        net.destroy(self.name)
        self.group.remove()
        legacy = cgroup.legacy_group(self.name)
        if legacy:
            legacy.remove()
        for folder in (self.state, self.state.parent / f"{self.name}.old"):
            shutil.rmtree(folder, ignore_errors=True)
        self.hosts, self.fleet, self.complete = {}, Fleet(()), False

    def _end_visitors(self) -> None:
        """End who still uses the lab's network from outside its groups: persistent SSH connections, clients."""
        paths = [str(net.NETNS_FOLDER / name) for name in net.namespaces(self.name)]
        ours = ancestry(os.getpid())

        def left() -> set[int]:
            return in_network_namespaces(paths) - ours

        for pid in left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_for(lambda: not left(), 5, 0.05)

    def _build(self, fleet: Fleet) -> None:
        missing = {
            package
            for tool, package in TOOLS.items()
            if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        }
        if missing:
            raise LabError(
                f"the lab needs packages that are not installed: apt-get install {' '.join(sorted(missing))}", 2
            )
        self.fleet = fleet
        self.hosts = {spec.name: Host(self, spec, index) for index, spec in enumerate(fleet.hosts, 1)}
        self.state.mkdir(parents=True, mode=0o755)
        (self.state / "disks").mkdir(mode=0o700)
        self.group.make()
        self._write(complete=False)
        self._make_keys()
        addresses = {host.name: host.address for host in self.hosts.values()}
        write_accounts(self.state, addresses)
        inventory.write(self.state, self.name, list(self.hosts.values()))
        self._start_keeper()
        net.create(self.name, self.hosts)
        for host in self.hosts.values():
            host.start()
        wait_for_ports(self.name, list(self.hosts.values()), 22, 30 + len(self.hosts))

    def _make_keys(self) -> None:
        for key in ("key", "host_key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.name}", "-f", str(self.state / key)])
        public = (self.state / "host_key.pub").read_text(encoding="ascii")
        (self.state / "known_hosts").write_text(f"* {public}", encoding="ascii")

    def _start_keeper(self) -> None:
        """Start the process whose mount namespace holds the hosts' disks."""
        lines = []
        for host in self.hosts.values():
            for name, size in host.spec.sizes.items():
                target = host.disk / name
                target.mkdir(parents=True)
                mode = "1777" if name == "tmp" else "755"
                lines.append(f"lab-{name} {target} tmpfs size={size},mode={mode} 0 0\n")
        fstab, ready, log = self.state / "fstab", self.state / "keeper.ready", self.state / "keeper.log"
        (self.state / "mnt").mkdir()
        fstab.write_text("".join(lines), encoding="utf-8")
        argv = [
            str(HERE / "enter.sh"),
            str(self._keeper().make().path),
            "unshare",
            "--mount",
            str(HERE / "disks.sh"),
            str(fstab),
            str(ready),
        ]
        spawn(argv, log)
        if not wait_for(ready.exists, 30):
            raise LabError(
                f"the hosts' disks could not be mounted:\n{log.read_text(encoding='utf-8', errors='replace')}"
            )

    def _keeper(self) -> Group:
        return self.group.child("keeper")

    def _write(self, *, complete: bool) -> None:
        self.complete = complete
        data = {"name": self.name, "complete": complete, "fleet": self.fleet.as_dict()}
        fresh = self.state / "lab.json.new"
        fresh.write_text(json.dumps(data, indent=2), encoding="utf-8")
        fresh.replace(self.state / "lab.json")

    def _read(self) -> None:
        try:
            data = json.loads((self.state / "lab.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        self.fleet = Fleet.from_dict(data["fleet"])
        self.hosts = {spec.name: Host(self, spec, index) for index, spec in enumerate(self.fleet.hosts, 1)}
        self.complete = bool(data["complete"])


def require_root() -> None:
    """Say at once if the lab cannot be had here.

    :raises LabError: with exit code 2, naming what can be had instead.
    """
    if sys.platform != "linux":
        raise LabError(f"the lab is made of Linux namespaces and this is {sys.platform}; use: lab up --loopback N", 2)
    if os.geteuid() != 0:
        raise LabError(
            f"the lab makes namespaces and mounts and needs root; this is user id {os.geteuid()}. "
            "Run it with sudo, or use brokers on the loopback address, without hosts and faults: lab up --loopback N",
            2,
        )


def labs() -> list[str]:
    """The names of the labs of which there is anything on this machine."""
    names = {entry.name for entry in STATES.iterdir() if entry.is_dir()} if STATES.is_dir() else set()
    if os.geteuid() == 0:
        names |= {entry.name for entry in cgroup.lab_root().iterdir() if entry.is_dir()}
    return sorted(names)
