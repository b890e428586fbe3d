# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's defaults, its argument specs and its tasks tell the same about its variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
#: What is said where tasks are used from, and not by the user.
FROM_ELSEWHERE = {"emqx_upgrade_hook"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Entry point -> option -> its spec."""
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {entry: spec.get("options") or {} for entry, spec in specs.items()}


def used_by(role: Path, name: str, seen: set[str]) -> set[str]:
    """Variables of the role that a file of tasks uses, with all that it imports and the role's internal variables."""
    if name in seen:
        return set()
    seen.add(name)
    text = (role / "tasks" / name).read_text(encoding="utf-8")
    internal = load(role / "vars" / "main.yml")
    for variable, value in internal.items():
        if re.search(rf"\b{variable}\b", text):
            text += f"\n{value}"
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    found = set(re.findall(rf"(?<![\w]){role.name}_[a-z_]+", text)) - FROM_ELSEWHERE
    for other in re.findall(r"(?:import_tasks: |file: )([a-z_]+\.yml)", text):
        found |= used_by(role, other, seen)
    return found


def entry_points(role: Path) -> set[str]:
    """Files of tasks that a playbook uses."""
    found = {"main"}
    for playbook in (ROOT / "playbooks").glob("*.yml"):
        text = playbook.read_text(encoding="utf-8")
        found |= set(re.findall(rf"name: emqx\.fleet\.{role.name}\n\s+tasks_from: (\w+)", text))
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_specs_agree(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    described: dict[str, Any] = {}
    for entry, found in options(role).items():
        for name, spec in found.items():
            assert "default" in spec, f"{entry}: {name} has no default"
            assert spec["description"]
            assert spec["default"] == defaults.get(name, "nothing"), f"{entry}: {name} differs from defaults/main.yml"
            assert described.setdefault(name, spec) == spec, f"{name} is described in two ways"
    assert set(described) == set(defaults)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_entry_point_has_a_spec_of_what_it_uses(role: Path) -> None:
    found = options(role)
    assert entry_points(role) <= set(found)
    for entry, spec in found.items():
        assert set(spec) == used_by(role, f"{entry}.yml", set()), entry


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_names_tell_whose_they_are(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in load(role / "defaults" / "main.yml"))
    assert all(name.startswith(f"__{role.name}_") for name in load(role / "vars" / "main.yml"))
