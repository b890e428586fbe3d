# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import faults, killer
from .errors import LabError
from .fleet import load_fleet, simple_fleet
from .host import Host
from .lab import DEFAULT_NAME, Lab, labs


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say and return the exit code: 0 done, 1 failed, 2 cannot be done as asked."""
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    if rest and options.action is not _swarm:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest  # a swarm's own options
    try:
        return int(options.action(options) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab", description="Hosts, brokers and faults on one machine; see docs/lab.md."
    )
    parser.add_argument(
        "--name",
        default=os.environ.get("LAB_NAME", DEFAULT_NAME),
        help="which lab, when there is more than one (default: %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring a lab up")
    up.add_argument("fleet", nargs="?", help="number of hosts, or a fleet file (YAML or JSON)")
    up.add_argument(
        "--version", help="with a number of hosts: a cluster of brokers of this version; without: no brokers"
    )
    up.add_argument(
        "--layout",
        choices=["unpacked", "package"],
        default="unpacked",
        help="with --version: how the broker is installed",
    )
    up.add_argument(
        "--runner-user", default="", help="with --version: the user that the broker runs as (default: root)"
    )
    up.add_argument("--init", choices=["plain", "systemd"], default=None, help="what the hosts run as process 1")
    up.add_argument("--size", help="size of each file system of a host (default: 256m)")
    up.add_argument("--no-brokers", action="store_true", help="bring up the hosts of a fleet file bare")
    up.add_argument("--replace", action="store_true", help="take a lab of this name down first if there is one")
    up.add_argument(
        "--loopback", type=int, metavar="N", help="no hosts: N brokers on the loopback address; needs no root"
    )
    up.set_defaults(action=_up)

    down = commands.add_parser("down", help="take a lab down, however far it came")
    down.set_defaults(action=_down)

    show = commands.add_parser("list", help="show the labs, and the hosts of this one")
    show.add_argument("--json", action="store_true")
    show.set_defaults(action=_list)

    ssh = commands.add_parser("ssh", help="log in to a host, or run a command there, over SSH")
    ssh.add_argument("-l", "--login", default="root")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    ssh.set_defaults(action=_ssh)

    execute = commands.add_parser("exec", help="run a command on a host without SSH; works also when it is cut off")
    execute.add_argument("-u", "--user", default="root")
    execute.add_argument("host")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    execute.set_defaults(action=_exec)

    inside = commands.add_parser("run", help="run a command of this machine in the lab's network")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    inside.set_defaults(action=_run)

    put = commands.add_parser("put", help="copy a file or folder to a host")
    put.add_argument("source")
    put.add_argument("host")
    put.add_argument("target")
    put.set_defaults(action=lambda o: Lab(o.name).host(o.host).put(o.source, o.target))

    swarm = commands.add_parser(
        "swarm",
        help="run MQTT clients against the lab's brokers; further options as of tests/lab/swarm",
        add_help=False,
    )
    swarm.set_defaults(action=_swarm)

    faults.add_commands(commands.add_parser("fault", help="make something fail, or undo that"))
    killer.add_command(
        commands.add_parser("kill-run", help="run a command and kill it at an instant or at a line of its output")
    )
    return parser


def _up(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    if options.loopback is not None:
        from . import loopback

        return loopback.up_command(options.name, options.loopback, options.version)
    if options.fleet is None:
        raise LabError("nothing to bring up was named; expected a number of hosts, a fleet file, or --loopback N", 2)
    if options.fleet.isdigit():
        settings = {
            "version": options.version,
            "layout": options.layout,
            "runner_user": options.runner_user,
            "init": options.init,
            "size": options.size,
        }
        fleet = simple_fleet(int(options.fleet), **{key: value for key, value in settings.items() if value})
    else:
        fleet = load_fleet(options.fleet)
    lab = Lab.up(fleet, options.name, brokers=not options.no_brokers, replace=options.replace)
    print(f"lab {lab.name}: {len(lab.hosts)} hosts up in {time.monotonic() - begin:.1f} s")
    print(f"inventory: {lab.inventory}")
    return 0


def _down(options: argparse.Namespace) -> int:
    from . import loopback

    if loopback.down(options.name) and os.geteuid() != 0:
        return 0
    lab = Lab(options.name)
    there = bool(lab.leftovers())
    lab.down()
    print(f"lab {lab.name}: {'down' if there else 'was not up'}")
    return 0


def _list(options: argparse.Namespace) -> int:
    names = labs()
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        lab = Lab(name)
        found[name] = {
            "up": lab.is_up(),
            "state": str(lab.state),
            "inventory": str(lab.inventory),
            "hosts": {host.name: _row(host) for host in lab.hosts.values()},
            "faults": faults.Faults(lab).active(),
        }
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        print("no lab is up")
    for name, data in found.items():
        state = "up" if data["up"] else "not completely up; lab up or lab down clears it"
        print(f"lab {name}: {state}; {data['inventory']}")
        for host, row in data["hosts"].items():
            broker = (
                ""
                if row["broker"] == "none"
                else f"emqx {row['version']} ({row['edition']}, {row['layout']}, {row['broker']} at the start)"
            )
            line = f"  {host:<12} {row['address']:<14} {row['cluster'] or '-':<10} {row['processes']:>4} processes"
            print(f"{line}  {broker}".rstrip())
        for fault in data["faults"]:
            print(f"  fault {fault['id']}: {fault['text']}")
    return 0


def _row(host: Host) -> dict[str, object]:
    spec = host.spec
    return {
        "address": host.address,
        "cluster": spec.cluster,
        "broker": spec.broker,
        "version": spec.version,
        "edition": spec.edition,
        "layout": spec.layout,
        "port": spec.port,
        "processes": len(host.group.pids()),
    }


def _command(words: list[str], example: str) -> list[str]:
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise LabError(f"no command was given; for example: lab {example}", 2)
    return words


def _ssh(options: argparse.Namespace) -> int:
    lab = Lab(options.name)
    host = lab.host(options.host)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    return _become([str(lab.state / "ssh"), "-l", options.login, host.name, *command])


def _exec(options: argparse.Namespace) -> int:
    host = Lab(options.name).host(options.host)
    return _become(host.command(_command(options.command, f"exec {host.name} id"), user=options.user))


def _run(options: argparse.Namespace) -> int:
    lab = Lab(options.name)
    lab.keeper_pid()
    os.environ.update(LAB_NAME=lab.name, LAB_STATE=str(lab.state), LAB_INVENTORY=str(lab.inventory))
    return _become(lab.command(_command(options.command, "run ansible-playbook -i inventory play.yml")))


def _swarm(options: argparse.Namespace) -> int:
    from . import loopback

    program = Path(__file__).resolve().parent.parent / "swarm_cli.py"
    local = loopback.nodes(options.name)
    if local:
        words = [word for node in local for word in ("--node", node)]
        return _become([sys.executable, str(program), *words, *options.rest])
    lab = Lab(options.name)
    lab.keeper_pid()
    nodes = []
    for host in lab.hosts.values():
        if host.spec.broker == "running":
            nodes += ["--node", f"{host.spec.cluster or host.name}/{host.name}={host.address}:{host.spec.port}"]
    return _become(lab.command([sys.executable, str(program), *nodes, *options.rest]))


def _become(argv: list[str]) -> int:
    """Replace this process, so that signals and the terminal are the command's own."""
    sys.stdout.flush()
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise LabError(f"{shlex.join(argv)}: {error.strerror}", 127) from error
