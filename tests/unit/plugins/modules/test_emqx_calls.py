# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a row is refused for before anything of it is done, and how the module ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.modules import emqx_calls
from ansible_collections.emqx.fleet.plugins.modules.emqx_calls import _checked

EXPECT = {"running": "4.4.18", "cluster": ["emqx@a1"]}
SMALLEST: dict[str, dict[str, Any]] = {
    "emqx_release": {"version": "4.4.19"},
    "emqx_release_info": {},
    "emqx_reservation": {"id": "run-1"},
    "packages": {"packages": []},
    "wait": {"seconds": 1},
    "remove": {"path": "/d"},
}


@pytest.mark.parametrize("kind", calls.KINDS)
def test_every_argument_has_its_default(kind: str) -> None:
    call = _checked({"kind": kind, "arguments": SMALLEST[kind]}, None)
    spec = calls.KINDS[kind].arguments
    assert call.kind == kind
    assert call.expect is None
    assert call.arguments == {name: row.get("default") for name, row in spec.items()} | SMALLEST[kind]


@pytest.mark.parametrize("kind", calls.KINDS)
def test_the_command_is_said_once_for_all_calls_that_need_one(kind: str) -> None:
    given = {"kind": kind, "arguments": SMALLEST[kind]}
    call = _checked(given, "/opt/b/bin/emqx")
    assert call.arguments.get("executable") == (None if kind == "wait" else "/opt/b/bin/emqx")
    assert given == {"kind": kind, "arguments": SMALLEST[kind]}, "what was given stays as it is"
    if kind != "wait":
        own = {"kind": kind, "arguments": {**SMALLEST[kind], "executable": "/opt/c/bin/emqx"}}
        assert _checked(own, "/opt/b/bin/emqx").arguments["executable"] == "/opt/c/bin/emqx"


def test_texts_become_what_they_mean() -> None:
    call = _checked({"kind": "emqx_release", "arguments": {"version": 4.4, "timeout": "9", "accept": "patches"}}, None)
    assert (call.arguments["version"], call.arguments["timeout"], call.arguments["accept"]) == ("4.4", 9.0, ["patches"])
    assert _checked({"kind": "emqx_release_info"}, None).arguments["verification"] is False
    expect = {**EXPECT, "cluster": "emqx@a1,emqx@a2"}
    assert _checked({"kind": "emqx_release_info", "arguments": None, "expect": expect}, None).expect == {
        "running": "4.4.18",
        "cluster": ["emqx@a1", "emqx@a2"],
        "least": None,
        "boots": None,
        "same": None,
        "books": None,
        "tolerance": 0,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"kind": "emqx_verify", "arguments": {}},
            "The kind of a call is 'emqx_verify'; expected is one of emqx_release, emqx_release_info, "
            "emqx_reservation, packages, remove, wait.",
        ),
        ({}, "The kind of a call is None; expected is one of emqx_release, "),
        ({"kind": ["wait"]}, "The kind of a call is ['wait']; expected is one of emqx_release, "),
        ({"kind": "wait", "arguments": "5"}, "The arguments of the call wait are no dictionary, but '5'."),
        ({"kind": "wait"}, "The call wait cannot be made: missing required arguments: seconds"),
        ({"kind": "wait", "arguments": {"seconds": "soon"}}, "The call wait cannot be made: argument 'seconds' is of"),
        (
            {"kind": "wait", "arguments": {"seconds": 1, "minutes": 1}},
            "The call wait cannot be made: minutes. Supported parameters include: seconds.",
        ),
        (
            {"kind": "emqx_release", "arguments": {"version": "4.4.19", "state": "there"}},
            "The call emqx_release cannot be made: value of state must be one of: ",
        ),
        (
            {"kind": "emqx_release", "arguments": {"version": "4.4.19"}, "expect": EXPECT},
            "The call emqx_release cannot be made: only emqx_release_info can expect something",
        ),
        (
            {"kind": "emqx_release_info", "expect": "4.4.18"},
            "The call emqx_release_info cannot be made: expect is no dictionary, but '4.4.18'",
        ),
        (
            {"kind": "emqx_release_info", "expect": {"running": "4.4.18"}},
            "The call emqx_release_info cannot be made: missing required arguments: cluster",
        ),
        (
            {"kind": "emqx_release_info", "expect": {**EXPECT, "clients": 1}},
            "The call emqx_release_info cannot be made: clients. Supported parameters include: ",
        ),
    ],
)
def test_what_cannot_be_called_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(FleetError) as caught:
        _checked(given, None)
    assert caught.value.message.startswith(message)
    assert caught.value.failure_class == NOT_STARTED


# The module


class EndedError(Exception):
    """A module ends with its answer."""


class Module:
    """As much of an AnsibleModule as there is to it."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = {"lock_timeout": 7.0, "executable": "/b/emqx", "identity": "1", "secret_urls": {}, **params}
        self.warnings: list[str] = []
        self.answer: dict[str, Any] = {}

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **answer: Any) -> None:
        self.answer = answer
        raise EndedError

    def fail_json(self, **answer: Any) -> None:
        self.exit_json(failed=True, **answer)


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows that were done; each gives what is taken out of the results below."""
    done: list[Any] = []

    def perform(*arguments: Any) -> list[dict[str, Any]]:
        done.append(arguments)
        return [
            {"changed": False, "warnings": ["one"]},
            {"changed": True, "warnings": None},
            {"failed": True, "warnings": ["two"], "msg": "no"},
        ]

    monkeypatch.setattr(calls, "perform", perform)
    monkeypatch.setattr(module_support, "open_node", lambda *given: SimpleNamespace(state_dir=given))
    monkeypatch.setattr(module_support, "survive_lost_connection", lambda: done.append("survives"))
    return done


def run(monkeypatch: pytest.MonkeyPatch, **params: Any) -> Module:
    module = Module(params)
    monkeypatch.setattr(emqx_calls, "AnsibleModule", lambda **_how: module)
    with pytest.raises(EndedError):
        emqx_calls.main()
    return module


def test_results_and_warnings_of_all_calls(monkeypatch: pytest.MonkeyPatch, performed: list[Any]) -> None:
    module = run(monkeypatch, row=[{"kind": "wait", "arguments": {"seconds": 1}}])
    call = calls.Call("wait", {"seconds": 1.0})
    assert performed == ["survives", (("/b/emqx", 0), [call], "1", 7.0, False)]
    assert module.warnings == ["one", "two"]
    # A call that failed is no failure of the module, whose results would be lost to a retry then.
    assert module.answer == {
        "changed": True,
        "results": [{"changed": False}, {"changed": True}, {"failed": True, "msg": "no"}],
    }


def test_nothing_of_a_row_is_done_that_has_a_bad_call(monkeypatch: pytest.MonkeyPatch, performed: list[Any]) -> None:
    module = run(monkeypatch, row=[{"kind": "wait", "arguments": {"seconds": 1}}, {"kind": "jump"}])
    assert module.answer["failed"]
    assert module.answer["msg"].startswith("The kind of a call is 'jump'; expected is one of ")
    assert performed == ["survives"]
