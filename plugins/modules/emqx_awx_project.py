#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_awx_project
short_description: Writes the skeleton of a project for AWX
description:
  - >-
    Copies C(extensions/awx/project) of this collection, with a playbook for each job template, into a folder of the
    controller.
  - >-
    A file that somebody changed is left alone as long as the skeleton has nothing new for it. Where it has, nothing is
    written, and the files are named. What was written is kept in C(.emqx-fleet.json) there.
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
  dir:
    description: The folder, such as a checkout of the repository that AWX fetches the project from.
    type: str
    required: true
  overwrite:
    description: Whether files are replaced that somebody changed and the skeleton has something new for.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Begin a project for AWX
  emqx.fleet.emqx_awx_project:
    dir: emqx-awx
"""

RETURN = r"""
dir:
  description: The folder.
  returned: success
  type: str
written:
  description: Files that were written.
  returned: success
  type: list
  elements: str
kept:
  description: Files that somebody changed and that were left as they are.
  returned: success
  type: list
  elements: str
"""
