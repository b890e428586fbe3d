# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Check that nothing of ours is still running or lying about.

usage: leftovers.py [ROOT]

A process is ours if its executable, working directory or command line is in `.build`; those that started this check do
not count. Nothing may be mounted there any more. Files belong there: what else git sees as new was made by a test.
Labs and nodes have to be elsewhere; every one of them has a folder of its own, below ROOT (default: /).
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = str(ROOT / ".build")
PLACES = ("run/emqx-fleet-lab/*/", "tmp/emqx-fleet-lab-*/*/", "var/tmp/emqx-contract-*/", "tmp/emqx_untar_*/")


def parent_of(pid: int) -> int:
    """Return the parent's process id; 0 where there is none."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return int(fields[1])


def ancestors() -> set[int]:
    """Process ids of this process, its parent and so on."""
    found, pid = set(), os.getpid()
    while pid:
        found.add(pid)
        pid = parent_of(pid)
    return found


def described(pid: int) -> list[str]:
    """Return the process's command line, executable and working directory."""
    proc = Path(f"/proc/{pid}")
    command = proc.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return [command, str(proc.joinpath("exe").readlink()), str(proc.joinpath("cwd").readlink())]


def processes() -> list[str]:
    """Processes that should have ended."""
    found = []
    family = ancestors()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in family:
            continue
        try:
            words = described(int(name))
        except OSError:
            continue  # ended meanwhile, a kernel thread, or another user's
        if any(BUILD in word for word in words):
            found.append(f"process {name} is still running: {words[0] or words[1]}")
    return found


def mounts() -> list[str]:
    """Return what is still mounted in `.build`."""
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [f"{target} is still mounted" for target in targets if target.startswith(f"{BUILD}/")]


def files() -> list[str]:
    """Files in the checkout that a test made outside `.build`."""
    listing = subprocess.run(
        ("git", "ls-files", "--others", "--exclude-standard"), cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [f"{name} is new and not in git" for name in listing.stdout.splitlines()]


def folders(root: Path) -> list[str]:
    """Folders of labs and nodes that should be gone."""
    return [f"{folder} is still there" for place in PLACES for folder in sorted(root.glob(place))]


def main() -> int:
    """Print what was found; 1 if there was anything."""
    found = processes() + mounts()
    # While someone works in the checkout, new files and labs are theirs; a clone that CI made has none.
    if os.environ.get("CI"):
        found += files() + folders(Path(*sys.argv[1:2] or ["/"]))
    print("\n".join(found) or "nothing is left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
