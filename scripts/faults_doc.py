# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Write docs/faults.md from the cases of the fault suite, or look whether it is what they say.

usage: faults_doc.py [--check]
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from generated_page import ROOT, main, table

if TYPE_CHECKING:
    from tests.integration.cases import Case

INTRODUCTION = """\
<!-- Made by scripts/faults_doc.py from tests/integration/cases.py and the faults_*.py beside it; change it there. -->
# Faults

What `emqx_release` does when something is wrong: {count} cases, each set up for real, none of them simulated. Every row
is what `tests/integration/test_faults.py` asserts, so the page is true as long as that suite passes. {repeated} cases
that take the same way through the code as another one are in `make soak` alone:
{names}.

Each case goes this way:

1. A fresh node of {old} is installed and started, and {clients} idle clients connect to it: they subscribe and then
   send nothing, which is what a second switch would end (see [A second switch](#a-second-switch)).
2. The fault is set up: a full disk, a read-only file, a killed process, a broken package.
3. The task runs: bring {new} to `permanent`, or to `unpacked` where the fault only concerns the package, unless the row
   says otherwise. Its answer and what it leaves on the node are compared with the row.
4. The fault is taken away, and the same task is run again as it is (only where the way out is an argument, with that
   one). It must succeed, without anything being mended by hand in between but what the answer asked for.
5. A third run must find nothing to do.
6. Every client that the fault itself did not end is still connected, and is answered.
7. The node loses its power and is started: it must boot the version that was asked for. Where the package was only
   unpacked, there is no restart; the old version must still run and be what would boot.

Nowhere may the node's cookie appear in an answer or in the journal.

## Words

**Answer**: how the task ends, what it did, and in quotes a part of its message. It is read from the module's return
values (`failure_class`, `actions`, `msg`); whatever failed also has a `hint`, the way out.

| Answer | What it means |
|---|---|
{answers}
**Leaves**: what the node is right after that answer, by its own command and by its files. *Told* means that `boot` in
the answer says so too. A dash: what is left depends on the instant, and the next runs have to cope with any of it.

**In the end**: after the run without the fault. Where clients are not mentioned, all of them were kept.

"""
ANSWERS = {
    "done": "The node is in the state asked for.",
    "not_started": "Nothing was done: what was checked beforehand was against it.",
    "refused": "A command said no, or a check between two steps did; the node is as it was before that step.",
    "changed": "It failed after the node had changed.",
    "unknown": "The command or the node did not tell in time; read the node again before anything else.",
    "killed": "The task itself was killed and answers nothing.",
}
TITLES = ("Case", "Fault", "Answer", "Leaves", "In the end")


def document() -> str:
    """The page's text."""
    sys.path.insert(0, str(ROOT))
    from tests.integration import cases
    from tests.integration.cases import REPEATED

    found = cases.load()
    words = cases.WORDS

    def row(case: Case) -> tuple[str, ...]:
        leaves = " or ".join(words[name] for name in case.leaves if name in words)
        return (f"`{case.name}`", case.fault, answer(case), leaves or "-", end(case))

    text = INTRODUCTION.format(
        count=len(found),
        repeated=len(REPEATED),
        names=", ".join(f"`{case.name}`" for case in found if case.name in REPEATED),
        clients=cases.CLIENTS,
        old=cases.OLD,
        new=cases.NEW,
        answers="".join(f"| `{name}` | {meaning} |\n" for name, meaning in ANSWERS.items()),
    )
    for title, members in itertools.groupby(found, lambda case: case.group):
        text += f"## {title}\n\n{table(TITLES, map(row, members))}\n"
    return text.rstrip("\n") + "\n"


def answer(case: Case) -> str:
    """How the task ends, what it did, what it says."""
    text = " or ".join(f"`{verdict}`" for verdict in case.verdict)
    if case.does is not None:
        text += f": {', '.join(case.does)}" if case.does else ": nothing to do"
    return text + (f'; "{case.says}"' if case.says else "")


def end(case: Case) -> str:
    """The version in the end, and the clients that the fault ended."""
    from tests.integration.cases import CLIENTS, NEW

    version = f"{case.ends} permanent" if case.goal == "permanent" else f"{NEW} unpacked"
    if not case.lost:
        return version
    return f"{version}; {'every client' if case.lost == CLIENTS else f'{case.lost} clients'} lost by the fault"


if __name__ == "__main__":
    sys.exit(main(__doc__, "docs/faults.md", document))
