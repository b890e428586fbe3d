# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words and numbers of a page as people read them. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

#: What no browser shows, or what makes it show other text in another order: controls, marks of direction, surrogates.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
#: Those of them that programs print now and then.
_NAMES = {0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL"}
_TIME = re.compile(r"^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(\.\d{3})?Z$")
#: Between groups of three digits.
_THIN = "\u202f"
NOTHING = "—"


def cleaned(value: Any) -> Any:
    """A value of JSON types with what is hidden in its texts made visible, also in names of keys."""
    if isinstance(value, str):
        return _HIDDEN.sub(_visible, value)
    if isinstance(value, Mapping):
        return {cleaned(str(name)): cleaned(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(one) for one in value]
    return value


def _visible(found: re.Match[str]) -> str:
    """The name or the code of a character, in brackets."""
    code = ord(found.group())
    return f"\u27e8{_NAMES.get(code) or f'U+{code:04X}'}\u27e9"


def number(value: Any) -> str:
    """A number with its digits in groups, where there are five or more of them."""
    if value is None:
        return NOTHING
    return f"{value:,}".replace(",", _THIN) if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def duration(seconds: Any) -> str:
    """``4 ms``, ``0.31 s``, ``12.3 s``, ``1 min 32 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if not isinstance(seconds, (int, float)):
        return NOTHING
    if seconds < 0.1:
        return "0 s" if seconds == 0 else f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def size(count: Any) -> str:
    """Bytes as ``30.1 MiB``."""
    if not isinstance(count, (int, float)):
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count} B"
        count /= 1024
    return f"{count:.1f} GiB"


def epoch(text: Any) -> float | None:
    """Seconds since 1970 of a time of the document; None where it is none."""
    if not isinstance(text, str) or not _TIME.match(text):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def moment(text: Any) -> str:
    """A time of the document as ``2026-11-28 01:02:03``; what is no time as it stands."""
    found = _TIME.match(text) if isinstance(text, str) else None
    return f"{found.group(1)} {found.group(2)}" if found else str(text or NOTHING)


def clock(seconds: float, milliseconds: bool = False) -> str:
    """The time of day of UTC, ``01:02:03``, from seconds since 1970."""
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(
        timespec="milliseconds" if milliseconds else "seconds"
    )
    return text.partition("T")[2].removesuffix("+00:00")


def counted(count: int, one: str, many: str = "") -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
