# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A job as AWX runs one: ansible-runner on a private data directory of its own, in a container of its own.

What AWX puts where is that of ``awx/main/tasks/jobs.py`` and ``awx/main/models`` of AWX 24.6.1: the project and the
inventory script, extra variables with those that AWX adds, the environment, the SSH key for an agent. In the place of
the container there are namespaces (own processes, host name and mounts), a user without privileges, and an empty home.
What is in the container is the project's own environment.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab.labkit import Lab, net

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "extensions/awx/project"
#: Without an account of its own on the hosts, and without a home on the machine.
USER = 65534
_WAIT = 300.0


@dataclass
class Job:
    """A job that has ended: AWX's word for how, its artifacts, and its events."""

    status: str
    artifacts: dict[str, Any]
    events: list[dict[str, Any]]
    output: str
    #: The extra variables, for a relaunch.
    extra_vars: dict[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> list[str]:
        """What tasks that failed said."""
        rows = [event["event_data"] for event in self.events if event["event"] == "runner_on_failed"]
        return [str((row.get("res") or {}).get("msg") or "") for row in rows]

    def holds(self, text: str) -> bool:
        """Whether this is anywhere in what AWX keeps of the job."""
        return text in self.output or any(text in json.dumps(event) for event in self.events)


class Pod:
    """A container for one job, in the network of a lab."""

    def __init__(self, lab: Lab, folder: Path, number: int, bin_folder: Path) -> None:
        self.lab = lab
        self.number = number
        self.data = folder / f"awx_{number}"
        self._bin = bin_folder
        self._process: subprocess.Popen[str] | None = None
        self._log = folder / f"awx_{number}.log"

    def start(
        self,
        playbook: str,
        extra_vars: Mapping[str, Any],
        collections: Path,
        options: str = "",
        secrets: Mapping[str, Any] | None = None,
    ) -> None:
        """Lay everything out and begin; ``secrets`` come as a credential's injector brings them."""
        shutil.rmtree(self.data, ignore_errors=True)
        for name in ("env", "inventory", "artifacts", "home", "cp"):
            (self.data / name).mkdir(parents=True)
        shutil.copytree(PROJECT, self.data / "project")
        self._write("env/extravars", yaml.safe_dump(dict(extra_vars)))
        command = f"-u {self._login} {options}".strip()
        if secrets:
            self._write("env/tmpsecret", yaml.safe_dump(dict(secrets)))
            command += f" -e @{self.data}/env/tmpsecret"
        self._write("env/cmdline", command)
        self._write("env/settings", json.dumps({"job_timeout": 0, "suppress_ansible_output": True}))
        self._write("env/ssh_key", (self.lab.state / "key").read_text(encoding="ascii"))
        self._write("env/envvars", yaml.safe_dump(self._environment(collections)))
        self._write("inventory/hosts", self._inventory(), 0o700)
        subprocess.run(["chown", "-R", f"{USER}:0", str(self.data)], check=True)
        runner = [str(self._bin / "ansible-runner"), "run", str(self.data), "-p", playbook, "--ident", str(self.number)]
        inner = ["setpriv", f"--reuid={USER}", "--regid=0", "--clear-groups", "--", "env", "-i"]
        inner += [f"PATH={self._bin}:/usr/bin:/bin", f"HOME={self.data}/home", "LANG=C.UTF-8", *runner]
        script = "\n".join([f"hostname automation-job-{self.number}", *self._visible(), f"exec {shlex.join(inner)}"])
        space = ["unshare", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        line = net.inside(self.lab.name, [*space, "sh", "-euc", script])
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                line, cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True
            )

    def remove(self) -> None:
        """Take the pod away with all that is in it, as when its machine is gone."""
        assert self._process is not None
        self._process.kill()

    def terminate(self) -> None:
        """Ask ansible-runner to end, which kills what it runs: so is a job ended that somebody cancels."""
        runner = f"^[^ ]*python[^ ]* [^ ]*ansible-runner run {self.data} "
        subprocess.run(["pkill", "-TERM", "-f", runner], check=True)

    def wait(self) -> Job:
        """Wait for its end."""
        assert self._process is not None
        self._process.wait(timeout=_WAIT)
        artifacts = self.data / "artifacts" / str(self.number)
        events = [self._read(path) for path in sorted((artifacts / "job_events").glob("*.json"), key=_place)]
        stats = [event for event in events if event["event"] == "playbook_on_stats"]
        status = artifacts / "status"
        extra_vars = yaml.safe_load((self.data / "env/extravars").read_text(encoding="utf-8"))
        output = (artifacts / "stdout").read_text(encoding="utf-8") if (artifacts / "stdout").exists() else ""
        return Job(
            status=status.read_text(encoding="ascii").strip() if status.exists() else "error",
            artifacts=dict(stats[-1]["event_data"].get("artifact_data") or {}) if stats else {},
            events=events,
            output=output + self._log.read_text(encoding="utf-8"),
            extra_vars=extra_vars,
        )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true while it runs."""
        assert self._process is not None
        deadline = time.monotonic() + _WAIT
        while not condition():
            assert self._process.poll() is None, f"the job ended before: {self._log.read_text(encoding='utf-8')}"
            assert time.monotonic() < deadline, "it does not come to pass"
            time.sleep(0.02)

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @property
    def _login(self) -> str:
        return "ops"

    def _environment(self, collections: Path) -> dict[str, str]:
        return {
            "ANSIBLE_FORCE_COLOR": "True",
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
            "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.data / "cp"),
            "ANSIBLE_COLLECTIONS_PATH": f"{self.data}/requirements_collections:{collections}",
            "ANSIBLE_ROLES_PATH": f"{self.data}/requirements_roles",
            "AWX_PRIVATE_DATA_DIR": str(self.data),
            "AWX_HOST": "https://awx.example.com",
            "JOB_ID": str(self.number),
            "INVENTORY_ID": "2",
            "MAX_EVENT_RES": "700000",
            "PROJECT_REVISION": "0123456789abcdef0123456789abcdef01234567",
        }

    def _inventory(self) -> str:
        """The script that AWX writes, with its own variables of hosts."""
        hosts = {
            host.name: {
                "ansible_host": host.address,
                "ansible_become": True,
                "ansible_python_interpreter": "/usr/bin/python3",
                "emqx_upgrade_executable": host.executable,
                "remote_tower_enabled": "true",
                "remote_tower_id": number,
            }
            for number, host in enumerate(self.lab.hosts.values(), 1)
        }
        told = {"all": {"hosts": sorted(hosts), "children": ["ungrouped"]}, "_meta": {"hostvars": hosts}}
        return f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(told)!r})\n"

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.data / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def _visible(self) -> list[str]:
        """Commands that let the user reach what the container has, where a folder above it is somebody's own."""
        needed = [Path(sys.executable).resolve().parents[1], ROOT]
        lines: list[str] = []
        for number, path in enumerate(needed):
            closed = next((above for above in reversed(path.parents) if not above.stat().st_mode & 0o001), None)
            if closed is None:
                continue
            kept = f"/mnt/{number}"
            lines += [
                f"mountpoint -q /mnt || mount -t tmpfs none /mnt; mkdir -p {kept}; mount --rbind {path} {kept}",
                f"mount -t tmpfs -o mode=755 none {closed}; mkdir -p {path}; mount --rbind {kept} {path}",
            ]
        return lines


def _place(path: Path) -> int:
    return int(path.name.partition("-")[0])


def extra_vars(
    number: int,
    template: str,
    answers: Mapping[str, Any],
    *,
    own: Mapping[str, Any] | None = None,
    launch_type: str = "manual",
    workflow: tuple[int, str] | None = None,
    artifacts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The extra variables of a job: its template's ``own``, artifacts of jobs before it, answers, and AWX's.

    Later ones win, so that the answers of a workflow's survey win over what a template says.
    """
    meta: dict[str, Any] = {
        "job_id": number,
        "job_launch_type": launch_type,
        "job_template_id": 100 + len(template),
        "job_template_name": template,
        "project_revision": "0123456789abcdef0123456789abcdef01234567",
        "project_scm_branch": "",
        "user_id": 7,
        "user_name": "ann",
        "user_email": "ann@example.com",
        "user_first_name": "",
        "user_last_name": "",
        "inventory_id": 2,
        "inventory_name": "Brokers",
        "execution_node": "",
    }
    if workflow:
        meta |= {"workflow_job_id": workflow[0], "workflow_job_name": workflow[1], "workflow_job_launch_type": "manual"}
    told = {f"{prefix}_{name}": value for prefix in ("awx", "tower") for name, value in meta.items()}
    return {**(own or {}), **(artifacts or {}), **answers, **told}


def is_privileged() -> bool:
    """Whether namespaces can be made."""
    return os.geteuid() == 0
