# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an error of Ansible says, in one line: its reason and where it was, without lines of the file, which may tell a
secret.
"""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleError, AnsibleFileNotFound

#: From here on ansible-core 2.16 quotes the file.
_QUOTED = re.compile(r"\s*The error appears to be in .*|\s*The offending line appears to be:.*", re.DOTALL)
_POSITION = re.compile(r"The error appears to be in '(?P<path>[^\n]*)': line (?P<line>\d+), column (?P<column>\d+)")
#: It tries JSON as well, and tells of both.
_BOTH_TRIED = re.compile(
    r"We were unable to read either as JSON nor YAML.*Syntax Error while loading YAML\.", re.DOTALL
)
#: Of Ansible's inner workings.
_INNER = re.compile(r":? ?The ds \(.*", re.DOTALL)


def reason(error: BaseException) -> str:
    """Why something failed, in one line without a full stop at its end."""
    if isinstance(error, AnsibleFileNotFound) and error.file_name:
        return f"there is no file {error.file_name}, or it cannot be read"
    text = error.message if isinstance(error, AnsibleError) else str(error)
    text = _INNER.sub("", _BOTH_TRIED.sub("YAML parsing failed:", _QUOTED.sub("", str(text))))
    if "surrogates not allowed" in text:
        return "it is no text in UTF-8"
    text = " ".join(text.split()).rstrip(".")
    # Several layers of ansible-core repeat the sentence of the one below.
    parts = list(dict.fromkeys(part.rstrip(".") for part in text.split(". ")))
    return ". ".join(parts) or type(error).__name__


def position(error: BaseException) -> str:
    """Where an error was, as ``/path:line:column``; empty where Ansible does not know it."""
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        found = _position_of(getattr(here, "obj", None)) or _told(str(here))
        if found:
            return found
        here = here.__cause__ or getattr(here, "orig_exc", None)
    return ""


def _position_of(obj: Any) -> str:
    """Of an object that was read from a file: ansible-core up to 2.18 keeps it in the object, later ones in a tag."""
    kept = getattr(obj, "ansible_pos", None)
    if kept and kept[0]:
        return ":".join(str(part) for part in kept)
    try:
        from ansible._internal._datatag._tags import Origin  # not there before 2.19
    except ImportError:
        return ""
    origin = obj if isinstance(obj, Origin) else Origin.get_tag(obj)
    return str(origin) if origin is not None and origin.path else ""


def _told(text: str) -> str:
    found = _POSITION.search(text)
    return ":".join(found.group("path", "line", "column")) if found else ""
