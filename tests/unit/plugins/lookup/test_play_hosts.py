# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play's ``hosts`` refuses, word by word; that ansible-playbook then ends is shown by the integration tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.emqx.fleet.plugins.lookup import play_hosts
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import tags

ROOT = Path(__file__).resolve().parents[4]
#: Those that make something for AWX have no nodes.
ON_NODES = sorted(path for path in (ROOT / "playbooks").glob("*.yml") if not path.stem.startswith("awx_"))
GROUPS = {"all": ["b1", "b2", "c1"], "ungrouped": [], "web": ["b1", "b2"], "db": ["c1"], "empty": []}


def refusals(
    pattern: str, limit: str | None = None, phases: Any = tags.PHASES, groups: Any = None, **given: Any
) -> list[str]:
    variables = {
        "groups": GROUPS if groups is None else groups,
        "ansible_limit": limit,
        "ansible_inventory_sources": ("/etc/inv", "/etc/more"),
    }
    given.setdefault("args", ("emqx.fleet.upgrade",))
    return play_hosts.refusals([pattern], variables, given, phases, DataLoader())


@pytest.mark.parametrize(
    ("terms", "pattern"),
    [
        (["all"], "all"),
        ([" web "], "web"),
        ([""], "all"),
        ([None], "all"),
        ([[]], "all"),
        ([["web", "!b1"]], "web,!b1"),
        ([("web", None, " ", "db")], "web,db"),
        (["web", "db"], "web,db"),
        (['["web", "db"]'], "web,db"),
        (["b1\nb2\n"], "b1,b2"),
        ([["web:!b1", "db:&x"]], "web,!b1,db,&x"),
        ([["[::1]:22", "a[1:2]"]], "[::1]:22,a[1:2]"),
        (["[::1]"], "[::1]"),
        (["all:!b1"], "all:!b1"),
    ],
)
def test_patterns_as_people_give_them(terms: list[Any], pattern: str) -> None:
    assert play_hosts.pattern_of(terms) == pattern


@pytest.mark.parametrize(
    ("terms", "pattern"),
    [
        (["Edge 1"], r"~Edge\x201\Z"),
        ([["Edge 1", "b1"]], r"~Edge\x201\Z,b1"),
        (["all:!Edge 1"], r"all,!~Edge\x201\Z"),
        ([["[1, 2]", "b1"]], r"~\x5b1\x2c\x202\x5d\Z,b1"),
        (["[1, 2]"], r"~\x5b1\x2c\x202\x5d\Z"),
        (["b1"], "b1"),
    ],
)
def test_names_that_ansible_takes_apart(terms: list[Any], pattern: str) -> None:
    assert play_hosts.pattern_of(terms, {"Edge 1", "[1, 2]", "b1"}) == pattern


def test_messages_show_the_names_themselves() -> None:
    groups = {"all": ["Edge 1", "b1"], "web": ["b1"]}
    assert refusals("Edge 1", groups=groups) == []
    assert refusals("Edge 1", limit="web", groups=groups) == [
        "The host pattern 'Edge 1' (emqx_upgrade_hosts) matches 1 host of the inventory, and none is within --limit "
        "web; expected are hosts that both match. Mend the one or the other."
    ]


def test_task_by_task() -> None:
    asks = (
        "--step asks before each task whether to leave it out, and the later ones are built on all of them; expected "
    )
    assert refusals("all", step=True) == [
        f"{asks}is a run without it. Run it without --step, with one after another of --tags plan, --tags stage, "
        "--tags switch, --tags commit to go part by part."
    ]
    assert refusals("all", step=True, phases=[]) == [f"{asks}is a run without it. Run it without --step."]
    assert refusals("all", step=False) == []


@pytest.mark.parametrize("path", ON_NODES, ids=lambda path: path.stem)
def test_no_play_leaves_to_a_configuration_what_would_end_it_in_its_middle(path: Path) -> None:
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        told = {key: play.get(key) for key in ("gather_facts", "any_errors_fatal", "strategy", "timeout")}
        assert told == {
            "gather_facts": False,
            "any_errors_fatal": False,
            "strategy": "ansible.builtin.linear",
            "timeout": 0,
        }
        assert not {"serial", "max_fail_percentage", "ignore_errors", "ignore_unreachable"} & set(play)


@pytest.mark.parametrize("path", ON_NODES, ids=lambda path: path.stem)
def test_all_plays_of_a_playbook_are_for_the_same_hosts(path: Path) -> None:
    """The report must be for those that were worked on, however the pattern is written."""
    patterns = {play["hosts"] for play in yaml.safe_load(path.read_text(encoding="utf-8"))}
    assert len(patterns) == 1
    assert "emqx.fleet.play_hosts" in patterns.pop()


@pytest.mark.parametrize("pattern", ["all", "web", "web:!b1", "~b.", "b1,c1", "localhost"])
def test_patterns_that_match(pattern: str) -> None:
    assert refusals(pattern) == []
    assert refusals("all", limit="web:!b1", tags=("stage",)) == []


def test_a_pattern_that_matches_nothing() -> None:
    assert refusals("webb") == [
        "The host pattern 'webb' (emqx_upgrade_hosts) matches no host of the inventory (/etc/inv, /etc/more), which "
        "has 3 hosts; expected is a pattern that matches the hosts to work on. Did you mean web?"
    ]
    assert refusals("empty") == [
        "The host pattern 'empty' (emqx_upgrade_hosts) matches no host of the inventory (/etc/inv, /etc/more), which "
        "has 3 hosts; expected is a pattern that matches the hosts to work on. See what ansible-inventory --graph "
        "shows."
    ]


def test_a_pattern_that_ansible_cannot_read() -> None:
    assert refusals("web[7]") == [
        "The host pattern 'web[7]' (emqx_upgrade_hosts) cannot be used: No hosts matched the subscripted pattern "
        "'web[7]'; expected is a pattern that matches hosts of the inventory. Mend the pattern, or the inventory."
    ]


def test_a_limit_that_leaves_nothing(tmp_path: Path) -> None:
    assert refusals("db", limit="web") == [
        "The host pattern 'db' (emqx_upgrade_hosts) matches 1 host of the inventory, and none is within --limit web; "
        "expected are hosts that both match. Mend the one or the other."
    ]
    (tmp_path / "limit").write_text("c1\n", encoding="utf-8")
    assert f"none is within --limit @{tmp_path}/limit; " in refusals("web", limit=f"@{tmp_path}/limit")[0]
    assert refusals("db", limit=f"@{tmp_path}/limit") == []
    assert "none is within --limit web; " in refusals("db", subset="web")[0]


@pytest.mark.parametrize("groups", [{}, {"all": [], "ungrouped": []}])
def test_an_inventory_without_hosts(groups: Any) -> None:
    assert refusals("all", groups=groups) == [
        "The inventory (/etc/inv, /etc/more) has no hosts; expected is one with the hosts of the fleet. Name it with "
        "-i, and see that ansible-inventory --graph shows the hosts."
    ]


def test_a_start_in_the_middle() -> None:
    assert refusals("all", start_at_task="Commit") == [
        "--start-at-task 'Commit' leaves out tasks that the later ones are built on; expected is a run from its "
        "beginning. Run it without --start-at-task: it finds where every node is, and skips what is done."
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(refusals("webb", tags=("swich",), skip_tags=("always",), start_at_task="x")) == 4


@pytest.mark.parametrize(
    "playbook", ["emqx.fleet.upgrade", str(ROOT / "playbooks/upgrade.yml"), str(ROOT / "tests/../playbooks/x.yml")]
)
def test_tags_of_a_playbook_of_the_collection(playbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play_hosts, "_PLAYBOOKS", ROOT / "playbooks")
    assert len(refusals("all", tags=("emqx",), args=(playbook,))) == 1
    assert len(refusals("all", tags=("stage",), args=(playbook,), phases=())) == 1


@pytest.mark.parametrize(
    "playbooks", [("site.yml",), ("emqx.fleet.upgrade", "site.yml"), ("/srv/playbooks/upgrade.yml",)]
)
def test_tags_of_a_playbook_around_it(playbooks: tuple[str, ...]) -> None:
    assert refusals("all", tags=("emqx",), args=playbooks) == []
    assert len(refusals("all", tags=("swich",), args=playbooks)) == 1


PARTS = {"1": ["b1", "b2"], "2": ["c1"]}


@pytest.mark.parametrize(
    ("part", "parts", "hosts"),
    [
        (None, PARTS, []),
        ("", PARTS, []),
        ("1", PARTS, ["b1", "b2"]),
        (2, PARTS, ["c1"]),
        ("2", {1: ["b1"], 2: ["c1"]}, ["c1"]),
        ("2", '{"1": ["b1"], "2": ["c1"]}', ["c1"]),
    ],
)
def test_a_job_for_a_part_of_the_fleet(part: Any, parts: Any, hosts: list[str]) -> None:
    assert play_hosts.hosts_of_part({"emqx_fleet_part": part, "emqx_fleet_parts": parts}) == (hosts, "")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, "emqx_fleet_part is 3, and emqx_fleet_parts is not set"),
        ({}, "emqx_fleet_part is 3, and emqx_fleet_parts is not set"),
        ("nonsense", "emqx_fleet_part is 3, and emqx_fleet_parts is not set"),
        (PARTS, "emqx_fleet_part is 3, and the parts of the fleet are 1, 2; expected is one of them."),
        ({"3": []}, "the parts of the fleet are 3"),
    ],
)
def test_a_part_that_there_is_not_is_never_the_whole_fleet(parts: Any, words: str) -> None:
    hosts, problem = play_hosts.hosts_of_part({"emqx_fleet_part": "3", "emqx_fleet_parts": parts})
    assert hosts == []
    assert words in problem
