# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Plans: what is in them, and that no fleet makes one that breaks a rule."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import (
    PlanError,
    PlanOptions,
    build_plan,
    find_clusters,
    members_of,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.waves import natural
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Plan
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import (
    Facts,
    Package,
    make_clusters,
    make_facts,
    make_package,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import TIMES, more
from hypothesis import given, settings
from hypothesis import strategies as st

TARGET = PlanOptions("4.4.19")
PACKAGES = [make_package(), make_package("4.4.18", ["4.4.17"])]


def plan(fleet: dict[str, Facts], packages: list[Package] | None = None, **options: Any) -> Plan:
    return build_plan(fleet, PACKAGES if packages is None else packages, PlanOptions(**{"target": "4.4.19", **options}))


def wave_hosts(found: Plan) -> list[list[str]]:
    return [wave["hosts"] for wave in found["waves"]]


def test_fifty_clusters_of_three_take_a_canary_and_three_waves() -> None:
    found = plan(make_clusters(50, 3))
    assert [(wave["number"], wave["kind"], len(wave["hosts"])) for wave in found["waves"]] == [
        (1, "canary", 1),
        (2, "wave", 50),
        (3, "wave", 50),
        (4, "wave", 49),
    ]
    assert found["feasible"]
    assert found["obstacles"] == []


def test_a_node_of_the_plan() -> None:
    found = plan({"host1": make_facts(running="4.4.17")})
    assert found["nodes"]["host1"] == {
        "host": "host1",
        "node": "emqx@node1",
        "cluster": "emqx@node1",
        "from": "4.4.17",
        "came_from": "4.4.17",
        "to": "4.4.19",
        "action": "upgrade",
        "hops": [
            {
                "version": version,
                "package": package["name"],
                "path": package["path"],
                "url": None,
                "sha256": None,
                "size": 30 << 20,
                "unpacked_size": 60 << 20,
                "upgrade_from": [origin],
                "downgrade_to": [origin],
            }
            for version, package, origin in (("4.4.18", PACKAGES[1], "4.4.17"), ("4.4.19", PACKAGES[0], "4.4.18"))
        ],
        "way_back": ["4.4.18", "4.4.17"],
        "wave": 1,
        "gates": [],
        "unfinished_run": False,
    }
    json.dumps(found)


@pytest.mark.parametrize("source", ["controller", "node"])
def test_nodes_that_fetch_packages_themselves_are_told_where(source: Any) -> None:
    packages = [{**package, "url": f"https://files/{package['name']}"} for package in PACKAGES]
    found = plan({"host1": make_facts(running="4.4.17")}, packages, package_source=source)
    assert found["feasible"]
    urls = [hop["url"] for hop in found["nodes"]["host1"]["hops"]]
    names = [PACKAGES[1]["name"], PACKAGES[0]["name"]]
    assert urls == ([f"https://files/{name}" for name in names] if source == "node" else [None, None])


def test_a_package_without_a_url_is_refused_where_nodes_fetch_them() -> None:
    """Also one on the way; of a node that is done it does not matter."""
    packages = [{**PACKAGES[0], "url": "https://files/x.zip"}, *PACKAGES[1:]]
    fleet = {"a": make_facts("emqx@a", "4.4.17"), "b": make_facts("emqx@b"), "c": make_facts("emqx@c", "4.4.19")}
    found = plan(fleet, packages, package_source="node")
    assert {host: node["action"] for host, node in found["nodes"].items()} == {
        "a": "refuse",
        "b": "upgrade",
        "c": "none",
    }
    (obstacle,) = found["obstacles"]
    assert (obstacle["gate"], obstacle["hosts"]) == ("package_source", ["a"])
    assert obstacle["message"] == (
        f"nodes are to fetch their packages themselves, and {PACKAGES[1]['name']} has no URL but only a file on the "
        "controller; give URLs with #sha256= in emqx_upgrade_packages, or have the controller send the files "
        "(emqx_upgrade_package_source=controller)"
    )
    assert not found["feasible"]
    assert plan(fleet, packages)["feasible"]


def test_a_plan_says_whose_and_what_for_it_is() -> None:
    found = plan({"host1": make_facts()}, run_id="night-1")
    assert set(found) == {
        "run_id", "purpose", "target", "feasible", "nodes", "waves", "obstacles", "warnings", "accepted",
    }  # fmt: skip
    assert (found["run_id"], found["purpose"], found["target"]) == ("night-1", "upgrade", "4.4.19")


def test_what_is_done_or_runs_already_is_in_no_wave() -> None:
    fleet = make_clusters(1, 3)
    fleet["c0n0"] = make_facts("emqx@c0n0", "4.4.19", members=["emqx@c0n0", "emqx@c0n1", "emqx@c0n2"])
    fleet["c0n1"] = fleet["c0n0"] | {
        "node": "emqx@c0n1",
        "permanent": "4.4.18",
        "releases": [{"version": "4.4.18", "status": "permanent"}, {"version": "4.4.19", "status": "current"}],
    }
    found = plan(fleet, [make_package()])
    assert {host: (node["action"], node["wave"]) for host, node in found["nodes"].items()} == {
        "c0n0": ("none", None),
        "c0n1": ("commit", None),
        "c0n2": ("upgrade", 1),
    }
    assert found["nodes"]["c0n1"]["hops"] == []


def test_a_commit_does_not_ask_for_a_package() -> None:
    facts = make_facts(running="4.4.19", permanent="4.4.18")
    for packages in ([], [make_package(edition="ee")]):
        assert plan({"host": facts}, packages)["nodes"]["host"]["action"] == "commit"


def test_an_uneven_fleet_is_refused_by_name() -> None:
    fleet = {
        "a": make_facts("emqx@a"),
        "b": make_facts("emqx@b", "4.4.17"),
        "c": make_facts("emqx@c", edition="ee"),
        "d": make_facts("emqx@d", otp="24"),
    }
    found = plan(fleet)
    assert not found["feasible"]
    assert {host: node["action"] for host, node in found["nodes"].items()} == {
        "a": "upgrade",
        "b": "upgrade",
        "c": "refuse",
        "d": "refuse",
    }
    assert [(row["gate"], row["hosts"]) for row in found["obstacles"]] == [("edition", ["c"]), ("otp", ["d"])]
    assert wave_hosts(found) == [["a"], ["b"]]


def test_nothing_known_of_a_host_refuses_it() -> None:
    found = plan({"a": {}, "b": make_facts("emqx@b")})
    assert found["nodes"]["a"]["action"] == "refuse"
    assert found["nodes"]["a"]["cluster"] == "(a)"


def test_a_thousand_equal_obstacles_are_one() -> None:
    found = plan(make_clusters(400, 3, alarms=["high_cpu"], unwritable=["/opt/emqx/bin"]))
    assert [(row["gate"], row["count"]) for row in found["obstacles"]] == [("permissions", 1200), ("alarms", 1200)]


def test_an_accepted_obstacle_is_recorded() -> None:
    fleet = {"a": make_facts(patches=[{"module": "m", "path": "/p", "stale": True}])}
    assert not plan(fleet)["feasible"]
    found = plan(fleet, accept=["patches"])
    assert found["feasible"]
    assert found["accepted"] == ["patches"]
    assert [(row["gate"], row["accepted"]) for row in found["obstacles"]] == [("patches", True)]
    assert found["nodes"]["a"]["gates"][0]["accepted"]


def test_accepting_another_system_takes_the_closest_package() -> None:
    fleet = {"a": make_facts(os="ubuntu22.04")}
    assert [row["gate"] for row in plan(fleet)["obstacles"]] == ["os"]
    assert plan(fleet, accept=["os"])["nodes"]["a"]["hops"][0]["package"] == PACKAGES[0]["name"]


def test_two_hosts_of_one_node_are_refused() -> None:
    fleet = make_clusters(1, 2)
    fleet["alias"] = fleet["c0n0"]
    found = plan(fleet)
    assert {row["gate"]: row["hosts"] for row in found["obstacles"]} == {"duplicate_node": ["alias", "c0n0"]}


def test_brokers_under_the_name_they_came_with_are_not_one() -> None:
    fleet = {f"h{number}": make_facts("emqx@127.0.0.1", pid=100 + number) for number in range(3)}
    found = plan(fleet, canary=0)
    assert wave_hosts(found) == [["h0", "h1", "h2"]]
    assert len({node["cluster"] for node in found["nodes"].values()}) == 3
    # The same process under two names of the inventory is one node.
    fleet["alias"] = dict(fleet["h0"])
    assert [row["hosts"] for row in plan(fleet)["obstacles"]] == [["alias", "h0"]]


def test_members_outside_the_run_are_warned_about() -> None:
    fleet = make_clusters(1, 3)
    del fleet["c0n2"]
    found = plan(fleet)
    assert found["feasible"]
    assert [(row["gate"], row["severity"], row["count"]) for row in found["obstacles"]] == [
        ("cluster_in_run", "warning", 2)
    ]


def test_a_stopped_member_refuses_its_cluster_and_no_other() -> None:
    fleet = make_clusters(2, 2)
    fleet["c0n0"]["cluster"] = {"running": ["emqx@c0n0"], "stopped": ["emqx@c0n1"], "members": []}
    del fleet["c0n1"]
    found = plan(fleet)
    assert [node["action"] for node in found["nodes"].values()] == ["refuse", "upgrade", "upgrade"]
    assert [row["gate"] for row in found["obstacles"]] == ["cluster_complete"]


def test_versions_side_by_side_are_explained_by_the_way_only() -> None:
    names = ["emqx@a", "emqx@b"]
    fleet = {"a": make_facts("emqx@a", "4.4.17", names), "b": make_facts("emqx@b", "4.4.18", names)}
    # 4.4.18 is a hop of the first node's way.
    assert plan(fleet)["feasible"]
    direct = [make_package(upgrade_from=["4.4.17", "4.4.18"])]
    assert [row["gate"] for row in plan(fleet, direct)["obstacles"]] == ["cluster_mixed"]
    assert plan(fleet, direct, accept=["cluster_mixed"])["feasible"]


def test_clocks_are_compared_within_a_cluster() -> None:
    fleet = make_clusters(2, 2)
    fleet["c0n0"]["clock_offset"] = 30.0
    assert [row["hosts"] for row in plan(fleet)["obstacles"]] == [["c0n0", "c0n1"]]
    assert plan(fleet, max_clock_skew=60.0)["obstacles"] == []


def test_the_relup_on_the_node_decides_a_downgrade_without_a_package_of_what_runs() -> None:
    older = make_package("4.4.18", ["4.4.17"])
    facts = make_facts(running="4.4.19") | {"ways_back": {"4.4.19": ["4.4.18"]}}
    found = plan({"a": facts}, [older], target="4.4.18", allow_downgrade=True)
    assert [hop["version"] for hop in found["nodes"]["a"]["hops"]] == ["4.4.18"], found["obstacles"]
    others = {"a": facts, "b": make_facts("emqx@b", "4.4.19") | {"ways_back": {"4.4.19": ["4.4.17"]}}}
    found = plan(others, [older], target="4.4.18", allow_downgrade=True)
    assert [node["action"] for node in found["nodes"].values()] == ["upgrade", "refuse"]


def test_goes_back_to_a_release_that_is_on_the_node() -> None:
    releases = [{"version": "4.4.18", "status": "permanent"}, {"version": "4.4.19", "status": "current"}]
    facts = make_facts(running="4.4.19", permanent="4.4.18", releases=releases)
    facts["boot"]["version"] = "4.4.18"
    found = plan({"a": facts}, [], target="4.4.18", allow_downgrade=True)
    assert found["obstacles"] == []
    assert [(hop["version"], hop["package"]) for hop in found["nodes"]["a"]["hops"]] == [("4.4.18", None)]
    assert plan({"a": facts}, [], target="4.4.18")["obstacles"][0]["gate"] == "direction"
    found = plan({"a": facts}, [], target="4.4.17", allow_downgrade=True)
    assert found["obstacles"][0]["gate"] == "package"


def test_hosts_may_have_targets_of_their_own() -> None:
    fleet = {"a": make_facts("emqx@a"), "b": make_facts("emqx@b", "4.4.17")}
    found = plan(fleet, targets={"b": "4.4.18", "z": "4.4.19"})
    assert [node["to"] for node in found["nodes"].values()] == ["4.4.19", "4.4.18"]
    assert found["warnings"] == ["a version is asked for hosts that are not in the run: z"]


def test_warnings_of_the_packages_that_are_used() -> None:
    packages = [make_package(warnings=["mind this"]), make_package(edition="ee", warnings=["not that"])]
    assert plan({"a": make_facts()}, packages)["warnings"] == ["mind this"]


# What else a plan is for


def uncommitted(node: str, running: str = "4.4.19", permanent: str = "4.4.18", **changes: Any) -> Facts:
    """A node that an upgrade left without a commit; its relup leads back."""
    rows = [{"version": permanent, "status": "permanent"}, {"version": running, "status": "current"}]
    boot = {"version": permanent, "consistent": True, "problems": []}
    ways = {running: [permanent]}
    return make_facts(node, running, permanent=permanent, releases=rows, boot=boot, ways_back=ways, **changes)


def committed(node: str, running: str = "4.4.19", older: str = "4.4.18", **changes: Any) -> Facts:
    """A node that an upgrade was done with, which left the old release there."""
    rows = [{"version": running, "status": "permanent"}, {"version": older, "status": "old"}]
    return make_facts(node, running, releases=rows, ways_back={running: [older]}, **changes)


def actions(found: Plan) -> dict[str, tuple[str, str]]:
    return {host: (node["action"], node["to"]) for host, node in found["nodes"].items()}


def test_a_commit_finds_what_each_node_runs() -> None:
    fleet = {
        "a": uncommitted("emqx@a"),
        "b": committed("emqx@b"),
        "c": uncommitted("emqx@c", "4.4.20"),
        "d": uncommitted("emqx@d"),
    }
    found = plan(fleet, [], purpose="commit", target=None)
    assert (found["purpose"], found["target"], found["feasible"]) == ("commit", "4.4.19", True)
    assert actions(found) == {
        "a": ("commit", "4.4.19"),
        "b": ("none", "4.4.19"),
        "c": ("commit", "4.4.20"),
        "d": ("commit", "4.4.19"),
    }
    assert found["waves"] == []
    assert [node["way_back"] for node in found["nodes"].values()] == [["4.4.18"], [], ["4.4.18"], ["4.4.18"]]
    assert all(node["hops"] == [] for node in found["nodes"].values())


def test_a_commit_of_one_version_leaves_the_others_alone() -> None:
    fleet = {"a": uncommitted("emqx@a"), "b": uncommitted("emqx@b", "4.4.20"), "c": committed("emqx@c", "4.4.20")}
    found = plan(fleet, [], purpose="commit", target="4.4.19")
    assert actions(found) == {"a": ("commit", "4.4.19"), "b": ("none", "4.4.20"), "c": ("none", "4.4.20")}
    assert found["nodes"]["b"]["way_back"] == []


def test_a_way_back_finds_where_each_node_came_from() -> None:
    fleet = {
        "a": uncommitted("emqx@a"),
        "b": committed("emqx@b", "4.4.18", "4.4.17"),
        "c": make_facts("emqx@c"),
        "d": committed("emqx@d", alarms=["high_cpu"]),
    }
    found = plan(fleet, [], purpose="rollback", target=None, canary=0)
    assert (found["purpose"], found["target"], found["feasible"]) == ("rollback", "4.4.18", True)
    assert actions(found) == {
        "a": ("upgrade", "4.4.18"),
        "b": ("upgrade", "4.4.17"),
        "c": ("none", "4.4.18"),
        "d": ("upgrade", "4.4.18"),
    }
    assert [node["way_back"] for node in found["nodes"].values()] == [["4.4.18"], ["4.4.17"], [], ["4.4.18"]]
    assert wave_hosts(found) == [["a", "b", "d"]]
    assert plan(fleet, [], purpose="rollback", target=None, canary=1)["waves"][0]["kind"] == "canary"


def test_a_way_back_over_several_versions() -> None:
    rows = [{"version": "4.4.19", "status": "permanent"}]
    rows += [{"version": version, "status": "old"} for version in ("4.4.18", "4.4.17")]
    facts = make_facts(running="4.4.19", releases=rows, ways_back={"4.4.19": ["4.4.18"], "4.4.18": ["4.4.17"]})
    found = plan({"a": facts}, [], purpose="rollback", target="4.4.17")
    assert found["nodes"]["a"]["way_back"] == ["4.4.18", "4.4.17"]


def test_a_way_back_to_one_version_leaves_the_others_alone() -> None:
    fleet = {
        "a": committed("emqx@a"),
        "b": committed("emqx@b", "4.4.20", "4.4.19"),
        "c": uncommitted("emqx@c", "4.4.20", "4.4.17"),
    }
    found = plan(fleet, [], purpose="rollback", target="4.4.18")
    assert actions(found) == {"a": ("upgrade", "4.4.18"), "b": ("none", "4.4.20"), "c": ("none", "4.4.20")}
    assert wave_hosts(found) == [["a"]]


WITHOUT = (
    "without emqx_upgrade_version each goes back to where it came from, most of them to 4.4.18: -e "
    "emqx_upgrade_version="
)


def test_a_way_back_to_what_runs_is_told_of_where_there_is_an_older_version() -> None:
    """As where the inventory names the version of the upgrade for everything."""
    fleet = {"a": committed("emqx@a"), "b": make_facts("emqx@b"), "c": committed("emqx@c", "4.4.20", "4.4.19")}
    found = plan(fleet, [], purpose="rollback", target="4.4.19")
    assert actions(found)["c"] == ("upgrade", "4.4.19")
    assert found["warnings"] == [
        f"these nodes run 4.4.19, the version that is asked for, so they do not go back: a; {WITHOUT}"
    ]
    assert plan(fleet, [], purpose="rollback", target="4.4.18")["warnings"] == []
    assert plan(fleet, [], purpose="rollback", target=None)["warnings"] == []


def test_a_way_back_on_which_nobody_would_go_is_refused() -> None:
    fleet = {"a": committed("emqx@a"), "b": committed("emqx@b")}
    with pytest.raises(PlanError) as raised:
        plan(fleet, [], purpose="rollback", target="4.4.19")
    assert str(raised.value) == (
        f"No node goes back, since these run 4.4.19, the version that is asked for: a, b; {WITHOUT}"
    )


def test_a_way_back_that_was_gone_is_done_although_there_is_an_older_version_still() -> None:
    rows = [
        {"version": "4.4.20", "status": "old"},
        {"version": "4.4.19", "status": "permanent"},
        {"version": "4.4.18", "status": "old"},
    ]
    fleet = {"a": make_facts(running="4.4.19", releases=rows, ways_back={"4.4.19": ["4.4.18"]})}
    found = plan(fleet, [], purpose="rollback", target="4.4.19")
    assert (actions(found), found["warnings"]) == ({"a": ("none", "4.4.19")}, [])


def test_a_way_back_commits_nothing() -> None:
    """Permanent is something newer here, and there is nothing older: it stays as it is."""
    fleet = {"a": uncommitted("emqx@a", "4.4.18", "4.4.19"), "b": committed("emqx@b")}
    found = plan(fleet, [], purpose="rollback", target=None)
    assert actions(found) == {"a": ("none", "4.4.18"), "b": ("upgrade", "4.4.18")}


@pytest.mark.parametrize("purpose", ["commit", "rollback"])
def test_a_node_that_cannot_be_read_or_is_down_is_refused_for_every_purpose(purpose: str) -> None:
    down = uncommitted("emqx@c") | {"state": "stopped", "running": None}
    fleet = {"a": uncommitted("emqx@a"), "b": {"msg": "no route"}, "c": down, "d": {}}
    found = plan(fleet, [], purpose=purpose, target=None)
    assert not found["feasible"]
    assert [node["action"] for node in found["nodes"].values()][1:] == ["refuse"] * 3


@pytest.mark.parametrize(
    ("fleet", "options", "message"),
    [
        ({"a": make_facts()}, {}, "version: say which version the fleet shall run, for example 4.4.19."),
        ({"a": {}}, {"purpose": "commit"}, "No node of the play can be read and has a version to commit."),
        ({}, {"purpose": "commit"}, "No node of the play can be read and has a version to commit."),
        (
            {"a": {"msg": "no route"}, "b": {"msg": "no python\n"}, "c": {}},
            {"purpose": "rollback"},
            "No node of the play can be read and has a version to go back to. "
            "The first said: a: no route / b: no python",
        ),
        (
            {"a": make_facts(), "b": {}},
            {"purpose": "rollback"},
            "No node of the play can be read and has a version to go back to.",
        ),
        (
            {"a": uncommitted("emqx@a"), "b": {}},
            {"purpose": "commit", "target": "4.4.20"},
            "No node of the play runs 4.4.20, so there is none to commit.",
        ),
        (
            {"a": committed("emqx@a")},
            {"purpose": "rollback", "target": "4.4.81"},
            "No node of the play runs 4.4.81, or has it to go back to.",
        ),
        ({"a": make_facts()}, {"target": "v4"}, "'v4' is not a version; give one such as 4.4.19"),
        (
            {"a": make_facts()},
            {"purpose": "rollback", "target": "the old one"},
            "'the old one' is not a version; give one such as 4.4.19",
        ),
    ],
)
def test_what_cannot_be_planned_is_told(fleet: dict[str, Facts], options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as raised:
        plan(fleet, [], **{"target": None, **options})
    assert str(raised.value) == message


def test_a_way_back_that_was_gone_already_is_done() -> None:
    found = plan({"a": make_facts()}, [], purpose="rollback", target="4.4.18")
    assert (actions(found), found["feasible"]) == ({"a": ("none", "4.4.18")}, True)


def test_runs_that_ended_before_they_were_done_are_known() -> None:
    fleet = {"a": make_facts("emqx@a"), "b": make_facts("emqx@b", "4.4.19"), "c": make_facts("emqx@c")}
    found = plan(fleet, unfinished=frozenset(["a", "b"]))
    assert {host: node["unfinished_run"] for host, node in found["nodes"].items()} == {"a": True, "b": True, "c": False}
    assert found["nodes"]["b"]["action"] == "none"


@pytest.mark.parametrize(
    ("forks", "warnings"),
    [
        (None, []),
        (7, []),
        (6, []),
        (5, ["a wave has 6 nodes and forks is 5, so they are worked on in turns; use --forks 6"]),
    ],
)
def test_waves_that_are_wider_than_ansible_works(forks: int | None, warnings: list[str]) -> None:
    assert plan(make_clusters(6, 2), canary=0, forks=forks)["warnings"] == warnings
    assert plan({"a": make_facts(running="4.4.19")}, forks=1)["warnings"] == []


# Waves


def test_percentages_and_numbers() -> None:
    fleet = make_clusters(10, 1)
    assert [len(hosts) for hosts in wave_hosts(plan(fleet, canary="10%", wave_size="25%"))] == [1, 3, 3, 3]
    assert [len(hosts) for hosts in wave_hosts(plan(fleet, canary=0, wave_size="4"))] == [4, 4, 2]
    assert [len(hosts) for hosts in wave_hosts(plan(fleet, canary=2, wave_size=0))] == [2, 8]


def test_canaries_that_are_named() -> None:
    found = plan(make_clusters(2, 3), canary=["c1n2", "c0n1", "c0n2", "nobody"])
    assert [(wave["kind"], wave["hosts"]) for wave in found["waves"]] == [
        ("canary", ["c0n1", "c1n2"]),
        ("canary", ["c0n2"]),
        ("wave", ["c0n0", "c1n0"]),
        ("wave", ["c1n1"]),
    ]
    assert found["warnings"] == ["canary hosts that do not switch in this run: nobody"]


@pytest.mark.parametrize("name", ["c0n0", "emqx@c0n0"])
def test_the_coordinator_comes_last(name: str) -> None:
    found = plan(make_clusters(1, 3), coordinators=[name, "x"])
    assert wave_hosts(found) == [["c0n1"], ["c0n2"], ["c0n0"]]
    assert found["warnings"] == ["coordinators that are not in the run: x"]
    # Even as a canary it does not precede the others.
    assert wave_hosts(plan(make_clusters(1, 3), coordinators=[name], canary=["c0n0"]))[-1] == ["c0n0"]


def test_names_are_ordered_as_people_count() -> None:
    fleet = {f"h{number}": make_facts(f"emqx@n{number}", pid=number) for number in (10, 9, 2)}
    assert wave_hosts(plan(fleet, canary=0)) == [["h2", "h9", "h10"]]
    assert sorted(["n10", "n9", "m", "9", "n"], key=natural) == ["9", "m", "n", "n9", "n10"]


@pytest.mark.parametrize(
    "options",
    [
        {"target": "v4.4.19"},
        {"targets": {"a": "x"}},
        {"max_per_cluster": 0},
        {"max_per_cluster": True},
        {"wave_size": "many"},
        {"wave_size": "101%"},
        {"wave_size": -1},
        {"wave_size": "²"},
        {"canary": "1.5"},
        {"canary": True},
        {"accept": ["edition"]},
        {"accept": ["colour"]},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        plan({"a": make_facts()}, **options)


def test_members_of_a_cluster_beside_its_hosts() -> None:
    """A node that runs is not stopped, whatever others heard; one that is stopped counts as that alone."""
    a = make_facts("emqx@a", members=["emqx@a", "emqx@c"])
    a["cluster"]["stopped"] = ["emqx@b", "emqx@d"]
    b = make_facts("emqx@b", members=["emqx@b", "emqx@d", "emqx@c10", "emqx@c9"])
    assert members_of([a, b, {}]) == (("emqx@d",), ("emqx@c", "emqx@c9", "emqx@c10"))


def test_clusters_are_found_through_others() -> None:
    chain = [("a", ["a", "b"]), ("b", ["b", "c"]), ("c", ["c"]), ("d", ["d"])]
    fleet = {host: make_facts(f"emqx@{host}", members=[f"emqx@{name}" for name in names]) for host, names in chain}
    assert find_clusters(fleet) == {"emqx@a": ["a", "b", "c"], "emqx@d": ["d"]}


# No fleet makes a plan that breaks a rule


VERSIONS = ["4.4.16", "4.4.17", "4.4.18", "4.4.19", "4.4.20", "4.3.10"]
ODDITIES: list[dict[str, Any]] = [
    {"state": "stopped", "running": None},
    {"edition": "ee"},
    {"otp": "24"},
    {"permanent": "4.4.17"},
    {"patches": [{"module": "m", "path": "/p", "stale": True}]},
    {"alarms": ["a"]},
    {"unwritable": ["/x"]},
    {"operation": {"pid": 1, "user": "u", "since": 1.0, "what": "switch"}},
    {"free_bytes": {"/opt/emqx": 0, "/tmp": 0}},
    {"os": "el8"},
    {"clock_offset": None},
    {"node": None},
]


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, Facts]:
    fleet: dict[str, Facts] = {}
    for cluster in range(draw(st.integers(0, 5))):
        names = [f"emqx@c{cluster}n{place}" for place in range(draw(st.integers(1, 4)))]
        for name in names:
            version = draw(st.sampled_from(VERSIONS[:4] * 3 + VERSIONS))
            facts = make_facts(name, version, names)
            if draw(st.integers(0, 4)) == 0:
                facts.update(draw(st.sampled_from(ODDITIES)))
            if draw(st.integers(0, 9)):
                fleet[f"host{len(fleet)}"] = facts
        if draw(st.integers(0, 9)) == 0 and fleet:
            fleet[f"host{len(fleet)}"] = dict(fleet["host0"])
    return fleet


@st.composite
def options_for_plans(draw: st.DrawFn) -> PlanOptions:
    hosts = [f"host{number}" for number in range(8)]
    amounts = st.one_of(st.integers(0, 5), st.sampled_from(["10%", "50%", "100%", "3"]))
    acceptable = [name for name, gate in gates.GATES.items() if gate.acceptable]
    return PlanOptions(
        target=draw(st.sampled_from(["4.4.19", "4.4.18"])),
        max_per_cluster=draw(st.integers(1, 3)),
        wave_size=draw(st.one_of(st.none(), amounts)),
        canary=draw(st.one_of(amounts, st.lists(st.sampled_from(hosts), max_size=3))),
        coordinators=draw(st.lists(st.sampled_from([*hosts, "emqx@c0n0", "emqx@c1n1"]), max_size=4)),
        accept=draw(st.lists(st.sampled_from(acceptable), max_size=4, unique=True)),
        allow_downgrade=draw(st.booleans()),
    )


CATALOGUES = st.lists(
    st.sampled_from(
        [
            make_package(upgrade_from=["4.4.18"]),
            make_package(upgrade_from=["4.4.18"], edition="ee"),
            make_package("4.4.18", ["4.4.16", "4.4.17"]),
            make_package("4.4.17", ["4.4.16"]),
            make_package("4.4.20", ["4.4.19"]),
            make_package(os="el8"),
        ]
    ),
    unique_by=lambda package: str(package["name"]),
)


@more
@settings(max_examples=60 * TIMES, deadline=None)
@given(fleets(), CATALOGUES, options_for_plans(), st.randoms(use_true_random=False))
def test_no_fleet_makes_a_plan_that_breaks_a_rule(
    fleet: dict[str, Facts], packages: list[Package], options: PlanOptions, shuffle: Any
) -> None:
    found = build_plan(fleet, packages, options)
    nodes = found["nodes"]
    assert set(nodes) == set(fleet)

    # The same plan, in whatever order facts and packages come.
    hosts = list(fleet)
    shuffle.shuffle(hosts)
    assert build_plan({host: fleet[host] for host in hosts}, packages[::-1], options) == found

    # Everyone that switches has one turn, and nobody else has any.
    turns = Counter(host for wave in found["waves"] for host in wave["hosts"])
    assert turns == Counter(host for host, node in nodes.items() if node["action"] == "upgrade")
    for wave in found["waves"]:
        assert wave["hosts"]
        assert all(nodes[host]["wave"] == wave["number"] for host in wave["hosts"])
    assert [wave["number"] for wave in found["waves"]] == list(range(1, len(found["waves"]) + 1))

    # The bounds of a wave.
    total = sum(turns.values())
    size = options.wave_size
    bound = total if not size else -(-total * int(size[:-1]) // 100) if str(size).endswith("%") else int(size)  # type: ignore[index]
    for wave in found["waves"]:
        assert len(wave["hosts"]) <= max(bound, 1)
        by_cluster = Counter(nodes[host]["cluster"] for host in wave["hosts"])
        assert max(by_cluster.values()) <= options.max_per_cluster

    # Canaries first, and nobody after its cluster's coordinator.
    kinds = [wave["kind"] for wave in found["waves"]]
    assert kinds == sorted(kinds)
    last = {host for host in turns if host in options.coordinators or nodes[host]["node"] in options.coordinators}
    for host in last:
        rivals = [one for one in set(turns) - last if nodes[one]["cluster"] == nodes[host]["cluster"]]
        assert all(int(nodes[one]["wave"] or 0) <= int(nodes[host]["wave"] or 0) for one in rivals)

    # Nobody is touched against a gate, and what stands in the way is told.
    failures = {(row["gate"], host) for row in found["obstacles"] for host in row["hosts"]}
    for host, node in nodes.items():
        blocking = [row["name"] for row in node["gates"] if row["severity"] == "error" and not row["accepted"]]
        assert (node["action"] == "refuse") == bool(blocking)
        assert {(row["name"], host) for row in node["gates"]} <= failures
        assert all(row["name"] in options.accept for row in node["gates"] if row["accepted"])
        if node["action"] == "upgrade":
            assert_way(fleet[host], node["hops"], packages, options)
        elif node["action"] == "none":
            assert fleet[host]["running"] == fleet[host]["permanent"] == options.target
        elif node["action"] == "commit":
            assert fleet[host]["running"] == options.target
    assert found["feasible"] == all(node["action"] != "refuse" for node in nodes.values())
    assert all(row["count"] == len(row["hosts"]) == len(set(row["hosts"])) for row in found["obstacles"])


def assert_way(facts: Facts, hops: Any, packages: list[Package], options: PlanOptions) -> None:
    """The hops lead from what runs to the target by relups, with packages made for the node."""
    assert facts["state"] == "running"
    assert hops[-1]["version"] == options.target
    by_name = {package["name"]: package for package in packages}
    here = facts["running"]
    upwards = [int(part) for part in here.split(".")] < [int(part) for part in str(options.target).split(".")]
    assert upwards or options.allow_downgrade
    for hop in hops:
        if hop["package"] is not None:
            package = by_name[hop["package"]]
            assert package["edition"] == facts["edition"]
            assert package["otp"].startswith(facts["otp"])
            assert package["os"] == facts["os"] or "os" in options.accept
        if upwards:
            assert here in hop["upgrade_from"]
        here = hop["version"]


def test_a_stable_default() -> None:
    assert TARGET.max_per_cluster == 1
    assert TARGET.canary == 1
    assert TARGET.accept == ()


def test_a_job_for_the_canaries_alone() -> None:
    fleet = make_clusters(2, 3)
    found = plan(fleet, canary=2, waves="canary")
    assert [(wave["kind"], wave["hosts"]) for wave in found["waves"]] == [("canary", ["c0n0", "c1n0"])]
    assert {node["action"] for node in found["nodes"].values()} == {"upgrade"}
    assert [host for host, node in found["nodes"].items() if node["wave"] is None] == ["c0n1", "c0n2", "c1n1", "c1n2"]
    # Relaunched, it does not choose others.
    fleet["c0n0"] = make_facts("emqx@c0n0", "4.4.19", permanent="4.4.18", cluster=fleet["c0n0"]["cluster"])
    assert wave_hosts(plan(fleet, canary=2, waves="canary")) == [["c1n0"]]
    assert wave_hosts(plan(fleet, canary=1, waves="canary")) == []
    assert wave_hosts(plan(fleet, canary=["c0n0", "c1n2"], waves="canary")) == [["c1n2"]]


def test_a_job_for_the_rest_has_no_canaries_of_its_own() -> None:
    fleet = make_clusters(2, 2)
    with pytest.raises(PlanError, match=r"emqx_upgrade_waves is rest, but no node runs 4.4.19"):
        plan(fleet, waves="rest")
    # The canaries of a fleet in parts may all be in another part.
    assert len(wave_hosts(plan(fleet, waves="rest", is_part=True))) == 2
    fleet["c0n0"] = make_facts("emqx@c0n0", "4.4.19", permanent="4.4.18", cluster=fleet["c0n0"]["cluster"])
    found = plan(fleet, waves="rest")
    assert [(wave["kind"], wave["hosts"]) for wave in found["waves"]] == [
        ("wave", ["c0n1", "c1n0"]),
        ("wave", ["c1n1"]),
    ]
    # Where nothing is left to be switched there need not be a canary.
    assert wave_hosts(plan({"a": make_facts(running="4.4.19")}, waves="rest")) == []


def test_where_a_node_came_from() -> None:
    fleet = {
        "a": make_facts("emqx@a"),
        "b": make_facts("emqx@b", "4.4.19", permanent="4.4.18"),
        "c": make_facts("emqx@c", "4.4.19"),
    }
    found = plan(fleet)["nodes"]
    assert {host: (node["from"], node["came_from"]) for host, node in found.items()} == {
        "a": ("4.4.18", "4.4.18"),
        "b": ("4.4.19", "4.4.18"),
        "c": ("4.4.19", "4.4.19"),
    }
