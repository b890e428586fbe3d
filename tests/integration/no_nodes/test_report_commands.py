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

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import PLANNED, TURN
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import fail, new
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import make_plan

from .under_ansible import play

SECRET = "s3cret"
PLAN = make_plan([["node1"]])
OUTCOME = fail(
    new(), "switch", {"message": "It broke."}, after={"running": "4.4.19", "permanent": "4.4.18", "boot": {}}
)


def test_commands_of_a_report(tmp_path: Path) -> None:
    variables = tmp_path / "fleet.yml"
    variables.write_text(json.dumps({PLANNED: {"plan": PLAN}, TURN: {"outcome": OUTCOME}}))
    task: dict[str, Any] = {"emqx.fleet.emqx_report": {}}
    options = ["--limit", "node1", "--forks", "9", "-e", f"@{variables}", "-e", f"ansible_become_password={SECRET}"]
    options += ["-e", f"emqx_upgrade_packages=https://me:{SECRET}@host/x.zip emqx_upgrade_timeout=900"]
    played = play(tmp_path, {"report": task}, *options)
    message = played.results["report"]["message"]
    commands = re.findall(r"ansible-playbook .*", message)
    begin = ["ansible-playbook", "-i", str(tmp_path / "inventory")]
    rest = ["--forks=9"]
    left_out = ["-e", f"@{variables}", "-e", "ansible_become_password=<as before>"]
    python = ["-e", "ansible_python_interpreter=<as before>"]
    timeout = ["-e", "emqx_upgrade_timeout=900"]
    packages = ["-e", "emqx_upgrade_packages=<as before>"]
    limit = ["--limit", "node1"]
    assert [shlex.split(command) for command in commands] == [
        [*begin, str(tmp_path / "play.yml"), *limit, *python, *left_out, *packages, *timeout, *rest],
        [*begin, "emqx.fleet.rollback", *limit, *python, *left_out, *timeout, *rest, "-e", "emqx_upgrade_version="],
        [*begin, "emqx.fleet.status", *limit, *python, *left_out, *rest],
    ]
    assert SECRET not in played.output
