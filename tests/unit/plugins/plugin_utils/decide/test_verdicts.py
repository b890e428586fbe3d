# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each check is red when its fact worsens, alone, and green for what is as good or better."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.readiness import is_as_planned
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import verdicts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import (
    Check,
    Expectation,
    ToleranceError,
    allowed_loss,
)
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = "4.4.18", "4.4.19"
STALE = {"code": "stale_patch", "path": "/p/a.beam", "message": "A patch.", "repairable": False}

Facts = dict[str, Any]


def member(node: str, version: str = OLD, connections: int = 10) -> dict[str, Any]:
    return {"node": node, "version": version, "connections": connections}


def answer(protocol: str, listen_on: str, tls: bool = False, reason: str | None = None) -> dict[str, Any]:
    return {"protocol": protocol, "listen_on": listen_on, "tls": tls, "answers": reason is None, "reason": reason}


def settings(**changed: dict[str, int]) -> dict[str, dict[str, int]]:
    """The healthy node's, with some applications' own instead."""
    found: dict[str, dict[str, int]] = facts()["settings"]
    return {**found, **changed}


def facts(**changed: Any) -> Facts:
    """A healthy node of three, with clients."""
    found: Facts = {
        "state": "running",
        "running": OLD,
        "boot": {"version": OLD, "consistent": True, "problems": []},
        "pid": 4711,
        "uptime_seconds": 1000,
        "supervisor": "<0.1862.0>",
        "node": "emqx@a",
        "cluster": {
            "running": ["emqx@a", "emqx@b", "emqx@c"],
            "stopped": [],
            "members": [member("emqx@a"), member("emqx@b"), member("emqx@c")],
        },
        "connections": 100,
        "sessions": 120,
        "subscriptions": 300,
        "listeners": [
            {"protocol": "mqtt:tcp", "listen_on": "0.0.0.0:1883"},
            {"protocol": "http:dashboard", "listen_on": "18083"},
        ],
        "plugins": [{"name": "emqx_retainer", "active": True}, {"name": "emqx_sn", "active": False}],
        "modules": [{"name": "emqx_mod_acl_internal", "active": True}],
        "alarms": ["high_cpu_usage"],
        "listener_answers": [
            answer("http:dashboard", "18083"),
            answer("mqtt:ssl:external", "8883", tls=True),
            answer("mqtt:wss:8084", "8084", tls=True, reason="no"),
        ],
        "settings": {
            "emqx_retainer": {"expiry_interval": 1, "max_payload_size": 2},
            "emqx_web_hook": {"url": 3, "path": 4},
            "kernel": {"net_ticktime": 5},
        },
    }
    found.update(changed)
    return found


def switched(**changed: Any) -> Facts:
    return facts(**{"running": NEW, "uptime_seconds": 1007, **changed})


EXPECTED = Expectation(version=NEW, boots=OLD)


def red(after: Facts, expectation: Expectation = EXPECTED, before: Facts | None = None) -> dict[str, Check]:
    checks = verdicts.after_switch(before or facts(), after, expectation)
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    for check in checks:
        assert bool(check.message) == (not check.passed)
    return {check.name: check for check in verdicts.failed(checks)}


def test_a_good_switch() -> None:
    checks = verdicts.after_switch(facts(), switched(), EXPECTED)
    assert [check.name for check in checks] == [
        "node_running",
        "version",
        "boots",
        "boot_consistent",
        "same_process",
        "same_supervisor",
        "cluster_complete",
        "cluster_versions",
        "cluster_clients",
        "clients",
        "sessions",
        "subscriptions",
        "listeners",
        "listeners_answer",
        "plugins",
        "modules",
        "settings",
        "alarms",
        "node_log",
    ]
    assert verdicts.failed(checks) == []
    assert verdicts.summary(checks) == ""
    assert all(set(check.as_dict()) == {"name", "passed", "expected", "actual", "message"} for check in checks)


WORSE: list[tuple[str, dict[str, Any], str]] = [
    ("version", {"running": OLD}, "The node runs 4.4.18, not 4.4.19."),
    ("version", {"running": None}, "None"),
    ("boots", {"boot": {"version": NEW, "problems": []}}, "A restart would boot 4.4.19, not 4.4.18."),
    ("boots", {"boot": {"version": None, "problems": []}}, "None"),
    ("boot_consistent", {"boot": {"version": OLD, "problems": [{"code": "bin_file", "message": "Torn."}]}}, "Torn."),
    ("boot_consistent", {"boot": {"version": OLD, "problems": [STALE]}}, "A patch."),
    ("same_process", {"pid": 4712}, "4711 and is 4712"),
    ("same_process", {"pid": None}, "None"),
    ("same_supervisor", {"supervisor": "<0.2991.0>"}, "emqx_sup was <0.1862.0> and is <0.2991.0>"),
    ("same_supervisor", {"supervisor": None}, "could not be told"),
    (
        "listeners_answer",
        {"listener_answers": [answer("mqtt:ssl:external", "8883", tls=True, reason="the TLS handshake fails: eof")]},
        "The listener mqtt:ssl:external on 8883 takes no new TLS connections any more: the TLS handshake fails: eof.",
    ),
    (
        "listeners_answer",
        {"listener_answers": [answer("http:dashboard", "18083", reason="it ends a new connection at once")]},
        "The listener http:dashboard on 18083 takes no new connections any more: it ends a new connection at once.",
    ),
    ("listeners_answer", {"listener_answers": None}, "were not tried"),
    (
        "settings",
        {"settings": settings(emqx_retainer={"expiry_interval": 9, "max_payload_size": 2})},
        "The settings of application emqx_retainer changed in the switch: expiry_interval.",
    ),
    (
        "settings",
        {"settings": settings(emqx_retainer={}, emqx_web_hook={"path": 4})},
        "Settings of application emqx_retainer are gone since the switch: expiry_interval, max_payload_size. "
        "Settings of application emqx_web_hook are gone since the switch: url.",
    ),
    ("settings", {"settings": None}, "did not tell its settings"),
    ("cluster_complete", {"cluster": {"running": ["emqx@a", "emqx@b"], "stopped": ["emqx@c"]}}, "emqx@c"),
    ("cluster_complete", {"cluster": {"running": ["emqx@a", "emqx@b"], "stopped": []}}, "emqx@c"),
    ("cluster_complete", {"cluster": {"running": ["emqx@a", "emqx@b", "emqx@c"], "stopped": ["emqx@d"]}}, "emqx@d"),
    ("cluster_complete", {"cluster": {"running": [], "stopped": []}}, "emqx@a; emqx@b; emqx@c"),
    ("clients", {"connections": 99}, "had 100 clients and has 99; at least 100"),
    ("clients", {"connections": 0}, "has 0"),
    ("clients", {"connections": None}, "did not tell"),
    ("sessions", {"sessions": 119}, "had 120 sessions and has 119"),
    ("sessions", {"sessions": None}, "did not tell"),
    ("subscriptions", {"subscriptions": 299}, "had 300 subscriptions and has 299"),
    ("subscriptions", {"subscriptions": None}, "did not tell"),
    ("listeners", {"listeners": [{"protocol": "mqtt:tcp", "listen_on": "0.0.0.0:1883"}]}, "http:dashboard 18083"),
    (
        "listeners",
        {
            "listeners": [
                {"protocol": "mqtt:tcp", "listen_on": "127.0.0.1:1883"},
                {"protocol": "http:dashboard", "listen_on": "18083"},
            ]
        },
        "mqtt:tcp 0.0.0.0:1883",
    ),
    ("plugins", {"plugins": [{"name": "emqx_retainer", "active": False}]}, "emqx_retainer"),
    ("plugins", {"plugins": []}, "emqx_retainer"),
    ("modules", {"modules": []}, "emqx_mod_acl_internal"),
    ("modules", {"modules": [{"name": "emqx_mod_acl_internal", "active": False}]}, "emqx_mod_acl_internal"),
    (
        "cluster_versions",
        {"cluster": {**facts()["cluster"], "members": [member("emqx@b", version="4.4.3"), member("emqx@c")]}},
        "Other members of the cluster changed their version: emqx@b runs 4.4.3.",
    ),
    (
        "cluster_clients",
        {"cluster": {**facts()["cluster"], "members": [member("emqx@b", connections=9), member("emqx@c")]}},
        "Other members of the cluster have fewer clients: emqx@b had 10 and has 9.",
    ),
    ("alarms", {"alarms": ["high_cpu_usage", "partition"]}, "There are new alarms: partition."),
]


@pytest.mark.parametrize(("name", "changed", "said"), WORSE)
def test_each_check_is_red_alone_when_its_fact_worsens(name: str, changed: Facts, said: str) -> None:
    found = red(switched(**changed))
    assert set(found) == {name}
    assert said in found[name].message
    assert verdicts.summary(found.values()) == found[name].message


def test_every_check_can_be_red() -> None:
    all_names = {check.name for check in verdicts.after_switch(facts(), switched(), EXPECTED)}
    assert all_names - {row[0] for row in WORSE} == {"node_running", "node_log"}


@pytest.mark.parametrize("state", ["stopped", "unreachable"])
def test_node_that_does_not_run_answers_no_further_question(state: str) -> None:
    checks = verdicts.after_switch(facts(), switched(state=state, running=None, connections=None), EXPECTED)
    assert [(check.name, check.passed) for check in checks] == [("node_running", False)]
    assert state in checks[0].message


@pytest.mark.parametrize(
    "changed",
    [
        {"connections": 101, "sessions": 500, "subscriptions": 301},
        {"alarms": []},
        {"plugins": [{"name": "emqx_retainer", "active": True}, {"name": "emqx_new", "active": True}]},
        {"listeners": [*facts()["listeners"], {"protocol": "mqtt:ws", "listen_on": "8083"}]},
        # By version the uptime is the broker's or the virtual machine's.
        {"uptime_seconds": 3},
        {"uptime_seconds": None},
        {"listener_answers": []},
        {"listener_answers": [answer("mqtt:ssl:external", "8883", tls=True), answer("mqtt:ws", "1", reason="new, no")]},
        {
            "settings": settings(
                emqx_web_hook={"url": 3, "headers": 1}, kernel={"net_ticktime": 5, "new": 1}, new={"a": 1}
            )
        },
        {"settings": settings(emqx_web_hook={"url": 3, "path": 7})},
        {"settings": {"kernel": {"net_ticktime": 5}}},
        {"cluster": {"running": ["emqx@a", "emqx@b", "emqx@c", "emqx@d"], "stopped": []}},
    ],
)
def test_as_good_or_better_is_green(changed: Facts) -> None:
    assert red(switched(**changed)) == {}


def test_clients_are_counted_by_a_statistic_that_both_versions_know() -> None:
    was = facts(connections=100, connection_counts={"connections.count": 100})
    now = {"live_connections.count": 0, "connections.count": 100}
    assert red(switched(connections=0, connection_counts=now), before=was) == {}
    fewer = switched(connections=0, connection_counts=dict(now, **{"connections.count": 99}))
    assert "had 100 clients and has 99" in red(fewer, before=was)["clients"].message


@pytest.mark.parametrize("name", ["pid", "supervisor", "connections", "sessions", "subscriptions"])
def test_what_was_not_known_before_has_failed(name: str) -> None:
    assert len(red(switched(), before=facts(**{name: None}))) == 1
    assert len(red(switched(**{name: None}), before=facts(**{name: None}))) == 1


@pytest.mark.parametrize("name", ["listener_answers", "settings"])
@pytest.mark.parametrize("after", [None, [answer("mqtt:ssl:external", "8883", reason="no")], {"kernel": {}}])
def test_facts_of_an_older_version_leave_nothing_to_compare(name: str, after: Any) -> None:
    """A run that was interrupted, and went on with a newer version of the collection."""
    before = facts()
    del before[name]
    for was in (before, facts(**{name: None})):
        assert red(switched(**{name: after}), before=was) == {}


def test_known_defects_accept_what_is_known_of() -> None:
    accepting = Expectation(NEW, OLD, accepted=["known_defects"])
    silent = [answer("mqtt:ssl:external", "8883", tls=True, reason="eof")]
    lost = settings(emqx_retainer={})
    after = switched(listener_answers=silent, settings=lost)
    assert red(after, accepting) == {}
    shown = {check.name: check.actual for check in verdicts.after_switch(facts(), after, accepting)}
    assert "mqtt:ssl:external 8883" in shown["listeners_answer"]
    assert "emqx_retainer are gone" in shown["settings"]
    # That nobody can connect any more without TLS is no known defect.
    plain = switched(listener_answers=[*silent, answer("http:dashboard", "18083", reason="no")])
    (check,) = red(plain, accepting).values()
    assert check.message.count("The listener") == 1
    assert "http:dashboard" in check.message


def test_a_thousand_lost_settings_make_one_line() -> None:
    before = facts(settings={"emqx": {f"key_{number:04}": number for number in range(1000)}})
    message = red(switched(settings={"emqx": {}}), before=before)["settings"].message
    assert "key_0009 and 990 more." in message
    assert len(message) < 400


def test_every_change_of_a_relup_is_told_with_its_reason() -> None:
    for application, keys in verdicts.CHANGED_BY_RELUP.items():
        was = {application: dict.fromkeys(keys, 1)}
        for now in ({}, dict.fromkeys(keys, 2)):
            assert red(switched(settings={application: now}), before=facts(settings=was)) == {}
        assert all(keys.values())


def test_log_errors() -> None:
    found = red(switched(), Expectation(NEW, OLD, log_errors=["[error] relup", "[error] code_change"]))
    assert set(found) == {"node_log"}
    assert "[error] relup; [error] code_change" in found["node_log"].message


def test_text_with_braces_is_shown_as_it_is() -> None:
    found = red(switched(alarms=["{erlang,{term}}"]), Expectation(NEW, OLD, log_errors=["{badmatch,{x}}"]))
    assert "{badmatch,{x}}" in found["node_log"].message
    assert "{erlang,{term}}" in found["alarms"].message
    (problem,) = red(switched(boot={"version": OLD, "problems": [{"code": "x", "message": "{0} {found}"}]})).values()
    assert problem.message == "{0} {found}"


def test_only_the_patch_is_accepted() -> None:
    torn = {"code": "emqx_vars", "message": "Torn."}
    accepting = Expectation(NEW, OLD, accepted=["patches"])
    assert red(switched(boot={"version": OLD, "problems": [STALE]}), accepting) == {}
    found = red(switched(boot={"version": OLD, "problems": [STALE, torn]}), accepting)
    assert found["boot_consistent"].message == "Torn."
    assert set(red(switched(boot={"version": OLD, "problems": [STALE]}), Expectation(NEW, OLD, accepted=["os"])))


def test_worse_in_two_ways_is_red_in_both() -> None:
    """No check hides another: pairs of worsened facts."""
    single = {row[0]: row[1] for row in WORSE if row[0] != "boots"}
    for (one, first), (other, second) in itertools.combinations(single.items(), 2):
        if not set(first) & set(second):
            assert set(red(switched(**{**first, **second}))) == {one, other}


def test_facts_are_not_changed() -> None:
    before, after = facts(), switched(connections=1)
    copies = copy.deepcopy((before, after))
    verdicts.after_switch(before, after, EXPECTED)
    assert (before, after) == copies


# Before the switch


def test_ready() -> None:
    assert verdicts.failed(verdicts.ready_to_switch(facts(), OLD, ["emqx@a", "emqx@b", "emqx@c"])) == []
    assert verdicts.failed(verdicts.ready_to_switch(facts(), OLD, [])) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"state": "stopped"}, "node_running"),
        ({"running": NEW}, "version_as_planned"),
        ({"cluster": {"running": ["emqx@a", "emqx@b"], "stopped": []}}, "cluster_complete"),
        ({"cluster": {"running": ["emqx@a", "emqx@b", "emqx@c"], "stopped": ["emqx@x"]}}, "cluster_complete"),
    ],
)
def test_not_ready(changed: Facts, name: str) -> None:
    checks = verdicts.ready_to_switch(facts(**changed), OLD, ["emqx@a", "emqx@b", "emqx@c"])
    (check,) = verdicts.failed(checks)
    assert check.name == name
    assert check.message


NODES = st.lists(st.sampled_from(["emqx@a", "emqx@b", "emqx@c"]), max_size=3)
SEEN = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["running", "running", "stopped", "unreachable"]),
        "running": st.sampled_from([OLD, OLD, NEW, None]),
        "boot": st.sampled_from([{"version": version, "consistent": True, "problems": []} for version in (OLD, NEW)]),
        "cluster": st.fixed_dictionaries({"running": NODES, "stopped": NODES, "members": st.just([])}),
    }
)


@given(SEEN, st.sampled_from([OLD, NEW]), NODES)
def test_a_node_goes_on_by_itself_exactly_where_it_is_ready(seen: Facts, running: str, cluster: list[str]) -> None:
    """It switches before the checks are made here, so it must not see less than they do."""
    checks = verdicts.ready_to_switch(facts(**seen), running, cluster)
    assert is_as_planned(facts(**seen), running, cluster) == (verdicts.failed(checks) == [])


@given(SEEN, st.sampled_from([OLD, NEW]), st.sampled_from([OLD, NEW]))
def test_a_node_that_stops_by_itself_after_a_switch_has_failed(seen: Facts, running: str, boots: str) -> None:
    before = facts()
    checks = verdicts.after_switch(before, facts(**seen), Expectation(version=running, boots=boots))
    stopped = not is_as_planned(facts(**seen), running, before["cluster"]["running"], boots=boots)
    names = {"node_running", "version", "boots", "cluster_complete"}
    assert stopped == bool({check.name for check in verdicts.failed(checks)} & names)


# Tolerance


@pytest.mark.parametrize(
    ("tolerance", "before", "allowed"),
    [
        (0, 100, 0),
        ("0", 100, 0),
        (3, 100, 3),
        ("3", 100, 3),
        (" 2% ", 100, 2),
        ("2 %", 100, 2),
        ("2%", 49, 0),
        ("2%", 50, 1),
        ("100%", 7, 7),
        ("0%", 10**6, 0),
    ],
)
def test_tolerances(tolerance: int | str, before: int, allowed: int) -> None:
    assert allowed_loss(tolerance, before) == allowed


@pytest.mark.parametrize("tolerance", ["", "-1", "2.5%", "few", "%", "3 clients", None, 1.5, True])
def test_no_tolerances(tolerance: Any) -> None:
    with pytest.raises(ToleranceError, match="not a client loss tolerance"):
        allowed_loss(tolerance, 100)


@given(before=st.integers(0, 10**6), missing=st.integers(0, 10**6), percent=st.integers(0, 100))
def test_percentage_is_never_exceeded(before: int, missing: int, percent: int) -> None:
    after = max(0, before - missing)
    checks: Callable[[str], dict[str, Check]] = lambda tolerance: red(  # noqa: E731
        switched(connections=after), Expectation(NEW, OLD, tolerance), facts(connections=before)
    )
    lost = before - after
    assert ("clients" in checks(f"{percent}%")) == (lost * 100 > before * percent)
    assert ("clients" in checks(str(missing))) == (lost > missing)


def test_tolerance_holds_for_sessions_and_subscriptions_too() -> None:
    after = switched(connections=98, sessions=118, subscriptions=294)
    assert red(after, Expectation(NEW, OLD, "2%")) == {}
    assert set(red(after, Expectation(NEW, OLD, "1%"))) == {"clients", "sessions", "subscriptions"}


def accepting(number: int, percent: int) -> str:
    return f"To accept this, set emqx_upgrade_client_loss_tolerance to {number} (or {percent}%)."


def other_members(**connections: int) -> dict[str, Any]:
    members = [member(f"emqx@{name}", connections=count) for name, count in connections.items()]
    return {"cluster": {**facts()["cluster"], "members": members}}


@pytest.mark.parametrize(
    ("changed", "number", "percent", "says"),
    [
        ({"connections": 97}, 3, 3, "The node had 100 clients and has 97; at least 100 are expected. "),
        ({"connections": 99}, 1, 1, "The node had 100 clients and has 99; at least 100 are expected. "),
        ({"connections": 0}, 100, 100, "The node had 100 clients and has 0; at least 100 are expected. "),
        ({"sessions": 119}, 1, 1, "The node had 120 sessions and has 119; at least 120 are expected. "),
        ({"subscriptions": 200}, 100, 34, "The node had 300 subscriptions and has 200; at least 300 are expected. "),
        (
            other_members(b=7, c=9),
            3,
            30,
            "Other members of the cluster have fewer clients: emqx@b had 10 and has 7; emqx@c had 10 and has 9. ",
        ),
    ],
)
def test_missing_clients_name_the_setting_and_what_would_have_passed(
    changed: Facts, number: int, percent: int, says: str
) -> None:
    checks = verdicts.after_switch(facts(), switched(**changed), EXPECTED)
    assert verdicts.summary(checks) == says + accepting(number, percent)
    assert [check.message for check in verdicts.failed(checks)] == [says + accepting(number, percent)]
    for tolerance in (str(number), f"{percent}%"):
        assert red(switched(**changed), Expectation(NEW, OLD, tolerance)) == {}
    for tolerance in (str(number - 1), f"{percent - 1}%"):
        assert red(switched(**changed), Expectation(NEW, OLD, tolerance))


def test_one_value_that_would_have_passed_for_all_that_is_missing() -> None:
    after = switched(connections=98, sessions=114, subscriptions=299, pid=4712)
    said = verdicts.summary(verdicts.after_switch(facts(), after, Expectation(NEW, OLD, 1)))
    assert said.endswith(f"has 114; at least 119 are expected. {accepting(6, 5)}")
    assert said.count("To accept this") == 1
    assert "4711 and is 4712" in said
    assert set(red(after, Expectation(NEW, OLD, 6))) == {"same_process"}
    assert set(red(after, Expectation(NEW, OLD, "5%"))) == {"same_process"}
    assert "sessions" in red(after, Expectation(NEW, OLD, 5))
    assert "sessions" in red(after, Expectation(NEW, OLD, "4%"))


def test_what_was_not_told_is_accepted_by_no_number() -> None:
    for before, after in ((facts(), switched(sessions=None)), (facts(sessions=None), switched())):
        assert verdicts.summary(verdicts.after_switch(before, after, EXPECTED)) == "The node did not tell its sessions."
