# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A broker on a lab host: brought into a known state in a second, worked on by our modules, and looked at.

What a node is found to be is read with the ``emqx`` command and from the files themselves, never with our own modules.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import deprecations
from tests.broker import broker as packages
from tests.lab.labkit import Host, Lab, broker, net
from tests.lab.labkit.errors import LabError
from tests.lab.labkit.faults import Faults, find
from tests.lab.labkit.procs import Process, descendants, read_process, wait_for

from .clients import ComingAndGoing, IdleClients

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / ".build/collections/ansible_collections/emqx/fleet"
OLD, NEW = "4.4.18", "4.4.19"
COOKIE = "cookie-that-nobody-shall-see"
# Where the modules lie on a host, beside the part of Ansible that they import.
LIBRARY = "/usr/local/lib/under-test"
# One question instead of `emqx versions` and another: the release table, and the version of the code itself.
TABLE = "{[{V, S} || {_, V, _, S} <- release_handler:which_releases()], element(2, application:get_key(emqx, vsn))}."
MODULES = "ansible_collections.emqx.fleet.plugins.modules"


@dataclass(frozen=True)
class Result:
    """What a module returned; ``raw`` is all that it printed."""

    data: dict[str, Any]
    raw: str
    seconds: float

    @property
    def verdict(self) -> str:
        """``done``, or the class of the failure."""
        if not self.data.get("failed"):
            return "done"
        return str(self.data.get("failure_class", "crashed"))

    @property
    def message(self) -> str:
        """What it says of a failure, and its warnings."""
        return "\n".join([str(self.data.get("msg", "")), *map(str, self.data.get("warnings", []))])

    @property
    def actions(self) -> list[str]:
        """The steps in order."""
        return [action["action"] for action in self.data.get("actions", [])]

    @property
    def story(self) -> str:
        """What one wants to read of it when a test fails."""
        output = "\n".join(self.data.get("output", []))
        return f"{self.verdict} {self.data.get('actions')}\n{self.message}\n{output}\nafter: {self.data.get('after')}"

    @property
    def changed(self) -> bool:
        """Whether it says that it changed something."""
        return bool(self.data.get("changed"))


@dataclass
class Running:
    """A module that is at work."""

    process: subprocess.Popen[str]
    begun: float
    result: Result | None = None

    def finish(self, timeout: float = 180) -> Result:
        """Wait for its end. A module that was killed has returned nothing."""
        if self.result is None:
            self.result = self._finish(timeout)
        return self.result

    def _finish(self, timeout: float) -> Result:
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        seconds = time.monotonic() - self.begun
        try:
            data = json.loads(out)
        except ValueError:
            data = {"failed": True, "failure_class": "killed" if not out else "crashed", "msg": (out + err)[-3000:]}
        return Result(data, out + err, seconds)


@dataclass(frozen=True)
class State:
    """What a node is, by its own command and its files. ``table`` is empty where the node does not answer."""

    table: dict[str, str]
    boots: str | None
    torn: list[str] = field(default_factory=list)
    #: The version of the application that is loaded; not part of a comparison.
    loaded: str | None = field(default=None, compare=False)

    @property
    def running(self) -> str | None:
        """The version that runs by the release table."""
        by_status = {status: version for version, status in self.table.items()}
        return by_status.get("current") or by_status.get("permanent")


def make_library(target: Path) -> None:
    """What a host needs to run the installed collection's modules, in one folder."""
    import ansible  # only the controller's environment has it

    source = Path(ansible.__file__).parent
    (target / "ansible").mkdir(parents=True)
    (target / "ansible/__init__.py").write_text(f"__version__ = {ansible.__version__!r}\n", encoding="ascii")
    shutil.copytree(source / "module_utils", target / "ansible/module_utils")
    fleet = target / "ansible_collections/emqx/fleet/plugins"
    for name in ("modules", "module_utils"):
        shutil.copytree(COLLECTION / "plugins" / name, fleet / name)
    # Once, and not at every start of a module. By the digest of a file, since test_guards.py changes some.
    compiling = ["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", str(fleet)]
    subprocess.run(compiling, check=True)


class Node:
    """One broker and its host."""

    def __init__(self, lab: Lab, name: str, library: Path) -> None:
        self.name = name
        self.lab = lab
        self.host: Host = lab.host(name)
        self.faults = Faults(lab)
        self.clients: IdleClients | None = None
        self.under_way: list[Running] = []
        self._plain = self.host.spec
        self.form = ""
        self.host.put(library, LIBRARY)

    def wait_for(self, condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
        """Wait until a condition holds; false if it still does not after so many seconds, LabError without a host."""

        def holds() -> bool:
            if not self.lab.state.exists():
                raise LabError(f"{self.name} was taken down")
            return condition()

        return wait_for(holds, seconds, pause)

    # Into a known state

    def reset(
        self,
        version: str = "",
        *,
        form: str = "",
        layout: str = "unpacked",
        runner_user: str = "",
        clients: int = 4,
        start: bool = True,
    ) -> None:
        """A freshly installed broker, started, with idle clients; nothing of what was before is left.

        ``form`` is a variant of the test broker (``4.2``) that ``version`` is of, and that packages are provided of
        from now on; without a version it is the one that is upgraded from (:attr:`old`).
        """
        self.drop_clients()
        self.form = form
        self.faults.undo(self.host.name)
        self.host.group.freeze(False)
        self.kill_everything()
        self.end_modules()
        home = self.host.root_dir
        script = (
            f"chattr -R -i {home} 2>/dev/null; rm -rf {home} /opt/emqx /etc/emqx"
            " /var/lib/emqx /var/log/emqx /var/lib/log /usr/bin/emqx /usr/bin/emqx_ctl;"
            " find /tmp /dev/shm /var/tmp -mindepth 1 -delete; chmod 1777 /tmp"
        )
        self.host.exec(["sh", "-c", script], privileged=True)
        self.host.spec = dataclasses.replace(
            self._plain,
            version=version or self.old,
            package=form or self._plain.package,
            layout=layout,
            runner_user=runner_user,
            cookie=COOKIE,
        )
        broker.install(self.host)
        if start:
            self.start()
            if clients:
                self.attach(clients)

    def end_modules(self) -> None:
        """Wait for the modules that were begun; their host is gone or they were killed."""
        for running in self.under_way:
            running.finish(10)
        self.under_way.clear()

    def kill_everything(self) -> None:
        """SIGKILL to all on the host but its first process and its SSH server."""
        spared = {self.host.first_process()}

        def strangers() -> list[int]:
            return [
                process.pid
                for process in self.host.processes()
                if process.pid not in spared and process.comm not in ("sshd", "sleep") and process.state != "Z"
            ]

        def gone() -> bool:
            for pid in strangers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not strangers()

        if not self.wait_for(gone, 10):
            raise AssertionError(f"processes {strangers()} on {self.host.name} outlive SIGKILL")

    def start(self) -> None:
        """Start the broker."""
        broker.start(self.host)

    def recover(self) -> None:
        """Wait until a node that restarts by itself answers, or start one that ended."""
        assert self.wait_for(lambda: bool(self.state().table) or not find(self.host, "broker"), 60, 0.5), "it hangs"
        if not find(self.host, "broker"):
            self.start()

    def crash(self) -> None:
        """SIGKILL the broker and wait until it is gone; it stays so until it is started or installed anew."""
        self.faults.forget(self.faults.kill(self.host.name, "broker"))

    def restart(self) -> None:
        """What a loss of power does, and a start."""
        self.drop_clients()
        if find(self.host, "broker"):
            self.crash()
        self.start()

    def attach(self, count: int) -> IdleClients:
        """Connect idle clients; they are dropped at the next reset."""
        self.clients = IdleClients(
            net.namespace_path(self.lab.name, net.SWITCH), self.host.address, self.host.spec.port, count
        )
        return self.clients

    def clients_come_and_go(self) -> ComingAndGoing:
        """Besides those that stay, five a second."""
        return ComingAndGoing(net.namespace_path(self.lab.name, net.SWITCH), self.host.address, self.host.spec.port)

    def drop_clients(self) -> None:
        """Disconnect the idle clients."""
        if self.clients:
            self.clients.close()
            self.clients = None

    # Files and commands

    @property
    def root(self) -> str:
        """The installation's root directory, on the host."""
        return self.host.root_dir

    def inside(self, relative: str) -> Path:
        """A path below the installation, as this machine sees it."""
        return self.host.path(f"{self.root}/{relative}")

    @property
    def data_dir(self) -> str:
        """The broker's data directory, on the host."""
        return "/var/lib/emqx" if self.host.spec.layout == "package" else f"{self.root}/data"

    def sh(self, script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the host, as root."""
        return self.host.exec(["sh", "-c", script], check=check)

    def emqx(self, *arguments: str, check: bool = True, user: str = "root") -> str:
        """What the ``emqx`` command prints."""
        done = self.host.exec([self.host.executable, *arguments], check=check, user=user, timeout=330)
        return done.stdout

    def own(self, inside: str) -> None:
        """Give a file to the user that the broker runs as."""
        if self.host.spec.runner_user:
            self.host.exec(["chown", "-R", f"{self.host.spec.runner_user}:", inside])

    @property
    def old(self) -> str:
        """The version of its form that a test upgrades from."""
        return packages.versions(self.form)[-2] if self.form else OLD

    @property
    def new(self) -> str:
        """The version of its form that a test upgrades to."""
        return packages.versions(self.form)[-1] if self.form else NEW

    def provide(self, version: str = "", variant: str | None = None, name: str = "", folder: str = "") -> str:
        """Put a package on the node, into ``releases/`` unless told where; gives its path there.

        Without a version it is the newest, without a variant it is of the node's form.
        """
        source = self._package(version, variant)
        target = f"{folder or self.root + '/releases'}/{name or source.name}"
        self.host.put(source, target)
        self.own(target)
        return target

    def package_name(self, version: str = "", variant: str | None = None) -> str:
        """The name of the package that :meth:`provide` puts there."""
        return self._package(version, variant).name

    def _package(self, version: str, variant: str | None) -> Path:
        return packages.package(version or self.new, self.form if variant is None else variant)

    def fault(self, name: str, argument: str = "") -> contextlib.ExitStack:
        """Switch one of the test broker's own faults on; gives what switches it off again."""
        path = f"{self.data_dir}/faults/{name}"
        self.host.write(path, argument)
        stack = contextlib.ExitStack()
        stack.callback(lambda: self.host.path(path).unlink(missing_ok=True))
        return stack

    # What it is

    def state(self) -> State:
        """The release table as the node tells it, and what its files say about a restart."""
        done = self.host.exec([self.host.executable, "eval", TABLE], check=False, timeout=60)
        table = dict(re.findall(r'\{"([^"]+)",(\w+)\}', done.stdout)) if done.returncode == 0 else {}
        loaded = re.findall(r'"([^"]+)"\}\s*$', done.stdout) if table else []
        boots = self.boots()
        whole = next((version for version, status in table.items() if status == "permanent"), boots)
        return State(table, boots, self.torn(whole), loaded[0] if loaded else None)

    def boots(self) -> str | None:
        """What ``bin/emqx`` would boot, as its shell reads it."""
        done = self.sh(f'. {self.root}/releases/emqx_vars && echo "$REL_VSN"', check=False)
        return done.stdout.strip() or None

    def torn(self, version: str | None = NEW) -> list[str]:
        """Files in ``bin/`` that are not the files of a version."""
        found = []
        for name in ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript"):
            model = self.inside(f"bin/{name}-{version}")
            if model.exists() and model.read_bytes() != self.inside(f"bin/{name}").read_bytes():
                found.append(name)
        return found

    def journal(self) -> str:
        """The journal of our modules."""
        path = self.host.path(f"{self.data_dir}/fleet/journal.jsonl")
        return path.read_text(encoding="utf-8") if path.exists() else ""

    # Our modules on it

    def begin(self, module: str = "emqx_release", user: str = "root", check: bool = False, **arguments: Any) -> Running:
        """Start a module on the host, without waiting for it; ``check``: in check mode."""
        arguments.setdefault("executable", self.host.executable)
        arguments |= {"_ansible_verbosity": 3, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
        arguments["_ansible_check_mode"] = check
        argv = ["env", f"PYTHONPATH={LIBRARY}", "/usr/bin/python3", "-m", f"{MODULES}.{module}"]
        process = subprocess.Popen(
            self.host.command(argv, user=user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        self.under_way.append(Running(process, time.monotonic()))
        return self.under_way[-1]

    def release(self, version: str = NEW, user: str = "root", timeout: float = 90, **arguments: Any) -> Result:
        """Run ``emqx_release``."""
        return self.begin("emqx_release", user, version=version, timeout=timeout, **arguments).finish()

    def facts(self, user: str = "root", **arguments: Any) -> dict[str, Any]:
        """Run ``emqx_release_info``."""
        result = self.begin("emqx_release_info", user, **arguments).finish()
        if result.verdict != "done":
            raise AssertionError(f"emqx_release_info failed: {result.raw}")
        return result.data

    # Killing what works on it

    def modules(self) -> list[int]:
        """Our modules that are at work on the host."""
        return [
            process.pid
            for process in self.host.processes()
            if any(MODULES in word for word in process.argv)
            and process.comm.startswith("python")
            and process.state != "Z"
        ]

    def commands(self) -> list[Process]:
        """The ``emqx`` commands that change something and are at work."""
        return [
            process
            for process in self.host.processes()
            if any(word.endswith("install_upgrade.escript") for word in process.argv) and process.state != "Z"
        ]

    def kill_commands(self) -> int:
        """SIGKILL the process groups of such commands, and of the ``su`` that they were started with."""
        groups = set()
        for process in self.commands():
            for pid in (process.pid, process.parent):
                found = read_process(pid)
                if found and (pid == process.pid or found.comm == "su"):
                    with contextlib.suppress(ProcessLookupError):
                        groups.add(os.getpgid(pid))
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        return len(groups)

    def kill_module(self, tree: bool) -> int:
        """SIGKILL our module, alone or with all that it started."""
        killed = 0
        for pid in self.modules():
            below = descendants(pid) if tree else set()
            for victim in [pid, *below]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed += 1
        return killed

    def kill_below_module(self) -> int:
        """SIGKILL all that our module has started, whatever it is doing, and not the module."""
        killed = 0
        for victim in set().union(*(descendants(pid) for pid in self.modules())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
        return killed

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Every process on the host stands still meanwhile; SIGKILL ends them all the same."""
        try:
            self.host.group.freeze(True)
            yield
        finally:
            self.host.group.freeze(False)

    def await_command(self, seconds: float = 60) -> Process:
        """Wait until a command that changes something is at work."""
        found: list[Process] = []

        def there() -> bool:
            found[:] = self.commands()
            return bool(found)

        if not self.wait_for(there, seconds, 0.005):
            raise AssertionError("no emqx command that changes something was started")
        return found[0]

    def await_no_command(self, seconds: float = 60) -> None:
        """Wait until no such command is at work."""
        if not self.wait_for(lambda: not self.commands(), seconds, 0.02):
            raise AssertionError("the emqx command does not end")

    def await_line(self, pattern: str, seconds: float = 180) -> None:
        """Wait until such a command has printed a line that matches; with ``stop_at`` it stands there."""
        wanted = re.compile(pattern, re.MULTILINE)

        def printed() -> bool:
            if any(wanted.search(_said(process)) for process in self.commands()):
                return True
            if self.under_way and all(running.process.poll() is not None for running in self.under_way):
                raise AssertionError(f"all that was under way ended, and printed no {pattern!r}")
            return False

        if not self.wait_for(printed, seconds):
            raise AssertionError(f"no command printed {pattern!r} within {seconds:g} s")

    def at_line(
        self,
        pattern: str,
        action: Callable[[], Any] | None = None,
        then: Callable[[], Any] | None = None,
        **arguments: Any,
    ) -> Result:
        """Run ``emqx_release``; do ``action`` while its command stands still after a line, ``then`` when it goes on."""
        asked: dict[str, Any] = {"version": NEW, "timeout": 90, **arguments}
        with contextlib.ExitStack() as end:
            with self.stop_at(pattern):
                running = self.begin(**asked)
                end.callback(running.finish)
                self.await_line(pattern)
                if action:
                    action()
            if then:
                then()
        return running.finish()

    def stop_at(self, pattern: str) -> contextlib.ExitStack:
        """Commands that change something stand still after such a line, until this is undone."""
        return self.fault("stop_at", pattern)

    def await_switching(self, seconds: float = 180) -> None:
        """Wait until the node is in the middle of a switch, where the fault ``relup_hang`` keeps it."""
        sign = self.host.path(f"{self.data_dir}/faults/relup_hangs")
        if not self.wait_for(sign.exists, seconds):
            raise AssertionError(f"the node does not switch within {seconds:g} s")

    def await_sleep(self, seconds: float = 180) -> None:
        """Wait until our module sleeps, which it does for as long as processes run old code, and for a lock."""

        def sleeps() -> bool:
            return any("nanosleep" in _text_of(f"/proc/{pid}/wchan") for pid in self.modules())

        if not self.wait_for(sleeps, seconds, 0.05):
            raise AssertionError(f"the module did not sleep within {seconds:g} s")


def _text_of(path: str) -> str:
    """A file of ``/proc``; empty where its process is gone."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _said(process: Process) -> str:
    """What a process has written to its standard output, if that is a file, which has no name any more."""
    path = f"/proc/{process.pid}/fd/1"
    try:
        # A process that is just being forked may have a pipe there, which must not be waited for.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def ansible(
    lab: Lab, arguments: Sequence[str], venv: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible against the lab, with the installed collection alone.

    AssertionError where it makes deprecation warnings.
    """
    commands = venv or Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "PATH": f"{commands}:{os.environ['PATH']}",
        **deprecations.ENVIRONMENT,
        **env,
    }
    done = subprocess.run(
        [str(commands / arguments[0]), "-i", str(lab.inventory), *arguments[1:]],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    deprecations.require_none(done.stdout + done.stderr, arguments[0])
    return done
