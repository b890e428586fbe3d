# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who owns an installation: a package manager, a container, or nobody."""

import os
import time
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import origin

ID = "0123456789abcdef" * 4
STATUS = """\
Package: adduser
Status: install ok installed
Version: 3.134

Package: {package}
Status: {selection} ok installed
Depends: libc6
Version: 4.4.18
Description: EMQX
 Version: of the text

Package: zlib1g
Status: install ok installed
Version: 1:1.2
"""


def write(root: Path, path: str, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


@pytest.fixture
def executable(tmp_path: Path) -> str:
    return str(write(tmp_path, "usr/lib/emqx/bin/emqx", "#!/bin/sh\n"))


# Packages


def deb(root: Path, package: str = "emqx", selection: str = "install", files: str = "/usr/lib/emqx/bin/emqx\n") -> None:
    write(root, "var/lib/dpkg/info/{0}.list".format(package), "/.\n/usr/lib\n" + files)
    write(root, "var/lib/dpkg/status", STATUS.format(package=package.partition(":")[0], selection=selection))


@pytest.mark.parametrize(
    ("package", "selection", "expected"),
    [
        ("emqx", "install", {"name": "dpkg", "package": "emqx", "version": "4.4.18", "held": False}),
        ("emqx", "hold", {"name": "dpkg", "package": "emqx", "version": "4.4.18", "held": True}),
        ("emqx-ee", "install", {"name": "dpkg", "package": "emqx-ee", "version": "4.4.18", "held": False}),
        ("emqx:amd64", "hold", {"name": "dpkg", "package": "emqx", "version": "4.4.18", "held": True}),
    ],
)
def test_deb(tmp_path: Path, executable: str, package: str, selection: str, expected: Dict[str, Any]) -> None:
    deb(tmp_path, package, selection)
    assert origin.package_manager(executable, str(tmp_path)) == expected


def test_deb_that_was_moved_behind_a_link(tmp_path: Path) -> None:
    moved = write(tmp_path, "big/emqx/bin/emqx", "")
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/emqx").symlink_to(tmp_path / "big/emqx")
    deb(tmp_path)
    found = origin.package_manager(str(moved), str(tmp_path))
    assert found is not None
    assert found["package"] == "emqx"


@pytest.mark.parametrize("files", ["/opt/emqx/bin/emqx\n", "/etc/emqx/emqx.conf\n", "/usr/lib/emqx/bin/emqx_ctl\n"])
def test_package_beside_an_installation_of_its_own(tmp_path: Path, executable: str, files: str) -> None:
    deb(tmp_path, files=files)
    assert origin.package_manager(executable, str(tmp_path)) is None


def test_deb_without_a_row_in_the_table(tmp_path: Path, executable: str) -> None:
    deb(tmp_path)
    (tmp_path / "var/lib/dpkg/status").unlink()
    expected = {"name": "dpkg", "package": "emqx", "version": None, "held": False}
    assert origin.package_manager(executable, str(tmp_path)) == expected


def rpm(root: Path, monkeypatch: pytest.MonkeyPatch, script: str, database: str = "var/lib/rpm/rpmdb.sqlite") -> None:
    write(root, database, "")
    write(root, "tools/rpm", "#!/bin/sh\n" + script).chmod(0o755)
    monkeypatch.setenv("PATH", "{0}:{1}".format(root / "tools", os.environ["PATH"]))


ANSWERS = 'test "$LC_ALL $1 $2 $#" = "C -qf --queryformat 4" && test -e "$4" && echo "emqx 4.4.18"'


@pytest.mark.parametrize(
    ("path", "text", "held"),
    [
        ("etc/motd", "emqx-0:4.4.18-1.*", False),
        ("etc/dnf/plugins/versionlock.list", "# Added\nemqx-0:4.4.18-1.el8.*\n", True),
        ("etc/dnf/plugins/versionlock.list", "emqx-4.4.*\n", True),
        ("etc/dnf/plugins/versionlock.list", "emqx\n", True),
        ("etc/dnf/plugins/versionlock.list", "!emqx-0:4.4.17-1.el8.*\n", False),
        ("etc/dnf/plugins/versionlock.list", "emqx-ee-0:4.4.18-1.el8.*\n", False),
        ("etc/yum/pluginconf.d/versionlock.list", "0:emqx-4.4.18-1.el7.*\n", True),
        ("etc/yum/pluginconf.d/versionlock.list", "#0:emqx-4.4.18-1.el7.*\n", False),
        ("etc/dnf/versionlock.toml", '[[packages]]\nname = "emqx"\n', True),
        ("etc/dnf/versionlock.toml", '[[packages]]\nname = "emqx-ee"\n', False),
        ("etc/zypp/locks", "\ntype: package\nsolvable_name: emqx\n", True),
    ],
)
def test_rpm(
    tmp_path: Path, executable: str, monkeypatch: pytest.MonkeyPatch, path: str, text: str, held: bool
) -> None:
    rpm(tmp_path, monkeypatch, ANSWERS)
    write(tmp_path, path, text)
    expected = {"name": "rpm", "package": "emqx", "version": "4.4.18", "held": held}
    assert origin.package_manager(executable, str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("script", "database"),
    [
        ('echo "file $4 is not owned by any package"; exit 1', "var/lib/rpm/Packages"),
        ("exit 0", "usr/lib/sysimage/rpm/rpmdb.sqlite"),
        ("echo emqx 4.4.18; exit 1", "usr/lib/sysimage/rpm/rpmdb.sqlite"),
        # Where there is no database, nothing is asked.
        (ANSWERS, "var/lib/other/rpmdb.sqlite"),
    ],
)
def test_rpm_that_knows_nothing(
    tmp_path: Path, executable: str, monkeypatch: pytest.MonkeyPatch, script: str, database: str
) -> None:
    rpm(tmp_path, monkeypatch, script, database)
    assert origin.package_manager(executable, str(tmp_path)) is None


def test_rpm_that_hangs(tmp_path: Path, executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rpm(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(origin, "_RPM_TIMEOUT", 0.2)
    start = time.monotonic()
    assert origin.package_manager(executable, str(tmp_path)) is None
    assert time.monotonic() - start < 20


def test_no_rpm_command(tmp_path: Path, executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "var/lib/rpm/Packages.db", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert origin.package_manager(executable, str(tmp_path)) is None


# Containers


def machine(
    root: Path, group: str = "0::/", first: str = "/sbin/init", mark: Optional[str] = None, environ: str = ""
) -> None:
    """A machine whose broker is process 7."""
    write(root, "proc/7/cgroup", "1:name=systemd:/\n" + group + "\n")
    write(root, "proc/7/environ", environ)
    write(root, "proc/1/cmdline", first.replace(" ", "\0") + "\0")
    if mark:
        write(root, mark, "")


@pytest.mark.parametrize(
    ("group", "word"),
    [
        ("4:memory:/docker/" + ID, "docker"),
        ("0::/system.slice/docker-" + ID + ".scope", "docker"),
        ("0::/machine.slice/libpod-" + ID + ".scope/container", "podman"),
        ("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + ID + ".scope", "podman"),
        ("4:memory:/kubepods/burstable/pod0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f/" + ID, "kubernetes"),
        ("0::/kubepods.slice/kubepods-pod0a1b.slice/cri-containerd-" + ID + ".scope", "kubernetes"),
        ("0::/system.slice/nerdctl-" + ID + ".scope", "containerd"),
        # Machines: systemd and LXC, also where an init system runs in a container's group.
        ("0::/system.slice/emqx.service", None),
        ("0::/user.slice/user-0.slice/session-1.scope", None),
        ("0::/lxc.payload.emqx1/system.slice/emqx.service", None),
        ("0::/machine.slice/systemd-nspawn@h1.service/payload/system.slice/emqx.service", None),
        ("4:memory:/docker/" + ID + "/system.slice/emqx.service", None),
        ("0::/system.slice/docker.service", None),
    ],
)
def test_control_groups(tmp_path: Path, group: str, word: Optional[str]) -> None:
    machine(tmp_path, group)
    assert origin.container(7, str(tmp_path)) == word


@pytest.mark.parametrize(
    ("first", "mark", "environ", "word"),
    [
        ("/usr/bin/tini -- /usr/bin/docker-entrypoint.sh", ".dockerenv", "", "docker"),
        ("/sbin/docker-init -- emqx foreground", ".dockerenv", "", "docker"),
        ("bash /usr/bin/docker-entrypoint.sh emqx", ".dockerenv", "", "docker"),
        ("/bin/sh /opt/emqx/bin/emqx foreground", "run/.containerenv", "", "podman"),
        ("/pause", None, "HOME=/\0KUBERNETES_SERVICE_HOST=10.0.0.1", "kubernetes"),
        ("/usr/bin/tini -- emqx", ".dockerenv", "KUBERNETES_SERVICE_HOST=10.0.0.1", "kubernetes"),
        ("/usr/bin/tini -- emqx", None, "", None),
        # Machines whose files came from an image, or that stand in a container themselves.
        ("/sbin/init", ".dockerenv", "", None),
        ("/lib/systemd/systemd --system", "run/.containerenv", "KUBERNETES_SERVICE_HOST=10.0.0.1", None),
        ("/bin/bash /srv/lab/init.sh h1", ".dockerenv", "KUBERNETES_SERVICE_HOST=10.0.0.1", None),
    ],
)
def test_marks(tmp_path: Path, first: str, mark: Optional[str], environ: str, word: Optional[str]) -> None:
    machine(tmp_path, first=first, mark=mark, environ=environ)
    assert origin.container(7, str(tmp_path)) == word


def test_broker_that_is_the_first_process(tmp_path: Path) -> None:
    machine(tmp_path, first="/opt/emqx/erts-12.3.2.2/bin/beam.smp -P 2097152", mark=".dockerenv")
    assert origin.container(7, str(tmp_path)) is None
    write(tmp_path, "proc/1/cgroup", "0::/\n")
    assert origin.container(1, str(tmp_path)) == "docker"


def test_nothing_to_be_read(tmp_path: Path) -> None:
    assert origin.container(None, str(tmp_path)) is None
    assert origin.container(7, str(tmp_path)) is None
    assert origin.package_manager("/opt/emqx/bin/emqx", str(tmp_path)) is None


def test_this_machine_answers_at_once() -> None:
    start = time.monotonic()
    origin.container(os.getpid())
    assert origin.package_manager("/nowhere/bin/emqx") is None
    assert time.monotonic() - start < 10
