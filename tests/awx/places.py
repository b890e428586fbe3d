# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The content for AWX as it lies in the checkout, and what belongs to it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import awx_content

ROOT = Path(__file__).resolve().parents[2]
SKELETON = ROOT / "extensions/awx/project"
#: Playbooks of the skeleton.
PLAYBOOKS = tuple(
    f"{name}.yml"
    for name in (
        "cleanup",
        "commit",
        "plan",
        "report",
        "rollback",
        "soak",
        "split",
        "stage",
        "status",
        "switch",
        "upgrade",
    )
)
CONTENT: dict[str, Any] = yaml.safe_load((ROOT / "extensions/awx/content.yml").read_text(encoding="utf-8"))
OPTIONS = settings.options_of(
    yaml.safe_load((ROOT / "roles/emqx_upgrade/meta/argument_specs.yml").read_text(encoding="utf-8"))
)
ARGUMENTS = {"organization": "Default", "prefix": "EMQX ", "project_url": "https://git.example.com/emqx.git"}


def content() -> dict[str, Any]:
    """A copy of it, to be changed."""
    return copy.deepcopy(CONTENT)


def objects(**arguments: Any) -> dict[str, Any]:
    """What AWX gets of it."""
    return awx_content.objects(CONTENT, OPTIONS, ARGUMENTS | arguments)
