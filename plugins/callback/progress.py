# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: A line a node and phase of an upgrade
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - >-
    Shows the playbooks and the role of this collection in one line for each node and phase, with the wave in it, tables
    as they are, each failure once, and at the end what became of the run.
  - >-
    Everything else, such as the tasks of hooks and of other plays, is shown as by P(ansible.builtin.default#callback),
    and so is everything with C(-v).
  - On a terminal the last line is a progress bar.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
options:
  progress_bar:
    description:
      - Whether a progress bar is drawn below the lines.
      - >-
        V(auto) draws it where the standard output is a terminal, but not where E(TERM) is V(dumb), where E(NO_COLOR) or
        E(CI) is set, or where the run is a job of AWX or Tower.
      - V(always) draws it also where the output goes on to another program, V(never) does not draw it.
    type: str
    choices: [auto, always, never]
    default: auto
    env:
      - name: EMQX_FLEET_PROGRESS_BAR
    ini:
      - section: callback_emqx_fleet_progress
        key: progress_bar
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ansible import constants, context
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import terminal
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import progress

_COLLECTION = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_OWN = tuple(os.path.join(_COLLECTION, folder, "") for folder in ("roles", "playbooks"))
#: Tasks that end the run when they fail, for whatever host they ran.
_ENDS = (
    "emqx_settings",
    "emqx_plan",
    "emqx_decide",
    "emqx_report",
    "emqx_status",
    "emqx_split",
    "emqx_cleanup",
    "emqx_show",
    "emqx_probe",
    "fail",
)
_COLORS = {
    "ok": constants.COLOR_OK,
    "changed": constants.COLOR_CHANGED,
    "warning": constants.COLOR_WARN,
    "failed": constants.COLOR_ERROR,
}

#: Shows a result of a task of this collection (name of the action, task, host, result), if it is as it should be.
Way = Callable[[str, Any, str, Mapping[str, Any]], bool]


class CallbackModule(Default):
    """What it does not know it leaves to the callback that it is derived from."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "emqx.fleet.progress"
    #: For ``terminal.show``.
    SHOWS_TEXT = True

    def __init__(self) -> None:
        super().__init__()
        self._run = progress.Run()
        self._columns = progress.Columns()
        #: Whether a play or a task of this collection was seen, and whether the last play was one.
        self._is_ours = self._in_own_play = False
        self._starts_own = self._is_apart = False
        self._started: dict[tuple[str, str], float] = {}
        self._halted: set[str] = set()
        #: What is said at the very end, and failures of hosts that are no failures of theirs.
        self._verdict = ""
        self._told: Counter[str] = Counter()
        self._bottom: terminal.BottomLine | None = None
        #: The phase of the progress bar with the wave in it, and how many nodes have a turn in it.
        self._phase = self._label = ""
        self._total = self._hosts = 0
        #: By phase, the hosts that had their turns; and those that failed in any.
        self._done: dict[str, set[str]] = {}
        self._failed: set[str] = set()
        self._paths: dict[str, bool] = {}

    # Plays and tasks

    def v2_playbook_on_play_start(self, play: Any) -> None:
        own = self._is_own(play)
        if own and not self._is_verbose:
            self._play = play
            if not self._in_own_play:
                mode = " [CHECK MODE]" if play.check_mode else ""
                self._say_apart(f"{play.get_name().strip()}{mode}")
        else:
            super().v2_playbook_on_play_start(play)
            self._is_apart = True
        self._in_own_play = own
        self._is_ours = self._is_ours or own
        if own:
            self._look_at_hosts(play)
        self._draw()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._say_verdict()
        own = self._is_own(task)
        # Its banner comes where one of its results is left to the default.
        self._starts_own = own and not self._is_verbose
        try:
            super().v2_playbook_on_task_start(task, is_conditional)
        finally:
            self._starts_own = False
        if own:
            self._is_ours = True
            if _action(task) == "emqx_turn":
                self._begin(_phase(task))
        self._draw()

    def _print_task_banner(self, task: Any) -> None:
        if not self._starts_own:
            super()._print_task_banner(task)
            self._is_apart = True

    def v2_playbook_on_include(self, included_file: Any) -> None:
        path = str(getattr(included_file, "_filename", ""))
        if self._is_verbose or not self._is_in_collection(path):
            super().v2_playbook_on_include(included_file)
            self._is_apart = True
            self._draw()

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if not self._verdict or self._is_verbose:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._started[task._uuid, host.get_name()] = time.monotonic()
        super().v2_runner_on_start(host, task)

    # Results

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._is_shown(result, self._ok):
            super().v2_runner_on_ok(result)
        self._draw()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if ignore_errors or not self._is_shown(result, self._failure):
            super().v2_runner_on_failed(result, ignore_errors)
        self._draw()

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not self._is_shown(result, self._unreachable):
            super().v2_runner_on_unreachable(result)
        self._draw()

    def v2_runner_on_skipped(self, result: Any) -> None:
        if not self._is_shown(result, self._nothing):
            super().v2_runner_on_skipped(result)
        self._draw()

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if not self._is_shown(result, self._nothing):
            super().v2_runner_item_on_skipped(result)
        self._draw()

    def v2_on_file_diff(self, result: Any) -> None:
        super().v2_on_file_diff(result)
        self._draw()

    def _is_shown(self, result: Any, way: Way) -> bool:
        """Whether the result is one of this collection's own, and was shown."""
        # Those of before ansible-core 2.19 have no other names.
        task = result.task if hasattr(result, "task") else result._task
        host = (result.host if hasattr(result, "host") else result._host).get_name()
        if not self._is_own(task):
            return False
        data = result.result if hasattr(result, "result") else result._result
        try:
            shown = way(_action(task), task, host, data)
        except Exception:  # noqa: BLE001
            # Whatever shape it has, the default shows it; raised, it would be lost.
            return False
        if shown and not self._is_verbose:
            self._handle_warnings(data)
        return shown and not self._is_verbose

    def _ok(self, action: str, task: Any, host: str, data: Mapping[str, Any]) -> bool:
        entry = None
        if action == "emqx_turn":
            entry = progress.turn(_phase(task), host, data, self._run, self._seconds(task, host))
            self._run.touched = self._run.touched or not (task.check_mode or _phase(task) in ("read", "preview"))
        elif action == "emqx_plan":
            self._run.planned = data
            self._columns.fit([f"wave {self._run.waves}/{self._run.waves}"], list(data["plan"]["nodes"]))
        elif action == "emqx_decide":
            entry = self._decided(data)
        elif action == "emqx_report":
            self._run.report, self._phase = data["report"], ""
        elif action == "emqx_show":
            self._phase = ""
            # Tables have their widths; a sentence has not.
            text = data["msg"].rstrip()
            self._say_apart(text if "\n" in text else progress.prose(text, self._width))
        elif action == "emqx_cleanup" and "removed" in data:
            entry = progress.removed(host, data)
        if entry is not None:
            self._enter(entry)
        return True

    def _failure(self, action: str, task: Any, host: str, data: Mapping[str, Any]) -> bool:
        if action == "emqx_turn":
            self._run.touched = True
            self._enter(progress.failure(_phase(task), host, data, self._run))
        elif action == "emqx_hook" or (action == "emqx_cleanup" and "removed" in data):
            self._enter(progress.Entry(action[5:], host, f"FAILED  {data['msg']}", "failed"))
        elif action in _ENDS:
            message = progress.refusal(data["msg"], self._run)
            self._verdict, self._phase = message, ""
            self._told[host] += 1
        else:
            return False
        return True

    def _unreachable(self, action: str, task: Any, host: str, data: Mapping[str, Any]) -> bool:
        label = progress.label(_phase(task), self._run) if action == "emqx_turn" else action.removeprefix("emqx_")
        self._enter(progress.Entry(label, host, f"UNREACHABLE  {data['msg']}", "failed"))
        return True

    def _nothing(self, *_arguments: Any) -> bool:
        return True

    def _decided(self, data: Mapping[str, Any]) -> progress.Entry | None:
        """Why no node goes on, once. A host that was lost and came back decides anew what is over."""
        if data["rank"] < self._run.decision.get("rank", 0):
            return None
        self._run.decision = data
        entry = progress.halt(self._run)
        if entry is None or entry.text in self._halted:
            return None
        self._halted.add(entry.text)
        return entry

    # The end

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._phase = ""
        self._draw()
        failed, verdict = bool(self._verdict), self._verdict or progress.verdict(self._run)
        self._verdict = ""
        if self._is_ours and not self._is_verbose:
            self._recap(stats)
        else:
            super().v2_playbook_on_stats(stats)
        if verdict:
            self._say_apart(progress.prose(verdict, self._width), "failed" if failed else "ok")

    def _recap(self, stats: Any) -> None:
        counts = {host: stats.summarize(host) for host in stats.processed}
        self._is_apart = True
        for text, kind in progress.recap(counts, self._told):
            self._say(text, kind)
        if stats.custom and self.get_option("show_custom_stats"):
            self._display.banner("CUSTOM STATS: ")
            for host, values in sorted(stats.custom.items()):
                self._say(f"\t{'RUN' if host == '_run' else host}: {self._dump_results(values, indent=1)}")
        if context.CLIARGS["check"] and self.get_option("check_mode_markers"):
            self._display.banner("DRY RUN")

    def _say_verdict(self) -> None:
        """It was not the end: somebody's rescue goes on."""
        if self._verdict:
            verdict, self._verdict = self._verdict, ""
            self._say_apart(progress.prose(verdict, self._width), "failed")

    # Lines

    def _enter(self, entry: progress.Entry) -> None:
        if self._is_verbose:
            return
        self._columns.fit([entry.label], [])
        width = None
        if entry.kind == "failed":
            self._failed.add(entry.host)
            width = self._width
        if entry.host:
            self._done.setdefault(self._phase, set()).add(entry.host)
        self._say(progress.line(entry, self._columns, width), entry.kind)

    def _say(self, text: str, kind: str = "") -> None:
        """Print it in one piece, after an empty line where it is not to stand right below what is there."""
        stderr = kind == "failed" and self.get_option("display_failed_stderr")
        if self._is_apart:
            self._display.display("", stderr=stderr)
            self._is_apart = False
        self._display.display(text, color=_COLORS.get(kind), stderr=stderr)

    def _say_apart(self, text: str, kind: str = "") -> None:
        self._is_apart = True
        self._say(text, kind)
        self._is_apart = True

    @property
    def _width(self) -> int | None:
        """Where lines are wrapped; None where they go on to a file or another program."""
        return terminal.width_of(sys.stdout) if terminal.is_screen(sys.stdout, os.environ) else None

    # The progress bar

    def _draw(self) -> None:
        if not self._in_own_play or self._is_verbose:
            return
        if self._bottom is None and terminal.has_bar(self._bar, sys.stdout, os.environ):
            self._bottom = terminal.BottomLine(self._display, sys.stdout)
        if self._bottom is None:
            return
        text = ""
        if self._phase and self._total:
            done, width = len(self._done.get(self._phase, ())), terminal.width_of(sys.stdout)
            text = progress.bar_line(self._label, done, self._total, len(self._failed), width)
        self._bottom.draw(text)

    def _begin(self, phase: str) -> None:
        try:
            total = self._hosts if phase == "read" else progress.turns(phase, self._run)
            label = progress.label(phase, self._run)
        except Exception:  # noqa: BLE001
            # As of results; no bar is better than no result.
            total, label = 0, ""
        self._phase, self._total, self._label = phase, total, label

    @property
    def _bar(self) -> str:
        """The option; what is derived from this callback, such as that of AWX, may not know it."""
        try:
            return str(self.get_option("progress_bar"))
        except KeyError:
            return "auto"

    # What is ours

    @property
    def _is_verbose(self) -> bool:
        return bool(self._display.verbosity)

    def _is_own(self, thing: Any) -> bool:
        """Whether a play or a task stands in a file of this collection; those of a hook do not."""
        path = str(thing.get_path() or "").rpartition(":")[0]
        return self._is_in_collection(path)

    def _is_in_collection(self, path: str) -> bool:
        if path not in self._paths:
            self._paths[path] = os.path.realpath(path).startswith(_OWN)
        return self._paths[path]

    def _look_at_hosts(self, play: Any) -> None:
        try:
            hosts = play.get_variable_manager().get_vars(play=play)["ansible_play_hosts_all"]
        except Exception:  # noqa: BLE001
            # Then the columns are found as the lines come.
            return
        self._hosts = len(hosts)
        self._columns.fit(["commit"], [str(host) for host in hosts])

    def _seconds(self, task: Any, host: str) -> float | None:
        began = self._started.pop((task._uuid, host), None)
        return None if began is None else time.monotonic() - began


def _action(task: Any) -> str:
    """The name of what a task does, without that of the collection."""
    return str(task.action).rpartition(".")[2]


def _phase(task: Any) -> str:
    return str(task.args.get("phase") or "")
