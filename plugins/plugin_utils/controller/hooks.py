# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether Ansible can load a user's file of tasks, found out by Ansible's own loading and without running anything.

Why this must be known beforehand: an include whose file is missing fails the host, which a rescue handles. But broken
YAML, a module that is not known or a keyword that is not raise an error outside of any task, and so do some things that
are only looked at when the task's turn has come (``notify``, ``meta``, ``run_once``, ``throttle``). No rescue sees
those: they end the whole of ansible-playbook at once, in the middle of a roll-out. Seen on ansible-core 2.16 to 2.21.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.playbook.block import Block
from ansible.playbook.helpers import load_list_of_blocks
from ansible.playbook.role_include import IncludeRole
from ansible.playbook.task_include import TaskInclude
from ansible.template import Templar
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import ansible_errors

#: What the strategies of Ansible know, the last one from the end of every role. Another word ends the run.
_META = (
    "noop",
    "flush_handlers",
    "refresh_inventory",
    "clear_facts",
    "clear_host_errors",
    "reset_connection",
    "role_complete",
)
_ENDING_META = ("end_host", "end_batch", "end_play", "end_role")
#: Keywords that are worked out outside of any task.
_OUTSIDE = ("run_once", "throttle", "any_errors_fatal")
_ALIKE = "An error there ends the whole run, and no rescue sees it."


@dataclasses.dataclass
class Found:
    """What is wrong with a file, and what could not be looked at. Each is a phrase that begins with the place."""

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def check(path: str, hook: str, task: Any, host: Any, loader: Any, variable_manager: Any) -> Found:
    """Load the file as ``include_tasks`` would, from the place of ``task``, and all that it includes and imports.

    ``hook`` is the name for the example of ``emqx_upgrade_hook`` by which names in the file are worked out. ``host`` is
    the one whose variables are used. The play of ``task`` is changed by what is loaded, so that this is for a worker
    process, which ends with its task.
    """
    checker = _Checker(task, host, loader, variable_manager)
    checker.hook(path, hook)
    return checker.found


def example(hook: str, hosts: Iterable[str]) -> dict[str, Any]:
    """What the tasks of a hook are told, for a run that is none."""
    return {"name": hook, "run": "example", "version": "4.4.19", "wave": 1, "hosts": list(hosts)}


class _Checker:
    def __init__(self, task: Any, host: Any, loader: Any, variable_manager: Any) -> None:
        self.found = Found()
        self._task = task
        self._host = host
        self._loader = loader
        self._variable_manager = variable_manager
        self._play = task.get_play()
        self._seen: set[str] = set()
        self._notified: list[tuple[str, str]] = []

    def hook(self, path: str, hook: str) -> None:
        include = TaskInclude.load(
            {"ansible.builtin.include_tasks": path},
            block=self._task._parent,  # pylint: disable=protected-access
            role=self._task._role,  # pylint: disable=protected-access
            variable_manager=self._variable_manager,
            loader=self._loader,
        )
        include.vars = {
            "emqx_upgrade_hook": example(hook, self._variables(self._task).get("ansible_play_hosts_all", ()))
        }
        self._file(path, include)
        self._handlers()

    def _file(self, path: str, include: Any) -> None:
        real = os.path.realpath(path)
        if real in self._seen:
            return
        self._seen.add(real)
        if os.path.isdir(path):
            self._problem(f"{path}: it is a folder, not a file of tasks")
            return
        try:
            data = self._read(path)
        except AnsibleFileNotFound:
            self._problem(f"{path}: there is no such file, or it cannot be read")
            return
        except (AnsibleError, OSError, ValueError) as error:
            self._problem(_told(error, path))
            return
        if data is None:
            return
        if not isinstance(data, list):
            self._problem(f"{path}: it is no list of tasks")
            return
        parent = _parent_block(include)
        # One by one, since Ansible tells of the first mistake only.
        for number, entry in enumerate(data, start=1):
            if entry is not None and not isinstance(entry, dict):
                self._problem(f"{path}: entry {number} of the list is no task")
                continue
            try:
                blocks = load_list_of_blocks(
                    [entry],
                    play=self._play,
                    parent_block=parent,
                    role=include._role,  # pylint: disable=protected-access
                    use_handlers=False,
                    variable_manager=self._variable_manager,
                    loader=self._loader,
                )
            except (AnsibleError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
                self._problem(_told(error, path))
                continue
            self._blocks(blocks, path)

    def _read(self, path: str) -> Any:
        # From 2.19 on, what may hold templates is said where it is read.
        may_say = "trusted_as_template" in inspect.signature(self._loader.load_from_file).parameters
        return self._loader.load_from_file(path, **({"trusted_as_template": True} if may_say else {}))

    def _blocks(self, blocks: Iterable[Any], path: str) -> None:
        for task in _tasks(blocks):
            self._outside(task, path)
            if isinstance(task, IncludeRole):
                self._role(task, path)
            elif isinstance(task, TaskInclude):
                self._include(task, path)
            elif task.action in constants._ACTION_META:  # pylint: disable=protected-access
                self._meta(task, path)

    def _outside(self, task: Any, path: str) -> None:
        """What a strategy looks at by itself, so that a mistake in it is no failure of a task."""
        for notified in _listed(task.notify):
            if not _is_template(notified):
                self._notified.append((str(notified), _place(task, path)))
        for keyword in _OUTSIDE:
            value = getattr(task, keyword)
            if not isinstance(value, str):
                continue
            try:
                value = self._worked_out(task, value)
                if keyword == "throttle":
                    int(value)
            except (AnsibleError, ValueError, TypeError) as error:
                self._problem(
                    f"{_place(task, path)}: {keyword} is {value!r}, which cannot be worked out now "
                    f"({ansible_errors.reason(error)}). {_ALIKE} Write the value itself"
                )

    def _meta(self, task: Any, path: str) -> None:
        word = str(task.args.get("_raw_params") or "").strip()
        if word in _ENDING_META and not (word == "end_role" and task._role is not self._task._role):
            self._problem(
                f"{_place(task, path)}: meta: {word} takes nodes out of the run in the middle of their turn. Let the "
                "hook fail instead, or give its tasks a condition"
            )
        elif word not in (*_META, *_ENDING_META):
            self._problem(f"{_place(task, path)}: meta: {word} is not known to Ansible. {_ALIKE}")

    def _include(self, task: Any, path: str) -> None:
        written = task.args.get("_raw_params")
        try:
            target = str(self._worked_out(task, written))
        except AnsibleError:
            self._not_known(task, path, written)
            return
        file = self._place_of_include(task, target)
        if not os.path.exists(file):
            self._missing(task, path, f"it includes {target}, and there is no such file")
            return
        beside = os.path.join(os.path.dirname(path), target)
        role = self._task._role  # pylint: disable=protected-access
        if role is not None and os.path.exists(beside) and not os.path.samefile(beside, file):
            self._problem(
                f"{_place(task, path)}: it includes {target}, and Ansible takes {file} for that, not {beside}. Write "
                "the absolute path, or name the file otherwise"
            )
            return
        self._file(file, task)

    def _place_of_include(self, task: Any, target: str) -> str:
        """Where Ansible looks for an included file: beside those that include it, from the inside out.

        As ``ansible.playbook.included_file`` does, whose own way in differs between the releases of ansible-core.
        """
        role = task._role  # pylint: disable=protected-access
        folder: str | None = None
        parent = task._parent  # pylint: disable=protected-access
        while parent is not None:
            if isinstance(parent, TaskInclude):
                if isinstance(parent, IncludeRole):
                    above = str(parent._role_path)  # pylint: disable=protected-access
                else:
                    above = os.path.dirname(str(self._worked_out(parent, parent.args.get("_raw_params"))))
                folder = above if folder is None or os.path.isabs(folder) else os.path.join(above, folder)
                found = [
                    str(self._loader.path_dwim_relative(base, "tasks", target, is_role=True))
                    for base in ([role._role_path, os.path.join(role._role_path, "tasks", folder)] if role else [])
                ] or [str(self._loader.path_dwim_relative(self._loader.get_basedir(), folder, target))]
                for file in found:
                    if os.path.exists(file):
                        return file
            parent = parent._parent  # pylint: disable=protected-access
        if role:
            return str(self._loader.path_dwim_relative(role._role_path, "tasks", target, is_role=True))
        return str(self._loader.path_dwim(target))

    def _role(self, task: Any, path: str) -> None:
        written = task._role_name  # pylint: disable=protected-access
        try:
            name = str(self._worked_out(task, written))
            parts = {key: self._worked_out(task, value) for key, value in task._from_files.items()}
        except AnsibleError:
            self._not_known(task, path, written)
            return
        key = f"role {name} {sorted(parts.items())}"
        if key in self._seen:
            return
        self._seen.add(key)
        include = task.copy()
        include._role_name = name  # pylint: disable=protected-access
        include._from_files = parts  # pylint: disable=protected-access
        try:
            blocks, _handlers = include.get_block_list(
                play=self._play, variable_manager=self._variable_manager, loader=self._loader
            )
        except (AnsibleError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            where = ansible_errors.position(error)
            why = f"{where}: {ansible_errors.reason(error)}" if where else ansible_errors.reason(error)
            self._missing(task, path, f"it includes the role {name}, and {why}", known=bool(where))
            return
        self._blocks(blocks, path)

    def _missing(self, task: Any, path: str, text: str, known: bool = False) -> None:
        """A problem; where it has a condition, whether it is included at all is only known when it runs."""
        if task.when and not known:
            self.found.warnings.append(f"{_place(task, path)}: {text}; it has a condition, so it is let pass")
        else:
            self._problem(f"{_place(task, path)}: {text}")

    def _not_known(self, task: Any, path: str, written: Any) -> None:
        self.found.warnings.append(
            f"{_place(task, path)}: it includes {written!r}, whose name is only known when it runs, so that it was not "
            "looked at"
        )

    def _handlers(self) -> None:
        """Whoever notifies a handler that is not there ends the run."""
        if not constants.config.get_config_value("ERROR_ON_MISSING_HANDLER"):
            return
        known: set[str] = set()
        for handler in _tasks(self._play.handlers):
            names = [handler.name or "", handler.get_name(), *_listed(handler.listen)]
            if any(_is_template(name) for name in names):
                return
            known.update(str(name) for name in names)
            known.update(name.rpartition(" : ")[2] for name in names if " : " in str(name))
        for name, place in self._notified:
            if name not in known and name.rpartition(" : ")[2] not in known:
                self._problem(f"{place}: it notifies the handler {name!r}, which is not there. {_ALIKE}")

    def _variables(self, task: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._variable_manager.get_vars(play=self._play, host=self._host, task=task)
        return found

    def _worked_out(self, task: Any, value: Any) -> Any:
        """A value without templates. Raises AnsibleError where a variable is not there yet."""
        if not _is_template(value):
            return value
        return Templar(loader=self._loader, variables=self._variables(task)).template(value)

    def _problem(self, text: str) -> None:
        if text not in self.found.problems:
            self.found.problems.append(text)


def _parent_block(include: Any) -> Any:
    """What the tasks of a file are loaded under, as the strategies make it."""
    parent = include.copy(exclude_parent=True)
    parent._parent = include._parent  # pylint: disable=protected-access
    if not isinstance(parent.args.get("apply"), (dict, type(None))):
        parent.args = {key: value for key, value in parent.args.items() if key != "apply"}
    return parent.build_parent_block()


def _tasks(blocks: Iterable[Any]) -> Iterator[Any]:
    """Every task of blocks, and of the blocks in them."""
    for entry in blocks:
        if isinstance(entry, Block):
            yield from _tasks([*entry.block, *entry.rescue, *entry.always])
        else:
            yield entry


def _listed(value: Any) -> list[Any]:
    """Of a keyword that takes a text or a list of them."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _place(task: Any, path: str) -> str:
    """Where a task stands; ``get_path`` tells its file and line."""
    return str(task.get_path() or path)


def _told(error: BaseException, path: str) -> str:
    return f"{ansible_errors.position(error) or path}: {ansible_errors.reason(error)}"
