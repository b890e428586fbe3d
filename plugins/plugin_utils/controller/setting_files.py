# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files on the controller that settings name: whether they are there, and whether they can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.settings import PREFIX, RULES, Problem, shown

#: What a name may be long on all file systems that Linux has.
_NAME_BYTES = 255


def packages(sources: Iterable[str], base: str) -> list[Problem]:
    """Problems with sources of packages: local ones must be there. ``base`` is where relative paths begin."""
    found = []
    for source in sources:
        scheme, separator, _rest = source.partition("://")
        if separator:
            if scheme not in ("http", "https"):
                found.append(
                    Problem(
                        "packages", f"names {shown(source)}", "are paths, or URLs of http or https", "Mend the URL."
                    )
                )
            continue
        path = _absolute(source, base)
        if not _exists(path):
            found.append(
                Problem(
                    "packages",
                    f"names {shown(source)}, and there is nothing at {path}",
                    "are zips and folders of zips on the controller",
                    f"Put the packages there, or set {PREFIX}packages to where they are.",
                )
            )
    return found


def report(name: str, path: str, base: str) -> tuple[str, list[Problem]]:
    """The absolute path of a report (``name``: of the setting), and why it cannot be written. Leaves nothing behind."""
    absolute = _absolute(path, base)
    reason = _not_writable(absolute, folder=path.endswith(os.sep))
    if not reason:
        return absolute, []
    return absolute, [
        Problem(
            name,
            f"is {shown(path)}, and {reason}",
            "is a file that can be written, in a folder that is there or can be made",
            f"Write, for example, {PREFIX}{name}={RULES[name].example}.",
        )
    ]


def hook(path: str, folders: Sequence[str]) -> str:
    """The absolute path of a hook: in the first of the folders that has it, else in the first of all."""
    candidates = [_absolute(path, folder) for folder in folders]
    return next((candidate for candidate in candidates if _exists(candidate)), candidates[0])


def missing_hooks(written: Mapping[str, str], absolute: Mapping[str, str], folders: Iterable[str]) -> list[Problem]:
    """Problems with hooks whose file is not there. ``absolute`` is what :func:`hook` made of them."""
    places = ", ".join(dict.fromkeys(folders))
    found = []
    for name, path in absolute.items():
        if _exists(path):
            continue
        given = os.path.expanduser(written[name])
        where = "and there is no such file" if os.path.isabs(given) else f"and there is no such file in {places}"
        found.append(
            Problem(
                "hooks",
                f"names {shown(written[name])} for {name}, {where}",
                "are files of tasks",
                "Mend the path; an absolute one is found from anywhere.",
            )
        )
    return found


def _absolute(path: str, base: str) -> str:
    return os.path.normpath(os.path.join(base, os.path.expanduser(path)))


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # a path with a null byte
        return False


def _not_writable(path: str, folder: bool) -> str:
    try:
        real = os.path.realpath(path)
        if folder or os.path.isdir(real):
            return "that is a folder"
        if any(len(os.fsencode(part)) > _NAME_BYTES for part in real.split(os.sep)):
            return "a part of that is longer than a file's name can be"
        if os.path.exists(real):
            # Without waiting for a reader, should it be a pipe; and nothing is written.
            os.close(os.open(real, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
            return ""
        parent = os.path.dirname(real)
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
    except OSError as error:
        return f"that cannot be written ({error.strerror})"
    except ValueError as error:
        return f"that is no path ({error})"
    if not os.path.isdir(parent):
        return f"{parent} is no folder"
    try:
        # Really, since root is told of no permission that is lacking. The file has no name, or loses it at once.
        with tempfile.TemporaryFile(dir=parent):
            return ""
    except OSError as error:
        return f"nothing can be written into {parent} ({error.strerror})"
