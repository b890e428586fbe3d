# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every form in which EMQX was published: the way there, back, there for good, through restarts, and clean again.

The forms are variants of the test broker (its README tells which fact of EMQX each one has). On each of them the whole
life of an upgrade is gone through under idle clients, and then a run is killed at its three worst moments.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from .conftest import Pool
from .faults_kills import kill_when_torn
from .node import Node, Result, State
from .side_by_side import job, outcome

CLIENTS = 4
STAGING = "/var/tmp"
#: Form -> how it is installed, and whether its upgrade script unpacks in the switch.
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    "": ({"runner_user": "emqx"}, False),
    "deb": ({"layout": "package", "runner_user": "emqx"}, False),
    "script14": ({"form": "script14", "runner_user": "emqx"}, True),
    "script14-deb": ({"form": "script14", "layout": "package", "runner_user": "emqx"}, True),
    "4.2": ({"form": "4.2"}, False),
    "4.2-deb": ({"form": "4.2", "layout": "package", "runner_user": "emqx"}, False),
    "4.3": ({"form": "4.3", "runner_user": "emqx"}, False),
    "4.4.0": ({"form": "4.4.0"}, False),
    "erts": ({"form": "erts"}, False),
}
SETTLED: dict[str, Any] = {"settle_timeout": 60, "lock_timeout": 60}


def _done(result: Result, *actions: str) -> None:
    assert result.verdict == "done", result.story
    assert tuple(result.actions) == actions, result.story
    assert not result.data.get("warnings"), result.story


def _is(node: Node, running: str, boots: str, **table: str) -> None:
    state = node.state()
    names = {"old": node.old, "new": node.new}
    assert state == State({names[key]: status for key, status in table.items()}, boots), state
    assert state.loaded == running, state


def whole_life(node: Node, base: dict[str, Any], unpacks_in_switch: bool) -> None:
    """There, back, there for good; and nothing is left that a restart would trip over."""
    node.reset(clients=CLIENTS, **base)
    old, new = node.old, node.new
    package = node.provide(folder=STAGING)
    first = node.facts()
    assert first["unpacks_in_switch"] is unpacks_in_switch
    assert (first["running"], first["permanent"], first["state"]) == (old, old, "running")
    assert first["boot"]["consistent"], first["boot"]
    assert first["data_dir"] == node.data_dir
    assert first["edition"] == "ce"
    assert (first["os"] or first["host"]["os"], first["arch"] or first["host"]["arch"]) == ("debian12", "amd64")
    task: dict[str, Any] = {"package": package, **SETTLED}

    staged = node.release(new, state="staged", **task)
    _done(staged, *(() if unpacks_in_switch else ("unpack",)))
    _done(node.release(new, state="staged", **task))
    _done(node.release(new, state="current", **task), "switch")
    _is(node, new, old, old="permanent", new="current")
    _done(node.release(old, state="permanent", allow_downgrade=True, **SETTLED), "switch")
    _is(node, old, old, old="permanent", new="old")
    commit = _commit(node)
    _done(node.release(new, state="permanent", **task), "switch", *commit)
    _is(node, new, new, old="old", new="permanent")
    _done(node.release(new, state="permanent", **task))
    assert node.clients is not None
    assert node.clients.lost() == 0, f"{node.clients.lost()} clients were lost"
    assert node.clients.unanswered() == 0, "a client's process is gone"

    if node.form == "erts":
        refused = node.release(old, state="absent")
        assert refused.verdict == "refused", refused.story
        assert "still runs on its Erlang runtime" in refused.message, refused.story
    node.restart()
    _is(node, new, new, old="old", new="permanent")
    after = node.facts()
    assert after["boot"]["consistent"], after["boot"]
    assert after["leftovers"] == [], after["leftovers"]
    _done(node.release(old, state="absent"), "uninstall")
    node.restart()
    _is(node, new, new, new="permanent")
    assert node.facts()["boot"]["consistent"]


def _commit(node: Node) -> tuple[str, ...]:
    """The steps of a commit: the script of some versions leaves a file to be repaired."""
    script = node.inside("bin/install_upgrade.escript").read_text(encoding="utf-8")
    model = node.inside(f"releases/{node.new}/no_dot_erlang.boot")
    left = model.exists() and "no_dot_erlang.boot" not in script
    same = left and model.read_bytes() == node.inside("bin/no_dot_erlang.boot").read_bytes()
    return ("commit", "repair_commit") if left and not same else ("commit",)


def killed(node: Node, base: dict[str, Any]) -> None:
    """Killed after the unpack, after the switch and in the commit; the same task goes on each time."""
    node.reset(clients=CLIENTS, **base)
    task: dict[str, Any] = {"version": node.new, "package": node.provide(folder=STAGING), "state": "permanent"}

    def kill() -> None:
        node.kill_module(tree=True)
        node.kill_commands()

    for line in ("^Unpacked successfully", "^Installed Release"):
        assert node.at_line(line, kill, **task).verdict == "killed"
    with node.fault("slow_copy", "60"):
        killed_again = node.at_line("^Made release permanent", then=lambda: kill_when_torn(node, module=True), **task)
    assert killed_again.verdict == "killed"
    last = node.release(**{**task, **SETTLED})
    assert last.verdict == "done", last.story
    assert not node.release(**{**task, **SETTLED}).changed
    _is(node, node.new, node.new, old="old", new="permanent")
    assert node.clients is not None
    assert node.clients.lost() == 0, f"{node.clients.lost()} clients were lost"
    assert not node.sh(f"ls {node.root}/releases/*.zip", check=False).stdout, "a package is left in releases/"
    node.restart()
    _is(node, node.new, node.new, old="old", new="permanent")


def two_hops(node: Node) -> None:
    """Over a version in between and back, where the switch unpacks: each hop brings its own package."""
    node.reset("4.4.17", form="script14", clients=CLIENTS, runner_user="emqx")
    first = node.provide("4.4.18", folder=STAGING)
    second = node.provide("4.4.19", variant="script14-hop", folder=STAGING)
    for version, package in (("4.4.18", first), ("4.4.19", second)):
        _done(node.release(version, state="staged", package=package))
    _done(node.release("4.4.18", state="current", package=first, **SETTLED), "switch")
    _done(node.release("4.4.19", state="current", package=second, **SETTLED), "switch")
    assert node.state() == State({"4.4.17": "permanent", "4.4.18": "old", "4.4.19": "current"}, "4.4.17")
    for version in ("4.4.18", "4.4.17"):
        _done(node.release(version, state="current", allow_downgrade=True, **SETTLED), "switch")
    assert node.state().running == node.state().loaded == "4.4.17"
    assert node.clients is not None
    assert node.clients.lost() == 0, f"{node.clients.lost()} clients were lost"


for name, (settings, late) in FORMS.items():
    life = functools.partial(whole_life, base=settings, unpacks_in_switch=late)
    job(f"test_forms.py::test_the_whole_life_of_an_upgrade[{name}]", life)
    job(f"test_forms.py::test_killed_three_times[{name}]", functools.partial(killed, base=settings))
job("test_forms.py::test_hops_where_the_switch_unpacks", two_hops)


def _forms(*repeated: str) -> list[Any]:
    """Every form; what repeats others takes its minutes in the long-running tests alone."""
    return [pytest.param(form, marks=[pytest.mark.soak] if form in repeated else []) for form in FORMS]


@pytest.mark.parametrize("form", _forms("script14-deb", "4.2-deb"))
def test_the_whole_life_of_an_upgrade(pool: Pool, request: pytest.FixtureRequest, form: str) -> None:
    outcome(pool, request)


@pytest.mark.parametrize("form", _forms("deb", "script14-deb", "4.2-deb", "4.3", "4.4.0"))
def test_killed_three_times(pool: Pool, request: pytest.FixtureRequest, form: str) -> None:
    outcome(pool, request)


def test_hops_where_the_switch_unpacks(pool: Pool, request: pytest.FixtureRequest) -> None:
    outcome(pool, request)
