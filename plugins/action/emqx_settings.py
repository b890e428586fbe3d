from __future__ import annotations
from typing import Any
import yaml, os
from ansible.plugins.action import ActionBase

D = dict(
    version="",
    packages=["packages"],
    executable="",
    timeout=600,
    accept=[],
    allow_downgrade=False,
    max_per_cluster=1,
    wave_size="0",
    canary="1",
    coordinators=[],
    client_loss_tolerance="0",
    settle_timeout=120,
    verify_seconds=30,
    reconnect_timeout=120,
    pause_seconds=0,
    failure_budget="0",
    on_failure="stop",
    commit="fleet",
    soak_seconds=60,
    soak_interval=10,
    hooks={},
    run_id="",
    lease_seconds=120,
    keep_versions=1,
    report_file="",
    take_over=[],
    max_clock_skew=10.0,
)


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        out = {}
        for h in task_vars["ansible_play_hosts_all"]:
            hv = task_vars["hostvars"][h]
            s = {}
            for k, d in D.items():
                v = hv.get("emqx_upgrade_" + k, d)
                v = self._templar.template(v)
                if k == "hooks":
                    v = {n: os.path.abspath(p) for n, p in (v or {}).items()}
                if isinstance(d, int) and not isinstance(d, bool):
                    v = int(v)
                if isinstance(d, bool):
                    v = str(v).lower() in ("true", "1", "yes")
                if isinstance(d, list) and isinstance(v, str):
                    v = [v]
                if k in ("wave_size", "canary", "failure_budget", "client_loss_tolerance"):
                    v = str(v)
                s[k] = v
            out[h] = s
        result.update(changed=False, settings=out)
        return result
