# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events arrive once the other end lets them, and whatever it does, a run waits for it no longer than it may."""

from __future__ import annotations

import base64
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import webhook
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.webhook import WORKING, Patience, Webhook
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.http_server import HANG, serving

TOKEN = "t0ken-of-ours"
SECRET = "s3cret"
EVENT = webhook.event("wave", "tower", "run-1", 1795827600.0, {"message": "é"})
#: Of a test that waits for an answer that never comes.
SHORT = Patience(0.05, 60.0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


class Time:
    """A clock that only a sleep moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def send(url: str, time: Time | None = None, patience: Patience = WORKING, token: str = TOKEN) -> str:
    """What a webhook says of an event; nothing of it may be a secret."""
    time = time or Time()
    said = Webhook(url, token, time.sleep, time.clock).send(EVENT, patience)
    for secret in (TOKEN, SECRET, "hidden"):
        assert secret not in said
    return said


def test_an_event_is_one_of_cloudevents() -> None:
    with serving(202) as server:
        assert send(f"http://{server.place}/hidden/emqx?x=1") == ""
    (request,) = server.got
    assert (request.method, request.path) == ("POST", "/hidden/emqx?x=1")
    assert request.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert re.match(r"emqx\.fleet/\d+\.\d+", request.headers["user-agent"])
    assert request.event == EVENT
    assert {name: value for name, value in EVENT.items() if name != "id"} == {
        "specversion": "1.0",
        "source": "/emqx.fleet/tower",
        "type": "io.github.emqx-fleet.run.wave",
        "subject": "run-1",
        "time": "2026-11-28T01:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {"message": "é"},
    }


def test_events_differ_in_their_identity() -> None:
    found = [webhook.event("started", "a b/é", None, 0.0, {}) for _time in range(2)]
    assert found[0]["id"] != found[1]["id"]
    assert found[0]["source"] == "/emqx.fleet/a%20b%2F%C3%A9", "a reference of a URI"
    assert "subject" not in found[0], "it must not be empty"


def test_it_is_sent_again_and_is_the_same_one() -> None:
    time = Time()
    with serving(500, 503, 200) as server:
        assert send(f"http://{server.place}/", time) == ""
    assert [event["id"] for event in server.events] == [EVENT["id"]] * 3
    assert time.slept == [1.0, 2.0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_it_gives_up(status: int) -> None:
    time = Time()
    with serving(status) as server:
        said = send(f"http://{server.place}/hidden", time)
    assert said == (
        f"The webhook at http://{server.place} was not told of io.github.emqx-fleet.run.wave after 3 tries: it "
        f"answered HTTP {status}."
    )
    assert len(server.got) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_what_is_refused_is_not_sent_again(status: int) -> None:
    time = Time()
    with serving(status) as server:
        said = send(f"http://{server.place}/", time)
    assert said.endswith(f"run.wave: it answered HTTP {status}.")
    assert (len(server.got), time.slept) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """To another host it would carry the token."""
    with serving(200) as other, serving(status, location=f"http://{other.place}/{SECRET}") as server:
        said = send(f"http://{server.place}/")
    assert other.got == []
    assert len(server.got) == 1
    assert said.endswith(f": it redirects (HTTP {status}), which is not followed; set its new URL.")


def test_one_that_hangs() -> None:
    with serving(HANG) as server:
        said = send(f"http://{server.place}/", None, Patience(0.5, 0.5))
    assert re.search(r": (it did not answer within 0\.5 s|.*timed out.*)\.$", said), said


def test_the_time_for_all_tries_is_bounded() -> None:
    time = Time()
    with serving(500) as server:
        send(f"http://{server.place}/", time, Patience(1.0, 2.5))
    assert (len(server.got), time.slept) == (2, [1.0])
    assert webhook.WORKING.all <= 5, "a wave waits for it"


def test_nobody_is_there() -> None:
    with serving(200) as server:
        place = server.place
    time = Time()
    said = send(f"http://me:{SECRET}@{place}/hidden", time)
    assert said.startswith(f"The webhook at http://{place} was not told of ")
    assert "refused" in said
    assert time.slept == [1.0, 2.0]


def test_a_name_that_nobody_looks_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of a socket is in force there."""
    over = threading.Event()
    monkeypatch.setattr(webhook, "open_url", lambda *_arguments, **_options: over.wait())
    said = send("https://hooks.example.com/hidden", None, SHORT)
    over.set()
    assert said.endswith(" after 3 tries: it did not answer within 0.1 s.")


@pytest.mark.parametrize("token", ["", TOKEN])
def test_credentials_in_the_url(token: str) -> None:
    with serving(200) as server:
        assert send(f"http://me:{SECRET}@{server.place}/hidden", token=token) == ""
    (request,) = server.got
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert request.headers["authorization"] == (f"Bearer {token}" if token else f"Basic {basic}")
    assert SECRET not in request.path


def test_a_netrc_does_not_replace_the_token(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    with serving(200) as server:
        assert send(f"http://{server.place}/") == ""
    assert server.got[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_certificates_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def open_url(url: str, **options: Any) -> None:
        asked.append(options)
        raise ValueError(f"certificate verify failed for {url} and {TOKEN}")

    monkeypatch.setattr(webhook, "open_url", open_url)
    said = send("https://me:s3cret@hooks.example.com:8443/hidden/path?sig=hidden")
    assert said.startswith("The webhook at https://hooks.example.com:8443 was not told of ")
    assert "certificate verify failed" in said
    assert all(options.get("validate_certs", True) and options.get("use_proxy", True) for options in asked)
