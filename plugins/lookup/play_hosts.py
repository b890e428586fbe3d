# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: play_hosts
short_description: The host pattern of a play, unless the run would be one of nothing
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Returns the host pattern as it is given, for the keyword C(hosts) of a play.
  - >-
    What is exactly the name of a host or a group means that, also where Ansible would take the name apart, as with
    blanks, commas and brackets; it is then returned as a regular expression.
  - >-
    Fails where Ansible would do nothing, or not what was asked for, and end with exit code 0: the pattern matches no
    host, or none within C(--limit); C(--start-at-task) or C(--step) leave out what the rest is built on; C(--tags) or
    C(--skip-tags) name what is not there, or leave nothing.
  - An empty pattern means V(all).
  - >-
    In a job that is for a part of the fleet, which the variable C(emqx_fleet_part) says, it is the hosts of that part
    by C(emqx_fleet_parts), as the playbook C(emqx.fleet.split) hands them on.
  - Says nothing about C(--syntax-check), C(--list-hosts), C(--list-tasks) and C(--list-tags), which do nothing anyway.
options:
  _terms:
    description: The host pattern, as a text or as a list.
    type: list
    elements: raw
    required: true
  tags:
    description: The tags of the play that stand for parts of its work; an empty list for a play without any.
    type: list
    elements: str
    default: [plan, stage, switch, commit]
notes:
  - Meant for the keyword C(hosts) alone, which is worked out before anything is done.
"""

EXAMPLES = r"""
- name: Upgrade
  hosts: "{{ lookup('emqx.fleet.play_hosts', emqx_upgrade_hosts | default('all')) }}"
  tasks: []

- name: Look
  hosts: "{{ lookup('emqx.fleet.play_hosts', emqx_upgrade_hosts | default('all'), tags=[]) }}"
  tasks: []
"""

RETURN = r"""
_raw:
  description: The host pattern.
  type: list
  elements: str
"""

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import host_patterns, job
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.host_patterns import Hosts, PatternError
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings, tags

#: Options with which ansible-playbook only shows something.
_ONLY_SHOWS = ("syntax", "listhosts", "listtasks", "listtags")
_PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
_COLLECTION = "emqx.fleet."


class LookupModule(LookupBase):
    """Runs in Ansible's main process, since that is where a play's ``hosts`` is worked out."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        given = context.CLIARGS
        part, problem = hosts_of_part(known)
        if problem:
            raise AnsibleLookupError(f"No node was touched. {problem}")
        terms = [part] if part else terms
        if not any(given.get(option) for option in _ONLY_SHOWS):
            found = refusals(terms, known, given, self.get_option("tags"), self._loader)
            if found:
                raise AnsibleLookupError(f"No node was touched. {' '.join(found)}")
        return [pattern_of(terms, _names(known))]


def hosts_of_part(variables: Mapping[str, Any]) -> tuple[list[str], str]:
    """The hosts of the part of the fleet that the job is for, empty where it is for all; and what is wrong with that.

    ``emqx_fleet_parts`` is what ``emqx.fleet.split`` handed on, and ``emqx_fleet_part`` says which of them it is.
    """
    wanted, parts = job.part(variables), job.from_text(variables.get("emqx_fleet_parts"))
    if not wanted:
        return [], ""
    if not isinstance(parts, Mapping) or not parts:
        return [], (
            f"emqx_fleet_part is {wanted}, and emqx_fleet_parts is not set; expected are the parts that a job of "
            "emqx.fleet.split before this one has handed on. Let that job come first in the workflow."
        )
    found = next((hosts for name, hosts in parts.items() if str(name) == wanted), None)
    if not isinstance(found, (list, tuple)) or not found:
        named = ", ".join(str(name) for name in parts)
        return [], (
            f"emqx_fleet_part is {wanted}, and the parts of the fleet are {named}; expected is one of them. Give "
            "emqx.fleet.split as many parts as the workflow has jobs for them."
        )
    return [str(host) for host in found], ""


def pattern_of(terms: Sequence[Any], names: Collection[str] = ()) -> str:
    """One text for Ansible out of a text, a list, a list as a text, or nothing.

    ``names`` are those of all hosts and groups, see :func:`host_patterns.singles`.
    """
    parts = _parts(terms, names)
    pieces = host_patterns.singles(parts, names)
    # In a text with commas, Ansible takes nothing else for a sign between two patterns.
    if len(parts) > 1 or any(piece.startswith(("~", "!~", "&~")) for piece in pieces):
        return ",".join(pieces)
    return parts[0] if parts else "all"


def _parts(terms: Sequence[Any], names: Collection[str]) -> list[str]:
    parts = [
        line.strip() for term in terms for part in _listed(term, names) if part is not None for line in _lines(part)
    ]
    return [part for part in parts if part]


def _lines(part: Any) -> list[str]:
    return str(part).splitlines()


def _listed(term: Any, names: Collection[str]) -> Sequence[Any]:
    if isinstance(term, str) and term.strip().startswith("[") and term.strip() not in names:
        with contextlib.suppress(ValueError):
            term = json.loads(term)
    return term if isinstance(term, (list, tuple)) else [term]


def _names(variables: Mapping[str, Any]) -> set[str]:
    groups = variables.get("groups") or {}
    return {str(name) for name in (*groups, *(groups.get("all") or ()))}


def refusals(
    terms: Sequence[Any], variables: Mapping[str, Any], given: Mapping[str, Any], phases: Sequence[str], loader: Any
) -> list[str]:
    """Sentences about a run that would do nothing; ``given`` are the options of ansible-playbook."""
    found = []
    if given.get("start_at_task"):
        found.append(
            f"--start-at-task {given['start_at_task']!r} leaves out tasks that the later ones are built on; expected "
            "is a run from its beginning. Run it without --start-at-task: it finds where every node is, and skips what "
            "is done."
        )
    if given.get("step"):
        found.append(
            "--step asks before each task whether to leave it out, and the later ones are built on all of them; "
            f"expected is a run without it. Run it without --step{_parts_of(phases)}."
        )
    imported = not all(_is_ours(str(playbook)) for playbook in given.get("args") or ())
    found += tags.problems(given.get("tags") or ("all",), given.get("skip_tags") or (), phases, imported=imported)
    found += _no_hosts(terms, variables, given, loader)
    return found


def _parts_of(phases: Sequence[str]) -> str:
    return f", with one after another of --tags {', --tags '.join(phases)} to go part by part" if phases else ""


def _is_ours(playbook: str) -> bool:
    """Whether a playbook of the command line is one of this collection, by its name or its path."""
    return playbook.startswith(_COLLECTION) or Path(os.path.realpath(playbook)).parent == _PLAYBOOKS


def _no_hosts(terms: Sequence[Any], variables: Mapping[str, Any], given: Mapping[str, Any], loader: Any) -> list[str]:
    pattern = ",".join(_parts(terms, _names(variables))) or "all"
    name = f"{settings.PREFIX}{settings.PATTERN}"
    hosts = Hosts(variables.get("groups") or {}, loader)
    limit = variables.get("ansible_limit") or given.get("subset")
    sources = ", ".join(str(source) for source in variables.get("ansible_inventory_sources") or ()) or "no source"
    try:
        wanted = pattern_of(terms, _names(variables))
        everywhere = hosts.matching(wanted)
        here = hosts.matching(wanted, limit) if limit else everywhere
    except PatternError as error:
        return [
            f"The host pattern {pattern!r} ({name}) cannot be used: {str(error).rstrip('.')}; expected is a pattern "
            "that matches hosts of the inventory. Mend the pattern, or the inventory."
        ]
    if here:
        return []
    if everywhere:
        return [
            f"The host pattern {pattern!r} ({name}) matches {_count(everywhere)} of the inventory, and none "
            f"is within --limit {limit}; expected are hosts that both match. Mend the one or the other."
        ]
    if not hosts.names():
        return [
            f"The inventory ({sources}) has no hosts; expected is one with the hosts of the fleet. Name it with -i, "
            "and see that ansible-inventory --graph shows the hosts."
        ]
    groups = [group for group, members in hosts.groups.items() if members]
    near = settings.did_you_mean(pattern, [*groups, *hosts.names()])
    return [
        f"The host pattern {pattern!r} ({name}) matches no host of the inventory ({sources}), which has "
        f"{_count(hosts.names())}; expected is a pattern that matches the hosts to work on. "
        + (f"Did you mean {near}?" if near else "See what ansible-inventory --graph shows.")
    ]


def _count(hosts: Sequence[str]) -> str:
    return "1 host" if len(hosts) == 1 else f"{len(hosts)} hosts"
