# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Nodes that fetch their packages themselves: each of them once, and the controller sends nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import broker as test_broker
from tests.lab.labkit import Lab, net, parse_fleet
from tests.lab.labkit.procs import wait_for

from .node import ROOT

OLD, NEW = "4.4.18", "4.4.19"
PASSWORD = "s3cret"
PORT = 8080
#: Serves the files of a folder to who has a password, and writes down who asked and what came of it.
SERVER = """
import http.server, os, sys
host, port, folder, log, closed, controller = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=folder)
    def do_GET(self):
        if not self.headers.get("Authorization"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif os.path.exists(closed) and self.client_address[0] != controller:
            self.send_error(403)
        else:
            super().do_GET()
    def log_request(self, code="-", size="-"):
        with open(log, "a") as stream:
            stream.write("{} {}\\n".format(self.client_address[0], int(code)))
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


class Site:
    """A lab, and a server of packages beside its controller."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab = lab
        self.home = home
        self.log = home / "requests"
        self.closed = home / "closed"
        package = test_broker.package(NEW)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        self.name = package.name
        self.url = f"http://fleet:{PASSWORD}@{net.CONTROLLER}:{PORT}/{package.name}#sha256={digest}"
        self.server = subprocess.Popen(
            lab.command(
                [sys.executable, "-c", SERVER, net.CONTROLLER, str(PORT), str(package.parent), str(self.log)]
                + [str(self.closed), net.CONTROLLER]
            )
        )
        asks = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
        ask = [sys.executable, "-c", asks, net.CONTROLLER, str(PORT)]
        assert wait_for(lambda: lab.run(ask, check=False).returncode == 0, 30, 0.1)

    def requests(self) -> list[str]:
        """Who asked for a package and what came of it, since the last time; without those who had no password yet."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(line for line in lines if not line.endswith(" 401"))

    def play(self, *options: str, **settings: Any) -> tuple[int, str, dict[str, Any]]:
        """Upgrade the lab's hosts; gives the return code, all that was said, and the report."""
        report = self.home / "report.json"
        report.unlink(missing_ok=True)
        given = {
            "version": NEW,
            "packages": [self.url],
            "package_source": "node",
            "run_id": "change-1",
            "soak_seconds": 1,
            "report_file": str(report),
            **settings,
        }
        commands = Path(sys.executable).parent
        extra = json.dumps({f"emqx_upgrade_{name}": value for name, value in given.items()})
        line = [str(commands / "ansible-playbook"), "-i", str(self.lab.inventory), "emqx.fleet.upgrade", "-vvv"]
        done = subprocess.run(
            self.lab.command([*line, *options, "-e", extra]),
            cwd=self.home,
            env={
                "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(self.home),
                "LANG": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # The settings on the command line are the caller's own; Ansible shows it at the very beginning.
        said = done.stdout.replace(extra, "")
        return done.returncode, said, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}

    def packages(self) -> list[list[str]]:
        """The files in the folder for packages of each host."""
        folders = [host.path(f"{host.root_dir}/data/fleet/packages") for host in self.lab.hosts.values()]
        return [sorted(path.name for path in folder.iterdir()) if folder.exists() else [] for folder in folders]

    def sent(self, said: str) -> list[str]:
        """What Ansible says of files that it sent, among them packages."""
        return [line for line in said.splitlines() if " PUT " in line and self.name in line]


@pytest.fixture
def site(collection: Path) -> Iterator[Site]:
    """Two brokers on hosts that reach nothing but each other and the controller."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    test_broker.build()
    fleet = parse_fleet({"defaults": {"version": OLD}, "clusters": {"c": {"hosts": ["h1", "h2"]}}})
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="emqx-fleet-") as home,
        Lab.up(fleet, f"url{os.getpid()}") as lab,
    ):
        made = Site(lab, Path(home))
        try:
            yield made
        finally:
            made.server.kill()
            made.server.wait()


@pytest.mark.root
def test_each_node_fetches_its_package_once_and_is_sent_nothing(site: Site) -> None:
    """First a server that lets no node in, then a run in two jobs, of which the second needs no package any more."""
    nodes = sorted(f"{host.address} 200" for host in site.lab.hosts.values())
    site.closed.touch()
    rc, said, report = site.play()
    assert rc != 0
    assert {row["result"] for row in report["nodes"].values()} == {"failed"}, said
    failure = report["nodes"]["h1"]
    assert (failure["phase"], failure["failure_class"]) == ("stage", "not_started")
    assert failure["message"].startswith(
        f"From http://********@{net.CONTROLLER}:{PORT}/{site.name} the node cannot fetch the package {site.name}: the "
        "server says 403 Forbidden."
    )
    assert site.requests() == sorted([f"{net.CONTROLLER} 200", *(row.replace("200", "403") for row in nodes)])
    assert (site.packages(), site.sent(said)) == ([[], []], [])
    assert PASSWORD not in said + json.dumps(report)

    site.closed.unlink()
    rc, said, report = site.play("--tags", "stage")
    assert rc == 0, said
    assert {row["result"] for row in report["nodes"].values()} == {"staged"}
    assert site.requests() == nodes, "each node once; the controller has it"
    assert (site.packages(), site.sent(said)) == ([[site.name], [site.name]], [])
    assert PASSWORD not in said + json.dumps(report)

    rc, said, report = site.play()
    assert rc == 0, said
    assert {row["result"] for row in report["nodes"].values()} == {"committed"}
    assert (site.requests(), site.sent(said)) == ([], [])
    assert PASSWORD not in said + json.dumps(report)


@pytest.mark.root
def test_a_package_without_a_url_is_refused_and_nothing_is_touched(site: Site) -> None:
    rc, said, report = site.play(packages=[str(test_broker.package(NEW))])
    assert rc != 0
    assert f"nodes are to fetch their packages themselves, and {site.name} has no URL" in report["message"], said
    assert (site.packages(), site.requests(), site.sent(said)) == ([[], []], [], [])
    rc, said, report = site.play(packages=[str(test_broker.package(NEW))], package_source="controller")
    assert rc == 0, said
    assert len(site.sent(said)) == 2, "this is how it would be seen"
    assert site.requests() == []
