# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Ordinary trouble of Ansible: hooks that cannot be loaded or lose their host, settings, configurations, inventories.

Every run but the last ends with a message that says what happened and with an exit code that is not 0; no node is left
reserved, and one that was not switched was not touched. Then the fleet is upgraded, under settings of Ansible that
would have made a lesser roll-out go astray.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from harness import NEW, OLD, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}, "red": {"hosts": ["h3"]}}}
STRICT = {
    "ANSIBLE_ANY_ERRORS_FATAL": "True",
    "ANSIBLE_STRATEGY": "free",
    "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
    # Seconds: less than a switch takes.
    "ANSIBLE_TASK_TIMEOUT": "2",
}
LOST = """- name: Ask a host that is gone
  ansible.builtin.command: 'true'
  vars:
    ansible_port: 1
    ansible_ssh_retries: 0
  changed_when: false
"""


class Trouble(NamedTuple):
    """A run that goes wrong: its hooks (name -> text of the file), options, settings, and what its message says."""

    name: str
    says: tuple[str, ...]
    hooks: Mapping[str, str] = MappingProxyType({})
    options: tuple[str, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})
    staged: bool = False


#: Hooks that cannot be loaded, and what is said of each: all of them in one message, before anything is touched.
BROKEN = {
    "before_fleet": ("- name: A\n\tansible.builtin.debug:\n", "before_fleet.yml"),
    "before_wave": ("name: A\n", "before_wave.yml"),
    "before_node": ("- name: A\n  emqx.nothing.at_all:\n", "emqx.nothing.at_all"),
    "after_node": ("- name: A\n  ansible.builtin.debug:\n  whenn: true\n", "whenn"),
    "after_wave": ("- name: A\n  ansible.builtin.include_tasks: deeper.yml\n", "deeper.yml"),
    "after_fleet": ("- name: A\n  ansible.builtin.include_role:\n    name: none_such\n", "none_such"),
}

TROUBLES = (
    Trouble(
        "hooks-broken",
        (*BROKEN, *(says for _text, says in BROKEN.values())),
        hooks={name: text for name, (text, _says) in BROKEN.items()},
    ),
    Trouble(
        "settings",
        ("soak_interval", "client_loss_tolerance", "on_failure", "report_file", "beforenode", "/nowhere/drain.yml"),
        settings={
            "emqx_upgrade_soak_interval": "0",
            "emqx_upgrade_client_loss_tolerance": "1.5",
            "emqx_upgrade_on_failure": "rollbak_fleet",
            "emqx_upgrade_report_file": "/proc/none/report.json",
            "emqx_upgrade_hooks": {"beforenode": "/etc/hostname", "before_node": "/nowhere/drain.yml"},
        },
    ),
    Trouble(
        "become",
        ("3 nodes (h1, h2, h3): the node could not be read:", "unknown user"),
        settings={"ansible_become": True, "ansible_become_user": "nobody_at_all"},
    ),
    # What cannot be known before: the name of the file comes from a task of the hook.
    Trouble(
        "hook-late",
        ("h1 failed in phase before_node: The hook before_node failed:", "These nodes were not touched: h2, h3."),
        hooks={
            "before_node": "- name: A\n  ansible.builtin.set_fact:\n    late: none.yml\n"
            "- name: B\n  ansible.builtin.include_tasks: '{{ late }}'\n"
        },
        environment=STRICT,
        staged=True,
    ),
    Trouble(
        "hook-lost",
        ("h1 failed in phase dropped out:", "These nodes were not touched: h2, h3.", "h1 runs 4.4.18"),
        hooks={"before_node": LOST},
        staged=True,
    ),
    Trouble(
        "hook-lost-once",
        (
            "The hook before_wave failed: the connection to h1, on which it ran, was lost",
            "not touched",
        ),
        hooks={"before_wave": LOST},
        environment=STRICT,
        staged=True,
    ),
    Trouble(
        "hook-says-no",
        ("failed in phase before_fleet: The hook before_fleet failed: not tonight.",),
        hooks={"before_fleet": "- name: A\n  ansible.builtin.fail:\n    msg: not tonight\n"},
        environment=STRICT,
        staged=True,
    ),
)


def converge(scenario: Scenario) -> None:
    """Do it."""
    for trouble in TROUBLES:
        settings = dict(trouble.settings)
        if trouble.hooks:
            settings["emqx_upgrade_hooks"] = {
                name: _written(scenario.work / trouble.name / f"{name}.yml", text)
                for name, text in trouble.hooks.items()
            }
        with scenario.surroundings(trouble.environment):
            scenario.playbook(
                "upgrade", *trouble.options, name=trouble.name, **{"emqx_upgrade_version": NEW, **settings}
            )
        scenario.keep(f"after-{trouble.name}", {host: vars(state) for host, state in scenario.nodes().items()})
    with scenario.surroundings(STRICT):
        scenario.playbook(
            "upgrade",
            # As people type it, and as surveys hand it over.
            "-e",
            json.dumps({"emqx_upgrade_version": f" {NEW} "}),
            name="upgrade",
            emqx_upgrade_soak_seconds="3s",
            emqx_upgrade_coordinators="",
            emqx_upgrade_canary="all:!h1:!h2",
            ansible_become=True,
            emqx_upgrade_hooks={
                "after_node": _written(
                    scenario.work / "fine.yml",
                    "- name: Note it\n  ansible.builtin.copy:\n"
                    "    content: '{{ emqx_upgrade_hook.name }} {{ emqx_upgrade_hook.wave }}'\n"
                    "    dest: /opt/emqx/data/hook\n    mode: '0644'\n",
                )
            },
        )


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    before = scenario.kept("before")
    unpacked = False
    for trouble in TROUBLES:
        run = scenario.run_of(trouble.name)
        story = f"{trouble.name}, which is to say {trouble.says}, ended with {run.code}:\n{run.output[-3000:]}"
        assert run.code != 0, story
        said = " ".join(run.output.split())
        assert all(part in said for part in trouble.says), story
        unpacked = unpacked or trouble.staged
        for host, state in scenario.kept(f"after-{trouble.name}").items():
            assert (state["running"], state["boots"], state["reserved"]) == (OLD, OLD, None), f"{host}: {state} {story}"
            if not unpacked:
                assert state == before[host], f"{host}: {state} {story}"
    run = scenario.run_of("upgrade")
    assert run.code == 0, run.output
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for host, state in scenario.require(NEW, NEW).items():
        assert verbs(state.journal) == [f"unpack {NEW}", f"switch {NEW}", f"commit {NEW}"], f"{host}: {state}"
        assert state.reserved is None
    hooks = {host: scenario.host(host).read("/opt/emqx/data/hook") for host in ("h1", "h2", "h3")}
    assert hooks == {"h3": "after_node 1", "h1": "after_node 2", "h2": "after_node 3"}, json.dumps(hooks)
