# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Counts what a run costs: results of tasks by host, and executions on nodes."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: count_results
type: aggregate
short_description: Counts results of tasks
description: Writes the counts as JSON to the file that the environment variable COUNT_RESULTS_FILE names.
"""


class CallbackModule(CallbackBase):
    """Every event of a host is a result, also one of a task that was skipped; tasks that are run once stand apart."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "count_results"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.results: Counter[str] = Counter()
        self.once = 0
        self.executions: Counter[str] = Counter()

    def _count(self, result: Any) -> None:
        host = result._host.get_name()
        if result._task.run_once:
            self.once += 1
        else:
            self.results[host] += 1
        self.executions[host] += int(result._result.get("remote_executions") or 0)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Count it."""
        self._count(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Count it."""
        del ignore_errors
        self._count(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Count it."""
        self._count(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Count it."""
        self._count(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the counts."""
        del stats
        found = {"results": self.results, "remote_executions": self.executions, "once": self.once}
        with open(os.environ["COUNT_RESULTS_FILE"], "w", encoding="utf-8") as stream:
            json.dump(found, stream)
