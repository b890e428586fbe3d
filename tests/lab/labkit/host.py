# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One host of a lab: what it is, and what can be done in it from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import cgroup, net
from .cgroup import Group
from .errors import LabError
from .fleet import HostSpec
from .procs import Process, read_process, run, spawn, wait_for

if TYPE_CHECKING:
    from .lab import Lab

HERE = Path(__file__).resolve().parent

# What a host may not do, since it would reach the machine: its clock, its kernel's settings and log,
# its devices, its mounts.
DROPPED_CAPABILITIES = ",".join(
    f"-{name}"
    for name in (
        "sys_admin",
        "sys_time",
        "sys_module",
        "sys_rawio",
        "sys_boot",
        "sys_pacct",
        "sys_tty_config",
        "syslog",
        "mknod",
        "wake_alarm",
        "block_suspend",
        "audit_control",
        "mac_admin",
        "mac_override",
        "linux_immutable",
    )
)


class Host:
    """A host of a running lab."""

    def __init__(self, lab: Lab, spec: HostSpec, index: int) -> None:
        self.lab = lab
        self.spec = spec
        self.name = spec.name
        self.index = index
        self.address = net.address(index)
        self.group = Group(lab.group.path / "hosts" / spec.name)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    @property
    def node(self) -> str:
        """The Erlang node name of its broker."""
        return f"emqx@{self.address}"

    @property
    def root_dir(self) -> str:
        """Where its broker is installed, whether or not it is."""
        return "/usr/lib/emqx" if self.spec.layout == "package" else "/opt/emqx"

    @property
    def executable(self) -> str:
        """The path of its ``emqx`` command."""
        return f"{self.root_dir}/bin/emqx"

    @property
    def disk(self) -> Path:
        """The folder of its file systems; only those in the mount namespace that holds them see what is there."""
        return self.lab.state / "disks" / self.name

    def start(self) -> None:
        """Switch it on; returns at once. Its disks are as it left them."""
        self.group.make()
        python = str(python_prefix(self.spec.python)) if self.spec.python else ""
        (self.lab.state / "log").mkdir(exist_ok=True)
        systemd = self.spec.init == "systemd"
        argv = [str(HERE / "enter.sh"), str(self.group.path)]
        legacy = cgroup.legacy_group(self.lab.name) if systemd else None
        if legacy:
            argv += [str(HERE / "enter.sh"), str(legacy.child(self.name).make().path)]
        # The network first: the mount namespace of the disks is older than the file that stands for the network.
        argv += ["nsenter", f"--net={net.namespace_path(self.lab.name, self.name)}"]
        argv += [f"--mount=/proc/{self.lab.keeper_pid()}/ns/mnt", "--", "unshare", "--mount"]
        if not systemd:
            argv += ["--uts", "--ipc", "--pid", "--cgroup", "--fork"]
        argv += [str(HERE / "init.sh"), self.name, str(self.lab.state), python]
        if systemd:
            argv.append("/proc/self/ns/net")
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LAB_DROPPED": DROPPED_CAPABILITIES}
        spawn(argv, self.lab.state / "log" / f"{self.name}.log", environment)

    def stop(self) -> None:
        """Cut its power: every process gone at once, nothing written back. Its disks stay."""
        self.group.kill()

    def first_process(self) -> int:
        """Its process number 1, by its number on the machine."""
        pid = self.group.first_process()
        if pid is None:
            raise LabError(f"host {self.name} is not running; start it with: lab fault undo {self.name}")
        return pid

    def processes(self) -> list[Process]:
        """All that runs on it."""
        return [process for process in map(read_process, self.group.pids()) if process is not None]

    def command(self, argv: Sequence[str], *, user: str = "root", privileged: bool = False) -> list[str]:
        """The command on the machine that runs ``argv`` on the host.

        :param privileged: with the machine's own powers, as faults need them; never for what a host does itself.
        """
        pid = self.first_process()
        line = [str(HERE / "enter.sh"), str(self.group.path), "nsenter", "-t", str(pid)]
        line += ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"]
        home = "/root" if user == "root" else f"/home/{user}"
        line += ["env", "-i", f"HOME={home}", f"USER={user}", "LANG=C.UTF-8"]
        line += ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        if not privileged:
            line += ["setpriv", "--bounding-set", DROPPED_CAPABILITIES, "--inh-caps", DROPPED_CAPABILITIES]
        if user != "root":
            line += ["runuser", "-u", user, "--"]
        return line + list(argv)

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        text: str | None = None,
        check: bool = True,
        timeout: float | None = 60,
        privileged: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host and return it with its output; see :func:`labkit.procs.run`."""
        return run(self.command(argv, user=user, privileged=privileged), text=text, check=check, timeout=timeout)

    def path(self, inside: str) -> Path:
        """Where the machine sees a path of the host. Absolute symbolic links on the way are the machine's then."""
        return Path(f"/proc/{self.first_process()}/root") / inside.lstrip("/")

    def put(self, source: str | Path, target: str) -> None:
        """Copy a file or a folder of the machine to the host, with modes; ``target`` is its full new name."""
        destination = self.path(target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if Path(source).is_dir():
            run(["cp", "-a", "--no-target-directory", str(source), str(destination)])
        else:
            shutil.copy2(source, destination)

    def get(self, inside: str, target: str | Path) -> None:
        """Copy a file of the host to the machine."""
        shutil.copy2(self.path(inside), target)

    def read(self, inside: str) -> str:
        """The text of a file on the host."""
        return self.path(inside).read_text(encoding="utf-8", errors="replace")

    def write(self, inside: str, text: str) -> None:
        """Write a text file on the host, as root."""
        destination = self.path(inside)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(text, encoding="utf-8")

    def log(self) -> str:
        """What its first process said on the way up."""
        path = self.lab.state / "log" / f"{self.name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_up(self, seconds: float = 30) -> None:
        """Wait until it answers on its SSH port."""
        wait_for_ports(self.lab.name, [self], 22, seconds)


def wait_for_ports(lab: str, hosts: Sequence[Host], port: int, seconds: float) -> None:
    """Wait until each host accepts connections on a port, seen from the bridge.

    :raises LabError: naming the hosts that do not, with what their first process said.
    """
    wanted = [host.address for host in hosts]
    argv = net.inside(
        lab, ["/usr/bin/python3", "-S", "-E", str(HERE / "waitport.py"), str(port), str(seconds), *wanted]
    )
    silent = run(argv, check=False, timeout=seconds + 30).stdout.split()
    late = [host for host in hosts if host.address in silent]
    if late:
        said = "\n".join(
            f"{host.name}: {host.log().strip()[-600:] or 'its first process said nothing'}" for host in late[:3]
        )
        names = ", ".join(host.name for host in late)
        raise LabError(f"no answer on port {port} within {seconds:g} s from {names}\n{said}")


def wait_gone(host: Host, pids: Sequence[int], seconds: float = 10) -> bool:
    """Wait until these processes are gone from a host (a zombie is gone)."""

    def alive() -> bool:
        return any((found := read_process(pid)) is not None and found.state != "Z" for pid in pids)

    return wait_for(lambda: not alive(), seconds)


def python_prefix(version: str) -> Path:
    """The folder of an interpreter of this version (``3.6``), to be shown to a host.

    :raises LabError: with those that were found.
    """
    base = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(base.glob("[0-9]*")) if base.is_dir() else []
    for prefix in reversed(found):
        if (prefix.name == version or prefix.name.startswith(f"{version}.")) and (prefix / "bin" / "python").exists():
            return prefix
    have = ", ".join(prefix.name for prefix in found) or "none"
    raise LabError(
        f"no Python {version} was found under {base} (there: {have}); install it with pyenv or choose another", 2
    )


def python_path(spec: HostSpec) -> str:
    """The interpreter that the inventory names for a host, by its path there."""
    if not spec.python:
        return "/usr/bin/python3"
    major = python_prefix(spec.python).name.rsplit(".", 1)[0]
    return f"/usr/local/lib/lab-python/bin/python{major}"
