# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text is printed where people read it, and nowhere else; the last line is never in the way of another."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
from ansible.plugins.callback import CallbackBase
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.emqx.fleet.plugins.callback.progress import CallbackModule as Progress
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import terminal


class OfJobs(Default):
    """As that of AWX is made."""

    CALLBACK_NAME = "awx_display"


class Document(CallbackBase):
    """One that prints JSON, or nothing."""

    CALLBACK_NAME = "json"


class OfJobsOverOurs(Progress):
    """As that of AWX is made where another callback was asked for."""


@pytest.mark.parametrize(
    ("callback", "people"),
    [(Default, True), (OfJobs, True), (Document, False), (None, False), (Progress, False), (OfJobsOverOurs, False)],
)
def test_beside_which_callbacks_text_is_printed(callback: type | None, people: bool) -> None:
    assert terminal.is_read_by_people(callback) == people


@pytest.mark.parametrize(
    ("version", "fails", "callback", "shown"),
    [
        ("2.16.9", False, Default, True),
        ("2.18.0", True, Default, True),
        ("2.19.1", False, Default, True),
        # It shows the message of a failure as it is.
        ("2.19.0b1", True, Default, False),
        ("2.21.0", True, Default, False),
        ("2.16.9", False, Document, False),
    ],
)
def test_what_is_shown(monkeypatch: pytest.MonkeyPatch, version: str, fails: bool, callback: type, shown: bool) -> None:
    printed: list[str] = []
    monkeypatch.setattr(terminal, "__version__", version)
    monkeypatch.setattr(terminal, "callback_loader", SimpleNamespace(get=lambda name, class_only: callback))
    monkeypatch.setattr(terminal, "Display", lambda: SimpleNamespace(display=printed.append))
    terminal.show("a\nb", fails)
    terminal.show("", fails)
    assert printed == ["a\nb"] * shown


# The last line


@pytest.fixture(name="ends")
def _ends() -> Iterator[tuple[int, TextIO]]:
    """What is read of a terminal, and the terminal."""
    controller, other = pty.openpty()
    with open(other, "w", encoding="utf-8") as stream:
        yield controller, stream
    os.close(controller)


def written(controller: int, stream: TextIO) -> bytes:
    stream.write("END")
    stream.flush()
    found = b""
    while not found.endswith(b"END"):
        found += os.read(controller, 1000)
    return found.removesuffix(b"END")


class Display:
    """Ansible's, as far as it prints."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def display(self, text: str, **_options: Any) -> None:
        self.stream.write(f"{text}\n")
        self.stream.flush()


def test_the_last_line_is_taken_away_before_another(ends: tuple[int, TextIO]) -> None:
    controller, stream = ends
    display = Display(stream)
    bottom = terminal.BottomLine(display, stream)
    bottom.draw("half of it")
    bottom.draw("all")
    bottom.draw("all")
    display.display("A line")
    display.display("Another", color="red")
    bottom.draw("more")
    bottom.draw("")
    expected = b"\rhalf of it\rall       \r   \rA line\r\nAnother\r\n\rmore\r    \r"
    assert written(controller, stream) == expected


def test_a_fork_has_no_part_in_it(ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prints goes to the process that draws the line, which takes it away."""
    controller, stream = ends
    display = Display(stream)
    bottom = terminal.BottomLine(display, stream)
    bottom.draw("all")
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    display.display("sent")
    assert written(controller, stream) == b"\rallsent\r\n"


def test_a_terminal_that_is_gone_is_no_failure(ends: tuple[int, TextIO]) -> None:
    _controller, stream = ends
    bottom = terminal.BottomLine(Display(stream), stream)
    stream.close()
    bottom.draw("all")


def test_the_width(ends: tuple[int, TextIO]) -> None:
    _controller, stream = ends
    assert terminal.width_of(stream) == 80, "one that does not tell"
    with open(os.devnull, encoding="ascii") as none:
        assert terminal.width_of(none) == 80
    assert not terminal.is_screen(stream, {"CI": "true"})
    assert terminal.is_screen(stream, {"CI": ""})
