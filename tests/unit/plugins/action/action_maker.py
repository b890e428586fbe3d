# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes action plugins as Ansible makes them for a task, without a play around them."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import Mock

from ansible.parsing.dataloader import DataLoader


def make_action(module: ModuleType, check_mode: bool = False, **options: Any) -> Any:
    """The plugin of a module, for a task with these options. Its connection is one that nothing may be done with."""
    name = module.__name__.rpartition(".")[2]
    task = Mock(
        spec=["action", "args", "async_val", "check_mode", "copy"],
        action=f"emqx.fleet.{name}",
        args=options,
        async_val=0,
        check_mode=check_mode,
    )
    connection = Mock(spec=["_shell"], _shell=Mock(spec=["tmpdir"], tmpdir="/tmp/none"))
    action = module.ActionModule(
        task=task,
        connection=connection,
        play_context=None,
        loader=DataLoader(),
        templar=None,
        shared_loader_obj=None,
    )
    action._load_name = name
    return action


def run_action(
    module: ModuleType, variables: dict[str, Any], check_mode: bool = False, **options: Any
) -> dict[str, Any]:
    """What a task with these options returns. Raises what the plugin raises."""
    result: dict[str, Any] = make_action(module, check_mode, **options).run(task_vars=variables)
    return result
