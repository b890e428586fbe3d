# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages on a node: which are there, and taking in those that were sent."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import package_files
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.package_files import bring, folder
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER

NAME = "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
CONTENT = b"the package"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WANTED = [{"name": NAME, "size": len(CONTENT), "sha256": DIGEST}]


class Given(StateDir):
    """Notes what is handed to the runner user, under its name and with its content then."""

    def __init__(self, path: str) -> None:
        super().__init__(path, USER)
        self.given = []  # type: List[str]

    def give(self, path: str) -> None:
        self.given.append(os.path.basename(path))
        super().give(path)


@pytest.fixture
def state_dir(tmp_path: Path) -> Given:
    return Given(str(tmp_path / "data" / "fleet"))


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A file as Ansible leaves it."""
    path = tmp_path / "ansible-tmp" / NAME
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    path.chmod(0o700)
    return path


def place(state_dir: StateDir, content: bytes = CONTENT) -> Path:
    """Have a package lie in the folder."""
    path = Path(folder(state_dir.path), NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def files(state_dir: StateDir) -> List[str]:
    return sorted(os.listdir(folder(state_dir.path)))


def test_what_is_there_as_a_whole_is_not_missing(state_dir: Given) -> None:
    place(state_dir)
    assert bring(state_dir, WANTED, {}) == {"changed": False, "missing": []}


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x"])
def test_what_is_there_in_another_size_or_with_other_content_is_missing(state_dir: Given, content: bytes) -> None:
    path = place(state_dir, content)
    assert bring(state_dir, WANTED, {}) == {"changed": False, "missing": [NAME]}
    assert path.read_bytes() == content, "it stays until another one is there"


def test_what_is_no_file_is_missing(state_dir: Given) -> None:
    Path(folder(state_dir.path), NAME).mkdir(parents=True)
    assert bring(state_dir, WANTED, {})["missing"] == [NAME]


def test_what_is_not_there_is_missing_and_the_folder_is_made(state_dir: Given) -> None:
    more = dict(WANTED[0], name="other.zip")
    assert bring(state_dir, [*WANTED, more], {}) == {"changed": True, "missing": [NAME, "other.zip"]}
    assert stat.S_IMODE(os.stat(folder(state_dir.path)).st_mode) == 0o755
    assert state_dir.given == ["fleet", "packages"]
    assert bring(state_dir, [], {}) == {"changed": False, "missing": []}


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """As root has it on some machines."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_what_was_sent_is_taken_in(state_dir: Given, sent: Path) -> None:
    assert bring(state_dir, WANTED, {NAME: str(sent)}) == {"changed": True, "missing": []}
    path = Path(folder(state_dir.path), NAME)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_uid == os.geteuid()
    assert state_dir.given == ["fleet", "packages", NAME + ".part"], "given before it has its name"
    assert files(state_dir) == [NAME]
    assert bring(state_dir, WANTED, {}) == {"changed": False, "missing": []}


def test_what_was_sent_takes_the_place_of_another_file(state_dir: Given, sent: Path) -> None:
    path = place(state_dir, b"torn")
    path.with_name(NAME + ".part").write_bytes(b"left by a process that was killed, and longer than the package")
    other = dict(WANTED[0], name="other.zip")
    assert bring(state_dir, [*WANTED, other], {NAME: str(sent)}) == {"changed": True, "missing": ["other.zip"]}
    assert path.read_bytes() == CONTENT
    assert files(state_dir) == [NAME]


def refused(state_dir: StateDir, received: Dict[str, str]) -> FleetError:
    with pytest.raises(FleetError) as caught:
        bring(state_dir, WANTED, received)
    assert caught.value.failure_class == NOT_STARTED
    return caught.value


def test_what_came_in_part_is_refused(state_dir: Given, sent: Path) -> None:
    path = place(state_dir, b"old")
    sent.write_bytes(CONTENT[:4])
    error = refused(state_dir, {NAME: str(sent)})
    assert error.message == "Of the package {0}, 4 bytes came to the node, and 11 were sent.".format(NAME)
    assert error.hint == (
        "See that there is room in the login user's home directory on the node, and run the same task again."
    )
    assert (path.read_bytes(), files(state_dir)) == (b"old", [NAME])


def test_what_came_as_something_else_is_refused(state_dir: Given, sent: Path) -> None:
    path = place(state_dir, b"old")
    other = CONTENT[:-1] + b"x"
    sent.write_bytes(other)
    error = refused(state_dir, {NAME: str(sent)})
    assert error.message == "The package {0} came to the node with the SHA-256 {1}, and {2} was sent.".format(
        NAME, hashlib.sha256(other).hexdigest(), DIGEST
    )
    assert error.hint == "See what changes files on their way to the node; run the same task again."
    assert (path.read_bytes(), files(state_dir)) == (b"old", [NAME])


HINT = "Make room there, and have it be a folder that may be written to; then run the same task again."


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    state_dir: Given, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(state_dir, b"old")

    def fill(_path: str) -> Iterator[bytes]:
        yield CONTENT[:4]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package_files, "_read", fill)
    error = refused(state_dir, {NAME: str(sent)})
    assert error.message == "The package cannot be kept in {0}: No space left on device.".format(folder(state_dir.path))
    assert error.hint == HINT
    assert (path.read_bytes(), files(state_dir)) == (b"old", [NAME])


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), PermissionError(13, "Permission denied")])
def test_a_folder_that_cannot_be_written_to_is_told(
    state_dir: Given, sent: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    place(state_dir, b"old")

    def refuse(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, "replace", refuse)
    told = refused(state_dir, {NAME: str(sent)})
    assert told.message == "The package cannot be kept in {0}: {1}.".format(folder(state_dir.path), error.strerror)
    assert files(state_dir) == [NAME]


def test_a_file_in_the_place_of_the_folder_is_told(state_dir: Given) -> None:
    state_dir.create()
    Path(folder(state_dir.path)).write_text("x")
    error = refused(state_dir, {})
    assert error.message == "The package cannot be kept in {0}: File exists.".format(folder(state_dir.path))
    assert error.hint == HINT


def test_what_was_sent_and_is_gone_is_told(state_dir: Given, sent: Path) -> None:
    sent.unlink()
    assert refused(state_dir, {NAME: str(sent)}).message.endswith(": No such file or directory.")
