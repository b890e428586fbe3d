# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What may be in the tarball, and what not."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/check_tarball.py"
SOUND = [
    "MANIFEST.json",
    "FILES.json",
    "LICENSE",
    "README.md",
    "extensions/awx/x.yml",
    "meta",
    "meta/runtime.yml",
    "plugins/modules/x.py",
]


def verdict(directory: Path, names: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the check over a tarball of empty files."""
    tarball = directory / "emqx-fleet-0.1.0.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return subprocess.run([sys.executable, SCRIPT, tarball], capture_output=True, text=True, check=False)


def test_sound(tmp_path: Path) -> None:
    assert verdict(tmp_path, SOUND).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/test_x.py",
        "Makefile",
        ".ci/run",
        "plugins/.x.swp",
        "plugins/x.pyc",
        "docs/a.zip",
        "extensions/molecule",
        "extensions/molecule/rolling/scenario.py",
    ],
)
def test_foreign(tmp_path: Path, name: str) -> None:
    result = verdict(tmp_path, [*SOUND, name])
    assert result.returncode == 1
    assert name in result.stderr


def test_missing(tmp_path: Path) -> None:
    result = verdict(tmp_path, [name for name in SOUND if name != "LICENSE"])
    assert result.returncode == 1
    assert "LICENSE is missing" in result.stderr
