# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Nodes of other editions and platforms: nothing is touched until the user narrows the run."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from harness import NEW, OLD, PACKAGES, VARIANTS, Scenario, verbs

FLEET = {
    "hosts": {
        "fits1": {},
        "fits2": {},
        "enterprise": {"edition": "ee"},
        "oldotp": {"edition": "ee", "platform": "el8"},
    }
}
CLIENTS = {"busy": 2, "idle": 2}


def converge(scenario: Scenario) -> None:
    """Do it."""
    # The only Enterprise package for that platform is of another OTP than the node runs.
    folder = scenario.work / "packages"
    folder.mkdir()
    for package in PACKAGES.glob(f"emqx-{NEW}-*.zip"):
        shutil.copy(package, folder)
    _of_another_otp(next((VARIANTS / "ee").glob(f"emqx-ee-{NEW}-*.zip")), "el8", folder)
    given = {"emqx_upgrade_version": NEW, "emqx_upgrade_packages": [str(folder)]}
    scenario.playbook("upgrade", name="all", **given)
    scenario.keep("after-all", {host: vars(state) for host, state in scenario.nodes().items()})
    scenario.playbook("upgrade", "--limit", "fits*", name="narrowed", **given)


def _of_another_otp(package: Path, platform: str, folder: Path) -> None:
    """A copy of a package that says, in its name and inside, that it is for another platform and for OTP 24."""
    otp, here = re.findall(r"-otp([^-]+-\d+)-([^-]+)-[^-]+\.zip$", package.name)[0]
    name = package.name.replace(otp, "24.3.4.2-1").replace(here, platform)
    with (
        zipfile.ZipFile(package) as source,
        zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        erts = re.findall(r'ERTS_VSN="?([\d.]+)', source.read("emqx/releases/emqx_vars").decode())[-1]
        for member in source.infolist():
            content = source.read(member)
            if member.filename.endswith(("/BUILT_ON", "/emqx_vars", ".rel")):
                content = content.replace(here.encode(), platform.encode()).replace(erts.encode(), b"12.3.2.2")
            member.filename = member.filename.replace(f"erts-{erts}", "erts-12.3.2.2")
            target.writestr(member, content)


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    refused = scenario.run_of("all")
    assert refused.code != 0
    said = " ".join(refused.output.replace('",', "").replace('"', "").split())
    assert "NOT feasible" in refused.message
    assert "[edition] enterprise:" in said, said
    assert "[otp] oldotp:" in said, said
    assert "fits1:" not in said.partition("Obstacles")[2].partition("PLAY RECAP")[0]
    assert all(counts["changed"] == 0 for counts in refused.recap.values())
    assert scenario.kept("after-all") == scenario.kept("before"), "something was touched"

    narrowed = scenario.run_of("narrowed")
    assert narrowed.code == 0, narrowed.message
    scenario.require_clients_kept()
    scenario.require_same_processes()
    scenario.require(NEW, NEW, ["fits1", "fits2"])
    for state in scenario.require(OLD, OLD, ["enterprise", "oldotp"]).values():
        assert verbs(state.journal) == []
