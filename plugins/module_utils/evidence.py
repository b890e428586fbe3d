# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a failure left to look at: the end of the broker's log, crash dumps, and a note in the journal."""

import glob
import os
import re
from typing import Any, Dict, List, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.command import presentable
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir

_LOGS = ("emqx.log*", "erlang.log.*")
_DUMPS = ("*crash*.dump", "erl_crash.dump*")
_NOTABLE = re.compile(r"\[(?:warning|error|critical|alert|emergency)\]|REPORT====|crash", re.IGNORECASE)
_SLOGAN = re.compile(r"^Slogan: (.*)$", re.MULTILINE)
READ_BYTES = 1 << 18
MESSAGE_LENGTH = 2000


def last_log_lines(installation: Installation, secrets: Sequence[str], lines: int) -> List[str]:
    """The last lines at warning level or above of the log that was written last, secrets masked."""
    paths = _newest_first(installation.log_dir, _LOGS)
    for path in paths:
        try:
            with open(path, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - READ_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            continue
        notable = [line for line in text.splitlines() if _NOTABLE.search(line)]
        if notable:
            return presentable("\n".join(notable), secrets, lines=lines)
    return []


def crash_dumps(installation: Installation, since: float) -> List[Dict[str, Any]]:
    """Crash dumps written after ``since``, newest first; of what is in them only the reason, which has no secrets."""
    rows = []
    for directory in (installation.log_dir, installation.data_dir, installation.root_dir):
        for path in _newest_first(directory, _DUMPS):
            try:
                found = os.stat(path)
                with open(path, "rb") as stream:
                    head = stream.read(4096).decode("utf-8", "replace")
            except OSError:
                continue
            if found.st_mtime > since:
                slogan = _SLOGAN.search(head)
                rows.append(
                    {
                        "path": path,
                        "size": found.st_size,
                        "time": round(found.st_mtime, 3),
                        "slogan": slogan.group(1).strip() if slogan else None,
                    }
                )
    return rows


def note(state_dir: StateDir, message: str, facts: Dict[str, Any]) -> bool:
    """Write a failure into the journal, unless an operation is at work; it will write its own end there."""
    entry = {
        "what": "failure",
        "actions": [],
        "outcome": "failed",
        "message": message[:MESSAGE_LENGTH],
        "running": facts.get("running"),
        "permanent": facts.get("permanent"),
    }  # type: Dict[str, Any]
    try:
        with state_dir.locked("note a failure", 0):
            state_dir.record(entry)
    except (FleetError, OSError):
        return False
    return True


def _newest_first(directory: str, patterns: Sequence[str]) -> List[str]:
    found = []
    for pattern in patterns:
        for path in glob.glob(os.path.join(glob.escape(directory), pattern)):
            try:
                found.append((os.stat(path).st_mtime, path))
            except OSError:
                continue
    return [path for _time, path in sorted(found, reverse=True)]
