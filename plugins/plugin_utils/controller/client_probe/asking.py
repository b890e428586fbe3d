# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the probe's process, and asks it. Tasks of several hosts may do that at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import runs
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import probe_check
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.verdicts import Check

#: What a node's order has unless it says otherwise.
TOPIC_PREFIX = "emqx-fleet/probe"
CLIENTS = 2
RATE = 5.0
CONNECT_TIMEOUT = 10.0
#: More seconds for each client to be connected.
_SECONDS_A_CLIENT = 0.01
#: Seconds for an answer; a count takes three at most.
_ANSWER_SECONDS = 10.0
_START_SECONDS = 30.0
#: Bytes of the path of a socket that every system takes.
_LONGEST_SOCKET = 100
_ENTRY = Path(__file__).with_name("entry.py")
_STATE, _LOG = "state.json", "probe.log"


class ProbeError(Exception):
    """The probe cannot be started, or does not answer."""


def missing_library() -> str:
    """What the controller lacks for a probe, with the remedy; empty where nothing is missing."""
    try:
        found = importlib.util.find_spec("paho.mqtt.enums")
    except ImportError:
        found = None
    if found is not None:
        return ""
    return (
        f"the Python that runs ansible-playbook ({sys.executable}) has no paho-mqtt of version 2; install it there, "
        "or in the execution environment: pip install paho-mqtt"
    )


def directory(identifier: str) -> Path:
    """Where the probe of a run lives: in the temporary directory of this ansible-playbook, which its workers share."""
    word = hashlib.sha256(identifier.encode()).hexdigest()[:12]
    return Path(constants.DEFAULT_LOCAL_TMP) / f"emqx-probe-{word}"


def start(identifier: str, nodes: Mapping[str, Mapping[str, Any]], rate: float, connect_timeout: float) -> bool:
    """Start the probe of a run, unless it lives; whether it was started.

    ``nodes``: host -> ``host``, ``port``, ``clients``, ``topic_prefix``, ``username``, ``password`` and ``tls`` (null,
    or ``ca_file``, ``cert_file``, ``key_file``, ``key_password``, ``validate_certs``). Raises ProbeError.
    """
    place = directory(identifier)
    with _locked(place):
        if _lives(place):
            return False
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        path = str(place / "socket")
        if len(path) > _LONGEST_SOCKET:
            path = str(Path(tempfile.mkdtemp(prefix="emqx-probe-")) / "socket")
        (place / "place").write_text(path, encoding="utf-8")
        clients = sum(3 * int(node["clients"]) for node in nodes.values())
        order = {
            "id": identifier,
            "directory": str(place),
            "socket": path,
            "process": runs.watched_process(),
            "rate": rate,
            "connect_timeout": connect_timeout + clients * _SECONDS_A_CLIENT,
            "nodes": nodes,
        }
        try:
            _launch(place, order)
        except ProbeError:
            _remove(place)
            raise
    return True


def standing(identifier: str) -> dict[str, Any]:
    """Wait until all clients are connected, or the time for that is over: host -> how many are, and why not all.

    Raises ProbeError.
    """
    # No time-out: the probe has one, and its end ends the connection.
    return dict(_ask(directory(identifier), {"what": "ready"}, timeout=None)["nodes"])


def count(identifier: str, hosts: Sequence[str]) -> dict[str, Any]:
    """What was counted of nodes until now, by their hosts. Raises ProbeError."""
    return dict(_ask(directory(identifier), {"what": "count", "hosts": list(hosts)})["nodes"])


def hosts_of(identifier: str) -> list[str]:
    """The hosts that a probe has clients on. Raises ProbeError."""
    return list(standing(identifier))


def mark(identifier: str, host: str, window: str) -> None:
    """Say in which window a node is from now on. Raises ProbeError."""
    _ask(directory(identifier), {"what": "mark", "host": host, "window": window})


def stop(identifier: str) -> dict[str, Any]:
    """End the probe of a run. The whole result; ``error`` says why there is not all of it."""
    place = directory(identifier)
    try:
        result = dict(_ask(place, {"what": "stop"})["result"])
    except ProbeError as error:
        result = {**_last_state(place, identifier), "error": str(error)}
    _remove(place)
    result["nodes"] = probe_check.without_internal(result["nodes"])
    return result


class NodeProbe:
    """The probe as the turn of one node sees it."""

    def __init__(self, identifier: str, host: str) -> None:
        self._identifier = identifier
        self._host = host
        self._before: dict[str, Any] | None = None
        self._in_switch = False

    def begin_switch(self) -> None:
        """What is measured from now on is during the node's switch."""
        self._in_switch = True
        self._mark("during")

    def begin_way_back(self) -> None:
        """As a switch, of which it is the checks' only business what happens from now on."""
        self.begin_switch()
        with contextlib.suppress(ProbeError):
            self._before = count(self._identifier, [self._host])[self._host]

    def end_turn(self) -> None:
        """What is measured from now on is after the switch, if there was one."""
        if self._in_switch:
            self._mark("after")

    def _mark(self, window: str) -> None:
        # A probe that does not answer fails its check.
        with contextlib.suppress(ProbeError):
            mark(self._identifier, self._host, window)

    def checks(self, accepted: Sequence[str]) -> list[Check]:
        """The check of the probe, of about now."""
        now, error = None, ""
        try:
            now = count(self._identifier, [self._host])[self._host]
        except ProbeError as found:
            error = str(found)
        return [probe_check.probe_check(self._before, now, error, accepted)]


def _launch(place: Path, order: Mapping[str, Any]) -> None:
    with open(place / _LOG, "wb", opener=_private) as log:
        process = subprocess.Popen(
            [sys.executable, str(_ENTRY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        try:
            # All that is secret goes this way: arguments and environments can be seen.
            said, _nothing = process.communicate(json.dumps(order).encode(), timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise ProbeError(f"The client probe did not start within {_START_SECONDS:g} s.") from None
    try:
        error = json.loads(said).get("error")
    except ValueError:
        error = _tail(place) or f"its process ended with exit status {process.returncode}"
    if error:
        raise ProbeError(f"The client probe could not be started: {error}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    with open(place.with_name(f"{place.name}.lock"), "wb", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lives(place: Path) -> bool:
    try:
        with _connected(place, 1.0):
            return True
    except ProbeError:
        return False


@contextlib.contextmanager
def _connected(place: Path, timeout: float | None) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.settimeout(timeout)
            connection.connect((place / "place").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ProbeError("There is no client probe of this run any more, or there never was one.") from None
        except OSError as error:
            raise _ended(place, error) from None
        yield connection


def _ended(place: Path, error: OSError) -> ProbeError:
    said = _tail(place)
    why = f", and its last word was: {said}" if said else f" ({error.strerror})"
    return ProbeError(f"The client probe has ended{why}.")


def _ask(place: Path, question: Mapping[str, Any], timeout: float | None = _ANSWER_SECONDS) -> dict[str, Any]:
    said = b""
    with _connected(place, timeout) as connection:
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            while part := connection.recv(1 << 20):
                said += part
        except TimeoutError:
            raise ProbeError(f"The client probe did not answer within {timeout:g} s.") from None
        except ConnectionError as error:
            # It ended with our question in its hands.
            raise _ended(place, error) from None
        except OSError as error:
            raise ProbeError(f"The client probe did not answer: {error.strerror}.") from None
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise ProbeError("The client probe ended without an answer.") from None
    if answer.get("error"):
        raise ProbeError(f"The client probe refused to answer: {answer['error']}.")
    return answer


def _last_state(place: Path, identifier: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((place / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {"id": identifier, "started": None, "ended": None, "clients": 0, "nodes": {}}
    return found


def _tail(place: Path) -> str:
    """The last line that the probe's process wrote; it writes none but of its own errors."""
    try:
        lines = (place / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        path = Path((place / "place").read_text(encoding="utf-8"))
        if path.parent != place:
            shutil.rmtree(path.parent, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
