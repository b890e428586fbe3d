# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Plays recorded calls again on a test broker, and compares what it says with what was recorded."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.broker.broker import Broker

TRANSCRIPTS = Path(__file__).resolve().parent / "transcripts"
RECORDED_WORDS = "otp25.2.3-1-debian12-amd64"
RECORDED_ROOT = "/opt/emqx"
# Of EMQX, not of the test broker: nothing of the contract depends on them.
NOT_OURS = {"bin/emqx.cmd", "bin/emqx_ctl.cmd", "bin/emqx_cluster_rescue", "bin/node_dump"}
# The listeners and numbers that the test broker has.
OUR_LISTENERS = ("mqtt:tcp:external", "mqtt:tcp:internal")


def recorded(group: str) -> list[dict[str, Any]]:
    """The cases of a group, in the order in which they were recorded."""
    cases: list[dict[str, Any]] = json.loads((TRANSCRIPTS / f"{group}.json").read_text())
    return cases


@dataclass
class Outcome:
    """What a call did."""

    rc: int
    stdout: str
    stderr: str


@dataclass
class Replay:
    """A group of cases, on a node or on several."""

    group: str
    node: Broker
    names: Mapping[str, str] = field(default_factory=dict)
    """Node name here -> node name in the recording."""

    def __post_init__(self) -> None:
        self.cases = recorded(self.group)
        self.at = 0

    def next_case(self, name: str) -> dict[str, Any]:
        """Take the next case, which has to be the one named."""
        case = self.cases[self.at]
        assert case["case"] == name, f"{case['case']} comes before {name}"
        self.at += 1
        return case

    def until(self, last: str) -> None:
        """Play all cases up to this one."""
        while True:
            case = self.cases[self.at]
            self.play(case["case"])
            if case["case"] == last:
                return

    def play(self, name: str, **options: Any) -> None:
        """Run one case and compare."""
        case = self.next_case(name)
        self.compare(case, self.run(case["cmd"], **options))

    def run(self, command: str, *, user: int | None = None) -> Outcome:
        """Run a command line as it was recorded, in the node's directory."""
        # Recorded as the list of arguments that it was; a shell would not take it.
        command = re.sub(r" eval ([^'].*)$", r" eval '\1'", command)
        with self.node.using_tmp():
            result = subprocess.run(
                ["sh", "-c", command],
                cwd=self.node.home,
                env=self.node.env | {"HOME": str(self.node.home)},
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=120,
                text=True,
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
            )
        return Outcome(result.returncode, result.stdout, result.stderr)

    def run_killed(self, command: str, when: str, ready: Callable[[], bool] = lambda: True) -> Outcome:
        """Kill the command with all its processes as soon as it has printed something and a condition holds."""
        with self.node.using_tmp():
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command.split('#', maxsplit=1)[0]}"],
                cwd=self.node.home,
                env=self.node.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            assert process.stdout is not None
            seen = b""
            deadline = time.monotonic() + 60
            with selectors.DefaultSelector() as selector, process.stdout as output:
                selector.register(output, selectors.EVENT_READ)
                while when.encode() not in seen and time.monotonic() < deadline:
                    if selector.select(1):
                        chunk = os.read(output.fileno(), 4096)
                        if not chunk:
                            break
                        seen += chunk
                while not ready() and time.monotonic() < deadline:
                    time.sleep(0.05)
                os.killpg(process.pid, signal.SIGKILL)
                seen += output.read()
            process.wait()
        return Outcome(process.returncode, seen.decode(), "")

    # Comparing

    def compare(self, case: dict[str, Any], outcome: Outcome) -> None:
        """Fail when the outcome is not the recorded one."""
        name = case["case"]
        was = (case["rc"], self.normal("\n".join(case["stdout"])), reason("\n".join(case.get("stderr", []))))
        now = (outcome.rc, self.normal(self.ours(outcome.stdout)), reason(self.ours(outcome.stderr)))
        assert now == was, f"{name}: {case['cmd']}\n{outcome.stdout}\n{outcome.stderr}"
        if "after" in case:
            here, there = self.state(), self.recorded_state(case)
            wrong = [f"{k}: {here[k]} was {there[k]}" for k in there if here[k] != there[k]]
            assert not wrong, f"{name}: " + "; ".join(wrong)

    def ours(self, text: str) -> str:
        """The words of this machine and node made those of the recording."""
        words = re.search(r"-(otp.*)\.zip", self.node.package_name())
        assert words
        text = text.replace(str(self.node.home), RECORDED_ROOT).replace(words[1], RECORDED_WORDS)
        for here, there in self.names.items():
            text = text.replace(here, there)
        return text.replace(self.node.node_name, "emqx@127.0.0.1")

    def normal(self, text: str) -> str:
        """Without what differs from call to call."""
        for pattern, replacement in (
            (r"emqx_untar_\d+", "emqx_untar_N"),
            (r"erts-[\d.]+", "erts-V"),
            (r"^\d+$", "PID"),
            (r"(uptime +: ).*", r"\1U"),
            (r"(datetime +: ).*", r"\1D"),
            (r"(listen_on +: [\d.]+):\d+", r"\1:PORT"),
            (r'"\w+-\d[\d.]*"(,\s*"\w+-\d[\d.]*")*', '"APPS"'),
            (r"(?ms)^--- df /tmp.*", "DF"),
            (r"(?m)^none +\d+.*", "DF"),
            (r"/tmp/emqx_untar_N\n", ""),
        ):
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        if text.startswith("Installed versions:") or "\nInstalled versions:" in text:
            head, _unused, tail = text.partition("Installed versions:\n")
            lines = tail.split("\n")
            text = "\n".join(
                [head + "Installed versions:", *sorted(x for x in lines if x.startswith("*")), *lines[-2:]]
            )
        if re.search(r"[\[{(]", text):
            # A term: where io:format breaks its lines depends on the length of a path.
            text = re.sub(r"\s+", " ", text)
            text = re.sub(r"([\[{(,]) ", r"\1", text)
        return text.strip("\n") if text.strip("\n") == "" else text

    def state(self) -> dict[str, Any]:
        """The state on the disk, as far as a recording may hold it."""
        home = self.node.home
        files = []
        for path in [*home.glob("bin/*"), *home.glob("releases/*"), *home.glob("releases/4*/*")]:
            if not path.is_dir():
                mode = path.lstat().st_mode
                files.append(f"{'l' if path.is_symlink() else '-'}{permissions(mode)} {path.relative_to(home)}")
        table = (home / "releases" / "RELEASES").read_text()
        boots = re.findall(r'^REL_VSN="(.*)"', (home / "releases" / "emqx_vars").read_text(), re.MULTILINE)
        names = [str(path.relative_to(home)) for folder in ("bin", "releases") for path in (home / folder).iterdir()]
        return {
            "files": sorted(self.ours(x) for x in files),
            "names": sorted(self.ours(x) for x in names),
            "start_erl.data": re.sub(r"^[\d.]+ ", "", (home / "releases" / "start_erl.data").read_text()),
            "emqx_vars": boots,
            "appended": boots[1:],
            "RELEASES": dict(re.findall(r'\{release,"emqx","([^"]+)".*?\],\s*(\w+)\}', table, re.DOTALL)),
        }

    def recorded_state(self, case: dict[str, Any]) -> dict[str, Any]:
        """What the recording says of the same; most have modes of files, group p their names alone."""
        after = {key: value for key, value in case["after"].items() if key != "emqx_untar"}
        if "files" in after:
            after["files"] = sorted(x for x in after["files"] if x[0] != "d" and x.split()[1] not in NOT_OURS)
        if "names" in after:
            after["names"] = sorted(set(after["names"]) - NOT_OURS)
        if "start_erl.data" in after:
            after["start_erl.data"] = after["start_erl.data"].split()[1]
        return after


def permissions(mode: int) -> str:
    letters = "rwxrwxrwx"
    return "".join(c if mode & (0o400 >> i) else "-" for i, c in enumerate(letters))


def reason(text: str) -> str:
    """An exception without its trace: which functions a script is made of is its own affair."""
    text = re.split(r"\n +(?:in function|in call from|called as) ", text)[0]
    text = re.sub(r"__escript__[\dN_]+", "__escript__N", text)
    text = re.sub(r"\(/opt/emqx/bin/install_upgrade.escript, line \d+\)", "(SCRIPT)", text)
    text = text.replace("realcookie", "emqxsecretcookie")
    text = re.sub(r'\{bad_crc,\s*"[^"]*"\}', '{bad_crc,"FILE"}', text)
    return re.sub(r"([\[{(,]) ", r"\1", re.sub(r"\s+", " ", text)).strip()
