# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host patterns, by Ansible's own rules: ``all:!b1``, ``web:&db``, ``~re``, ``a[1:2]``, lists of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager, split_host_pattern

_SIGNS = ("!", "&")
#: What a glob or the number of a host is written with.
_GLOB = re.compile(r"[*?\[\]]")


class PatternError(ValueError):
    """A pattern that Ansible cannot read."""


class Hosts:
    """The hosts of an inventory, as the variable ``groups`` tells of them: group -> names of hosts, in order.

    As Ansible's lookup ``inventory_hostnames`` does, but for what that passes over in silence.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], loader: Any) -> None:
        self._manager = InventoryManager(loader=loader, parse=False)
        self.groups = {str(group): [str(host) for host in hosts] for group, hosts in groups.items()}
        for group, hosts in self.groups.items():
            self._manager.add_group(group)
            for host in hosts:
                self._manager.add_host(host, group=group)

    def matching(self, pattern: str | Sequence[str], limit: str | None = None) -> list[str]:
        """Names of the hosts that a pattern matches, and within ``limit``, which may be ``@`` and a file, if given.

        Raises PatternError; with ``host_pattern_mismatch`` set to ``error`` also for a part that matches nothing.
        """
        try:
            self._manager.subset(limit or None)
            return [str(host.name) for host in self._manager.get_hosts(pattern=pattern)]
        except AnsibleError as error:
            raise PatternError(str(error)) from error
        finally:
            self._manager.subset(None)

    def named(self, pattern: str | Sequence[str]) -> list[str]:
        """As :meth:`matching`, and what is exactly the name of a host or a group is that; see :func:`singles`."""
        names = set(self.names())
        wanted = [pattern] if isinstance(pattern, str) else list(pattern)
        return wanted if names.issuperset(wanted) else self.matching(self.singles(wanted))

    def singles(self, patterns: Sequence[str]) -> list[str]:
        """See :func:`singles`."""
        return singles(patterns, {*self.groups, *self.names()})

    def names(self) -> list[str]:
        """Every host."""
        return self.groups.get("all", [])


def singles(patterns: Sequence[str], names: Collection[str]) -> list[str]:
    """The single patterns that others are made of, which Ansible takes apart no further.

    Ansible reads ``Edge 1`` as two hosts, and ``!edge[1]`` as the second of a group. ``names`` are those of all hosts
    and groups: what is exactly one of them, if need be after ``!`` or ``&``, becomes a pattern for just that name.
    """
    found = []
    for pattern in patterns:
        text = pattern.strip()
        sign = text[0] if text.startswith(_SIGNS) and text not in names else ""
        name = text[len(sign) :].strip()
        if name in names:
            found.append(sign + literal(name) if _is_misread(name, sign) else sign + name)
        elif "," in text:
            found += singles(text.split(","), names)
        elif any(part.strip().lstrip("!&").strip() in names and " " in part.strip() for part in text.split(":")):
            found += singles(text.split(":"), names)
        else:
            found += [str(part) for part in split_host_pattern(text)]
    return found


def literal(name: str) -> str:
    """A pattern that only this name matches, whatever signs are in it, written with none that means anything."""
    return "~" + "".join(sign if sign.isascii() and sign.isalnum() else _escaped(sign) for sign in name) + r"\Z"


def _escaped(sign: str) -> str:
    number = ord(sign)
    return rf"\x{number:02x}" if number < 0x100 else rf"\U{number:08x}"


def _is_misread(name: str, sign: str) -> bool:
    """Whether the name by itself would not be this name to Ansible, or no text to its templates."""
    if (
        split_host_pattern(sign + name) != [sign + name]
        or name.startswith(("~", *_SIGNS))
        or (sign and _GLOB.search(name))
    ):
        return True
    try:
        # With jinja2_native, a text that looks like a number or another value becomes one.
        return not isinstance(ast.literal_eval(name), str)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
