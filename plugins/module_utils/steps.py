# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From where a node is to where it shall be: the next steps, as a pure function of what was read.

The words are EMQX's own: a release is ``unpacked``, runs (``current``), is ``permanent``, or is ``absent``.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils import release_table
from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.boot import RELEASE_ROW
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError

UNPACK = "unpack"
SWITCH = "switch"
COMMIT = "commit"
REPAIR = "repair_commit"
REPAIR_TABLE = "repair_table"
UNINSTALL = "uninstall"

STATES = ("staged", "unpacked", "current", "permanent", "absent")
ACCEPTABLE = ("patches", "dry_check")


class Step(NamedTuple):
    """One thing to do."""

    action: str
    version: str

    def __str__(self) -> str:
        return "{0} {1}".format(self.action, self.version)


class Position(NamedTuple):
    """Where a node is, as far as the steps depend on it.

    ``damaged``: the version wanted is listed as unpacked, and its files are incomplete. ``folder_gone``: it is listed,
    and its folder under ``releases/`` is missing. ``unpacks_in_switch``: the node's upgrade script unpacks a release in
    the switch, so that it must not be unpacked before (see ``upgrade_script``). ``sole_runtime``: the node runs on the
    Erlang runtime that the version wanted alone brought, which goes with it.
    """

    releases: List[Dict[str, str]]
    running: Optional[str]
    permanent: Optional[str]
    boot: Dict[str, Any]
    damaged: bool = False
    folder_gone: bool = False
    unpacks_in_switch: bool = False
    sole_runtime: bool = False

    def status(self, version: str) -> Optional[str]:
        """The status of a version, None where the node does not list it."""
        for row in self.releases:
            if row["version"] == version:
                return row["status"]
        return None


def next_steps(
    position: Position, version: str, state: str, allow_downgrade: bool = False, accept: Sequence[str] = ()
) -> List[Step]:
    """The steps from ``position`` until ``version`` is in ``state``; empty when it is.

    Raises FleetError (``refused``) where the collection's rules forbid the way.
    """
    lost = next((problem for problem in position.boot["problems"] if problem["code"] == RELEASE_ROW), None)
    if lost is not None:
        return _steps_to_whole_table(position, lost)
    if state == "absent":
        return _steps_to_absent(position, version)
    _require_same_line(position, version)
    if state == "staged":
        return _steps_to_staged(position, version)
    if state == "unpacked":
        _require_unpacking_beforehand(position, version)
        return _steps_to_unpacked(position, version)
    problems = blocking_problems(position.boot, accept)
    _require_known_code(position, version, problems)
    steps = []
    if position.running != version:
        _require_direction(position, version, allow_downgrade)
        steps += _steps_to_staged(position, version)
        steps.append(Step(SWITCH, version))
    if state == "permanent":
        steps += _steps_to_permanent(position, version, problems)
    return steps


def blocking_problems(boot: Dict[str, Any], accept: Sequence[str]) -> List[Dict[str, Any]]:
    """Disagreements that keep a release from counting as permanent, without those the user accepts."""
    return [p for p in boot["problems"] if not (p["code"] == "stale_patch" and "patches" in accept)]


def predicted(position: Position, steps: Sequence[Step]) -> Position:
    """Where the steps lead, as far as the release table tells; what check mode shows."""
    rows = {row["version"]: row["status"] for row in position.releases}
    running, permanent, boot = position.running, position.permanent, dict(position.boot)
    for step in steps:
        if step.action == UNPACK:
            rows.setdefault(step.version, "unpacked")
        elif step.action == UNINSTALL:
            rows.pop(step.version, None)
        elif step.action == REPAIR_TABLE:
            boot["problems"] = [problem for problem in boot["problems"] if problem["code"] != RELEASE_ROW]
            boot["consistent"] = not boot["problems"]
        elif step.action == SWITCH:
            if running is not None and rows.get(running) == "current":
                rows[running] = "old"
            if rows.get(step.version) != "permanent":
                rows[step.version] = "current"
            running = step.version
        else:
            if permanent is not None and permanent != step.version:
                rows[permanent] = "old"
            rows[step.version] = "permanent"
            permanent = step.version
            boot.update(version=step.version, problems=[], consistent=True)
    releases = [{"version": name, "status": rows[name]} for name in sorted(rows)]
    return Position(releases, running, permanent, boot, unpacks_in_switch=position.unpacks_in_switch)


def table_text(releases: Sequence[Dict[str, str]], boot_version: Optional[str]) -> str:
    """The release table as text, for diff mode: newest version first, then what a restart boots."""

    def order(row: Dict[str, str]) -> Any:
        try:
            return (1, versions.parse(row["version"]))
        except versions.VersionError:
            return (0, row["version"])

    rows = ["{0} {1}".format(row["version"], row["status"]) for row in sorted(releases, key=order, reverse=True)]
    return "\n".join(rows + ["a restart boots {0}".format(boot_version), ""])


def _steps_to_whole_table(position: Position, lost: Dict[str, Any]) -> List[Step]:
    """Before anything else: without the row no command works. What comes after shows when the node is read again."""
    if not lost["repairable"]:
        raise FleetError(lost["message"], failure_class=REFUSED, hint=_way_out(lost))
    return [Step(REPAIR_TABLE, position.boot["version"])]


def _steps_to_staged(position: Position, version: str) -> List[Step]:
    """All that can be done before a switch: an unpack, or where the switch unpacks, nothing that stands in its way."""
    if not position.unpacks_in_switch:
        return _steps_to_unpacked(position, version)
    leftover = position.status(version) == "unpacked" or position.folder_gone
    return [_uninstall_to_unpack_again(position, version)] if leftover else []


def _require_unpacking_beforehand(position: Position, version: str) -> None:
    to_unpack = position.status(version) in (None, "unpacked") or position.folder_gone
    if position.unpacks_in_switch and to_unpack:
        raise FleetError(
            "The node's upgrade script (bin/install_upgrade.escript, as in EMQX 4.3.13 to 4.3.22 and 4.4.2 to 4.4.14) "
            "unpacks {0} in the switch itself; unpacked beforehand, the switch would fail or destroy "
            "releases/RELEASES.".format(version),
            failure_class=REFUSED,
            hint="Use state: staged, which does all that can be done before the switch on every node, and then state: "
            "current or permanent with 'package'.",
        )


def _steps_to_unpacked(position: Position, version: str) -> List[Step]:
    status = position.status(version)
    if status is None:
        return [Step(UNPACK, version)]
    if position.folder_gone or (status == "unpacked" and position.damaged):
        # Left to itself the script would unpack once more and write RELEASES anew with this version alone.
        return [_uninstall_to_unpack_again(position, version), Step(UNPACK, version)]
    return []


def _uninstall_to_unpack_again(position: Position, version: str) -> Step:
    if version in (position.running, position.permanent, position.boot["version"]):
        raise FleetError(
            "The files of {0} are incomplete, and it is what runs or what a restart would boot, so it is not "
            "uninstalled.".format(version),
            failure_class=REFUSED,
            hint="Make another version permanent first (state: permanent), which also repairs a half-made commit.",
        )
    return Step(UNINSTALL, version)


def _steps_to_permanent(position: Position, version: str, problems: List[Dict[str, Any]]) -> List[Step]:
    if position.permanent != version:
        return [Step(COMMIT, version)]
    if not problems:
        return []
    hopeless = [problem for problem in problems if not problem["repairable"]]
    if hopeless:
        raise FleetError(
            "{0} is permanent by the release table, but a restart cannot be trusted to boot it: {1}".format(
                version, " ".join(problem["message"] for problem in hopeless)
            ),
            failure_class=REFUSED,
            hint=_way_out(hopeless[0]),
        )
    return [Step(REPAIR, version)]


def _steps_to_absent(position: Position, version: str) -> List[Step]:
    status = position.status(version)
    if status is None:
        return []
    reason = None
    hint = "Make another version permanent first (state: permanent), which also repairs a half-made commit."
    if version == position.running:
        reason = "it is running"
    elif status in ("permanent", "current"):
        reason = "it is {0}".format(status)
    elif version == position.boot["version"]:
        reason = "a restart would boot it"
    elif position.sole_runtime:
        hint = "Restart the node in a maintenance window first."
        reason = "the node still runs on its Erlang runtime, and will do so until it is restarted"
    else:
        doubtful = [p["message"] for p in position.boot["problems"] if p["code"] != "stale_patch"]
        if doubtful:
            reason = "what a restart would boot is not certain: {0}".format(" ".join(doubtful))
    if reason is None:
        return [Step(UNINSTALL, version)]
    raise FleetError(
        "{0} is not uninstalled, because {1}.".format(version, reason),
        failure_class=REFUSED,
        hint=hint,
    )


def _require_same_line(position: Position, version: str) -> None:
    """Hot upgrades stay within one major.minor; EMQX also allows 4.4 with 4.5, both ways."""
    if position.running is None or position.status(version) is not None:
        return
    running, wanted = versions.parse(position.running), versions.parse(version)
    if not versions.same_series(running, wanted):
        raise FleetError(
            "The node runs {0}: EMQX cannot be hot upgraded from it to {1}, only to another patch version of "
            "{2}.{3}.".format(position.running, version, running.major, running.minor),
            failure_class=REFUSED,
            hint="Choose a version of the same line, or install {0} anew in a maintenance window.".format(version),
        )


def _require_direction(position: Position, version: str, allow_downgrade: bool) -> None:
    if allow_downgrade or position.running is None:
        return
    if versions.parse(version) < versions.parse(position.running):
        raise FleetError(
            "The node runs {0}, and {1} is older.".format(position.running, version),
            failure_class=REFUSED,
            hint="A downgrade is safe only right after the upgrade, with no data changed in between. "
            "Set allow_downgrade to do it all the same.",
        )


def _require_known_code(position: Position, version: str, problems: List[Dict[str, Any]]) -> None:
    """Where the release table and the code that runs differ, no command of EMQX leads anywhere good."""
    for problem in problems:
        if problem["code"] == "running":
            raise FleetError(problem["message"], failure_class=REFUSED, hint=_way_out(problem))
    if position.running != version and position.status(version) == "permanent" and not _has_current(position):
        raise FleetError(
            "The release table calls {0} permanent and nothing current, but the node runs {1}.".format(
                version, position.running
            ),
            failure_class=REFUSED,
            hint=WAYS_OUT["running"],
        )


def _has_current(position: Position) -> bool:
    return any(row["status"] == "current" for row in position.releases)


WAYS_OUT = {
    "stale_patch": "Remove the patch once the release contains what it fixed, or accept it by name "
    "(accept: [patches]).",
    "running": "Restart the node in a maintenance window after setting REL_VSN in releases/emqx_vars to the version "
    "that it shall boot.",
    "bin_file": "Take the missing file from the package of that version and run the same task again.",
    "release_missing": "Unpack the package of that version again, or make another version permanent.",
    "release_row": release_table.WAY_OUT,
    "nothing_to_boot": "Restore releases/emqx_vars and releases/start_erl.data from the package or a backup.",
}


def _way_out(problem: Dict[str, Any]) -> str:
    return WAYS_OUT.get(problem["code"], "See {0}.".format(problem["path"]))
