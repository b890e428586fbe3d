# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing a release of one node into a state, step by step, believing nothing but what the node says afterwards.

This is the seam to EMQX's release handler: what asks for a state does not know how a node gets there.
"""

import contextlib
import os
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils import (
    boot,
    facts,
    package_files,
    preparation,
    release_files,
    steps,
    upgrade_script,
)
from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.access import unwritable_for
from ansible_collections.emqx.fleet.plugins.module_utils.clients import comparable
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult, EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.errors import (
    CHANGED,
    NOT_STARTED,
    REFUSED,
    UNKNOWN,
    FleetError,
)
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation
from ansible_collections.emqx.fleet.plugins.module_utils.node_log import LogMark
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.plugins.module_utils.steps import Position, Step

_SETTLE_POLL_SECONDS = 2.0
# A way is at most: repair of the table, uninstall, unpack, uninstall and unpack again, switch, commit, repair.
_MOST_STEPS = 9


class Request(NamedTuple):
    """What is asked for; see the documentation of ``emqx_release`` for each word."""

    version: str
    state: str = "permanent"
    package: Optional[str] = None
    allow_downgrade: bool = False
    force_switch: bool = False
    accept: Sequence[str] = ()
    settle_timeout: float = 120.0
    lock_timeout: float = 0.0


class ReleaseManager:
    """Works on one installation. ``collect`` gives NodeFacts, ``sleep`` waits; both can be replaced by tests."""

    def __init__(
        self,
        installation: Installation,
        command: EmqxCommand,
        request: Request,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.installation = installation
        self.command = command
        self.request = request
        self.sleep = sleep
        self.state_dir = StateDir(installation.state_dir, command.user)
        self.staging_dir = package_files.folder(installation.state_dir)
        self.actions = []  # type: List[Dict[str, Any]]
        self.warnings = []  # type: List[str]
        self.log_errors = []  # type: List[str]
        self._before = None  # type: Optional[Dict[str, Any]]
        self._now = {}  # type: Dict[str, Any]
        self._read_position = None  # type: Optional[Position]
        # What the last command that changed something said of a failure.
        self._last_word = ""
        # Of the last question that the node did not answer.
        self._last_output = []  # type: List[str]
        self._last_reason = ""

    # What the module calls

    def preview(self) -> Dict[str, Any]:
        """Check mode: the exact steps from where the node is, and where they lead; nothing is changed or locked."""
        self._read()
        self._require_running()
        position = self._position()
        planned = self._next_steps(position)
        self.actions = [{"action": step.action, "version": step.version} for step in planned]
        return self._result(steps.predicted(position, planned))

    def ensure(self) -> Dict[str, Any]:
        """Bring the release into the state asked for. Raises FleetError with the node's state in ``details``."""
        what = "{0} {1}".format(self.request.state, self.request.version)
        try:
            with self.state_dir.locked(what, self.request.lock_timeout) as handle:
                self.command.hold, self.command.meanwhile = handle, self.state_dir.keep_reserved
                try:
                    preparation.remove_own_links(self.installation, self.staging_dir, self.request.package)
                    self._converge()
                except FleetError as error:
                    # A guard that says no after a step has been done knows nothing of that step.
                    if error.failure_class in (NOT_STARTED, REFUSED) and self._is_changed():
                        error.failure_class = CHANGED
                    self._record(what, error)
                    raise
                else:
                    if self.actions:
                        self._record(what, None)
                finally:
                    self.command.hold, self.command.meanwhile = None, None
        except FleetError as error:
            error.details.update(self._result(self._position() if self._now else None))
            raise
        return self._result(self._position())

    # The way there

    def _converge(self) -> None:
        self._read()
        self._require_running()
        done = []  # type: List[Step]
        for _turn in range(_MOST_STEPS):
            planned = self._next_steps(self._position())
            if not planned:
                self._check_what_is_staged()
                return
            step = planned[0]
            if done.count(step) >= 2 or (done and done[-1] == step):
                raise FleetError(
                    "{0} was done, and the node still asks for it{1}".format(
                        step, _quoted(" ".join(filter(None, [_sentence(self._last_word), self._where_it_is()])))
                    ),
                    failure_class=self._class_of_failure(),
                    hint="See the broker's log in {0}; mend what is named here and run the same task again.".format(
                        self.installation.log_dir
                    ),
                )
            self._perform(step)
            done.append(step)
        raise FleetError(
            "The node did not come to {0} {1} within {2} steps: {3}".format(
                self.request.version, self.request.state, _MOST_STEPS, self._where_it_is()
            ),
            failure_class=CHANGED,
            hint="See the broker's log in {0}; mend what is named here and run the same task again.".format(
                self.installation.log_dir
            ),
        )

    def _next_steps(self, position: Position) -> List[Step]:
        request = self.request
        return steps.next_steps(position, request.version, request.state, request.allow_downgrade, request.accept)

    def _perform(self, step: Step) -> None:
        handler = {
            steps.UNPACK: self._unpack,
            steps.SWITCH: self._switch,
            steps.COMMIT: self._commit,
            steps.REPAIR: self._repair,
            steps.REPAIR_TABLE: self._repair_table,
            steps.UNINSTALL: self._uninstall,
        }[step.action]
        entry = {"action": step.action, "version": step.version}  # type: Dict[str, Any]
        self.actions.append(entry)
        started = time.time()
        entry["at"] = round(started, 3)
        try:
            handler(step.version, entry)
        except FleetError:
            if "command" not in entry and "files" not in entry:
                # A guard said no before anything of this step was done.
                self.actions.remove(entry)
            raise
        finally:
            entry["seconds"] = round(time.time() - started, 3)

    def _unpack(self, version: str, entry: Dict[str, Any]) -> None:
        with self._package_to_unpack(version) as package:
            if self.request.state not in ("staged", "unpacked"):
                self._require_way(version, package)
                self._require_no_patches(version)
            self._require_writable(version)
            preparation.check_space(self.installation, package)
            entry["package"] = package["name"]
            with preparation.leftovers_removed(self.installation, version, self.command) as removed:
                position = self._position()
                if position.status(version) in (None, "unpacked") and version != position.boot["version"]:
                    removed.extend(preparation.remove_old_copies(self.installation, version))
                result = self._change(entry, "unpack", version)
            entry["removed"] = removed
            self._read()
            self._require(result, self._position().status(version) is not None, "unpack", version)

    def _check_what_is_staged(self) -> None:
        """Where the switch unpacks, a package is all that can be staged; it is checked as an unpack would."""
        position = self._position()
        version = self.request.version
        if self.request.state == "staged" and position.unpacks_in_switch and position.status(version) is None:
            with self._package_to_unpack(version) as package:
                preparation.check_space(self.installation, package)
            self._require_writable(version)

    @contextlib.contextmanager
    def _package_to_unpack(self, version: str) -> Iterator[Dict[str, Any]]:
        """The one sound package of ``version``, where the command finds it as long as this lasts."""
        with preparation.package_in_place(self.installation, version, self.request.package, self.staging_dir) as path:
            yield preparation.check_package(self.installation, path, version, self.command.user)

    def _switch(self, version: str, entry: Dict[str, Any]) -> None:
        position = self._position()
        if position.unpacks_in_switch and position.status(version) is None:
            with self._package_to_unpack(version) as package:
                self._require_way(version, package)
                self._require_no_patches(version)
                self._require_writable(version)
                preparation.check_space(self.installation, package)
                entry["package"] = package["name"]
                with preparation.leftovers_removed(self.installation, version, self.command) as removed:
                    removed.extend(preparation.remove_old_copies(self.installation, version))
                    self._change_what_runs(version, entry)
                entry["removed"] = removed
                return
        self._require_committable(version)
        self._require_way(version, None)
        self._require_dry_check(version)
        self._require_no_patches(version)
        self._change_what_runs(version, entry)

    def _change_what_runs(self, version: str, entry: Dict[str, Any]) -> None:
        """The switch itself, once no process runs old code any more."""
        entry["settled_after"] = self._settle()
        verb = "upgrade" if self._is_newer(version) else "downgrade"
        mark = LogMark(self.installation, self.command.secrets)
        before = self._now
        result = self._change(entry, verb, "--no-permanent", version)
        self._read(old_code=False)
        entry["clients_before"], entry["clients_after"] = comparable(before, self._now)
        self.log_errors += mark.errors()
        self._require(result, self._now.get("running") == version, verb, version)

    def _commit(self, version: str, entry: Dict[str, Any]) -> None:
        self._require_committable(version)
        result = self._change(entry, "install", version)
        self._read(old_code=False)
        self._require(result, self._now.get("permanent") == version, "install", version)

    def _repair(self, version: str, entry: Dict[str, Any]) -> None:
        try:
            entry["files"] = boot.complete_commit(self.installation, version)
        finally:
            self._read()

    def _repair_table(self, version: str, entry: Dict[str, Any]) -> None:
        entry["files"] = boot.repair_table(self.installation, version, self._now["pid"])
        self._read()

    def _uninstall(self, version: str, entry: Dict[str, Any]) -> None:
        if self.request.state != "absent":
            # Only to unpack it again: what is there stays for as long as there is nothing to put in its place.
            with self._package_to_unpack(version):
                pass
        folder = self.installation.release_dir(version)
        if not os.path.isdir(folder):
            # The release handler refuses to forget a release whose folder is gone.
            os.mkdir(folder, 0o755)
            self.state_dir.give(folder)
            entry["files"] = [folder]
        result = self._change(entry, "uninstall", version)
        self._read()
        self._require(result, self._position().status(version) is None, "uninstall", version)

    # What must hold before a step

    def _require_running(self) -> None:
        if self._now["state"] == "running":
            return
        self._repair_silent_node()
        state = self._now["state"]
        if state == "running":
            return
        if state == "unreachable":
            raise FleetError(
                "The broker's process {0} is there, but it does not answer the emqx command{1}".format(
                    self._now["pid"], _quoted(self._last_reason)
                ),
                hint="The command's node name or cookie may differ from the broker's, or the broker hangs. With EMQX_* "
                "settings in the broker's environment, run as root, or give them in the task's 'environment'.",
                output=self._last_output,
            )
        raise FleetError(
            "The node is stopped; releases can be changed only on a running node.",
            failure_class=CHANGED if self.actions else NOT_STARTED,
            hint="Start it (emqx start) and run the same task again; a restart boots {0}.".format(
                self._now["boot"]["version"]
            ),
            output=self._last_output,
        )

    def _repair_silent_node(self) -> None:
        """A commit that was killed may leave a node that cannot start, or whose commands all fail.

        Its files can be completed without it.
        """
        version = self.request.version
        wanted = self.request.state == "permanent" and version in (
            self._now["permanent"],
            self._now["boot"]["version"],
        )
        lost = [problem for problem in self._now["boot"]["problems"] if problem["code"] == boot.RELEASE_ROW]
        if wanted and self.command.hold is not None and lost and lost[0]["repairable"]:
            self._perform(Step(steps.REPAIR_TABLE, self._now["boot"]["version"]))
        problems = self._now["boot"]["problems"]
        wanted = self.request.state == "permanent" and self._now["permanent"] == version
        if wanted and self.command.hold is not None and problems and all(problem["repairable"] for problem in problems):
            self._perform(Step(steps.REPAIR, version))

    def _require_way(self, version: str, package: Optional[Dict[str, Any]]) -> None:
        """A relup with the hop from the running version; the release handler's own check passes without any relup."""
        running = self._now["running"]
        if running == version or running is None:
            return
        if package is not None:
            relup = package["relup"] or {"upgrade_from": [], "downgrade_to": []}
            here = release_files.read_relup(self.installation, running)
            covered = running in relup["upgrade_from"] or (here is not None and version in here.downgrade_to)
            listed = relup["upgrade_from"]
        else:
            covered = release_files.relup_leads(self.installation, running, version)
            found = release_files.read_relup(self.installation, version)
            listed = found.upgrade_from if found else []
        if not covered:
            raise FleetError(
                "There are no instructions to switch from {0} to {1}: the relup of {1} lists {2}.".format(
                    running, version, ", ".join(listed) or "no version"
                ),
                failure_class=REFUSED if self.actions[1:] else NOT_STARTED,
                hint="Upgrade to one of these versions first, or use a package of {0} with a relup for {1}.".format(
                    version, running
                ),
            )

    def _require_writable(self, version: str) -> None:
        paths = facts.needed_paths(self.installation) + release_files.own_paths(self.installation, version)
        locked = unwritable_for(self.command.user, paths)
        if locked:
            raise FleetError(
                "The broker's user {0} cannot write to {1}.".format(self.command.user, ", ".join(locked)),
                failure_class=REFUSED if self.actions[1:] else NOT_STARTED,
                hint="Files left by a command that root ran? Give them to {0}; a read-only file system or an immutable "
                "file must be made writable.".format(self.command.user),
            )

    def _require_committable(self, version: str) -> None:
        """A commit that stops half-way boots the wrong version or none, so what it needs is checked before a switch."""
        lacking = boot.commit_obstacles(self.installation, version)
        if lacking:
            raise FleetError(
                "{0} could not be made permanent, so it is not switched to: {1} missing or empty.".format(
                    version, ", ".join(lacking) + (" is" if len(lacking) == 1 else " are")
                ),
                failure_class=REFUSED,
                hint="Uninstall {0} (state: absent) and unpack a complete package.".format(version),
            )
        self._require_writable(version)
        preparation.check_commit_space(self.installation, version)

    def _require_dry_check(self, version: str) -> None:
        check = self._now.get("dry_check")
        if check is not None and not check["passed"]:
            if "dry_check" in self.request.accept:
                self.warnings.append(
                    "The node's own check refuses {0}, which was accepted: {1}".format(version, check["message"])
                )
                return
            raise FleetError(
                "The node's own check refuses {0}: {1}".format(version, check["message"]),
                failure_class=REFUSED,
                hint="Uninstall {0} (state: absent) and unpack a sound package of it; or try it all the same with "
                "accept: [dry_check], and emqx checks once more.".format(version),
            )

    def _require_no_patches(self, version: str) -> None:
        paths = [patch["path"] for patch in self._now["patches"]]
        if paths and "patches" not in self.request.accept:
            raise FleetError(
                "There are patches that the next restart would load over {0}: {1}.".format(version, ", ".join(paths)),
                failure_class=REFUSED,
                hint=steps.WAYS_OUT["stale_patch"],
            )

    def _settle(self) -> float:
        """Wait until no process runs code from before the last switch: a switch now would kill it. Seconds waited."""
        started = time.time()
        seen = []  # type: List[str]
        if self._now["old_code"] is None:
            self._read()
        while self._now["old_code"] != []:
            count = _old_code_text(self._now["old_code"])
            seen.append(count)
            if self.request.force_switch:
                self.warnings.append(
                    "Switched although processes still ran old code: {0}; they were killed.".format(count)
                )
                break
            if time.time() - started >= self.request.settle_timeout:
                raise FleetError(
                    "After {0:.0f} s there are still processes that run old code ({1}; at first {2}); a switch now "
                    "would disconnect their clients.".format(time.time() - started, count, seen[0]),
                    failure_class=REFUSED,
                    hint="Wait and run the same task again, raise settle_timeout, or set force_switch to lose them.",
                )
            self.state_dir.keep_reserved()
            self.sleep(_SETTLE_POLL_SECONDS)
            self._read()
            self._require_running()
        return round(time.time() - started, 3)

    # Commands and what they left

    def _change(self, entry: Dict[str, Any], *arguments: str) -> CommandResult:
        result = self.command.change(*arguments)
        entry["command"] = ["emqx"] + list(arguments)
        entry["rc"] = result.rc
        entry["output"] = self.command.output(result)
        self._last_word = self.command.reason(result)
        return result

    def _require(self, result: CommandResult, reached: bool, verb: str, version: str) -> None:
        """After a command and a fresh look: is the goal reached? The exit code alone is never believed."""
        unclear = self._now["state"] != "running"
        if reached and not unclear and not result.timed_out:
            if result.rc != 0:
                self.warnings.append(
                    "emqx {0} {1} ended with exit code {2}, but did what it should{3}".format(
                        verb, version, result.rc, _quoted(self._last_word)
                    )
                )
            return
        said = "exit code {0}: {1}".format(result.rc, result.meaning) if result.rc is not None else result.meaning
        if result.timed_out:
            failure_class = UNKNOWN
            hint = (
                "It was left to its work (process {0}) and may still be installing; raise 'timeout', wait, and run "
                "the same task again.".format(result.pid)
            )
        elif unclear:
            failure_class = UNKNOWN
            hint = "The node is {0}; find out why, start it if it is down, and run the same task again.".format(
                self._now["state"]
            )
        else:
            failure_class = self._class_of_failure()
            hint = "See 'output' for what the command said, and the broker's log in {0}.".format(
                self.installation.log_dir
            )
        quoted = _quoted(self._last_word or ("" if unclear else self._where_it_is()))
        raise FleetError(
            "emqx {0} {1} did not lead there ({2}){3}".format(verb, version, said, quoted),
            failure_class=failure_class,
            hint=hint,
            output=self.command.output(result),
        )

    def _where_it_is(self) -> str:
        """Sentences about the node: what is between it and what was asked for."""
        version = self.request.version
        said = "{0} is {1}, {2} runs, and a restart boots {3}.".format(
            version, self._position().status(version) or "not there", self._now["running"], self._now["boot"]["version"]
        )
        return " ".join([said] + [problem["message"] for problem in self._now["boot"]["problems"]])

    def _class_of_failure(self) -> str:
        return CHANGED if self._is_changed() else REFUSED

    def _is_changed(self) -> bool:
        return self._before is not None and _table(self._before) != _table(self._now)

    # Reading

    def _read(self, old_code: bool = True) -> None:
        self._now, result = facts.collect(
            self.installation, self.command, check_version=self.request.version, old_code=old_code
        )
        self._read_position = None
        if self._now["state"] != "running":
            # A node that surely is stopped costs no command.
            self._last_output = self.command.output(result) if result else [self._now["read_by_reason"]]
            self._last_reason = self.command.reason(result) if result else ""
        if self._before is None:
            self._before = self._now

    def _position(self) -> Position:
        """Where the node was when it was last read."""
        if self._read_position is None:
            self._read_position = self._find_position()
        return self._read_position

    def _find_position(self) -> Position:
        version = self.request.version
        now = self._now
        position = Position(
            now["releases"],
            now["running"],
            now["permanent"],
            now["boot"],
            unpacks_in_switch=upgrade_script.read(self.installation).unpacks_in_switch,
            sole_runtime=self._is_sole_runtime(version),
        )
        status = position.status(version)
        gone = status is not None and not os.path.isdir(self.installation.release_dir(version))
        return position._replace(
            folder_gone=gone, damaged=status == "unpacked" and not gone and self._is_damaged(version)
        )

    def _is_sole_runtime(self, version: str) -> bool:
        """Whether the virtual machine that runs comes from this release alone: the release handler would delete it."""
        erts = self.installation.runtime_of(self._now["pid"]) or self._now["erts"]
        with_it = [row["version"] for row in self.installation.table_on_disk() if row["erts"] == erts]
        return self._now["state"] == "running" and with_it == [version]

    def _is_damaged(self, version: str) -> bool:
        """Held against the package where there is one, and otherwise by the node's own check of the release."""
        package = self.request.package
        candidates = [package] if package else preparation.matching_packages(self.installation, version)
        if len(candidates) == 1 and os.path.isfile(candidates[0]):
            return bool(release_files.damaged_files(self.installation, candidates[0], version))
        return False

    def _is_newer(self, version: str) -> bool:
        running = self._now["running"]
        return running is None or versions.parse(version) > versions.parse(running)

    # Results

    def _record(self, what: str, error: Optional[FleetError]) -> None:
        entry = {
            "what": what,
            "actions": [[action["action"], action["version"]] for action in self.actions],
            "outcome": "done" if error is None else error.failure_class,
        }  # type: Dict[str, Any]
        if error is not None:
            entry["message"] = error.message
        if self._now:
            entry.update(running=self._now["running"], permanent=self._now["permanent"])
        try:
            self.state_dir.record(entry)
        except OSError as problem:
            self.warnings.append(
                "The journal {0} could not be written: {1}.".format(self.state_dir.journal_path, problem.strerror)
            )

    def _result(self, after: Optional[Position]) -> Dict[str, Any]:
        if after is None or self._before is None:
            return {"changed": False, "actions": self.actions, "warnings": self.warnings}
        before = self._before
        clients_before, clients_after = comparable(before, self._now)
        return {
            "changed": bool(self.actions),
            "actions": self.actions,
            "before": _table(before),
            "after": {
                "releases": after.releases,
                "running": after.running,
                "permanent": after.permanent,
                "boot": after.boot,
            },
            "running": after.running,
            "permanent": after.permanent,
            "clients": {"before": clients_before, "after": clients_after},
            "pid": {"before": before["pid"], "after": self._now["pid"]},
            "uptime_seconds": {"before": before["uptime_seconds"], "after": self._now["uptime_seconds"]},
            "log_errors": self.log_errors,
            "dry_check": self._now["dry_check"],
            "diff": {
                "before_header": "releases of the node",
                "after_header": "releases of the node",
                "before": steps.table_text(before["releases"], before["boot"]["version"]),
                "after": steps.table_text(after.releases, after.boot["version"]),
            },
            "warnings": self.warnings,
        }


def _quoted(reason: str) -> str:
    """The end of a sentence, with what a command said where it said something."""
    return ": {0}".format(_sentence(reason)) if reason else "."


def _sentence(text: str) -> str:
    return text + "." if text and not text.endswith((".", "!", "?")) else text


def _table(now: Dict[str, Any]) -> Dict[str, Any]:
    return {name: now[name] for name in ("releases", "running", "permanent", "boot")}


def _old_code_text(rows: Optional[List[Dict[str, Any]]]) -> str:
    """How many processes run old code of which modules; a node that did not tell may have any number of them."""
    if rows is None:
        return "the node did not tell how many"
    return "{0} in {1}".format(sum(row["processes"] for row in rows), ", ".join(str(row["module"]) for row in rows))
