# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Drives Chromium without a window, by its own debugging protocol over a pair of pipes.

The protocol is that of https://chromedevtools.github.io/devtools-protocol/; messages are JSON with a NUL behind.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

#: Names of what may be there; the first is what `scripts/apt-packages.txt` brings.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_ANSWER_SECONDS = 60.0
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-pipe",
)
#: Events that tell of what a page says or wants.
_SAYS = (
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Security.visibleSecurityStateChanged",
)
PHONE = (360, 740)
DESKTOP = (1280, 900)


class BrowserError(Exception):
    """The browser is not there, does not answer, or does not understand."""


class Browser:
    """A running browser; as a context it is ended at the end. ``folder`` is for its files."""

    def __init__(self, folder: Path) -> None:
        found = next((path for name in _NAMES if (path := shutil.which(name))), None)
        if found is None:
            raise BrowserError(f"none of {', '.join(_NAMES)} is installed; `make setup` installs it on Debian")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [found, *_OPTIONS, f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        # The two pipes are to be its descriptors 3 and 4.
        wrapped = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser", *command]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                wrapped,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(BrowserError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises BrowserError."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        for answer in self._messages(method):
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise AssertionError("unreachable")

    def wait(self, event: str, session: str) -> None:
        """Wait until it has told of an event, also of one before; it is told once."""
        for told in self.events:
            if told.get("method") == event and told.get("sessionId") == session:
                self.events.remove(told)
                return
        for told in self._messages(event):
            if told.get("method") == event and told.get("sessionId") == session:
                return
            self.events.append(told)

    def page(self) -> Page:
        """A new, empty page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, target)

    def _messages(self, what: str) -> Iterator[dict[str, Any]]:
        """What it tells from now on."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            while b"\0" in self._rest:
                message, _nul, self._rest = self._rest.partition(b"\0")
                yield json.loads(message)
            ready, _out, _bad = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise BrowserError(f"{what}: the browser {'has ended' if ready else 'does not answer'}")
            self._rest += data


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        for part in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{part}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        return self._browser.call(method, self._session, **parameters)

    def look(self, size: tuple[int, int] = DESKTOP, dark: bool = False, media: str = "screen") -> None:
        """How it is looked at: the size of the window, the colours asked for, on a screen or on paper."""
        width, height = size
        phone = size == PHONE
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file, and wait until it is there."""
        told = self.call("Page.navigate", url=path.resolve().as_uri())
        if told.get("errorText"):
            raise BrowserError(f"{path}: {told['errorText']}")
        self._browser.wait("Page.loadEventFired", self._session)

    def close(self) -> None:
        """Forget it."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page. Raises BrowserError."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            details = told["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return told["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, such as ``Tab`` (9) or ``Enter`` (13)."""
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown" if more else "rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def said(self) -> list[dict[str, Any]]:
        """What the page said to the console, and what of it the browser complained about."""
        return [told for told in self._browser.events if told.get("method") in _SAYS and self._is_ours(told)]

    def requests(self) -> list[str]:
        """What was asked for, the page itself included."""
        return [
            str(told["params"]["request"]["url"])
            for told in self._browser.events
            if told.get("method") == "Network.requestWillBeSent" and self._is_ours(told)
        ]

    def picture(self, path: Path, whole: bool = True, height: int | None = None) -> None:
        """Write a PNG of the page, of all of it or of its first ``height`` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        tall = min(size["height"], height or 16_000) if whole or height else DESKTOP[1]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": tall, "scale": 1}
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def pdf(self) -> bytes:
        """The page as it would be printed, on A4 with backgrounds."""
        told = self.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(told["data"])

    def _is_ours(self, told: dict[str, Any]) -> bool:
        return told.get("sessionId") == self._session
