# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe's expression, evaluated by a real Erlang: with nothing of EMQX there, and with stand-ins for all of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, probe
from ansible_collections.emqx.fleet.plugins.module_utils.clients import COUNTERS, unknown_books
from ansible_collections.emqx.fleet.plugins.module_utils.probe import Probe

pytestmark = pytest.mark.skipif(not shutil.which("erlc"), reason="Erlang is not installed")

# One function each, as EMQX 4.4 has it. release_handler's are sticky in a real node, so its name is given to a process.
STAND_INS = {
    "emqx_sys": """
        -export([sysdescr/0, uptime/0, version/0]).
        sysdescr() -> <<"EMQX Broker">>.
        uptime() -> "1 days, 2 hours, 3 minutes, 4 seconds".
        version() -> "4.4.18".
    """,
    "emqx_stats": """
        -export([getstats/0]).
        getstats() -> [{'connections.count', 20}, {'live_connections.count', 19}, {'sessions.count', 21}].
    """,
    "ekka_mnesia": """
        -export([running_nodes/0, cluster_nodes/1]).
        running_nodes() -> [node()].
        cluster_nodes(stopped) -> ['emqx@10.0.0.9'].
    """,
    "emqx_plugins": """
        -export([list/0]).
        list() -> [{plugin, emqx_retainer, "text", true, feature}, {plugin, emqx_sn, "text", false, feature}].
    """,
    "emqx_modules": """
        -export([list/0]).
        list() -> [{emqx_mod_delayed, false}, {emqx_mod_acl_internal, true}].
    """,
    "emqx_alarm": """
        -export([get_alarms/1]).
        get_alarms(activated) -> [#{name => high_cpu_usage, details => #{}}, #{name => <<"other">>}].
    """,
    "esockd": """
        -export([listeners/0]).
        listeners() -> [{{'mqtt:tcp', {"0.0.0.0", 1883}}, self()}, {{'mqtt:ws', {{127,0,0,1}, 8083}}, self()}].
    """,
    "ranch": """
        -export([info/0]).
        info() -> [{'http:dashboard', [{pid, self()}, {port, 18083}]}].
    """,
    "fleet_release_handler": """
        -export([start/0, loop/1]).
        start() -> register(release_handler, spawn(?MODULE, loop, [0])).
        loop(N) ->
            receive
                {'$gen_call', {Pid, Tag}, which_releases} -> answer(Pid, Tag, rows());
                {'$gen_call', {Pid, Tag}, {which_releases, _}} -> answer(Pid, Tag, rows());
                {'$gen_call', {Pid, Tag}, {check_install_release, "4.4.19", _}} -> answer(Pid, Tag, {ok, "4.4.18", []});
                {'$gen_call', {Pid, Tag}, {check_install_release, _, _}} ->
                    answer(Pid, Tag, {error, {not_a_beam_file, binary:copy(<<7>>, 100000)}})
            end,
            loop(N + 1).
        answer(Pid, Tag, What) -> Pid ! {Tag, What}.
        rows() -> [{"emqx", "4.4.19", ["kernel-8.5.3", "emqx-4.4.19", "emqx_sn-4.3.9"], unpacked},
                   {"emqx", "4.4.17", ["emqx-4.4.17"], old},
                   {"emqx", "4.4.18", ["emqx-4.4.18"], permanent}].
    """,
    "fleet_old": """
        -export([start/0, loop/0]).
        start() -> spawn(?MODULE, loop, []).
        loop() -> receive _ -> ok end.
    """,
    "fleet_patched": "-export([f/0]). f() -> 1.",
    "fleet_same": "-export([f/0]). f() -> 2.",
}

# Two processes stay in fleet_old's old code; the application's version is known.
BEFORE = """
    fleet_release_handler:start(), register(emqx_sup, spawn(timer, sleep, [infinity])),
    application:load({application, emqx, [{vsn, "4.4.18"}]}),
    application:load({application, emqx_license, [{vsn, "4.4.18"}]}),
    fleet_old:start(), fleet_old:start(), timer:sleep(50),
    {module, fleet_old} = code:load_file(fleet_old),
    fleet_patched:f(), fleet_same:f().
"""


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-ins' beams, and in ``patches/`` those of patches."""
    folder = tmp_path_factory.mktemp("beams")
    for name, text in STAND_INS.items():
        (folder / f"{name}.erl").write_text(f"-module({name}).\n{text}\n")
    patches = folder / "patches"
    patches.mkdir()
    (patches / "fleet_patched.erl").write_text("-module(fleet_patched).\n-export([f/0]).\nf() -> changed.\n")
    (patches / "end.erl").write_text("-module('end').\n-export([f/0]).\nf() -> 1.\n")
    subprocess.run(["erlc", "-o", ".", *sorted(path.name for path in folder.glob("*.erl"))], cwd=folder, check=True)
    subprocess.run(["erlc", "-o", ".", "fleet_patched.erl", "end.erl"], cwd=patches, check=True)
    shutil.copy(folder / "fleet_same.beam", patches)
    return folder


def ask(text: str, *arguments: str) -> Probe:
    command = ["erl", "-noinput", "-boot", "no_dot_erlang", *arguments, "-eval", text, "-s", "init", "stop"]
    environment = dict(os.environ, LC_ALL="C", LANG="C")
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert found.stderr == ""
    answer = asking.parse_answer(found.stdout)
    assert answer is not None, found.stdout
    left_out = {"dry_check": "check_install", "settings": "get_all_env", "survivors": "connected_at"}
    assert list(answer) == [name for name, _unused in probe._FACTS if left_out.get(name, "") in text]
    return Probe(answer)


def test_without_emqx_each_fact_that_can_be_known_is() -> None:
    found = ask(probe.expression(["/nowhere/emqx_a.beam"], "4.4.19"))
    assert found.node == "nonode@nohost"
    assert found.pid
    assert found.otp
    assert found.erts
    assert found.releases == []
    assert (found.running, found.permanent, found.sysdescr, found.uptime_seconds) == (None, None, None, None)
    assert found.cluster == {"running": [], "stopped": [], "members": []}
    assert (found.plugins, found.modules, found.alarms, found.listeners, found.old_code) == ([], [], [], [], [])
    assert found.supervisor is None
    assert not found.licensed
    assert found.dry_check("4.4.19") is None
    assert found.patches_in_force == {"emqx_a": False}


def test_every_fact(beams: Path) -> None:
    patches = [str(beams / "patches" / f"{name}.beam") for name in ("end", "fleet_patched", "fleet_same")]
    found = ask(probe.expression(patches, "4.4.19"), "-pa", str(beams), "-eval", BEFORE)
    assert (found.running, found.permanent) == ("4.4.18", "4.4.18")
    assert {row["version"]: row["status"] for row in found.releases} == {
        "4.4.19": "unpacked",
        "4.4.18": "permanent",
        "4.4.17": "old",
    }
    assert (found.sysdescr, found.uptime_seconds) == ("EMQX Broker", 93784)
    assert found.licensed
    assert found.statistic(*COUNTERS) == 19
    assert found.statistic(*probe.SESSIONS) == 21
    assert found.cluster["running"] == ["nonode@nohost"]
    assert found.cluster["stopped"] == ["emqx@10.0.0.9"]
    assert found.cluster["members"] == [
        {
            "node": "nonode@nohost",
            "version": "4.4.18",
            "connections": 19,
            "connection_counts": {"live_connections.count": 19, "connections.count": 20},
            "sessions": 21,
            "client_books": unknown_books("it did not tell its counters"),
        }
    ]
    assert found.plugins == [{"name": "emqx_retainer", "active": True}, {"name": "emqx_sn", "active": False}]
    assert found.modules == [
        {"name": "emqx_mod_acl_internal", "active": True},
        {"name": "emqx_mod_delayed", "active": False},
    ]
    assert re.fullmatch(r"<0\.\d+\.0>", found.supervisor or "")
    assert found.alarms == ["high_cpu_usage", "other"]
    assert found.listeners == [
        {"protocol": "http:dashboard", "listen_on": "18083"},
        {"protocol": "mqtt:tcp", "listen_on": "0.0.0.0:1883"},
        {"protocol": "mqtt:ws", "listen_on": "127.0.0.1:8083"},
    ]
    assert found.old_code == [{"module": "fleet_old", "processes": 2}]
    assert found.dry_check("4.4.19") == {"version": "4.4.19", "passed": True, "message": ""}
    assert found.patches_in_force == {"end": False, "fleet_patched": False, "fleet_same": True}


def test_refused_dry_check_is_told_in_a_few_words(beams: Path) -> None:
    found = ask(probe.expression([], "4.4.17"), "-pa", str(beams), "-eval", BEFORE)
    check = found.dry_check("4.4.17")
    assert check is not None
    assert not check["passed"]
    assert "not_a_beam_file" in check["message"]
    assert len(check["message"]) <= 800
    assert found.running == "4.4.18"


# A node that has a cookie, without epmd, which would outlive the test.
DISTRIBUTED = ["-name", "fleet@127.0.0.1", "-start_epmd", "false", "-erl_epmd_port", "0", "-setcookie"]


def settings(evaluated: str, cookie: str = "secret") -> dict[str, dict[str, int]]:
    found = ask(probe.expression(settings=True), *DISTRIBUTED, cookie, "-eval", evaluated).settings
    assert found is not None
    return found


def test_settings_of_every_running_application_and_no_value_of_them() -> None:
    secret = "application:set_env(stdlib, password, [$h, $u, $n, $t, $e, $r, $2])."
    text = probe.expression(settings=True)
    command = ["erl", "-noinput", "-boot", "no_dot_erlang", "-eval", secret, "-eval", text, "-s", "init", "stop"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    answer = asking.parse_answer(printed)
    assert answer is not None
    found = Probe(answer).settings or {}
    assert set(found) == {"kernel", "stdlib"}
    assert set(found["stdlib"]) == {"password"}
    assert "hunter2" not in printed
    assert ",".join(str(ord(character)) for character in "hunter2") not in printed
    digests = [digest for keys in found.values() for digest in keys.values()]
    assert all(0 <= digest < 2**32 for digest in digests)
    assert len(set(digests)) == len(digests)


def test_a_digest_changes_with_value_name_application_and_cookie_and_with_nothing_else() -> None:
    large = "maps:from_list([{N, N * N} || N <- lists:seq(1, 99)])"
    first = settings(f"application:set_env(stdlib, k, {large}).")["stdlib"]["k"]
    turned = f"maps:merge(#{{99 => 9801}}, {large})"
    assert settings(f"application:set_env(stdlib, k, {turned}).")["stdlib"]["k"] == first
    one = "[application:set_env(A, K, 1) || A <- [kernel, stdlib], K <- [k, l]], application:set_env(stdlib, m, 1.0)."
    found = settings(one)
    digests = {found["kernel"]["k"], found["kernel"]["l"], *found["stdlib"].values()}
    assert len(digests) == 5
    assert settings(one, "other")["stdlib"]["k"] not in {found["stdlib"]["k"], found["kernel"]["k"]}
