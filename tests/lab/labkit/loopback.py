# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Brokers on the loopback address, for machines where namespaces cannot be had: no hosts, no faults, no root.

Several brokers run side by side under one user, told apart by the number in their node name, which also decides their
ports. Ansible reaches them with the local connection, as hosts that differ in nothing but the ``emqx`` command.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .broker import find_package, set_keys, set_variables, unpacked
from .errors import LabError
from .fleet import HostSpec
from .procs import all_pids, read_process, run, wait_for

FIRST_NUMBER = 101
DISTRIBUTION_BASE = 4370
MQTT_BASE = 18830
COOKIE = "loopback-cookie"


@dataclass(frozen=True)
class Broker:
    """One broker: its number decides its node name and ports."""

    name: str
    number: int
    root_dir: Path

    @property
    def node(self) -> str:
        """The Erlang node name."""
        return f"emqx{self.number}@127.0.0.1"

    @property
    def port(self) -> int:
        """Where it speaks MQTT."""
        return MQTT_BASE + self.number

    @property
    def executable(self) -> Path:
        """Its ``emqx`` command."""
        return self.root_dir / "bin" / "emqx"


class Loopback:
    """The loopback variant of a lab, by its name. As a context manager it goes down at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = Path(tempfile.gettempdir()) / f"emqx-fleet-lab-{os.geteuid()}" / name
        self.brokers: list[Broker] = []

    @classmethod
    def up(cls, count: int, name: str = "fleet", version: str = "4.4.18") -> Loopback:
        """Start so many brokers as one cluster; what a run of this name left is cleared first."""
        if count < 1:
            raise LabError(f"{count} brokers were asked for; expected at least one", 2)
        package = find_package(HostSpec("loopback", version=version))
        lab = cls(name)
        with lab._locked():
            lab.clear()
            lab.state.mkdir(mode=0o700)
            source = unpacked(package, lab.state / "packages")
            lab.brokers = [
                Broker(f"n{place}", number, lab.state / f"n{place}" / "emqx")
                for place, number in zip(range(1, count + 1), _free_numbers(), strict=False)
            ]
            try:
                with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
                    list(pool.map(lambda broker: lab._start(broker, source), lab.brokers))
            except BaseException:
                lab.clear()
                raise
            lab._write_inventory()
        return lab

    @property
    def inventory(self) -> Path:
        """The inventory file for Ansible."""
        return self.state / "inventory.yml"

    def down(self) -> None:
        """Stop the brokers and remove their files."""
        with self._locked():
            self.clear()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.down()

    def processes(self) -> list[int]:
        """The processes of these brokers, found by the folder that their programs lie in."""
        found = []
        for pid in all_pids():
            process = read_process(pid)
            if not process or not process.argv:
                continue
            # A virtual machine calls itself by the name of its node; its programs are among its arguments.
            words = process.argv if process.comm == "beam.smp" else process.argv[:1]
            if any(word.startswith(f"{self.state}/") for word in words):
                found.append(pid)
        return found

    def clear(self) -> None:
        """End and remove what there is of it, however it came about."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not wait_for(lambda: not self.processes(), 10, 0.05):
            raise LabError(f"processes {self.processes()} are still there 10 s after SIGKILL")
        shutil.rmtree(self.state, ignore_errors=True)

    def _start(self, broker: Broker, source: Path) -> None:
        broker.root_dir.parent.mkdir()
        run(["cp", "-a", "--no-target-directory", str(source), str(broker.root_dir)])
        for folder in ("data", "log"):
            (broker.root_dir / folder).mkdir(exist_ok=True)
        seeds = ",".join(peer.node for peer in self.brokers)
        keys = {"node.name": broker.node, "node.cookie": COOKIE, "listener.tcp.external": f"127.0.0.1:{broker.port}"}
        keys |= {"cluster.discovery": "static", "cluster.static.seeds": seeds}
        set_keys(broker.root_dir / "etc" / "emqx.conf", keys)
        set_variables(broker.root_dir / "releases" / "emqx_vars", {"RUNNER_USER": ""})
        done = run([str(broker.executable), "start"], check=False, timeout=200)
        if done.returncode != 0:
            raise LabError(f"the broker {broker.name} did not start: {(done.stdout + done.stderr).strip()[-1500:]}")

    def _write_inventory(self) -> None:
        hosts = {
            broker.name: {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "emqx_upgrade_executable": str(broker.executable),
                "lab_node": broker.node,
                "lab_mqtt_host": "127.0.0.1",
                "lab_mqtt_port": broker.port,
            }
            for broker in self.brokers
        }
        data = {"all": {"children": {"emqx": {"hosts": hosts}}}}
        self.inventory.write_text(f"{json.dumps(data, indent=2)}\n", encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.state.parent.mkdir(mode=0o700, exist_ok=True)
        if self.state.parent.stat().st_uid != os.geteuid():
            raise LabError(f"{self.state.parent} belongs to another user; remove it or set TMPDIR", 2)
        with open(self.state.parent / f"{self.name}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _free_numbers() -> Iterator[int]:
    """Numbers whose ports nobody listens on."""
    for number in range(FIRST_NUMBER, FIRST_NUMBER + 900):
        if all(_is_free(base + number) for base in (DISTRIBUTION_BASE, MQTT_BASE)):
            yield number


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def nodes(name: str) -> list[str]:
    """The ``--node`` values of a swarm for a loopback lab; none if there is no such."""
    inventory = Loopback(name).inventory
    if not inventory.exists():
        return []
    hosts = json.loads(inventory.read_text(encoding="utf-8"))["all"]["children"]["emqx"]["hosts"]
    return [f"loopback/{host}=127.0.0.1:{data['lab_mqtt_port']}" for host, data in hosts.items()]


def down(name: str) -> bool:
    """Take a loopback lab of this name down, if there is one; whether there was."""
    lab = Loopback(name)
    if not lab.state.exists():
        return False
    lab.down()
    print(f"loopback lab {name}: down")
    return True


def up_command(name: str, count: int, version: str | None) -> int:
    """What ``lab up --loopback N`` does."""
    lab = Loopback.up(count, name, version or "4.4.18")
    names: Sequence[str] = [f"{broker.name} ({broker.node}, MQTT port {broker.port})" for broker in lab.brokers]
    print(f"loopback lab {name}: {', '.join(names)}\ninventory: {lab.inventory}")
    return 0
