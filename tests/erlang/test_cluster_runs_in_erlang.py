# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The question for the members' reservations, evaluated by a real Erlang with a stand-in for the cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, cluster_runs
from ansible_collections.emqx.fleet.plugins.module_utils.cluster_runs import Reading

pytestmark = pytest.mark.skipif(not shutil.which("erlc"), reason="Erlang is not installed")

MEMBERS = "-module(ekka_mnesia).\n-export([running_nodes/0]).\nrunning_nodes() -> [node(), 'emqx@127.0.0.9'].\n"
#: As a real node has it, and as one that keeps no tables.
WHERE = {
    "mnesia": 'application:load({{application, mnesia, []}}), application:set_env(mnesia, dir, "{0}/mnesia/n@h")',
    "emqx": 'application:load({{application, emqx, []}}), application:set_env(emqx, data_dir, "{0}")',
}


def ask(folder: Path, before: str) -> Reading | None:
    (folder / "ekka_mnesia.erl").write_text(MEMBERS)
    subprocess.run(["erlc", "ekka_mnesia.erl"], cwd=folder, check=True)
    command = ["erl", "-noinput", "-boot", "no_dot_erlang", "-pa", str(folder), "-eval"]
    command += [f"{before}, {cluster_runs.question()}", "-s", "init", "stop"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert found.stderr == ""
    answer = asking.parse_answer(found.stdout)
    assert answer is not None, found.stdout
    return cluster_runs.parse(answer)


@pytest.mark.parametrize("where", WHERE)
def test_what_is_in_the_data_directory_is_told(tmp_path: Path, where: str) -> None:
    run = {"id": "r-1", "lease_until": 1764238500.125, "took_over": [], "who": "\u00fcx \\ $HOME"}
    data = tmp_path / "d\u00e4ta"
    (data / "fleet").mkdir(parents=True)
    (data / "fleet/run.json").write_text(json.dumps(run))
    reading = ask(tmp_path, WHERE[where].format(data))
    assert reading is not None
    assert reading.node == "nonode@nohost"
    (own,) = reading.members
    assert own.reservation == run
    assert abs(own.clock - time.time()) < 60
    assert reading.unread == [{"node": "emqx@127.0.0.9", "reason": "it has no connection to this node"}]


@pytest.mark.parametrize("where", WHERE)
def test_a_directory_without_one(tmp_path: Path, where: str) -> None:
    reading = ask(tmp_path, WHERE[where].format(tmp_path / "nowhere"))
    assert reading is not None
    assert [member.reservation for member in reading.members] == [None]


def test_what_is_no_file_or_no_reservation_of_ours(tmp_path: Path) -> None:
    (tmp_path / "fleet/run.json").mkdir(parents=True)
    reading = ask(tmp_path, WHERE["emqx"].format(tmp_path))
    assert reading is not None
    assert reading.unread[0] == {"node": "nonode@nohost", "reason": "{error,eisdir}"}
    (tmp_path / "fleet/run.json").rmdir()
    (tmp_path / "fleet/run.json").write_text("x" * 70000)
    reading = ask(tmp_path, WHERE["emqx"].format(tmp_path))
    assert reading is not None
    assert reading.unread[0]["reason"].startswith("{ok,<<")
    assert len(reading.unread[0]["reason"]) < 301


def test_a_member_that_does_not_say_where_its_data_is(tmp_path: Path) -> None:
    reading = ask(tmp_path, "ok")
    assert reading is not None
    assert reading.unread[0] == {"node": "nonode@nohost", "reason": "undefined"}
