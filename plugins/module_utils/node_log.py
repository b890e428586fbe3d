# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the node writes to its own log while it is worked on."""

import glob
import os
import re
from typing import Dict, List, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.command import presentable
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation

_PATTERNS = ("emqx.log*", "erlang.log.*")
_TROUBLE = re.compile(r"\[(?:error|critical|alert|emergency)\]|=(?:ERROR|CRASH) REPORT|crash", re.IGNORECASE)
_ABOUT_RELUP = re.compile(r"release_handler|relup|code_change|appup|old code|killed", re.IGNORECASE)
READ_BYTES = 1 << 20


class LogMark:
    """The ends of the log files at one moment; ``errors()`` reads what came after it."""

    def __init__(self, installation: Installation, secrets: Sequence[str] = ()) -> None:
        self._directory = installation.log_dir
        self._secrets = secrets
        self._sizes = self._read_sizes()

    def errors(self) -> List[str]:
        """Lines about the relup at level error or above since the mark, secrets masked, at most 20."""
        found = []
        for path in self._read_sizes():
            start = self._sizes.get(path, 0)
            try:
                with open(path, "rb") as stream:
                    if os.fstat(stream.fileno()).st_size < start:
                        start = 0
                    stream.seek(start)
                    text = stream.read(READ_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
            found += [line for line in text.splitlines() if _TROUBLE.search(line) and _ABOUT_RELUP.search(line)]
        return presentable("\n".join(found), self._secrets, lines=20)

    def _read_sizes(self) -> Dict[str, int]:
        sizes = {}
        for pattern in _PATTERNS:
            for path in glob.glob(os.path.join(glob.escape(self._directory), pattern)):
                try:
                    sizes[path] = os.stat(path).st_size
                except OSError:
                    continue
        return sizes
