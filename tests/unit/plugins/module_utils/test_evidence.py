# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a failure left: crash dumps since a moment, and a note in the journal; neither shows a secret."""

import os
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import evidence
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, USER, FakeNode


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "emqx", "4.4.18")


def test_crash_dumps_since_a_moment(node: FakeNode) -> None:
    for name, moment, text in (
        ("log/crash.dump", 1000, "=erl_crash_dump:0.5\nSlogan: eheap_alloc: Cannot allocate\n"),
        ("log/erl_crash.dump", 2000, "Slogan: init terminating in do_boot ({{0}} http://me:s3cret@h)\n"),
        ("erl_crash.dump.old", 3000, "nothing"),
    ):
        node.path(name).write_text(text.replace("{{0}}", COOKIE))
        os.utime(str(node.path(name)), (moment, moment))
    found = evidence.crash_dumps(node.installation, 1500, [COOKIE])
    assert [(os.path.basename(row["path"]), row["slogan"]) for row in found] == [
        ("erl_crash.dump", "init terminating in do_boot ({0} http://{0}@h)".format(MASK)),
        ("erl_crash.dump.old", None),
    ]


def test_a_note_in_the_journal_shows_no_secret(node: FakeNode) -> None:
    state_dir = StateDir(node.installation.state_dir, USER)
    message = "switch: {0} and https://me:s3cret@host/x?token=s3cret failed\nwith a second line".format(COOKIE)
    assert evidence.note(state_dir, message, {"running": "4.4.18"}, [COOKIE])
    (entry,) = state_dir.journal()
    assert entry["message"] == ("switch: {0} and https://{0}@host/x?token={0} failed\nwith a second line".format(MASK))
    assert (entry["what"], entry["running"]) == ("failure", "4.4.18")


def test_a_long_note_is_cut(node: FakeNode) -> None:
    state_dir = StateDir(node.installation.state_dir, USER)
    assert evidence.note(state_dir, "x" * 5000, {})
    assert len(state_dir.journal()[0]["message"]) == evidence.MESSAGE_LENGTH


def test_no_note_while_an_operation_is_at_work(node: FakeNode) -> None:
    state_dir = StateDir(node.installation.state_dir, USER)
    with state_dir.locked("other work", 0):
        assert not evidence.note(state_dir, "x", {})
    assert state_dir.journal() == []
