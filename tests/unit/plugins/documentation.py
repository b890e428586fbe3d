# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What plugins document of themselves, as data."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
#: A callback is chosen by a setting of Ansible; no task and no play is an example of it.
KINDS = ("modules", "filter", "lookup", "test")
#: Every plugin that has examples, by kind and name: ``modules/emqx_release``.
FILES = {f"{kind}/{path.stem}": path for kind in KINDS for path in sorted((ROOT / "plugins" / kind).glob("[a-z]*.py"))}


def block(path: Path, name: str) -> Any:
    """A YAML block of a plugin's documentation, such as ``EXAMPLES``; None where it has none."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == name:
            return yaml.safe_load(ast.literal_eval(statement.value))
    return None


#: The modules that work on a node.
ON_A_NODE = [
    name.partition("/")[2]
    for name, path in FILES.items()
    if name.startswith("modules/")
    and "emqx.fleet.node" in (block(path, "DOCUMENTATION").get("extends_documentation_fragment") or ())
]
