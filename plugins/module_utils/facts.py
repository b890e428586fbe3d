# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NodeFacts: everything about a node, from one question to it and its files. Nothing is changed."""

import glob
import os
import platform
import re
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import (
    boot,
    listener_check,
    origin,
    package_files,
    probe,
    unpack_trees,
    upgrade_script,
)
from ansible_collections.emqx.fleet.plugins.module_utils.access import unwritable_for
from ansible_collections.emqx.fleet.plugins.module_utils.accounts import find_account
from ansible_collections.emqx.fleet.plugins.module_utils.clients import COUNTERS, unknown_books
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult, EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    VERSIONED_BIN_FILES,
    Installation,
    decide_edition,
    platform_of,
    read_text,
)
from ansible_collections.emqx.fleet.plugins.module_utils.package_name import normalise_arch, normalise_os
from ansible_collections.emqx.fleet.plugins.module_utils.release_files import read_relup
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.plugins.module_utils.unpack_trees import UNPACK_DIR

_TARBALL = re.compile(r"^emqx-.+\.tar\.gz$")


def collect(
    installation: Installation,
    command: EmqxCommand,
    state_dir: Optional[StateDir] = None,
    check_version: Optional[str] = None,
    old_code: bool = True,
    verification: bool = False,
    survivors_of: Optional[float] = None,
) -> Tuple[Dict[str, Any], Optional[CommandResult]]:
    """NodeFacts, and the result of the command that was run for them, if one was.

    ``check_version``: an unpacked or old release that the node shall check as if it were to be installed
    (``dry_check``: ``version``, ``passed``, ``message``; null where there is nothing to check). Without ``old_code``
    the processes are not searched for old code, and that fact is null. With ``verification`` a new connection to each
    listener is tried (``listener_answers``) and the settings are read (``settings``), which are null otherwise. With
    ``survivors_of``, a time of the node's clock in seconds since 1970, those are counted who were connected by then and
    still are (``survivors``).
    """
    patch_paths = sorted(glob.glob(os.path.join(glob.escape(installation.data_dir), "patches", "*.beam")))
    pid = installation.broker_pid()
    asked = probe.ask(command, pid, patch_paths, check_version, old_code, verification, survivors_of)
    node = asked.answer  # type: Optional[probe.Probe]
    if node is not None:
        pid = node.pid
        facts = _of_running_node(installation, node, patch_paths)
    else:
        facts = _of_files(installation, patch_paths, pid)
        facts["state"] = "stopped" if pid is None else "unreachable"
    # Mostly waiting, which everything else is done meanwhile.
    tried = listener_check.begin(facts["listeners"]) if node and verification else None
    # The node's order means nothing; with one of ours, a table that did not change reads the same.
    facts["releases"] = sorted(facts["releases"], key=lambda row: str(row["version"]))
    user = installation.runner_user(pid)
    facts.update(
        read_by=asked.read_by,
        read_by_reason=asked.reason,
        pid=pid,
        executable=installation.executable,
        root_dir=installation.root_dir,
        data_dir=installation.data_dir,
        runner_user=user,
        host=host(),
        package_manager=origin.package_manager(installation.executable),
        container=origin.container(pid),
        packages=zips(installation.releases_dir),
        staged_packages=zips(package_files.folder(installation.state_dir)),
        leftovers=leftovers(installation, [row["version"] for row in facts["releases"]], user),
        free_bytes=free_bytes(installation),
        devices=devices(installation),
        unwritable=unwritable_for(user, needed_paths(installation)),
        dry_check=node.dry_check(check_version) if node and check_version else None,
        unpacks_in_switch=upgrade_script.read(installation).unpacks_in_switch,
        settings=node.settings if node else None,
        operation=state_dir.operation() if state_dir else None,
        run=state_dir.run() if state_dir else None,
        journal=state_dir.journal() if state_dir else [],
    )
    relups = {row["version"]: read_relup(installation, row["version"]) for row in facts["releases"]}
    facts["ways_back"] = {version: relup.downgrade_to for version, relup in relups.items() if relup}
    built_for = platform_of(
        read_text(installation.release_file(facts["running"] or facts["boot"]["version"] or "", "BUILT_ON"))
    )
    facts.update(os=built_for.os, arch=built_for.arch)
    facts.update(listener_answers=tried() if tried else None, clock=time.time(), clock_offset=None)
    return facts, asked.result


def _of_running_node(installation: Installation, node: probe.Probe, patch_paths: List[str]) -> Dict[str, Any]:
    patches = _patches(patch_paths, node.patches_in_force)
    cluster = node.cluster
    releases = node.releases
    boot_state = boot.examine(
        installation,
        node.permanent,
        node.running,
        any(row["status"] == "current" for row in releases),
        [patch["path"] for patch in patches if patch["stale"]],
        node.pid,
    )
    return {
        "state": "running",
        "node": node.node,
        "uptime_seconds": node.uptime_seconds,
        "supervisor": node.supervisor,
        "running": node.running,
        "permanent": node.permanent,
        "releases": releases,
        "boot": boot_state.as_dict(),
        "edition": decide_edition(node.licensed, installation.description, node.sysdescr),
        "otp": node.otp,
        "erts": node.erts,
        "connections": node.statistic(*COUNTERS),
        "connection_counts": node.connection_counts,
        "sessions": node.statistic(*probe.SESSIONS),
        "subscriptions": node.statistic(*probe.SUBSCRIPTIONS),
        "client_books": node.client_books,
        "survivors": node.survivors,
        "cluster": cluster,
        "plugins": node.plugins,
        "modules": node.modules,
        "alarms": node.alarms,
        "listeners": node.listeners,
        "old_code": node.old_code,
        "patches": patches,
    }


def _of_files(installation: Installation, patch_paths: List[str], pid: Optional[int]) -> Dict[str, Any]:
    """What the files tell of a node that does not answer. ``running`` is not known from files, so it is null."""
    table = installation.table_on_disk()
    permanent = next((row["version"] for row in table if row["status"] == "permanent"), None)
    boot_state = boot.examine(installation, permanent, pid=pid)
    return {
        "node": None,
        "uptime_seconds": None,
        "supervisor": None,
        "running": None,
        "permanent": permanent or boot_state.version,
        "releases": [{"version": row["version"], "status": row["status"]} for row in table],
        "boot": boot_state.as_dict(),
        "edition": decide_edition(installation.licensed, installation.description),
        "otp": None,
        "erts": boot_state.erts,
        "connections": None,
        "connection_counts": {},
        "sessions": None,
        "subscriptions": None,
        "client_books": unknown_books("the node did not answer"),
        "survivors": None,
        "cluster": {"running": [], "stopped": [], "members": []},
        "plugins": [],
        "modules": [],
        "alarms": [],
        "listeners": [],
        "old_code": None,
        "patches": _patches(patch_paths, None),
    }


def _patches(paths: List[str], in_force: Optional[Dict[str, bool]]) -> List[Dict[str, Any]]:
    """``stale`` is null where the node did not tell whether it runs the patch."""
    rows = []
    for path in paths:
        module = os.path.basename(path)[: -len(".beam")]
        stale = None if in_force is None or module not in in_force else not in_force[module]
        rows.append({"module": module, "path": path, "stale": stale})
    return rows


def host() -> Dict[str, Any]:
    """The machine's own words, in the form that packages use."""
    fields = {}
    for line in (read_text("/etc/os-release") or read_text("/usr/lib/os-release") or "").splitlines():
        name, _unused, value = line.partition("=")
        fields[name] = value.strip().strip("\"'")
    # As EMQX's own scripts/get-distro.sh makes the word that a package is named by.
    word = normalise_os(fields.get("ID", "") + fields.get("VERSION_ID", ""))
    return {
        "system": platform.system(),
        "os": word or None,
        "arch": normalise_arch(platform.machine()),
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
    }


def zips(folder: str) -> List[Dict[str, Any]]:
    """Zips in a folder: ``name``, ``path`` and ``size`` in bytes."""
    rows = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.zip"))):
        rows.append({"name": os.path.basename(path), "path": path, "size": _size(path)})
    return rows


def leftovers(installation: Installation, versions: List[str], user: str) -> List[Dict[str, Any]]:
    """What unpacking and uninstalling left behind: ``untar`` trees, a ``tarball``, ``binary`` copies.

    Of the trees those that nobody needs any more, and that belong to the broker's ``user`` or to root.
    """
    rows = []
    try:
        owners = (0, find_account(user).uid)
    except FleetError:
        owners = (0, 0)
    for path in unpack_trees.unneeded():
        if unpack_trees.owner_of(path) not in owners:
            continue
        rows.append({"kind": "untar", "path": path, "size": _tree_size(path)})
    for name in sorted(os.listdir(installation.releases_dir)):
        path = os.path.join(installation.releases_dir, name)
        if _TARBALL.match(name):
            rows.append({"kind": "tarball", "path": path, "size": _size(path)})
    for path in sorted(glob.glob(os.path.join(glob.escape(installation.bin_dir), "*-*[0-9].[0-9]*.[0-9]*"))):
        name, _unused, version = os.path.basename(path).partition("-")
        if name in VERSIONED_BIN_FILES and version not in versions:
            rows.append({"kind": "binary", "path": path, "size": _size(path)})
    return rows


def free_bytes(installation: Installation) -> Dict[str, int]:
    """Bytes that an unprivileged user may still write, by path."""
    answer = {}
    for path in (installation.root_dir, UNPACK_DIR):
        found = os.statvfs(path)
        answer[path] = found.f_bavail * found.f_frsize
    return answer


def devices(installation: Installation) -> Dict[str, int]:
    """The file system of each path of ``free_bytes``: paths with the same number share their room."""
    return {path: os.stat(path).st_dev for path in (installation.root_dir, UNPACK_DIR)}


def needed_paths(installation: Installation) -> List[str]:
    """What the runner user must be able to write for a hot upgrade."""
    candidates = [
        installation.releases_dir,
        installation.lib_dir,
        installation.bin_dir,
        UNPACK_DIR,
        installation.table_path,
        installation.start_erl_path,
        installation.vars_path,
    ]
    candidates += [installation.bin_file(name) for name in VERSIONED_BIN_FILES]
    return [path for path in candidates if os.path.exists(path)]


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _tree_size(path: str) -> int:
    total = 0
    for directory, _unused, names in os.walk(path):
        total += sum(_size(os.path.join(directory, name)) for name in names)
    return total
