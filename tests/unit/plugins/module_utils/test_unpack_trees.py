# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose the folders are that packages are unpacked in, with real processes that do what EMQX's script does."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import preparation, unpack_trees
from ansible_collections.emqx.fleet.plugins.module_utils.command import EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER

#: Makes a folder as EMQX's script does, and stands still after each step for as long as it is told to: seconds, until a
#: line comes, or until its folder was seen.
SCRIPT = """
import os, sys, time
tmp, steps = sys.argv[1], dict(word.split("=") for word in sys.argv[2:])
def step(name):
    print(name, flush=True)
    if steps.get(name) == "wait":
        sys.stdin.readline()
    elif steps.get(name) == "seen":
        while not os.path.exists(tree.replace("emqx_untar_", "seen_")):
            time.sleep(0.01)
    else:
        time.sleep(float(steps.get(name, 0)))
step("connected")
tree = os.path.join(tmp, "emqx_untar_{0}".format(int(time.time() * 1e9)))
os.mkdir(tree)
step("made")
with open(os.path.join(tree, "emqx.zip"), "wb") as copy:
    copy.write(b"PK")
    step("copying")
os.chdir(tree)
step("unzipping")
step("working")
os.mkdir("emqx")
os.chdir("emqx")
step("packing")
if not os.path.exists(os.path.join(tree, "emqx.zip")):
    print("TREE IS GONE", flush=True)
    sys.exit(127)
os.chdir("/")
step("installing")
"""
STEPS = ("made", "copying", "unzipping", "packing", "installing")


class Machine:
    """A ``/tmp`` with upgrade scripts of one name, which no other process of this machine has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        self.tmp.mkdir()
        self.script = root / "install_upgrade_{0}.escript".format(os.getpid())
        self.script.write_text(SCRIPT)

    def argv(self, **steps: Any) -> List[str]:
        words = ["{0}={1}".format(name, value) for name, value in steps.items()]
        return [sys.executable, "-S", "-E", str(self.script), str(self.tmp)] + words

    def command(self, name: str, timeout: float = 20, before: str = "", **steps: Any) -> EmqxCommand:
        """The ``emqx`` command of an installation of its own."""
        home = self.root / name
        for part in ("bin", "releases", "etc"):
            (home / part).mkdir(parents=True)
        argv = " ".join("'{0}'".format(word) for word in self.argv(**steps))
        (home / "bin/emqx").write_text("#!/bin/sh\n{0} {1}\n".format(before, argv))
        (home / "bin/emqx").chmod(0o755)
        return EmqxCommand(Installation(str(home / "bin/emqx")), USER, timeout)

    @contextlib.contextmanager
    def stranger(self, until: str, **steps: Any) -> Iterator["subprocess.Popen[bytes]"]:
        """Somebody else's script, which stands still after a step."""
        process = subprocess.Popen(
            self.argv(**dict(steps, **{until: "wait"})), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.decode().strip() == until:
                    break
            yield process
        finally:
            process.communicate(b"\n")

    def trees(self) -> List[str]:
        return sorted(str(path) for path in self.tmp.glob("emqx_untar_*"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(unpack_trees, "GLOB", str(made.tmp / "emqx_untar_*"))
    monkeypatch.setattr(unpack_trees, "SCRIPT", made.script.name)
    return made


# Which nobody needs


def test_only_folders_count(machine: Machine) -> None:
    (machine.tmp / "emqx_untar_1").mkdir()
    (machine.tmp / "emqx_untar_2").write_text("x")
    (machine.tmp / "emqx_untar_3").symlink_to(machine.root)
    (machine.tmp / "emqx_untar_4").symlink_to("nowhere")
    (machine.tmp / "other").mkdir()
    assert unpack_trees.trees() == unpack_trees.unneeded() == [str(machine.tmp / "emqx_untar_1")]


@pytest.mark.parametrize("step", STEPS)
def test_a_folder_is_needed_for_as_long_as_its_script_runs(machine: Machine, step: str) -> None:
    """Also before the script has entered it, and when it was there already."""
    with machine.stranger(step):
        assert len(unpack_trees.trees()) == 1
        assert unpack_trees.unneeded() == []
    assert unpack_trees.unneeded() == unpack_trees.trees() == machine.trees()


def test_a_folder_that_was_there_before_a_script_began_is_not_its(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = machine.tmp / "emqx_untar_1700000000000000000"
    old.mkdir()
    real = unpack_trees._made_at
    monkeypatch.setattr(unpack_trees, "_made_at", lambda path: 1.7e9 if path == str(old) else real(path))
    with machine.stranger("made"):
        assert len(unpack_trees.trees()) == 2
        assert unpack_trees.unneeded() == [str(old)]


def test_a_folder_in_which_a_script_works_is_needed_however_old_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock may have been set."""
    monkeypatch.setattr(unpack_trees, "_made_at", lambda path: 0.0)
    for step in ("copying", "unzipping", "packing"):
        with machine.stranger(step):
            assert len(unpack_trees.unneeded()) == len(unpack_trees.trees()) - 1


def test_when_a_folder_was_made(machine: Machine) -> None:
    path = machine.tmp / "emqx_untar_4000000000123456789"
    path.mkdir()
    assert unpack_trees._made_at(str(path)) == pytest.approx(4000000000.123, abs=0.01)
    other = machine.tmp / "emqx_untar_17"
    other.mkdir()
    assert abs(unpack_trees._made_at(str(other)) - time.time()) < 60
    assert unpack_trees._made_at(str(machine.tmp / "gone")) == 0.0


def test_when_a_script_was_started(machine: Machine) -> None:
    with machine.stranger("connected") as process:
        (script,) = unpack_trees.scripts()
        assert script.pid == process.pid
        assert abs(script.started - time.time()) < 60
    assert unpack_trees.scripts() == []


# Which a command made


def test_the_folder_of_a_command_is_known(machine: Machine) -> None:
    command = machine.command("emqx", connected=0.3, unzipping=0.1)
    result = command.change("unpack", "4.4.19")
    assert (result.rc, result.stdout.split()[-1]) == (0, "installing")
    assert list(result.trees) == command.trees == machine.trees()
    assert len(command.trees) == 1
    assert command.read("eval").trees == ()


@pytest.mark.parametrize("step", STEPS)
def test_the_folder_of_somebody_else_is_not_taken_for_the_commands(machine: Machine, step: str) -> None:
    with machine.stranger(step):
        others = machine.trees()
        result = machine.command("emqx", connected=0.3, unzipping=0.2).change("unpack", "4.4.19")
        assert sorted(set(machine.trees()) - set(others)) == list(result.trees)
        assert len(result.trees) == 1


def test_the_folder_that_somebody_else_makes_meanwhile_is_not_taken_for_the_commands(machine: Machine) -> None:
    """The other begins and ends while the command runs."""
    command = machine.command("emqx", connected=0.3, unzipping=1.2)
    found: Dict[str, Any] = {}
    thread = threading.Thread(target=lambda: found.update(result=command.change("unpack", "4.4.19")))
    thread.start()
    while not machine.trees():
        time.sleep(0.01)
    (mine,) = machine.trees()
    subprocess.run(machine.argv(connected=0.3), check=True, stdout=subprocess.DEVNULL)
    assert thread.is_alive()
    thread.join()
    assert len(machine.trees()) == 2
    assert list(found["result"].trees) == [mine]


def test_a_command_too_quick_to_be_seen_is_alone(machine: Machine) -> None:
    result = machine.command("emqx").change("unpack", "4.4.19")
    assert list(result.trees) == machine.trees()
    assert len(result.trees) == 1


def test_what_was_not_seen_is_nobodys_where_another_script_was_there(machine: Machine) -> None:
    with machine.stranger("connected"):
        watch = unpack_trees.Watch([], os.geteuid())
        watch.begin(2**22 + 1)
        (machine.tmp / "emqx_untar_5").mkdir()
        assert watch.made() == []
    assert unpack_trees.unneeded() == machine.trees(), "left for the one who cleans"


def test_another_script_that_ends_before_the_command_begins(machine: Machine) -> None:
    with machine.stranger("connected"):
        watch = unpack_trees.Watch([], os.geteuid())
    assert len(machine.trees()) == 1
    watch.begin(2**22 + 1)
    assert watch.made() == []


def test_what_was_not_seen_and_belongs_to_another_user_is_not_the_commands(machine: Machine) -> None:
    watch = unpack_trees.Watch([], os.geteuid() + 1)
    watch.begin(2**22 + 1)
    (machine.tmp / "emqx_untar_5").mkdir()
    assert watch.made() == []


def test_what_was_there_before_is_not_the_commands(machine: Machine) -> None:
    (machine.tmp / "emqx_untar_5").mkdir()
    result = machine.command("emqx", connected=0.3, unzipping=0.1).change("unpack", "4.4.19")
    assert len(result.trees) == 1
    assert str(machine.tmp / "emqx_untar_5") not in result.trees


def test_a_script_is_known_also_where_the_shell_between_has_ended(machine: Machine) -> None:
    """By what it writes to."""
    with machine.stranger("connected"):
        command = machine.command("emqx", before="exec 3>&1; (setsid", connected=0.3, unzipping=0.3)
        path = Path(command.installation.executable)
        path.write_text(path.read_text().rstrip() + " & ); sleep 1.2\n")
        result = command.change("unpack", "4.4.19")
        assert len(result.trees) == 1


def test_a_script_is_known_by_who_started_it(machine: Machine) -> None:
    with machine.stranger("connected"):
        command = machine.command("emqx", connected=0.3, unzipping=0.3)
        path = Path(command.installation.executable)
        path.write_text(path.read_text().rstrip() + " > /dev/null 2>&1\n")
        assert len(command.change("unpack", "4.4.19").trees) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_command_left_to_its_work_keeps_its_folder(machine: Machine) -> None:
    command = machine.command("emqx", timeout=0.8, connected=0.3, unzipping=1.5)
    with preparation.leftovers_removed(command.installation, "4.4.19", command) as removed:
        result = command.change("unpack", "4.4.19")
    assert result.timed_out
    assert (removed, result.trees) == ([], [])
    assert len(machine.trees()) == 1
    deadline = time.time() + 20
    while unpack_trees.scripts() and time.time() < deadline:
        time.sleep(0.05)
    assert unpack_trees.unneeded() == machine.trees()


# By force


def test_two_installations_at_the_same_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round after round both unpack at once and clean up behind themselves; neither takes what the other needs."""
    rounds = 6
    problems: List[str] = []
    look = unpack_trees.Watch.look

    def look_and_tell(self: unpack_trees.Watch, now: float) -> None:
        look(self, now)
        for tree in self._seen:
            Path(tree.replace("emqx_untar_", "seen_")).touch()

    # However slow the machine is, a folder is worked in until it was looked at.
    monkeypatch.setattr(unpack_trees.Watch, "look", look_and_tell)

    def work(name: str, pauses: Dict[str, Any]) -> None:
        command = machine.command(name, **pauses)
        for _turn in range(rounds):
            with preparation.leftovers_removed(command.installation, "4.4.19", command) as removed:
                result = command.change("unpack", "4.4.19")
            if result.rc != 0 or "GONE" in result.stdout:
                problems.append("{0} failed: {1}{2}".format(name, result.stdout, result.stderr))
            if removed != list(result.trees) or len(removed) != 1:
                problems.append("{0} made {1} and removed {2}".format(name, result.trees, removed))

    # In other rhythms, so that every step of the one meets every step of the other.
    one = dict(connected=0.25, made=0.11, unzipping=0.1, working="seen", installing=0.1)
    two = dict(connected=0.31, copying=0.05, packing=0.13, unzipping=0.07, working="seen")
    threads = [threading.Thread(target=work, args=pair) for pair in (("one", one), ("two", two))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
