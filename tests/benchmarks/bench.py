# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The benchmarks: what a user runs, measured; `make bench`.

usage: python -m tests.benchmarks.bench [--parts window,fleet3,...] [--quick] [--write-docs] [--strict]

Each part prints its table and writes `.build/bench/<part>.json`; README.md beside this file tells the keys. Needs root,
as the lab does. Whatever was begun is taken down at the end, also when it is interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import fleets, load, runs, tables
from .measure import ROOT, BenchError, busy_percent, machine, write_json

PAGE = ROOT / "docs/performance.md"
#: One at a time on a machine: its labs and its simulated nodes have fixed names and ports.
LOCK = Path("/run/lock/emqx-fleet-bench.lock")

Part = Callable[[], dict[str, Any]]


def _plan(nodes: int) -> dict[str, Any]:
    """In a process of its own, as a run does it; what it exits with is the goal's business."""
    argv = [sys.executable, str(runs.HERE / "plan_10000.py"), str(nodes)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise BenchError(f"plan_10000.py: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


#: In the order of the table.
PARTS: Mapping[str, Part] = {
    "window": lambda: fleets.window(pairs=5),
    "fleet3": lambda: fleets.whole_runs(clusters=1, rounds=3),
    "fleet12": lambda: fleets.whole_runs(clusters=4, rounds=2),
    "fleet48": lambda: fleets.whole_runs(clusters=16, rounds=1),
    "load200": lambda: load.against_documented(nodes=200, sample=20, forks=50),
    "cost1000": lambda: load.cost_of_a_node(small=50, large=1000, forks=50),
    "plan": lambda: _plan(10000),
    "profile": fleets.profile,
}
#: The same parts, smaller: to see that they work, and for no figure.
QUICK: Mapping[str, Part] = {
    **PARTS,
    "window": lambda: fleets.window(pairs=1),
    "fleet3": lambda: fleets.whole_runs(clusters=1, rounds=1),
    "fleet12": lambda: fleets.whole_runs(clusters=2, rounds=1),
    "fleet48": lambda: fleets.whole_runs(clusters=2, rounds=1),
    "load200": lambda: load.against_documented(nodes=20, sample=3, forks=20),
    "cost1000": lambda: load.cost_of_a_node(small=3, large=12, forks=12),
    "plan": lambda: _plan(1000),
}


def main() -> int:
    """Measure; 1 where something failed, or with --strict where a goal was missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    # Also where a shell has put it into the background, which lets it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = runs.WORK / "quick" if options.quick else runs.WORK
    started = time.monotonic()
    code = 0
    try:
        with _alone():
            for part in options.parts:
                code = max(code, _measure(part, (QUICK if options.quick else PARTS)[part], folder, options.strict))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("bench: interrupted; everything it started is gone", file=sys.stderr)
        return 130
    if options.write_docs:
        write_docs(folder)
    print(f"bench: {time.monotonic() - started:.0f} s in all; figures in {folder.relative_to(ROOT)}")
    return code


def _measure(part: str, measure: Part, folder: Path, strict: bool) -> int:
    print(f"{part} ...", flush=True)
    busy = busy_percent()
    began, started = datetime.now(UTC), time.monotonic()
    result = measure()
    result.update(
        part=part,
        busy_percent_before=busy,
        measured_at=began.isoformat(timespec="seconds"),
        took_seconds=round(time.monotonic() - started, 1),
        machine=machine(),
    )
    write_json(folder / f"{part}.json", result)
    print(tables.profile(result) if part == "profile" else tables.figures({part: result}))
    print(f"{part}: {result['took_seconds']:.0f} s", flush=True)
    missed = tables.missed(part, result)
    for line in missed:
        print(f"goal missed: {line}")
    return int(strict and bool(missed))


def write_docs(folder: Path) -> None:
    """Put what has been measured so far into the page."""
    results: dict[str, Any] = {}
    for part in PARTS:
        path = folder / f"{part}.json"
        if path.exists():
            results[part] = json.loads(path.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    told = {part: result for part, result in results.items() if part != "profile"}
    head = "\n".join(filter(None, [tables.machine(results.values()), tables.busy(results)]))
    page = tables.put_into(page, tables.FIGURES, f"{tables.figures(told)}\n{head}")
    if "profile" in results:
        page = tables.put_into(page, tables.PROFILE, tables.profile(results["profile"]))
    PAGE.write_text(page, encoding="utf-8")


@contextmanager
def _alone() -> Iterator[None]:
    with open(LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError("another benchmark runs on this machine; wait for its end") from None
        shutil.rmtree(runs.LOGS, ignore_errors=True)
        yield


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a user runs.")
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works; into .build/bench/quick")
    parser.add_argument("--write-docs", action="store_true", help="put what was measured into docs/performance.md")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is missed")
    return parser.parse_args()


def _parts(text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name} is no part; expected are some of {', '.join(PARTS)}")
    return names or list(PARTS)


if __name__ == "__main__":
    sys.exit(main())
