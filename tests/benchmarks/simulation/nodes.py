# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One simulated node: the files of an installation, its release table, its commands and its answers.

The model is that of the unit tests (``fake_node.py``). What is added: a name and a cluster, EMQX's own texts, how long
a command takes, and answers to whatever part of a question the collection asks for.
"""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils.clients import METRICS
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils import fake_node
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import FakeNode, wide

OLD, NEW = "4.4.18", "4.4.19"
#: The port of a node whose name has no digits.
DISTRIBUTION_BASE = 4370
PACKAGE = f"emqx-{NEW}-otp25.2.3-1-debian12-amd64.zip"
#: The broker's process in the process tree that its node sees: the first one stands for the machine's init.
PID = 2
#: Seconds that every command takes to begin, which starts an Erlang of its own.
START_SECONDS = 0.6
#: Seconds on top of that. As of the test broker, measured; a switch as of EMQX itself, 1.2 in all.
SECONDS = {"unpack": 0.6, "switch": 0.6, "install": 0.2, "uninstall": 0.2, "eval": 0.0, "versions": 0.0, "status": 0.0}
#: As many as a node of EMQX 4.4 has in its applications, roughly.
SETTINGS = 400

_COMMANDS = ("emqx", "emqx_ctl")
_PART = re.compile(r"\{(\w+),T\(fun\(\)->")
_CHECKED = re.compile(r"V=:=\[([0-9,]+)\]")

# Hands its words to the server and prints what comes back: exit code, then text. In braces, so that it is read as a
# whole before a commit writes the file anew.
_SCRIPT = """\
#!/bin/bash
{{
exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1
printf '%s\\0' "$#" "$0" "$@" >&3
read -r code <&3
cat <&3
exit "$code"
}}
"""


class Said(NamedTuple):
    """What a command says, and after how many seconds."""

    code: int
    text: str
    seconds: float


class Ports(NamedTuple):
    """Where the server listens for commands, for connections to the nodes' listeners, and for other Erlang nodes.

    ``distribution`` is one port for all: each node has an address of its own on the loopback interface.
    """

    commands: int
    listener: int
    distribution: int


class SimulatedNode(FakeNode):
    """A node of a cluster of ``members``, which are other nodes or itself; made with version ``OLD`` in ``root``."""

    def __init__(self, root: Path, number: int, ports: Ports) -> None:
        self.number = number
        self.ports = ports
        self.members: Sequence[SimulatedNode] = [self]
        self.started = time.monotonic()
        super().__init__(root, OLD)
        settings = {"node.name": self.name, "node.cookie": fake_node.COOKIE}
        self.path("etc/emqx.conf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        self.pid = PID
        self.connections = 0
        self._fixed = _fixed_answers(self)

    @property
    def address(self) -> str:
        """Its address on the loopback interface."""
        return f"127.77.{self.number // 250}.{self.number % 250 + 1}"

    @property
    def name(self) -> str:
        """The Erlang node name. The digits before the ``@`` give its distribution port, as with EMQX."""
        return f"emqx{self.ports.distribution - DISTRIBUTION_BASE}@{self.address}"

    def install_files(self, version: str, ups: Sequence[str] = (), downs: Sequence[str] = ()) -> None:
        """The files of a release, with commands that ask the server."""
        super().install_files(version, ups, downs)
        for name in _COMMANDS:
            self.path("bin", f"{name}-{version}").write_text(_SCRIPT.format(port=self.ports.commands))

    def broker_command(self) -> list[str]:
        """What is run as the broker: a shell that waits for the end of its input, with the words of EMQX's own."""
        runtime = self.path(f"erts-{fake_node.ERTS}/bin/beam.smp")
        if not runtime.exists():
            runtime.parent.mkdir(parents=True)
            runtime.symlink_to("/bin/sh")
        words = ["-boot", str(self.path("releases", OLD, "start")), "-name", self.name, "-setcookie", fake_node.COOKIE]
        words += ["-proto_dist", "ekka", "-epmd_module", "ekka_epmd"]
        return [str(runtime), "-c", "read end", "--", *words]

    def execute(self, command: str, words: Sequence[str]) -> Said:
        """What ``emqx WORDS`` or ``emqx_ctl WORDS`` does and says."""
        verb, version = (words[0], words[-1]) if words else ("", "")
        done = {
            ("emqx", "unpack"): ["unpack"],
            ("emqx", "upgrade"): ["unpack", "switch"],
            ("emqx", "downgrade"): ["switch"],
            ("emqx", "install"): ["unpack", "switch"],
            ("emqx", "uninstall"): ["uninstall"],
            ("emqx", "eval"): ["eval"],
            ("emqx", "versions"): ["versions"],
            ("emqx_ctl", "status"): ["status"],
        }.get((command, verb))
        if done is None:
            return Said(1, f"{verb}: unknown\n", 0.0)
        if verb in ("upgrade", "downgrade", "install") and "--no-permanent" not in words:
            done.append("install")
        code, text, seconds = 0, "", START_SECONDS
        for step in done:
            if code or self._is_done(step, version):
                continue
            code, said = getattr(self, f"_say_{step}")(version)
            text += said
            seconds += SECONDS[step]
        return Said(code, text, seconds)

    def _is_done(self, step: str, version: str) -> bool:
        """Whether a command passes over a step, as EMQX's script does."""
        return (
            (step == "unpack" and version in self.table)
            or (step == "switch" and version == self.running)
            or (step == "install" and self.table.get(version) == "permanent")
        )

    # What commands do and say; by the recordings of EMQX 4.4.18 in tests/contract.

    def _say_unpack(self, version: str) -> tuple[int, str]:
        code, said = self._do_unpack(version, False, None)
        attempt = f"Release {version} not found, attempting to unpack releases/emqx-{version}.tar.gz\n"
        return code, said if code else f'{attempt}Unpacked successfully: "{version}"\n'

    def _say_switch(self, version: str) -> tuple[int, str]:
        status = {"old": "marked old, switching to it"}.get(self.table[version], "already unpacked, now installing")
        code, said = self._do_upgrade(version, True, None)
        return code, said if code else f"Release {version} is {status}.\nInstalled Release: {version}.\n"

    def _say_install(self, version: str) -> tuple[int, str]:
        code, said = self._do_install(version, False, None)
        return code, said if code else f'Made release permanent: "{version}"\n'

    def _say_uninstall(self, version: str) -> tuple[int, str]:
        code, said = self._do_uninstall(version, False, None)
        return code, said if code else f"Release {version} is marked old, uninstalling it.\n{said}"

    def _say_versions(self, _version: str) -> tuple[int, str]:
        rows = [f"* {version}\t{status}\n" for version, status in sorted(self.table.items(), reverse=True)]
        return 0, "Installed versions:\n{}\n".format("".join(rows))

    def _say_status(self, _version: str) -> tuple[int, str]:
        return 0, f"Node '{self.name}' {self.running} is started\n"

    def _say_eval(self, expression: str) -> tuple[int, str]:
        return 0, f"{self.answer(expression)}\nok\n"

    # What it is asked

    def answer(self, expression: str) -> str:
        """``{emqx_fleet,[{Name,Value}]}`` with the parts that are asked for; what is not known is ``undefined``."""
        parts = []
        for name in _PART.findall(expression):
            known = getattr(self, f"_tell_{name}", None)
            value = known(expression) if known else self._fixed.get(name, "undefined")
            parts.append(f"{{{name},{value}}}")
        return "{{emqx_fleet,[{}]}}".format(",".join(parts))

    def _tell_releases(self, _expression: str) -> str:
        return wide([(version, Atom(status), ["emqx-" + version]) for version, status in sorted(self.table.items())])

    def _tell_app_version(self, _expression: str) -> str:
        return wide(self.running)

    def _tell_uptime(self, _expression: str) -> str:
        return wide(f"{int(time.monotonic() - self.started)} seconds")

    def _tell_cluster_running(self, _expression: str) -> str:
        return wide([Atom(member.name) for member in self.members])

    def _tell_members(self, _expression: str) -> str:
        rows = [f"{{'{member.name}',{wide(member.running)},{self._fixed['stats']}}}" for member in self.members]
        return "[{}]".format(",".join(rows))

    def _tell_books(self, _expression: str) -> str:
        counters = "[{}]".format(",".join("0" for _metric in METRICS))
        sample = f"{{{counters},0,0,{counters}}}"
        samples, now = ",".join([sample] * 3), int(time.time() * 1000)
        rows = [f"{{value,{{'{member.name}',{now},[{samples}],[]}},[]}}" for member in self.members]
        return "[{}]".format(",".join(rows))

    def _tell_dry_check(self, expression: str) -> str:
        checked = _CHECKED.search(expression)
        version = "".join(chr(int(code)) for code in checked.group(1).split(",")) if checked else ""
        return "ok" if self.table.get(version) in ("unpacked", "old") else "undefined"

    def _tell_reservations(self, _expression: str) -> str:
        return "[{}]".format(",".join(member._reservation() for member in self.members))

    def _reservation(self) -> str:
        """The name, the clock in milliseconds, and what stands in the node's reservation, or that there is none."""
        try:
            content = wide(self.path("data/fleet/run.json").read_bytes())
        except FileNotFoundError:
            content = wide("{error,enoent}")
        return f"{{'{self.name}',{int(time.time() * 1000)},{content}}}"


def _fixed_answers(node: SimulatedNode) -> dict[str, str]:
    """What is the same as long as a node lives."""
    counts = ("connections.count", "live_connections.count", "sessions.count", "subscriptions.count", "topics.count")
    settings = ",".join(f"{{setting_{number},{number * 7919 % 4294967296}}}" for number in range(SETTINGS))
    return {
        "node": f"'{node.name}'",
        "pid": wide(str(PID)),
        "licensed": "false",
        "sysdescr": wide("EMQX Broker"),
        "supervisor": wide("<0.1862.0>"),
        "otp": wide("25"),
        "erts": wide(fake_node.ERTS),
        "survivors": "0",
        "stats": wide([(Atom(name), 0) for name in counts]),
        "cluster_stopped": "[]",
        "plugins": wide([(Atom("emqx_management"), Atom("true"))]),
        "modules": wide([(Atom("emqx_mod_presence"), Atom("true"))]),
        "alarms": "[]",
        "listeners": f"[{{'mqtt:tcp',{{{{127,0,0,1}},{node.ports.listener}}}}}]",
        "web_listeners": "[]",
        "old_code": "[]",
        "settings": f"[{{emqx,[{settings}]}}]",
        "patches": "[]",
    }


def write_package(folder: Path, ports: Ports) -> Path:
    """The package of ``NEW``, some kilobytes of it."""
    commands = [f"bin/{name}-{NEW}" for name in _COMMANDS]
    path = fake_node.write_package(folder / PACKAGE, NEW, ups=[OLD], downs=[OLD], without=commands)
    with zipfile.ZipFile(path, "a") as archive:
        for name in commands:
            archive.writestr(f"emqx/{name}", _SCRIPT.format(port=ports.commands))
    return path


def make_fleet(
    folder: Path,
    sizes: Sequence[int],
    ports: Ports,
) -> list[SimulatedNode]:
    """Nodes in clusters of these sizes, with numbers from 1 on."""
    nodes: list[SimulatedNode] = []
    for size in sizes:
        cluster = []
        for _place in range(size):
            number = len(nodes) + 1
            node = SimulatedNode(folder / f"n{number}" / "emqx", number, ports)
            cluster.append(node)
            nodes.append(node)
        for node in cluster:
            node.members = cluster
    return nodes
