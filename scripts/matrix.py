# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Try the installed collection under every supported ansible-core.

For each release, in an environment of its own under `.build/matrix`: all playbooks pass a syntax check, all plugins
have readable documentation, and `emqx_release_info` runs under the oldest and the newest Python of this machine that
the release can manage, with `--every-python` under each of them. There is no broker at the path it is given, so what is
asked of it is a failure in its own words rather than in Python's. Under the oldest and the newest release the
integration tests that need no node are run, and two scenarios of `extensions/molecule` are played: one of ordinary
trouble, in the end with everything committed, and one that goes back.
Two releases are tried at a time. One that no Python of this machine can run is left out, but for those two.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
COLLECTION = BUILD / "collections/ansible_collections/emqx/fleet"

DURATIONS = BUILD / "durations"

SCENARIOS = ("trouble", "rollback_fleet")
AT_A_TIME = 2

#: Kinds of plugins, and where they are.
DOCUMENTED = {
    "module": "plugins/modules",
    "callback": "plugins/callback",
    "filter": "plugins/filter",
    "lookup": "plugins/lookup",
}

Version = tuple[int, ...]


class Core(NamedTuple):
    """A feature release of ansible-core: the Pythons it runs on, and the oldest that it manages."""

    release: str
    controller: tuple[Version, Version]
    oldest_target: Version


CORES = (
    Core("2.16", ((3, 10), (3, 13)), (3, 6)),
    Core("2.17", ((3, 10), (3, 13)), (3, 7)),
    Core("2.18", ((3, 11), (3, 13)), (3, 8)),
    Core("2.19", ((3, 11), (3, 13)), (3, 8)),
    Core("2.20", ((3, 12), (3, 14)), (3, 9)),
    Core("2.21", ((3, 12), (3, 14)), (3, 9)),
)
#: The oldest and the newest, under which playbooks are run.
ENDS = (CORES[0], CORES[-1])


def spelled(version: Version) -> str:
    """As people write it."""
    return ".".join(map(str, version))


def interpreters() -> dict[Version, str]:
    """Pythons of this machine, by version, oldest first."""
    listing = subprocess.run((ROOT / "scripts/interpreters",), check=True, capture_output=True, text=True).stdout
    pairs = (line.split(" ", 1) for line in listing.splitlines())
    return {tuple(int(part) for part in version.split(".")): path for version, path in pairs}


def environment(core: Core, python: str) -> Path:
    """Make the environment with this release unless it is there; gives its directory of commands."""
    venv = BUILD / "matrix" / core.release
    stamp = venv / ".stamp"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != python:
        requirement = f"ansible-core=={core.release}.*"
        subprocess.run((ROOT / "scripts/venv", venv, python, requirement), check=True)
        stamp.write_text(python, encoding="utf-8")
    return venv / "bin"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment with nothing but the installed collection in sight."""
    settings = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        command, cwd=BUILD, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def syntax_errors(commands: Path) -> list[str]:
    """What this release cannot read of the playbooks."""
    playbooks = [f"emqx.fleet.{path.stem}" for path in sorted((COLLECTION / "playbooks").glob("*.yml"))]
    result = run(commands / "ansible-playbook", "--syntax-check", "-i", "localhost,", *playbooks)
    return [] if result.returncode == 0 else [f"{result.stdout}{result.stderr}"]


def documentation_errors(commands: Path) -> list[str]:
    """Plugins whose documentation this release cannot read."""
    # One start of Ansible for all of them. What cannot be read fails it.
    result = run(commands / "ansible-doc", "--metadata-dump", "emqx.fleet")
    if result.returncode != 0:
        return [f"documentation of plugins: {result.stderr}"]
    told = json.loads(result.stdout)["all"]
    found = []
    for kind, folder in DOCUMENTED.items():
        names = {f"emqx.fleet.{path.stem}" for path in (COLLECTION / folder).glob("*.py")}
        if not names or names != set(told[kind]):
            found.append(f"documented plugins of the kind {kind}: {sorted(told[kind])}, and there are {sorted(names)}")
    return found


def target_errors(commands: Path, target: str) -> str:
    """Return what went wrong with a module under the Python `target`; empty when nothing did."""
    absent = str(BUILD / "no-such-emqx")
    result = run(
        *(commands / "ansible", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={target}"),
        *("localhost", "-m", "emqx.fleet.emqx_release_info", "-a", f"executable={absent}"),
    )
    # MODULE FAILURE is what Ansible says when the module ended without an answer.
    answered = absent in result.stdout and "MODULE FAILURE" not in result.stdout and "Traceback" not in result.stdout
    return "" if answered else f"emqx_release_info under {target}: {result.stdout}{result.stderr}"


def no_nodes_errors(commands: Path, release: str) -> str:
    """Run the integration tests that need no node, with this release's Ansible; returns what went wrong."""
    result = subprocess.run(
        (
            *(sys.executable, "-m", "pytest", "-q", "-n", "2", "tests/integration/no_nodes"),
            f"--junitxml={DURATIONS / f'matrix-{release}.xml'}",
        ),
        cwd=ROOT,
        env={**os.environ, "EMQX_FLEET_ANSIBLE": str(commands)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if result.returncode == 0 else f"tests/integration/no_nodes: {result.stdout}{result.stderr}"


def scenario_errors(commands: Path, release: str, name: str) -> str:
    """Play a scenario with this release's `ansible-playbook`; returns what went wrong, empty when nothing did."""
    begun = time.monotonic()
    result = subprocess.run(
        (sys.executable, ROOT / "extensions/molecule/shared/run.py", name, "test"),
        env={**os.environ, "EMQX_FLEET_ANSIBLE": str(commands), "EMQX_FLEET_BESIDE": f"-{release}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    DURATIONS.mkdir(parents=True, exist_ok=True)
    seconds = json.dumps({name: time.monotonic() - begun})
    (DURATIONS / f"matrix-{release}-{name}.json").write_text(seconds, encoding="utf-8")
    return "" if result.returncode == 0 else f"{name}: {result.stdout}{result.stderr}"


def check(core: Core, pythons: dict[Version, str], every_python: bool) -> list[str]:
    """Everything that is wrong under one release; prints a line about it."""
    lowest, highest = core.controller
    usable = [version for version in pythons if lowest <= version <= highest]
    if not usable:
        absent = f"no Python from {spelled(lowest)} to {spelled(highest)} on this machine"
        print(f"{core.release}  {absent}", flush=True)
        return [f"{absent}, and what is tried under this release is tried nowhere else; install one"] * (core in ENDS)
    commands = environment(core, pythons[usable[0]])
    targets = {version: path for version, path in pythons.items() if version >= core.oldest_target}
    if not every_python:
        targets = {version: targets[version] for version in (min(targets), max(targets))}
    errors = syntax_errors(commands) + documentation_errors(commands)
    errors += [error for error in (target_errors(commands, path) for path in targets.values()) if error]
    if core in ENDS:
        errors += [error for error in (no_nodes_errors(commands, core.release),) if error]
        errors += [error for error in (scenario_errors(commands, core.release, name) for name in SCENARIOS) if error]
    shown = ", ".join(map(spelled, targets))
    controller = spelled(usable[0])
    print(f"{core.release}  on {controller}, managing {shown}: {'FAILED' if errors else 'passed'}", flush=True)
    return errors


def main() -> int:
    """Check all releases, or those named on the command line."""
    subprocess.run((ROOT / "scripts/install-collection",), check=True, stdout=subprocess.DEVNULL)
    pythons = interpreters()
    wanted = [name for name in sys.argv[1:] if name != "--every-python"] or [core.release for core in CORES]
    # What takes longest begins first.
    cores = [core for core in sorted(CORES, key=lambda core: core not in ENDS) if core.release in wanted]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda core: check(core, pythons, "--every-python" in sys.argv), cores))
    errors = [f"{core.release}: {error}" for core, these in zip(cores, found, strict=True) for error in these]
    print("\n".join(errors))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
