# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the node writes to its own log: since a mark, or since a moment by the node's clock."""

import calendar
import contextlib
import glob
import json
import os
import re
import time
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Pattern, Sequence, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils.command import presentable
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation, read_text

#: The broker's own logs, and those of the program that it runs under.
PATTERNS = ("emqx.log*", "erlang.log.*")
# Beside a log that wraps: its place and its size, in bytes that are no text; and old ones that were packed.
_NO_TEXT = (".idx", ".siz", ".gz", ".xz", ".bz2")
READ_BYTES = 1 << 20
#: Lines of one message that are shown.
LINES_OF_ENTRY = 4
# A clock is read a little before the node writes, and a log may round.
_SLACK_SECONDS = 1.0
_FINGERPRINT = 64

_WARNINGS = ("warning", "error", "critical", "alert", "emergency")
_TROUBLES = _WARNINGS[1:]
_TROUBLE = re.compile(r"\[(?:error|critical|alert|emergency)\]|=(?:ERROR|CRASH) REPORT|crash", re.IGNORECASE)
_NOTABLE = re.compile(r"\[(?:warning|error|critical|alert|emergency)\]|REPORT====|crash", re.IGNORECASE)
_ABOUT_RELUP = re.compile(r"release_handler|relup|code_change|appup|old code|killed", re.IGNORECASE)

# The time of a line as EMQX 4.2 to 4.4 write it by default (2026-11-27T10:27:50.830279+00:00), and what was the default
# before (2026-11-27 10:27:50.830), in local time.
_DATE = re.compile(
    r"\W?(?P<Y>\d{4})[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)[T ]+(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)"
    r"(?:[.,](?P<N>\d{1,9}))?[ ]?(?P<z>Z|[+-]\d\d:?\d\d(?::?\d\d)?)?",
    re.IGNORECASE,
)
# A format that the user has set, by the comments in EMQX's own settings.
_FORMAT = re.compile(r"^[ \t]*log\.formatter\.text\.date\.format[ \t]*=[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_SPECIFIER = re.compile(r"%(Y|m|d|H|M|S|N|6N|3N|z|:z|::z)")
_DIGITS = {"Y": r"\d{4}", "N": r"\d{1,9}", "z": r"[+-]\d\d:?\d\d(?::?\d\d)?"}
_LEVEL = re.compile(r"\W{0,3}(debug|info|notice|warning|error|critical|alert|emergency)\b", re.IGNORECASE)
# What a line with a time that is not understood begins with.
_LEVEL_LATER = re.compile(r".{0,60}?\[(debug|info|notice|warning|error|critical|alert|emergency)\] ")
# Of Erlang's old reports and of run_erl, in local time or that of the zone that is named.
_REPORT = re.compile(r"=([A-Z]+)[A-Z ]* REPORT==== +(\d{1,2})-([A-Z][a-z]{2})-(\d{4})::(\d\d):(\d\d):(\d\d)")
_RUN_ERL = re.compile(
    r"=====\s(?:ALIVE|LOGGING STARTED)\s\w+\s+([A-Z][a-z]{2})\s+(\d{1,2})\s(\d\d):(\d\d):(\d\d)\s(\S+)\s(\d{4})"
)
_JSON_TIME = re.compile(r'"time" ?: ?"?(\d{10,19})\b')
_JSON_LEVEL = re.compile(r'"level" ?: ?"(\w+)"')
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Entry(NamedTuple):
    """A message of a log: its line, and those after it that have no time of their own.

    ``time``: seconds since the epoch, None where it is not known. ``level`` is empty where it is not known.
    """

    time: Optional[float]
    level: str
    lines: List[str]

    @property
    def is_notable(self) -> bool:
        """A warning or worse, or about a crash."""
        return self.level in _WARNINGS or any(_NOTABLE.search(line) for line in self.lines)

    @property
    def is_trouble(self) -> bool:
        """An error or worse, or about a crash."""
        return self.level in _TROUBLES or any(_TROUBLE.search(line) for line in self.lines)


def date_pattern(installation: Installation) -> Pattern[str]:
    """How the times of the node's log are written, by its settings.

    Groups ``Y``, ``m``, ``d``, ``H``, ``M``, ``S``, and maybe ``N`` for a fraction and ``z`` for a zone.
    """
    try:
        formats = _FORMAT.findall(read_text(os.path.join(installation.etc_dir, "emqx.conf")) or "")
    except OSError:
        formats = []
    if not formats or "%" not in formats[-1]:
        return _DATE
    parts = _SPECIFIER.split(formats[-1])
    pattern = re.escape(parts[0])
    seen = set()
    for name, text in zip(parts[1::2], parts[2::2]):
        group = name[-1]
        digits = _DIGITS.get(group, r"\d\d")
        pattern += digits if group in seen else "(?P<{0}>{1})".format(group, digits)
        seen.add(group)
        pattern += re.escape(text)
    return re.compile(pattern) if seen >= set("YmdHMS") else _DATE


def read_entries(text: str, date: Pattern[str] = _DATE) -> List[Entry]:
    """The messages of a log in their order.

    ``date``: how times are written (:func:`date_pattern`). Without a zone they are of the present one
    (:func:`in_zone`).
    """
    found = []  # type: List[Entry]
    for line in text.splitlines():
        moment, level = _head(line, date)
        if moment is None and not level and found:
            found[-1].lines.append(line)
        elif line.strip():
            # One with a level and no time that is understood is a message of its own, of unknown time.
            found.append(Entry(moment, level, [line]))
    return found


def since(entries: Iterable[Entry], moment: float) -> List[Entry]:
    """Those that were written at ``moment`` or later; with 0 all of them.

    Where the time of one is not known, nobody can say that it was.
    """
    if not moment:
        return list(entries)
    return [entry for entry in entries if entry.time is not None and entry.time >= moment - _SLACK_SECONDS]


@contextlib.contextmanager
def in_zone(pid: Optional[int]) -> Iterator[None]:
    """Take times without a zone as the broker's process ``pid`` does; where that is not known, as the machine does."""
    zone = _zone_of(pid)
    before = os.environ.get("TZ")
    if zone is None or zone == before:
        yield
        return
    try:
        _set_zone(zone)
        yield
    finally:
        _set_zone(before)


def paths(directory: str) -> List[str]:
    """The log files of a node, by the time of their last change, oldest first."""
    found = []
    for pattern in PATTERNS:
        for path in glob.glob(os.path.join(glob.escape(directory), pattern)):
            if path.endswith(_NO_TEXT):
                continue
            with contextlib.suppress(OSError):
                found.append((os.stat(path).st_mtime, path))
    return [path for _time, path in sorted(found)]


def last_lines(installation: Installation, secrets: Sequence[str], count: int, moment: float = 0) -> List[str]:
    """The last lines at warning level or above that were written at ``moment`` or later, secrets masked.

    ``moment``: seconds since the epoch by the node's clock. Of all log files together, in the order of their times.
    """
    found = []  # type: List[Tuple[float, int, Entry]]
    date = date_pattern(installation)
    with in_zone(installation.broker_pid()):
        for place, path in enumerate(paths(installation.log_dir)):
            try:
                with open(path, "rb") as stream:
                    status = os.fstat(stream.fileno())
                    if moment and status.st_mtime < moment - _SLACK_SECONDS:
                        continue
                    begin = max(0, status.st_size - READ_BYTES)
                    stream.seek(begin)
                    text = stream.read(READ_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
            if begin:
                text = text.partition("\n")[2]
            known = 0.0
            for entry in since(read_entries(text, date), moment):
                known = entry.time if entry.time is not None else known
                if entry.is_notable:
                    found.append((known, place, entry))
    found.sort(key=lambda row: row[:2])
    lines = [line for _time, _place, entry in found for line in entry.lines[:LINES_OF_ENTRY]]
    return presentable("\n".join(lines), secrets, lines=count)


class LogMark:
    """The ends of the log files at one moment; ``errors()`` reads what came after it.

    A file is known by its inode, for a log that is rotated goes on under another name; and by its last bytes, for one
    that wraps begins again in a file that was there.
    """

    def __init__(self, installation: Installation, secrets: Sequence[str] = ()) -> None:
        self._installation = installation
        self._secrets = secrets
        self._time = time.time()
        self._ends = dict(self._read_ends())

    def errors(self) -> List[str]:
        """Lines about the relup at level error or above since the mark, secrets masked, at most 20."""
        found = []
        date = date_pattern(self._installation)
        with in_zone(self._installation.broker_pid()):
            for path in paths(self._installation.log_dir):
                try:
                    with open(path, "rb") as stream:
                        begin = self._begin(stream)
                        stream.seek(begin or 0)
                        text = stream.read(READ_BYTES).decode("utf-8", "replace")
                except OSError:
                    continue
                for entry in read_entries(text, date):
                    # Of a file that began anew, or that nobody had seen, only what is known to be of now.
                    if begin is None and entry.time is not None and entry.time < self._time - _SLACK_SECONDS:
                        continue
                    about = [line for line in entry.lines if _ABOUT_RELUP.search(line)]
                    if about and entry.is_trouble:
                        found += [entry.lines[0]] + [line for line in about if line is not entry.lines[0]]
        return presentable("\n".join(found), self._secrets, lines=20)

    def _begin(self, stream: Any) -> Optional[int]:
        """Where what is new begins; None where that is the whole file, or it cannot be told."""
        status = os.fstat(stream.fileno())
        size, last = self._ends.get((status.st_dev, status.st_ino), (0, b""))
        if not size or status.st_size < size or _last_bytes(stream, size) != last:
            return None
        return size

    def _read_ends(self) -> Iterator[Tuple[Tuple[int, int], Tuple[int, bytes]]]:
        for path in paths(self._installation.log_dir):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                status = os.fstat(stream.fileno())
                yield (status.st_dev, status.st_ino), (status.st_size, _last_bytes(stream, status.st_size))


def _last_bytes(stream: Any, end: int) -> bytes:
    begin = max(0, end - _FINGERPRINT)
    stream.seek(begin)
    return bytes(stream.read(end - begin))


def _head(line: str, date: Pattern[str]) -> Tuple[Optional[float], str]:
    """The time and the level that a line begins with, as far as they are known."""
    if line.startswith("{"):
        return _head_of_json(line)
    found = date.match(line) or _DATE.match(line)
    if found:
        level = _LEVEL.match(line, found.end())
        return _moment(found), level.group(1).lower() if level else ""
    found = _REPORT.match(line)
    if found:
        kind, day, month, year, hour, minute, second = found.groups()
        moment = _local(year, _month(month), day, hour, minute, second)
        return moment, {"ERROR": "error", "CRASH": "error", "WARNING": "warning"}.get(kind, "info")
    found = _RUN_ERL.match(line)
    if found:
        month, day, hour, minute, second, zone, year = found.groups()
        number = _month(month)
        moment = _local(year, number, day, hour, minute, second)
        if zone in ("UTC", "GMT"):
            moment = _universal(year, number, day, hour, minute, second)
        return moment, ""
    found = _LEVEL_LATER.match(line)
    return None, found.group(1) if found else ""


def _head_of_json(line: str) -> Tuple[Optional[float], str]:
    try:
        fields = json.loads(line)
        told, level = str(fields.get("time", "")), str(fields.get("level", ""))
    except (ValueError, AttributeError):
        number, word = _JSON_TIME.search(line), _JSON_LEVEL.search(line)
        told, level = number.group(1) if number else "", word.group(1) if word else ""
    if told.isdigit() and len(told) >= 10:
        # Seconds, milliseconds, microseconds or nanoseconds, by how many digits they have in this century.
        return int(told) / float(10 ** (len(told) - 10)), level.lower()
    found = _DATE.match(told)
    return (_moment(found) if found else None), level.lower()


def _moment(found: Any) -> Optional[float]:
    parts = found.groupdict()
    fraction = float("0." + parts["N"]) if parts.get("N") else 0.0
    numbers = [parts[name] for name in "YmdHMS"]
    zone = parts.get("z")
    moment = _universal(*numbers) if zone else _local(*numbers)
    if moment is None:
        return None
    offset = 0
    digits = (zone or "")[1:].replace(":", "")
    if digits:
        offset = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6] or 0)
    return moment + fraction - (-offset if (zone or "").startswith("-") else offset)


def _local(*numbers: Any) -> Optional[float]:
    year, month, day, hour, minute, second = (int(number) for number in numbers)
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (OverflowError, ValueError):
        return None


def _universal(*numbers: Any) -> Optional[float]:
    year, month, day, hour, minute, second = (int(number) for number in numbers)
    try:
        return float(calendar.timegm((year, month, day, hour, minute, second)))
    except (OverflowError, ValueError):
        return None


def _month(name: str) -> int:
    return _MONTHS.index(name) + 1 if name in _MONTHS else 1


def _zone_of(pid: Optional[int]) -> Optional[str]:
    try:
        with open("/proc/{0}/environ".format(pid), "rb") as stream:
            entries = stream.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    return next((entry[len("TZ=") :] for entry in entries if entry.startswith("TZ=")), None)


def _set_zone(zone: Optional[str]) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()
