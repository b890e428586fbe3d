# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of the skeleton of a project for AWX are written into a folder. Pure functions over digests.

A newer collection may bring a newer skeleton, and people change what they have of the older one. So what was written is
kept with its digests, which tells the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Digests = Mapping[str, str]


class Fate(NamedTuple):
    """Paths of files by what becomes of them.

    ``write``: it is not there, or as it was written last. ``keep``: somebody changed it, and the skeleton has nothing
    new for it. ``refuse``: both changed, or it was never written by us.
    """

    write: list[str]
    keep: list[str]
    refuse: list[str]


def fate(skeleton: Digests, there: Digests, written: Digests, overwrite: bool) -> Fate:
    """Decide about every file of the skeleton.

    ``skeleton``, ``there`` and ``written`` are digests by path: of the skeleton, of the folder as far as it has these
    files, and of what was written there last. With ``overwrite``, what would be refused is written.
    """
    found = Fate([], [], [])
    for path, digest in sorted(skeleton.items()):
        here, last = there.get(path), written.get(path)
        if here == digest:
            continue
        if here is None or here == last:
            found.write.append(path)
        elif last == digest:
            found.keep.append(path)
        else:
            (found.write if overwrite else found.refuse).append(path)
    return found


def refusal(paths: list[str], folder: str) -> str:
    """Why nothing was written."""
    return (
        f"Nothing was written, because in {folder} these files are neither as the skeleton has them nor as an earlier "
        f"run wrote them: {', '.join(paths)}. Expected are files that nobody changed, or none. Move them out of the "
        "way and take over what you need, or run it again with -e emqx_awx_project_overwrite=yes."
    )
