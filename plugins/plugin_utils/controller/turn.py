# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done on one node in each phase of a run.

A turn takes a node's outcome, works on the node, and gives the outcome after it. It raises for nothing that happens on
the node or on the way there: what fails is in the outcome, with what the node told of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ansible_collections.emqx.fleet.plugins.module_utils.readiness import digests
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import package_sources, reservation
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.remote import Call
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.verification import Reading, read_until
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import accounting, gates, outcomes, verdicts
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import (
    ClientsSeen,
    Decision,
    Hop,
    NodeFacts,
    Outcome,
    Plan,
)

#: A reservation is renewed when this part of its lease is over.
_RENEW_AFTER = 0.3
#: Seconds to try to reach a node for looking at it or giving it up once it failed.
_SHORT = 10.0
#: Seconds that one remote execution may wait for; whatever lies between may end a connection that is silent.
_LONGEST_ROW = 120
#: What may be accepted of the switch itself.
_ACCEPTED_BY_RELEASE = ("patches", "dry_check")
#: A reading for the checks of what clients notice.
_VERIFICATION = Call("emqx_release_info", {"old_code": False, "verification": True})


class Node(Protocol):
    """What a turn needs of a node; :class:`controller.remote.Node` is the real one."""

    reconnect_timeout: float

    @property
    def has_row(self) -> bool:
        """Whether something that was said ahead is still to be run."""

    def run(self, module: str, arguments: dict[str, Any], reconnect_timeout: float | None = None) -> dict[str, Any]:
        """The result of a module of this collection."""

    def ahead(self, title: str, row: Sequence[Call]) -> None:
        """Say what will be run next, if all goes well, so that it takes one remote execution."""

    def remove(self, path: str) -> dict[str, Any]:
        """The result of removing a path."""

    def send(self, source: str, name: str) -> dict[str, Any]:
        """The ``path`` on the node of a file of the controller that was sent there."""


class ClientProbe(Protocol):
    """What a turn needs of the client probe; :class:`client_probe.asking.NodeProbe` is the real one."""

    def begin_switch(self) -> None:
        """The node is about to be switched."""

    def begin_way_back(self) -> None:
        """The node is about to go back: what was noticed until now is no business of the checks from now on."""

    def checks(self, accepted: Sequence[str]) -> list[verdicts.Check]:
        """Whether its clients noticed something."""


@dataclass
class Result:
    """What became of a turn. ``message`` is empty when all went well, also where there was nothing to do."""

    outcome: Outcome
    changed: bool = False
    message: str = ""
    diff: list[dict[str, Any]] = field(default_factory=list)


class _StepError(Exception):
    """A step of a turn failed; ``told`` is the module's result."""

    def __init__(self, task: str, told: Mapping[str, Any]) -> None:
        super().__init__(masked(str(told.get("msg") or "it did not say why")))
        # A row of calls that was lost as a whole has a name of its own.
        self.task = str(told.get("task") or task)
        self.told = told


class Turn:
    """One node's part in one run."""

    def __init__(
        self,
        node: Node,
        host: str,
        plan: Plan,
        settings: Mapping[str, Any],
        facts: NodeFacts,
        outcome: Outcome,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        who: str = "",
    ) -> None:
        self._node = node
        self._host = host
        self._plan = plan
        self._planned = plan["nodes"][host]
        self._settings = settings
        self._facts = facts
        self._outcome = outcome
        self._who = who
        self._sleep = sleep
        self._clock = clock
        #: The phase that the turn is in.
        self._phase = ""
        self._changed = False
        self._diff: list[dict[str, Any]] = []
        #: The run's probe, where it has one.
        self.probe: ClientProbe | None = None
        #: What became of sending packages, by their names.
        self._sent: dict[str, dict[str, Any]] = {}

    # The phases

    def reserve(self, stage: bool = False) -> Result:
        """Reserve the node for the run, if the run has something to do there, and with ``stage`` bring the packages."""
        self._phase = "stage" if stage else "reserve"
        reserves = outcomes.begins(self._outcome, "reserve", self._planned)
        stages = stage and self._plan["purpose"] == "upgrade" and self._planned["action"] == "upgrade"
        wish = self._wish(verify_cluster=self._planned["action"] != "none", take_over=self._settings["take_over"])
        if stages and (reserves or outcomes.begins(self._outcome, "stage", self._planned)):
            self._send_ahead()
        was_sent = not any(told.get("failed") for told in self._sent.values())
        row = [
            *([reservation.first_call(wish)] if reserves else []),
            *(self._stage_row(self._received) if stages and was_sent else []),
        ]
        self._node.ahead("Reserve the node, and stage" if stages else "Reserve the node", row)
        if reserves:
            try:
                self._reserve("Reserve the node", wish)
            except _StepError as error:
                return self._told("reserve", error)
            self._outcome = outcomes.advance(self._outcome, "reserve", renewed=self._clock())
        if stages and outcomes.begins(self._outcome, "stage", self._planned):
            try:
                self._stage()
            except _StepError as error:
                return self._failed("stage", error)
        return self._result()

    def take(self, phase: str, wave: int, decision: Decision, rounds: Sequence[Mapping[str, Any]] = ()) -> Result:
        """The node's turn in a phase that was decided: look, switch, soak, commit or rollback.

        ``rounds`` of a soak: seconds to wait, whether to ``verify`` after that, and whether it is the ``last``.

        A node that was lost and came back comes to phases that are over; it has no turn in them any more. Whoever has
        no turn keeps its reservation.
        """
        self._phase = phase
        if decision["phase"] != _DECIDED_AS.get(phase, phase) or decision["wave"] != wave:
            return self._result()
        failure = decision["failures"].get(self._host)
        if failure is not None and not outcomes.is_failed(self._outcome):
            self._outcome = outcomes.fail(self._outcome, failure["phase"], failure)
        mine = decision["proceed"] and self._host in decision["hosts"]
        if not mine or not outcomes.begins(self._outcome, phase, self._planned):
            for turn in rounds:
                self._sleep(float(turn["seconds"]))
                self._keep()
            return self._keep()
        work = {
            "look": lambda: self._only_look(wave),
            "switch": lambda: self._switch(wave),
            "soak": lambda: self._soak(rounds),
            "commit": self._commit,
        }.get(phase)
        if work is None:
            return self._rollback()
        try:
            work()
        except _StepError as error:
            return self._failed(phase, error)
        return self._result()

    def hook_failed(self, hook: str, wave: int, message: str) -> Result:
        """A hook failed on this node: its own, or one that it ran for many."""
        message = masked(message.strip()) or "its tasks could not be loaded; the error is above."
        if outcomes.PHASES[hook].once if hook in outcomes.PHASES else True:
            self._outcome = outcomes.note_hook_failure(self._outcome, hook, wave, message)
            return Result(self._outcome, message=f"The hook {hook} failed: {message}")
        told = {"msg": f"The hook {hook} failed: {message}"}
        return self._failed(hook, _StepError(f"hook {hook}", told))

    def preview(self) -> Result:
        """In check mode: what the node's turns would do. Nothing for a node that stays as it is."""
        planned, purpose = self._planned, self._plan["purpose"]
        versions = [hop["version"] for hop in planned["hops"]] or [planned["to"]]
        if purpose == "rollback":
            versions = planned["way_back"] or versions
        if planned["action"] not in ("upgrade", "commit"):
            return self._result()
        try:
            for version in versions:
                permanent = version == planned["to"] and (self._settings["commit"] != "never" or purpose != "upgrade")
                self._release(
                    f"Show the steps to {version}",
                    version,
                    "permanent" if permanent else "current",
                    allow_downgrade=self._may_downgrade,
                )
        except _StepError as error:
            return Result(self._outcome, self._changed, f"{error.task}: {error}")
        return self._result()

    def nothing(self, keep: bool = False) -> Result:
        """No turn; with ``keep`` the reservation is renewed where it is time."""
        return self._keep() if keep else self._result()

    def end(self, decision: Decision) -> Result:
        """Look at a node of which not all is known, and give it up, or park it for the next job of the same run."""
        failure = decision["failures"].get(self._host)
        if failure is not None and not outcomes.is_failed(self._outcome):
            self._outcome = outcomes.fail(self._outcome, failure["phase"], failure)
        outcome = self._outcome
        concerned = self._planned["action"] in ("upgrade", "commit") or self._planned["unfinished_run"]
        if not concerned or (outcome["given_up"] and not outcomes.is_failed(outcome)):
            return self._result()
        if outcomes.is_failed(outcome) or outcome["after"] is None:
            self._read_again()
        if self._planned["action"] == "none" and not outcomes.is_failed(self._outcome):
            # Packages that a run left which died when it was nearly done.
            self._node.remove(self._package_dir)
        if self._outcome["state"] == "planned":
            # It never had the reservation.
            return self._result()
        parked = bool(self._settings.get("run_id")) and not decision["final"] and self._planned["action"] != "none"
        # The connection was tried for long enough before; what cannot be reached now keeps its reservation and is told.
        self._node.reconnect_timeout = min(self._node.reconnect_timeout, _SHORT)
        run_id = self._plan["run_id"]
        if parked:
            lease = float(self._settings["park_seconds"])
            wish = reservation.wish(run_id, lease, verify_cluster=False, who=self._who, state="parked")
            told = reservation.perform(self._node, wish, self._sleep)
        else:
            told = reservation.give_up(self._node, run_id)
        kept = {"kept": True, "message": str(told.get("msg") or "")} if told.get("failed") else None
        self._outcome = outcomes.note(self._outcome, reservation=kept)
        return self._result()

    # What they do

    def _stage(self) -> None:
        for name, sent in self._sent.items():
            self._must(f"Copy the package {name}", sent)
        missing = self._bring(self._received)["missing"]
        if missing:
            # What the reading found was another file, or is gone.
            hops = [hop for hop in self._hops_with_packages() if hop["package"] in missing]
            self._sent = {
                str(hop["package"]): self._must(f"Copy the package {hop['package']}", self._send(hop)) for hop in hops
            }
            self._node.ahead("Stage", self._stage_row(self._received, hops))
            self._bring(self._received, hops)
        for place, hop in enumerate(self._planned["hops"]):
            told = self._release(f"Unpack and check {hop['version']}", hop["version"], "staged", hop)
            # What a later hop needs is there only after the ones before it.
            gate = gates.evaluate_dry_check(told.get("dry_check") if place == 0 else None, self._settings["accept"])
            if gates.refused([gate]):
                raise _StepError("Heed the check of the first hop by the node", {"msg": gate["message"]})
        self._outcome = outcomes.advance(self._outcome, "stage")

    def _send_ahead(self) -> None:
        """Send the packages that the reading did not find on the node, and that it does not fetch itself.

        They come into the task's temporary directory: a node that is not had then keeps nothing of them. What fails is
        told in the node's turn.
        """
        there = {(row["name"], row["size"]) for row in self._facts.get("staged_packages") or ()}
        for hop in self._hops_with_packages():
            if not hop["url"] and (hop["package"], hop["size"]) not in there:
                told = self._sent[str(hop["package"])] = self._send(hop)
                if told.get("failed"):
                    return

    def _send(self, hop: Hop) -> dict[str, Any]:
        return self._node.send(str(hop["path"]), str(hop["package"]))

    @property
    def _received(self) -> dict[str, str]:
        return {name: told["path"] for name, told in self._sent.items() if "path" in told}

    def _bring(self, received: Mapping[str, str], hops: Sequence[Hop] | None = None) -> dict[str, Any]:
        call = self._packages_call(received, hops)
        return self._must("Have the packages on the node", self._node.run(call.kind, dict(call.arguments)))

    def _stage_row(self, received: Mapping[str, str], hops: Sequence[Hop] | None = None) -> list[Call]:
        # The check of the first hop is for the controller to heed, before there is another.
        return [
            self._packages_call(received, hops),
            *(self._release_call(hop["version"], "staged", hop) for hop in self._planned["hops"][:1]),
        ]

    def _packages_call(self, received: Mapping[str, str], hops: Sequence[Hop] | None = None) -> Call:
        """For the packages of these hops; of all, unless told otherwise."""
        hops = self._hops_with_packages() if hops is None else hops
        wanted = [{"name": hop["package"], "size": hop["size"], "sha256": hop["sha256"]} for hop in hops]
        sources = self._settings.get("packages") or ()
        urls = {str(hop["package"]): package_sources.url_of(hop, sources) for hop in hops if hop["url"]}
        more = {"urls": urls} if urls else {}
        return Call("packages", {"packages": wanted, "received": dict(received), **more})

    def _hops_with_packages(self) -> list[Hop]:
        return [hop for hop in self._planned["hops"] if hop["path"]]

    def _look(self, wave: int) -> None:
        """Prove that the node is this run's and its cluster nobody else's, and that both are as they were planned."""
        self._renew("Prove that no other run works on the cluster", verify_cluster=True)
        running, cluster = self._as_planned.values()
        reading = self._verify(lambda facts: verdicts.ready_to_switch(facts, running, cluster))
        self._see(reading, None)
        self._heed("Look at the node and its cluster just before its turn", reading)
        self._outcome = outcomes.advance(
            self._outcome, "look", looked=wave, before=reading.facts, renewed=self._clock()
        )

    def _only_look(self, wave: int) -> None:
        self._node.ahead("Look at the node and its cluster just before its turn", self._look_row())
        self._look(wave)

    def _look_row(self) -> list[Call]:
        looking = _VERIFICATION._replace(expect=self._as_planned)
        return [reservation.first_call(self._wish(verify_cluster=True, renew=True)), looking]

    @property
    def _as_planned(self) -> dict[str, Any]:
        return {"running": str(self._planned["from"]), "cluster": list(self._facts["cluster"]["running"])}

    def _switch(self, wave: int) -> None:
        self._begin_probed()
        looked = self._outcome["looked"] == wave
        hops = [
            self._release_call(hop["version"], "current", hop, allow_downgrade=self._may_downgrade)
            for hop in self._planned["hops"]
        ]
        title = f"Switch to {self._planned['to']}, so that a restart would still bring the old version back"
        last = self._counting(self._outcome["before"] or self._facts) if looked else _VERIFICATION
        self._node.ahead(title, [*([] if looked else self._look_row()), *hops, last])
        if not looked:
            self._look(wave)
        before = self._outcome["before"] or self._facts
        log_errors: list[str] = []
        for hop in self._planned["hops"]:
            told = self._release(
                f"Switch to {hop['version']}, so that a restart would still bring the old version back",
                hop["version"],
                "current",
                hop,
                allow_downgrade=self._may_downgrade,
            )
            log_errors += told.get("log_errors") or []
        boots = str(before["boot"]["version"])
        # In the row of the switch the reading after it finds out by itself from when on to count.
        call = self._counting(before) if looked else _VERIFICATION
        reading = self._verify_against(before, self._planned["to"], boots, log_errors=log_errors, call=call)
        self._heed("Verify that nobody noticed, on the node and in its cluster", reading)
        if self._settings["commit"] == "node":
            call = self._release_call(self._planned["to"], "permanent")
            row = [call, self._counting(before)]
            self._node.ahead(f"Make {self._planned['to']} permanent, so that a restart boots it", row)
            reading = self._make_permanent(before)
        checks = [check.as_dict() for check in reading.checks]
        self._outcome = outcomes.advance(self._outcome, "switch", after=reading.facts, checks=checks)

    def _soak(self, rounds: Sequence[Mapping[str, Any]]) -> None:
        for place, turn in enumerate(rounds):
            if not self._node.has_row:
                row = [call for later in _at_a_time(rounds[place:]) for call in self._round_row(later)]
                self._node.ahead("Verify that nobody notices", row)
            if turn["seconds"]:
                self._must("Wait", self._node.run("wait", {"seconds": turn["seconds"]}))
            self._renew("Renew the reservation")
            self._outcome = outcomes.note(self._outcome, renewed=self._clock())
            if turn["verify"]:
                self._watch(bool(turn["last"]))

    def _round_row(self, turn: Mapping[str, Any]) -> list[Call]:
        waiting = [Call("wait", {"seconds": turn["seconds"]})] if turn["seconds"] else []
        return [*waiting, self._renewal(), *([self._unchanged()] if turn["verify"] else [])]

    def _unchanged(self) -> Call:
        """A reading that ends the row where anything is otherwise than at the last look, for the checks to see now."""
        call = self._unnoticed()
        same = digests(self._outcome["after"] or self._facts)
        return call._replace(expect={**(call.expect or {}), "same": same})

    def _unnoticed(self, boots: str | None = None) -> Call:
        """A reading that ends the row where the node itself sees that something was noticed; the checks see more."""
        before = self._outcome["before"] or self._facts
        had = before["connections"] or 0
        tolerance = verdicts.allowed_loss(self._settings["client_loss_tolerance"], had)
        expect: dict[str, Any] = {
            "running": self._planned["to"],
            "cluster": list(before["cluster"]["running"]),
            "books": before.get("client_books"),
            "tolerance": tolerance,
            "least": had - tolerance,
            **({} if boots is None else {"boots": boots}),
        }
        return self._counting(before)._replace(expect=expect)

    def _counting(self, before: NodeFacts) -> Call:
        """A reading that counts the clients who are still there of those before; in one row it knows that by itself."""
        time_before = (before.get("client_books") or {}).get("time")
        if time_before is None:
            return _VERIFICATION
        return _VERIFICATION._replace(arguments={**_VERIFICATION.arguments, "survivors_of": time_before})

    def _watch(self, last: bool) -> None:
        before = self._outcome["before"] or self._facts
        boots = str((self._outcome["after"] or self._facts)["boot"]["version"])
        # What a run that died left half committed is repaired by the commit.
        more = ["boot_consistent"] if self._planned["action"] == "commit" else []
        reading = self._verify_against(before, self._planned["to"], boots, accept=more)
        self._heed("Verify that nobody notices", reading)
        changes = {"before": before, "after": reading.facts}
        self._outcome = (
            outcomes.advance(self._outcome, "soak", **changes) if last else outcomes.note(self._outcome, **changes)
        )

    def _commit(self) -> None:
        version = self._planned["to"]
        # A job of several keeps the node until the end, when it is known whether another one is to come.
        gives_up = not self._settings.get("run_id")
        row = [
            self._renewal(),
            self._release_call(version, "permanent"),
            self._unnoticed(boots=version),
            Call("remove", {"path": self._package_dir}),
            *([reservation.first_call(reservation.absent(self._plan["run_id"]))] if gives_up else []),
        ]
        self._node.ahead(f"Make {version} permanent, so that a restart boots it", row)
        self._renew("Renew the reservation")
        reading = self._make_permanent(self._outcome["before"] or self._facts)
        self._must("Remove the staged packages", self._node.remove(self._package_dir))
        checks = [check.as_dict() for check in reading.checks]
        given_up = gives_up and not reservation.give_up(self._node, self._plan["run_id"]).get("failed")
        self._outcome = outcomes.advance(self._outcome, "commit", after=reading.facts, checks=checks, given_up=given_up)

    def _make_permanent(self, before: NodeFacts) -> Reading:
        version = self._planned["to"]
        self._release(
            f"Make {version} permanent, so that a restart boots it", version, "permanent", key="commit_actions"
        )
        reading = self._verify_against(before, version, version)
        self._heed("Verify what a restart would boot", reading)
        return reading

    def _rollback(self) -> Result:
        self._phase = "rollback"
        if self.probe:
            self.probe.begin_way_back()
        way = self._planned["way_back"]
        states = ["permanent" if version == way[-1] else "current" for version in way]
        back = [self._release_call(*hop, allow_downgrade=True) for hop in zip(way, states, strict=True)]
        if way:
            self._node.ahead(f"Switch back to {way[-1]}", [self._renewal(), _VERIFICATION, *back, _VERIFICATION])
        try:
            self._renew("Renew the reservation")
            if not way:
                booted = self._facts["boot"]["version"]
                raise _StepError(
                    "Find the way back",
                    {
                        "msg": "No relup on the node leads back to the version that it ran before; only a restart in a "
                        f"maintenance window brings {booted} back."
                    },
                )
            before, known = self._outcome["before"] or self._facts, self._outcome["accounting"]
            # Whoever was cut off by the switch does not come back by the way back, and was told of.
            there = self._node.run(_VERIFICATION.kind, dict(_VERIFICATION.arguments))
            counted = there if there.get("state") == "running" else before
            for version, state in zip(way, states, strict=True):
                self._release(f"Switch back to {version}", version, state, allow_downgrade=True)
            # An alarm that the switch raised outlives it; it was told of when the switch failed.
            reading = self._verify_against(
                before, way[-1], way[-1], accept=["alarms"], counted=counted, call=_VERIFICATION
            )
            self._heed("Verify that nobody noticed the way back", reading)
            whole = accounting.Watch(before, self._facts, counted, known)
            self._outcome = outcomes.note(self._outcome, accounting=whole.look(reading.facts))
        except _StepError as error:
            return self._failed("rollback", error)
        self._outcome = outcomes.advance(self._outcome, "rollback", before=before, after=reading.facts)
        return self._result()

    # Steps

    def _release(
        self,
        task: str,
        version: str,
        state: str,
        hop: Mapping[str, Any] | None = None,
        key: Literal["actions", "commit_actions"] = "actions",
        allow_downgrade: bool | None = None,
    ) -> dict[str, Any]:
        """Bring a release into a state; what was done is kept in the outcome also where it failed."""
        call = self._release_call(version, state, hop, allow_downgrade)
        told = self._node.run(call.kind, dict(call.arguments))
        if told.get("diff"):
            self._diff.append(told["diff"])
        actions = told.get("actions") or []
        self._outcome = outcomes.note(self._outcome, **{key: [*self._outcome[key], *actions]})
        offset = float(self._facts.get("clock_offset") or 0)
        self._outcome = outcomes.note_actions(self._outcome, self._phase, actions, offset)
        return self._must(task, told)

    def _release_call(
        self, version: str, state: str, hop: Mapping[str, Any] | None = None, allow_downgrade: bool | None = None
    ) -> Call:
        settings = self._settings
        return Call(
            "emqx_release",
            {
                "version": version,
                "state": state,
                "package": f"{self._package_dir}/{hop['package']}" if hop and hop["path"] else None,
                "allow_downgrade": allow_downgrade,
                "accept": [name for name in settings["accept"] if name in _ACCEPTED_BY_RELEASE],
                "settle_timeout": settings["settle_timeout"],
                "timeout": settings["timeout"],
                "lock_timeout": self._node.reconnect_timeout,
            },
        )

    def _verify(
        self, checks_of: Callable[[dict[str, Any]], Sequence[verdicts.Check]], call: Call = _VERIFICATION
    ) -> Reading:
        return read_until(
            lambda: self._node.run(call.kind, dict(call.arguments)),
            checks_of,
            float(self._settings["verify_seconds"]),
            self._sleep,
        )

    def _verify_against(
        self,
        before: NodeFacts,
        version: str,
        boots: str,
        log_errors: Sequence[str] = (),
        accept: Sequence[str] = (),
        counted: NodeFacts | None = None,
        call: Call | None = None,
    ) -> Reading:
        """Hold the node against ``before``; ``counted``: facts from which on clients are counted, if that is later."""
        expectation = verdicts.Expectation(
            version=version,
            boots=boots,
            tolerance=self._settings["client_loss_tolerance"],
            log_errors=log_errors,
            accepted=[*self._settings["accept"], *accept],
        )
        watch = self._watch_of(before if counted is None else counted)

        def checks_of(facts: dict[str, Any]) -> Sequence[verdicts.Check]:
            if facts["state"] != "running":
                return [*verdicts.after_switch(before, facts, expectation), *self._probe_checks(expectation.accepted)]
            account = watch.look(facts)
            self._outcome = outcomes.note(self._outcome, accounting=account)
            return [
                *verdicts.after_switch(before, facts, expectation, account, counted),
                *self._probe_checks(expectation.accepted),
            ]

        reading = self._verify(checks_of, call or self._counting(before))
        self._see(reading, self._outcome["accounting"])
        return reading

    def _watch_of(self, counted: NodeFacts) -> accounting.Watch:
        """The watch over the clients since ``counted``, which goes on from the last look."""
        measured = self._facts if self._facts is not counted else None
        goes_on = self._outcome["accounting"] is not None and counted is self._outcome["before"]
        previous = self._outcome["after"] if goes_on else None
        return accounting.Watch(counted, measured, previous, self._outcome["accounting"] if goes_on else None)

    def _see(self, reading: Reading, account: Mapping[str, Any] | None) -> None:
        """Keep how many clients there were."""
        if reading.error is not None or reading.facts.get("clock") is None:
            return
        at = float(reading.facts["clock"]) - float(self._facts.get("clock_offset") or 0)
        books = reading.facts.get("client_books") or {}
        connected = books.get("connected")
        seen: ClientsSeen = {
            "at": round(at, 3),
            "phase": self._phase,
            "connected": reading.facts["connections"] if connected is None else connected,
            "cut_off": (account or {}).get("cut_off"),
        }
        self._outcome = outcomes.note_clients(self._outcome, seen)

    def _probe_checks(self, accepted: Sequence[str]) -> list[verdicts.Check]:
        return self.probe.checks(accepted) if self.probe else []

    def _begin_probed(self) -> None:
        """Begin to switch, only where the probe's clients have noticed nothing until now."""
        if self.probe:
            self.probe.begin_switch()
        checks = self._probe_checks(self._settings["accept"])
        if verdicts.failed(checks):
            self._outcome = outcomes.note(self._outcome, checks=[check.as_dict() for check in checks])
            raise _StepError("See what the client probe noticed before the switch", {"msg": verdicts.summary(checks)})

    def _heed(self, task: str, reading: Reading) -> None:
        if reading.error is not None:
            raise _StepError(task, reading.error)
        if reading.message:
            checks = [check.as_dict() for check in reading.checks]
            self._outcome = outcomes.note(self._outcome, checks=checks)
            raise _StepError(task, {"msg": reading.message})

    def _wish(self, verify_cluster: bool = False, **more: Any) -> dict[str, Any]:
        lease = float(self._settings["lease_seconds"])
        return reservation.wish(self._plan["run_id"], lease, verify_cluster, self._who, **more)

    def _renewal(self) -> Call:
        return reservation.first_call(self._wish(renew=True))

    def _reserve(self, task: str, wish: Mapping[str, Any]) -> None:
        self._must(task, reservation.perform(self._node, wish, self._sleep))

    def _renew(self, task: str, verify_cluster: bool = False) -> None:
        """Go on only with a node that is still this run's."""
        self._reserve(task, self._wish(verify_cluster, renew=True))

    def _must(self, task: str, told: dict[str, Any]) -> dict[str, Any]:
        self._changed = self._changed or bool(told.get("changed"))
        if told.get("failed"):
            raise _StepError(task, told)
        return told

    def _keep(self) -> Result:
        """Renew the reservation of a node that waits, before its lease is over."""
        if self._outcome["state"] not in ("reserved", "staged", "switched", "soaked", "failed"):
            return self._result()
        lease = float(self._settings["lease_seconds"])
        renewed = self._outcome.get("renewed")
        if renewed is None and self._outcome["state"] == "failed":
            # It failed before it had one.
            return self._result()
        if self._clock() - (renewed or 0) < lease * _RENEW_AFTER:
            return self._result()
        told = reservation.perform(self._node, self._wish(renew=True), self._sleep)
        if not told.get("failed"):
            self._outcome = outcomes.note(self._outcome, renewed=self._clock())
        # A node that cannot be had just now is asked again at its turn, which proves that it is this run's.
        return self._result()

    # What went wrong

    def _told(self, phase: str, error: _StepError) -> Result:
        """A failure before anything was done on the node."""
        self._outcome = outcomes.fail(self._outcome, phase, _in_words(error))
        return Result(self._outcome, self._changed, f"{error.task}: {error}")

    def _failed(self, phase: str, error: _StepError) -> Result:
        """A failure, with what the node tells of it, and the way back where it is to be gone at once."""
        evidence = self._node.run(
            "emqx_evidence",
            {
                "since": (self._outcome["before"] or self._facts).get("clock"),
                "note": f"{phase}: {error}",
            },
            _SHORT,
        )
        told = _in_words(error)
        told.update({name: evidence.get(name) or [] for name in ("log", "crash_dumps")})
        after = evidence.get("facts") or None
        before = self._outcome["before"] or self._facts
        reached = bool(after)
        self._outcome = outcomes.fail(self._outcome, phase, told, before=before, after=after, reached=reached)
        message = f"{error.task}: {error}"
        if self._goes_back_at_once(phase, after):
            back = self._rollback()
            said = back.message or f"It went back to {self._planned['way_back'][-1]}."
            return Result(self._outcome, True, f"{message} {said}")
        return Result(self._outcome, self._changed, message)

    def _goes_back_at_once(self, phase: str, after: NodeFacts | None) -> bool:
        if self._settings["on_failure"] != "rollback_node" or phase not in ("switch", "after_node"):
            return False
        return (after or {}).get("running") != self._planned["from"]

    def _read_again(self) -> None:
        found = self._node.run("emqx_release_info", {"old_code": False}, _SHORT)
        reached = not found.get("failed")
        after = found if reached else self._outcome["after"] if not outcomes.is_failed(self._outcome) else None
        self._outcome = outcomes.note(self._outcome, after=after, reached=reached)

    def _result(self) -> Result:
        return Result(self._outcome, self._changed, diff=self._diff)

    @property
    def outcome(self) -> Outcome:
        """How far the node is, also in the middle of a turn."""
        return self._outcome

    @property
    def _may_downgrade(self) -> bool:
        return bool(self._settings["allow_downgrade"]) or self._plan["purpose"] == "rollback"

    @property
    def _package_dir(self) -> str:
        return f"{self._facts['data_dir']}/fleet/packages"


#: Phases that are part of another one's decision.
_DECIDED_AS = {"look": "switch"}


def _at_a_time(rounds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first rounds, as many as one remote execution may wait for; a longer one might be cut off without a word."""
    found: list[Mapping[str, Any]] = []
    for turn in rounds:
        if found and sum(row["seconds"] for row in [*found, turn]) > _LONGEST_ROW:
            break
        found.append(turn)
    return found


def crashed(outcome: Outcome, phase: str, error: BaseException) -> Result:
    """A turn that ended in an error which is none of the node's; what was done until then is in the outcome."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, Exception):
        message = f"An error in emqx.fleet itself, {said}"
    else:
        # Ansible raises its time-outs so that nobody handles them by mistake.
        message = (
            f"The turn was cut off by a timeout for tasks of Ansible's ({said}); what was begun goes on on the node."
        )
    failure = _StepError(phase, {"msg": message})
    return Result(outcomes.fail(outcome, phase, _in_words(failure)), message=f"{phase}: {failure}")


def _in_words(error: _StepError) -> dict[str, Any]:
    return {**error.told, "message": str(error), "task": error.task}
