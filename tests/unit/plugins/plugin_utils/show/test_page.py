# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a run: its numbers are those of the document, and no text of the document is anything but text."""

from __future__ import annotations

import functools
import html
import itertools
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page, page_text
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils import document_maker

ROOT = Path(__file__).resolve().parents[5]
SCHEMA = json.loads((ROOT / "docs/report.schema.json").read_text(encoding="utf-8"))
#: Of every kind what would do harm as anything but text.
EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)> ' autofocus onfocus='alert(1)",
    "]]><![CDATA[ --> <!-- </title></style></pre></details>",
    "javascript:alert(1)//&lt;&#x3c;",
    "nul\x00esc\x1b[31m bell\x07 rtl\u202egnp.exe\u2066 zero\u200bwidth \ud800 \ufeff",
    "{{ 7 * 7 }}{% raw %}${7*7}",
)
#: Dictionaries whose keys are names from outside.
NAMED = ("nodes", "members", "results")
VOID = {"meta", "br", "link", "img", "input"}
PLAIN = {"line", "rect", "circle", "polyline", "use"}


class Dom(HTMLParser):
    """What a page is made of: elements with their attributes and texts; unbalanced ones are an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "everything is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _value in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in PLAIN, tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


#: The samples, of which the large one is as small as one that is folded can be.
SAMPLES = {**document_maker.ALL, "large": lambda: document_maker.large(20, page.FOLDED_ABOVE + 1)}


@functools.cache
def dom_of(name: str) -> Dom:
    """The page of a sample."""
    return Dom(page.of_run(SAMPLES[name]()))


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from texts_of(one, f"{path}/{name}")
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from texts_of(one, f"{path}/{place}")


def planted(value: Any, evil: str, keys: bool = False) -> Any:
    """The document with evil in every text, but for the schema's name."""
    if isinstance(value, str):
        return value + evil
    if isinstance(value, list):
        return [planted(one, evil, keys) for one in value]
    if isinstance(value, dict):
        return {
            name + (evil if keys else ""): one if name == "schema" else planted(one, evil, name in NAMED)
            for name, one in value.items()
        }
    return value


def visible(text: str) -> str:
    """The text of a page as a person reads it."""
    found = "".join(data for tag, data in Dom(text).texts if tag != "style")
    return re.sub(r"\s+", " ", found)


def test_samples_are_documents(sample: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document_maker.ALL[sample]())


def test_a_page_has_no_script_and_loads_nothing(sample: str) -> None:
    text, dom = page.of_run(SAMPLES[sample]()), dom_of(sample)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    used = {tag for tag, _attributes in dom.elements}
    assert not used & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video", "image"}
    for tag, attributes in dom.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style", "action")
        ]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [row["content"] for row in dom.named("meta") if row.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_names_within_the_page(sample: str) -> None:
    dom = dom_of(sample)
    names = [attributes["id"] for _tag, attributes in dom.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _tag, attributes in dom.elements:
        for name in ("href", "aria-labelledby"):
            if name in attributes:
                assert (attributes[name] or "").lstrip("#") in names


def test_headings_are_in_order(sample: str) -> None:
    levels = [int(tag[1]) for tag, _attributes in dom_of(sample).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_what_is_drawn_is_also_told(sample: str) -> None:
    dom = dom_of(sample)
    for row in dom.named("svg"):
        assert (
            row.get("aria-hidden") == "true" or (row.get("role") == "img" and row.get("aria-label")) or "viewbox" in row
        )
    for row in dom.named("th"):
        assert row["scope"] in ("col", "row", "rowgroup")


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("make", [document_maker.small, document_maker.failed, document_maker.blocked])
def test_no_text_is_anything_but_text(make: Callable[[], dict[str, Any]], evil: str) -> None:
    used = {(tag, name) for sample in SAMPLES for tag, attributes in dom_of(sample).elements for name in attributes}
    tags = {tag for sample in SAMPLES for tag, _attributes in dom_of(sample).elements}
    told = page_text.cleaned(evil)
    dom = Dom(page.of_run(planted(make(), evil)))
    for tag, attributes in dom.elements:
        assert tag in tags
        for name, value in attributes.items():
            assert (tag, name) in used
            assert name == "aria-label" or told not in (value or ""), (tag, name)
    assert len([data for _tag, data in dom.texts if told in data]) > 20


@pytest.mark.parametrize("make", [document_maker.small, document_maker.failed])
def test_hidden_characters_are_shown(make: Callable[[], dict[str, Any]]) -> None:
    text = page.of_run(planted(make(), EVIL[4]))
    text.encode("utf-8")
    assert (
        "nul⟨NUL⟩esc⟨ESC⟩[31m bell⟨BEL⟩ rtl⟨U+202E⟩gnp.exe⟨U+2066⟩ zero⟨U+200B⟩width ⟨U+D800⟩ ⟨U+FEFF⟩"
        in html.unescape(text)
    )
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text)


#: What of a document is not on its page, since it is told in other words or is of no use to people.
LEFT_OUT = re.compile(
    r"^/(schema|table/|ok|purpose|verdict|commit|finished|started|written)|^/jobs/\d+/(started|finished|verdict|controller/process|versions/)"
    r"|/(wave|action|result|severity|failure_class|to|permanent|told_by|at|started|kind)$"
    r"|^/plan/(waves/|obstacles/\d+/hosts)|/(actions|way_back|releases|hops|gates_accepted|state_before|state_after|clients)/"
    r"|/checks/\d+/(name|expected)$|/timeline/\d+/(at|action|phase|version)$|/timeline/\d+/command/|^/nodes/[^/]+/(node|cluster|phase)$"
    r"|^/probe/id$"
)


@pytest.mark.parametrize(
    "make", [document_maker.small, document_maker.failed, document_maker.blocked, document_maker.refused]
)
def test_texts_of_the_document_are_on_the_page(make: Callable[[], dict[str, Any]]) -> None:
    document = make()
    shown = visible(page.of_run(document))
    missing = {
        path: text
        for path, text in texts_of(document)
        if not LEFT_OUT.search(path) and re.sub(r"\s+", " ", text) not in shown
    }
    assert missing == {}


def test_the_verdict_is_told_in_a_word() -> None:
    words = {name: visible(page.of_run(make())) for name, make in document_maker.ALL.items()}
    assert "✓ Succeeded Hot upgrade to 4.4.19 All that was planned was done" in words["small"]
    assert "✕ Failed Hot upgrade to 4.4.19 Not everything that was planned was done." in words["failed"]
    assert (
        "… Not ended Hot upgrade to 4.4.19 The run had not come to its end at 2026-11-28 01:02:34 UTC."
        in words["running"]
    )
    assert "! Refused Run of emqx.fleet Refused before anything was touched" in words["refused"]
    assert "Roll-back to 4.4.18" in words["rollback"]


def test_bars_are_the_steps(sample: str) -> None:
    document = SAMPLES[sample]()
    for node in document["nodes"].values():
        for entry in node["timeline"][1::4]:
            entry["seconds"] = None
    dom = Dom(page.of_run(document))
    entries = [entry for node in document["nodes"].values() for entry in node["timeline"]]
    bars = [row for row in dom.named("rect") if (row.get("class") or "").startswith("bar ")]
    dots = [row for row in dom.named("circle") if (row.get("class") or "").startswith("dot ")]
    assert len(bars) == len([entry for entry in entries if entry["seconds"] is not None])
    assert len(dots) == len([entry for entry in entries if entry["seconds"] is None])


def test_a_sum_of_unknown_numbers_is_no_zero() -> None:
    text = page.of_run(document_maker.rollback())
    assert 'data-total="cut_off"' not in text
    assert "clients cut off: not known" in visible(text)
    assert 'data-total="cut_off">0<' in page.of_run(document_maker.small())


def test_books_that_do_not_add_up_are_told() -> None:
    document = document_maker.small()
    assert "do not add up" not in page.of_run(document)
    next(iter(document["nodes"].values()))["accounting"]["came"] += 3
    assert "These numbers do not add up; they differ by 3." in visible(page.of_run(document))


def test_failed_checks_come_first_and_failed_nodes_are_open() -> None:
    text = page.of_run(document_maker.failed())
    assert text.index("Failed check") < text.index("17 checks passed")
    large = page.of_run(document_maker.large())
    opened = re.findall(r'<details class="(\w+)[^"]*" open>', large)
    assert opened == ["cluster", "node"]
    assert large.index('<details class="cluster" open>') < large.index('<details class="cluster">')


def test_an_unprobed_run_says_so() -> None:
    assert "Not probed: no clients of our own" in page.of_run(document_maker.failed())
    assert "Not probed" not in page.of_run(document_maker.small())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{}", "this is a str. Of a text, such as the contents of a file, make one with the filter from_json."),
        (None, "this is nothing."),
        ({}, "this one has None. Use the release of emqx.fleet that wrote it."),
        ({"schema": "emqx.fleet/report/2\x00"}, "this one has emqx.fleet/report/2⟨NUL⟩."),
        ({"schema": "emqx.fleet/report/1"}, "is not built like it (KeyError: "),
        ({**document_maker.small(), "nodes": {"h1": {}}}, "is not built like it (KeyError: "),
        ({**document_maker.small(), "jobs": []}, "is not built like it (IndexError: "),
    ],
)
def test_what_no_page_can_be_made_of(document: Any, said: str) -> None:
    with pytest.raises(page.PageError) as caught:
        page.of_run(document)
    assert said in str(caught.value)


def test_a_large_page_is_light() -> None:
    assert len(page.of_run(document_maker.large()).encode("utf-8")) < 3_000_000
