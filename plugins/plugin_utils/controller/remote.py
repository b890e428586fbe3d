# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running modules on a node whose connection may be lost meanwhile, so that no call ends a play without a word."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked

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
    lost, lost_at = 0, 0.0
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
        # What was done until then may have taken longer than that.
        lost_at = lost_at if lost else clock()
        lost += 1
        if clock() - lost_at >= reconnect_timeout:
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


class Call(NamedTuple):
    """A call of a row: a module of this collection or another kind of ``module_utils/calls.py``, and its arguments.

    ``expect``: what a reading must find for the row to go on, as ``emqx_calls`` documents it.
    """

    kind: str
    arguments: Mapping[str, Any]
    expect: Mapping[str, Any] | None = None


class Node:
    """The host of a task, as its turn works on it. No method raises for what happens there or on the way there."""

    def __init__(
        self,
        action: ActionBase,
        task_vars: dict[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        self._action = action
        # A Python that shall not buffer reads its program byte by byte where that comes through the connection, which
        # takes it as long as everything else. Set to nothing it is as if it were not set.
        task = action._task  # pylint: disable=protected-access
        task.environment = [*(task.environment or []), {"PYTHONUNBUFFERED": ""}]
        self._task_vars = task_vars
        self._executable = settings.get("executable") or None
        self.reconnect_timeout = float(settings.get("reconnect_timeout") or 0)
        #: How often the connection was lost and came back.
        self.connection_losses = 0
        #: How often something was executed on the host, or sent there.
        self.executions = 0
        self._title = ""
        self._row: list[Call] = []
        self._results: list[dict[str, Any]] | None = None

    def ahead(self, title: str, row: Sequence[Call]) -> None:
        """Say what will be run next, if all goes well: it then takes one remote execution.

        :meth:`run` is called all the same, and whoever calls it decides on each result; what differs from what was
        said is run by itself. ``title`` names the whole row where the connection to it is lost.
        """
        self._title, self._row, self._results = title, [_plain(call) for call in row], None

    @property
    def has_row(self) -> bool:
        """Whether something that was said ahead is still to be run, as far as is known."""
        return bool(self._row) and self._results != []

    def run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None = None) -> dict[str, Any]:
        """The result of a module of this collection; arguments that are None are left out."""
        timeout = self.reconnect_timeout if reconnect_timeout is None else reconnect_timeout
        asked = _plain(Call(module, arguments))
        told = self._from_row(asked)
        if told is not None:
            return told
        if asked.kind not in _MODULES:
            answer = self._execute([asked], timeout)
            results = answer.get("results")
            return dict(results[0]) if results else answer
        given = dict(asked.arguments)
        if self._executable:
            given["executable"] = self._executable
        return self._run_module(module, given, timeout)

    def remove(self, path: str) -> dict[str, Any]:
        """Result of removing a file or a tree."""
        return self.run("remove", {"path": path})

    def send(self, source: str, name: str) -> dict[str, Any]:
        """Send a file of the controller; ``path`` is where it lies on the node until the end of the task."""
        self.executions += 1
        return self._counted(persistently(self._action, lambda: self._send(source, name), self.reconnect_timeout))

    def _from_row(self, asked: Call) -> dict[str, Any] | None:
        """The result of a call that was said ahead; the first one has the whole row executed."""
        if not self._row or (asked.kind, asked.arguments) != self._row[0][:2]:
            self._row, self._results = [], None
            return None
        if self._results is None:
            row, self._row = self._row, []
            answer = self._execute(row, self.reconnect_timeout)
            results = answer.get("results")
            if not results:
                return {**answer, "task": self._title}
            self._row, self._results = row, [dict(result) for result in results]
        if not self._results:
            # The row ended before it.
            self._row = []
            return None
        self._row.pop(0)
        return self._results.pop(0)

    def _execute(self, row: Sequence[Call], timeout: float) -> dict[str, Any]:
        """The answer of one remote execution of these calls."""
        secret_urls: dict[str, str] = {}
        arguments = {
            "row": [_without_secrets(call, secret_urls)._asdict() for call in row],
            "identity": uuid.uuid4().hex,
            "lock_timeout": timeout,
            **({"executable": self._executable} if self._executable else {}),
        }
        if secret_urls:
            arguments["secret_urls"] = secret_urls
        return self._run_module("emqx_calls", arguments, timeout)

    def _run_module(self, module: str, arguments: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.executions += 1
        return self._counted(run_module(self._action, module, arguments, self._task_vars, timeout))

    def _counted(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.connection_losses += int(answer.get("connection_losses") or 0)
        return answer

    def _send(self, source: str, name: str) -> dict[str, Any]:
        """By the means of the copy action: into the task's temporary directory, which the module may read."""
        action = self._action
        shell = action._connection._shell  # pylint: disable=protected-access
        if shell.tmpdir is None:
            action._make_tmp_path()  # pylint: disable=protected-access
        target = shell.join_path(shell.tmpdir, name)
        action._transfer_file(source, target)  # pylint: disable=protected-access
        action._fixup_perms2((shell.tmpdir, target), execute=False)  # pylint: disable=protected-access
        return {"path": target}


#: Modules that are run by themselves; the other kinds of calls are run as a row of one. So are readings: Ansible packs
#: each module once in a run, which takes it longer than many a module takes.
_MODULES = ("emqx_release", "emqx_reservation", "emqx_evidence")


def _without_secrets(call: Call, secret_urls: dict[str, str]) -> Call:
    """The call without URLs that have credentials, which go into ``secret_urls``: a row is logged on the node."""
    urls = call.arguments.get("urls") or {}
    found = {name: url for name, url in urls.items() if masked(url) != url}
    if not found:
        return call
    secret_urls.update(found)
    rest = {name: url for name, url in urls.items() if name not in found}
    return call._replace(arguments={**call.arguments, "urls": rest})


def _plain(call: Call) -> Call:
    """The call without arguments that are None."""
    return call._replace(arguments={name: value for name, value in call.arguments.items() if value is not None})
