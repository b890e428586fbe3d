# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options and attributes that the modules working on a node share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  executable:
    description:
      - Path of the C(emqx) command of the installation on the managed host.
      - By default the first one found on E(PATH), in C(/usr/bin), C(/usr/lib/emqx/bin) and C(/opt/emqx/bin).
    type: path
  timeout:
    description:
      - Seconds that one C(emqx) command may take.
      - A command that only reads is ended then. One that changes the node is left to its work, because ending it in
        the middle of a commit would leave a node that cannot start.
    type: float
    default: 600
notes:
  - Run the module as root or as the user that the broker runs as.
  - Neither the Erlang cookie nor settings of the broker appear in results.
requirements:
  - Python 3.6 or later on the managed host
  - EMQX 4.2.0 or later, on Linux
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in check mode), when in diff mode.
  platform:
    description: Platforms the target can run on.
    platforms: posix
    support: full
"""
