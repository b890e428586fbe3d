# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small model of an EMQX node: files in a directory, a release table in memory, and the ``emqx`` command on them.

Commands can be told to misbehave as the real one does (``FakeNode.next_time``): to say one exit code and do another
thing, to hang, to stop half-way through a commit, to take the node down.
"""

import os
import pwd
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import (
    asking,
    distribution,
    facts,
    preparation,
    unpack_trees,
)
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult, EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom, parse_term, to_str
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    NO_DOT_ERLANG,
    VERSIONED_BIN_FILES,
    Installation,
)

ERTS = "13.1.5"
# No process of this machine: the kernel gives none such a number.
PID = 4194305
COOKIE = "not-to-be-seen"
USER = pwd.getpwuid(os.geteuid()).pw_name
LIBRARIES = ("emqx", "ekka")

_VARS = """\
## constants from relx template
REL_VSN="{version}"
ERTS_VSN="{erts}"
ERL_OPTS=""
RUNNER_BIN_DIR="$RUNNER_ROOT_DIR/bin"
RUNNER_LOG_DIR="$RUNNER_ROOT_DIR/log"
RUNNER_LIB_DIR="$RUNNER_ROOT_DIR/lib"
RUNNER_ETC_DIR="$RUNNER_ROOT_DIR/etc"
RUNNER_DATA_DIR="$RUNNER_ROOT_DIR/data"
RUNNER_USER=""
EMQX_DESCRIPTION='EMQX Broker'
EMQX_DEFAULT_ERLANG_COOKIE='{cookie}'

## overwritten vars here
"""


# How the upgrade script asks whether a release is unpacked; see upgrade_script.
ASKS = {
    "file": 'StartBoot = filelib:is_regular(filename:join(["releases", Version, "start.boot"])),',
    "folder": 'StartBoot = filelib:is_dir(filename:join(["releases", Version, "start.boot"])),',
}


def bin_content(name: str, version: str, asks: str = "file") -> bytes:
    text = "#!/bin/sh\n# {0} of {1}\n".format(name, version)
    if name == "install_upgrade.escript":
        text += '{0}\ncopy("{1}").\n'.format(ASKS[asks], NO_DOT_ERLANG)
    if name == "nodetool":
        text += 'consult(filename:join([Root, "releases", "RELEASES"])).\n'
    return text.encode("ascii")


def relup_text(version: str, ups: Sequence[str], downs: Sequence[str]) -> str:
    def rows(versions: Sequence[str]) -> str:
        return ", ".join('{{"{0}", [], [point_of_no_return]}}'.format(v) for v in versions)

    return '%% coding: utf-8\n{{"{0}", [{1}], [{2}]}}.\n'.format(version, rows(ups), rows(downs))


def release_files(
    version: str, ups: Sequence[str] = (), downs: Sequence[str] = (), relup: bool = True
) -> Dict[str, bytes]:
    """Content by path below the root directory, for one release."""
    release = "releases/{0}/".format(version)
    files = {
        release + "emqx.rel": '{{release, {{"emqx", "{0}"}}, {{erts, "{1}"}}, []}}.\n'.format(version, ERTS).encode(),
        release + "start.boot": "boot of {0}".format(version).encode(),
        release + NO_DOT_ERLANG: "no_dot_erlang of {0}".format(version).encode(),
        release + "BUILT_ON": b"25.2.3-x86_64-pc-linux-gnu-64-debian12\n",
    }
    if relup:
        files[release + "relup"] = relup_text(version, ups, downs).encode()
    for name in VERSIONED_BIN_FILES:
        files["bin/{0}-{1}".format(name, version)] = bin_content(name, version)
    for name in LIBRARIES:
        files["lib/{0}-{1}/ebin/{0}.beam".format(name, version)] = "code of {0} {1}".format(name, version).encode() * 9
    return files


def write_package(
    path: Path,
    version: str,
    ups: Sequence[str] = (),
    downs: Sequence[str] = (),
    relup: bool = True,
    without: Sequence[str] = (),
) -> Path:
    """A sound package zip, unless members are left out (``without``: beginnings of their paths)."""
    files = release_files(version, ups, downs, relup)
    files["releases/emqx_vars"] = _VARS.format(version=version, erts=ERTS, cookie=COOKIE).encode()
    with zipfile.ZipFile(str(path), "w") as archive:
        for name in sorted(files):
            if not any(name.startswith(beginning) for beginning in without):
                archive.writestr("emqx/" + name, files[name])
    return path


class Misbehaviour(NamedTuple):
    """What a command does the next time it runs, instead of what it should."""

    rc: Optional[int] = 0
    does: bool = True
    stop_after: Optional[str] = None
    then: Optional[Callable[[], None]] = None
    stdout: str = ""
    rc_is_set: bool = False


class FakeNode:
    """A node in ``root``; runs ``version``, which it was installed with."""

    def __init__(self, root: Path, version: str, ups: Sequence[str] = (), downs: Sequence[str] = ()) -> None:
        self.root = root
        self.state = "running"
        self.table = {version: "permanent"}
        self.running = version
        #: How the upgrade script of the version that it was installed with looks for an unpacked release.
        self.asks = "file"
        self.old_code: List[Tuple[str, int]] = []
        self.settled_at_read: Optional[int] = None
        self.connections = 20
        self.pid = PID
        self.uptime = 100
        self.patches_in_force: Dict[str, bool] = {}
        self.extra: Dict[str, Any] = {}
        self.on_read: Optional[Callable[[int], None]] = None
        self.calls: List[List[str]] = []
        #: Folders that the last command unpacked in.
        self.trees: List[str] = []
        self.reads = 0
        self.bad_dry_check: Optional[str] = None
        self.old_code_after_switch: List[Tuple[str, int]] = []
        self._misbehaviours: Dict[str, List[Misbehaviour]] = {}
        for name in ("bin", "releases", "lib", "data/patches", "etc", "log", "tmp"):
            (root / name).mkdir(parents=True)
        self.path("releases/emqx_vars").write_text(_VARS.format(version=version, erts=ERTS, cookie=COOKIE))
        self.path("etc/emqx.conf").write_text("node.name = emqx@127.0.0.1\nnode.cookie = {0}\n".format(COOKIE))
        self.install_files(version, ups, downs)
        for name in VERSIONED_BIN_FILES:
            shutil.copy(str(self.path("bin", name + "-" + version)), str(self.path("bin", name)))
            self.path("bin", name).chmod(0o755)
        shutil.copy(str(self.path("releases", version, NO_DOT_ERLANG)), str(self.path("bin", NO_DOT_ERLANG)))
        self.path("releases/start_erl.data").write_text("{0} {1}".format(ERTS, version))
        self.write_table()
        self.installation = Installation(str(self.path("bin/emqx")))
        self.command = FakeCommand(self)

    def use_own_tmp(self, monkeypatch: Any) -> None:
        """Have the modules look for unpacked packages, and for room for them, in a folder of this node."""
        monkeypatch.setattr(unpack_trees, "GLOB", str(self.path("tmp/emqx_untar_*")))
        # Upgrade scripts of others that run on the machine have no part in this.
        monkeypatch.setattr(unpack_trees, "SCRIPT", "script-of-{0}".format(self.root))
        for module in (facts, preparation):
            monkeypatch.setattr(module, "UNPACK_DIR", str(self.path("tmp")))

    def use_distribution(self, monkeypatch: Any) -> None:
        """Have the model answer over the distribution protocol, as a real node does."""
        monkeypatch.setattr(asking, "evaluate", self.evaluate)

    def evaluate(self, peer: distribution.Peer, text: str, timeout: float) -> bytes:
        """The value of a question, unless it is stopped or hangs."""
        assert (peer.node, peer.cookie) == ("emqx@127.0.0.1", COOKIE)
        if self.state == "stopped":
            raise distribution.NotListeningError("{0} is not reached: nothing listens at port 4370".format(peer.node))
        if self.state == "hung":
            raise distribution.AnswerTimeoutError("{0} does not answer within {1:g} s".format(peer.node, timeout))
        return self.answer(text).encode("ascii")

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def install_files(self, version: str, ups: Sequence[str] = (), downs: Sequence[str] = ()) -> None:
        for name, content in release_files(version, ups, downs).items():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_bytes(content)

    def use_script(self, asks: str) -> None:
        """Have the upgrade script in force ask another way: ``file`` or ``folder``."""
        self.asks = asks
        self.path("bin/install_upgrade.escript").write_bytes(bin_content("install_upgrade.escript", self.running, asks))
        self.path("bin/install_upgrade.escript-" + self.running).write_bytes(
            bin_content("install_upgrade.escript", self.running, asks)
        )

    def lose_rows(self, kept: str) -> None:
        """What unpacking an unpacked release again does: ``RELEASES`` has that version alone, and no other."""
        rows = '[{{release,"emqx","{0}","{1}",[{{emqx,"{0}","/lib"}}],permanent}}].\n'.format(kept, ERTS)
        self.path("releases/RELEASES").write_text(rows)

    def add_release(self, version: str, status: str, ups: Sequence[str] = (), downs: Sequence[str] = ()) -> None:
        self.install_files(version, ups, downs)
        self.table[version] = status
        if status == "current":
            self.running = version
        self.write_table()

    def add_package(self, version: str, ups: Sequence[str], downs: Sequence[str] = (), otp: str = "25.2.3-1") -> Path:
        name = "emqx-{0}-otp{1}-debian12-amd64.zip".format(version, otp)
        return write_package(self.path("releases", name), version, ups, downs)

    def write_table(self) -> None:
        rows = [
            '{{release,"emqx","{0}","{1}",[{{emqx,"{0}","/lib"}}],{2}}}'.format(
                version, ERTS, "unpacked" if status == "current" else status
            )
            for version, status in sorted(self.table.items())
        ]
        self.path("releases/RELEASES").write_text("[{0}].\n".format(",\n ".join(rows)))

    def next_time(self, verb: str, **how: Any) -> None:
        """The next command ``verb`` (``unpack``, ``upgrade``, ``downgrade``, ``install``, ``uninstall``) goes wrong."""
        self._misbehaviours.setdefault(verb, []).append(Misbehaviour(rc_is_set="rc" in how, **how))

    def stop(self) -> None:
        self.state = "stopped"

    def boots(self) -> str:
        return self.installation.variables["REL_VSN"]

    def changes(self) -> List[List[str]]:
        """The commands that were run to change the node."""
        return [call for call in self.calls if call[0] != "eval"]

    # The command

    def run(self, arguments: List[str]) -> Tuple[Optional[int], str, str]:
        self.calls.append(arguments)
        verb = arguments[0]
        if self.state == "stopped" or self.state == "hung":
            return 1, "Node emqx@127.0.0.1 not responding to pings.\n", ""
        boots = self.installation.variables.get("REL_VSN", "")
        if boots not in self.path("releases/RELEASES").read_text():
            return 1, "", "escript: exception error: no match of right hand side value false\n"
        if verb == "eval":
            return 0, self.answer(arguments[1]), ""
        queue = self._misbehaviours.get(verb, [])
        how = queue.pop(0) if queue else Misbehaviour()
        rc: Optional[int] = 0
        text = ""
        if how.does:
            rc, text = getattr(self, "_do_" + verb)(arguments[-1], "--no-permanent" in arguments, how.stop_after)
        if how.rc_is_set:
            rc = how.rc
        if how.then is not None:
            how.then()
        return rc, how.stdout + text, self.extra.get("stderr", "")

    def _do_unpack(self, version: str, unused: bool, stop_after: Optional[str]) -> Tuple[int, str]:
        if self.table.get(version, "unpacked") != "unpacked":
            return 0, "Release {0} is already installed\n".format(version)
        whole = self.asks == "file" and self.path("releases", version).is_dir()
        if version in self.table and whole:
            return 0, "Release {0} is already unpacked\n".format(version)
        again = version in self.table
        zips = sorted(self.path("releases").glob("emqx-*{0}*.zip".format(version)))
        if len(zips) != 1:
            return (127, "unzip two") if zips else (2, "Unpack failed: no package\n")
        tree = self.path("tmp/emqx_untar_{0}".format(len(self.calls)))
        tree.mkdir()
        self.trees.append(str(tree))
        self.path("releases/emqx-{0}.tar.gz".format(version)).write_bytes(b"tarball")
        with zipfile.ZipFile(str(zips[0])) as archive:
            for member in archive.infolist():
                target = self.path(member.filename[len("emqx/") :])
                # As tar in the node does: what is there already is kept.
                if target.name in ("emqx_vars", "emqx.rel") or target.exists():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.read(member)
                if stop_after == "truncated" and target.suffix == ".beam":
                    content = content[:10]
                target.write_bytes(content)
        self.table.setdefault(version, "unpacked")
        self.write_table()
        if again:
            self.lose_rows(version)
        return 0, 'Unpacked successfully: "{0}"\n'.format(version)

    def _do_upgrade(self, version: str, no_permanent: bool, stop_after: Optional[str]) -> Tuple[int, str]:
        assert no_permanent, "a switch is never made permanent at once"
        lost = False
        if self.table.get(version, "unpacked") == "unpacked":
            lost = version in self.table and self.asks == "folder"
            rc, text = self._do_unpack(version, False, stop_after)
            if rc or stop_after == "unpacked":
                return rc, text
        if version == self.running:
            return 0, "already running"
        ups = self._relup(version)[0]
        back = self._relup(self.running)[1]
        if self.running not in ups and version not in back:
            return 3, "ERROR: no_matching_relup\n"
        self.connections -= sum(count for _unused, count in self.old_code)
        if self.table.get(self.running) == "current":
            self.table[self.running] = "old"
        if self.table[version] != "permanent":
            self.table[version] = "current"
        self.running = version
        self.old_code = list(self.old_code_after_switch)
        self.write_table()
        if lost:
            self.lose_rows(version)
        return 0, "Installed Release: {0}\n".format(version)

    _do_downgrade = _do_upgrade

    def _do_install(self, version: str, unused: bool, stop_after: Optional[str]) -> Tuple[int, str]:
        assert version == self.running, "only what runs is made permanent"
        if self.table[version] == "permanent":
            return 0, "already installed, running and set permanent\n"
        for name, status in list(self.table.items()):
            if status == "permanent":
                self.table[name] = "old"
        self.table[version] = "permanent"
        self.write_table()
        self.path("releases/start_erl.data").write_text("{0} {1}".format(ERTS, version))
        if stop_after == "table":
            return 0, ""
        for name in VERSIONED_BIN_FILES:
            content = self.path("bin", "{0}-{1}".format(name, version)).read_bytes()
            if stop_after == name:
                self.path("bin", name).write_bytes(content[:5])
                return 0, ""
            self.path("bin", name).write_bytes(content)
        self.path("bin", NO_DOT_ERLANG).write_bytes(self.path("releases", version, NO_DOT_ERLANG).read_bytes())
        if stop_after == NO_DOT_ERLANG:
            return 0, ""
        with self.path("releases/emqx_vars").open("a") as stream:
            stream.write('REL_VSN="{0}"\nERTS_VSN="{1}"\n'.format(version, ERTS))
        return 0, 'Made release permanent: "{0}"\n'.format(version)

    def _do_uninstall(self, version: str, unused: bool, stop_after: Optional[str]) -> Tuple[int, str]:
        if version not in self.table:
            return 0, "Release {0} is not found\n".format(version)
        assert self.table[version] in ("old", "unpacked"), "uninstall of {0}".format(self.table[version])
        assert version not in (self.running, self.boots()), "uninstall of what runs or boots"
        if not self.path("releases", version).is_dir():
            return 3, "remove_release failed: enoent\n"
        shutil.rmtree(str(self.path("releases", version)))
        for name in LIBRARIES:
            shutil.rmtree(str(self.path("lib", "{0}-{1}".format(name, version))), ignore_errors=True)
        del self.table[version]
        self.write_table()
        return 0, "Uninstalled Release: {0}\n".format(version)

    def _relup(self, version: str) -> Tuple[List[str], List[str]]:
        path = self.path("releases", version, "relup")
        if not path.exists():
            return [], []
        _unused, ups, downs = parse_term(path.read_text())
        return [to_str(row[0]) for row in ups], [to_str(row[0]) for row in downs]

    # The answer to the probe

    def answer(self, expression: str) -> str:
        self.reads += 1
        if self.on_read is not None:
            self.on_read(self.reads)
        if self.settled_at_read is not None and self.reads >= self.settled_at_read:
            self.old_code = []
        self.uptime += 1
        told: List[Tuple[str, Any]] = [
            ("node", Atom("emqx@127.0.0.1")),
            ("pid", str(self.pid)),
            (
                "releases",
                [(version, Atom(status), ["emqx-" + version]) for version, status in sorted(self.table.items())],
            ),
            ("app_version", self.running),
            ("licensed", Atom("false")),
            ("sysdescr", "EMQX Broker"),
            ("uptime", "{0} seconds".format(self.uptime)),
            ("supervisor", "<0.1862.0>"),
            ("otp", "25"),
            ("erts", ERTS),
            ("stats", [(Atom("connections.count"), self.connections), (Atom("sessions.count"), self.connections)]),
            ("cluster_running", [Atom("emqx@127.0.0.1")]),
            ("cluster_stopped", []),
            ("members", []),
            ("plugins", []),
            ("modules", []),
            ("alarms", []),
            ("listeners", [(Atom("mqtt:tcp"), 1883)]),
            ("web_listeners", []),
            ("patches", [(Atom(name), Atom(str(on).lower())) for name, on in self.patches_in_force.items()]),
        ]
        if "check_process_code" in expression:
            told.append(("old_code", [(Atom(module), count) for module, count in self.old_code]))
        if "get_all_env" in expression:
            told.append(
                ("settings", [(Atom("emqx"), [(Atom("zones"), 17), (Atom("acl_file"), 18)]), (Atom("sasl"), [])])
            )
        told += list(self.extra.get("facts", {}).items())
        checked = re.search(r"V=:=\[([0-9,]+)\]", expression)
        if checked:
            version = "".join(chr(int(code)) for code in checked.group(1).split(","))
            if self.table.get(version) in ("unpacked", "old"):
                bad = self.bad_dry_check
                told.append(("dry_check", Atom("ok") if bad is None else bad))
            else:
                told.append(("dry_check", Atom("undefined")))
        return wide([Atom("emqx_fleet"), [(Atom(name), value) for name, value in told]]) + "\nok\n"


class FakeCommand(EmqxCommand):
    """The real argument and secret handling, on top of the model."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node.installation, USER, 60.0)
        self.node = node

    def _run(self, arguments: List[str], timeout: float, kill: bool) -> CommandResult:
        self.node.trees = []
        rc, stdout, stderr = self.node.run(arguments)
        return CommandResult(self.argv(arguments), rc, stdout, stderr, 0.01, 99, self.node.trees)


def wide(value: Any) -> str:
    """A term as ``io:format`` prints it with ``~w``: strings are lists of numbers. A list of two or more is a tuple at
    the top only.
    """
    if isinstance(value, list) and value and value[0] == "emqx_fleet":
        value = tuple(value)
    if isinstance(value, Atom):
        text = str(value)
        return text if re.match(r"^[a-z][A-Za-z0-9_@]*$", text) else "'{0}'".format(text)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, bytes):
        return "<<{0}>>".format(",".join(str(byte) for byte in bytearray(value)))
    if isinstance(value, str):
        return "[{0}]".format(",".join(str(ord(character)) for character in value))
    if isinstance(value, tuple):
        return "{{{0}}}".format(",".join(wide(part) for part in value))
    return "[{0}]".format(",".join(wide(part) for part in value))
