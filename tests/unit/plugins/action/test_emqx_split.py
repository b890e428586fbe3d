# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task that parts a fleet: what it hands on to later jobs, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.fleet.plugins.action import emqx_split
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import custom_stats
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_facts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import REGISTERS, make_variables

PARTS = {"1": ["a1"], "2": ["a2"]}


def part(check_mode: bool = False, a2: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The result of the task for two clusters of one node each."""
    readings = {
        "a1": {"reading": {"facts": make_facts("emqx@a1")}},
        "a2": {"reading": {"facts": a2 or make_facts("emqx@a2")}},
    }
    given = {"split": 2, "split_inventory": "", **settings}
    variables = make_variables("a1", None, readings, given, ansible_inventory_sources=["/srv/hosts.yml"])
    del variables[REGISTERS["planned"]]
    return run_action(emqx_split, variables, check_mode)


@pytest.mark.parametrize("check_mode", [False, True])
def test_parts_are_handed_on(check_mode: bool) -> None:
    found = part(check_mode)
    assert found["ansible_stats"] == {"data": {"emqx_fleet_parts": PARTS}, "per_host": False, "aggregate": False}
    assert (found["changed"], found["parts"], found["message"]) == (False, PARTS, "")
    assert found["table"][-1] == "2 hosts of 2 clusters, in 2 parts."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": 3}, "emqx_upgrade_split is 3, and the fleet has 2 clusters"),
        ({"a2": {"msg": "no route"}}, "a2 (no route)"),
    ],
)
def test_what_cannot_be_parted_hands_nothing_on(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    found = part(split_inventory=str(tmp_path / "parts.yml"), **options)
    assert words in found["message"]
    assert (found["parts"], found["table"]) == ({}, [])
    assert "ansible_stats" not in found
    assert not (tmp_path / "parts.yml").exists()


def test_an_inventory_of_the_parts(tmp_path: Path) -> None:
    path = tmp_path / "folder/parts.yml"
    assert part(check_mode=True, split_inventory=str(path))["message"] == ""
    assert not path.exists()
    assert part(split_inventory=str(path))["message"] == ""
    text = path.read_text(encoding="utf-8")
    assert "-i /srv/hosts.yml -i THIS-FILE -e emqx_upgrade_hosts=emqx_part_1" in text
    assert yaml.safe_load(text) == {"emqx_part_1": {"hosts": {"a1": None}}, "emqx_part_2": {"hosts": {"a2": None}}}


def test_an_inventory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = part(split_inventory=str(tmp_path / "file/parts.yml"))
    assert found["message"] == f"The inventory cannot be written to {tmp_path}/file/parts.yml: File exists."
    assert found["parts"] == PARTS


def test_names_that_an_inventory_cannot_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emqx_split.split_table, "_TAKEN_APART", re.compile("a2"))
    found = part(split_inventory=str(tmp_path / "parts.yml"))
    assert found["message"].startswith("Ansible would take these names apart in an inventory file: a2; ")
    assert found["ansible_stats"]["data"] == {"emqx_fleet_parts": PARTS}
    assert not (tmp_path / "parts.yml").exists()


def test_more_hosts_than_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = '{"emqx_fleet_parts": {"1": ["a1"], "2": ["a2"]}}'
    monkeypatch.setattr(custom_stats, "LARGEST", len(told))
    assert "ansible_stats" in part()
    monkeypatch.setattr(custom_stats, "LARGEST", len(told) - 1)
    found = part()
    assert "ansible_stats" not in found
    assert found["message"] == (
        "The hosts of the parts make more than 500000 bytes, so they are not handed on to other jobs as "
        "emqx_fleet_parts. Write them into an inventory with emqx_upgrade_split_inventory."
    )
    assert part(split_inventory=str(tmp_path / "parts.yml"))["message"] == ""
