# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of upgrade script, by the expressions that tell them apart in what EMQX published."""

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.upgrade_script import UpgradeScript, parse

ASKS = 'Exists = filelib:{0}(filename:join(["releases", Version, "start.boot"])),\n'
COPIES = 'file:copy(filename:join(["releases", Vsn, "no_dot_erlang.boot"]), To).\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 4.2.x, 4.3.0 to 4.3.12, 4.4.0 and 4.4.1: neither.
        ("unpack(Version) -> proplists:get_value(Version, Releases).\n", UpgradeScript(False, False)),
        # 4.3.13 to 4.3.17, 4.4.2 to 4.4.6.
        (ASKS.format("is_dir"), UpgradeScript(True, False)),
        # 4.3.18 to 4.3.22, 4.4.7 to 4.4.14.
        (ASKS.format("is_dir") + COPIES, UpgradeScript(True, True)),
        # 4.4.15 and later.
        (ASKS.format("is_regular") + COPIES, UpgradeScript(False, True)),
        ("", UpgradeScript(False, False)),
        # Other folders are looked for as well, and the right way may stand beside the wrong one in a remark.
        ('true = filelib:is_dir("releases"),\n' + ASKS.format("is_regular"), UpgradeScript(False, False)),
        ("%% was: " + ASKS.format("is_dir") + ASKS.format("is_regular"), UpgradeScript(False, False)),
        ('X = filelib:is_dir(\n  filename:join(["releases",\n Version, "start.boot"])),\n', UpgradeScript(True, False)),
    ],
)
def test_the_text_tells(text: str, expected: UpgradeScript) -> None:
    assert parse(text) == expected
