# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is run again when the connection was lost; and who a controller is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import RETRY_SECONDS, run_module

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


def test_other_errors_are_not_retried() -> None:
    line = Line(AnsibleError("no such module"))
    with pytest.raises(AnsibleError, match="no such module"):
        line.run()
    assert len(line.calls) == 1


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
