# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What can go wrong, on purpose: each fault is done from outside the host, remembered, and can be undone."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import net
from .errors import LabError
from .host import HERE, Host, wait_gone
from .procs import Process, read_process, run, spawn, wait_for

if TYPE_CHECKING:
    from .lab import Lab

TARGETS = ("sshd", "broker", "emqx", "host")
BALLAST = ".lab-ballast"
RATE = re.compile(r"\d+(bit|kbit|mbit)")

LOSS_TABLE = """\
table inet lab_loss {{
  chain incoming {{
    type filter hook input priority -10;
    iifname "eth0" numgen random mod 10000 < {share} drop
  }}
}}
"""

# Run on the host. Fills the file system of a folder up to a number of bytes that stay free, and says where.
FILL = """
import os, sys
folder, leave, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
device = os.stat(folder).st_dev
while os.path.dirname(folder) != folder and os.stat(os.path.dirname(folder)).st_dev == device:
    folder = os.path.dirname(folder)
path = os.path.join(folder, name)
file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
have = os.fstat(file).st_size
state = os.statvfs(folder)
size = have + state.f_bavail * state.f_frsize - leave
if size > have:
    os.posix_fallocate(file, 0, size)
os.close(file)
print(path)
"""


@dataclass
class Fault:
    """A fault that is in force. As a context manager it is undone at the end.

    ``data`` is what its undoing needs; ``text`` tells it to a reader.
    """

    id: str
    kind: str
    host: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    owner: Any = field(default=None, repr=False, compare=False)

    def undo(self) -> None:
        """Undo it; doing so twice does no harm."""
        self.owner.undo(self.id)

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


class Faults:
    """The faults of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = lab.state / "faults"

    def cut(self, host: str, seconds: float | None = None) -> Fault:
        """Cut a host off: its link goes down, for good or for so many seconds."""
        one = self.lab.host(host)
        self._link(one, "down")
        return self._remember("cut", one, f"{host} is cut off", {}, seconds)

    def loss(self, host: str, percent: float, seconds: float | None = None) -> Fault:
        """Lose so many of a hundred packets that come to a host, at random."""
        if not 0 < percent <= 100:
            raise LabError(f"{percent:g} percent of packets cannot be lost; expected more than 0 and at most 100", 2)
        one = self.lab.host(host)
        self._only_one("loss", one)
        table = LOSS_TABLE.format(share=round(percent * 100))
        self._nft(one, table)
        text = f"{host} loses {percent:g} % of the packets that come to it"
        return self._remember("loss", one, text, {}, seconds)

    def slow(self, host: str, rate: str, seconds: float | None = None) -> Fault:
        """Limit a host's link to a rate such as ``256kbit``, both ways; what waits longer than 2 s is dropped."""
        if not RATE.fullmatch(rate):
            raise LabError(f"{rate!r} is not a rate; expected a number with bit, kbit or mbit, such as 256kbit", 2)
        one = self.lab.host(host)
        self._only_one("slow", one)
        for namespace, device in self._link_ends(one):
            run(
                [
                    "tc",
                    "-n",
                    namespace,
                    "qdisc",
                    "add",
                    "dev",
                    device,
                    "root",
                    "tbf",
                    "rate",
                    rate,
                    "burst",
                    "16kb",
                    "latency",
                    "2s",
                ]
            )
        return self._remember("slow", one, f"the link of {host} is limited to {rate}", {}, seconds)

    def fill(self, host: str, path: str, leave: int = 0, seconds: float | None = None) -> Fault:
        """Fill the file system in which a folder lies, with so many bytes left free."""
        one = self.lab.host(host)
        ballast = f"{BALLAST}-{uuid.uuid4().hex[:6]}"
        done = one.exec(["/usr/bin/python3", "-S", "-E", "-c", FILL, path, str(leave), ballast], check=False)
        if done.returncode != 0:
            raise LabError(
                f"the file system of {path} on {host} could not be filled: {done.stderr.strip().splitlines()[-1:]}"
            )
        where = done.stdout.strip()
        return self._remember(
            "fill", one, f"the file system of {path} on {host} is full but for {leave} bytes", {"path": where}, seconds
        )

    def readonly(self, host: str, path: str, seconds: float | None = None) -> Fault:
        """Make a file or folder read-only, for root as well. Who has a file in it open for writing keeps that."""
        one = self.lab.host(host)
        one.exec(["mount", "--bind", path, path], privileged=True)
        one.exec(["mount", "-o", "remount,bind,ro", path], privileged=True)
        return self._remember("readonly", one, f"{path} on {host} is read-only", {"path": path}, seconds)

    def kill(self, host: str, target: str) -> Fault:
        """SIGKILL sshd with its sessions, the broker, a running ``emqx`` command, or all of a host at once.

        Undoing starts it again (a command that was killed stays so); a host comes back with its disks, and with its
        broker if that ran.
        """
        one = self.lab.host(host)
        if target == "host":
            broker_ran = bool(find(one, "broker"))
            one.stop()
            return self._remember(
                "kill", one, f"{host} has lost its power", {"target": target, "broker": broker_ran}, None
            )
        pids = self._pids(one, target)
        self._signal(pids, signal.SIGKILL)
        if not wait_gone(one, pids):
            raise LabError(f"processes {pids} of {target} on {host} are still there 10 s after SIGKILL")
        return self._remember(
            "kill", one, f"{target} on {host} was killed", {"target": target, "broker": target == "broker"}, None
        )

    def freeze(self, host: str, target: str, seconds: float | None = None) -> Fault:
        """Stop sshd with its sessions, the broker, a running ``emqx`` command, or all of a host where it is."""
        one = self.lab.host(host)
        data: dict[str, Any] = {"target": target}
        if target == "host":
            one.first_process()
            one.group.freeze(True)
        else:
            data["pids"] = self._pids(one, target)
            self._signal(data["pids"], signal.SIGSTOP)
            if not wait_for(lambda: all(_stopped(pid) for pid in data["pids"]), 10):
                raise LabError(f"processes {data['pids']} of {target} on {host} did not stop within 10 s")
        return self._remember(
            "freeze", one, f"{target} on {host} is frozen" if target != "host" else f"{host} is frozen", data, seconds
        )

    def active(self) -> list[dict[str, Any]]:
        """The faults in force, oldest first."""
        return [_stored(fault) for fault in self._load()]

    def forget(self, fault: Fault) -> None:
        """Do not undo a fault: what it did is seen to in another way."""
        (self.folder / f"{fault.id}.json").unlink(missing_ok=True)

    def undo(self, which: str = "all") -> list[Fault]:
        """Undo a fault by its id, all of a host by its name, or ``all``; the newest first. Returns those undone."""
        undone = []
        for fault in reversed(self._load()):
            if which in ("all", fault.id, fault.host):
                UNDO[fault.kind](self, self.lab.host(fault.host), fault.data)
                self.forget(fault)
                undone.append(fault)
        return undone

    # How each is undone. What is undone already must do no harm: a killed undo can be done again.

    def _undo_cut(self, host: Host, data: Mapping[str, Any]) -> None:
        self._link(host, "up")

    def _undo_loss(self, host: Host, data: Mapping[str, Any]) -> None:
        self._nft(host, "add table inet lab_loss\ndelete table inet lab_loss\n")

    def _undo_slow(self, host: Host, data: Mapping[str, Any]) -> None:
        for namespace, device in self._link_ends(host):
            run(["tc", "-n", namespace, "qdisc", "del", "dev", device, "root"], check=False)

    def _undo_fill(self, host: Host, data: Mapping[str, Any]) -> None:
        if host.group.first_process() is not None:
            host.path(data["path"]).unlink(missing_ok=True)

    def _undo_readonly(self, host: Host, data: Mapping[str, Any]) -> None:
        if host.group.first_process() is not None:  # a host that was off has lost its mounts
            host.exec(["umount", "-l", data["path"]], privileged=True, check=False)

    def _undo_kill(self, host: Host, data: Mapping[str, Any]) -> None:
        if data["target"] == "host" and host.group.first_process() is None:
            host.start()
            host.wait_up()
        elif data["target"] == "sshd" and not find(host, "sshd"):
            start_sshd(host)
            host.wait_up()
        if data["broker"] and not find(host, "broker"):
            from . import broker

            broker.start(host)

    def _undo_freeze(self, host: Host, data: Mapping[str, Any]) -> None:
        if data["target"] == "host":
            host.group.freeze(False)
        else:
            # A number may be another process by now, but then not one of this host's. And nsenter, through which
            # `lab exec` comes in, stops itself when what it runs is stopped, and nobody else would wake it.
            wakened = [
                process.pid for process in host.processes() if process.state == "T" and process.comm == "nsenter"
            ]
            ours = set(host.group.pids())
            self._signal([pid for pid in data["pids"] if pid in ours] + wakened, signal.SIGCONT)

    # Parts

    def _pids(self, host: Host, target: str) -> list[int]:
        pids = find(host, target)
        if not pids:
            raise LabError(f"{target} is not running on {host.name}; there is nothing to kill or freeze")
        return pids

    def _signal(self, pids: list[int], number: int) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _link(self, host: Host, state: str) -> None:
        run(["ip", "-n", net.namespace(self.lab.name, net.SWITCH), "link", "set", net.port(host.index), state])

    def _link_ends(self, host: Host) -> list[tuple[str, str]]:
        switch, own = net.namespace(self.lab.name, net.SWITCH), net.namespace(self.lab.name, host.name)
        return [(switch, net.port(host.index)), (own, "eth0")]

    def _nft(self, host: Host, text: str) -> None:
        run(net.inside(self.lab.name, ["nft", "-f", "-"], host.name), text=text)

    def _only_one(self, kind: str, host: Host) -> None:
        if any(fault.kind == kind and fault.host == host.name for fault in self._load()):
            raise LabError(f"{host.name} has a fault {kind} already; undo it first: lab fault undo {host.name}")

    def _remember(self, kind: str, host: Host, text: str, data: dict[str, Any], seconds: float | None) -> Fault:
        self.folder.mkdir(exist_ok=True)
        number = max((int(path.name.partition("-")[0]) for path in self.folder.glob("*.json")), default=0) + 1
        fault = Fault(f"{number}-{host.name}-{kind}", kind, host.name, text, data, self)
        (self.folder / f"{fault.id}.json").write_text(json.dumps(_stored(fault)), encoding="utf-8")
        if seconds is not None:
            self._undo_later(fault, seconds)
        return fault

    def _undo_later(self, fault: Fault, seconds: float) -> None:
        """Leave a process behind that undoes it; it belongs to the lab and goes down with it."""
        group = self.lab.group.child("timers").make()
        argv = [str(HERE / "enter.sh"), str(group.path), sys.executable, str(HERE.parent / "lab_cli.py")]
        argv += ["--name", self.lab.name, "fault", "undo", fault.id, "--after", str(seconds)]
        spawn(argv, self.folder / "timers.log")

    def _load(self) -> list[Fault]:
        found = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else []:
            try:
                found.append(Fault(**json.loads(path.read_text(encoding="utf-8")), owner=self))
            except (FileNotFoundError, ValueError):
                continue  # undone, or being written, at this moment
        return sorted(found, key=lambda fault: int(fault.id.partition("-")[0]))


UNDO: dict[str, Callable[[Faults, Host, Mapping[str, Any]], None]] = {
    "cut": Faults._undo_cut,
    "loss": Faults._undo_loss,
    "slow": Faults._undo_slow,
    "fill": Faults._undo_fill,
    "readonly": Faults._undo_readonly,
    "kill": Faults._undo_kill,
    "freeze": Faults._undo_freeze,
}


def _stored(fault: Fault) -> dict[str, Any]:
    return {"id": fault.id, "kind": fault.kind, "host": fault.host, "text": fault.text, "data": fault.data}


def find(host: Host, target: str) -> list[int]:
    """The processes of sshd, of the broker, or of ``emqx`` commands that are running, on a host."""
    if target not in TARGETS:
        raise LabError(f"{target!r} cannot be killed or frozen; expected one of {', '.join(TARGETS)}", 2)
    processes = [process for process in host.processes() if process.state != "Z"]
    if target == "host":
        return [process.pid for process in processes]
    if target == "sshd":
        return [process.pid for process in processes if process.comm == "sshd"]
    commands = _command_trees(processes)
    if target == "emqx":
        return sorted(commands)
    return [process.pid for process in processes if is_broker(process)]


def _command_trees(processes: list[Process]) -> set[int]:
    """Every ``emqx`` and ``emqx_ctl`` call with all below it, but for a broker that is just being started."""
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    brokers = {process.pid for process in processes if is_broker(process)}
    todo = [process.pid for process in processes if is_emqx_command(process.argv)]
    while todo:
        pid = todo.pop()
        if pid not in found and pid not in brokers:
            found.add(pid)
            todo += children.get(pid, [])
    return found


def is_broker(process: Process) -> bool:
    """Whether this is a broker's virtual machine; those of ``emqx`` commands do not load a release at boot."""
    return process.comm == "beam.smp" and "-boot" in process.argv and "-mode" in process.argv


def is_emqx_command(argv: tuple[str, ...]) -> bool:
    """Whether this is a shell in ``bin/emqx`` (not one that is the broker: ``console``, ``foreground``)."""
    for position, word in enumerate(argv[:3]):
        if os.path.basename(word) in ("emqx", "emqx_ctl"):
            return not set(argv[position + 1 : position + 2]) & {"console", "foreground"}
    return False


def start_sshd(host: Host) -> None:
    """Start the SSH server of a host again."""
    host.exec(["systemctl", "start", "ssh"] if host.spec.init == "systemd" else ["/usr/sbin/sshd"])


def _stopped(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.state in "TZ"


def add_commands(parser: argparse.ArgumentParser) -> None:
    """The command line of this: ``lab fault cut h1 --seconds 5``."""
    commands = parser.add_subparsers(required=True, metavar="FAULT")

    def add(
        name: str, text: str, do: Callable[[Faults, argparse.Namespace], Fault], *words: str, timed: bool = True
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.add_argument("host")
        for word in words:
            command.add_argument(word, choices=TARGETS if word == "target" else None)
        if timed:
            command.add_argument("--seconds", type=float, help="undo it after so many seconds")
        command.set_defaults(action=lambda options: _do(options, do))
        return command

    add("cut", "cut a host off", lambda f, o: f.cut(o.host, o.seconds))
    add("loss", "lose packets: PERCENT", lambda f, o: f.loss(o.host, float(o.percent), o.seconds), "percent")
    add("slow", "limit the link: RATE such as 256kbit", lambda f, o: f.slow(o.host, o.rate, o.seconds), "rate")
    fill = add("fill", "fill the file system of PATH", lambda f, o: f.fill(o.host, o.path, o.leave, o.seconds), "path")
    fill.add_argument("--leave", type=int, default=0, metavar="BYTES", help="so many bytes stay free")
    add("readonly", "make PATH read-only", lambda f, o: f.readonly(o.host, o.path, o.seconds), "path")
    add("kill", "kill TARGET", lambda f, o: f.kill(o.host, o.target), "target", timed=False)
    add("freeze", "stop TARGET where it is", lambda f, o: f.freeze(o.host, o.target, o.seconds), "target")
    undo = commands.add_parser("undo", help="undo a fault by its id, all of a host, or all")
    undo.add_argument("which", nargs="?", default="all")
    undo.add_argument("--after", type=float, default=0, metavar="SECONDS", help="wait first")
    undo.set_defaults(action=_undo)
    show = commands.add_parser("list", help="show the faults in force")
    show.set_defaults(action=_show)


def _faults(options: argparse.Namespace) -> Faults:
    from .lab import Lab

    lab = Lab(options.name)
    lab.keeper_pid()
    return Faults(lab)


def _do(options: argparse.Namespace, do: Callable[[Faults, argparse.Namespace], Fault]) -> int:
    fault = do(_faults(options), options)
    print(f"{fault.id}: {fault.text}")
    return 0


def _undo(options: argparse.Namespace) -> int:
    if options.after:
        time.sleep(options.after)
    faults = _faults(options)
    undone = faults.undo(options.which)
    for fault in undone:
        print(f"undone {fault.id}: {fault.text}")
    if not undone:
        known = ", ".join(fault["id"] for fault in faults.active()) or "none"
        print(f"nothing to undo for {options.which}; faults in force: {known}")
    return 0


def _show(options: argparse.Namespace) -> int:
    for fault in _faults(options).active():
        print(f"{fault['id']}: {fault['text']}")
    return 0
