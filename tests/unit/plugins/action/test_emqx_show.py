# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a task is shown as it is, and is in its result."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.action import emqx_show
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import terminal
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import run_action


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize(
    ("text", "message"), [(["a, b", "c"], "a, b\nc"), ("a, b\nc", "a, b\nc"), ([], ""), (["", 1], "\n1")]
)
def test_the_text_of_a_task(monkeypatch: pytest.MonkeyPatch, text: Any, message: str, fail: bool) -> None:
    shown: list[tuple[str, bool]] = []
    monkeypatch.setattr(terminal, "show", lambda text, fails: shown.append((text, fails)))
    assert run_action(emqx_show, {}, text=text, fail=fail) == {"changed": False, "failed": fail, "msg": message}
    assert shown == [(message, fail)]
