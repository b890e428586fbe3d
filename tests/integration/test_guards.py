# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The fault suite can fail: with a guard taken out of the collection, the cases that are about it are red.

A guard is a line of the code that runs on the node. It is changed on the test host alone, never in the checkout.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from . import cases
from .conftest import Pool
from .node import COLLECTION, LIBRARY, ROOT, Node

CASES = {case.name: case for case in cases.load()}
PLUGINS = "plugins/module_utils"


@dataclass(frozen=True)
class Guard:
    """``text``, which is once in ``file``, becomes ``without``; each of ``red`` must fail then."""

    name: str
    file: str
    text: str
    without: str
    red: tuple[str, ...]


def guard(name: str, file: str, text: str, without: str, *red: str) -> Guard:
    """A guard and its cases."""
    return Guard(name, f"{PLUGINS}/{file}", text, without, red)


RELEASE, STEPS, BOOT, PREPARATION, COMMAND = "release.py", "steps.py", "boot.py", "preparation.py", "command.py"
GUARDS = (
    # Before a switch
    guard(
        "processes-in-old-code",
        RELEASE,
        'while self._now["old_code"] != []:',
        "while False:",
        "second-switch-refused",
        "second-switch-waits",
        "two-hops",
    ),
    guard("forced", RELEASE, "if self.request.force_switch:", "if False:", "second-switch-forced"),
    guard(
        "relup-leads-there", RELEASE, "if not covered:", "if False:", "unpacked-without-relup", "relup-lacks-running"
    ),
    guard(
        "all-writable",
        RELEASE,
        "if locked:",
        "if False:",
        "vars-readonly-mode",
        "vars-immutable",
        "bin-file-of-root",
        "release-folder-of-root",
        "releases-not-writable",
        "vars-readonly-mount",
        "vars-readonly-at-commit",
        "table-of-root",
    ),
    guard(
        "can-be-committed",
        RELEASE,
        "if lacking:",
        "if False:",
        "bin-copy-gone",
        "bin-copy-gone-before-commit",
        "no-dot-erlang-and-package-gone",
    ),
    guard(
        "own-check-of-the-node",
        RELEASE,
        'if check is not None and not check["passed"]:',
        "if False:",
        "truncated-release-without-package",
    ),
    guard("no-patches", RELEASE, 'if paths and "patches" not in self.request.accept:', "if False:", "patch-in-force"),
    guard(
        "patches-accepted", RELEASE, 'if paths and "patches" not in self.request.accept:', "if paths:", "patch-accepted"
    ),
    guard(
        "room-for-a-commit",
        RELEASE,
        "preparation.check_commit_space(self.installation, version)",
        "pass",
        "full-before-switch",
        "full-before-commit",
    ),
    guard("direction", STEPS, "if allow_downgrade or position.running is None:", "if True:", "downgrade-refused"),
    guard(
        "direction-allowed",
        STEPS,
        "if allow_downgrade or position.running is None:",
        "if position.running is None:",
        "downgrade-allowed",
        "second-switch-waits",
    ),
    guard("same-line", STEPS, "if not versions.same_series(running, wanted):", "if False:", "other-line"),
    # Before an unpack
    guard(
        "one-package",
        PREPARATION,
        "elif link is not None or len(found) > 1:",
        "elif False:",
        "two-packages",
        "longer-version-beside",
        "other-edition-beside",
        "stranger-beside-staged",
    ),
    guard(
        "sound-package",
        PREPARATION,
        "    if problems and found",
        "    if False and found",
        "truncated-package",
        "bad-checksum",
        "wrong-top-folder",
        "path-out-of-package",
        "no-relup",
        "package-lacks-bin-file",
        "longer-version-alone",
        "garbage-package",
        "empty-package",
    ),
    guard(
        "version-inside",
        PREPARATION,
        'if found["version"] != version:',
        "if False:",
        "staged-package-of-another-version",
    ),
    guard("package-readable", PREPARATION, "if unreadable_for(user, [path]):", "if False:", "package-unreadable"),
    guard(
        "room-for-an-unpack",
        PREPARATION,
        "if free < size:",
        "if False:",
        "root-nearly-full",
        "tmp-nearly-full",
        "root-full",
        "tmp-full",
    ),
    guard(
        "leftovers-of-strangers",
        "unpack_trees.py",
        "            new = set(trees()) - self._before\n",
        "            new = set(trees())\n",
        "strangers-leftover-stays",
    ),
    guard(
        "what-an-unpack-leaves",
        PREPARATION,
        "        os.unlink(path)\n        if path not in removed:",
        "        if path not in removed:",
        "stale-tarball-beside",
    ),
    guard(
        "other-file-system",
        PREPARATION,
        "if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):",
        "if True:",
        "staged-elsewhere",
    ),
    guard(
        "some-package",
        PREPARATION,
        "    if not found:",
        "    if False:",
        "package-missing",
        "stale-tarball-alone",
        "folder-and-package-gone",
    ),
    guard("staged-package", PREPARATION, "if not os.path.isfile(staged):", "if False:", "staged-package-missing"),
    guard("a-version", "module_support.py", "            versions.parse(version)", "            pass", "no-version"),
    # What an earlier one left
    guard(
        "torn-release",
        STEPS,
        'if position.folder_gone or (status == "unpacked" and position.damaged):',
        "if position.folder_gone:",
        "truncated-release",
        "truncated-bin-copy",
        "no-dot-erlang-gone",
    ),
    guard("folder-gone", STEPS, "if position.folder_gone or (", "if (", "folder-gone"),
    guard("folder-to-uninstall", RELEASE, "if not os.path.isdir(folder):", "if False:", "folder-gone-absent"),
    guard(
        "torn-copies-of-before",
        RELEASE,
        'if position.status(version) in (None, "unpacked") and version != position.boot["version"]:',
        "if False:",
        "disk-fills-up-early",
    ),
    # What a restart boots
    guard(
        "repair",
        STEPS,
        "return [Step(REPAIR, version)]",
        "return []",
        "vars-not-appended",
        "torn-cuttlefish",
        "start-erl-old",
        "vars-was-readonly",
        "command-killed-while-it-copies",
        "killed-while-it-copies",
    ),
    guard(
        "repair-that-cannot-be-made",
        BOOT,
        'except OSError as error:\n        raise FleetError(\n            "The commit of',
        'except ZeroDivisionError as error:\n        raise FleetError(\n            "The commit of',
        "full-before-repair",
        "vars-readonly-at-repair",
    ),
    guard("last-version-booted", BOOT, "if version != expected:", "if False:", "vars-not-appended"),
    guard("start-erl", BOOT, "if start_version != expected:", "if False:", "start-erl-old"),
    guard(
        "files-in-bin",
        BOOT,
        "problems += _file_problems(installation, expected)",
        "pass",
        "torn-nodetool",
        "empty-emqx",
        "no-dot-erlang-missing",
        "torn-emqx-ctl",
        "torn-install-upgrade-escript",
        "torn-emqx",
    ),
    guard("cannot-be-repaired", STEPS, "if hopeless:", "if False:", "patch-stale"),
    guard(
        "code-of-another-version", STEPS, 'if problem["code"] == "running":', "if False:", "half-commit-and-restarted"
    ),
    guard(
        "node-that-is-silent",
        RELEASE,
        "if wanted and self.command.hold is not None and problems",
        "if False and self.command.hold is not None and problems",
        "torn-and-stopped",
        "half-commit-and-stopped",
        "killed-while-it-copies-and-stopped",
        "vars-half-appended",
    ),
    # Uninstalling
    guard(
        "what-is-needed-stays",
        STEPS,
        "    if reason is None:",
        "    if True:",
        "uninstall-running",
        "uninstall-after-half-commit",
        "uninstall-what-boots",
    ),
    guard("what-nobody-needs-goes", STEPS, "    if reason is None:", "    if False:", "uninstall-old"),
    guard(
        "nothing-to-uninstall",
        STEPS,
        "    if status is None:\n        return []",
        "    if False:\n        return []",
        "uninstall-unknown",
    ),
    guard("doubtful-boot", STEPS, "if doubtful:", "if False:", "uninstall-with-torn-file"),
    # Nodes that do not answer
    guard(
        "running-at-all",
        RELEASE,
        'if self._now["state"] == "running":\n            return\n        self._repair_silent_node()',
        "if True:\n            return\n        self._repair_silent_node()",
        "node-stopped",
    ),
    guard(
        "silent-is-not-stopped",
        RELEASE,
        'if state == "unreachable":',
        "if False:",
        "node-frozen",
        "wrong-cookie",
        "wrong-node-name",
    ),
    guard(
        "silent-after-a-command",
        RELEASE,
        "elif unclear:",
        "elif False:",
        "killed-while-it-unpacks",
        "killed-while-it-switches",
    ),
    # Commands
    guard(
        "exit-codes-not-believed",
        RELEASE,
        "if reached and not unclear and not result.timed_out:",
        "if result.rc == 0:",
        "killed-switched",
        "killed-unpacked",
        "killed-committed",
        "command-killed-while-node-switches",
    ),
    guard(
        "state-looked-at",
        RELEASE,
        "if reached and not unclear and not result.timed_out:",
        "if True:",
        "slow-switch",
        "endless-switch",
        "frozen-while-it-switches",
        "killed-while-it-commits",
        "relup-crashes",
        "tmp-fills-up",
        "disk-fills-up",
    ),
    guard(
        "class-of-a-failure",
        RELEASE,
        "return CHANGED if self._is_changed() else REFUSED",
        "return CHANGED",
        "killed-unpack-begins",
        "killed-node-unpacks",
        "killed-switch-begins",
        "killed-commit-begins",
    ),
    guard(
        "table-as-it-is-now",
        RELEASE,
        '"releases": after.releases,',
        '"releases": before["releases"],',
        "uninstall-old",
        "killed-switched",
    ),
    guard(
        "clients-told",
        RELEASE,
        "        clients_before, clients_after = comparable(before, self._now)",
        "        clients_before, clients_after = comparable(before, before)",
        "switch-drops-clients",
    ),
    guard(
        "not-killed-at-the-time-out", COMMAND, "self.timeout, kill=False)", "self.timeout, kill=True)", "slow-commit"
    ),
    guard(
        "lock-outlives-the-module",
        COMMAND,
        "pass_fds=() if self.hold is None else (self.hold,),",
        "pass_fds=(),",
        "module-killed-while-node-switches",
        "module-killed-while-it-copies",
    ),
    guard(
        "one-at-a-time",
        "state_dir.py",
        "while not _try_lock(handle):",
        "while False:",
        "second-run-refused",
        "second-run-waits",
    ),
    guard(
        "lost-connection",
        "module_support.py",
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
        "pass",
        "connection-lost",
    ),
    guard(
        "user-of-the-broker",
        COMMAND,
        'return os.geteuid() == 0 and self.user != "root"',
        'return False and self.user != "root"',
        "broker-of-another-user",
    ),
    guard(
        "files-are-the-brokers",
        "state_dir.py",
        "os.chown(path, account.uid, account.gid)",
        "pass",
        "runner-user-and-root",
        "package-layout",
    ),
    guard(
        "who-may",
        "state_dir.py",
        'except OSError as error:\n            raise FleetError(\n                "The directory',
        'except ZeroDivisionError as error:\n            raise FleetError(\n                "The directory',
        "unprivileged-user",
    ),
    guard(
        "already-that-user",
        "access.py",
        'if os.geteuid() != 0 or user == "root":',
        'if user == "root":',
        "runner-user-itself",
    ),
    guard(
        "links",
        "installation.py",
        "self.executable = os.path.realpath(",
        "self.executable = os.path.abspath(",
        "package-layout",
    ),
    guard(
        "cookie-masked",
        COMMAND,
        "text = _COOKIE_ARGUMENT.sub(",
        "return text.splitlines()[-lines:] or _COOKIE_ARGUMENT.sub(",
        "cookie-in-a-crash",
    ),
)


def test_guards_and_cases_are_there() -> None:
    assert CASES.keys() >= cases.REPEATED
    for each in GUARDS:
        assert _mutated((ROOT / each.file).read_text(encoding="utf-8"), each)
        assert set(each.red) <= CASES.keys(), each.name


def _mutated(text: str, each: Guard) -> str:
    assert text.count(each.text) == 1, f"{each.name}: {each.text!r} is {text.count(each.text)} times in {each.file}"
    return text.replace(each.text, each.without)


def _survivors(each: Guard, node: Node) -> list[str]:
    """The cases that pass although the guard is gone."""
    path = node.host.path(f"{LIBRARY}/ansible_collections/emqx/fleet/{each.file}")
    whole = (COLLECTION / each.file).read_text(encoding="utf-8")
    found = []
    path.write_text(_mutated(whole, each), encoding="utf-8")
    try:
        for name in each.red:
            try:
                cases.run(CASES[name], node)
            except AssertionError:
                continue
            found.append(name)
    finally:
        path.write_text(whole, encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def work(pool: Pool, request: pytest.FixtureRequest) -> Pool:
    """All guards that were selected, under way side by side."""
    selected = {item.callspec.params.get("each") for item in request.session.items if hasattr(item, "callspec")}
    for each in GUARDS:
        if each in selected:
            pool.submit(each.name, functools.partial(_survivors, each))
    return pool


@pytest.mark.soak
@pytest.mark.parametrize("each", GUARDS, ids=lambda each: each.name)
def test_without_the_guard_its_cases_are_red(work: Pool, each: Guard) -> None:
    assert work.outcome(each.name) == [], "they pass without the guard"
