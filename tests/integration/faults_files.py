# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Faults of disks, permissions and files: full, read-only, somebody else's, torn, gone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from .cases import CLIENTS, Steps, case, group
from .node import NEW, OLD, Node

MIB = 1 << 20
EMQX = {"runner_user": "emqx"}
_Begun = TypeVar("_Begun")


@contextlib.contextmanager
def kept(node: Node, relative: str, how: str, undo: str) -> Iterator[None]:
    """Run a shell command on a path of the installation, and another in the end."""
    path = f"{node.root}/{relative}"
    node.host.exec(["sh", "-c", how.format(path)], privileged=True)
    try:
        yield
    finally:
        node.host.exec(["sh", "-c", undo.format(path)], privileged=True)


group("Disks")


@case(
    "the file system of the root directory is full",
    verdict="not_started",
    says="on the file system of /opt/emqx",
    leaves="BEFORE",
    goal="unpacked",
)
def root_full(node: Node) -> Steps:
    node.provide()
    # The node itself needs a few bytes to answer.
    with node.faults.fill(node.name, "/opt", 64 << 10):
        yield None


@case(
    "the file system of the root directory has 20 MiB left, less than an unpack takes",
    verdict="not_started",
    says="on the file system of /opt/emqx",
    leaves="BEFORE",
    goal="unpacked",
)
def root_nearly_full(node: Node) -> Steps:
    node.provide()
    with node.faults.fill(node.name, "/opt", 20 * MIB):
        yield None


@case("`/tmp` is full", verdict="not_started", says="on the file system of /tmp", leaves="BEFORE", goal="unpacked")
def tmp_full(node: Node) -> Steps:
    node.provide()
    with node.faults.fill(node.name, "/tmp", 0):
        yield None


@case(
    "`/tmp` has 20 MiB left", verdict="not_started", says="on the file system of /tmp", leaves="BEFORE", goal="unpacked"
)
def tmp_nearly_full(node: Node) -> Steps:
    node.provide()
    with node.faults.fill(node.name, "/tmp", 20 * MIB):
        yield None


@case(
    "`/tmp` fills up while the package is unpacked there",
    verdict="refused",
    says="emqx unpack 4.4.19 did not lead there",
    leaves="BEFORE",
    goal="unpacked",
)
def tmp_fills_up(node: Node) -> Steps:
    node.provide()
    with contextlib.ExitStack() as full:
        yield node.at_line("^unzip ", lambda: full.enter_context(node.faults.fill(node.name, "/tmp", 6 * MIB)))
    assert not list(node.host.path("/tmp").glob("emqx_untar_*")), "leftovers of the failed unpack"


# What the new release adds: copies in bin/ (about 210 KiB), then lib/, then releases/.
LEAVE_BIN, LEAVE_LIB = 100 << 10, 240 << 10


def _full_while_it_unpacks(node: Node, leave: int, begin: Callable[[], _Begun]) -> _Begun:
    """Fill the disk when the tarball is made and the node has not begun to unpack it, until the command gave up."""
    with contextlib.ExitStack() as full:
        with node.stop_at("attempting to unpack"):
            begun = begin()
            node.await_line("attempting to unpack")
            full.enter_context(node.faults.fill(node.name, "/opt", leave))
        node.await_no_command()
    return begun


@case(
    "the disk fills up while the node unpacks: truncated files in `lib/`",
    verdict="refused",
    says="emqx unpack 4.4.19 did not lead there",
    leaves="BEFORE",
)
def disk_fills_up(node: Node) -> Steps:
    node.provide()
    running = _full_while_it_unpacks(node, LEAVE_LIB, lambda: node.begin(version=NEW, timeout=90))
    yield running.finish()
    result = yield None
    assert result.actions == ["unpack", "uninstall", "unpack", "switch", "commit"], result.story


@case(
    "the disk fills up while the node unpacks: `bin/cuttlefish-4.4.19` is truncated, which a commit would copy",
    verdict="refused",
    says="emqx unpack 4.4.19 did not lead there",
    leaves="BEFORE",
)
def disk_fills_up_early(node: Node) -> Steps:
    node.provide()
    running = _full_while_it_unpacks(node, LEAVE_BIN, lambda: node.begin(version=NEW, timeout=90))
    yield running.finish()
    assert 0 < node.inside(f"bin/cuttlefish-{NEW}").stat().st_size < node.inside("bin/cuttlefish").stat().st_size
    yield None


def _truncated(node: Node, leave: int) -> None:
    """What the bare command leaves after a full disk and a retry, which says that it unpacked."""
    node.provide()
    line = f"{node.host.executable} unpack {NEW} > /dev/shm/output"
    command = threading.Thread(target=node.sh, args=(line, False))
    try:
        _full_while_it_unpacks(node, leave, command.start)
    finally:
        command.join()
    assert "Unpacked successfully" in node.emqx("unpack", NEW)


@case(
    "a full disk tore files in `lib/`, and the bare command, run again, said that it unpacked",
    does=("uninstall", "unpack", "switch", "commit"),
)
def truncated_release(node: Node) -> Steps:
    _truncated(node, LEAVE_LIB)
    yield None


@case(
    "a full disk tore `bin/cuttlefish-4.4.19`, and the bare command, run again, said that it unpacked",
    does=("uninstall", "unpack", "switch", "commit"),
)
def truncated_bin_copy(node: Node) -> Steps:
    _truncated(node, LEAVE_BIN)
    yield None


@case(
    "a torn file in `lib/` of the unpacked release, and no package to compare with",
    verdict="refused",
    says="own check refuses",
    leaves="UNPACKED",
)
def truncated_release_without_package(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    package = node.inside(f"releases/{node.package_name()}")
    package.unlink()
    node.sh(f"truncate -s 100 {node.root}/lib/emqx-{NEW}/ebin/emqx_connection.beam")
    yield None
    node.provide()


@case(
    "the disk is full before the switch to an unpacked release",
    verdict="not_started",
    says="Making 4.4.19 permanent needs",
    leaves="UNPACKED",
)
def full_before_switch(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with node.faults.fill(node.name, "/opt", 64 << 10):
        yield None


@case(
    "the disk is full before the commit", verdict="not_started", says="Making 4.4.19 permanent needs", leaves="CURRENT"
)
def full_before_commit(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.faults.fill(node.name, "/opt", 64 << 10):
        yield None


@case("the disk is full before a repair", verdict="refused", says="could not be completed", leaves="TORN")
def full_before_repair(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", NEW)
    node.sh(f"truncate -s 100 {node.root}/bin/cuttlefish")
    with node.faults.fill(node.name, "/opt", 0):
        yield None


group("Permissions")


@case(
    "`emqx_vars` is not writable for the runner user",
    verdict="not_started",
    says="releases/emqx_vars",
    leaves="BEFORE",
    base=EMQX,
)
def vars_readonly_mode(node: Node) -> Steps:
    node.provide()
    with kept(node, "releases/emqx_vars", "chmod 0444 {0}", "chmod 0644 {0}"):
        yield None


@case("`emqx_vars` is immutable", verdict="not_started", says="releases/emqx_vars", leaves="BEFORE")
def vars_immutable(node: Node) -> Steps:
    node.provide()
    with kept(node, "releases/emqx_vars", "chattr +i {0}", "chattr -i {0}"):
        yield None


@case("`emqx_vars` is on a read-only mount", verdict="not_started", says="releases/emqx_vars", leaves="BEFORE")
def vars_readonly_mount(node: Node) -> Steps:
    node.provide()
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        yield None


@case(
    "`emqx_vars` is read-only only when the commit comes",
    verdict="not_started",
    says="releases/emqx_vars",
    leaves="CURRENT",
)
def vars_readonly_at_commit(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        yield None


@case("`emqx_vars` was read-only for the command, which said nothing", does=("repair_commit",))
def vars_was_readonly(node: Node) -> Steps:
    node.provide()
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        node.emqx("upgrade", NEW)
    assert node.boots() == OLD
    yield None


@case(
    "`emqx_vars` was read-only for the command, and still is when the commit shall be repaired",
    verdict="refused",
    says="could not be completed",
    leaves="HALF",
)
def vars_readonly_at_repair(node: Node) -> Steps:
    node.provide()
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        node.emqx("upgrade", NEW)
        yield None


@case(
    "`releases/` is not writable for the runner user",
    verdict="not_started",
    says="/releases",
    leaves="BEFORE",
    base=EMQX,
    goal="unpacked",
)
def releases_not_writable(node: Node) -> Steps:
    node.provide()
    with kept(node, "releases", "chmod 0555 {0}", "chmod 0755 {0}"):
        yield None


@case("`bin/cuttlefish` belongs to root", verdict="not_started", says="bin/cuttlefish", leaves="BEFORE", base=EMQX)
def bin_file_of_root(node: Node) -> Steps:
    node.provide()
    with kept(node, "bin/cuttlefish", "chown root {0}", "chown emqx {0}"):
        yield None


@case("`RELEASES` was left by root", verdict="not_started", says="releases/RELEASES", leaves="BEFORE", base=EMQX)
def table_of_root(node: Node) -> Steps:
    node.provide()
    with kept(node, "releases/RELEASES", "chown root {0}", "chown emqx {0}"):
        yield None


@case(
    "the folder of the unpacked release was left by root",
    verdict="not_started",
    says=f"releases/{NEW}",
    leaves="UNPACKED",
    base=EMQX,
)
def release_folder_of_root(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    with kept(node, f"releases/{NEW}", "chown -R root {0}", "chown -R emqx {0}"):
        yield None


@case(
    "the package is root's alone",
    verdict="not_started",
    says="cannot be read by the broker's user emqx",
    leaves="BEFORE",
    base=EMQX,
    goal="unpacked",
)
def package_unreadable(node: Node) -> Steps:
    node.provide()
    with kept(
        node, f"releases/{node.package_name()}", "chown root {0}; chmod 0600 {0}", "chmod 0644 {0}; chown emqx {0}"
    ):
        yield None


@case(
    "an unprivileged user runs the task",
    verdict="not_started",
    says="Run as root or as the broker's user emqx",
    leaves="BEFORE",
    base=EMQX,
    goal="unpacked",
)
def unprivileged_user(node: Node) -> Steps:
    node.provide()
    yield {"user": "ops"}


@case("nothing: RUNNER_USER is set and root runs the task", base=EMQX, does=("unpack", "switch", "commit"))
def runner_user_and_root(node: Node) -> Steps:
    node.provide()
    yield None


@case("nothing: the runner user runs the task", base=EMQX, task={"user": "emqx"}, does=("unpack", "switch", "commit"))
def runner_user_itself(node: Node) -> Steps:
    node.provide()
    yield None


@case(
    "nothing: the broker runs as emqx without RUNNER_USER, and root runs the task",
    base={"runner_user": "emqx", "start": False},
    does=("unpack", "switch", "commit"),
)
def broker_of_another_user(node: Node) -> Steps:
    node.sh(f"sed -i 's/^RUNNER_USER=.*/RUNNER_USER=/' {node.root}/releases/emqx_vars")
    node.host.exec([node.host.executable, "start"], user="emqx")
    node.attach(CLIENTS)
    node.provide()
    yield None


@case(
    "nothing: installed as the distribution's package does, with links in `/usr/bin`",
    base={"layout": "package", "runner_user": "emqx"},
    task={"executable": "/usr/bin/emqx"},
    does=("unpack", "switch", "commit"),
)
def package_layout(node: Node) -> Steps:
    node.provide()
    yield None


group("Half-made commits and lost files")


def _upgrade(node: Node) -> None:
    node.provide()
    node.emqx("upgrade", NEW)


@case(
    "the commit ended before `emqx_vars`: the command calls it permanent, a restart boots the old version",
    does=("repair_commit",),
)
def vars_not_appended(node: Node) -> Steps:
    _upgrade(node)
    node.sh(f"head -n -2 {node.root}/releases/emqx_vars > /tmp/v && cat /tmp/v > {node.root}/releases/emqx_vars")
    assert node.boots() == OLD
    yield None


@case("`emqx_vars` has only the first of its two new lines", does=("repair_commit",))
def vars_half_appended(node: Node) -> Steps:
    _upgrade(node)
    path = node.inside("releases/emqx_vars")
    path.write_text(path.read_text().rpartition("ERTS_VSN")[0] + 'ERTS_VSN="13.', encoding="utf-8")
    yield None


for _file in ("emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript", "emqx"):

    def _torn(node: Node, file: str = _file) -> Steps:
        _upgrade(node)
        node.sh(f"truncate -s 30 {node.root}/bin/{file}")
        yield None

    _torn.__name__ = f"torn_{_file.replace('.', '_')}"
    case(f"`bin/{_file}` is torn on a running node", does=("repair_commit",))(_torn)


@case("`bin/emqx` is empty", does=("repair_commit",))
def empty_emqx(node: Node) -> Steps:
    _upgrade(node)
    node.sh(f": > {node.root}/bin/emqx")
    yield None


@case("`bin/no_dot_erlang.boot` is missing", does=("repair_commit",))
def no_dot_erlang_missing(node: Node) -> Steps:
    _upgrade(node)
    node.inside("bin/no_dot_erlang.boot").unlink()
    yield None


@case("`start_erl.data` names the old version", does=("repair_commit",))
def start_erl_old(node: Node) -> Steps:
    _upgrade(node)
    path = node.inside("releases/start_erl.data")
    path.write_text(path.read_text().replace(NEW, OLD), encoding="ascii")
    yield None


@case(
    "`bin/cuttlefish` is torn and the node is down: it cannot start",
    verdict="changed",
    says="The node is stopped",
    does=("repair_commit",),
    leaves="DOWN_DONE",
    lost=CLIENTS,
)
def torn_and_stopped(node: Node) -> Steps:
    _upgrade(node)
    node.sh(f"truncate -s 100 {node.root}/bin/cuttlefish")
    node.crash()
    assert node.host.exec([node.host.executable, "start"], check=False).returncode != 0, "it started all the same"
    yield None
    node.start()


@case(
    "the commit ended before `emqx_vars` and the node is down",
    verdict="changed",
    says="The node is stopped",
    does=("repair_commit",),
    leaves="DOWN_DONE",
    lost=CLIENTS,
)
def half_commit_and_stopped(node: Node) -> Steps:
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        _upgrade(node)
    node.crash()
    yield None
    node.start()


@case(
    "the commit ended before `emqx_vars`, and the node was restarted: the old version runs, the table says the new one",
    verdict="refused",
    says="a restart did not boot what was permanent",
    leaves="HALF",
    lost=CLIENTS,
)
def half_commit_and_restarted(node: Node) -> Steps:
    with node.faults.readonly(node.name, f"{node.root}/releases/emqx_vars"):
        _upgrade(node)
    node.crash()
    node.start()
    yield None
    # The way out that the message names.
    node.sh(f"""echo 'REL_VSN="{NEW}"' >> {node.root}/releases/emqx_vars""")
    node.crash()
    node.start()


@case("a file of the unpacked release is gone, the package is there", does=("uninstall", "unpack", "switch", "commit"))
def no_dot_erlang_gone(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    node.inside(f"releases/{NEW}/no_dot_erlang.boot").unlink()
    yield None


@case(
    "a file of the unpacked release is gone, and so is the package",
    verdict="refused",
    says="no_dot_erlang.boot is",
    leaves="UNPACKED",
)
def no_dot_erlang_and_package_gone(node: Node) -> Steps:
    no = node.provide()
    node.emqx("unpack", NEW)
    node.host.path(no).unlink()
    node.inside(f"releases/{NEW}/no_dot_erlang.boot").unlink()
    yield None
    node.provide()


@case(
    "`bin/nodetool-4.4.19` is gone before the switch, and so is the package",
    verdict="refused",
    says="nodetool-4.4.19 is",
    leaves="UNPACKED",
)
def bin_copy_gone(node: Node) -> Steps:
    no = node.provide()
    node.emqx("unpack", NEW)
    node.host.path(no).unlink()
    node.inside(f"bin/nodetool-{NEW}").unlink()
    yield None
    # With the package at hand the release counts as damaged, and is unpacked anew.
    node.provide()


@case("`bin/emqx-4.4.19` is gone before the commit", verdict="refused", says="bin/emqx-4.4.19 is", leaves="CURRENT")
def bin_copy_gone_before_commit(node: Node) -> Steps:
    node.provide()
    node.emqx("upgrade", "--no-permanent", NEW)
    path = node.inside(f"bin/emqx-{NEW}")
    kept_file = path.rename(path.with_name("kept"))
    yield None
    kept_file.rename(path)


@case(
    "the folder of the unpacked release is gone, the package is there", does=("uninstall", "unpack", "switch", "commit")
)
def folder_gone(node: Node) -> Steps:
    node.provide()
    node.emqx("unpack", NEW)
    node.sh(f"rm -r {node.root}/releases/{NEW}")
    yield None


@case(
    "the folder of the unpacked release is gone, and so is the package",
    verdict="not_started",
    says="There is no package",
    leaves="UNPACKED",
)
def folder_and_package_gone(node: Node) -> Steps:
    package = node.provide()
    node.emqx("unpack", NEW)
    node.sh(f"rm -r {node.root}/releases/{NEW} {package}")
    yield None
    node.provide()


@case("the folder of the unpacked release is gone, and the release shall go", does=("uninstall",), leaves="BEFORE")
def folder_gone_absent(node: Node) -> Steps:
    package = node.provide()
    node.emqx("unpack", NEW)
    node.sh(f"rm -r {node.root}/releases/{NEW} {package}")
    yield {"state": "absent"}
    node.provide()


group("Patches")

_PATCH = "emqx_connection.beam"


def _patch(node: Node) -> None:
    """The old version's code as a patch."""
    node.sh(f"mkdir -p {node.data_dir}/patches && cp {node.root}/lib/emqx-{OLD}/ebin/{_PATCH} {node.data_dir}/patches/")


@case(
    "a patch is in force before the upgrade", verdict="refused", says="There are patches", leaves="BEFORE", lost=CLIENTS
)
def patch_in_force(node: Node) -> Steps:
    _patch(node)
    node.crash()
    node.start()
    node.provide()
    yield None
    node.sh(f"rm {node.data_dir}/patches/*")


@case(
    "a patch that the next start would load over the release",
    verdict="refused",
    says="cannot be trusted to boot it",
    leaves="DONE",
)
def patch_stale(node: Node) -> Steps:
    _upgrade(node)
    _patch(node)
    yield None
    node.sh(f"rm {node.data_dir}/patches/*")


@case("a patch, accepted by name", task={"accept": ["patches"]}, does=("unpack", "switch", "commit"))
def patch_accepted(node: Node) -> Steps:
    _patch(node)
    node.provide()
    yield None
