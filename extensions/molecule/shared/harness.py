# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A molecule scenario's fleet: the lab's hosts, clients on all of them, playbooks against them, and what became of all.

What is asserted never comes from the collection: the clients count for themselves, and versions and files are read from
the hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests import deprecations  # noqa: E402 -- the tests are no installed package
from tests.lab.labkit import Faults, Host, Lab, parse_fleet  # noqa: E402
from tests.lab.labkit.killer import Outcome, run_and_kill  # noqa: E402

#: Where `ansible-playbook` is: another folder tries another ansible-core.
BIN = Path(os.environ.get("EMQX_FLEET_ANSIBLE") or Path(sys.executable).parent)
#: What tells a scenario that is played beside the same one: `-2.16`.
BESIDE = os.environ.get("EMQX_FLEET_BESIDE", "")
PACKAGES = ROOT / ".build" / "broker" / "packages"
VARIANTS = ROOT / ".build" / "broker" / "variants"
OLDEST, OLD, NEW = "4.4.17", "4.4.18", "4.4.19"
READY_SECONDS = 60
_LAB = [str(ROOT / "tests" / "lab" / "lab")]
#: Short times, so that a scenario is about what happens and not about waiting.
QUICK: Mapping[str, Any] = {
    "emqx_upgrade_packages": str(PACKAGES),
    "emqx_upgrade_soak_seconds": 2,
    "emqx_upgrade_soak_interval": 1,
    "emqx_upgrade_verify_seconds": 8,
    "emqx_upgrade_reconnect_timeout": 60,
}
_QUESTION = "io:format([126,119,126,110], [{emqx_sys:version(), os:getpid(), emqx_sys:uptime()}])."


@dataclass(frozen=True)
class Run:
    """A playbook that was run: its exit code and all that it said."""

    code: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """The counts of the recap, by host."""
        rows = re.findall(r"^(\S+)\s+: (ok=.+)$", self.output, re.MULTILINE)
        return {host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in rows}

    @property
    def message(self) -> str:
        """What the last failed task said."""
        found = re.findall(r'"msg": "((?:[^"\\]|\\.)*)"', self.output.rpartition("fatal: [")[2])
        return str(json.loads(f'"{found[0]}"')) if found else ""


@dataclass(frozen=True)
class NodeState:
    """A node by its own words and its files."""

    running: str
    boots: str
    pid: str
    statuses: dict[str, str]
    journal: list[dict[str, Any]]
    reserved: dict[str, Any] | None
    leftovers: list[str]


class Scenario:
    """A scenario by its name; ``converge`` leaves its results in a folder for ``verify``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.work = ROOT / ".build" / "molecule" / f"{name}{BESIDE}"
        self.lab_name = f"mol-{name}{BESIDE}".replace("_", "-").replace(".", "-")
        self.more_environment: dict[str, str] = {}

    # The fleet

    def create(self, fleet: Mapping[str, Any], busy: int = 3, idle: int = 3, churn: float = 0) -> None:
        """Bring up a lab, as of a fleet file, and so many clients on every node; ``churn``: others come, a second."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        Lab.up(parse_fleet(fleet), self.lab_name, replace=True)
        if busy or idle:
            self._start_clients(busy, idle, churn)
        self.keep("before", {host: vars(state) for host, state in self.nodes().items()})

    def destroy(self) -> None:
        """Take it down, however far it came."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.work / "clients.pid").read_text(encoding="ascii")), signal.SIGKILL)
        Lab(self.lab_name).down()

    @property
    def lab(self) -> Lab:
        """The lab, which is up."""
        return Lab(self.lab_name)

    @property
    def faults(self) -> Faults:
        """Faults from outside the hosts."""
        return Faults(self.lab)

    def host(self, name: str) -> Host:
        """One of the hosts."""
        return self.lab.host(name)

    def broker_fault(self, host: str, name: str, argument: str = "") -> None:
        """A fault of the test broker itself, see tests/broker/README.md."""
        self.host(host).write(f"/opt/emqx/data/faults/{name}", argument)

    # Playbooks

    def command(self, playbook: str, *options: str, **settings: Any) -> list[str]:
        """The command line of a playbook of the collection."""
        line = [str(BIN / "ansible-playbook"), "-i", str(self.lab.inventory), f"emqx.fleet.{playbook}", *options]
        for name, value in {**QUICK, **settings}.items():
            line += ["-e", f"{name}={value}" if isinstance(value, (str, int)) else json.dumps({name: value})]
        return line

    @property
    def environment(self) -> dict[str, str]:
        """What playbooks are run with: the installed collection."""
        return dict(
            os.environ,
            PATH=f"{BIN}:{os.environ['PATH']}",
            ANSIBLE_COLLECTIONS_PATH=os.environ.get("ANSIBLE_COLLECTIONS_PATH") or str(ROOT / ".build" / "collections"),
            ANSIBLE_PIPELINING="1",
            ANSIBLE_NOCOWS="1",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_FORCE_COLOR="0",
            ANSIBLE_FORKS="10",
            **deprecations.ENVIRONMENT,
            **self.more_environment,
        )

    @contextlib.contextmanager
    def surroundings(self, more: Mapping[str, str]) -> Iterator[None]:
        """Environment variables for the playbooks within, as an ansible.cfg might have the same settings."""
        before, self.more_environment = self.more_environment, dict(more)
        try:
            yield
        finally:
            self.more_environment = before

    def playbook(self, playbook: str, *options: str, name: str = "", **settings: Any) -> Run:
        """Run a playbook to its end; its output is kept as ``name``.log, and has no deprecation warnings."""
        return self.finish(self.start(playbook, *options, **settings), name or playbook)

    def start(self, playbook: str, *options: str, **settings: Any) -> subprocess.Popen[str]:
        """Start a playbook; one with a client probe in the lab's network, since nothing else gets there."""
        inside = [*_LAB, "--name", self.lab_name, "run", "--"] if settings.get("emqx_upgrade_probe") else []
        return subprocess.Popen(
            [*inside, *self.command(playbook, *options, **settings)],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], name: str, watch: Callable[[str], None] | None = None) -> Run:
        """Wait for the end of a playbook; ``watch`` sees every line when it comes."""
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if watch:
                watch(line)
        run = Run(process.wait(), "".join(lines))
        (self.work / f"{name}.log").write_text(run.output, encoding="utf-8")
        self.keep(f"run-{name}", {"code": run.code})
        deprecations.require_none(run.output, name)
        return run

    def playbook_killed(
        self,
        playbook: str,
        name: str,
        after: float | None = None,
        on: str | None = None,
        scope: str = "tree",
        **settings: Any,
    ) -> Outcome:
        """Run a playbook and kill it after so many seconds or at a line of its output, unless it ends before."""
        line = self.command(playbook, **settings)
        outcome = run_and_kill(line, after=after, on=on, scope=scope, env=self.environment)
        (self.work / f"{name}.log").write_text(outcome.output, encoding="utf-8")
        deprecations.require_none(outcome.output, name)
        return outcome

    def run_of(self, name: str) -> Run:
        """A run that converge made."""
        text = (self.work / f"{name}.log").read_text(encoding="utf-8")
        return Run(int(self.kept(f"run-{name}")["code"]), text)

    # What became of it

    def keep(self, name: str, value: Any) -> None:
        """Keep something for verify."""
        (self.work / f"{name}.json").write_text(json.dumps(value, indent=1), encoding="utf-8")

    def kept(self, name: str) -> Any:
        """What was kept."""
        return json.loads((self.work / f"{name}.json").read_text(encoding="utf-8"))

    def keep_failure(self, text: str) -> None:
        """Keep why a step failed: molecule tells it long before the end of its output, and `make` repeats it."""
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "failure.txt").write_text(text, encoding="utf-8")

    def nodes(self, *names: str) -> dict[str, NodeState]:
        """The running nodes as they are now."""
        hosts = [host for host in self.lab.hosts.values() if host.spec.broker == "running"]
        hosts = [host for host in hosts if not names or host.name in names]
        with ThreadPoolExecutor(4) as pool:
            return dict(zip([host.name for host in hosts], pool.map(_state_of, hosts), strict=True))

    def clients(self) -> dict[str, Any]:
        """Stop the clients and return their counts."""
        result = self.work / "clients.json"
        if not result.exists():
            os.kill(int((self.work / "clients.pid").read_text(encoding="ascii")), signal.SIGTERM)
            wait_for(result.exists, 30, "the clients do not end")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found

    def require_clients_kept(self, but_of: Iterable[str] = ()) -> None:
        """Every client stayed connected, the idle ones too, and no acknowledged message was lost."""
        found = self.clients()
        assert found["complete"], found["stop_reason"]
        for node, counts in found["nodes"].items():
            total = counts["total"]
            if node in but_of:
                continue
            events = [event for event in found["events"] if event["node"] == node][:3]
            assert total["kept"] == total["clients"], f"{node} lost clients: {total} {events}"
            assert total["lost"] == 0, f"messages of {node} were lost: {total}"
            assert total["idle_reached"] == counts["idle"]["clients"], f"idle clients of {node} are gone: {total}"
        assert found["total"]["acked"] > 0

    def require_same_processes(self) -> None:
        """No broker was restarted."""
        before = self.kept("before")
        for host, state in self.nodes().items():
            assert state.pid == before[host]["pid"], f"{host} was restarted"

    def require(self, running: str, boots: str, hosts: Iterable[str] = ()) -> dict[str, NodeState]:
        """Nodes run a version and a restart boots another (or the same) one. The nodes."""
        found = self.nodes(*hosts)
        for host, state in found.items():
            assert (state.running, state.boots) == (running, boots), f"{host}: {state}"
        return found

    def _start_clients(self, busy: int, idle: int, churn: float) -> None:
        line = [*_LAB, "--name", self.lab_name, "swarm"]
        line += ["--busy", str(busy), "--idle", str(idle), "--qos", "1", "--rate", "5", "--drain", "8"]
        line += ["--churn", str(churn)]
        line += ["--ready-file", str(self.work / "clients.ready"), "--result", str(self.work / "clients.json")]
        with open(self.work / "clients.log", "wb") as log:
            swarm = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (self.work / "clients.pid").write_text(str(swarm.pid), encoding="ascii")
        wait_for((self.work / "clients.ready").exists, READY_SECONDS, "the clients do not connect")


def verbs(journal: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the journal says was done, in order: ``unpack 4.4.19``, ``switch 4.4.19``."""
    return [" ".join(action) for entry in journal for action in entry["actions"]]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is true; ``what`` is the sentence for when it does not get so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.1)


def _state_of(host: Host) -> NodeState:
    said = host.exec(["/opt/emqx/bin/emqx", "eval", _QUESTION]).stdout
    characters = re.findall(r"\[([\d,]+)\]", said.splitlines()[0])
    version, pid = ("".join(chr(int(code)) for code in word.split(",")) for word in characters[:2])
    listed = host.exec(["/opt/emqx/bin/emqx", "versions"]).stdout
    return NodeState(
        running=version,
        boots=re.findall(r'^REL_VSN="(.+)"', host.read("/opt/emqx/releases/emqx_vars"), re.MULTILINE)[-1],
        pid=pid,
        statuses=dict(re.findall(r"^\* (\S+)\s+(\w+)", listed, re.MULTILINE)),
        journal=list(_json_lines(host, "/opt/emqx/data/fleet/journal.jsonl")),
        reserved=next(_json_lines(host, "/opt/emqx/data/fleet/run.json"), None),
        leftovers=sorted(
            str(path.name)
            for folder, pattern in (("/tmp", "emqx_untar_*"), ("/opt/emqx/releases", "emqx-*"))
            for path in host.path(folder).glob(pattern)
        ),
    )


def _json_lines(host: Host, path: str) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        for line in host.read(path).splitlines():
            yield json.loads(line)
