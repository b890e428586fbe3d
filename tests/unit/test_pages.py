# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Pages that people write name what there is: files, modules, phases, settings, and what fragments may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes, settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("tests/*/README.md")]
)
FRAGMENTS = sorted(ROOT.glob("changelogs/fragments/*.yml"))
ROLE = ROOT / "roles/emqx_upgrade"
#: A line of a fragment, with what makes a list of it.
WIDTH = 120


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """The page without its code."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text_of(path))


def anchors(path: Path) -> set[str]:
    """What a link can lead to within a page, as GitHub names it."""
    titles = re.findall(r"(?m)^#+ (.+)$", prose(path))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells(text: str) -> Iterator[str]:
    """The names in code of the first cell of each row."""
    for row in re.findall(r"(?m)^\| *([^|]+?) *\|", text):
        yield from re.findall(r"`([^`]+)`", row)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for link in links:
        if "://" in link:
            continue
        name, _sign, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_plugin_is_in_the_readme() -> None:
    text = text_of(ROOT / "README.md")
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    assert set(re.findall(r"(?m)^\| `emqx\.fleet\.(emqx_\w+)`", text)) == modules
    for kind in ("callback", "lookup", "filter"):
        for path in (ROOT / "plugins" / kind).glob("*.py"):
            assert f"`emqx.fleet.{path.stem}`" in text, path
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(re.findall(r"(?m)^\| `emqx\.fleet\.(?!emqx_)(\w+)`", text)) == playbooks


def test_settings_of_the_readme_have_their_defaults() -> None:
    defaults = yaml.safe_load(text_of(ROLE / "defaults/main.yml"))
    rows = re.findall(r"(?m)^\| `(emqx_upgrade_\w+)` \| *(?:`([^`]*)`)? *\|", text_of(ROOT / "README.md"))
    assert len(rows) > 10
    for name, shown in rows:
        default = defaults[name]
        assert shown == (",".join(default) if isinstance(default, list) else str(default or "") or shown), name


def test_every_setting_is_told_of() -> None:
    told = text_of(ROOT / "docs/rollout.md")
    assert [name for name in settings.RULES if not re.search(rf"`(emqx_upgrade_)?{name}\b", told)] == []


def test_every_entry_point_of_the_role_is_told_of() -> None:
    told = set(first_cells(text_of(ROLE / "README.md")))
    there = {path.stem for path in (ROLE / "tasks").glob("*.yml") if not path.stem.startswith("_")} - {"main"}
    assert told - {"tasks_from"} == there
    said = text_of(ROLE / "tasks/main.yml").split("tasks_from set to")[1]
    assert set(re.findall(r"\w+", said)) - {"or"} == there


def test_the_table_of_phases_is_that_of_the_code() -> None:
    section = text_of(ROOT / "docs/architecture.md").partition("## The state machine")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"(?m)^\| `.*$", section)]
    told = {
        phase.strip("`"): (
            set(re.findall(r"`(\w+)`", begins)),
            reaches.strip("`") or None,
            set(actions.split(", ")),
            "before the switch" in failure,
            "whatever the budget" in failure,
            "of all nodes" in failure or "of the whole wave" in failure,
        )
        for phase, begins, reaches, actions, failure in rows
    }
    assert told == {
        name: (set(row.begins), row.reaches, set(row.actions), row.before_switch, row.fatal, row.once)
        for name, row in outcomes.PHASES.items()
    }
    assert list(told) == list(outcomes.PHASES)


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_fragments_are_short(path: Path) -> None:
    assert [line for line in text_of(path).splitlines() if len(line) > WIDTH] == []
