# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NodeFacts of a running, a stopped and a hanging node, and what is found in its directories."""

import contextlib
import json
import socket
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import facts, listener_check
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.plugins.module_utils.installation import VERSIONED_BIN_FILES, Installation
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, PID, USER, FakeNode

OLD, NEW = "4.4.18", "4.4.19"
# docs/architecture.md, NodeFacts.
KEYS = {
    "state", "executable", "root_dir", "data_dir", "runner_user", "node", "pid", "uptime_seconds", "supervisor",
    "running", "permanent", "releases", "boot", "edition", "otp", "erts", "os", "arch", "host", "connections",
    "connection_counts", "sessions", "subscriptions", "cluster", "plugins", "modules", "alarms", "listeners",
    "old_code", "patches", "packages", "staged_packages", "leftovers", "free_bytes", "unwritable", "clock",
    "clock_offset", "operation", "run", "listener_answers", "settings", "package_manager", "container",
}  # fmt: skip


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    made = FakeNode(tmp_path / "emqx", OLD)
    made.use_own_tmp(monkeypatch)
    return made


def collect(node: FakeNode, check_version: Optional[str] = None, verification: bool = False) -> Dict[str, Any]:
    """The facts, with what holds in every state."""
    state_dir = StateDir(node.installation.state_dir, USER)
    calls = len(node.calls)
    found, _unused = facts.collect(node.installation, node.command, state_dir, check_version, verification=verification)
    assert set(found) >= KEYS
    assert len(node.calls) == calls + 1, "one command"
    assert node.changes() == []
    assert COOKIE not in repr(found)
    json.dumps(found)
    return found


def test_running_node(node: FakeNode) -> None:
    node.add_release(NEW, "unpacked")
    found = collect(node)
    assert (found["state"], found["running"], found["permanent"]) == ("running", OLD, OLD)
    assert (found["pid"], found["node"], found["connections"]) == (PID, "emqx@127.0.0.1", 20)
    assert (found["edition"], found["otp"], found["erts"]) == ("ce", "25", "13.1.5")
    assert (found["os"], found["arch"]) == ("debian12", "amd64")
    assert found["releases"] == [{"version": OLD, "status": "permanent"}, {"version": NEW, "status": "unpacked"}]
    assert found["boot"] == {"version": OLD, "erts": "13.1.5", "consistent": True, "problems": []}
    assert (found["root_dir"], found["data_dir"]) == (str(node.root), str(node.path("data")))
    assert (found["runner_user"], found["operation"], found["run"], found["journal"]) == (USER, None, None, [])
    assert set(found["free_bytes"]) == {str(node.root), str(node.path("tmp"))}
    assert (found["package_manager"], found["container"]) == (None, None)
    assert found["dry_check"] is None
    assert collect(node, NEW)["dry_check"] == {"version": NEW, "passed": True, "message": ""}


def test_what_only_a_verification_compares(node: FakeNode) -> None:
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        node.extra["facts"] = {"listeners": [(Atom("mqtt:tcp:external"), ("127.0.0.1", closed.getsockname()[1]))]}
        found = collect(node, verification=True)
    (listener,) = found["listeners"]
    (row,) = found["listener_answers"]
    assert row == dict(listener, tls=False, answers=False, reason=row["reason"])
    assert found["settings"] == {"emqx": {"zones": 17, "acl_file": 18}, "sasl": {}}
    found = collect(node)
    assert (found["listener_answers"], found["settings"]) == (None, None)
    node.stop()
    found = collect(node, verification=True)
    assert (found["listener_answers"], found["settings"]) == (None, None)


def test_a_plan_knocks_at_no_door(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: List[Any] = []

    def begin(listeners: Any) -> Callable[[], List[Any]]:
        tries.append(listeners)
        return lambda: ["told at the end"]

    monkeypatch.setattr(listener_check, "begin", begin)
    collect(node)
    assert tries == []
    assert collect(node, verification=True)["listener_answers"] == ["told at the end"]
    assert tries == [[{"protocol": "mqtt:tcp", "listen_on": "1883"}]]


def set_built_on(node: FakeNode, text: Optional[str]) -> None:
    path = node.path("releases", OLD, "BUILT_ON")
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("24.1.5-3-x86_64-pc-linux-gnu-64-debian11\n", ("debian11", "amd64")),
        # 4.3.0 to 4.3.8.
        ("23.2.7.2-emqx-2-aarch64-unknown-linux-gnu-64\n", (None, "arm64")),
        # 4.2, and maybe Enterprise.
        (None, (None, None)),
        ("25.2.3\n", (None, None)),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_what_the_release_was_built_for(
    node: FakeNode, text: Optional[str], words: Tuple[Optional[str], Optional[str]], running: bool
) -> None:
    set_built_on(node, text)
    if not running:
        node.stop()
    found = collect(node)
    assert (found["os"], found["arch"]) == words


@pytest.mark.parametrize("running", [True, False])
def test_enterprise_4_2_that_describes_itself_as_broker(node: FakeNode, running: bool) -> None:
    path = node.path("releases/emqx_vars")
    path.write_text(path.read_text().replace("EMQX_DESCRIPTION='EMQX Broker'", 'EMQX_DISCR="EMQ X Broker"'))
    node.extra["facts"] = {"sysdescr": "EMQ X Broker"}
    if not running:
        node.stop()
    assert collect(node)["edition"] == "ce"
    node.extra["facts"]["licensed"] = Atom("true")
    node.path("lib/emqx_license-4.2.3").mkdir()
    assert collect(node)["edition"] == "ee"


def test_edge_4_2_that_the_node_describes_as_broker(node: FakeNode) -> None:
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write("EMQX_DESCRIPTION=\nEMQX_DISCR='EMQ X Edge'\n")
    assert collect(node)["edition"] == "edge"


def test_node_whose_root_is_worked_out_by_a_command(node: FakeNode) -> None:
    """Zips of 4.2, 4.3.0 to 4.3.14 and 4.4.0 to 4.4.3: state, patches and settings are those of the installation."""
    path = node.path("releases/emqx_vars")
    root = '"$(cd $(dirname $(readlink $0 || echo $0))/..; pwd -P)"'
    path.write_text(path.read_text().replace("RUNNER_BIN_DIR=", "RUNNER_ROOT_DIR={0}\nRUNNER_BIN_DIR=".format(root), 1))
    node.path("data/patches/emqx_a.beam").write_bytes(b"beam")
    found = collect(node)
    assert found["data_dir"] == str(node.path("data"))
    assert node.installation.state_dir == str(node.path("data/fleet"))
    assert [row["path"] for row in found["patches"]] == [str(node.path("data/patches/emqx_a.beam"))]
    assert COOKIE in node.command.secrets


def test_copies_of_a_release_of_enterprise_4_2_are_leftovers(node: FakeNode) -> None:
    node.path("bin/emqx_ctl-e4.2.3").write_bytes(b"12")
    (row,) = collect(node)["leftovers"]
    assert (row["kind"], row["path"]) == ("binary", str(node.path("bin/emqx_ctl-e4.2.3")))


def test_stopped_node_tells_what_the_files_say(node: FakeNode) -> None:
    node.add_release(NEW, "current")
    node.stop()
    found = collect(node)
    assert (found["state"], found["running"], found["permanent"], found["pid"]) == ("stopped", None, OLD, None)
    # RELEASES never says current.
    assert found["releases"] == [{"version": OLD, "status": "permanent"}, {"version": NEW, "status": "unpacked"}]
    assert (found["boot"]["version"], found["erts"], found["edition"]) == (OLD, "13.1.5", "ce")
    assert (found["os"], found["arch"]) == ("debian12", "amd64")
    assert found["cluster"] == {"running": [], "stopped": [], "members": []}


def test_node_that_hangs_is_unreachable(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Installation, "broker_pid", lambda self: 1)
    node.state = "hung"
    found = collect(node)
    assert (found["state"], found["pid"], found["running"]) == ("unreachable", 1, None)


def test_stopped_node_without_a_release_table(node: FakeNode) -> None:
    node.stop()
    for torn in ("", "[{release", "nonsense.", "[].", "[{release,1}].", "[[]]."):
        node.path("releases/RELEASES").write_text(torn)
        found = collect(node)
        assert (found["permanent"], found["releases"]) == (OLD, [])


def test_stopped_node_with_no_file_at_all(node: FakeNode) -> None:
    node.stop()
    for name in ("RELEASES", "start_erl.data", "emqx_vars"):
        node.path("releases", name).unlink()
    found = collect(node)
    assert (found["permanent"], found["boot"]["version"]) == (None, None)
    assert found["boot"]["problems"][0]["code"] == "nothing_to_boot"


def test_patches(node: FakeNode) -> None:
    for name in ("emqx_a", "emqx_b", "emqx_c"):
        node.path("data/patches", name + ".beam").write_bytes(b"beam")
    node.path("data/patches/readme.txt").write_text("no patch")
    node.patches_in_force = {"emqx_a": True, "emqx_b": False}
    found = collect(node)
    assert [(row["module"], row["stale"]) for row in found["patches"]] == [
        ("emqx_a", False),
        ("emqx_b", True),
        ("emqx_c", None),
    ]
    assert [(p["code"], p["path"]) for p in found["boot"]["problems"]] == [
        ("stale_patch", str(node.path("data/patches/emqx_b.beam")))
    ]
    node.stop()
    assert {row["stale"] for row in collect(node)["patches"]} == {None}


def test_packages_and_leftovers(node: FakeNode) -> None:
    package = node.add_package(NEW, [OLD])
    node.path("tmp/emqx_untar_1/lib").mkdir(parents=True)
    node.path("tmp/emqx_untar_1/lib/x").write_bytes(b"12345")
    node.path("tmp/emqx_untar_1/y").write_bytes(b"123")
    node.path("tmp/other").mkdir()
    node.path("data/fleet/packages").mkdir(parents=True)
    staged = node.path("data/fleet/packages/emqx-4.4.19.zip")
    staged.write_bytes(b"123456")
    node.path("data/fleet/packages/emqx-4.4.18.zip.part").write_bytes(b"1")
    node.path("releases/emqx-4.4.17.tar.gz").write_bytes(b"1234")
    for name in VERSIONED_BIN_FILES:
        node.path("bin", name + "-4.4.17").write_bytes(b"12")
    node.path("bin/curl-7.1.2").write_bytes(b"not ours")
    found = collect(node)
    assert found["packages"] == [{"name": package.name, "path": str(package), "size": package.stat().st_size}]
    assert found["staged_packages"] == [{"name": "emqx-4.4.19.zip", "path": str(staged), "size": 6}]
    by_kind: Dict[str, Any] = {}
    for row in found["leftovers"]:
        by_kind.setdefault(row["kind"], []).append((row["path"], row["size"]))
    assert by_kind["untar"] == [(str(node.path("tmp/emqx_untar_1")), 8)]
    assert by_kind["tarball"] == [(str(node.path("releases/emqx-4.4.17.tar.gz")), 4)]
    assert sorted(by_kind["binary"]) == sorted((str(node.path("bin", n + "-4.4.17")), 2) for n in VERSIONED_BIN_FILES)


def test_link_in_a_leftover_is_not_followed(node: FakeNode) -> None:
    node.path("tmp/emqx_untar_1").mkdir()
    node.path("tmp/emqx_untar_1/loop").symlink_to(node.path("tmp"))
    (row,) = collect(node)["leftovers"]
    assert row["size"] < 4096


def test_operation_run_and_journal_are_told(node: FakeNode) -> None:
    state_dir = StateDir(node.installation.state_dir, USER)
    state_dir.contend({"id": "run-1", "who": "ann"})
    with state_dir.locked("permanent 4.4.19", 0):
        state_dir.record({"what": "permanent 4.4.19"})
        found = collect(node)
    assert found["operation"]["what"] == "permanent 4.4.19"
    assert found["run"]["id"] == "run-1"
    assert [entry["what"] for entry in found["journal"]] == ["permanent 4.4.19"]


def test_what_an_upgrade_needs_to_write(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [path[len(str(node.root)) + 1 :] for path in facts.needed_paths(node.installation)]
    assert {
        "releases",
        "lib",
        "bin",
        "tmp",
        "releases/RELEASES",
        "releases/start_erl.data",
        "releases/emqx_vars",
    } <= set(needed)
    assert {"bin/" + name for name in VERSIONED_BIN_FILES} <= set(needed)
    monkeypatch.setattr(facts, "unwritable_for", lambda user, paths: [user, paths[0]])
    assert collect(node)["unwritable"] == [USER, str(node.path("releases"))]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian12"),
        ("ID=ubuntu\nVERSION_ID='22.04'\n", "ubuntu22.04"),
        ('ID="rhel"\nVERSION_ID="8.9"\n', "el8"),
        ('ID="rocky"\nVERSION_ID="9.3"\n', "el9"),
        ('ID="centos"\nVERSION_ID="7"\n', "el7"),
        ('ID="amzn"\nVERSION_ID="2"\n', "amzn2"),
        ("ID=raspbian\nVERSION_ID=10\n", "raspbian10"),
        ('ID="opensuse-leap"\nVERSION_ID="15.5"\n', "opensuse"),
        ('ID="opensuse-tumbleweed"\nVERSION_ID="20240101"\n', "opensuse"),
        ('ID="sles"\nVERSION_ID="15.5"\n', "sles15"),
        ("ID=fedora\nVERSION_ID=35\n", "fedora35"),
        ("ID=alpine\nVERSION_ID=3.15.1\n", "alpine3.15"),
        ('ID="almalinux"\nVERSION_ID="9.3"\n', "el9"),
        ('ID="ol"\nVERSION_ID="7.9"\n', "el7"),
        ('ID="amzn"\nVERSION_ID="2023"\n', "amzn2023"),
        ("ID=debian\n", "debian"),
        ('ID=arch\nVERSION_ID=""\n', "arch"),
        ("ID=nixos\nVERSION_ID=22.11\n", "nixos22.11"),
        ("garbage\n", None),
        (None, None),
    ],
)
def test_words_of_the_host(monkeypatch: pytest.MonkeyPatch, text: Optional[str], word: Optional[str]) -> None:
    monkeypatch.setattr(facts, "read_text", lambda path: text)
    assert facts.host()["os"] == word
    assert facts.host()["system"] == "Linux"
