# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of every host of a play, as a task of that host would see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.template import Templar
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import ansible_errors
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.settings import NotKnown


def managers(task_vars: Mapping[str, Any]) -> tuple[Any, Any]:
    """Ansible's own managers of variables and of the inventory.

    ``hostvars`` by itself does not do: for other hosts than the task's own it leaves out what plays, roles and
    imports of playbooks say.
    """
    hostvars = task_vars["hostvars"]
    return hostvars._variable_manager, hostvars._inventory  # pylint: disable=protected-access


def of_hosts(
    hosts: Iterable[str], prefix: str, names: Iterable[str], task: Any, task_vars: Mapping[str, Any], loader: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Host by host, the variables that begin with ``prefix``, as plain data.

    Those in ``names`` have their templates worked out, or are NotKnown. The others are None: only their names count.
    """
    variable_manager, inventory = managers(task_vars)
    play, wanted = task.get_play(), frozenset(names)
    everyone = list(hosts)
    for name in everyone:
        variables = variable_manager.get_vars(
            play=play, host=inventory.get_host(name), task=task, _hosts=everyone, _hosts_all=everyone
        )
        templar = Templar(loader=loader, variables=variables)
        found = {str(variable): value for variable, value in variables.items() if str(variable).startswith(prefix)}
        yield (
            name,
            {
                variable: _worked_out(templar, value) if variable in wanted else None
                for variable, value in found.items()
            },
        )


def _worked_out(templar: Any, value: Any) -> Any:
    try:
        return plain(templar.template(value))
    except AnsibleError as error:
        return NotKnown(_written(value), ansible_errors.reason(error))


def _written(value: Any) -> Any:
    try:
        return plain(value)
    except AnsibleError:
        return "a value that is encrypted"


def plain(value: Any) -> Any:
    """A value as JSON types: ansible-core has types of its own for texts and for what it read from files."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join((value,))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(element) for element in value]
    # Dates, and encrypted texts of ansible-core up to 2.18.
    return str(value)
