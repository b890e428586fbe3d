# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""``emqx_release_info`` against what a node says by its own commands, at every turn of an upgrade."""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.broker import broker as packages

from . import files
from .conftest import Pool
from .node import COLLECTION, COOKIE, LIBRARY, NEW, OLD, Node
from .plays import one_task
from .side_by_side import job, outcome

OLDER = "4.4.17"
CLIENTS = 3
MODULE = "emqx.fleet.emqx_release_info"
LAYOUTS: dict[str, dict[str, Any]] = {"unpacked": {}, "package": {"layout": "package", "runner_user": "emqx"}}
MIB = 1 << 20


def ctl(node: Node, *arguments: str) -> str:
    """What ``emqx_ctl`` prints."""
    return node.host.exec([f"{node.root}/bin/emqx_ctl", *arguments]).stdout


def table(node: Node) -> list[dict[str, str]]:
    """The release table by ``emqx versions``, in order."""
    rows = re.findall(r"^\* (\S+)\s+(\w+)$", node.emqx("versions"), re.MULTILINE)
    return [{"version": version, "status": status} for version, status in sorted(rows)]


def by_itself(node: Node) -> dict[str, Any]:
    """The same facts as the node's own commands and files tell them."""
    about = dict(re.findall(r"^(\w+)\s*: (.*)$", ctl(node, "broker"), re.MULTILINE))
    stats = dict(re.findall(r"^(\S+)\s*: (\d+)$", ctl(node, "broker", "stats"), re.MULTILINE))
    releases = table(node)
    status = {row["status"]: row["version"] for row in releases}
    asked = "{os:getpid(), code:root_dir(), erlang:system_info(otp_release), erlang:system_info(version)}."
    pid, root_dir, otp, erts = re.findall(r'"(.*?)"', node.emqx("eval", asked))
    built_on = node.inside(f"releases/{status['permanent']}/BUILT_ON").read_text(encoding="utf-8").strip()
    # OTP version, triple, word size, system.
    arch, system = re.findall(r"^[\d.]+(?:-\d+)?-(\w+)-.*-(\w+)$", built_on)[0]
    return {
        "state": "running",
        "node": node.host.node,
        "pid": int(pid),
        "releases": releases,
        "running": about["version"],
        "permanent": status["permanent"],
        "edition": {"EMQX Broker": "ce", "EMQX Enterprise": "ee"}[about["sysdescr"]],
        "otp": otp,
        "erts": erts,
        "os": system,
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}[arch],
        "executable": node.host.executable,
        "root_dir": root_dir,
        "data_dir": node.data_dir,
        "runner_user": node.sh(f"stat -c %U /proc/{pid}").stdout.strip(),
        "connections": int(stats["live_connections.count"]),
        "sessions": int(stats["sessions.count"]),
        "subscriptions": int(stats["subscriptions.count"]),
        "plugins": sorted(
            (
                {"name": name, "active": active == "true"}
                for name, active in re.findall(r"Plugin\((\w+),.*active=(\w+)\)", ctl(node, "plugins", "list"))
            ),
            key=lambda row: str(row["name"]),
        ),
        "listeners": [
            {"protocol": protocol, "listen_on": address}
            for protocol, address in re.findall(
                r"^(\S+)\n\s+listen_on\s*: (\S+)$", ctl(node, "listeners"), re.MULTILINE
            )
        ],
        "host": {
            "system": node.sh("uname -s").stdout.strip(),
            "os": node.sh('. /etc/os-release && echo "$ID$VERSION_ID"').stdout.strip(),
            "arch": {"x86_64": "amd64", "aarch64": "arm64"}[node.sh("uname -m").stdout.strip()],
            "python": node.sh("/usr/bin/python3 --version").stdout.split()[1],
        },
    }


def sizes(node: Node, *paths: str) -> list[int]:
    """Bytes of files, or of all files in folders."""
    script = 'for path; do find "$path" -type f -printf "%s\\n" | awk "{ sum += \\$1 } END { print sum + 0 }"; done'
    return [int(line) for line in node.host.exec(["sh", "-c", script, "sh", *paths]).stdout.split()]


def found(node: Node, facts: dict[str, Any], pattern: str, kind: str) -> None:
    """The leftovers of a kind are what the shell finds, with their sizes."""
    paths = sorted(node.sh(f"ls -d {pattern}").stdout.split())
    expected = list(zip(paths, sizes(node, *paths), strict=True))
    assert [(row["path"], row["size"]) for row in facts["leftovers"] if row["kind"] == kind] == expected


def agrees(facts: dict[str, Any], truth: dict[str, Any]) -> None:
    """The facts are the truth, as far as that is known."""
    assert {name: facts[name] for name in truth} == truth


def uptime(node: Node) -> int:
    """Seconds by ``emqx_ctl broker``."""
    units = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
    text = re.search(r"^uptime\s*: (.*)$", ctl(node, "broker"), re.MULTILINE)
    assert text
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", text.group(1)))


def fresh(node: Node) -> None:
    """A node with clients, on which nothing was ever upgraded."""
    ctl(node, "plugins", "unload", "emqx_retainer")
    since = uptime(node)
    facts = node.facts()
    assert since <= facts["uptime_seconds"] <= uptime(node)
    truth = by_itself(node)
    agrees(facts, truth)
    assert truth["connections"] == truth["sessions"] == truth["subscriptions"] == CLIENTS
    assert {"name": "emqx_retainer", "active": False} in facts["plugins"]
    assert facts["cluster"]["running"] == [node.host.node]
    assert facts["cluster"]["stopped"] == []
    (member,) = facts["cluster"]["members"]
    assert (member["node"], member["version"], member["connections"]) == (node.host.node, OLD, CLIENTS)
    assert facts["boot"] == {"version": OLD, "erts": truth["erts"], "consistent": True, "problems": []}
    assert facts["ways_back"] == {OLD: [OLDER]}
    for name in ("patches", "packages", "leftovers", "old_code", "alarms", "unwritable", "journal"):
        assert facts[name] == [], name
    for name in ("operation", "run", "dry_check", "clock_offset"):
        assert facts[name] is None, name
    for path in (node.root, "/tmp"):
        free = int(node.sh(f"df --output=avail -B1 {path} | tail -n 1").stdout)
        assert abs(facts["free_bytes"][path] - free) < MIB
        assert facts["devices"][path] == int(node.sh(f"stat -c %d {path}").stdout)


def unpacked(node: Node) -> None:
    """After an unpack by the command itself, which leaves much behind."""
    path = node.provide()
    node.emqx("unpack", NEW)
    facts = node.facts(check_version=NEW)
    agrees(facts, {"releases": table(node), "running": OLD, "permanent": OLD})
    assert facts["releases"][-1] == {"version": NEW, "status": "unpacked"}
    assert facts["boot"]["consistent"]
    assert facts["packages"] == [{"name": node.package_name(), "path": path, "size": sizes(node, path)[0]}]
    found(node, facts, "/tmp/emqx_untar_*", "untar")
    found(node, facts, f"{node.root}/releases/emqx-{NEW}.tar.gz", "tarball")
    assert len(facts["leftovers"]) == 2
    assert facts["ways_back"] == {OLD: [OLDER], NEW: [OLD, OLDER]}
    assert facts["dry_check"] == {"version": NEW, "passed": True, "message": ""}


def current(node: Node) -> None:
    """After ``upgrade --no-permanent``."""
    node.emqx("upgrade", "--no-permanent", NEW)
    before = old_code(node)
    facts = node.facts()
    after = old_code(node)
    agrees(facts, {"releases": table(node), "running": NEW, "permanent": OLD, "connections": CLIENTS})
    assert facts["releases"] == [{"version": OLD, "status": "permanent"}, {"version": NEW, "status": "current"}]
    assert (facts["boot"]["version"], facts["boot"]["problems"]) == (OLD, [])
    # A client's process leaves the old code when something happens to it, so the number only falls.
    assert before >= sum(row["processes"] for row in facts["old_code"]) >= after
    assert node.facts(old_code=False)["old_code"] is None


def old_code(node: Node) -> int:
    """Processes that run old code, as the node counts them."""
    old = "{M, _} <- code:all_loaded(), erlang:check_old_code(M)"
    asked = f"length([P || {old}, P <- processes(), erlang:check_process_code(P, M)])."
    return int(node.emqx("eval", asked))


def half(node: Node) -> None:
    """A commit whose last step is lost: a restart would boot the old version."""
    variables = node.inside("releases/emqx_vars")
    text = variables.read_text(encoding="utf-8")
    node.emqx("install", NEW)
    variables.write_text(text, encoding="utf-8")
    facts = node.facts()
    agrees(facts, {"releases": table(node), "running": NEW, "permanent": NEW})
    assert node.boots() == facts["boot"]["version"] == OLD
    assert not facts["boot"]["consistent"]
    (problem,) = facts["boot"]["problems"]
    assert (problem["code"], problem["path"]) == ("emqx_vars", f"{node.root}/releases/emqx_vars")
    assert problem["repairable"]
    assert f"boots {OLD}" in problem["message"]
    assert f"{NEW} is permanent" in problem["message"]


def cleaned(node: Node) -> None:
    """Repaired by us, then cleaned by the command, which leaves the files in ``bin/``, and by hand."""
    assert node.release(NEW).actions == ["repair_commit"]
    node.emqx("uninstall", OLD)
    facts = node.facts()
    agrees(facts, {"releases": table(node), "running": NEW, "permanent": NEW})
    assert facts["boot"]["consistent"]
    assert facts["boot"]["version"] == node.boots() == NEW
    assert facts["ways_back"] == {NEW: [OLD, OLDER]}
    found(node, facts, f"{node.root}/bin/*-{OLD}", "binary")
    assert [entry["actions"] for entry in facts["journal"]] == [[["repair_commit", NEW]]]
    node.sh(
        f"rm -rf {node.root}/bin/*-{OLD} {node.root}/releases/*.zip {node.root}/releases/*.tar.gz /tmp/emqx_untar_*"
    )
    facts = node.facts()
    assert (facts["leftovers"], facts["packages"]) == ([], [])


def patched(node: Node) -> None:
    """Patches: one is what runs, the other would be in force after a restart."""
    folder = f"{node.data_dir}/patches"
    node.sh(f"mkdir -p {folder} && cp {node.root}/lib/emqx-{NEW}/ebin/emqx_frame.beam {folder}")
    with zipfile.ZipFile(packages.package(OLD)) as archive:
        stale = archive.read(f"emqx/lib/emqx-{OLD}/ebin/emqx_connection.beam")
    node.host.path(f"{folder}/emqx_connection.beam").write_bytes(stale)
    facts = node.facts()
    assert facts["patches"] == [
        {"module": "emqx_connection", "path": f"{folder}/emqx_connection.beam", "stale": True},
        {"module": "emqx_frame", "path": f"{folder}/emqx_frame.beam", "stale": False},
    ]
    assert [problem["code"] for problem in facts["boot"]["problems"]] == ["stale_patch"]
    node.sh(f"rm -r {folder}")


def unwritable(node: Node) -> None:
    """What root left is not the broker's to write, unless that is root."""
    path = f"{node.root}/releases/start_erl.data"
    node.sh(f"chown root: {path} && chmod 644 {path}")
    assert node.facts()["unwritable"] == ([path] if node.host.spec.runner_user else [])
    node.own(path)


def check_mode(node: Node) -> None:
    """Check mode tells the same, and no run changes anything."""
    before = files.listing(node)
    seen = [node.facts(check=check) for check in (False, True)]
    assert files.changes(before, files.listing(node)) == []
    for facts in seen:
        forget_times(facts)
    assert seen[0] == seen[1]


def forget_times(facts: dict[str, Any]) -> None:
    """Leave out what two readings cannot have in common."""
    for name in ("clock", "uptime_seconds", "free_bytes", "invocation"):
        del facts[name]
    for told in (facts["client_books"], *(member["client_books"] for member in facts["cluster"]["members"])):
        del told["time"]


@contextlib.contextmanager
def counted(node: Node) -> Iterator[Path]:
    """The file where each call of ``emqx`` leaves a line meanwhile, with what was called."""
    real = node.inside("bin/emqx")
    calls = node.host.path("/var/tmp/calls")
    node.sh(f"cp -p {node.root}/bin/emqx {node.root}/bin/emqx.real")
    text = real.read_text(encoding="utf-8")
    # Written over and not replaced, so that owner and mode stay.
    real.write_text(f'#!/bin/sh\necho "$1" >>/var/tmp/calls\nexec {node.root}/bin/emqx.real "$@"\n', encoding="utf-8")
    calls.write_text("", encoding="utf-8")
    calls.chmod(0o666)
    try:
        yield calls
    finally:
        real.write_text(text, encoding="utf-8")
        node.sh(f"rm {node.root}/bin/emqx.real /var/tmp/calls")


@contextlib.contextmanager
def only_by_command(node: Node) -> Iterator[None]:
    """All names that our end of the distribution protocol has are in use on the host meanwhile."""
    host = node.host.node.partition("@")[2]
    code = (
        "import sys; from ansible_collections.emqx.fleet.plugins.module_utils import distribution as d;"
        f"held = [d._claim('emqx_fleet%d@{host}' % n, {port(node)}) for n in range(d._NAMES)];"
        "print(all(held), flush=True); sys.stdin.read()"
    )
    argv = node.host.command(["env", f"PYTHONPATH={LIBRARY}", "/usr/bin/python3", "-c", code])
    # Its end of the host sees the end of its input, and goes.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield


def no_command(node: Node) -> None:
    """No call of ``emqx``, which takes time on a node, and has the cookie on its command line."""
    with counted(node) as calls:
        for arguments in ({}, {"check_version": OLD, "old_code": False}, {"check": True}, {"user": "emqx"}):
            facts = node.facts(**arguments)
            assert (facts["state"], facts["read_by"], facts["read_by_reason"]) == ("running", "distribution", None)
            assert calls.read_text(encoding="utf-8") == "", arguments


def both_ways(node: Node) -> None:
    """One call of ``emqx`` where the node cannot be asked otherwise, and it tells the same."""
    directly = node.facts(), node.facts(verification=True)
    with only_by_command(node):
        first = node.facts()
        with counted(node) as calls:
            by_command = first, node.facts(verification=True)
            # It calls itself once more as the runner user.
            assert calls.read_text(encoding="utf-8") == "eval\n" * 2
    reason = f"{node.host.node} is not reached: it is connected to others of our name."
    for facts, (way, why) in ((directly, ("distribution", None)), (by_command, ("command", reason))):
        for found in facts:
            assert (found.pop("read_by"), found.pop("read_by_reason")) == (way, why)
    for name in ("settings", "listener_answers"):
        assert directly[1][name] is not None, name
        assert directly[1][name] == by_command[1][name], name
    for read in (directly[0], by_command[0]):
        forget_times(read)
    assert directly[0] == by_command[0]


def frozen(node: Node) -> None:
    """A broker that is there and does not answer."""
    pid = int(node.emqx("pid"))
    with node.faults.freeze(node.name, "broker"):
        facts = node.facts(timeout=10)
    reason = f"{node.host.node} is not reached: it does not answer."
    agrees(facts, {"read_by": None, "read_by_reason": reason})
    agrees(facts, {"state": "unreachable", "pid": pid, "node": None, "running": None, "permanent": NEW})


def port(node: Node) -> int:
    """Where the broker's node listens for others, by its name."""
    return 4370 + int(re.findall(r"(\d*)@", node.host.node)[0] or 0)


def stopped(node: Node) -> None:
    """What the files tell when nothing runs."""
    releases, erts = table(node), node.facts()["erts"]
    node.drop_clients()
    node.emqx("stop")
    with counted(node) as calls:
        assert node.facts(check_version=NEW)["state"] == "stopped"
        assert calls.read_text(encoding="utf-8") == "", "nothing is there that a command could ask"
    facts = node.facts(check_version=NEW)
    agrees(
        facts,
        {
            "state": "stopped",
            "read_by": None,
            "read_by_reason": f"{node.host.node} is not reached: nothing listens at port {port(node)}.",
            "releases": releases,
            "permanent": NEW,
            "boot": {"version": node.boots(), "erts": erts, "consistent": True, "problems": []},
            "edition": "ce",
            "root_dir": node.root,
            "data_dir": node.data_dir,
            "runner_user": node.host.spec.runner_user or "root",
            "ways_back": {NEW: [OLD, OLDER]},
            "cluster": {"running": [], "stopped": [], "members": []},
            "plugins": [],
            "listeners": [],
        },
    )
    nothing = ("node", "pid", "uptime_seconds", "running", "otp", "connections", "sessions", "old_code", "dry_check")
    for name in nothing:
        assert facts[name] is None, name
    node.start()
    agrees(node.facts(), {"state": "running", "running": NEW, "permanent": NEW, "connections": 0})


#: The turns of a node's life, each from where the one before left it.
UPGRADED = (fresh, unpacked, current, half, cleaned)
LIVES = {
    "unpacked": (*UPGRADED, unwritable, stopped),
    "package": (*UPGRADED, patched, unwritable, check_mode, no_command, both_ways, frozen, stopped),
}


def live(layout: str, node: Node) -> None:
    """Go through all turns."""
    node.reset(clients=CLIENTS, **LAYOUTS[layout])
    for turn in LIVES[layout]:
        turn(node)


def by_ansible(node: Node) -> None:
    """As a user has it: found without being told where, the clock compared, every fact documented."""
    node.reset(clients=0, **LAYOUTS["package"])
    documented = yaml.safe_load(re.findall(r'^RETURN = r"""(.*?)"""', source(), re.DOTALL | re.MULTILINE)[0])
    results = []
    for options in (["-vvv"], ["--check"]):
        told = one_task(node, MODULE, {}, *options)
        assert told.rc == 0, told.output
        assert COOKIE not in told.output
        assert told.result["clock_offset"] is not None
        assert told.result["executable"] == node.host.executable
        assert told.result["changed"] is False
        results.append(told.result)
        assert told.result.keys() - {"changed", "invocation"} == documented.keys()
    agrees(results[0], by_itself(node))
    assert results[0].keys() - {"invocation"} == results[1].keys() - {"invocation"}


def source() -> str:
    """The module as it is installed."""
    return (COLLECTION / "plugins/modules/emqx_release_info.py").read_text(encoding="utf-8")


for layout in LAYOUTS:
    job(f"test_release_info.py::test_life[{layout}]", functools.partial(live, layout))
job("test_release_info.py::test_by_ansible", by_ansible)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_life(pool: Pool, request: pytest.FixtureRequest, layout: str) -> None:
    outcome(pool, request)


def test_by_ansible(pool: Pool, request: pytest.FixtureRequest) -> None:
    outcome(pool, request)


def test_cluster(pool: Pool) -> None:
    with pool.node() as one, pool.node() as other:
        one.reset(clients=1)
        other.reset(NEW, clients=2)
        ctl(other, "cluster", "join", one.host.node)
        # The names of members travel by messages.
        assert one.wait_for(lambda: other.host.node in ctl(one, "cluster", "status"), 60, 0.5)
        names = sorted([one.host.node, other.host.node])
        for node in (one, other):
            cluster = node.facts()["cluster"]
            assert (cluster["running"], cluster["stopped"]) == (names, [])
            members = {row["node"]: (row["version"], row["connections"], row["sessions"]) for row in cluster["members"]}
            assert members == {one.host.node: (OLD, 1, 1), other.host.node: (NEW, 2, 2)}
        other.drop_clients()
        other.emqx("stop")
        assert one.wait_for(lambda: other.host.node in ctl(one, "cluster", "status").partition("stopped")[2], 60, 0.5)
        cluster = one.facts()["cluster"]
        assert (cluster["running"], cluster["stopped"]) == ([one.host.node], [other.host.node])
        assert [row["node"] for row in cluster["members"]] == [one.host.node]
