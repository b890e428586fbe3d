#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_settings
short_description: Checks every setting of a run before anything is touched
description:
  - >-
    Reads the settings of the role P(emqx.fleet.emqx_upgrade#role) for every host of the play, and returns what they
    mean.
  - >-
    Values mean what a person means. A list may be one text, with commas, line by line, or in JSON or YAML; a number
    may be a text; seconds may have a unit, as in V(90s), V(2m) and V(1h30m); blanks around a value do not count; an
    empty value is the default.
  - >-
    Fails with one message that names every bad setting of all hosts, with what was found, what was expected and the
    remedy. Among them are names that no setting has, values that differ where the whole play needs one, a report that
    cannot be written, packages that are not there, host patterns that match nothing, and hooks that Ansible could not
    load.
  - Nothing is changed, and no connection is made.
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
  purpose:
    description:
      - What the run is for.
      - V(upgrade) and V(plan) need a version, and have their packages, canaries and hooks looked at.
    type: str
    choices: [upgrade, rollback, commit, cleanup, status, plan, report, split]
    default: upgrade
notes:
  - Runs on the controller for all hosts of the play; use it with C(run_once).
"""

EXAMPLES = r"""
- name: Check every setting
  emqx.fleet.emqx_settings:
    purpose: upgrade
  register: checked
  run_once: true

- name: Show the settings of this host
  ansible.builtin.debug:
    msg: "{{ checked.settings[inventory_hostname] }}"
"""

RETURN = r"""
settings:
  description:
    - The settings of every host, by the host's name and the setting's name without its prefix.
    - >-
      C(canary) is a number, a percentage, or a list of hosts of the play; the paths of hooks and of the report are
      absolute.
  returned: success
  type: dict
  sample: {broker1: {version: 4.4.19, timeout: 600, wave_size: 10%, canary: [broker1]}}
phases:
  description: The parts of a roll-out that the tags of the run leave, out of V(plan), V(stage), V(switch), V(commit).
  returned: success
  type: list
  elements: str
problems:
  description: Every problem, a sentence or two each.
  returned: failure
  type: list
  elements: str
"""
