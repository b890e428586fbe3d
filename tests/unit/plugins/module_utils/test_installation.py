# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an installation is and what its files say; what another user may do with them; what the log says."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import access, installation, module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    Installation,
    edition_of,
    find_executable,
    parse_vars,
    platform_of,
)
from ansible_collections.emqx.fleet.plugins.module_utils.node_log import LogMark
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, USER, FakeNode


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "emqx", "4.4.18")


# emqx_vars


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('REL_VSN="4.4.18"\nREL_VSN="4.4.19"\n', "REL_VSN", "4.4.19"),
        ("REL_VSN=4.4.18\n", "REL_VSN", "4.4.18"),
        ("REL_VSN='4.4.18'", "REL_VSN", "4.4.18"),
        ('  REL_VSN="4.4.18"  \n', "REL_VSN", "4.4.18"),
        ('# REL_VSN="4.4.19"\n', "REL_VSN", None),
        ('A="$RUNNER_ROOT_DIR/bin"', "A", "/opt/emqx/bin"),
        ('A="${RUNNER_ROOT_DIR}/bin"', "A", "/opt/emqx/bin"),
        ("A='$RUNNER_ROOT_DIR/bin'", "A", "$RUNNER_ROOT_DIR/bin"),
        ('A="$UNKNOWN/bin"', "A", "/bin"),
        ('B=/x\nA="$B/y"\nB=/z', "A", "/x/y"),
        ("A=", "A", ""),
        ('A=""', "A", ""),
        ('A="a=b"', "A", "a=b"),
        ("not an assignment\nif x; then\n", "A", None),
    ],
)
def test_vars_are_read_as_a_shell_does(text: str, name: str, value: Optional[str]) -> None:
    assert parse_vars(text, "/opt/emqx").get(name) == value


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        ("EMQX Broker", "ce"),
        ("EMQ X Broker", "ce"),
        ("EMQX Enterprise", "ee"),
        ("EMQ X Edge", "edge"),
        ("", None),
        (None, None),
    ],
)
def test_editions(text: Optional[str], edition: Optional[str]) -> None:
    assert edition_of(text) == edition


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x86_64-pc-linux-gnu-debian12\n", ("debian12", "amd64")),
        ("aarch64-unknown-linux-gnu-ubuntu20.04", ("ubuntu20.04", "arm64")),
        ("", (None, None)),
        (None, (None, None)),
        ("nonsense", (None, None)),
    ],
)
def test_platforms(text: Optional[str], words: Tuple[Optional[str], Optional[str]]) -> None:
    assert platform_of(text) == words


# Directories


def test_directories_follow_the_vars(node: FakeNode) -> None:
    found = node.installation
    assert found.data_dir == str(node.path("data"))
    assert found.state_dir == str(node.path("data/fleet"))
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write('RUNNER_DATA_DIR="/var/lib/emqx"\nRUNNER_LOG_DIR=/var/log/emqx\nRUNNER_ETC_DIR=/etc/emqx\n')
    assert (found.data_dir, found.log_dir, found.etc_dir) == ("/var/lib/emqx", "/var/log/emqx", "/etc/emqx")
    node.path("releases/emqx_vars").unlink()
    assert (found.data_dir, found.log_dir) == (str(node.path("data")), str(node.path("log")))


def test_link_to_the_command_is_followed(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(node.path("bin/emqx"))
    assert Installation(str(tmp_path / "link")).root_dir == str(node.root)


def test_command_that_belongs_to_no_installation(tmp_path: Path) -> None:
    (tmp_path / "emqx").write_text("")
    with pytest.raises(FleetError) as caught:
        Installation(str(tmp_path / "emqx"))
    assert caught.value.failure_class == NOT_STARTED
    assert "executable" in caught.value.hint


def test_executable_is_looked_for(node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "SEARCH_DIRECTORIES", (str(node.path("bin")),))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_executable(None) == str(node.path("bin/emqx"))
    first = tmp_path / "emqx-first"
    first.mkdir()
    (first / "emqx").write_text("")
    (first / "emqx").chmod(0o755)
    monkeypatch.setenv("PATH", ":{0}:".format(first))
    assert find_executable(None) == str(first / "emqx")
    assert find_executable(str(node.path("bin/emqx"))) == str(node.path("bin/emqx"))
    (first / "emqx").chmod(0o644)
    assert find_executable(None) == str(node.path("bin/emqx"))
    for wanted in ("/nowhere/emqx", str(tmp_path), str(first / "emqx")):
        with pytest.raises(FleetError, match="no executable emqx command at"):
            find_executable(wanted)
    monkeypatch.setattr(installation, "SEARCH_DIRECTORIES", ())
    with pytest.raises(FleetError, match="No emqx command was found"):
        find_executable(None)


# The release table on disk


def test_erts_is_found_in_the_table_and_else_in_start_erl(node: FakeNode) -> None:
    assert node.installation.erts_of("4.4.18") == "13.1.5"
    assert node.installation.erts_of("4.4.19") is None
    node.path("releases/RELEASES").unlink()
    node.path("releases/start_erl.data").write_text("12.3 4.4.18\n")
    assert node.installation.erts_of("4.4.18") == "12.3"
    assert node.installation.erts_of("4.4.19") is None


# Whose it is


def test_runner_user(node: FakeNode) -> None:
    assert node.installation.runner_user(None) == USER
    assert node.installation.runner_user(os.getpid()) == USER
    assert node.installation.runner_user(2**22 + 1) == USER
    if os.geteuid() == 0:
        os.chown(str(node.path("releases")), 54321, 0)
        assert node.installation.runner_user(None) == "54321"
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write('RUNNER_USER="emqx"\n')
    assert node.installation.runner_user(os.getpid()) == "emqx"


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["-boot", "{releases}/4.4.18/emqx"], True),
        (["-root", "/x", "-boot", "{releases}/4.4.18/start"], True),
        # What the emqx command itself starts, and other brokers of this machine.
        (["-boot", "{releases}/start_clean"], False),
        (["-boot", "{releases}/4.4.18/start_clean"], False),
        (["-boot", "{releases}-other/4.4.18/emqx"], False),
        (["-boot", "no_dot_erlang"], False),
        ([], False),
    ],
)
def test_broker_process(node: FakeNode, flags: List[str], found: bool) -> None:
    arguments = [flag.format(releases=node.path("releases")) for flag in flags]
    waiting = "['/x/beam.smp', '-c', 'import sys; sys.stdin.read()']"
    text = "import os, sys; os.execv(sys.executable, {0} + sys.argv[1:])".format(waiting)
    # Its name must be that of an Erlang machine from the first moment that its arguments can be seen.
    process = subprocess.Popen([sys.executable, "-c", text] + arguments, stdin=subprocess.PIPE)
    try:
        deadline = time.time() + 10
        while time.time() < deadline:
            with open("/proc/{0}/cmdline".format(process.pid), "rb") as stream:
                if stream.read().startswith(b"/x/beam.smp"):
                    break
            time.sleep(0.005)
        assert node.installation.broker_pid() == (process.pid if found else None)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_open_node(node: FakeNode) -> None:
    opened = module_support.open_node(str(node.path("bin/emqx")), 5.0)
    assert opened.installation.root_dir == str(node.root)
    assert (opened.command.user, opened.command.timeout) == (USER, 5.0)
    assert (opened.state_dir.path, opened.state_dir.owner) == (str(node.path("data/fleet")), USER)


@pytest.mark.parametrize(
    "version", ["v4.4.19", "e4.4.19", "4.4", "abc", "", "4.4.19/../x", "--force", "4.4.19 ", "4.4.19\n"]
)
def test_no_odd_version_reaches_a_command_line(version: str) -> None:
    with pytest.raises(FleetError) as caught:
        module_support.valid_version(version)
    assert caught.value.failure_class == NOT_STARTED


def test_valid_versions() -> None:
    assert module_support.valid_version("4.4.19-rc.1") == "4.4.19-rc.1"
    assert module_support.valid_version(None) is None


def test_error_as_result() -> None:
    error = FleetError("No.", "refused", "Do so.", ["x"], {"msg": "old", "running": "4.4.18"})
    assert error.result() == {
        "msg": "No. Do so.",
        "failure_class": "refused",
        "hint": "Do so.",
        "output": ["x"],
        "running": "4.4.18",
    }
    assert str(error) == error.message == "No."
    assert FleetError("No.").result()["msg"] == "No."


# Access


@pytest.fixture
def open_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="emqx-fleet-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


OTHER = "nobody" if os.geteuid() == 0 else USER


def test_what_a_user_may_read_and_write(open_dir: Path) -> None:
    modes = {"open": 0o666, "read-only": 0o444, "closed": 0o000, "with space": 0o666, "f\udcffremd": 0o666}
    for name, mode in modes.items():
        (open_dir / name).write_text("x")
        (open_dir / name).chmod(mode)
    paths = [str(open_dir / name) for name in modes]
    assert access.unwritable_for(OTHER, paths) == [str(open_dir / "read-only"), str(open_dir / "closed")]
    assert access.unreadable_for(OTHER, paths) == [str(open_dir / "closed")]
    (open_dir / "f\udcffremd").chmod(0o444)
    assert str(open_dir / "f\udcffremd") in access.unwritable_for(OTHER, paths)
    assert access.unwritable_for(OTHER, []) == []
    assert access.unwritable_for(USER, [str(open_dir / "nowhere")]) == [str(open_dir / "nowhere")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_groups_of_the_caller_do_not_count(open_dir: Path) -> None:
    (open_dir / "group").write_text("x")
    (open_dir / "group").chmod(0o660)
    assert access.unwritable_for("nobody", [str(open_dir / "group")]) == [str(open_dir / "group")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_directory_on_the_way_counts(open_dir: Path) -> None:
    (open_dir / "file").write_text("x")
    (open_dir / "file").chmod(0o666)
    open_dir.chmod(0o700)
    assert access.unreadable_for("nobody", [str(open_dir / "file")]) == [str(open_dir / "file")]
    assert access.unreadable_for("root", [str(open_dir / "file")]) == []
    assert os.geteuid() == 0


# The node's log


def test_only_what_came_after_the_mark_and_is_about_the_switch(node: FakeNode) -> None:
    log = node.path("log/emqx.log.1")
    log.write_text("2026 [error] release_handler: old trouble\n")
    mark = LogMark(node.installation, [COOKIE])
    assert mark.errors() == []
    with log.open("a") as stream:
        stream.write("2026 [error] release_handler: crash with {0}\n2026 [info] relup done\n".format(COOKIE))
        stream.write("2026 [error] some client sent rubbish\n")
    node.path("log/erlang.log.1").write_text("=ERROR REPORT==== code_change failed\n")
    node.path("log/other.log").write_text("[error] relup\n")
    assert sorted(mark.errors()) == [
        "2026 [error] release_handler: crash with ********",
        "=ERROR REPORT==== code_change failed",
    ]


def test_log_that_was_rotated_and_log_of_many_lines(node: FakeNode) -> None:
    log = node.path("log/emqx.log.1")
    log.write_text("x" * 1000 + "\n")
    mark = LogMark(node.installation)
    log.write_text("".join("[error] relup {0}\n".format(number) for number in range(50)))
    assert len(mark.errors()) == 20
    assert mark.errors()[-1] == "[error] relup 49"


def test_node_without_logs(node: FakeNode) -> None:
    node.path("log").rmdir()
    assert LogMark(node.installation).errors() == []
