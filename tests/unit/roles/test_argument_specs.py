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
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
ROLE = ROOT / "roles/emqx_upgrade"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def specs(role: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_specs_agree(role: Path) -> None:
    defaults = load(role / "defaults/main.yml")
    described: dict[str, Any] = {}
    for entry, spec in specs(role).items():
        for name, option in (spec.get("options") or {}).items():
            assert "default" in option, f"{entry}: {name} has no default"
            assert option["description"].endswith(".")
            assert name not in described, f"{name} is described twice"
            described[name] = option["default"]
    assert described == defaults
    assert list(described) == list(defaults)
    assert [type(value) for value in described.values()] == [type(value) for value in defaults.values()]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_ansible_checks_no_phase_by_itself(role: Path) -> None:
    """It would, strictly and host by host, before anything else: so no entry point has the name of a file of tasks."""
    assert not set(specs(role)) & {path.stem for path in (role / "tasks").glob("*.yml")}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_names_tell_whose_they_are(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in load(role / "defaults/main.yml"))


def test_defaults_are_what_ansible_itself_would_take() -> None:
    """With ansible-core's own reading of the spec, which is given what ours has read."""
    options = settings.options_of(load(ROLE / "meta/argument_specs.yml"))
    result = ArgumentSpecValidator(options).validate({})
    assert result.error_messages == []
    assert result.validated_parameters == {name: option["default"] for name, option in options.items()}


def test_tasks_use_settings_that_are_there() -> None:
    known = {settings.PREFIX + name for name in (*settings.NO_SETTINGS, settings.PATTERN, *settings.RULES)}
    for path in [*ROLE.glob("tasks/*.yml"), *ROLE.glob("vars/*.yml"), *(ROOT / "playbooks").glob("*.yml")]:
        text = re.sub(r"(?m)#.*$", "", path.read_text(encoding="utf-8"))
        used = set(re.findall(rf"(?<!\w){settings.PREFIX}[a-z_]+", text))
        assert used <= known, path.name


def test_the_phases_are_told_of() -> None:
    """``ansible-doc -t role`` shows entry points only, so the phases stand in the description of the one there is."""
    (spec,) = specs(ROLE).values()
    told = set(re.findall(r"^C\((\w+)\) - ", "\n".join(spec["description"]), re.MULTILINE))
    assert told >= {"status", "plan", "stage", "switch", "soak", "commit", "rollback", "cleanup", "report"}
    assert told <= {path.stem for path in ROLE.glob("tasks/*.yml")}
