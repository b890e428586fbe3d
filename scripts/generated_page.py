# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A page of the documentation that is made from the code: written, or compared with what the code says."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(description: str | None, page: str, document: Callable[[], str], root: Path = ROOT) -> int:
    """The command of a page: write it, or with --check print how it differs and return 1 if it does."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page is not up to date")
    arguments = parser.parse_args()
    path, text = root / page, document()
    if not arguments.check:
        path.write_text(text, encoding="utf-8")
        return 0
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in difflib.unified_diff(there.splitlines(), text.splitlines(), page, "the code", lineterm=""):
        print(line)
    return int(there != text)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    head = f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}\n"
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return head + "".join(f"| {' | '.join(row)} |\n" for row in cells)
