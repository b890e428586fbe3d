# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who owns an installation besides us: a package manager, or the image of a container. Nothing is changed."""

import glob
import os
import re
import subprocess
from typing import Any, Dict, Optional

# Seconds; a question takes some ten milliseconds unless the database of packages is locked.
_RPM_TIMEOUT = 5
_RPM_DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm")
# The lock files of yum, dnf 4, dnf 5 and zypper.
_RPM_LOCKS = (
    "etc/yum/pluginconf.d/versionlock.list",
    "etc/dnf/plugins/versionlock.list",
    "etc/dnf/versionlock.toml",
    "etc/zypp/locks",
)
# In the first two a line is a version with an epoch before or after the name; a ! excludes one version alone.
_RPM_LOCK = r"^(?:(?:\d+:)?{0}(?:-(?:\d+:)?[\d*].*)?|name\s*=\s*\"{0}\"|solvable_name:\s*{0})\s*$"

# The control group of a container's own processes ends with the container. Where more follows, there is an init system
# in it that makes groups of its own: that is a machine, whatever made it.
_CONTAINER_GROUPS = (
    ("kubernetes", re.compile(r"/kubepods.*[/-][0-9a-f]{32,}(?:\.scope)?$")),
    ("docker", re.compile(r"/docker[/-][0-9a-f]{32,}(?:\.scope)?$")),
    ("podman", re.compile(r"/libpod-[0-9a-f]{32,}(?:\.scope)?(?:/container)?$")),
    ("containerd", re.compile(r"/(?:nerdctl|cri-containerd)-[0-9a-f]{32,}(?:\.scope)?$")),
)
_CONTAINER_MARKS = ((".dockerenv", "docker"), ("run/.containerenv", "podman"))
# What process 1 of a container is where that is not the broker itself: its start script, or a small init. A real init
# is not among them.
_CONTAINER_STARTERS = {
    "catatonit",
    "docker-entrypoint.sh",
    "docker-init",
    "dumb-init",
    "emqx",
    "pause",
    "podman-init",
    "s6-svscan",
    "supervisord",
    "tini",
}


def package_manager(executable: str, root: str = "/") -> Optional[Dict[str, Any]]:
    """The package that the ``emqx`` command belongs to: ``name``, ``package``, ``version``, ``held``.

    ``executable``: its path, links resolved. ``name``: ``dpkg`` or ``rpm``. ``held``: the manager was told to leave the
    package as it is. None where no package owns the command, or where that cannot be found out.
    """
    return _of_dpkg(executable, root) or _of_rpm(executable, root)


def _of_dpkg(executable: str, root: str) -> Optional[Dict[str, Any]]:
    database = os.path.join(root, "var/lib/dpkg")
    for path in sorted(glob.glob(os.path.join(glob.escape(database), "info", "*emqx*.list"))):
        commands = [line for line in _read(path).splitlines() if line.endswith("/emqx")]
        if executable not in [os.path.realpath(os.path.join(root, line.lstrip("/"))) for line in commands]:
            continue
        package = os.path.basename(path)[: -len(".list")].partition(":")[0]
        fields = _dpkg_fields(_read(os.path.join(database, "status")), package)
        return {
            "name": "dpkg",
            "package": package,
            "version": fields.get("Version"),
            # What `apt-mark hold` sets.
            "held": fields.get("Status", "").startswith("hold "),
        }
    return None


def _dpkg_fields(status: str, package: str) -> Dict[str, str]:
    start = "Package: {0}\n".format(package)
    for paragraph in status.split("\n\n"):
        if (paragraph.lstrip("\n") + "\n").startswith(start):
            pairs = (line.partition(":") for line in paragraph.splitlines())
            return {name: value.strip() for name, _unused, value in pairs}
    return {}


def _of_rpm(executable: str, root: str) -> Optional[Dict[str, Any]]:
    if not any(glob.glob(os.path.join(glob.escape(root), path, "[Pr]*")) for path in _RPM_DATABASES):
        return None
    try:
        answer = subprocess.run(
            ["rpm", "-qf", "--queryformat", "%{NAME} %{VERSION}\\n", executable],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, LC_ALL="C"),
            timeout=_RPM_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.decode("utf-8", "replace").partition("\n")[0].split()
    if answer.returncode != 0 or len(words) != 2:
        return None
    package, version = words
    lock = re.compile(_RPM_LOCK.format(re.escape(package)), re.MULTILINE)
    held = any(lock.search(_read(os.path.join(root, path))) for path in _RPM_LOCKS)
    return {"name": "rpm", "package": package, "version": version, "held": held}


def container(pid: Optional[int], root: str = "/") -> Optional[str]:
    """What kind of container the broker runs in: ``docker``, ``podman``, ``kubernetes``, ``containerd``; else None.

    ``pid``: the broker's process, None if it does not run. Its control group tells, also when it is seen from outside
    the container. Inside a container the group may be hidden; then marks count, but only if the broker is what the
    container was started for. A machine with an init system is none, even if its files came from an image: LXC,
    systemd-nspawn, a virtual machine.
    """
    process = os.path.join(root, "proc", str(pid) if pid else "self")
    for line in _read(os.path.join(process, "cgroup")).splitlines():
        group = line.split(":", 2)[-1]
        for word, pattern in _CONTAINER_GROUPS:
            if pattern.search(group):
                return word
    first = _read(os.path.join(root, "proc/1/cmdline")).split("\0")[:3]
    if pid != 1 and _CONTAINER_STARTERS.isdisjoint(os.path.basename(word) for word in first):
        return None
    environment = _read(os.path.join(process, "environ")).split("\0")
    if any(entry.startswith("KUBERNETES_SERVICE_HOST=") for entry in environment):
        return "kubernetes"
    return next((word for path, word in _CONTAINER_MARKS if os.path.exists(os.path.join(root, path))), None)


def _read(path: str) -> str:
    """The file's text; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
