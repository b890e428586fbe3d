# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Results of the benchmarks as tables, and their place in docs/performance.md. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Result = Mapping[str, Any]

#: More than this, and the machine had something else to do.
BUSY_PERCENT = 15
#: What each is called in the page's comments.
FIGURES, PROFILE = "figures", "profile"


class Row(NamedTuple):
    """A figure: what it is, what came out, the goal, and what it was taken from. ``met`` is None without a goal."""

    what: str
    found: str
    goal: str
    met: bool | None
    of: str


def rows(part: str, result: Result) -> list[Row]:
    """The figures of a part; none of one that has a table of its own."""
    maker = _ROWS.get(part.rstrip("0123456789"))
    return maker(result) if maker else []


def figures(results: Mapping[str, Result]) -> str:
    """The table of all figures, in the order of ``results``."""
    cells = []
    for part, result in results.items():
        for row in rows(part, result):
            verdict = "" if row.met is None else " met" if row.met else " missed"
            cells.append((row.what, row.found, f"{row.goal}{',' if verdict else ''}{verdict}", row.of))
    return _table(("what", "figure", "goal", "from"), cells)


def missed(part: str, result: Result) -> list[str]:
    """Goals that were not met."""
    return [f"{row.what}: {row.found}, the goal is {row.goal}" for row in rows(part, result) if row.met is False]


def profile(result: Result) -> str:
    """Where the time of a run goes: by what it was spent on, and by task."""
    tasks = result["tasks"]
    total = {name: sum(task[name] for task in tasks) for name in _SUMS}
    hosts = total["host_seconds"] or 1.0
    spent = {
        "`emqx` commands that change the node": total["changing_commands_seconds"],
        "`emqx` commands that read it": total["reading_commands_seconds"],
        "the rest of a remote execution: SSH, Python, files, reads without a command": total["connected_seconds"]
        - total["changing_commands_seconds"]
        - total["reading_commands_seconds"],
        "Ansible on the controller": total["host_seconds"] - total["connected_seconds"],
    }
    by_kind = _table(
        ("of the hosts' time", "seconds", "part"),
        [(name, f"{seconds:.1f}", f"{100 * seconds / hosts:.0f} %") for name, seconds in spent.items()],
    )
    long = [task for task in tasks if task["seconds"] >= result["seconds"] / 100]
    short = [task for task in tasks if task not in long]
    by_task = [_task_cells(task["task"], task) for task in long]
    rest = {name: sum(task[name] for task in short) for name in (*_SUMS, "connections", "runs", "seconds")}
    by_task.append(_task_cells(f"{len(short)} others, below 1 % each", rest))
    outside = result["outside_tasks_seconds"]
    by_task.append(("before and after all tasks", "", f"{outside:.1f}", "", "", "", ""))
    table = _table(("task", "times", "seconds", "hosts' seconds", "connections", "changing", "reading"), by_task)
    head = f"{result['nodes']} nodes, {result['seconds']:.1f} s, {result['connections']} connections."
    return f"{head}\n\n{by_kind}\n{table}"


def machine(results: Iterable[Result]) -> str:
    """A line for each machine and set of versions that results were taken on."""
    lines = []
    for result in results:
        on = result["machine"]
        line = (
            f"{on['processor']}, {on['cores']} cores, {on['memory_gib']} GiB of memory; {on['os']}; "
            f"ansible-core {on['ansible_core']} on Python {on['python']}, Python {on['python_of_nodes']} on the nodes, "
            f"Erlang/OTP {on['otp']}."
        )
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def busy(results: Mapping[str, Result]) -> str:
    """How busy the machine was with other things, and what that makes of the figures."""
    found = [result["busy_percent_before"] for result in results.values()]
    if not found:
        return ""
    least, most = min(found), max(found)
    told = f"{most} %" if least == most else f"{least} to {most} %"
    provisional = "; so the figures are provisional" if most > BUSY_PERCENT else ""
    return f"Before the parts began, others had {told} of the processors{provisional}."


def put_into(page: str, name: str, text: str) -> str:
    """The page with ``text`` between its comments of this name.

    :raises ValueError: where it has no such comments.
    """
    begin, end = f"<!-- bench: {name} -->", "<!-- bench: end -->"
    pattern = re.compile(rf"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no {begin} with {end} behind it")
    return pattern.sub(lambda found: f"{found.group(1)}{text.strip()}\n{found.group(2)}", page)


_SUMS = ("host_seconds", "connected_seconds", "changing_commands_seconds", "reading_commands_seconds")


def _task_cells(name: str, task: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (task["seconds"], task["host_seconds"])
    commands = (task["changing_commands_seconds"], task["reading_commands_seconds"])
    return (
        name,
        str(task["runs"]),
        *(f"{number:.1f}" for number in numbers),
        str(task["connections"]),
        *(f"{number:.1f}" if number else "" for number in commands),
    )


def _window(result: Result) -> list[Row]:
    ratio = result["ratio"]
    return [
        Row(
            "window of a node, against the bare switch",
            _ratio(ratio),
            "<= 1.5",
            ratio["median"] <= 1.5,
            f"{result['turn_seconds']['median']:.2f} s against {result['bare_seconds']['median']:.2f} s, "
            + _many(result["pairs"], "pair"),
        )
    ]


_FLEET_GOALS = {3: 1.0, 12: 0.5}


def _fleet(result: Result) -> list[Row]:
    goal, ratio = _FLEET_GOALS.get(result["nodes"]), result["ratio"]
    return [
        Row(
            f"whole run, {result['nodes']} nodes in {_clusters(result)}, against the documented steps",
            _ratio(ratio),
            "" if goal is None else f"<= {goal:g}",
            None if goal is None else ratio["median"] <= goal,
            f"{result['seconds']['median']:.1f} s against {result['documented_seconds']['median']:.1f} s, "
            f"{_many(result['rounds'], 'round')}, {result['forks']} forks",
        )
    ]


def _load(result: Result) -> list[Row]:
    return [
        Row(
            f"whole run, {result['nodes']} simulated nodes in {_clusters(result)}, against the documented steps",
            f"{result['times_faster']:.1f} times faster",
            ">= 4 times",
            result["times_faster"] >= 4,
            f"{result['seconds']:.0f} s against {result['documented_seconds_scaled']:.0f} s, which is scaled from "
            f"{result['documented_seconds']:.0f} s of {result['documented_nodes']} nodes; {result['forks']} forks",
        )
    ]


def _cost(result: Result) -> list[Row]:
    small, large = result["small"], result["large"]
    between = f"a simulated node at {large['nodes']}, against one at {small['nodes']}"
    cpu, memory = "controller_cpu_seconds_a_node", "peak_mib_a_node"
    return [
        Row(
            f"processor time of the controller for {between}",
            f"{result['ratio_' + cpu]:.2f}",
            "<= 1.2",
            result["ratio_" + cpu] <= 1.2,
            f"{large[cpu]:.2f} s against {small[cpu]:.2f} s; in {large['seconds']:.0f} s and {small['seconds']:.0f} s, "
            f"{result['forks']} forks",
        ),
        Row(
            f"peak memory of the controller for {between}",
            f"{result['ratio_' + memory]:.2f}",
            "<= 1.2",
            result["ratio_" + memory] <= 1.2,
            f"{large[memory]:.2f} MiB against {small[memory]:.2f} MiB; {large['peak_mib']:.0f} MiB in all",
        ),
    ]


def _plan(result: Result) -> list[Row]:
    return [
        Row(
            f"plan of {result['nodes']:,} nodes",
            f"{result['cpu_seconds']:.1f} s",
            f"<= {result['goal']:g} s",
            result["cpu_seconds"] <= result["goal"],
            "processor time",
        )
    ]


_ROWS: Mapping[str, Callable[[Result], list[Row]]] = {
    "window": _window,
    "fleet": _fleet,
    "load": _load,
    "cost": _cost,
    "plan": _plan,
}


def _ratio(ratio: Mapping[str, float]) -> str:
    if ratio["min"] == ratio["max"]:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _clusters(result: Result) -> str:
    return _many(result["clusters"], "cluster")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _table(titles: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = ["| {} |".format(" | ".join(cell.replace("|", "\\|") for cell in row)) for row in cells]
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *lines, ""])
