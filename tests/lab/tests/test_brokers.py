# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Brokers in the lab: uneven fleets, both layouts, faults of the broker itself, and the loopback variant."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fixtures import LabFactory
from tests.lab.labkit import Faults, Lab, LabError, broker, parse_fleet
from tests.lab.labkit.faults import find
from tests.lab.labkit.loopback import Loopback
from tests.lab.labkit.procs import wait_for

LAB = Path(__file__).resolve().parent.parent / "lab_cli.py"
FLEET = {
    "defaults": {"version": "4.4.18"},
    "clusters": {
        "blue": {"runner_user": "emqx", "layout": "package", "hosts": {"b1": {}, "b2": {"version": "4.4.17"}}},
        "dark-green": {"hosts": {"g1": {"port": 1884}, "g2": {"broker": "stopped", "platform": "ubuntu20.04"}}},
    },
    "hosts": {
        "spare": {"broker": "none"},
        "old": {"version": "4.2.13", "package": "4.2", "layout": "package", "runner_user": "emqx"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The test broker's packages; built if they are not."""
    if not broker.packages_folder().is_dir():
        broker.build()


@pytest.fixture(scope="module")
def lab(lab_factory: LabFactory) -> Lab:
    """An uneven fleet."""
    return lab_factory(FLEET)


@pytest.mark.root
def test_each_runs_what_it_shall(lab: Lab) -> None:
    said = {name: lab.ssh(name, ["emqx_ctl", "status"], check=False).stdout for name in ("b1", "b2")}
    assert said == {
        "b1": "Node 'emqx@10.99.0.11' 4.4.18 is started\n",
        "b2": "Node 'emqx@10.99.0.12' 4.4.17 is started\n",
    }
    assert len(find(lab.host("g1"), "broker")) == 1
    assert find(lab.host("g2"), "broker") == []
    assert lab.host("g2").exec(["/opt/emqx/bin/emqx", "ping"], check=False).returncode != 0
    assert lab.host("g2").read("/opt/emqx/releases/4.4.18/BUILT_ON").strip().endswith("-64-ubuntu20.04")
    assert lab.host("spare").exec(["ls", "/opt"]).stdout == ""


@pytest.mark.root
def test_the_package_layout_is_that_of_a_package(lab: Lab) -> None:
    host = lab.host("b1")
    assert host.exec(["readlink", "-f", "/usr/bin/emqx"]).stdout.strip() == "/usr/lib/emqx/bin/emqx"
    assert (
        host.exec(["stat", "-c", "%U", "/usr/lib/emqx/releases", "/var/lib/emqx", "/etc/emqx/emqx.conf"]).stdout.split()
        == ["emqx"] * 3
    )
    assert host.exec(["ps", "-o", "user=", "-C", "beam.smp"]).stdout.split() == ["emqx"]
    assert host.exec(["emqx", "root_dir"]).stdout.strip() == '"/usr/lib/emqx"'


@pytest.mark.root
@pytest.mark.parametrize("name", ["b1", "old"])
def test_a_packaged_broker_is_called_through_its_link(lab: Lab, name: str) -> None:
    """Its variables name the folders outright, whatever an unpacked one says; root becomes the user by `su`."""
    host = lab.host(name)
    said = host.read("/usr/lib/emqx/releases/emqx_vars")
    assert 'RUNNER_BIN_DIR="/usr/bin"\n' in said
    assert ('RUNNER_ROOT_DIR="/usr/lib/emqx"\n' in said) == (name == "old")
    assert "$(cd" not in said
    assert host.exec(["/usr/bin/emqx", "root_dir"], user="root").stdout == '"/usr/lib/emqx"\n'
    assert host.exec(["/usr/bin/emqx", "versions"], user="emqx").stdout.endswith("\tpermanent\n\n")


@pytest.mark.root
def test_a_banner_of_the_user_comes_before_every_answer(lab: Lab) -> None:
    """`su -` makes a login: what the profile prints stands in front, without a line of its own if it has none."""
    host = lab.host("b1")
    home = host.exec(["sh", "-c", "echo ~emqx"]).stdout.strip()
    host.write(f"{home}/.profile", "printf 'Welcome '\n")
    try:
        assert host.exec(["/usr/bin/emqx", "ping"], user="root").stdout == "Welcome pong\n"
    finally:
        host.path(f"{home}/.profile").unlink()


@pytest.mark.root
def test_the_inventory_has_the_clusters(lab: Lab) -> None:
    every = json.loads(lab.inventory.read_text(encoding="utf-8"))["all"]
    assert set(every["hosts"]) == {"b1", "b2", "g1", "g2", "spare", "old"}
    assert {name: set(group["hosts"]) for name, group in every["children"]["emqx"]["children"].items()} == {
        "blue": {"b1", "b2"},
        "dark_green": {"g1", "g2"},
    }
    assert set(every["children"]["no_broker"]["hosts"]) == {"spare"}
    assert every["hosts"]["b1"]["emqx_upgrade_executable"] == "/usr/lib/emqx/bin/emqx"


@pytest.mark.root
def test_clusters_are_apart(lab: Lab) -> None:
    running = lab.host("b1").exec(["emqx_ctl", "cluster", "status"]).stdout
    assert running.count("emqx@") == 2


@pytest.mark.root
def test_freeze_and_kill_of_the_broker(lab: Lab) -> None:
    faults, host = Faults(lab), lab.host("g1")
    with faults.freeze("g1", "broker"), pytest.raises(LabError, match="took longer"):
        host.exec(["/opt/emqx/bin/emqx_ctl", "status"], timeout=2)
    assert wait_for(
        lambda: "is started" in host.exec(["/opt/emqx/bin/emqx_ctl", "status"], check=False).stdout, 20, 0.5
    )
    before = find(host, "broker")
    with faults.kill("g1", "broker"):
        assert find(host, "broker") == []
    assert find(host, "broker") not in ([], before)


@pytest.mark.root
def test_a_host_that_lost_its_power_comes_back_with_its_broker(lab: Lab) -> None:
    with Faults(lab).kill("b1", "host"):
        assert lab.host("b1").group.pids() == []
    assert "4.4.18 is started" in lab.ssh("b1", ["emqx_ctl", "status"]).stdout


@pytest.mark.root
def test_clients_through_the_command_line(lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client")
    argv = [sys.executable, str(LAB), "--name", lab.name, "swarm", "--busy", "4", "--idle", "4", "--rate", "5"]
    argv += ["--duration", "2", "--result", str(tmp_path / "result.json")]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    total = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["total"]
    assert (total["clients"], total["kept"], total["lost"]) == (32, 32, 0)
    assert total["received"] == total["sent"] > 0


@pytest.mark.root
def test_a_package_that_there_is_not_is_told_before_anything_starts() -> None:
    fleet = parse_fleet({"hosts": {"a": {"version": "9.9.9"}}})
    with pytest.raises(LabError, match=r"host a shall have emqx-9\.9\.9-otp\*-\*\.zip"):
        Lab.up(fleet, f"nopackage-{time.time_ns() % 10**9}")


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    """Two brokers without hosts."""
    with Loopback.up(2, f"t{time.time_ns() % 10**9}") as lab:
        yield lab


def test_loopback_brokers_are_a_cluster(loopback: Loopback) -> None:
    one, two = loopback.brokers
    argv = [str(one.root_dir / "bin" / "emqx_ctl"), "cluster", "status"]

    def formed() -> bool:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        return f"'{two.node}'" in said.partition("stopped_nodes")[0]

    assert wait_for(formed, 30, 0.5)


def test_loopback_inventory_is_local(loopback: Loopback) -> None:
    hosts = json.loads(loopback.inventory.read_text(encoding="utf-8"))["all"]["children"]["emqx"]["hosts"]
    assert {host["ansible_connection"] for host in hosts.values()} == {"local"}
    assert all(Path(host["emqx_upgrade_executable"]).exists() for host in hosts.values())


def test_loopback_goes_down_without_a_trace(loopback: Loopback) -> None:
    loopback.down()
    assert loopback.processes() == []
    assert not loopback.state.exists()
