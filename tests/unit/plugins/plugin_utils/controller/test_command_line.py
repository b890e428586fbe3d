# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that goes on repeats what was asked for, and nothing that may be secret."""

from __future__ import annotations

import shlex

from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.command_line import command, inline_settings


def test_the_whole_command() -> None:
    line = command(
        "emqx.fleet.upgrade",
        ["prod.yml", "more hosts.yml"],
        "blue:&site1",
        ["@fleet.yml", "emqx_upgrade_version=4.4.19"],
        {"emqx_upgrade_version": "4.4.19", "emqx_upgrade_hooks": {"after_node": "/h.yml"}, "emqx_upgrade_canary": 2},
    )
    assert shlex.split(line) == [
        "ansible-playbook", "-i", "prod.yml", "-i", "more hosts.yml", "emqx.fleet.upgrade",
        "--limit", "blue:&site1", "-e", "@fleet.yml", "-e", "emqx_upgrade_canary=2",
        "-e", '{"emqx_upgrade_hooks": {"after_node": "/h.yml"}}', "-e", "emqx_upgrade_version=4.4.19",
    ]  # fmt: skip


def test_other_variables_are_not_repeated() -> None:
    settings = {"ansible_become_password": "s3cret", "emqx_upgrade_allow_downgrade": True}
    line = command("emqx.fleet.upgrade", extra_vars=["ansible_become_password=s3cret"], settings=settings)
    assert "s3cret" not in line
    assert shlex.split(line)[2:] == ["-e", '{"emqx_upgrade_allow_downgrade": true}']


def test_values_with_blanks_arrive_whole() -> None:
    line = command("emqx.fleet.plan", settings={"emqx_upgrade_packages": "my packages"})
    assert shlex.split(line)[3] == '{"emqx_upgrade_packages": "my packages"}'


def test_only_what_was_written_out_is_repeated() -> None:
    settings = {"emqx_upgrade_version": "4.4.19", "emqx_upgrade_canary": 2}
    assert inline_settings(["@fleet.yml", "emqx_upgrade_version=4.4.19"], settings) == {
        "emqx_upgrade_version": "4.4.19"
    }
