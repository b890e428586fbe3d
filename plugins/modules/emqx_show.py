#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_show
short_description: Shows text for people as it is
description:
  - >-
    Prints lines under the name of the task, where M(ansible.builtin.debug) prints them as JSON. With O(fail=true) the
    task fails with them, where M(ansible.builtin.fail) shows a single line with C(\n) in it.
  - >-
    Lines are printed beside a stdout callback that is derived from P(ansible.builtin.default#callback), as that of AWX
    is. The output of others, such as a document of JSON, is left alone. The text is in the result in any case.
author:
  - emqx.fleet contributors (@emqx-fleet)
extends_documentation_fragment:
  - emqx.fleet.node.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  text:
    description: A list of lines, or a text.
    type: raw
    required: true
  fail:
    description: Whether the task fails.
    type: bool
    default: false
notes:
  - For the role P(emqx.fleet.emqx_upgrade#role). Runs on the controller.
"""

EXAMPLES = r"""
- name: Put together where every node is
  emqx.fleet.emqx_status:
  register: status
  run_once: true

- name: Show the fleet
  emqx.fleet.emqx_show:
    text: "{{ status.table }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: The text.
  returned: always
  type: str
"""
