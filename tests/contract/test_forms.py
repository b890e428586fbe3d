# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every form that EMQX's packages had, from 4.2 on: the same life, and what each does in its own way.

There are recordings for one of them only (group p in test_contract.py); the others are as EMQX's sources say.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker import broker
from tests.broker.broker import Broker

MakeNode = Callable[..., Broker]
FORMS = ("", "script14", "4.2", "4.3", "4.4.0", "erts", "ee43")
# How each kind of upgrade script looks whether an unpacked release is still there.
LOOKS = {
    "": "filelib:is_regular(",
    "erts": "filelib:is_regular(",
    "script14": "filelib:is_dir(",
    **dict.fromkeys(("4.2", "4.3", "4.4.0", "ee43")),
}


def started(make_node: MakeNode, form: str) -> tuple[Broker, str, str]:
    """A node with the last version but one of a form, and both versions."""
    old, new = broker.versions(form)[-2:]
    node = make_node(old, variant=form)
    node.start()
    return node, old, new


def done(node: Broker, *arguments: str) -> str:
    """What a command that has to succeed prints."""
    call = node.emqx(*arguments)
    assert call.returncode == 0, call
    return call.stdout


def table(node: Broker) -> dict[str, str]:
    return dict(re.findall(r"^\* (\S+)\t(\w+)$", done(node, "versions"), re.MULTILINE))


# The plain form is in the recordings, `erts` below, and `ee43` is as 4.3.
@pytest.mark.parametrize("form", ["script14", "4.2", "4.3", "4.4.0"])
def test_life(make_node: MakeNode, form: str) -> None:
    """Up for a try, a restart that undoes it, up for good, a restart that keeps it, back, and cleaned up."""
    node, old, new = started(make_node, form)
    product = "EMQX Broker" if form == "script14" else "EMQ X Broker"
    assert f"sysdescr  : {product}\n" in node.ctl("broker").stdout
    node.provide(new)
    assert f"Installed Release: {new}." in done(node, "upgrade", "--no-permanent", new)
    assert table(node) == {new: "current", old: "permanent"}
    assert done(node, "restart").endswith(f"{product} {old} is started successfully!\n")
    assert table(node) == {new: "unpacked", old: "permanent"}
    assert done(node, "uninstall", new).endswith(f"Uninstalled Release: {new}\n")

    done(node, "upgrade", "--no-permanent", new)
    assert f'Made release permanent: "{new}"' in done(node, "install", new)
    assert table(node) == {new: "permanent", old: "old"}
    assert done(node, "restart").endswith(f"{product} {new} is started successfully!\n")
    assert f" {new} is started\n" in node.ctl("status").stdout

    assert f"Release {old} is marked old, switching to it." in done(node, "downgrade", old)
    done(node, "restart")
    assert f" {old} is started\n" in node.ctl("status").stdout
    assert done(node, "uninstall", new).endswith(f"Uninstalled Release: {new}\n")
    assert table(node) == {old: "permanent"}


@pytest.mark.parametrize("form", FORMS)
def test_the_script_shows_of_which_kind_it_is(packages: Path, form: str) -> None:
    old = broker.versions(form, packages)[-2]
    with zipfile.ZipFile(broker.package(old, form, packages)) as archive:
        text = archive.read("emqx/bin/install_upgrade.escript").decode()
    assert re.findall(r"filelib:is_\w+\((?=.*start\.boot)", text) == [LOOKS[form]] * bool(LOOKS[form])


def test_enterprise_of_4_3(packages: Path) -> None:
    """Called so in its name and its variables, and told by an application."""
    package = broker.package("4.3.11", "ee43", packages)
    assert re.fullmatch(r"emqx-ee-[\w.]+-4\.3\.11-\w+\.zip", package.name)
    with zipfile.ZipFile(package) as archive:
        assert b"\nexport EMQX_DESCRIPTION='EMQ X Enterprise'\n" in archive.read("emqx/releases/emqx_vars")
        assert b"emqx_license" in archive.read("emqx/releases/4.3.11/emqx.rel")


@pytest.mark.parametrize("form", ["4.2", "4.3", "4.4.0"])
def test_a_trusting_script_believes_the_table(make_node: MakeNode, form: str) -> None:
    """What is `unpacked` needs no package any more, and where its files are gone nobody notices before the switch."""
    node, _old, new = started(make_node, form)
    package = node.provide(new)
    done(node, "unpack", new)
    package.unlink()
    (node.home / "releases" / f"emqx-{new}.tar.gz").unlink()
    assert f"Release {new} is already unpacked, now installing." in done(node, "upgrade", "--no-permanent", new)


def test_a_trusting_script_trips_over_a_link(make_node: MakeNode) -> None:
    """One that a failed attempt left behind ends every further one."""
    node, _old, new = started(make_node, "4.3")
    whole = node.provide(new)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(other := whole.with_name("other"), "w") as target:
        for entry in old.infolist():
            if entry.filename != f"emqx/releases/{new}/emqx.rel":
                target.writestr(entry, old.read(entry))
    other.rename(whole)
    assert node.emqx("unpack", new).returncode == 2
    again = node.emqx("unpack", new)
    assert again.returncode == 127
    assert "eexist" in again.stderr


def test_no_series_is_checked_by_old_scripts(make_node: MakeNode) -> None:
    """They look for the package of whatever they are given."""
    node, _old, _new = started(make_node, "4.4.0")
    call = node.emqx("upgrade", "nonsense")
    assert (call.returncode, "release_package_not_found" in call.stdout) == (2, True)


def test_newer_scripts_check_before_they_unpack(make_node: MakeNode) -> None:
    node, _old, _new = started(make_node, "")
    call = node.emqx("unpack", "5.0.0")
    assert (call.returncode, "Cannot upgrade/downgrade to 5.0.0" in call.stdout) == (127, True)


def test_arguments_of_4_2_are_split_and_globbed(make_node: MakeNode) -> None:
    """A blank more or less is lost, and a pattern that fits a file becomes its name."""
    node, _old, _new = started(make_node, "4.2")
    assert done(node, "eval", '"a   b".') == '"a b"\n'
    assert done(node, "eval", '" bi* ".') == '" bin "\n'
    newer, _old, _new = started(make_node, "4.3")
    assert done(newer, "eval", '" bi*   b".') == '" bi*   b"\n'


def test_what_4_2_has_not(make_node: MakeNode) -> None:
    node, old, new = started(make_node, "4.2")
    variables = (node.home / "releases" / "emqx_vars").read_text()
    assert 'RUNNER_ROOT_DIR="$(cd $(dirname $(readlink $0 || echo $0))/..; pwd -P)"\n' in variables
    assert 'EMQX_DISCR="EMQ X Broker"\n' in variables
    assert "EMQX_DESCRIPTION" not in variables
    assert {p.name for p in (node.home / "releases" / old).iterdir()} & {"BUILT_ON", "no_dot_erlang.boot"} == set()
    assert done(node, "eval", "emqx_stats:getstat('live_connections.count').") == "undefined\n"
    before = (node.home / "bin" / "no_dot_erlang.boot").stat().st_mtime_ns
    node.provide(new)
    done(node, "upgrade", new)
    assert (node.home / "bin" / "no_dot_erlang.boot").stat().st_mtime_ns == before
    # Nor does it need its row: nothing but the node itself reads the table.
    (node.home / "releases" / "RELEASES").write_text("[].\n")
    assert done(node, "ping") == "pong\n"


@pytest.mark.parametrize(
    ("form", "pattern"), [("", r"\d[\d.]*-\w+-[\w-]+-64-\w+[\d.]*"), ("4.3", r"\d.*-64-\w+[\d.]*")]
)
def test_built_on(packages: Path, form: str, pattern: str) -> None:
    """OTP version, triple, word size, system."""
    old = broker.versions(form, packages)[-2]
    with zipfile.ZipFile(broker.package(old, form, packages)) as archive:
        text = archive.read(f"emqx/releases/{old}/BUILT_ON").decode()
    assert re.fullmatch(pattern, text), text
    assert text.endswith(f"-{broker.package(old, form, packages).name.split('-')[1 if form else 4]}")


def test_the_platform_is_read_only_where_erlang_does_not_boot(make_node: MakeNode) -> None:
    node, old, new = started(make_node, "")
    (node.home / "releases" / old / "BUILT_ON").unlink()
    assert done(node, "ping") == "pong\n"
    node.provide(new)
    # A commit copies the programs of a release and says nothing of a platform.
    done(node, "upgrade", new)
    (node.home / "releases" / new / "start_clean.boot").unlink()
    call = node.emqx("ping")
    assert (call.returncode, "this release is for " in call.stderr) == (1, True)


def test_another_erts_runs_from_the_next_start_on(make_node: MakeNode) -> None:
    """A hot switch keeps the machine that runs; what the next start takes is what the commit wrote down."""
    node, old, new = started(make_node, "erts")

    def machine() -> str:
        program = (Path("/proc") / done(node, "pid").strip() / "exe").readlink()
        return program.relative_to(node.home).parts[0]

    one = machine()
    pid = done(node, "pid")
    node.provide(new)
    done(node, "upgrade", "--no-permanent", new)
    done(node, "install", new)
    assert (machine(), done(node, "pid")) == (one, pid)
    assert (
        f'REL_VSN="{new}"\nERTS_VSN="{one.removeprefix("erts-")}.1"\n'
        in (node.home / "releases" / "emqx_vars").read_text()
    )
    done(node, "restart")
    assert machine() == f"{one}.1"
    done(node, "downgrade", old)
    assert machine() == f"{one}.1"
    done(node, "restart")
    assert machine() == one
    # The last release of an ERTS takes it along.
    done(node, "uninstall", new)
    assert [p.name for p in node.home.glob("erts-*")] == [one]
    done(node, "restart")


def test_a_folder_that_is_gone_costs_the_table_on_the_disk(make_node: MakeNode) -> None:
    """The newest script unpacks such a release again, and so makes the same mess as one that looks for a directory."""
    node, _old, new = started(make_node, "")
    node.provide(new)
    done(node, "unpack", new)
    subprocess.run(["rm", "-r", str(node.home / "releases" / new)], check=True)
    done(node, "upgrade", "--no-permanent", new)
    listed = re.findall(r'release,"emqx","([\d.]+)"', (node.home / "releases" / "RELEASES").read_text())
    assert listed == [new]
    assert node.emqx("ping").returncode == 1


def test_tls(make_node: MakeNode) -> None:
    """A listener with TLS beside the other one; who is connected stays so through a switch, as on the other."""
    node = make_node("4.4.18")
    node.tls_port = node.port + 1
    node.configure()
    node.start()
    assert "mqtt:ssl:external\n" in node.ctl("listeners").stdout
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def connect() -> ssl.SSLSocket:
        """An MQTT client, told that it is one."""
        client = context.wrap_socket(socket.create_connection(("127.0.0.1", node.port + 1), timeout=10))
        client.sendall(bytes.fromhex("100d 0004 4d515454 04 02 0000 0001 78"))
        assert client.recv(4) == bytes.fromhex("20020000")
        return client

    with connect() as one:
        node.provide("4.4.19")
        done(node, "upgrade", "4.4.19")
        one.sendall(bytes.fromhex("c000"))
        assert one.recv(2) == bytes.fromhex("d000")
    with connect():
        assert done(node, "eval", "[esockd:get_current_connections(I) || {I, _} <- esockd:listeners()].") == "[1,0]\n"
    node.fault("refuse_tls-4.4.19")
    with pytest.raises(OSError, match=r"EOF|reset"):
        connect()


def test_what_a_switch_may_break_unseen(make_node: MakeNode) -> None:
    """Faults that only a look from outside, or at the settings, finds out."""
    node, _old, new = started(make_node, "")
    node.fault("relup_setting", "other")
    node.fault("relup_close_listener", "mqtt:tcp:external")
    node.provide(new)
    done(node, "upgrade", new)
    assert done(node, "eval", "application:get_env(emqx, changed_by_relup).") == '{ok,"other"}\n'
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port), timeout=10)
