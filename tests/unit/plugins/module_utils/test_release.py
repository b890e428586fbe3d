# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release manager against a model of a node that misbehaves as the real command does."""

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, boot, distribution, facts, preparation, release
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.plugins.module_utils.errors import (
    CHANGED,
    NOT_STARTED,
    REFUSED,
    UNKNOWN,
    FleetError,
)
from ansible_collections.emqx.fleet.plugins.module_utils.installation import VERSIONED_BIN_FILES, Installation
from ansible_collections.emqx.fleet.plugins.module_utils.release import ReleaseManager, Request
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import (
    COOKIE,
    PID,
    USER,
    FakeNode,
    write_package,
)

OLD, NOW, NEW = "4.4.17", "4.4.18", "4.4.19"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: List[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(release, "time", made)
    return made


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> FakeNode:
    """Runs 4.4.18; a package of 4.4.19 is in place that comes from there and goes back."""
    made = FakeNode(tmp_path / "emqx", NOW, [OLD], [OLD])
    made.add_package(NEW, [OLD, NOW], [OLD, NOW])
    made.use_own_tmp(monkeypatch)
    return made


def manager(node: FakeNode, version: str = NEW, state: str = "permanent", **more: Any) -> ReleaseManager:
    sleep = release.time.sleep
    return ReleaseManager(node.installation, node.command, Request(version=version, state=state, **more), sleep)


def ensure(node: FakeNode, version: str = NEW, state: str = "permanent", **more: Any) -> Dict[str, Any]:
    """Do it, and hold every promise that a success makes."""
    asked = manager(node, version, state, **more)
    result = asked.ensure()
    assert asked.state_dir.operation() is None
    assert result["changed"] == bool(result["actions"])
    assert journal(node)[-1]["outcome"] == "done" if result["actions"] else True
    assert COOKIE not in repr(result)
    assert result["after"]["releases"] == [{"version": v, "status": s} for v, s in sorted(node.table.items())]
    # Idempotent, in check mode as well.
    calls = len(node.changes())
    again = manager(node, version, state, **more).ensure()
    preview = manager(node, version, state, **more).preview()
    assert (again["changed"], again["actions"], preview["changed"]) == (False, [], False)
    assert len(node.changes()) == calls
    return result


def refuse(node: FakeNode, failure_class: str, version: str = NEW, state: str = "permanent", **more: Any) -> FleetError:
    """Fail, and hold every promise that a failure makes."""
    asked = manager(node, version, state, **more)
    with pytest.raises(FleetError) as caught:
        asked.ensure()
    error = caught.value
    assert error.failure_class == failure_class, error.message
    assert error.message
    assert error.hint
    assert asked.state_dir.operation() is None
    entry = journal(node)[-1]
    assert (entry["outcome"], entry["message"]) == (failure_class, error.message)
    assert error.details["actions"] == asked.actions
    assert error.details["after"]["releases"] == [{"version": v, "status": s} for v, s in sorted(node.table.items())]
    assert COOKIE not in repr(error.result())
    return error


def journal(node: FakeNode) -> List[Dict[str, Any]]:
    return StateDir(node.installation.state_dir, USER).journal()


def actions(result: Dict[str, Any]) -> List[str]:
    return [entry["action"] for entry in result["actions"]]


def verbs(node: FakeNode) -> List[str]:
    return [call[0] for call in node.changes()]


# The plain ways


def test_all_the_way_to_permanent(node: FakeNode) -> None:
    result = ensure(node)
    assert actions(result) == ["unpack", "switch", "commit"]
    assert node.changes() == [["unpack", NEW], ["upgrade", "--no-permanent", NEW], ["install", NEW]]
    assert (result["running"], result["permanent"], result["after"]["boot"]["version"]) == (NEW, NEW, NEW)
    assert result["before"]["running"] == NOW
    assert result["clients"] == {"before": 20, "after": 20}
    assert result["pid"] == {"before": PID, "after": PID}
    assert result["warnings"] == []
    assert [entry["rc"] for entry in result["actions"]] == [0, 0, 0]
    assert "4.4.18 permanent" in result["diff"]["before"]
    assert result["diff"]["after"].splitlines() == ["4.4.19 permanent", "4.4.18 old", "a restart boots 4.4.19"]
    assert journal(node)[-1]["actions"] == [["unpack", NEW], ["switch", NEW], ["commit", NEW]]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("unpacked", ["unpack"]), ("current", ["unpack", "switch"]), ("permanent", ["unpack", "switch", "commit"])],
)
def test_each_state_does_no_more_than_it_says(node: FakeNode, state: str, expected: List[str]) -> None:
    preview = manager(node, state=state).preview()
    assert actions(preview) == expected
    assert node.changes() == []
    assert not os.path.exists(node.installation.state_dir)
    result = ensure(node, state=state)
    assert actions(result) == expected
    for name in ("releases", "running", "permanent"):
        assert preview["after"][name] == result["after"][name]


def test_one_eval_for_each_look_and_none_too_many(node: FakeNode) -> None:
    manager(node).ensure()
    # Before, and after each of the three commands; nothing was old, so waiting cost nothing.
    assert node.reads == 4


def test_absent(node: FakeNode) -> None:
    ensure(node)
    result = ensure(node, NOW, "absent")
    assert actions(result) == ["uninstall"]
    assert node.table == {NEW: "permanent"}


def test_back_to_the_permanent_version(node: FakeNode) -> None:
    ensure(node, state="current")
    refuse(node, REFUSED, NOW, "permanent")
    result = ensure(node, NOW, "permanent", allow_downgrade=True)
    assert actions(result) == ["switch"]
    assert verbs(node)[-1] == "downgrade"
    assert result["after"]["boot"] == {"version": NOW, "erts": "13.1.5", "consistent": True, "problems": []}


def test_downgrade_is_found_in_the_running_versions_relup_too(node: FakeNode) -> None:
    """The old version's package has no relup; the new one's lists the way back."""
    node.add_release(OLD, "unpacked")
    node.path("releases/4.4.17/relup").unlink()
    assert actions(ensure(node, OLD, "current", allow_downgrade=True)) == ["switch"]


# The exit code is not believed


@pytest.mark.parametrize(
    ("verb", "failure_class", "done"),
    [("unpack", REFUSED, ["unpack"]), ("upgrade", CHANGED, ["unpack", "upgrade"])],
)
@pytest.mark.parametrize("rc", [0, 1, 2, 3, 4, 127])
def test_not_done_whatever_the_exit_code(
    node: FakeNode, verb: str, failure_class: str, done: List[str], rc: int
) -> None:
    node.next_time(verb, rc=rc, does=False, stdout="It says\nwhat it says with " + COOKIE)
    error = refuse(node, failure_class)
    assert "exit code {0}".format(rc) in error.message
    assert error.output == ["It says", "what it says with ********"]
    assert verbs(node) == done, "no further command is run"
    assert actions(ensure(node))[-1] == "commit", "the same task again converges"


def test_the_decisive_line_of_the_command_is_in_the_message(node: FakeNode) -> None:
    """What EMQX says first is why it failed; what it says last is the list of versions."""
    said = "unzip []\nUnpack failed: release_package_not_found.\nInstalled versions:\n* 4.4.18\tpermanent\n"
    node.next_time("unpack", rc=2, does=False, stdout=said)
    error = refuse(node, REFUSED)
    assert error.message == (
        "emqx unpack 4.4.19 did not lead there (exit code 2: unpacking or uninstalling failed): Unpack failed: "
        "release_package_not_found."
    )
    assert error.output == said.splitlines()


def test_what_the_command_said_is_not_hidden_by_what_the_node_says_afterwards(node: FakeNode) -> None:
    node.next_time("unpack", rc=2, does=False, stdout="Unpack failed: {error,enospc}\n", then=node.stop)
    error = refuse(node, UNKNOWN)
    assert "did not lead there" in error.message
    assert error.message.endswith(": Unpack failed: {error,enospc} (No space left on device).")
    assert error.output == ["Unpack failed: {error,enospc}"]


def test_nothing_to_quote(node: FakeNode) -> None:
    node.next_time("unpack", rc=-9, does=False, stdout="unzip []\n")
    assert refuse(node, REFUSED).message == (
        "emqx unpack 4.4.19 did not lead there (exit code -9: it was killed by signal 9): 4.4.19 is not there, 4.4.18 "
        "runs, and a restart boots 4.4.18."
    )


@pytest.mark.parametrize("rc", [0, 3, 127])
def test_commit_not_done(node: FakeNode, rc: int) -> None:
    ensure(node, state="current")
    node.next_time("install", rc=rc, does=False)
    error = refuse(node, REFUSED)
    assert verbs(node)[-1] == "install"
    assert "emqx install 4.4.19 did not lead there" in error.message
    assert node.boots() == NOW
    ensure(node)


@pytest.mark.parametrize("verb", ["unpack", "upgrade", "install"])
@pytest.mark.parametrize("rc", [1, 127, -9])
def test_done_whatever_the_exit_code(node: FakeNode, verb: str, rc: int) -> None:
    node.next_time(verb, rc=rc)
    result = ensure(node)
    assert actions(result) == ["unpack", "switch", "commit"]
    (warning,) = result["warnings"]
    assert warning.startswith("emqx {0} 4.4.19 ended with exit code {1}".format(verb, rc))


@pytest.mark.parametrize("verb", ["unpack", "upgrade", "install"])
@pytest.mark.parametrize("does", [True, False])
def test_time_out_is_unknown_even_if_it_seems_done(node: FakeNode, verb: str, does: bool) -> None:
    """It may still be at work, for instance in the middle of the commit's copies."""
    node.next_time(verb, rc=None, does=does)
    error = refuse(node, UNKNOWN)
    assert "may still be installing" in error.hint
    assert "process 99" in error.hint
    assert verbs(node)[-1] == verb, "no further command is run"
    ensure(node)


@pytest.mark.parametrize("verb", ["unpack", "upgrade", "install"])
def test_node_stopped_after_a_command(node: FakeNode, verb: str) -> None:
    node.next_time(verb, then=node.stop)
    asked = manager(node)
    with pytest.raises(FleetError) as caught:
        asked.ensure()
    error = caught.value
    assert error.failure_class == UNKNOWN
    assert "The node is stopped" in error.hint
    assert verbs(node)[-1] == verb
    assert asked.state_dir.operation() is None
    assert journal(node)[-1]["outcome"] == UNKNOWN
    node.state = "running"
    ensure(node)


def test_node_hangs_after_a_command(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        node.state = "hung"
        monkeypatch.setattr(Installation, "broker_pid", lambda self: PID)

    node.next_time("upgrade", then=hang)
    with pytest.raises(FleetError) as caught:
        manager(node).ensure()
    assert caught.value.failure_class == UNKNOWN
    assert "unreachable" in caught.value.hint


def test_switch_that_ended_somewhere_else_is_a_change(node: FakeNode) -> None:
    def elsewhere() -> None:
        node.add_release("4.4.16", "current")
        node.table[NEW] = "old"

    node.next_time("upgrade", rc=0, does=False, then=elsewhere)
    refuse(node, CHANGED, state="current")


# Half-made commits


@pytest.mark.parametrize("stop_after", ["table", "emqx", "cuttlefish", "install_upgrade.escript", "no_dot_erlang.boot"])
@pytest.mark.parametrize("rc", [0, -9])
def test_half_made_commit_is_repaired_in_the_same_run(node: FakeNode, stop_after: str, rc: int) -> None:
    node.next_time("install", stop_after=stop_after, rc=rc)
    result = ensure(node)
    assert actions(result) == ["unpack", "switch", "commit", "repair_commit"]
    assert result["actions"][-1]["files"]
    assert "rc" not in result["actions"][-1]
    assert node.boots() == NEW
    assert result["after"]["boot"]["consistent"]


def test_half_made_commit_of_an_earlier_run_is_repaired(node: FakeNode) -> None:
    ensure(node, state="current")
    node.next_time("install", stop_after="cuttlefish", rc=None)
    refuse(node, UNKNOWN)
    preview = manager(node).preview()
    assert actions(preview) == ["repair_commit"]
    calls = len(node.changes())
    result = ensure(node)
    assert (actions(result), len(node.changes())) == (["repair_commit"], calls)


def test_old_version_of_a_half_made_commit_is_kept(node: FakeNode) -> None:
    ensure(node, state="current")
    node.next_time("install", stop_after="no_dot_erlang.boot", rc=None)
    refuse(node, UNKNOWN)
    error = refuse(node, REFUSED, NOW, "absent")
    assert "a restart would boot it" in error.message
    ensure(node)
    ensure(node, NOW, "absent")


def test_stopped_node_with_a_torn_commit_is_repaired_and_then_reported(node: FakeNode) -> None:
    ensure(node, state="current")
    node.next_time("install", stop_after="cuttlefish", rc=None, then=node.stop)
    with pytest.raises(FleetError):
        manager(node).ensure()
    calls = len(node.changes())
    preview = manager(node)
    with pytest.raises(FleetError) as caught:
        preview.preview()
    assert caught.value.failure_class == NOT_STARTED
    assert node.boots() == NOW, "check mode changes nothing"
    with pytest.raises(FleetError) as caught:
        manager(node).ensure()
    assert caught.value.failure_class == CHANGED
    assert [entry["action"] for entry in caught.value.details["actions"]] == ["repair_commit"]
    assert "a restart boots 4.4.19" in caught.value.hint
    assert boot.examine(node.installation, NEW).consistent
    assert len(node.changes()) == calls
    node.state = "running"
    ensure(node)


def test_stopped_node_is_not_started_and_not_changed(node: FakeNode) -> None:
    node.stop()
    error = refuse(node, NOT_STARTED)
    assert "stopped" in error.message
    assert "emqx start" in error.hint
    assert error.output == ["Node emqx@127.0.0.1 not responding to pings."]
    assert node.changes() == []


def test_node_that_does_not_answer(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    node.state = "hung"
    monkeypatch.setattr(Installation, "broker_pid", lambda self: PID)
    error = refuse(node, NOT_STARTED)
    assert str(PID) in error.message
    assert "cookie" in error.hint
    assert node.changes() == []


def test_repair_that_does_not_help_ends(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(node, state="current")
    node.next_time("install", stop_after="table")
    monkeypatch.setattr(boot, "complete_commit", lambda *unused: [])
    error = refuse(node, CHANGED)
    assert error.message.startswith(
        "repair_commit 4.4.19 was done, and the node still asks for it: 4.4.19 is permanent, 4.4.19 runs, and a "
        "restart boots 4.4.18."
    )
    problems = error.details["after"]["boot"]["problems"]
    assert problems
    assert all(problem["message"] in error.message for problem in problems)
    assert [entry["action"] for entry in error.details["actions"]] == ["commit", "repair_commit"]


def test_repair_on_a_read_only_file(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(node, state="current")
    node.next_time("install", stop_after="no_dot_erlang.boot")

    def read_only(path: str, *unused: Any, **unused_too: Any) -> None:
        raise OSError(30, "Read-only file system", path)

    with monkeypatch.context() as patch:
        patch.setattr(boot, "replace_file", read_only)
        with pytest.raises(FleetError) as caught:
            manager(node).ensure()
    assert "emqx_vars: Read-only file system" in caught.value.message
    assert caught.value.failure_class == CHANGED, "the table already calls the new version permanent"
    ensure(node)


# What was unpacked


def test_truncated_unpack_is_uninstalled_and_unpacked_again(node: FakeNode) -> None:
    node.next_time("unpack", stop_after="truncated", rc=2)
    result = ensure(node)
    assert actions(result) == ["unpack", "uninstall", "unpack", "switch", "commit"]
    beam = node.path("lib/emqx-4.4.19/ebin/emqx.beam")
    assert len(beam.read_bytes()) > 100


def test_truncated_unpack_of_an_earlier_run(node: FakeNode) -> None:
    node.next_time("unpack", stop_after="truncated", rc=None)
    refuse(node, UNKNOWN)
    assert actions(ensure(node)) == ["uninstall", "unpack", "switch", "commit"]


def test_unpack_that_is_truncated_again_and_again_ends(node: FakeNode) -> None:
    for _unused in range(9):
        node.next_time("unpack", stop_after="truncated", rc=2, stdout="Unpack failed: {error,enospc}\n")
    error = refuse(node, REFUSED)
    assert verbs(node) == ["unpack", "uninstall", "unpack", "uninstall"], "and what is torn does not stay"
    assert "still asks for it" in error.message


def test_folder_gone_is_unpacked_again(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    shutil.rmtree(str(node.path("releases/4.4.19")))
    assert actions(ensure(node)) == ["uninstall", "unpack", "switch", "commit"]


def test_folder_gone_and_no_package(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    shutil.rmtree(str(node.path("releases/4.4.19")))
    for path in node.path("releases").glob("*.zip"):
        path.unlink()
    error = refuse(node, NOT_STARTED)
    assert "There is no package of 4.4.19" in error.message
    result = ensure(node, state="absent")
    assert actions(result) == ["uninstall"]
    assert result["actions"][0]["files"] == [str(node.path("releases/4.4.19"))]
    assert node.table == {NOW: "permanent"}
    assert not node.path("releases/4.4.19").exists()


def test_uninstall_that_does_nothing(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    node.next_time("uninstall", rc=0, does=False)
    error = refuse(node, REFUSED, state="absent")
    assert "emqx uninstall 4.4.19 did not lead there (exit code 0" in error.message
    assert verbs(node).count("uninstall") == 1


# What must hold before


def test_two_zips(node: FakeNode) -> None:
    node.add_package(NEW, [NOW], otp="24.3.4.2-1")
    error = refuse(node, NOT_STARTED)
    assert "emqx-4.4.19-otp24.3.4.2-1-debian12-amd64.zip, emqx-4.4.19-otp25.2.3-1" in error.message
    assert node.changes() == []


def test_zip_of_a_longer_version_beside(node: FakeNode) -> None:
    node.add_package("4.4.190", [NOW])
    assert "4.4.190" in refuse(node, NOT_STARTED).message


def test_zip_of_another_version_that_the_command_would_take(node: FakeNode) -> None:
    error = refuse(node, NOT_STARTED, "4.4.1", allow_downgrade=True)
    assert "holds 4.4.19, not 4.4.1" in error.message
    assert node.changes() == []


def test_staged_package_is_there_only_for_the_unpack(node: FakeNode, tmp_path: Path) -> None:
    (zipped,) = node.path("releases").glob("*.zip")
    staged = tmp_path / zipped.name
    shutil.move(str(zipped), str(staged))
    ensure(node, package=str(staged))
    assert list(node.path("releases").glob("*.zip")) == []
    assert staged.exists()


def test_unsound_package(node: FakeNode) -> None:
    (zipped,) = node.path("releases").glob("*.zip")
    write_package(zipped, NEW, [NOW], without=["bin/nodetool"])
    error = refuse(node, NOT_STARTED)
    assert "must not be used" in error.message
    assert node.changes() == []


def test_relup_without_the_running_version(node: FakeNode) -> None:
    (zipped,) = node.path("releases").glob("*.zip")
    write_package(zipped, NEW, ["4.4.9", "4.4.10"])
    error = refuse(node, NOT_STARTED)
    assert "the relup of 4.4.19 lists 4.4.9, 4.4.10" in error.message
    assert node.changes() == []


def test_unpacked_release_without_relup(node: FakeNode) -> None:
    """The node's own check passes it, and the installation then fails."""
    ensure(node, state="unpacked")
    node.path("releases/4.4.19/relup").unlink()
    for path in node.path("releases").glob("*.zip"):
        path.unlink()
    error = refuse(node, NOT_STARTED)
    assert "lists no version" in error.message
    assert "upgrade" not in verbs(node)


@pytest.mark.parametrize(
    "name", ["bin/" + name + "-4.4.19" for name in VERSIONED_BIN_FILES] + ["releases/4.4.19/no_dot_erlang.boot"]
)
def test_missing_commit_file_keeps_from_the_switch(node: FakeNode, name: str) -> None:
    ensure(node, state="unpacked")
    for path in node.path("releases").glob("*.zip"):
        path.unlink()
    node.path(name).unlink()
    error = refuse(node, REFUSED)
    assert name in error.message
    assert "upgrade" not in verbs(node)


def test_missing_commit_file_keeps_from_the_commit(node: FakeNode) -> None:
    ensure(node, state="current")
    node.path("bin/cuttlefish-4.4.19").unlink()
    refuse(node, REFUSED)
    assert "install" not in verbs(node)


def test_unwritable(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = str(node.path("releases/emqx_vars"))
    asked: List[List[str]] = []

    def unwritable(user: str, paths: List[str]) -> List[str]:
        assert user == USER
        asked.append(paths)
        return [locked]

    monkeypatch.setattr(release, "unwritable_for", unwritable)
    error = refuse(node, NOT_STARTED)
    assert "cannot write to {0}".format(locked) in error.message
    assert locked in asked[0]
    assert node.changes() == []


def test_unwritable_between_switch_and_commit(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(node, state="current")
    monkeypatch.setattr(release, "unwritable_for", lambda user, paths: [str(node.path("bin"))])
    refuse(node, NOT_STARTED)
    assert "install" not in verbs(node)


def test_no_room(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(NamedTuple):
        f_bavail: int = 10
        f_frsize: int = 4096

    monkeypatch.setattr(preparation.os, "statvfs", lambda path: Full())
    error = refuse(node, NOT_STARTED)
    assert "MiB are free" in error.message
    assert node.changes() == []


def test_dry_check(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    node.bad_dry_check = "{no_matching_relup,4.4.19,4.4.18}"
    error = refuse(node, REFUSED)
    assert "{no_matching_relup,4.4.19,4.4.18}" in error.message
    assert "upgrade" not in verbs(node)
    assert "accept: [dry_check]" in error.hint


def test_dry_check_that_is_accepted_leaves_the_decision_to_the_command(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    node.bad_dry_check = "{no_matching_relup,4.4.19,4.4.18}"
    result = ensure(node, state="current", accept=["dry_check"])
    assert actions(result) == ["switch"]
    assert result["warnings"] == [
        "The node's own check refuses 4.4.19, which was accepted: {no_matching_relup,4.4.19,4.4.18}"
    ]


def test_patches_keep_from_the_switch_unless_accepted(node: FakeNode) -> None:
    patch = node.path("data/patches/emqx_connection.beam")
    patch.write_bytes(b"beam")
    node.patches_in_force = {"emqx_connection": True}
    error = refuse(node, REFUSED, state="current")
    assert str(patch) in error.message
    assert node.changes() == [], "not even unpacked"
    ensure(node, state="unpacked")
    refuse(node, REFUSED, state="current")
    assert verbs(node) == ["unpack"]
    node.patches_in_force = {"emqx_connection": False}
    result = manager(node, accept=["patches"]).ensure()
    assert actions(result) == ["switch", "commit"]
    # Permanent all the same, and told.
    assert [problem["code"] for problem in result["after"]["boot"]["problems"]] == ["stale_patch"]
    assert "accept: [patches]" in refuse(node, REFUSED).hint


def test_stale_patch_is_not_permanent(node: FakeNode) -> None:
    node.path("data/patches/emqx_connection.beam").write_bytes(b"beam")
    node.patches_in_force = {"emqx_connection": False}
    error = refuse(node, REFUSED, NOW)
    assert "a restart cannot be trusted" in error.message
    assert "accept: [patches]" in error.hint


def test_release_table_that_the_code_contradicts(node: FakeNode) -> None:
    """A restart booted another version than the permanent one: nothing is done from there."""
    ensure(node)
    node.running = NOW
    for version, state in ((NEW, "permanent"), (NOW, "permanent"), (NEW, "current"), (NOW, "current")):
        calls = len(node.changes())
        error = refuse(node, REFUSED, version, state, allow_downgrade=True)
        assert "the node runs 4.4.18" in error.message
        assert len(node.changes()) == calls


# Old code


def test_waits_for_old_code_and_keeps_every_client(node: FakeNode, clock: Clock) -> None:
    node.old_code = [("emqx_connection", 10)]
    node.settled_at_read = 6
    result = ensure(node)
    assert node.connections == 20
    assert result["actions"][1]["settled_after"] == sum(clock.slept) > 0


def test_time_out_of_the_wait_names_modules_and_counts(node: FakeNode, clock: Clock) -> None:
    node.old_code = [("emqx_connection", 10), ("emqx_ws_connection", 2)]

    def progress(reads: int) -> None:
        if reads == 10:
            node.old_code = [("emqx_connection", 3)]

    node.on_read = progress
    error = refuse(node, CHANGED, state="current", settle_timeout=60)
    assert "(3 in emqx_connection; at first 12 in emqx_connection, emqx_ws_connection)" in error.message
    assert "force_switch" in error.hint
    assert 60 <= sum(clock.slept) <= 62
    assert verbs(node) == ["unpack"]
    assert node.connections == 20


def test_a_node_that_does_not_tell_of_old_code_is_not_switched(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    node.extra["facts"] = {"old_code": Atom("undefined")}
    error = refuse(node, REFUSED, settle_timeout=0)
    assert "did not tell" in error.message
    assert verbs(node) == ["unpack"]


def test_time_out_of_the_wait_on_an_unpacked_release_changed_nothing(node: FakeNode) -> None:
    ensure(node, state="unpacked")
    node.old_code = [("emqx_connection", 1)]
    error = refuse(node, REFUSED, settle_timeout=0)
    assert error.details["before"] == error.details["after"]


def test_force_switch_warns(node: FakeNode, clock: Clock) -> None:
    node.old_code = [("emqx_connection", 10)]
    result = ensure(node, force_switch=True)
    (warning,) = result["warnings"]
    assert "10 in emqx_connection" in warning
    assert result["clients"] == {"before": 20, "after": 10}
    assert clock.slept == []


def test_a_second_switch_waits_too(node: FakeNode, clock: Clock) -> None:
    node.old_code_after_switch = [("emqx_connection", 10)]
    ensure(node, state="current")
    node.settled_at_read = node.reads + 4
    ensure(node, NOW, "current", allow_downgrade=True)
    assert clock.slept
    assert node.connections == 20


def test_node_that_stops_during_the_wait(node: FakeNode) -> None:
    node.old_code = [("emqx_connection", 10)]

    def stop(reads: int) -> None:
        if reads == 4:
            node.stop()

    node.on_read = stop
    with pytest.raises(FleetError) as caught:
        manager(node).ensure()
    assert caught.value.failure_class == CHANGED
    assert verbs(node) == ["unpack"]


# The lock, the journal, what is left


def test_lock_held_by_another(node: FakeNode) -> None:
    asked = manager(node)
    with asked.state_dir.locked("permanent 4.4.20", 0):
        other = manager(node)
        with pytest.raises(FleetError) as caught:
            other.ensure()
        assert caught.value.failure_class == NOT_STARTED
        assert "permanent 4.4.20" in caught.value.message
        assert "process {0}".format(os.getpid()) in caught.value.message
        assert node.calls == []
        # Looking takes no lock.
        assert manager(node).preview()["changed"]
    ensure(node)


def test_command_inherits_the_lock(node: FakeNode) -> None:
    held: List[Optional[int]] = []
    node.on_read = lambda reads: held.append(node.command.hold)
    manager(node).ensure()
    assert all(isinstance(handle, int) for handle in held)


def test_command_at_work_keeps_the_reservation(node: FakeNode) -> None:
    found: List[Optional[Callable[[], None]]] = []
    node.on_read = lambda reads: found.append(node.command.meanwhile)
    asked = manager(node)
    asked.ensure()
    assert found == [asked.state_dir.keep_reserved] * len(found)
    assert found
    assert node.command.meanwhile is None


def test_only_our_own_leftovers_are_removed(node: FakeNode) -> None:
    theirs = node.path("tmp/emqx_untar_theirs")
    theirs.mkdir()
    kept = node.path("releases/emqx-4.4.10.tar.gz")
    kept.write_bytes(b"x")
    result = ensure(node)
    assert theirs.is_dir()
    assert kept.exists()
    assert len(list(node.path("tmp").iterdir())) == 1
    assert [path.name for path in node.path("releases").glob("*.tar.gz")] == ["emqx-4.4.10.tar.gz"]
    assert len(result["actions"][0]["removed"]) == 2


def test_leftovers_of_a_failed_unpack_are_removed(node: FakeNode) -> None:
    node.next_time("unpack", stop_after="truncated", rc=2)
    manager(node).ensure()
    assert list(node.path("tmp").iterdir()) == []
    assert list(node.path("releases").glob("*.tar.gz")) == []


def test_stale_tarball_is_out_of_the_way_before_the_unpack(node: FakeNode) -> None:
    """The command silently uses it when no zip matches, whatever it holds."""
    stale = node.path("releases/emqx-4.4.19.tar.gz")
    stale.write_bytes(b"anything")
    seen: List[bool] = []
    run = node.run

    def watch(arguments: List[str]) -> Any:
        if arguments[0] == "unpack":
            seen.append(stale.exists())
        return run(arguments)

    node.run = watch  # type: ignore[method-assign]
    ensure(node)
    assert seen == [False]


def test_journal_that_cannot_be_written_is_a_warning(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: StateDir, entry: Dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateDir, "record", full)
    result = manager(node).ensure()
    assert "journal" in result["warnings"][0]
    assert "No space left" in result["warnings"][0]


def test_every_failure_in_a_row_and_then_a_plain_run(node: FakeNode) -> None:
    """Whatever went wrong before, the same task again converges."""
    failures: List[Callable[[], None]] = [
        lambda: node.next_time("unpack", rc=127, does=False),
        lambda: node.next_time("unpack", stop_after="truncated", rc=None),
        lambda: node.next_time("upgrade", rc=None, does=False),
        lambda: node.next_time("upgrade", rc=None),
        lambda: node.next_time("install", rc=None, stop_after="cuttlefish"),
    ]
    for failure in failures:
        failure()
        with pytest.raises(FleetError):
            manager(node).ensure()
    ensure(node)
    assert node.connections == 20
    assert node.boots() == NEW


# Where the upgrade script unpacks in the switch (EMQX 4.3.13-4.3.22, 4.4.2-4.4.14)


@pytest.fixture
def unpacks_late(node: FakeNode) -> FakeNode:
    """The same node with the other kind of upgrade script."""
    node.use_script("folder")
    return node


def test_the_switch_unpacks_where_the_script_does(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    staged = node.path("data/fleet/packages")
    staged.mkdir(parents=True)
    [package] = node.path("releases").glob("*.zip")
    package.rename(staged / package.name)
    task = {"package": str(staged / package.name)}
    assert actions(ensure(node, state="staged", **task)) == []
    result = ensure(node, state="current", **task)
    assert actions(result) == ["switch"]
    assert result["actions"][0]["command"] == ["emqx", "upgrade", "--no-permanent", NEW]
    assert result["actions"][0]["package"] == package.name
    assert actions(ensure(node, **task)) == ["commit"]
    assert verbs(node) == ["upgrade", "install"]
    assert not list(node.path("releases").glob("*.zip")), "the package is there only while the command needs it"
    assert (staged / package.name).exists()
    assert not list(node.path("tmp").iterdir()), "what the unpack left is removed"
    assert '"4.4.18"' in node.path("releases/RELEASES").read_text()


def test_a_leftover_row_is_uninstalled_first_where_the_script_unpacks_again(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    node.add_release(NEW, "unpacked", [NOW], [NOW])
    assert actions(ensure(node, state="staged")) == ["uninstall"]
    node.add_release(NEW, "unpacked", [NOW], [NOW])
    assert actions(ensure(node)) == ["uninstall", "switch", "commit"]
    assert '"4.4.18"' in node.path("releases/RELEASES").read_text()


def test_a_leftover_row_stays_as_long_as_there_is_no_package(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    node.add_release(NEW, "unpacked", [NOW], [NOW])
    for path in node.path("releases").glob("*.zip"):
        path.unlink()
    for state in ("staged", "current", "permanent"):
        assert "There is no package of 4.4.19" in refuse(node, NOT_STARTED, state=state).message
    assert node.table[NEW] == "unpacked"
    assert verbs(node) == []


def test_nothing_is_unpacked_beforehand_where_the_script_unpacks_again(unpacks_late: FakeNode) -> None:
    error = refuse(unpacks_late, REFUSED, state="unpacked")
    assert "in the switch itself" in error.message
    assert verbs(unpacks_late) == []


def test_what_is_staged_is_checked_where_nothing_is_unpacked(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    [package] = node.path("releases").glob("*.zip")
    package.write_bytes(package.read_bytes()[:-200])
    assert "must not be used" in refuse(node, NOT_STARTED, state="staged").message
    package.unlink()
    assert "There is no package" in refuse(node, NOT_STARTED, state="staged").message


def test_a_package_without_the_hop_is_not_unpacked_in_the_switch(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    [package] = node.path("releases").glob("*.zip")
    write_package(package, NEW, ["4.4.16"])
    assert "lists 4.4.16" in refuse(node, NOT_STARTED).message
    assert verbs(node) == []


def test_a_command_that_ends_after_its_unpack_is_run_again(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    node.next_time("upgrade", stop_after="unpacked", rc=3)
    refuse(node, CHANGED)
    assert node.table[NEW] == "unpacked"
    assert actions(ensure(node)) == ["uninstall", "switch", "commit"]


def test_back_from_there_needs_no_package(unpacks_late: FakeNode) -> None:
    node = unpacks_late
    ensure(node, state="current")
    for path in node.path("releases").glob("*.zip"):
        path.unlink()
    assert actions(ensure(node, NOW, allow_downgrade=True)) == ["switch"]
    assert verbs(node) == ["upgrade", "downgrade"]


def test_the_very_package_of_the_task_may_lie_in_releases(node: FakeNode) -> None:
    """As EMQX's manual has it put there by hand; it is used, and stays."""
    [package] = node.path("releases").glob("*.zip")
    staged = node.path("data/fleet/packages")
    staged.mkdir(parents=True)
    shutil.copy(str(package), str(staged / package.name))
    task = {"package": str(staged / package.name)}
    assert actions(ensure(node, **task)) == ["unpack", "switch", "commit"]
    assert package.exists()


def test_another_package_beside_that_of_the_task_is_refused(node: FakeNode) -> None:
    [package] = node.path("releases").glob("*.zip")
    staged = node.path("data/fleet/packages")
    staged.mkdir(parents=True)
    write_package(staged / package.name, NEW, [NOW], [])
    error = refuse(node, NOT_STARTED, package=str(staged / package.name))
    assert "beside the staged" in error.message


def test_a_link_of_a_killed_run_is_removed_before_anything_else(node: FakeNode) -> None:
    staged = node.path("data/fleet/packages")
    staged.mkdir(parents=True)
    [package] = node.path("releases").glob("*.zip")
    os.link(str(package), str(staged / package.name))
    node.add_release(NEW, "current", [NOW], [NOW])
    assert actions(ensure(node, package=str(staged / package.name))) == ["commit"]
    assert not package.exists()


# A release table on disk that lost its rows


@pytest.fixture
def lost_rows(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """No command works any more, as recorded: 4.4.19 runs, a restart would boot 4.4.18, RELEASES has 4.4.19 alone."""
    node.add_release(NEW, "current", [NOW], [NOW])
    whole = node.path("releases/RELEASES").read_text()
    node.lose_rows(NEW)

    def evaluate(peer: Any, text: str, timeout: float) -> bytes:
        if "sys:get_state(release_handler)" in text:
            return whole.encode("ascii")
        return node.evaluate(peer, text, timeout)

    monkeypatch.setattr(Installation, "broker_pid", lambda self: PID if node.state == "running" else None)
    monkeypatch.setattr(asking, "evaluate", evaluate)
    monkeypatch.setattr(distribution, "evaluate", evaluate)
    return node


@pytest.mark.parametrize(("state", "then"), [("permanent", ["commit"]), ("current", [])])
def test_lost_rows_come_back_from_the_running_node(lost_rows: FakeNode, state: str, then: List[str]) -> None:
    found = manager(lost_rows).preview()["before"]
    assert [problem["code"] for problem in found["boot"]["problems"]] == ["release_row"]
    result = ensure(lost_rows, state=state)
    assert actions(result) == ["repair_table", *then]
    assert result["actions"][0]["files"] == [str(lost_rows.path("releases/RELEASES"))]
    assert result["after"]["boot"]["consistent"]


def test_lost_rows_of_a_node_that_cannot_be_asked(lost_rows: FakeNode) -> None:
    lost_rows.path("etc/emqx.conf").unlink()
    with pytest.raises(FleetError, match="table cannot be read: the broker's node name is not known"):
        manager(lost_rows).ensure()
    assert '"4.4.18"' not in lost_rows.path("releases/RELEASES").read_text()


def test_lost_rows_of_a_stopped_node_come_back_from_its_release_file(lost_rows: FakeNode) -> None:
    node = lost_rows
    node.stop()
    for name, version in (("emqx", NOW), ("ekka", NOW)):
        assert node.path("lib/{0}-{1}".format(name, version)).is_dir()
    text = '{{release,{{"emqx","{0}"}},{{erts,"13.1.5"}},[{{emqx,"{0}"}},{{ekka,"{0}",load}}]}}.'.format(NOW)
    node.path("releases/4.4.18/emqx.rel").write_text(text)
    with pytest.raises(FleetError, match="The node is stopped") as caught:
        manager(node, NOW).ensure()
    assert actions(caught.value.details) == ["repair_table"]
    rows = {row["version"]: row["status"] for row in node.installation.table_on_disk()}
    assert rows == {NOW: "permanent", NEW: "old"}
    node.state = "running"
    assert node.command.read("eval", "1.").rc == 0, "commands work again"


def test_lost_rows_of_a_stopped_node_without_its_release_file(lost_rows: FakeNode) -> None:
    node = lost_rows
    node.stop()
    node.path("releases/4.4.18/emqx.rel").unlink()
    found = facts.collect(node.installation, node.command)[0]["boot"]["problems"]
    assert [p["repairable"] for p in found if p["code"] == "release_row"] == [False]
    with pytest.raises(FleetError, match="The node is stopped"):
        manager(node, NOW).ensure()
