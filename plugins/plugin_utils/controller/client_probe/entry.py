# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script of the probe's process, which is started by its path: it makes the collection importable wherever it lies.

Reads its order as JSON from standard input, answers with one line of JSON, ``error`` or nothing in it, and goes on in
the background.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

_COLLECTION = ("ansible_collections", "emqx", "fleet")


def make_importable(root: Path) -> None:
    """Have the collection in a directory under its full name, without Ansible's own loader of collections."""
    for depth in range(1, len(_COLLECTION) + 1):
        package = types.ModuleType(".".join(_COLLECTION[:depth]))
        package.__path__ = [str(root)] if depth == len(_COLLECTION) else []
        sys.modules[package.__name__] = package


if __name__ == "__main__":
    # Not the folder of this script, whose modules have plain names.
    del sys.path[0]
    make_importable(Path(__file__).resolve().parents[4])
    from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import loop

    sys.exit(loop.main())
