# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart would boot, whether all files agree on it, and how a half-made commit is completed.

Making a release permanent writes the release table and ``start_erl.data``, then copies ``bin/<file>-<version>`` over
``bin/<file>``, then ``bin/no_dot_erlang.boot``, then appends to ``releases/emqx_vars``, whose last ``REL_VSN`` is what
``bin/emqx`` boots. Interrupted anywhere in between, the node reports success and boots something else, or nothing.
From EMQX 4.3.1 on ``releases/RELEASES`` belongs to booting as well: without the row of what boots, nothing works.
"""

import contextlib
import os
import stat
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import release_table, upgrade_script
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    NO_DOT_ERLANG,
    VERSIONED_BIN_FILES,
    Installation,
)

#: Code of the problem that the release table on disk lacks what a restart boots; see ``repair_table``.
RELEASE_ROW = "release_row"


class Problem(NamedTuple):
    """One disagreement.

    ``repairable``: completing the commit of the permanent version cures it, or for ``release_row`` a new table.
    """

    code: str
    path: str
    message: str
    repairable: bool

    def as_dict(self) -> Dict[str, Any]:
        """Return it as JSON types."""
        return dict(self._asdict())


class Boot(NamedTuple):
    """``version`` and ``erts``: what ``bin/emqx start`` would boot."""

    version: Optional[str]
    erts: Optional[str]
    problems: List[Problem]

    @property
    def consistent(self) -> bool:
        """Tell whether nothing disagrees."""
        return not self.problems

    def as_dict(self) -> Dict[str, Any]:
        """Return it as JSON types."""
        return {
            "version": self.version,
            "erts": self.erts,
            "consistent": self.consistent,
            "problems": [problem.as_dict() for problem in self.problems],
        }


def examine(
    installation: Installation,
    permanent: Optional[str],
    running: Optional[str] = None,
    has_current: bool = False,
    stale_patches: Optional[List[str]] = None,
    pid: Optional[int] = None,
) -> Boot:
    """What a restart boots, held against the version that is permanent by the release table.

    ``running`` and ``has_current`` (a version that runs without being permanent) come from the running node and are
    left out for a stopped one. ``pid``: the broker's process, whose table can repair the one on disk.
    """
    variables = installation.variables
    start_erts, start_version = installation.start_erl()
    version, erts = variables.get("REL_VSN"), variables.get("ERTS_VSN")
    if version is None:
        # No version of EMQX has none there; without it, start_erl.data is all that names one.
        version, erts = start_version, start_erts
    problems = []  # type: List[Problem]
    expected = permanent or version

    def found(code: str, path: str, message: str, repairable: bool = True) -> None:
        problems.append(Problem(code, path, message, repairable))

    if expected is None:
        found("nothing_to_boot", installation.vars_path, "No file names a version to boot.", False)
        return Boot(version, erts, problems)
    if version != expected:
        found(
            "emqx_vars",
            installation.vars_path,
            "A restart boots {0} (last REL_VSN), but {1} is permanent.".format(version, expected),
        )
    if start_version != expected:
        found(
            "start_erl",
            installation.start_erl_path,
            "start_erl.data names {0}, but {1} is permanent.".format(start_version, expected),
        )
    elif version == expected and start_erts and erts and start_erts != erts:
        found(
            "erts",
            installation.vars_path,
            "The last ERTS_VSN is {0}, but start_erl.data names {1}.".format(erts, start_erts),
        )
    problems += _file_problems(installation, expected)
    for lost in dict.fromkeys(name for name in (version, expected) if name is not None):
        if release_table.lacks_row(installation, lost):
            problems.append(_lost_row(installation, lost, pid))
            break
    if running is not None and not has_current and running != expected:
        found(
            "running",
            installation.table_path,
            "The release table calls {0} permanent, but the node runs {1}: a restart did not boot what was "
            "permanent.".format(expected, running),
            False,
        )
    if not os.path.exists(installation.release_file(expected, "start.boot")):
        found(
            "release_missing",
            installation.release_dir(expected),
            "The boot file of {0} is missing: the node could not start.".format(expected),
            False,
        )
    for path in stale_patches or []:
        found(
            "stale_patch",
            path,
            "This patch is not what runs now; the next start would load it over the release.",
            False,
        )
    return Boot(version, erts, problems)


def commit_obstacles(installation: Installation, version: str) -> List[str]:
    """Files without which a commit of ``version`` would stop half-way, by what the node's own script copies then."""
    needed = [installation.bin_file(name, version) for name in VERSIONED_BIN_FILES]
    needed.append(installation.release_file(version, "start.boot"))
    if upgrade_script.read(installation).copies_boot_file:
        needed.append(installation.release_file(version, NO_DOT_ERLANG))
    return [path for path in needed if not _has_content(path)]


def complete_commit(installation: Installation, version: str) -> List[str]:
    """Make every file agree that ``version`` boots, and give the paths that were changed.

    In the order of the real command, so that an interruption leaves nothing worse than it was; each file is replaced
    as a whole and keeps owner and mode.
    """
    lacking = [problem for problem in _file_problems(installation, version) if not problem.repairable]
    if lacking:
        raise FleetError(
            "The commit of {0} cannot be completed: {1}".format(version, lacking[0].message),
            failure_class=REFUSED,
            hint="Take the missing file from the package of {0} and run the same task again.".format(version),
        )
    erts = installation.erts_of(version)
    if erts is None:
        raise FleetError(
            "The commit of {0} cannot be completed: neither RELEASES nor start_erl.data tells its ERTS version.".format(
                version
            ),
            failure_class=REFUSED,
            hint="Append REL_VSN and ERTS_VSN of {0} to {1} by hand.".format(version, installation.vars_path),
        )
    changed = []  # type: List[str]
    try:
        if installation.start_erl() != (erts, version):
            replace_file(installation.start_erl_path, "{0} {1}".format(erts, version).encode("ascii"))
            changed.append(installation.start_erl_path)
        for problem in _file_problems(installation, version):
            source = _source_of(installation, os.path.basename(problem.path), version)
            with open(source, "rb") as stream:
                replace_file(problem.path, stream.read(), like=installation.executable)
            changed.append(problem.path)
        variables = installation.variables
        if "REL_VSN" in variables and (variables["REL_VSN"], variables.get("ERTS_VSN")) != (version, erts):
            _append_version(installation.vars_path, version, erts)
            changed.append(installation.vars_path)
    except OSError as error:
        raise FleetError(
            "The commit of {0} could not be completed: {1}: {2}. A restart may still boot another version.".format(
                version, error.filename, error.strerror
            ),
            failure_class=REFUSED,
            hint="Make it writable (file system read-only or full? file immutable?) and run the same task again.",
        ) from error
    return changed


def repair_table(installation: Installation, version: str, pid: Optional[int]) -> List[str]:
    """Write ``RELEASES`` anew with the row of ``version``, and give the paths that were changed. Raises FleetError.

    From the running broker's own table, or for a stopped one from the release file of ``version``.
    """
    content = release_table.whole_table(installation, pid, version)
    try:
        replace_file(installation.table_path, content, like=installation.vars_path)
    except OSError as error:
        raise FleetError(
            "{0} could not be written: {1}.".format(installation.table_path, error.strerror),
            failure_class=REFUSED,
            hint="Make it writable (file system read-only or full? file immutable?) and run the same task again.",
        ) from error
    return [installation.table_path]


def _lost_row(installation: Installation, version: str, pid: Optional[int]) -> Problem:
    if release_table.commands_need_row(installation):
        harm = "no emqx command works as long as a restart boots it, and the node cannot be started."
    else:
        harm = "after a restart the node does not know what it runs, and cannot be upgraded hot."
    return Problem(
        RELEASE_ROW,
        installation.table_path,
        "{0} has no row of {1}: {2}".format(installation.table_path, version, harm),
        release_table.can_be_had(installation, pid, version),
    )


def replace_file(path: str, content: bytes, like: Optional[str] = None) -> None:
    """Replace a file as a whole, with its own owner and mode, or those of ``like`` where it is not there.

    Raises OSError with ``filename`` set.
    """
    model = path if os.path.exists(path) else like
    # Of one name, so that the next write takes away what a killed one left.
    temporary = "{0}.fleet-new".format(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if model is not None:
            found = os.stat(model)
            os.chmod(temporary, stat.S_IMODE(found.st_mode))
            if os.geteuid() == 0:
                os.chown(temporary, found.st_uid, found.st_gid)
        os.rename(temporary, path)
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise OSError(error.errno, error.strerror, path) from error


def _append_version(path: str, version: str, erts: str) -> None:
    """Append both lines, by replacing the file as a whole.

    A last line that a crash or a full disk tore inside its quotes is dropped: it would swallow what follows, and no
    shell could read the file any more.
    """
    with open(path, "rb") as stream:
        lines = stream.read().decode("utf-8", "surrogateescape").split("\n")
    if lines[-1].count('"') % 2 or not lines[-1]:
        lines.pop()
    lines += ['REL_VSN="{0}"'.format(version), 'ERTS_VSN="{0}"'.format(erts), ""]
    replace_file(path, "\n".join(lines).encode("utf-8", "surrogateescape"))


def _source_of(installation: Installation, name: str, version: str) -> str:
    if name == NO_DOT_ERLANG:
        return installation.release_file(version, NO_DOT_ERLANG)
    return installation.bin_file(name, version)


def _file_problems(installation: Installation, version: str) -> List[Problem]:
    """Files in ``bin/`` that are not those of ``version``.

    Without a copy to compare with there is no problem to see: a package that was never hot upgraded may have none.
    """
    problems = []
    for name in VERSIONED_BIN_FILES + (NO_DOT_ERLANG,):
        path, source = installation.bin_file(name), _source_of(installation, name, version)
        want = _content(source)
        have = _content(path)
        if have and (want == have or not want):
            continue
        if name == NO_DOT_ERLANG and not want and not os.path.exists(path):
            # Older releases do without it.
            continue
        if want:
            message = "{0} is not the file of {1} ({2}).".format(path, version, source)
        else:
            message = "{0} is missing or empty, and so is {1}.".format(path, source)
        problems.append(Problem("bin_file", path, message, bool(want)))
    return problems


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _has_content(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
