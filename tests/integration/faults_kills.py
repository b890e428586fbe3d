# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Faults of processes: killed commands, killed modules, two at once, time-outs."""

from __future__ import annotations

import contextlib

from .cases import CLIENTS, Steps, case, group
from .node import NEW, OLD, Node, Result

group("Killed commands")

_LINES = (
    ("unpack-begins", "unpack", r"^unzip ", "refused", "BEFORE"),
    ("node-unpacks", "unpack", r"attempting to unpack", "refused", "BEFORE"),
    ("unpacked", "unpack", r"^Unpacked successfully", "done", "DONE"),
    ("switch-begins", "switch", r"now installing", "refused", "UNPACKED"),
    ("switched", "switch", r"^Installed Release", "done", "DONE"),
    ("commit-begins", "commit", r"making permanent", "refused", "CURRENT"),
    ("committed", "commit", r"^Made release permanent", "done", "DONE"),
)

for _name, _step, _line, _verdict, _leaves in _LINES:

    def _killed_at(node: Node, line: str = _line, step: str = _step) -> Steps:
        node.provide()
        if step != "unpack":
            node.emqx("unpack", NEW)
        if step == "commit":
            node.emqx("upgrade", "--no-permanent", NEW)
        yield node.at_line(line, node.kill_commands)

    _killed_at.__name__ = f"killed-{_name}"
    _shown = _line.strip("^ ")
    case(f"SIGKILL to the command's process group as it prints `{_shown}`", verdict=_verdict, leaves=_leaves)(
        _killed_at
    )


@case("SIGKILL to the command while the node switches: the node goes on", does=("switch", "commit"))
def command_killed_while_node_switches(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)

    hang = node.fault("relup_hang")

    def in_the_middle() -> None:
        node.await_switching()
        node.kill_commands()
        hang.close()

    with hang:
        result = yield node.at_line("now installing", then=in_the_middle)
    assert "did what it should" in result.message, result.story


@case(
    "SIGKILL to the command with `bin/cuttlefish` half-written: the same run repairs it",
    does=("commit", "repair_commit"),
)
def command_killed_while_it_copies(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "60"):
        yield node.at_line("^Made release permanent", then=lambda: kill_when_torn(node))


def kill_when_torn(node: Node, module: bool = False) -> None:
    model, path = node.inside(f"bin/cuttlefish-{node.new}"), node.inside("bin/cuttlefish")
    assert node.wait_for(lambda: 0 < path.stat().st_size < model.stat().st_size, 60), "nothing is half-written"
    if module:
        node.kill_module(tree=True)
    node.kill_commands()


group("Killed modules, lost connections")


@case("SIGKILL to module and command with `bin/cuttlefish` half-written", verdict="killed", leaves="ANY")
def killed_while_it_copies(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "60"):
        yield node.at_line("^Made release permanent", then=lambda: kill_when_torn(node, module=True))
    assert node.torn() or node.boots() == OLD
    result = yield None
    assert result.actions == ["repair_commit"], result.story


@case(
    "SIGKILL to module and command with `bin/cuttlefish` half-written, and then the node is down and cannot start",
    verdict="killed",
    leaves="ANY",
    lost=CLIENTS,
)
def killed_while_it_copies_and_stopped(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "60"):
        yield node.at_line("^Made release permanent", then=lambda: kill_when_torn(node, module=True))
    node.crash()
    assert node.host.exec([node.host.executable, "start"], check=False).returncode != 0, "it started all the same"
    result = yield None
    assert result.verdict == "changed", result.story
    assert "stopped" in result.message, result.story
    node.start()


@case("SIGKILL to the module alone while the node switches: the command outlives it", verdict="killed", leaves="DONE")
def module_killed_while_node_switches(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with node.fault("relup_hang"):
        killed = node.at_line("now installing", lambda: node.kill_module(tree=False), node.await_switching)
        refused = node.release(lock_timeout=0)
        assert refused.verdict == "not_started", refused.story
        assert "Another operation holds this node's lock: permanent 4.4.19" in refused.message, refused.story
        assert node.commands(), "the command did not outlive its module"
        waiting = node.begin(version=NEW, timeout=90, lock_timeout=60)
    waited = waiting.finish()
    assert waited.verdict == "done", waited.story
    assert waited.actions == ["commit"], waited.actions
    yield killed


@case("SIGKILL to the module alone in the middle of the copies of a commit", verdict="killed", leaves="DONE")
def module_killed_while_it_copies(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "3"):
        killed = node.at_line("^Made release permanent", lambda: node.kill_module(tree=False))
        waited = node.release(lock_timeout=60)
        assert waited.verdict == "done", waited.story
        assert waited.actions == [], waited.actions
    yield killed


@case("SIGHUP to the module while it waits for the switch, as when its connection is lost", does=("switch", "commit"))
def connection_lost(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)

    def hang_up() -> None:
        import os
        import signal

        for pid in node.modules():
            os.kill(pid, signal.SIGHUP)

    yield node.at_line("now installing", hang_up)


group("Two at once")


@case(
    "another run is at work, which gets there, and nothing shall be waited for",
    verdict="not_started",
    says="Another operation holds",
)
def second_run_refused(node: Node) -> Steps:
    node.provide()
    with node.stop_at("^unzip "):
        first = node.begin(version=NEW, timeout=90)
        node.await_line("^unzip ")
        second = node.release(lock_timeout=0)
    done = first.finish()
    assert done.verdict == "done", done.story
    yield second


@case("another run is at work, and is waited for", does=())
def second_run_waits(node: Node) -> Steps:
    node.provide()
    with node.stop_at("^unzip "):
        first = node.begin(version=NEW, timeout=90)
        node.await_line("^unzip ")
        waiting = node.begin(version=NEW, timeout=90, lock_timeout=60)
        assert node.wait_for(lambda: len(node.modules()) == 2, 60), "there is no second run"
    second, done = waiting.finish(), first.finish()
    assert done.verdict == "done", done.story
    yield second


@case(
    "an operator runs the bare command at the same time",
    verdict=("done", "refused", "changed"),
    leaves="ANY",
)
def operator_at_the_same_time(node: Node) -> Steps:
    node.provide()
    first = node.begin(version=NEW, timeout=90)
    try:
        node.await_command()
        node.emqx("upgrade", NEW, check=False)
    finally:
        result = first.finish()
    yield result


group("Time-outs")

# Enough for a question to the node, however busy this machine is.
_TIMEOUT = 20


@case("a switch takes longer than the time-out", verdict="unknown", says="did not lead there", leaves="ANY")
def slow_switch(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with node.fault("relup_hang"):
        late = node.release(timeout=_TIMEOUT)
    result = yield late
    assert "may still be installing" in result.data["hint"], result.story
    later = node.release(lock_timeout=60)
    assert later.verdict == "done", later.story
    assert later.actions == ["commit"], later.actions


@case(
    "a commit takes longer than the time-out: the command is left to its work, or `bin/cuttlefish` would stay torn",
    verdict="unknown",
    says="did not lead there",
    leaves="ANY",
)
def slow_commit(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "9"):
        yield {"timeout": 4}
        later = node.release(lock_timeout=60)
        assert later.verdict == "done", later.story
        assert later.actions == [], later.actions


@case("a switch never ends", verdict="unknown", says="did not lead there", leaves="ANY", lost=CLIENTS)
def endless_switch(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with node.fault("relup_hang"):
        # What is asked of the node afterwards would hang as well, so nothing is asked of it here.
        hung: Result = node.release(timeout=_TIMEOUT)
        again = node.release(timeout=_TIMEOUT)
        assert again.verdict == "not_started", again.story
        assert "lock" in again.message, again.story
        node.crash()
    node.start()
    yield hung


@case(
    "the broker's process is stopped (SIGSTOP) while it switches",
    verdict="unknown",
    says="did not lead there",
    leaves="ANY",
)
def frozen_while_it_switches(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with contextlib.ExitStack() as frozen, node.fault("relup_hang"):

        def in_the_middle() -> None:
            node.await_switching()
            frozen.enter_context(node.faults.freeze(node.name, "broker"))

        result = node.at_line("now installing", then=in_the_middle, timeout=_TIMEOUT)
    yield result
