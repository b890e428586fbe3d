# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``emqx_awx_project``: the skeleton is written out, and what people changed is left to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emqx.fleet.plugins.action import emqx_awx_project
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import awx_project
from ansible_collections.emqx.fleet.tests.unit.plugins.action.action_maker import make_action


@pytest.mark.parametrize(
    ("skeleton", "there", "written", "expected"),
    [
        ("new", None, None, "write"),
        ("new", "new", None, ""),
        ("new", "new", "old", ""),
        ("new", "old", "old", "write"),
        ("new", None, "new", "write"),
        ("new", "theirs", "new", "keep"),
        ("new", "theirs", "old", "refuse"),
        ("new", "theirs", None, "refuse"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_fate_of_a_file(
    skeleton: str, there: str | None, written: str | None, expected: str, overwrite: bool
) -> None:
    def one(digest: str | None) -> dict[str, str]:
        return {} if digest is None else {"a.yml": digest}

    fate = awx_project.fate(one(skeleton), one(there), one(written), overwrite)
    if overwrite and expected == "refuse":
        expected = "write"
    assert {name: paths for name, paths in fate._asdict().items() if paths} == (
        {expected: ["a.yml"]} if expected else {}
    )


@pytest.fixture
def skeleton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "skeleton"
    (folder / "inventory").mkdir(parents=True)
    (folder / "status.yml").write_text("status 1\n")
    (folder / "inventory/hosts.yml").write_text("hosts 1\n")
    monkeypatch.setattr(emqx_awx_project, "_SKELETON", folder)
    return folder


def write(folder: Path, *, check: bool = False, **options: Any) -> Mapping[str, Any]:
    action = make_action(emqx_awx_project, dir=str(folder), **options)
    action._task.check_mode = check
    action._loader.path_dwim = str
    found: dict[str, Any] = action.run(task_vars={})
    return found


def test_it_is_written_once(skeleton: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep/project"
    first = write(folder)
    assert (first["changed"], first["written"]) == (True, ["inventory/hosts.yml", "status.yml"])
    assert (folder / "inventory/hosts.yml").read_text() == "hosts 1\n"
    second = write(folder)
    assert (second["changed"], second["written"], second["kept"]) == (False, [], [])


def test_a_newer_skeleton_takes_the_place_of_what_nobody_changed(skeleton: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder)
    (folder / "inventory/hosts.yml").write_text("my hosts\n")
    (skeleton / "status.yml").write_text("status 2\n")
    done = write(folder)
    assert (done["changed"], done["written"], done["kept"]) == (True, ["status.yml"], ["inventory/hosts.yml"])
    assert (folder / "status.yml").read_text() == "status 2\n"
    assert (folder / "inventory/hosts.yml").read_text() == "my hosts\n"
    assert write(folder)["changed"] is False


def test_what_both_changed_is_refused_and_nothing_is_written(skeleton: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder)
    (folder / "inventory/hosts.yml").write_text("my hosts\n")
    (skeleton / "inventory/hosts.yml").write_text("hosts 2\n")
    (skeleton / "status.yml").write_text("status 2\n")
    with pytest.raises(AnsibleActionFail, match=r"inventory/hosts\.yml.*emqx_awx_project_overwrite=yes"):
        write(folder)
    assert (folder / "status.yml").read_text() == "status 1\n"
    assert write(folder, overwrite=True)["written"] == ["inventory/hosts.yml", "status.yml"]
    assert (folder / "inventory/hosts.yml").read_text() == "hosts 2\n"


def test_files_that_were_there_before_are_refused(skeleton: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "status.yml").write_text("theirs\n")
    with pytest.raises(AnsibleActionFail, match=r"status\.yml"):
        write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["status.yml"]


def test_check_mode_writes_nothing(skeleton: Path, tmp_path: Path) -> None:
    assert write(tmp_path / "project", check=True)["changed"] is True
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("note", ["no json", "[]", '{"files": []}'])
def test_a_note_that_is_none_is_told(skeleton: Path, tmp_path: Path, note: str) -> None:
    folder = tmp_path / "project"
    write(folder)
    (folder / ".emqx-fleet.json").write_text(note)
    with pytest.raises(AnsibleActionFail, match="is not as it was written"):
        write(folder)


def test_a_folder_that_cannot_be_written_is_told(skeleton: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnsibleActionFail, match=r"cannot be written or read \(Not a directory\)"):
        write(tmp_path / "file/project")
