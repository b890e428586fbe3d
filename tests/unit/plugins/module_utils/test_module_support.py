# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module ends."""

from typing import Any, Dict, List

from ansible_collections.emqx.fleet.plugins.module_utils import module_support
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError


class Module:
    """As much of an AnsibleModule as is needed; it does not end."""

    def __init__(self) -> None:
        self.warnings: List[str] = []
        self.ended: Dict[str, Dict[str, Any]] = {}

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: Any) -> None:
        self.ended["well"] = result

    def fail_json(self, **result: Any) -> None:
        self.ended["badly"] = result


def test_warnings_of_a_result_are_given_to_ansible() -> None:
    module, result = Module(), {"changed": True, "warnings": ["first", "second"]}
    module_support.succeed(module, result)
    assert module.ended == {"well": {"changed": True}}
    assert module.warnings == ["first", "second"]
    assert result["warnings"] == ["first", "second"], "what was handed over is as it was"


def test_warnings_of_a_failure_too() -> None:
    module = Module()
    module_support.fail(module, FleetError("It failed.", REFUSED, "Mend it.", details={"warnings": ["first"], "a": 1}))
    assert module.warnings == ["first"]
    assert "warnings" not in module.ended["badly"]
    assert (module.ended["badly"]["msg"], module.ended["badly"]["a"]) == ("It failed. Mend it.", 1)


def test_nothing_to_warn_of() -> None:
    module = Module()
    module_support.succeed(module, {"changed": False, "warnings": []})
    module_support.succeed(module, {"changed": False, "warnings": None})
    module_support.succeed(module, {"changed": False})
    assert (module.warnings, module.ended) == ([], {"well": {"changed": False}})
