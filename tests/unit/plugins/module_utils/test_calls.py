# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls, and rows of them: how one ends, what is written down of it, and what a second process makes of that."""

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import calls
from ansible_collections.emqx.fleet.plugins.module_utils.calls import KINDS, Call, Kind, perform
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, REFUSED, UNKNOWN, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.module_support import Node
from ansible_collections.emqx.fleet.plugins.module_utils.package import sha256_file
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER, FakeNode

ROOT = Path(__file__).resolve().parents[4]
OLD, NOW, NEW = "4.4.17", "4.4.18", "4.4.19"
FACTS = {
    "state": "running",
    "running": NOW,
    "boot": {"version": NOW},
    "cluster": {"running": ["a", "b"], "stopped": []},
    "connections": 10,
    "sessions": None,
}  # type: Dict[str, Any]


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(str(tmp_path / "data" / "fleet"), USER)


# The kinds, each with the defaults of its arguments


def complete(kind: str, **given: Any) -> Dict[str, Any]:
    """The arguments as an AnsibleModule gives them: each, with its default or as None."""
    spec = KINDS[kind].arguments
    assert set(given) <= set(spec)
    assert {name for name, row in spec.items() if row.get("required")} <= set(given)
    return dict({name: row.get("default") for name, row in spec.items()}, **given)


@pytest.fixture
def opened() -> List[Tuple[Optional[str], float]]:
    """How nodes were looked for: by which command, and how long a command may take."""
    return []


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: List[Tuple[Optional[str], float]]) -> FakeNode:
    made = FakeNode(tmp_path / "emqx", NOW, [OLD], [OLD])
    made.use_own_tmp(monkeypatch)

    def open_node(executable: Optional[str], timeout: float) -> Node:
        opened.append((executable, timeout))
        return Node(made.installation, made.command, StateDir(made.installation.state_dir, USER))

    monkeypatch.setattr(calls, "open_node", open_node)
    return made


def test_a_release(node: FakeNode, opened: List[Any]) -> None:
    node.add_package(NEW, [OLD, NOW], [OLD, NOW])
    preview = KINDS["emqx_release"].work(complete("emqx_release", version=NEW), True)
    assert (preview["changed"], node.running, node.changes()) == (True, NOW, [])
    result = KINDS["emqx_release"].work(complete("emqx_release", version=NEW, state="current"))
    assert (result["changed"], result["running"], result["permanent"]) == (True, NEW, NOW)
    assert opened == [(None, 600), (None, 600)]
    again = KINDS["emqx_release"].work(complete("emqx_release", version=NEW, executable="/b/emqx", timeout=5.0))
    assert (again["changed"], again["permanent"]) == (True, NEW), "by default it is made permanent"
    assert opened[2] == ("/b/emqx", 5.0)


@pytest.mark.parametrize("version", ["", "4.4.19; rm", "x"])
def test_a_version_is_checked_before_anything_else(node: FakeNode, opened: List[Any], version: str) -> None:
    for kind, name in (("emqx_release", "version"), ("emqx_release_info", "check_version")):
        with pytest.raises(FleetError):
            KINDS[kind].work(complete(kind, **{name: version}))
    assert (opened, node.calls) == ([], [])


def test_a_reading(node: FakeNode, opened: List[Any]) -> None:
    for check_mode in (False, True):
        facts = KINDS["emqx_release_info"].work(complete("emqx_release_info"), check_mode)
        assert (facts["changed"], facts["state"], facts["running"]) == (False, "running", NOW)
        assert facts["old_code"] == []
        assert (facts["listener_answers"], facts["settings"]) == (None, None)
    assert opened == [(None, 60), (None, 60)], "it takes less time than what changes a node"
    fast = KINDS["emqx_release_info"].work(complete("emqx_release_info", old_code=False))
    assert fast["old_code"] is None


def reserve(**given: Any) -> Dict[str, Any]:
    claim = {"who": "ann@tower", "controller": "tower", "controller_process": "1@1"}
    return complete("emqx_reservation", **dict(dict(claim, id="run-1"), **given))


def test_a_reservation(node: FakeNode) -> None:
    node.stop()
    work = KINDS["emqx_reservation"].work
    path = node.path("data/fleet/run.json")
    preview = work(reserve(), True)
    assert (preview, path.exists()) == ({"changed": True, "reservation": None}, False)
    result = work(reserve())
    assert (result["verdict"], result["changed"], result["reservation"]["id"]) == ("held", True, "run-1")
    assert 100 < json.loads(path.read_text())["lease_until"] - time.time() <= 120.001
    assert work(reserve(), True)["changed"] is False
    assert work(reserve(renew=True))["changed"] is False
    with pytest.raises(FleetError) as caught:
        work(reserve(id="run-2"))
    answer = caught.value.result()
    assert (answer["verdict"], answer["failure_class"]) == ("refused", NOT_STARTED)
    assert "run-1 of ann@tower" in answer["msg"]
    assert work(reserve(id="run-2", state="absent")) == {"changed": False}
    assert work(reserve(state="absent"), True)["changed"] is True
    assert work(reserve(state="absent")) == {"changed": True}
    assert not path.exists()


def test_packages(node: FakeNode, tmp_path: Path) -> None:
    sent = tmp_path / "sent.zip"
    sent.write_bytes(b"package")
    wanted = [{"name": "a.zip", "size": 7, "sha256": sha256_file(str(sent))}]
    work = KINDS["packages"].work
    assert work(complete("packages", packages=wanted), True) == {"changed": False, "missing": []}
    assert not node.path("data/fleet").exists()
    assert work(complete("packages", packages=wanted)) == {"changed": True, "missing": ["a.zip"]}
    received = {"a.zip": str(sent)}
    assert work(complete("packages", packages=wanted, received=received)) == {"changed": True, "missing": []}
    assert node.path("data/fleet/packages/a.zip").read_bytes() == b"package"


def test_removing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/file").write_text("x")
    (tree / "link").symlink_to(outside)
    link = tmp_path / "link"
    link.symlink_to(outside)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nothing")
    work = KINDS["remove"].work
    for path in (tree, tree / "below/file", link, dangling):
        assert work(complete("remove", path=str(path)), True) == {"changed": True}
        assert os.path.lexists(str(path)), "check mode removes nothing"
    for path in (link, dangling, tree):
        assert work(complete("remove", path=str(path))) == {"changed": True}
        assert not os.path.lexists(str(path))
        assert work(complete("remove", path=str(path))) == {"changed": False}
    assert outside.is_dir(), "what a link leads to stays"


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()

    def refuse(_path: str) -> None:
        raise OSError(30, "Read-only file system", str(tmp_path / "tree/file"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(FleetError) as caught:
        KINDS["remove"].work(complete("remove", path=str(tmp_path / "tree")))
    assert caught.value.message == "{0}/tree/file cannot be removed: Read-only file system.".format(tmp_path)
    assert caught.value.hint


def test_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []  # type: List[float]
    monkeypatch.setattr(calls, "pause", waited.append)
    assert KINDS["wait"].work(complete("wait", seconds=7.0)) == {"changed": False}
    assert KINDS["wait"].work(complete("wait", seconds=7.0), True) == {"changed": False}
    assert waited == [7.0]


# Rows of calls


class Work:
    """A kind of call that a test makes up; by the word that is its argument it answers, or raises."""

    def __init__(self) -> None:
        self.done = []  # type: List[str]
        self.answers = {}  # type: Dict[str, Any]

    def __call__(self, arguments: Dict[str, Any], check_mode: bool = False) -> Dict[str, Any]:
        word = arguments["word"]
        self.done.append("look at " + word if check_mode else word)
        answer = self.answers.get(word, {"changed": True, "word": word})
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    made = Work()
    monkeypatch.setitem(calls.KINDS, "work", Kind(made, {}))
    return made


def row(*words: str, **expect: Any) -> List[Call]:
    """A row; what is expected is expected of the first call."""
    found = [Call("work", {"word": word}) for word in words]
    return [found[0]._replace(expect=expect)] + found[1:] if expect else found


def result(word: str) -> Dict[str, Any]:
    return {"changed": True, "word": word}


def test_one_call_after_the_other(state_dir: StateDir, work: Work) -> None:
    assert perform(state_dir, row("a", "b", "c"), "1") == [result("a"), result("b"), result("c")]
    assert work.done == ["a", "b", "c"]
    assert perform(state_dir, [], "2") == []


def test_a_failure_ends_a_row(state_dir: StateDir, work: Work) -> None:
    work.answers["b"] = FleetError("It is not so.", REFUSED, "Mend it.", ["line"], {"verdict": "lost"})
    found = perform(state_dir, row("a", "b", "c"), "1")
    told = {
        "failed": True,
        "failure_class": REFUSED,
        "msg": "It is not so. Mend it.",
        "hint": "Mend it.",
        "output": ["line"],
        "verdict": "lost",
    }
    assert found == [result("a"), told]
    assert work.done == ["a", "b"]


def test_what_is_missing_ends_a_row(state_dir: StateDir, work: Work) -> None:
    work.answers = {"a": {"missing": []}, "b": {"missing": ["x.zip"]}}
    assert perform(state_dir, row("a", "b", "c"), "1") == [{"missing": []}, {"missing": ["x.zip"]}]
    assert work.done == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "expect", "goes_on"),
    [
        ({}, {}, True),
        ({}, {"least": 10}, True),
        ({}, {"least": 11}, False),
        ({}, {"least": None}, True),
        ({}, {"boots": NOW}, True),
        ({}, {"boots": NEW}, False),
        ({}, {"running": NEW}, False),
        ({}, {"cluster": ["a"]}, True),
        ({}, {"cluster": ["a", "b", "c"]}, False),
        ({"state": "stopped"}, {}, False),
        ({"running": None}, {}, False),
        ({"cluster": {"running": ["a", "b"], "stopped": ["c"]}}, {}, False),
    ],
)
def test_a_reading_that_is_not_as_expected_ends_a_row(
    state_dir: StateDir, work: Work, changes: Dict[str, Any], expect: Dict[str, Any], goes_on: bool
) -> None:
    facts = dict(FACTS, **changes)
    work.answers["read"] = facts
    expected = dict({"running": NOW, "cluster": ["a", "b"]}, **expect)
    found = perform(state_dir, row("read", "switch", **expected), "1")
    assert found == [facts] + ([result("switch")] if goes_on else [])
    assert work.done == ["read"] + (["switch"] if goes_on else [])
    # The row that is asked for again ends there as well, and nothing of it is done twice.
    assert perform(state_dir, row("read", "switch", **expected), "1") == found
    assert len(work.done) == len(found)


@pytest.mark.parametrize("error", [KeyError("boot"), MemoryError(), RuntimeError("no"), OSError(28, "No space left")])
def test_a_crash_keeps_what_was_done_before_it(state_dir: StateDir, work: Work, error: Exception) -> None:
    work.answers["b"] = error
    found = perform(state_dir, row("a", "b", "c"), "1")
    assert found[0] == result("a")
    assert found[1]["failed"] is True
    assert found[1]["failure_class"] == UNKNOWN
    assert found[1]["msg"] == "An error in emqx.fleet itself, {0}: {1}".format(type(error).__name__, error)
    assert "Traceback" in found[1]["exception"]
    assert (len(found), work.done) == (2, ["a", "b"])


def test_check_mode_looks_and_writes_nothing(state_dir: StateDir, work: Work) -> None:
    work.answers["b"] = FleetError("It would not go.")
    found = perform(state_dir, row("a", "b", "c"), "1", check_mode=True)
    assert [one.get("failed", False) for one in found] == [False, True]
    assert work.done == ["look at a", "look at b"]
    assert not os.path.exists(state_dir.path)


def test_readings_alone_wait_for_nobody_and_leave_nothing(
    state_dir: StateDir, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(calls.KINDS, "emqx_release_info", Kind(work, {}))
    reading = Call("emqx_release_info", {"word": "a"})
    assert perform(state_dir, [reading, reading], "1") == [result("a"), result("a")]
    assert not os.path.exists(state_dir.path)
    os.makedirs(state_dir.path)
    with open(os.path.join(state_dir.path, "turn.json.lock"), "w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert perform(state_dir, [reading], "2") == [result("a")]
        with pytest.raises(FleetError):
            perform(state_dir, [reading, *row("b")], "2")


# What is written down of a row


def written(state_dir: StateDir) -> Any:
    with open(os.path.join(state_dir.path, "turn.json"), encoding="utf-8") as stream:
        return json.load(stream)


def test_what_was_done_is_written_down_after_each_call(state_dir: StateDir, work: Work) -> None:
    seen = []  # type: List[Any]

    def look() -> Dict[str, Any]:
        seen.append(written(state_dir))
        return result("b")

    work.answers["b"] = look
    perform(state_dir, row("a", "b"), "1")
    assert seen == [{"identity": "1", "results": [result("a")]}]
    assert written(state_dir) == {"identity": "1", "results": [result("a"), result("b")]}
    for name in ("turn.json", "turn.json.lock"):
        status = os.stat(os.path.join(state_dir.path, name))
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == os.geteuid()


def test_nothing_is_done_twice_of_a_row_that_is_asked_for_again(state_dir: StateDir, work: Work) -> None:
    first = perform(state_dir, row("a", "b"), "1")
    assert perform(state_dir, row("a", "b"), "1") == first
    assert work.done == ["a", "b"]


def test_a_row_goes_on_where_it_was(state_dir: StateDir, work: Work) -> None:
    """As when its process was killed in the middle of a call."""
    work.answers["b"] = SystemExit(1)
    with pytest.raises(SystemExit):
        perform(state_dir, row("a", "b", "c"), "1")
    del work.answers["b"]
    assert perform(state_dir, row("a", "b", "c"), "1") == [result("a"), result("b"), result("c")]
    assert work.done == ["a", "b", "b", "c"]


def test_what_failed_is_tried_again(state_dir: StateDir, work: Work) -> None:
    for error in (FleetError("Not now."), KeyError("boot")):
        work.done = []
        work.answers["b"] = error
        assert perform(state_dir, row("a", "b", "c"), str(error))[-1]["failed"]
        del work.answers["b"]
        assert len(perform(state_dir, row("a", "b", "c"), str(error))) == 3
        assert work.done == ["a", "b", "b", "c"]


def test_another_row_begins_anew(state_dir: StateDir, work: Work) -> None:
    for identity in ("1", "2", "1"):
        assert perform(state_dir, row("a", "b"), identity) == [result("a"), result("b")]
    assert work.done == ["a", "b"] * 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"identity": "1", "results": [{"wo',
        "[]",
        "null",
        '"1"',
        '{"identity": "1"}',
        '{"identity": "1", "results": null}',
        '{"identity": "1", "results": {"a": 1}}',
        '{"identity": "1", "results": ["a"]}',
        '{"identity": 1, "results": [{}]}',
        '{"results": [{}]}',
        pytest.param("[" * 100000, id="deep"),
        pytest.param('{"identity": "1", "results": [{"word": "\udcff"}]}', id="no text"),
    ],
)
def test_what_is_torn_or_foreign_is_nothing(state_dir: StateDir, work: Work, text: str) -> None:
    state_dir.create()
    with open(os.path.join(state_dir.path, "turn.json"), "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))
    assert perform(state_dir, row("a"), "1") == [result("a")]
    assert work.done == ["a"]
    assert written(state_dir) == {"identity": "1", "results": [result("a")]}


def test_a_file_system_that_cannot_be_written_to_does_not_stop_a_row(state_dir: StateDir, work: Work) -> None:
    """As a full one; a row that is asked for again finds out where the node is."""
    os.makedirs(os.path.join(state_dir.path, "turn.json.new"))
    for _time in range(2):
        assert perform(state_dir, row("a", "b"), "1") == [result("a"), result("b")]
    assert work.done == ["a", "b", "a", "b"]
    assert not os.path.exists(os.path.join(state_dir.path, "turn.json"))


def test_an_owner_that_is_gone_meanwhile_does_not_stop_a_row(
    state_dir: StateDir, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget() -> Dict[str, Any]:
        monkeypatch.setattr(state_dir, "give", refuse)
        return result("a")

    def refuse(_path: str) -> None:
        raise FleetError("The broker's user is not known on this machine.")

    work.answers["a"] = forget
    assert perform(state_dir, row("a", "b"), "1") == [result("a"), result("b")]


def test_without_its_lock_nothing_of_a_row_is_done(state_dir: StateDir, work: Work) -> None:
    os.makedirs(os.path.join(state_dir.path, "turn.json.lock"))
    with pytest.raises(FleetError) as caught:
        perform(state_dir, row("a"), "1")
    path = os.path.join(state_dir.path, "turn.json.lock")
    assert caught.value.message == "The file {0} cannot be opened: Is a directory.".format(path)
    assert USER in caught.value.hint
    assert work.done == []


# Several processes

# Does a row whose first call tells that it is at work, and does what it is told. That it waits for another process is
# seen by its sleeping.
PROCESS = """
import json, os, runpy, subprocess, sys, time
runpy.run_path({conftest!r})
from ansible_collections.emqx.fleet.plugins.module_utils import calls
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir

def say(text):
    os.write(int({tell!r}), (text + "\\n").encode())

def work(arguments, check_mode=False):
    say("at work")
    if arguments["child"]:
        say(str(subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL).pid))
    return {{"changed": True, "told": sys.stdin.readline().strip()}}

def mark(arguments, check_mode=False):
    open(arguments["path"], "w").close()
    return {{"changed": True}}

real = time.sleep

def sleep(seconds):
    say("waiting")
    real(seconds)
    time.sleep = real

time.sleep = sleep
calls.KINDS["work"] = calls.Kind(work, {{}})
calls.KINDS["mark"] = calls.Kind(mark, {{}})
row = [calls.Call("work", {{"child": {child!r}}}), calls.Call("mark", {{"path": {mark!r}}})]
if {pause!r} is not None:
    say("at work")
    sys.stdin.readline()
    began = time.monotonic()
    calls.pause({pause!r})
    say(str(time.monotonic() - began >= {pause!r}))
else:
    say(json.dumps(calls.perform(StateDir({path!r}, {user!r}), row, {identity!r}, {timeout!r})))
"""


class Process:
    """Another process that does a row; what it says comes by a pipe of its own, so that its output may be closed."""

    def __init__(
        self,
        path: str,
        mark: str = "",
        identity: str = "1",
        timeout: float = 0,
        child: bool = False,
        pause: Optional[float] = None,
    ) -> None:
        reader, writer = os.pipe()
        text = PROCESS.format(
            conftest=str(ROOT / "tests/conftest.py"), path=path, user=USER, identity=identity, timeout=timeout,
            child=child, pause=pause, tell=writer, mark=mark,
        )  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(writer,),
            universal_newlines=True,
        )
        os.close(writer)
        self._said = os.fdopen(reader)

    def says(self) -> str:
        """The next line."""
        return self._said.readline().strip()

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hang_up(self) -> None:
        """Nobody reads its output any more, as when the connection is lost."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ends(self) -> int:
        return self.process.wait(timeout=60)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._said):
            if stream is not None:
                stream.close()


@pytest.fixture
def start(state_dir: StateDir, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made = []  # type: List[Process]

    def begin(**how: Any) -> Process:
        made.append(Process(state_dir.path, str(tmp_path / "mark"), **how))
        return made[-1]

    yield begin
    for process in made:
        process.end()


def test_a_second_process_waits_for_the_first_and_tells_what_that_did(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    first = start()
    assert first.says() == "at work"
    second = start(timeout=600)
    assert second.says() == "waiting"
    first.tell("go on")
    found = [{"changed": True, "told": "go on"}, {"changed": True}]
    assert json.loads(first.says()) == found
    assert json.loads(second.says()) == found, "and did nothing of it again"
    assert (first.ends(), second.ends()) == (0, 0)


def test_who_waits_for_too_long_is_told(start: Callable[..., Process], state_dir: StateDir, work: Work) -> None:
    first = start()
    assert first.says() == "at work"
    for identity in ("1", "2"):
        with pytest.raises(FleetError) as caught:
            perform(state_dir, row("a"), identity, 0.25)
        assert caught.value.message == (
            "Another task of emqx.fleet is at work on this node, and did not end within 0.25 s."
        )
        assert caught.value.failure_class == NOT_STARTED
        assert caught.value.hint == "Wait for it to end, and run the same task again."
    assert work.done == []


def test_a_process_that_was_killed_holds_nobody_up_and_neither_does_what_it_began(
    start: Callable[..., Process], state_dir: StateDir, work: Work
) -> None:
    """A command that outlives its module holds the lock of operations, which is another one."""
    first = start(child=True)
    assert first.says() == "at work"
    child = int(first.says())
    try:
        first.process.kill()
        first.process.wait()
        assert perform(state_dir, row("a"), "1") == [result("a")]
        os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_no_further_call_is_begun_when_nobody_listens(
    start: Callable[..., Process], state_dir: StateDir, tmp_path: Path
) -> None:
    first = start()
    assert first.says() == "at work"
    first.hang_up()
    first.tell("done all the same")
    assert first.ends() == 1
    assert first.says() == "", "it ended without a word"
    done = {"changed": True, "told": "done all the same"}
    assert written(state_dir) == {"identity": "1", "results": [done]}
    assert not (tmp_path / "mark").exists()
    second = start()
    assert json.loads(second.says()) == [done, {"changed": True}]
    assert (tmp_path / "mark").exists()


def test_waiting_ends_the_process_when_nobody_listens(start: Callable[..., Process]) -> None:
    process = start(pause=3600.0)
    assert process.says() == "at work"
    process.tell("wait")
    process.hang_up()
    assert process.ends() == 1
    assert process.says() == ""


def test_who_is_listened_to_waits_to_the_end(start: Callable[..., Process]) -> None:
    process = start(pause=0.05)
    assert process.says() == "at work"
    process.tell("wait")
    assert process.says() == "True"
    assert process.ends() == 0


def test_a_later_reading_counts_who_is_still_there_of_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(arguments: Dict[str, Any], check_mode: bool = False) -> Dict[str, Any]:
        asked.append(arguments.get("survivors_of"))
        return {"client_books": {"time": 100.0 + len(asked)}}

    monkeypatch.setitem(calls.KINDS, "emqx_release_info", calls.Kind(read, {}))
    row = [calls.Call("emqx_release_info", {"survivors_of": given}) for given in (None, None, 7.0, None)]
    calls._go_on(row, [], False, lambda results: None)
    assert asked == [None, 101.0, 7.0, 101.0]
