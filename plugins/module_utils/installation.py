# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an EMQX installation is and what its files say, without running any command."""

import functools
import glob
import os
import pwd
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import package_name
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError, parse_terms
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError

SEARCH_DIRECTORIES = ("/usr/bin", "/usr/lib/emqx/bin", "/opt/emqx/bin")

# Files in bin/ that belong to one version; making a release permanent copies bin/<file>-<version> over them.
VERSIONED_BIN_FILES = ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript")
NO_DOT_ERLANG = "no_dot_erlang.boot"

#: The application that only an Enterprise release has.
LICENSE_APPLICATION = "emqx_license"

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_REFERENCE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PLAIN = re.compile(r"[^\"'`$\\ \t;]+")
_EDITIONS = (("enterprise", "ee"), ("edge", "edge"), ("broker", "ce"))
_ROOT = "RUNNER_ROOT_DIR"

_BUILT_ON_OTP = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:-emqx)?(?:-[0-9]+)?(?=-|\Z)")
_WORD_SIZES = ("32", "64")
#: Characters of a BUILT_ON that are looked at; real ones have some fifty.
_MAX_BUILT_ON = 200
_RUNTIME = re.compile(r"/erts-([^/]+)/bin/beam")


def read_text(path: str) -> Optional[str]:
    """The file's text, or None where there is no such file. Undecodable bytes are replaced."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_vars(text: str, root_dir: str) -> Dict[str, str]:
    """Shell assignments of ``releases/emqx_vars``; the last one of a name wins, as for the shell that sources it.

    Zips of 4.2, 4.3.0 to 4.3.14 and 4.4.0 to 4.4.3 work their root directory out with a command substitution, which
    is understood as ``root_dir``. A variable that needs another command, or one built on such a variable, is left out:
    its text is not its value.
    """
    return dict(_read_vars(text, root_dir)[0])


def assigned_name(line: str) -> Optional[str]:
    """The name of the variable that a line of ``emqx_vars`` assigns or exports, or None."""
    found = _ASSIGNMENT.match(line)
    return found.group(1) if found else None


@functools.lru_cache(maxsize=8)
def _read_vars(text: str, root_dir: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Values by name, and by name the lines whose values only a shell could tell. They are not to be changed."""
    values = {_ROOT: root_dir}
    unknown = {}  # type: Dict[str, str]
    for line in text.splitlines():
        for name, found in _assignments(line, values, unknown):
            value = root_dir if found is None and name == _ROOT else found
            if value is None:
                values.pop(name, None)
                unknown[name] = line.strip()
            else:
                unknown.pop(name, None)
                values[name] = value
    return values, unknown


def _assignments(line: str, values: Dict[str, str], unknown: Dict[str, str]) -> Iterator[Tuple[str, Optional[str]]]:
    """Names and values of a line; a value is None where only a shell can tell it, and is the line's last one then."""
    pos = 0
    while True:
        found = _ASSIGNMENT.match(line, pos)
        if found is None:
            return
        value, pos = _shell_word(line, found.end(), values, unknown)
        rest = line[pos:].lstrip(" \t")
        if value is not None and rest and rest[0] not in "#;" and not _ASSIGNMENT.match(rest):
            # An assignment before a command is that command's alone.
            return
        yield found.group(1), value
        pos = len(line) - len(rest) + (1 if rest.startswith(";") else 0)


def _shell_word(line: str, pos: int, values: Dict[str, str], unknown: Dict[str, str]) -> Tuple[Optional[str], int]:
    """The value of the word at ``pos`` and where it ends; None and the line's end where only a shell can tell it.

    A line that was torn inside its quotes, which no shell can read, stands as it is: equal to nothing looked for.
    """
    begin = pos
    parts = []
    quoted = False
    while pos < len(line):
        char = line[pos]
        if char in " \t;" and not quoted:
            break
        plain = _PLAIN.match(line, pos)
        if plain:
            parts.append(plain.group())
            pos = plain.end()
        elif char == '"':
            quoted = not quoted
            pos += 1
        elif char == "'" and not quoted:
            closing = line.find("'", pos + 1)
            if closing < 0:
                return line[begin:], len(line)
            parts.append(line[pos + 1 : closing])
            pos = closing + 1
        elif char == "\\":
            parts.append(line[pos + 1 : pos + 2])
            pos += 2
        elif char in "$`":
            reference = _REFERENCE.match(line, pos)
            name = reference and (reference.group(1) or reference.group(2))
            if reference is None or name is None or name in unknown:
                return None, len(line)
            parts.append(values.get(name, ""))
            pos = reference.end()
        else:
            parts.append(char)
            pos += 1
    return (line[begin:], len(line)) if quoted else ("".join(parts), pos)


def edition_of(description: Optional[str]) -> Optional[str]:
    """``ce``, ``ee`` or ``edge`` from words like ``EMQX Enterprise``; None where they say nothing known."""
    lowered = (description or "").lower()
    for word, edition in _EDITIONS:
        if word in lowered:
            return edition
    return None


def decide_edition(licensed: bool, *descriptions: Optional[str]) -> Optional[str]:
    """The edition, from whether it has Enterprise's license application and from all that describes it.

    4.2 calls itself Broker whatever it is, so the more special word wins: Enterprise before edge before Community.
    """
    found = [edition_of(description) for description in descriptions]
    if licensed:
        found.append("ee")
    return next((edition for _word, edition in _EDITIONS if edition in found), None)


class Platform(NamedTuple):
    """What a release was built with and for, in the words of package names; None where that is not known.

    ``otp``: the version of Erlang/OTP, ``24.1.5-3``.
    """

    otp: Optional[str]
    os: Optional[str]
    arch: Optional[str]


def platform_of(built_on: Optional[str]) -> Platform:
    """What ``BUILT_ON`` says: OTP version, triple, word size, distribution.

    By EMQX's ``rebar.config.erl``, 4.3.9 and later: ``25.2.3-x86_64-pc-linux-gnu-64-debian12``. Before, the
    distribution is missing; 4.2 has no such file; builds of other makers may lack more. What is missing or is no word
    that EMQX has packages for is not known: the machine's own words are the ones to compare then.
    """
    text = (built_on or "").strip()[:_MAX_BUILT_ON]
    found = _BUILT_ON_OTP.match(text)
    otp = found.group() if found else None
    words = text[len(otp) + 1 if otp else 0 :].split("-")
    arch = package_name.normalise_arch(words[0])
    sizes = [place for place, word in enumerate(words) if place and word in _WORD_SIZES]
    system = package_name.normalise_os("-".join(words[sizes[0] + 1 :] if sizes else words[-1:]))
    return Platform(
        otp,
        system if package_name.is_known_os(system) else None,
        arch if package_name.is_known_arch(arch) else None,
    )


class Installation:
    """The directories of one EMQX installation, found from its ``emqx`` command."""

    def __init__(self, executable: str) -> None:
        self.executable = os.path.realpath(executable)
        self.root_dir = os.path.dirname(os.path.dirname(self.executable))
        self.bin_dir = os.path.dirname(self.executable)
        self.releases_dir = os.path.join(self.root_dir, "releases")
        self.lib_dir = os.path.join(self.root_dir, "lib")
        self.vars_path = os.path.join(self.releases_dir, "emqx_vars")
        self.start_erl_path = os.path.join(self.releases_dir, "start_erl.data")
        self.table_path = os.path.join(self.releases_dir, "RELEASES")
        if not os.path.isdir(self.releases_dir):
            raise FleetError(
                "{0} does not belong to an EMQX installation: there is no {1}.".format(executable, self.releases_dir),
                hint="Set 'executable' to the path of the emqx command of the installation, "
                "for example /opt/emqx/bin/emqx.",
            )

    @property
    def variables(self) -> Dict[str, str]:
        """The assignments of ``emqx_vars`` as they are now."""
        return parse_vars(read_text(self.vars_path) or "", self.root_dir)

    @property
    def description(self) -> Optional[str]:
        """What the release calls itself: ``EMQX Enterprise``. 4.2 has another name for the variable."""
        variables = self.variables
        return variables.get("EMQX_DESCRIPTION") or variables.get("EMQX_DISCR")

    @property
    def licensed(self) -> bool:
        """Whether there is a release of Enterprise here, by the application that only Enterprise has."""
        return bool(glob.glob(os.path.join(glob.escape(self.lib_dir), LICENSE_APPLICATION + "-*")))

    @property
    def data_dir(self) -> str:
        """The broker's data, and our state beside it. Raises FleetError where it cannot be told."""
        return self._directory("RUNNER_DATA_DIR", "data")

    @property
    def log_dir(self) -> str:
        """The broker's log files. Raises FleetError where it cannot be told."""
        return self._directory("RUNNER_LOG_DIR", "log")

    @property
    def etc_dir(self) -> str:
        """The broker's settings; never shown. Raises FleetError where it cannot be told."""
        return self._directory("RUNNER_ETC_DIR", "etc")

    def check_directories(self) -> None:
        """Raise FleetError where a directory of the broker cannot be told, before anything is done with one."""
        for _directory in (self.data_dir, self.log_dir, self.etc_dir):
            pass

    def _directory(self, name: str, default: str) -> str:
        values, unknown = _read_vars(read_text(self.vars_path) or "", self.root_dir)
        path = values.get(name) or os.path.join(self.root_dir, default)
        if name in unknown or not os.path.isabs(path):
            raise FleetError(
                "{0} says {1}, which is no absolute path; the directory of the node cannot be told from it.".format(
                    self.vars_path, unknown.get(name) or "{0}={1}".format(name, path)
                ),
                hint="Write the absolute path of the directory there, as in {0}={1}/{2}.".format(
                    name, self.root_dir, default
                ),
            )
        return path

    @property
    def state_dir(self) -> str:
        """Where this collection keeps what must survive on the node."""
        return os.path.join(self.data_dir, "fleet")

    def release_dir(self, version: str) -> str:
        """The folder of one release."""
        return os.path.join(self.releases_dir, version)

    def release_file(self, version: str, name: str) -> str:
        """A file of one release's folder."""
        return os.path.join(self.releases_dir, version, name)

    def bin_file(self, name: str, version: Optional[str] = None) -> str:
        """A file in ``bin/``, or the copy of it that belongs to ``version``."""
        return os.path.join(self.bin_dir, name if version is None else "{0}-{1}".format(name, version))

    def start_erl(self) -> Tuple[Optional[str], Optional[str]]:
        """(ERTS version, release version) of ``start_erl.data``."""
        words = (read_text(self.start_erl_path) or "").split()
        return (words[0], words[1]) if len(words) == 2 else (None, None)

    def table_on_disk(self) -> List[Dict[str, str]]:
        """``RELEASES``: ``version``, ``erts``, ``status``. A running node knows better: it never writes ``current``."""
        return [{"version": row[2], "erts": row[3], "status": str(row[5])} for row in self.table_rows()]

    def table_rows(self) -> List[Any]:
        """Rows of ``RELEASES`` as tuples: ``{release, Name, Version, Erts, [{App, Version, Folder}], Status}``."""
        text = read_text(self.table_path)
        if not text:
            return []
        try:
            rows = parse_terms(text)[0]
            return [row for row in rows if len(row) == 6 and isinstance(row[4], list)]
        except (ErlangTermError, IndexError, TypeError):
            return []

    def libraries_of_others(self, version: str) -> List[str]:
        """Folders like ``lib/kernel-8.5.3`` that belong to a release other than ``version``, by the table on disk."""
        others = [row for row in self.table_rows() if row[2] != version]
        return sorted({"lib/" + os.path.basename(library[2]) for row in others for library in row[4]})

    def erts_of(self, version: str) -> Optional[str]:
        """The ERTS version that a release was built with."""
        for row in self.table_on_disk():
            if row["version"] == version:
                return row["erts"]
        erts, started = self.start_erl()
        return erts if started == version else None

    def runtime_of(self, pid: Optional[int]) -> Optional[str]:
        """The version in the name of the ERTS folder that a process was started from; None where it cannot be seen."""
        try:
            path = os.readlink("/proc/{0}/exe".format(pid))
        except OSError:
            return None
        # A folder that was deleted meanwhile is told with a remark behind it.
        found = _RUNTIME.search(path)
        return found.group(1) if found else None

    def runner_user(self, pid: Optional[int]) -> str:
        """The user that the broker runs as: RUNNER_USER, else the owner of its process, else of ``releases/``."""
        named = self.variables.get("RUNNER_USER")
        if named:
            return named
        try:
            uid = os.stat("/proc/{0}".format(pid)).st_uid if pid else os.stat(self.releases_dir).st_uid
        except OSError:
            uid = os.stat(self.releases_dir).st_uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def broker_pid(self) -> Optional[int]:
        """The broker's process, found in ``/proc``: an Erlang VM booted from a release of this installation."""
        prefix = self.releases_dir + os.sep
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/{0}/cmdline".format(entry), "rb") as stream:
                    command_line = stream.read()
            except OSError:
                continue
            if b"\0-boot\0" not in command_line:
                # There may be thousands of other processes.
                continue
            argv = command_line.decode("utf-8", "replace").split("\0")
            # EMQX 4.3 and 4.4 have the virtual machine call itself by the node's name.
            if not (os.path.basename(argv[0]).startswith("beam") or _comm(entry).startswith("beam")):
                continue
            for flag, value in zip(argv, argv[1:]):
                # Remote shells and helpers boot start_clean; only the broker boots the release itself.
                if flag == "-boot" and value.startswith(prefix) and not value.endswith("start_clean"):
                    return int(entry)
        return None


def _comm(pid: str) -> str:
    try:
        return (read_text("/proc/{0}/comm".format(pid)) or "").strip()
    except ProcessLookupError:
        # It ended while it was looked at.
        return ""


def settings_of(pid: Optional[int]) -> Dict[str, str]:
    """``EMQX_*`` of a process's environment: settings of the broker that stand in no file. Empty where not readable."""
    try:
        with open("/proc/{0}/environ".format(pid), "rb") as stream:
            entries = stream.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in entries)
    return {name: value for name, _unused, value in pairs if name.startswith("EMQX_")}


def find_executable(wanted: Optional[str]) -> str:
    """The ``emqx`` command: the one given, else the first on PATH and in the usual places that is in an installation.

    A wrapper script in ``/usr/bin`` has no releases beside it and is passed over; where nothing else is found, it is
    returned, and :class:`Installation` says what is wrong with it.
    """
    if wanted:
        candidates = [wanted]
    else:
        directories = [d for d in os.environ.get("PATH", "").split(os.pathsep) if d]
        directories += [d for d in SEARCH_DIRECTORIES if d not in directories]
        candidates = [os.path.join(directory, "emqx") for directory in directories]
    found = [path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)]
    if not found:
        raise FleetError(
            "There is no executable emqx command at {0}.".format(wanted)
            if wanted
            else "No emqx command was found on PATH or in {0}.".format(", ".join(SEARCH_DIRECTORIES)),
            hint="Install EMQX on this host, or set 'executable' to the full path of its emqx command.",
        )
    return next((path for path in found if os.path.isdir(_releases_of(path))), found[0])


def _releases_of(executable: str) -> str:
    """The folder of releases that goes with an ``emqx`` command."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(executable))), "releases")
