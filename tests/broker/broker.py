# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Test brokers from Python: build the packages, install a node somewhere, start it, call its commands."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / ".build" / "broker"
COOKIE = "emqxsecretcookie"
VERSION = re.compile(r"-(4\.\d+\.\d+)-")
# Where install_upgrade.escript unpacks; part of the contract.
UNTAR = Path("/tmp")
#: How long a command of another test is waited for.
OTHERS_SECONDS = 60


def build(out: Path = OUT) -> Path:
    """Make sure that the packages are there; costs nothing when they are."""
    subprocess.run([str(HERE / "build"), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return out


def folder_of(variant: str = "", out: Path = OUT) -> Path:
    """Where the packages of a variant are; without one, the plain ones."""
    return out / "variants" / variant if variant else out / "packages"


def package(version: str, variant: str = "", out: Path = OUT) -> Path:
    """The zip of a version; README.md lists the variants."""
    folder = folder_of(variant, out)
    found = sorted(p for p in folder.glob("emqx-*.zip") if f"-{version}-" in p.name)
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} packages of {version} in {folder}")
    return found[0]


def versions(variant: str = "", out: Path = OUT) -> list[str]:
    """The versions that a variant has packages of, ascending."""
    found = {match[1] for p in folder_of(variant, out).glob("emqx-*.zip") if (match := VERSION.search(p.name))}
    return sorted(found, key=lambda version: [int(number) for number in version.split(".")])


def unzip(source: Path, target: Path) -> None:
    """Like `unzip`: with the modes, which `zipfile` alone forgets."""
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, target))
            path.chmod((entry.external_attr >> 16) & 0o777)


class Broker:
    """A node in `<root>/emqx`.

    The digits in the node name make its distribution port (`emqx1@…` -> 4371): nodes on one address need different
    digits.
    """

    def __init__(
        self,
        root: Path | str,
        version: str = "4.4.18",
        node_name: str = "emqx@127.0.0.1",
        port: int = 1883,
        seeds: Sequence[str] = (),
        runner_user: str | None = None,
        listen_ip: str = "127.0.0.1",
        *,
        variant: str = "",
        out: Path = OUT,
        tls_port: int | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = Path(root) / "emqx"
        self.version, self.variant, self.out = version, variant, out
        self.node_name, self.port, self.listen_ip = node_name, port, listen_ip
        self.tls_port = tls_port
        self.seeds, self.runner_user = tuple(seeds), runner_user
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("EMQX_")} | dict(extra_env or {})
        self.calls: list[tuple[int, int]] = []

    def install(self) -> None:
        """Unpack the package and write the settings into etc/emqx.conf, where `su -` cannot lose them."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        unzip(package(self.version, self.variant, self.out), self.home.parent)
        self.configure()
        if self.runner_user is not None:
            variables = self.home / "releases" / "emqx_vars"
            text = variables.read_text()
            variables.write_text(
                re.sub(r'^RUNNER_USER=".*"', f'RUNNER_USER="{self.runner_user}"', text, flags=re.MULTILINE)
            )
            if os.getuid() == 0:
                subprocess.run(["chown", "-R", self.runner_user, str(self.home)], check=True)

    def configure(self) -> None:
        (self.home / "etc" / "emqx.conf").write_text(
            f"node.name = {self.node_name}\n"
            f"node.cookie = {COOKIE}\n"
            f"listener.tcp.external = {self.listen_ip}:{self.port}\n"
            f"listener.ssl.external = {f'{self.listen_ip}:{self.tls_port}' if self.tls_port else ''}\n"
            f"cluster.discovery = {'static' if self.seeds else 'manual'}\n"
            f"cluster.static.seeds = {','.join(self.seeds)}\n"
        )

    def provide(self, version: str, variant: str | None = None) -> Path:
        """Copy a package, of the node's own variant unless told, to where `emqx unpack` looks for it."""
        source = package(version, self.variant if variant is None else variant, self.out)
        target = self.home / "releases" / source.name
        shutil.copyfile(source, target)
        if self.runner_user and os.getuid() == 0:
            shutil.chown(target, self.runner_user)
        return target

    def package_name(self) -> str:
        """The name of the package that this node was installed from."""
        return package(self.version, self.variant, self.out).name

    @contextlib.contextmanager
    def using_tmp(self) -> Iterator[None]:
        """Remember which directories in /tmp a command may have left, for `clean_tmp`."""
        begun = time.time_ns()
        try:
            yield
        finally:
            self.calls.append((begun, time.time_ns()))

    def clean_tmp(self) -> None:
        """Remove what our commands left in /tmp: nothing of another time, nothing that a process works in.

        A command of another test may have made its own at the same time, and is in none of them all the while.
        """
        deadline = time.monotonic() + OTHERS_SECONDS
        while self._others_work() and time.monotonic() < deadline:
            time.sleep(0.1)
        in_use = set()
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                in_use.add(link.readlink())
        for path in UNTAR.glob("emqx_untar_*"):
            number = path.name.removeprefix("emqx_untar_")
            ours = number.isdigit() and any(begun <= int(number) <= ended for begun, ended in self.calls)
            if ours and not any(path == p or path in p.parents for p in in_use):
                shutil.rmtree(path, ignore_errors=True)

    def _others_work(self) -> bool:
        """Whether a command that unpacks is at work in this very /tmp for another broker."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes()
                if b"install_upgrade.escript" in words and str(self.home).encode() not in words:
                    here = Path("/proc/self/ns/mnt").readlink()
                    if (process / "ns/mnt").readlink() == here:
                        return True
        return False

    def emqx(self, *args: str, timeout: float = 330) -> subprocess.CompletedProcess[str]:
        return self._run("emqx", args, timeout)

    def ctl(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self._run("emqx_ctl", args, timeout)

    def _run(self, program: str, args: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        with self.using_tmp():
            return subprocess.run(
                [str(self.home / "bin" / program), *args],
                env=self.env,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
            )

    def start(self) -> None:
        result = self.emqx("start")
        if result.returncode:
            log = self.home / "log" / "erlang.log.1"
            tail = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
            raise RuntimeError(f"{self.node_name} did not start: {result.stdout}{result.stderr}{tail}")

    def stop(self) -> None:
        self.emqx("stop")

    def pids(self) -> list[int]:
        """Processes of this installation, without asking it: also when it hangs, or its commands are broken."""
        mark = f"{self.home}/erts-".encode()
        own = f"-root_dir\0{self.home}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes()
                if mark in line or own in line:
                    found.append(int(path.parent.name))
        return sorted(found)

    def kill(self, timeout: float = 10) -> None:
        """End everything of this installation, whatever state it is in."""
        deadline = time.monotonic() + timeout
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def fault(self, name: str, argument: str = "") -> Path:
        """Switch a fault on; remove the file to switch it off. README.md lists them."""
        path = self.home / "data" / "faults" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(argument)
        return path

    def __enter__(self) -> Broker:
        self.install()
        self.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.kill()
        self.clean_tmp()
