# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every file that an upgrade could touch, listed so that two listings show what was done in between."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from .node import Node


def listing(node: Node) -> dict[str, str]:
    """Path on the host -> kind, owner, time of change, size and digest, of all but the broker's own logs."""
    found = {}
    for top in sorted({node.root, node.data_dir, "/tmp"}):
        outside = node.host.path(top)
        for directory, folders, names in os.walk(outside):
            if Path(directory) == outside and "log" in folders:
                folders.remove("log")
            for name in folders + names:
                path = Path(directory, name)
                found[f"{top}/{path.relative_to(outside)}"] = _seal(path)
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str], apart_from: Collection[str] = ()) -> list[str]:
    """The paths that are new, gone or not as they were; empty when nothing was touched."""
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(differing - set(apart_from))


def own_files(node: Node) -> list[str]:
    """What a real run writes for itself, also when it has nothing to do: the state directory and its folder."""
    return [node.data_dir, *(f"{node.data_dir}/fleet{name}" for name in ("", "/lock", "/journal.jsonl"))]


def _seal(path: Path) -> str:
    found = path.lstat()
    words = [stat.filemode(found.st_mode), f"{found.st_uid}:{found.st_gid}", str(found.st_mtime_ns)]
    if stat.S_ISLNK(found.st_mode):
        words.append(f"-> {os.readlink(path)}")
    elif stat.S_ISREG(found.st_mode):
        words += [str(found.st_size), hashlib.sha256(path.read_bytes()).hexdigest()]
    return " ".join(words)
