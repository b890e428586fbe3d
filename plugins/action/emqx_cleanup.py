# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_cleanup``: old releases and leftovers, checked for all nodes and then removed from each."""

from __future__ import annotations

import uuid
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import cleanup, terminal
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import Node
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.run_state import RunState

_OPTIONS = {
    "phase": {"type": "str", "choices": ["check", "remove"], "required": True},
    "run_id": {"type": "str"},
}


class ActionModule(ActionBase):
    """Takes what was read of the nodes from the variables."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        _validated, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        state = RunState(variables)
        if options["phase"] == "check":
            problems = {host: cleanup.unfit(facts) for host, facts in state.facts_of_all().items()}
            said = [f"{host}: {problem}." for host, problem in problems.items() if problem]
            # One run for all nodes: two of one cluster would take each other for another's.
            run_id = str(state.settings.get("run_id") or f"cleanup-{uuid.uuid4().hex[:8]}")
            result.update(changed=False, failed=bool(said), run_id=run_id)
            if said:
                remedy = "Mend that, or leave these hosts out with --limit."
                result["msg"] = "\n".join(["Nothing was removed.", *said, remedy])
                terminal.show(result["msg"], fails=True)
            return result
        if not options["run_id"]:
            raise AnsibleActionFail(
                "run_id is missing. Nothing was removed. Phase remove needs the run_id that phase check returned: "
                "nodes that did not share one would take each other for another run."
            )
        settings = state.settings
        node = Node(self, variables, settings)
        result.update(cleanup.remove(node, settings, state.facts, options["run_id"]))
        return result
