# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of EMQX packages: read, checked and written.

=====  ==========================================================  ==========================================
style  form                                                        example
=====  ==========================================================  ==========================================
4.4    ``emqx[-EDITION]-VERSION-otpOTP-OS-ARCH.zip``               ``emqx-4.4.16-otp24.3.4.2-1-el8-amd64.zip``
4.3    ``emqx[-EDITION]-OS-VERSION-ARCH.zip``                      ``emqx-ee-centos7-4.3.5-amd64.zip``
4.2    ``emqx[-EDITION]-VERSION.zip``, or as 4.3                   ``emqx-4.2.1.zip``
=====  ==========================================================  ==========================================

Enterprise 4.2 may write its version with a letter: ``emqx-ee-centos7-e4.2.3-x86_64.zip``.

A name without an edition is one of the Community edition, ``ce``. :func:`parse` keeps the words of the name as they
are, so that :meth:`PackageName.format` gives the same name back; :func:`normalise_os` and :func:`normalise_arch` make
words comparable.
"""

import re
from typing import List, NamedTuple, Optional, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import version as _version

#: Editions, as they are called in the facts of a node.
EDITIONS = ("ce", "ee", "edge")
#: Styles of names, by the series that brought them.
STYLES = ("4.4", "4.3", "4.2")
#: Characters of a name, as most file systems have it.
MAX_LENGTH = 255

_SUFFIX = ".zip"
_WORD = "[A-Za-z][A-Za-z0-9._]*"
# An architecture has no dot: that tells it from a pre-release such as rc.1.
_ARCH_WORD = "[A-Za-z][A-Za-z0-9_]*"
_OTP = "[0-9]+(?:[.][0-9]+)*(?:-[0-9]+)?"
_NUMBERS = "e?[0-9]+[.][0-9]+[.][0-9]+"
_EDITION = re.compile("emqx-(?:(ee|edge)-)?")
_STYLE_44 = re.compile("({0}[-+.A-Za-z0-9]*?)-otp({1})-({2})-({3})\\Z".format(_NUMBERS, _OTP, _WORD, _ARCH_WORD))
_STYLE_43 = re.compile("({0})-({1}[-+.A-Za-z0-9]*?)-({2})\\Z".format(_WORD, _NUMBERS, _ARCH_WORD))
_STYLE_42 = re.compile("({0}[-+.A-Za-z0-9]*)\\Z".format(_NUMBERS))
_PRERELEASE_WORD = re.compile("(?:alpha|beta|rc|pre|dev|snapshot)[0-9]*\\Z", re.IGNORECASE)
_OTP_PART = re.compile("{0}\\Z".format(_OTP))
_OS_PART = re.compile("{0}\\Z".format(_WORD))
_ARCH_PART = re.compile("{0}\\Z".format(_ARCH_WORD))

# A system's word, and how its version is cut: EMQX's packages tell two numbers of Ubuntu and Alpine, one of the others
# and none of openSUSE, by scripts/get-distro.sh of its sources.
_SYSTEMS = (
    (
        re.compile(
            "(?:centos|rhel|redhat|rocky|rockylinux|alma|almalinux|ol|oracle|oraclelinux|el)([0-9]+)(?:[.][0-9]+)*\\Z"
        ),
        "el{0}",
    ),
    (re.compile("(?:amzn|amazonlinux)([0-9]+)(?:[.][0-9]+)*\\Z"), "amzn{0}"),
    (re.compile("(debian|raspbian|fedora|sles|macos|windows)([0-9]+)(?:[.][0-9]+)*\\Z"), "{0}{1}"),
    (re.compile("(ubuntu|alpine)([0-9]+[.][0-9]+)(?:[.][0-9]+)*\\Z"), "{0}{1}"),
    (re.compile("opensuse(?:-[a-z]+)?-?[0-9.]*\\Z"), "opensuse"),
    (re.compile("macosx\\Z"), "macos"),
)
_KNOWN_OS = re.compile(
    "(?:ubuntu[0-9]+[.][0-9]+|(?:debian|el|amzn|raspbian|fedora|sles)[0-9]+|(?:macos|windows)[0-9]*"
    "|opensuse|alpine[0-9.]*)\\Z"
)
#: Systems that EMQX is packaged for and does not upgrade hot.
_NOT_LINUX = re.compile("(?:macos|windows)[0-9]*\\Z")
_ARCH_ALIASES = {
    "x86_64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "arm64v8": "arm64",
    # The packages' word is that of uname -m, which does not tell the order of bytes.
    "mips64el": "mips64",
}
_ARM_32 = re.compile("arm(?:hf|el|v[5-8][a-z]*)?\\Z")
_KNOWN_ARCH = ("amd64", "arm64", "arm", "mips64")


class PackageNameError(ValueError):
    """The name is not that of an EMQX package, or its parts make no name."""


class _Fields(NamedTuple):
    edition: str
    version: str
    otp: Optional[str]
    os: Optional[str]
    arch: Optional[str]


class PackageName(_Fields):
    """The parts of a name: ``edition``, ``version``, and ``otp``, ``os``, ``arch`` or None where the name is silent."""

    __slots__ = ()

    @property
    def style(self) -> str:
        """The style that has a place for exactly these parts."""
        if self.otp is not None:
            return "4.4"
        return "4.2" if self.os is None else "4.3"

    @property
    def otp_major(self) -> Optional[str]:
        """The first number of the OTP, which must be that of the node."""
        return None if self.otp is None else self.otp.split(".")[0].split("-")[0]

    def format(self, style: Optional[str] = None) -> str:
        """Return the file name in ``style``, by default the one that shows every part.

        Raises :class:`PackageNameError` if a part that the style needs is missing, has no place in it, or would be
        read back as something else.
        """
        style = style or self.style
        parts = ["emqx"]
        if self.edition != "ce":
            parts.append(self.edition)
        if style == "4.4":
            parts += [self.version, "otp{0}".format(self.otp), str(self.os), str(self.arch)]
        elif style == "4.3" or (style == "4.2" and self.os is not None):
            parts += [str(self.os), self.version, str(self.arch)]
        elif style == "4.2":
            parts.append(self.version)
        else:
            raise PackageNameError("{0!r} is not one of the styles {1}".format(style, ", ".join(STYLES)))
        name = "-".join(parts) + _SUFFIX
        self._check_parts()
        if parse(name) != self:
            raise PackageNameError("{0} does not fit the {1} style of names".format(tuple(self), style))
        return name

    def _check_parts(self) -> None:
        """Raise for a part that is not of its kind, so that the name says nothing else than the parts."""
        if self.edition not in EDITIONS:
            raise PackageNameError("{0!r} is not one of the editions {1}".format(self.edition, ", ".join(EDITIONS)))
        if not _version.is_valid(self.version):
            raise PackageNameError("{0!r} is not a version".format(self.version))
        for label, pattern, part in (
            ("an OTP version", _OTP_PART, self.otp),
            ("an operating system", _OS_PART, self.os),
            ("an architecture", _ARCH_PART, self.arch),
        ):
            if part is not None and not pattern.match(part):
                raise PackageNameError("{0!r} is not {1}".format(part, label))

    def warnings(self) -> List[str]:
        """Return a line for each word that is not known and so is compared as it stands."""
        found = []
        if self.os is not None and not is_known_os(self.os):
            found.append("the operating system word '{0}' is not known and is compared as it stands".format(self.os))
        if self.arch is not None and not is_known_arch(self.arch):
            found.append("the architecture word '{0}' is not known and is compared as it stands".format(self.arch))
        return found


def parse(name_or_path: str) -> PackageName:
    """Return the parts of the name at the end of a path.

    Raises :class:`PackageNameError` with what is wrong and what a name looks like.
    """
    if not isinstance(name_or_path, str):
        raise PackageNameError("a package name is text, not {0}".format(type(name_or_path).__name__))
    name = name_or_path.rsplit("/", 1)[-1]
    if len(name) > MAX_LENGTH:
        raise PackageNameError("a package name has at most {0} characters".format(MAX_LENGTH))
    if not name.lower().endswith(_SUFFIX):
        raise _not_a_name(name, "it does not end in .zip, and only zip packages can be upgraded to without a restart")
    stem = name[: -len(_SUFFIX)]
    begin = _EDITION.match(stem)
    if begin is None:
        raise _not_a_name(name, "it does not begin with emqx-")
    edition = begin.group(1) or "ce"
    rest = stem[begin.end() :]
    parts = _style_44(rest) or _style_43(rest) or _style_42(rest)
    if parts is None:
        raise _not_a_name(name, "its parts are not in one of the known orders")
    version, otp, os_word, arch = parts
    if not _version.is_valid(version):
        raise _not_a_name(name, "'{0}' is not a version".format(version))
    return PackageName(edition, version, otp, os_word, arch)


_Parts = Tuple[str, Optional[str], Optional[str], Optional[str]]


def _style_44(rest: str) -> Optional[_Parts]:
    found = _STYLE_44.match(rest)
    return None if found is None else (found.group(1), found.group(2), found.group(3), found.group(4))


def _style_43(rest: str) -> Optional[_Parts]:
    found = _STYLE_43.match(rest)
    if found is None or _PRERELEASE_WORD.match(found.group(3)):
        return None
    return (found.group(2), None, found.group(1), found.group(3))


def _style_42(rest: str) -> Optional[_Parts]:
    found = _STYLE_42.match(rest)
    if found is None:
        return None
    text = found.group(1)
    pre = text.partition("-")[2]
    # By the grammar of versions, in 4.4.16-el8-amd64 all after the first hyphen could be a pre-release; it is a
    # name with a part missing.
    if "-" in pre or is_known_arch(pre) or is_known_os(pre) or pre.startswith("otp"):
        return None
    return (text, None, None, None)


def _not_a_name(name: str, why: str) -> PackageNameError:
    return PackageNameError(
        "'{0}' is not the name of an EMQX package: {1}; expected a name such as "
        "emqx-4.4.16-otp24.3.4.2-1-ubuntu20.04-amd64.zip or emqx-ee-centos7-4.3.5-amd64.zip".format(name[:120], why)
    )


def normalise_os(word: str) -> str:
    """Return the word by which EMQX 4.4 calls an operating system: centos7 becomes el7. Unknown words pass through."""
    lower = word.strip().lower()
    for pattern, form in _SYSTEMS:
        found = pattern.match(lower)
        if found:
            return form.format(*found.groups())
    return lower


def normalise_arch(word: str) -> str:
    """Return the word by which EMQX 4.4 calls an architecture: x86_64 becomes amd64. Unknown words pass through."""
    lower = word.strip().lower()
    return "arm" if _ARM_32.match(lower) else _ARCH_ALIASES.get(lower, lower)


def is_known_os(word: str) -> bool:
    """Tell whether the word, after its aliases, is one of an operating system that EMQX is packaged for."""
    return _KNOWN_OS.match(normalise_os(word)) is not None


def is_known_arch(word: str) -> bool:
    """Tell whether the word, after its aliases, is one of an architecture that EMQX is packaged for."""
    return normalise_arch(word) in _KNOWN_ARCH


def is_linux(word: str) -> bool:
    """Tell whether a package for this operating system is one for Linux, the only system that EMQX upgrades hot."""
    return _NOT_LINUX.match(normalise_os(word)) is None
