# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Traps and faults of the test broker for which there is no recording to play."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.broker.broker import Broker
from tests.contract.mqtt import Client

MakeNode = Callable[..., Broker]


@pytest.fixture
def node(make_node: MakeNode) -> Broker:
    made = make_node("4.4.18")
    made.provide("4.4.19")
    made.start()
    return made


def test_json_from_eval(node: Broker) -> None:
    """Raw text comes before the term that the expression is worth."""
    call = node.emqx("eval", 'io:format("~s~n", [emqx_json:encode(#{a => [1, <<"b">>, true]})]).')
    assert call.stdout == '{"a":[1,"b",true]}\nok\n'


def test_two_commands_at_once(node: Broker) -> None:
    """Trap 10: one that loses says so by its exit code; where they spoil it for each other, uninstall cures it."""
    with ThreadPoolExecutor(2) as pool:
        calls = list(pool.map(lambda _unused: node.emqx("upgrade", "4.4.19"), range(2)))
    assert {c.returncode for c in calls} <= {0, 2, 3, 127}, calls
    if "4.4.19\tpermanent" not in node.emqx("versions").stdout:
        assert node.emqx("uninstall", "4.4.19").returncode == 0
        assert node.emqx("upgrade", "4.4.19").returncode == 0
    assert "4.4.19\tpermanent" in node.emqx("versions").stdout


def test_second_command_during_a_switch(node: Broker) -> None:
    """The second waits for the node, and finds the first one's work done."""
    node.fault("relup_sleep", "6")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(node.emqx, "upgrade", "4.4.19")
        while "4.4.19" not in (node.home / "releases" / "RELEASES").read_text():
            time.sleep(0.05)
        second = node.emqx("upgrade", "4.4.19")
    assert first.result().returncode == 0
    assert second.returncode == 0, second
    assert "Installed Release" not in second.stdout
    assert "4.4.19\tpermanent" in node.emqx("versions").stdout


def test_table_on_disk_says_unpacked(node: Broker) -> None:
    """Trap 4: of a version that is current, the file says unpacked."""
    assert node.emqx("upgrade", "--no-permanent", "4.4.19").returncode == 0
    assert "4.4.19\tcurrent" in node.emqx("versions").stdout
    assert "unpacked}" in (node.home / "releases" / "RELEASES").read_text()


def test_variables_not_writable(node: Broker) -> None:
    """Trap 3: rc 0, nothing said, and the next start boots the old version."""
    variables = node.home / "releases" / "emqx_vars"
    before = variables.read_text()
    # Root writes to every file, but not to a directory.
    variables.rename(variables.with_name("emqx_vars.real"))
    variables.mkdir()
    command = [str(node.home / "bin" / "install_upgrade.escript"), "upgrade", "emqx", "-name", node.node_name]
    erts = next(node.home.glob("erts-*"))
    flags = f"-start_epmd false -epmd_module ekka_epmd -pa {next(node.home.glob('lib/ekka-*'))}/ebin"
    with node.using_tmp():
        call = subprocess.run(
            [str(erts / "bin" / "escript"), *command, "emqxsecretcookie", "4.4.19"],
            cwd=node.home,
            env=node.env | {"ERL_FLAGS": flags, "ESCRIPT_EMULATOR": str(erts / "bin" / "erl")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (call.returncode, call.stderr) == (0, "")
    assert call.stdout.endswith('Made release permanent: "4.4.19"\n')
    variables.rmdir()
    variables.write_text(before)
    assert node.emqx("restart").returncode == 0
    assert "4.4.18 is started" in node.ctl("status").stdout


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")
def test_disk_full_inside_the_node(make_node: MakeNode) -> None:
    """Trap 5: truncated files stay; a retry keeps them and fails the check; uninstall, then unpack again cures it."""
    node = make_node("4.4.18")
    aside = node.home.with_name("aside")
    node.home.rename(aside)
    node.home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(node.home)], check=True)
    try:
        shutil.copytree(aside, node.home, dirs_exist_ok=True)
        node.start()
        zip_19 = node.provide("4.4.19")
        with zipfile.ZipFile(zip_19) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        filler = node.home / "filler"

        def truncated() -> bool:
            """Whether it has hit a module that the switch loads; the others nobody looks at."""
            loaded = [f"lib/emqx-4.4.19/ebin/emqx_{m}.beam" for m in ("app", "hooks", "connection", "cm", "const_v2")]
            paths = [node.home / name for name in [*loaded, "lib/esockd-5.8.10/ebin/esockd.beam"]]
            return any(p.is_file() and p.stat().st_size < sizes[str(p.relative_to(node.home.parent))] for p in paths)

        # Room for the tarball, and more and more of what is in it, until such a module is hit.
        spare = 200_000
        while spare < 600_000:
            for path in [*node.home.glob("bin/*-4.4.19"), *node.home.glob("releases/*4.4.19.tar.gz")]:
                path.unlink()
            for path in [
                *node.home.glob("lib/*-4.4.19"),
                *node.home.glob("lib/*-5.8.10"),
                node.home / "releases/4.4.19",
            ]:
                shutil.rmtree(path, ignore_errors=True)
            free = shutil.disk_usage(node.home).free
            filler.write_bytes(b"x" * (free - zip_19.stat().st_size - spare))
            call = node.emqx("unpack", "4.4.19")
            filler.unlink()
            if truncated():
                break
            spare += 4096 if any(node.home.glob("lib/*-4.4.19")) or any(node.home.glob("lib/*-5.8.10")) else 12_288
        assert call.returncode == 2, call
        assert "Unpack failed: {{case_clause,{error,enospc}}," in call.stdout
        again = node.emqx("upgrade", "4.4.19")
        assert again.returncode == 3, again
        assert "Unpacked successfully" in again.stdout
        assert "release_handler:check_install_release failed" in again.stdout
        assert node.emqx("uninstall", "4.4.19").returncode == 0
        assert node.emqx("upgrade", "4.4.19").returncode == 0
    finally:
        node.kill()
        subprocess.run(["umount", str(node.home)], check=True)


def test_crash_in_the_relup(node: Broker) -> None:
    """Trap 11: the applications start anew, in the same process of the operating system."""
    pids = node.pids()
    node.fault("relup_crash")
    client = Client(node.port, "c")
    assert node.emqx("upgrade", "4.4.19").returncode == 4
    deadline = time.monotonic() + 90
    while (status := node.ctl("status")).returncode and time.monotonic() < deadline:
        time.sleep(0.3)
    assert "4.4.18 is started" in status.stdout, (node.home / "log" / "erlang.log.1").read_text()[-4000:]
    assert node.pids() == pids
    assert not client.connected()
    client.close()


def test_other_faults(node: Broker) -> None:
    """Slow, an alarm, clients lost."""
    client = Client(node.port, "c")
    node.fault("relup_sleep", "2")
    node.fault("relup_alarm", "trouble")
    node.fault("relup_drop_clients")
    begun = time.monotonic()
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    assert time.monotonic() - begun > 2
    assert not client.connected()
    client.close()
    assert "name => trouble" in node.emqx("eval", "emqx_alarm:get_alarms(activated).").stdout


def test_switch_that_hangs(node: Broker) -> None:
    """It tells that it hangs, and goes on when the fault is over."""
    hang = node.fault("relup_hang")
    sign = hang.with_name("relup_hangs")
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(node.emqx, "upgrade", "4.4.19")
        try:
            while not sign.exists():
                time.sleep(0.05)
                assert not upgrade.done(), upgrade.result()
        finally:
            hang.unlink()
    assert upgrade.result().returncode == 0, upgrade.result()
    assert not sign.exists()


def test_command_that_stops_at_a_line(node: Broker) -> None:
    """It has done what it did before that line, and nothing after it."""
    stop = node.fault("stop_at", "^Unpacked successfully")
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(node.emqx, "upgrade", "4.4.19")
        try:
            while "4.4.19\tunpacked" not in node.emqx("versions").stdout:
                assert not upgrade.done(), upgrade.result()
        finally:
            stop.unlink()
    assert upgrade.result().returncode == 0, upgrade.result()
    assert "4.4.19\tpermanent" in node.emqx("versions").stdout


def test_clients_kept_in_old_code(node: Broker) -> None:
    """For as long as the fault is there."""
    client = Client(node.port, "c")
    kept = node.fault("keep_old_code")
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    question = "erlang:check_process_code(hd(emqx_cm:pids()), emqx_connection)."
    time.sleep(10)
    assert node.emqx("eval", question).stdout == "true\n"
    kept.unlink()
    while node.emqx("eval", question).stdout != "false\n":
        time.sleep(0.2)
    assert client.connected()
    client.close()


def test_no_start(node: Broker) -> None:
    """A version that does not start says so, and does not keep its caller waiting."""
    node.fault("start_crash-4.4.19")
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    assert node.emqx("restart").returncode == 1
    assert node.emqx("ping").returncode == 1


def test_hop(make_node: MakeNode) -> None:
    """The variant for paths of several switches: not from 4.4.17, but by way of 4.4.18."""
    node = make_node("4.4.17")
    node.start()
    node.provide("4.4.18")
    node.provide("4.4.19", "hop")
    assert node.emqx("upgrade", "4.4.19").returncode == 3
    assert node.emqx("uninstall", "4.4.19").returncode == 0
    assert node.emqx("upgrade", "4.4.18").returncode == 0
    assert node.emqx("upgrade", "4.4.19").returncode == 0


def test_enterprise(make_node: MakeNode) -> None:
    node = make_node("4.4.18", variant="ee")
    node.start()
    assert "sysdescr  : EMQX Enterprise" in node.ctl("broker").stdout
    node.provide("4.4.19")
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    assert node.emqx("restart").stdout.splitlines()[-1] == "EMQX Enterprise 4.4.19 is started successfully!"


def test_a_script_does_what_its_text_says(node: Broker) -> None:
    """The package has both scripts compiled, and one whose text was changed is run by its text."""
    for name in ("nodetool", "install_upgrade.escript"):
        with (node.home / "bin" / name).open("rb") as text:
            checksum = subprocess.run(["cksum"], stdin=text, check=True, capture_output=True, text=True).stdout
        assert (next(node.home.glob("erts-*")) / "compiled" / "-".join(checksum.split()) / name).is_file()
    tool = node.home / "bin" / "nodetool"
    assert node.emqx("ping").stdout == "pong\n"
    tool.write_text(tool.read_text().replace('"pong~n"', '"other~n"'))
    assert node.emqx("ping").stdout == "other\n"
    tool.write_bytes(tool.read_bytes()[:900])
    for call in (node.emqx("ping"), node.emqx("versions"), node.emqx("eval", "1.")):
        assert call.returncode == 1, call
        assert "syntax error" in call.stderr
