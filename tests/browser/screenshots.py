# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Draw pages of sample runs, for those who change how they look.

usage: make screenshots [PICTURE=1]

Writes PNG files to `.build/screenshots`, in light, dark, on a phone and on paper, of sample runs, or of the documents
given. `--picture` writes the one of `docs/report.md` instead.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page
from ansible_collections.emqx.fleet.tests.browser.browser import DESKTOP, PHONE, Browser, Page
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils import document_maker

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".build/screenshots"
PICTURE = ROOT / "docs/report.png"
#: Beyond that, a picture of a large fleet is the same over and over again.
_TALLEST = 3000
_LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"size": PHONE},
    "print": {"size": (794, 1123), "media": "print"},
}


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("report", nargs="*", type=Path)
    arguments = parser.parse_args()
    documents = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in arguments.report}
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        shown = browser.page()
        if arguments.picture:
            _picture(shown, documents)
            return
        for name, document in (documents or {name: make() for name, make in document_maker.ALL.items()}).items():
            _draw(shown, name, document)


def _draw(shown: Page, name: str, document: dict[str, Any]) -> None:
    html = FOLDER / f"{name}.html"
    html.parent.mkdir(parents=True, exist_ok=True)
    html.write_text(page.of_run(document), encoding="utf-8")
    for look, how in _LOOKS.items():
        shown.look(**how)
        shown.open(html)
        shown.picture(FOLDER / f"{name}-{look}.png", height=_TALLEST)
    print(f"{FOLDER / name}-*.png")
    (FOLDER / f"{name}.pdf").write_bytes(shown.pdf())


def _picture(shown: Page, documents: dict[str, Any]) -> None:
    """The beginning of the page of the small sample run."""
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "report.html"
        html.write_text(page.of_run(next(iter(documents.values()), document_maker.small())), encoding="utf-8")
        shown.look(size=(1120, DESKTOP[1]))
        shown.open(html)
        shown.picture(PICTURE, height=1290)
    print(PICTURE)


if __name__ == "__main__":
    main()
