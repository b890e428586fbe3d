# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible takes the examples of the documentation, and those that were seen not to run do."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.emqx.fleet.tests.unit.plugins.documentation import FILES, block
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package

from .under_ansible import COMMANDS, NEW, OLD, make_node, run


def test_ansible_takes_the_examples(tmp_path: Path) -> None:
    plays = []
    for name, path in FILES.items():
        items = block(path, "EXAMPLES")
        if any("hosts" in item for item in items):
            plays += items
        else:
            plays.append({"name": name, "hosts": "all", "gather_facts": False, "tasks": items})
    book = tmp_path / "play.yml"
    book.write_text(json.dumps(plays))
    done = run(tmp_path, "ansible-playbook", "--syntax-check", "-i", "localhost,", str(book))
    assert done.returncode == 0, done.stdout + done.stderr


def examples_run(folder: Path, name: str, *options: str) -> str:
    make_node(folder / "emqx", new=False)
    packages = folder / "packages"
    packages.mkdir()
    write_package(packages / "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip", NEW, [OLD], [OLD])
    play = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {"group/emqx.fleet.emqx": {"executable": str(folder / "emqx/bin/emqx")}},
        "tasks": block(FILES[name], "EXAMPLES"),
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    python = f"ansible_python_interpreter={COMMANDS / 'python'}"
    inventory = ["-i", "node1,", "-c", "local", "-e", python, "-e", "ansible_become=false"]
    done = run(folder, "ansible-playbook", *inventory, "play.yml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_of_evidence_runs(tmp_path: Path) -> None:
    """The node refuses to be upgraded, and what there is is collected."""
    said = examples_run(tmp_path, "modules/emqx_evidence")
    assert "rescued=1" in said
    journal = (tmp_path / "emqx/data/fleet/journal.jsonl").read_text()
    assert "There is no package of 4.4.19" in journal
