# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Write docs/known-defects.md from the table in the code, or look whether it is what the code says.

usage: known_defects_doc.py [--check]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from generated_page import ROOT, main, table

if TYPE_CHECKING:
    from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.known_defects import Defect, Range

INTRODUCTION = """\
<!-- Made by scripts/known_defects_doc.py from plugins/plugin_utils/decide/known_defects.py; change it there. -->
# Known defects

What EMQX's own hot upgrades break, by its change logs and sources. Every hop of every node's way is held against
this table, and the [gate](gates.md) `known_defects` tells what is met: an **error** refuses the node, a **warning** is
shown. `emqx_upgrade_accept: [known_defects]` accepts all that is met at once.

Enterprise (`ee`) and the open source editions (`ce`, `edge`) count their versions of 4.2 and 4.3 differently; `e4.3.19`
is one of Enterprise. A pre-release counts as affected if the version that it precedes, or the one before that, is.
What a node does not tell, for example its listeners, counts as present.

"""
TITLES = ("Defect", "From → to", "Where", "Severity", "What happens", "Fixed in", "What to do", "Source")
SOURCES = {
    "changelog": "",
    "source": "; read from the source",
    "run": "; tried",
}


def document() -> str:
    """The page's text."""
    # Under its full name the collection is in a copy of the checkout.
    tree = subprocess.run([sys.executable, ROOT / "scripts/tree.py"], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(Path(tree.stdout.strip()).parents[2]))
    from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.known_defects import DEFECTS

    return INTRODUCTION + table(TITLES, map(_row, DEFECTS))


def _row(defect: Defect) -> tuple[str, ...]:
    hops = (f"{', '.join(hops.editions)}: {_words(hops.source)} → {_words(hops.target)}" for hops in defect.hops)
    where = defect.condition.words if defect.condition else ""
    if not defect.on_hops:
        where = " and ".join(filter(None, (where, "no relup leads to the target")))
    return (
        f"`{defect.id}`",
        "<br>".join(hops),
        where or "everywhere",
        defect.severity,
        f"{defect.text}.",
        defect.fixed or "not fixed",
        f"{defect.remedy}.",
        defect.source + SOURCES[defect.verified],
    )


def _words(versions: Range) -> str:
    series, _dot, patch = versions.low.rpartition(".")
    if versions.before is None:
        return f"{series}.*" if patch == "0" else f"{versions.low} and later"
    last = int(versions.before.rpartition(".")[2]) - 1
    return versions.low if last == int(patch) else f"{versions.low}-{series}.{last}"


if __name__ == "__main__":
    sys.exit(main(__doc__, "docs/known-defects.md", document))
