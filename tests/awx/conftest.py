# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Ansible's commands on the collection of the checkout, with awx.awx beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .places import ROOT

COMMANDS = Path(os.environ.get("EMQX_FLEET_ANSIBLE") or Path(sys.executable).parent)

#: Plays a playbook of the collection with extra variables, in JSON, and variables of the environment.
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def awx_collection() -> Path:
    """The folder that ``scripts/awx-collection`` puts awx.awx into."""
    done = subprocess.run([ROOT / "scripts/awx-collection"], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    folder = tmp_path_factory.mktemp("play")
    (folder / "collections/ansible_collections/emqx").mkdir(parents=True)
    (folder / "collections/ansible_collections/emqx/fleet").symlink_to(ROOT)

    def run(
        playbook: str, *options: str, env: Mapping[str, str] | None = None, beside: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        paths = [folder / "collections", *([beside] if beside else [])]
        found = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        return subprocess.run(
            [COMMANDS / "ansible-playbook", f"emqx.fleet.{playbook}", *options],
            cwd=folder,
            env=found
            | {
                "ANSIBLE_COLLECTIONS_PATH": ":".join(str(path) for path in paths),
                "ANSIBLE_HOME": str(folder / "home"),
                "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
                "ANSIBLE_LOCALHOST_WARNING": "0",
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run
