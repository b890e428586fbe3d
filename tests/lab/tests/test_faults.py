# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every fault does what it says, and its undoing undoes it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fixtures import LabFactory
from tests.lab.labkit import Faults, Host, Lab, LabError
from tests.lab.labkit.faults import find, is_emqx_command
from tests.lab.labkit.procs import read_process, wait_for

LAB = Path(__file__).resolve().parent.parent / "lab_cli.py"
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(lab_factory: LabFactory) -> Lab:
    """Two hosts, one with a small disk."""
    return lab_factory(
        {"defaults": {"broker": "none", "sizes": {"opt": "4m", "tmp": "4m"}}, "hosts": {"h1": {}, "h2": {}}}
    )


@pytest.fixture
def faults(lab: Lab) -> Iterator[Faults]:
    """The lab's faults, all undone at the end."""
    faults = Faults(lab)
    yield faults
    faults.undo("all")
    assert faults.active() == []
    assert lab.ssh("h1", ["true"]).returncode == 0


def reachable(lab: Lab, seconds: str = "1") -> bool:
    """Whether the first host can be reached from the bridge."""
    address = lab.host("h1").address
    return (
        lab.run(["timeout", seconds, "bash", "-c", f"head -c 7 < /dev/tcp/{address}/22"], check=False).stdout
        == "SSH-2.0"
    )


def writable(host: Host, path: str, size: int) -> bool:
    """Whether a file of this size can be written to a folder of a host."""
    argv = ["sh", "-c", 'head -c "$2" /dev/zero > "$1/probe" && rm "$1/probe"', "sh", path, str(size)]
    done = host.exec(argv, check=False)
    host.exec(["rm", "-f", f"{path}/probe"], check=False)
    return done.returncode == 0


def test_cut(lab: Lab, faults: Faults) -> None:
    with faults.cut("h1") as fault:
        assert not reachable(lab)
        assert lab.host("h1").exec(["true"]).returncode == 0
        assert [active["id"] for active in faults.active()] == [fault.id]
    assert reachable(lab, "5")
    assert faults.active() == []


def test_cut_for_some_time_undoes_itself(lab: Lab, faults: Faults) -> None:
    faults.cut("h1", seconds=4)
    assert not reachable(lab, "0.5")
    assert wait_for(lambda: not faults.active(), 30, 0.1)
    assert reachable(lab, "5")


# Counts the datagrams that come until none comes for two seconds; the first line says that it listens.
RECEIVE = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)  # SO_RCVBUFFORCE: all of them fit
server.bind(("", 9))
server.settimeout(5)
print("listening", flush=True)
count = 0
try:
    while server.recv(10):
        count += 1
        server.settimeout(2)
except TimeoutError:
    print(count)
"""
SEND = """
import socket, sys, time
client = socket.socket(type=socket.SOCK_DGRAM)
for _ in range(400):
    client.sendto(b"x", (sys.argv[1], 9))
    time.sleep(0.0005)
"""


def test_loss(lab: Lab, faults: Faults) -> None:
    host = lab.host("h1")

    def arrived() -> int:
        with subprocess.Popen(
            host.command(["/usr/bin/python3", "-c", RECEIVE]), stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            server.stdout.readline()
            lab.run([sys.executable, "-c", SEND, host.address])
            return int(server.stdout.read())

    assert arrived() == 400
    with faults.loss("h1", 50):
        assert 120 < arrived() < 280
        with pytest.raises(LabError, match="has a fault loss already"):
            faults.loss("h1", 10)
    assert arrived() == 400


def test_slow(lab: Lab, faults: Faults) -> None:
    def transfer(size: int) -> float:
        begin = time.monotonic()
        assert len(lab.ssh("h1", ["head", "-c", str(size), "/dev/zero"]).stdout) == size
        return time.monotonic() - begin

    # Too much for the slow link within the time that there is, on however slow a machine.
    transfer(10_000_000)
    with faults.slow("h1", "800kbit"):
        assert transfer(200_000) > 1.5
    transfer(10_000_000)


def test_fill(lab: Lab, faults: Faults) -> None:
    host = lab.host("h1")
    host.exec(["mkdir", "-p", "/opt/emqx/releases"])
    assert writable(host, "/opt", 1_000_000)
    with faults.fill("h1", "/opt/emqx/releases"):
        assert not writable(host, "/opt/emqx", 10_000)
        assert writable(host, "/tmp", 1_000_000)
        assert writable(lab.host("h2"), "/opt", 1_000_000)
        assert host.exec(["ls", "-A", "/opt/emqx/releases"]).stdout == ""
    assert writable(host, "/opt", 1_000_000)


@pytest.mark.parametrize("path", ["/opt", "/tmp", "/var/lib", "/etc"])
def test_fill_leaves_what_it_was_asked_to(lab: Lab, faults: Faults, path: str) -> None:
    host = lab.host("h1")
    with faults.fill("h1", path, leave=200_000):
        assert writable(host, path, 100_000)
        assert not writable(host, path, 400_000)
    assert writable(host, path, 400_000)


def test_readonly(lab: Lab, faults: Faults) -> None:
    host = lab.host("h1")
    host.exec(["mkdir", "-p", "/opt/a/b"])
    host.write("/opt/a/file", "x")
    with faults.readonly("h1", "/opt/a/b"), faults.readonly("h1", "/opt/a/file"):
        assert not writable(host, "/opt/a/b", 1)
        assert writable(host, "/opt/a", 1)
        assert host.exec(["sh", "-c", "echo y >> /opt/a/file"], check=False).returncode != 0
        assert lab.ssh("h1", ["touch", "/opt/a/b/c"], check=False).returncode != 0
    assert writable(host, "/opt/a/b", 1)
    assert host.exec(["sh", "-c", "echo y >> /opt/a/file"]).returncode == 0


def test_kill_sshd(lab: Lab, faults: Faults) -> None:
    with subprocess.Popen([str(lab.state / "ssh"), "h1", "sleep", "60"]) as session:
        assert wait_for(lambda: len(find(lab.host("h1"), "sshd")) > 1, 5)
        with faults.kill("h1", "sshd"):
            assert session.wait(5) == 255
            assert not reachable(lab)
            assert lab.host("h1").exec(["true"]).returncode == 0
    assert reachable(lab)


def test_freeze_sshd(lab: Lab, faults: Faults) -> None:
    with faults.freeze("h1", "sshd"):
        assert not reachable(lab)
        assert lab.host("h1").exec(["true"]).returncode == 0
    assert reachable(lab)


def test_kill_host_is_a_loss_of_power(lab: Lab, faults: Faults) -> None:
    host = lab.host("h1")
    for path in ("/opt/stays", "/etc/stays", "/var/stays", "/run/goes"):
        host.write(path, "x")
    with faults.kill("h1", "host"):
        assert host.group.pids() == []
        assert not reachable(lab)
        with pytest.raises(LabError, match="not running"):
            host.exec(["true"])
    assert reachable(lab, "5")
    assert lab.ssh("h1", ["cat", "/opt/stays", "/etc/stays", "/var/stays"]).stdout == "xxx"
    assert lab.ssh("h1", ["cat", "/run/goes"], check=False).returncode != 0
    assert lab.ssh("h1", ["sudo", "-n", "hostname"], user="ops").stdout.strip() == "h1"


def test_freeze_host(lab: Lab, faults: Faults) -> None:
    before = lab.host("h1").first_process()
    with faults.freeze("h1", "host"):
        assert not reachable(lab)
    assert reachable(lab, "5")
    assert lab.host("h1").first_process() == before


def test_the_emqx_command_can_be_killed_and_frozen(lab: Lab, faults: Faults) -> None:
    host = lab.host("h1")
    host.write("/opt/emqx/bin/emqx", "#!/bin/sh\n: one\nsleep 60\n: two\n")
    host.path("/opt/emqx/bin/emqx").chmod(0o755)
    with subprocess.Popen(host.command(["/opt/emqx/bin/emqx", "upgrade", "4.4.19"])) as command:
        assert wait_for(lambda: len(find(host, "emqx")) == 2, 5)
        frozen = find(host, "emqx")
        with faults.freeze("h1", "emqx"):
            assert {process.state for pid in frozen if (process := read_process(pid))} == {"T"}
        # What is let go on runs for an instant before it sleeps again.
        assert wait_for(lambda: {p.state for pid in frozen if (p := read_process(pid))} == {"S"}, 5)
        faults.kill("h1", "emqx")
        assert command.wait(5) == -9
    assert find(host, "emqx") == []


def test_nothing_to_kill_is_told(faults: Faults) -> None:
    with pytest.raises(LabError, match="broker is not running on h2"):
        faults.kill("h2", "broker")


@pytest.mark.parametrize(
    ("argv", "is_one"),
    [
        ("/bin/sh /opt/emqx/bin/emqx upgrade 4.4.19", True),
        ("/bin/sh /usr/bin/emqx_ctl status", True),
        ("/bin/sh /opt/emqx/bin/emqx foreground", False),
        ("vi /opt/emqx/bin/emqx.conf", False),
    ],
)
def test_what_is_an_emqx_command(argv: str, is_one: bool) -> None:
    assert is_emqx_command(tuple(argv.split())) == is_one


def test_the_command_line(lab: Lab, faults: Faults) -> None:
    def command(*words: str) -> str:
        argv = [sys.executable, str(LAB), "--name", lab.name, "fault", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    assert "h1 is cut off" in command("cut", "h1")
    assert "loses 20 % of the packets" in command("loss", "h2", "20")
    assert len(command("list").splitlines()) == 2
    assert "undone" in command("undo", "h1")
    assert reachable(lab, "5")
    assert "undone" in command("undo")
    assert "nothing to undo" in command("undo")
