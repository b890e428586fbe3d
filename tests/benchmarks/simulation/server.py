# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The process that plays all nodes of a simulation: it makes them, answers for them, and takes them away at its end.

usage: python -m ansible_collections.emqx.fleet.tests.benchmarks.simulation.server FOLDER SIZE...

FOLDER is made, and removed at the end. SIZE: the nodes of each cluster. Prints one line of JSON when all are there
(``package``, ``nodes``: their ``number``, ``name``, ``cluster``, ``executable``, ``interpreter``), and goes on until
its standard input ends or it is told to terminate. Needs root: each node has a process tree of its own, in which there
is little more than its broker, as on a machine of its own. In SIMULATION_GROUP may stand the folder of a control group,
which what Ansible runs on the nodes is put into.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.tests.benchmarks.simulation import erlang
from ansible_collections.emqx.fleet.tests.benchmarks.simulation.nodes import (
    Ports,
    SimulatedNode,
    make_fleet,
    write_package,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE

_FILES = 65536
_FEW = 0.02

# What a node's modules are run with: in the process tree of the node, and counted in a control group of their own.
_INTERPRETER = """\
#!/bin/sh
{count}exec nsenter --target {pid} --pid --mount -- {python} "$@"
"""


class Simulation:
    """All nodes, by the folder of their installation and by their address."""

    def __init__(self, folder: Path, group: str, python: str) -> None:
        self.folder = folder
        self.group = group
        self.python = python
        self.nodes: dict[str, SimulatedNode] = {}
        self.addresses: dict[str, SimulatedNode] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        #: What the brokers' processes read from, and what nobody writes to: they end with whoever holds it.
        self._lifeline = os.pipe()
        self.servers: list[asyncio.Server] = []

    async def begin(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Make the nodes and begin to answer for them."""
        commands = await asyncio.start_server(self._command, "127.0.0.1", 0)
        listener = await asyncio.start_server(_accept, "127.0.0.1", 0, backlog=1000)
        distribution = await asyncio.start_server(self._erlang, "0.0.0.0", 0, backlog=1000)
        self.servers += [commands, listener, distribution]
        ports = Ports(*(server.sockets[0].getsockname()[1] for server in self.servers))
        nodes = make_fleet(self.folder, sizes, ports)
        self.nodes = {str(node.root): node for node in nodes}
        self.addresses = {node.address: node for node in nodes}
        (self.folder / "packages").mkdir()
        package = write_package(self.folder / "packages", ports)
        for node in nodes:
            self.processes.append(self._start_process(node))
        for node, process in zip(nodes, self.processes, strict=True):
            self._write_interpreter(node, process.pid)
        return {
            "package": str(package),
            "nodes": [
                {
                    "number": node.number,
                    "name": node.name,
                    "cluster": node.members[0].number,
                    "executable": str(node.path("bin/emqx")),
                    "interpreter": str(self._interpreter(node)),
                }
                for node in nodes
            ],
        }

    def end(self) -> None:
        """End the processes and remove the files."""
        for server in self.servers:
            server.close()
        # All at once: their input ends. A process tree takes the kernel a while to take away.
        for end in self._lifeline[::-1]:
            os.close(end)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The nodes' processes

    def _start_process(self, node: SimulatedNode) -> subprocess.Popen[bytes]:
        """The broker's process, below a shell that stands for the machine's init."""
        tree = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "/bin/sh", "-c", '"$@"; exit', "init"]
        return subprocess.Popen([*tree, *node.broker_command()], stdin=self._lifeline[0], close_fds=True, cwd="/")

    def _interpreter(self, node: SimulatedNode) -> Path:
        return node.root.parent / "python"

    def _write_interpreter(self, node: SimulatedNode, outer: int) -> None:
        inner = _only_child(outer)
        count = f"echo $$ > {self.group}/cgroup.procs\n" if self.group else ""
        path = self._interpreter(node)
        path.write_text(_INTERPRETER.format(count=count, pid=inner, python=self.python), encoding="utf-8")
        path.chmod(0o755)

    # Their answers

    async def _erlang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another Erlang node, which wants the one whose address it came to."""
        node = self.addresses.get(writer.get_extra_info("sockname")[0])
        if node is None:
            writer.close()
        else:
            await erlang.serve(reader, writer, node.name, COOKIE, node.answer)

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            count = int(await _word(reader))
            program, *words = [await _word(reader) for _place in range(count + 1)]
            node = self.nodes[str(Path(program).parent.parent)]
            # What it does takes a moment; what EMQX does meanwhile is waited for.
            said = node.execute(Path(program).name, words)
            await asyncio.sleep(said.seconds)
            writer.write(f"{said.code}\n{said.text}".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def _word(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace")


async def _accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def _only_child(pid: int) -> int:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    for _try in range(500):
        words = path.read_text(encoding="ascii").split()
        if words:
            return int(words[0])
        time.sleep(_FEW)
    raise RuntimeError(f"process {pid} has made no process tree of its own; is this root?")


async def _until_told(loop: asyncio.AbstractEventLoop) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(reader.read())]
    _done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waiting:
        wait.cancel()


async def _main(folder: Path, sizes: Sequence[int]) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    simulation = Simulation(folder, os.environ.get("SIMULATION_GROUP", ""), "/usr/bin/python3")
    folder.mkdir(parents=True)
    try:
        print(json.dumps(await simulation.begin(sizes)), flush=True)
        await _until_told(asyncio.get_running_loop())
    finally:
        simulation.end()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]))
