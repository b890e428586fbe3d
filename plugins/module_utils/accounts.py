# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user that the broker runs as: by its name, or by its number where the machine has no name for it."""

import os
import pwd
from typing import NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


class Account(NamedTuple):
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: str

    def become(self) -> None:
        """Make this process the user's; only root may."""
        if self.name == str(self.uid):
            os.setgroups([])
        else:
            os.initgroups(self.name, self.gid)
        os.setgid(self.gid)
        os.setuid(self.uid)


def find_account(user: str) -> Account:
    """The account of a user name, or of a number that has no name. Raises FleetError for a name that is not known."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        if user.isdigit():
            # As in a container: nothing tells its group, which by custom has the same number.
            return Account(user, int(user), int(user), "/")
        raise FleetError(
            "The broker's user {0} is not known on this machine.".format(user),
            hint="Correct RUNNER_USER in releases/emqx_vars, or create the user.",
        ) from None
    return Account(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir)
