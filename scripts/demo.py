# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Upgrade a cluster of real Erlang nodes under real MQTT clients with the collection's own playbook, and count.

usage: demo.py [--keep] [--restart HOST] [--nodes N] [--busy N] [--idle N] [--churn RATE]

The verdict does not come from the collection: the clients count their connections and messages themselves, and
versions, processes and uptimes are read from the nodes before and after. Beside the clients that last, others come and
go all the time, as in service. The exit status is 0 only if every client that lasts stayed connected, none of the
others was refused or cut off, every acknowledged message arrived, no node was restarted, and a restart would boot the
new version.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".build" / "demo"
LAB = [str(ROOT / "tests" / "lab" / "lab"), "--name", "demo"]
BROKER_BUILD = ROOT / "tests" / "broker" / "build"
PACKAGES = ROOT / ".build" / "broker" / "packages"
PAGE = WORK / "report.html"
FROM, TO = "4.4.18", "4.4.19"
READY_SECONDS = 60
UPTIME_UNITS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}


class DemoError(Exception):
    """The demo could not be carried out."""


class NodeState(NamedTuple):
    """What a node says of itself, and what its files say a restart would boot."""

    version: str
    pid: str
    uptime: int
    boots: str


def main() -> int:
    """Carry it out; the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    try:
        with _lab(options) as hosts, _clients(options) as swarm:
            before = {host: _state(host) for host in hosts}
            playbook = _upgrade(options)
            after = {host: _state(host) for host in hosts}
            result = _stop(swarm)
            problems = _verdict(playbook, before, after, result)
            _show(before, after, result, _report())
            for problem in problems:
                print(f"FAILED: {problem}")
            if not problems:
                print(_success(result))
            if PAGE.exists():
                print(f"The report of the run as a page: {PAGE}")
            if options.keep:
                _tell_how_to_reach(hosts)
            return 1 if problems else 0
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything it started is stopped", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Upgrade a small cluster under real MQTT clients, and count.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--restart", metavar="HOST", help="restart this node meanwhile; the demo must then fail")
    parser.add_argument("--nodes", type=int, default=3, help="nodes of the cluster (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=10, help="publishing and subscribing clients a node")
    parser.add_argument("--idle", type=int, default=10, help="silent subscribers a node")
    parser.add_argument(
        "--churn",
        type=float,
        default=5.0,
        metavar="RATE",
        help="clients a second that come to a node besides, and leave after some seconds (default: %(default)g)",
    )
    return parser.parse_args()


@contextlib.contextmanager
def _lab(options: argparse.Namespace) -> Iterator[list[str]]:
    WORK.mkdir(parents=True, exist_ok=True)
    for report in (WORK / "report.json", PAGE):
        report.unlink(missing_ok=True)
    print(f"Building the test broker in versions 4.4.17, {FROM} and {TO} (cached) ...", flush=True)
    _run([str(BROKER_BUILD)])
    print(f"Starting a cluster of {options.nodes} nodes on {FROM} ...", flush=True)
    try:
        _run([*LAB, "up", str(options.nodes), "--version", FROM, "--replace"])
        yield [f"h{number}" for number in range(1, options.nodes + 1)]
    finally:
        if not options.keep:
            _run([*LAB, "down"])


@contextlib.contextmanager
def _clients(options: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    ready = WORK / "clients.ready"
    ready.unlink(missing_ok=True)
    (WORK / "clients.json").unlink(missing_ok=True)
    print(f"Attaching {options.busy} busy and {options.idle} idle clients to each node ...", flush=True)
    if options.churn:
        print(
            f"From then on {options.churn:g} more a second come to each node, and leave after some seconds.", flush=True
        )
    command = [*LAB, "swarm", "--busy", str(options.busy), "--idle", str(options.idle), "--qos", "1", "--rate", "5"]
    command += ["--churn", str(options.churn)]
    command += ["--ready-file", str(ready), "--result", str(WORK / "clients.json")]
    with open(WORK / "clients.log", "wb") as log:
        swarm = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not ready.exists():
            if swarm.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the clients did not connect; see {WORK / 'clients.log'}")
            time.sleep(0.1)
        yield swarm
    finally:
        if swarm.poll() is None:
            swarm.kill()
            swarm.wait()


def _upgrade(options: argparse.Namespace) -> int:
    """Run the playbook as an operator would. Its exit status."""
    inventory = json.loads(_run([*LAB, "list", "--json"]))["demo"]["inventory"]
    command = ["ansible-playbook", "-i", inventory, "emqx.fleet.upgrade"]
    for setting in (
        f"emqx_upgrade_version={TO}",
        f"emqx_upgrade_packages={PACKAGES}",
        "emqx_upgrade_soak_seconds=10",
        f"emqx_upgrade_report_file={WORK / 'report.json'}",
        f"emqx_upgrade_report_html={PAGE}",
    ):
        command += ["-e", setting]
    print(f"\n$ {shlex.join(command)}\n", flush=True)
    environment = dict(
        os.environ, ANSIBLE_NOCOWS="1", ANSIBLE_PIPELINING="1", ANSIBLE_STDOUT_CALLBACK="emqx.fleet.progress"
    )
    restart = threading.Thread(target=_restart, args=(options.restart,)) if options.restart else None
    process = subprocess.Popen(command, cwd=WORK, env=environment, stdin=subprocess.DEVNULL)
    try:
        if restart:
            restart.start()
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        if restart:
            restart.join()


def _restart(host: str) -> None:
    for action in ("stop", "start"):
        subprocess.run([*LAB, "exec", host, "/opt/emqx/bin/emqx", action], check=True, stdout=subprocess.DEVNULL)


def _stop(swarm: subprocess.Popen[bytes]) -> dict[str, Any]:
    print("\nStopping the clients and counting ...", flush=True)
    swarm.send_signal(signal.SIGTERM)
    swarm.wait(timeout=60)
    result: dict[str, Any] = json.loads((WORK / "clients.json").read_text(encoding="utf-8"))
    return result


def _state(host: str) -> NodeState:
    broker = _run([*LAB, "exec", host, "/opt/emqx/bin/emqx_ctl", "broker"])
    pid = _run([*LAB, "exec", host, "/opt/emqx/bin/emqx", "pid"]).strip()
    variables = _run([*LAB, "exec", host, "cat", "/opt/emqx/releases/emqx_vars"])
    version = re.search(r"^version\s*: (\S+)", broker, re.MULTILINE)
    uptime = re.search(r"^uptime\s*: (.+)", broker, re.MULTILINE)
    if version is None or uptime is None:
        raise DemoError(f"{host} does not tell its version: {broker}")
    seconds = sum(
        int(number) * UPTIME_UNITS[unit] for number, unit in re.findall(r"(\d+) (day|hour|minute|second)", uptime[1])
    )
    boots = re.findall(r'^REL_VSN="(.+)"', variables, re.MULTILINE)
    return NodeState(version[1], pid, seconds, boots[-1])


def _report() -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        report: dict[str, Any] = json.loads((WORK / "report.json").read_text(encoding="utf-8"))
        return report
    return {"nodes": {}}


def _verdict(
    playbook: int, before: dict[str, NodeState], after: dict[str, NodeState], result: dict[str, Any]
) -> list[str]:
    problems = [] if playbook == 0 else [f"the playbook ended with exit status {playbook}"]
    for host, now in after.items():
        was = before[host]
        if now.version != TO:
            problems.append(f"{host} runs {now.version}, not {TO}")
        if now.boots != TO:
            problems.append(f"a restart of {host} would boot {now.boots}, not {TO}")
        if now.pid != was.pid or now.uptime < was.uptime:
            problems.append(
                f"{host} was restarted: process {was.pid} is now {now.pid}, uptime {was.uptime} s, now {now.uptime} s"
            )
    total = result["total"]
    if not result["complete"]:
        problems.append("the clients' count is not complete")
    if total["disconnects"] or total["connected"] != total["clients"]:
        problems.append(
            f"{total['disconnects']} disconnects, and {total['connected']} of {total['clients']} clients connected"
        )
    churn = result["churn"]["total"]
    if churn["cut"] or churn["refused"]:
        problems.append(
            f"of the clients that came and went {churn['cut']} were cut off, and {churn['refused']} more were refused"
        )
    if result["settings"]["churn"] and not churn["left"]:
        problems.append("no client came and went")
    if total["lost"] or not total["acked"] or total["unacked"]:
        problems.append(f"{total['sent']} messages sent, {total['acked']} acknowledged, {total['lost']} of them lost")
    if total["idle_reached"] != total["idle_probed"] or total["idle_probed"] != result["idle"]["clients"]:
        problems.append(
            f"{total['idle_reached']} of {result['idle']['clients']} idle clients could be reached at the end"
        )
    return problems


def _success(result: dict[str, Any]) -> str:
    lasting, visitors = result["total"]["clients"], result["churn"]["total"]["came"]
    if not visitors:
        return f"All {lasting} clients stayed connected and no acknowledged message was lost."
    return (
        f"All {lasting} clients stayed connected, none of the {visitors} that came and went was cut off, "
        "and no acknowledged message was lost."
    )


def _show(
    before: dict[str, NodeState], after: dict[str, NodeState], result: dict[str, Any], report: dict[str, Any]
) -> None:
    rows = [
        (
            "node",
            "before",
            "after",
            "boots",
            "switch",
            "process kept",
            "clients kept",
            "lost",
            "came and went",
            "cut off",
            "sent",
            "received",
            "lost",
        )
    ]
    for host, now in after.items():
        counts, churn = result["nodes"][host]["total"], result["churn"]["nodes"][host]
        seconds = report["nodes"].get(host, {}).get("switch_seconds")
        kept = "yes" if now.pid == before[host].pid else "NO"
        lost = counts["clients"] - counts["connected"] if not counts["disconnects"] else counts["disconnects"]
        rows.append(
            (
                host,
                before[host].version,
                now.version,
                now.boots,
                "-" if seconds is None else f"{seconds} s",
                kept,
                str(counts["clients"] - lost),
                str(lost),
                str(churn["came"]),
                str(churn["cut"]),
                str(counts["sent"]),
                str(counts["received"]),
                str(counts["lost"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def _tell_how_to_reach(hosts: Sequence[str]) -> None:
    lab = shlex.join(LAB)
    print(f"\nThe cluster is left running. Log in: {lab} ssh {hosts[0]}\nStop it: {lab} down")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"{shlex.join(command)} ended with exit status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
