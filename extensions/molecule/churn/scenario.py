# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Clients come and go all the time, and one node drops known ones: those are told, and no others.

What the clients themselves saw is what the accounts, the probe, the document and the page must tell.
"""

from __future__ import annotations

import json
import re
import tempfile
from typing import Any

from harness import NEW, OLD, Scenario

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}}}
CLIENTS = {"churn": 5}
#: Nothing may show them, but for the names of settings.
_SECRETS = {
    "emqx_upgrade_probe_username": "probe",
    "emqx_upgrade_probe_password": "planted-password-of-the-probe",
    "emqx_upgrade_webhook": "http://planted-user:planted-password-of-the-hook@127.0.0.1:9/events",
    "emqx_upgrade_webhook_token": "planted-token-of-the-hook",
}
_FAULT = f"relup_drop_clients-{NEW}"


def converge(scenario: Scenario) -> None:
    """Do it."""
    upgrade: dict[str, Any] = {"emqx_upgrade_version": NEW, "emqx_upgrade_on_failure": "rollback_node"}
    # Of a node that nobody noticed before, two are cut off, and the way back cuts off nobody.
    scenario.broker_fault("h2", _FAULT, "2")
    scenario.playbook(
        "upgrade",
        name="two",
        emqx_upgrade_report_file=str(scenario.work / "two.report.json"),
        emqx_upgrade_report_html=str(scenario.work / "two.html"),
        **upgrade,
    )
    scenario.keep("after-two", {host: vars(state) for host, state in scenario.nodes().items()})
    # All of them, those of the probe as well. Nobody listens to the events, and what is secret comes from a file.
    scenario.broker_fault("h2", _FAULT, "")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as secrets:
        json.dump(_SECRETS, secrets)
        secrets.flush()
        _upgrade_probed(scenario, secrets.name, upgrade)
    scenario.clients()


def _upgrade_probed(scenario: Scenario, secrets: str, upgrade: dict[str, Any]) -> None:
    scenario.playbook(
        "upgrade",
        "-vvv",
        "-e",
        f"@{secrets}",
        name="all",
        emqx_upgrade_probe=True,
        emqx_upgrade_report_file=str(scenario.work / "all.report.json"),
        emqx_upgrade_report_html=str(scenario.work / "all.html"),
        emqx_upgrade_report_junit=str(scenario.work / "all.xml"),
        emqx_upgrade_report_metrics=str(scenario.work / "all.prom"),
        **upgrade,
    )


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    seen = scenario.clients()
    for name in ("two", "all"):
        run, node = scenario.run_of(name), scenario.kept(f"{name}.report")["nodes"]
        assert run.code != 0
        assert re.search(r"h2 failed in phase switch: \d+ clients were cut off: ", run.output), run.message
        assert "h2 went back to 4.4.18" in " ".join(run.output.split())
        assert (node["h1"]["result"], node["h2"]["result"]) in _RESULTS[name]
        assert node["h2"]["rollback_message"] is None, "nobody was cut off by the way back"

    account = scenario.kept("two.report")["nodes"]["h2"]["accounting"]
    assert (account["told_by"], account["cut_off"], account["burst"]) == ("books", 2, 0)
    good = scenario.kept("two.report")["nodes"]["h1"]["accounting"]
    assert (good["cut_off"], good["burst"]) == (0, 0)
    assert good["came"] > 0, "clients came and went meanwhile"
    assert good["members"]["emqx@" + scenario.host("h2").address]["cut_off"] == 0

    # The oracle: every client that lost its connection against its will, by what it saw itself.
    told = scenario.kept("all.report")
    disconnected = [event for event in seen["events"] if event["event"] == "disconnect"]
    assert {event["node"] for event in disconnected} == {"h2"}
    lasting = [event for event in disconnected if event["kind"] in ("busy", "idle")]
    assert len(lasting) == seen["nodes"]["h2"]["total"]["clients"]
    probe = told["probe"]["nodes"]
    assert probe["h1"]["disconnects"] == []
    assert len(probe["h2"]["disconnects"]) == probe["h2"]["clients"]
    total = seen["churn"]["nodes"]["h2"]["cut"] + len(lasting) + len(probe["h2"]["disconnects"])
    assert told["nodes"]["h2"]["accounting"]["cut_off"] == total - 2
    assert seen["churn"]["nodes"]["h1"]["cut"] == 0

    files = [path for path in scenario.work.iterdir() if path.is_file()]
    cookie = re.findall(r"cookie\W+(\w{6,})", scenario.host("h1").exec(["sh", "-c", _COOKIE]).stdout)
    assert cookie
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert "planted-" not in text, path
        assert not [word for word in cookie if word in text], path
    assert {"all.xml", "all.prom", "all.html", "all.log"} <= {path.name for path in files}
    assert "127.0.0.1:9" in scenario.run_of("all").output, "that the webhook does not answer is told"

    for name in ("two", "all"):
        page = (scenario.work / f"{name}.html").read_text(encoding="utf-8")
        lost = scenario.kept(f"{name}.report")["totals"]["clients"]["cut_off"]
        assert re.search(rf"\b{lost}\b[^<]*cut off|cut off[^<]*</[^>]+>\s*<[^>]+>{lost}\b", page), name
    total_kept = seen["nodes"]["h1"]["total"]
    assert total_kept["kept"] == total_kept["clients"]
    for host, versions in {"h1": (NEW, OLD), "h2": (OLD, OLD)}.items():
        state = scenario.nodes()[host]
        assert (state.running, state.boots) == versions
    scenario.require_same_processes()


_COOKIE = "grep -rhi cookie /opt/emqx/etc /opt/emqx/data/configs /opt/emqx/releases/*/vm.args"
#: h1 runs the new version from the first run on.
_RESULTS = {
    "two": [("not_committed", "failed_rolled_back")],
    "all": [("not_committed", "failed_rolled_back"), ("not_begun", "failed_rolled_back")],
}
