#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_hook
short_description: Makes sure that a file of tasks can be loaded
description:
  - Loads a file of tasks as M(ansible.builtin.include_tasks) would, with all that it imports and includes, and runs
    nothing of it.
  - Fails where that is not possible. A rescue handles this failure, while an include of such a file ends the whole run
    at once, whatever the tasks around it are.
  - >-
    Fails as well for what ends a run only later: handlers that are notified and not there, C(meta) tasks that are not
    known or that end the play or a host, and keywords that cannot be worked out.
  - A name that is only known when the file runs is not looked at, which is warned of.
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
  path:
    description: Path of the file on the controller.
    type: str
    required: true
  hook:
    description: What C(emqx_upgrade_hook.name) is while names in the file are worked out.
    type: str
    choices: [before_fleet, before_wave, before_node, after_node, after_wave, after_fleet]
    default: before_node
"""

EXAMPLES = r"""
- name: Run the tasks of the user, and go on where they cannot be run
  block:
    - name: Make sure that they can be loaded
      emqx.fleet.emqx_hook:
        path: /srv/hooks/drain.yml

    - name: Run them
      ansible.builtin.include_tasks: /srv/hooks/drain.yml
  rescue:
    - name: Show why they failed
      ansible.builtin.debug:
        var: ansible_failed_result
"""

RETURN = r"""
problems:
  description: What is wrong with the file, each with the place where it is.
  returned: always
  type: list
  elements: str
"""
