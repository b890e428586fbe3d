# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client probe with its real process, against a broker that misbehaves on purpose, over loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import asking
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe.asking import NodeProbe, ProbeError

from tests.lab.tests.fake_broker import FakeBroker

ROOT = Path(__file__).resolve().parents[3]
ID = "run-1"
SECRET = "s3cret-of-the-probe"
#: Much longer than anything here takes; a bound for what does not happen at all.
LONG = 30.0


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as found:
        yield found


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ansible's temporary directory, by a short path, and no probe left in it."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(path))
    yield path
    for process in processes(path):
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(path)


def processes(place: Path) -> list[int]:
    """The processes of probes in a directory: those that write their log there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "fd/2").startswith(f"{place}/"):
                found.append(int(entry.name))
    return found


def until(holds: Callable[[], Any]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def node_at(port: int, **changes: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "clients": 1,
        "topic_prefix": asking.TOPIC_PREFIX,
        "username": "probe",
        "password": SECRET,
        "tls": None,
        **changes,
    }


def node(broker: FakeBroker, **changes: Any) -> dict[str, Any]:
    return node_at(broker.port, **changes)


def start(broker: FakeBroker, rate: float = 50.0, timeout: float = LONG, **changes: Any) -> dict[str, Any]:
    """Start it, and wait until its clients are connected."""
    assert asking.start(ID, {"h1": node(broker, **changes)}, rate, timeout)
    return dict(asking.standing(ID)["h1"])


def count() -> dict[str, Any]:
    return dict(asking.count(ID, ["h1"])["h1"])


def name_of(broker: FakeBroker, kind: str) -> str:
    """The identifier of the client of this kind and number."""
    (found,) = (name for name in broker.clients if name.endswith(kind))
    return found


# What it measures


def test_a_good_broker(broker: FakeBroker) -> None:
    assert start(broker, clients=2) == {
        "address": f"127.0.0.1:{broker.port}",
        "clients": 6,
        "connected": 6,
        "reason": "",
    }
    until(lambda: count()["received"] > 50)
    row = count()
    assert row["answered"]
    assert row["sent"] >= row["acked"] >= row["received"] - 20
    assert (row["lost"], row["duplicated"], row["reordered"], row["disconnects"]) == (0, 0, 0, [])
    assert row["longest_gap_ms"] > 0
    assert row["round_trip_ms"]["before"]["count"] == row["received"]
    assert NodeProbe(ID, "h1").checks([])[0].passed
    kinds = sorted(name.split("h1-")[1] for name in broker.clients)
    assert kinds == ["idle-1", "idle-2", "publisher-1", "publisher-2", "subscriber-1", "subscriber-2"]


def test_a_disconnect_is_seen_with_its_time(broker: FakeBroker) -> None:
    start(broker)
    probe = NodeProbe(ID, "h1")
    assert probe.checks([])[0].passed
    for number, kind in enumerate(("idle-1", "publisher-1", "subscriber-1")):
        before = round(time.time(), 3)
        broker.drop(name_of(broker, kind))
        until(lambda: count()["disconnected"] > number)  # noqa: B023
        found = count()["disconnects"][number]
        assert (found["client"], found["reason"]) == (kind, "the connection was closed or reset")
        assert before <= found["at"] <= time.time()
        (check,) = probe.checks([])
        assert not check.passed
        assert f"{kind} at " in check.message
        until(lambda: count()["connected"] == 3)
    assert " 3 times: " in probe.checks([])[0].message, "that they came back does not undo it"
    assert probe.checks(["probe"])[0].passed
    before_way_back = count()
    probe.begin_way_back()
    # What was lost while a subscriber was away may be found lost only now.
    until(lambda: count()["lost"] == before_way_back["lost"] and count()["answered"])
    assert "connection" not in probe.checks([])[0].message


def test_a_lost_message(broker: FakeBroker) -> None:
    lost: list[bytes] = []

    def deliver(topic: str, payload: bytes) -> list[bytes]:
        if "subscriber" in topic and len(lost) < 2:
            lost.append(payload)
            return []
        return [payload]

    start(broker)
    until(lambda: count()["received"] > 5)
    broker.deliver = deliver
    until(lambda: count()["lost"] == 2)
    assert len(lost) == 2
    assert "acknowledged 2 messages of the probe that never came" in NodeProbe(ID, "h1").checks([])[0].message


def test_an_idle_client_that_is_not_reached_any_more(broker: FakeBroker) -> None:
    """Its connection is there, and its subscription is gone."""
    start(broker)
    broker.deliver = lambda topic, payload: [] if "idle" in topic else [payload]
    assert not count()["answered"]
    until(lambda: count()["lost"] > 0)
    row = count()
    assert (row["answered"], row["connected"], row["disconnects"]) == (False, 3, [])


def test_a_duplicated_message(broker: FakeBroker) -> None:
    start(broker)
    broker.deliver = lambda topic, payload: [payload, payload] if "subscriber" in topic else [payload]
    until(lambda: count()["duplicated"] > 3)
    assert NodeProbe(ID, "h1").checks([])[0].passed


def test_messages_in_another_order(broker: FakeBroker) -> None:
    held: list[bytes] = []

    def deliver(topic: str, payload: bytes) -> list[bytes]:
        if "subscriber" not in topic:
            return [payload]
        held.append(payload)
        if len(held) % 2:
            return []
        return [held[-1], held[-2]]

    start(broker)
    broker.deliver = deliver
    until(lambda: count()["reordered"] > 3)
    broker.deliver = lambda _topic, payload: [payload]
    assert count()["duplicated"] == 0


def test_round_trips_by_the_nodes_own_switch(broker: FakeBroker) -> None:
    start(broker)
    probe = NodeProbe(ID, "h1")
    count()
    probe.begin_switch()
    count()
    probe.end_turn()
    count()
    trips = count()["round_trip_ms"]
    assert all(trips[window]["count"] >= 2 and trips[window]["max"] > 0 for window in ("before", "during", "after"))


def test_a_turn_without_a_switch_marks_nothing(broker: FakeBroker) -> None:
    start(broker)
    NodeProbe(ID, "h1").end_turn()
    count()
    assert count()["round_trip_ms"]["after"]["count"] == 0


def test_a_broker_that_falls_silent_fails_the_check(broker: FakeBroker) -> None:
    start(broker)
    assert count()["answered"]
    broker.answer = False
    (check,) = NodeProbe(ID, "h1").checks([])
    assert (check.passed, check.message) == (
        False,
        "The broker did not answer the probe's clients: messages were not acknowledged or did not come.",
    )


# Whether it begins


def test_a_broker_that_accepts_and_never_answers(broker: FakeBroker) -> None:
    broker.answer = False
    found = start(broker, timeout=0.2)
    assert (found["connected"], found["reason"]) == (0, "no answer yet")


def test_a_broker_that_refuses(broker: FakeBroker) -> None:
    broker.refuse = lambda _name: 5
    found = start(broker)
    assert (found["connected"], found["reason"]) == (0, "the broker refused it: Not authorized")
    assert all(SECRET.encode() in said and b"probe" in said for said in broker.connects)


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        asking.start(ID, {"h1": node_at(unused.getsockname()[1])}, 5, LONG)
        found = asking.standing(ID)["h1"]
    assert (found["connected"], found["reason"]) == (0, "Connection refused")


def test_what_is_no_broker_at_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        stopped = False

        def serve() -> None:
            while not stopped:
                with contextlib.suppress(TimeoutError), server.accept()[0] as connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server.settimeout(0.1)
        serving = pool.submit(serve)
        asking.start(ID, {"h1": node_at(server.getsockname()[1])}, 5, LONG)
        found = asking.standing(ID)["h1"]
        stopped = True
        serving.result()
    assert found["connected"] == 0
    assert found["reason"] in ("what answers there does not keep to MQTT", "the connection was closed or reset")


# Its process


def test_started_twice_is_once(broker: FakeBroker, place: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(lambda _try: asking.start(ID, {"h1": node(broker)}, 5, LONG), range(4)))
    assert sorted(begun) == [False, False, False, True]
    assert len(processes(place)) == 1
    asking.standing(ID)
    assert len(broker.clients) == 3


def test_another_id_is_another_probe(broker: FakeBroker, place: Path) -> None:
    assert asking.start(ID, {"h1": node(broker)}, 5, LONG)
    assert asking.start("run-2", {"h1": node(broker)}, 5, LONG)
    assert len(processes(place)) == 2


def test_many_tasks_may_ask_at_the_same_time(broker: FakeBroker) -> None:
    start(broker)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _try: count(), range(40)))
    assert all(row["answered"] and not row["lost"] for row in rows)


def test_stopped_it_tells_everything_and_leaves_nothing(broker: FakeBroker, place: Path) -> None:
    start(broker)
    until(lambda: count()["received"] > 5)
    result = asking.stop(ID)
    assert (result["id"], result["error"], result["clients"]) == (ID, None, 3)
    assert result["started"] < result["ended"] <= time.time()
    assert set(result["nodes"]["h1"]) == {
        "address",
        "clients",
        "connected",
        "disconnects",
        "sent",
        "acked",
        "received",
        "lost",
        "duplicated",
        "reordered",
        "longest_gap_ms",
        "longest_gap_at",
        "round_trip_ms",
    }
    assert result["nodes"]["h1"]["disconnects"] == []
    until(lambda: not processes(place) and not broker.clients)
    assert [path.name for path in place.iterdir() if not path.name.endswith(".lock")] == []


def test_stopped_without_having_been_started() -> None:
    result = asking.stop(ID)
    assert result == {
        "id": ID,
        "started": None,
        "ended": None,
        "clients": 0,
        "nodes": {},
        "error": "There is no client probe of this run any more, or there never was one.",
    }


def test_where_it_was_killed_the_last_state_is_told(broker: FakeBroker, place: Path) -> None:
    start(broker)
    state = asking.directory(ID) / "state.json"
    until(lambda: state.exists() and json.loads(state.read_text())["nodes"]["h1"]["received"])
    (process,) = processes(place)
    os.kill(process, signal.SIGKILL)
    until(lambda: not processes(place))
    (check,) = NodeProbe(ID, "h1").checks([])
    # By the instant at which it is asked: its end of the connection is gone, or goes with it.
    ended = r"The client probe has ended \((Connection refused|Connection reset by peer|Broken pipe)\)\."
    assert re.fullmatch(f"The client probe cannot tell what clients noticed: {ended}", check.message)
    result = asking.stop(ID)
    assert re.fullmatch(ended, result["error"])
    assert result["nodes"]["h1"]["received"] > 0
    assert result["ended"] is None


def test_where_somebody_ended_it_that_is_told(broker: FakeBroker, place: Path) -> None:
    start(broker)
    (process,) = processes(place)
    os.kill(process, signal.SIGTERM)
    until(lambda: not processes(place))
    result = asking.stop(ID)
    assert result["error"] == "The client probe has ended, and its last word was: ended by SIGTERM."
    assert result["clients"] == 3


RUN = """
import runpy, sys
runpy.run_path(sys.argv[1])
from ansible import constants
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.client_probe import asking
constants.DEFAULT_LOCAL_TMP = sys.argv[2]
import json, multiprocessing
def task():
    order = json.loads(sys.argv[3])
    asking.start("run-1", {"h1": order}, 50, 30)
    asking.standing("run-1")
if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=task)
    worker.start()
    worker.join()
    print(worker.exitcode, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ends_with_its_run_however_that_ends(broker: FakeBroker, place: Path, tmp_path: Path, how: int) -> None:
    """Started by a task of it, which is a process that has ended long before."""
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    command = [sys.executable, str(script), str(ROOT / "tests/conftest.py"), str(place), json.dumps(node(broker))]
    with open(tmp_path / "errors", "w", encoding="utf-8") as errors:
        run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == b"0\n", (tmp_path / "errors").read_text(encoding="utf-8")
        (process,) = processes(place)
        assert len(broker.clients) == 3
        assert os.getsid(process) != os.getsid(run.pid), "a signal to the group of the run does not reach it"
        os.kill(run.pid, how)
        # It is a zombie until somebody waits for it, and the probe ends all the same.
        until(lambda: not processes(place))
        until(lambda: not broker.clients)
        assert [path.name for path in place.iterdir() if not path.name.endswith(".lock")] == []
    finally:
        run.kill()
        run.communicate()


def test_ends_where_its_directory_is_gone(broker: FakeBroker, place: Path) -> None:
    start(broker)
    shutil.rmtree(asking.directory(ID))
    until(lambda: not processes(place))


def test_a_long_path_of_the_directory_is_no_trouble(
    broker: FakeBroker, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = place / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(deep))
    assert start(broker)["connected"] == 3
    path = Path((asking.directory(ID) / "place").read_text(encoding="utf-8"))
    assert (path.is_socket(), stat.S_IMODE(path.parent.stat().st_mode)) == (True, 0o700)
    asking.stop(ID)
    assert not path.parent.exists()


def test_secrets_are_nowhere(broker: FakeBroker, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start(broker)
    count()
    assert any(SECRET.encode() in said for said in broker.connects)
    (process,) = processes(place)
    told = [Path(f"/proc/{process}/{name}").read_bytes() for name in ("cmdline", "environ")]
    assert b"client_probe/entry.py" in told[0]
    directory = asking.directory(ID)
    until((directory / "state.json").exists)
    told += [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    told += [json.dumps(found).encode() for found in (asking.standing(ID), count(), asking.stop(ID))]
    told += [said.encode() for said in capfd.readouterr()]
    assert len(told) > 6
    assert not any(SECRET.encode() in said for said in told)


def test_nobody_else_can_look_or_ask(broker: FakeBroker) -> None:
    start(broker)
    directory = asking.directory(ID)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    until((directory / "state.json").exists)
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0, path


# What cannot be done


def test_tls_files_that_cannot_be_used(broker: FakeBroker, place: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("none", encoding="utf-8")
    for tls, message in (
        ({"ca_file": "/none.pem"}, "ca_file /none.pem cannot be used: No such file or directory."),
        ({"ca_file": str(bad)}, f"ca_file {bad} cannot be used: "),
        ({"cert_file": str(bad), "key_file": "/k"}, f"cert_file {bad} with key_file /k cannot be used: "),
    ):
        with pytest.raises(ProbeError) as raised:
            start(broker, tls=tls)
        assert str(raised.value).startswith(f"The client probe could not be started: {message}")
    assert processes(place) == []
    assert not asking.directory(ID).exists()


def test_a_plain_listener_is_no_tls(broker: FakeBroker) -> None:
    found = start(broker, timeout=0.5, tls={"validate_certs": False})
    assert found["connected"] == 0


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a certificate for 127.0.0.1 and of its key, which has the passphrase ``SECRET``."""
    folder = tmp_path_factory.mktemp("certificate")
    found = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=probe"]
    command += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-passout",
        f"pass:{SECRET}",
        "-out",
        found[0],
        "-keyout",
        found[1],
    ]
    subprocess.run(command, check=True, capture_output=True)
    return found


def demanding(certificate: tuple[str, str]) -> ssl.SSLContext:
    """A broker's side that lets only those in who have this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate, password=SECRET)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_a_client_certificate(certificate: tuple[str, str], place: Path) -> None:
    tls = {"ca_file": certificate[0], "cert_file": certificate[0], "key_file": certificate[1], "key_password": SECRET}
    with FakeBroker(demanding(certificate)) as broker:
        assert start(broker, clients=2, tls=tls)["connected"] == 6
        until(lambda: count()["received"] > 50)
        row = count()
        assert (row["answered"], row["lost"], row["duplicated"], row["disconnects"]) == (True, 0, 0, [])
        broker.drop(name_of(broker, "idle-1"))
        until(lambda: count()["disconnected"])
        asking.stop(ID)
        until(lambda: not processes(place) and not broker.clients)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"validate_certs": True}, "its certificate is not accepted: self-signed certificate"),
        ({"validate_certs": False}, ""),
    ],
)
def test_a_certificate_that_nobody_vouches_for(certificate: tuple[str, str], more: Any, reason: str) -> None:
    context = demanding(certificate)
    context.verify_mode = ssl.CERT_NONE
    with FakeBroker(context) as broker:
        found = start(broker, tls=more)
        assert (found["connected"], found["reason"].replace("self signed", "self-signed")) == (
            0 if reason else 3,
            reason,
        )
        asking.stop(ID)
        until(lambda: not broker.clients)


def test_more_clients_than_open_files(broker: FakeBroker, place: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    order = json.dumps(node(broker, clients=100))
    command = ["bash", "-c", 'ulimit -n 300; exec "$@"', "bash", sys.executable, str(script)]
    done = subprocess.run(
        [*command, str(ROOT / "tests/conftest.py"), str(place), order],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1\n"
    assert (
        "The client probe could not be started: it needs 1100 open files for its 300 clients, and the limit is 300 "
        "(ulimit -Hn). Raise it, or have fewer clients a node or fewer nodes a run."
    ) in done.stderr
    assert processes(place) == []


def test_questions_that_make_no_sense(broker: FakeBroker) -> None:
    start(broker)
    for question in (
        b"",
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"what": "jump"}\n',
        b'{"what": 1}',
        b'{"what": "count"}\n',
    ):
        with asking._connected(asking.directory(ID), LONG) as connection:
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            assert b"does not know" in connection.recv(1000), question
    with pytest.raises(ProbeError):
        asking.count(ID, ["h9"])
    assert count()["answered"]


def test_what_is_missing_on_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asking.missing_library() == ""
    for found in (lambda _name: None, lambda _name: __import__("no_such_module_anywhere")):
        monkeypatch.setattr(importlib.util, "find_spec", found)
        assert asking.missing_library() == (
            f"the Python that runs ansible-playbook ({sys.executable}) has no paho-mqtt of version 2; install it "
            "there, or in the execution environment: pip install paho-mqtt"
        )
