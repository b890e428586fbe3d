# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The commands that are compared: the collection's playbook as a user runs it, and the documented steps."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .measure import BIN, ROOT, Usage, run

HERE = Path(__file__).resolve().parent
WORK = ROOT / ".build" / "bench"
LOGS = WORK / "logs"
OLD, NEW = "4.4.18", "4.4.19"
PACKAGE = ROOT / ".build/broker/packages" / f"emqx-{NEW}-otp25.2.3-1-debian12-amd64.zip"


def environment(times: Path | None = None) -> dict[str, str]:
    """Of both commands: the installed collection, and Ansible's settings in ansible.cfg."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    found |= {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    if times is not None:
        found |= {
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "bench_times",
            "EMQX_BENCH_TIMES": str(times),
        }
    return found


def ours(
    inventory: Path,
    log: str,
    *options: str,
    forks: int = 5,
    package: Path = PACKAGE,
    settings: Mapping[str, Any] | None = None,
    times: Path | None = None,
) -> Usage:
    """The collection's playbook, without a soak."""
    values = {"version": NEW, "packages": [str(package)], "soak_seconds": 0, **(settings or {})}
    named = {f"emqx_upgrade_{name}": value for name, value in values.items()}
    argv = ["-i", str(inventory), "emqx.fleet.upgrade", "-e", json.dumps(named), *_forks(forks), *options]
    return run([str(BIN / "ansible-playbook"), *argv], environment(times), LOGS / log)


def documented(inventory: Path, log: str, *options: str, forks: int = 5, package: Path = PACKAGE) -> Usage:
    """The documented steps."""
    given = json.dumps({"bench_version": NEW, "bench_package": str(package)})
    argv = ["-i", str(inventory), str(HERE / "documented_steps.yml"), "-e", given, *_forks(forks), *options]
    return run([str(BIN / "ansible-playbook"), *argv], environment(), LOGS / log)


def _forks(forks: int) -> Sequence[str]:
    return ("--forks", str(forks))
