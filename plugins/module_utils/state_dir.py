# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this collection keeps on a node: the operation lock, the journal, the reservation of a fleet run.

All of it lies in ``<data_dir>/fleet``, mode 0700, owned by the runner user.
"""

import contextlib
import errno
import fcntl
import json
import os
import pwd
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils import contention
from ansible_collections.emqx.fleet.plugins.module_utils.accounts import find_account
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError

JOURNAL_LINES = 500
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 2.0
#: An operation at work extends a reservation that often, to that much more: what it stands for when the process dies.
_EXTEND_SECONDS = 20.0
_KEPT_SECONDS = 90.0


class StateDir:
    """The directory and the files in it."""

    def __init__(self, path: str, owner: str) -> None:
        self.path = path
        self.owner = owner
        self.lock_path = os.path.join(path, "lock")
        self.journal_path = os.path.join(path, "journal.jsonl")
        self.run_path = os.path.join(path, "run.json")
        self._extend_next = 0.0

    def create(self) -> None:
        """Make the directory, if it is not there; what root makes is given to the runner user."""
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            self.give(self.path)
        except OSError as error:
            raise FleetError(
                "The directory {0} cannot be made: {1}.".format(self.path, error.strerror),
                hint="Run as root or as the broker's user {0}, and make its data directory writable.".format(
                    self.owner
                ),
            ) from error

    def give(self, path: str) -> None:
        """Hand a file that root made to the runner user."""
        if os.geteuid() != 0:
            return
        account = find_account(self.owner)
        os.chown(path, account.uid, account.gid)

    # The lock

    @contextlib.contextmanager
    def locked(self, what: str, timeout: float) -> Iterator[int]:
        """Hold the node's operation lock; gives the file descriptor that holds it.

        The kernel lets go of the lock when the last process that has the descriptor ends, so a killed module leaves
        no lock behind, and an ``emqx`` command that outlives its module keeps the next operation out until it is done.
        """
        self.create()
        try:
            handle = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise FleetError(
                "The node's lock {0} cannot be opened: {1}.".format(self.lock_path, error.strerror),
                hint="Run as root or as the broker's user {0}, and make its data directory writable.".format(
                    self.owner
                ),
            ) from error
        try:
            self.give(self.lock_path)
            started = time.time()
            deadline = started + timeout
            while not _try_lock(handle):
                holder = _read_holder(handle)
                # Who only looks whether the lock is held has it for an instant and writes no name.
                if time.time() >= (deadline if holder else max(deadline, started + _LOOK_SECONDS)):
                    raise FleetError(
                        "Another operation holds this node's lock: {0}.".format(_describe(holder)),
                        failure_class=NOT_STARTED,
                        hint="Wait for it to end, or raise 'lock_timeout' (it was {0:g} s). "
                        "If its process is stuck, end it and run the same task again.".format(timeout),
                    )
                time.sleep(_POLL_SECONDS)
            holder = {"pid": os.getpid(), "user": _caller(), "since": round(time.time(), 3), "what": what}
            os.ftruncate(handle, 0)
            # On a full disk the lock holds all the same, only those who wait are not told for whom.
            with contextlib.suppress(OSError):
                os.pwrite(handle, json.dumps(holder, sort_keys=True).encode("utf-8"), 0)
            yield handle
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def operation(self) -> Optional[Dict[str, Any]]:
        """Who holds the lock now (``pid``, ``user``, ``since``, ``what``), or None."""
        try:
            handle = os.open(self.lock_path, os.O_RDWR)
        except OSError:
            return None
        try:
            if _try_lock(handle):
                return None
            return _read_holder(handle) or {"pid": None, "user": None, "since": None, "what": "unknown"}
        finally:
            os.close(handle)

    # The journal

    def record(self, entry: Dict[str, Any]) -> None:
        """Append one line to the journal and keep the newest ``JOURNAL_LINES``. Call it with the lock held."""
        line = json.dumps(dict(entry, time=round(time.time(), 3)), sort_keys=True)
        lines = self._journal_lines()[-(JOURNAL_LINES - 1) :] + [line]
        write_atomically(self.journal_path, "\n".join(lines) + "\n", 0o600, self.give)

    def journal(self, newest: int = 20) -> List[Dict[str, Any]]:
        """The newest entries, oldest of them first; lines that a full disk tore are left out."""
        entries = []
        for line in self._journal_lines()[-newest:]:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries

    def _journal_lines(self) -> List[str]:
        try:
            with open(self.journal_path, encoding="utf-8", errors="replace") as stream:
                return stream.read().splitlines()
        except OSError:
            return []

    # The reservation of a fleet run

    def run(self) -> Optional[Dict[str, Any]]:
        """The fleet run that has reserved this node, or None: ``id``, ``who``, ``controller``, ``controller_process``,
        ``since``, ``lease_until``, ``held``, ``resumes``, ``took_over``; see :mod:`contention`.
        """
        try:
            return self._load()
        except OSError:
            return None

    def contend(self, claim: Dict[str, Any], passed_over: Sequence[str] = ()) -> Optional[Dict[str, Any]]:
        """Write down that the run ``claim`` wants the node; gives the reservation, or None where another has it.

        This and what follows raise FleetError where the file cannot be read or written.
        """
        with self._exclusive():
            return self._store(contention.contend(self._load(), claim, self._clock(), passed_over))

    def hold(
        self, written: Dict[str, Any], lease: float, parked: bool = False, passed_over: Sequence[str] = ()
    ) -> Optional[Dict[str, Any]]:
        """Reserve the node for ``lease`` seconds; None where what was ``written`` was not there all the time."""
        with self._exclusive():
            return self._store(contention.hold(self._load(), written, self._clock(), lease, parked, passed_over))

    def renew(self, claim: Dict[str, Any], lease: float, parked: bool = False) -> Optional[Dict[str, Any]]:
        """Reserve the node for ``lease`` more seconds; None where the run did not have it all the time."""
        with self._exclusive():
            found, now = self._load(), self._clock()
            if not contention.is_renewable(found, claim, now):
                return None
            return self._store(contention.hold(found, dict(found or {}, **claim), now, lease, parked))

    def keep_reserved(self) -> None:
        """Keep the reservation that the node has, whoever's it is, from ending while an operation is at work.

        To be called again and again by the operation: a switch may take longer than a lease, and the controller that
        would renew it waits for the switch. Where that is killed, the reservation ends soon after.
        """
        if time.monotonic() < self._extend_next or not os.path.exists(self.run_path):
            return
        self._extend_next = time.monotonic() + _EXTEND_SECONDS
        # What cannot be written now may be written the next time; the operation must not suffer from it.
        with contextlib.suppress(FleetError), self._exclusive():
            self._store(contention.extend(self._load(), self._clock(), _KEPT_SECONDS))

    def release(self, claim: Dict[str, Any]) -> bool:
        """Give up the run's reservation; False where there is none of it."""
        with self._exclusive():
            found = self._load()
            if found is None or not contention.is_same(found, claim):
                return False
            self._remove()
            return True

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """A short lock around reading and writing the reservation; not the operation lock, which may be held long."""
        self.create()
        try:
            handle = os.open(self.run_path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self.give(self.run_path + ".lock")
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            raise FleetError(
                "The reservation {0} cannot be read or written: {1}.".format(self.run_path, error.strerror),
                hint="Run as root or as the broker's user {0}, and see that there is room on the disk.".format(
                    self.owner
                ),
            ) from error

    @staticmethod
    def _clock() -> float:
        return time.time()

    def _load(self) -> Optional[Dict[str, Any]]:
        """The reservation; None where there is none, or one that was torn. Raises OSError."""
        try:
            with open(self.run_path, "rb") as stream:
                return parse_run(stream.read())
        except FileNotFoundError:
            return None

    def _store(self, reservation: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
        if reservation is not None:
            write_atomically(self.run_path, json.dumps(reservation, sort_keys=True), 0o600, self.give)
        return reservation

    def _remove(self) -> None:
        os.unlink(self.run_path)


def parse_run(content: bytes) -> Optional[Dict[str, Any]]:
    """The reservation that a ``run.json`` holds; None for a torn one, which holds nobody up."""
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str) or not _is_number(found.get("lease_until")):
        return None
    if not isinstance(found.get("took_over"), list):
        found["took_over"] = []
    return found if found.get("since") is None or _is_number(found["since"]) else dict(found, since=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse(constant: str) -> None:
    raise ValueError("{0} is no time".format(constant))


def write_atomically(path: str, text: str, mode: int, give: Any = None) -> None:
    """Replace a file as a whole: readers see the old text or the new one, also after a crash.

    Only one process at a time may do so: the new text is written under one name, so that the next write takes away what
    a killed one left.
    """
    temporary = "{0}.new".format(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if give is not None:
            give(temporary)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _read_holder(handle: int) -> Optional[Dict[str, Any]]:
    try:
        holder = json.loads(os.pread(handle, 4096, 0).decode("utf-8"))
    except ValueError:
        return None
    return holder if isinstance(holder, dict) else None


def _describe(holder: Optional[Dict[str, Any]]) -> str:
    if not holder:
        return "a process that did not say what it does"
    return "{0} by {1}, process {2}, since {3}".format(
        holder.get("what"), holder.get("user"), holder.get("pid"), _local_time(holder.get("since"))
    )


def _local_time(seconds: Optional[float]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds or 0))


def _caller() -> str:
    for name in ("SUDO_USER", "LOGNAME", "USER"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
