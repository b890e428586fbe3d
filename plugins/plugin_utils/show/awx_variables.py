# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of :mod:`awx_content` as variables for the roles of ``infra.aap_configuration``. Pure functions.

Shapes: ``roles/controller_*/{README.md,tasks/main.yml}`` of ``infra.aap_configuration`` 3.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

_HEAD = """\
---
# Made by emqx.fleet.awx_setup for infra.aap_configuration; make it anew rather than change it.
"""
_SAME = {
    "labels": "controller_labels",
    "execution_environments": "controller_execution_environments",
    "projects": "controller_projects",
    "inventories": "controller_inventories",
    "job_templates": "controller_templates",
}


def variables(objects: Mapping[str, Any]) -> dict[str, Any]:
    """Variables by their names, for one run of ``infra.aap_configuration.dispatch``."""
    found = {variable: objects[kind] for kind, variable in _SAME.items() if objects[kind]}
    found["controller_credential_types"] = [
        {**kind, "injectors": _apart(kind.get("injectors") or {})} for kind in objects["credential_types"]
    ]
    found["controller_workflows"] = [
        {
            **{name: value for name, value in workflow.items() if name != "nodes"},
            # The other form, `workflow_nodes`, leaves edges in place that are no more.
            "simplified_workflow_nodes": workflow["nodes"],
        }
        for workflow in objects["workflows"]
    ]
    return found


def text(objects: Mapping[str, Any]) -> str:
    """The variables as a file in YAML."""
    # Texts of Ansible's own kinds become plain ones.
    plain = json.loads(json.dumps(variables(objects)))
    return _HEAD + yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _apart(value: Any) -> Any:
    """Templates with blanks between their braces: Ansible leaves them alone, and the role takes the blanks out."""
    if isinstance(value, Mapping):
        return {name: _apart(within) for name, within in value.items()}
    return value.replace("{{", "{  {") if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    """Writes what is there several times each time, since an anchor is no help to readers."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True
