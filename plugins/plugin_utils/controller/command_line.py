# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that goes on with a run, from the one that began it. Pure functions, but for :func:`configured`.

It does the same thing, and shows no secret: files of variables, vaults and keys are repeated by their names, and of
what was written out on the command line only settings of this collection, unless they may hold a secret. Where a value
is left out, its name stands there with :data:`LEFT_OUT`, which no playbook takes for a value by mistake.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.splitter import parse_kv
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import may_hold_secret, names_secret

#: What stands in the place of a value that is not repeated.
LEFT_OUT = "<as before>"
_PREFIX = "emqx_upgrade_"
#: Options of ``ansible-playbook`` with a value, by their names in ``context.CLIARGS``.
_WITH_VALUE = {
    "remote_user": "--user",
    "private_key_file": "--private-key",
    "connection": "--connection",
    "timeout": "--timeout",
    "ssh_common_args": "--ssh-common-args",
    "ssh_extra_args": "--ssh-extra-args",
    "sftp_extra_args": "--sftp-extra-args",
    "scp_extra_args": "--scp-extra-args",
    "connection_password_file": "--connection-password-file",
    "become_method": "--become-method",
    "become_user": "--become-user",
    "become_password_file": "--become-password-file",
    "forks": "--forks",
    "module_path": "--module-path",
}
_SWITCHES = {
    "ask_pass": "--ask-pass",
    "become": "--become",
    "become_ask_pass": "--ask-become-pass",
    "ask_vault_pass": "--ask-vault-pass",
    "force_handlers": "--force-handlers",
}
#: Those that belong to the very command and not to every one on the same fleet.
_SWITCHES_OF_THE_SAME = {"check": "--check", "diff": "--diff"}


def again(given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """The same command once more.

    ``given``: ``context.CLIARGS``, the options of ``ansible-playbook`` as Ansible has read them. ``defaults``: values
    by the same names that need not be said, as those of the configuration.
    """
    words = [*_begin(given), *_strings(given.get("args"))]
    words += _common(given, defaults or {}, None)
    tags = [tag for tag in _strings(given.get("tags")) if tag != "all"]
    for option, names in (("--tags", tags), ("--skip-tags", _strings(given.get("skip_tags")))):
        if names:
            words.append(f"{option}={','.join(sorted(names))}")
    words += [option for name, option in _SWITCHES_OF_THE_SAME.items() if given.get(name)]
    return _shown(words)


def another(
    playbook: str,
    given: Mapping[str, Any],
    settings: Container[str],
    defaults: Mapping[str, Any] | None = None,
) -> str:
    """Another playbook of this collection on the same fleet, in the same way.

    ``settings`` are the names of those settings that mean the same there. For the rest see :func:`again`.
    """
    return _shown([*_begin(given), playbook, *_common(given, defaults or {}, settings)])


def configured() -> dict[str, Any]:
    """What the options are by Ansible's configuration, by their names in ``context.CLIARGS``."""
    return {
        "remote_user": constants.DEFAULT_REMOTE_USER,
        "private_key_file": constants.DEFAULT_PRIVATE_KEY_FILE,
        "connection": constants.DEFAULT_TRANSPORT,
        "forks": constants.DEFAULT_FORKS,
        "become": constants.DEFAULT_BECOME,
        "become_method": constants.DEFAULT_BECOME_METHOD,
        "become_user": constants.DEFAULT_BECOME_USER,
        "become_ask_pass": constants.DEFAULT_BECOME_ASK_PASS,
        "become_password_file": constants.BECOME_PASSWORD_FILE,
        "ask_pass": constants.DEFAULT_ASK_PASS,
        "ask_vault_pass": constants.DEFAULT_ASK_VAULT_PASS,
        "connection_password_file": constants.CONNECTION_PASSWORD_FILE,
        "force_handlers": constants.DEFAULT_FORCE_HANDLERS,
    }


def _begin(given: Mapping[str, Any]) -> list[str]:
    words = ["ansible-playbook"]
    for source in _strings(given.get("inventory")):
        words += ["-i", LEFT_OUT if may_hold_secret(source) else source]
    return words


def _common(given: Mapping[str, Any], defaults: Mapping[str, Any], settings: Container[str] | None) -> list[str]:
    words: list[str] = []
    if given.get("subset"):
        words += ["--limit", str(given["subset"])]
    # In their order, since a later one wins over an earlier one.
    for written in _strings(given.get("extra_vars")):
        words += _variables(written, settings)
    for identity in _strings(given.get("vault_ids")):
        words += ["--vault-id", identity]
    for path in _strings(given.get("vault_password_files")):
        words += ["--vault-password-file", path]
    for name, option in _WITH_VALUE.items():
        value = given.get(name)
        if value is None or value == "" or value == defaults.get(name):
            continue
        text = ":".join(_strings(value)) if isinstance(value, (list, tuple)) else str(value)
        # With a = of its own, for ssh's options begin with a dash.
        words.append(f"{option}={LEFT_OUT if may_hold_secret(text) else text}")
    return words + [option for name, option in _SWITCHES.items() if given.get(name) and not defaults.get(name)]


def _variables(written: str, settings: Container[str] | None) -> list[str]:
    """The options that say what one ``-e`` said."""
    if written.startswith("@"):
        return ["-e", written]
    words = []
    for name, value in _parsed(written).items():
        if name.startswith(_PREFIX) and settings is not None and name not in settings:
            continue
        if not name.startswith(_PREFIX) or names_secret(name) or may_hold_secret(value):
            words += ["-e", f"{name}={LEFT_OUT}"]
        elif isinstance(value, str) and not set(value) & set(" \t\n\"'\\{}[]="):
            words += ["-e", f"{name}={value}"]
        else:
            words += ["-e", json.dumps({name: value})]
    return words


def _parsed(written: str) -> dict[str, Any]:
    """The variables that one ``-e`` sets. Of one that cannot be read here, only that it was there may be shown."""
    try:
        if written.startswith(("{", "[")):
            found = yaml.safe_load(written)
        else:
            found = parse_kv(written)
        json.dumps(found)
    except (AnsibleError, yaml.YAMLError, TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        return {"further_variables": None}
    return {str(name): value for name, value in found.items()}


def _strings(values: Iterable[Any] | None) -> Sequence[str]:
    if isinstance(values, str):
        return [values]
    return [str(value) for value in values or ()]


def _shown(words: Iterable[str]) -> str:
    return shlex.join(words)
