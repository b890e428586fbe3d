# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Faults that come with EMQX as it was published: its other upgrade script, a lost release table, login profiles."""

from __future__ import annotations

import contextlib
from typing import Any

from .cases import CLIENTS, Steps, case, group
from .faults_kills import kill_when_torn
from .node import NEW, OLD, Node, Result

#: Nodes whose upgrade script is that of 4.3.13-4.3.22 and 4.4.2-4.4.14.
SCRIPT14: dict[str, Any] = {"form": "script14"}

group("Upgrade scripts that unpack in the switch (4.3.13-4.3.22, 4.4.2-4.4.14)")


@case("nothing: unpack and switch are one command", base=SCRIPT14, does=("switch", "commit"))
def script14_upgrade(node: Node) -> Steps:
    node.provide()
    yield None


@case("4.4.19 was unpacked beforehand", base=SCRIPT14, does=("uninstall", "switch", "commit"))
def script14_unpacked_before(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    yield None


@case(
    "`state: unpacked` is asked for",
    base=SCRIPT14,
    task={"state": "unpacked"},
    again={"state": "permanent"},
    verdict="refused",
    says="in the switch itself",
    leaves="BEFORE",
)
def script14_asked_to_unpack(node: Node) -> Steps:
    node.provide()
    yield None


@case(
    "4.4.19 was unpacked beforehand, and its package is gone",
    base=SCRIPT14,
    verdict="not_started",
    says="There is no package of 4.4.19",
    leaves="UNPACKED",
)
def script14_unpacked_without_package(node: Node) -> Steps:
    package = node.provide()
    node.emqx("unpack", NEW)
    node.host.path(package).unlink()
    yield None
    node.provide()


for _name, _line, _leaves in (
    ("unzips", r"^unzip ", "BEFORE"),
    ("unpacks", r"attempting to unpack", "BEFORE"),
    ("has-unpacked", r"^Unpacked successfully", "UNPACKED"),
    ("has-switched", r"^Installed Release", "CURRENT"),
):

    def _killed_at(node: Node, line: str = _line) -> Steps:
        node.provide()

        def kill() -> None:
            node.kill_module(tree=False)
            node.kill_commands()

        yield node.at_line(line, kill)

    _killed_at.__name__ = f"script14-killed-as-it-{_name}"
    _shown = _line.strip("^ ")
    case(f"SIGKILL to module and command as it prints `{_shown}`", base=SCRIPT14, verdict="killed", leaves=_leaves)(
        _killed_at
    )


@case("SIGKILL to the command alone when it has unpacked", base=SCRIPT14, verdict="changed", leaves="UNPACKED")
def script14_command_killed(node: Node) -> Steps:
    node.provide()
    yield node.at_line("^Unpacked successfully", node.kill_commands)


@case(
    "SIGKILL to module and command with `bin/cuttlefish` half-written",
    base=SCRIPT14,
    verdict="killed",
    leaves="ANY",
)
def script14_killed_while_it_copies(node: Node) -> Steps:
    node.provide()
    node.release(state="current")
    with node.fault("slow_copy", "60"):
        yield node.at_line("^Made release permanent", then=lambda: kill_when_torn(node, module=True))
    result = yield None
    assert result.actions == ["repair_commit"], result.story


@case("the node is restarted before the commit: 4.4.19 is listed as unpacked", base=SCRIPT14, lost=CLIENTS)
def script14_restarted_before_the_commit(node: Node) -> Steps:
    node.provide()
    assert node.release(state="current").verdict == "done"
    node.emqx("restart")
    result: Result = yield None
    assert result.actions == ["uninstall", "switch", "commit"], result.story


group("A release table that lost its rows")


def _lose_the_rows(node: Node) -> None:
    """As recorded: with the package in place, an unpacked release is unpacked once more by the switch."""
    node.provide()
    node.emqx("unpack", NEW)
    node.emqx("upgrade", "--no-permanent", NEW)
    assert node.host.exec([node.host.executable, "versions"], check=False).returncode == 1, "its commands still work"


@case(
    "`releases/RELEASES` was written anew with 4.4.19 alone: no command works",
    base=SCRIPT14,
    does=("repair_table", "commit"),
)
def rows_lost(node: Node) -> Steps:
    _lose_the_rows(node)
    yield None


@case(
    "the same, and 4.4.18 is gone back to",
    base=SCRIPT14,
    task={"version": OLD, "allow_downgrade": True},
    ends=OLD,
    does=("repair_table", "switch"),
    leaves="BACK",
)
def rows_lost_and_back(node: Node) -> Steps:
    _lose_the_rows(node)
    yield None


@case(
    "the same, and then the node is down and cannot start",
    base=SCRIPT14,
    task={"version": OLD, "allow_downgrade": True},
    ends=OLD,
    lost=CLIENTS,
    verdict="changed",
    says="The node is stopped",
    leaves="ANY",
)
def rows_lost_and_stopped(node: Node) -> Steps:
    _lose_the_rows(node)
    node.crash()
    yield None
    node.start()


@case("`releases/RELEASES` is torn", verdict="done", does=("repair_table", "unpack", "switch", "commit"))
def table_torn(node: Node) -> Steps:
    node.provide()
    path = node.inside("releases/RELEASES")
    path.write_bytes(path.read_bytes()[:100])
    yield None


group("Login profiles")

PROFILES = (
    ("banner", "echo 'Authorised use only!'; echo 'All is logged.' >&2"),
    ("title", r"printf '\033]0;%s\007' \"$USER@broker\""),
    ("prompt", "printf 'Welcome to {emqx_fleet, '"),
)

for _kind, _script in PROFILES:

    def _noisy(node: Node, script: str = _script) -> Steps:
        node.provide()
        with contextlib.ExitStack() as end:
            path = "/home/emqx/.profile"
            node.host.write(path, script + "\n")
            end.callback(lambda: node.host.path(path).unlink(missing_ok=True))
            yield None
            yield None

    _noisy.__name__ = f"login-profile-{_kind}"
    case(f"the login profile of the broker's user prints a {_kind}", base={"runner_user": "emqx"})(_noisy)
