#!/usr/bin/python
# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


DOCUMENTATION = r"""
module: emqx_awx_content
short_description: What AWX gets for this collection
description:
  - >-
    Returns job templates, workflows with their surveys, credential types and labels as arguments of the modules of
    C(awx.awx), and as variables for the roles of C(infra.aap_configuration). It asks AWX nothing.
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
  apply:
    description: Whether the content shall be brought to AWX. It then fails where the collection C(awx.awx) is missing.
    type: bool
    default: true
  state:
    description: >-
      With V(absent), the playbook takes away what it brought: workflows, templates, the project whose URL is given, the
      execution environment whose image is given, and credential types that no credential has. The organization and the
      inventory stay.
    type: str
    choices: [present, absent]
    default: present
  content:
    description: >-
      Names of files in C(extensions/awx) of this collection, or paths of others, with a slash in them. What they have
      is put together.
    type: list
    elements: str
    default: [content.yml]
  organization:
    description: Name of the organization.
    type: str
    default: Default
  prefix:
    description: What the names of templates, workflows and credential types begin with.
    type: str
    default: "EMQX "
  project:
    description: Name of the project; by default the prefix and C(fleet).
    type: str
    default: ""
  project_url:
    description: URL of its Git repository. Without it, the project must be there already.
    type: str
    default: ""
  project_branch:
    description: Its branch; by default that of the repository.
    type: str
    default: ""
  project_credential:
    description: Name of the credential that the repository is fetched with.
    type: str
    default: ""
  inventory:
    description: >-
      Name of the inventory, by default the prefix and C(brokers). One that is not there is made, without hosts.
    type: str
    default: ""
  execution_environment:
    description: Name of the execution environment; by default that of the organization.
    type: str
    default: ""
  execution_environment_image:
    description: Image of the execution environment, which is then made; its name is by default the prefix and C(fleet).
    type: str
    default: ""
  machine_credential:
    description: Name of the credential with which jobs log in to the brokers.
    type: str
    default: ""
  credentials:
    description: Names of further credentials of all job templates.
    type: list
    elements: str
    default: []
  forks:
    description: How many nodes a job works on at the same time; with 0 as many as the content says.
    type: int
    default: 0
  defaults:
    description: What surveys suggest, by the names of the settings without C(emqx_upgrade_).
    type: dict
    default: {}
  not_asked:
    description: Settings that no survey asks for, by their names without C(emqx_upgrade_).
    type: list
    elements: str
    default: []
notes:
  - For the playbook C(emqx.fleet.awx_setup).
"""

EXAMPLES = r"""
- name: See what AWX would get
  emqx.fleet.emqx_awx_content:
    apply: false
    project_url: https://git.example.com/emqx.git
  register: content
"""

RETURN = r"""
objects:
  description: Arguments of the modules of C(awx.awx), by the kind of object.
  returned: success
  type: dict
variables:
  description: The same as variables for C(infra.aap_configuration), in YAML.
  returned: success
  type: str
"""
