# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that goes on repeats what it takes to do the same, and nothing that may be secret."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from ansible.cli.playbook import PlaybookCLI
from ansible.utils.context_objects import CLIArgs
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.command_line import (
    LEFT_OUT,
    again,
    another,
    configured,
)

SECRET = "s3cret"
PLAYBOOK = "emqx.fleet.upgrade"
#: What nobody who gave no option has to read.
DEFAULTS = {"connection": "ssh", "become_method": "sudo", "forks": 5}


def parsed(*options: str) -> dict[str, Any]:
    """The options as Ansible itself reads them."""
    cli = PlaybookCLI(["ansible-playbook", *options])
    cli.init_parser()
    return dict(CLIArgs.from_options(cli.post_process_args(cli.parser.parse_args(options))))


def words(*options: str, inventory: str = "/etc/hosts.yml") -> list[str]:
    """Of the command that goes on, all but how it begins."""
    line = shlex.split(again(parsed("-i", inventory, PLAYBOOK, *options), DEFAULTS))
    assert line[:4] == ["ansible-playbook", "-i", inventory, PLAYBOOK]
    return line[4:]


TABLE: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], []),
    "limit": (["--limit", "blue:&site1"], ["--limit", "blue:&site1"]),
    "limit from a file": (["-l", "@/x/retry"], ["--limit", "@/x/retry"]),
    "tags": (["-t", "stage,switch", "-t", "commit"], ["--tags=commit,stage,switch"]),
    "tags that are none": (["-t", "all"], []),
    "tags left out": (["--skip-tags", "commit"], ["--skip-tags=commit"]),
    "check": (["-C", "-D"], ["--check", "--diff"]),
    "forks": (["-f", "50"], ["--forks=50"]),
    "forks as by default": (["-f", "5"], []),
    "user": (["-u", "ops", "--key-file", "/k/id"], ["--user=ops", "--private-key=/k/id"]),
    "become": (["-b", "--become-user", "emqx", "-K"], ["--become-user=emqx", "--become", "--ask-become-pass"]),
    "passwords from files": (
        ["--become-password-file", "/p/b", "--connection-password-file", "/p/c"],
        ["--connection-password-file=/p/c", "--become-password-file=/p/b"],
    ),
    "ssh": (["--ssh-common-args", "-o ProxyJump=jump"], ["--ssh-common-args=-o ProxyJump=jump"]),
    "ssh with a secret": (
        ["--ssh-common-args", f"-o ProxyCommand='sshpass -p {SECRET} ssh jump'"],
        [f"--ssh-common-args={LEFT_OUT}"],
    ),
    "vault asked for": (["-J"], ["--ask-vault-pass"]),
    "vaults": (
        ["--vault-id", "prod@prompt", "--vault-id", "dev@/v/dev"],
        ["--vault-id", "prod@prompt", "--vault-id", "dev@/v/dev"],
    ),
    "vault file": (["--vault-password-file", "/v/all"], ["--vault-password-file", "/v/all"]),
    "settings": (
        ["-e", "emqx_upgrade_version=4.4.19 emqx_upgrade_canary=25%"],
        ["-e", "emqx_upgrade_version=4.4.19", "-e", "emqx_upgrade_canary=25%"],
    ),
    "a value with blanks": (
        ["-e", "emqx_upgrade_packages='my packages'"],
        ["-e", '{"emqx_upgrade_packages": "my packages"}'],
    ),
    "types": (
        ["-e", '{"emqx_upgrade_allow_downgrade": true, "emqx_upgrade_accept": ["patches"], "emqx_upgrade_canary": 2}'],
        ["-e", '{"emqx_upgrade_allow_downgrade": true}', "-e", '{"emqx_upgrade_accept": ["patches"]}']
        + ["-e", '{"emqx_upgrade_canary": 2}'],
    ),
    "YAML": (["-e", "{emqx_upgrade_version: 4.4.19}"], ["-e", "emqx_upgrade_version=4.4.19"]),
    "empty": (["-e", "emqx_upgrade_version="], ["-e", "emqx_upgrade_version="]),
    "hooks": (
        ["-e", '{"emqx_upgrade_hooks": {"after_node": "/h.yml"}}'],
        ["-e", '{"emqx_upgrade_hooks": {"after_node": "/h.yml"}}'],
    ),
    "files and settings in their order": (
        ["-e", "emqx_upgrade_canary=1", "-e", "@/x/fleet.yml", "-e", "emqx_upgrade_canary=2"],
        ["-e", "emqx_upgrade_canary=1", "-e", "@/x/fleet.yml", "-e", "emqx_upgrade_canary=2"],
    ),
    "a variable of somebody else": (
        ["-e", f"ansible_become_password={SECRET} site={SECRET}"],
        ["-e", f"ansible_become_password={LEFT_OUT}", "-e", f"site={LEFT_OUT}"],
    ),
    "the same as JSON": (
        ["-e", f'{{"ansible_become_password": "{SECRET}", "emqx_upgrade_version": "4.4.19"}}'],
        ["-e", f"ansible_become_password={LEFT_OUT}", "-e", "emqx_upgrade_version=4.4.19"],
    ),
    "a URL with user and password": (
        ["-e", f"emqx_upgrade_packages=https://me:{SECRET}@host/emqx.zip#sha256=ab"],
        ["-e", f"emqx_upgrade_packages={LEFT_OUT}"],
    ),
    "a URL with a token, in a list": (
        ["-e", f'{{"emqx_upgrade_packages": ["a", "https://host/emqx.zip?X-Amz-Signature={SECRET}"]}}'],
        ["-e", f"emqx_upgrade_packages={LEFT_OUT}"],
    ),
    "a URL without": (
        ["-e", "emqx_upgrade_packages=https://host/emqx.zip#sha256:ab"],
        ["-e", "emqx_upgrade_packages=https://host/emqx.zip#sha256:ab"],
    ),
    "a name that says it": (["-e", f"emqx_upgrade_password={SECRET}"], ["-e", f"emqx_upgrade_password={LEFT_OUT}"]),
    "a name within that says it": (
        ["-e", f'{{"emqx_upgrade_hooks": {{"api_token": "{SECRET}"}}}}'],
        ["-e", f"emqx_upgrade_hooks={LEFT_OUT}"],
    ),
    "what cannot be read": (["-e", f"{{x: !vault {SECRET}}}"], ["-e", f"further_variables={LEFT_OUT}"]),
    "a list of nothing": (["-e", f"[{SECRET}]"], ["-e", f"further_variables={LEFT_OUT}"]),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_same_command(case: str) -> None:
    options, expected = TABLE[case]
    found = words(*options)
    assert found == expected
    assert SECRET not in " ".join(found)


@pytest.mark.parametrize("case", [case for case, (options, _expected) in TABLE.items() if SECRET not in str(options)])
def test_it_is_read_as_the_same(case: str) -> None:
    """Nothing is lost or changed on the way; what was written in another form comes to the same."""
    options, _expected = TABLE[case]
    before = parsed("-i", "/etc/hosts.yml", PLAYBOOK, *options)
    after = parsed(*shlex.split(again(before, DEFAULTS))[1:])
    for given in (before, after):
        given["tags"], given["skip_tags"] = sorted(given["tags"]), sorted(given["skip_tags"])
        given.pop("extra_vars")
    assert after == before


def test_several_inventories_and_playbooks() -> None:
    line = again(parsed("-i", "host1,host2,", "-i", "/my hosts.yml", "first.yml", "second.yml"), DEFAULTS)
    expected = ["ansible-playbook", "-i", "host1,host2,", "-i", "/my hosts.yml", "first.yml", "second.yml"]
    assert shlex.split(line) == expected


def test_an_inventory_with_a_secret() -> None:
    assert SECRET not in again({"inventory": [f"http://me:{SECRET}@host/inventory"], "args": [PLAYBOOK]})


def test_another_playbook() -> None:
    """Tags and check mode were those of the roll-out; of the settings only those that mean the same are repeated."""
    given = parsed(
        *(
            "-i",
            "/i",
            PLAYBOOK,
            "--limit",
            "web",
            "-t",
            "switch",
            "--skip-tags",
            "x",
            "-C",
            "-D",
            "-b",
            "-J",
            "-f",
            "50",
        ),
        *("-e", "emqx_upgrade_version=4.4.19 emqx_upgrade_timeout=900", "-e", "@/x.yml", "-e", f"site={SECRET}"),
    )
    line = another("emqx.fleet.rollback", given, ("emqx_upgrade_timeout",), DEFAULTS)
    assert shlex.split(line) == [
        "ansible-playbook", "-i", "/i", "emqx.fleet.rollback", "--limit", "web",
        "-e", "emqx_upgrade_timeout=900", "-e", "@/x.yml", "-e", f"site={LEFT_OUT}",
        "--forks=50", "--become", "--ask-vault-pass",
    ]  # fmt: skip


def test_options_that_are_not_there() -> None:
    """Whoever calls Ansible by other means has not all of them."""
    assert again({}) == "ansible-playbook"
    assert again({"args": [PLAYBOOK], "tags": None, "subset": None}) == f"ansible-playbook {PLAYBOOK}"


def test_what_the_configuration_says_is_not_repeated() -> None:
    given = parsed("-i", "/i", PLAYBOOK)
    assert again(given, configured()) == f"ansible-playbook -i /i {PLAYBOOK}"
    assert again(dict(given, forks=given["forks"] + 1), configured()).endswith(f" --forks={given['forks'] + 1}")
