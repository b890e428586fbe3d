# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running modules on a node whose connection may be lost meanwhile, so that no call ends a play without a word."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

RETRY_SECONDS = 3.0
_LINES_SHOWN = 3


def run_module(
    action: ActionBase,
    name: str,
    arguments: dict[str, Any],
    task_vars: dict[str, Any] | None,
    reconnect_timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Run a module of this collection, and run it again when the connection was lost; see :func:`persistently`.

    That is safe because every module of this collection finds out where the node is and goes on from there.
    """

    def call() -> dict[str, Any]:
        answer: dict[str, Any] = action._execute_module(  # pylint: disable=protected-access
            module_name=f"emqx.fleet.{name}", module_args=arguments, task_vars=task_vars
        )
        return answer

    return persistently(action, call, reconnect_timeout, sleep, clock)


def persistently(
    action: ActionBase,
    call: Callable[[], dict[str, Any]],
    reconnect_timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """What ``call`` returns, called again while the connection is lost.

    A connection that does not come back within ``reconnect_timeout`` seconds is a failure (``failure_class: unknown``,
    ``connection_lost: true``) and not an unreachable host, so that a block's rescue handles it like any other. So is
    whatever else Ansible raises, as for a become password that is missing.
    """
    started = clock()
    lost = 0
    while True:
        try:
            answer = call()
            if not answer.get("unreachable"):
                if lost:
                    answer["connection_losses"] = lost
                return _explained(answer)
            reason = str(answer.get("msg"))
        except AnsibleConnectionFailure as error:
            reason = str(error)
        except AnsibleError as error:
            said = f"The node cannot be worked on: {error}"
            return {"failed": True, "failure_class": "unknown", "reason": str(error), "msg": said}
        lost += 1
        if clock() - started >= reconnect_timeout:
            return {
                "failed": True,
                "connection_lost": True,
                "failure_class": "unknown",
                "reason": reason.strip(),
                "msg": f"The connection to the node was lost and did not come back within {reconnect_timeout:g} s: "
                f"{reason.strip()} What was begun there may still be at work; run the same task again.",
            }
        # Some connections connect anew in their reset, and that may fail as well.
        with contextlib.suppress(AnsibleError):
            action._connection.reset()  # pylint: disable=protected-access
        sleep(RETRY_SECONDS)


def _explained(answer: dict[str, Any]) -> dict[str, Any]:
    """A module that never came to its own words, as when become fails, is explained by what the node printed."""
    if not answer.get("failed") or not {"module_stdout", "module_stderr"} & set(answer):
        return answer
    printed = f"{answer.get('module_stdout') or ''}\n{answer.get('module_stderr') or ''}".splitlines()
    said = " / ".join([line.strip() for line in printed if line.strip()][-_LINES_SHOWN:])
    reason = f"{str(answer.get('msg') or '').strip()} The node said: {said}" if said else str(answer.get("msg"))
    return {**answer, "reason": reason, "msg": reason}


class Node:
    """The host of a task, as its turn works on it. No method raises for what happens there or on the way there."""

    def __init__(
        self,
        action: ActionBase,
        task_vars: dict[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        self._action = action
        self._task_vars = task_vars
        self._executable = settings.get("executable") or None
        self.reconnect_timeout = float(settings.get("reconnect_timeout") or 0)
        #: How often the connection was lost and came back.
        self.connection_losses = 0

    def run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None = None) -> dict[str, Any]:
        """The result of a module of this collection; arguments that are None are left out."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if self._executable:
            given["executable"] = self._executable
        timeout = self.reconnect_timeout if reconnect_timeout is None else reconnect_timeout
        answer = run_module(self._action, module, given, self._task_vars, timeout)
        self.connection_losses += int(answer.get("connection_losses") or 0)
        return answer

    def make_directory(self, path: str, owner: str) -> dict[str, Any]:
        """Result of making a directory of mode 0755."""
        return self._file({"path": path, "state": "directory", "owner": owner, "mode": "0755"})

    def remove(self, path: str) -> dict[str, Any]:
        """Result of removing a file or a tree."""
        return self._file({"path": path, "state": "absent"})

    def copy(self, source: str, target: str, owner: str) -> dict[str, Any]:
        """Result of copying a file of the controller, mode 0644; nothing is copied that is there already."""
        arguments = {"src": source, "dest": target, "owner": owner, "mode": "0644"}
        return persistently(self._action, lambda: self._copy(arguments), self.reconnect_timeout)

    def _file(self, arguments: dict[str, Any]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            answer: dict[str, Any] = self._action._execute_module(  # pylint: disable=protected-access
                module_name="ansible.builtin.file", module_args=arguments, task_vars=self._task_vars
            )
            return answer

        return persistently(self._action, call, self.reconnect_timeout)

    def _copy(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The copy action is run as the template action runs it, with a task of its own."""
        action = self._action
        task = action._task.copy()  # pylint: disable=protected-access
        task.args = arguments
        copying = action._shared_loader_obj.action_loader.get(  # pylint: disable=protected-access
            "ansible.builtin.copy",
            task=task,
            connection=action._connection,  # pylint: disable=protected-access
            play_context=action._play_context,  # pylint: disable=protected-access
            loader=action._loader,  # pylint: disable=protected-access
            templar=action._templar,  # pylint: disable=protected-access
            shared_loader_obj=action._shared_loader_obj,  # pylint: disable=protected-access
        )
        answer: dict[str, Any] = copying.run(task_vars=self._task_vars)
        return answer
