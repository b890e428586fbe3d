# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NodeFacts of a running, a stopped and a hanging node, and what is found in its directories."""

import json
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import facts
from ansible_collections.emqx.fleet.plugins.module_utils.installation import VERSIONED_BIN_FILES, Installation
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, PID, USER, FakeNode

OLD, NEW = "4.4.18", "4.4.19"
# docs/architecture.md, NodeFacts.
KEYS = {
    "state", "executable", "root_dir", "data_dir", "runner_user", "node", "pid", "uptime_seconds", "supervisor",
    "running", "permanent", "releases", "boot", "edition", "otp", "erts", "os", "arch", "host", "connections",
    "connection_counts", "sessions", "subscriptions", "cluster", "plugins", "modules", "alarms", "listeners",
    "old_code", "patches", "packages", "leftovers", "free_bytes", "unwritable", "clock", "clock_offset",
    "operation", "run", "package_manager", "container",
}  # fmt: skip


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    made = FakeNode(tmp_path / "emqx", OLD)
    monkeypatch.setattr(facts, "UNTAR_GLOB", str(made.path("tmp/emqx_untar_*")))
    monkeypatch.setattr(facts, "UNPACK_DIR", str(made.path("tmp")))
    return made


def collect(node: FakeNode, check_version: Optional[str] = None) -> Dict[str, Any]:
    """The facts, with what holds in every state."""
    state_dir = StateDir(node.installation.state_dir, USER)
    calls = len(node.calls)
    found, _unused = facts.collect(node.installation, node.command, state_dir, check_version)
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
    node.path("releases/emqx-4.4.17.tar.gz").write_bytes(b"1234")
    for name in VERSIONED_BIN_FILES:
        node.path("bin", name + "-4.4.17").write_bytes(b"12")
    node.path("bin/curl-7.1.2").write_bytes(b"not ours")
    found = collect(node)
    assert found["packages"] == [{"name": package.name, "path": str(package), "size": package.stat().st_size}]
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
    state_dir.reserve({"id": "run-1", "who": "ann"}, 100)
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
        ("garbage\n", None),
        (None, None),
    ],
)
def test_words_of_the_host(monkeypatch: pytest.MonkeyPatch, text: Optional[str], word: Optional[str]) -> None:
    monkeypatch.setattr(facts, "read_text", lambda path: text)
    assert facts.host()["os"] == word
    assert facts.host()["system"] == "Linux"
