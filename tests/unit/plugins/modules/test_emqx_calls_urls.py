# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A row of calls as it is given to a node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import calls, module_support
from ansible_collections.emqx.fleet.plugins.modules import emqx_calls


class Ended(Exception):  # noqa: N818 -- no error
    """The module has told its result."""


class Module:
    """Stands for an AnsibleModule with these parameters."""

    def __init__(self, **params: Any) -> None:
        self.params = {"executable": None, "secret_urls": {}, "lock_timeout": 0.0, "identity": "x", **params}
        self.check_mode = False
        self.spec: dict[str, Any] = {}

    def __call__(self, argument_spec: dict[str, Any], supports_check_mode: bool) -> Module:
        self.spec = argument_spec
        return self

    def exit_json(self, **_result: Any) -> None:
        raise Ended

    fail_json = exit_json

    def warn(self, _warning: str) -> None:
        pass


def test_urls_with_credentials_come_to_their_call_and_are_logged_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[calls.Call] = []
    row = [
        {"kind": "packages", "arguments": {"packages": [], "urls": {"a.zip": "https://files/a.zip"}}},
        {"kind": "wait", "arguments": {"seconds": 0}},
    ]
    module = Module(row=row, executable="/opt/emqx/bin/emqx", secret_urls={"b.zip": "https://me:s3cret@files/b.zip"})
    monkeypatch.setattr(emqx_calls, "AnsibleModule", module)
    monkeypatch.setattr(module_support, "survive_lost_connection", lambda: None)
    monkeypatch.setattr(module_support, "open_node", lambda *_given: SimpleNamespace(state_dir=None))

    def perform(_state_dir: Any, given: list[calls.Call], *_how: Any) -> list[dict[str, Any]]:
        made.extend(given)
        return []

    monkeypatch.setattr(calls, "perform", perform)
    with pytest.raises(Ended):
        emqx_calls.main()
    assert made[0].arguments["urls"] == {"a.zip": "https://files/a.zip", "b.zip": "https://me:s3cret@files/b.zip"}
    assert made[0].arguments["executable"] == "/opt/emqx/bin/emqx"
    assert made[1].arguments == {"seconds": 0.0}
    assert module.spec["secret_urls"]["no_log"] is True
    assert "s3cret" not in str(row)
