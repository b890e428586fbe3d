# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play says once in ``module_defaults`` reaches every module that works on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.tests.unit.plugins.documentation import ON_A_NODE

from .under_ansible import NEW, OLD, make_node, play

GROUP = "group/emqx.fleet.emqx"
#: What each needs besides where ``emqx`` is.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "emqx_package_check": {"src": "/nowhere/emqx-4.4.19.zip", "remote_src": True, "fail_on_incompatible": False},
    "emqx_release": {"version": OLD},
    "emqx_reservation": {"id": "r1"},
    "emqx_verify": {"version": OLD, "wait": 0},
}


@pytest.mark.parametrize("way", ["group", "one by one"])
def test_defaults_arrive(tmp_path: Path, way: str) -> None:
    """Also where an action plugin calls the module, or another one: what it was given is the task's arguments."""
    make_node(tmp_path / "emqx")
    common = {"executable": str(tmp_path / "emqx/bin/emqx"), "timeout": 50}
    names = [name for name in ON_A_NODE if name != "emqx_turn"]
    defaults = {GROUP: common} if way == "group" else {f"emqx.fleet.{name}": common for name in names}
    tasks = {name: {f"emqx.fleet.{name}": ARGUMENTS.get(name, {})} for name in names}
    played = play(tmp_path, tasks, keywords={"module_defaults": defaults})
    for name, result in played.results.items():
        assert not result.get("failed"), f"{name}: {result}"
    assert set(played.results) == set(names), played.output
    assert played.results["emqx_evidence"]["facts"]["executable"] == common["executable"]


def test_a_task_says_otherwise(tmp_path: Path) -> None:
    make_node(tmp_path / "emqx")
    other = str(tmp_path / "other/bin/emqx")
    defaults = {GROUP: {"executable": str(tmp_path / "emqx/bin/emqx")}}
    tasks = {
        name: {f"emqx.fleet.{name}": {**ARGUMENTS.get(name, {}), "executable": other}}
        for name in ON_A_NODE
        if name != "emqx_turn"
    }
    played = play(tmp_path, tasks, keywords={"module_defaults": defaults})
    for name, result in played.results.items():
        assert other in result["msg"], f"{name}: {result}"
    assert NEW not in played.output
