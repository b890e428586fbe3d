# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Hosts: apart from each other and from the machine, reachable by SSH, and gone without a trace."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fixtures import LabFactory
from tests.lab.labkit import Lab, LabError, net
from tests.lab.labkit.lab import STATES, labs
from tests.lab.labkit.procs import in_network_namespaces, wait_for

LAB = Path(__file__).resolve().parent.parent / "lab_cli.py"
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(lab_factory: LabFactory) -> Lab:
    """Two hosts without brokers."""
    return lab_factory({"defaults": {"broker": "none"}, "hosts": {"h1": {}, "h2": {"sizes": {"opt": "8m"}}}})


def machine() -> dict[str, list[str]]:
    """What of the machine a lab could leave something in."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    links = subprocess.run(["ip", "-j", "addr"], check=True, capture_output=True, text=True).stdout
    found = {
        # iproute2 mounts this itself the first time that a namespace gets a name, and it is not ours alone; neither are
        # the nodes of the contract's tests, which may be under way meanwhile.
        "mounts": [mount for mount in mounts if not mount.startswith(("/run/netns", "/var/tmp/emqx-contract-"))],
        "addresses": [
            f"{link['ifname']} {address['local']}" for link in json.loads(links) for address in link["addr_info"]
        ],
    }
    return {key: sorted(values) for key, values in found.items()}


def test_hosts_do_not_see_each_others_files(lab: Lab) -> None:
    for path in ("/opt/mine", "/tmp/mine", "/var/mine", "/etc/mine", "/root/mine", "/dev/shm/mine"):
        lab.host("h1").exec(["touch", path])
        assert lab.host("h1").exec(["test", "-e", path], check=False).returncode == 0
        assert lab.host("h2").exec(["test", "-e", path], check=False).returncode == 1
        assert not Path(path).exists()


def test_hosts_do_not_see_each_others_processes(lab: Lab) -> None:
    command = lab.host("h1").command(["sleep", "4711"])
    with subprocess.Popen(command) as sleeper:
        assert wait_for(lambda: "4711" in lab.host("h1").exec(["ps", "ax"]).stdout, 5)
        assert "4711" not in lab.host("h2").exec(["ps", "ax"]).stdout
        assert lab.host("h1").exec(["ps", "-o", "args=", "1"]).stdout.startswith("/bin/sh")
        sleeper.kill()


def test_each_has_its_name_its_users_and_its_sizes(lab: Lab) -> None:
    for name in ("h1", "h2"):
        assert lab.ssh(name, ["hostname"]).stdout.strip() == name
    assert lab.ssh("h1", ["id", "-un"], user="ops").stdout.strip() == "ops"
    assert lab.ssh("h1", ["sudo", "-n", "id", "-un"], user="ops").stdout.strip() == "root"
    assert lab.ssh("h1", ["sudo", "-n", "su", "-", "emqx", "-c", "id -un"], user="ops").stdout.strip() == "emqx"
    assert lab.host("h2").exec(["df", "--output=size", "-k", "/opt"]).stdout.split()[-1] == "8192"


@pytest.mark.parametrize(
    "argv",
    [
        ["date", "-s", "2020-01-01"],
        ["sh", "-c", "echo 1 > /proc/sys/vm/drop_caches"],
        ["sh", "-c", "echo 1 > /proc/sys/kernel/panic"],
        ["mount", "-t", "tmpfs", "none", "/mnt"],
        ["mount", "-o", "remount,rw", "/proc/sys"],
        ["mknod", "/tmp/disk", "b", "254", "0"],
        ["chroot", "/proc/1/root/.machine", "true"],
        ["reboot", "-f"],
    ],
)
@pytest.mark.parametrize("way", ["ssh", "exec"])
def test_nothing_done_in_a_host_changes_the_machine(lab: Lab, argv: list[str], way: str) -> None:
    before = time.time()
    if way == "exec":
        done = lab.host("h1").exec(argv, check=False)
    else:
        done = lab.ssh("h1", argv, check=False)
    assert done.returncode != 0
    assert 0 <= time.time() - before < 60


def test_nothing_leaves_the_lab(lab: Lab) -> None:
    assert lab.host("h1").exec(["ip", "route"]).stdout.split()[0] == "10.99.0.0/16"
    assert "default" not in lab.host("h1").exec(["ip", "route"]).stdout
    assert "default" not in lab.run(["ip", "route"]).stdout
    links = json.loads(lab.run(["ip", "-j", "link"]).stdout)
    assert {link["ifname"] for link in links} == {"lo", "bridge", "port1", "port2"}


def test_hosts_reach_each_other(lab: Lab) -> None:
    other = lab.host("h2").address
    assert "SSH-2.0" in lab.host("h1").exec(["bash", "-c", f"head -c 20 < /dev/tcp/{other}/22"]).stdout


def test_files_come_and_go(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("x", encoding="utf-8")
    lab.host("h1").put(source, "/opt/a/file")
    assert lab.ssh("h1", ["cat", "/opt/a/file"]).stdout == "x"
    lab.host("h1").get("/opt/a/file", tmp_path / "back")
    assert (tmp_path / "back").read_text(encoding="utf-8") == "x"


def test_an_up_of_a_lab_that_is_up_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="is up with 2 hosts; take it down first"):
        Lab.up(1, lab.name)


def test_an_unknown_host_is_told_with_those_there_are(lab: Lab) -> None:
    with pytest.raises(LabError, match="has no host h9; it has h1, h2"):
        lab.host("h9")


def test_two_labs_stand_side_by_side(lab: Lab, lab_factory: LabFactory) -> None:
    other = lab_factory(1)
    other.host("h1").exec(["touch", "/opt/other"])
    assert other.host("h1").address == lab.host("h1").address
    assert lab.ssh("h1", ["ls", "/opt/other"], check=False).returncode != 0
    other.down()
    assert lab.ssh("h1", ["true"]).returncode == 0


def test_ansible_reaches_hosts_from_outside(lab: Lab) -> None:
    program = Path(sys.executable).parent / "ansible"
    if not program.exists():
        pytest.skip("no ansible beside this Python")
    environment = {**os.environ, "ANSIBLE_PIPELINING": "True", "ANSIBLE_LOCALHOST_WARNING": "False"}
    argv = [str(program), "all", "-i", str(lab.inventory), "-m", "ansible.builtin.ping"]
    for extra in ([], ["-u", "ops", "-b"]):
        done = subprocess.run([*argv, *extra], capture_output=True, text=True, check=False, env=environment)
        assert done.stdout.count("SUCCESS") == 2, done.stdout + done.stderr


def check_gone(name: str, before: dict[str, list[str]]) -> None:
    """That nothing of a lab is left, whoever looks."""
    assert Lab(name).leftovers() == []
    assert name not in labs()
    assert machine() == before


def all_gone(pids: list[int]) -> bool:
    """Whether none of these processes is left (what is a zombie has no namespaces any more)."""
    return not any(Path(f"/proc/{pid}/ns/pid").exists() for pid in pids)


def up_and_down(hosts: int, times: int) -> None:
    """Bring a lab up and down so often, and look for leftovers each time."""
    name = f"t{os.getpid()}-cycle"
    before = machine()
    for _unused in range(times):
        lab = Lab.up(hosts, name)
        assert len(lab.hosts) == hosts
        pids = lab.group.pids()
        lab.down()
        check_gone(name, before)
        assert wait_for(functools.partial(all_gone, pids), 5)


def test_up_and_down_leave_nothing() -> None:
    up_and_down(hosts=10, times=2)


@pytest.mark.soak
def test_fifty_hosts_ten_times_leave_nothing() -> None:
    up_and_down(hosts=50, times=10)


@pytest.fixture
def killed_name() -> Iterator[str]:
    """The name of a lab that gets killed; cleared at the end whatever became of it."""
    name = f"t{os.getpid()}-killed"
    yield name
    Lab(name).down()


def start_and_kill(name: str, hosts: int, after: float) -> None:
    """Start ``lab up`` and kill it so many seconds after there was something of it."""
    argv = [sys.executable, str(LAB), "--name", name, "up", str(hosts)]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert wait_for((STATES / name).exists, 60), "nothing of the lab appears"
        time.sleep(after)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_down_clears_what_a_killed_up_left(killed_name: str, after: float) -> None:
    before = machine()
    start_and_kill(killed_name, 20, after)
    Lab(killed_name).down()
    check_gone(killed_name, before)


def test_the_next_up_clears_what_a_killed_one_left(killed_name: str) -> None:
    before = machine()
    found = 0
    for step in range(10):
        start_and_kill(killed_name, 20, step * 0.05)
        found += bool(Lab(killed_name).leftovers())
        lab = Lab(killed_name)
        if lab.is_up():  # it was faster
            lab.down()
            break
        with Lab.up(2, killed_name) as lab:
            assert lab.ssh("h2", ["hostname"]).stdout.strip() == "h2"
    assert found
    check_gone(killed_name, before)


@pytest.mark.soak
def test_fifty_hosts_killed_on_the_way_ten_times_leave_nothing(killed_name: str) -> None:
    before = machine()
    for step in range(10):
        start_and_kill(killed_name, 50, step * 0.15)
        Lab(killed_name).down()
        check_gone(killed_name, before)


def test_two_ups_of_one_name_do_not_trample(killed_name: str) -> None:
    argv = [sys.executable, str(LAB), "--name", killed_name, "up", "5"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _unused in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert any("is up with 5 hosts" in error for _unused, error in said)
    assert Lab(killed_name).ssh("h5", ["true"]).returncode == 0


def test_a_frozen_host_goes_down_as_well(killed_name: str) -> None:
    before = machine()
    lab = Lab.up(1, killed_name)
    lab.host("h1").group.freeze(True)
    lab.down()
    check_gone(killed_name, before)


def test_who_still_uses_the_network_goes_down_with_it(killed_name: str) -> None:
    lab = Lab.up(1, killed_name)
    with subprocess.Popen(lab.command(["sleep", "600"])) as visitor:
        network = net.namespace_path(lab.name, net.SWITCH)
        assert wait_for(lambda: visitor.pid in in_network_namespaces([network]), 30)
        lab.down()
        assert visitor.wait(30) == -signal.SIGKILL


def test_without_root_it_says_so_and_what_can_be_had() -> None:
    argv = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", str(LAB), "up", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs root" in done.stderr
    assert "--loopback" in done.stderr
