# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that clears up: all nodes are looked at before anything is removed from one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_cleanup
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import cleanup
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import (
    FAILURES,
    PACKAGES,
    FakeHost,
    read_facts,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    REGISTERS,
    make_variables,
)

RELEASES = [{"version": NEW, "status": "permanent"}, {"version": OLD, "status": "old"}]
NODE = read_facts(NEW, releases=RELEASES)


def variables(facts: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any) -> dict[str, Any]:
    """Of a play without a plan."""
    found = {"a1": NODE, "a2": NODE} if facts is None else facts
    ready = make_variables(
        "a1", None, {host: {"reading": {"facts": row}} for host, row in found.items()}, {"keep_versions": 0, **settings}
    )
    del ready[REGISTERS["planned"]]
    return ready


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(NEW)

    def make(action: Any, task_vars: Mapping[str, Any], settings: Mapping[str, Any]) -> FakeHost:
        assert isinstance(action, emqx_cleanup.ActionModule)
        assert task_vars["inventory_hostname"] == "a1"
        assert settings["lease_seconds"] == 120
        return host

    monkeypatch.setattr(emqx_cleanup, "Node", make)
    monkeypatch.setattr(cleanup, "reservation", FakeHost())
    return host


def test_a_fleet_that_is_fit() -> None:
    """It gets the name of a run, and no two cleanups the same."""
    one, other = (run_action(emqx_cleanup, variables(), phase="check") for _time in range(2))
    assert one == {"changed": False, "failed": False, "run_id": one["run_id"]}
    assert re.fullmatch(r"cleanup-[0-9a-f]{8}", one["run_id"])
    assert one["run_id"] != other["run_id"]


def test_a_run_that_was_given_a_name_keeps_it() -> None:
    assert run_action(emqx_cleanup, variables(run_id="night"), phase="check")["run_id"] == "night"


def test_one_node_that_is_not_fit_keeps_everything_where_it_is() -> None:
    facts = {"a1": NODE, "a2": {"msg": "no route"}}
    result = run_action(emqx_cleanup, variables(facts), phase="check")
    assert result["failed"]
    assert result["msg"] == (
        "Nothing was removed.\na2: it could not be read: no route.\nMend that, or leave these hosts out with --limit."
    )


def test_every_node_that_is_not_fit_is_named() -> None:
    facts = {"a1": read_facts(state="stopped"), "a2": read_facts(operation={"pid": 1})}
    assert run_action(emqx_cleanup, variables(facts), phase="check")["msg"] == (
        "Nothing was removed.\na1: it is stopped, and releases can be removed only from a running node.\na2: an "
        "operation of this collection is at work on it.\nMend that, or leave these hosts out with --limit."
    )


def test_a_host_that_was_not_read_is_not_fit() -> None:
    assert (
        "a2: it could not be read: it did not say why."
        in run_action(emqx_cleanup, variables({"a1": NODE}), phase="check")["msg"]
    )


def test_removes_under_the_name_that_it_is_given(node: FakeHost) -> None:
    """Not under one of its own, nor under that of the settings, which is that of ``check`` where there is one."""
    result = run_action(emqx_cleanup, variables(run_id="night"), phase="remove", run_id="cleanup-1")
    assert result == {"changed": True, "removed": [f"release {OLD}", PACKAGES]}
    assert node.steps == ["reserve", f"absent {OLD}", "info", f"remove {PACKAGES}", "give up"]
    assert [arguments["run_id"] for step in ("reserve", "give up") for arguments in node.asked_for(step)] == [
        "cleanup-1",
        "cleanup-1",
    ]


@pytest.mark.parametrize("options", [{}, {"run_id": ""}, {"run_id": None}])
def test_removes_nothing_without_the_name_of_a_run(node: FakeHost, options: dict[str, Any]) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_cleanup, variables(run_id="night"), phase="remove", **options)
    assert str(raised.value) == (
        "run_id is missing. Nothing was removed. Phase remove needs the run_id that phase check returned: nodes that "
        "did not share one would take each other for another run."
    )
    assert node.steps == []


@pytest.mark.parametrize("kind", FAILURES)
def test_what_fails_is_the_tasks_failure(node: FakeHost, kind: str) -> None:
    node.answers["info"] = FAILURES[kind]
    result = run_action(emqx_cleanup, variables(), phase="remove", run_id="cleanup-1")
    assert result == {**FAILURES[kind], "changed": True, "removed": [f"release {OLD}"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing required arguments: phase"),
        ({"phase": "all"}, "value of phase must be one of: check, remove, got: all"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run_action(emqx_cleanup, variables(), **options)
    assert message in str(raised.value)
