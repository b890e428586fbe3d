# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""When each host began and ended each task, as lines of JSON in the file that EMQX_BENCH_TIMES names."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_times
type: notification
short_description: When each host began and ended each task
description:
  - Writes lines of JSON for the benchmarks of this collection.
  - C(event) is C(task), C(begin) or C(end); C(time) is of the monotonic clock in seconds.
"""


class CallbackModule(CallbackBase):
    """Writes what the benchmarks read."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get("EMQX_BENCH_TIMES")
        # Line by line, so that a run which fails has told how far it came. The file is open as long as the process is.
        self._stream = open(path, "w", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115

    def _tell(self, event: str, **more: Any) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps({"event": event, "time": time.monotonic(), **more}) + "\n")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins, for whatever hosts."""
        del is_conditional
        arguments = task.args if isinstance(task.args, dict) else {}
        phase = arguments.get("phase") if task.action.startswith("emqx.fleet.") else None
        self._tell("task", task=task._uuid, name=task.get_name(), action=task.action, phase=phase)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host begins."""
        self._tell("begin", task=task._uuid, host=host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """A host ends well."""
        self._end(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A host has nothing to do."""
        self._end(result, skipped=True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A host fails."""
        del ignore_errors
        self._end(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host cannot be reached."""
        self._end(result, failed=True)

    def _end(self, result: Any, skipped: bool = False, failed: bool = False) -> None:
        # ansible-core 2.19 and later have names of their own for what a callback may read.
        host = getattr(result, "host", None) or result._host
        task = getattr(result, "task", None) or result._task
        found = getattr(result, "result", None)
        told = found if isinstance(found, dict) else result._result
        outcome = told.get("outcome") or {}
        rows = [*(outcome.get("actions") or []), *(outcome.get("commit_actions") or [])]
        self._tell(
            "end",
            task=task._uuid,
            host=host.get_name(),
            changed=bool(told.get("changed")),
            skipped=skipped,
            failed=failed,
            # Of the whole run so far: what the node was told to do, and how long that took.
            actions=[{"action": row.get("action"), "seconds": row.get("seconds")} for row in rows],
        )
