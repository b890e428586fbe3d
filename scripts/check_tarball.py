# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Check that a built collection holds what its users need and nothing else.

usage: check_tarball.py TARBALL
"""

import sys
import tarfile

FILES = {"CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"}
DIRECTORIES = {"changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles"}
UNWANTED_DIRECTORIES = ("extensions/molecule/",)
UNWANTED_SUFFIXES = (".pyc", ".zip", ".beam", ".orig", ".swp", "~")


def strangers(names: list[str]) -> list[str]:
    """Members that do not belong into the collection."""
    found = []
    for name in names:
        top, _slash, rest = name.partition("/")
        known = top in DIRECTORIES if rest else top in FILES | DIRECTORIES
        known = known and not f"{name}/".startswith(UNWANTED_DIRECTORIES)
        if not known or name.endswith(UNWANTED_SUFFIXES) or any(part.startswith(".") for part in name.split("/")):
            found.append(name)
    return found


def main() -> None:
    """Print what is wrong and exit with 1, or print a summary."""
    with tarfile.open(sys.argv[1]) as archive:
        names = [member.name for member in archive]
    wrong = [f"{name} is in the tarball; add it to build_ignore in galaxy.yml" for name in strangers(names)]
    wrong += [
        f"{name} is missing from the tarball"
        for name in ("LICENSE", "README.md", "meta/runtime.yml")
        if name not in names
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{sys.argv[1]}: {len(names)} members, nothing foreign")


if __name__ == "__main__":
    main()
