# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages that lie on a node for an upgrade: which are there already, and taking in those that were sent."""

import os
import shutil
from typing import Any, Dict, Mapping, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.package import sha256_file
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir


def folder(state_dir: StateDir) -> str:
    """Where they lie."""
    return os.path.join(state_dir.path, "packages")


def bring(state_dir: StateDir, wanted: Sequence[Mapping[str, Any]], received: Mapping[str, str]) -> Dict[str, Any]:
    """Have packages lie in the folder, as far as they are on the node; ``missing`` are the names of those to be sent.

    ``wanted``: ``name``, ``size`` in bytes and ``sha256`` of each. A file of that name with another size or digest
    counts as missing. ``received``: by name the paths where files that were sent lie, which are moved into the folder.
    Raises FleetError where one of them is not what was sent, and where the folder cannot be written to.
    """
    place = folder(state_dir)
    sent = [package for package in wanted if package["name"] in received]
    changed = bool(sent) or not os.path.isdir(place)
    try:
        state_dir.create()
        os.makedirs(place, 0o755, exist_ok=True)
        state_dir.give(place)
        for package in sent:
            _check(received[package["name"]], package)
            _take_in(state_dir, received[package["name"]], os.path.join(place, package["name"]))
        missing = [
            package["name"]
            for package in wanted
            if package["name"] not in received and not _is_whole(os.path.join(place, package["name"]), package)
        ]
    except OSError as error:
        raise FleetError(
            "The package cannot be kept in {0}: {1}.".format(place, error.strerror),
            failure_class=NOT_STARTED,
            hint="Make room there, and have it be a folder that may be written to; then run the same task again.",
        ) from error
    return {"changed": changed, "missing": missing}


def _is_whole(path: str, package: Mapping[str, Any]) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == package["size"] and sha256_file(path) == package["sha256"]


def _check(path: str, package: Mapping[str, Any]) -> None:
    size = os.path.getsize(path)
    if size != package["size"]:
        raise FleetError(
            "Of the package {0}, {1} bytes came to the node, and {2} were sent.".format(
                package["name"], size, package["size"]
            ),
            failure_class=NOT_STARTED,
            hint="See that there is room in the login user's home directory on the node, and run the same task again.",
        )
    found = sha256_file(path)
    if found != package["sha256"]:
        raise FleetError(
            "The package {0} came to the node with the SHA-256 {1}, and {2} was sent.".format(
                package["name"], found, package["sha256"]
            ),
            failure_class=NOT_STARTED,
            hint="See what changes files on their way to the node; run the same task again.",
        )


def _take_in(state_dir: StateDir, source: str, target: str) -> None:
    """Move a file to its place, where it is never seen in part; the two may be on different file systems."""
    part = "{0}.part".format(target)
    try:
        shutil.copyfile(source, part)
        os.chmod(part, 0o644)
        state_dir.give(part)
        os.replace(part, target)
    finally:
        if os.path.lexists(part):
            os.unlink(part)
