# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that goes on with a run, from the one that began it. Pure functions.

Only settings of this collection are repeated, and files of variables by their names: what else is given with ``-e`` may
be secret.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_PREFIX = "emqx_upgrade_"


def command(
    playbook: str,
    inventory: Sequence[str] = (),
    limit: str | None = None,
    extra_vars: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> str:
    """``ansible-playbook`` for a playbook of this collection, with what the present run was given.

    ``extra_vars`` are the options as they were written, of which only names of files are repeated; ``settings`` the
    variables that they came to, of which only those of this collection are.
    """
    words = ["ansible-playbook"]
    for source in inventory:
        words += ["-i", source]
    words.append(playbook)
    if limit:
        words += ["--limit", limit]
    for option in extra_vars:
        if option.startswith("@"):
            words += ["-e", option]
    for name, value in sorted((settings or {}).items()):
        if name.startswith(_PREFIX):
            text = f"{name}={value}" if isinstance(value, (str, int)) and not isinstance(value, bool) else None
            if text is None or " " in text:
                text = json.dumps({name: value})
            words += ["-e", text]
    return shlex.join(words)


def inline_settings(extra_vars: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were written on the command line itself, not in a file named there."""
    written = " ".join(option for option in extra_vars if not option.startswith("@"))
    return {name: value for name, value in settings.items() if name in written}
