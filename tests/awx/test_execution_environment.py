# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Execution environments with the collection: what ansible-builder finds in it, and what it makes of the examples.

No image is built, which takes a container engine and the internet. What is shown is that the definitions are valid,
that the build instructions are what they are meant to be, and that the collection is installed offline.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from bindep.depends import Depends
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "extensions/awx/execution-environment"
ONLINE = EXAMPLES / "execution-environment.yml"
OFFLINE = EXAMPLES / "offline/execution-environment.yml"
BUILDER = str(Path(sys.executable).parent / "ansible-builder")
GALAXY = str(Path(sys.executable).parent / "ansible-galaxy")
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
VALIDATE = """
import json, sys
from ansible_builder.ee_schema import validate_schema
from ansible_builder.exceptions import DefinitionError
try:
    validate_schema(json.load(sys.stdin))
except DefinitionError as error:
    print(error)
"""
PYTHON = ["paho-mqtt>=2,<3"]
SYSTEM = ["openssh-clients [platform:rpm]", "openssh-client [platform:dpkg]"]


@pytest.fixture(scope="module")
def tarball() -> Path:
    """The collection as it is shipped; it is installed in .build/collections as well."""
    done = subprocess.run([str(ROOT / "scripts/install-collection")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def builder(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUILDER, *map(str, arguments)], capture_output=True, text=True, check=False)


def create(definition: Path, context: Path) -> str:
    """Make the build context; returns the build instructions."""
    done = builder("create", "--file", definition, "--context", context, "--output-filename", "Containerfile", "-v3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    return (context / "Containerfile").read_text(encoding="utf-8")


def arguments_of(instructions: str) -> dict[str, str]:
    """The build arguments that have a value."""
    return dict(re.findall(r'^ARG (\w+)="(.*)"$', instructions, re.MULTILINE))


def stage(instructions: str, name: str) -> list[str]:
    """The lines of a stage of the build."""
    stages = re.split(r"^FROM \S+ AS ", instructions, flags=re.MULTILINE)[1:]
    by_name = {text.split("\n", 1)[0]: text.splitlines()[1:] for text in stages}
    return by_name[name]


def definition_of(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def refusal(definition: Mapping[str, Any]) -> str:
    """Why ansible-builder's schema does not allow it, empty where it does.

    Asked in a process of its own, since the import has that process show no tracebacks any more.
    """
    done = subprocess.run(
        [sys.executable, "-c", VALIDATE], input=json.dumps(definition), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def introspected(folder: Path, *options: str | Path) -> Mapping[str, list[str]]:
    """Requirements of Python packages and system packages, without the notes on where they are from."""
    done = builder("introspect", folder, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search("warning|error|expected|passing through", done.stderr + done.stdout, re.IGNORECASE), (
        done.stdout + done.stderr
    )
    found = yaml.safe_load(done.stdout[done.stdout.index("---\n") :])
    return {kind: [line.split("  # from collection ")[0] for line in lines] for kind, lines in found.items()}


def test_finds_the_requirements_of_the_installed_collection(tarball: Path, tmp_path: Path) -> None:
    assert tarball.exists()
    pip, bindep = tmp_path / "requirements.txt", tmp_path / "bindep.txt"
    found = introspected(ROOT / ".build/collections", "--write-pip", pip, "--write-bindep", bindep)
    assert found == {"python": PYTHON, "system": SYSTEM}
    assert pip.read_text(encoding="utf-8").split("  #")[0] == PYTHON[0]
    assert bindep.read_text(encoding="utf-8").splitlines()[0].startswith(SYSTEM[0])


@pytest.mark.parametrize(
    ("system", "expected"), [("rpm", ["openssh-clients"]), ("dpkg", ["openssh-client"]), ("apk", [])]
)
def test_system_packages_by_platform(system: str, expected: list[str]) -> None:
    """As the library behind the command bindep reads it, which the build calls."""
    with (ROOT / "meta/ee-bindep.txt").open(encoding="utf-8") as file:
        rules = Depends(file.read()).active_rules([f"platform:{system}"])
    assert [name for name, _selectors, _versions in rules] == expected


def test_what_the_probe_needs_is_what_is_told() -> None:
    """The version that the refusal without paho-mqtt asks for is the one that an environment gets."""
    text = (ROOT / "plugins/plugin_utils/controller/client_probe/loop.py").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"paho-mqtt \(version (\d+)\)", text)
    (line,) = PYTHON
    specifier = Requirement(line).specifier
    assert f"{wanted}.0" in specifier
    assert f"{int(wanted) + 1}.0" not in specifier
    assert f"{int(wanted) - 1}.9" not in specifier


def test_metadata_of_the_collection_is_valid() -> None:
    metadata = definition_of(ROOT / "meta/execution-environment.yml")
    assert refusal(metadata) == ""
    assert {kind: (ROOT / name).is_file() for kind, name in metadata["dependencies"].items()} == {
        "python": True,
        "system": True,
    }


@pytest.mark.parametrize("path", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_example_is_valid(path: Path) -> None:
    assert refusal(definition_of(path)) == ""
    assert "'strange' was unexpected" in refusal({**definition_of(path), "strange": True})


@pytest.mark.parametrize("path", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_releases_of_the_example_suit_the_collection(path: Path) -> None:
    dependencies = definition_of(path)["dependencies"]
    core = Requirement(dependencies["ansible_core"]["package_pip"])
    required = definition_of(ROOT / "meta/runtime.yml")["requires_ansible"]
    assert core.name == "ansible-core"
    (clause,) = core.specifier
    assert str(Version(clause.version)) in Requirement(f"ansible-core{required}").specifier
    assert Requirement(dependencies["ansible_runner"]["package_pip"]).name == "ansible-runner"
    assert dependencies["python_interpreter"]["python_path"] == (
        f"/usr/bin/{dependencies['python_interpreter']['package_system']}"
    )


def test_build_instructions(tmp_path: Path) -> None:
    instructions = create(ONLINE, tmp_path / "context")
    given = arguments_of(instructions)
    assert given["EE_BASE_IMAGE"] == "quay.io/centos/centos:stream9"
    assert given["PYPKG"] == "python3.12"
    assert given["PYCMD"] == "/usr/bin/python3.12"
    assert given["ANSIBLE_INSTALL_REFS"] == "ansible-core~=2.16.0 ansible-runner~=2.4"
    assert given["PKGMGR"] == "/usr/bin/dnf"
    assert "RUN $PYCMD -m pip install --no-cache-dir $ANSIBLE_INSTALL_REFS" in stage(instructions, "base")
    assert any("ansible-galaxy collection install" in line for line in stage(instructions, "galaxy"))
    assert any("introspect.py introspect" in line for line in stage(instructions, "builder"))
    assert "RUN /output/scripts/check_ansible $PYCMD" in stage(instructions, "final")
    assert stage(instructions, "final")[-3:] == [
        "USER 1000",
        'ENTRYPOINT ["/opt/builder/bin/entrypoint", "dumb-init"]',
        'CMD ["bash"]',
    ]
    wanted = definition_of(tmp_path / "context/_build/requirements.yml")
    assert wanted == {"collections": [{"name": "emqx.fleet", "version": f">={VERSION}"}]}
    # What the collection needs is left to its own metadata.
    assert sorted(path.name for path in (tmp_path / "context/_build").iterdir()) == ["requirements.yml", "scripts"]


@pytest.fixture
def beside(tmp_path: Path, tarball: Path) -> Path:
    """The offline definition, with what has to lie beside it."""
    folder = tmp_path / "offline"
    folder.mkdir()
    shutil.copy(OFFLINE, folder)
    shutil.copy(tarball, folder)
    (folder / "pip.conf").write_text("[global]\nindex-url = https://pypi.internal.example.com/simple\n")
    (folder / "internal.repo").write_text("[internal]\nbaseurl = https://rpm.internal.example.com\n")
    return folder


def test_offline_asks_mirrors_before_anything_is_installed(beside: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    instructions = create(beside / OFFLINE.name, context)
    assert "quay.io" not in instructions
    assert arguments_of(instructions)["EE_BASE_IMAGE"].startswith("registry.internal.example.com/")
    base = stage(instructions, "base")
    copies = [index for index, line in enumerate(base) if line.startswith("COPY _build/mirrors/")]
    installs = [index for index, line in enumerate(base) if " install " in line or "pip_install" in line]
    assert len(copies) == 2
    assert installs
    assert max(copies) < min(installs)
    for index in copies:
        assert (context / base[index].split()[1]).is_file()


def test_offline_installs_the_collection_without_a_network(beside: Path, tmp_path: Path) -> None:
    """The step of the galaxy stage is run as it stands, but for the folder that it installs into."""
    context = tmp_path / "context"
    instructions = create(beside / OFFLINE.name, context)
    (line,) = [line for line in stage(instructions, "galaxy") if "ansible-galaxy collection install" in line]
    options = arguments_of(instructions)["ANSIBLE_GALAXY_CLI_COLLECTION_OPTS"]
    words = shlex.split(line.replace("$ANSIBLE_GALAXY_CLI_COLLECTION_OPTS", options))
    command = words[words.index("ansible-galaxy") + 1 :]
    command[command.index("--collections-path") + 1] = str(tmp_path / "installed")
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9",
        "ANSIBLE_GALAXY_DISABLE_GPG_VERIFY": "1",
    }
    done = subprocess.run(
        [GALAXY, *command], cwd=context / "_build", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "installed/ansible_collections/emqx/fleet/MANIFEST.json").is_file()
    assert introspected(tmp_path / "installed") == {"python": PYTHON, "system": SYSTEM}


def test_examples_are_shipped(tarball: Path) -> None:
    listed = subprocess.run(["tar", "-tzf", tarball], check=True, capture_output=True, text=True).stdout.splitlines()
    for path in (ONLINE, OFFLINE):
        assert str(path.relative_to(ROOT)) in listed
    assert not [name for name in listed if name.startswith("extensions/molecule")]
