# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an EMQX installation is and what its files say, without running any command."""

import os
import pwd
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError, parse_terms
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError

SEARCH_DIRECTORIES = ("/usr/bin", "/usr/lib/emqx/bin", "/opt/emqx/bin")

# Files in bin/ that belong to one version; making a release permanent copies bin/<file>-<version> over them.
VERSIONED_BIN_FILES = ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript")
NO_DOT_ERLANG = "no_dot_erlang.boot"

_ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$")
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_EDITIONS = (("enterprise", "ee"), ("edge", "edge"), ("broker", "ce"))
_ARCH_WORDS = {"x86_64": "amd64", "aarch64": "arm64"}


def read_text(path: str) -> Optional[str]:
    """The file's text, or None where there is no such file. Undecodable bytes are replaced."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_vars(text: str, root_dir: str) -> Dict[str, str]:
    """Shell assignments of ``releases/emqx_vars``; the last one of a name wins, as for the shell that sources it."""
    values = {"RUNNER_ROOT_DIR": root_dir}
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line.strip())
        if match is None:
            continue
        name, raw = match.groups()
        if len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "\"'":
            quote, raw = raw[0], raw[1:-1]
        else:
            quote = ""
        if quote != "'":
            raw = _REFERENCE.sub(lambda found: values.get(found.group(1), ""), raw)
        values[name] = raw
    return values


def edition_of(description: Optional[str]) -> Optional[str]:
    """``ce``, ``ee`` or ``edge`` from words like ``EMQX Enterprise``; None where they say nothing known."""
    lowered = (description or "").lower()
    for word, edition in _EDITIONS:
        if word in lowered:
            return edition
    return None


def platform_of(built_on: Optional[str]) -> Tuple[Optional[str], Optional[str]]:
    """Package words (os, arch) from ``BUILT_ON``, for example ``x86_64-pc-linux-gnu-debian12``."""
    text = (built_on or "").strip()
    arch, _unused, rest = text.partition("-")
    if not rest:
        return None, None
    return rest.rpartition("-")[2] or None, _ARCH_WORDS.get(arch, arch)


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
    def data_dir(self) -> str:
        """The broker's data, and our state beside it."""
        return self.variables.get("RUNNER_DATA_DIR") or os.path.join(self.root_dir, "data")

    @property
    def log_dir(self) -> str:
        """The broker's log files."""
        return self.variables.get("RUNNER_LOG_DIR") or os.path.join(self.root_dir, "log")

    @property
    def etc_dir(self) -> str:
        """The broker's settings; never shown."""
        return self.variables.get("RUNNER_ETC_DIR") or os.path.join(self.root_dir, "etc")

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
                    argv = stream.read().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if not os.path.basename(argv[0]).startswith("beam"):
                continue
            for flag, value in zip(argv, argv[1:]):
                # Remote shells and helpers boot start_clean; only the broker boots the release itself.
                if flag == "-boot" and value.startswith(prefix) and not value.endswith("start_clean"):
                    return int(entry)
        return None


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
    """The ``emqx`` command: the one given, else the first on PATH and in the usual places."""
    if wanted:
        candidates = [wanted]
    else:
        directories = [d for d in os.environ.get("PATH", "").split(os.pathsep) if d]
        directories += [d for d in SEARCH_DIRECTORIES if d not in directories]
        candidates = [os.path.join(directory, "emqx") for directory in directories]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FleetError(
        "There is no executable emqx command at {0}.".format(wanted)
        if wanted
        else "No emqx command was found on PATH or in {0}.".format(", ".join(SEARCH_DIRECTORIES)),
        hint="Install EMQX on this host, or set 'executable' to the full path of its emqx command.",
    )
