# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Running a command and measuring what it costs; the machine that it was measured on; medians and ratios."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
_WATCH_SECONDS = 0.1


class BenchError(Exception):
    """A benchmark could not be carried out, or what was measured did not do what it should have done."""


@dataclass(frozen=True)
class Usage:
    """What a command cost: wall clock, processor seconds of it and of all that it started, peak memory of itself."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command to its end; what it says goes to ``log``.

    Processes that outlive their parents, such as a persistent connection of SSH, are not counted.

    :raises BenchError: where it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            list(argv), env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent
        )
        peak = _Peak(process.pid)
        try:
            _pid, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        seconds = time.monotonic() - started
        peak.end()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise BenchError(f"{argv[0]} ended with {process.returncode}; the end of {log}:\n{said}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, peak.bytes)


class _Peak:
    """The most memory that a process has had at a time, looked up as long as it lives."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._path = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No longer look."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_SECONDS):
            try:
                found = re.search(r"^VmHWM:\s+(\d+) kB", self._path.read_text(encoding="ascii"), re.MULTILINE)
            except OSError:
                return
            self.bytes = max(self.bytes, int(found.group(1)) * 1024 if found else 0)


def machine() -> dict[str, Any]:
    """``processor``, ``cores``, ``memory_gib`` and ``os`` of this machine, and the versions of what runs on it."""
    return {
        "processor": _first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_first(r"^MemTotal:\s+(\d+)", "/proc/meminfo") or 0) / 1048576),
        "os": (_first(r'^PRETTY_NAME="?([^"\n]+)', "/etc/os-release") or "unknown") + f", Linux {_kernel()}",
        "ansible_core": _said([str(BIN / "ansible"), "--version"], r"core ([\w.]+)"),
        "python": platform.python_version(),
        "python_of_nodes": _said(["/usr/bin/python3", "--version"], r"([\d.]+)"),
        "otp": _said(["erl", "-noshell", "-eval", _OTP], r"(\S+)"),
    }


def _kernel() -> str:
    """Its version, without what whoever built it has put behind that."""
    found = re.match(r"[0-9.]+[0-9]", platform.release())
    return found.group() if found else "unknown"


_OTP = (
    '{ok, T} = file:read_file(filename:join([code:root_dir(), "releases", erlang:system_info(otp_release),'
    ' "OTP_VERSION"])), io:put_chars(T), halt().'
)


def busy_percent(seconds: float = 5.0) -> int:
    """How much of the processors is at work for others, while nothing is done here for so many seconds."""
    before = _processor_ticks()
    time.sleep(seconds)
    total, idle = (now - then for now, then in zip(_processor_ticks(), before, strict=True))
    return round(100 * (1 - idle / total)) if total else 0


def _processor_ticks() -> tuple[int, int]:
    """Of all processors since the machine began: all, and those with nothing to do."""
    with open("/proc/stat", encoding="ascii") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def spread(values: Sequence[float]) -> dict[str, float]:
    """``median``, ``min`` and ``max``."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def write_json(path: Path, data: object) -> None:
    """Write it for people to read as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _first(pattern: str, path: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def _said(argv: Sequence[str], pattern: str) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(pattern, done.stdout)
    return found.group(1) if found else "unknown"


def task_name(name: str) -> str:
    """The name of a task without that of its role, and the same for every wave."""
    return re.sub(r" \(wave \d+ of \d+\)$", "", name.rpartition(" : ")[2])
