# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node's own upgrade script does, told from its text.

``emqx unpack``, ``upgrade``, ``install``, ``downgrade`` and ``uninstall`` are run by ``bin/install_upgrade.escript``,
which is that of the version that a restart would boot. Its text decides and not the version, for it may be mended.
"""

import re
from typing import NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation, read_text

NAME = "install_upgrade.escript"

_COMMENT = re.compile(r"%[^\n]*")
# Whether the release is unpacked is asked of releases/<version>/start.boot, which is a file.
_LOOKS_FOR_A_FOLDER = re.compile(r"\bis_dir\s*\([^)]*\"start\.boot\"")
_BOOT_FILE = '"no_dot_erlang.boot"'


class UpgradeScript(NamedTuple):
    """``unpacks_in_switch``: a switch unpacks its release, also one that is unpacked already, which must not be then.

    EMQX 4.3.13 to 4.3.22 and 4.4.2 to 4.4.14: the script looks for ``start.boot`` as a folder, finds none, and unpacks
    again. Without the package that fails with exit code 2; with it, ``releases/RELEASES`` is written anew with that
    version alone, after which no command of the node works any more and it cannot start.

    ``copies_boot_file``: a commit copies ``no_dot_erlang.boot`` of the release, and crashes half-way where it is not
    there (EMQX 4.3.18 and 4.4.7 and later).
    """

    unpacks_in_switch: bool
    copies_boot_file: bool


def parse(text: str) -> UpgradeScript:
    """Tell from the text of a script."""
    code = _COMMENT.sub("", text)
    return UpgradeScript(_LOOKS_FOR_A_FOLDER.search(code) is not None, _BOOT_FILE in code)


def read(installation: Installation) -> UpgradeScript:
    """Tell from the script that is in force; one that is missing is another check's business."""
    return parse(read_text(installation.bin_file(NAME)) or "")
