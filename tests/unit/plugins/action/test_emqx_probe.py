# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task of the client probe: what it tells the process, and what it makes of the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_probe
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe.asking import ProbeError
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.probe_counts import NodeCounts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.settings import NotKnown
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import make_plan, make_variables

SECRET = "s3cret-of-the-probe"
ALONE = {"inventory_hostname": "localhost"}
#: Settings of a run, as far as the probe has them.
SETTINGS: dict[str, Any] = {
    "probe": True,
    "probe_address": "",
    "probe_port": 0,
    "probe_clients": 3,
    "probe_username": "me",
    "probe_tls": False,
    "probe_ca_file": "",
    "probe_cert_file": "",
    "probe_key_file": "",
    "probe_validate_certs": True,
}


class Asked:
    """In the place of the process: keeps what it was asked."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Mapping[str, Any], float, float]] = []
        self.stopped: list[str] = []
        self.lives = False
        self.connected = 6
        self.error = ""

    def start(self, identifier: str, nodes: Mapping[str, Any], rate: float, timeout: float) -> bool:
        if self.error:
            raise ProbeError(self.error)
        self.started.append((identifier, nodes, rate, timeout))
        return not self.lives

    def standing(self, _identifier: str) -> dict[str, Any]:
        nodes = self.started[-1][1] if self.started else {"b1": {}}
        return {
            host: {"address": f"{host}:1883", "clients": 6, "connected": self.connected, "reason": "Connection refused"}
            for host in nodes
        }

    def count(self, _identifier: str, hosts: list[str]) -> dict[str, Any]:
        if self.error:
            raise ProbeError(self.error)
        row = {**NodeCounts("b1:1883", ["x"] * 6).row(0.0), "connected": self.connected, "answered": True}
        return dict.fromkeys(hosts, row)

    def stop(self, identifier: str) -> dict[str, Any]:
        self.stopped.append(identifier)
        return {"id": identifier, "nodes": {"b1": {}}, "error": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    for name in ("start", "standing", "count", "stop"):
        monkeypatch.setattr(emqx_probe.asking, name, getattr(found, name))
    monkeypatch.setattr(context, "CLIARGS", {"args": ("emqx.fleet.upgrade",)})
    return found


def run(variables: Mapping[str, Any] | None = None, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    return run_action(emqx_probe, dict(ALONE if variables is None else variables), check_mode, **options)


# By itself


def test_starts_on_the_nodes_that_are_named(asked: Asked) -> None:
    result = run(nodes={"b1": {"host": "10.0.0.1"}, "b2": {"port": "2883"}, "b3": None}, username="me", password=SECRET)
    assert (result["changed"], result.get("failed"), list(result["nodes"])) == (True, None, ["b1", "b2", "b3"])
    ((identifier, nodes, rate, timeout),) = asked.started
    assert (identifier, rate, timeout) == ("probe", 5.0, 10.0)
    common = {"clients": 2, "username": "me", "password": SECRET, "topic_prefix": "emqx-fleet/probe", "tls": None}
    assert nodes == {
        "b1": {"host": "10.0.0.1", "port": 1883, **common},
        "b2": {"host": "b2", "port": 2883, **common},
        "b3": {"host": "b3", "port": 1883, **common},
    }
    assert SECRET not in json.dumps(result)


def test_tls(asked: Asked) -> None:
    run(nodes={"b1": {}}, tls=True, ca_file="/ca.pem", cert_file="/c.pem", key_file="/k.pem", key_password=SECRET)
    node = asked.started[0][1]["b1"]
    assert node["port"] == 8883
    assert node["tls"] == {
        "ca_file": "/ca.pem",
        "cert_file": "/c.pem",
        "key_file": "/k.pem",
        "key_password": SECRET,
        "validate_certs": True,
    }


def test_one_that_lives_is_left_alone(asked: Asked) -> None:
    asked.lives = True
    assert run(nodes={"b1": {}}, id="x")["changed"] is False
    assert asked.started[0][0] == "x"


@pytest.mark.parametrize(("lives", "stopped"), [(False, ["probe"]), (True, [])])
def test_where_not_all_clients_are_let_in_it_fails(asked: Asked, lives: bool, stopped: list[str]) -> None:
    asked.connected, asked.lives = 5, lives
    result = run(nodes={"b1": {}})
    assert (result["failed"], result["changed"], asked.stopped) == (True, False, stopped)
    assert "b1 at b1:1883 (5 of 6 clients; Connection refused)" in result["msg"]


def test_counts(asked: Asked) -> None:
    result = run(state="read")
    assert (result["changed"], result["checks"]["b1"]["passed"]) == (False, True)
    assert result["nodes"]["b1"]["connected"] == 6
    assert not {"answered", "disconnected"} & set(result["nodes"]["b1"])
    asked.connected = 5
    assert run(state="read")["checks"]["b1"]["message"] == "Of the probe's 6 clients 1 is not connected."
    asked.error = "It has ended."
    assert (run(state="read")["failed"], run(state="read")["msg"]) == (True, "It has ended.")


def test_stops(asked: Asked) -> None:
    result = run(state="stopped", id="x")
    assert (result["changed"], result["probe"]["id"], asked.stopped) == (True, "x", ["x"])


def test_check_mode_starts_and_stops_nothing(asked: Asked) -> None:
    assert run(check_mode=True, nodes={"b1": {}})["changed"]
    assert run(check_mode=True, state="stopped")["changed"] is False
    assert (asked.started, asked.stopped) == ([], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nodes is missing: name the nodes that the clients connect to, such as {b1: {host: 10.0.0.1}}."),
        ({"nodes": {}}, "Expected are nodes, clients of 1 or more, and a rate above 0."),
        ({"nodes": {"b1": {}}, "clients": 0}, "Expected are nodes, clients of 1 or more, and a rate above 0."),
        ({"nodes": {"b1": {}}, "rate": 0}, "Expected are nodes, clients of 1 or more, and a rate above 0."),
        ({"nodes": {"b1": {"adress": "x"}}}, "nodes: b1 has adress; expected are host and port, both optional."),
        ({"nodes": {"b1": "10.0.0.1"}}, "nodes: b1 has 10.0.0.1; expected are host and port, both optional."),
        ({"nodes": {"b1": {"port": 70000}}}, "nodes: the port of b1 is 70000; expected is a number from 1 to 65535."),
        ({"nodes": {"b1": {"port": "mqtt"}}}, "nodes: the port of b1 is mqtt; expected is a number from 1 to 65535."),
        ({"state": "begun"}, "value of state must be one of: started, read, stopped"),
    ],
)
def test_options_that_make_no_sense(asked: Asked, options: Any, message: str) -> None:
    with pytest.raises(AnsibleActionFail) as raised:
        run(**options)
    assert message in str(raised.value)
    assert asked.started == []


def test_without_the_library_it_says_what_to_do(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emqx_probe.asking, "missing_library", lambda: "there is no paho-mqtt")
    result = run(nodes={"b1": {}})
    assert (result["failed"], result["msg"]) == (True, "The client probe cannot be started: there is no paho-mqtt.")
    assert asked.started == []


# In a run


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Of a task in a run of three nodes, of which one is done."""
    plan = make_plan([["a1"], ["a2"]], {"a3": "none"})
    facts = {"listeners": [{"protocol": "mqtt:tcp:external", "listen_on": "0.0.0.0:2883"}]}
    registered = {host: {"reading": {"facts": facts}} for host in plan["nodes"]}
    settings = {**SETTINGS, "report_file": str(tmp_path / "report.json")}
    values = {
        "a1": {"ansible_host": "10.0.0.1", "emqx_upgrade_probe_password": SECRET},
        "a2": {"ansible_host": NotKnown("{{ x }}", "'x' is undefined"), "emqx_upgrade_probe_password": None},
    }

    def of_hosts(hosts: list[str], _prefix: str, names: list[str], *_more: Any) -> list[tuple[str, Any]]:
        assert sorted(names) == ["ansible_host", "emqx_upgrade_probe_password"]
        return [(host, values[host]) for host in hosts]

    monkeypatch.setattr(emqx_probe.host_variables, "of_hosts", of_hosts)
    return make_variables("a1", plan, registered, settings)


def test_of_a_run_it_takes_the_nodes_that_are_worked_on(asked: Asked, variables: dict[str, Any]) -> None:
    result = run(variables)
    assert result["changed"], result
    ((identifier, nodes, _rate, _timeout),) = asked.started
    assert identifier == "run-1"
    common = {"port": 2883, "clients": 3, "username": "me", "tls": None, "topic_prefix": "emqx-fleet/probe"}
    assert nodes == {
        "a1": {"host": "10.0.0.1", "password": SECRET, **common},
        "a2": {"host": "a2", "password": "", **common},
    }
    assert SECRET not in json.dumps(result)


def test_a_run_that_is_refused_says_so_in_its_report(
    asked: Asked, variables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.connected = 0
    result = run(variables)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (document["ended"], document["ok"]) == (True, False)
    assert document["message"].startswith(result["msg"])
    assert asked.stopped == ["run-1"]
    (tmp_path / "report.json").unlink()
    asked.error = "no room"
    assert run(variables)["msg"] == "no room"
    assert "no room" in (tmp_path / "report.json").read_text(encoding="utf-8")


def test_in_check_mode_no_report_is_written(asked: Asked, variables: dict[str, Any], tmp_path: Path) -> None:
    run(variables, check_mode=True)
    assert (asked.started, list(tmp_path.iterdir())) == ([], [])
