# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_awx_project``: writes the skeleton of a project for AWX into a folder of the controller."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import awx_project

_SKELETON = Path(__file__).resolve().parents[2] / "extensions/awx/project"
#: What was written, with digests.
_WRITTEN = ".emqx-fleet.json"
_OPTIONS = {
    "dir": {"type": "str", "required": True},
    "overwrite": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Runs on the controller."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _validated, arguments = self.validate_argument_spec(argument_spec=_OPTIONS)
        if not arguments["dir"].strip():
            raise AnsibleActionFail("dir is empty; expected is a folder. Add -e emqx_awx_project_dir=PATH.")
        folder = Path(self._loader.path_dwim(arguments["dir"]))
        try:
            return result | self._written(folder, arguments["overwrite"])
        except OSError as error:
            raise AnsibleActionFail(
                f"{error.filename or folder} cannot be written or read ({error.strerror}); expected is a folder of "
                "this user's. Mend that, or set emqx_awx_project_dir to another one."
            ) from error

    def _written(self, folder: Path, overwrite: bool) -> dict[str, Any]:
        skeleton = {str(path.relative_to(_SKELETON)): path for path in _SKELETON.rglob("*") if path.is_file()}
        if not skeleton:
            raise AnsibleActionFail(f"{_SKELETON} has no files; expected is the skeleton. Install emqx.fleet anew.")
        digests = {name: _digest(path) for name, path in skeleton.items()}
        there = {name: _digest(folder / name) for name in skeleton if (folder / name).exists()}
        last = _last(folder / _WRITTEN)
        fate = awx_project.fate(digests, there, last, overwrite)
        if fate.refuse:
            raise AnsibleActionFail(awx_project.refusal(fate.refuse, str(folder)))
        # What was kept is still compared with what it was made from.
        note = json.dumps({"files": digests}, indent=2, sort_keys=True) + "\n"
        changed = bool(fate.write) or last != digests
        if changed and not self._task.check_mode:
            for name in fate.write:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(skeleton[name].read_bytes())
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _WRITTEN).write_text(note, encoding="utf-8")
        return {"changed": changed, "dir": str(folder), "written": fate.write, "kept": fate.keep}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last(path: Path) -> dict[str, str]:
    """Digests of what was written last; none where there is no note, or it is none of ours."""
    if not path.exists():
        return {}
    try:
        return {
            str(name): str(digest) for name, digest in json.loads(path.read_text(encoding="utf-8"))["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnsibleActionFail(
            f"{path} is not as it was written; expected are digests of files in JSON. Remove it: files that differ "
            "from the skeleton are then refused."
        ) from error
