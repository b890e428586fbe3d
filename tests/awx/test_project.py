# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""``emqx.fleet.awx_project``, played."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .conftest import Play
from .places import ROOT


def test_the_playbook(play: Play, tmp_path: Path) -> None:
    """On a copy of the collection, which has a skeleton of one file where the checkout has none."""
    copy = tmp_path / "beside/ansible_collections/emqx/fleet"
    for name in ("extensions/awx", "meta", "playbooks", "plugins", "roles"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "galaxy.yml", copy)
    (copy / "extensions/awx/project").mkdir(exist_ok=True)
    (copy / "extensions/awx/project/status.yml").touch()
    env = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "beside")}
    options = ("-e", json.dumps({"emqx_awx_project_dir": str(tmp_path / "project")}))
    first, second = (play("awx_project", *options, env=env) for _turn in range(2))
    assert first.returncode == second.returncode == 0, first.stdout + first.stderr
    assert "changed=1" in first.stdout
    assert "changed=0" in second.stdout
    there = {
        str(path.relative_to(tmp_path / "project")) for path in (tmp_path / "project").rglob("*") if path.is_file()
    }
    wanted = copy / "extensions/awx/project"
    assert there == {
        ".emqx-fleet.json",
        *(str(path.relative_to(wanted)) for path in wanted.rglob("*") if path.is_file()),
    }
    refused = play("awx_project", env=env)
    assert refused.returncode != 0
    assert "emqx_awx_project_dir" in refused.stdout
