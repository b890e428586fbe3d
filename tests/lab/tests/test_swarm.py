# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The swarm counts right: against a broker that loses, duplicates, reorders, drops and falls silent on purpose."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.lab.labkit.procs import wait_for
from tests.lab.tests.fake_broker import FakeBroker

SWARM = Path(__file__).resolve().parent.parent / "swarm_cli.py"
pytest.importorskip("paho.mqtt.client")


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """A broker of our own; swarms that a test leaves running end with it."""
    with FakeBroker() as broker:
        yield broker
    for process in Run.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    Run.started.clear()


class Run:
    """A swarm that is running."""

    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, broker: FakeBroker, folder: Path, *options: str, nodes: int = 2) -> None:
        self.result, self.ready, self.status = folder / "result.json", folder / "ready", folder / "status.json"
        argv = [sys.executable, str(SWARM), "--rate", "20", "--drain", "1", "--result", str(self.result)]
        for number in range(1, nodes + 1):
            argv += ["--node", f"n{number}=127.0.0.1:{broker.port}"]
        argv += ["--ready-file", str(self.ready), "--status-file", str(self.status), *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(self.process)

    def wait_sent(self, count: int) -> None:
        """Wait until so many messages went out, for ``count`` 0 until all are connected."""
        assert wait_for(lambda: self.ready.exists() or self.process.poll() is not None, 20, 0.05)
        assert wait_for(lambda: json.loads(self.status.read_text(encoding="utf-8"))["sent"] >= count, 20, 0.05)

    def wait_visits(self, kind: str, what: str, count: int) -> None:
        """Wait until so many of the clients that come and go have done so."""
        self.wait_sent(0)
        assert wait_for(lambda: json.loads(self.status.read_text(encoding="utf-8"))[kind][what] >= count, 20, 0.05)

    def finish(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Stop it and return its result."""
        self.process.send_signal(number)
        return self.end()

    def end(self, code: int = 0) -> dict[str, Any]:
        """Wait for its end and return its result."""
        said = self.process.communicate(timeout=30)[0]
        assert self.process.returncode == code, said
        result: dict[str, Any] = json.loads(self.result.read_text(encoding="utf-8"))
        return result


@pytest.mark.parametrize("qos", ["0", "1", "mixed"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sound_broker_loses_nothing(broker: FakeBroker, tmp_path: Path, qos: str, number: int) -> None:
    run = Run(broker, tmp_path, "--busy", "4", "--idle", "3", "--qos", qos)
    run.wait_sent(100)
    result = run.finish(number)
    total = result["total"]
    assert result["complete"]
    assert result["stop_reason"] == signal.Signals(number).name
    assert total["sent"] == total["acked"] == total["received"] >= 100
    assert (total["clients"], total["connected"], total["kept"], total["connects"]) == (14, 14, 14, 14)
    assert [total[key] for key in ("lost", "duplicated", "reordered", "gaps", "disconnects", "unacked")] == [0] * 6
    assert (result["idle"]["idle_probed"], result["idle"]["idle_reached"]) == (6, 6)
    assert sum(result["nodes"][node]["total"]["sent"] for node in ("n1", "n2")) == total["sent"]
    assert result["events"] == []
    assert sum(row["lost"] for row in result["subscribers"].values()) == 0


def test_each_receives_from_another_node(broker: FakeBroker, tmp_path: Path) -> None:
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "0", "--duration", "0.3", nodes=3)
    rows = run.end()["subscribers"]
    assert {name: row["publisher"] for name, row in rows.items()} == {
        "lab-n1-busy-1": "lab-n2-busy-1",
        "lab-n2-busy-1": "lab-n3-busy-1",
        "lab-n3-busy-1": "lab-n1-busy-1",
    }


@pytest.mark.parametrize("qos", ["0", "1"])
def test_a_lost_message_is_lost(broker: FakeBroker, tmp_path: Path, qos: str) -> None:
    broker.deliver = lambda _topic, payload: [] if payload.split()[0] in (b"3", b"5", b"6") else [payload]
    started = time.monotonic()
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "0", "--qos", qos)
    run.wait_sent(30)
    result = run.finish()
    lasted = time.monotonic() - started
    assert result["total"]["lost"] == result["total"][f"lost_qos{qos}"] == 6
    assert result["total"]["gaps"] == 4
    assert result["total"]["received"] == result["total"]["sent"] - 6
    assert result["subscribers"]["lab-n1-busy-1"]["lost_numbers"] == [3, 5, 6]
    # How long the gap was is the machine's affair; that it is one of this run is ours, and test_tally.py has the rest.
    assert 0 < result["subscribers"]["lab-n1-busy-1"]["max_gap_ms"] < lasted * 1000


def test_duplicates_and_disorder_are_counted(broker: FakeBroker, tmp_path: Path) -> None:
    held: dict[str, bytes] = {}

    def deliver(topic: str, payload: bytes) -> list[bytes]:
        number = payload.split()[0]
        if number == b"2":
            return [payload, payload]
        if number == b"4":
            held[topic] = payload
            return []
        return [payload, held.pop(topic)] if topic in held else [payload]

    broker.deliver = deliver
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "0")
    run.wait_sent(30)
    total = run.finish()["total"]
    assert (total["duplicated"], total["reordered"], total["gaps"], total["lost"]) == (2, 2, 2, 0)


@pytest.mark.parametrize("again", [False, True])
def test_a_disconnect_is_counted_whether_or_not_it_comes_back(broker: FakeBroker, tmp_path: Path, again: bool) -> None:
    run = Run(broker, tmp_path, "--busy", "2", "--idle", "2", *(["--reconnect"] if again else []))
    run.wait_sent(30)
    broker.drop("lab-n1-busy-1")
    broker.drop("lab-n2-idle-2")
    run.wait_sent(200)
    result = run.finish()
    total = result["total"]
    assert (total["disconnects"], total["kept"]) == (2, 6)
    assert total["connected"] == (8 if again else 6)
    assert total["reconnects"] == (2 if again else 0)
    assert result["idle"]["disconnects"] == result["busy"]["disconnects"] == 1
    assert result["idle"]["idle_reached"] == (4 if again else 3)
    assert total["lost"] > 0
    dropped = [event for event in result["events"] if event["event"] == "disconnect"]
    assert {(event["client"], event["node"], event["kind"]) for event in dropped} == {
        ("lab-n1-busy-1", "n1", "busy"),
        ("lab-n2-idle-2", "n2", "idle"),
    }
    assert all(result["times"]["ready"] <= event["time"] <= result["times"]["stopped"] for event in dropped)


def test_an_idle_client_that_nobody_serves_any_more_is_found(broker: FakeBroker, tmp_path: Path) -> None:
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "2")
    run.wait_sent(10)
    broker.deliver = lambda topic, payload: [] if topic == "lab/idle/lab-n1-idle-1" else [payload]
    result = run.finish()
    assert result["total"]["disconnects"] == 0
    assert (result["idle"]["idle_probed"], result["idle"]["idle_reached"]) == (4, 3)


def test_a_broker_that_does_not_answer(broker: FakeBroker, tmp_path: Path) -> None:
    broker.answer = False
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--connect-timeout", "1")
    result = run.end(code=1)
    assert not result["complete"]
    assert result["stop_reason"] == "connect timeout"
    assert result["total"]["connects"] == 0
    assert not run.ready.exists()


def test_several_hundred_in_one_process(broker: FakeBroker, tmp_path: Path) -> None:
    run = Run(broker, tmp_path, "--busy", "150", "--idle", "150", "--rate", "2", "--drain", "5")
    run.wait_sent(1200)
    result = run.finish()
    assert result["total"]["kept"] == 600
    assert result["total"]["lost"] == 0
    assert result["total"]["max_gap_ms"] < 2000


@pytest.mark.parametrize(
    "options",
    [
        ["--busy", "0", "--idle", "0"],
        ["--node", "n1=127.0.0.1:1"],
        ["--node", "x=y:z"],
        ["--churn", "-1"],
        ["--churn-stay", "0"],
    ],
)
def test_wrong_options(broker: FakeBroker, tmp_path: Path, options: list[str]) -> None:
    run = Run(broker, tmp_path, *options)
    run.process.communicate(timeout=30)
    assert run.process.returncode == 2


def test_clients_come_and_go(broker: FakeBroker, tmp_path: Path) -> None:
    """Those that last are counted as ever; of the others every fourth leaves without a word."""
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--churn", "20", "--churn-stay", "0.2")
    run.wait_visits("churn", "left", 20)
    assert wait_for(lambda: len(broker.ended) >= 20, 20, 0.05)
    ended = dict(broker.ended)
    result = run.finish()
    churn = result["churn"]
    assert set(churn["nodes"]) == {"n1", "n2"}
    for counts in [churn["total"], *churn["nodes"].values()]:
        assert counts["came"] == counts["left"] + counts["present"] > 0
        assert (counts["refused"], counts["cut"]) == (0, 0)
    assert churn["total"]["left"] == sum(node["left"] for node in churn["nodes"].values())
    for name, how in ended.items():
        assert how == ("closed" if int(name.rpartition("-")[2]) % 4 == 0 else "disconnect"), name
    total = result["total"]
    assert (total["clients"], total["kept"], total["lost"], total["disconnects"]) == (4, 4, 0, 0)
    assert all(result["drift"]["total"][key] == 0 for key in ("came", "left", "refused", "cut"))
    assert result["events"] == []


@pytest.mark.parametrize("again", [False, True])
def test_who_is_cut_off_before_it_leaves_is_told(broker: FakeBroker, tmp_path: Path, again: bool) -> None:
    """And does not come again, not even where those that last do."""
    more = ["--reconnect"] if again else []
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--churn", "20", "--churn-stay", "600", *more)
    assert wait_for(lambda: {"lab-n1-churn-1", "lab-n2-churn-2"} <= set(broker.clients), 20, 0.05)
    broker.drop("lab-n1-churn-1")
    broker.drop("lab-n2-churn-2")
    run.wait_visits("churn", "cut", 2)
    result = run.finish()
    nodes = result["churn"]["nodes"]
    assert [nodes[name]["cut"] for name in ("n1", "n2")] == [1, 1]
    assert [nodes[name]["came"] - nodes[name]["present"] for name in ("n1", "n2")] == [1, 1]
    assert {(event["event"], event["client"], event["node"], event["kind"]) for event in result["events"]} == {
        ("disconnect", "lab-n1-churn-1", "n1", "churn"),
        ("disconnect", "lab-n2-churn-2", "n2", "churn"),
    }
    assert result["total"]["kept"] == 4


def test_who_is_refused_never_came(broker: FakeBroker, tmp_path: Path) -> None:
    broker.refuse = lambda name: 5 * ("-n2-churn-" in name)
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--churn", "20", "--churn-stay", "0.2")
    run.wait_visits("churn", "refused", 5)
    run.wait_visits("churn", "left", 5)
    result = run.finish()
    nodes = result["churn"]["nodes"]
    assert (nodes["n1"]["refused"], nodes["n2"]["came"]) == (0, 0)
    assert {event["event"] for event in result["events"]} == {"connect_failed"}
    assert len(result["events"]) == nodes["n2"]["refused"] >= 5
    assert result["total"]["kept"] == 4


def test_who_finds_nobody_there_never_came(broker: FakeBroker, tmp_path: Path) -> None:
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--churn", "20", "--churn-stay", "0.2")
    run.wait_visits("churn", "left", 1)
    broker.close_listener()
    run.wait_visits("churn", "refused", 4)
    result = run.finish()
    churn = result["churn"]["total"]
    assert churn["came"] == churn["left"] + churn["present"]
    assert churn["refused"] == sum(event["kind"] == "churn" for event in result["events"])
    assert result["total"]["kept"] == 4


@pytest.mark.parametrize(("idle", "left"), [(3, 6), (50, 4)])
def test_idle_clients_become_less(broker: FakeBroker, tmp_path: Path, idle: int, left: int) -> None:
    """The last ones first; who left is none of those that last, and when all have left nothing happens."""
    run = Run(broker, tmp_path, "--busy", "1", "--idle", str(idle), "--drift", "-20")
    run.wait_visits("drift", "left", left)
    result = run.finish()
    gone = {name: counts["left"] for name, counts in result["drift"]["nodes"].items()}
    for name, number in gone.items():
        assert number > 0
        assert result["nodes"][name]["idle"]["clients"] == result["nodes"][name]["idle"]["kept"] == idle - number
    assert sum(gone.values()) == result["drift"]["total"]["left"] >= left
    assert broker.ended[f"lab-n1-idle-{idle}"] == "disconnect"
    assert result["total"]["kept"] == result["total"]["clients"]
    assert result["events"] == []


def test_idle_clients_become_more(broker: FakeBroker, tmp_path: Path) -> None:
    run = Run(broker, tmp_path, "--busy", "1", "--idle", "1", "--drift", "20")
    assert wait_for(lambda: {"lab-n1-drift-1", "lab-n2-drift-2"} <= set(broker.clients), 20, 0.05)
    broker.drop("lab-n1-drift-1")
    run.wait_visits("drift", "cut", 1)
    result = run.finish()
    nodes = result["drift"]["nodes"]
    assert [nodes[name]["cut"] for name in ("n1", "n2")] == [1, 0]
    assert [nodes[name]["left"] for name in ("n1", "n2")] == [0, 0]
    assert nodes["n1"]["came"] == nodes["n1"]["present"] + 1
    assert (result["total"]["clients"], result["total"]["kept"]) == (4, 4)
