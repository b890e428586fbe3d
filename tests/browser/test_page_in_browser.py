# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The pages in a real browser: what it complains about, what it asks for, what can be read, reached and printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page, page_charts, page_text, status_page
from ansible_collections.emqx.fleet.tests.browser.browser import PHONE, Browser, Page
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils import document_maker
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_clusters

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>]]>\x00\u202e javascript:alert(1)"
#: What a person may see of an element: its colour, what is behind it, how large it is.
CONTRASTS = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = c => c / 255 <= .04045 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4;
  const light = colour => .2126 * linear(colour[0]) + .7152 * linear(colour[1]) + .0722 * linear(colour[2]);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3) return colour;
      if (colour[3] !== 0) throw new Error('half transparent: ' + one.className);
    }
    throw new Error('nothing is behind ' + element.tagName);
  };
  const ratio = (one, two) => {
    const [more, less] = [light(one), light(two)].sort((x, y) => y - x);
    return (more + .05) / (less + .05);
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const drawn = ['rect', 'circle', 'polyline'].includes(element.tagName) && !element.matches('.gap');
    if (!(own || drawn) || element.tagName === 'title' || element.closest('.skip, defs')) continue;
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element), lined = element.matches('rect, polyline');
    const paint = lined ? style.stroke : element instanceof SVGElement ? style.fill : style.color;
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 600);
    const what = element.tagName + '.' + (element.getAttribute('class') || '');
    found.push({what, ratio: ratio(parse(paint), behind(element)), least: drawn || large ? 3 : 4.5});
  }
  return found;
})()
"""
FLEET = """
[...document.querySelectorAll('table.fleet')].flatMap(table => {
  const names = [...table.querySelectorAll('thead th')].map(cell => cell.textContent.trim());
  return [...table.querySelectorAll('tbody tr:not(.group)')].map(row =>
    Object.fromEntries([...row.cells].map((cell, place) => [names[place], cell.textContent.trim()])));
})
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of this text, looked at like that."""
    pages: list[Page] = []

    def open_it(text: str, **how: Any) -> Page:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        shown = browser.page()
        pages.append(shown)
        shown.look(**how)
        shown.open(path)
        return shown

    yield open_it
    for shown in pages:
        shown.close()


def status() -> str:
    facts: dict[str, Any] = make_clusters(3, 3, connections=12, journal=[])
    facts["c0n1"]["alarms"] = ["high_memory"]
    facts["c1n1"].update(running="4.4.19")
    return status_page.of_fleet({**facts, "lost": {"msg": "no route"}}, 1_795_827_723.0)


PAGES: dict[str, Callable[[], str]] = {
    **{name: lambda make=make: page.of_run(make()) for name, make in document_maker.ALL.items()},  # type: ignore[misc]
    "status": status,
}


@pytest.fixture(params=PAGES)
def text(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]()


def number(text: str) -> int | None:
    """A number as a page shows it."""
    return None if text == "—" else int(text.replace("\u202f", ""))


def quiet(shown: Page) -> None:
    """It said nothing, and asked for nothing but itself."""
    assert shown.said() == []
    assert [url for url in shown.requests() if not re.fullmatch(r"file://.*/page\.html", url)] == []


def test_the_checks_see_what_they_are_for(opened: Callable[..., Page]) -> None:
    shown = opened(PAGES["refused"]().replace("</main>", "<script>alert(1)</script></main>"))
    assert any("Content Security Policy" in str(told) for told in shown.said())
    shown = opened("<title>t</title><img src='http://127.0.0.1:9/x'><p style='width:500px'>wide</p>", size=PHONE)
    assert "http://127.0.0.1:9/x" in shown.requests()
    assert shown.said()
    shown = opened("<body style='background:#fff'><p style='color:#999'>pale</p>")
    assert [row["what"] for row in shown.value(CONTRASTS) if row["ratio"] < row["least"]] == ["P."]


def test_it_says_nothing_and_asks_for_nothing(opened: Callable[..., Page], text: str) -> None:
    shown = opened(text)
    shown.value("document.querySelectorAll('.few details').forEach(one => { one.open = true; })")
    shown.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    quiet(shown)


@pytest.mark.parametrize("name", ["small", "failed", "large"])
def test_numbers_are_those_of_the_document(opened: Callable[..., Page], name: str) -> None:
    document = document_maker.ALL[name]()
    shown = opened(page.of_run(document))
    rows = {row["Host"]: row for row in shown.value(FLEET)}
    assert rows.keys() == document["nodes"].keys()
    for host, node in document["nodes"].items():
        row, books = rows[host], node["accounting"] or {"cut_off": None, "survivors": None}
        told = [number(row[key]) for key in ("Wave", "Clients before", "Now", "Cut off", "Survivors")]
        known = [node["wave"], node["clients_before"], node["clients_after"], books["cut_off"], books["survivors"]]
        assert told == known, host
        assert [row[key] for key in ("From", "Runs", "Boots")] == [
            node[key] or "—" for key in ("from", "running", "boots")
        ], host
    totals = shown.value(
        "Object.fromEntries([...document.querySelectorAll('[data-total]')].map(e => [e.dataset.total, e.textContent]))"
    )
    assert {key: number(value) for key, value in totals.items()} == {
        "nodes": document["totals"]["nodes"],
        **document["totals"]["clients"],
    }
    results = shown.value(
        "Object.fromEntries([...document.querySelectorAll('[data-result]')].map("
        "e => [e.dataset.result, e.querySelector('b').textContent]))"
    )
    assert {key: number(value) for key, value in results.items()} == document["totals"]["results"]


@pytest.mark.parametrize("name", ["small", "failed", "large"])
def test_bars_are_the_steps_and_stand_where_they_belong(opened: Callable[..., Page], name: str) -> None:
    document = document_maker.ALL[name]()
    shown = opened(page.of_run(document))
    # Of the large fleet only one cluster, since all of it would take the browser long.
    shown.value("document.querySelectorAll('.few .node, .cluster[open] .node').forEach(one => { one.open = true; })")
    found = shown.value(
        """[...document.querySelectorAll('.body')].map(body => [...body.querySelectorAll('rect.bar')].map(bar => {
          if (!bar.checkVisibility()) return null;
          const own = bar.getBoundingClientRect(), all = bar.ownerSVGElement.getBoundingClientRect();
          const label = body.querySelectorAll('ol li')[[...bar.parentNode.querySelectorAll('rect.bar')].indexOf(bar)];
          const beside = label.getBoundingClientRect();
          return [own.width, (own.left - all.left) / all.width * 100, own.right - all.right,
            (own.top + own.bottom - beside.top - beside.bottom) / 2];
        }))"""
    )
    axis = page_charts.axis_of(document)
    hosts = shown.value(
        "[...document.querySelectorAll('.node > summary')].map(e => e.querySelector('h3, h4').textContent)"
    )
    assert sorted(hosts) == sorted(document["nodes"])
    looked_at = 0
    for host, bars in zip(hosts, found, strict=True):
        entries = document["nodes"][host]["timeline"]
        assert len(bars) == len(entries)
        for entry, drawn in zip(entries, bars, strict=True):
            if drawn is None:
                continue
            looked_at += 1
            width, left, beyond, off = drawn
            assert width > 0
            assert beyond <= 3
            assert left == pytest.approx(axis.place(page_text.epoch(entry["at"]) or 0), abs=0.5)
            assert abs(off) <= 1, "beside its label"
    assert looked_at > 10


@pytest.mark.parametrize("size", [PHONE, (768, 1024), (1280, 900)], ids=str)
def test_the_page_is_not_wider_than_the_window(opened: Callable[..., Page], text: str, size: tuple[int, int]) -> None:
    shown = opened(text, size=size)
    for _time in ("as it comes", "unfolded"):
        assert shown.value("document.documentElement.scrollWidth") <= size[0]
        shown.value(
            "document.querySelectorAll('.node, .in, .cluster:nth-of-type(-n+3)').forEach(e => { e.open = true; })"
        )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", [name for name in PAGES if name != "large"])
def test_what_is_written_can_be_read(opened: Callable[..., Page], name: str, dark: bool) -> None:
    shown = opened(PAGES[name](), dark=dark)
    shown.value("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = shown.value(CONTRASTS)
    assert len(found) > 20
    assert [row for row in found if row["ratio"] < row["least"]] == []
    behind = shown.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(behind) < 200) is dark


def test_everything_is_reached_by_the_keyboard(opened: Callable[..., Page]) -> None:
    shown = opened(PAGES["failed"]())
    shown.press("Tab", 9)
    assert shown.value("document.activeElement.className") == "skip"
    assert shown.value("document.activeElement.getBoundingClientRect().left") >= 0
    shown.press("Enter", 13)
    assert shown.value("document.activeElement.id") == "main"
    reached: list[int] = []
    for _time in range(120):
        shown.press("Tab", 9)
        place = shown.value("[...document.querySelectorAll('summary')].indexOf(document.activeElement)")
        if place >= 0:
            reached.append(place)
            assert shown.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            if place == 1:
                before = shown.value("document.activeElement.parentNode.open")
                shown.press("Enter", 13)
                assert shown.value("document.activeElement.parentNode.open") is not before
    assert reached[: len(set(reached))] == sorted(set(reached)), "in the order of the page"
    assert len(set(reached)) == shown.value("document.querySelectorAll('summary').length")


def test_a_link_opens_what_it_leads_to(opened: Callable[..., Page]) -> None:
    shown = opened(PAGES["large"]())
    link = "document.querySelector('.cluster:not([open]) a')"
    shown.value(f"window.target = document.querySelector({link}.getAttribute('href')); {link}.click()")
    shown.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert shown.value("target.checkVisibility() && target.closest('.node').open && target.closest('.cluster').open")


@pytest.mark.parametrize("name", ["small", "large", "status"])
def test_it_can_be_printed(opened: Callable[..., Page], name: str) -> None:
    shown = opened(PAGES[name](), dark=True, media="print", size=(794, 1123))
    assert shown.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.value("getComputedStyle(document.querySelector('.badge')).printColorAdjust") == "exact"
    hidden = shown.value(
        "[...document.querySelectorAll('.few .checks, .cluster > .wide')].filter(e => !e.checkVisibility()).length"
    )
    assert hidden == 0
    data = shown.pdf()
    assert data.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 0 < pages < 60
    quiet(shown)


def test_a_hostile_document_does_nothing(opened: Callable[..., Page]) -> None:
    def planted(value: Any) -> Any:
        if isinstance(value, str):
            return value + EVIL
        if isinstance(value, list):
            return [planted(one) for one in value]
        if isinstance(value, dict):
            return {name: one if name == "schema" else planted(one) for name, one in value.items()}
        return value

    shown = opened(page.of_run(planted(document_maker.failed())), size=PHONE)
    quiet(shown)
    assert shown.value("document.querySelectorAll('script, img, [onerror], [onload]').length") == 0
    assert shown.value("document.querySelectorAll('[href]:not([href^=\"#\"])').length") == 0
    assert shown.value("document.body.textContent").count("<script>alert(1)</script>") > 50
    assert shown.value("document.documentElement.scrollWidth") <= PHONE[0]
