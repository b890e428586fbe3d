# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.plan import PlanOptions, build_plan
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import plan_table
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import (
    make_clusters,
    make_facts,
    make_package,
)

PACKAGES = [make_package(), make_package("4.4.18", ["4.4.17"])]


def test_shows_every_node_of_a_small_fleet() -> None:
    fleet = {
        "a": make_facts("emqx@a"),
        "b": make_facts("emqx@b", "4.4.17"),
        "c": make_facts("emqx@c", edition="ee"),
        "d": make_facts("emqx@d", "4.4.19"),
        "e": make_facts("emqx@e", "4.4.19", permanent="4.4.18"),
        "f": make_facts("emqx@f", alarms=["high_cpu"]),
    }
    text = plan_table.render(build_plan(fleet, PACKAGES, PlanOptions("4.4.19")), 118)
    assert (
        text
        == """\
node        from    to      package                                     hops             wave  verdict
----------  ------  ------  ------------------------------------------  ---------------  ----  -------------------
c (emqx@c)  4.4.18  4.4.19  emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip  1                -     refused: edition
a (emqx@a)  4.4.18  4.4.19  emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip  1                1     switch
b (emqx@b)  4.4.17  4.4.19  emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip  4.4.18 > 4.4.19  2     switch
f (emqx@f)  4.4.18  4.4.19  emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip  1                2     switch, mind alarms
d (emqx@d)  4.4.19  4.4.19  -                                           -                -     done
e (emqx@e)  4.4.19  4.4.19  -                                           -                -     commit

To 4.4.19: 3 to switch, 1 to commit, 1 done, 1 refused, in 2 waves; NOT feasible.
  canary 1: a
  wave 2: b, f

Obstacles
  [edition] c: the node has edition ee, but emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip is for edition ce; use the
    package of the node's own edition

To be aware of
  [alarms] f: alarms are active: high_cpu; see to them first"""
    )


def test_a_thousand_nodes_in_bad_shape_make_few_lines() -> None:
    fleet = make_clusters(400, 3, unwritable=["/opt/emqx/bin"], alarms=["a"])
    lines = plan_table.lines(build_plan(fleet, PACKAGES, PlanOptions("4.4.19")))
    assert len(lines) < 20
    assert any("1200 nodes: c0n0 (emqx@c0n0)" in line for line in lines)
    assert any("[permissions] 1200 nodes (c0n0, c0n1" in line for line in lines)


def test_says_what_was_accepted_and_warned_about() -> None:
    fleet = {"a": make_facts(patches=[{"module": "m", "path": "/p", "stale": True}])}
    packages = [make_package(warnings=["the package is not verified"])]
    lines = plan_table.lines(build_plan(fleet, packages, PlanOptions("4.4.19", accept=["patches"])))
    assert lines[lines.index("Accepted") + 1].startswith("  [patches] a: data/patches holds m")
    assert lines[lines.index("Warnings") + 1] == "  - the package is not verified"
    assert lines[2].endswith("switch, mind patches")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_keeps_to_the_width(width: int) -> None:
    fleet = {f"broker-{number}.example.org": make_facts(f"emqx@{number}", edition="ee") for number in range(3)}
    lines = plan_table.lines(build_plan(fleet, PACKAGES, PlanOptions("4.4.19")), width)
    # What is left when packages and names are shortened as far as they stay readable.
    assert max(map(len, lines)) <= max(width, 84)


def test_an_empty_fleet() -> None:
    assert plan_table.lines(build_plan({}, [], PlanOptions("4.4.19")))[0] == "no nodes"
