# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the ``emqx`` command: the one place that knows its arguments, environment, user, time-out and exit codes."""

import errno
import glob
import os
import re
import signal
import subprocess
import tempfile
import time
from typing import IO, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils.accounts import find_account
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, REFUSED, UNKNOWN
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation, read_text
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK, masked
from ansible_collections.emqx.fleet.plugins.module_utils.unpack_trees import Watch

# What an exit code says about the node, if its state afterwards is the same as before.
EXIT_CODES = {
    0: ("done, or nothing to do", REFUSED),
    1: ("the node is not running, or the caller may not run the command", NOT_STARTED),
    2: ("unpacking or uninstalling failed", REFUSED),
    3: ("the release handler's check failed", REFUSED),
    4: ("the release handler could not install the release", REFUSED),
    127: ("the command crashed", REFUSED),
}

OUTPUT_LINES = 40
_LOOK_SECONDS = 0.01
#: Characters of the one sentence that a message quotes.
SENTENCE_LENGTH = 240
# A dump of a beam has ten thousands.
_ALL_LINES = 1000000
# Sentences that tell why a command failed, from the most telling ones; what emqx, its scripts and the shell say.
_DECISIVE = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:Unpack|Uninstall|Install) failed\b|^ERROR: (?!node_is_not_running)",
        r"^(?:Cannot upgrade/downgrade|FATAL:|Missing version|You need to be root|unknown args|\w+: unknown args)",
        r"^escript: |^\{\"(?:init terminating|could not start)|^Runtime terminating|^init terminating|^Crash dump",
        r"(?i)\b(?:no space left|permission denied|read-only file|cannot|can't|unable|not permitted|no such|invalid)\b",
        r"not responding to pings|^(?:ERROR: )?node_is_not_running|^ERROR: node|^Node is not running",
        r"(?i)error|exception|fail|refused|denied|crash|killed|terminat|not found(?!, attempting)|abort|panic",
    )
)
# What it tells of its way, and the list of versions at the end.
_HARMLESS = re.compile(
    r"unzip \[|Release \S+ (?:not found, attempting|is already|is marked|is the currently)|symlink |Unpacked"
    r" successfully|Installed Release|Uninstalled Release|Made release permanent|Installed versions|\* \S+ \w+$"
)
_TRACE = re.compile(r"\s+(?:in function|in call from|called as|\*\*\* argument)\s")
_TRACE_IN_TERM = re.compile(r",\s*\[\{'?[\w@-]+'?,\s*'?[\w/@-]+'?,\s*(?:\d+|\[).*$")
_POSIX_ERROR = re.compile(r"(?<![\w'])e[a-z0-9]{3,12}(?![\w'])")
_BINARY_DUMP = re.compile(r"<<(?:\s*\d+\s*,){8,}[\s\d,.]*(?:>>)?")
_COOKIE_SETTING = re.compile(r"^[ \t]*(?:node\.cookie[ \t]*=|-setcookie[ \t=])[ \t]*(\S+)", re.MULTILINE)
# Settings of the broker, and arguments that cuttlefish made of them at each start or a switch has kept.
_COOKIE_FILES = (
    ("etc_dir", "emqx.conf"),
    ("etc_dir", "vm.args"),
    ("data_dir", "configs/vm.*.args"),
    ("releases_dir", "*/vm.args"),
)
_COOKIE_ARGUMENT = re.compile(r"(-setcookie[\"',\s]+)[^\"',\s\]]+")
# What the install script hands to its functions: {emqx, "-name", Node, Cookie}, both of them atoms.
_ATOM = r"(?:'(?:[^'\\]|\\.)*'|[^'{},\s]+)"
_CRASH_ARGUMENTS = re.compile(r"(\{emqx,\s*\"-s?name\",\s*" + _ATOM + r",\s*)" + _ATOM)
_COOKIE_VARIABLES = ("EMQX_NODE__COOKIE", "EMQX_NODE_COOKIE")


class CommandResult(NamedTuple):
    """One run of ``emqx``. ``rc`` is None when the command was still running at its time-out.

    ``trees``: folders in ``/tmp`` that are proven to be of its making, once it has ended (:mod:`unpack_trees`).
    """

    argv: List[str]
    rc: Optional[int]
    stdout: str
    stderr: str
    seconds: float
    pid: int
    trees: Sequence[str] = ()

    @property
    def timed_out(self) -> bool:
        """Tell whether it was still at work at its time-out."""
        return self.rc is None

    @property
    def meaning(self) -> str:
        """What the exit code says."""
        if self.rc is None:
            return "it did not end within its time-out"
        if self.rc < 0:
            return "it was killed by signal {0}".format(-self.rc)
        return EXIT_CODES.get(self.rc, ("an exit code that is not documented", UNKNOWN))[0]


def secrets_of(installation: Installation, settings: Mapping[str, str]) -> List[str]:
    """Cookies that must never be shown: of the settings, of environments and of the defaults."""
    variables = installation.variables
    found = [variables.get("EMQX_DEFAULT_ERLANG_COOKIE")]
    found += [source.get(name) for source in (os.environ, settings) for name in _COOKIE_VARIABLES]
    for directory, pattern in _COOKIE_FILES:
        for path in glob.glob(os.path.join(glob.escape(getattr(installation, directory)), pattern)):
            try:
                found += _COOKIE_SETTING.findall(read_text(path) or "")
            except OSError:
                continue
    return sorted({value.strip("\"'") for value in found if value}, key=len, reverse=True)


def presentable(text: str, secrets: Sequence[str] = (), lines: int = OUTPUT_LINES) -> List[str]:
    """The last lines of a command's output, without secrets and without dumps of binaries."""
    text = _COOKIE_ARGUMENT.sub(r"\g<1>" + MASK, _CRASH_ARGUMENTS.sub(r"\g<1>" + MASK, text))
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _BINARY_DUMP.sub("<<...>>", masked(text))
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def decisive(lines: Sequence[str]) -> str:
    """Of what a command said (:func:`presentable`, whole), the sentence that tells why it failed, in one line.

    Empty where it says nothing but what it was about to do, as a command does that was killed. ``emqx`` says first what
    went wrong and then lists the installed versions, or has a trace of calls behind it, so the last line tells nothing.
    """
    said = [_sentence(lines, place) for place in range(len(lines)) if _begins(lines, place)]
    for pattern in _DECISIVE:
        for sentence in said:
            if pattern.search(sentence):
                return _short(sentence)
    said = [sentence for sentence in said if not _HARMLESS.match(sentence)]
    return _short(said[-1]) if said else ""


def _begins(lines: Sequence[str], place: int) -> bool:
    return not lines[place][:1].isspace() or place == 0


def _sentence(lines: Sequence[str], place: int) -> str:
    """A line with those that it goes on in, which are indented; what a trace of calls adds is left out."""
    words = lines[place].split()
    for line in lines[place + 1 :]:
        if not line[:1].isspace() or _TRACE.match(line):
            break
        words += line.split()
    return " ".join(words)


def _short(sentence: str) -> str:
    """Without a trace that is a part of the term, cut, and with the words for an error of the operating system."""
    text = _TRACE_IN_TERM.sub("", sentence).rstrip(" .,")
    for name in _POSIX_ERROR.findall(text):
        number = getattr(errno, name.upper(), None)
        if isinstance(number, int):
            text = "{0} ({1})".format(_cut(text), os.strerror(number))
            break
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= SENTENCE_LENGTH else text[:SENTENCE_LENGTH].rstrip() + " ..."


class EmqxCommand:
    """Runs ``emqx`` for one installation.

    A command that changes the node is started in a session of its own, writes to files and is never killed at its
    time-out: killed in the middle of a commit it would leave a node that cannot start. ``hold`` is a file descriptor
    that it inherits, so that whoever waits for that file's lock also waits for a command that outlived its module.
    ``settings`` are the ``EMQX_*`` variables that the broker was started with: without its node name and cookie no
    command finds it. Those of the caller's own environment come first.
    """

    def __init__(
        self,
        installation: Installation,
        user: str,
        timeout: float,
        hold: Optional[int] = None,
        settings: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.installation = installation
        self.timeout = timeout
        self.hold = hold
        self.user = user
        self.settings = dict(settings or {})
        self.secrets = secrets_of(installation, self.settings)
        #: Called again and again while a command changes the node.
        self.meanwhile = None  # type: Optional[Callable[[], None]]
        #: Folders in ``/tmp`` that its commands have made.
        self.trees = []  # type: List[str]

    def read(self, *arguments: str, timeout: Optional[float] = None) -> CommandResult:
        """A command that only reads; it is killed at the time-out, its own or that of all."""
        return self._run(list(arguments), self.timeout if timeout is None else timeout, kill=True)

    def change(self, *arguments: str) -> CommandResult:
        """A command that changes the node; at the time-out it is left alone and ``rc`` is None."""
        result = self._run(list(arguments), self.timeout, kill=False)
        self.trees += result.trees
        return result

    def output(self, result: CommandResult) -> List[str]:
        """What may be shown of a result."""
        return presentable(result.stdout + "\n" + result.stderr, self.secrets)

    def reason(self, result: CommandResult) -> str:
        """Why a command failed, in one line, by what it said itself; empty where it said nothing of that."""
        return decisive(presentable(result.stdout + "\n" + result.stderr, self.secrets, lines=_ALL_LINES))

    def argv(self, arguments: Sequence[str]) -> List[str]:
        """The command line, as a list: nothing here goes through a shell."""
        return [self.installation.executable] + list(arguments)

    def _run(self, arguments: List[str], timeout: float, kill: bool) -> CommandResult:
        argv = self.argv(arguments)
        started = time.time()
        with _scratch() as out, _scratch() as err:
            watch = None if kill else Watch([_identity(out), _identity(err)], self._uid())
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd="/",
                    env=self._environment(),
                    start_new_session=True,
                    pass_fds=() if self.hold is None else (self.hold,),
                    preexec_fn=self._become(),  # noqa: PLW1509 -- a module has one thread
                )
            except OSError as error:
                # A commit that was killed may have left an empty file: no shell was there to say so.
                said = "{0} cannot be run: {1}".format(argv[0], error.strerror)
                return CommandResult(argv, 127, "", said, time.time() - started, 0)
            rc = _wait(process, timeout, watch, self.meanwhile)
            if rc is None and kill:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode("utf-8", "replace"))
        trees = watch.made() if watch else ()
        return CommandResult(argv, rc, texts[0], texts[1], time.time() - started, process.pid, trees)

    def _environment(self) -> Dict[str, str]:
        environment = dict(self.settings, **os.environ)
        environment.update(LC_ALL="C", LANG="C")
        if self._changes_user():
            environment["HOME"] = find_account(self.user).home
            environment["USER"] = environment["LOGNAME"] = self.user
        else:
            environment.setdefault("HOME", "/root" if os.geteuid() == 0 else "/tmp")
        return environment

    def _uid(self) -> int:
        """The user that the command works as; with RUNNER_USER it drops to that one itself."""
        return find_account(self.user).uid if os.geteuid() == 0 else os.geteuid()

    def _changes_user(self) -> bool:
        """With RUNNER_USER set the command drops to that user itself; else root must not leave files of its own."""
        return os.geteuid() == 0 and self.user != "root" and not self.installation.variables.get("RUNNER_USER")

    def _become(self) -> Optional[Callable[[], None]]:
        if not self._changes_user():
            return None
        return find_account(self.user).become


def _wait(
    process: "subprocess.Popen[bytes]",
    timeout: float,
    watch: Optional[Watch],
    meanwhile: Optional[Callable[[], None]],
) -> Optional[int]:
    """The exit code; None at the time-out. Meanwhile it is watched what the command works in."""
    if watch is None:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
    watch.begin(process.pid)
    deadline = time.monotonic() + timeout
    while True:
        rc = process.poll()
        now = time.monotonic()
        if rc is not None or now >= deadline:
            return rc
        watch.look(now)
        if meanwhile is not None:
            meanwhile()
        time.sleep(min(_LOOK_SECONDS, deadline - now))


def _identity(stream: IO[bytes]) -> Tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino


def _scratch() -> IO[bytes]:
    """An anonymous file in memory where there is one: a full disk must not swallow what the command says."""
    directory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryFile(dir=directory)
