# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""usage: progress_events.py HOSTS

Hands the events of a whole upgrade to the callback ``emqx.fleet.progress``, as Ansible does, with the results of the
hosts in no order and with what Ansible itself and its workers print in between. Runs under the Ansible of its Python.
"""

from __future__ import annotations

import os
import random
import sys
from types import SimpleNamespace
from typing import Any

from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible.plugins.loader import callback_loader, init_plugin_loader
from ansible.release import __version__
from ansible.utils.display import Display

OLD, NEW = "4.4.18", "4.4.19"
FAILURE = "Switch to 4.4.19: emqx upgrade 4.4.19 did not lead there: relup_crash. " + "The log has more of it. " * 5
VERDICT = "h2 failed in phase switch.\nTo see where every node is: ansible-playbook emqx.fleet.status"
HAS_NEW_RESULTS = tuple(map(int, __version__.split(".")[:2])) >= (2, 19)


class Events:
    """The events of one run."""

    def __init__(self, hosts: list[str], role: str) -> None:
        self.callback = callback_loader.get("emqx.fleet.progress")
        self.callback.set_options()
        self.hosts = hosts
        self.role = role
        self.order = random.Random(1)
        self.tasks = 0

    def play(self, name: str, path: str) -> None:
        """A play begins."""
        manager = SimpleNamespace(get_vars=lambda play: {"ansible_play_hosts_all": self.hosts})
        self.callback.v2_playbook_on_play_start(
            SimpleNamespace(
                check_mode=False,
                strategy="linear",
                get_name=lambda: name,
                get_path=lambda: f"{path}:4",
                get_variable_manager=lambda: manager,
            )
        )

    def task(self, action: str, path: str = "", **arguments: Any) -> Any:
        """A task begins; of the role, unless ``path`` is another file."""
        self.tasks += 1
        path = path or f"{self.role}/tasks/plan.yml"
        task = SimpleNamespace(
            _uuid=str(self.tasks),
            action=action,
            args=arguments,
            check_mode=False,
            delegate_to=None,
            ignore_unreachable=False,
            loop=None,
            no_log=False,
            get_name=lambda: f"task {self.tasks}",
            get_path=lambda: f"{path}:7",
        )
        self.callback.v2_playbook_on_task_start(task, False)
        return task

    def result(self, task: Any, host: str, how: str = "ok", **result: Any) -> None:
        """A host is done with it."""
        named = SimpleNamespace(get_name=lambda: host)
        if HAS_NEW_RESULTS:
            told = SimpleNamespace(host=named, task=task, result=result)
        else:
            told = SimpleNamespace(_host=named, _task=task, _result=result)
        getattr(self.callback, f"v2_runner_on_{how}")(told)

    def once(self, action: str, **result: Any) -> None:
        """A task that is run by one host for all."""
        self.result(self.task(action), self.hosts[0], **result)

    def all(self, phase: str, results: dict[str, dict[str, Any]]) -> None:
        """A task of every host, which get done in any order."""
        task = self.task("emqx.fleet.emqx_turn", phase=phase)
        for host in self.hosts:
            self.callback.v2_runner_on_start(SimpleNamespace(get_name=lambda host=host: host), task)
        shuffled = list(self.hosts)
        self.order.shuffle(shuffled)
        for place, host in enumerate(shuffled):
            if place == len(shuffled) // 2:
                # Of a worker, or of Ansible; either goes through Display.
                Display().display(f"printed in {phase}")
            self.result(task, host, **results[host])


def facts(running: str) -> dict[str, Any]:
    """Of a node, what lines are made of."""
    return {"state": "running", "running": running, "permanent": running, "connections": 1000}


def outcome(state: str, **changes: Any) -> dict[str, Any]:
    """A turn's result."""
    told = {"state": state, "before": facts(OLD), "after": facts(NEW), "actions": [], **changes}
    return {"changed": True, "outcome": told}


def main(count: int) -> None:
    """All of it, with a node that fails in its wave, a hook, and results that nobody expects."""
    init_plugin_loader()
    Display().verbosity = int(os.environ.get("ANSIBLE_VERBOSITY", "0"))
    context.CLIARGS = ImmutableDict(check=False, verbosity=0)
    collection = os.environ["COLLECTION"]
    hosts = [f"h{number}" for number in range(1, count + 1)]
    events = Events(hosts, f"{collection}/roles/emqx_upgrade")
    size = max(1, count // 10)
    waves = [hosts[start : start + size] for start in range(0, count, size)]
    nodes = {
        host: {"action": "upgrade", "from": OLD, "to": NEW, "wave": number, "hops": []}
        for number, wave in enumerate(waves, 1)
        for host in wave
    }
    plan = {"feasible": True, "purpose": "upgrade", "target": NEW, "nodes": nodes, "waves": waves}

    def decide(phase: str, turns: list[str], rank: int, wave: int = 0, message: str = "") -> None:
        decided = {"phase": phase, "wave": wave, "rank": rank, "hosts": turns, "batches": []}
        events.once("emqx.fleet.emqx_decide", **decided, proceed=not message, message=message)

    events.play("Upgrade the fleet wave by wave", f"{collection}/playbooks/upgrade.yml")
    events.once("emqx.fleet.emqx_settings", settings={})
    events.all("read", {host: {"facts": facts(OLD)} for host in hosts})
    events.once("emqx.fleet.emqx_plan", plan=plan, table=[], msg="")
    events.once("emqx.fleet.emqx_show", msg="node  from\n----  ----\nh1    4.4.18")
    decide("reserve", hosts, 1)
    events.all("stage", {host: outcome("staged") for host in hosts})
    hook = events.task("ansible.builtin.command", "/srv/hooks/drain.yml")
    events.result(hook, hosts[0], changed=True)
    # What it does not know is left to the default.
    events.result(events.task("emqx.fleet.emqx_turn", phase="switch"), hosts[0], unexpected=[1])
    for number, wave in enumerate(waves, 1):
        decide("switch", wave, 1 + number, number)
        results = {host: outcome("switched" if host in wave else "staged") for host in hosts}
        if "h2" in wave:
            results["h2"] = {**outcome("failed"), "how": "failed", "msg": f"h2: {FAILURE}"}
        events.all("switch", results)
    rest = [host for host in hosts if host != "h2"]
    decide("soak", rest, 1000)
    events.all("soak", {host: outcome("soaked") for host in hosts})
    decide("commit", [], 1001, message="1 node failed and 0 may.")
    decide("end", rest, 1002)
    events.play("Report", f"{collection}/playbooks/upgrade.yml")
    events.once("emqx.fleet.emqx_report", report={"ok": False}, message=VERDICT)
    events.once("emqx.fleet.emqx_show", how="failed", msg=VERDICT)
    events.callback.v2_playbook_on_no_hosts_remaining()
    names = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")
    counts = {host: {**dict.fromkeys(names, 0), "failures": int(host == "h1")} for host in hosts}
    stats = SimpleNamespace(processed=counts, summarize=lambda host: counts[host], custom={})
    events.callback.v2_playbook_on_stats(stats)


if __name__ == "__main__":
    main(int(sys.argv[1]))
