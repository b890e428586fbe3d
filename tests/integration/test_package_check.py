# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""``emqx_package_check`` by real Ansible against a real node: what fits, and everything that does not, by its gate."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.broker import broker as packages

from . import files
from .cases import BEFORE
from .conftest import Pool
from .node import NEW, OLD, Node
from .plays import Played, one_task, play
from .side_by_side import job, outcome

MODULE = "emqx.fleet.emqx_package_check"
OLDER, OTHER_LINE = "4.4.17", "4.6.0"
STAGING = "/var/tmp"
#: Path and content of a member -> what they are instead.
Change = Callable[[str, bytes], tuple[str, bytes]]


def rewritten(folder: Path, name: str, change: Change) -> Path:
    """The newest package under another name, with its members changed and all checksums right."""
    with zipfile.ZipFile(packages.package(NEW)) as source, zipfile.ZipFile(folder / name, "w") as target:
        for member in source.infolist():
            path, content = change(member.filename, source.read(member))
            changed = zipfile.ZipInfo(path, member.date_time)
            changed.external_attr, changed.compress_type = member.external_attr, member.compress_type
            target.writestr(changed, content, compresslevel=1)
    return folder / name


def replaced(member: str, pattern: str, text: str) -> Change:
    """A change of one member's text."""

    def change(path: str, content: bytes) -> tuple[str, bytes]:
        if path.endswith(member):
            changed = re.sub(pattern.encode(), text.encode(), content)
            assert changed != content, f"{path} has no {pattern}"
            return path, changed
        return path, content

    return change


def of_other_line(path: str, content: bytes) -> tuple[str, bytes]:
    """A change that makes a sound package of another x.y."""
    if path.endswith(("/emqx_vars", "/emqx.rel", "/relup")):
        content = content.replace(NEW.encode(), OTHER_LINE.encode())
    return path.replace(NEW, OTHER_LINE), content


def plain(version: str = NEW, variant: str = "") -> Callable[[Path], Path]:
    """A package as it was built, with its checksum beside it."""
    return lambda _folder: packages.package(version, variant)


def renamed(old: str, new: str, variant: str = "") -> Callable[[Path], Path]:
    """A package under another name."""

    def make(folder: Path) -> Path:
        source = packages.package(NEW, variant)
        return Path(shutil.copyfile(source, folder / source.name.replace(old, new)))

    return make


def changed(change: Change, old: str = "", new: str = "") -> Callable[[Path], Path]:
    """A package with another content, and another name if that has to fit."""
    return lambda folder: rewritten(folder, packages.package(NEW).name.replace(old, new), change)


def cut_off(folder: Path) -> Path:
    """A download that ended early."""
    source = packages.package(NEW)
    (folder / source.name).write_bytes(source.read_bytes()[:-5000])
    return folder / source.name


def flipped(folder: Path) -> Path:
    """A package in which bytes of a large file are not what they were; its directory is whole."""
    source = packages.package(NEW)
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        member = max(archive.infolist(), key=lambda info: info.compress_size)
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 100] = bytes(byte ^ 0xFF for byte in content[middle : middle + 100])
    (folder / source.name).write_bytes(content)
    return folder / source.name


def with_wrong_sidecar(folder: Path) -> Path:
    """A package beside another one's checksum."""
    source = packages.package(NEW)
    shutil.copyfile(
        packages.package(OLD).with_name(f"{packages.package(OLD).name}.sha256"), folder / f"{source.name}.sha256"
    )
    return Path(shutil.copyfile(source, folder / source.name))


@dataclass(frozen=True)
class Check:
    """A package for a node that runs OLD.

    ``fails``: the gates that refuse it; ``says`` stands in what the first of them says. ``on_node``: the folder there,
    if it is read there.
    """

    make: Callable[[Path], Path]
    fails: tuple[str, ...] = ()
    says: str = ""
    accepted: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    on_node: str = ""


CHECKS = {
    "fits": Check(plain()),
    "fits-whole": Check(plain(), arguments={"verify_members": True}),
    "fits-on-node": Check(plain(), on_node=STAGING),
    "same-version": Check(plain(OLD)),
    "downgrade": Check(plain(OLDER), ("direction",), f"{OLDER} is older than the running {OLD}; allow the downgrade"),
    "downgrade-allowed": Check(plain(OLDER), arguments={"allow_downgrade": True}),
    "other-line": Check(
        changed(of_other_line, NEW, OTHER_LINE),
        ("series",),
        f"no hot upgrade from {OLD} to {OTHER_LINE}, of another series; upgrade with a restart",
    ),
    "other-edition": Check(
        plain(NEW, "ee"), ("edition",), "is for edition ee; use the package of the node's own edition"
    ),
    "other-otp": Check(
        changed(replaced("releases/emqx_vars", 'ERTS_VSN="[^"]*"', 'ERTS_VSN="12.3.2.2"'), "otp25.2.3", "otp24.3.4.2"),
        ("otp",),
        "is for OTP 24; use the package built for the node's OTP",
    ),
    "otp-in-name-only": Check(plain(NEW, "other-otp"), ("package_sound", "otp"), "the name says OTP 24.3.4.2-1"),
    "other-os": Check(
        plain(NEW, "other-os"), ("os",), "is for system el8; use the package built for the node's system"
    ),
    "other-os-accepted": Check(plain(NEW, "other-os"), accepted=("os",), arguments={"accept": ["os"]}),
    "other-os-on-node": Check(plain(NEW, "other-os"), ("os",), "is for system el8", on_node=STAGING),
    "other-arch": Check(
        changed(replaced(f"{NEW}/BUILT_ON", "x86_64", "aarch64"), "amd64", "arm64"),
        ("arch",),
        "is for architecture arm64; use the package built for the node's architecture",
    ),
    "other-name": Check(renamed(NEW, "4.4.20"), ("package_sound",), f"says 4.4.20, but the package holds {NEW}"),
    "cut-off": Check(cut_off, ("package_sound", "relup"), "the zip archive"),
    "flipped": Check(flipped, ("package_sound",), "checksum", arguments={"verify_members": True}),
    "flipped-on-node": Check(flipped, ("package_sound",), "checksum", (), {"verify_members": True}, STAGING),
    "checksum-given": Check(plain(), ("checksum",), f"the given checksum says {'0' * 64}", (), {"checksum": "0" * 64}),
    "checksum-beside": Check(with_wrong_sidecar, ("checksum",), "the sidecar checksum says"),
    "relup-of-others": Check(
        changed(replaced(f"{NEW}/relup", f'"{OLD}"', '"4.4.16"')),
        ("relup",),
        f"no relup leads from {OLD} to {NEW}; there is a way to {NEW} from {OLDER}, 4.4.16",
    ),
    "no-relup": Check(plain(NEW, "no-relup"), ("package_sound", "relup"), "no version can be upgraded hot"),
}


#: Arguments that are refused before any gate, and what is said.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"src": "/nowhere.zip"}, "/nowhere.zip"),
    "missing-on-node": ({"src": "/nowhere.zip", "remote_src": True}, "package_sound: nowhere.zip must not be used: "),
    "accept-what-guards": (
        {"src": "x.zip", "accept": ["edition"]},
        "edition cannot be accepted, for it guards the node",
    ),
    "accept-unknown": ({"src": "x.zip", "accept": ["everything"]}, "there is no gate everything"),
    "no-src": ({"checksum": "0" * 64}, "missing required arguments: src"),
}
IN_CHECK_MODE = ("fits", "fits-on-node", "other-os", "flipped-on-node")


@dataclass(frozen=True)
class Checked:
    """What came of all checks, of some in check mode, and of single tasks; and what they touched on the node."""

    played: Played
    in_check_mode: Played
    by_default: Played
    wrong: dict[str, Played]
    touched: list[str]


def work(node: Node) -> Checked:
    """All checks, as tasks of one play: what costs time is to begin one."""
    node.reset(layout="package", runner_user="emqx")
    with tempfile.TemporaryDirectory() as folder:
        tasks = {name: task(node, check, Path(folder) / name) for name, check in CHECKS.items()}
        before = files.listing(node)
        played = play(node, tasks)
        in_check_mode = play(node, {name: tasks[name] for name in IN_CHECK_MODE}, "--check")
    by_default = one_task(node, MODULE, {"src": str(packages.package(NEW, "other-os"))})
    wrong = {name: one_task(node, MODULE, arguments) for name, (arguments, _says) in WRONG.items()}
    touched = files.changes(before, files.listing(node))
    assert node.state() == BEFORE
    assert node.clients is not None
    assert node.clients.unanswered() == 0
    return Checked(played, in_check_mode, by_default, wrong, touched)


job("test_package_check.py", work)


@pytest.fixture(scope="module")
def checked(pool: Pool, request: pytest.FixtureRequest) -> Checked:
    result: Checked = outcome(pool, request)
    return result


def task(node: Node, check: Check, folder: Path) -> dict[str, Any]:
    """The task of a check, with the package that it needs made and put where it is read."""
    folder.mkdir()
    arguments = {"src": str(check.make(folder)), "fail_on_incompatible": False, **check.arguments}
    if check.on_node:
        # Each in a folder of its own: several have the same name.
        target = f"{check.on_node}/{folder.name}/{Path(arguments['src']).name}"
        node.host.put(arguments["src"], target)
        arguments |= {"src": target, "remote_src": True}
    return {MODULE: arguments}


@pytest.mark.parametrize("name", CHECKS)
def test_gates(checked: Checked, name: str) -> None:
    check, result = CHECKS[name], checked.played.results[name]
    assert not result.get("failed"), result
    rows = {row["name"]: row for row in result["gates"]}
    for row in rows.values():
        assert row.keys() == {"name", "passed", "severity", "accepted", "expected", "actual", "message"}
        assert row["expected"], row
        assert row["actual"], row
        assert bool(row["message"]) != row["passed"], row
    failed = [row for row in rows.values() if not row["passed"] and row["severity"] == "error"]
    assert tuple(row["name"] for row in failed if not row["accepted"]) == check.fails, failed
    assert tuple(row["name"] for row in failed if row["accepted"]) == check.accepted, failed
    assert result["compatible"] == (not check.fails)
    assert not result["changed"]
    if check.fails:
        assert check.says in rows[check.fails[0]]["message"]
        for failure in check.fails:
            assert f"{failure}: {rows[failure]['message']}" in result["msg"]


def test_what_is_known_of_a_package(checked: Checked) -> None:
    here, there = (checked.played.results[name]["package"] for name in ("fits", "fits-on-node"))
    source = packages.package(NEW)
    assert here["sha256"] == source.with_name(f"{source.name}.sha256").read_text(encoding="ascii").strip()
    assert here["checksum_source"] == "sidecar"
    assert (here["name"], here["size"], here["version"]) == (source.name, source.stat().st_size, NEW)
    assert here["relup"]["upgrade_from"] == here["relup"]["downgrade_to"] == [OLD, OLDER]
    # The one on the node came without its checksum, and is the same for the rest.
    differing = {name for name in here if here[name] != there[name]}
    assert differing == {"path", "sha256", "checksum_source", "warnings"}
    assert "is not verified" in there["warnings"][0]


def test_gates_of_a_node_that_runs_it(checked: Checked) -> None:
    """Of a package whose version runs, nothing is asked that only concerns the way there."""
    names = {row["name"] for row in checked.played.results["same-version"]["gates"]}
    assert {"edition", "otp", "os", "arch", "package_sound"} <= names
    assert not {"relup", "direction", "series", "space"} & names


def test_nothing_is_changed(checked: Checked) -> None:
    assert checked.touched == []


def test_check_mode(checked: Checked) -> None:
    assert checked.in_check_mode.rc == 0, checked.in_check_mode.output
    for name in IN_CHECK_MODE:
        expected, result = checked.played.results[name], checked.in_check_mode.results[name]
        assert result["compatible"] == expected["compatible"]
        assert result["package"] == expected["package"]
        # How much room there is changes from one moment to the next.
        verdicts = [
            [(row["name"], row["passed"], row["message"]) for row in each["gates"]] for each in (expected, result)
        ]
        assert verdicts[0] == verdicts[1]


def test_fails_unless_told_otherwise(checked: Checked) -> None:
    name = packages.package(NEW, "other-os").name
    failed = checked.by_default
    assert failed.rc == 2, failed.output
    assert not failed.result["compatible"]
    (row,) = [row for row in failed.result["gates"] if not row["passed"]]
    assert (row["name"], row["expected"], row["actual"]) == ("os", "debian12", "el8")
    assert failed.result["msg"] == (
        f"{name} cannot upgrade this node: os: the node has system debian12, but {name} is for system el8; "
        "use the package built for the node's system."
    )


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(checked: Checked, name: str) -> None:
    failed = checked.wrong[name]
    assert failed.rc == 2, failed.output
    assert WRONG[name][1] in failed.result["msg"]
