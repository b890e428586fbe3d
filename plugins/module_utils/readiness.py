# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a node is still as it was planned, told on the node itself just before its turn."""

import hashlib
import json
from typing import Any, Dict, Iterable, List, Mapping, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import clients

#: What must not change while a node is watched without that somebody looks what it means.
WATCHED = (
    "pid",
    "supervisor",
    "boot",
    "alarms",
    "listeners",
    "listener_answers",
    "plugins",
    "modules",
    "settings",
)


def absent_members(facts: Mapping[str, Any], expected: Iterable[str]) -> List[str]:
    """Members of the cluster that do not run, by NodeFacts: of those that are ``expected``, and of all it knows."""
    cluster = facts["cluster"]
    return sorted((set(expected) - set(cluster["running"])) | set(cluster["stopped"]))


def is_as_planned(
    facts: Mapping[str, Any],
    running: str,
    cluster: Iterable[str],
    least: Optional[int] = None,
    boots: Optional[str] = None,
    same: Optional[Mapping[str, str]] = None,
    books: Optional[Mapping[str, Any]] = None,
    tolerance: int = 0,
) -> bool:
    """Whether the node runs this version, and its cluster is whole; on the controller the checks tell what is not.

    ``boots``: the version that a restart must boot. ``same``: digests (:func:`digests`) of facts that are as they were.
    ``books``: those of the clients from before (:func:`clients.books`), since when no more than ``tolerance`` may have
    been cut off; where they do not tell, there must be ``least`` connections.
    """
    if facts["state"] != "running" or facts["running"] != running or absent_members(facts, cluster):
        return False
    if boots is not None and facts["boot"]["version"] != boots:
        return False
    if same and digests(facts) != dict(same):
        return False
    lost = clients.cut_off(books, facts.get("client_books"))
    if lost is not None:
        return lost <= tolerance
    return least is None or (facts["connections"] or 0) >= least


def digests(facts: Mapping[str, Any]) -> Dict[str, str]:
    """A digest of each of the facts that are watched, the same on the node and on the controller."""
    texts = {name: json.dumps(facts.get(name), sort_keys=True) for name in WATCHED}
    return {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in texts.items()}
