# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""On hosts of the lab, over SSH, with test brokers: the window of a node, whole runs, and where a run's time goes."""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.labkit import Host, Lab, parse_fleet

from . import runs
from .measure import BenchError, Usage, spread, task_name

LAB = "bench"
NODES_OF_A_CLUSTER = 3
#: Nothing is measured before a switch's old code is gone; see tests/broker/README.md.
_SETTLE_SECONDS = 10.0


def lab(clusters: int) -> Lab:
    """A new lab with so many clusters of three, all of the old version."""
    names = [f"c{number}" for number in range(1, clusters + 1)]
    fleet = {"defaults": {"version": runs.OLD}, "clusters": {name: {"hosts": NODES_OF_A_CLUSTER} for name in names}}
    return Lab.up(parse_fleet(fleet), LAB, replace=True)


def require_upgraded(up: Lab) -> None:
    """Every host would boot the new version, and runs it, by its own words."""
    for host in up.hosts.values():
        booted = host.read(f"{host.root_dir}/releases/start_erl.data").split()[1:]
        if booted != [runs.NEW]:
            raise BenchError(f"{host.name} was not upgraded: it would boot {booted}")


# The window of a node


def window(pairs: int) -> dict[str, Any]:
    """The switch by hand and the turn of the collection, in turn on one node of a cluster of three."""
    rows: list[dict[str, float]] = []
    with lab(1) as up:
        host = next(iter(up.hosts.values()))
        for number in range(1, pairs + 1):
            row: dict[str, float] = {}
            # Who is first changes each time, so that neither has the node fresher than the other.
            order: list[tuple[str, Callable[[], float]]] = [
                ("bare", lambda: _bare(host)),
                ("turn", lambda number=number: _turn(up, host, number)),  # type: ignore[misc]
            ]
            for name, measure in order if number % 2 else reversed(order):
                row[name] = measure()
                _back(host)
            rows.append({**row, "ratio": row["turn"] / row["bare"]})
    return {
        "pairs": pairs,
        "bare_seconds": spread([row["bare"] for row in rows]),
        "turn_seconds": spread([row["turn"] for row in rows]),
        "ratio": spread([row["ratio"] for row in rows]),
    }


def _bare(host: Host) -> float:
    """Seconds of the switch by hand, of a release that is unpacked."""
    host.put(runs.PACKAGE, f"{host.root_dir}/releases/{runs.PACKAGE.name}")
    _emqx(host, "unpack", runs.NEW)
    command = [host.executable, "upgrade", "--no-permanent", runs.NEW]
    # Timed on the node itself: what reaches it from here is not a part of it.
    timed = f"begin=$(date +%s%N); {shlex.join(command)} >&2 || exit 1; echo $(($(date +%s%N) - begin))"
    seconds = int(host.exec(["sh", "-c", timed], timeout=300).stdout.split()[-1]) / 1e9
    host.exec(["rm", f"{host.root_dir}/releases/{runs.PACKAGE.name}"])
    return seconds


def _turn(up: Lab, host: Host, number: int) -> float:
    """Seconds from the begin of the node's turn to verified."""
    times = runs.LOGS / f"window-{number}.jsonl"
    settings = {"commit": "never"}
    runs.ours(up.inventory, f"window-{number}.log", "--limit", host.name, settings=settings, times=times)
    turns = [turn for turn in read_turns(times) if turn.phase == "switch" and turn.changed]
    if len(turns) != 1:
        raise BenchError(f"{times} tells of {len(turns)} turns in which {host.name} was switched; expected is one")
    return turns[0].seconds


def _back(host: Host) -> None:
    """Where it was before, with nothing of the new version left."""
    if f"{runs.NEW}" not in _emqx(host, "versions"):
        raise BenchError(f"{host.name} was not switched")
    time.sleep(_SETTLE_SECONDS)
    _emqx(host, "downgrade", runs.OLD)
    time.sleep(_SETTLE_SECONDS)
    _emqx(host, "uninstall", runs.NEW)


def _emqx(host: Host, *words: str) -> str:
    return host.exec([host.executable, *words], timeout=300).stdout


# Whole runs


def whole_runs(clusters: int, rounds: int) -> dict[str, Any]:
    """The collection's whole run and the documented steps, in turn, each on a new lab."""
    nodes = clusters * NODES_OF_A_CLUSTER
    # As many as can be at work at a time, which is what the documentation says of forks.
    forks = max(5, nodes)
    found: dict[str, list[Usage]] = {"ours": [], "documented": []}
    commands: Mapping[str, Callable[..., Usage]] = {"ours": runs.ours, "documented": runs.documented}
    for number in range(1, rounds + 1):
        for name in ("ours", "documented") if number % 2 else ("documented", "ours"):
            with lab(clusters) as up:
                usage = commands[name](up.inventory, f"fleet-{nodes}-{name}-{number}.log", forks=forks)
                require_upgraded(up)
            found[name].append(usage)
    seconds = {name: [usage.seconds for usage in usages] for name, usages in found.items()}
    ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["documented"], strict=True)]
    return {
        "nodes": nodes,
        "clusters": clusters,
        "forks": forks,
        "rounds": rounds,
        "hosts": "lab hosts over SSH",
        "seconds": spread(seconds["ours"]),
        "documented_seconds": spread(seconds["documented"]),
        "ratio": spread(ratios),
    }


# Where the time goes


@dataclass(frozen=True)
class Turn:
    """A task of one host: when it began and ended, and the seconds of the steps that it did on the node."""

    host: str
    name: str
    action: str
    phase: str | None
    begin: float
    end: float
    changed: bool
    steps: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """From the begin of the task for this host to its end."""
        return self.end - self.begin


def read_turns(times: Path) -> list[Turn]:
    """What ``callbacks/bench_times.py`` wrote."""
    tasks: dict[str, dict[str, Any]] = {}
    begun: dict[tuple[str, str], float] = {}
    done: dict[str, int] = {}
    turns = []
    for event in _events(times):
        if event["event"] == "task":
            tasks[event["task"]] = event
            continue
        key = (event["task"], event["host"])
        if event["event"] == "begin":
            begun[key] = event["time"]
            continue
        task, host = tasks[event["task"]], event["host"]
        # Outcomes tell of all steps so far; those of before are not this task's.
        steps = event["actions"][done.get(host, 0) :]
        done[host] = max(done.get(host, 0), len(event["actions"]))
        turns.append(
            Turn(
                host=host,
                name=task_name(task["name"]),
                action=task["action"].rpartition(".")[2],
                phase=task["phase"],
                begin=begun.get(key, task["time"]),
                end=event["time"],
                changed=event["changed"],
                steps=tuple((str(step["action"]), float(step["seconds"] or 0)) for step in steps),
            )
        )
    return turns


def _events(times: Path) -> Iterator[dict[str, Any]]:
    with open(times, encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def profile() -> dict[str, Any]:
    """Where the time of a whole run over three nodes goes.

    Of each task how long the play was in it, how long its hosts were in all, and of that how long their connections
    were open, and how long ``emqx`` commands were at work that change a node, and that read it.
    """
    times, log = runs.LOGS / "profile.jsonl", runs.LOGS / "profile-connections.txt"
    log.unlink(missing_ok=True)
    with lab(1) as up:
        inventory = _counting_inventory(up, log)
        with _Commands(up) as commands:
            usage = runs.ours(inventory, "profile.log", forks=5, times=times)
        require_upgraded(up)
    events = list(_events(times))
    turns = read_turns(times)
    connections = [(float(begin), float(end)) for begin, end in (line.split() for line in log.read_text().splitlines())]
    rows = _rows(events, turns, connections, commands.seen)
    inside = sum(row["seconds"] for row in rows)
    return {
        "nodes": NODES_OF_A_CLUSTER,
        "seconds": round(usage.seconds, 2),
        "outside_tasks_seconds": round(usage.seconds - inside, 2),
        "connections": len(connections),
        "tasks": rows,
        "steps": _steps(turns),
    }


@dataclass(frozen=True)
class _Seen:
    """An ``emqx`` command was at work on a host, for about so long."""

    time: float
    verb: str
    seconds: float


class _Commands:
    """Looks again and again which ``emqx`` commands are at work on the hosts, from outside."""

    _EVERY_SECONDS = 0.04
    #: The script goes over into the other one once it has made sure that the node is there.
    _COMMAND = re.compile(r"/bin/(?:emqx|install_upgrade\.escript)\0([a-z]+)")

    def __init__(self, up: Lab) -> None:
        self.seen: list[_Seen] = []
        self._groups = [host.group for host in up.hosts.values()]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Commands:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(self._EVERY_SECONDS):
            now = time.monotonic()
            for group in self._groups:
                verb = next(filter(None, map(self._verb_of, group.pids())), None)
                if verb:
                    self.seen.append(_Seen(now, verb, now - before))
            before = now

    def _verb_of(self, pid: int) -> str | None:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            return None
        found = self._COMMAND.search(command)
        return found.group(1) if found else None


def _rows(
    events: list[dict[str, Any]], turns: list[Turn], connections: list[tuple[float, float]], commands: list[_Seen]
) -> list[dict[str, Any]]:
    """One for each task by name, in the order of the play."""
    starts = [event for event in events if event["event"] == "task"]
    last = max(event["time"] for event in events)
    rows: dict[str, dict[str, Any]] = {}
    for event, following in zip(starts, [*starts[1:], {"time": last}], strict=True):
        begin, end = event["time"], following["time"]
        name = task_name(event["name"])
        row = rows.setdefault(name, {"task": name, "runs": 0, **dict.fromkeys(_FIGURES, 0.0), "connections": 0})
        row["runs"] += 1
        row["seconds"] += end - begin
        inside = [(first, second) for first, second in connections if begin <= first < end]
        row["connections"] += len(inside)
        row["connected_seconds"] += sum(second - first for first, second in inside)
        for seen in commands:
            if begin <= seen.time < end:
                kind = "changing" if seen.verb in _CHANGING else "reading"
                row[f"{kind}_commands_seconds"] += seen.seconds
    for row in rows.values():
        row["host_seconds"] = sum(turn.seconds for turn in turns if turn.name == row["task"])
    return [
        {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
        for row in rows.values()
    ]


_CHANGING = ("unpack", "upgrade", "downgrade", "install", "uninstall")
_FIGURES = ("seconds", "host_seconds", "connected_seconds", "changing_commands_seconds", "reading_commands_seconds")


def _steps(turns: list[Turn]) -> dict[str, dict[str, float]]:
    """Seconds of each kind of step on a node."""
    found: dict[str, list[float]] = {}
    for turn in turns:
        for action, seconds in turn.steps:
            found.setdefault(action, []).append(seconds)
    return {action: {"count": len(values), **spread(values)} for action, values in found.items()}


# Stands between Ansible and the lab's own ssh and writes down when each connection began and ended, by the clock that
# the callback takes as well.
_COUNTING = """\
#!{python}
import os, subprocess, sys, time
begin = time.monotonic()
code = subprocess.run(["{real}", *sys.argv[1:]]).returncode
line = "%f %f\\n" % (begin, time.monotonic())
handle = os.open("{log}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(handle, line.encode())
sys.exit(code)
"""


def _counting_inventory(up: Lab, log: Path) -> Path:
    data = json.loads(up.inventory.read_text(encoding="utf-8"))
    folder = runs.WORK / "counting"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ssh", "sftp", "scp"):
        key = f"ansible_{name}_executable"
        wrapper = folder / name
        text = _COUNTING.format(python="/usr/bin/python3 -S", real=data["all"]["vars"][key], log=log)
        wrapper.write_text(text, encoding="utf-8")
        wrapper.chmod(0o755)
        data["all"]["vars"][key] = str(wrapper)
    path = folder / "inventory.yml"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path
