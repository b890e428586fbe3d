# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of a run ``--tags`` and ``--skip-tags`` leave, and which of them would make a green run of nothing.

Pure functions. A run begins with its plan whatever the tags are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.settings import did_you_mean

#: The tags of a roll-out, in the order of its parts.
PHASES = ("plan", "stage", "switch", "commit")
#: The parts that a tag stands for, where it is not the one of its name alone.
_WITH = {"switch": ("switch", "soak")}
#: What Ansible itself understands as a tag that runs something here.
_OF_ANSIBLE = ("all", "always", "tagged")
_ALL = ("all", "tagged")
_CLOSE = 0.75


def problems(
    run: Iterable[str], skip: Iterable[str], phases: Sequence[str] = PHASES, *, imported: bool = False
) -> list[str]:
    """Sentences about tags that must not be run with; empty for those that mean something.

    ``phases`` are the tags that the playbook has, empty for one without. ``imported``: another playbook imports this
    one and may have tagged it, so that a tag that is not known may be one of that playbook.
    """
    run, skip = list(run), list(skip)
    unknown = _unknown(run, phases, imported)
    if phases:
        found = [_no_tag("--tags", tag, phases) for tag in unknown]
    else:
        found = [_without_tags("--tags", tag) for tag in unknown]
    skipped = _bad_skips(skip, phases)
    found += skipped
    wanted = [phase for phase in phases if phase in run]
    if wanted and not found and not set(run) & set(_ALL) and not set(wanted) - set(skip):
        found.append(
            f"--skip-tags {','.join(skip)} takes out all that --tags {','.join(run)} asks for, so that nothing would "
            "be done; expected is something that is left. Give one of the two."
        )
    return found


def chosen(run: Iterable[str], skip: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """The parts of a roll-out that are left, always with the plan.

    ``own`` are tags that whoever imports the playbook put on all of it: such a tag asks for all parts.
    """
    run, skip = set(run), set(skip)
    everything = bool(run & {*_ALL, *own})
    left = [phase for phase in PHASES if phase == "plan" or ((everything or phase in run) and phase not in skip)]
    return [part for phase in left for part in _WITH.get(phase, (phase,))]


def _unknown(run: Sequence[str], phases: Sequence[str], imported: bool) -> list[str]:
    if "all" in run:
        return []
    found = [tag for tag in run if tag not in phases and tag not in _OF_ANSIBLE]
    if not imported:
        return found
    return [tag for tag in found if tag in ("untagged", *PHASES) or did_you_mean(tag, PHASES, _CLOSE)]


def _no_tag(option: str, tag: str, phases: Sequence[str]) -> str:
    known = ", ".join((*phases, *_OF_ANSIBLE))
    if tag == "untagged":
        return f"{option} untagged finds nothing, for all of this playbook has tags; expected are tags out of {known}."
    near = did_you_mean(tag, phases)
    remedy = f"Did you mean {near}?" if near else "Take it out."
    return f"{option} {tag} is no tag of this playbook; expected are tags out of {known}. {remedy}"


def _without_tags(option: str, tag: str) -> str:
    return (
        f"{option} {tag} finds nothing, for this playbook has no tags; expected is a run without tags. "
        f"Run it without {option}; a roll-out in parts is emqx.fleet.upgrade with the tags {', '.join(PHASES)}."
    )


def _bad_skips(skip: Sequence[str], phases: Sequence[str]) -> list[str]:
    """Tags that must not be skipped. One that is like none of ours may be a tag of tasks in a hook."""
    found = []
    for tag in skip:
        if tag in ("always", "all", "tagged", "untagged") or (tag == "plan" and phases):
            found.append(
                f"--skip-tags {tag} leaves out the plan, without which nothing can be done; expected are "
                + (f"tags out of {', '.join(phases[1:])}." if phases else "no tags, since this playbook has none.")
                + " Take it out."
            )
        elif not phases and (tag in PHASES or did_you_mean(tag, PHASES, _CLOSE)):
            found.append(_without_tags("--skip-tags", tag))
        elif tag not in phases and did_you_mean(tag, phases, _CLOSE):
            found.append(
                f"--skip-tags {tag} is no tag of this playbook, so that it would skip nothing; expected are tags out "
                f"of {', '.join(phases[1:])}. Did you mean {did_you_mean(tag, phases)}?"
            )
    return found
