# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is run again when the connection was lost; and who a controller is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import (
    AnsibleActionFail,
    AnsibleConnectionFailure,
    AnsibleError,
    AnsibleFileNotFound,
    AnsibleUndefinedVariable,
)
from ansible_collections.emqx.fleet.plugins.module_utils import calls
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import remote, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import RETRY_SECONDS, Call, Node, run_module

ROOT = Path(__file__).resolve().parents[5]
LOST = AnsibleConnectionFailure("Failed to connect to the host via ssh: Connection reset")
UNREACHABLE = {"unreachable": True, "msg": "Data could not be sent to remote host"}


class Line:
    """A connection, an action that uses it, and time that passes only while somebody sleeps."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.resets = 0
        self.now = 100.0
        self._connection = self

    def reset(self) -> None:
        self.resets += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _execute_module(self, **how: Any) -> dict[str, Any]:
        self.calls.append(how)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def run(self, reconnect_timeout: float = 60.0) -> dict[str, Any]:
        arguments = {"version": "4.4.19"}
        found = run_module(
            self,
            "emqx_release",
            arguments,
            {"inventory_hostname": "broker1"},
            reconnect_timeout,
            self.sleep,
            lambda: self.now,
        )
        for call in self.calls:
            assert call == {
                "module_name": "emqx.fleet.emqx_release",
                "module_args": {"version": "4.4.19"},
                "task_vars": {"inventory_hostname": "broker1"},
            }
        return found


def test_answer_is_given_as_it_is() -> None:
    line = Line({"changed": True})
    assert line.run() == {"changed": True}
    assert (len(line.calls), line.resets, line.now) == (1, 0, 100.0)


def test_failure_of_the_module_is_an_answer() -> None:
    line = Line({"failed": True, "msg": "refused"})
    assert line.run() == {"failed": True, "msg": "refused"}
    assert len(line.calls) == 1


@pytest.mark.parametrize("loss", [LOST, UNREACHABLE])
def test_runs_again_when_the_connection_comes_back(loss: Any) -> None:
    line = Line(loss, loss, {"changed": True})
    assert line.run() == {"changed": True, "connection_losses": 2}
    assert (len(line.calls), line.resets) == (3, 2)
    assert line.now == 100.0 + 2 * RETRY_SECONDS


@pytest.mark.parametrize(("loss", "reason"), [(LOST, "Connection reset"), (UNREACHABLE, "could not be sent")])
def test_gives_up_in_the_end_as_a_failure_and_not_as_unreachable(loss: Any, reason: str) -> None:
    line = Line(loss)
    found = line.run(60)
    assert (found["failed"], found["connection_lost"], found["failure_class"]) == (True, True, "unknown")
    assert "unreachable" not in found
    assert "within 60 s" in found["msg"]
    assert reason in found["msg"]
    assert 60 <= line.now - 100.0 <= 60 + RETRY_SECONDS


def test_time_is_counted_from_the_loss_on() -> None:
    """What was done until then may have taken much longer than a lost connection is waited for."""
    line = Line(LOST, {"changed": True})
    execute = line._execute_module

    def work(**how: Any) -> dict[str, Any]:
        line.now += 300
        return execute(**how)

    line._execute_module = work  # type: ignore[method-assign]
    assert line.run(60) == {"changed": True, "connection_losses": 1}


def test_without_patience_one_try() -> None:
    line = Line(LOST)
    assert line.run(0)["connection_lost"]
    assert (len(line.calls), line.resets) == (1, 0)


class NoReset(Line):
    def reset(self) -> None:
        super().reset()
        raise AnsibleConnectionFailure("still down")


def test_reset_that_fails_is_a_loss_as_well() -> None:
    line = NoReset(LOST, LOST, {"changed": False})
    assert line.run()["connection_losses"] == 2
    found = NoReset(LOST).run(30)
    assert found["connection_lost"]


@pytest.mark.parametrize(
    "error",
    [
        AnsibleError("Missing sudo password"),
        AnsibleFileNotFound("Could not find or access '/packages/emqx.zip' on the Ansible Controller."),
        AnsibleActionFail("Failed to determine the interpreter"),
        AnsibleUndefinedVariable("'secret' is undefined"),
    ],
)
def test_other_errors_are_failures_and_not_retried(error: AnsibleError) -> None:
    """Raised, they would end the host's play, and nobody would know how far the node is."""
    line = Line(error)
    found = line.run()
    assert (found["failed"], found["failure_class"]) == (True, "unknown")
    assert found["msg"] == f"The node cannot be worked on: {error}"
    assert "connection_lost" not in found
    assert (len(line.calls), line.resets, line.now) == (1, 0, 100.0)


def test_an_error_after_a_loss_ends_the_waiting() -> None:
    line = Line(LOST, AnsibleError("Missing sudo password"))
    assert line.run()["msg"] == "The node cannot be worked on: Missing sudo password"
    assert len(line.calls) == 2


# The host of a task


class Shell:
    """Names of files on a node."""

    tmpdir: str | None = None

    def join_path(self, *parts: str) -> str:
        return "/".join(parts)


class Host(Line):
    """An action as the turn of a host has it."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self._shell = Shell()
        self._task = SimpleNamespace(environment=[{"LC_ALL": "C"}])
        #: What was done about files: places that were made, files that were sent, files that were given.
        self.files: list[tuple[Any, ...]] = []

    def _make_tmp_path(self) -> None:
        self.files.append(("make",))
        self._shell.tmpdir = "/tmp/ansible-1"

    def _transfer_file(self, source: str, target: str) -> None:
        self.files.append(("send", source, target))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer

    def _fixup_perms2(self, paths: Sequence[str], execute: bool) -> None:
        assert not execute, "which takes a connection of its own, and is needed for programs alone"
        self.files.append(("give", *paths))

    def node(self, **settings: Any) -> Node:
        return Node(self, {"inventory_hostname": "broker1"}, {"reconnect_timeout": 60, "executable": None, **settings})


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of :func:`persistently` are bound, so that the real clock is one that only the tests move."""
    now = [0.0]
    persistently = remote.persistently

    def quick(action: Any, call: Any, reconnect_timeout: float, *_clocks: Any) -> dict[str, Any]:
        def sleep(seconds: float) -> None:
            now[0] += seconds

        return persistently(action, call, reconnect_timeout, sleep, lambda: now[0])

    monkeypatch.setattr(remote, "persistently", quick)


def test_a_module_is_given_what_is_not_left_out() -> None:
    host = Host({"changed": True})
    arguments: dict[str, Any] = {"version": "4.4.19", "package": None, "accept": [], "allow_downgrade": False}
    assert host.node().run("emqx_release", arguments) == {"changed": True}
    assert host.calls == [
        {
            "module_name": "emqx.fleet.emqx_release",
            "module_args": {"version": "4.4.19", "accept": [], "allow_downgrade": False},
            "task_vars": {"inventory_hostname": "broker1"},
        }
    ]
    assert arguments["package"] is None


@pytest.mark.parametrize("environment", [None, [], [{"LC_ALL": "C"}], [{"PYTHONUNBUFFERED": "1"}]])
def test_python_buffers_what_it_reads_from_a_connection(environment: Any) -> None:
    host = Host({"changed": True})
    host._task = SimpleNamespace(environment=environment)
    host.node()
    assert host._task.environment == [*(environment or []), {"PYTHONUNBUFFERED": ""}]


def test_every_module_is_told_where_the_command_is() -> None:
    host = Host({"changed": True})
    host.node(executable="/opt/b/bin/emqx").run("emqx_evidence", {})
    assert host.calls[0]["module_args"] == {"executable": "/opt/b/bin/emqx"}


def test_urls_with_credentials_are_no_part_of_a_row_which_nodes_log() -> None:
    host = Host({"results": [{"changed": True, "missing": []}]})
    plain, secret = "https://files/a.zip", "https://me:s3cret@files/b.zip?token=1f"
    arguments = {"packages": [], "received": {}, "urls": {"a.zip": plain, "b.zip": secret}}
    node = host.node()
    node.ahead("Stage", [remote.Call("packages", arguments)])
    assert node.run("packages", dict(arguments)) == {"changed": True, "missing": []}
    (call,) = host.calls
    assert call["module_args"]["row"][0]["arguments"]["urls"] == {"a.zip": plain}
    assert call["module_args"].pop("secret_urls") == {"b.zip": secret}
    assert "s3cret" not in str(call)
    host.node().run("packages", {**arguments, "urls": {"a.zip": plain}})
    assert "secret_urls" not in host.calls[-1]["module_args"]


@pytest.mark.parametrize(("setting", "timeout"), [(60, 60.0), ("60", 60.0), (0, 0.0), (None, 0.0)])
def test_how_long_a_lost_connection_is_waited_for(setting: Any, timeout: float) -> None:
    assert Host({}).node(reconnect_timeout=setting).reconnect_timeout == timeout


@pytest.mark.parametrize(("own", "resets"), [(None, 20), (0, 0), (0.0, 0), (9.0, 3)])
@pytest.mark.usefixtures("no_waiting")
def test_a_module_may_be_waited_for_less_long(own: float | None, resets: int) -> None:
    host = Host(LOST)
    assert host.node().run("emqx_evidence", {}, own)["connection_lost"]
    assert host.resets == resets


# Files


@pytest.mark.usefixtures("no_waiting")
def test_a_file_is_sent_to_where_modules_may_read_it() -> None:
    host = Host(LOST, LOST, {})
    node = host.node()
    told = node.send("/packages/a.zip", "a.zip")
    assert told == {"path": "/tmp/ansible-1/a.zip", "connection_losses": 2}
    assert node.connection_losses == 2
    assert host.resets == 2
    sent = ("send", "/packages/a.zip", "/tmp/ansible-1/a.zip")
    given = ("give", "/tmp/ansible-1", "/tmp/ansible-1/a.zip")
    assert host.files == [("make",), sent, sent, sent, given]
    assert node.send("/packages/b.zip", "b.zip") == {"path": "/tmp/ansible-1/b.zip"}
    assert host.files[5:] == [
        ("send", "/packages/b.zip", "/tmp/ansible-1/b.zip"),
        ("give", "/tmp/ansible-1", "/tmp/ansible-1/b.zip"),
    ]
    assert host.calls == [], "no module"


@pytest.mark.usefixtures("no_waiting")
def test_a_file_that_cannot_be_sent_is_an_answer() -> None:
    found = Host(LOST).node().send("/packages/a.zip", "a.zip")
    assert (found["failed"], found["connection_lost"]) == (True, True)
    assert "unreachable" not in found
    for error in (
        AnsibleFileNotFound("Could not find or access '/packages/a.zip'"),
        AnsibleError("failed to transfer file to /tmp/ansible-1/a.zip: No space left on device"),
    ):
        host = Host(error)
        found = host.node().send("/packages/a.zip", "a.zip")
        assert found["failed"]
        assert found["msg"] == f"The node cannot be worked on: {error}"
        assert host.resets == 0


# Rows of calls

RENEW = Call("emqx_reservation", {"id": "run-1", "renew": True})
READ = Call("emqx_release_info", {"old_code": False})
SWITCH = Call("emqx_release", {"version": "4.4.19", "state": "current"})
ROW = [RENEW, READ, SWITCH]
#: The module that a call comes to where it is run by itself.
ALONE = {"emqx_reservation": "emqx_reservation", "emqx_release_info": "emqx_calls", "emqx_release": "emqx_release"}
RESULTS: list[dict[str, Any]] = [
    {"changed": False, "verdict": "held"},
    {"changed": False, "state": "running"},
    {"changed": True},
]


def told(*results: dict[str, Any]) -> dict[str, Any]:
    """What ``emqx_calls`` returns."""
    return {"changed": False, "results": list(results)}


def run(node: Node, call: Call) -> dict[str, Any]:
    return node.run(call.kind, dict(call.arguments))


def test_a_row_is_executed_once_and_only_when_it_is_asked_for() -> None:
    host = Host(told(*RESULTS))
    node = host.node()
    assert node.has_row is False
    node.ahead("Switch", ROW)
    assert (host.calls, node.has_row) == ([], True)
    assert [run(node, call) for call in ROW] == RESULTS
    assert node.has_row is False
    (call,) = host.calls
    identity = call["module_args"].pop("identity")
    assert call == {
        "module_name": "emqx.fleet.emqx_calls",
        "module_args": {
            "row": [{"kind": each.kind, "arguments": each.arguments, "expect": None} for each in ROW],
            "lock_timeout": 60.0,
        },
        "task_vars": {"inventory_hostname": "broker1"},
    }
    assert len(identity) >= 32


def test_what_a_row_is_told() -> None:
    host = Host(told(*RESULTS))
    node = host.node(executable="/opt/b/bin/emqx", reconnect_timeout=7)
    expect = {"running": "4.4.18", "cluster": ["emqx@a1"]}
    arguments = {"version": None, "old_code": False, "timeout": 0}
    node.ahead("Look", [RENEW, Call("emqx_release_info", arguments, expect)])
    run(node, RENEW)
    assert node.run("emqx_release_info", {"old_code": False, "timeout": 0, "check_version": None}) == RESULTS[1]
    given = host.calls[0]["module_args"]
    assert (given["executable"], given["lock_timeout"]) == ("/opt/b/bin/emqx", 7.0)
    assert given["row"][1] == {
        "kind": "emqx_release_info",
        "arguments": {"old_code": False, "timeout": 0},
        "expect": expect,
    }
    assert arguments["version"] is None
    assert (len(host.calls), node.has_row) == (1, False)


def test_what_was_not_said_ahead_is_run_by_itself_and_ends_the_row() -> None:
    """Whatever the row has told of later calls is no answer to them any more."""
    for before in (0, 1, 2):
        itself = {"by": "itself", "results": [{"by": "itself"}]}
        host = Host(told(*RESULTS), itself) if before else Host(itself)
        node = host.node()
        node.ahead("Switch", ROW)
        for call in ROW[:before]:
            run(node, call)
        other = node.run("emqx_release", {"version": "4.4.19", "state": "staged"})
        assert (other["by"], node.has_row) == ("itself", False)
        assert run(node, ROW[before])["by"] == "itself"
        names = [call["module_name"].rpartition(".")[2] for call in host.calls]
        assert names == ["emqx_calls"] * bool(before) + ["emqx_release", ALONE[ROW[before].kind]]


def test_a_call_out_of_its_order_is_no_call_of_the_row() -> None:
    host = Host(told(*RESULTS), {"by": "itself"})
    node = host.node()
    node.ahead("Switch", ROW)
    run(node, RENEW)
    assert run(node, SWITCH) == {"by": "itself"}
    assert run(node, READ) == {"by": "itself"}


def test_a_new_row_takes_the_place_of_one_that_is_not_done() -> None:
    host = Host(told(*RESULTS), told({"of": "the second"}))
    node = host.node()
    node.ahead("Switch", ROW)
    run(node, RENEW)
    node.ahead("Look", [READ])
    assert run(node, READ) == {"of": "the second"}
    identities = [call["module_args"]["identity"] for call in host.calls]
    assert len(set(identities)) == 2, "every row is another one"


def test_calls_that_a_row_did_not_come_to_are_run_by_themselves() -> None:
    failed = {"failed": True, "msg": "It was refused."}
    host = Host(told(RESULTS[0], failed), {"by": "itself"})
    node = host.node()
    node.ahead("Switch", ROW)
    assert run(node, RENEW) == RESULTS[0]
    assert run(node, READ) == failed
    assert node.has_row is False
    for call in (SWITCH, SWITCH, READ):
        assert run(node, call) == {"by": "itself"}
    names = [call["module_name"].rpartition(".")[2] for call in host.calls]
    assert names == ["emqx_calls", "emqx_release", "emqx_release", "emqx_calls"]


@pytest.mark.usefixtures("no_waiting")
def test_a_row_that_is_repeated_after_a_loss_is_the_same_one() -> None:
    host = Host(LOST, UNREACHABLE, {**told(*RESULTS)})
    node = host.node()
    node.ahead("Switch", ROW)
    assert [run(node, call) for call in ROW] == RESULTS
    assert node.connection_losses == 2
    assert len({call["module_args"]["identity"] for call in host.calls}) == 1
    assert len(host.calls) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (LOST, "The connection to the node was lost and did not come back within 60 s"),
        (AnsibleError("Missing sudo password"), "The node cannot be worked on: Missing sudo password"),
        ({"failed": True, "msg": "Another task of emqx.fleet is at work on this node"}, "Another task of emqx.fleet"),
        ({"failed": True, "rc": 137, "module_stderr": "Killed", "msg": "MODULE FAILURE"}, "MODULE FAILURE The node s"),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_a_row_that_is_lost_is_told_by_its_title(answer: Any, said: str) -> None:
    host = Host(answer)
    node = host.node()
    node.ahead("Switch to 4.4.19", ROW)
    found = run(node, RENEW)
    assert (found["failed"], found["task"]) == (True, "Switch to 4.4.19")
    assert found["msg"].startswith(said)
    assert node.has_row is False
    asked = len(host.calls)
    assert "task" not in run(node, READ), "what is asked for now is run by itself"
    assert [row["kind"] for row in host.calls[asked]["module_args"]["row"]] == ["emqx_release_info"]


@pytest.mark.parametrize(
    ("call", "kind", "arguments"),
    [
        (lambda node: node.remove("/d"), "remove", {"path": "/d"}),
        (lambda node: node.run("wait", {"seconds": 5}), "wait", {"seconds": 5}),
        (lambda node: node.run("packages", {"packages": [], "received": None}), "packages", {"packages": []}),
        (lambda node: run(node, READ), "emqx_release_info", {"old_code": False}),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_readings_and_kinds_that_are_no_modules_are_run_as_rows_of_one(
    call: Callable[[Node], Any], kind: str, arguments: dict[str, Any]
) -> None:
    host = Host(LOST, {**told({"changed": True})})
    node = host.node(executable="/opt/b/bin/emqx")
    assert call(node) == {"changed": True}
    assert node.connection_losses == 1
    given = [row["module_args"] for row in host.calls]
    assert given[0] == given[1]
    assert given[0]["row"] == [{"kind": kind, "arguments": arguments, "expect": None}]
    assert given[0]["executable"] == "/opt/b/bin/emqx"
    assert {row["module_name"] for row in host.calls} == {"emqx.fleet.emqx_calls"}
    for loss in (LOST, UNREACHABLE):
        assert call(Host(loss).node())["connection_lost"]
    assert call(Host(AnsibleError("Missing sudo password")).node())["failed"]
    assert "task" not in call(Host(LOST).node())


def test_every_other_kind_can_be_run_by_itself() -> None:
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    assert set(remote._MODULES) | {"emqx_release_info"} == {"emqx_evidence", *(modules & set(calls.KINDS))}
    assert set(calls.KINDS) - modules == {"packages", "wait", "remove"}


# Who the controller is


def holder(process: str, machine: str | None = None) -> dict[str, Any]:
    return {"controller": machine or runs.identity(), "controller_process": process}


def test_living_run_is_not_dead() -> None:
    assert not runs.is_dead(holder(runs._process(os.getpid())))
    assert not runs.is_dead(holder(runs.run_process()))


def test_ended_run_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = runs._process(process.pid)
    assert not runs.is_dead(holder(name))
    process.communicate(b"\n")
    assert runs.is_dead(holder(name))


def test_number_that_is_used_again_is_another_process() -> None:
    pid, _unused, started = runs._process(os.getpid()).partition("@")
    assert runs.is_dead(holder(f"{pid}@{int(started) - 1}"))
    assert runs.is_dead(holder("999999999@1"))


@pytest.mark.parametrize("process", ["", None])
def test_run_that_did_not_tell_its_process_is_never_known_to_be_dead(process: Any) -> None:
    assert not runs.is_dead({"controller": runs.identity(), "controller_process": process})
    assert not runs.is_dead({})


@pytest.mark.parametrize("process", ["x@1", "@", "999999999", "999999999@", "-1@1"])
def test_process_of_another_form(process: str) -> None:
    """Written by another version of the collection, or without its start time: not known to be dead."""
    assert not runs.is_dead(holder(process))


def test_process_of_another_machine_is_never_known_to_be_dead() -> None:
    assert not runs.is_dead(holder("999999999@1", "tower2 other-boot"))


def test_identity_names_machine_and_boot() -> None:
    assert runs.identity() == runs.identity()
    assert len(runs.identity().split()) >= 2


def test_who(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWX_USER", "TOWER_USER", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    assert runs.who().startswith("ann@")
    monkeypatch.setenv("SUDO_USER", "bob")
    assert runs.who().startswith("bob@")
    monkeypatch.setenv("AWX_USER", "carol")
    assert runs.who().startswith("carol@")
