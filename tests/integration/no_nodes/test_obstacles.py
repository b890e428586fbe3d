# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in the way is in the message of the task that failed: an event of AWX shows no more."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package

from .under_ansible import NEW, OLD, make_node, play


def test_obstacles_are_in_the_message(tmp_path: Path) -> None:
    poor = make_node(tmp_path / "poor", new=False)
    node = {"executable": str(tmp_path / "poor/bin/emqx")}
    other = write_package(tmp_path / "emqx-4.4.19-otp24.3.4.2-1-el8-amd64.zip", NEW, ["4.4.17"], [])
    torn = tmp_path / "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
    torn.write_bytes(write_package(tmp_path / "whole.zip", NEW, [OLD]).read_bytes()[:-100])
    large = tmp_path / "large" / torn.name
    large.parent.mkdir()
    write_package(large, NEW, [OLD], [OLD])
    with zipfile.ZipFile(large, "a") as archive, archive.open("emqx/lib/large", "w", force_zip64=True) as stream:
        stream.write(b"x")
    poor.path("releases").joinpath(torn.name).write_bytes(torn.read_bytes())
    played = play(
        tmp_path,
        {
            "other": {"emqx.fleet.emqx_package_check": {**node, "src": str(other)}},
            "torn": {"emqx.fleet.emqx_package_check": {**node, "src": str(torn)}},
            "zip64": {"emqx.fleet.emqx_package_check": {**node, "src": str(large)}},
            "release torn": {"emqx.fleet.emqx_release": {**node, "version": NEW}},
            "release none": {"emqx.fleet.emqx_release": {**node, "version": "4.4.20"}},
            "accept": {"emqx.fleet.emqx_package_check": {**node, "src": str(torn), "accept": ["no_such_gate"]}},
            "src": {"emqx.fleet.emqx_package_check": {**node, "src": "nowhere.zip"}},
        },
    )
    says = {name: str(result["msg"]) for name, result in played.results.items()}
    assert all(result["failed"] for result in played.results.values()), says
    for gate in ("package_sound", "otp", "os", "relup"):
        assert f" {gate}: " in says["other"]
        row = next(row for row in played.results["other"]["gates"] if row["name"] == gate)
        assert row["message"].rstrip(".") in says["other"]
        assert str(row["actual"]) in says["other"], row
    assert "the zip archive ends before its directory" in says["torn"]
    assert "in the form zip64, which the Erlang of EMQX 4.x does not read" in says["zip64"]
    assert "must not be used: the zip archive ends before its directory" in says["release torn"]
    assert (
        f"There is no package of 4.4.20 in {tmp_path}/poor/releases. Copy the package zip there" in says["release none"]
    )
    for name, begin in (("accept", "accept: there is no gate no_such_gate"), ("src", "src: Could not find or access")):
        assert says[name].startswith(begin)
        assert says[name].count(begin.partition(": ")[2]) == 1, "nothing is said twice"
