# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The picture of the workflow: everything is in it, and it needs nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ansible_collections.emqx.fleet.plugins.plugin_utils.show.awx_content import children

from .places import CONTENT, ROOT

PICTURE = (ROOT / "docs/awx-workflow.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_node_and_every_way_is_in_it() -> None:
    root = ElementTree.fromstring(PICTURE)
    said = [element.text or "" for element in root.iter(f"{SVG}text")]
    (workflow,) = CONTENT["workflows"]
    for node in workflow["nodes"]:
        assert any(re.match(rf"{node['identifier']}(,|\Z)", text) for text in said)
        assert (node["approval"]["name"] if "approval" in node else f"EMQX {node['template']}") in said
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    # Three in the legend; what leads to `status` meets before it gets there.
    ways = [(node["identifier"], child) for node in workflow["nodes"] for child in children(node)]
    meeting = [parent for parent, child in ways if child == "status"]
    assert len(arrows) == 3 + len(ways) - len(meeting) + 1


def test_nothing_lies_outside_or_upon_another() -> None:
    root = ElementTree.fromstring(PICTURE)
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    boxes = [
        tuple(int(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if "box" in box.attrib["class"].split()
    ]
    for number, (left, top, wide, high) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert left + wide <= width
        assert top + high <= height
        for other_left, other_top, other_wide, other_high in boxes[:number]:
            beside = left + wide <= other_left or other_left + other_wide <= left
            assert beside or top + high <= other_top or other_top + other_high <= top


def test_it_stands_alone_and_has_colours_for_dark_pages() -> None:
    assert "prefers-color-scheme:dark" in PICTURE
    assert not re.search(r"href|<script|<image|@import|url\((?!#)", PICTURE)
