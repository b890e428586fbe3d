# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is run again when the connection was lost; and who a controller is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
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
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import remote, runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import RETRY_SECONDS, Node, run_module

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


class Task:
    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args

    def copy(self) -> Task:
        return Task(dict(self.args))


class Copying:
    """The copy action, made for a task as the action loader makes it."""

    def __init__(self, host: Host, name: str, **made_from: Any) -> None:
        self.host = host
        self.name = name
        self.made_from = made_from

    def run(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        self.host.copied.append((self.name, self.made_from.pop("task").args, self.made_from, task_vars))
        answer = self.host.answers.pop(0) if len(self.host.answers) > 1 else self.host.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


class Host(Line):
    """An action as the turn of a host has it."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.copied: list[Any] = []
        self._task = Task({"phase": "stage"})
        self._play_context, self._loader, self._templar = object(), object(), object()
        self._shared_loader_obj = SimpleNamespace(action_loader=SimpleNamespace(get=self._get))

    def _get(self, name: str, **made_from: Any) -> Copying:
        return Copying(self, name, **made_from)

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


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (
            lambda node: node.make_directory("/d", "emqx"),
            {"path": "/d", "state": "directory", "owner": "emqx", "mode": "0755"},
        ),
        (lambda node: node.remove("/d"), {"path": "/d", "state": "absent"}),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_files_are_made_and_removed_as_modules_are_run(call: Callable[[Node], Any], arguments: dict[str, Any]) -> None:
    host = Host(LOST, UNREACHABLE, {"changed": True})
    assert call(host.node(executable="/opt/b/bin/emqx")) == {"changed": True, "connection_losses": 2}
    assert host.calls == 3 * [
        {
            "module_name": "ansible.builtin.file",
            "module_args": arguments,
            "task_vars": {"inventory_hostname": "broker1"},
        }
    ]
    for loss in (LOST, UNREACHABLE):
        assert call(Host(loss).node())["connection_lost"]
    assert call(Host(AnsibleError("Missing sudo password")).node())["failed"]


@pytest.mark.usefixtures("no_waiting")
def test_a_file_is_copied_by_the_action_that_copies() -> None:
    host = Host(LOST, UNREACHABLE, {"changed": True})
    assert host.node().copy("/packages/a.zip", "/d/a.zip", "emqx") == {"changed": True, "connection_losses": 2}
    made_from = {
        "connection": host,
        "play_context": host._play_context,
        "loader": host._loader,
        "templar": host._templar,
        "shared_loader_obj": host._shared_loader_obj,
    }
    arguments = {"src": "/packages/a.zip", "dest": "/d/a.zip", "owner": "emqx", "mode": "0644"}
    assert host.copied == 3 * [("ansible.builtin.copy", arguments, made_from, {"inventory_hostname": "broker1"})]
    assert host._task.args == {"phase": "stage"}, "the task of the turn stays as it is"
    assert host.calls == []


@pytest.mark.usefixtures("no_waiting")
def test_a_copy_that_fails_is_an_answer() -> None:
    def copy(*answers: Any) -> dict[str, Any]:
        return Host(*answers).node().copy("/packages/a.zip", "/d/a.zip", "emqx")

    assert copy({"failed": True, "msg": "No space left on device"}) == {
        "failed": True,
        "msg": "No space left on device",
    }
    for loss in (LOST, UNREACHABLE):
        found = copy(loss)
        assert (found["failed"], found["connection_lost"]) == (True, True)
        assert "unreachable" not in found
    found = copy(AnsibleFileNotFound("Could not find or access '/packages/a.zip'"))
    assert found["msg"].startswith("The node cannot be worked on: Could not find or access '/packages/a.zip'")


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
