# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages at hand, and which of them is the one for a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.module_utils.package_name import (
    is_known_arch,
    is_known_os,
    normalise_arch,
    normalise_os,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts, Package

#: How many names a message spells out.
NAMES_SHOWN = 6


class Words(NamedTuple):
    """What a package is chosen by, in the words of EMQX 4.4's package names; None where the node does not tell."""

    edition: str | None
    os: str | None
    arch: str | None
    otp: str | None

    def __str__(self) -> str:
        shown = [self.edition or "edition unknown", self.os or "system unknown", self.arch or "architecture unknown"]
        return ", ".join([*shown, f"OTP {self.otp}" if self.otp else "OTP unknown"])


@dataclass(frozen=True)
class Catalogue:
    """Packages by version, each version's sorted by name."""

    by_version: Mapping[str, tuple[Package, ...]]
    _choices: dict[tuple[Words, str], Choice] = field(default_factory=dict, compare=False, repr=False)

    def choose(self, words: Words, version: str) -> Choice:
        """Return the package of ``version`` for a node of these words, or why there is none."""
        key = (words, version)
        if key not in self._choices:
            self._choices[key] = _choose(words, version, self)
        return self._choices[key]


class Choice(NamedTuple):
    """``package`` fits in every word, or is None and ``reason`` tells what was looked for and what is there.

    ``closest`` is then the one package that misses by the fewest words, if there is just one such: the gates tell by
    which words it misses, and the user may accept that.
    """

    package: Package | None
    closest: Package | None
    reason: str


def build(packages: Iterable[Package]) -> Catalogue:
    """Return the catalogue of ``packages``; one that is listed twice (same path) counts once."""
    by_version: dict[str, dict[str, Package]] = {}
    for package in packages:
        version = package.get("version")
        if version:
            by_version.setdefault(version, {})[str(package.get("path"))] = package
    return Catalogue(
        {
            version: tuple(sorted(found.values(), key=lambda row: (str(row["name"]), str(row.get("path")))))
            for version, found in by_version.items()
        }
    )


def select(facts: NodeFacts, version: str, catalogue: Catalogue) -> tuple[Package | None, str]:
    """Return the one package of ``version`` that fits the node, or None and the reason."""
    choice = catalogue.choose(words_of(facts), version)
    return choice.package, choice.reason


def words_of(facts: NodeFacts) -> Words:
    """Return what a package for this node is chosen by.

    The system and architecture are those that the running release was built for, since a release may well run on
    another system than it was built on; the machine's own where the release does not tell, or tells a word that is
    not that of a system or an architecture.
    """
    host = facts.get("host") or {}
    os_word, arch = facts.get("os"), facts.get("arch")
    if not os_word or not is_known_os(os_word):
        os_word = host.get("os") or os_word
    if not arch or not is_known_arch(arch):
        arch = host.get("arch") or arch
    return Words(
        facts.get("edition"),
        normalise_os(os_word) if os_word else None,
        normalise_arch(arch) if arch else None,
        otp_major(facts.get("otp")),
    )


def otp_major(otp: Any) -> str | None:
    """Return the first number of an OTP version, ``24`` of ``24.3.4.2-1``."""
    return re.split(r"[.-]", str(otp), maxsplit=1)[0] if otp else None


def misses(words: Words, package: Package) -> tuple[str, ...]:
    """Return the names of the words by which ``package`` does not fit. What the package does not tell, fits."""
    os_word, arch = package.get("os"), package.get("arch")
    have = Words(
        package.get("edition"),
        normalise_os(os_word) if os_word else None,
        normalise_arch(arch) if arch else None,
        otp_major(package.get("otp")),
    )
    pairs = zip(Words._fields, words, have, strict=True)
    return tuple(name for name, wanted, found in pairs if found is not None and wanted is not None and wanted != found)


def listed(names: Iterable[str], shown: int = NAMES_SHOWN) -> str:
    """Return names in one line, the first few spelled out."""
    every = list(names)
    more = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {more} more" if more > 0 else "")


def version_key(text: str) -> tuple[bool, emqx_version.Version | str]:
    """Return a sort key for versions that puts what is none first."""
    return (True, emqx_version.parse(text)) if emqx_version.is_valid(text) else (False, text)


def _choose(words: Words, version: str, catalogue: Catalogue) -> Choice:
    candidates = catalogue.by_version.get(version, ())
    if not candidates:
        others = listed(sorted(catalogue.by_version, key=version_key, reverse=True))
        return Choice(None, None, f"there is no package of {version}; there is {others or 'none at all'}")
    by_misses: dict[int, list[Package]] = {}
    for package in candidates:
        by_misses.setdefault(len(misses(words, package)), []).append(package)
    fewest = min(by_misses)
    best = by_misses[fewest]
    # A broken copy beside a good one is not a choice to be made by the user.
    best = [package for package in best if not package.get("problems")] or best
    names = listed(str(package["name"]) for package in best)
    if fewest == 0:
        if len(best) == 1:
            return Choice(best[0], None, "")
        return Choice(
            None, None, f"several packages of {version} fit ({words}): {names}; leave only one of them in the catalogue"
        )
    every = listed(str(package["name"]) for package in candidates)
    return Choice(
        None,
        best[0] if len(best) == 1 else None,
        f"no package of {version} fits; looked for {words}; there is {every}",
    )
