# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading an unpacked release: whether it is whole, and from where its relup can be reached."""

import functools
import os
import zipfile
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import package as packages
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation

TOP_FOLDER = "emqx/"
# Written anew by the node when it installs or starts a release, so their sizes differ from the package's.
_REWRITTEN = ("sys.config", "vm.args")


class Relup(NamedTuple):
    """The versions that a release can be reached from and left to, as its relup lists them."""

    upgrade_from: List[str]
    downgrade_to: List[str]


def read_relup(installation: Installation, version: str) -> Optional[Relup]:
    """The relup of an unpacked release; None where it has none or one that cannot be read."""
    try:
        with open(installation.release_file(version, "relup"), "rb") as stream:
            found = _parsed(stream.read(packages.MAX_RELUP_BYTES))
    except (OSError, ErlangTermError):
        return None
    return Relup(found["upgrade_from"], found["downgrade_to"]) if found["target"] == version else None


@functools.lru_cache(maxsize=8)
def _parsed(data: bytes) -> Dict[str, Any]:
    """A relup is looked at several times in a turn, and one of EMQX has instructions for some twenty versions."""
    return packages.read_relup(data)


def relup_leads(installation: Installation, source: str, target: str) -> bool:
    """Whether the release handler would find instructions: in the target's relup, else in the source's way back."""
    there = read_relup(installation, target)
    if there is not None and source in there.upgrade_from:
        return True
    back = read_relup(installation, source)
    return back is not None and target in back.downgrade_to


def damaged_files(installation: Installation, package: str, version: str) -> List[str]:
    """Files of the package's release that are missing on disk or have another size.

    A disk that fills up while the node unpacks leaves truncated files, and a second unpack keeps them. Applications
    that another release on the node has too are left out: an unpack keeps the files that were there, which may come
    from another build.
    """
    shared = tuple(TOP_FOLDER + library + "/" for library in installation.libraries_of_others(version))
    if not shared:
        # Without the table it cannot be told which files this release brought.
        return []
    wrong = []
    release = "releases/{0}/".format(version)
    try:
        with zipfile.ZipFile(package) as archive:
            for member in archive.infolist():
                name = member.filename
                if name.startswith(shared):
                    continue
                if not name.startswith(TOP_FOLDER) or name.endswith("/"):
                    continue
                name = name[len(TOP_FOLDER) :]
                unpacked_as_is = (
                    name.startswith("lib/")
                    or (name.startswith(release) and os.path.basename(name) not in _REWRITTEN)
                    or (name.startswith("bin/") and name.endswith("-" + version))
                )
                if unpacked_as_is and _size(os.path.join(installation.root_dir, name)) != member.file_size:
                    wrong.append(name)
    except (OSError, zipfile.BadZipFile):
        return []
    # The real command moves emqx.rel away after it has unpacked.
    return [name for name in wrong if not name.startswith(release) or not name.endswith("/emqx.rel")]


def own_paths(installation: Installation, version: str) -> List[str]:
    """The folder of a release and what is in it; a switch writes there."""
    folder = installation.release_dir(version)
    try:
        paths = [folder] + [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except OSError:
        return []
    # The command leaves a link to its tarball, which may be gone.
    return [path for path in paths if os.path.exists(path)]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
