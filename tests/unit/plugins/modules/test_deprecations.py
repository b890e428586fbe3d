# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No module hands warnings over in a way that Ansible will take no more."""

from __future__ import annotations

import ast

import pytest
from ansible_collections.emqx.fleet.tests.unit.plugins.documentation import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("emqx_*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_warnings_are_not_handed_over_in_a_result(name: str) -> None:
    """Those that depend on what was found are not met above; Ansible's way for them is ``module.warn``."""
    tree = ast.parse((ROOT / f"plugins/modules/{name}.py").read_text(encoding="utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        method = getattr(call.func, "attr", "")
        if method not in ("exit_json", "fail_json"):
            continue
        for keyword in call.keywords:
            where = f"{name}.py, line {call.lineno}"
            assert keyword.arg not in ("warnings", "deprecations"), where
            # What is handed over whole may have them in it: module_support ends a module with such a result.
            assert keyword.arg is not None, f"{where}: use module_support.succeed or module_support.fail"
