# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What another user may do with files, asked of the kernel instead of worked out from mode bits."""

import os
from typing import Callable, List

from ansible_collections.emqx.fleet.plugins.module_utils.accounts import find_account


def unwritable_for(user: str, paths: List[str]) -> List[str]:
    """Those of ``paths`` that ``user`` cannot write to: mode, read-only file system or immutable file."""
    return _as_user(user, lambda: [path for path in paths if not os.access(path, os.W_OK)])


def unreadable_for(user: str, paths: List[str]) -> List[str]:
    """Those of ``paths`` that ``user`` cannot read."""
    return _as_user(user, lambda: [path for path in paths if not os.access(path, os.R_OK)])


def _as_user(user: str, check: Callable[[], List[str]]) -> List[str]:
    """Run ``check`` as ``user`` in a child process, as far as the caller may become that user."""
    if os.geteuid() != 0 or user == "root":
        return check()
    account = find_account(user)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            account.become()
            with os.fdopen(writer, "wb") as stream:
                stream.write("\0".join(check()).encode("utf-8", "surrogateescape"))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode("utf-8", "surrogateescape")
    status = os.waitpid(child, 0)[1]
    if status != 0:
        raise OSError("checking file access as {0} failed with status {1}".format(user, status))
    return [path for path in answer.split("\0") if path]
