# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What machines read of whole runs of the playbook: of one that fails, and of those that are refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.http_server import Server, serving

from .under_ansible import COMMANDS, NEW, OLD, make_node, run

TOKEN = "t0ken-of-ours"
PATH = "/services/s3cret"
#: What ansible-runner, and AWX with it, takes for artifacts: the custom stats of no host.
CALLBACK = """
import json
from pathlib import Path
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "artifacts"

    def v2_playbook_on_stats(self, stats):
        Path("artifacts.json").write_text(json.dumps(stats.custom.get("_run", {})))
"""


class Ended:
    """A run that has ended, and all that it left."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str], server: Server) -> None:
        self.rc = done.returncode
        self.output = done.stdout + done.stderr
        self.artifacts: dict[str, Any] = json.loads((folder / "artifacts.json").read_text(encoding="utf-8"))
        self.events = {event["type"].rpartition(".")[2]: event for event in server.events}
        self.cases = {
            case.attrib["name"]: next((child.tag for child in case), "")
            for case in ElementTree.fromstring((folder / "junit.xml").read_bytes()).iter("testcase")
        }
        self.metrics = (folder / "fleet.prom").read_text(encoding="utf-8")
        self.report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def ended(tmp_path: Path) -> Any:
    """Play the playbook ``upgrade`` for a node that refuses every command, with these settings."""

    def play(*options: str, status: int = 204, **given: Any) -> Ended:
        (tmp_path / "callbacks").mkdir(exist_ok=True)
        (tmp_path / "callbacks/artifacts.py").write_text(CALLBACK, encoding="utf-8")
        (tmp_path / "packages").mkdir(exist_ok=True)
        with serving(status) as server:
            settings = {
                "version": NEW,
                "report_file": "report.json",
                "report_junit": "junit.xml",
                "report_metrics": "fleet.prom",
                "webhook": f"http://{server.place}{PATH}",
                "webhook_token": TOKEN,
                **given,
            }
            values = {f"emqx_upgrade_{name}": value for name, value in settings.items()}
            values["ansible_python_interpreter"] = str(COMMANDS / "python")
            (tmp_path / "vars.json").write_text(json.dumps(values), encoding="utf-8")
            (tmp_path / "inventory").write_text("node1 ansible_connection=local\n", encoding="utf-8")
            words = ["-i", "inventory", "-e", "@vars.json", "emqx.fleet.upgrade", *options]
            environment = {
                "ANSIBLE_CALLBACK_PLUGINS": str(tmp_path / "callbacks"),
                "ANSIBLE_CALLBACKS_ENABLED": "artifacts",
                "no_proxy": "127.0.0.1",
            }
            done = run(tmp_path, "ansible-playbook", *words, env=environment)
            found = Ended(tmp_path, done, server)
        for text in (found.output, json.dumps(found.artifacts), json.dumps(found.report), found.metrics):
            assert TOKEN not in text
            assert PATH not in text
        return found

    return play


def package(tmp_path: Path, name: str, *froms: str) -> None:
    (tmp_path / "packages").mkdir()
    write_package(tmp_path / "packages" / name, NEW, list(froms), list(froms))


def test_a_run_that_fails(ended: Any, tmp_path: Path) -> None:
    make_node(tmp_path / "poor")
    package(tmp_path, "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip", OLD)
    done = ended("-vvv", executable=str(tmp_path / "poor/bin/emqx"))
    assert done.rc == 2, done.output
    report = done.artifacts.pop("emqx_fleet_report")
    assert report == done.report
    assert done.artifacts == {
        "emqx_fleet_run_id": report["run_id"],
        "emqx_fleet_verdict": "failed",
        "emqx_fleet_ok": False,
        "emqx_fleet_nodes": {"failed": 1},
        "emqx_fleet_cut_off": None,
        "emqx_fleet_seconds": report["seconds"],
        "emqx_fleet_report_file": str(tmp_path / "report.json"),
    }
    assert list(done.events) == ["started", "wave", "failed", "finished"]
    assert {event["subject"] for event in done.events.values()} == {report["run_id"]}
    assert done.events["failed"]["data"]["failures"][0]["phase"] == "switch"
    assert done.events["finished"]["data"]["verdict"] == "failed"
    assert done.cases == {"run": "failure", "node1": "failure"}
    assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in done.metrics
    assert 'emqx_fleet_node_result{fleet="fleet",host="node1",result="failed"} 1\n' in done.metrics


def test_a_run_that_a_gate_refuses(ended: Any, tmp_path: Path) -> None:
    make_node(tmp_path / "poor")
    package(tmp_path, "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip", "4.4.17")
    done = ended("-vvv", executable=str(tmp_path / "poor/bin/emqx"))
    assert done.rc == 2, done.output
    assert done.artifacts["emqx_fleet_report"] == done.report
    assert (done.artifacts["emqx_fleet_verdict"], done.artifacts["emqx_fleet_nodes"]) == ("refused", {"not_begun": 1})
    assert list(done.events) == ["refused"]
    assert "relup" in done.events["refused"]["data"]["message"]
    assert done.cases == {"run": "error", "node1": "failure"}
    assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in done.metrics


@pytest.mark.parametrize(
    ("given", "words"), [({"timeout": "soon"}, "emqx_upgrade_timeout"), ({}, "There is no package")]
)
def test_a_run_without_a_plan(ended: Any, tmp_path: Path, given: dict[str, str], words: str) -> None:
    make_node(tmp_path / "poor")
    done = ended("-vvv", executable=str(tmp_path / "poor/bin/emqx"), **given)
    assert done.rc == 2, done.output
    assert done.artifacts == {"emqx_fleet_ok": False, "emqx_fleet_verdict": "refused"}
    assert list(done.events) == ["refused"]
    assert words in done.events["refused"]["data"]["message"]
    assert done.cases == {"run": "error"}
    assert 'emqx_fleet_run_success{fleet="fleet"} 0\n' in done.metrics


def test_a_webhook_that_is_gone_is_one_warning(ended: Any, tmp_path: Path) -> None:
    make_node(tmp_path / "poor")
    package(tmp_path, "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip", OLD)
    done = ended(status=404, executable=str(tmp_path / "poor/bin/emqx"))
    assert done.artifacts["emqx_fleet_nodes"] == {"failed": 1}, "the run went on"
    assert list(done.events) == ["started", "failed", "finished"], "no wave waits for it"
    assert " ".join(done.output.split()).count("was not told of") == 1
    assert "emqx_fleet_report" not in done.output, "what is handed on is not shown"
