# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a run keeps its state between tasks: in what tasks of the role registered, read from a task's variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import Rules
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, NodeFacts, Outcome, Plan

SETTINGS = "__emqx_upgrade_settings"
READING = "__emqx_upgrade_reading"
PLANNED = "__emqx_upgrade_planned"
TURN = "__emqx_upgrade_turn"
DECISION = "__emqx_upgrade_decision"


class NoPlanError(ValueError):
    """A phase was called in a run that has no plan."""


class RunState:
    """What the tasks so far registered, for the host of a task and for the others."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self.host = str(variables["inventory_hostname"])

    @property
    def plan(self) -> Plan:
        """The plan of the run. Raises NoPlanError."""
        plan = (self._variables.get(PLANNED) or {}).get("plan")
        if not plan or self.host not in plan["nodes"]:
            raise NoPlanError(
                f"There is no plan that has {self.host}: the phase 'plan' of the role was not run before this one, or "
                "not to its end. Run the whole playbook; the plan belongs to every part that its tags can choose."
            )
        return cast(Plan, plan)

    @property
    def run_id(self) -> str:
        """The identifier of the run; empty where there is no plan."""
        return str(((self._variables.get(PLANNED) or {}).get("plan") or {}).get("run_id") or "")

    @property
    def is_probed(self) -> bool:
        """Whether the run has a client probe."""
        return bool((self._variables.get(PLANNED) or {}).get("probed"))

    @property
    def settings(self) -> dict[str, Any]:
        """The checked settings of the host."""
        return self.settings_of(self.host)

    def settings_of(self, host: str) -> dict[str, Any]:
        """The checked settings of one host; empty where they were not checked."""
        found = (self._variables.get(SETTINGS) or {}).get("settings") or {}
        return dict(found.get(host) or {})

    @property
    def started(self) -> float | None:
        """When the run began, in seconds since 1970; None where its settings were not checked."""
        found = (self._variables.get(SETTINGS) or {}).get("started")
        return None if found is None else float(found)

    @property
    def facts(self) -> NodeFacts:
        """What was read of the host for the plan."""
        return dict((self._variables.get(READING) or {}).get("facts") or {})

    @property
    def outcome(self) -> Outcome:
        """The host's outcome so far."""
        return _outcome(self._variables)

    @property
    def decision(self) -> Decision | None:
        """The decision that was registered last on the host; None also where that task failed or was skipped."""
        found = self._variables.get(DECISION) or {}
        return cast(Decision, found) if "rank" in found else None

    def facts_of_all(self) -> dict[str, NodeFacts]:
        """What was read of every host of the play; empty for one that could not be read, but for a ``msg``."""
        found: dict[str, NodeFacts] = {}
        for host in self._variables["ansible_play_hosts_all"]:
            reading = self._of(host).get(READING) or {}
            found[host] = reading.get("facts") or {}
        return found

    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes of all hosts of the plan."""
        return {host: _outcome(self._of(host)) for host in self.plan["nodes"]}

    def latest_decision(self) -> Decision | None:
        """The decision that was made last, on whatever host it was registered."""
        decisions = [self._of(host).get(DECISION) or {} for host in self.plan["nodes"]]
        found = max(decisions, key=lambda decision: int(decision.get("rank") or -1), default={})
        return cast(Decision, found) if "rank" in found else None

    def latest_rank(self) -> int:
        """The rank of the decision that was made last."""
        found = self.latest_decision()
        return found["rank"] if found else 0

    def problems(self) -> list[str]:
        """What went wrong with the run as a whole, as the decisions told that were registered on any host."""
        return list(dict.fromkeys(self._told("problems")))

    def lost(self) -> set[str]:
        """The hosts that were lost so far, also where they came back since."""
        return set(self._told("lost"))

    def silent(self) -> dict[str, str]:
        """The hosts whose turn ended without a result so far, with the phase of it."""
        decisions = [self._of(host).get(DECISION) or {} for host in self.plan["nodes"]]
        return {str(host): str(phase) for row in decisions for host, phase in (row.get("silent") or {}).items()}

    def _told(self, key: str) -> list[str]:
        decisions = (self._of(host).get(DECISION) or {} for host in self.plan["nodes"])
        return [str(row) for decision in decisions for row in decision.get(key) or ()]

    @property
    def forks(self) -> int:
        """How many hosts Ansible works on at the same time."""
        return int(self._variables.get("ansible_forks") or 1)

    @property
    def is_in_play(self) -> bool:
        """Whether Ansible never lost the host in this play; one that was lost stays so when its errors are cleared."""
        return self.host in self._variables["ansible_play_hosts"]

    @property
    def is_late(self) -> bool:
        """Whether the host was lost, and comes back to a decision that is over."""
        return self.decision is not None and not self.is_in_play and self.decision["rank"] < self.latest_rank()

    def alive(self, found: Mapping[str, Outcome]) -> set[str]:
        """The hosts that still take part: those of the play, and those that failed to load a hook and went on."""
        went_on = {host for host, outcome in found.items() if _told_of_a_hook(outcome)}
        return set(self._variables["ansible_play_hosts"]) | went_on

    def rules(self) -> Rules:
        """What the user said about failures, and which parts this invocation is for."""
        settings = self.settings
        return Rules(
            budget=settings.get("failure_budget", "0"),
            on_failure=str(settings.get("on_failure", "stop")),
            commit=str(settings.get("commit", "fleet")),
            parts=self.parts(),
        )

    def parts(self) -> list[str]:
        """The parts of the run that this invocation is for."""
        checked = (self._variables.get(SETTINGS) or {}).get("phases")
        return list(checked or outcomes.parts_of(self._tags("ansible_run_tags"), self._tags("ansible_skip_tags")))

    def _tags(self, name: str) -> Collection[str]:
        return [str(tag) for tag in self._variables.get(name) or ()]

    def _of(self, host: str) -> Mapping[str, Any]:
        if host == self.host:
            return self._variables
        hostvars = self._variables["hostvars"]
        return cast("Mapping[str, Any]", hostvars[host]) if host in hostvars else {}


def _outcome(variables: Mapping[str, Any]) -> Outcome:
    found = (variables.get(TURN) or {}).get("outcome")
    return cast(Outcome, dict(found)) if found else outcomes.new()


def _told_of_a_hook(outcome: Outcome) -> bool:
    failure = outcome["failure"]
    return bool(outcome["hook_failures"]) or (failure is not None and failure["phase"] in _HOOKS)


_HOOKS = ("before_fleet", "before_wave", "before_node", "after_node", "after_wave", "after_fleet")
