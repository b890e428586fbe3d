# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_show``: text for people, as it is and not as JSON."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import terminal

_OPTIONS = {
    # Of a text, the type list would make pieces at its commas.
    "text": {"type": "raw", "required": True},
    "fail": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Runs on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        given = options["text"]
        text = "\n".join(map(str, given)) if isinstance(given, list) else str(given)
        terminal.show(text, fails=options["fail"])
        result.update(changed=False, failed=options["fail"], msg=text)
        return result
