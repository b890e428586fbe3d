# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words and numbers of a page."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "—"),
        (0, "0 s"),
        (0.0044, "4 ms"),
        (0.31, "0.31 s"),
        (1.284, "1.28 s"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (92.4, "1 min 32 s"),
        (7500, "2 h 5 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert page_text.duration(seconds) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "—"), (0, "0"), (9999, "9999"), (12345, "12\u202f345"), (1234567, "1\u202f234\u202f567"), (2.5, "2.5")],
)
def test_numbers(value: Any, told: str) -> None:
    assert page_text.number(value) == told


@pytest.mark.parametrize(
    ("count", "told"), [(None, "—"), (512, "512 B"), (48_311_220, "46.1 MiB"), (5 << 30, "5.0 GiB"), (2048, "2.0 KiB")]
)
def test_sizes(count: int | None, told: str) -> None:
    assert page_text.size(count) == told


def test_times() -> None:
    assert page_text.epoch("1970-01-01T00:01:00.500Z") == 60.5
    assert page_text.moment("2026-11-28T01:02:03.456Z") == "2026-11-28 01:02:03"
    assert page_text.clock(60.5) == "00:01:00"
    assert page_text.clock(60.5, milliseconds=True) == "00:01:00.500"


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-45T99:99:99.000Z", 17])
def test_what_is_no_time(text: Any) -> None:
    assert page_text.epoch(text) is None


def test_counts() -> None:
    assert [page_text.counted(count, "node") for count in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]


def test_hidden_characters() -> None:
    assert page_text.cleaned({"a\x00": ["\x1b[1m", 1, None, ("\x7f", "\u202e\u00e9\n\t")]}) == {
        "a⟨NUL⟩": ["⟨ESC⟩[1m", 1, None, ["⟨DEL⟩", "⟨U+202E⟩é\n\t"]]
    }
