# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules' ``main()`` functions have in common."""

import signal
from typing import Any, Dict, NamedTuple, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.command import EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    Installation,
    find_executable,
    settings_of,
)
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir


class Node(NamedTuple):
    """A node's installation, the command that works on it, and what this collection keeps there."""

    installation: Installation
    command: EmqxCommand
    state_dir: StateDir


def open_node(executable: Optional[str], timeout: float) -> Node:
    """Find the installation. Raises FleetError."""
    installation = Installation(find_executable(executable))
    installation.check_directories()
    pid = installation.broker_pid()
    user = installation.runner_user(pid)
    command = EmqxCommand(installation, user, timeout, settings=settings_of(pid))
    return Node(installation, command, StateDir(installation.state_dir, user))


def valid_version(version: Optional[str]) -> Optional[str]:
    """The version, checked before it reaches a command line. Raises FleetError."""
    if version is not None:
        try:
            versions.parse(version)
        except versions.VersionError as error:
            raise FleetError("{0}.".format(error), hint="Give a version such as 4.4.19.") from error
    return version


def succeed(module: Any, result: Dict[str, Any]) -> None:
    """End an ``AnsibleModule`` with a result; its ``warnings`` are sentences for the user."""
    module.exit_json(**_without_warnings(module, result))


def fail(module: Any, error: FleetError) -> None:
    """End an ``AnsibleModule`` with what an error says of itself."""
    module.fail_json(**_without_warnings(module, error.result()))


def _without_warnings(module: Any, result: Dict[str, Any]) -> Dict[str, Any]:
    """Hand the warnings of a result to Ansible, which from 2.19 on does not want them in the result itself."""
    answer = dict(result)
    for warning in answer.pop("warnings", None) or ():
        module.warn(warning)
    return answer


def survive_lost_connection() -> None:
    """Go on when the connection that started the module is lost: half a commit is worse than one nobody waits for."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
