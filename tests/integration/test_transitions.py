# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every way from one state of a release to another: check mode, the run, check mode again, the run again.

Check mode touches nothing and foretells what the run does; the second time there is nothing to do. What is not allowed
is refused by both alike. The node is asked by its own command, and all its files are compared.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from . import files
from .cases import BEFORE, CURRENT, DONE, HALF, UNPACKED
from .conftest import Pool
from .node import COOKIE, NEW, OLD, Node, Result, State
from .plays import one_task, play
from .side_by_side import job, outcome

CLIENTS = 4
OLDER = "4.4.17"
STAGING = "/var/tmp"
SECRET = "setting-that-nobody-shall-see"
PACKAGED = {"layout": "package", "runner_user": "emqx"}
DOWNGRADE = {"allow_downgrade": True}

BACK = State({OLD: "permanent", NEW: "old"}, OLD)
BACK_CURRENT = State({OLD: "current", NEW: "permanent"}, NEW)
AT_OLDER = State({OLDER: "permanent", OLD: "old"}, OLDER)
NEW_ALONE = State({NEW: "permanent"}, NEW)


def tear_a_file(node: Node) -> None:
    """What a disk leaves behind that was full while the node unpacked."""
    node.inside(f"lib/emqx-{NEW}/ebin/emqx_frame.beam").write_bytes(b"")


def cut_the_commit_short(node: Node) -> None:
    """A commit that was killed before its last step."""
    variables = node.inside("releases/emqx_vars")
    lines = variables.read_text(encoding="utf-8").splitlines(keepends=True)
    variables.write_text("".join(lines[:-2]), encoding="utf-8")


@dataclass(frozen=True)
class Begin:
    """Where a node is when something is asked of it: ``state``, reached from a fresh node by its own commands ``way``.

    The idle clients come before the last command, so that they run old code if that was a switch. ``package``: the
    folder of the package of ``brings``, none if null.
    """

    state: State
    way: tuple[str, ...] = ()
    then: Callable[[Node], None] | None = None
    package: str | None = "releases"
    brings: str = NEW

    def reach(self, node: Node, **base: Any) -> State:
        """Bring a node there; gives what it says then."""
        node.reset(clients=0, **base)
        if self.package:
            node.provide(self.brings, folder="" if self.package == "releases" else self.package)
        for command in self.way[:-1]:
            node.emqx(*command.split())
        node.attach(CLIENTS)
        for command in self.way[-1:]:
            node.emqx(*command.split())
        if self.then:
            self.then(node)
        state = node.state()
        assert state == self.state, f"the node's own commands led to {state}"
        return state


FRESH = Begin(BEFORE)
STAGED = Begin(BEFORE, package=STAGING)
BARE = Begin(BEFORE, package=None)
WITH_OLDER = Begin(BEFORE, brings=OLDER)
AT_UNPACKED = Begin(UNPACKED, (f"unpack {NEW}",))
AT_TORN = Begin(UNPACKED, (f"unpack {NEW}",), tear_a_file)
AT_CURRENT = Begin(CURRENT, (f"upgrade --no-permanent {NEW}",))
AT_DONE = Begin(DONE, (f"upgrade {NEW}",))
AT_HALF = Begin(HALF, (f"upgrade {NEW}",), cut_the_commit_short)
AT_BACK = Begin(BACK, (f"upgrade {NEW}", f"downgrade {OLD}"))


@dataclass(frozen=True)
class Transition:
    """``state`` of ``version`` is asked for at ``begin``; ``does`` leads to ``end``."""

    name: str
    begin: Begin
    state: str
    does: tuple[str, ...]
    end: State
    version: str = NEW
    task: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)

    def ask(self, node: Node, check: bool) -> Result:
        """Run the module."""
        task = dict(self.task)
        if self.begin.package == STAGING:
            task["package"] = f"{STAGING}/{node.package_name()}"
        return node.release(self.version, state=self.state, check=check, **task)


TRANSITIONS = (
    Transition("absent-unpacked", FRESH, "unpacked", ("unpack",), UNPACKED),
    Transition("absent-unpacked-staged", STAGED, "unpacked", ("unpack",), UNPACKED, base=PACKAGED),
    Transition("absent-current", FRESH, "current", ("unpack", "switch"), CURRENT),
    Transition("absent-permanent", FRESH, "permanent", ("unpack", "switch", "commit"), DONE),
    Transition(
        "absent-permanent-staged",
        STAGED,
        "permanent",
        ("unpack", "switch", "commit"),
        DONE,
        base={"runner_user": "emqx"},
    ),
    Transition("unpacked-current", AT_UNPACKED, "current", ("switch",), CURRENT),
    Transition("unpacked-permanent", AT_UNPACKED, "permanent", ("switch", "commit"), DONE, base=PACKAGED),
    Transition("unpacked-absent", AT_UNPACKED, "absent", ("uninstall",), BEFORE, base=PACKAGED),
    Transition("torn-unpacked", AT_TORN, "unpacked", ("uninstall", "unpack"), UNPACKED),
    Transition("current-permanent", AT_CURRENT, "permanent", ("commit",), DONE),
    Transition("current-back", AT_CURRENT, "current", ("switch",), BACK, OLD, DOWNGRADE),
    Transition("current-back-permanent", AT_CURRENT, "permanent", ("switch",), BACK, OLD, DOWNGRADE),
    Transition("half-permanent", AT_HALF, "permanent", ("repair_commit",), DONE),
    Transition("permanent-old-current", AT_DONE, "current", ("switch",), BACK_CURRENT, OLD, DOWNGRADE),
    Transition("permanent-old-permanent", AT_DONE, "permanent", ("switch", "commit"), BACK, OLD, DOWNGRADE, PACKAGED),
    Transition("old-absent", AT_DONE, "absent", ("uninstall",), NEW_ALONE, OLD),
    Transition("old-permanent", AT_BACK, "permanent", ("switch", "commit"), DONE),
    Transition("old-unpacked", AT_DONE, "unpacked", (), DONE, OLD),
    Transition(
        "absent-older-permanent", WITH_OLDER, "permanent", ("unpack", "switch", "commit"), AT_OLDER, OLDER, DOWNGRADE
    ),
    Transition("nowhere-absent", FRESH, "absent", (), BEFORE),
)


@dataclass(frozen=True)
class Refusal:
    """``state`` of ``version`` is asked for and not done. ``foreseen``: check mode says so as well."""

    says: str
    state: str
    version: str
    failure_class: str = "refused"
    foreseen: bool = True
    task: dict[str, Any] = field(default_factory=dict)


REFUSALS: dict[str, tuple[Begin, tuple[Refusal, ...]]] = {
    "fresh": (
        BARE,
        (
            Refusal("it is running", "absent", OLD),
            Refusal("only to another patch version of 4.4", "unpacked", "4.3.22"),
            Refusal("only to another patch version of 4.4", "permanent", "5.0.0", task=DOWNGRADE),
            Refusal(f"{OLDER} is older", "current", OLDER),
            # A play's package may be on its way in check mode, so that one does not look for it.
            Refusal("There is no package of 4.4.19", "unpacked", NEW, "not_started", foreseen=False),
            Refusal("There is no package of 4.4.19", "permanent", NEW, "not_started", foreseen=False),
            Refusal(
                "There is no package at /nowhere", "current", NEW, "not_started", False, {"package": "/nowhere.zip"}
            ),
            Refusal("'v4.4.19'", "permanent", "v4.4.19", "not_started"),
            Refusal("'4.4'", "absent", "4.4", "not_started"),
            Refusal("'4.4.19; id'", "unpacked", "4.4.19; id", "not_started"),
        ),
    ),
    "current": (
        AT_CURRENT,
        (
            Refusal("it is running", "absent", NEW),
            Refusal("it is permanent", "absent", OLD),
            Refusal("4.4.18 is older", "current", OLD),
            Refusal("4.4.18 is older", "permanent", OLD),
        ),
    ),
    "permanent": (
        AT_DONE,
        (
            Refusal("it is running", "absent", NEW),
            Refusal("4.4.18 is older", "current", OLD),
            Refusal("4.4.18 is older", "permanent", OLD),
        ),
    ),
    "back-current": (
        Begin(BACK_CURRENT, (f"upgrade {NEW}", f"downgrade --no-permanent {OLD}")),
        (
            Refusal("it is permanent", "absent", NEW),
            Refusal("it is running", "absent", OLD),
        ),
    ),
    "half": (
        AT_HALF,
        (
            Refusal("it is running", "absent", NEW),
            Refusal("a restart would boot it", "absent", OLD),
        ),
    ),
}


def told(part: dict[str, Any]) -> tuple[State, str | None, str | None]:
    """What a result tells in ``before`` or ``after``, in the form of what the node says."""
    table = {row["version"]: row["status"] for row in part["releases"]}
    return State(table, part["boot"]["version"]), part["running"], part["permanent"]


def said(state: State) -> tuple[State, str | None, str | None]:
    """The same of the node itself."""
    permanent = next((version for version, status in state.table.items() if status == "permanent"), None)
    return State(state.table, state.boots), state.loaded, permanent


def as_text(state: State) -> str:
    """A node's releases as diff mode shows them."""
    rows = [f"{version} {state.table[version]}" for version in sorted(state.table, reverse=True)]
    return "\n".join([*rows, f"a restart boots {state.boots}", ""])


def steps_of(result: Result) -> list[tuple[str, str]]:
    """What was done, or would be."""
    return [(action["action"], action["version"]) for action in result.data["actions"]]


def check_told(result: Result, before: State, after: State) -> None:
    """A result tells where the node was and where it is, or would be."""
    assert told(result.data["before"]) == said(before), result.story
    assert told(result.data["after"]) == said(after), result.story
    assert (result.data["running"], result.data["permanent"]) == said(after)[1:], result.story
    assert result.data["diff"]["before"] == as_text(before), result.story
    assert result.data["diff"]["after"] == as_text(after), result.story


def check_clients(node: Node, *results: Result) -> None:
    """None was lost, and none was missed."""
    for result in results:
        assert result.data["clients"] == {"before": CLIENTS, "after": CLIENTS}, result.story
    assert node.clients is not None
    assert node.clients.lost() == 0, "idle clients were disconnected"


def quartet(transition: Transition, node: Node) -> None:
    """Check mode, the run, check mode again, the run again."""
    before = transition.begin.reach(node, **transition.base)
    found = files.listing(node)
    wanted = [(action, transition.version) for action in transition.does]
    changed = bool(wanted)

    foreseen = transition.ask(node, check=True)
    assert foreseen.verdict == "done", foreseen.story
    assert files.changes(found, files.listing(node)) == [], "check mode changed files"

    done = transition.ask(node, check=False)
    after = node.state()
    assert done.verdict == "done", done.story
    assert (after, after.loaded) == (transition.end, transition.end.running), done.story
    for result in (foreseen, done):
        assert result.changed == changed, result.story
        assert steps_of(result) == wanted, result.story
    check_told(done, before, after)
    for name in ("before", "after", "running", "permanent", "diff"):
        assert foreseen.data[name] == done.data[name], f"check mode foretold another {name}"
    assert done.data["pid"]["before"] == done.data["pid"]["after"], "the broker was restarted"

    new = files.listing(node)
    left = [
        path for path in new.keys() - found.keys() if path.startswith("/tmp/") or path.endswith((".tar.gz", ".zip"))
    ]
    assert left == [], "the run left something behind"
    found = new
    for check, apart_from in ((True, []), (False, files.own_files(node))):
        again = transition.ask(node, check=check)
        assert again.verdict == "done", again.story
        assert (again.changed, again.data["actions"]) == (False, []), again.story
        check_told(again, after, after)
        assert files.changes(found, files.listing(node), apart_from) == [], "there was nothing to do"
        check_clients(node, again)
    check_clients(node, foreseen, done)
    assert node.clients is not None
    assert node.clients.unanswered() == 0, "a client's process is gone"


def refusals(begin: Begin, asked: tuple[Refusal, ...], node: Node) -> None:
    """One after the other on the same node, which stays as it is."""
    before = begin.reach(node)
    found = files.listing(node)
    own = files.own_files(node)
    for refusal in asked:
        task = {"state": refusal.state, **refusal.task}
        foreseen = node.release(refusal.version, check=True, **task)
        assert files.changes(found, files.listing(node), own) == [], f"check mode changed files: {refusal}"
        result = node.release(refusal.version, **task)
        assert files.changes(found, files.listing(node), own) == [], f"the run changed files: {refusal}"
        for each in (foreseen, result) if refusal.foreseen else (result,):
            assert each.verdict == refusal.failure_class, each.story
            assert refusal.says in each.message, each.story
            assert each.data["hint"], f"no way out is told: {each.story}"
            assert not each.changed, each.story
        if refusal.foreseen:
            assert foreseen.data["msg"] == result.data["msg"], "check mode refuses for another reason"
        else:
            assert foreseen.verdict == "done", foreseen.story
        if "after" in result.data:
            check_told(result, before, before)
        assert not result.data.get("actions"), result.story
    assert node.state() == before, "one of them changed the release table"
    assert node.clients is not None
    assert node.clients.unanswered() == 0, "clients were lost"


def playbook_quartet(node: Node) -> None:
    """The same through ``ansible-playbook``, as loud as can be: the action plugin, and what a user sees of it."""
    before = FRESH.reach(node, **PACKAGED)
    node.emqx("eval", f"application:set_env(emqx, password, '{SECRET}').")
    outputs = []

    def run(*options: str) -> tuple[dict[str, Any], list[str]]:
        task = {"Upgrade": {"emqx.fleet.emqx_release": {"version": NEW}}}
        played = play(node, task, "--diff", "-vvv", *options)
        outputs.append(played.output)
        assert played.rc == 0, played.output
        result: dict[str, Any] = played.results["Upgrade"]
        assert f"changed={result['changed']:d} " in played.output, played.output
        return result, re.findall(r"^[-+](?:\d|a restart).*$", played.output, re.MULTILINE)

    found = files.listing(node)
    foreseen, foreseen_diff = run("--check")
    assert files.changes(found, files.listing(node)) == [], "check mode changed files"
    done, diff = run()
    after = node.state()
    assert after == DONE
    for result in (foreseen, done):
        assert result["changed"]
        assert [action["action"] for action in result["actions"]] == ["unpack", "switch", "commit"]
        assert told(result["before"]) == said(before)
        assert told(result["after"]) == said(after)
    was, now = (as_text(state).splitlines() for state in (before, after))
    assert sorted(diff) == sorted([f"-{row}" for row in was] + [f"+{row}" for row in now])
    assert foreseen_diff == diff, "check mode showed another diff"

    found = files.listing(node)
    for options in (["--check"], []):
        again, diff = run(*options)
        assert (again["changed"], again["actions"], diff) == (False, [], [])
        assert files.changes(found, files.listing(node), files.own_files(node)) == [], "there was nothing to do"
    refused = one_task(node, "emqx.fleet.emqx_release", {"version": OLD}, "-vvv")
    outputs.append(refused.output)
    assert (refused.rc, refused.result["failure_class"]) == (2, "refused"), refused.output
    check_secrets(node, outputs)
    assert node.clients is not None
    assert node.clients.unanswered() == 0, "clients were lost"


def check_secrets(node: Node, outputs: list[str]) -> None:
    """Neither the cookie nor a line of the settings was shown."""
    settings = node.inside(f"releases/{NEW}/sys.config").read_text(encoding="utf-8")
    assert SECRET in settings, "the command did not write the settings down"
    lines = [line.strip() for line in settings.splitlines() if len(line.strip()) > 12]
    for output in outputs:
        assert COOKIE not in output
        assert SECRET not in output
        assert [line for line in lines if line in output] == []


for each in TRANSITIONS:
    job(f"test_transitions.py::test_transition[{each.name}]", functools.partial(quartet, each))
for title, (start, wishes) in REFUSALS.items():
    job(f"test_transitions.py::test_refusals[{title}]", functools.partial(refusals, start, wishes))
job("test_transitions.py::test_playbook", playbook_quartet)


@pytest.mark.parametrize("name", [transition.name for transition in TRANSITIONS])
def test_transition(pool: Pool, request: pytest.FixtureRequest, name: str) -> None:
    outcome(pool, request)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(pool: Pool, request: pytest.FixtureRequest, name: str) -> None:
    outcome(pool, request)


def test_playbook(pool: Pool, request: pytest.FixtureRequest) -> None:
    outcome(pool, request)
