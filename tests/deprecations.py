# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every run of Ansible in the tests is looked through for warnings of what will be gone.

All of them count: what Ansible says of a play is about what the play, its roles and its plugins do, and it names a
module or a line of YAML, rarely a collection. A test that gives Ansible a file that it will not take for ever says so.
"""

from __future__ import annotations

import re

#: Set it, so that no configuration of the caller's keeps the warnings back.
ENVIRONMENT = {"ANSIBLE_DEPRECATION_WARNINGS": "1"}
#: Settings of Ansible's own that tests make, as users of older releases do.
_SETTINGS = ("DEFAULT_JINJA2_NATIVE option",)
#: A warning goes on until a line that begins something else.
_WARNING = re.compile(r"^.*\[DEPRECATION WARNING\].*(?:\n(?!\s*$|TASK |PLAY |\[\w+\]|\w+: \[).*)*", re.MULTILINE)


def require_none(output: str, what: str, but: str = "") -> None:
    """AssertionError where ``output``, all that a run called ``what`` printed, has deprecation warnings.

    ``but``: the name of a file of the test's own, of which Ansible may warn.
    """
    allowed = (*_SETTINGS, but) if but else _SETTINGS
    found = [text for text in dict.fromkeys(_WARNING.findall(output)) if not any(words in text for words in allowed)]
    assert not found, f"Ansible warns in {what} of what will be gone:\n" + "\n".join(found)
