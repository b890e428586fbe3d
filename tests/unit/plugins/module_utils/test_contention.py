# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets a cluster, case by case, and the words for it; what comes of any order is simulated with the controller."""

import json
import shlex
from typing import Any, Dict, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import contention
from ansible_collections.emqx.fleet.plugins.module_utils.contention import PROCEED, REFUSE, WAIT, YIELD, Member

NOW = 1764238500.0  # 2025-11-27 10:15:00 UTC


def run(name: str, process: str = "1@1", left: float = 100, **more: Any) -> Dict[str, Any]:
    found = {"id": name, "who": "ann@tower", "controller": "tower", "controller_process": process}
    return dict(dict(found, since=NOW, lease_until=NOW + left, held=True, took_over=[]), **more)


def wanting(name: str, process: str = "1@1", **more: Any) -> Dict[str, Any]:
    return run(name, process, held=False, **more)


def members(*found: Optional[Dict[str, Any]]) -> List[Member]:
    """Members n0, n1, …; the claim's own node is n0."""
    return [Member("n{0}".format(place), NOW, one) for place, one in enumerate(found)]


GONE = contention.identity(run("a"))
DECISIONS = [
    ("nobody else", wanting("b"), [wanting("b"), None], (), PROCEED),
    ("another node of the same run", wanting("b"), [wanting("b"), run("b"), wanting("b")], (), PROCEED),
    ("what is parked for this run", wanting("b"), [wanting("b"), run("b", "")], (), PROCEED),
    ("a lease that is over", wanting("b"), [wanting("b"), run("a", left=0), run("a", left=-1)], (), PROCEED),
    ("one that is passed over", wanting("b"), [wanting("b"), run("a")], (GONE,), PROCEED),
    ("held by another", wanting("a"), [wanting("a"), run("b")], (), REFUSE),
    ("held by another whose identifier is later", wanting("a"), [wanting("a"), None, run("z")], (), REFUSE),
    ("held by another job of the run", wanting("b"), [wanting("b"), run("b", "2@1")], (), REFUSE),
    ("held by a contender's better", wanting("a"), [wanting("a"), wanting("b"), run("c")], (), REFUSE),
    ("parked for another", wanting("a"), [wanting("a"), run("b", "")], (), REFUSE),
    ("of a version without contenders", wanting("a"), [wanting("a"), {"id": "b", "lease_until": NOW + 1}], (), REFUSE),
    ("a contender that is later", wanting("a"), [wanting("a"), wanting("b")], (), WAIT),
    ("a contender that is earlier", wanting("b"), [wanting("b"), wanting("a"), wanting("c")], (), YIELD),
    ("a contender on the node itself", wanting("b"), [wanting("a")], (), YIELD),
    ("jobs of one run", wanting("a", "1@1"), [wanting("a", "1@1"), wanting("a", "2@1")], (), WAIT),
    ("jobs of one run, the other", wanting("a", "2@1"), [wanting("a", "1@1"), wanting("a", "2@1")], (), YIELD),
    ("the run holds another node", wanting("b"), [wanting("b"), wanting("a"), run("b")], (), YIELD),
    ("the run holds this node", run("b"), [run("b"), wanting("a")], (), YIELD),
    ("it goes on from a parked one", wanting("b", resumes=True), [None, wanting("a")], (), WAIT),
    ("another goes on from a parked one", wanting("a"), [None, wanting("b", resumes=True)], (), YIELD),
    ("taken over", run("a"), [run("a"), run("b", took_over=[GONE])], (), REFUSE),
    ("about to be taken over", run("a"), [run("a"), wanting("b", took_over=[GONE])], (), REFUSE),
    (
        "two that take over from each other",
        run("a"),
        [run("a"), run("b", took_over=[GONE])],
        (contention.identity(run("b")),),
        REFUSE,
    ),
]


@pytest.mark.parametrize(("claim", "found", "passed_over", "verdict"), [row[1:] for row in DECISIONS])
def test_decision(
    claim: Dict[str, Any], found: List[Optional[Dict[str, Any]]], passed_over: Tuple[str, ...], verdict: str
) -> None:
    assert contention.decide(members(*found), claim, passed_over) == verdict


def test_a_lease_is_judged_by_the_clock_of_its_own_node() -> None:
    far = [Member("n1", NOW - 90000, run("a", left=-89990)), Member("n2", NOW + 90000, run("c", left=89999))]
    (other,) = contention.others(far, wanting("b"))
    assert other.node == "n1"
    assert other.seconds_left == 10


def test_what_a_run_took_over_it_took_over_with_all_its_nodes() -> None:
    found = members(wanting("b"), run("b", took_over=[GONE]), run("a"), run("c", took_over=["x"]))
    assert contention.taken_over_by(wanting("b"), found, ["y"]) == [GONE, "y"]


# Words


def words(*found: Optional[Dict[str, Any]], **of: Any) -> str:
    return contention.describe([member for member in members(*found) if member.reservation], **of)


def test_who_has_it_since_when_and_for_how_long() -> None:
    assert words(run("20261127T101500Z-1a2b3c4d", left=96), own="n0") == (
        "the run 20261127T101500Z-1a2b3c4d of ann@tower has reserved this node since 2025-11-27 10:15 UTC, "
        "for at most 2 minutes more unless it renews that"
    )
    assert words(None, run("r", left=60.4)) == (
        "the run r of ann@tower has reserved n1 of the same cluster since 2025-11-27 10:15 UTC, "
        "for at most 1 minute more unless it renews that"
    )
    assert words(run("r", left=1800), run("r", left=1800.4), run("r"), own="n0", run_id="r") == (
        "another job of the run r of ann@tower has reserved this node and n1 and n2 of the same cluster "
        "since 2025-11-27 10:15 UTC, for at most 30 minutes more unless it renews that"
    )
    assert words(*[run("r") for _unused in range(9)]).partition(" since")[0] == (
        "the run r of ann@tower has reserved n0, n1, n2, n3, n4, n5 and 3 more of the same cluster"
    )
    assert words(wanting("r"), dict(run("s"), who=None, since=None), own="n0") == (
        "the run r of ann@tower is just about to reserve this node; "
        "the run s has reserved n1 of the same cluster, for at most 2 minutes more unless it renews that"
    )
    assert contention.sentence("the run r") == "The run r."


def test_the_way_out_names_the_exact_setting() -> None:
    assert contention.remedy(members(run("r-1"), run("r-1"), wanting("b"))) == (
        "wait until it has ended or, if it is gone, until that time is over; "
        "-e emqx_upgrade_take_over=r-1 takes over at once"
    )
    assert contention.remedy(members(wanting("b"))) == (
        "start again in a minute, when it is decided which run has the cluster"
    )


@pytest.mark.parametrize("names", [["a", "b"], ["a b"], ["it's"], ["{{ x }}"], [""], ["a,b"], ["-x"], ['"']])
def test_a_setting_that_is_no_single_plain_word_is_json_for_the_shell(names: List[str]) -> None:
    option, text = shlex.split(contention.setting(names))
    assert option == "-e"
    assert json.loads(text) == {"emqx_upgrade_take_over": names}


@pytest.mark.parametrize("name", ["20261127T101500Z-1a2b3c4d", "4711", "2026-11-24-emqx-4.4.19", "a_b:c@d"])
def test_a_plain_identifier_is_typed_as_it_is(name: str) -> None:
    assert contention.setting([name]) == "-e emqx_upgrade_take_over=" + name
