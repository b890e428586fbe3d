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
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
VERSIONS = ("4.4.17", "4.4.18", "4.4.19")
BIN_FILES = ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript")
ERTS_PROGRAMS = ("beam.smp", "erlexec", "erl_child_setup", "inet_gethost", "escript", "heart")
DESCRIPTIONS = {"ce": "EMQX Broker", "ee": "EMQX Enterprise"}
RELUPS = {"full": "relup", "hop": "relup.hop"}
# The oldest date that a zip can hold: equal sources give equal packages.
EPOCH = (1980, 1, 1, 0, 0, 0)


class Erlang(NamedTuple):
    root: Path
    otp: str
    erts: str


class Package(NamedTuple):
    """One zip; whatever differs from the plain package of the version makes it a variant."""

    version: str
    edition: str = "ce"
    variant: str = ""
    otp: str = ""
    os: str = ""
    relup: str = "full"
    """`full`, `hop` (lacks the first version), or `none`."""


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
    return [
        *(Package(v) for v in versions),
        *(Package(v, edition="ee", variant="ee") for v in versions),
        Package(last, variant="hop", relup="hop"),
        Package(last, variant="no-relup", relup="none"),
        Package(last, variant="other-otp", otp="24.3.4.2-1"),
        Package(last, variant="other-os", os="el8"),
    ]


def fingerprint(versions: tuple[str, ...], erl: Erlang) -> str:
    digest = hashlib.sha256(json.dumps([versions, str(erl), os_word(), arch_word()]).encode())
    sources = [HERE / "build.py", HERE / "build.escript", HERE / "emqx_vars.in"]
    for folder in ("apps", "bin", "cuttlefish", "etc"):
        sources += sorted(p for p in (HERE / folder).rglob("*") if p.is_file())
    for path in sources:
        digest.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def tree(stage: Path, package: Package, erl: Erlang, built_on: str) -> dict[str, tuple[bytes | Path, int]]:
    """Path inside the package -> content and mode."""
    version, release = package.version, stage / "releases" / package.version
    files: dict[str, tuple[bytes | Path, int]] = {}
    boot = ["start.boot", "start_clean.boot", "no_dot_erlang.boot"]
    for name in [*boot, "emqx.rel"]:
        files[f"releases/{version}/{name}"] = (release / name, 0o644)
    files[f"releases/{version}/BUILT_ON"] = (built_on.encode(), 0o664)
    files[f"releases/{version}/emqx.schema"] = (b"%% -*- erlang -*-\n", 0o664)
    if package.relup != "none":
        files[f"releases/{version}/relup"] = (release / RELUPS[package.relup], 0o644)
    files["releases/emqx.rel"] = (release / "emqx.rel", 0o644)
    files["releases/RELEASES"] = (release / "RELEASES", 0o644)
    files["releases/start_erl.data"] = (f"{erl.erts} {version}".encode(), 0o644)
    variables = {"@VSN@": version, "@ERTS@": erl.erts, "@DESCRIPTION@": DESCRIPTIONS[package.edition]}
    files["releases/emqx_vars"] = (substituted(HERE / "emqx_vars.in", variables), 0o664)
    for name in BIN_FILES:
        if name == "cuttlefish":
            file: tuple[bytes | Path, int] = (stage / f"cuttlefish-{version}", 0o755)
        else:
            file = (substituted(HERE / "bin" / name, variables), 0o775)
        files[f"bin/{name}"] = files[f"bin/{name}-{version}"] = file
    files["bin/no_dot_erlang.boot"] = (release / "no_dot_erlang.boot", 0o644)
    files["etc/emqx.conf"] = (HERE / "etc" / "emqx.conf", 0o644)
    for path in sorted((stage / "lib").rglob("*")):
        if path.is_file() and belongs(path.relative_to(stage / "lib").parts[0], release):
            files[str(path.relative_to(stage))] = (path, path.stat().st_mode & 0o777)
    erts = f"erts-{erl.erts}"
    for name in ERTS_PROGRAMS:
        files[f"{erts}/bin/{name}"] = (erl.root / erts / "bin" / name, 0o755)
    files[f"{erts}/bin/erl"] = (HERE / "bin" / "erl", 0o755)
    return files


def substituted(path: Path, variables: dict[str, str]) -> bytes:
    text = path.read_text()
    for name, value in variables.items():
        text = text.replace(name, value)
    return text.encode()


def belongs(directory: str, release: Path) -> bool:
    app, _unused, version = directory.rpartition("-")
    return bool(re.search(rf'\{{{app},"{re.escape(version)}"', (release / "emqx.rel").read_text()))


def write_package(stage: Path, package: Package, erl: Erlang, architecture: str, out: Path) -> Path:
    otp, os_name = package.otp or f"{erl.otp}-1", package.os or os_word()
    product = "emqx" if package.edition == "ce" else f"emqx-{package.edition}"
    folder = out / "variants" / package.variant if package.variant else out / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{product}-{package.version}-otp{otp}-{os_name}-{arch_word()}.zip"
    files = tree(stage, package, erl, f"{architecture}-{os_name}")
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
        architectures = {}
        for edition in sorted({p.edition for p in packages}):
            stage = Path(temporary, edition)
            command: list[str | Path] = [
                "escript",
                HERE / "build.escript",
                HERE,
                stage,
                DESCRIPTIONS[edition],
                *versions,
            ]
            result = subprocess.run(command, check=False, capture_output=True, text=True)
            if result.returncode:
                sys.exit(f"build.escript failed:\n{result.stdout}{result.stderr}")
            architectures[edition] = result.stdout.split()[-1]
        with ProcessPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            jobs = [
                pool.submit(write_package, Path(temporary, p.edition), p, erl, architectures[p.edition], out)
                for p in packages
            ]
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
