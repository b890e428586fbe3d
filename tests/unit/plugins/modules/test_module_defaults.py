# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The group of modules that ``module_defaults`` is for; that defaults arrive, the integration tests show."""

from __future__ import annotations

import yaml
from ansible_collections.emqx.fleet.tests.unit.plugins.documentation import ON_A_NODE, ROOT


def test_every_module_on_a_node_is_in_the_group() -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert groups["emqx"] == ON_A_NODE
