# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The broker's user by name and by number."""

import os
import pwd

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.access import unwritable_for
from ansible_collections.emqx.fleet.plugins.module_utils.accounts import Account, find_account
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError


def test_by_name() -> None:
    me = pwd.getpwuid(os.geteuid())
    assert find_account(me.pw_name) == Account(me.pw_name, me.pw_uid, me.pw_gid, me.pw_dir)


def test_a_number_without_a_name() -> None:
    assert find_account("4000123") == Account("4000123", 4000123, 4000123, "/")


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(FleetError, match="user nobody-of-that-name is not known") as caught:
        find_account("nobody-of-that-name")
    assert "RUNNER_USER" in caught.value.hint


def test_what_a_user_without_a_name_may_write(tmp_path: "os.PathLike[str]") -> None:
    tmp = os.fspath(tmp_path)
    os.chmod(tmp, 0o755)
    # Whoever is not root cannot become another user, and is asked itself.
    assert unwritable_for("4000123", [tmp]) == ([tmp] if os.geteuid() == 0 else [])
