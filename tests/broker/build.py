# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Builds the packages of the test broker: see README.md beside this file."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
VERSIONS = ("4.4.17", "4.4.18", "4.4.19")
BIN_FILES = ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript")
# Their texts stay what is run; see bin/emqx.
COMPILED = ("nodetool", "install_upgrade.escript")
ERTS_PROGRAMS = ("beam.smp", "erlexec", "erl_child_setup", "inet_gethost", "escript", "heart")
RELUPS = {"full": "relup", "hop": "relup.hop"}
# The oldest date that a zip can hold: equal sources give equal packages.
EPOCH = (1980, 1, 1, 0, 0, 0)

ALL = (0, 9999)
# What the packages of a version are like: the first and the last patch version of a series that a trait holds for.
# Read from EMQX's sources, tags v4.2.0 to v4.4.19, and tried with its scripts where tests/contract has recordings.
TRAITS: dict[str, dict[str, tuple[int, int]]] = {
    # bin/install_upgrade.escript: what makes it unpack a release that the node says is unpacked.
    "trusting": {"4.2": ALL, "4.3": (0, 12), "4.4": (0, 1)},
    "dir": {"4.3": (13, 9999), "4.4": (2, 14)},
    "regular": {"4.4": (15, 9999)},
    # The same: commit and uninstall copy the boot file; a version is checked before it is installed, or unpacked.
    "boot-copy": {"4.3": (18, 9999), "4.4": (7, 9999)},
    "install-check": {"4.3": (15, 9999), "4.4": (4, 9999)},
    "unpack-check": {"4.4": (12, 9999)},
    # bin/emqx, bin/nodetool: arguments are split; what is read before anything is done; words without a node.
    "split": {"4.2": ALL},
    "boot-check": {"4.3": ALL, "4.4": ALL},
    "row": {"4.3": (1, 9999), "4.4": ALL},
    "assert": {"4.3": (15, 9999), "4.4": (4, 9999)},
    # releases/emqx_vars
    "root": {"4.2": ALL, "4.3": (0, 14), "4.4": (0, 3)},
    "discr": {"4.2": ALL},
    "export": {"4.3": (0, 16), "4.4": (0, 5)},
    "plain-description": {"4.3": (17, 9999), "4.4": (6, 9999)},
    "default-cookie": {"4.4": (12, 9999)},
    # releases/<version>
    "built-on": {"4.3": ALL, "4.4": ALL},
    "built-on-system": {"4.3": (9, 9999), "4.4": ALL},
    "no-dot-erlang": {"4.3": ALL, "4.4": ALL},
    # Inside the node
    "live_connections": {"4.4": ALL},
    "vm_uptime": {"4.3": (13, 9999), "4.4": (2, 9999)},
    # Names
    "EMQX": {"4.4": (16, 9999)},
    "otp-in-name": {"4.4": ALL},
    "amd64": {"4.3": ALL, "4.4": ALL},
}
KINDS = ("trusting", "dir", "regular")
MACROS = ("live_connections", "vm_uptime")


class Erlang(NamedTuple):
    root: Path
    otp: str
    erts: str


class Stage(NamedTuple):
    """What is compiled together: versions in ascending order, each with a relup from, and to, those before it."""

    versions: tuple[str, ...]
    edition: str = "ce"
    other_erts: bool = False
    """Whether the last version brings an ERTS of its own: the same one under another number."""

    def erts(self, version: str, erl: Erlang) -> str:
        """The number that a version's ERTS has."""
        return f"{erl.erts}.1" if self.other_erts and version == self.versions[-1] else erl.erts

    @property
    def description(self) -> str:
        """What the product calls itself."""
        name = "EMQX" if has("EMQX", self.versions[-1]) else "EMQ X"
        return f"{name} {'Broker' if self.edition == 'ce' else 'Enterprise'}"


class Package(NamedTuple):
    """One zip; whatever differs from the plain package of the version makes it a variant."""

    version: str
    stage: Stage
    variant: str = ""
    otp: str = ""
    os: str = ""
    relup: str = "full"
    """`full`, `hop` (lacks the first version), or `none`."""
    kind: str = ""
    """Another kind of upgrade script than the version's own."""

    @property
    def traits(self) -> set[str]:
        """What its files are like."""
        found = {name for name in TRAITS if has(name, self.version)}
        return found - set(KINDS) | {self.kind} if self.kind else found


def has(trait: str, version: str) -> bool:
    """Whether packages of a version have a trait."""
    major, minor, patch = version.partition("-")[0].split(".")
    first, last = TRAITS[trait].get(f"{major}.{minor}", (1, 0))
    return first <= int(patch) <= last


def erlang() -> Erlang:
    code = (
        'io:format("~s ~s ~s~n",[code:root_dir(),erlang:system_info(otp_release),erlang:system_info(version)]),halt().'
    )
    out = subprocess.run(["erl", "-noshell", "-eval", code], check=True, capture_output=True, text=True).stdout
    root, release, erts = out.split()
    otp = (Path(root) / "releases" / release / "OTP_VERSION").read_text().strip()
    return Erlang(Path(root), otp, erts)


def os_word() -> str:
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.MULTILINE))
    name, version = fields.get("ID", "linux"), fields.get("VERSION_ID", "")
    if name in ("rhel", "centos", "rocky", "almalinux"):
        return "el" + version.split(".")[0]
    return name + version


def arch_word() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def wanted(versions: tuple[str, ...]) -> list[Package]:
    last = versions[-1]
    plain, enterprise = Stage(versions), Stage(versions, "ee")
    old_43 = ("4.3.10", "4.3.11")
    alone = {
        "4.2": Stage(("4.2.13", "4.2.14")),
        "4.3": Stage(old_43),
        "4.4.0": Stage(("4.4.0", "4.4.1")),
        "ee43": Stage(old_43, "ee"),
    }
    return [
        *(Package(v, plain) for v in versions),
        *(Package(v, enterprise, "ee") for v in versions),
        Package(last, plain, "hop", relup="hop"),
        Package(last, plain, "no-relup", relup="none"),
        Package(last, plain, "other-otp", otp="24.3.4.2-1"),
        Package(last, plain, "other-os", os="el8"),
        *(Package(v, plain, "script14", kind="dir") for v in versions),
        Package(last, plain, "script14-hop", kind="dir", relup="hop"),
        *(Package(v, Stage(versions[-2:], other_erts=True), "erts") for v in versions[-2:]),
        *(Package(v, stage, variant) for variant, stage in alone.items() for v in stage.versions),
    ]


def fingerprint(versions: tuple[str, ...], erl: Erlang) -> str:
    digest = hashlib.sha256(json.dumps([versions, str(erl), os_word(), arch_word()]).encode())
    sources = [HERE / "build.py", HERE / "build.escript", HERE / "emqx_vars.in"]
    for folder in ("apps", "bin", "cuttlefish", "etc"):
        sources += sorted(p for p in (HERE / folder).rglob("*") if p.is_file())
    for path in sources:
        digest.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def compiled_scripts(packages: list[Package], folder: Path) -> dict[bytes, bytes]:
    """What the texts of scripts are compiled to; made in a folder."""
    texts = {(name, substituted(HERE / "bin" / name, {}, package.traits)) for name in COMPILED for package in packages}
    paths = {}
    for number, (name, text) in enumerate(sorted(texts)):
        path = paths[text] = folder / "scripts" / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(text)
    subprocess.run(["escript", HERE / "build.escript", "compile", *paths.values()], check=True)
    return {text: path.with_name(f"{path.name}.compiled").read_bytes() for text, path in paths.items()}


def checksum(text: bytes) -> str:
    """What `cksum` says of a text, with a hyphen in between."""
    out = subprocess.run(["cksum"], input=text, check=True, capture_output=True).stdout.decode()
    return "-".join(out.split())


def tree(
    folder: Path, package: Package, erl: Erlang, built_on: str, scripts: dict[bytes, bytes]
) -> dict[str, tuple[bytes | Path, int]]:
    """Path inside the package -> content and mode."""
    version, release, traits = package.version, folder / "releases" / package.version, package.traits
    number = package.stage.erts(version, erl)
    files: dict[str, tuple[bytes | Path, int]] = {}
    boot = ["start.boot", "start_clean.boot", *(["no_dot_erlang.boot"] if "no-dot-erlang" in traits else [])]
    for name in [*boot, "emqx.rel"]:
        files[f"releases/{version}/{name}"] = (release / name, 0o644)
    if "built-on" in traits:
        files[f"releases/{version}/BUILT_ON"] = (built_on.encode(), 0o664)
    files[f"releases/{version}/emqx.schema"] = (b"%% -*- erlang -*-\n", 0o664)
    if package.relup != "none":
        files[f"releases/{version}/relup"] = (release / RELUPS[package.relup], 0o644)
    files["releases/emqx.rel"] = (release / "emqx.rel", 0o644)
    files["releases/RELEASES"] = (release / "RELEASES", 0o644)
    files["releases/start_erl.data"] = (f"{number} {version}".encode(), 0o644)
    variables = {"@VSN@": version, "@ERTS@": number, "@DESCRIPTION@": package.stage.description}
    files["releases/emqx_vars"] = (substituted(HERE / "emqx_vars.in", variables, traits), 0o664)
    for name in BIN_FILES:
        if name == "cuttlefish":
            file: tuple[bytes | Path, int] = (folder / f"cuttlefish-{version}", 0o755)
        else:
            file = (substituted(HERE / "bin" / name, variables, traits), 0o775)
        files[f"bin/{name}"] = files[f"bin/{name}-{version}"] = file
        if name in COMPILED:
            text = substituted(HERE / "bin" / name, {}, traits)
            files[f"erts-{number}/compiled/{checksum(text)}/{name}"] = (scripts[text], 0o644)
    files["bin/no_dot_erlang.boot"] = (release / "no_dot_erlang.boot", 0o644)
    files["etc/emqx.conf"] = (HERE / "etc" / "emqx.conf", 0o644)
    for path in sorted((folder / "lib").rglob("*")):
        if path.is_file() and belongs(path.relative_to(folder / "lib").parts[0], release):
            files[str(path.relative_to(folder))] = (path, path.stat().st_mode & 0o777)
    for name in ERTS_PROGRAMS:
        files[f"erts-{number}/bin/{name}"] = (erl.root / f"erts-{erl.erts}" / "bin" / name, 0o755)
    files[f"erts-{number}/bin/erl"] = (HERE / "bin" / "erl", 0o755)
    return files


def substituted(path: Path, variables: dict[str, str], traits: set[str]) -> bytes:
    """A file of ours with its variables, and of `@if TRAIT` or `@if !TRAIT` to `@end` only what is for a package."""
    lines, wanted_now = [], True
    for line in path.read_text().splitlines(keepends=True):
        mark = re.match(r"\s*(?:#|%%) @(if|end)(?: (!?)(\S+))?$", line)
        if mark:
            if mark[1] == "if" and mark[3] not in TRAITS:
                sys.exit(f"{path}: there is no trait {mark[3]!r}; known are {', '.join(TRAITS)}")
            wanted_now = mark[1] == "end" or (mark[3] in traits) != bool(mark[2])
        elif wanted_now:
            lines.append(line)
    text = "".join(lines)
    for name, value in variables.items():
        text = text.replace(name, value)
    return text.encode()


def belongs(directory: str, release: Path) -> bool:
    app, _unused, version = directory.rpartition("-")
    return bool(re.search(rf'\{{{app},"{re.escape(version)}"', (release / "emqx.rel").read_text()))


def file_name(package: Package, erl: Erlang) -> str:
    """The name of the zip, as EMQX's packages of that version have it."""
    product = "emqx" if package.stage.edition == "ce" else f"emqx-{package.stage.edition}"
    system, traits = package.os or os_word(), package.traits
    arch = arch_word() if "amd64" in traits else platform.machine()
    if "otp-in-name" in traits:
        otp = package.otp or f"{otp_of(package, erl)}-1"
        return f"{product}-{package.version}-otp{otp}-{system}-{arch}.zip"
    return f"{product}-{system}-{package.version}-{arch}.zip"


def otp_of(package: Package, erl: Erlang) -> str:
    """The OTP version that a package says it was built with; another ERTS is one of another OTP."""
    other = package.stage.erts(package.version, erl) != erl.erts
    return package.otp or (f"{erl.otp}.1" if other else erl.otp)


def write_package(
    folder: Path, package: Package, erl: Erlang, architecture: str, scripts: dict[bytes, bytes], out: Path
) -> Path:
    beside = out / "variants" / package.variant if package.variant else out / "packages"
    beside.mkdir(parents=True, exist_ok=True)
    target = beside / file_name(package, erl)
    # OTP version, triple, word size, and in most versions the system.
    words = [otp_of(package, erl), architecture, str(struct.calcsize("P") * 8)]
    if "built-on-system" in package.traits:
        words.append(package.os or os_word())
    files = tree(folder, package, erl, "-".join(words), scripts)
    folders = {str(p) for name in files for p in Path("emqx", name).parents if str(p) != "."}
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(folders | {"emqx/data", "emqx/log"}):
            entry = zipfile.ZipInfo(name + "/", EPOCH)
            entry.external_attr = (0o40755 << 16) | 0x10
            archive.writestr(entry, b"")
        for name, (content, mode) in sorted(files.items()):
            entry = zipfile.ZipInfo(f"emqx/{name}", EPOCH)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())
    part.replace(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(target.name + ".sha256").write_text(digest)
    return target


def compiled(stage: Stage, folder: Path, erl: Erlang) -> str:
    """Fill a folder with what `build.escript` makes of a stage; gives the machine's triple."""
    specs = []
    newest = "4.4.19" if "4.4.19" in stage.versions else stage.versions[-1]
    for at, version in enumerate(stage.versions):
        generation = 19 + at - stage.versions.index(newest)
        flags = [name for name in MACROS if has(name, version)]
        specs.append(",".join([version, stage.erts(version, erl), str(generation), *flags]))
    command: list[str | Path] = ["escript", HERE / "build.escript", HERE, folder, stage.edition, stage.description]
    result = subprocess.run([*command, *specs], check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"build.escript failed:\n{result.stdout}{result.stderr}")
    return result.stdout.split()[-1]


def build(out: Path, versions: tuple[str, ...], only_plain: bool) -> None:
    erl = erlang()
    packages = [p for p in wanted(versions) if not (only_plain and p.variant)]
    mark = fingerprint(versions, erl) + (" plain" if only_plain else "")
    stamp = out / "stamp"
    if stamp.is_file() and stamp.read_text() in (mark, mark.removesuffix(" plain")):
        return
    for name in ("packages", "variants"):
        shutil.rmtree(out / name, ignore_errors=True)
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        stages = {stage: Path(temporary, str(n)) for n, stage in enumerate(dict.fromkeys(p.stage for p in packages))}
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            *_unused, architecture = threads.map(lambda stage: compiled(stage, stages[stage], erl), stages)
        scripts = compiled_scripts(packages, Path(temporary))
        with ProcessPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            jobs = [pool.submit(write_package, stages[p.stage], p, erl, architecture, scripts, out) for p in packages]
            for job in jobs:
                job.result()
    stamp.write_text(mark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / ".build" / "broker")
    parser.add_argument("--versions", default=",".join(VERSIONS), help="comma-separated, ascending")
    parser.add_argument("--plain", action="store_true", help="without the variants")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(out, tuple(arguments.versions.split(",")), arguments.plain)
    for path in sorted(out.glob("packages/*.zip")):
        print(path)


if __name__ == "__main__":
    main()
