# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages that lie on a node for an upgrade: which are there already, and taking in those that came.

A file that is there is read once to be hashed. Of one that comes, the digest is worked out as it is written.
"""

import contextlib
import hashlib
import os
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.package import sha256_file
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir

_CHUNK = 1 << 20


def folder(state_path: str) -> str:
    """Where they lie, by the path of the node's state directory."""
    return os.path.join(state_path, "packages")


def bring(
    state_dir: StateDir,
    wanted: Sequence[Mapping[str, Any]],
    received: Mapping[str, str],
    urls: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """Have packages lie in the folder, as far as they can be had; ``missing`` are the names of those to be sent.

    ``wanted``: ``name``, ``size`` in bytes and ``sha256`` of each. A file of that name with another size or digest
    counts as missing, and stays until there is another one in its place. ``received``: by name the paths where files
    that were sent lie. ``urls``: by name where the node fetches what is missing itself. Raises FleetError where one of
    them is not what was asked for or cannot be fetched, and where the folder cannot be written to.
    """
    place = folder(state_dir.path)
    changed = not os.path.isdir(place)
    missing: List[str] = []
    try:
        state_dir.create()
        os.makedirs(place, 0o755, exist_ok=True)
        state_dir.give(place)
        for package in wanted:
            name = package["name"]
            path = os.path.join(place, name)
            if name in received:
                _take_in(state_dir, _read(received[name]), path, _check_sent(package))
                changed = True
            elif _is_whole(path, package):
                continue
            elif urls and name in urls:
                _take_in(state_dir, _fetched(state_dir, package, urls[name]), path, _check_fetched(package, urls[name]))
                changed = True
            else:
                missing.append(name)
    except OSError as error:
        raise FleetError(
            "The package cannot be kept in {0}: {1}.".format(place, error.strerror),
            failure_class=NOT_STARTED,
            hint="Make room there, and have it be a folder that may be written to; then run the same task again.",
        ) from error
    return {"changed": changed, "missing": missing}


#: Raises FleetError for a size in bytes and a digest that are not those of the package.
_Check = Callable[[int, str], None]


def _is_whole(path: str, package: Mapping[str, Any]) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == package["size"] and sha256_file(path) == package["sha256"]


def _read(path: str) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        yield from iter(lambda: stream.read(_CHUNK), b"")


def _fetched(state_dir: StateDir, package: Mapping[str, Any], url: str) -> Iterator[bytes]:
    """The pieces of a download, which may take longer than the lease of a run that waits for it."""
    # Few nodes fetch anything, and what it takes is a part of every start of a module.
    from ansible_collections.emqx.fleet.plugins.module_utils import download

    for chunk in download.chunks(package["name"], url, package["size"]):
        state_dir.keep_reserved()
        yield chunk


def _check_sent(package: Mapping[str, Any]) -> _Check:
    def check(size: int, digest: str) -> None:
        if size != package["size"]:
            raise FleetError(
                "Of the package {0}, {1} bytes came to the node, and {2} were sent.".format(
                    package["name"], size, package["size"]
                ),
                failure_class=NOT_STARTED,
                hint="See that there is room in the login user's home directory on the node, and run the same task "
                "again.",
            )
        if digest != package["sha256"]:
            raise FleetError(
                "The package {0} came to the node with the SHA-256 {1}, and {2} was sent.".format(
                    package["name"], digest, package["sha256"]
                ),
                failure_class=NOT_STARTED,
                hint="See what changes files on their way to the node; run the same task again.",
            )

    return check


def _check_fetched(package: Mapping[str, Any], url: str) -> _Check:
    def check(size: int, digest: str) -> None:
        if digest != package["sha256"]:
            raise FleetError(
                "From {0} the node gets the package {1} with the SHA-256 {2}, and {3} is expected.".format(
                    url.partition("#")[0], package["name"], digest, package["sha256"]
                ),
                failure_class=NOT_STARTED,
                hint="See that the server gives the node the same file as the controller, and that nothing between "
                "them changes it.",
            )

    return check


def _take_in(state_dir: StateDir, chunks: Iterable[bytes], target: str, check: _Check) -> None:
    """Write a file beside its target, and put it there when it was checked: it is never seen in part."""
    part = "{0}.part".format(target)
    digest = hashlib.sha256()
    size = 0
    try:
        # Left by a process that was killed.
        _remove(part)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        check(size, digest.hexdigest())
        os.chmod(part, 0o644)
        state_dir.give(part)
        os.replace(part, target)
    finally:
        _remove(part)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
