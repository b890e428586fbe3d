# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Write docs/gates.md from the gates in the code, or look whether it is what the code says.

usage: gates_doc.py [--check]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from generated_page import ROOT, main, table

INTRODUCTION = """\
<!-- Made by scripts/gates_doc.py from plugins/plugin_utils/decide/gates.py; change it there. -->
# Gates

Before anything on any node is touched, every gate is asked for every node of the run, and all failures are reported
at once. An **error** refuses the node, and with it the run; a **warning** is shown. Which gates are asked depends on
what the node has to do: to switch (`upgrade`), to make permanent what it runs already (`commit`), or nothing (`none`).
One is asked later, of a node whose release is unpacked (`staged`), and still before any node is switched.

A gate that can be accepted is overridden by its name, for example `emqx_upgrade_accept: [patches]`. Every override is
shown in the plan and recorded in the report. The others guard against what could only end badly: the command would
crash, or the node would be left in pieces.

"""
TITLES = ("Gate", "Severity", "Can be accepted", "Asked for", "What must hold", "Way out")


def document() -> str:
    """The page's text."""
    # Under its full name the collection is in a copy of the checkout.
    tree = subprocess.run([sys.executable, ROOT / "scripts/tree.py"], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(Path(tree.stdout.strip()).parents[2]))
    from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.gates import GATES

    rows = []
    for gate in GATES.values():
        asked = ", ".join(name for name in ("upgrade", "commit", "none", "staged") if name in gate.actions)
        accepted = "yes" if gate.acceptable else "no"
        rows.append((f"`{gate.name}`", gate.severity, accepted, asked, gate.summary, gate.way_out))
    return INTRODUCTION + table(TITLES, rows)


if __name__ == "__main__":
    sys.exit(main(__doc__, "docs/gates.md", document))
