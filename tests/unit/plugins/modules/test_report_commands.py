# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of a real report, as the play was really called."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.tests.unit.plugins.under_ansible import play

SECRET = "s3cret"
NODE = {"action": "upgrade", "from": "4.4.18", "to": "4.4.19", "wave": 1, "cluster": "c", "hops": [], "gates": []}
PLAN: dict[str, Any] = {"target": "4.4.19", "nodes": {"node1": NODE}, "waves": [{"hosts": ["node1"]}]}
OUTCOME = {
    "result": "failed",
    "phase": "switch",
    "message": "It broke.",
    "after": {"running": "4.4.19", "permanent": "4.4.18"},
}


def test_commands_of_a_report(tmp_path: Path) -> None:
    variables = tmp_path / "fleet.yml"
    variables.write_text(json.dumps({"outcome": OUTCOME}))
    task = {"emqx.fleet.emqx_report": {"run_id": "r1", "plan": PLAN, "outcome_variable": "outcome"}}
    options = ["--limit", "node1", "--forks", "9", "-e", f"@{variables}", "-e", f"ansible_become_password={SECRET}"]
    options += ["-e", f"emqx_upgrade_packages=https://me:{SECRET}@host/x.zip emqx_upgrade_timeout=900"]
    played = play(tmp_path, {"report": task}, *options)
    message = played.results["report"]["message"]
    commands = re.findall(r"ansible-playbook .*?(?= To |$)", message)
    begin = ["ansible-playbook", "-i", str(tmp_path / "inventory")]
    rest = ["--forks=9"]
    left_out = ["-e", f"@{variables}", "-e", "ansible_become_password=<as before>"]
    python = ["-e", "ansible_python_interpreter=<as before>"]
    timeout = ["-e", "emqx_upgrade_timeout=900"]
    packages = ["-e", "emqx_upgrade_packages=<as before>"]
    limit = ["--limit", "node1"]
    assert [shlex.split(command) for command in commands] == [
        [*begin, str(tmp_path / "play.yml"), *limit, *python, *left_out, *packages, *timeout, *rest],
        [*begin, "emqx.fleet.rollback", *limit, *python, *left_out, *timeout, *rest],
        [*begin, "emqx.fleet.status", *limit, *python, *left_out, *rest],
    ]
    assert SECRET not in played.output
