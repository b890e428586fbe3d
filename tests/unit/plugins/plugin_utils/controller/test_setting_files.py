# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that settings name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import setting_files


def test_packages_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "x.zip").touch()
    sources = ["packages", "x.zip", str(tmp_path), "https://h/x.zip#sha256=1", "http://h/x.zip"]
    assert setting_files.packages(sources, str(tmp_path)) == []


def test_packages_that_are_not(tmp_path: Path) -> None:
    sources = ["packages", "a\0b", "ftp://me:pw@h/x.zip", "HTTPS://h/x.zip"]
    found = [problem.sentence() for problem in setting_files.packages(sources, str(tmp_path))]
    assert found[0] == (
        f"emqx_upgrade_packages names 'packages', and there is nothing at {tmp_path}/packages; expected are zips and "
        "folders of zips on the controller. Put the packages there, or set emqx_upgrade_packages to where they are."
    )
    assert found[2] == (
        "emqx_upgrade_packages names 'ftp://********@h/x.zip'; expected are paths, or URLs of http or https. Mend the "
        "URL."
    )
    assert len(found) == 4


def test_a_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "packages").mkdir()
    assert setting_files.packages(["~/packages"], "/") == []
    assert setting_files.report("report_file", "~/r.json", "/") == (f"{tmp_path}/r.json", [])
    assert setting_files.hook("~/packages", ["/nowhere"]) == f"{tmp_path}/packages"


@pytest.mark.parametrize("name", ["r.json", "new/r.json", "new/newer/r.json", "old.json", "link.json", "dangling.json"])
def test_a_report_that_can_be_written(tmp_path: Path, name: str) -> None:
    old = tmp_path / "old.json"
    old.write_text("before", encoding="utf-8")
    (tmp_path / "link.json").symlink_to(old)
    (tmp_path / "dangling.json").symlink_to(tmp_path / "later.json")
    before = sorted(tmp_path.iterdir()), old.stat().st_mtime_ns
    assert setting_files.report("report_file", name, str(tmp_path)) == (str(tmp_path / name), [])
    assert (sorted(tmp_path.iterdir()), old.stat().st_mtime_ns) == before, "nothing is left behind"
    assert old.read_text(encoding="utf-8") == "before"


def complaint(path: str, base: Path) -> str:
    _absolute, (problem,) = setting_files.report("report_file", path, str(base))
    return problem.sentence()


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    rest = (
        "; expected is a file that can be written, in a folder that is there or can be made. Write, for example, "
        "emqx_upgrade_report_file=report.json."
    )
    for path, reason in {
        "folder": "that is a folder",
        "reports/": "that is a folder",
        "~": "that is a folder",
        "file/r.json": f"{tmp_path}/file is no folder",
        "/proc/r.json": "nothing can be written into /proc (No such file or directory)",
        "/proc/new/r.json": "nothing can be written into /proc (No such file or directory)",
        "pipe": "that cannot be written (No such device or address)",
        "n" * 256: "a part of that is longer than a file's name can be",
    }.items():
        shown = path if len(path) < 120 else "n" * 119 + "…"
        quote = "" if len(path) > 120 else "'"
        assert complaint(path, tmp_path) == f"emqx_upgrade_report_file is '{shown}{quote}, and {reason}{rest}"
    assert complaint("a\0b", tmp_path).startswith("emqx_upgrade_report_file is 'a\0b', and that is no path (")


def test_a_report_where_the_user_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so that the refusal is put into its mouth."""
    (tmp_path / "old.json").touch()

    def refuse(*_given: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert f", and nothing can be written into {tmp_path} (Permission denied); " in complaint("new/r.json", tmp_path)
    monkeypatch.setattr("os.open", refuse)
    assert ", and that cannot be written (Permission denied); " in complaint("old.json", tmp_path)


def test_where_hooks_are_found(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (two / "a.yml").touch()
    folders = [str(one), str(two)]
    assert setting_files.hook("a.yml", folders) == str(two / "a.yml")
    (one / "a.yml").touch()
    assert setting_files.hook("a.yml", folders) == str(one / "a.yml")
    assert setting_files.hook("../two/a.yml", folders) == str(two / "a.yml")
    assert setting_files.hook("/x/../a.yml", folders) == "/a.yml"
    assert setting_files.hook("b.yml", folders) == str(one / "b.yml")


def test_hooks_that_are_not_there(tmp_path: Path) -> None:
    written = {"before_node": "a.yml", "after_node": "/no/b.yml"}
    folders = [str(tmp_path), "/srv", str(tmp_path)]
    absolute = {name: setting_files.hook(path, folders) for name, path in written.items()}
    assert [problem.sentence() for problem in setting_files.missing_hooks(written, absolute, folders)] == [
        f"emqx_upgrade_hooks names 'a.yml' for before_node, and there is no such file in {tmp_path}, /srv; expected "
        f"are "
        "files of tasks. Mend the path; an absolute one is found from anywhere.",
        "emqx_upgrade_hooks names '/no/b.yml' for after_node, and there is no such file; expected are files of tasks. "
        "Mend the path; an absolute one is found from anywhere.",
    ]
    (tmp_path / "a.yml").touch()
    assert setting_files.missing_hooks({"x": "a.yml"}, {"x": str(tmp_path / "a.yml")}, folders) == []
