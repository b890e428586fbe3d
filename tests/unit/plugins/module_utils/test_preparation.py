# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before and after an unpack: one package, a sound one, room for it, nothing left; and what was unpacked."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import preparation, release_files
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.space import MARGIN_BYTES, space_needed
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER, FakeNode, write_package

OLD, NEW = "4.4.18", "4.4.19"
NAME = "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    made = FakeNode(tmp_path / "emqx", OLD, ["4.4.17"], ["4.4.17"])
    made.use_own_tmp(monkeypatch)
    return made


@pytest.fixture
def staged(node: FakeNode) -> Path:
    """A package in our own staging directory."""
    folder = node.path("data/fleet/packages")
    folder.mkdir(parents=True)
    return write_package(folder / NAME, NEW, [OLD])


def in_place(node: FakeNode, package: Optional[Path], version: str = NEW) -> List[str]:
    """Zips in ``releases/`` while a package is in place."""
    staging = str(node.path("data/fleet/packages"))
    with preparation.package_in_place(node.installation, version, str(package) if package else None, staging) as path:
        assert preparation.matching_packages(node.installation, version) == [path]
        return zips(node)


def zips(node: FakeNode) -> List[str]:
    return sorted(path.name for path in node.path("releases").glob("*.zip"))


def refused(node: FakeNode, package: Optional[Path], version: str = NEW) -> FleetError:
    with pytest.raises(FleetError) as caught:
        in_place(node, package, version)
    assert caught.value.failure_class == NOT_STARTED
    assert caught.value.hint
    return caught.value


# Exactly one package


def test_package_that_lies_there_is_taken(node: FakeNode) -> None:
    node.add_package(NEW, [OLD])
    assert in_place(node, None) == [NAME]
    assert zips(node) == [NAME]


def test_staged_package_is_linked_for_the_time_being(node: FakeNode, staged: Path) -> None:
    assert in_place(node, staged) == [NAME]
    assert zips(node) == []
    assert staged.exists()


def test_link_goes_also_after_a_failure(node: FakeNode, staged: Path) -> None:
    def fail() -> None:
        with preparation.package_in_place(node.installation, NEW, str(staged), str(staged.parent)):
            raise FleetError("x")

    with pytest.raises(FleetError):
        fail()
    assert zips(node) == []


def test_link_that_a_killed_run_left(node: FakeNode, staged: Path) -> None:
    for name in (NAME, "emqx-4.4.190-otp25.2.3-1-debian12-amd64.zip"):
        os.link(str(staged), str(node.path("releases", name)))
    assert in_place(node, staged) == [NAME]
    assert zips(node) == []


def test_link_to_another_file_system(node: FakeNode, staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*unused: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", elsewhere)
    assert in_place(node, staged) == [NAME]
    assert zips(node) == []
    node.path("releases", NAME).symlink_to(staged)
    assert in_place(node, staged) == [NAME]
    assert zips(node) == []


def test_link_that_cannot_be_made(node: FakeNode, staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*unused: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "link", read_only)
    assert "Read-only file system" in refused(node, staged).message


def test_staged_package_with_a_name_that_the_command_would_not_find(node: FakeNode, staged: Path) -> None:
    odd = staged.parent / "download.zip"
    staged.rename(odd)
    assert in_place(node, odd) == ["emqx-4.4.19.zip"]


@pytest.mark.parametrize("suffix", [".ZIP", ".Zip"])
def test_staged_package_with_an_upper_case_suffix(node: FakeNode, staged: Path, suffix: str) -> None:
    """The command's glob is of lower case."""
    odd = staged.with_suffix(suffix)
    staged.rename(odd)
    assert in_place(node, odd) == [NAME]
    assert check(node, odd)["version"] == NEW


def test_package_in_releases_that_the_command_does_not_find(node: FakeNode) -> None:
    path = node.add_package(NEW, [OLD])
    path.rename(path.with_suffix(".ZIP"))
    assert refused(node, None).result()["msg"] == (
        "There is no package of 4.4.19 in {0}. There is {1}, which the emqx command does not find: its name must end "
        "in .zip, in lower case.".format(node.path("releases"), NAME.replace(".zip", ".ZIP"))
    )


@pytest.mark.parametrize(
    "other", ["emqx-4.4.190-otp25-debian12-amd64.zip", "emqx-4.4.19-otp24-debian12-amd64.zip", "emqx-ee-4.4.19-a.zip"]
)
def test_anything_else_that_the_glob_would_find_is_named(node: FakeNode, staged: Path, other: str) -> None:
    node.path("releases", other).write_bytes(b"PK")
    error = refused(node, staged)
    assert other in error.message
    assert NAME in error.message
    assert zips(node) == [other], "what is not ours stays"
    node.add_package(NEW, [OLD])
    assert "{0}".format(other) in refused(node, None).message


def test_own_file_of_the_same_name_in_releases_is_not_removed(node: FakeNode, staged: Path) -> None:
    """Somebody's copy, not our link: the same bytes, another file."""
    shutil.copy(str(staged), str(node.path("releases", NAME)))
    in_place(node, None)
    assert zips(node) == [NAME]


def test_no_package(node: FakeNode) -> None:
    assert "There is no package of 4.4.19" in refused(node, None).message
    assert "There is no package at /nowhere.zip" in refused(node, Path("/nowhere.zip")).message


def test_glob_characters_in_the_path_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode(tmp_path / "emqx [4]*", OLD)
    node.add_package(NEW, [OLD])
    assert in_place(node, None) == [NAME]


# A sound one


def check(node: FakeNode, path: Path, version: str = NEW) -> Any:
    return preparation.check_package(node.installation, str(path), version, USER)


def test_sound_package(node: FakeNode) -> None:
    found = check(node, node.add_package(NEW, [OLD]))
    assert (found["version"], found["relup"]["upgrade_from"]) == (NEW, [OLD])


def test_unsound_packages(node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = node.add_package(NEW, [OLD])
    whole = path.read_bytes()
    for broken in (b"", b"rubbish", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(FleetError, match="must not be used"):
            check(node, path)
    place = whole.index(b"code of emqx 4.4.19")
    path.write_bytes(whole[:place] + b"CODE" + whole[place + 4 :])
    with pytest.raises(FleetError, match="must not be used"):
        check(node, path)
    path.write_bytes(whole)
    with pytest.raises(FleetError, match=r"holds 4\.4\.19, not 4\.4\.1\."):
        check(node, path, "4.4.1")
    monkeypatch.setattr(preparation, "unreadable_for", lambda user, paths: paths)
    with pytest.raises(FleetError, match="cannot be read by the broker's user"):
        check(node, path)


# Room


class Free(NamedTuple):
    f_bavail: int
    f_frsize: int = 1


def test_space_on_one_file_system_is_added_up(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"name": NAME, "size": 28 << 20, "unpacked_size": 40 << 20}
    needed = space_needed(package, "/r", "/t")
    assert set(needed) == {"/r", "/t"}
    assert needed["/t"] >= (65 << 20), "what was measured on EMQX 4.4.19"
    assert needed["/r"] >= (40 << 20) + MARGIN_BYTES
    total = sum(needed.values())
    monkeypatch.setattr(preparation.os, "statvfs", lambda path: Free(total))
    preparation.check_space(node.installation, package)
    monkeypatch.setattr(preparation.os, "statvfs", lambda path: Free(total - 1))
    with pytest.raises(FleetError, match="MiB are free") as caught:
        preparation.check_space(node.installation, package)
    assert str(node.root) in caught.value.message
    assert str(node.path("tmp")) in caught.value.message


def test_space_on_two_file_systems_is_looked_at_for_each(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    class Device(NamedTuple):
        st_dev: int

    package = {"name": NAME, "size": 1, "unpacked_size": 2}
    monkeypatch.setattr(preparation.os, "stat", lambda path: Device(len(path)))
    enough, asked = MARGIN_BYTES + 3, []

    def statvfs(path: str) -> Free:
        asked.append(path)
        return Free(enough)

    monkeypatch.setattr(preparation.os, "statvfs", statvfs)
    preparation.check_space(node.installation, package)
    assert sorted(asked) == [str(node.root), str(node.path("tmp"))]
    for full in list(asked):
        monkeypatch.setattr(preparation.os, "statvfs", lambda path, full=full: Free(enough - (path == full)))
        with pytest.raises(FleetError, match="file system of {0},".format(full)):
            preparation.check_space(node.installation, package)


# Nothing left


def test_leftovers(node: FakeNode) -> None:
    before = node.path("tmp/emqx_untar_1")
    before.mkdir()
    tarball = node.path("releases/emqx-4.4.19.tar.gz")
    other = node.path("releases/emqx-4.4.17.tar.gz")
    tarball.write_bytes(b"stale")
    other.write_bytes(b"x")
    with preparation.leftovers_removed(node.installation, NEW, node.command) as removed:
        assert not tarball.exists()
        tarball.write_bytes(b"new")
        node.path("tmp/emqx_untar_2/lib").mkdir(parents=True)
        node.path("tmp/emqx_untar_3/lib").mkdir(parents=True)
        node.command.trees.append(str(node.path("tmp/emqx_untar_2")))
    assert sorted(removed) == sorted([str(node.path("tmp/emqx_untar_2")), str(tarball)])
    assert before.is_dir()
    assert other.exists()
    assert not tarball.exists()
    assert not node.path("tmp/emqx_untar_2").exists()
    assert node.path("tmp/emqx_untar_3").exists(), "nobody knows whose it is"


def test_no_leftovers(node: FakeNode) -> None:
    node.command.trees.append(str(node.path("tmp/emqx_untar_1")))
    node.path("tmp/emqx_untar_1").mkdir()
    with preparation.leftovers_removed(node.installation, NEW, node.command) as removed:
        pass
    assert removed == []


# What was unpacked


def test_damage_is_seen_against_the_package(node: FakeNode) -> None:
    package = str(node.add_package(NEW, [OLD]))
    node.run(["unpack", NEW])
    assert release_files.damaged_files(node.installation, package, NEW) == []
    beam = "lib/emqx-4.4.19/ebin/emqx.beam"
    node.path(beam).write_bytes(b"short")
    assert release_files.damaged_files(node.installation, package, NEW) == [beam]
    node.path("releases/4.4.19/relup").unlink()
    assert sorted(release_files.damaged_files(node.installation, package, NEW)) == [beam, "releases/4.4.19/relup"]


def test_what_the_node_itself_rewrites_is_no_damage(node: FakeNode) -> None:
    package = str(node.add_package(NEW, [OLD]))
    node.run(["unpack", NEW])
    assert not node.path("releases/4.4.19/emqx.rel").exists()
    node.path("releases/emqx_vars").write_text("longer than in the package")
    assert release_files.damaged_files(node.installation, package, NEW) == []


def test_package_that_cannot_be_read_tells_nothing(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"rubbish")
    assert release_files.damaged_files(node.installation, str(tmp_path / "x.zip"), NEW) == []
    assert release_files.damaged_files(node.installation, "/nowhere.zip", NEW) == []


def test_an_application_that_another_release_has_too_may_be_of_another_build(node: FakeNode) -> None:
    package = str(node.add_package(NEW, [OLD]))
    node.run(["unpack", NEW])
    beam = node.path("lib/emqx-4.4.19/ebin/emqx.beam")
    beam.write_bytes(b"another build")
    assert release_files.damaged_files(node.installation, package, NEW) == ["lib/emqx-4.4.19/ebin/emqx.beam"]
    table = node.path("releases/RELEASES")
    table.write_text(table.read_text().replace('{emqx,"4.4.18","/lib"}', '{emqx,"4.4.19","/opt/emqx/lib/emqx-4.4.19"}'))
    assert release_files.damaged_files(node.installation, package, NEW) == []


def test_relup(node: FakeNode) -> None:
    node.install_files(NEW, [OLD, "4.4.17"], [OLD])
    assert release_files.read_relup(node.installation, NEW) == release_files.Relup([OLD, "4.4.17"], [OLD])
    assert release_files.relup_leads(node.installation, "4.4.17", NEW)
    assert release_files.relup_leads(node.installation, NEW, OLD), "its own way back"
    assert not release_files.relup_leads(node.installation, NEW, "4.4.17"), "4.4.17 has no relup, and NEW no way back"
    assert not release_files.relup_leads(node.installation, "4.4.16", NEW)


@pytest.mark.parametrize(
    "text", ["", "{", '{"4.4.19",[],[]', '{"4.4.18",[],[]}.', "x.", '{"4.4.19",a,b}.', '{"4.4.19",[1],[]}.']
)
def test_relup_that_cannot_be_read(node: FakeNode, text: str) -> None:
    node.install_files(NEW)
    node.path("releases/4.4.19/relup").write_text(text)
    assert release_files.read_relup(node.installation, NEW) is None
    assert not release_files.relup_leads(node.installation, OLD, NEW)
