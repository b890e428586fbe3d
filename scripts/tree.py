# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Copy the checkout to `.build/src/ansible_collections/emqx/fleet`, and print that path.

ansible-test, molecule, ansible-lint and mypy want the collection under its full name, in a real directory. The copy
holds what git would commit: tracked files and new ones that are not ignored. Only what differs is copied, and what has
gone from the checkout goes from the copy; what the tools put there themselves (it is ignored by git) stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".build/src/ansible_collections/emqx/fleet"
LISTING = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def listed(directory: Path) -> set[str]:
    """Paths of the files, relative to `directory`, that git tracks there or would offer to add."""
    names = subprocess.run(LISTING, cwd=directory, check=True, capture_output=True, text=True).stdout.split("\0")
    return {name for name in names if name and os.path.lexists(directory / name)}


def same(one: os.stat_result, other: Path) -> bool:
    """Whether `other` is an earlier copy of the file that `one` describes."""
    try:
        two = other.lstat()
    except OSError:
        return False
    return (one.st_size, one.st_mtime_ns, one.st_mode) == (two.st_size, two.st_mtime_ns, two.st_mode)


def sync() -> None:
    """Make TREE equal to the checkout."""
    wanted = listed(ROOT)
    for name in listed(TREE) - wanted:
        (TREE / name).unlink()
        for parent in (TREE / name).parents:
            if parent == TREE or any(parent.iterdir()):
                break
            parent.rmdir()
    for name in wanted:
        source, target = ROOT / name, TREE / name
        try:
            status = source.lstat()
        except FileNotFoundError:
            continue  # deleted since it was listed: someone is at work in the checkout
        if not same(status, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def main() -> None:
    """Sync under a lock, so that two commands at a time do not trip over each other."""
    TREE.mkdir(parents=True, exist_ok=True)
    with (TREE.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A repository of its own: without one, git would see a directory that the checkout ignores, and ansible-test
        # and ansible-lint, which ask git for the files, would find none.
        if not (TREE / ".git").exists():
            subprocess.run(("git", "init", "--quiet"), cwd=TREE, check=True)
        sync()
    print(TREE)


if __name__ == "__main__":
    main()
