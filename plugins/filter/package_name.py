# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: package_name
short_description: The parts of an EMQX package's name
version_added: 0.1.0
author:
  - emqx.fleet contributors (@emqx-fleet)
description:
  - Takes the file name of an EMQX package, or a path that ends in one, apart.
  - The forms of EMQX 4.2, 4.3 and 4.4 are known, of the Community, Enterprise and Edge editions, and pre-releases.
  - Words for operating systems and architectures come back as EMQX 4.4 writes them, C(el7) for C(centos7) and C(amd64)
    for C(x86_64). Words that are not known pass through, with a warning.
options:
  _input:
    description: The name or path of a package.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what a package is built for
  ansible.builtin.debug:
    msg: "{{ name.version }} for {{ name.os }} on {{ name.arch }}, OTP {{ name.otp }}"
  vars:
    # {'edition': 'ee', 'version': '4.4.16', 'otp': '24.3.4.2-1', 'os': 'ubuntu20.04', 'arch': 'amd64'}
    name: "{{ 'packages/emqx-ee-4.4.16-otp24.3.4.2-1-ubuntu20.04-amd64.zip' | emqx.fleet.package_name }}"
"""

RETURN = r"""
_value:
  description: The parts of the name; null for what the name does not say.
  type: dict
  contains:
    edition:
      description: V(ce), V(ee) or V(edge).
      type: str
    version:
      description: The version of EMQX.
      type: str
    otp:
      description: The version of Erlang/OTP.
      type: str
    os:
      description: The operating system.
      type: str
    arch:
      description: The architecture.
      type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.emqx.fleet.plugins.module_utils import package_name as names


def package_name(name_or_path: Any) -> dict[str, str | None]:
    """The filter; what is no name of a package is an error of the template that uses it."""
    try:
        parts = names.parse(name_or_path)
    except names.PackageNameError as error:
        raise AnsibleFilterError(f"emqx.fleet.package_name: {error}") from None
    for warning in parts.warnings():
        Display().warning(f"emqx.fleet.package_name: {warning}")
    return {
        "edition": parts.edition,
        "version": parts.version,
        "otp": parts.otp,
        "os": names.normalise_os(parts.os) if parts.os else None,
        "arch": names.normalise_arch(parts.arch) if parts.arch else None,
    }


class FilterModule:
    """Names the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"package_name": package_name}
