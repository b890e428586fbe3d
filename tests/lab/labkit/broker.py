# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Brokers on the hosts: installed from the test broker's packages, set up as a cluster, started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import LabError
from .fleet import HostSpec
from .host import HERE, Host, wait_for_ports
from .procs import run, wait_for

REPOSITORY = HERE.parents[2]
PACKAGES = Path(".build/broker/packages")
EDITION_PREFIX = {"ce": "emqx-", "ee": "emqx-ee-", "edge": "emqx-edge-"}

# Several hosts may want the same package at the same time.
UNPACKING = threading.Lock()

UNIT = """\
[Unit]
Description=emqx daemon
After=network.target

[Service]
User={user}
Group={user}
Type=forking
Environment=HOME={home}
WorkingDirectory={home}
LimitNOFILE=1048576
ExecStart={executable} start
ExecStop={executable} stop
TimeoutStartSec=180
Restart=no

[Install]
WantedBy=multi-user.target
"""


def packages_folder() -> Path:
    """Where the built packages are; EMQX_LAB_PACKAGES names another place."""
    return Path(os.environ.get("EMQX_LAB_PACKAGES") or REPOSITORY / PACKAGES)


def find_package(spec: HostSpec) -> Path:
    """The package that a host gets.

    One built for the host's platform if there is one, else one of the same version and edition for any.

    :raises LabError: with those that there are.
    """
    folder = packages_folder()
    # The builder keeps what shall not lie beside the plain packages in folders of their own, editions among them.
    variants = folder.parent / "variants"
    have = sorted(folder.glob("emqx-*.zip")) + sorted((variants / spec.edition).glob("emqx-*.zip"))
    if spec.package:
        fitting = [path for path in [*have, *sorted(variants.glob("*/*.zip"))] if _is_called(path, spec)]
    else:
        start = re.compile(
            rf"{re.escape(EDITION_PREFIX[spec.edition])}{re.escape(spec.version)}-otp{re.escape(spec.otp)}"
        )
        fitting = [path for path in have if start.match(path.name)]
        words = [word for word in (spec.platform, spec.arch) if word]
        fitting.sort(key=lambda path: -sum(word in re.split(r"[-]|\.zip", path.name) for word in words))
    if not fitting:
        wanted = spec.package or f"{EDITION_PREFIX[spec.edition]}{spec.version}-otp{spec.otp or '*'}-*.zip"
        names = ", ".join(path.name for path in have) or "no packages"
        raise LabError(
            f"host {spec.name} shall have {wanted}, and {folder} has {names}; build it with tests/broker/build"
        )
    return fitting[0]


def _is_called(package: Path, spec: HostSpec) -> bool:
    """Whether a fleet file means this package: its name, also with its folder, or a variant for the host's version."""
    variant = package.parent.name
    return spec.package in (package.name, f"{variant}/{package.name}") or (
        spec.package == variant and f"-{spec.version}-" in package.name
    )


def unpacked(package: Path, cache: Path) -> Path:
    """The folder ``emqx`` of a package, unpacked once for all hosts of a lab."""
    target = cache / package.parent.name / package.stem
    with UNPACKING:
        _unpack(package, target)
    return target / "emqx"


def _unpack(package: Path, target: Path) -> None:
    if not target.is_dir():
        half = target.with_name(f"{target.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        with zipfile.ZipFile(package) as archive:
            for member in archive.infolist():
                made = half / member.filename
                mode = member.external_attr >> 16
                if mode & 0o170000 == 0o120000:
                    made.parent.mkdir(parents=True, exist_ok=True)
                    made.symlink_to(archive.read(member).decode())
                else:
                    archive.extract(member, half)
                    if mode & 0o777:
                        made.chmod(mode & 0o777)
        half.rename(target)


def install_all(hosts: Sequence[Host], workers: int | None = None) -> None:
    """Install, and where wanted start, the brokers of these hosts, a few at a time: a start costs seconds of CPU."""
    brokers = [host for host in hosts if host.spec.broker != "none"]
    if not brokers:
        return
    for host in brokers:  # all that is missing is told before anything is copied
        find_package(host.spec)
    for package in sorted({find_package(host.spec) for host in brokers}):
        unpacked(package, brokers[0].lab.state / "packages")
    _each(install, brokers, workers)
    running = [host for host in brokers if host.spec.broker == "running"]
    _each(start, running, workers)
    for port in sorted({host.spec.port for host in running}):
        wait_for_ports(brokers[0].lab.name, [host for host in running if host.spec.port == port], port, 30)
    _wait_for_clusters(running)


def install(host: Host) -> None:
    """Put the broker on its host, with its settings."""
    spec = host.spec
    source = unpacked(find_package(spec), host.lab.state / "packages")
    host.put(source, host.root_dir)
    folders = {"etc": f"{host.root_dir}/etc", "data": f"{host.root_dir}/data", "log": f"{host.root_dir}/log"}
    if spec.layout == "package":
        folders = {"etc": "/etc/emqx", "data": "/var/lib/emqx", "log": "/var/log/emqx"}
        for name, folder in folders.items():
            own = host.path(f"{host.root_dir}/{name}")
            if own.is_dir():
                host.put(own, folder)
                shutil.rmtree(own)
            host.path(folder).mkdir(parents=True, exist_ok=True)
        links = {f"/usr/bin/{command}": f"{host.root_dir}/bin/{command}" for command in ("emqx", "emqx_ctl")}
        # The test broker's own log goes to the folder `log` beside its data folder.
        links["/var/lib/log"] = folders["log"]
        for name, target in links.items():
            link = host.path(name)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    for folder in (folders["data"], folders["log"]):
        host.path(folder).mkdir(parents=True, exist_ok=True)
    set_keys(
        host.path(f"{folders['etc']}/emqx.conf"),
        {
            "node.name": host.node,
            "node.cookie": spec.cookie,
            "listener.tcp.external": f"0.0.0.0:{spec.port}",
            "cluster.discovery": "static",
            "cluster.static.seeds": ",".join(_seeds(host)),
        },
    )
    variables: dict[str, str] = {}
    if spec.layout == "package":
        variables |= {
            "RUNNER_BIN_DIR": "/usr/bin",
            "RUNNER_LIB_DIR": f"{host.root_dir}/lib",
            "RUNNER_ETC_DIR": folders["etc"],
            "RUNNER_DATA_DIR": folders["data"],
            "RUNNER_LOG_DIR": folders["log"],
        }
        if "RUNNER_ROOT_DIR=" in host.read(f"{host.root_dir}/releases/emqx_vars"):
            variables["RUNNER_ROOT_DIR"] = host.root_dir
    if spec.runner_user:
        variables["RUNNER_USER"] = spec.runner_user
    if variables:
        set_variables(host.path(f"{host.root_dir}/releases/emqx_vars"), variables)
    if spec.platform:
        _relabel(host)
    if spec.runner_user and spec.runner_user != "root":
        host.exec(["chown", "-R", f"{spec.runner_user}:", host.root_dir, *folders.values()])
    if spec.init == "systemd":
        user = spec.runner_user or "root"
        home = "/root" if user == "root" else f"/home/{user}"
        unit = UNIT.format(user=user, home=home, executable=host.executable)
        host.write("/etc/systemd/system/emqx.service", unit)
        host.exec(["systemctl", "daemon-reload"])


def start(host: Host) -> None:
    """Start a broker and wait until it says that it is started."""
    if host.spec.init == "systemd":
        done = host.exec(["systemctl", "start", "emqx"], check=False, timeout=200)
    else:
        done = host.exec([host.executable, "start"], check=False, timeout=200)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise LabError(f"the broker on {host.name} did not start (exit code {done.returncode}): {said}")


def stop(host: Host) -> None:
    """Stop a broker in good order."""
    host.exec(["systemctl", "stop", "emqx"] if host.spec.init == "systemd" else [host.executable, "stop"], timeout=120)


def set_keys(path: Path, keys: dict[str, str]) -> None:
    """Set ``key = value`` lines of an ``emqx.conf``; what stood there for the key goes away."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in keys]
    path.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in keys.items())]) + "\n", encoding="utf-8")


def set_variables(path: Path, variables: dict[str, str]) -> None:
    """Set shell assignments of ``releases/emqx_vars``, where they stand or at its end."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, value in variables.items():
        fresh = f'{name}="{value}"'
        at = [number for number, line in enumerate(lines) if re.match(rf"(export\s+)?{name}=", line)]
        if at:
            lines[at[-1]] = fresh
        else:
            lines.append(fresh)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _seeds(host: Host) -> list[str]:
    if not host.spec.seed or not host.spec.cluster:
        return [host.node]
    peers = [
        peer
        for peer in host.lab.hosts.values()
        if peer.spec.cluster == host.spec.cluster and peer.spec.broker != "none" and peer.spec.seed
    ]
    return [peer.node for peer in peers]


def _relabel(host: Host) -> None:
    """Let the release say that it was built for another platform, as far as its files tell.

    The text is OTP version, triple, word size, and platform.
    """
    triples = {"amd64": "x86_64-pc-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
    built_on = host.path(f"{host.root_dir}/releases/{host.spec.version}/BUILT_ON")
    if not built_on.exists():
        return
    otp, _unused, rest = built_on.read_text(encoding="utf-8").strip().partition("-")
    triple = triples.get(host.spec.arch) or rest.rpartition("-")[0].removesuffix("-64")
    built_on.write_text(f"{otp}-{triple}-64-{host.spec.platform}\n", encoding="utf-8")


def _wait_for_clusters(hosts: Sequence[Host]) -> None:
    """Wait until the nodes of each cluster see each other.

    :raises LabError: with what the first node of a cluster that does not form says.
    """
    clusters: dict[str, list[Host]] = {}
    for host in hosts:
        if host.spec.cluster and host.spec.seed:
            clusters.setdefault(host.spec.cluster, []).append(host)
    for name, members in clusters.items():
        said = ""

        def formed(members: list[Host] = members) -> bool:
            nonlocal said
            said = members[0].exec([f"{members[0].root_dir}/bin/emqx_ctl", "cluster", "status"], check=False).stdout
            running = said.partition("stopped_nodes")[0]
            return all(f"'{member.node}'" in running for member in members)

        if len(members) > 1 and not wait_for(formed, 60, 0.5):
            wanted = ", ".join(member.node for member in members)
            raise LabError(
                f"cluster {name} did not form within 60 s; expected {wanted}; {members[0].node} says:\n{said}"
            )


def _each(do: Callable[[Host], None], hosts: Iterable[Host], workers: int | None) -> None:
    with ThreadPoolExecutor(workers or 2 * (os.cpu_count() or 1)) as pool:
        for _unused in pool.map(do, hosts):
            pass


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Build the test broker's packages (cached)."""
    return run([str(REPOSITORY / "tests" / "broker" / "build"), *arguments], timeout=600)
