# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where packages come from: folders and files on the controller, and URLs with their checksum."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urldefrag, urlparse

from ansible_collections.emqx.fleet.plugins.module_utils.package import read_package, sha256_file

Package = dict[str, Any]
Opener = Callable[[str], IO[bytes]]

_CHECKSUM = "sha256="


class SourceError(ValueError):
    """A source that is not there, or that cannot be fetched."""


def load(sources: Iterable[str], base: str, download_dir: str, opener: Opener) -> list[Package]:
    """Read every package of ``sources``.

    A relative path is taken from ``base``. A folder stands for the zips in it. A URL needs the checksum of what it
    leads to (``https://…/emqx-4.4.19-….zip#sha256=…``) and is fetched into ``download_dir`` with ``opener``, unless
    what lies there already has that checksum. Raises SourceError.
    """
    packages = []
    for source in sources:
        if source.startswith(("http://", "https://")):
            packages.append(_fetched(source, download_dir, opener))
            continue
        path = Path(base, os.path.expanduser(source))
        if path.is_dir():
            packages += [read_package(str(found)) for found in sorted(path.glob("*.zip"))]
        elif path.is_file():
            packages.append(read_package(str(path)))
        else:
            raise SourceError(f"there is no package and no folder of packages at {path}")
    return packages


def _fetched(url: str, download_dir: str, opener: Opener) -> Package:
    address, fragment = urldefrag(url)
    name = os.path.basename(unquote(urlparse(address).path))
    checksum = fragment[len(_CHECKSUM) :] if fragment.startswith(_CHECKSUM) else ""
    if not checksum:
        raise SourceError(f"{address} needs its checksum; add #sha256= and the 64 hexadecimal digits to it")
    if not name.endswith(".zip"):
        raise SourceError(f"{address} does not lead to a zip")
    target = Path(os.path.expanduser(download_dir), name)
    if not (target.is_file() and sha256_file(str(target)) == checksum.lower()):
        part = target.with_name(f"{name}.part-{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with opener(address) as stream, open(part, "wb") as file:
                shutil.copyfileobj(stream, file)
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SourceError(f"{address} cannot be fetched to {target}: {error}") from error
    return read_package(str(target), checksum=checksum)
