# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_awx_content``: what AWX gets for this collection, as arguments of the modules of ``awx.awx``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import awx_content, awx_variables

_ROOT = Path(__file__).resolve().parents[2]
_CONTENT = _ROOT / "extensions/awx"
_OPTIONS = {
    "apply": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "content": {"type": "list", "elements": "str", "default": ["content.yml"]},
    "organization": {"type": "str", "default": "Default"},
    "prefix": {"type": "str", "default": "EMQX "},
    "project": {"type": "str", "default": ""},
    "project_url": {"type": "str", "default": ""},
    "project_branch": {"type": "str", "default": ""},
    "project_credential": {"type": "str", "default": ""},
    "inventory": {"type": "str", "default": ""},
    "execution_environment": {"type": "str", "default": ""},
    "execution_environment_image": {"type": "str", "default": ""},
    "machine_credential": {"type": "str", "default": ""},
    "credentials": {"type": "list", "elements": "str", "default": []},
    "forks": {"type": "int", "default": 0},
    "defaults": {"type": "dict", "default": {}},
    "not_asked": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Runs on the controller, and asks AWX nothing."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, arguments = self.validate_argument_spec(argument_spec=_OPTIONS)
        if arguments["apply"] and not module_loader.find_plugin_with_context("awx.awx.job_template").resolved:
            raise AnsibleActionFail(
                "The collection awx.awx is not there; expected is one that ansible-galaxy collection list shows. "
                "Install it: ansible-galaxy collection install awx.awx. Without it, emqx_awx_export writes the content "
                "as variables for infra.aap_configuration."
            )
        content = awx_content.merged([self._content(name) for name in arguments["content"]])
        specs = yaml.safe_load((_ROOT / "roles/emqx_upgrade/meta/argument_specs.yml").read_text(encoding="utf-8"))
        try:
            objects = awx_content.objects(content, settings.options_of(specs), arguments)
        except awx_content.ContentError as error:
            raise AnsibleActionFail("\n".join(["AWX was not contacted.", *error.problems])) from error
        result.update(changed=False, objects=objects, variables=awx_variables.text(objects))
        return result

    def _content(self, name: str) -> dict[str, Any]:
        """A file of the collection by its name, or any other one by its path."""
        path = _CONTENT / name if "/" not in name else Path(self._loader.path_dwim(name))
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            known = ", ".join(sorted(file.name for file in _CONTENT.glob("*.yml")))
            raise AnsibleActionFail(
                f"The content {name} cannot be read ({error.strerror}); expected is a path with a slash, or one of "
                f"{known}. Mend emqx_awx_content."
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise AnsibleActionFail(f"The content {name} is no YAML ({' '.join(str(error).split())}).") from error
        if not isinstance(content, dict):
            raise AnsibleActionFail(f"The content {name} is no dictionary; expected is one as in content.yml.")
        return content
