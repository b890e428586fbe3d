# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Hosts with a booted systemd: the broker is a real unit there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.lab.fixtures import LabFactory
from tests.lab.labkit import Faults, Lab, broker, simple_fleet

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("systemd-nspawn") is None, reason="systemd-container is not installed"),
]


@pytest.fixture(scope="module")
def lab(lab_factory: LabFactory) -> Lab:
    """A host with a broker and one without."""
    if not broker.packages_folder().is_dir():
        broker.build()
    settings = {"init": "systemd", "runner_user": "emqx"}
    return lab_factory({"defaults": settings, "hosts": {"h1": {}, "h2": {"broker": "none", "sizes": {"tmp": "8m"}}}})


def test_it_is_booted_and_nothing_failed(lab: Lab) -> None:
    for name in ("h1", "h2"):
        assert lab.ssh(name, ["systemctl", "is-system-running", "--wait"], check=False).stdout.strip() == "running"
    assert lab.host("h2").exec(["df", "--output=size", "-k", "/tmp"]).stdout.split()[-1] == "8192"


def test_the_broker_is_a_unit(lab: Lab) -> None:
    show = lab.ssh("h1", ["systemctl", "show", "-p", "MainPID", "-p", "User", "-p", "ActiveState", "emqx"]).stdout
    values = dict(line.split("=") for line in show.splitlines())
    assert (values["ActiveState"], values["User"]) == ("active", "emqx")
    assert lab.ssh("h1", ["cat", f"/proc/{values['MainPID']}/comm"]).stdout.strip() == "beam.smp"
    lab.ssh("h1", ["systemctl", "restart", "emqx"], timeout=120)
    assert "is started" in lab.ssh("h1", ["/opt/emqx/bin/emqx_ctl", "status"]).stdout


def test_faults_of_such_a_host(lab: Lab) -> None:
    faults = Faults(lab)
    with faults.kill("h2", "sshd"):
        assert lab.ssh("h2", ["true"], check=False).returncode == 255
    assert lab.ssh("h2", ["true"]).returncode == 0
    with faults.kill("h1", "host"):
        assert lab.host("h1").group.pids() == []
    assert lab.ssh("h1", ["systemctl", "is-active", "emqx"]).stdout.strip() == "active"
    with faults.freeze("h2", "host"):
        assert lab.host("h2").group.is_frozen()
    assert lab.ssh("h2", ["true"]).returncode == 0


def test_the_machine_stays_as_it_is(lab: Lab) -> None:
    panic = Path("/proc/sys/kernel/panic").read_text(encoding="ascii")
    for argv in (["date", "-s", "2020-01-01"], ["sh", "-c", "echo 77 > /proc/sys/kernel/panic"]):
        assert lab.ssh("h2", argv, check=False).returncode != 0
    assert Path("/proc/sys/kernel/panic").read_text(encoding="ascii") == panic


def test_it_goes_without_a_trace() -> None:
    name = f"t{os.getpid()}-systemd"
    for _unused in range(2):
        with Lab.up(simple_fleet(3, init="systemd"), name):
            pass
        assert Lab(name).leftovers() == []
