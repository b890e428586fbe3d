# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host patterns, by Ansible's own rules: ``all:!b1``, ``web:&db``, ``~re``, ``a[1:2]``, lists of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager


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
        """As :meth:`matching`, and a text that is exactly a host's name is that host.

        Names with blanks, commas or brackets are none by themselves to Ansible, which takes such a pattern apart.
        """
        names = set(self.names())
        wanted = [pattern] if isinstance(pattern, str) else list(pattern)
        return wanted if names.issuperset(wanted) else self.matching(pattern)

    def names(self) -> list[str]:
        """Every host."""
        return self.groups.get("all", [])
