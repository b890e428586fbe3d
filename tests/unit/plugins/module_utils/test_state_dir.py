# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock, the journal and the reservation, with real processes where it matters."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import contention
from ansible_collections.emqx.fleet.plugins.module_utils import state_dir as state_dirs
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import JOURNAL_LINES, StateDir, write_atomically
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER

ROOT = Path(__file__).resolve().parents[4]

# Takes the lock with the code under test, tells so, and does what it is told.
HOLDER = """
import runpy, subprocess, sys, time
runpy.run_path({conftest!r})
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
with StateDir({path!r}, {user!r}).locked("permanent 4.4.19", 0) as handle:
    if {child!r}:
        child = subprocess.Popen(["sleep", "30"], pass_fds=(handle,))
        print(child.pid, flush=True)
    else:
        print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(str(tmp_path / "data" / "fleet"), USER)


class Holder:
    """Another process that holds the lock."""

    def __init__(self, path: str, child: bool) -> None:
        text = HOLDER.format(conftest=str(ROOT / "tests/conftest.py"), path=path, user=USER, child=child)
        self.process = subprocess.Popen(
            [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def holder(state_dir: StateDir) -> Iterator[Holder]:
    made = Holder(state_dir.path, child=False)
    yield made
    made.end()


def test_another_process_holds_it_and_is_named(state_dir: StateDir, holder: Holder) -> None:
    assert holder.said == "held"
    with pytest.raises(FleetError) as caught, state_dir.locked("other", 0):
        pytest.fail("the lock is held by another process")
    assert caught.value.failure_class == NOT_STARTED
    assert "permanent 4.4.19" in caught.value.message
    assert "process {0}".format(holder.process.pid) in caught.value.message
    assert "lock_timeout" in caught.value.hint
    found = state_dir.operation()
    assert found is not None
    assert (found["pid"], found["what"]) == (holder.process.pid, "permanent 4.4.19")
    assert abs(found["since"] - time.time()) < 60


def test_kill_of_the_holder_releases_it(state_dir: StateDir, holder: Holder) -> None:
    assert state_dir.operation() is not None
    holder.end()
    assert state_dir.operation() is None
    with state_dir.locked("other", 0):
        pass


def test_waits_for_the_holder(state_dir: StateDir, holder: Holder) -> None:
    assert holder.process.stdin is not None
    waits: List[float] = []
    real = time.sleep

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            holder.process.stdin.write("\n")  # type: ignore[union-attr]
            holder.process.stdin.flush()  # type: ignore[union-attr]
        real(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_dirs.time, "sleep", sleep)
        with state_dir.locked("other", 20):
            pass
    assert waits


def test_child_that_inherited_it_keeps_it(state_dir: StateDir) -> None:
    """A command that outlives its killed module keeps the next one out until it is done."""
    made = Holder(state_dir.path, child=True)
    child = int(made.said)
    try:
        made.end()
        assert state_dir.operation() is not None
        with pytest.raises(FleetError), state_dir.locked("other", 0.3):
            pytest.fail("the command is still at work")
    finally:
        os.kill(child, 9)
    deadline = time.time() + 10
    while state_dir.operation() is not None and time.time() < deadline:
        time.sleep(0.02)
    assert state_dir.operation() is None


def test_lock_is_released_after_an_exception_and_is_not_inherited_by_accident(state_dir: StateDir) -> None:
    class OddError(Exception):
        pass

    def work() -> None:
        with state_dir.locked("x", 0) as handle:
            assert not os.get_inheritable(handle)
            assert state_dir.operation() is not None
            raise OddError

    with pytest.raises(OddError):
        work()
    assert state_dir.operation() is None


def test_operation_without_anything_there(state_dir: StateDir) -> None:
    assert state_dir.operation() is None
    assert not os.path.exists(state_dir.path), "looking makes nothing"


def test_holder_that_did_not_say_what_it_does(state_dir: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_dirs, "_LOOK_SECONDS", 0.1)
    with state_dir.locked("x", 0):
        for content in ("", "[1]", "{torn"):
            Path(state_dir.lock_path).write_text(content)
            found = state_dir.operation()
            assert found is not None
            assert found["what"] == "unknown"
            with pytest.raises(FleetError, match="did not say"), StateDir(state_dir.path, USER).locked("y", 0):
                pytest.fail("held")


def test_who_only_looks_keeps_nobody_out(state_dir: StateDir) -> None:
    """A reader of the facts has the lock for an instant, and whoever would not wait for an operation waits for that."""
    state_dir.create()
    handle = os.open(state_dir.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    timer = threading.Timer(0.4, os.close, [handle])
    timer.start()
    try:
        with state_dir.locked("x", 0):
            assert state_dir.operation() is not None
    finally:
        timer.join()


def test_directory_and_files_are_private(state_dir: StateDir) -> None:
    with state_dir.locked("x", 0):
        state_dir.record({"what": "x"})
        state_dir.contend({"id": "1"})
    assert stat.S_IMODE(os.stat(state_dir.path).st_mode) == 0o700
    names = sorted(os.listdir(state_dir.path))
    assert names == ["journal.jsonl", "lock", "run.json", "run.json.lock"]
    for name in names:
        assert stat.S_IMODE(os.stat(os.path.join(state_dir.path, name)).st_mode) == 0o600, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_runner_user(tmp_path: Path) -> None:
    made = StateDir(str(tmp_path / "fleet"), "nobody")
    with made.locked("x", 0):
        made.record({"what": "x"})
        made.contend({"id": "1"})
    owner = {os.stat(made.path).st_uid} | {os.stat(os.path.join(made.path, n)).st_uid for n in os.listdir(made.path)}
    assert owner != {0}
    assert len(owner) == 1
    with pytest.raises(FleetError, match="no-such-user-here is not known"):
        StateDir(str(tmp_path / "other"), "no-such-user-here").create()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(FleetError) as caught:
        StateDir(str(tmp_path / "data/fleet"), USER).create()
    assert caught.value.failure_class == NOT_STARTED
    assert "data/fleet" in caught.value.message


# The journal


def test_journal_keeps_the_newest(state_dir: StateDir) -> None:
    state_dir.create()
    Path(state_dir.journal_path).write_text("".join('{{"what": "{0}"}}\n'.format(n) for n in range(JOURNAL_LINES + 50)))
    state_dir.record({"what": "last"})
    lines = Path(state_dir.journal_path).read_text().splitlines()
    assert len(lines) == JOURNAL_LINES
    assert json.loads(lines[0])["what"] == "51"
    assert [entry["what"] for entry in state_dir.journal(2)] == [str(JOURNAL_LINES + 49), "last"]
    assert len(state_dir.journal()) == 20
    assert abs(state_dir.journal()[-1]["time"] - time.time()) < 60


def test_torn_lines_are_left_out(state_dir: StateDir) -> None:
    state_dir.create()
    Path(state_dir.journal_path).write_bytes(b'{"what": "a"}\n{"what": "b\xff\n\n{"what": "c"}\n{"wha')
    assert [entry["what"] for entry in state_dir.journal()] == ["a", "c"]
    state_dir.record({"what": "d"})
    assert [entry["what"] for entry in state_dir.journal()] == ["a", "c", "d"]


def test_lines_that_are_no_entries_are_left_out(state_dir: StateDir) -> None:
    state_dir.create()
    Path(state_dir.journal_path).write_text('1\n"x"\n{"what": "a"}\nnull\n')
    assert state_dir.journal() == [{"what": "a"}]


def test_journal_of_a_node_without_one(state_dir: StateDir) -> None:
    assert state_dir.journal() == []


# The reservation


def claim(run: str = "run-1", process: str = "77@1234") -> Dict[str, Any]:
    return {"id": run, "who": "ann@tower", "controller": "tower boot", "controller_process": process}


def reserve(state_dir: StateDir, lease: float = 100, parked: bool = False, **wanted: str) -> Dict[str, Any]:
    """Contend where nobody else is, and hold."""
    written = state_dir.contend(claim(**wanted))
    assert written is not None
    held = state_dir.hold(written, lease, parked)
    assert held is not None
    return held


def test_reserve_renew_release(state_dir: StateDir) -> None:
    assert state_dir.run() is None
    wanted = state_dir.contend(claim())
    assert wanted is not None
    assert state_dir.run() == wanted
    assert not wanted["held"]
    assert 20 < wanted["lease_until"] - time.time() < 30.01
    assert state_dir.renew(claim(), 100) is None, "it is only wanted yet"
    first = state_dir.hold(wanted, 100)
    assert first is not None
    assert first["held"]
    assert {name: first[name] for name in claim()} == claim()
    assert 90 < first["lease_until"] - time.time() < 100.01
    again = state_dir.renew(claim(), 1000)
    assert again is not None
    assert again["since"] == first["since"] == wanted["since"]
    assert again["lease_until"] > first["lease_until"]
    assert state_dir.run() == again
    assert not state_dir.release(claim("run-2"))
    assert state_dir.run() == again
    assert state_dir.release(claim())
    assert state_dir.run() is None
    assert not state_dir.release(claim())
    assert state_dir.hold(wanted, 100) is None
    assert state_dir.run() is None


def test_one_that_is_held_stays_so_while_it_is_proved_again(state_dir: StateDir) -> None:
    held = reserve(state_dir, 100)
    assert state_dir.contend(claim()) == held
    assert reserve(state_dir, 5)["lease_until"] < held["lease_until"], "and may be made shorter afterwards"


def test_operation_at_work_keeps_the_reservation(state_dir: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    state_dir.keep_reserved()
    assert state_dir.run() is None
    held = reserve(state_dir, 5)
    state_dir.keep_reserved()
    kept = state_dir.run()
    assert kept is not None
    assert kept == dict(held, lease_until=kept["lease_until"])
    assert 80 < kept["lease_until"] - time.time() < 90.01
    held = reserve(state_dir, 5)
    state_dir.keep_reserved()
    assert state_dir.run() == held, "it was done just now"
    later = time.monotonic() + 21
    monkeypatch.setattr(time, "monotonic", lambda: later)
    state_dir.keep_reserved()
    assert state_dir.run() != held
    assert state_dir.renew(claim(), 7) is not None, "the run has it all the time"


def test_operation_keeps_no_reservation_that_is_over_wanted_or_longer(state_dir: StateDir) -> None:
    for found in (
        state_dir.contend(claim()),
        reserve(state_dir, 1000),
        dict(reserve(state_dir), lease_until=time.time() - 1),
    ):
        Path(state_dir.run_path).write_text(json.dumps(found))
        StateDir(state_dir.path, state_dir.owner).keep_reserved()
        assert state_dir.run() == found


def test_reservation_that_cannot_be_kept_disturbs_no_operation(state_dir: StateDir) -> None:
    reserve(state_dir, 5)
    os.unlink(state_dir.run_path + ".lock")
    os.mkdir(state_dir.run_path + ".lock")
    state_dir.keep_reserved()


@pytest.mark.parametrize("other", [claim("run-2"), claim(process="78@99")])
def test_reserved_for_another_run_or_job_of_it(state_dir: StateDir, other: Dict[str, Any]) -> None:
    held = reserve(state_dir)
    assert state_dir.contend(other, ["run-3"]) is None
    assert state_dir.hold(dict(held, **other), 100) is None
    assert state_dir.renew(other, 100) is None
    assert not state_dir.release(other)
    assert state_dir.run() == held


def test_what_is_passed_over_is_replaced(state_dir: StateDir) -> None:
    identity = contention.identity(reserve(state_dir))
    taken = state_dir.contend(claim("run-2"), [identity, "run-0 x y"])
    assert taken is not None
    assert taken["took_over"] == sorted([identity, "run-0 x y"])
    held = state_dir.hold(taken, 100)
    assert held is not None
    assert held["took_over"] == taken["took_over"]
    assert state_dir.renew(claim(), 100) is None
    assert state_dir.run() == held


def test_lease_that_is_over_counts_for_nothing(state_dir: StateDir) -> None:
    old = reserve(state_dir, -1)
    assert state_dir.renew(claim(), 100) is None, "somebody may have had the cluster meanwhile"
    assert state_dir.hold(old, 100) is None
    again = state_dir.contend(claim())
    assert again is not None
    assert not again["held"]
    assert state_dir.hold(dict(again, since=again["since"] - 31), 100) is None, "it was over in between"
    assert state_dir.hold(again, 100) is not None
    reserve(state_dir, -1)
    taken = reserve(state_dir, run="run-2")
    assert abs(taken["since"] - time.time()) < 60
    assert state_dir.contend(claim()) is None


def test_parked_for_any_job_of_the_same_run(state_dir: StateDir) -> None:
    reserve(state_dir)
    parked = state_dir.renew(claim(), 1000, parked=True)
    assert parked is not None
    assert (parked["controller_process"], parked["held"]) == ("", True)
    assert state_dir.contend(claim("run-2")) is None
    assert state_dir.renew(claim(process="99@1"), 100) is None, "of several jobs, one gets the cluster"
    mine = state_dir.contend(claim(process="99@1"))
    assert mine is not None
    assert (mine["held"], mine["resumes"], mine["since"]) == (False, True, parked["since"])
    assert state_dir.contend(claim(process="98@1")) is None
    again = state_dir.contend(claim(process="99@1"))
    assert again is not None
    assert again["resumes"]
    held = state_dir.hold(again, 100)
    assert held is not None
    assert (held["held"], held["resumes"], held["controller_process"]) == (True, False, "99@1")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{torn",
        b"[]",
        b'"x"',
        b"{}",
        b'{"id": "run-1"}',
        b'{"lease_until": "x", "id": "1"}',
        b'{"lease_until": 9e9, "id": 1}',
        b'{"lease_until": true, "id": "1"}',
        b'{"lease_until": Infinity, "id": "1"}',
        b'{"lease_until": 1, "id": "\xff"}',
        b"[" * 100000,
    ],
)
def test_torn_reservation_holds_nobody_up(state_dir: StateDir, content: bytes) -> None:
    state_dir.create()
    Path(state_dir.run_path).write_bytes(content)
    assert state_dir.run() is None
    assert not state_dir.release(claim("run-2"))
    assert reserve(state_dir, run="run-2")["id"] == "run-2"


def test_reservation_of_another_version_is_read(state_dir: StateDir) -> None:
    """One that knew no contenders, and one whose further words are of other kinds."""
    state_dir.create()
    until = time.time() + 100
    for more in ({}, {"took_over": "x", "since": "yesterday", "who": None}):
        Path(state_dir.run_path).write_text(json.dumps(dict({"id": "run-1", "lease_until": until}, **more)))
        found = state_dir.run()
        assert found is not None
        assert (contention.is_held(found), found["took_over"], found.get("since")) == (True, [], None)
        assert state_dir.contend(claim("run-2")) is None


def test_reservation_does_not_wait_for_the_operation_lock(state_dir: StateDir) -> None:
    with state_dir.locked("long work", 0):
        assert reserve(state_dir)["id"] == "run-1"
        assert state_dir.release(claim())


def test_reservation_that_cannot_be_written_or_read_says_so(
    state_dir: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*unused: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    reserve(state_dir)
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", full)
        for work in (lambda: state_dir.contend(claim()), lambda: state_dir.renew(claim(), 1)):
            with pytest.raises(FleetError) as caught:
                work()
            assert caught.value.message == (
                "The reservation {0} cannot be read or written: No space left on device.".format(state_dir.run_path)
            )
            assert caught.value.failure_class == NOT_STARTED
    os.unlink(state_dir.run_path)
    os.mkdir(state_dir.run_path)
    with pytest.raises(FleetError, match="Is a directory"):
        state_dir.contend(claim("run-2"))
    assert state_dir.run() is None


# Writing


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file"
    given: List[str] = []
    write_atomically(str(path), "one", 0o600, given.append)
    write_atomically(str(path), "zwei \u00fc", 0o600)
    assert path.read_bytes() == "zwei \u00fc".encode("utf-8")
    assert os.listdir(str(tmp_path)) == ["file"]
    assert len(given) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_write_takes_away_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"

    def killed(*unused: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(str(path), "half", 0o600)
    (left,) = tmp_path.iterdir()
    # Somebody else's link of that name is not followed either.
    left.unlink()
    left.symlink_to(elsewhere)
    write_atomically(str(path), "whole", 0o600)
    assert path.read_text() == "whole"
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("name", ["rename", "fsync"])
def test_failed_write_leaves_the_old_text_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "file"
    write_atomically(str(path), "old", 0o600)

    def full(*unused: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os." + name, full)
        with pytest.raises(OSError, match="No space"):
            write_atomically(str(path), "new", 0o600)
    assert path.read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["file"]
