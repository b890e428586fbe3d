# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The workflow of AWX, each job as AWX runs it: refused, failing, cancelled and relaunched, and well."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import BIN, NEW, OLD, QUICK, ROOT, Scenario, verbs

from tests.awx.pod import Job, Pod, extra_vars

FLEET = {"clusters": {"blue": {"hosts": ["h1", "h2"]}, "green": {"hosts": ["h3"]}}}
HOSTS = ("h1", "h2", "h3")
SECRETS = {"emqx_upgrade_webhook_token": "s3cret-of-the-webhook", "emqx_upgrade_probe_password": "s3cret-of-the-probe"}
SURVEY = {**QUICK, "emqx_upgrade_version": NEW, "emqx_upgrade_canary": "1", "emqx_upgrade_take_over": ""}
#: What a template has of its own besides its playbook.
TEMPLATES: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan.yml", {}),
    "stage": ("stage.yml", {}),
    "switch canary": ("switch.yml", {"emqx_upgrade_waves": "canary"}),
    "switch": ("switch.yml", {"emqx_upgrade_waves": "rest", "emqx_upgrade_phases": ["switch"]}),
    "soak": ("soak.yml", {}),
    "commit": ("commit.yml", {}),
    "report": ("report.yml", {}),
    "status": ("status.yml", {}),
    "upgrade": ("upgrade.yml", {}),
    "split": ("split.yml", {"emqx_upgrade_split": "2"}),
    "cleanup": ("cleanup.yml", {"emqx_upgrade_keep_versions": "0"}),
    "rollback": ("rollback.yml", {}),
}


class Workflow:
    """A workflow job: its jobs, each of which has the artifacts of those before it, as AWX puts them together."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.scenario = scenario
        self.number = number
        #: What each job was given by the ones before it, and what it has handed on itself; the newest job comes last.
        self.given: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, Job] = {}

    def begin(self, name: str, job_id: int, parents: Sequence[str] | None = None, **more: Any) -> Pod:
        """Launch one of its jobs; ``parents``: the jobs that lead to it, by default the newest one."""
        playbook, own = TEMPLATES[name.partition(":")[0]]
        part = name.partition(":")[2]
        own = {**own, "emqx_fleet_part": part} if part else own
        relaunched = more.get("launch_type") == "relaunch"
        workflow = None if relaunched else (self.number, "EMQX rolling upgrade")
        if not relaunched:
            self.given[name] = self._artifacts(list(self.jobs)[-1:] if parents is None else parents)
        given = extra_vars(
            job_id, f"EMQX {name}", SURVEY, own=own, workflow=workflow, artifacts=self.given[name], **more
        )
        pod = Pod(self.scenario.lab, self.scenario.work, job_id, BIN)
        collections = Path(os.environ.get("ANSIBLE_COLLECTIONS_PATH") or ROOT / ".build/collections")
        pod.start(playbook, given, collections, secrets=SECRETS)
        return pod

    def _artifacts(self, parents: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for parent in parents:
            found |= self.given[parent] | self.jobs[parent].artifacts
        return found

    def end(self, name: str, pod: Pod) -> Job:
        """Wait for it, and keep what it handed on."""
        job = pod.wait()
        self.jobs[name] = job
        self.scenario.keep(f"job-{pod.number}", asdict(job))
        (self.scenario.work / f"job-{pod.number}.log").write_text(job.output, encoding="utf-8")
        return job

    def run(self, *names: str) -> Job:
        """Jobs one after the other; the last one."""
        for place, name in enumerate(names):
            job = self.end(name, self.begin(name, self.number * 100 + len(self.jobs) + 1))
            assert job.status == "successful" or place == len(names) - 1, _story(name, job)
        return job

    def at_once(self, names: Sequence[str], parents: Sequence[str]) -> None:
        """Jobs at the same time."""
        pods = {
            name: self.begin(name, self.number * 100 + len(self.jobs) + place, parents)
            for place, name in enumerate(names, 1)
        }
        for name, pod in pods.items():
            job = self.end(name, pod)
            assert job.status == "successful", _story(name, job)


def _story(name: str, job: Job) -> str:
    return f"{name}: {job.status}\n{job.output[-3000:]}"


def converge(scenario: Scenario) -> None:
    """Do it."""

    def keep(name: str) -> None:
        scenario.keep(name, {host: vars(state) for host, state in scenario.nodes().items()})

    # The canary is not to somebody's liking.
    refused = Workflow(scenario, 1)
    refused.run("plan", "stage", "switch canary")
    keep("after-canary")
    refused.run("status", "rollback", "report")
    keep("after-refusal")

    # A canary that cannot be switched; nobody lets it go back.
    failing = Workflow(scenario, 2)
    scenario.broker_fault("h1", "relup_crash")
    failing.run("switch canary")
    scenario.host("h1").path("/opt/emqx/data/faults/relup_crash").unlink()
    failing.run("status", "report")
    keep("after-failure")

    # A fleet in two parts, one of whose jobs is cancelled in the middle and relaunched at once in another pod.
    good = Workflow(scenario, 3)
    good.run("split")
    good.at_once(["stage:1", "stage:2"], ["split"])
    canary = good.end("switch canary", good.begin("switch canary", 304, ["stage:1", "stage:2"]))
    assert canary.status == "successful", _story("switch canary", canary)
    pods = {part: good.begin(f"switch:{part}", 390 + part, ["switch canary"]) for part in (1, 2)}
    journal = scenario.host("h2").path("/opt/emqx/data/fleet/journal.jsonl")
    entries = len(journal.read_text(encoding="utf-8").splitlines())
    pods[1].wait_until(lambda: len(journal.read_text(encoding="utf-8").splitlines()) > entries)
    pods[1].terminate()
    good.end("switch:1", pods[1])
    keep("after-cancel")
    assert good.end("switch:1", good.begin("switch:1", 393, launch_type="relaunch")).status == "successful"
    assert good.end("switch:2", pods[2]).status == "successful"
    keep("after-relaunch")
    soak = good.end("soak", good.begin("soak", 394, ["switch:1", "switch:2"]))
    assert soak.status == "successful", _story("soak", soak)
    good.end("commit", good.begin("commit", 395))
    good.end("report", good.begin("report", 396))
    # What is no part of a workflow.
    alone = Workflow(scenario, 4)
    alone.run("upgrade", "cleanup")


def verify(scenario: Scenario) -> None:
    """See what became of it."""

    def job(number: int) -> Job:
        return Job(**scenario.kept(f"job-{number}"))

    def running(name: str) -> dict[str, tuple[str, str]]:
        return {host: (state["running"], state["boots"]) for host, state in scenario.kept(name).items()}

    old, new = (OLD, OLD), (NEW, OLD)
    assert running("after-canary") == {"h1": new, "h2": old, "h3": old}
    assert all(state["reserved"]["id"] == "awx-workflow-1" for state in scenario.kept("after-canary").values())
    assert running("after-refusal") == dict.fromkeys(HOSTS, old)
    assert all(state["reserved"] is None for state in scenario.kept("after-refusal").values())
    last = job(106)
    assert last.status == "failed"
    assert "These nodes went back: h1" in last.messages[-1], last.messages

    failed, last = job(201), job(203)
    assert failed.status == "failed"
    assert (
        "relaunch this job (201, EMQX switch canary), or all of the workflow (2, EMQX rolling upgrade)."
        in (failed.messages[-1])
    ), failed.messages
    assert "ansible-playbook" not in failed.messages[-1], failed.messages
    assert last.status == "failed"
    assert running("after-failure") == dict.fromkeys(HOSTS, old)
    assert all(state["reserved"] is None for state in scenario.kept("after-failure").values())

    assert job(391).status == "canceled"
    assert scenario.kept("after-cancel")["h2"]["reserved"]["id"] == "awx-workflow-3"
    assert running("after-relaunch") == dict.fromkeys(HOSTS, new)
    commit, report = job(395), job(396)
    assert (commit.status, report.status) == ("successful", "successful"), report.output
    for told in (commit.artifacts["emqx_fleet_report"], report.artifacts["emqx_fleet_report"]):
        assert {host: node["from"] for host, node in told["nodes"].items()} == dict.fromkeys(HOSTS, OLD)
        assert {node["result"] for node in told["nodes"].values()} == {"committed"}
        assert (told["ok"], told["run_id"]) == (True, "awx-workflow-3")
    told = report.artifacts["emqx_fleet_report"]
    # Of both parts and of all nodes; a cancelled job hands nothing on.
    jobs = [row["awx"]["job_id"] for row in told["jobs"]]
    assert sorted(jobs) == ["302", "303", "304", "392", "393", "394", "395", "396"], jobs
    assert jobs[-1] == "396"
    switched = {host: [row["phase"] for row in node["timeline"]] for host, node in told["nodes"].items()}
    assert all("commit" in phases and "stage" in phases for phases in switched.values()), switched

    for path in scenario.work.glob("job-*.json"):
        found = Job(**json.loads(path.read_text(encoding="utf-8")))
        assert not [secret for secret in SECRETS.values() if found.holds(secret)], path
    scenario.require_clients_kept(but_of=["h1"])
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        assert state.reserved is None
    done = [verb for verb in verbs(scenario.nodes("h2")["h2"].journal) if verb.endswith(NEW)]
    # Switched once, whatever became of the job that began it.
    assert done[-2:] == [f"switch {NEW}", f"commit {NEW}"], done
    assert done.count(f"switch {NEW}") == 1, done
