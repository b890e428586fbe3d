# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Faults of the node, what a second switch does to clients, ways back, uninstalling, secrets."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.lab.labkit import broker

from .cases import CLIENTS, Steps, case, group
from .node import COOKIE, NEW, OLD, Node

group("Nodes")


@case("the node is stopped", verdict="not_started", says="The node is stopped", leaves="DOWN", lost=CLIENTS)
def node_stopped(node: Node) -> Steps:
    node.provide()
    node.emqx("stop")
    yield None
    node.start()


@case("the broker's process is stopped (SIGSTOP)", verdict="not_started", says="does not answer", leaves="DOWN")
def node_frozen(node: Node) -> Steps:
    node.provide()
    with node.faults.freeze(node.name, "broker"):
        yield None


def _other_settings(node: Node, name: str, value: str) -> Callable[[], None]:
    """What a start with another setting leaves where the broker runs on; gives what takes it back.

    Commands of 4.3 and 4.4 take name and cookie from the newest file of arguments, those of the test broker from its
    settings.
    """
    path = node.host.path(f"{node.root}/etc/emqx.conf")
    settings = path.read_text(encoding="utf-8")
    (arguments,) = node.host.path(f"{node.data_dir}/configs").glob("vm.*.args")
    text = arguments.read_text(encoding="utf-8")
    flag = {"name": "-name", "cookie": "-setcookie"}[name]
    broker.set_keys(path, {f"node.{name}": value})
    changed = re.sub(rf"^{flag} .*$", f"{flag} {value}", text, flags=re.MULTILINE)
    assert changed != text
    arguments.write_text(changed, encoding="utf-8")

    def take_back() -> None:
        path.write_text(settings, encoding="utf-8")
        arguments.write_text(text, encoding="utf-8")

    return take_back


@case("the command has another cookie than the node", verdict="not_started", says="cookie may differ", leaves="DOWN")
def wrong_cookie(node: Node) -> Steps:
    node.provide()
    start = _other_settings(node, "cookie", "another")
    yield None
    start()


@case("the command has another node name than the node", verdict="not_started", says="node name", leaves="DOWN")
def wrong_node_name(node: Node) -> Steps:
    node.provide()
    start = _other_settings(node, "name", f"emqx7@{node.host.address}")
    yield None
    start()


@case(
    "the node is killed as it is told to unpack",
    verdict="unknown",
    says="The node is stopped",
    leaves="DOWN",
    lost=CLIENTS,
)
def killed_while_it_unpacks(node: Node) -> Steps:
    node.provide()
    yield node.at_line("attempting to unpack", node.crash)
    node.start()


@case(
    "the node is killed while it switches", verdict="unknown", says="The node is stopped", leaves="DOWN", lost=CLIENTS
)
def killed_while_it_switches(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)

    def in_the_middle() -> None:
        node.await_switching()
        node.crash()

    with node.fault("relup_hang"):
        result = node.at_line("now installing", then=in_the_middle)
    yield result
    node.start()


@case(
    "the node is killed while the command copies for a commit",
    verdict="unknown",
    says="The node is stopped",
    leaves="ANY",
    lost=CLIENTS,
)
def killed_while_it_commits(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.fault("slow_copy", "2"):
        yield node.at_line("^Made release permanent", node.crash)
    # The same task once more before the node is started: it completes what the node boots.
    result = yield None
    assert "stopped" in result.message, result.story
    assert node.boots() == NEW, node.state()
    node.start()


@case(
    "the relup crashes in the middle",
    verdict=("refused", "changed", "unknown"),
    says="did not lead there",
    leaves="ANY",
    lost=CLIENTS,
)
def relup_crashes(node: Node) -> Steps:
    node.provide()
    with node.fault("relup_crash"):
        yield None
    node.recover()


@case("the switch disconnects every client: told in `clients`", lost=CLIENTS)
def switch_drops_clients(node: Node) -> Steps:
    node.provide()
    with node.fault("relup_drop_clients"):
        result = yield None
    assert result.data["clients"] == {"before": CLIENTS, "after": 0}, result.data["clients"]


group("A second switch")


@case(
    "idle clients still run the code from before the last switch: waited for",
    task={"version": OLD, "allow_downgrade": True},
    does=("switch",),
    leaves="BACK",
    ends=OLD,
)
def second_switch_waits(node: Node) -> Steps:
    node.provide()
    with node.fault("keep_old_code"):
        node.emqx("upgrade", "--no-permanent", NEW)
        running = node.begin(version=OLD, allow_downgrade=True, timeout=90)
        node.await_sleep()
    result = yield running.finish()
    assert result.data["actions"][0]["settled_after"] > 0, result.story


@case(
    "idle clients still run that code, and there is no time to wait",
    task={"version": OLD, "allow_downgrade": True, "settle_timeout": 1},
    again={"settle_timeout": 60},
    verdict="refused",
    says="still processes that run old code",
    leaves="CURRENT",
    ends=OLD,
)
def second_switch_refused(node: Node) -> Steps:
    node.provide()
    with node.fault("keep_old_code"):
        node.emqx("upgrade", "--no-permanent", NEW)
        result = yield None
    assert "emqx_connection" in result.message, result.story
    assert str(CLIENTS) in result.message, result.story


@case(
    "idle clients still run that code, and the switch is forced: it ends them, with a warning",
    task={"version": OLD, "allow_downgrade": True, "force_switch": True},
    says="Switched although processes still ran old code",
    leaves="BACK",
    ends=OLD,
    lost=CLIENTS,
)
def second_switch_forced(node: Node) -> Steps:
    node.provide()
    with node.fault("keep_old_code"):
        node.emqx("upgrade", "--no-permanent", NEW)
        yield None


@case(
    "two upgrades one after the other, 4.4.17 to 4.4.18 to 4.4.19",
    base={"version": "4.4.17"},
    leaves="ANY",
)
def two_hops(node: Node) -> Steps:
    node.provide("4.4.18")
    node.provide()
    with node.fault("keep_old_code"):
        yield {"version": "4.4.18"}
        running = node.begin(version=NEW, timeout=90)
        node.await_sleep()
    result = yield running.finish()
    assert result.data["actions"][1]["settled_after"] > 0, result.story


group("Ways back")


@case(
    "a downgrade without `allow_downgrade`",
    task={"version": OLD},
    again={"allow_downgrade": True},
    verdict="refused",
    says="and 4.4.18 is older",
    leaves="DONE",
    ends=OLD,
)
def downgrade_refused(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    yield None


@case(
    "a downgrade with `allow_downgrade`",
    task={"version": OLD, "allow_downgrade": True, "settle_timeout": 60},
    does=("switch", "commit"),
    leaves="BACK",
    ends=OLD,
)
def downgrade_allowed(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    yield None


group("Uninstalling")


@case("the running version shall go", verdict="refused", says="it is running", leaves="DONE")
def uninstall_running(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    yield {"state": "absent"}


@case("what a restart would boot shall go", verdict="refused", says="it is permanent", leaves="CURRENT")
def uninstall_what_boots(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    yield {"state": "absent", "version": OLD}


@case(
    "the old version shall go after a half-made commit: the command would accept it",
    verdict="refused",
    says="a restart would boot it",
    leaves="HALF",
)
def uninstall_after_half_commit(node: Node) -> Steps:
    node.provide()
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        node.emqx("upgrade", NEW)
    yield {"state": "absent", "version": OLD}


@case("the old version shall go, and a file in `bin/` is torn", verdict="refused", says="is not certain", leaves="TORN")
def uninstall_with_torn_file(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    node.sh(f"truncate -s 100 {node.root}/bin/cuttlefish")
    yield {"state": "absent", "version": OLD}


@case("the old version shall go after a whole commit", does=("uninstall",), leaves="ALONE")
def uninstall_old(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    yield {"state": "absent", "version": OLD}


@case("a version that is not there shall go", does=(), leaves="BEFORE")
def uninstall_unknown(node: Node) -> Steps:
    node.provide()
    yield {"state": "absent", "version": "4.4.3"}


group("Secrets")

_SECRET = "setting-that-nobody-shall-see"


@case("a secret among the settings, dumped to `sys.config`", does=("unpack", "switch", "commit"))
def secret_setting(node: Node) -> Steps:
    node.provide()
    node.emqx(
        "eval", f"application:set_env(emqx, api_key, <<115,101,99>>), application:set_env(emqx, password, '{_SECRET}')."
    )
    result = yield None
    assert _SECRET in node.inside(f"releases/{NEW}/sys.config").read_text(), "the command did not dump it"
    assert _SECRET not in result.raw, "in the result"
    assert _SECRET not in node.journal(), "in the journal"


@case(
    "the command crashes and prints its own command line, cookie and all",
    verdict="refused",
    says="did not lead there",
    leaves="ANY",
)
def cookie_in_a_crash(node: Node) -> Steps:
    node.provide()
    # The real command prints such a line for every crash.
    said = f"escript: exception error in emqx upgrade -name '{node.host.node}' -setcookie {COOKIE}"
    lines = f'echo "{said}"; echo {COOKIE} >&2'
    emqx = node.inside("bin/emqx")
    text = emqx.read_text()
    marker = "versions|unpack|upgrade|install|downgrade|uninstall)"
    assert marker in text
    emqx.write_text(text.replace(marker, f"{marker}\n        {lines}; exit 127;"), encoding="utf-8")
    result = yield None
    emqx.write_text(text, encoding="utf-8")
    assert "********" in result.raw, result.story
