# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The test broker against recorded calls of EMQX 4.4: exit codes, texts, files.

The recordings are in `transcripts/`; where the broker differs on purpose is in `deviations.md`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker import broker
from tests.broker.broker import Broker
from tests.contract.replay import OUR_LISTENERS, Outcome, Replay

MakeNode = Callable[..., Broker]
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="changes the user or mounts a file system")
NOBODY = 65534


def alter(source: Path, target: Path, drop: Callable[[str], bool] = lambda _unused: False, top: str = "emqx") -> None:
    """Copy a package without some members, or with another top folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            name = entry.filename.replace("emqx", top, 1)
            if not drop(entry.filename):
                data = old.read(entry)
                entry.filename = name
                new.writestr(entry, data)


def fresh(make_node: MakeNode, version: str = "4.4.18") -> Broker:
    """A started node."""
    node = make_node(version)
    node.start()
    return node


def reset(replay: Replay, make_node: MakeNode, version: str = "4.4.18") -> Broker:
    """Go on with a node as good as new."""
    replay.node.kill()
    replay.node = fresh(make_node, version)
    return replay.node


def test_a_fresh_node(make_node: MakeNode) -> None:
    Replay("a", fresh(make_node)).until("a13f-install-nopackage")


def test_b_upgrade_and_back(make_node: MakeNode) -> None:
    node = fresh(make_node)
    node.provide("4.4.19")
    replay = Replay("b", node)
    replay.until("b12c-versions")
    node.provide("4.4.18")
    replay.until("b13c-root")


def test_c_no_permanent(make_node: MakeNode) -> None:
    node = fresh(make_node)
    node.provide("4.4.19")
    Replay("c", node).until("c07c-downgrade")


def test_d_unpack(make_node: MakeNode) -> None:
    node = fresh(make_node)
    node.provide("4.4.19")
    replay = Replay("d", node)
    replay.until("d04b-versions")
    reset(replay, make_node).provide("4.4.19")
    replay.until("d05c-versions")
    node = reset(replay, make_node)
    node.provide("4.4.19")
    replay.until("d06-unpack")
    shutil.rmtree(node.home / "releases" / "4.4.19")
    replay.until("d06c-versions")
    node = reset(replay, make_node)
    zip_19 = node.provide("4.4.19")
    replay.until("d07-unpack")
    zip_19.unlink()
    replay.until("d07c-versions")
    node = reset(replay, make_node)
    zip_19 = node.provide("4.4.19")
    replay.until("d08-unpack")
    zip_19.unlink()
    (node.home / "releases" / "emqx-4.4.19.tar.gz").unlink()
    shutil.rmtree(node.home / "releases" / "4.4.19")
    replay.until("d08e-versions")


def test_e_packages_that_are_none(make_node: MakeNode) -> None:
    node = fresh(make_node)
    zip_19 = node.provide("4.4.19")
    whole = zip_19.read_bytes()
    replay = Replay("e", node)
    zip_19.write_bytes(whole[: len(whole) // 2])
    replay.until("e01c-again")
    zip_19.write_bytes(random.Random(19).randbytes(100_000))
    replay.until("e02-zip-garbage-versions")
    zip_19.write_bytes(b"")
    replay.until("e02b-zip-empty-versions")
    alter(broker.package("4.4.19"), zip_19, top="other")
    replay.until("e03-zip-topdir-versions")
    zip_19.write_bytes(whole)
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    zip_19.rename(zip_19.with_name(zip_19.name.replace("4.4.19", "4.4.16")))
    replay.until("e04d-uninstall-4.4.16")
    node = reset(replay, make_node)
    zip_19 = node.provide("4.4.19")
    replay.until("e05b-versions")
    zip_17 = node.provide("4.4.17")
    replay.until("e05d-versions")
    zip_17.unlink()
    other = node.home / "releases" / "emqx-4.4.19-otp24.3.4.2-1-debian11-amd64.zip"
    shutil.copy(zip_19, other)
    replay.until("e06b-versions")
    other.unlink()
    bad = node.home / "releases" / "emqx-4.4.19-zzz.zip"
    bad.write_bytes(b"no zip")
    replay.until("e06d-versions")
    bad.unlink()
    shutil.copy(zip_19, node.home / "releases" / "emqx-4.4.190-x.zip")
    replay.until("e06f-versions")


def test_f_contents(make_node: MakeNode) -> None:
    node = fresh(make_node)
    source = broker.package("4.4.19")
    zip_19 = node.provide("4.4.19")
    replay = Replay("f", node)
    alter(source, zip_19, drop=lambda n: n.endswith("/relup"))
    replay.until("f01f-versions")

    # The relup of the variant lacks the version that it is installed on.
    node = reset(replay, make_node, "4.4.17")
    replay.names = {"4.4.17": "4.4.18"}
    node.provide("4.4.19", "hop")
    replay.until("f02c-uninstall")
    replay.names = {}

    node = reset(replay, make_node)
    zip_19 = node.provide("4.4.19")
    replay.until("f04b-uninstall")
    zip_19.unlink()
    replay.until("f04d-versions")

    node = reset(replay, make_node)
    alter(source, zip_19 := node.provide("4.4.19"), drop=lambda n: n.startswith("emqx/bin/") and n.endswith("-4.4.19"))
    replay.until("f05f-status")

    node = reset(replay, make_node)
    zip_19 = node.provide("4.4.19")
    with zipfile.ZipFile(zip_19) as archive:
        entry = archive.getinfo("emqx/bin/cuttlefish")
    data = bytearray(zip_19.read_bytes())
    # Into the filler, which does not compress: the data can be read, its checksum is wrong.
    data[entry.header_offset + entry.compress_size // 2] ^= 0xFF
    zip_19.write_bytes(data)
    replay.until("f06-zip-bad-crc-versions")
    alter(source, zip_19, drop=lambda n: n == "emqx/releases/4.4.19/emqx.rel")
    replay.until("f07-zip-no-vsn-emqx.rel-versions")


@needs_root
def test_g_permissions(make_node: MakeNode) -> None:
    node = make_node("4.4.18")
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(node.home)], check=True)
    replay = Replay("g", node)
    replay.run("./bin/emqx start", user=NOBODY)

    def until(last: str) -> None:
        while replay.cases[replay.at]["case"] != last:
            replay.play(replay.cases[replay.at]["case"], user=NOBODY)
        replay.play(last, user=NOBODY)

    zip_19 = node.provide("4.4.19")
    zip_19.chmod(0o600)
    until("g01b-versions")
    zip_19.chmod(0o644)
    (node.home / "releases").chmod(0o555)
    until("g03b-versions")
    (node.home / "releases").chmod(0o755)
    # Not recorded: what left the link that the next call finds.
    (node.home / "lib").chmod(0o555)
    assert replay.run("./bin/emqx upgrade 4.4.19", user=NOBODY).rc == 2
    (node.home / "lib").chmod(0o755)
    until("g05c-downgrade")


@needs_root
def test_h_tmp_full(make_node: MakeNode) -> None:
    node = fresh(make_node)
    zip_19 = node.provide("4.4.19")
    with zipfile.ZipFile(zip_19) as archive:
        tree = sum(entry.file_size for entry in archive.infolist())
    size = zip_19.stat().st_size
    # The recorded sizes belong to a larger package: too little for the zip, for the tree, enough.
    scaled = {"20m": size // 2, "60m": size + tree // 2, "100m": 2 * (size + tree)}
    replay = Replay("h", node)
    while replay.at < len(replay.cases):
        case = replay.next_case(replay.cases[replay.at]["case"])
        command = case["cmd"]
        for old, new in scaled.items():
            command = command.replace(f"size={old}", f"size={new // 1024}k")
        # unshare's shell, not the one that the test runs in, has to be where the mount is.
        if command.startswith("unshare -m "):
            command = f"unshare -m sh -c '{command.removeprefix('unshare -m ')}'"
        replay.compare(case, replay.run(command))


def test_j_killed_while_unpacked(make_node: MakeNode) -> None:
    """Killed after unpacking: nothing has happened yet."""
    node = fresh(make_node)
    node.provide("4.4.19")
    replay = Replay("j", node)
    replay.at = next(n for n, c in enumerate(replay.cases) if c["case"] == "j2-kill-after-unpacked")
    case = replay.next_case("j2-kill-after-unpacked")
    stop = node.fault("stop_at", "^Unpacked successfully")
    outcome = replay.run_killed(case["cmd"], "Unpacked successfully")
    stop.unlink()
    replay.compare(case, outcome)
    replay.until("j2-kill-after-unpacked-restart-versions")


def test_j_killed_before_the_files(make_node: MakeNode) -> None:
    """Killed while it made the version permanent: the table says so, the next start does not know."""
    node = fresh(make_node)
    node.provide("4.4.19")
    replay = Replay("j", node)
    case = replay.next_case("j2-kill-after-installed")
    stop = node.fault("stop_at", "^made permanent")
    outcome = replay.run_killed(
        case["cmd"], "Installed Release", lambda: "4.4.19\tpermanent" in node.emqx("versions").stdout
    )
    stop.unlink()
    assert "Made release" not in outcome.stdout
    # Recorded at the moment of the kill, between the two files that the node was writing.
    del case["after"]["RELEASES"]
    replay.compare(case, outcome)
    replay.until("j2-kill-after-installed-restart-versions")


def test_j_killed_in_the_files(make_node: MakeNode) -> None:
    """Killed with half of bin/cuttlefish written: the node cannot start until the file is repaired."""
    replay = Replay("j", fresh(make_node))
    replay.at = next(n for n, c in enumerate(replay.cases) if c["case"] == "j2-kill-after-made")
    node = replay.node
    node.provide("4.4.19")
    node.fault("slow_copy", "5")
    case = replay.next_case("j2-kill-after-made")
    copy, model = node.home / "bin" / "cuttlefish", node.home / "bin" / "cuttlefish-4.4.19"
    outcome = replay.run_killed(
        case["cmd"], "Made release permanent", lambda: copy.stat().st_size == model.stat().st_size // 2
    )
    replay.compare(case, outcome)
    replay.until("j2-kill-after-made-restart-versions")
    for name in ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript"):
        (node.home / "bin" / name).write_bytes((node.home / "bin" / f"{name}-4.4.19").read_bytes())
    with (node.home / "releases" / "emqx_vars").open("a") as variables:
        variables.write('REL_VSN="4.4.19"\nERTS_VSN="13.1.5"\n'.replace("13.1.5", erts(node)))
    node.start()
    assert "4.4.19 is started" in node.ctl("status").stdout


def erts(node: Broker) -> str:
    return next(node.home.glob("erts-*")).name.removeprefix("erts-")


def test_old_release_removed_while_it_boots(make_node: MakeNode) -> None:
    """Trap 3: with what the last REL_VSN names gone, no command works, and the broker goes on."""
    node = fresh(make_node)
    node.provide("4.4.19")
    variables = node.home / "releases" / "emqx_vars"
    before = variables.read_text()
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    variables.write_text(before)
    assert node.emqx("uninstall", "4.4.18").returncode == 0
    for call in (node.emqx("versions"), node.emqx("ping"), node.ctl("status"), node.emqx("restart")):
        assert call.returncode == 1
        assert "releases/4.4.18/BUILT_ON" in call.stderr
    assert node.pids()
    variables.write_text(before + f'REL_VSN="4.4.19"\nERTS_VSN="{erts(node)}"\n')
    assert node.emqx("versions").stdout == "Installed versions:\n* 4.4.19\tpermanent\n\n"


def test_patch_wins_at_boot_only(make_node: MakeNode) -> None:
    """Trap 7: a stale patch comes back with the next start, under a version list that looks right."""
    node = make_node("4.4.18")
    patch = node.home / "data" / "patches" / "emqx_app.beam"
    patch.parent.mkdir(parents=True, exist_ok=True)
    patch.write_bytes((node.home / "lib" / "emqx-4.4.18" / "ebin" / "emqx_app.beam").read_bytes())
    node.start()
    which = "code:which(emqx_app)."
    assert node.emqx("eval", which).stdout == '"data/patches/emqx_app.beam"\n'
    node.provide("4.4.19")
    assert node.emqx("upgrade", "4.4.19").returncode == 0
    assert "lib/emqx-4.4.19/ebin/emqx_app.beam" in node.emqx("eval", which).stdout
    assert node.emqx("restart").returncode == 0
    assert node.emqx("eval", which).stdout == '"data/patches/emqx_app.beam"\n'
    assert "4.4.18 is started" in node.ctl("status").stdout
    assert "4.4.19\tpermanent" in node.emqx("versions").stdout


def test_m_cluster(make_node: MakeNode) -> None:
    nodes: list[Broker] = []
    for _unused in range(3):
        node = make_node("4.4.18", seeds=[n.node_name for n in nodes])
        with (node.home / "etc" / "emqx.conf").open("a") as settings:
            settings.write(f"listener.tcp.internal = 127.0.0.1:{node.port + 1}\n")
        node.start()
        nodes.append(node)
    deadline = time.monotonic() + 15
    while any(n.ctl("cluster", "status").stdout.count("@") != 3 for n in nodes) and time.monotonic() < deadline:
        time.sleep(0.3)
    names = {n.node_name: f"emqx{i}@127.0.0.1" for i, n in enumerate(nodes, 1)}
    replay = Replay("m", nodes[0], names)
    replay.play("m01-cluster3-status")

    case = replay.next_case("m02-listeners")
    blocks = "\n".join(case["stdout"]).replace("\n  ", "\0  ").split("\n")
    case["stdout"] = [x for b in blocks if b.startswith(OUR_LISTENERS) for x in b.split("\0")] + [""]
    replay.compare(case, replay.run(case["cmd"]))
    replay.play("m03-plugins")

    nodes[1].provide("4.4.19")
    replay.node = nodes[1]
    replay.play("m04-upgrade-one-of-three")
    replay.node = nodes[0]
    replay.play("m05-cluster3-status-mixed")
    case = replay.next_case("m06-nodes-versions")
    outcome = replay.run(case["cmd"])

    def pairs(text: str) -> list[str]:
        return sorted(line.strip(" [],") for line in text.splitlines())

    assert pairs(replay.ours(outcome.stdout)) == pairs("\n".join(case["stdout"]))
    replay.node = nodes[2]
    replay.play("m07-stop-one")
    replay.node = nodes[0]
    replay.play("m08-cluster3-status-one-stopped")
    case = replay.next_case("m09-vm-stats")
    outcome = replay.run(case["cmd"])

    def labels(text: str) -> list[str]:
        return [line.split(":")[0] for line in text.splitlines()]

    assert labels(outcome.stdout) == labels("\n".join(case["stdout"]).rstrip("\n"))


def test_n_three_versions(make_node: MakeNode) -> None:
    node = fresh(make_node, "4.4.17")
    node.provide("4.4.18")
    node.provide("4.4.19")
    replay = Replay("n", node)
    replay.until("n02b-versions")
    assert node.emqx("downgrade", "4.4.17").returncode == 0
    replay.until("n05d-status")


def test_p_a_script_that_looks_for_a_directory(make_node: MakeNode) -> None:
    """Versions up to 4.4.14 unpack anew whatever is `unpacked`; where that succeeds, the node never starts again."""
    node = make_node("4.4.18", variant="script14")
    node.start()
    zip_19 = node.provide("4.4.19")
    replay = Replay("p", node)
    replay.until("p02-s14-versions")
    zip_19.unlink()
    (node.home / "releases" / "emqx-4.4.19.tar.gz").unlink()
    replay.until("p06-s14-versions")
    node.provide("4.4.19")
    replay.until("p19-s14-stop")
    # By the node's own table nothing is wrong, and it goes on.
    assert node.pids()
    node.kill()
    case = replay.next_case("p20-s14-start")
    # It is waited for as long as one likes, and of what it said only a warning about the cookie came before that.
    outcome = replay.run(case["cmd"].replace("timeout 60", "timeout 5"))
    assert (outcome.rc, outcome.stdout) == (case["rc"], "")
    assert node.pids() == []


def test_y_idle(make_node: MakeNode) -> None:
    """The calls; what becomes of the clients is in test_clients.py."""
    replay = Replay("y", fresh(make_node))
    for last in ("y01-idle-fresh-down", "y04-idle1s-gap60s-down"):
        replay.node.provide("4.4.19")
        replay.until(last)
        if last != "y04-idle1s-gap60s-down":
            reset(replay, make_node)


@needs_root
def test_runner_user(make_node: MakeNode, tmp_path: Path) -> None:
    """Root becomes the runner user by `su`, with every argument in double quotes and nothing escaped."""
    node = make_node("4.4.18", runner_user="nobody")
    # Instead of a real login: what `su` is asked for is the contract, and nobody cannot log in.
    fake = tmp_path / "su"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    node.env["PATH"] = f"{tmp_path}:{node.env['PATH']}"
    asked = node.emqx("eval", 'io:format("x$HOME").').stdout.splitlines()
    assert asked == ["-", "nobody", "-c", f'"{node.home}/bin/emqx" "eval" "io:format("x$HOME")."']
    replay = Replay("a", node)
    outcome = replay.run("./bin/emqx versions", user=1)
    assert outcome == Outcome(1, "You need to be root or use sudo to run this command\n", "")
