# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders in ``/tmp`` that ``emqx`` unpacks packages in: which are nobody's any more, and which a command made.

EMQX's upgrade script makes ``/tmp/emqx_untar_<nanoseconds>``, copies the package there, works in it, and leaves it. All
installations of a machine do so in the one ``/tmp``, whatever ``TMPDIR`` says, and nothing in such a folder tells whose
it is. So a folder is taken for a command's own where a process of that command was seen at work in it; or, where the
command was too quick to be seen, where no other upgrade script was there all the while.
"""

import glob
import os
import re
import stat
import time
from typing import List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import upgrade_script

#: Not configurable in EMQX.
UNPACK_DIR = "/tmp"
GLOB = os.path.join(UNPACK_DIR, "emqx_untar_*")
#: What is on the command line of whoever makes one.
SCRIPT = upgrade_script.NAME

# The script waits for the node several times before it unpacks, and so lives for much longer than this.
_SEARCH_SECONDS = 0.1
# Clocks: that of the boot is told in whole seconds, and others in hundredths.
_SLACK_SECONDS = 2.0
_MADE_AT = re.compile(r"_(\d{18,20})\Z")


class Script(NamedTuple):
    """An upgrade script that runs: its process, and when it was started, in seconds since the epoch."""

    pid: int
    started: float


def trees() -> List[str]:
    """All such folders. What only bears the name, such as a symbolic link, is none."""
    return [path for path in sorted(glob.glob(GLOB)) if stat.S_ISDIR(_mode(path))]


def unneeded() -> List[str]:
    """Those that no upgrade script works in, or may be about to.

    The order makes it certain: what made a folder that is in the list either runs when the processes are looked at, and
    was started before the folder was made, or has ended, and then nothing needs the folder any more.
    """
    found = trees()
    running = scripts()
    busy = [path for script in running for path in _places_of(script.pid)]
    return [
        path
        for path in found
        if not any(_is_in(place, path) for place in busy)
        and not any(script.started <= _made_at(path) + _SLACK_SECONDS for script in running)
    ]


def owner_of(path: str) -> Optional[int]:
    """The user that a folder belongs to, by number."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def scripts() -> List[Script]:
    """All upgrade scripts that run on this machine, of whatever installation and user."""
    boot = _boot_time()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/{0}/cmdline".format(entry), "rb") as stream:
                if SCRIPT.encode("ascii") not in stream.read():
                    continue
            ticks = int(_stat_of(int(entry))[19])
        except (OSError, IndexError, ValueError):
            continue
        found.append(Script(int(entry), boot + ticks / float(os.sysconf("SC_CLK_TCK"))))
    return found


class Watch:
    """Looks at a command while it runs; ``made()`` tells the folders that it is proven to have made.

    Made before the command is started. ``outputs``: what the command will write to, by device and inode, by which its
    scripts are known also where a shell between them has ended. ``user``: whom it will work as, by number.
    """

    def __init__(self, outputs: Sequence[Tuple[int, int]], user: int) -> None:
        self._outputs = set(outputs)
        self._user = user
        self._mine: Set[int] = set()
        self._seen: Set[str] = set()
        self._next_search = 0.0
        self._pid = 0
        # Who has ended by now has made what he made.
        self._strangers = bool(scripts())
        self._before = set(trees())

    def begin(self, pid: int) -> None:
        """The command runs now, as this process."""
        self._pid = pid

    def look(self, now: float) -> None:
        """To be called all the time while the command runs; ``now`` is of :func:`time.monotonic`."""
        if now >= self._next_search:
            self._search()
            # On a machine of very many processes a search takes a while; it shall not be busy with that.
            took = time.monotonic() - now
            self._next_search = now + max(_SEARCH_SECONDS, 10 * took)
        places = [place for pid in self._mine for place in _places_of(pid) if place.startswith(GLOB.rstrip("*"))]
        if places:
            new = set(trees()) - self._before - self._seen
            self._seen.update(path for path in new if any(_is_in(place, path) for place in places))

    def made(self) -> List[str]:
        """After its end: the folders that are its own. None while a script of it still runs, as after a time-out."""
        self._search()
        if any(script.pid in self._mine for script in scripts()):
            return []
        found = set(self._seen)
        if not self._strangers:
            new = set(trees()) - self._before
            found.update(path for path in new if owner_of(path) == self._user)
        return sorted(found)

    def _search(self) -> None:
        for script in scripts():
            if script.pid in self._mine:
                continue
            if self._is_mine(script.pid):
                self._mine.add(script.pid)
            else:
                self._strangers = True

    def _is_mine(self, pid: int) -> bool:
        for number in (1, 2):
            try:
                found = os.stat("/proc/{0}/fd/{1}".format(pid, number))
            except OSError:
                continue
            if (found.st_dev, found.st_ino) in self._outputs:
                return True
        seen: Set[int] = set()
        while pid > 1 and pid not in seen:
            if pid == self._pid:
                return True
            seen.add(pid)
            try:
                pid = int(_stat_of(pid)[1])
            except (OSError, IndexError, ValueError):
                return False
        return False


def _places_of(pid: int) -> List[str]:
    """The working directory and the open files of a process, as far as they can be seen."""
    folder = "/proc/{0}/fd".format(pid)
    try:
        links = [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        links = []
    found = []
    for link in ["/proc/{0}/cwd".format(pid)] + links:
        try:
            found.append(os.readlink(link))
        except OSError:
            continue
    return found


def _is_in(place: str, tree: str) -> bool:
    # A folder that was removed meanwhile is told with a remark behind its name.
    return place == tree or place.startswith((tree + os.sep, tree + " "))


def _made_at(path: str) -> float:
    """When a folder was made, or later: the name tells it, and what was done in it since changes its own time."""
    try:
        changed = os.lstat(path).st_ctime
    except OSError:
        changed = 0.0
    named = _MADE_AT.search(path)
    return max(changed, int(named.group(1)) / 1e9 if named else 0.0)


def _stat_of(pid: int) -> List[str]:
    """Fields of ``/proc/<pid>/stat`` behind the name: the second is the parent, the 20th the start in ticks."""
    with open("/proc/{0}/stat".format(pid), encoding="utf-8", errors="replace") as stream:
        return stream.read().rpartition(")")[2].split()


def _boot_time() -> float:
    with open("/proc/stat", encoding="ascii", errors="replace") as stream:
        for line in stream:
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
