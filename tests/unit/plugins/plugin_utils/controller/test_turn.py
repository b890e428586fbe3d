# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's part of a run, step by step, on a node that fails at every step in every way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.clients import Sample, books
from ansible_collections.emqx.fleet.plugins.module_utils.readiness import digests
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import turn as turns
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.turn import Result, Turn
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.outcomes import PROGRESS
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Decision, Outcome, Plan, Purpose
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fake_host import (
    DUMP,
    FAILURES,
    PACKAGES,
    FakeHost,
    read_facts,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import (
    NEW,
    OLD,
    at,
    failed_in,
    make_hop,
    make_plan,
    make_settings,
)

OLDER = "4.4.17"
NOW = 1_700_000_000.0
#: A round of a watch.
LOOK = {"seconds": 0, "verify": True, "last": True}
LOST, REFUSED = FAILURES["lost"], FAILURES["refused"]
ALARM = {"alarms": ["high_cpu"]}


@pytest.fixture(autouse=True)
def reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of the module are the node's own here."""
    monkeypatch.setattr(turns, "reservation", FakeHost())


def one(action: Any = "upgrade", **changes: Any) -> Plan:
    """A plan of one node."""
    plan = make_plan([["a1"]]) if action == "upgrade" else make_plan([], {"a1": action})
    plan["nodes"]["a1"].update(changes)  # type: ignore[typeddict-item]
    return plan


def two_hops() -> Plan:
    """From 4.4.17 over 4.4.18 to 4.4.19, and back the same way."""
    return one(**{"from": OLDER, "hops": [make_hop(OLD), make_hop(NEW)], "way_back": [OLD, OLDER]})


class Run:
    """One node, its outcome, and turns that it is given."""

    def __init__(
        self,
        node: FakeHost,
        outcome: Outcome,
        plan: Plan | None = None,
        staged: Sequence[Any] = (),
        facts: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.node = node
        self.outcome = outcome
        self.plan = plan or one()
        self.settings = make_settings(verify_seconds=0, **settings)
        self.facts = {**(node.facts() if facts is None else facts), "staged_packages": list(staged)}
        self.slept: list[float] = []
        self.message = ""
        self.changed = False

    def turn(self) -> Turn:
        return Turn(self.node, "a1", self.plan, self.settings, self.facts, self.outcome, self.slept.append, lambda: NOW)

    def told(self, result: Result) -> Run:
        self.outcome, self.message, self.changed = result.outcome, result.message, result.changed
        json.dumps(self.outcome)
        return self

    def take(
        self, phase: str, wave: int | None = None, rounds: Sequence[Mapping[str, Any]] | None = None, **decision: Any
    ) -> Run:
        """A turn in a phase that was decided, in the first wave where the phase has waves; a soak is one look."""
        if phase == "stage":
            return self.told(self.turn().reserve(stage=True))
        if wave is None:
            wave = 1 if phase in ("look", "switch", "rollback") else 0
        decided = decided_for("switch" if phase == "look" else phase, wave, **decision)
        one_look = [LOOK] if phase == "soak" else []
        return self.told(self.turn().take(phase, wave, decided, one_look if rounds is None else rounds))

    def end(self, **decision: Any) -> Run:
        return self.told(self.turn().end(decided_for("end", 0, **decision)))

    def hook_failed(self, hook: str, message: str) -> Run:
        return self.told(self.turn().hook_failed(hook, 2, message))

    @property
    def failure(self) -> dict[str, Any]:
        assert self.outcome["failure"] is not None
        return cast("dict[str, Any]", self.outcome["failure"])


def decided_for(phase: str, wave: int, **changes: Any) -> Decision:
    decision = {
        "phase": phase, "wave": wave, "rank": 1, "proceed": True, "message": "", "hosts": ["a1"], "first": "a1",
        "failures": {}, "batches": [], "final": True, "parts": [], "problems": [],
    }  # fmt: skip
    return cast(Decision, {**decision, **changes})


def release(version: str, state: str, **changes: Any) -> dict[str, Any]:
    """What the module is asked for."""
    return {
        "version": version,
        "state": state,
        "package": None,
        "allow_downgrade": None,
        "accept": [],
        "settle_timeout": 30,
        "timeout": 600,
        "lock_timeout": 60.0,
        **changes,
    }


# Reserving


def test_reserves_the_node_and_proves_that_its_cluster_is_free() -> None:
    run = Run(FakeHost(), at("planned"), take_over=["a1"])
    run.told(run.turn().reserve())
    assert run.outcome == at("reserved", renewed=NOW)
    assert run.node.asked == [
        ("reserve", {"run_id": "run-1", "lease": 120.0, "take_over": ["a1"], "verify_cluster": True})
    ]
    assert (run.changed, run.message) == (True, "")


def test_reserves_a_node_that_is_done_for_cleaning_it_alone() -> None:
    run = Run(FakeHost(), at("planned"), one("none", unfinished_run=True))
    run.told(run.turn().reserve())
    assert run.outcome["state"] == "reserved"
    assert run.node.asked_for("reserve")[0]["verify_cluster"] is False


@pytest.mark.parametrize(
    ("outcome", "plan"),
    [
        (at("planned"), one("none")),
        (at("reserved"), one()),
        (failed_in("reserve"), one()),
        (at("planned"), one("refuse")),
    ],
)
def test_reserves_nothing_where_there_is_nothing_to_do(outcome: Outcome, plan: Plan) -> None:
    run = Run(FakeHost(), outcome, plan)
    assert run.told(run.turn().reserve()).node.steps == []
    assert run.outcome == outcome


def test_a_node_that_another_run_has() -> None:
    refusal = {"failed": True, "msg": "The run run-0 of ann@tower has it.", "failure_class": "refused"}
    run = Run(FakeHost(reserve=refusal), at("planned"))
    run.told(run.turn().reserve())
    assert run.message == "Reserve the node: The run run-0 of ann@tower has it."
    assert run.failure == outcomes.make_failure(
        "reserve",
        {"task": "Reserve the node", "message": "The run run-0 of ann@tower has it.", "failure_class": "refused"},
    )
    assert run.node.steps == ["reserve"], "nothing was done, so there is no evidence"
    assert run.outcome["renewed"] is None


# Staging


def wanted(*versions: str) -> list[dict[str, Any]]:
    """What a node is asked to have."""
    return [{"name": f"emqx-{version}.zip", "size": 1, "sha256": None} for version in versions]


def test_stages_all_packages_and_then_unpacks_them() -> None:
    run = Run(FakeHost(OLDER), at("reserved"), two_hops()).take("stage")
    names = ("emqx-4.4.18.zip", "emqx-4.4.19.zip")
    assert run.node.asked == [
        *(("send", {"source": f"/packages/{name}", "name": name}) for name in names),
        ("packages", {"packages": wanted(OLD, NEW), "received": {name: f"/tmp/{name}" for name in names}}),
        *(
            ("emqx_release", release(version, "staged", package=f"{PACKAGES}/emqx-{version}.zip"))
            for version in (OLD, NEW)
        ),
    ]
    unpacked = [{"action": "unpack", "version": version} for version in (OLD, NEW)]
    assert run.outcome == at("staged", actions=unpacked)
    assert (run.changed, run.message) == (True, "")


def there(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    """Packages that the reading found on the node, with their sizes."""
    return [{"name": name, "path": f"{PACKAGES}/{name}", "size": size} for name, size in rows]


def test_sends_only_what_is_not_there() -> None:
    node = FakeHost(OLDER)
    node.packages = {f"emqx-{OLD}.zip"}
    run = Run(node, at("reserved"), two_hops(), staged=there((f"emqx-{OLD}.zip", 1))).take("stage")
    assert node.steps == [f"send emqx-{NEW}.zip", "packages", f"staged {OLD}", f"staged {NEW}"]
    (asked,) = node.asked_for("packages")
    assert asked["received"] == {f"emqx-{NEW}.zip": f"/tmp/emqx-{NEW}.zip"}
    assert asked["packages"] == wanted(OLD, NEW), "what is there is held against its digest"
    assert run.outcome["state"] == "staged"


def test_what_is_there_with_another_size_is_sent() -> None:
    run = Run(FakeHost(), at("planned"), staged=there((f"emqx-{NEW}.zip", 2))).take("stage")
    assert run.node.steps == [f"send emqx-{NEW}.zip", "reserve", "packages", f"staged {NEW}"]


def test_what_is_there_with_another_digest_is_sent_in_the_end() -> None:
    node = FakeHost(OLDER)
    node.packages = {f"emqx-{NEW}.zip"}
    staged = there((f"emqx-{OLD}.zip", 1), (f"emqx-{NEW}.zip", 1))
    run = Run(node, at("planned"), two_hops(), staged=staged).take("stage")
    unpacked = [f"staged {OLD}", f"staged {NEW}"]
    assert node.steps == ["reserve", "packages", f"send emqx-{OLD}.zip", "packages", *unpacked]
    asked = [[row["name"] for row in call["packages"]] for call in node.asked_for("packages")]
    assert asked == [[f"emqx-{OLD}.zip", f"emqx-{NEW}.zip"], [f"emqx-{OLD}.zip"]], "the rest is not looked at again"
    assert run.outcome["state"] == "staged"


@pytest.mark.parametrize("sending", [REFUSED, LOST])
def test_a_package_that_cannot_be_sent_fails_the_node_in_stage(sending: dict[str, Any]) -> None:
    run = Run(FakeHost(OLDER, **{f"send emqx-{OLD}.zip": sending}), at("planned"), two_hops()).take("stage")
    assert run.node.steps == [f"send emqx-{OLD}.zip", "reserve", "evidence"]
    assert (run.failure["phase"], run.failure["task"]) == ("stage", f"Copy the package emqx-{OLD}.zip")


def test_a_package_that_cannot_be_sent_once_it_turned_out_to_be_another_fails_the_node_in_stage() -> None:
    node = FakeHost(**{f"send emqx-{NEW}.zip": REFUSED})
    run = Run(node, at("planned"), staged=there((f"emqx-{NEW}.zip", 1))).take("stage")
    assert node.steps == ["reserve", "packages", f"send emqx-{NEW}.zip", "evidence"]
    assert (run.failure["phase"], run.failure["task"]) == ("stage", f"Copy the package emqx-{NEW}.zip")


def test_the_run_goes_on_where_it_was_in_its_first_packages() -> None:
    """Nothing is sent to a node that has been staged."""
    run = Run(FakeHost(), at("staged")).take("stage")
    assert run.node.steps == []


SHA = "ab" * 32
URL = f"https://files/emqx-{NEW}.zip"


@pytest.mark.parametrize(
    ("planned", "sources", "url"),
    [
        (URL, [f"{URL}#sha256={SHA}"], URL),
        (
            masked(f"https://me:s3cret@files/{NEW}.zip?token=1"),
            ["packages", f" https://me:s3cret@files/{NEW}.zip?token=1#sha256={SHA.upper()} "],
            f"https://me:s3cret@files/{NEW}.zip?token=1",
        ),
        (
            masked("https://you@files/a.zip"),
            [f"https://me@files/a.zip#sha256={'0' * 64}", f"https://you@files/a.zip#sha256={SHA}"],
            "https://you@files/a.zip",
        ),
    ],
)
def test_a_node_is_told_where_to_fetch_its_package_and_is_sent_nothing(
    planned: str, sources: list[str], url: str
) -> None:
    plan = one(hops=[make_hop(url=planned, sha256=SHA)])
    run = Run(FakeHost(), at("planned"), plan, packages=sources, package_source="node").take("stage")
    assert run.node.steps == ["reserve", "packages", f"staged {NEW}"]
    assert run.node.executions == 1
    package = {"name": f"emqx-{NEW}.zip", "size": 1, "sha256": SHA}
    assert run.node.asked_for("packages") == [{"packages": [package], "received": {}, "urls": {f"emqx-{NEW}.zip": url}}]
    assert run.outcome["state"] == "staged"
    assert "s3cret" not in json.dumps(run.outcome)


def test_a_package_that_cannot_be_fetched_fails_the_node_in_stage() -> None:
    said = "From https://me:s3cret@files/a.zip the node cannot fetch it: the server says 404 Not Found."
    told = {"failed": True, "msg": said, "failure_class": "not_started"}
    plan = one(hops=[make_hop(url=URL, sha256=SHA)])
    run = Run(FakeHost(packages=told), at("planned"), plan, packages=[f"{URL}#sha256={SHA}"]).take("stage")
    assert run.node.steps == ["reserve", "packages", "evidence"]
    assert (run.failure["phase"], run.failure["failure_class"]) == ("stage", "not_started")
    assert run.failure["message"] == said.replace("me:s3cret@", "********@")


def test_reserves_and_stages_in_one_go() -> None:
    run = Run(FakeHost(), at("planned")).take("stage")
    assert run.node.steps == [f"send emqx-{NEW}.zip", "reserve", "packages", f"staged {NEW}"]
    assert run.outcome["state"] == "staged"
    assert run.outcome["renewed"] == NOW
    assert run.node.executions == 1


@pytest.mark.parametrize("plan", [one("commit"), one("none", unfinished_run=True), dict(one(), purpose="rollback")])
def test_reserves_alone_where_there_is_nothing_to_stage(plan: Any) -> None:
    run = Run(FakeHost(), at("planned"), plan).take("stage")
    assert (run.node.steps, run.outcome["state"]) == (["reserve"], "reserved")


def test_a_node_that_was_not_had_keeps_no_packages() -> None:
    run = Run(FakeHost(reserve=REFUSED), at("planned")).take("stage")
    assert (run.node.steps, run.failure["phase"]) == ([f"send emqx-{NEW}.zip", "reserve"], "reserve")


def test_a_release_that_only_the_node_has_needs_no_package() -> None:
    run = Run(FakeHost(), at("reserved"), one(hops=[make_hop(package=None, path=None)])).take("stage")
    assert run.node.steps == ["packages", f"staged {NEW}"]
    assert run.node.asked_for("packages") == [{"packages": [], "received": {}}]
    assert run.node.asked_for("emqx_release") == [release(NEW, "staged")]
    assert run.outcome["state"] == "staged"


def dry_check(passed: bool) -> dict[str, Any]:
    return {
        "changed": True,
        "actions": [],
        "dry_check": {"version": OLD, "passed": passed, "message": "no such module"},
    }


def test_the_nodes_own_check_of_the_first_hop_is_heeded() -> None:
    run = Run(FakeHost(OLDER, **{f"staged {OLD}": dry_check(False)}), at("reserved"), two_hops()).take("stage")
    said = (
        f"the node's own check refuses {OLD}: no such module; remove it (emqx_release with state: absent) and stage a "
        "package that fits, or accept dry_check if it should be tried all the same, which the emqx command checks once "
        "more"
    )
    assert run.message == f"Heed the check of the first hop by the node: {said}"
    assert (run.failure["phase"], run.failure["message"]) == ("stage", said)
    assert run.node.steps[-2:] == [f"staged {OLD}", "evidence"], "the next hop is not unpacked"


@pytest.mark.parametrize(
    ("answers", "accept"),
    [
        ({f"staged {OLD}": dry_check(True)}, []),
        ({f"staged {OLD}": dry_check(False)}, ["dry_check"]),
        # What the second hop needs is there only after the first.
        ({f"staged {NEW}": dry_check(False)}, []),
        ({f"staged {OLD}": dict(dry_check(True), dry_check=None)}, []),
    ],
)
def test_other_answers_of_the_check_do_not_count(answers: dict[str, Any], accept: list[str]) -> None:
    run = Run(FakeHost(OLDER, **answers), at("reserved"), two_hops(), accept=accept).take("stage")
    assert run.outcome["state"] == "staged"


# Looking and switching


def test_looks_at_the_node_just_before_its_turn() -> None:
    run = Run(FakeHost(), at("staged")).take("look", 3)
    assert run.node.steps == ["renew", "info"]
    assert run.node.asked_for("renew")[0]["verify_cluster"] is True
    assert run.node.asked_for("emqx_release_info") == [{"old_code": False, "verification": True}]
    assert plain(run.outcome) == plain(at("staged", looked=3, before=read_facts(), renewed=NOW))
    (seen,) = run.outcome["clients_seen"]
    assert (seen["phase"], seen["connected"], seen["cut_off"]) == ("look", 10, None)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"running": NEW}, f"The plan was made for {OLD}, and the node now runs {NEW}; plan again."),
        ({"state": "stopped"}, "The node is stopped, so it is not switched."),
        (
            {"cluster": {"running": ["emqx@a1"], "stopped": [], "members": []}},
            "These members of the cluster are not running: emqx@a2.",
        ),
    ],
)
def test_a_node_that_is_not_as_planned_any_more_is_left_alone(found: dict[str, Any], message: str) -> None:
    for phase in ("look", "switch"):
        run = Run(FakeHost(info=found), at("staged")).take(phase)
        assert run.failure["phase"] == phase
        assert run.message == f"Look at the node and its cluster just before its turn: {message}"
        assert run.node.steps == ["renew", "info", "evidence"]
        assert [check["passed"] for check in run.outcome["checks"]].count(False) == 1


def test_switches_and_verifies() -> None:
    run = Run(FakeHost(), at("staged"), accept=["patches", "alarms"]).take("switch")
    assert run.node.steps == ["renew", "info", f"current {NEW}", "info"]
    assert run.node.asked_for("emqx_release") == [
        release(NEW, "current", package=f"{PACKAGES}/emqx-{NEW}.zip", allow_downgrade=False, accept=["patches"])
    ]
    outcome = run.outcome
    assert (outcome["state"], outcome["looked"], outcome["failure"]) == ("switched", 1, None)
    assert (outcome["before"], outcome["after"]) == (read_facts(), read_facts(NEW, OLD))
    assert outcome["actions"] == [{"action": "switch", "version": NEW}]
    assert outcome["commit_actions"] == []
    assert all(check["passed"] for check in outcome["checks"])
    assert len(outcome["checks"]) > 10
    assert (run.changed, run.message) == (True, "")


def test_what_was_looked_at_for_this_wave_is_not_looked_at_again() -> None:
    before = read_facts(pid=100, connections=20)
    looked = at("staged", looked=1, before=before)
    assert Run(FakeHost(), looked).take("switch", 1).node.steps == [f"current {NEW}", "info", "evidence"]
    healthy = at("staged", looked=1, before=read_facts())
    run = Run(FakeHost(), healthy).take("switch", 1)
    assert (run.node.steps, run.outcome["state"]) == ([f"current {NEW}", "info"], "switched")
    assert Run(FakeHost(), healthy).take("switch", 2).node.steps == ["renew", "info", f"current {NEW}", "info"]


def test_takes_hop_after_hop() -> None:
    run = Run(FakeHost(OLDER), at("staged"), two_hops()).take("switch")
    assert run.node.steps == ["renew", "info", f"current {OLD}", f"current {NEW}", "info"]
    assert [row["package"] for row in run.node.asked_for("emqx_release")] == [
        f"{PACKAGES}/emqx-{OLD}.zip",
        f"{PACKAGES}/emqx-{NEW}.zip",
    ]
    assert [row["version"] for row in run.outcome["actions"]] == [OLD, NEW]
    assert run.outcome["state"] == "switched"


def test_errors_in_the_log_of_any_hop_fail_the_switch() -> None:
    quiet = {"changed": True, "actions": []}
    answers = {
        f"current {OLD}": dict(quiet, log_errors=["relup crashed"]),
        f"current {NEW}": dict(quiet, log_errors=None),
    }
    node = FakeHost(OLDER, **answers)
    run = Run(node, at("staged"), two_hops()).take("switch")
    assert run.failure["message"] == "The node's log has errors about the switch: relup crashed."


@pytest.mark.parametrize(
    ("purpose", "setting", "allowed"), [("upgrade", False, False), ("upgrade", True, True), ("rollback", False, True)]
)
def test_a_downgrade_is_for_those_who_ask_for_it(purpose: Any, setting: bool, allowed: bool) -> None:
    plan = one()
    plan["purpose"] = purpose
    run = Run(FakeHost(), at("staged"), plan, allow_downgrade=setting).take("switch")
    assert run.node.asked_for("emqx_release")[0]["allow_downgrade"] is allowed


def test_commits_each_node_at_once_where_that_is_asked_for() -> None:
    run = Run(FakeHost(), at("staged"), commit="node").take("switch")
    assert run.node.steps == ["renew", "info", f"current {NEW}", "info", f"permanent {NEW}", "info"]
    assert run.node.asked_for("emqx_release")[1] == release(NEW, "permanent")
    assert run.outcome["after"] == read_facts(NEW, NEW)
    assert run.outcome["actions"] == [{"action": "switch", "version": NEW}]
    assert run.outcome["commit_actions"] == [{"action": "commit", "version": NEW}]
    assert run.outcome["state"] == "switched"
    boots = [check for check in run.outcome["checks"] if check["name"] == "boots"]
    assert boots[0]["expected"] == NEW


def test_a_verification_that_fails_is_told_with_its_checks() -> None:
    run = Run(FakeHost(**{"info#2": {"connections": 4}}), at("staged")).take("switch")
    message = (
        "The node had 10 clients and has 4; at least 10 are expected. "
        "To accept this, set emqx_upgrade_client_loss_tolerance to 6 (or 60%)."
    )
    assert run.message == f"Verify that nobody noticed, on the node and in its cluster: {message}"
    assert run.failure == {
        "phase": "switch",
        "task": "Verify that nobody noticed, on the node and in its cluster",
        "message": message,
        "failure_class": "",
        "output": [],
        "log": ["[error] x"],
        "crash_dumps": [DUMP],
    }
    assert [check["name"] for check in run.outcome["checks"] if not check["passed"]] == ["clients"]
    assert run.outcome["after"] == read_facts(NEW, OLD), "what the evidence read"
    assert run.outcome["before"] == read_facts()
    assert run.outcome["actions"] == [{"action": "switch", "version": NEW}]


def test_clients_may_be_missing_as_far_as_is_tolerated() -> None:
    run = Run(FakeHost(**{"info#2": {"connections": 9}}), at("staged"), client_loss_tolerance="10%").take("switch")
    assert run.outcome["state"] == "switched"


def test_a_verification_is_given_time() -> None:
    run = Run(FakeHost(**{"info#2": {"connections": 4}, "info#3": {"connections": 5}}), at("staged"))
    run.settings["verify_seconds"] = 600
    run.take("switch")
    assert run.outcome["state"] == "switched"
    assert run.node.steps[-3:] == ["info", "info", "info"]
    assert run.slept == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answers", "changed"),
    [
        ({"renew": {"changed": True}, f"current {NEW}": {"changed": False}}, True),
        ({"renew": {"changed": False}, f"current {NEW}": {"changed": True}}, True),
        ({"renew": {"changed": False}, f"current {NEW}": {"changed": False}}, False),
        ({"renew": {"changed": True}, f"current {NEW}": {"failed": True}}, True),
        ({"renew": {"changed": False}, f"current {NEW}": {"failed": True, "changed": True}}, True),
        ({"renew": {"failed": True}}, False),
    ],
)
def test_a_turn_has_changed_something_if_one_of_its_steps_has(answers: dict[str, Any], changed: bool) -> None:
    assert Run(FakeHost(**answers), at("staged")).take("switch").changed is changed


def test_a_failure_keeps_what_the_command_did_and_said() -> None:
    told: dict[str, Any] = {
        "failed": True, "msg": "It broke.", "failure_class": "changed", "output": ["one", "two"],
        "actions": [{"action": "switch", "version": NEW, "rc": 1}], "changed": True,
    }  # fmt: skip
    run = Run(FakeHost(OLDER, **{f"current {NEW}": told}), at("staged"), two_hops()).take("switch")
    assert (run.failure["failure_class"], run.failure["output"]) == ("changed", ["one", "two"])
    assert run.outcome["actions"] == [{"action": "switch", "version": OLD}, told["actions"][0]]
    assert run.changed
    assert run.node.asked_for("emqx_evidence") == [
        {
            "since": 1_700_000_000.0,
            "note": "switch: It broke.",
        }
    ]
    assert run.node.timeouts[-1] == 10.0, "a node that failed is not waited for as long as one that works"


# The clients


def counted(connected: int, sessions: int, left: int = 0, came: int = 0, at: float = 100.0) -> dict[str, Any]:
    """The books of a node that began with 10 clients."""
    counters = [came, left, came, 0, left, 0, 0, 0]
    return {"client_books": books(at, [Sample(counters, sessions, connected, counters)]), "connections": connected}


def under_churn(look: dict[str, Any], after: dict[str, Any], **more: Any) -> Run:
    """A switch, from where the node is read for the plan."""
    node = FakeHost(**{"info#1": look, "info#2": after, **more})
    run = Run(node, at("staged"), facts=read_facts(OLD, **counted(10, 10)))
    return run.take("switch")


def test_clients_that_come_and_go_are_no_loss() -> None:
    run = under_churn(counted(8, 8, left=7, came=5, at=120.0), counted(5, 5, left=11, came=6, at=123.0))
    assert run.outcome["failure"] is None
    account = run.outcome["accounting"]
    assert account is not None
    assert (account["told_by"], account["before"], account["now"], account["came"], account["left"]) == (
        "books", 8, 5, 1, 4,
    )  # fmt: skip
    assert (account["cut_off"], account["burst"]) == (0, 0)
    assert account["expected_left"]["measured_left"] == 7
    assert [seen["connected"] for seen in run.outcome["clients_seen"]] == [8, 5]


def test_one_that_is_cut_off_is_found_though_there_are_more_than_before() -> None:
    run = under_churn(counted(8, 8, left=7, came=5, at=120.0), counted(19, 19, left=7, came=17, at=123.0))
    assert run.failure["message"] == (
        "1 client was cut off: 8 were connected, 12 came, 0 left, 0 were replaced, 19 are there. "
        "To accept this, set emqx_upgrade_client_loss_tolerance to 1 (or 13%)."
    )
    assert run.outcome["accounting"] is not None
    assert run.outcome["accounting"]["cut_off"] == 1


def test_more_that_leave_than_before_are_found_and_do_not_become_less_by_waiting() -> None:
    later = {f"info#{number}": counted(70, 70, left=30, at=121.0 + 10 * number) for number in range(3, 9)}
    run = under_churn(counted(100, 100, at=120.0), counted(70, 70, left=30, at=121.0), **later)
    assert run.failure["message"].startswith(
        "30 clients were disconnected within 1 s; by 0 in the 20 s before, 4 are to be expected at most."
    )


def test_a_way_back_is_not_charged_with_whom_the_switch_cut_off() -> None:
    cut = counted(8, 8, came=0, at=121.0)
    node = FakeHost(
        NEW, OLD, **{"info#1": cut, "info#2": {**cut, "client_books": {**cut["client_books"], "time": 125.0}}}
    )
    before = read_facts(OLD, **counted(10, 10, at=120.0))
    failed = failed_in("switch", before=before, after=read_facts(NEW, OLD, **cut))
    run = Run(node, failed).take("rollback")
    assert run.outcome["state"] == "rolled_back"
    assert run.outcome["accounting"] is not None
    assert run.outcome["accounting"]["cut_off"] == 2, "in the whole run"


# What is gone at once


def test_a_node_goes_back_at_once_where_that_is_asked_for() -> None:
    run = Run(FakeHost(**{"info#2": {"connections": 4}}), at("staged"), on_failure="rollback_node").take("switch")
    assert run.node.steps == [
        "renew", "info", f"current {NEW}", "info", "evidence", "renew", "info", f"permanent {OLD}", "info",
    ]  # fmt: skip
    assert run.outcome["state"] == "rolled_back"
    assert run.failure["phase"] == "switch"
    assert run.outcome["after"] == read_facts(OLD)
    assert run.message == (
        "Verify that nobody noticed, on the node and in its cluster: The node had 10 clients and has 4; at least 10 "
        "are expected. To accept this, set emqx_upgrade_client_loss_tolerance to 6 (or 60%). "
        f"It went back to {OLD}."
    )
    assert run.changed


def test_a_node_that_cannot_go_back() -> None:
    answers = {"info#2": {"connections": 4}, f"permanent {OLD}": REFUSED}
    run = Run(FakeHost(**answers), at("staged"), on_failure="rollback_node").take("switch")
    assert run.outcome["state"] == "failed"
    assert run.failure["message"].startswith("The node had 10 clients")
    assert run.outcome["rollback_message"] == "It was refused."
    assert run.message.endswith(f"(or 60%). Switch back to {OLD}: It was refused.")
    assert run.outcome["after"] == read_facts(NEW, OLD)
    assert run.node.steps.count("evidence") == 2, "after the way back it is read again"


def test_a_node_that_did_not_move_has_nothing_to_go_back_from() -> None:
    run = Run(FakeHost(**{f"current {NEW}": REFUSED}), at("staged"), on_failure="rollback_node").take("switch")
    assert (run.outcome["state"], run.outcome["rollback_message"]) == ("failed", "")
    assert run.node.steps[-1] == "evidence"


def test_a_node_of_which_nothing_is_known_may_have_moved() -> None:
    answers = {f"current {NEW}": LOST, "evidence": {"facts": {}, "log": [], "crash_dumps": []}}
    run = Run(FakeHost(**answers), at("staged"), on_failure="rollback_node").take("switch")
    assert run.node.steps[-4:] == ["renew", "info", f"permanent {OLD}", "info"]
    assert run.outcome["state"] == "rolled_back"


@pytest.mark.parametrize("policy", ["stop", "rollback_wave", "rollback_fleet"])
def test_other_policies_take_nobody_back_at_once(policy: str) -> None:
    run = Run(FakeHost(**{"info#2": {"connections": 4}}), at("staged"), on_failure=policy).take("switch")
    assert run.node.steps[-1] == "evidence"
    assert run.outcome["state"] == "failed"


@pytest.mark.parametrize(("phase", "state"), [("soak", "switched"), ("commit", "soaked")])
def test_a_node_that_fails_later_waits_for_the_decision(phase: str, state: Any) -> None:
    node = FakeHost(NEW, OLD, info={"connections": 4})
    run = Run(node, at(state, before=read_facts(), after=read_facts(NEW, OLD)), on_failure="rollback_node").take(phase)
    assert run.outcome["state"] == "failed"
    assert run.node.steps[-1] == "evidence"


# Watching


def plain(outcome: Outcome) -> dict[str, Any]:
    """Without what is only told of it."""
    return {name: value for name, value in outcome.items() if name not in ("clients_seen", "accounting", "timeline")}


def switched(**changes: Any) -> Outcome:
    return at("switched", looked=1, before=read_facts(), after=read_facts(NEW, OLD), **changes)


def rounds(*seconds: int) -> list[dict[str, Any]]:
    """Rounds that look after so many seconds each."""
    found = [{"seconds": each, "verify": True, "last": False} for each in seconds]
    return [*found[:-1], {**found[-1], "last": True}]


def test_watches_round_after_round_in_one_go() -> None:
    run = Run(FakeHost(NEW, OLD, **{"info#1": {"connections": 11}}), switched()).take("soak", rounds=rounds(10, 10))
    assert run.node.steps == ["wait 10", "renew", "info"] * 2
    assert run.node.executions == 1
    assert [seen["phase"] for seen in run.outcome["clients_seen"]] == ["soak", "soak"]
    assert run.outcome["accounting"] is not None
    assert run.slept == [], "the node waits, and not a connection for each round"
    assert run.node.asked_for("renew")[0]["verify_cluster"] is False
    assert plain(run.outcome) == plain(switched(renewed=NOW)) | {"state": "soaked"}
    assert run.outcome["checks"] == []


def test_a_round_in_which_anything_changed_ends_the_row() -> None:
    """So that it is looked at while it lasts, and not when the row is over."""
    run = Run(FakeHost(NEW, OLD), switched()).take("soak", rounds=rounds(10, 10))
    expected = [call.expect for row in run.node.said for call in row if call.kind == "emqx_release_info"]
    assert len(expected) == 2
    for expect in expected:
        assert expect is not None
        assert expect["same"] == digests(read_facts(NEW, OLD))
        assert (expect["least"], expect["tolerance"]) == (10, 0)


def test_a_round_that_is_not_the_last_is_no_end() -> None:
    first = rounds(0, 0)[:1]
    run = Run(FakeHost(NEW, OLD, **{"info#1": {"connections": 11}}), switched()).take("soak", rounds=first)
    assert run.node.steps == ["renew", "info"]
    assert plain(run.outcome) == plain(switched(renewed=NOW)) | {"after": read_facts(NEW, OLD, connections=11)}


def test_a_round_may_only_keep_the_reservation() -> None:
    run = Run(FakeHost(NEW, OLD), switched())
    run.take("soak", rounds=[{"seconds": 40, "verify": False, "last": False}, *rounds(20)])
    assert run.node.steps == ["wait 40", "renew", "wait 20", "renew", "info"]
    assert run.outcome["state"] == "soaked"


def test_no_execution_waits_for_longer_than_two_minutes() -> None:
    run = Run(FakeHost(NEW, OLD), switched()).take("soak", rounds=rounds(50, 50, 50, 50, 300, 10))
    assert run.node.executions == 4, "50 + 50, 50 + 50, 300 for itself, 10"
    assert run.outcome["state"] == "soaked"


def test_a_node_that_fails_in_one_round_has_no_further_one() -> None:
    run = Run(FakeHost(NEW, OLD, **{"info#2": {"connections": 4}}), switched()).take("soak", rounds=rounds(5, 5, 5))
    assert run.node.steps == [*["wait 5", "renew", "info"] * 2, "evidence"]
    assert run.failure["phase"] == "soak"


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (failed_in("switch", renewed=NOW - 100), {}),
        (at("switched", renewed=NOW - 100), {"hosts": ["a2"]}),
    ],
)
def test_a_node_without_a_turn_keeps_its_reservation_as_long_as_the_others_watch(
    outcome: Outcome, decision: dict[str, Any]
) -> None:
    run = Run(FakeHost(), outcome)
    run.take("soak", rounds=rounds(10, 30), **decision)
    assert run.slept == [10.0, 30.0]
    assert run.node.steps == ["renew"]
    assert run.outcome["state"] == outcome["state"]


def test_watches_what_a_restart_would_boot() -> None:
    """Where each node is committed at once that is the new version, else the old one."""
    committed = at("switched", before=read_facts(), after=read_facts(NEW, NEW))
    assert Run(FakeHost(NEW, NEW), committed).take("soak").outcome["state"] == "soaked"
    assert Run(FakeHost(NEW, OLD), committed).take("soak").failure["message"] == (
        f"A restart would boot {OLD}, not {NEW}."
    )


def test_watches_a_node_of_an_earlier_run_against_what_was_read_for_the_plan() -> None:
    """What a run that died left half committed is repaired by the commit, so it is no failure before it."""
    half = {"boot": {"version": OLD, "consistent": False, "problems": [{"code": "x", "message": "Half."}]}}
    run = Run(FakeHost(NEW, OLD, info=half), at("reserved"), one("commit")).take("soak")
    assert run.outcome["state"] == "soaked"
    assert run.outcome["before"] == read_facts(NEW, OLD)
    assert run.outcome["after"] == read_facts(NEW, OLD, **half)
    fresh = Run(FakeHost(NEW, OLD, info=half), switched()).take("soak")
    assert fresh.failure["message"] == "Half."


# Committing


def soaked() -> Outcome:
    return at("soaked", looked=1, before=read_facts(), after=read_facts(NEW, OLD))


def test_commits_and_clears_up() -> None:
    run = Run(FakeHost(NEW, OLD), soaked()).take("commit")
    assert run.node.steps == ["renew", f"permanent {NEW}", "info", f"remove {PACKAGES}", "give up"]
    assert run.outcome["given_up"] is True
    assert run.node.asked_for("emqx_release") == [release(NEW, "permanent")]
    assert run.outcome["state"] == "committed"
    assert run.outcome["after"] == read_facts(NEW, NEW)
    assert run.outcome["commit_actions"] == [{"action": "commit", "version": NEW}]
    assert all(check["passed"] for check in run.outcome["checks"])


def test_clears_up_only_where_the_node_itself_sees_that_it_is_well() -> None:
    """What stands behind the reading is done on the node before the checks are made here."""
    run = Run(FakeHost(NEW, OLD), soaked(), client_loss_tolerance=2).take("commit")
    renewal, permanent, reading, remove, give_up = run.node.said[0]
    assert (permanent.kind, remove.kind, give_up.arguments["state"]) == ("emqx_release", "remove", "absent")
    assert reading.expect == {
        "running": NEW,
        "cluster": ["emqx@a1", "emqx@a2"],
        "books": None,
        "tolerance": 2,
        "least": 8,
        "boots": NEW,
    }
    assert [call.expect for call in (renewal, permanent, remove, give_up)] == [None] * 4


def test_a_job_of_several_keeps_the_node_for_the_next_one() -> None:
    run = Run(FakeHost(NEW, OLD), soaked(), run_id="run-1").take("commit")
    assert run.node.steps == ["renew", f"permanent {NEW}", "info", f"remove {PACKAGES}"]
    assert (run.outcome["state"], run.outcome["given_up"], run.node.executions) == ("committed", False, 1)
    assert [call.kind for call in run.node.said[0]][-1] == "remove"


def test_a_node_that_cannot_be_given_up_with_the_commit_is_given_up_in_the_end() -> None:
    run = Run(FakeHost(NEW, OLD, **{"give up#1": REFUSED}), soaked()).take("commit")
    assert (run.outcome["state"], run.outcome["given_up"]) == ("committed", False)
    run.node.steps.clear()
    run.node.answers.clear()
    assert run.end().node.steps == ["give up"]


@pytest.mark.parametrize("phase", ["look", "switch"])
def test_nothing_is_switched_unless_the_node_itself_sees_that_it_is_as_planned(phase: str) -> None:
    run = Run(FakeHost(), at("staged")).take(phase)
    kinds = [call.kind for call in run.node.said[0]]
    assert kinds[:2] == ["emqx_reservation", "emqx_release_info"]
    assert run.node.said[0][0].arguments["verify_cluster"] is True
    assert run.node.said[0][1].expect == {"running": OLD, "cluster": ["emqx@a1", "emqx@a2"]}
    assert kinds[2:] == ([] if phase == "look" else ["emqx_release", "emqx_release_info"])


# Going back


def test_goes_back_hop_after_hop() -> None:
    plan = two_hops()
    before = read_facts(OLDER)
    run = Run(FakeHost(NEW, OLDER), at("switched", before=before, after=read_facts(NEW, OLDER)), plan)
    run.take("rollback")
    assert run.node.steps == ["renew", "info", f"current {OLD}", f"permanent {OLDER}", "info"]
    assert run.node.asked_for("emqx_release") == [
        release(OLD, "current", allow_downgrade=True),
        release(OLDER, "permanent", allow_downgrade=True),
    ]
    assert (run.outcome["state"], run.outcome["failure"]) == ("rolled_back", None)
    assert (run.outcome["before"], run.outcome["after"]) == (before, read_facts(OLDER))
    assert (run.changed, run.message) == (True, "")


def test_a_planned_way_back_is_held_against_what_was_read_for_the_plan() -> None:
    plan = one(**{"from": NEW, "to": OLD, "way_back": [OLD]})
    plan["purpose"] = "rollback"
    run = Run(FakeHost(NEW), at("reserved"), plan).take("rollback")
    assert run.outcome["state"] == "rolled_back"
    assert run.outcome["before"] == read_facts(NEW)


def test_a_failed_node_goes_back_when_it_is_decided() -> None:
    failed = failed_in("switch", before=read_facts(), after=read_facts(NEW, OLD))
    run = Run(FakeHost(NEW, OLD), failed).take("rollback")
    assert run.outcome["state"] == "rolled_back"
    assert run.outcome["failure"] == failed["failure"]
    assert run.outcome["after"] == read_facts(OLD)


def test_an_alarm_that_the_switch_raised_outlives_it() -> None:
    run = Run(FakeHost(NEW, OLD, info=ALARM), switched()).take("rollback")
    assert run.outcome["state"] == "rolled_back"
    gone = Run(FakeHost(NEW, OLD, **{"info#2": {"sessions": 1}}), switched()).take("rollback")
    assert gone.failure["message"] == (
        "The node had 12 sessions and has 1; at least 12 are expected. "
        "To accept this, set emqx_upgrade_client_loss_tolerance to 11 (or 92%)."
    )


def test_no_way_back() -> None:
    run = Run(FakeHost(NEW, OLD), switched(), one(way_back=[])).take("rollback")
    message = (
        "No relup on the node leads back to the version that it ran before; only a restart in a maintenance window "
        f"brings {OLD} back."
    )
    assert run.message == f"Find the way back: {message}"
    assert (run.failure["phase"], run.failure["message"]) == ("rollback", message)
    assert run.node.steps == ["renew", "evidence"]


@pytest.mark.parametrize(
    ("answers", "task", "runs"),
    [
        ({f"current {OLD}": REFUSED}, f"Switch back to {OLD}", NEW),
        ({f"permanent {OLDER}": LOST}, f"Switch back to {OLDER}", OLD),
        ({"info#2": {"connections": 1}}, "Verify that nobody noticed the way back", OLDER),
    ],
)
def test_a_way_back_that_fails_is_read_again(answers: dict[str, Any], task: str, runs: str) -> None:
    failed = failed_in("switch", "first", before=read_facts(OLDER), after=read_facts(NEW, OLDER))
    run = Run(FakeHost(NEW, OLDER, **answers), failed, two_hops()).take("rollback")
    assert run.message.startswith(f"{task}: ")
    assert run.outcome["state"] == "failed"
    assert run.failure["message"] == "first"
    assert run.message == f"{task}: {run.outcome['rollback_message']}"
    assert run.outcome["after"] is not None
    assert run.outcome["after"]["running"] == runs, "what it really runs"
    assert run.node.steps[-1] == "evidence"
    assert run.outcome["reached"]


# A failing step, whichever it is, in whatever way

#: Where a node begins, what it runs then, and its steps with their tasks; without a task one that may fail.
STEPS: dict[str, tuple[Outcome, str, list[tuple[str, str]]]] = {
    "stage": (
        at("reserved"),
        OLDER,
        [
            (f"send emqx-{OLD}.zip", f"Copy the package emqx-{OLD}.zip"),
            (f"send emqx-{NEW}.zip", f"Copy the package emqx-{NEW}.zip"),
            ("packages", "Have the packages on the node"),
            (f"staged {OLD}", f"Unpack and check {OLD}"),
            (f"staged {NEW}", f"Unpack and check {NEW}"),
        ],
    ),
    "look": (
        at("staged"),
        OLDER,
        [
            ("renew", "Prove that no other run works on the cluster"),
            ("info", "Look at the node and its cluster just before its turn"),
        ],
    ),
    "switch": (
        at("staged"),
        OLDER,
        [
            ("renew", "Prove that no other run works on the cluster"),
            ("info", "Look at the node and its cluster just before its turn"),
            (f"current {OLD}", f"Switch to {OLD}, so that a restart would still bring the old version back"),
            (f"current {NEW}", f"Switch to {NEW}, so that a restart would still bring the old version back"),
            ("info", "Verify that nobody noticed, on the node and in its cluster"),
            (f"permanent {NEW}", f"Make {NEW} permanent, so that a restart boots it"),
            ("info", "Verify what a restart would boot"),
        ],
    ),
    "soak": (
        at("switched", before=read_facts(OLDER), after=read_facts(NEW, OLDER)),
        NEW,
        [("renew", "Renew the reservation"), ("info", "Verify that nobody notices")],
    ),
    "commit": (
        at("soaked", before=read_facts(OLDER), after=read_facts(NEW, OLDER)),
        NEW,
        [
            ("renew", "Renew the reservation"),
            (f"permanent {NEW}", f"Make {NEW} permanent, so that a restart boots it"),
            ("info", "Verify what a restart would boot"),
            (f"remove {PACKAGES}", "Remove the staged packages"),
        ],
    ),
    "rollback": (
        at("switched", before=read_facts(OLDER), after=read_facts(NEW, OLDER)),
        NEW,
        [
            ("renew", "Renew the reservation"),
            ("info", ""),
            (f"current {OLD}", f"Switch back to {OLD}"),
            (f"permanent {OLDER}", f"Switch back to {OLDER}"),
            ("info", "Verify that nobody noticed the way back"),
        ],
    ),
}


def taken(phase: str, answers: dict[str, Any], **settings: Any) -> Run:
    outcome, running, _steps = STEPS[phase]
    node = FakeHost(running, OLDER, **answers)
    return Run(node, outcome, two_hops(), **{"commit": "node" if phase == "switch" else "fleet", **settings}).take(
        phase
    )


@pytest.mark.parametrize("phase", STEPS)
def test_the_steps_of_a_phase(phase: str) -> None:
    """So that no step is missing below."""
    run = taken(phase, {})
    given_up = ["give up"] if phase == "commit" else []
    assert run.node.steps == [*(step for step, _task in STEPS[phase][2]), *given_up]
    assert run.outcome["failure"] is None
    # Of several hops each but the first, and a commit of its own, come by themselves.
    assert run.node.executions == {"stage": 2, "switch": 2}.get(phase, 1)


def failing_steps() -> Sequence[Any]:
    found = []
    for phase, (_outcome, _running, steps) in STEPS.items():
        names = [step for step, _task in steps]
        for place, (step, task) in enumerate(steps):
            key = f"{step}#{names[: place + 1].count(step)}"
            if not task:
                continue
            found.append(pytest.param(phase, place, key, task, id=f"{phase}: {key}"))
    return found


@pytest.mark.parametrize(("phase", "place", "step", "task"), failing_steps())
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("evidence", [None, "lost", "crash"])
def test_every_step_may_fail_in_every_way(
    phase: str, place: int, step: str, task: str, kind: str, evidence: str | None
) -> None:
    answers = {step: FAILURES[kind]} | ({"evidence": FAILURES[evidence]} if evidence else {})
    run = taken(phase, answers)
    message = FAILURES[kind].get("msg", "it did not say why")
    assert run.outcome["state"] == "failed"
    assert (run.failure["phase"], run.failure["task"], run.failure["message"]) == (phase, task, message)
    assert run.failure["failure_class"] == FAILURES[kind].get("failure_class", "")
    assert run.message == f"{task}: {message}"
    done = [name for name, _task in STEPS[phase][2]][: place + 1]
    assert run.node.steps == [*done, "evidence"]
    assert run.node.asked_for("emqx_evidence")[0]["note"] == f"{phase}: {message}"
    outcome = run.outcome
    assert outcome["before"] is not None
    assert outcome["before"]["running"] == OLDER
    if evidence:
        assert (outcome["after"], outcome["reached"]) == (None, False)
        assert (run.failure["log"], run.failure["crash_dumps"]) == ([], [])
    else:
        assert outcome["after"] == run.node.facts()
        assert outcome["reached"] is True
        assert (run.failure["log"], run.failure["crash_dumps"]) == (["[error] x"], [DUMP])


@pytest.mark.parametrize("kind", FAILURES)
def test_a_reservation_may_fail_in_every_way(kind: str) -> None:
    run = Run(FakeHost(reserve=FAILURES[kind]), at("planned"))
    run.told(run.turn().reserve())
    assert run.outcome["state"] == "failed"
    assert (run.failure["phase"], run.failure["task"]) == ("reserve", "Reserve the node")
    assert run.node.steps == ["reserve"]


@pytest.mark.parametrize("kind", FAILURES)
def test_a_node_that_cannot_be_read_before_its_way_back_goes_back_all_the_same(kind: str) -> None:
    run = taken("rollback", {"info#1": FAILURES[kind]})
    assert (run.outcome["state"], run.outcome["failure"]) == ("rolled_back", None)


@pytest.mark.parametrize("step", ["renew#2", f"current {OLD}#2", f"permanent {OLDER}#1", "info#4"])
@pytest.mark.parametrize("kind", FAILURES)
def test_every_step_of_a_way_back_at_once_may_fail_in_every_way(step: str, kind: str) -> None:
    answers = {"info#2": {"connections": 4}, step: FAILURES[kind]}
    run = taken("switch", answers, commit="fleet", on_failure="rollback_node")
    assert run.outcome["state"] == "failed"
    assert run.failure["phase"] == "switch"
    assert run.outcome["rollback_message"] == FAILURES[kind].get("msg", "it did not say why")
    assert run.outcome["after"] == run.node.facts()
    assert run.node.steps[-1] == "evidence"


# Hooks


@pytest.mark.parametrize("hook", ["before_fleet", "before_wave", "after_wave", "after_fleet"])
def test_a_hook_that_was_run_for_many_is_noted(hook: str) -> None:
    run = Run(FakeHost(), at("staged")).hook_failed(hook, " no route\n")
    assert run.message == f"The hook {hook} failed: no route"
    assert run.outcome == at("staged", hook_failures=[{"hook": hook, "wave": 2, "message": "no route"}])
    assert run.node.steps == []


@pytest.mark.parametrize("hook", ["before_node", "after_node"])
def test_a_hook_of_the_node_fails_it(hook: str) -> None:
    outcome = at("staged", before=read_facts()) if hook == "before_node" else switched()
    run = Run(FakeHost(OLD if hook == "before_node" else NEW, OLD), outcome).hook_failed(hook, "no route")
    assert run.message == f"hook {hook}: The hook {hook} failed: no route"
    assert run.failure["phase"] == hook
    assert run.failure["task"] == f"hook {hook}"
    assert run.failure["message"] == f"The hook {hook} failed: no route"
    assert run.failure["log"] == ["[error] x"]
    assert run.node.steps == ["evidence"]
    assert run.outcome["state"] == "failed"


@pytest.mark.parametrize("message", ["", "  \n"])
def test_a_hook_whose_tasks_were_not_there_has_a_reason_too(message: str) -> None:
    said = "its tasks could not be loaded; the error is above."
    assert Run(FakeHost(), at("staged")).hook_failed("before_wave", message).message == (
        f"The hook before_wave failed: {said}"
    )
    run = Run(FakeHost(), at("staged")).hook_failed("before_node", message)
    assert run.failure["message"] == f"The hook before_node failed: {said}"


def test_a_node_whose_hook_fails_after_the_switch_goes_back_at_once_where_that_is_asked_for() -> None:
    run = Run(FakeHost(NEW, OLD), switched(), on_failure="rollback_node").hook_failed("after_node", "no route")
    assert run.outcome["state"] == "rolled_back"
    assert run.message == f"hook after_node: The hook after_node failed: no route It went back to {OLD}."
    before = Run(FakeHost(), at("staged"), on_failure="rollback_node").hook_failed("before_node", "no route")
    assert before.node.steps == ["evidence"]


# Whose turn it is


@pytest.mark.parametrize(
    ("phase", "wave", "decision"),
    [
        ("switch", 1, decided_for("switch", 2)),
        ("switch", 1, decided_for("soak", 0)),
        ("look", 1, decided_for("look", 1)),
        ("look", 2, decided_for("switch", 1)),
        ("soak", 0, decided_for("commit", 0)),
        ("rollback", 1, decided_for("rollback", 2)),
        ("commit", 0, decided_for("end", 0)),
    ],
)
def test_a_decision_of_another_time_is_no_turn(phase: str, wave: int, decision: Decision) -> None:
    """A node that was lost comes back to phases that are over, or to the next ones with an old decision."""
    for state in PROGRESS[1:5]:
        run = Run(FakeHost(), at(state))
        decision["failures"] = {"a1": outcomes.make_failure("stage", {})}
        result = run.turn().take(phase, wave, decision)
        assert (result.outcome, result.message, result.changed) == (at(state), "", False)
        assert run.node.steps == []


@pytest.mark.parametrize("phase", ["look", "switch", "soak", "commit", "rollback"])
def test_whoever_is_not_named_keeps_its_reservation(phase: str) -> None:
    state: Any = {"soak": "switched", "commit": "soaked", "rollback": "switched"}.get(phase, "staged")
    for changes in ({"hosts": ["a2"]}, {"proceed": False}):
        run = Run(FakeHost(), at(state)).take(phase, **changes)
        assert run.node.steps == ["renew"]
        assert run.outcome == at(state, renewed=NOW)
        assert (run.changed, run.message) == (False, "")


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        ("stage", at("staged")),
        ("stage", failed_in("reserve")),
        ("switch", at("planned")),
        ("switch", at("switched")),
        ("soak", at("staged")),
        ("commit", at("switched")),
        ("switch", failed_in("stage")),
        ("soak", failed_in("switch")),
        ("commit", failed_in("soak")),
        ("rollback", at("planned")),
        ("rollback", at("staged")),
        ("rollback", at("rolled_back")),
    ],
)
def test_a_turn_begins_only_from_where_the_phase_begins(phase: str, outcome: Outcome) -> None:
    run = Run(FakeHost(), dict(outcome, renewed=NOW)).take(phase)  # type: ignore[arg-type]
    assert run.node.steps == []
    assert run.outcome == dict(outcome, renewed=NOW)


@pytest.mark.parametrize("phase", ["look", "switch", "soak", "commit"])
def test_a_failure_that_was_decided_is_the_nodes_own_from_then_on(phase: str) -> None:
    failure = outcomes.make_failure("before_wave", {"message": "The hook before_wave failed: no"})
    state: Any = {"soak": "switched", "commit": "soaked"}.get(phase, "staged")
    turns_or_not: list[dict[str, Any]] = [{}, {"hosts": []}, {"proceed": False}]
    for changes in turns_or_not:
        run = Run(FakeHost(), at(state)).take(phase, failures={"a1": failure, "a2": failure}, **changes)
        assert run.outcome == outcomes.fail(at(state), "before_wave", failure)
        assert (run.node.steps, run.message) == ([], "")
    known = failed_in("stage", "its own")
    assert Run(FakeHost(), known).take(phase, failures={"a1": failure}).outcome == known
    well = Run(FakeHost(), at(state, renewed=NOW)).take(phase, hosts=[], failures={"a2": failure})
    assert well.outcome == at(state, renewed=NOW)


def test_a_node_that_failed_with_the_others_goes_back_with_them() -> None:
    failure = outcomes.make_failure("after_wave", {"message": "The hook after_wave failed: no"})
    run = Run(FakeHost(NEW, OLD), switched()).take("rollback", failures={"a1": failure})
    assert run.outcome["state"] == "rolled_back"
    assert run.outcome["failure"] == failure


# Keeping a reservation


@pytest.mark.parametrize("state", ["reserved", "staged", "switched", "soaked", "failed"])
@pytest.mark.parametrize(
    ("renewed", "due"),
    [(0.0, True), (NOW - 36, True), (NOW - 35.9, False), (NOW, False), (NOW + 9, False)],
)
def test_renews_only_when_it_is_time(state: Any, renewed: float | None, due: bool) -> None:
    for keep in (True, False):
        run = Run(FakeHost(), at(state, renewed=renewed), lease_seconds=120)
        run.told(run.turn().nothing(keep))
        assert run.node.steps == (["renew"] if due and keep else [])
        assert run.outcome == at(state, renewed=NOW if due and keep else renewed)
    assert run.node.asked_for("renew") == []


def test_a_renewal_names_the_run_and_its_lease() -> None:
    run = Run(FakeHost(), at("staged"), lease_seconds=90)
    run.told(run.turn().nothing(keep=True))
    assert run.node.asked == [("renew", {"run_id": "run-1", "lease": 90.0, "verify_cluster": False})]


@pytest.mark.parametrize("outcome", [at("planned"), at("committed"), at("rolled_back")])
def test_what_is_not_reserved_or_done_is_not_renewed(outcome: Outcome) -> None:
    run = Run(FakeHost(), outcome)
    run.told(run.turn().nothing(keep=True))
    assert run.node.steps == []


@pytest.mark.parametrize("kind", FAILURES)
def test_a_renewal_that_fails_is_tried_again_and_is_no_failure(kind: str) -> None:
    run = Run(FakeHost(renew=FAILURES[kind]), at("staged", renewed=1.0))
    run.told(run.turn().nothing(keep=True))
    assert run.outcome == at("staged", renewed=1.0)
    assert run.message == ""


# In check mode


@pytest.mark.parametrize("commit", ["fleet", "node", "never"])
def test_previews_every_hop(commit: str) -> None:
    run = Run(FakeHost(OLDER), at("planned"), two_hops(), commit=commit)
    run.told(run.turn().preview())
    last = "current" if commit == "never" else "permanent"
    assert run.node.asked == [
        ("emqx_release", release(OLD, "current", allow_downgrade=False)),
        ("emqx_release", release(NEW, last, allow_downgrade=False)),
    ]
    assert run.message == ""
    assert run.outcome["state"] == "planned"


def test_previews_a_commit() -> None:
    purposes: tuple[Purpose, ...] = ("upgrade", "commit")
    for purpose in purposes:
        plan = one("commit")
        plan["purpose"] = purpose
        run = Run(FakeHost(NEW, OLD), at("planned"), plan, commit="fleet" if purpose == "upgrade" else "never")
        run.told(run.turn().preview())
        assert run.node.steps == [f"permanent {NEW}"]


def test_previews_a_downgrade_that_is_allowed() -> None:
    plan = one(**{"from": NEW, "to": OLD, "hops": [make_hop(OLD)]})
    run = Run(FakeHost(NEW), at("planned"), plan, allow_downgrade=True)
    run.told(run.turn().preview())
    assert run.node.asked_for("emqx_release") == [release(OLD, "permanent", allow_downgrade=True)]


def test_previews_a_way_back_as_it_would_be_gone() -> None:
    plan = one(
        **{"from": NEW, "to": OLDER, "hops": [make_hop(OLDER, package=None, path=None)], "way_back": [OLD, OLDER]}
    )
    plan["purpose"] = "rollback"
    run = Run(FakeHost(NEW), at("planned"), plan, commit="never")
    run.told(run.turn().preview())
    assert run.node.asked_for("emqx_release") == [
        release(OLD, "current", allow_downgrade=True),
        release(OLDER, "permanent", allow_downgrade=True),
    ]


@pytest.mark.parametrize("action", ["none", "refuse"])
def test_previews_nothing_where_there_is_nothing_to_do(action: Any) -> None:
    run = Run(FakeHost(), at("planned"), one(action))
    assert run.told(run.turn().preview()).node.steps == []


@pytest.mark.parametrize("kind", FAILURES)
def test_a_preview_that_fails_says_so_and_is_no_outcome(kind: str) -> None:
    run = Run(FakeHost(**{f"permanent {NEW}": FAILURES[kind]}), at("planned"))
    run.told(run.turn().preview())
    assert run.message == f"Show the steps to {NEW}: {FAILURES[kind].get('msg', 'it did not say why')}"
    assert run.outcome["failure"] is None
    assert "evidence" not in run.node.steps


# The end


def test_a_node_that_is_done_is_given_up() -> None:
    done = at("committed", before=read_facts(), after=read_facts(NEW))
    run = Run(FakeHost(NEW), done).end()
    assert run.node.asked == [("give up", {"run_id": "run-1"})]
    assert run.outcome == done
    assert (run.message, run.outcome["reached"]) == ("", True)


def test_a_node_that_was_given_up_with_its_commit_is_left_alone() -> None:
    done = at("committed", before=read_facts(), after=read_facts(NEW), given_up=True)
    run = Run(FakeHost(NEW), done).end()
    assert (run.node.steps, run.outcome) == ([], done)
    failed = Run(FakeHost(NEW), dict(failed_in("commit"), given_up=True)).end()  # type: ignore[arg-type]
    assert failed.node.steps == ["info", "give up"]


def test_a_job_of_several_keeps_the_node_to_the_end() -> None:
    run = Run(FakeHost(NEW, OLD), soaked(), run_id="night").take("commit")
    assert run.node.steps[-1] == f"remove {PACKAGES}"
    assert run.outcome["given_up"] is False


@pytest.mark.parametrize("kind", FAILURES)
def test_a_node_that_cannot_be_given_up_with_its_commit_is_tried_again_at_the_end(kind: str) -> None:
    run = Run(FakeHost(NEW, OLD, **{"give up#1": FAILURES[kind]}), soaked()).take("commit")
    assert (run.outcome["state"], run.outcome["given_up"]) == ("committed", False)
    assert run.end().node.steps[-1] == "give up"


@pytest.mark.parametrize("state", ["reserved", "staged"])
def test_a_node_that_had_no_turn_is_read(state: Any) -> None:
    run = Run(FakeHost(), at(state)).end()
    assert run.node.steps == ["info", "give up"]
    assert run.node.asked_for("emqx_release_info") == [{"old_code": False}]
    assert run.node.timeouts == [10.0]
    assert run.outcome == at(state, after=read_facts())


def test_a_node_that_failed_is_read_again() -> None:
    run = Run(FakeHost(OLD), failed_in("switch", after=read_facts(NEW, OLD))).end()
    assert run.outcome["after"] == read_facts(OLD)
    assert run.node.steps == ["info", "give up"]


def test_a_node_that_never_had_a_reservation_gives_none_up() -> None:
    run = Run(FakeHost(), at("planned")).end()
    assert run.node.steps == ["info"]
    assert run.outcome == at("planned", after=read_facts())


@pytest.mark.parametrize("kind", FAILURES)
def test_a_node_that_is_not_there_at_the_end_keeps_its_reservation(kind: str) -> None:
    gone = {"info": FAILURES[kind], "give up": FAILURES[kind]}
    for outcome in (failed_in("switch", after=read_facts(NEW, OLD)), at("staged")):
        run = Run(FakeHost(**gone), outcome).end()
        kept = {"kept": True, "message": FAILURES[kind].get("msg", "")}
        assert (run.outcome["after"], run.outcome["reached"]) == (None, False)
        assert run.outcome["reservation"] == kept
        assert run.outcome["state"] == outcome["state"]
        assert run.message == ""
    went = outcomes.advance(failed_in("switch"), "rollback", after=read_facts())
    assert Run(FakeHost(**gone), went).end().outcome["after"] is None, "what it ran is not what it runs"


def test_what_was_read_last_of_a_node_that_is_well_stays() -> None:
    run = Run(FakeHost(**{"give up": LOST}), at("soaked", after=read_facts(NEW, OLD))).end()
    assert run.outcome["after"] == read_facts(NEW, OLD)
    assert run.outcome["reached"] is True
    assert run.outcome["reservation"] == {"kept": True, "message": LOST["msg"]}


def test_a_node_that_came_back_gives_up_what_was_kept() -> None:
    kept = {"kept": True, "message": "m"}
    run = Run(FakeHost(), at("committed", after=read_facts(NEW), reservation=kept)).end()
    assert run.outcome["reservation"] is None


@pytest.mark.parametrize(
    ("run_id", "final", "step"),
    [("night", False, "park"), ("night", True, "give up"), (None, False, "give up"), ("", False, "give up")],
)
def test_a_job_with_others_to_come_parks_the_reservation(run_id: str | None, final: bool, step: str) -> None:
    run = Run(FakeHost(), at("staged", after=read_facts()), run_id=run_id, park_seconds=90).end(final=final)
    how = {"lease": 90.0, "verify_cluster": False} if step == "park" else {}
    assert run.node.asked == [(step, {"run_id": "run-1", **how})]


def test_the_last_look_learns_what_was_decided_meanwhile() -> None:
    failure = outcomes.make_failure("after_wave", {"message": "The hook after_wave failed: no"})
    run = Run(FakeHost(NEW, OLD), switched()).end(failures={"a1": failure}, proceed=False)
    assert run.outcome["failure"] == failure
    assert run.node.steps == ["info", "give up"]
    own = failed_in("switch", "its own")
    assert Run(FakeHost(), own).end(failures={"a1": failure}).outcome["failure"] == own["failure"]


def test_what_a_run_that_died_left_on_a_node_that_is_done_is_removed() -> None:
    plan = one("none", unfinished_run=True)
    run = Run(FakeHost(NEW), at("reserved"), plan, run_id="night").end(final=False)
    assert run.node.steps == ["info", f"remove {PACKAGES}", "give up"]
    run = Run(FakeHost(NEW), failed_in("reserve"), plan).end()
    assert run.node.steps == ["info", "give up"], "what another run has is not ours to clear up"
    assert Run(FakeHost(NEW, **{f"remove {PACKAGES}": LOST}), at("reserved"), plan).end().message == ""


@pytest.mark.parametrize("action", ["none", "refuse"])
def test_a_node_with_nothing_to_do_is_left_alone(action: Any) -> None:
    run = Run(FakeHost(), at("planned"), one(action)).end()
    assert run.node.steps == []
    assert run.outcome == at("planned")
