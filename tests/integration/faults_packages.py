# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Faults of packages: none, several, broken, of something else."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from .cases import Steps, case, group
from .node import NEW, Node, packages

# A folder on another file system than the installation.
STAGING = "/var/tmp"


def repacked(node: Node, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    """A package on the node whose members were changed: each gives the members that stand for it."""
    target = node.inside(f"releases/{node.package_name()}")
    with zipfile.ZipFile(packages.package(NEW)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in source.infolist():
            for member, content in change(entry.filename, source.read(entry)):
                copy = zipfile.ZipInfo(member, entry.date_time)
                copy.external_attr, copy.compress_type = entry.external_attr, entry.compress_type
                made.writestr(copy, content)
    return target


def sound_again(node: Node, broken: Path) -> None:
    """Take a broken package away and bring the sound one."""
    broken.unlink()
    node.provide()


group("Packages")


@case(
    "no package on the node",
    verdict="not_started",
    says="There is no package of 4.4.19",
    leaves="BEFORE",
    goal="unpacked",
)
def package_missing(node: Node) -> Steps:
    yield None
    node.provide()


@case(
    "a package is named that is not there",
    verdict="not_started",
    says=f"There is no package at {STAGING}",
    leaves="BEFORE",
    goal="unpacked",
)
def staged_package_missing(node: Node) -> Steps:
    yield {"package": f"{STAGING}/{node.package_name()}"}
    node.provide()


@case(
    "a sound package of another version is named",
    verdict="not_started",
    says="holds 4.4.17, not 4.4.19",
    leaves="BEFORE",
    goal="unpacked",
)
def staged_package_of_another_version(node: Node) -> Steps:
    yield {"package": node.provide("4.4.17", folder=STAGING)}
    node.provide()


@case(
    "two builds of the version in `releases/`",
    verdict="not_started",
    says="with more than one it crashes",
    leaves="BEFORE",
    goal="unpacked",
)
def two_packages(node: Node) -> Steps:
    node.provide()
    other = node.provide(name=node.package_name().replace("otp25", "otp24"))
    result = yield None
    assert node.package_name() in result.message, result.story
    assert "otp24" in result.message, result.story
    node.host.path(other).unlink()


@case(
    "the package of 4.4.190 beside that of 4.4.19",
    verdict="not_started",
    says="emqx-4.4.190-",
    leaves="BEFORE",
    goal="unpacked",
)
def longer_version_beside(node: Node) -> Steps:
    node.provide()
    other = node.provide(name=node.package_name().replace("4.4.19", "4.4.190"))
    yield None
    node.host.path(other).unlink()


@case(
    "an Enterprise package of the version beside the right one",
    verdict="not_started",
    says="emqx-ee-4.4.19-",
    leaves="BEFORE",
    goal="unpacked",
)
def other_edition_beside(node: Node) -> Steps:
    node.provide()
    other = node.provide(variant="ee")
    yield None
    node.host.path(other).unlink()


@case(
    "only the package of 4.4.190 is there, which the command would take for 4.4.19",
    verdict="not_started",
    says="4.4.190",
    leaves="BEFORE",
    goal="unpacked",
)
def longer_version_alone(node: Node) -> Steps:
    other = node.provide(name=node.package_name().replace("4.4.19", "4.4.190"))
    yield None
    node.host.path(other).unlink()
    node.provide()


@case(
    "a staged package, and a stranger's zip of that version in `releases/`",
    verdict="not_started",
    says="beside the staged",
    leaves="BEFORE",
    staged=STAGING,
    goal="unpacked",
)
def stranger_beside_staged(node: Node) -> Steps:
    node.provide(folder=STAGING)
    other = node.host.path(node.provide())
    built_again = other.read_bytes() + b"built again"
    other.unlink()
    other.write_bytes(built_again)
    yield None
    other.unlink()


@case(
    "a staged package, and the very same one in `releases/`, as EMQX's manual puts it",
    does=("unpack",),
    leaves="UNPACKED",
    staged=STAGING,
    goal="unpacked",
)
def same_beside_staged(node: Node) -> Steps:
    node.provide(folder=STAGING)
    other = node.host.path(node.provide())
    yield None
    assert other.is_file(), "the user's own package is gone"


@case(
    "a staged package on another file system",
    does=("unpack", "switch", "commit"),
    staged=STAGING,
)
def staged_elsewhere(node: Node) -> Steps:
    node.provide(folder=STAGING)
    yield None
    assert not list(node.inside("releases").glob("*.zip")), "the link to the staged package is left"


@case(
    "a garbage `emqx-4.4.19.tar.gz` from earlier, no package",
    verdict="not_started",
    says="no package",
    leaves="BEFORE",
    goal="unpacked",
)
def stale_tarball_alone(node: Node) -> Steps:
    node.inside(f"releases/emqx-{NEW}.tar.gz").write_bytes(b"not a tarball")
    yield None
    node.provide()


@case(
    "a garbage `emqx-4.4.19.tar.gz` from earlier beside the package",
    does=("unpack",),
    leaves="UNPACKED",
    goal="unpacked",
)
def stale_tarball_beside(node: Node) -> Steps:
    node.provide()
    node.inside(f"releases/emqx-{NEW}.tar.gz").write_bytes(b"not a tarball")
    result = yield None
    assert f"{node.root}/releases/emqx-{NEW}.tar.gz" in result.data["actions"][0]["removed"]
    assert not node.inside(f"releases/emqx-{NEW}.tar.gz").exists()


@case("what an earlier unpack left in `/tmp` is not ours", does=("unpack",), leaves="UNPACKED", goal="unpacked")
def strangers_leftover_stays(node: Node) -> Steps:
    node.provide()
    node.sh("mkdir -p /tmp/emqx_untar_123/emqx && touch /tmp/emqx_untar_123/emqx.zip")
    yield None
    left = sorted(path.name for path in node.host.path("/tmp").glob("emqx_untar_*"))
    assert left == ["emqx_untar_123"], left


def _broken(content: Callable[[bytes], bytes]) -> Callable[[Node], Steps]:
    def steps(node: Node) -> Steps:
        path = node.inside(f"releases/{node.package_name()}")
        path.write_bytes(content(packages.package(NEW).read_bytes()))
        yield None
        sound_again(node, path)

    return steps


def _flipped(data: bytes) -> bytes:
    # In the middle of the largest member's content, so that only its checksum tells.
    with zipfile.ZipFile(packages.package(NEW)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.compress_size)
    at = largest.header_offset + 30 + len(largest.filename) + largest.compress_size // 2
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


for _name, _fault, _content in (
    ("truncated-package", "the package was copied only half", lambda data: data[: len(data) // 2]),
    ("garbage-package", "the package is not a zip", lambda data: b"<html>404 Not Found</html>" * 1000),
    ("empty-package", "the package is empty", lambda data: b""),
    ("bad-checksum", "a byte inside the package is not what it was", _flipped),
):
    _steps = _broken(_content)
    _steps.__name__ = _name
    case(_fault, verdict="not_started", says="must not be used", leaves="BEFORE", goal="unpacked")(_steps)


@case(
    "the package's top folder is another",
    verdict="not_started",
    says="must not be used",
    leaves="BEFORE",
    goal="unpacked",
)
def wrong_top_folder(node: Node) -> Steps:
    path = repacked(node, lambda name, data: [(name.replace("emqx/", "emqx-4.4.19/", 1), data)])
    yield None
    sound_again(node, path)


@case(
    "a member of the package leads out of it",
    verdict="not_started",
    says="must not be used",
    leaves="BEFORE",
    goal="unpacked",
)
def path_out_of_package(node: Node) -> Steps:
    path = repacked(
        node, lambda name, data: [(name, data)] + [("../../etc/cron.d/x", b"x")] * name.endswith("releases/emqx_vars")
    )
    yield None
    sound_again(node, path)


@case(
    "the package holds another version than its name says",
    verdict="not_started",
    says="4.4.17",
    leaves="BEFORE",
    goal="unpacked",
)
def wrong_version_inside(node: Node) -> Steps:
    path = node.inside(f"releases/{node.package_name()}")
    shutil.copy(packages.package("4.4.17"), path)
    yield None
    sound_again(node, path)


@case("the package has no relup", verdict="not_started", says="no relup", leaves="BEFORE")
def no_relup(node: Node) -> Steps:
    path = node.host.path(node.provide(variant="no-relup"))
    yield None
    sound_again(node, path)


@case(
    "the package's relup does not list the running version",
    verdict="not_started",
    says="There are no instructions to switch from 4.4.17 to 4.4.19: the relup of 4.4.19 lists 4.4.18",
    leaves="OLDER",
    base={"version": "4.4.17"},
)
def relup_lacks_running(node: Node) -> Steps:
    node.provide(variant="hop")
    yield None
    # The way out that the message names.
    node.provide("4.4.18")
    result = yield {"version": "4.4.18", "settle_timeout": 60}
    assert result.verdict == "done", result.story


@case(
    "an unpacked release has no relup; the node's own check lets it pass",
    verdict="not_started",
    says="There are no instructions",
    leaves="UNPACKED",
)
def unpacked_without_relup(node: Node) -> Steps:
    path = node.host.path(node.provide(variant="no-relup"))
    node.emqx("unpack", NEW)
    path.unlink()
    yield None
    node.provide()


@case("the package lacks `bin/cuttlefish-4.4.19`", verdict="not_started", says="cuttlefish-4.4.19", leaves="BEFORE")
def package_lacks_bin_file(node: Node) -> Steps:
    path = repacked(node, lambda name, data: [] if name.endswith(f"bin/cuttlefish-{NEW}") else [(name, data)])
    yield None
    sound_again(node, path)


@case(
    "a version of another line is asked for",
    verdict="refused",
    says="only to another patch version of 4.4",
    leaves="BEFORE",
)
def other_line(node: Node) -> Steps:
    yield {"version": "5.0.0"}
    node.provide()


@case("something is asked for that is no version", verdict="not_started", says="4.4", leaves="BEFORE", goal="unpacked")
def no_version(node: Node) -> Steps:
    yield {"version": "v4.4.19; reboot"}
    node.provide()
