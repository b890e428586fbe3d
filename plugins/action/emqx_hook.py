from __future__ import annotations
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        return dict(super().run(tmp, task_vars), changed=False)
