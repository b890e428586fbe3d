# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EMQX versions: what the ``emqx`` command takes as one, and which is newer.

The command accepts a semantic version and nothing else: ``v4.4.19``, ``e4.4.19`` and ``4.4`` make it crash with exit
code 127, so a version is checked here before it reaches a command line. Only the command of 4.2 does not look, and
Enterprise 4.2 has versions such as ``e4.2.3``.
"""

import re
from functools import total_ordering
from typing import Any, Optional, Tuple

#: Characters of a version; a bound on what is compared and printed, far above any real one.
MAX_LENGTH = 128

# The regular expression of EMQX 4.4's own install script; [0-9] because \d takes more than ASCII digits in Python.
_VERSION = re.compile(
    "(?:e(?=4[.]2[.]))?(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)[.](0|[1-9][0-9]*)"
    "(?:-([a-zA-Z0-9][-a-zA-Z.0-9]*))?"
    "(?:[+]([a-zA-Z0-9][-a-zA-Z.0-9]*))?\\Z"
)

#: Pairs of series between which EMQX upgrades hot although they differ.
_BRIDGED_SERIES = (((4, 4), (4, 5)),)


class VersionError(ValueError):
    """The text is not a version that the ``emqx`` command would accept."""


@total_ordering
class Version:
    """A version, ordered by semantic versioning's precedence; ``str()`` gives the text it was read from.

    Attributes: ``major``, ``minor``, ``patch`` (int), ``pre`` (str or None, without its hyphen), ``build`` (str or
    None, without its plus). Two versions that differ only in ``build``, or in the letter of Enterprise 4.2, are not
    equal, since EMQX compares versions as text; they are ordered by that text.
    """

    __slots__ = ("build", "key", "major", "minor", "patch", "pre", "text")

    def __init__(self, text: str, major: int, minor: int, patch: int, pre: Optional[str], build: Optional[str]) -> None:
        self.text = text
        self.major = major
        self.minor = minor
        self.patch = patch
        self.pre = pre
        self.build = build
        #: What the order is made of.
        self.key = (major, minor, patch, _precedence(pre), build or "")

    @property
    def series(self) -> Tuple[int, int]:
        """Major and minor number: ``(4, 4)``."""
        return (self.major, self.minor)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "Version({0!r})".format(self.text)

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: Any) -> Any:
        if not isinstance(other, Version):
            return NotImplemented
        return self.text == other.text

    def __lt__(self, other: Any) -> Any:
        if not isinstance(other, Version):
            return NotImplemented
        return (self.key, self.text) < (other.key, other.text)


def _precedence(pre: Optional[str]) -> Tuple[Any, ...]:
    """Return what orders pre-releases: numbers before words, fewer parts before more, none of all after any."""
    if pre is None:
        return ((2,),)
    return tuple([(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")])


def parse(text: str) -> Version:
    """Return the version that ``text`` is. Raises :class:`VersionError`."""
    found = _VERSION.match(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None
    if found is None:
        raise VersionError(
            "{0!r} is not a version; the emqx command takes three numbers with an optional pre-release, such as "
            "4.4.19 or 4.4.19-rc.1, without a leading letter (but for e4.2.x of Enterprise)".format(
                text[:60] if isinstance(text, str) else text
            )
        )
    major, minor, patch, pre, build = found.groups()
    return Version(text, int(major), int(minor), int(patch), pre, build)


def is_valid(text: Any) -> bool:
    """Tell whether ``text`` is a version."""
    return isinstance(text, str) and len(text) <= MAX_LENGTH and _VERSION.match(text) is not None


def same_series(one: Version, other: Version) -> bool:
    """Tell whether EMQX upgrades hot between the two: same major.minor, or 4.4 with 4.5 in either direction."""
    if one.series == other.series:
        return True
    pair = tuple(sorted((one.series, other.series)))
    return pair in _BRIDGED_SERIES
