# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tags a run may have, and what is left of it."""

from __future__ import annotations

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import tags

KNOWN = "plan, stage, switch, commit, all, always, tagged"


@pytest.mark.parametrize(
    ("run", "skip", "left"),
    [
        (["all"], [], ["plan", "stage", "switch", "soak", "commit"]),
        (["all", "deploy"], [], ["plan", "stage", "switch", "soak", "commit"]),
        (["tagged"], [], ["plan", "stage", "switch", "soak", "commit"]),
        (["always"], [], ["plan"]),
        (["plan"], [], ["plan"]),
        (["stage"], [], ["plan", "stage"]),
        (["commit", "switch"], [], ["plan", "switch", "soak", "commit"]),
        (["all"], ["commit"], ["plan", "stage", "switch", "soak"]),
        (["all"], ["stage", "switch", "commit"], ["plan"]),
        (["all", "stage"], ["stage"], ["plan", "switch", "soak", "commit"]),
        (["switch", "commit"], ["commit"], ["plan", "switch", "soak"]),
        (["all"], ["slow"], ["plan", "stage", "switch", "soak", "commit"]),
    ],
)
def test_tags_that_mean_something(run: list[str], skip: list[str], left: list[str]) -> None:
    assert tags.problems(run, skip) == []
    assert tags.chosen(run, skip) == left


def test_a_tag_of_a_playbook_around_asks_for_all() -> None:
    assert tags.chosen(["emqx"], [], own=["emqx"]) == ["plan", "stage", "switch", "soak", "commit"]
    assert tags.chosen(["emqx"], ["commit"], own=["emqx"]) == ["plan", "stage", "switch", "soak"]
    assert tags.chosen(["config"], [], own=["emqx"]) == ["plan"]


@pytest.mark.parametrize(
    ("run", "skip", "sentence"),
    [
        (
            ["swich"],
            [],
            f"--tags swich is no tag of this playbook; expected are tags out of {KNOWN}. Did you mean switch?",
        ),
        (["deploy"], [], f"--tags deploy is no tag of this playbook; expected are tags out of {KNOWN}. Take it out."),
        (
            ["stage", "Comit"],
            [],
            f"--tags Comit is no tag of this playbook; expected are tags out of {KNOWN}. Did you mean commit?",
        ),
        (
            ["untagged"],
            [],
            f"--tags untagged finds nothing, for all of this playbook has tags; expected are tags out of {KNOWN}.",
        ),
        (["never"], [], f"--tags never is no tag of this playbook; expected are tags out of {KNOWN}. Take it out."),
        *[
            (
                ["all"],
                [tag],
                f"--skip-tags {tag} leaves out the plan, without which nothing can be done; expected are tags out of "
                f"stage, "
                "switch, commit. Take it out.",
            )
            for tag in ("always", "plan", "all", "tagged", "untagged")
        ],
        (
            ["all"],
            ["swicth"],
            "--skip-tags swicth is no tag of this playbook, so that it would skip nothing; expected are tags out of "
            "stage, switch, commit. Did you mean switch?",
        ),
        (
            ["switch", "commit"],
            ["commit", "switch"],
            "--skip-tags commit,switch takes out all that --tags switch,commit asks for, so that nothing would be "
            "done; expected is something that is left. Give one of the two.",
        ),
    ],
)
def test_tags_that_would_do_nothing_or_not_what_was_meant(run: list[str], skip: list[str], sentence: str) -> None:
    assert tags.problems(run, skip) == [sentence]


@pytest.mark.parametrize(("run", "skip"), [(["all"], []), (["always"], []), (["tagged"], []), (["all"], ["slow"])])
def test_what_a_playbook_without_tags_may_be_run_with(run: list[str], skip: list[str]) -> None:
    assert tags.problems(run, skip, ()) == []


@pytest.mark.parametrize("tag", ["stage", "plan", "comit", "deploy", "untagged"])
def test_a_playbook_without_tags(tag: str) -> None:
    assert tags.problems([tag], [], ()) == [
        f"--tags {tag} finds nothing, for this playbook has no tags; expected is a run without tags. Run it without "
        "--tags; a roll-out in parts is emqx.fleet.upgrade with the tags plan, stage, switch, commit."
    ]


@pytest.mark.parametrize("tag", ["stage", "plan", "comit"])
def test_skipping_parts_of_a_playbook_without_tags(tag: str) -> None:
    assert tags.problems(["all"], [tag], ()) == [
        f"--skip-tags {tag} finds nothing, for this playbook has no tags; expected is a run without tags. Run it "
        f"without "
        "--skip-tags; a roll-out in parts is emqx.fleet.upgrade with the tags plan, stage, switch, commit."
    ]


@pytest.mark.parametrize("tag", ["always", "all", "tagged", "untagged"])
def test_skipping_all_of_a_playbook_without_tags(tag: str) -> None:
    assert tags.problems(["all"], [tag], ()) == [
        f"--skip-tags {tag} leaves out the plan, without which nothing can be done; expected are no tags, since this "
        "playbook has none. Take it out."
    ]


def test_an_imported_playbook_may_have_tags_of_the_one_around_it() -> None:
    assert tags.problems(["emqx"], [], imported=True) == []
    assert tags.problems(["emqx", "stage"], [], imported=True) == []
    assert tags.problems(["emqx"], [], (), imported=True) == []
    assert len(tags.problems(["swich"], [], imported=True)) == 1
    assert len(tags.problems(["untagged"], [], imported=True)) == 1
    assert len(tags.problems(["stage"], [], (), imported=True)) == 1
    assert len(tags.problems(["all"], ["always"], imported=True)) == 1


def test_every_bad_tag_is_told_of() -> None:
    assert len(tags.problems(["swich", "stag"], ["always", "comit"])) == 4
