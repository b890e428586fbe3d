# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The table of known defects: which row strikes which hop on which node, and that every row is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import known_defects as k

ROOT = Path(__file__).resolve().parents[5]
SSL = [{"protocol": "mqtt:ssl:external", "listen_on": "8883"}]
WSS = [{"protocol": "mqtt:wss:8084", "listen_on": "8084"}]
PLAIN = [{"protocol": "mqtt:tcp:external", "listen_on": "1883"}, {"protocol": "https:dashboard", "listen_on": "18084"}]
#: A node that has nothing of what the conditions ask for.
BARE: dict[str, Any] = {"listeners": PLAIN, "plugins": [], "modules": [{"name": "retainer", "active": True}]}


def met(
    edition: str | None, running: str, target: str, *, facts: dict[str, Any] | None = None, by: tuple[str, ...] = ()
) -> dict[str, str]:
    """Severity by id of what strikes on the way."""
    hits = k.evaluate(BARE | {"edition": edition} | (facts or {}), running, target, (*by, target))
    return {hit.defect.id: hit.defect.severity for hit in hits}


@pytest.mark.parametrize("defect", k.DEFECTS, ids=lambda defect: defect.id)
def test_every_row_is_whole(defect: k.Defect) -> None:
    assert defect.id.replace("_", "").isalnum()
    assert defect.hops
    assert defect.source
    assert defect.text
    assert defect.remedy
    assert defect.severity in get_args(k.Severity)
    assert defect.verified in get_args(k.Verified)
    assert defect.on_hops or defect.without_way
    # They are put together to a sentence.
    assert not any(text.endswith((".", ";")) for text in (defect.text, defect.fixed, defect.remedy, defect.source))
    for hops in defect.hops:
        assert set(hops.editions) <= {"ce", "ee", "edge"}
        series = {emqx_version.parse(versions.low).series for versions in hops[1:]}
        assert len(series) == 1, "no hop leads from series to series"
        for versions in (hops.source, hops.target):
            if versions.before is not None:
                low, before = emqx_version.parse(versions.low), emqx_version.parse(versions.before)
                assert low.series == before.series
                assert low < before


def test_ids_are_unique() -> None:
    ids = [defect.id for defect in k.DEFECTS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("edition", "running", "target", "facts", "expected"),
    [
        # New TLS connections, by both numberings.
        ("ce", "4.4.6", "4.4.7", {"listeners": SSL}, {"tls_new_connections": "error"}),
        ("ce", "4.4.6", "4.4.14", {"listeners": WSS}, {"tls_new_connections": "error"}),
        ("ce", "4.4.6", "4.4.14", {"listeners": None}, {"tls_new_connections": "error"}),
        ("ce", "4.4.6", "4.4.14", {}, {}),
        ("ce", "4.4.6", "4.4.14", {"listeners": []}, {}),
        ("ce", "4.4.6", "4.4.15", {"listeners": SSL}, {}),
        ("ce", "4.4.7", "4.4.14", {"listeners": SSL}, {}),
        ("ce", "4.3.17", "4.3.18", {"listeners": SSL}, {"tls_new_connections": "error"}),
        ("ce", "4.3.17", "4.3.22", {"listeners": SSL}, {"tls_new_connections": "error"}),
        ("ee", "4.3.12", "4.3.19", {"listeners": SSL}, {}),
        (
            "ce",
            "4.4.18",
            "4.4.6",
            {"listeners": SSL, "releases": [{"version": "4.4.6", "status": "old"}]},
            {"tls_new_connections_back": "warning"},
        ),
        # Settings of plugins.
        (
            "ce",
            "4.3.9",
            "4.3.22",
            {"plugins": [{"name": "emqx_dashboard", "active": True}]},
            {"plugin_settings": "error", "second_try": "warning"},
        ),
        (
            "ce",
            "4.3.9",
            "4.3.22",
            {"plugins": [{"name": "emqx_dashboard", "active": False}]},
            {"second_try": "warning"},
        ),
        (
            "ce",
            "4.3.10",
            "4.3.22",
            {"plugins": [{"name": "emqx_dashboard", "active": True}]},
            {"second_try": "warning"},
        ),
        (
            "ce",
            "4.2.1",
            "4.2.14",
            {"plugins": [{"name": "emqx_dashboard", "active": True}]},
            {"plugin_settings": "error", "second_try": "warning"},
        ),
        ("ce", "4.2.2", "4.2.14", {"plugins": [{"name": "emqx_dashboard", "active": True}]}, {"second_try": "warning"}),
        (
            "ee",
            "4.3.5",
            "4.3.19",
            {"plugins": [{"name": "emqx_dashboard", "active": True}]},
            {"plugin_settings": "error", "second_try": "warning"},
        ),
        ("ee", "4.3.9", "4.3.19", {"plugins": [{"name": "emqx_dashboard", "active": True}]}, {}),
        # WebSocket clients of Enterprise 4.2.
        ("ee", "4.2.1", "4.2.13", {"listeners": WSS}, {"websocket_restart": "error", "second_try": "warning"}),
        ("ee", "4.2.1", "4.2.13", {}, {"second_try": "warning"}),
        ("ee", "4.2.2", "4.2.13", {"listeners": WSS}, {"second_try": "warning"}),
        ("ee", "e4.2.0", "e4.2.13", {"listeners": WSS}, {"websocket_restart": "error", "second_try": "warning"}),
        # Hot upgrades that EMQX takes back.
        ("ce", "4.2.5", "4.2.13", {}, {"hot_upgrade_unavailable": "error", "second_try": "warning"}),
        ("ce", "4.2.5", "4.2.14", {}, {"second_try": "warning"}),
        # Enterprise.
        ("ee", "4.2.5", "4.2.11", {}, {"hot_configuration": "warning", "second_try": "warning"}),
        ("ee", "4.3.13", "4.3.14", {}, {"resource_alarms": "warning"}),
        ("ee", "4.3.12", "4.3.13", {}, {"module_status": "warning", "resource_alarms": "warning"}),
        ("ee", "4.3.11", "4.3.17", {}, {"resource_alarms": "warning"}),
        ("ee", "4.3.10", "4.3.17", {}, {"influxdb_action": "warning", "resource_alarms": "warning"}),
        ("ee", "4.3.10", "4.3.18", {}, {}),
        (
            "ee",
            "4.3.9",
            "4.3.11",
            {},
            {
                "module_status": "warning",
                "license_update": "warning",
                "influxdb_action": "warning",
                "resource_alarms": "warning",
                "uninstall_old": "warning",
            },
        ),
        (
            "ee",
            "4.4.5",
            "4.4.6",
            {},
            {
                "module_status": "warning",
                "kafka_mechanism": "warning",
                "resource_alarms": "warning",
                "oracle_resources": "warning",
                "schema_registry": "warning",
                "rabbitmq_tdengine": "warning",
            },
        ),
        ("ee", "4.4.11", "4.4.15", {}, {"schema_registry": "warning", "rabbitmq_tdengine": "warning"}),
        ("ee", "4.4.16", "4.4.18", {}, {"retained_messages": "error", "rabbitmq_tdengine": "warning"}),
        ("ee", "4.4.18", "4.4.19", {}, {"rabbitmq_actions": "warning", "rabbitmq_tdengine": "warning"}),
        ("ee", "4.4.18", "4.4.22", {}, {}),
        (
            "ee",
            "4.4.22",
            "4.4.10",
            {},
            {
                "resource_alarms": "warning",
                "oracle_resources": "warning",
                "schema_registry": "warning",
                "rabbitmq_tdengine": "warning",
                "pulsar_back": "warning",
            },
        ),
        ("ce", "4.4.18", "4.4.19", {}, {}),
        ("ce", "4.4.11", "4.4.15", {}, {}),
        # Gateways and authentication.
        (
            "ce",
            "4.3.8",
            "4.3.9",
            {"plugins": [{"name": "emqx_stomp", "active": True}]},
            {"plugin_settings": "error", "stomp_stop": "error", "uninstall_old": "warning", "second_try": "warning"},
        ),
        ("ce", "4.3.8", "4.3.9", {}, {"uninstall_old": "warning", "second_try": "warning"}),
        (
            "ce",
            "4.3.14",
            "4.3.21",
            {"plugins": [{"name": "emqx_auth_jwt", "active": True}], "listeners": PLAIN},
            {"jwt_hook": "error"},
        ),
        ("ce", "4.3.14", "4.3.22", {"plugins": [{"name": "emqx_auth_jwt", "active": True}]}, {}),
        ("ce", "4.4.3", "4.4.10", {}, {}),
        ("ce", "4.4.3", "4.4.10", {"plugins": [{"name": "emqx_auth_jwt", "active": False}]}, {}),
        (
            "ee",
            "4.4.3",
            "4.4.22",
            {"modules": [{"name": "jwt_authentication", "active": True}]},
            {"jwt_keys": "warning"},
        ),
        ("ee", "4.4.3", "4.4.22", {"modules": []}, {"jwt_keys": "warning"}),
        ("ee", "4.4.3", "4.4.22", {}, {}),
        # The old version's files.
        ("ce", "4.3.15", "4.3.16", {}, {"uninstall_old": "warning"}),
        ("ce", "4.3.15", "4.3.17", {}, {}),
        ("ce", "4.4.6", "4.4.5", {}, {"emqx_vars_back": "error", "uninstall_old": "warning"}),
        (
            "ce",
            "4.4.6",
            "4.4.5",
            {"releases": [{"version": "4.4.5", "status": "unpacked"}]},
            {"emqx_vars_back": "error", "uninstall_old": "warning"},
        ),
        (
            "ce",
            "4.4.6",
            "4.4.5",
            {"releases": [{"version": "4.4.5", "status": "permanent"}]},
            {"uninstall_old": "warning"},
        ),
        # An edition that is not known, and what is no version.
        (None, "4.4.18", "4.4.19", {}, {"rabbitmq_actions": "warning", "rabbitmq_tdengine": "warning"}),
        ("ee", "broken", "4.4.19", {}, {}),
        ("ee", "4.4.18", "broken", {}, {}),
        ("ce", "4.3.9", "4.4.7", {"listeners": SSL}, {}),
    ],
)
def test_what_strikes(
    edition: str | None, running: str, target: str, facts: dict[str, Any], expected: dict[str, str]
) -> None:
    assert met(edition, running, target, facts=facts) == expected


@pytest.mark.parametrize(
    ("running", "target", "strikes"),
    [
        # What precedes the fix may lack it, and what precedes the defect may have it.
        ("4.4.6", "4.4.15-alpha.1", True),
        ("4.4.6", "4.4.7-beta.1", True),
        ("4.4.7-beta.1", "4.4.14", True),
        ("4.4.6-beta.1", "4.4.14", True),
        ("4.4.7", "4.4.15-alpha.1", False),
        ("4.4.6", "4.4.16-alpha.1", False),
        ("4.4.0-rc.1", "4.4.7", True),
    ],
)
def test_pre_releases(running: str, target: str, strikes: bool) -> None:
    assert ("tls_new_connections" in met("ce", running, target, facts={"listeners": SSL})) is strikes


def test_each_hop_of_a_way_is_looked_at() -> None:
    facts = BARE | {"edition": "ce", "listeners": SSL}
    assert k.evaluate(facts, "4.4.6", "4.4.19", ["4.4.19"]) == []
    (hit,) = k.evaluate(facts, "4.4.6", "4.4.19", ["4.4.14", "4.4.19"])
    assert (hit.defect.id, hit.hops) == ("tls_new_connections", (("4.4.6", "4.4.14"),))
    (hit,) = k.evaluate(facts, "4.4.2", "4.4.5", ["4.4.4", "4.4.5"])
    assert (hit.defect.id, hit.hops) == ("uninstall_old", (("4.4.2", "4.4.4"), ("4.4.4", "4.4.5")))


def test_errors_come_first() -> None:
    """In the table the warning stands before the error."""
    assert list(met("ce", "4.4.6", "4.4.5")) == ["emqx_vars_back", "uninstall_old"]


@pytest.mark.parametrize(
    ("facts", "running", "target", "expected"),
    [
        ({"edition": "edge"}, "4.4.16", "4.4.17", ["edge_no_relup"]),
        ({"edition": "edge"}, "4.2.1", "4.2.13", ["hot_upgrade_unavailable", "edge_no_relup"]),
        ({"edition": "ce"}, "4.2.1", "4.2.13", ["hot_upgrade_unavailable"]),
        ({"edition": "ce", "os": "debian11"}, "4.4.1", "4.4.2", ["first_for_debian11"]),
        ({"edition": "ce", "os": "debian11"}, "4.4.1", "4.4.3", []),
        ({"edition": "ce", "os": "debian10"}, "4.4.1", "4.4.2", []),
        ({"edition": "ee", "os": "amzn2"}, "4.4.11", "4.4.12", ["first_for_amzn2"]),
        ({"edition": "ee", "os": "ubuntu22.04"}, "4.4.14", "4.4.15", ["first_for_ubuntu22_04"]),
        ({"edition": "ce", "os": None, "host": {"os": "ubuntu22.04"}}, "4.4.14", "4.4.15", ["first_for_ubuntu22_04"]),
    ],
)
def test_why_there_is_no_way(facts: dict[str, Any], running: str, target: str, expected: list[str]) -> None:
    assert [hit.defect.id for hit in k.evaluate(BARE | facts, running, target, [])] == expected
    hits = k.evaluate(BARE | facts, running, target, [target])
    assert not {"edge_no_relup"} & {hit.defect.id for hit in hits}
    assert not any(hit.defect.id.startswith("first_for") for hit in hits)


def test_the_page_is_what_the_table_says() -> None:
    command = [sys.executable, "scripts/known_defects_doc.py", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    page = (ROOT / "docs/known-defects.md").read_text(encoding="utf-8")
    assert all(f"| `{defect.id}` |" in page for defect in k.DEFECTS)
