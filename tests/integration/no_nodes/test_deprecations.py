# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No module has Ansible warn of what will be gone, whether it ends well, with a warning of its own, or not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package

from .under_ansible import NEW, OLD, ROOT, make_node, play

#: Those that only the role calls; every run of a molecule scenario is looked through for the same.
OF_THE_ROLE = {
    "emqx_settings",
    "emqx_turn",
    "emqx_decide",
    "emqx_hook",
    "emqx_cleanup",
    "emqx_report",
    "emqx_conclude",
    "emqx_status",
    "emqx_split",
}
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("emqx_*.py"))


def tasks(folder: Path) -> dict[str, dict[str, Any]]:
    """For every module one that ends well and one that fails."""
    make_node(folder / "emqx")
    make_node(folder / "poor", new=False)
    node = {"executable": str(folder / "emqx/bin/emqx")}
    poor = {"executable": str(folder / "poor/bin/emqx")}
    absent = {"executable": str(folder / "absent/bin/emqx")}
    read = "{{ hostvars[inventory_hostname].result_0 }}"
    package = str(write_package(folder / "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip", NEW, [OLD], [OLD]))
    plan = {"version": NEW, "facts_variable": "result_0"}
    row = [
        {"kind": "wait", "arguments": {"seconds": 0.1}},
        {"kind": "emqx_release_info", "expect": {"running": OLD, "cluster": []}},
        {"kind": "remove", "arguments": {"path": str(folder / "none")}},
        {"kind": "packages", "arguments": {"packages": []}},
    ]
    return {
        "emqx_release_info well": {"emqx.fleet.emqx_release_info": {**node, "verification": True}},
        "emqx_release_info fails": {"emqx.fleet.emqx_release_info": absent},
        "emqx_release well": {"emqx.fleet.emqx_release": {**node, "version": OLD}},
        "emqx_release fails": {"emqx.fleet.emqx_release": {**node, "version": NEW, "state": "current"}},
        "emqx_release check": {"emqx.fleet.emqx_release": {**node, "version": NEW}, "check_mode": True},
        "emqx_release no package": {"emqx.fleet.emqx_release": {**poor, "version": NEW}},
        "emqx_package_check well": {
            "emqx.fleet.emqx_package_check": {**node, "src": package, "fail_on_incompatible": False}
        },
        "emqx_package_check fails": {
            "emqx.fleet.emqx_package_check": {**node, "src": f"{package}.gone", "remote_src": True}
        },
        "emqx_plan well": {"emqx.fleet.emqx_plan": plan},
        "emqx_plan fails": {"emqx.fleet.emqx_plan": {**plan, "packages": [str(folder / "none")]}},
        "emqx_reservation well": {"emqx.fleet.emqx_reservation": {**node, "id": "r1"}},
        "emqx_reservation fails": {"emqx.fleet.emqx_reservation": {**node, "id": "r2"}},
        "emqx_verify well": {
            "emqx.fleet.emqx_verify": {**node, "before": read, "version": OLD, "wait": 0},
        },
        "emqx_verify fails": {
            "emqx.fleet.emqx_verify": {**node, "before": read, "version": NEW, "wait": 0},
        },
        "emqx_calls well": {"emqx.fleet.emqx_calls": {**node, "identity": "1", "row": row}},
        "emqx_calls fails": {"emqx.fleet.emqx_calls": {**node, "identity": "2", "row": [{"kind": "jump"}]}},
        "emqx_calls check": {"emqx.fleet.emqx_calls": {**node, "identity": "3", "row": row}, "check_mode": True},
        "emqx_evidence well": {"emqx.fleet.emqx_evidence": {**node, "note": "it failed"}},
        "emqx_evidence absent": {"emqx.fleet.emqx_evidence": absent},
        "emqx_probe well": {"emqx.fleet.emqx_probe": {"state": "stopped", "id": "none"}},
        "emqx_probe fails": {"emqx.fleet.emqx_probe": {"state": "read", "id": "none"}},
        "emqx_awx_content well": {"emqx.fleet.emqx_awx_content": {"apply": False}},
        "emqx_awx_content fails": {"emqx.fleet.emqx_awx_content": {"apply": False, "content": [str(folder / "none")]}},
        "emqx_awx_project well": {"emqx.fleet.emqx_awx_project": {"dir": str(folder / "awx")}},
        "emqx_awx_project fails": {"emqx.fleet.emqx_awx_project": {"dir": package}},
        "emqx_show well": {"emqx.fleet.emqx_show": {"text": ["a, b", "c"]}},
        "emqx_show fails": {"emqx.fleet.emqx_show": {"text": "a, b\nc", "fail": True}},
    }


def test_no_module_makes_a_deprecation_warning(tmp_path: Path) -> None:
    asked = tasks(tmp_path)
    found = {name.partition(" ")[0] for name in asked}
    assert set(MODULES) - OF_THE_ROLE <= found, "a module without tasks here"
    played = play(tmp_path, asked)
    assert set(played.results) == set(asked), played.output
    for name, result in played.results.items():
        assert "MODULE FAILURE" not in str(result.get("msg")), f"{name}: {result}"
        assert not result.get("deprecations"), f"{name}: {result['deprecations']}"
        expected = {"well": False, "fails": True}.get(name.partition(" ")[2])
        if name in ("emqx_calls well", "emqx_calls check"):
            assert len(result["results"]) == 4, f"{name}: {result}"
        assert expected in (None, bool(result.get("failed"))), f"{name}: {result}"
    assert not re.search(r"deprecat", played.output, re.IGNORECASE), played.output
