# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where bars and lines stand."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_charts
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.document import rfc3339
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.page_charts import Axis


def entry(at: float, seconds: float | None, action: str = "switch", **more: Any) -> dict[str, Any]:
    return {
        "at": rfc3339(at),
        "phase": "switch",
        "action": action,
        "version": "4.4.19",
        "seconds": seconds,
        "rc": None,
        **more,
    }


def seen(*rows: tuple[float, int | None, int | None]) -> list[dict[str, Any]]:
    return [{"at": rfc3339(at), "phase": "soak", "connected": count, "cut_off": cut} for at, count, cut in rows]


def test_one_stretch_of_time() -> None:
    axis = Axis([(100.0, 150.0), (140.0, 200.0)])
    assert [axis.place(at) for at in (0.0, 100.0, 150.0, 200.0, 300.0)] == [0.0, 0.0, 50.0, 100.0, 100.0]
    assert axis.cuts == []
    assert [tick["label"] for tick in axis.ticks] == ["00:02:00", "00:02:30", "00:03:00"]


def test_hours_between_two_jobs_are_cut_out() -> None:
    axis = Axis([(0.0, 50.0), (10_000.0, 10_050.0)])
    assert [axis.place(at) for at in (0.0, 50.0, 5000.0, 10_000.0, 10_050.0)] == [0.0, 48.5, 51.5, 51.5, 100.0]
    assert axis.cuts == [{"x": "48.5", "width": "3", "seconds": 9950.0}]


def test_many_gaps_leave_room() -> None:
    axis = Axis([(1000.0 * place, 1000.0 * place + 1) for place in range(40)])
    assert axis.place(0.5) > 0
    assert axis.place(39_001.0) == pytest.approx(100.0)


def test_nothing_is_known_of_time() -> None:
    assert Axis([]).place(5.0) == 100.0
    assert Axis([(7.0, 7.0)]).place(7.0) == 0.0


def test_a_bar_for_each_step_that_took_time() -> None:
    found = page_charts.timeline(
        [entry(110.0, 10.0, "turn"), entry(112.5, 0.5, rc=1), entry(115.0, None)], Axis([(100.0, 200.0)])
    )
    assert found["height"] == 60
    bars = [(row["label"], row["bar"], row["x"], row.get("width"), row["y"], row["kind"]) for row in found["rows"]]
    assert bars == [
        ("switch", True, "10", "10", 5, "k-switch whole"),
        ("switch 4.4.19", True, "12.5", "0.5", 25, "k-switch bad"),
        ("switch 4.4.19", False, "15", None, 45, "k-switch"),
    ]


def test_a_step_without_a_time_has_its_bar_all_the_same() -> None:
    (row,) = page_charts.timeline([entry(0, 5.0) | {"at": "soon"}], Axis([(100.0, 200.0)]))["rows"]
    assert (row["bar"], row["x"], row["width"], row["at"]) == (True, "0", "5", "soon")


def test_clients_over_time() -> None:
    found = page_charts.clients(
        seen((100, 100, None), (150, 90, 5), (160, 95, 5), (200, 95, 7)), Axis([(100.0, 200.0)])
    )
    assert found
    assert (found["most"], found["least"], found["seen"]) == (100, 90, 4)
    assert found["line"] == "0,12 500,12 500,88 600,88 600,50 1000,50"
    assert [(cut["x"], cut["y"], cut["count"], cut["late"]) for cut in found["cuts"]] == [
        ("50", "88", 5, False),
        ("100", "50", 7, True),
    ]


def test_few_clients_more_or_less_are_no_cliff() -> None:
    found = page_charts.clients(seen((100, 1000, None), (200, 999, 0)), Axis([(100.0, 200.0)]))
    assert found
    heights = [float(point.partition(",")[2]) for point in found["line"].split()]
    assert max(heights) - min(heights) < 1


@pytest.mark.parametrize("rows", [seen(), seen((1, None, None))])
def test_clients_that_were_never_counted(rows: list[dict[str, Any]]) -> None:
    assert page_charts.clients(rows, Axis([])) is None


def test_no_clients_at_all() -> None:
    found = page_charts.clients(seen((100, 0, 0), (200, 0, 0)), Axis([(100.0, 200.0)]))
    assert found
    assert found["line"] == "0,88 1000,88"
