# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks and the callback write for the people in front of a terminal."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from ansible import constants
from ansible.plugins.loader import callback_loader
from ansible.release import __version__
from ansible.utils.display import Display

#: Anything in one of them, and the output is kept somewhere, as a log or as the events of a job.
_KEPT = ("CI", "ORIGINAL_STDOUT_CALLBACK", "AWX_ISOLATED_DATA_DIR")
_WIDTH = 80


def is_read_by_people(callback: type | None) -> bool:
    """Whether text may be printed beside a stdout callback of this class: it prints lines itself.

    That are those which are derived from Ansible's ``default``, as the one of AWX is. What others print may be a
    document of JSON, or nothing. One that shows the results of ``emqx_show`` itself says so by ``SHOWS_TEXT``.
    """
    if callback is None or getattr(callback, "SHOWS_TEXT", False):
        return False
    return any(vars(base).get("CALLBACK_NAME") == "default" for base in callback.__mro__)


def show(text: str, fails: bool = False) -> None:
    """Print the text of a task as it is, if it has readers who would else find it as JSON.

    Of a task that fails with it, ansible-core 2.19 and later do so themselves.
    """
    if fails and tuple(map(int, __version__.split(".")[:2])) >= (2, 19):
        return
    if text and is_read_by_people(callback_loader.get(constants.DEFAULT_STDOUT_CALLBACK, class_only=True)):
        Display().display(text)


def is_screen(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether somebody looks at it, and nothing keeps it: jobs of AWX and of some CI have a terminal as well."""
    return stream.isatty() and not any(map(environment.get, _KEPT))


def has_bar(option: str, stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a progress bar is drawn, by its option: ``auto``, ``always`` or ``never``."""
    if option != "auto":
        return option == "always"
    plain = environment.get("TERM") == "dumb" or environment.get("NO_COLOR")
    return is_screen(stream, environment) and not plain


def width_of(stream: TextIO) -> int:
    """The columns of the terminal; 80 where there is none, or it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _WIDTH
    return _WIDTH


class BottomLine:
    """The last line of a terminal, which is taken away before anything else is printed.

    Whatever Ansible prints goes through the one ``Display``, also what its workers print and its warnings. Workers are
    forks of this process: they hand on to it what they print, and have no part in the line.
    """

    def __init__(self, display: Any, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._shown = ""
        self._printed: Callable[..., Any] = display.display
        display.display = self._display

    def _display(self, *arguments: Any, **options: Any) -> Any:
        if os.getpid() != self._process:
            return self._printed(*arguments, **options)
        with self._lock:
            self.draw("")
            return self._printed(*arguments, **options)

    def draw(self, text: str) -> None:
        """Show this instead of what is there."""
        with self._lock:
            if text != self._shown:
                blank = " " * max(0, len(self._shown) - len(text))
                self._write(f"\r{text}{blank}" if text else f"\r{blank}\r")
                self._shown = text

    def _write(self, text: str) -> None:
        # Nothing stays in a buffer that a fork would print as well. A terminal that is gone is no reason to fail.
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
            os.write(self._stream.fileno(), text.encode("ascii", "replace"))
