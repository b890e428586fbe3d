# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a failure left to look at besides the broker's log: crash dumps; and a note of it in the journal."""

import glob
import os
import re
from typing import Any, Dict, List, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.command import presentable
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir

_DUMPS = ("*crash*.dump", "erl_crash.dump*")
_SLOGAN = re.compile(r"^Slogan: (.*)$", re.MULTILINE)
MESSAGE_LENGTH = 2000


def crash_dumps(installation: Installation, since: float, secrets: Sequence[str] = ()) -> List[Dict[str, Any]]:
    """Crash dumps written after ``since``, newest first; of what is in them only the reason, secrets masked."""
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
                        "slogan": " ".join(presentable(slogan.group(1), secrets)) if slogan else None,
                    }
                )
    return rows


def note(state_dir: StateDir, message: str, facts: Dict[str, Any], secrets: Sequence[str] = ()) -> bool:
    """Write a failure into the journal, secrets masked, unless an operation is at work; that writes its own end."""
    entry = {
        "what": "failure",
        "actions": [],
        "outcome": "failed",
        "message": "\n".join(presentable(message, secrets))[:MESSAGE_LENGTH],
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
    # A name may match more than one of them.
    names = {path for pattern in patterns for path in glob.glob(os.path.join(glob.escape(directory), pattern))}
    found = []
    for path in names:
        try:
            found.append((os.stat(path).st_mtime, path))
        except OSError:
            continue
    return [path for _time, path in sorted(found, reverse=True)]
