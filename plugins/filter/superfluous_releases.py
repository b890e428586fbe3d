# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: superfluous_releases
short_description: Old releases of a node that may be uninstalled
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Lists the old releases of a node beyond the newest ones that are kept.
  - What runs, is permanent or would be booted is never listed.
positional: keep
options:
  _input:
    description: What M(emqx.fleet.emqx_release_info) returned.
    type: dict
    required: true
  keep:
    description: How many old releases to keep.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Uninstall all but the newest old release
  emqx.fleet.emqx_release:
    version: "{{ item }}"
    state: absent
  loop: "{{ emqx | emqx.fleet.superfluous_releases(1) }}"
"""

RETURN = r"""
_value:
  description: Versions, newest first.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import outcomes


def superfluous_releases(*arguments: Any) -> Any:
    """The filter; bad input is an error of the template that uses it."""
    try:
        return outcomes.superfluous_releases(*arguments)
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"emqx.fleet.superfluous_releases: {error}") from error


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"superfluous_releases": superfluous_releases}
