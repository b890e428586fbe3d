# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client probe in decisions: where it connects to, when it is asked for, and what its verdict says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_check
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_counts import NodeCounts
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import make_plan

#: 2023-11-14 22:13:20 UTC
WALL = 1_700_000_000.0
CLOSED = "the connection was closed or reset"


def row(**changes: Any) -> dict[str, Any]:
    return {**NodeCounts("h1:1883", ["idle-1"] * 6).row(0.0), "connected": 6, "answered": True, **changes}


def lost_connection(client: str, seconds: float = 0, reason: str = CLOSED) -> dict[str, Any]:
    return {"at": WALL + seconds, "client": client, "reason": reason}


def test_nothing_noticed() -> None:
    check = probe_check.probe_check(None, row())
    assert check.as_dict() == {
        "name": "probe",
        "passed": True,
        "expected": "no disconnect, nothing lost",
        "actual": "0 disconnects, 0 lost, 6 of 6 connected",
        "message": "",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"disconnects": [lost_connection("idle-1")], "disconnected": 1},
            f"Clients of the probe lost their connection to h1:1883 once: idle-1 at 22:13:20 UTC ({CLOSED}).",
        ),
        (
            {
                "disconnects": [
                    lost_connection("publisher-1"),
                    lost_connection("idle-1", 0.9),
                    lost_connection("idle-2", 61, "no answer"),
                ],
                "disconnected": 3,
                "connected": 5,
            },
            "Clients of the probe lost their connection to h1:1883 3 times: idle-1, publisher-1 at 22:13:20 UTC "
            f"({CLOSED}), idle-2 at 22:14:21 UTC (no answer). Of the probe's 6 clients 1 is not connected.",
        ),
        ({"connected": 4}, "Of the probe's 6 clients 2 are not connected."),
        ({"lost": 1}, "The broker acknowledged 1 message of the probe that never came to the subscriber."),
        ({"lost": 7}, "The broker acknowledged 7 messages of the probe that never came to the subscriber."),
        (
            {"answered": False},
            "The broker did not answer the probe's clients: messages were not acknowledged or did not come.",
        ),
    ],
)
def test_what_was_noticed_fails(changes: dict[str, Any], message: str) -> None:
    check = probe_check.probe_check(None, row(**changes))
    assert not check.passed
    assert check.message == message
    accepted = probe_check.probe_check(None, row(**changes), accepted=["probe"])
    assert (accepted.passed, accepted.message, accepted.actual) == (True, "", check.actual)


@pytest.mark.parametrize("changes", [{"duplicated": 3}, {"reordered": 3}, {"longest_gap_ms": 60_000}])
def test_what_is_only_told_does_not_fail(changes: dict[str, Any]) -> None:
    assert probe_check.probe_check(None, row(**changes)).passed


def test_a_way_back_answers_only_for_itself() -> None:
    before = row(disconnects=[lost_connection("idle-1")], disconnected=1, lost=2, connected=5)
    assert probe_check.probe_check(before, {**before, "connected": 6}).passed
    assert not probe_check.probe_check(before, before).passed, "that it is not there is of now"
    later = {**before, "disconnects": [*before["disconnects"], lost_connection("idle-2")], "disconnected": 2}
    assert "once: idle-2 at" in probe_check.probe_check(before, {**later, "connected": 6}).message
    assert "acknowledged 1 message " in probe_check.probe_check(before, {**before, "connected": 6, "lost": 3}).message
    found = probe_check.probe_check(before, {**before, "connected": 6, "lost": 0})
    assert (found.passed, found.actual) == (True, "0 disconnects, 0 lost, 6 of 6 connected")


def test_disconnects_that_were_not_kept_count() -> None:
    before = row(disconnects=[lost_connection("idle-1")] * 3, disconnected=3)
    assert probe_check.probe_check(before, {**before, "disconnected": 5}).message == (
        "Clients of the probe lost their connection to h1:1883 2 times."
    )


def test_a_check_that_could_not_be_made_has_failed() -> None:
    check = probe_check.probe_check(None, None, "It has ended.")
    assert (check.passed, check.actual) == (False, "not known")
    assert check.message == "The client probe cannot tell what clients noticed: It has ended."
    assert not probe_check.probe_check(None, None).passed
    assert probe_check.probe_check(None, None, "It has ended.", ["probe"]).passed


# Where it connects to


def listeners(*rows: tuple[str, str]) -> dict[str, Any]:
    return {"listeners": [{"protocol": protocol, "listen_on": listen_on} for protocol, listen_on in rows]}


@pytest.mark.parametrize(
    ("facts", "port", "tls_port"),
    [
        ({}, 1883, 8883),
        (listeners(("mqtt:tcp", "2883")), 2883, 8883),
        (listeners(("mqtt:ssl:external", "0.0.0.0:2884"), ("mqtt:tcp:external", "0.0.0.0:2883")), 2883, 2884),
        (listeners(("mqtt:tcp:internal", "127.0.0.1:11883"), ("mqtt:tcp:external", "0.0.0.0:1999")), 1999, 8883),
        (listeners(("mqtt:tcp:a", "10.0.0.1:2001"), ("mqtt:tcp:external", "10.0.0.1:2002")), 2002, 8883),
        (listeners(("mqtt:tcp:b", "2005"), ("mqtt:tcp:a", "2004")), 2004, 8883),
        (listeners(("mqtt:tcp:external", "127.0.0.1:2003")), 1883, 8883),
        (listeners(("mqtt:tcp:external", "localhost:2003")), 1883, 8883),
        (listeners(("mqtt:ws:external", "8083"), ("http:dashboard", "18083"), ("mqtt:tcp:x", "no port")), 1883, 8883),
        (listeners(("mqtt:tcp:external", ":::2006"), ("mqtt:ssl:external", "[::]:2007")), 2006, 2007),
    ],
)
def test_the_port_is_that_of_the_nodes_listener_for_others(facts: Any, port: int, tls_port: int) -> None:
    assert (probe_check.port(facts, tls=False), probe_check.port(facts, tls=True)) == (port, tls_port)


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 11883), ("localhost", 11883), ("10.0.0.11", 1883)])
def test_a_listener_for_the_machine_itself_is_for_a_probe_on_it(address: str, port: int) -> None:
    facts = {"listeners": [{"protocol": "mqtt:tcp", "listen_on": "127.0.0.1:11883"}]}
    settings = dict.fromkeys(
        ("probe_tls", "probe_port", "probe_address", "probe_clients", "probe_username", "probe_ca_file")
    ) | dict.fromkeys(("probe_cert_file", "probe_key_file", "probe_validate_certs"))
    assert probe_check.order(settings, facts, address, "")["port"] == port


SETTINGS: dict[str, Any] = {
    "probe_address": "",
    "probe_port": 0,
    "probe_clients": 2,
    "probe_username": "me",
    "probe_tls": False,
    "probe_ca_file": "/ca.pem",
    "probe_cert_file": "",
    "probe_key_file": "",
    "probe_validate_certs": True,
}


def test_what_the_probe_is_told_of_a_node() -> None:
    facts = listeners(("mqtt:tcp:external", "2883"), ("mqtt:ssl:external", "2884"))
    found = probe_check.order(SETTINGS, facts, "10.0.0.1", "secret")
    assert found == {
        "host": "10.0.0.1",
        "port": 2883,
        "clients": 2,
        "username": "me",
        "password": "secret",
        "tls": None,
    }
    found = probe_check.order({**SETTINGS, "probe_tls": True}, facts, "10.0.0.1", "")
    assert (found["port"], found["tls"]) == (
        2884,
        {"ca_file": "/ca.pem", "cert_file": "", "key_file": "", "validate_certs": True},
    )
    found = probe_check.order({**SETTINGS, "probe_address": "lb", "probe_port": 7}, facts, "10.0.0.1", "")
    assert (found["host"], found["port"]) == ("lb", 7)


@pytest.mark.parametrize(
    ("settings", "parts", "changes", "asked_for"),
    [
        ({"probe": True}, ["plan", "stage", "switch", "commit"], {}, True),
        ({"probe": True}, ["plan", "commit"], {}, True),
        ({"probe": True}, ["plan", "stage"], {}, False),
        ({"probe": True}, ["plan"], {}, False),
        ({"probe": False}, ["plan", "switch"], {}, False),
        ({}, ["plan", "switch"], {}, False),
        ({"probe": True}, ["plan", "switch"], {"feasible": False}, False),
        ({"probe": True}, ["plan", "switch"], {"nodes": {}}, False),
    ],
)
def test_when_a_run_has_a_probe(settings: Any, parts: list[str], changes: Any, asked_for: bool) -> None:
    assert probe_check.is_asked_for(make_plan(**changes), settings, parts) is asked_for


def test_nodes_that_are_done_are_not_measured() -> None:
    plan = make_plan([["a1"]], {"a2": "commit", "a3": "none"})
    assert probe_check.hosts(plan) == ["a1", "a2"]


# Whether it may begin


def test_a_run_begins_only_where_all_clients_are_there() -> None:
    good = {"address": "10.0.0.1:1883", "clients": 6, "connected": 6, "reason": ""}
    bad = {"address": "10.0.0.2:1883", "clients": 6, "connected": 5, "reason": "Connection refused"}
    assert probe_check.refusal({"h1": good}) == ""
    said = probe_check.refusal({"h1": good, "h2": bad})
    assert said.startswith(
        "The client probe cannot connect, so nothing was touched: h2 at 10.0.0.2:1883 (5 of 6 clients; Connection "
        "refused). Expected are all of its clients connected and subscribed"
    )
    assert "h1" not in said
    assert said.endswith("emqx_upgrade_probe=false leaves the probe out.")


def test_the_report_has_nothing_that_is_for_the_check_alone() -> None:
    (found,) = probe_check.without_internal({"h1": row()}).values()
    assert set(row()) - set(found) == {"disconnected", "answered"}


@pytest.mark.parametrize(
    ("row", "error", "failed", "accepted", "told"),
    [
        ({}, None, [], [], []),
        ({"lost": 2}, None, [], [], ["b1 acknowledged 2 messages of the probe that never came to the subscriber."]),
        ({"disconnects": [{"at": 1}]}, None, [], [], ["Clients of the probe lost their connection to b1 once."]),
        ({"disconnects": [{"at": 1}], "lost": 1}, None, ["b1"], [], []),
        ({"disconnects": [{"at": 1}], "lost": 1}, "It died.", ["b1"], ["probe"], []),
        ({}, "It died.", ["b1"], [], ["The client probe cannot tell what clients noticed until the end: It died."]),
    ],
)
def test_what_is_noticed_after_the_last_look_is_told(
    row: Any, error: str | None, failed: list[str], accepted: list[str], told: list[str]
) -> None:
    probe = {"error": error, "nodes": {"b1": {"disconnects": [], "lost": 0, **row}}}
    assert probe_check.at_the_end(probe, failed, accepted) == told
