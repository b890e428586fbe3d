# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a fleet for people, and as an inventory. Pure functions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.split import Part, Split
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import text_table

HEADER = ("part", "hosts", "clusters", "which")
#: How the name of the group of a part begins.
GROUP = "emqx_part_"

_CLUSTERS_SHOWN = 4
_NAMES_SHOWN = 20
#: What Ansible takes a name in a file for something else by: a range of hosts, or a port.
_TAKEN_APART = re.compile(r"[\[\]]|\A[^:]*:[0-9]+\Z")
_HEAD = """\
# The parts of a fleet, made by emqx.fleet.split. Variables are where they were: give this file together with the
# inventory that it was made from, as in {options} -i THIS-FILE -e emqx_upgrade_hosts={group}
---
"""


def lines(split: Split) -> list[str]:
    """The table, what there is in all, and what needs attention."""
    rows = [
        (number, len(part.hosts), len(part.clusters), _which(part)) for number, part in enumerate(split.parts, start=1)
    ]
    text = text_table.lines(HEADER, rows)
    hosts, clusters = sum(row[1] for row in rows), sum(row[2] for row in rows)
    text += ["", f"{_many(hosts, 'host')} of {_many(clusters, 'cluster')}, in {_many(len(rows), 'part')}."]
    return text + ([""] + split.warnings if split.warnings else [])


def inventory(split: Split, sources: Sequence[str]) -> str:
    """An inventory file with a group for each part. ``sources``: the inventories that the hosts are from.

    Raises ValueError for hosts that would have other names there.
    """
    parts = split.by_name()
    odd = [host for hosts in parts.values() for host in hosts if _TAKEN_APART.search(host)]
    if odd:
        raise ValueError(
            f"Ansible would take these names apart in an inventory file: {listed(odd, _NAMES_SHOWN)}; expected are "
            "names without brackets and without a port. Rename these hosts (with ansible_host and ansible_port), or "
            "use emqx_fleet_parts, which has them as they are."
        )
    # Ansible's own kinds of texts are unknown to YAML.
    groups: dict[str, dict[str, dict[str, None]]] = {
        f"{GROUP}{name}": {"hosts": dict.fromkeys(map(str, hosts))} for name, hosts in parts.items()
    }
    options = " ".join(f"-i {shlex.quote(' '.join(source.split()))}" for source in sources or ["INVENTORY"])
    head = _HEAD.format(options=options, group=f"{GROUP}1")
    return head + yaml.safe_dump(groups, sort_keys=False, allow_unicode=True, width=120)


def _which(part: Part) -> str:
    return listed([f"{label} ({len(hosts)})" for label, hosts in part.clusters.items()], _CLUSTERS_SHOWN)


def _many(count: int, word: str) -> str:
    return f"1 {word}" if count == 1 else f"{count} {word}s"
