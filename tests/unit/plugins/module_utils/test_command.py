# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the command is run, with a script in its place; and what may be shown of what it said."""

import json
import os
import pwd
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.command import (
    EXIT_CODES,
    OUTPUT_LINES,
    SENTENCE_LENGTH,
    CommandResult,
    EmqxCommand,
    decisive,
    presentable,
    secrets_of,
)
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, REFUSED
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation, settings_of
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures/4.4"


class Recording(NamedTuple):
    """What a real command said."""

    stdout: str
    stderr: str
    rc: int

    @property
    def text(self) -> str:
        return self.stdout + "\n" + self.stderr


def recorded(case: str) -> Recording:
    folder = FIXTURES / case
    return Recording((folder / "stdout").read_text(), (folder / "stderr").read_text(), int((folder / "rc").read_text()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("bin", "releases", "etc"):
        (tmp_path / name).mkdir()
    return tmp_path


def script(root: Path, text: str, user: str = USER, timeout: float = 20, hold: Optional[int] = None) -> EmqxCommand:
    """The ``emqx`` command is this shell script."""
    path = root / "bin/emqx"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return EmqxCommand(Installation(str(path)), user, timeout, hold)


# How it is run


def test_arguments_reach_the_command_as_they_are(root: Path) -> None:
    odd = ["eval", "io:format([126,119]). $(touch /tmp/x) `id` \\ \" ' *", "", "--x=1 2", "zwei\nZeilen"]
    result = script(root, 'printf "%s\\0" "$0" "$@"').read(*odd)
    assert result.stdout.split("\0")[:-1] == [str(root / "bin/emqx")] + odd
    assert result.argv == [str(root / "bin/emqx")] + odd
    assert (result.rc, result.timed_out) == (0, False)


def test_environment_and_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("EMQX_NODE__NAME", "emqx@here")
    monkeypatch.delenv("HOME", raising=False)
    command = script(
        root, 'echo "$LC_ALL|$LANG|$PWD|$EMQX_NODE__NAME|${HOME:+home}"; cat; cut -d" " -f6 /proc/$$/stat; echo $$'
    )
    first, session, pid = command.read("x").stdout.splitlines()
    assert first == "C|C|/|emqx@here|home"
    assert session == pid, "in a session of its own, so that the loss of a connection does not reach it"


def test_settings_of_the_broker_that_stand_in_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the node name that the broker was started with, no command finds it; the caller's own comes first."""
    broker = subprocess.Popen(
        ["/bin/sleep", "60"], env={"EMQX_NODE__NAME": "emqx7@there", "EMQX_NODE__COOKIE": "of-the-broker", "PATH": "/x"}
    )
    try:
        for _turn in range(500):
            found = settings_of(broker.pid)
            # Until it has become another program it is still this one.
            if "EMQX_NODE__NAME" in found:
                break
            time.sleep(0.01)
    finally:
        broker.kill()
        broker.wait()
    assert found == {"EMQX_NODE__NAME": "emqx7@there", "EMQX_NODE__COOKIE": "of-the-broker"}
    assert settings_of(broker.pid) == settings_of(None) == {}
    command = script(root, 'echo "$EMQX_NODE__NAME $EMQX_NODE__COOKIE"')
    command = EmqxCommand(command.installation, USER, 20, settings=found)
    assert command.output(command.read("x")) == ["emqx7@there " + MASK]
    monkeypatch.setenv("EMQX_NODE__NAME", "emqx@here")
    assert command.read("x").stdout == "emqx@here of-the-broker\n"


def test_both_streams_and_code(root: Path) -> None:
    result = script(root, "echo out; echo err >&2; exit 127").change("x")
    assert (result.stdout, result.stderr, result.rc) == ("out\n", "err\n", 127)
    assert result.seconds < 10


def test_much_output_and_bytes_that_are_no_text(root: Path) -> None:
    result = script(root, "head -c 300000 /dev/zero | tr '\\0' x; printf '\\377\\376end'").read("x")
    assert len(result.stdout) == 300005
    assert result.stdout.endswith("\ufffd\ufffdend")


def test_reading_command_is_killed_at_its_time_out_with_its_children(root: Path) -> None:
    command = script(root, "echo begun; sleep 20 & sleep 20", timeout=0.4)
    started = time.time()
    result = command.read("eval", "x.")
    assert time.time() - started < 10
    assert (result.rc, result.timed_out, result.stdout) == (None, True, "begun\n")
    deadline = time.time() + 5
    while alive(result.pid) and time.time() < deadline:
        time.sleep(0.02)
    assert alive(result.pid) == []


def alive(group: int) -> List[int]:
    """Processes of the group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[2] == str(group) and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_changing_command_is_left_to_its_work(root: Path) -> None:
    waits = "echo begun; while ! [ -e {0}/enough ]; do sleep 0.05; done; echo done > {0}/done".format(root)
    command = script(root, waits, timeout=0.5)
    result = command.change("install", "4.4.19")
    assert (result.rc, result.stdout) == (None, "begun\n")
    assert alive(result.pid)
    (root / "enough").touch()
    deadline = time.time() + 10
    while alive(result.pid) and time.time() < deadline:
        time.sleep(0.02)
    assert (root / "done").read_text() == "done\n"


def test_command_killed_by_a_signal(root: Path) -> None:
    result = script(root, "kill -9 $$").change("x")
    assert result.rc == -signal.SIGKILL
    assert result.meaning == "it was killed by signal 9"


def test_something_else_is_done_meanwhile(root: Path) -> None:
    command = script(root, "while ! [ -e {0}/enough ]; do sleep 0.01; done".format(root))
    calls: List[int] = []

    def meanwhile() -> None:
        calls.append(1)
        if len(calls) == 3:
            (root / "enough").touch()

    command.meanwhile = meanwhile
    assert command.change("x").rc == 0
    assert len(calls) >= 3
    command.read("x")
    assert len(calls) < 30, "a reading is short"


def test_descriptor_to_hold_is_inherited_and_no_other(root: Path) -> None:
    held = os.open(str(root / "lock"), os.O_RDWR | os.O_CREAT)
    other = os.open(str(root / "other"), os.O_RDWR | os.O_CREAT)
    os.set_inheritable(other, True)
    try:
        text = "for f in /proc/$$/fd/*; do readlink $f; done"
        assert str(root / "lock") in script(root, text, hold=held).change("x").stdout
        assert str(root / "other") not in script(root, text, hold=held).change("x").stdout
        assert str(root / "lock") not in script(root, text).change("x").stdout
    finally:
        os.close(held)
        os.close(other)


@pytest.fixture
def open_root() -> Iterator[Path]:
    """Directory that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="emqx-fleet-test-") as name:
        os.chmod(name, 0o755)
        for part in ("bin", "releases", "etc"):
            os.mkdir(os.path.join(name, part))
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_leaves_no_files_of_its_own(open_root: Path) -> None:
    account = pwd.getpwnam("nobody")
    text = 'id -u; id -g; echo "$HOME $USER $LOGNAME"'
    result = script(open_root, text, "nobody").change("x")
    assert result.stdout.splitlines() == [
        str(account.pw_uid),
        str(account.pw_gid),
        "{0} nobody nobody".format(account.pw_dir),
    ]
    # With RUNNER_USER the command changes the user itself.
    (open_root / "releases/emqx_vars").write_text('RUNNER_USER="nobody"\n')
    assert script(open_root, "id -u", "nobody").change("x").stdout == "0\n"


# What it means


def test_every_exit_code_of_the_contract_has_a_meaning() -> None:
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 127]
    assert {row[1] for row in EXIT_CODES.values()} == {NOT_STARTED, REFUSED}
    for rc, row in EXIT_CODES.items():
        assert CommandResult([], rc, "", "", 0.0, 1).meaning == row[0]
    assert CommandResult([], 42, "", "", 0.0, 1).meaning == "an exit code that is not documented"
    assert CommandResult([], None, "", "", 0.0, 1).meaning == "it did not end within its time-out"


# What may be shown


def test_recorded_crash_shows_no_cookie() -> None:
    """``emqx versions 4.4.19`` crashes with the cookie in its trace; nobody needs to know it to mask it."""
    crash = recorded("a08c-versions-extra-arg")
    assert "realcookie" in crash.stderr
    shown = presentable(crash.text)
    assert "realcookie" not in "\n".join(shown)
    assert MASK in "\n".join(shown)
    assert any("escript.erl, line 750" in line for line in shown)


@pytest.mark.parametrize(
    "text",
    [
        "{{emqx,\"-name\",'emqx@127.0.0.1',{0}}}",
        '{{emqx,"-sname",emqx@host,{0}}}',
        "{{emqx,\n      \"-name\",\n   'emqx@h',\n      {0}}},",
        '{{emqx,"-name",\'emqx@h\',{0}}},[{{version,"4.4.19"}}]',
        "erl -name emqx@h -setcookie {0} -boot x",
        "erl -setcookie {0}",
        '["-setcookie","{0}","-name"]',
    ],
)
@pytest.mark.parametrize("cookie", ["realcookie", "UP-low_1.2", "'UP low}X'"])
def test_cookie_in_traces_and_command_lines(text: str, cookie: str) -> None:
    # Quotes are Erlang's.
    cookie = cookie if "{emqx" in text.format("x") else cookie.strip("'").replace(" ", "-").replace("}", "-")
    shown = "\n".join(presentable(text.format(cookie)))
    for part in ("realcookie", "UP", "low"):
        assert part not in shown, shown
    assert MASK in shown


def test_recorded_dump_of_a_beam_is_cut() -> None:
    dump = recorded("h04-retry-after-space-freed-left1200k")
    assert (dump.rc, len(dump.stdout.splitlines()) > 40) == (3, True)
    shown = presentable(dump.text)
    assert sum(len(line) for line in shown) < 1200
    assert any("check_install_release failed" in line for line in shown)
    assert any("not_a_beam_file" in line for line in shown)
    assert "<<...>>" in "\n".join(shown)
    assert "31,139,8" not in "\n".join(shown)


def test_recorded_errors_stay_readable() -> None:
    full = recorded("h04-unpack-enospc-left1200k")
    assert presentable(full.text)[2] == "Unpack failed: {{case_clause,{error,enospc}},"
    assert presentable(full.text)[-1] == "* 4.4.18\tpermanent"
    stopped = recorded("b11f-upgrade-stopped")
    assert presentable(stopped.text) == ["Node is not running!", "Node 'emqx@127.0.0.1' not responding to pings."]


def test_only_the_last_lines() -> None:
    shown = presentable("\n\n".join("line {0}  ".format(number) for number in range(100)))
    assert len(shown) == OUTPUT_LINES
    assert (shown[0], shown[-1]) == ("line 60", "line 99")


# Why it failed, in one line

TRANSCRIPTS = Path(__file__).resolve().parents[3] / "contract/transcripts"
HANDLER = "ERROR: release_handler:"
NO_MATCH = "escript: exception error: no match of right hand side value "
#: What recorded commands of EMQX said of their failure.
REASONS = {
    "a08-upgrade-noversion": "Missing version argument",
    "a09-upgrade-nopackage": "Unpack failed: release_package_not_found",
    "a10-upgrade-invalid-abc": 'escript: exception error: {invalid_semver,"abc"}',
    "a11-upgrade-4.3.0": "Cannot upgrade/downgrade to 4.3.0 from 4.4.18",
    "a13e-unpack-nopackage": "Unpack failed: release_package_not_found",
    "b07-uninstall-permanent": "Uninstall failed: Release 4.4.19 is running",
    "b11d-status-stopped": "Node 'emqx@127.0.0.1' not responding to pings",
    "c02b-uninstall-current": "Uninstall failed: Release 4.4.19 is marked current",
    "d08b-upgrade-unpacked-all-gone": "Unpack failed: release_package_not_found",
    "d08d-uninstall": HANDLER + 'remove_release failed: {no_such_file, "/opt/emqx/releases/4.4.19"}',
    "e01-zip-truncated": NO_MATCH + "{error,bad_eocd}",
    "e03-zip-topdir": NO_MATCH + "{error,enoent} (No such file or directory)",
    "e04b-wronginner-4.4.16-holds-4.4.19": 'Unpack failed: {enoent,"/opt/emqx/releases/4.4.16/emqx.rel"} '
    "(No such file or directory)",
    "f01-no-relup": HANDLER + 'install_release failed: {no_matching_relup,"4.4.19", "4.4.18"}',
    "f02-relup-lacks-from": HANDLER + 'check_install_release failed: {no_matching_relup, "4.4.19","4.4.18"}',
    "f05-no-versioned-bin-files-fresh": NO_MATCH + "{error,enoent} (No such file or directory)",
    "f06-zip-bad-crc": NO_MATCH + '{error,{bad_crc,"emqx/lib/xmerl-1.3.30/ebin/xmerl_sax_parser_utf16le.beam"}}',
    "g03-releases-not-writable": NO_MATCH + '{error,{"/opt/emqx/releases/emqx-4.4.19.tar.gz", eacces}} '
    "(Permission denied)",
    "h01-tmp-full-20M": NO_MATCH + "{error,enospc} (No space left on device)",
    "j2-kill-after-made-restart": "escript: Not an archive file",
    "p16-s14-versions": NO_MATCH + "false",
    # A command that was killed says nothing of it.
    "j2-kill-after-made": "",
    "j2-kill-after-unpacked": "",
}  # fmt: skip


def recorded_failures() -> Dict[str, str]:
    """What every recorded command that failed has said, by its case."""
    found = {}
    for path in sorted(TRANSCRIPTS.glob("*.json")):
        for case in json.loads(path.read_text()):
            if case.get("rc") != 0:
                found[case["case"]] = "\n".join(case["stdout"] + (case.get("stderr") or []))
    return found


@pytest.mark.parametrize("case", sorted(REASONS))
def test_decisive_line_of_recorded_commands(case: str) -> None:
    assert decisive(presentable(recorded_failures()[case], lines=10**6)) == REASONS[case]


def test_every_recorded_failure_tells_something() -> None:
    failures = recorded_failures()
    assert len(failures) > 50
    for case, text in failures.items():
        reason = decisive(presentable(text, lines=10**6))
        assert bool(reason) != case.startswith("j2-kill-after-") or "restart" in case, case
        assert not re.match(r"Installed versions|\* |unzip|Release \S+ not found|in call from", reason), case
        assert len(reason) < SENTENCE_LENGTH + 40, case


def test_decisive_line_of_a_long_dump_and_of_a_trace_in_a_term(root: Path) -> None:
    dump = recorded("h04-retry-after-space-freed-left1200k")
    shown = script(root, "").reason(CommandResult([], dump.rc, dump.stdout, dump.stderr, 0.0, 1))
    assert shown.startswith(
        "ERROR: release_handler:check_install_release failed: {'EXIT', {{badmatch, {error,beam_lib,"
    )
    assert len(shown) < SENTENCE_LENGTH + 40
    full = recorded("h04-unpack-enospc-left1200k")
    assert decisive(presentable(full.text, lines=10**6)) == (
        "Unpack failed: {{case_clause,{error,enospc}} (No space left on device)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("unzip []\nInstalled versions:\n* 4.4.18\tpermanent", ""),
        ("su: Authentication failure", "su: Authentication failure"),
        ("/opt/emqx/bin/emqx: 12: exec: erl: not found", "/opt/emqx/bin/emqx: 12: exec: erl: not found"),
        ("sh: 1: cannot create /x: Read-only file system\nlater", "sh: 1: cannot create /x: Read-only file system"),
        ("Installed Release: 4.4.19.\nsomething of the profile", "something of the profile"),
        ('{"init terminating in do_boot",{undef,[]}}\nCrash dump', '{"init terminating in do_boot",{undef,[]}}'),
        ("Node is not running!\nERROR: release_handler:x failed: y", "ERROR: release_handler:x failed: y"),
        ("  indented at first: failed\nlast", "indented at first: failed"),
        ("Unpack failed: " + "x" * 1000, "Unpack failed: " + "x" * 225 + " ..."),
    ],
)  # fmt: skip
def test_decisive_line(text: str, expected: str) -> None:
    assert decisive(presentable(text)) == expected


def test_the_reason_shows_no_secret(root: Path) -> None:
    (root / "etc/emqx.conf").write_text("node.cookie = in-settings\n")
    command = script(root, "echo ERROR: with in-settings and http://me:in-url@host/")
    assert command.reason(command.change("x")) == "ERROR: with {0} and http://{0}@host/".format(MASK)


def cookies(root: Path, **settings: str) -> List[str]:
    return secrets_of(Installation(str(root / "bin/emqx")), settings)


def test_cookies_of_settings_environment_and_defaults(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(root, "")
    assert cookies(root) == []
    (root / "releases/emqx_vars").write_text("EMQX_DEFAULT_ERLANG_COOKIE='by-default'\n")
    (root / "etc/emqx.conf").write_text("node.name = x\n node.cookie = in-settings\n# node.cookie = commented\n")
    (root / "etc/vm.args").write_text("-name x\n-setcookie in-vm-args\n")
    monkeypatch.setenv("EMQX_NODE__COOKIE", "in-environment")
    monkeypatch.setenv("EMQX_NODE_COOKIE", "in-environment-too")
    assert set(cookies(root)) == {"by-default", "in-settings", "in-vm-args", "in-environment", "in-environment-too"}
    assert "of-the-broker" in cookies(root, EMQX_NODE__COOKIE="of-the-broker")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("etc/emqx.conf", 'node.cookie="x-quoted"\n', ["x-quoted"]),
        ("etc/emqx.conf", "node.cookie=bare\n\tnode.cookie\t=\ttabbed # why\n", ["bare", "tabbed"]),
        ("etc/emqx.conf", "node.cookie =\nnode.name = x\nnode.cookie_x = y\n", []),
        ("etc/vm.args", "-setcookie\ttabbed\n", ["tabbed"]),
        # What cuttlefish made of the settings at a start, also of those that have changed since.
        ("data/configs/vm.2026.01.01.00.00.00.args", "-name x\n-setcookie of-a-start\n", ["of-a-start"]),
        # A switch keeps a copy for the release that it leads to.
        ("releases/4.4.19/vm.args", "-setcookie of-a-switch\n", ["of-a-switch"]),
    ],
)
def test_cookies_wherever_they_are_written(root: Path, name: str, text: str, expected: List[str]) -> None:
    script(root, "")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    assert sorted(cookies(root)) == expected


def test_cookie_of_a_node_whose_root_is_worked_out_by_a_command(root: Path) -> None:
    (root / "etc/emqx.conf").write_text("node.cookie = in-settings\n")
    (root / "releases/emqx_vars").write_text(
        'RUNNER_ROOT_DIR="$(cd $(dirname $(readlink $0 || echo $0))/..; pwd -P)"\n'
        'RUNNER_ETC_DIR="$RUNNER_ROOT_DIR/etc"\n'
    )
    command = script(root, "echo it is in-settings")
    assert command.output(command.change("x")) == ["it is " + MASK]


def test_longer_secrets_first() -> None:
    """One cookie that begins with another must not be half shown."""
    command = "cookie-long cookie"
    assert presentable(command, sorted(["cookie", "cookie-long"], key=len, reverse=True)) == [MASK + " " + MASK]


def test_output_of_a_result_is_masked(root: Path) -> None:
    (root / "etc/emqx.conf").write_text('node.cookie = "quoted-cookie"\n')
    command = script(root, "echo it is quoted-cookie; echo quoted-cookie >&2")
    assert command.output(command.change("x")) == ["it is " + MASK, MASK]


def test_settings_that_cannot_be_read_do_no_harm(root: Path) -> None:
    script(root, "")
    (root / "etc/emqx.conf").mkdir()
    assert cookies(root) == []
