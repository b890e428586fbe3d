# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook ``emqx.fleet.split`` as Ansible runs it: its artifacts, its inventory, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .under_ansible import COMMANDS, make_node, run

#: What ansible-runner, and AWX with it, takes for artifacts: the custom stats of no host.
CALLBACK = """
import json
from pathlib import Path
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "artifacts"

    def v2_playbook_on_stats(self, stats):
        Path("artifacts.json").write_text(json.dumps(stats.custom.get("_run", {})))
"""

Played = tuple[subprocess.CompletedProcess[str], dict[str, Any]]
Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a playbook on two clusters of one node each, named so that Ansible would take the one apart in a file."""
    nodes = {"h1": "h1", "edge[1]": "h2"}
    told: dict[str, Any] = {}
    for host, folder in nodes.items():
        make_node(tmp_path / folder)
        told[host] = {"ansible_connection": "local", "emqx_upgrade_executable": str(tmp_path / folder / "bin/emqx")}
    names = list(nodes)

    def start(playbook: str, *options: str, odd: bool = True, lost: str = "", **given: Any) -> Played:
        hosts = {name if odd else nodes[name]: dict(told[name]) for name in names}
        if lost:
            hosts[lost]["emqx_upgrade_executable"] = str(tmp_path / "absent/bin/emqx")
        listed = {"all": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}}
        inventory = tmp_path / "inventory"
        inventory.write_text(f"#!/bin/sh\ncat <<'end'\n{json.dumps(listed)}\nend\n", encoding="utf-8")
        inventory.chmod(0o755)
        (tmp_path / "callbacks").mkdir(exist_ok=True)
        (tmp_path / "callbacks/artifacts.py").write_text(CALLBACK, encoding="utf-8")
        values = {f"emqx_upgrade_{name}": value for name, value in given.items()}
        values["ansible_python_interpreter"] = str(COMMANDS / "python")
        done = run(
            tmp_path,
            "ansible-playbook",
            *("-i", "inventory", playbook, "-e", json.dumps(values), *options),
            env={"ANSIBLE_CALLBACK_PLUGINS": str(tmp_path / "callbacks"), "ANSIBLE_CALLBACKS_ENABLED": "artifacts"},
        )
        return done, json.loads((tmp_path / "artifacts.json").read_text(encoding="utf-8"))

    return start


def test_parts_are_artifacts_of_the_job_and_hosts_of_the_next(play: Play) -> None:
    done, artifacts = play("emqx.fleet.split")
    assert done.returncode == 0, done.stdout + done.stderr
    assert artifacts == {"emqx_fleet_parts": {"1": ["edge[1]"], "2": ["h1"]}}
    assert "2 hosts of 2 clusters, in 2 parts." in done.stdout
    for number, here, other in (("1", "edge[1]", "h1"), ("2", "h1", "edge[1]")):
        done, _artifacts = play("emqx.fleet.status", hosts=artifacts["emqx_fleet_parts"][number])
        assert done.returncode == 0, done.stdout + done.stderr
        recap = done.stdout.partition("PLAY RECAP")[2]
        assert here in recap
        assert other not in recap


def test_check_mode_parts_as_well_and_writes_nothing(play: Play, tmp_path: Path) -> None:
    done, artifacts = play("emqx.fleet.split", "--check", split=1, split_inventory="parts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert artifacts == {"emqx_fleet_parts": {"1": ["edge[1]", "h1"]}}
    assert not (tmp_path / "parts.yml").exists()


def test_an_inventory_of_the_parts_is_one_more_for_ansible(play: Play, tmp_path: Path) -> None:
    done, _artifacts = play("emqx.fleet.split", odd=False, split_inventory="parts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    for number, here, other in (("1", "h1", "h2"), ("2", "h2", "h1")):
        done, _artifacts = play("emqx.fleet.status", "-i", "parts.yml", odd=False, hosts=f"emqx_part_{number}")
        assert done.returncode == 0, done.stdout + done.stderr
        recap = done.stdout.partition("PLAY RECAP")[2]
        assert here in recap
        assert other not in recap


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"split": 3},
            "emqx_upgrade_split is 3, and the fleet has 2 clusters, which stay whole; expected are at most ",
        ),
        ({"lost": "h1"}, "Not every node tells which cluster it is in: h1 ("),
        ({"split_inventory": "inventory/parts.yml"}, "emqx_upgrade_split_inventory is 'inventory/parts.yml', and "),
    ],
)
def test_refused(play: Play, given: dict[str, Any], words: str) -> None:
    done, artifacts = play("emqx.fleet.split", **given)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in " ".join((done.stdout + done.stderr).split())
    assert artifacts == {}


def test_names_that_no_inventory_can_have(play: Play, tmp_path: Path) -> None:
    done, artifacts = play("emqx.fleet.split", split_inventory="parts.yml")
    assert done.returncode == 2
    assert "Ansible would take these names apart in an inventory file: edge[1]; " in done.stdout
    assert artifacts == {"emqx_fleet_parts": {"1": ["edge[1]"], "2": ["h1"]}}
    assert not (tmp_path / "parts.yml").exists()
