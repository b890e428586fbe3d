# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before and after an unpack: exactly one sound package, room for it, and nothing left over by us."""

import contextlib
import errno
import filecmp
import glob
import os
import shutil
from typing import Any, Dict, Iterator, List, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import package as packages
from ansible_collections.emqx.fleet.plugins.module_utils.access import unreadable_for
from ansible_collections.emqx.fleet.plugins.module_utils.command import EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import VERSIONED_BIN_FILES, Installation
from ansible_collections.emqx.fleet.plugins.module_utils.space import space_needed
from ansible_collections.emqx.fleet.plugins.module_utils.unpack_trees import UNPACK_DIR

# Release table, settings and journal written meanwhile.
COMMIT_MARGIN_BYTES = 1 << 20


def matching_packages(installation: Installation, version: str) -> List[str]:
    """What the command itself would take for ``version``: every ``releases/emqx-*<version>*.zip``."""
    pattern = os.path.join(glob.escape(installation.releases_dir), "emqx-*{0}*.zip".format(glob.escape(version)))
    return sorted(glob.glob(pattern))


@contextlib.contextmanager
def package_in_place(
    installation: Installation, version: str, staged: Optional[str], staging_dir: str
) -> Iterator[str]:
    """Path of the one package in ``releases/`` that the command will take.

    ``staged`` is a package elsewhere on the node; it is linked into ``releases/`` for the time of the unpack, so that
    it can never be mistaken for another version's package later.
    """
    remove_own_links(installation, staging_dir, staged)
    link = None
    if staged is not None:
        if not os.path.isfile(staged):
            raise FleetError(
                "There is no package at {0}.".format(staged), hint="Stage the package of {0} first.".format(version)
            )
        link = os.path.join(installation.releases_dir, _link_name(staged, version))
    found = [path for path in matching_packages(installation, version) if not _is_same(path, staged)]
    if staged is not None and len(found) == 1 and filecmp.cmp(found[0], staged, shallow=False):
        # The user has put the very package there, as EMQX's manual says; it stays.
        link = None
    if link is not None and not found:
        if not _is_same(link, staged):
            _link(staged or "", link)
        found = [link]
    elif link is not None or len(found) > 1:
        raise FleetError(
            "The emqx command takes every releases/emqx-*{0}*.zip for {0}, and with more than one it crashes; there "
            "{1}.".format(version, _name_them(found, staged)),
            hint="Move all but the package of {0} out of {1}.".format(version, installation.releases_dir),
        )
    if not found:
        raise FleetError(
            "There is no package of {0} in {1}.".format(version, installation.releases_dir),
            hint=_way_to_a_package(installation, version),
        )
    try:
        yield found[0]
    finally:
        if link is not None:
            with contextlib.suppress(OSError):
                os.unlink(link)


def check_package(installation: Installation, path: str, version: str, user: str) -> Dict[str, Any]:
    """The package's description, if it is sound and holds ``version``; else FleetError names what is wrong."""
    if unreadable_for(user, [path]):
        raise FleetError(
            "The package {0} cannot be read by the broker's user {1}.".format(path, user),
            hint="Give it mode 0644, and its directories mode 0755.",
        )
    found = packages.read_package(path)
    problems = list(found["problems"]) or packages.verify_members(path)
    if problems and found["version"] in (None, version):
        raise FleetError(
            "The package {0} must not be used: {1}".format(
                path, "; ".join(str(problem["message"]) for problem in problems[:3])
            ),
            hint="Fetch it again and compare its checksum with the published one.",
        )
    if found["version"] != version:
        raise FleetError(
            "The package {0} holds {1}, not {2}.".format(path, found["version"], version),
            hint="Stage the package of {0}.".format(version),
        )
    return found


def check_space(installation: Installation, package: Dict[str, Any]) -> None:
    """FleetError where the unpack would fill a file system; a full disk leaves a torn release behind."""
    needed = {}  # type: Dict[int, int]
    paths = {}  # type: Dict[int, List[str]]
    for path, size in space_needed(package, installation.root_dir, UNPACK_DIR).items():
        device = os.stat(path).st_dev
        needed[device] = needed.get(device, 0) + size
        paths.setdefault(device, []).append(path)
    for device, size in needed.items():
        found = os.statvfs(paths[device][0])
        free = found.f_bavail * found.f_frsize
        if free < size:
            raise FleetError(
                "Unpacking {0} needs {1} MiB on the file system of {2}, and {3} MiB are free.".format(
                    package["name"], _mib(size), " and ".join(paths[device]), _mib(free)
                ),
                hint="Make room there; old releases go with state: absent, leftovers with the cleanup playbook.",
            )


@contextlib.contextmanager
def leftovers_removed(installation: Installation, version: str, command: EmqxCommand) -> Iterator[List[str]]:
    """Remove what the unpack within leaves behind, and nothing that was there before; gives the list of it.

    Of the folders in ``/tmp``, which all nodes of a machine share, those that are proven to be of ``command``'s making
    and done with. This version's tarball, which the command may take for a package, and its own link
    to it go before, too.
    """
    tarball = os.path.join(installation.releases_dir, "emqx-{0}.tar.gz".format(version))
    link = installation.release_file(version, "emqx.tar.gz")
    command.trees.clear()
    removed = []  # type: List[str]
    _remove_file(tarball, removed)
    if os.path.islink(link):
        # Of an unpack that failed; the command of EMQX 4.2 and the first ones of 4.3 crashes where there is one.
        _remove_file(link, removed)
    yield removed
    for path in command.trees:
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path)
    _remove_file(tarball, removed)


def check_commit_space(installation: Installation, version: str) -> None:
    """FleetError where the copies of a commit might not fit; one that is cut short leaves a node that cannot start."""
    sources = [installation.bin_file(name, version) for name in VERSIONED_BIN_FILES]
    needed = sum(os.path.getsize(path) for path in sources if os.path.exists(path)) + COMMIT_MARGIN_BYTES
    found = os.statvfs(installation.bin_dir)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise FleetError(
            "Making {0} permanent needs {1} MiB on the file system of {2}, and {3} MiB are free.".format(
                version, _mib(needed), installation.bin_dir, _mib(free)
            ),
            hint="Make room there; old releases go with state: absent, leftovers with the cleanup playbook.",
        )


def remove_old_copies(installation: Installation, version: str) -> List[str]:
    """Remove ``bin/<file>-<version>`` of a release that is not there; an unpack would keep them, even torn ones."""
    removed = []  # type: List[str]
    for name in VERSIONED_BIN_FILES:
        _remove_file(installation.bin_file(name, version), removed)
    return removed


def _is_same(path: str, staged: Optional[str]) -> bool:
    return staged is not None and os.path.exists(path) and os.path.samefile(path, staged)


def _remove_file(path: str, removed: List[str]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
        if path not in removed:
            removed.append(path)


def _way_to_a_package(installation: Installation, version: str) -> str:
    """What to do where the command would find none; it takes no zip whose suffix is not in lower case."""
    others = [
        name
        for name in sorted(os.listdir(installation.releases_dir))
        if name.lower().endswith(".zip") and not name.endswith(".zip") and version in name
    ]
    if others:
        return "There is {0}, which the emqx command does not find: its name must end in .zip, in lower case.".format(
            others[0]
        )
    return "Copy the package zip there, or give its path on the node as 'package'."


def _link_name(staged: str, version: str) -> str:
    """The package's own name where the command finds it by that; the suffix in lower case in any event."""
    stem, suffix = os.path.splitext(os.path.basename(staged))
    if stem.startswith("emqx-") and version in stem and suffix.lower() == ".zip":
        return stem + ".zip"
    return "emqx-{0}.zip".format(version)


def _link(source: str, link: str) -> None:
    """A hard link, or a symbolic one where the package lies on another file system."""
    try:
        os.link(source, link)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise FleetError(
                "The package cannot be linked to {0}: {1}.".format(link, error.strerror),
                failure_class=NOT_STARTED,
                hint="Make the directory writable.",
            ) from error
        os.symlink(source, link)


def remove_own_links(installation: Installation, staging_dir: str, package: Optional[str]) -> None:
    """Remove links that a killed run left in ``releases/``: files that are also in our staging directory.

    ``package``: the one that the task names, which was linked there if it lies elsewhere.
    """
    try:
        own = [os.path.join(staging_dir, name) for name in os.listdir(staging_dir)]
    except OSError:
        own = []
    if package and os.path.dirname(os.path.realpath(package)) != os.path.realpath(installation.releases_dir):
        own.append(package)
    for path in glob.glob(os.path.join(glob.escape(installation.releases_dir), "emqx-*.zip")):
        for staged in own:
            if os.path.exists(path) and os.path.exists(staged) and os.path.samefile(path, staged):
                os.unlink(path)
                break


def _name_them(found: List[str], staged: Optional[str]) -> str:
    names = [os.path.basename(path) for path in found]
    if staged is not None:
        return "is {0} beside the staged {1}".format(", ".join(names), os.path.basename(staged))
    return "are {0}".format(", ".join(names))


def _mib(size: int) -> str:
    return "{0:.1f}".format(size / 1048576.0)
