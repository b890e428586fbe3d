# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server on the loopback that answers as a test tells it to, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

#: In the place of a status: no answer until the test ends.
HANG = 0


class Request(NamedTuple):
    """What was sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body, which is one CloudEvent."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Server(ThreadingHTTPServer):
    """``answers``: statuses one after the other, the last one for ever; ``location``: where a redirect leads."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: list[int], location: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.location = location
        self.got: list[Request] = []
        self.over = threading.Event()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events, also those that were not taken."""
        return [request.event for request in self.got]

    def handle_error(self, *_args: Any) -> None:
        """Say nothing: who hung up is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        """Keep what was sent, and answer."""
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append(Request(self.command, self.path, headers, self.rfile.read(length)))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == HANG:
            self.server.over.wait()
            return
        self.send_response(status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """The same; what is redirected may become one."""
        self.do_POST()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(*answers: int, location: str = "") -> Iterator[Server]:
    """A server that is there within the block."""
    with Server(list(answers), location) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
