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
    decide_edition,
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
        ("export A='b c'", "A", "b c"),
        ("\texport  A=b", "A", "b"),
        ("exported A=b", "A", None),
        ("A=b # comment", "A", "b"),
        ("A='b' # it's", "A", "b"),
        ("A=b#c", "A", "b#c"),
        ('A="b # c"', "A", "b # c"),
        ("A=\"b\"c'd'", "A", "bcd"),
        ('A="it\'s; $RUNNER_ROOT_DIR"', "A", "it's; /opt/emqx"),
        ("A=b; B=c", "A", "b"),
        ("B=c; A=$B", "A", "c"),
        ("A=b B=c", "A", "b"),
        ("A=b command", "A", None),
        (r"A=a\ b", "A", "a b"),
        ('A="torn', "A", '"torn'),
        ("A='torn", "A", "'torn"),
        # What only a shell can tell is not taken literally, nor is what is built on it.
        ('A="$(date)"', "A", None),
        ("A=`date`", "A", None),
        ("A='$(date)'", "A", "$(date)"),
        ('A="${B:-/x}"', "A", None),
        ("A=b\nA=$(date)", "A", None),
        ("A=$(date)\nA=b", "A", "b"),
        ("B=$(date)\nA=$B/x", "A", None),
        ("B=$(date)\nB=b\nA=$B/x", "A", "b/x"),
        ('B=`date`\nexport A="${B}"', "A", None),
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
    ("licensed", "descriptions", "edition"),
    [
        (False, ["EMQX Broker", "EMQX Broker"], "ce"),
        (False, ["EMQX Enterprise"], "ee"),
        # 4.2: what the node says of itself is always this.
        (True, ["EMQ X Broker", "EMQ X Broker"], "ee"),
        (False, ["EMQ X Edge", "EMQ X Broker"], "edge"),
        (False, ["EMQ X Enterprise", "EMQ X Broker"], "ee"),
        (False, ["EMQ X Broker", "EMQ X Enterprise"], "ee"),
        (False, [None, "EMQ X Broker"], "ce"),
        (True, [None, None], "ee"),
        (False, [None, "x"], None),
    ],
)
def test_the_more_special_edition_wins(
    licensed: bool, descriptions: List[Optional[str]], edition: Optional[str]
) -> None:
    assert decide_edition(licensed, *descriptions) == edition


# built_on() and distro() of EMQX's rebar.config.erl and scripts/get-distro.sh, with the builders' images of that time
# (Makefile, .github/workflows); v4.3.0 and v4.3.8 write rebar3's get_arch() alone.
BUILT_ON = [
    ("25.2.3-x86_64-pc-linux-gnu-64-debian12\n", ("25.2.3", "debian12", "amd64")),
    ("24.1.5-3-x86_64-pc-linux-gnu-64-debian11", ("24.1.5-3", "debian11", "amd64")),
    ("24.3.4.2-1-x86_64-pc-linux-gnu-64-ubuntu20.04", ("24.3.4.2-1", "ubuntu20.04", "amd64")),
    ("24.3.4.2-1-aarch64-unknown-linux-gnu-64-el8", ("24.3.4.2-1", "el8", "arm64")),
    ("24.1.5-3-x86_64-redhat-linux-gnu-64-centos7", ("24.1.5-3", "el7", "amd64")),
    ("24.3.4.2-1-x86_64-koji-linux-gnu-64-amzn2", ("24.3.4.2-1", "amzn2", "amd64")),
    ("24.3.4.2-1-x86_64-alpine-linux-musl-64-alpine3.15.1", ("24.3.4.2-1", "alpine3.15", "amd64")),
    ("24.3.4.2-1-x86_64-apple-darwin19.6.0-64-macos10", ("24.3.4.2-1", "macos10", "amd64")),
    ("23.2.7.2-emqx-2-x86_64-pc-linux-gnu-64-ubuntu16.04", ("23.2.7.2-emqx-2", "ubuntu16.04", "amd64")),
    ("23.2.7.2-emqx-2-x86_64-suse-linux-gnu-64-opensuse", ("23.2.7.2-emqx-2", "opensuse", "amd64")),
    ("23.2.7.2-emqx-2-armv7l-unknown-linux-gnueabihf-32-raspbian10", ("23.2.7.2-emqx-2", "raspbian10", "arm")),
    ("23.2-arm-unknown-linux-gnueabihf-32-raspbian9", ("23.2", "raspbian9", "arm")),
    ("23.2-mips64-unknown-linux-gnuabi64-64-debian10", ("23.2", "debian10", "mips64")),
    # 4.3.0 to 4.3.8.
    ("23.2.7.2-emqx-2-x86_64-pc-linux-gnu-64", ("23.2.7.2-emqx-2", None, "amd64")),
    ("23-aarch64-unknown-linux-gnu-64", ("23", None, "arm64")),
    # Builds of other makers.
    ("x86_64-pc-linux-gnu-debian12\n", (None, "debian12", "amd64")),
    ("aarch64-unknown-linux-gnu-ubuntu20.04", (None, "ubuntu20.04", "arm64")),
    ("x86_64-pc-linux-gnu", (None, None, "amd64")),
    ("25.2.3-x86_64-pc-linux-gnu-64-plan9", ("25.2.3", None, "amd64")),
    ("25.2.3-vax-dec-ultrix-32-debian12", ("25.2.3", "debian12", None)),
    ("25.2.3", ("25.2.3", None, None)),
    ("24.1.5-3", ("24.1.5-3", None, None)),
    ("25.2.3-", ("25.2.3", None, None)),
    ("64-64", ("64-64", None, None)),
    ("-", (None, None, None)),
    ("", (None, None, None)),
    (None, (None, None, None)),
    ("nonsense", (None, None, None)),
    ("x" * 100000 + "-64-debian12", (None, None, None)),
]


@pytest.mark.parametrize(("text", "words"), BUILT_ON)
def test_platforms(text: Optional[str], words: Tuple[Optional[str], ...]) -> None:
    found = platform_of(text)
    assert (found.otp, found.os, found.arch) == words


# data/emqx_vars of EMQX, with what the packages fill in (emqx-rel's vars-bin.config and vars-pkg.config,
# rebar.config.erl): zip and deb or rpm of 4.2.14, 4.3.0 and 4.4.0 (which has no LIB_EKKA_DIR), zip of 4.4.18.
_ZIP_ROOT = '"$(cd $(dirname $(readlink $0 || echo $0))/..; pwd -P)"'
_VARS_4_2 = """\
REL_VSN="4.2.14"
ERTS_VSN="10.7.2.1"
ERL_OPTS=""
RUNNER_ROOT_DIR={0}
RUNNER_BIN_DIR="{1}"
RUNNER_LOG_DIR="{2}"
RUNNER_LIB_DIR="$RUNNER_ROOT_DIR/lib"
RUNNER_ETC_DIR="{3}"
RUNNER_DATA_DIR="{4}"
RUNNER_USER="{5}"
EMQX_DISCR="EMQ X Broker"

## computed vars
REL_NAME="emqx"
ERTS_PATH=$RUNNER_ROOT_DIR/erts-$ERTS_VSN/bin

## updated vars here
"""
_VARS_4_3 = _VARS_4_2.replace(
    'EMQX_DISCR="EMQ X Broker"\n',
    'LIB_EKKA_DIR="${{RUNNER_LIB_DIR}}/ekka-$(grep ekka "${{RUNNER_ROOT_DIR}}/releases/RELEASES" | '
    "awk -F '\\\"' '{{print $2}}')\"\n\nEMQX_LICENSE_CONF=''\nexport EMQX_DESCRIPTION='EMQ X Broker'\n",
)
_VARS_4_4 = _VARS_4_3.replace("RUNNER_ROOT_DIR={0}\n", "")
_IN_ZIP = tuple("$RUNNER_ROOT_DIR/" + name for name in ("bin", "log", "etc", "data")) + ("",)
_IN_DEB = ("/usr/bin", "/var/log/emqx", "/etc/emqx", "/var/lib/emqx", "emqx")


@pytest.mark.parametrize("text", [_VARS_4_2, _VARS_4_3, _VARS_4_4])
def test_published_vars_of_a_zip(text: str) -> None:
    found = parse_vars(text.format(_ZIP_ROOT, *_IN_ZIP), "/srv/emqx")
    expected = {
        "REL_VSN": "4.2.14",
        "ERTS_VSN": "10.7.2.1",
        "ERL_OPTS": "",
        "RUNNER_ROOT_DIR": "/srv/emqx",
        "RUNNER_BIN_DIR": "/srv/emqx/bin",
        "RUNNER_LOG_DIR": "/srv/emqx/log",
        "RUNNER_LIB_DIR": "/srv/emqx/lib",
        "RUNNER_ETC_DIR": "/srv/emqx/etc",
        "RUNNER_DATA_DIR": "/srv/emqx/data",
        "RUNNER_USER": "",
        "REL_NAME": "emqx",
        "ERTS_PATH": "/srv/emqx/erts-10.7.2.1/bin",
    }
    described = {"EMQX_DISCR": "EMQ X Broker"}
    if text != _VARS_4_2:
        described = {"EMQX_DESCRIPTION": "EMQ X Broker", "EMQX_LICENSE_CONF": ""}
    assert found == dict(expected, **described)


@pytest.mark.parametrize("text", [_VARS_4_2, _VARS_4_3, _VARS_4_4])
def test_published_vars_of_a_deb(text: str) -> None:
    found = parse_vars(text.format('"/usr/lib/emqx"', *_IN_DEB), "/usr/lib/emqx")
    assert (found["RUNNER_ROOT_DIR"], found["RUNNER_LIB_DIR"]) == ("/usr/lib/emqx", "/usr/lib/emqx/lib")
    names = ("RUNNER_BIN_DIR", "RUNNER_LOG_DIR", "RUNNER_ETC_DIR", "RUNNER_DATA_DIR", "RUNNER_USER")
    assert tuple(found[name] for name in names) == _IN_DEB
    assert "LIB_EKKA_DIR" not in found


@pytest.mark.parametrize("root", [_ZIP_ROOT, "$(cd ..; pwd)", "`cd $(dirname $0)/..; pwd -P`", "'/elsewhere'"])
def test_vars_say_what_a_shell_says(node: FakeNode, root: str) -> None:
    """The zip's lines, read by a real shell that runs bin/emqx of the node."""
    path = node.path("releases/emqx_vars")
    path.write_text(_VARS_4_3.format(root, *_IN_ZIP) + 'RUNNER_DATA_DIR="${RUNNER_ROOT_DIR}/data" # kept\nREL_VSN=1;\n')
    script = node.path("bin/emqx")
    names = ("RUNNER_ROOT_DIR", "RUNNER_DATA_DIR", "RUNNER_ETC_DIR", "ERTS_PATH", "EMQX_DESCRIPTION", "REL_VSN")
    shown = "".join(' "${0}"'.format(name) for name in names)
    script.write_text("#!/bin/sh\n. {0} 2> /dev/null\nprintf '%s\\n'{1}\n".format(path, shown))
    said = subprocess.check_output([str(script)], cwd=str(node.path("bin"))).decode().splitlines()
    assert [node.installation.variables[name] for name in names] == said


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


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('RUNNER_DATA_DIR="data"', "RUNNER_DATA_DIR"),
        ('RUNNER_DATA_DIR="$(somewhere)/data"', "RUNNER_DATA_DIR"),
        ("RUNNER_LOG_DIR=`somewhere`", "RUNNER_LOG_DIR"),
        ("A=$(somewhere)\nRUNNER_ETC_DIR=$A/etc", "RUNNER_ETC_DIR"),
        ('RUNNER_ETC_DIR="./etc"', "RUNNER_ETC_DIR"),
        ('RUNNER_LOG_DIR="/var/log', "RUNNER_LOG_DIR"),
    ],
)
def test_directory_that_cannot_be_told(node: FakeNode, line: str, name: str) -> None:
    """Nothing is read or written at a place that was only guessed; the modules say so before they do anything."""
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(FleetError) as caught:
        module_support.open_node(str(node.path("bin/emqx")), 5.0)
    assert caught.value.failure_class == NOT_STARTED
    assert str(node.path("releases/emqx_vars")) in caught.value.message
    assert line.rpartition("=")[2].strip('"') in caught.value.message
    assert "absolute path" in caught.value.message
    assert name + "=" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("EMQX_DESCRIPTION='EMQX Broker'\n", "EMQX Broker"),
        ("export EMQX_DESCRIPTION='EMQ X Enterprise'\n", "EMQ X Enterprise"),
        ('EMQX_DISCR="EMQ X Broker"\n', "EMQ X Broker"),
        ("", None),
    ],
)
def test_description(node: FakeNode, text: str, description: Optional[str]) -> None:
    node.path("releases/emqx_vars").write_text(text)
    assert node.installation.description == description


def test_license(node: FakeNode) -> None:
    found = [node.installation.licensed]
    node.path("lib/emqx_license-4.2.3").mkdir()
    assert [*found, node.installation.licensed] == [False, True]


@pytest.mark.parametrize("relative", [False, True])
def test_chain_of_links_is_followed(node: FakeNode, tmp_path: Path, relative: bool) -> None:
    """A deb has /usr/bin/emqx as a link; update-alternatives makes a chain of them."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "alternatives").mkdir()
    root = Path("..") if relative else tmp_path
    (tmp_path / "alternatives/emqx").symlink_to(root / "emqx/bin/emqx")
    (tmp_path / "usr/bin/emqx").symlink_to((root / ".." if relative else root) / "alternatives/emqx")
    found = Installation(str(tmp_path / "usr/bin/emqx"))
    assert (found.executable, found.root_dir) == (str(node.path("bin/emqx")), str(node.root))


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
    first = FakeNode(tmp_path / "first", "4.4.19").path("bin")
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


def test_wrapper_script_is_passed_over(node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/usr/bin/emqx that is a script of its own has no releases beside it."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    wrapper = tmp_path / "usr/bin/emqx"
    wrapper.write_text('#!/bin/sh\nexec {0} "$@"\n'.format(node.path("bin/emqx")))
    wrapper.chmod(0o755)
    monkeypatch.setattr(installation, "SEARCH_DIRECTORIES", (str(node.path("bin")),))
    monkeypatch.setenv("PATH", str(wrapper.parent))
    assert find_executable(None) == str(node.path("bin/emqx"))
    # One that was asked for by name, and one that is all there is, are told to be no installation.
    assert find_executable(str(wrapper)) == str(wrapper)
    monkeypatch.setattr(installation, "SEARCH_DIRECTORIES", ())
    for wanted in (None, str(wrapper)):
        with pytest.raises(FleetError, match="does not belong to an EMQX installation") as caught:
            module_support.open_node(wanted, 5.0)
        assert "executable" in caught.value.hint


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
    ("path", "erts"),
    [
        ("/opt/emqx/erts-13.1.5.1/bin/beam.smp", "13.1.5.1"),
        ("/usr/lib/emqx/erts-12.3.2.2/bin/beam.smp (deleted)", "12.3.2.2"),
        ("/usr/bin/python3", None),
        (None, None),
    ],
)
def test_the_runtime_of_a_process(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, path: Optional[str], erts: Optional[str]
) -> None:
    def readlink(link: str) -> str:
        assert link == "/proc/77/exe"
        if path is None:
            raise PermissionError(13, "Permission denied")
        return path

    monkeypatch.setattr(os, "readlink", readlink)
    assert node.installation.runtime_of(77) == erts


@pytest.mark.parametrize(("comm", "found"), [("beam.smp\n", True), ("python3\n", False)])
def test_a_broker_that_calls_itself_by_the_name_of_its_node(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, comm: str, found: bool
) -> None:
    """As those of EMQX 4.3 and 4.4 do, seen on a real node."""
    text = "import os, sys; print(1, flush=True); sys.stdin.read()"
    argv = ["emqx511", "-c", text, "--", "-boot", str(node.path("releases/4.4.18/start"))]
    with subprocess.Popen(argv, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(installation, "_comm", lambda pid: comm.strip() if pid == str(process.pid) else "")
        assert node.installation.broker_pid() == (process.pid if found else None)
        process.kill()


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
