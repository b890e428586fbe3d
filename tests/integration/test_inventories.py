# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Whole roll-outs over inventories as people have them: strange names of hosts, strict settings of Ansible, controllers
that may do nothing but connect.

With another release's commands in EMQX_FLEET_ANSIBLE it shows the same there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.broker import broker as test_broker
from tests.lab.labkit import Lab, parse_fleet

from .node import ROOT

COMMANDS = Path(os.environ.get("EMQX_FLEET_ANSIBLE") or Path(sys.executable).parent)
OLD, NEW = "4.4.18", "4.4.19"
#: Of no account on the machine; only the namespace of the controller may know it.
UID = 61234
#: An interpreter that only nodes have.
INTERPRETER = "/srv/node-python/bin/python"
QUICK: Mapping[str, Any] = {
    "emqx_upgrade_version": NEW,
    "emqx_upgrade_packages": str(ROOT / ".build/broker/packages"),
    "emqx_upgrade_soak_seconds": 1,
    "emqx_upgrade_soak_interval": 1,
    "emqx_upgrade_verify_seconds": 8,
    "emqx_upgrade_reconnect_timeout": 30,
}
#: Runs a command in a namespace of its own, where PASSWD is the list of accounts, and everyone may read the folders of
#: Python even if they lie in the home of root.
UNPRIVILEGED = """
set -e
mount --bind "$PASSWD" /etc/passwd
for python in $PYTHONS; do
    hidden=/$(printf %s "$python" | cut -d/ -f2)
    [ "$(stat -c %A "$hidden" | cut -c10)" = - ] || continue
    mount --bind "$hidden" "$HOLD"
    mount -t tmpfs -o mode=755 tmpfs "$hidden"
    for each in $PYTHONS; do
        case $each in "$hidden"/*) mkdir -p "$each" && mount --bind "$HOLD${each#"$hidden"}" "$each" ;; esac
    done
done
exec setpriv --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs --bounding-set -all --inh-caps -all "$@"
"""


@dataclass(frozen=True)
class Done:
    """The end of ansible-playbook: its output, and its report if there is one."""

    rc: int
    output: str
    report: dict[str, Any] | None

    @property
    def results(self) -> dict[str, str]:
        """What the report says became of each node."""
        return {name: node["result"] for name, node in (self.report or {}).get("nodes", {}).items()}


@dataclass(frozen=True)
class Controller:
    """Where ansible-playbook is run: a folder, and the command that begins each of its commands."""

    home: Path
    begin: tuple[str, ...] = ()

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """As for somebody who has just logged in, with the collection."""
        kept = {name: os.environ[name] for name in ("LANG", "PYENV_ROOT", "EMQX_LAB_PACKAGES") if name in os.environ}
        return {
            **kept,
            "PATH": f"{COMMANDS}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "False",
            **more,
        }

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            (*self.begin, *command),
            cwd=self.home,
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def play(self, inventory: Path, *options: str, settings: Mapping[str, Any], **environment: str) -> Done:
        """Upgrade the fleet of an inventory."""
        report = self.home / "report.json"
        report.unlink(missing_ok=True)
        given = json.dumps({**QUICK, "emqx_upgrade_report_file": str(report), **settings})
        line = (str(COMMANDS / "ansible-playbook"), "-i", str(inventory), "emqx.fleet.upgrade", *options, "-e", given)
        done = self.call(*line, **environment)
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
        return Done(done.returncode, done.stdout, found)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that others may enter, as the temporary folders of pytest may not be."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="emqx-fleet-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def unprivileged(home: Path) -> Callable[[str], Controller]:
    """Make a controller whose user may do nothing; of an account with the name that is given, if any is."""

    def make(account: str = "") -> Controller:
        own = home / "own"
        own.mkdir()
        os.chown(own, UID, UID)
        lines = Path("/etc/passwd").read_text(encoding="utf-8")
        if account:
            lines += f"{account}:x:{UID}:{UID}::{own}:/bin/sh\n"
        (home / "passwd").write_text(lines, encoding="utf-8")
        (home / "hold").mkdir()
        ask = (COMMANDS / "python", "-c", "import sys; print(sys.base_prefix)")
        python = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
        pythons = " ".join(dict.fromkeys((python, sys.base_prefix)))
        values = {"PASSWD": home / "passwd", "PYTHONS": pythons, "HOLD": home / "hold", "ID": UID}
        begin = ["env", *(f"{name}={value}" for name, value in values.items())]
        return Controller(own, (*begin, "unshare", "--mount", "sh", "-c", UNPRIVILEGED, "sh"))

    return make


@pytest.fixture
def lab(collection: Path) -> Iterator[Lab]:
    """A cluster of two on hosts that have an interpreter where the machine has none."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    test_broker.build()
    name = f"inv{os.getpid()}"
    with Lab.up(parse_fleet({"defaults": {"version": OLD}, "clusters": {"c": {"hosts": ["h1", "h2"]}}}), name) as made:
        for host in made.hosts.values():
            host.exec(["sh", "-c", f"mkdir -p {Path(INTERPRETER).parent} && ln -s /usr/bin/python3 {INTERPRETER}"])
        yield made


def dynamic(
    lab: Lab, folder: Path, names: Sequence[str], groups: Mapping[str, Sequence[str]], **variables: Any
) -> Path:
    """The lab's hosts by other names, which a program tells: such names are parsed by nobody."""
    told = json.loads(lab.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    hosts = zip(names, lab.hosts.values(), strict=True)
    own = {name: {"ansible_host": host.address, "emqx_upgrade_executable": host.executable} for name, host in hosts}
    listed = {
        "all": {"hosts": list(names), "vars": {**told, "ansible_python_interpreter": INTERPRETER, **variables}},
        "_meta": {"hostvars": own},
        **{group: {"hosts": list(members)} for group, members in groups.items()},
    }
    path = folder / "inventory"
    path.write_text(f"#!/bin/sh\ncat <<'end'\n{json.dumps(listed)}\nend\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def require_upgraded(done: Done, names: Sequence[str], *executables: Callable[[str], str]) -> None:
    """Every host is in the report by its own name, and its broker says of itself that it was upgraded."""
    assert done.rc == 0, done.output
    assert done.report is not None, done.output
    assert done.results == dict.fromkeys(names, "committed"), done.output
    assert done.report["ok"], done.report["message"]
    for versions in executables:
        assert f"* {NEW}\tpermanent" in versions("versions"), versions("versions")


def asked(lab: Lab, host: str) -> Callable[[str], str]:
    """What the command of a host's broker prints."""
    return lambda command: lab.host(host).exec([lab.host(host).executable, command]).stdout


@pytest.mark.root
def test_names_that_ansible_takes_apart_under_strict_settings(lab: Lab, home: Path, tmp_path: Path) -> None:
    """First a run that fails, of which the report must tell; then one that succeeds."""
    names = ["Edge 1", "edge[1]"]
    hook = tmp_path / "no.yml"
    hook.write_text("- ansible.builtin.fail:\n    msg: not tonight\n", encoding="utf-8")
    # The empty group has the name of a host, and the interpreter and become are for all, so for localhost as well.
    inventory = dynamic(lab, home, names, {"both": names, "edge[1]": ["edge[1]"]}, ansible_become=True)
    strict = {
        "ANSIBLE_ANY_ERRORS_FATAL": "true",
        "ANSIBLE_DISPLAY_FAILED_STDERR": "true",
        "ANSIBLE_ERROR_ON_UNDEFINED_VARS": "true",
        "ANSIBLE_FORKS": "2",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_HASH_BEHAVIOUR": "merge",
        "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_JINJA2_NATIVE": "true",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_STRATEGY": "free",
    }
    controller = Controller(home)
    refused = controller.play(
        inventory,
        # A list as one text, as surveys hand it over.
        settings={"emqx_upgrade_hosts": '["both"]', "emqx_upgrade_hooks": {"before_fleet": str(hook)}},
        **strict,
    )
    assert refused.rc != 0
    assert refused.report is not None, refused.output
    assert (set(refused.results), refused.report["ok"]) == (set(names), False)
    assert "failed in phase before_fleet: The hook before_fleet failed: not tonight." in refused.output

    given = {
        "emqx_upgrade_hosts": names,
        "emqx_upgrade_canary": ["edge[1]"],
        "emqx_upgrade_coordinators": ["Edge 1"],
    }
    done = controller.play(inventory, settings=given, **strict)
    require_upgraded(done, names, asked(lab, "h1"), asked(lab, "h2"))
    assert done.report is not None
    assert [done.report["nodes"][name]["wave"] for name in names] == [2, 1]


@pytest.mark.root
def test_an_unprivileged_controller(lab: Lab, unprivileged: Callable[[str], Controller]) -> None:
    """It has no sudo, an account that only connects, and packages that it may but read."""
    controller = unprivileged("deploy")
    key = controller.home / "key"
    shutil.copy(lab.state / "key", key)
    os.chown(key, UID, UID)
    names = ["größe, ü:x", "group"]
    inventory = dynamic(
        lab,
        controller.home.parent,
        names,
        {"group": names},
        ansible_become=True,
        ansible_user="ops",
        ansible_ssh_private_key_file=str(key),
        ansible_ssh_executable="/usr/bin/ssh",
        ansible_ssh_common_args=f"-F /dev/null -o UserKnownHostsFile={lab.state / 'known_hosts'}",
        ansible_sftp_executable="/usr/bin/sftp",
        ansible_scp_executable="/usr/bin/scp",
        ansible_control_path_dir=str(controller.home / "cp"),
    )
    inside = Controller(controller.home, (*lab.command(()), *controller.begin))
    allowed = inside.call("sh", "-c", f"id -un; test -w {inventory} || test -w / || sudo -n true")
    assert (allowed.returncode != 0, allowed.stdout.splitlines()[0]) == (True, "deploy"), allowed.stdout
    done = inside.play(
        inventory,
        "--limit",
        "gr[n-p]up,größe*",
        settings={"emqx_upgrade_hosts": [*names, "!nobody*"], "emqx_upgrade_canary": "all:!größe, ü:x"},
        ANSIBLE_PIPELINING="true",
        ANSIBLE_STDOUT_CALLBACK="oneline",
        ANSIBLE_STRATEGY="host_pinned",
    )
    require_upgraded(done, names, asked(lab, "h1"), asked(lab, "h2"))


@pytest.mark.root
def test_brokers_beside_the_controller(collection: Path, home: Path, unprivileged: Callable[[str], Controller]) -> None:
    """Two brokers of one machine without a connection, of a user that has no account, as some containers have it."""
    if os.geteuid() != 0:
        pytest.skip("another user's processes need root")
    test_broker.build()
    controller = unprivileged("")
    lab = (sys.executable, str(ROOT / "tests/lab/lab_cli.py"), "--name", "beside")
    up = controller.call(*lab, "up", "--loopback", "2", "--version", OLD)
    try:
        assert up.returncode == 0, up.stdout
        (folder,) = controller.home.glob("emqx-fleet-lab-*/beside")
        inventory = home / "hosts"
        hosts = {"edge-1:2222": "n1", "[::1]:2201": "n2"}
        lines = [f"{name} emqx_upgrade_executable={folder}/{place}/emqx/bin/emqx" for name, place in hosts.items()]
        lines += ["[all:vars]", "ansible_connection=local", f"ansible_python_interpreter={COMMANDS / 'python'}"]
        inventory.write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = controller.play(
            inventory,
            "--limit",
            "::1,edge-1",
            settings={"emqx_upgrade_canary": "::1", "emqx_upgrade_hosts": "edge-1,::1"},
            ANSIBLE_FORKS="1",
            ANSIBLE_STDOUT_CALLBACK="minimal",
        )

        def versions(place: str) -> Callable[[str], str]:
            return lambda command: controller.call(f"{folder}/{place}/emqx/bin/emqx", command).stdout

        require_upgraded(done, ["edge-1", "::1"], versions("n1"), versions("n2"))
    finally:
        controller.call(*lab, "down")
