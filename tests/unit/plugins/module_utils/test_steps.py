# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps from every position that a node can be in, enumerated instead of picked."""

import itertools
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import steps
from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.steps import (
    COMMIT,
    REPAIR,
    REPAIR_TABLE,
    STATES,
    SWITCH,
    UNINSTALL,
    UNPACK,
    Position,
    Step,
)

OLDER, MIDDLE, NEWER = "4.4.17", "4.4.18", "4.4.19"
STATUSES = (None, "unpacked", "old", "current", "permanent")
PROBLEM_CODES = {
    "emqx_vars": True,
    "start_erl": True,
    "bin_file": True,
    "release_missing": False,
    "stale_patch": False,
    "running": False,
    "release_row": True,
}
# How a release is on disk, and whether the node's script unpacks it in the switch.
FORMS: Tuple[Dict[str, bool], ...] = (
    {},
    {"damaged": True},
    {"folder_gone": True},
    {"unpacks_in_switch": True},
    {"folder_gone": True, "unpacks_in_switch": True},
)


def problem(code: str, repairable: Optional[bool] = None) -> Dict[str, Any]:
    fixable = PROBLEM_CODES[code] if repairable is None else repairable
    return {"code": code, "path": "/opt/emqx/x", "message": "Something about {0}.".format(code), "repairable": fixable}


def boot(version: Optional[str], *codes: str) -> Dict[str, Any]:
    problems = [problem(code) for code in codes]
    return {"version": version, "erts": "13.1.5", "consistent": not problems, "problems": problems}


def position(table: Dict[str, str], running: Optional[str] = None, **more: Any) -> Position:
    permanent = next((version for version, status in table.items() if status == "permanent"), None)
    current = next((version for version, status in table.items() if status == "current"), None)
    more.setdefault("boot", boot(permanent))
    rows = [{"version": version, "status": status} for version, status in sorted(table.items())]
    return Position(rows, running or current or permanent, permanent, **more)


def positions() -> Iterator[Position]:
    """Every table of three versions that a release handler can hold, with every doubt about what boots."""
    problem_sets = (
        [()]
        + [(code,) for code in PROBLEM_CODES if code != "release_row"]
        + [("emqx_vars", "stale_patch"), ("bin_file", "emqx_vars")]
    )
    for statuses in itertools.product(STATUSES, repeat=3):
        if statuses.count("permanent") != 1 or statuses.count("current") > 1:
            continue
        table = {v: s for v, s in zip((OLDER, MIDDLE, NEWER), statuses) if s is not None}
        [permanent] = [version for version, status in table.items() if status == "permanent"]
        current = [version for version, status in table.items() if status == "current"]
        # After a restart that did not boot what was permanent, an old release runs.
        for running in current or [permanent] + [v for v, s in table.items() if s == "old"]:
            for codes in problem_sets:
                boots = [permanent] if "emqx_vars" not in codes else [v for v in table if v != permanent]
                for booted in boots:
                    for form in FORMS:
                        yield position(table, running, boot=boot(booted, *codes), **form)


ALL = list(positions())
REQUESTS = list(itertools.product((OLDER, MIDDLE, NEWER), STATES, (False, True)))


def ways() -> Iterator[Tuple[Position, str, str, bool, List[Step]]]:
    """Every position and request that leads to steps."""
    for where, (version, state, downgrade) in itertools.product(ALL, REQUESTS):
        # Damage and a lost folder are facts about a version that is listed, and a whole one when it runs.
        if where.damaged and where.status(version) != "unpacked":
            continue
        if where.folder_gone and where.status(version) is None:
            continue
        try:
            planned = steps.next_steps(where, version, state, downgrade)
        except FleetError as error:
            REFUSALS.append(error)
        else:
            yield where, version, state, downgrade, planned


REFUSALS: List[FleetError] = []
WAYS = list(ways())


def test_every_refusal_has_a_class_a_message_and_a_way_out() -> None:
    assert len(REFUSALS) > 1000
    for error in REFUSALS:
        assert error.failure_class == REFUSED
        assert error.message
        assert error.hint


def test_the_enumeration_is_a_large_one() -> None:
    assert len(ALL) > 1500
    assert len(WAYS) > 10000


def test_never_uninstalls_what_runs_is_permanent_or_boots() -> None:
    uninstalled = 0
    for where, _version, _state, _downgrade, planned in WAYS:
        for step in planned:
            if step.action == UNINSTALL:
                uninstalled += 1
                assert step.version != where.running
                assert step.version != where.permanent
                assert step.version != where.boot["version"]
                assert where.status(step.version) in ("old", "unpacked")
    assert uninstalled > 100


def test_absent_is_never_reached_while_what_boots_is_in_doubt() -> None:
    for where, version, state, _downgrade, planned in WAYS:
        if state == "absent" and planned:
            assert [p for p in where.boot["problems"] if p["code"] != "stale_patch"] == []
            assert planned == [Step(UNINSTALL, version)]


def test_a_downgrade_needs_a_word() -> None:
    for where, version, state, downgrade, planned in WAYS:
        if not downgrade and any(step.action == SWITCH for step in planned):
            assert where.running is not None
            assert versions.parse(version) > versions.parse(where.running), (where, version, state)


def test_only_the_version_asked_for_is_touched() -> None:
    for _where, version, _state, _downgrade, planned in WAYS:
        assert {step.version for step in planned} <= {version}


def test_each_state_has_its_steps_in_the_one_order() -> None:
    order = [UNINSTALL, UNPACK, SWITCH, COMMIT, REPAIR]
    for where, _version, state, _downgrade, planned in WAYS:
        places = [order.index(step.action) for step in planned]
        assert places == sorted(set(places))
        actions = {step.action for step in planned}
        if state in ("staged", "unpacked"):
            assert actions <= {UNINSTALL, UNPACK}
        if where.unpacks_in_switch:
            assert UNPACK not in actions
        if state == "current":
            assert actions <= {UNINSTALL, UNPACK, SWITCH}
        assert not {COMMIT, REPAIR} <= actions


def reached(where: Position, version: str, state: str) -> bool:
    status = where.status(version)
    if state == "absent":
        return status is None
    if state == "staged" and where.unpacks_in_switch:
        return status != "unpacked"
    if state in ("staged", "unpacked"):
        return status is not None
    if state == "current":
        return where.running == version
    return where.running == version and where.permanent == version and where.boot["version"] == version


def test_the_steps_lead_where_they_should_and_then_there_are_none() -> None:
    for where, version, state, downgrade, planned in WAYS:
        there = steps.predicted(where, planned)
        assert reached(there, version, state), (where, version, state, planned, there)
        assert not there.folder_gone
        blocking = [p["code"] for p in there.boot["problems"]]
        if state == "absent" or (state == "permanent" and planned[-1:] and planned[-1].action in (COMMIT, REPAIR)):
            assert state != "permanent" or not blocking
        assert steps.next_steps(there, version, state, downgrade) == [], (where, version, state, planned, there)


def test_one_step_at_a_time_leads_there_as_well() -> None:
    """The manager reads anew after each step, so what is left must always be what it was before, without its first."""
    for where, version, state, downgrade, planned in WAYS:
        here = where
        for index, step in enumerate(planned):
            here = steps.predicted(here, [step])
            left = steps.next_steps(here, version, state, downgrade)
            assert left == planned[index + 1 :], (where, version, state, planned)


def test_satisfied_means_no_steps() -> None:
    for version, state in itertools.product((MIDDLE,), ("unpacked", "current", "permanent")):
        assert steps.next_steps(position({MIDDLE: "permanent"}), version, state) == []
    assert steps.next_steps(position({MIDDLE: "permanent", NEWER: "current"}), NEWER, "current") == []
    assert steps.next_steps(position({MIDDLE: "permanent", NEWER: "old"}), NEWER, "unpacked") == []
    assert steps.next_steps(position({MIDDLE: "permanent"}), NEWER, "absent") == []


@pytest.mark.parametrize(
    ("table", "version", "state", "expected"),
    [
        ({MIDDLE: "permanent"}, NEWER, "unpacked", [UNPACK]),
        ({MIDDLE: "permanent"}, NEWER, "current", [UNPACK, SWITCH]),
        ({MIDDLE: "permanent"}, NEWER, "permanent", [UNPACK, SWITCH, COMMIT]),
        ({MIDDLE: "permanent", NEWER: "unpacked"}, NEWER, "permanent", [SWITCH, COMMIT]),
        ({MIDDLE: "permanent", NEWER: "current"}, NEWER, "permanent", [COMMIT]),
        ({MIDDLE: "permanent", NEWER: "old"}, NEWER, "current", [SWITCH]),
        ({MIDDLE: "permanent", NEWER: "unpacked"}, NEWER, "absent", [UNINSTALL]),
        ({MIDDLE: "permanent", NEWER: "old"}, NEWER, "absent", [UNINSTALL]),
        # Back to the version that a restart would boot: it stays permanent, and nothing is committed.
        ({OLDER: "permanent", MIDDLE: "current"}, OLDER, "permanent", [SWITCH]),
        ({OLDER: "permanent", MIDDLE: "current"}, OLDER, "current", [SWITCH]),
    ],
)
def test_the_documented_ways(table: Dict[str, str], version: str, state: str, expected: List[str]) -> None:
    planned = steps.next_steps(position(table), version, state, allow_downgrade=True)
    assert [step.action for step in planned] == expected


def test_a_half_made_commit_is_repaired() -> None:
    half = position({MIDDLE: "old", NEWER: "permanent"}, boot=boot(MIDDLE, "emqx_vars", "bin_file"))
    assert steps.next_steps(half, NEWER, "permanent") == [Step(REPAIR, NEWER)]
    assert steps.next_steps(half, NEWER, "current") == []
    with pytest.raises(FleetError, match="a restart would boot it"):
        steps.next_steps(half, MIDDLE, "absent")


def test_a_switch_back_to_a_permanent_version_that_would_not_boot_repairs_it_too() -> None:
    half = position({OLDER: "permanent", MIDDLE: "current"}, boot=boot(MIDDLE, "emqx_vars"))
    planned = steps.next_steps(half, OLDER, "permanent", allow_downgrade=True)
    assert planned == [Step(SWITCH, OLDER), Step(REPAIR, OLDER)]


def test_truncated_release_is_uninstalled_and_unpacked_again() -> None:
    torn = position({MIDDLE: "permanent", NEWER: "unpacked"}, damaged=True)
    assert steps.next_steps(torn, NEWER, "unpacked") == [Step(UNINSTALL, NEWER), Step(UNPACK, NEWER)]


def test_where_the_switch_unpacks_nothing_is_unpacked_before_it() -> None:
    fresh = position({MIDDLE: "permanent"}, unpacks_in_switch=True)
    assert steps.next_steps(fresh, NEWER, "staged") == []
    assert steps.next_steps(fresh, NEWER, "permanent") == [Step(SWITCH, NEWER), Step(COMMIT, NEWER)]
    with pytest.raises(FleetError, match=r"unpacks 4\.4\.19 in the switch itself") as caught:
        steps.next_steps(fresh, NEWER, "unpacked")
    assert "state: staged" in caught.value.hint
    left = position({MIDDLE: "permanent", NEWER: "unpacked"}, unpacks_in_switch=True)
    assert steps.next_steps(left, NEWER, "staged") == [Step(UNINSTALL, NEWER)]
    assert steps.next_steps(left, NEWER, "current") == [Step(UNINSTALL, NEWER), Step(SWITCH, NEWER)]
    with pytest.raises(FleetError, match="in the switch itself"):
        steps.next_steps(left, NEWER, "unpacked")
    back = position({MIDDLE: "permanent", NEWER: "current"}, unpacks_in_switch=True)
    assert steps.next_steps(back, MIDDLE, "permanent", allow_downgrade=True) == [Step(SWITCH, MIDDLE)]


@pytest.mark.parametrize("state", STATES)
def test_a_lost_row_is_repaired_before_anything_else(state: str) -> None:
    lost = position({MIDDLE: "permanent", NEWER: "current"}, boot=boot(MIDDLE, "release_row"))
    assert steps.next_steps(lost, NEWER, state) == [Step(REPAIR_TABLE, MIDDLE)]
    hopeless = lost._replace(boot={"version": MIDDLE, "problems": [problem("release_row", repairable=False)]})
    with pytest.raises(FleetError, match="Something about release_row") as caught:
        steps.next_steps(hopeless, NEWER, state)
    assert "from a backup" in caught.value.hint


@pytest.mark.parametrize("state", ["unpacked", "current", "permanent"])
def test_truncated_release_that_would_boot_is_not_uninstalled(state: str) -> None:
    torn = position({MIDDLE: "permanent", NEWER: "unpacked"}, damaged=True, boot=boot(NEWER, "emqx_vars"))
    with pytest.raises(FleetError, match="is not uninstalled"):
        steps.next_steps(torn, NEWER, state)


def test_release_without_folder_is_unpacked_again() -> None:
    for status in ("unpacked", "old"):
        gone = position({MIDDLE: "permanent", NEWER: status}, folder_gone=True)
        assert steps.next_steps(gone, NEWER, "unpacked") == [Step(UNINSTALL, NEWER), Step(UNPACK, NEWER)]
        assert steps.next_steps(gone, NEWER, "absent") == [Step(UNINSTALL, NEWER)]


@pytest.mark.parametrize("code", sorted(code for code, fixable in PROBLEM_CODES.items() if not fixable))
def test_what_cannot_be_repaired_is_refused_with_the_way_out(code: str) -> None:
    where = position({MIDDLE: "permanent"}, boot=boot(MIDDLE, code))
    with pytest.raises(FleetError) as caught:
        steps.next_steps(where, MIDDLE, "permanent")
    assert caught.value.failure_class == REFUSED
    assert "Something about {0}.".format(code) in caught.value.message
    assert caught.value.hint == steps.WAYS_OUT[code]


def test_an_unknown_problem_points_to_its_path() -> None:
    odd = {"code": "odd", "path": "/opt/emqx/odd", "message": "Odd.", "repairable": False}
    where = position({MIDDLE: "permanent"}, boot={"version": MIDDLE, "problems": [odd]})
    with pytest.raises(FleetError) as caught:
        steps.next_steps(where, MIDDLE, "permanent")
    assert caught.value.hint == "See /opt/emqx/odd."


def test_accepted_patches_do_not_block_and_nothing_else_is_accepted() -> None:
    stale = position({MIDDLE: "permanent"}, boot=boot(MIDDLE, "stale_patch"))
    assert steps.next_steps(stale, MIDDLE, "permanent", accept=["patches"]) == []
    missing = position({MIDDLE: "permanent"}, boot=boot(MIDDLE, "release_missing", "stale_patch"))
    with pytest.raises(FleetError, match="release_missing"):
        steps.next_steps(missing, MIDDLE, "permanent", accept=["patches"])


@pytest.mark.parametrize("version", [OLDER, MIDDLE, NEWER])
@pytest.mark.parametrize("state", ["current", "permanent"])
def test_a_node_that_runs_what_its_table_does_not_say_is_left_alone(version: str, state: str) -> None:
    """A restart booted another version than the permanent one: no command of EMQX leads anywhere good from there."""
    where = position({OLDER: "old", MIDDLE: "permanent"}, OLDER, boot=boot(OLDER, "running"))
    with pytest.raises(FleetError, match="Something about running"):
        steps.next_steps(where, version, state, allow_downgrade=True)
    where = where._replace(boot=boot(OLDER))
    with pytest.raises(FleetError, match="permanent and nothing current"):
        steps.next_steps(where, MIDDLE, state, allow_downgrade=True)


@pytest.mark.parametrize("version", ["4.3.22", "5.0.0", "5.4.18"])
@pytest.mark.parametrize("state", ["unpacked", "current", "permanent"])
def test_another_line_is_refused(version: str, state: str) -> None:
    with pytest.raises(FleetError, match=r"only to another patch version of 4\.4") as caught:
        steps.next_steps(position({MIDDLE: "permanent"}), version, state, allow_downgrade=True)
    assert caught.value.failure_class == REFUSED


@pytest.mark.parametrize(("running", "version"), [("4.4.18", "4.5.0"), ("4.5.0", "4.4.18")])
def test_4_4_and_4_5_reach_each_other(running: str, version: str) -> None:
    planned = steps.next_steps(position({running: "permanent"}), version, "permanent", allow_downgrade=True)
    assert [step.action for step in planned] == [UNPACK, SWITCH, COMMIT]


def test_a_release_candidate_is_older_than_its_release() -> None:
    where = position({"4.4.19-rc.1": "permanent"})
    assert len(steps.next_steps(where, "4.4.19", "permanent")) == 3
    with pytest.raises(FleetError, match="is older"):
        steps.next_steps(position({"4.4.19": "permanent"}), "4.4.19-rc.1", "permanent")


@pytest.mark.parametrize(
    ("table", "version", "reason"),
    [
        ({MIDDLE: "permanent"}, MIDDLE, "it is running"),
        ({MIDDLE: "permanent", NEWER: "current"}, NEWER, "it is running"),
        ({MIDDLE: "permanent", NEWER: "current"}, MIDDLE, "it is permanent"),
    ],
)
def test_what_is_needed_is_not_uninstalled_and_the_reason_is_told(
    table: Dict[str, str], version: str, reason: str
) -> None:
    with pytest.raises(FleetError, match="because {0}".format(reason)):
        steps.next_steps(position(table), version, "absent")


def test_the_runtime_that_the_node_runs_on_is_not_uninstalled() -> None:
    where = position({MIDDLE: "old", NEWER: "permanent"}, sole_runtime=True)
    with pytest.raises(FleetError, match="still runs on its Erlang runtime") as caught:
        steps.next_steps(where, MIDDLE, "absent")
    assert "Restart the node" in caught.value.hint


def test_permanent_is_enough_even_if_nothing_else_speaks_for_it() -> None:
    where = position({MIDDLE: "permanent", NEWER: "current"}, boot=boot(NEWER))
    with pytest.raises(FleetError, match="it is permanent"):
        steps.next_steps(where, MIDDLE, "absent")


def test_the_table_as_text_has_the_newest_first() -> None:
    rows = [{"version": v, "status": "old"} for v in ("4.4.9", "4.4.19", "odd", "4.4.10")]
    assert steps.table_text(rows, "4.4.9").splitlines() == [
        "4.4.19 old",
        "4.4.10 old",
        "4.4.9 old",
        "odd old",
        "a restart boots 4.4.9",
    ]
    assert str(Step(SWITCH, NEWER)) == "switch 4.4.19"
