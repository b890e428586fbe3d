# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a terminal, and in a pipe, of a run that the callback ``emqx.fleet.progress`` shows."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.tests import deprecations
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_clusters

from .under_ansible import COMMANDS, NEW, OLD, ROOT, environment

HERE = Path(__file__).parent
NO_TERMINAL = ("CI", "NO_COLOR", "ORIGINAL_STDOUT_CALLBACK", "AWX_ISOLATED_DATA_DIR", "COLUMNS")
VERDICT = "h2 failed in phase switch."


def events(hosts: int) -> list[str]:
    return [str(COMMANDS / "python"), str(HERE / "progress_events.py"), str(hosts)]


def settings(folder: Path, **more: str) -> dict[str, str]:
    defaults = {"ANSIBLE_STDOUT_CALLBACK": "emqx.fleet.progress", "TERM": "xterm", "PYTHONDONTWRITEBYTECODE": "1"}
    found = environment(folder, {**defaults, **more})
    found["COLLECTION"] = str(folder / "collections/ansible_collections/emqx/fleet")
    return {name: value for name, value in found.items() if name not in NO_TERMINAL or name in more}


def in_pipe(folder: Path, command: Sequence[str], **more: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=settings(folder, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def on_terminal(folder: Path, command: Sequence[str], columns: int, **more: str) -> str:
    """All that is written to a terminal, with nothing taken away."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command, cwd=folder, env=settings(folder, **more), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    written = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            break
        written += piece
    os.close(controller)
    process.wait(timeout=60)
    return written.decode().replace("\r\n", "\n")


def seen(written: str) -> str:
    """What somebody sees in the end: after a carriage return a line is written over."""
    lines = []
    for line in written.split("\n"):
        cells: list[str] = []
        for piece in line.split("\r"):
            cells[: len(piece)] = piece
        lines.append("".join(cells).rstrip())
    return "\n".join(lines)


def lines_of(output: str, label: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for host, text in re.findall(rf"^\[{label}\]\s+(\S+)\s+(.*)$", output, re.MULTILINE):
        assert host not in found, f"{host} has two lines of {label}"
        # No two runs take the same time.
        found[host] = re.sub(r"  \d+\.\d s$", "", text)
    return found


def without_times(output: str) -> str:
    # Nor are banners of different widths the same.
    return re.sub(r"  \d+\.\d s$|(?<=\*{3})\*+$", "", output, flags=re.MULTILINE)


@pytest.mark.parametrize("count", [3, 200])
def test_a_run_in_a_pipe(tmp_path: Path, count: int) -> None:
    output = in_pipe(tmp_path, events(count))
    assert not re.search(r"[^\n\x20-\x7e]", output), "control characters"
    hosts = {f"h{number}" for number in range(1, count + 1)}
    waves = min(count, 10)
    assert lines_of(output, "read") == dict.fromkeys(hosts, "4.4.18  1,000 clients")
    assert lines_of(output, "stage") == dict.fromkeys(hosts, "4.4.19 staged")
    assert lines_of(output, "soak") == dict.fromkeys(hosts - {"h2"}, "4.4.19  1,000 of 1,000 clients")
    switched = lines_of(output, rf"wave \d+/{waves}")
    assert set(switched) == hosts
    assert switched.pop("h2").startswith("FAILED  Switch to 4.4.19: ")
    assert set(switched.values()) == {"4.4.18 -> 4.4.19  1,000 of 1,000 clients"}
    assert output.count("relup_crash") == 1, "the failure is told once"
    assert output.count("1 node failed and 0 may.") == 1
    assert "fatal:" not in output
    assert "PLAY" not in output
    # Other tasks, and what is not understood, as Ansible shows them.
    assert re.search(r"^TASK \[task \d+\] \*+\nchanged: \[h1\]\n", output, re.MULTILINE)
    assert re.search(r"^TASK \[task \d+\] \*+\nok: \[h1\]\n", output, re.MULTILINE)
    assert "\n\nnode  from\n----  ----\nh1    4.4.18\n\n" in output
    printed = re.findall(r"^printed in (\w+)$", output, re.MULTILINE)
    assert printed == ["read", "stage", *["switch"] * waves, "soak"], "on lines of their own"
    end = output.rstrip("\n").split("\n\n")[-2:]
    assert end[0].startswith(f"{count} hosts: ok=0 changed=0 unreachable=0 failed=1 ")
    assert "\n" not in end[0], "h1 has not failed: what ended the run ran there"
    assert end[1] == f"{VERDICT}\nTo see where every node is: ansible-playbook emqx.fleet.status"
    assert "\n\n\n" not in output


@pytest.mark.parametrize("count", [3, 200])
def test_a_terminal_shows_the_same(tmp_path: Path, count: int) -> None:
    """The progress bar leaves nothing behind, whatever is printed over it."""
    written = on_terminal(tmp_path, events(count), 400)
    bars = re.findall(r"\r([^\r\n]*\[#*-*\] [\d,]+ of [\d,]+ nodes[^\r\n]*)", written)
    assert any(text.startswith(f"read [{'#' * 24}] {count} of {count} nodes") for text in bars)
    assert any(", 1 failed" in text for text in bars)
    assert "\x1b" not in written
    expected = without_times(in_pipe(tmp_path, events(count)))
    # There, a command stands on a line of its own.
    expected = expected.replace("node is: ansible-playbook", "node is:\n  ansible-playbook")
    assert without_times(seen(written)) == expected


def test_a_narrow_terminal(tmp_path: Path) -> None:
    written = on_terminal(tmp_path, events(3), 60)
    output = seen(written)
    failure = output[output.index("[wave 2/3] h2") : output.index("[wave 3/3]")].replace("printed in switch\n", "")
    assert max(map(len, failure.split("\n"))) <= 60
    assert len(failure.split("\n")) > 3
    assert " ".join(failure.split()).count("The log has more of it.") == 5
    assert all(len(piece) < 60 for piece in re.findall(r"\r([^\r\n]*nodes[^\r\n]*)", written)), "a bar fills no line"


@pytest.mark.parametrize(
    ("more", "drawn"),
    [
        ({}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
        ({"ORIGINAL_STDOUT_CALLBACK": "emqx.fleet.progress"}, False),
        ({"EMQX_FLEET_PROGRESS_BAR": "never"}, False),
        ({"EMQX_FLEET_PROGRESS_BAR": "always", "TERM": "dumb"}, True),
    ],
)
def test_where_there_is_a_progress_bar(tmp_path: Path, more: Mapping[str, str], drawn: bool) -> None:
    assert ("\r" in on_terminal(tmp_path, events(1), 100, **more)) == drawn


def test_a_progress_bar_in_a_pipe_if_asked_for(tmp_path: Path) -> None:
    assert "] 3 of 3 nodes" in in_pipe(tmp_path, events(3), EMQX_FLEET_PROGRESS_BAR="always")


def test_verbose_runs_are_shown_as_by_the_default(tmp_path: Path) -> None:
    output = in_pipe(tmp_path, events(3), ANSIBLE_VERBOSITY="1")
    assert lines_of(output, "read") == {}
    assert len(re.findall(r"^ok: \[h\d\] => {", output, re.MULTILINE)) >= 6
    assert "PLAY RECAP" in output
    assert output.rstrip().endswith(f"{VERDICT}\nTo see where every node is: ansible-playbook emqx.fleet.status")


# Real Ansible


def collection(folder: Path) -> None:
    """The checkout, with the stand-in for turns of nodes."""
    own = folder / "collections/ansible_collections/emqx/fleet"
    (own / "plugins/action").mkdir(parents=True)
    for here, there in ((ROOT, own), (ROOT / "plugins", own / "plugins")):
        for path in here.iterdir():
            if not there.joinpath(path.name).exists() and not path.name.startswith("."):
                there.joinpath(path.name).symlink_to(path)
    for path in (ROOT / "plugins/action").glob("*.py"):
        source = HERE / "progress_turn.py" if path.name == "emqx_turn.py" else path
        (own / "plugins/action" / path.name).symlink_to(source)


def upgrade(folder: Path, *options: str, **more: str) -> str:
    """Output of the playbook for a cluster of three."""
    if not (folder / "collections").exists():
        collection(folder)
        package = folder / "packages/emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
        package.parent.mkdir()
        write_package(package, NEW, [OLD], [OLD])
        (folder / "facts.json").write_text(json.dumps(make_clusters(1, 3, connections=10)))
        (folder / "inventory").write_text("".join(f"c0n{number} ansible_connection=local\n" for number in range(3)))
    command = [str(COMMANDS / "ansible-playbook"), "-i", "inventory", "emqx.fleet.upgrade"]
    command += ["-e", f"emqx_upgrade_version={NEW}", "-e", "emqx_upgrade_soak_seconds=0"]
    command += ["-e", f"ansible_python_interpreter={COMMANDS / 'python'}", *options]
    output = in_pipe(folder, command, FACTS=str(folder / "facts.json"), **more)
    deprecations.require_none(output, "emqx.fleet.upgrade")
    return output


def test_a_playbook_that_goes_well(tmp_path: Path) -> None:
    output = upgrade(tmp_path)
    hosts = {"c0n0", "c0n1", "c0n2"}
    assert set(lines_of(output, "read")) == hosts
    assert lines_of(output, "stage") == dict.fromkeys(hosts, f"{NEW} staged")
    switched = lines_of(output, r"wave \d/3")
    assert set(switched) == hosts
    assert all(text.startswith(f"{OLD} -> {NEW}") for text in switched.values())
    assert set(lines_of(output, "soak")) == set(lines_of(output, "commit")) == hosts
    assert f"\n\nTo {NEW}: 3 to switch, in 3 waves; can start.\n" in output
    assert output.rstrip().split("\n")[-1].startswith(f"To {NEW}, all went well: 3 committed.")
    for word in ("TASK", "PLAY", "included:", "skipping", "WARNING", "fatal", "{", "\\n"):
        assert word not in output, output


def test_a_playbook_in_which_a_node_fails(tmp_path: Path) -> None:
    """With the lines of this collection, and below each other in those of Ansible's own."""
    output = upgrade(tmp_path, FAILS="c0n1")
    assert lines_of(output, "wave 2/3") == {"c0n1": "FAILED  Verify that nobody noticed: There are new alarms: x."}
    assert "[wave 3/3]       1 of 3 nodes failed and 0 may, so no further node is touched.\n" in output
    assert output.count("no further node is touched") == 1, "the phases after it do not repeat it"
    verdict = output.rstrip().split("\n\n")[-1].split("\n")
    assert verdict[0] == "c0n1 failed in phase switch: There are new alarms: x."
    assert [line.partition(": ansible-playbook ")[0] for line in verdict[-3:]] == [
        "To go on, mend what is named here and run it again, which skips the nodes that are done",
        "To go back instead",
        "To see where every node is",
    ]
    assert "fatal" not in output
    assert output.count("There are new alarms") == 2, "when it happened, and at the end"
    plain = upgrade(tmp_path, FAILS="c0n1", ANSIBLE_STDOUT_CALLBACK="default")
    assert "Take the node's turn, so that a restart would still bring the old version back (wave 2 of 3)] *" in plain
    assert "\nc0n1  failed         4.4.18 " in plain, "tables are no JSON"
    for line in verdict:
        assert re.search(rf"^(\[ERROR\]: Task failed: Action failed: )?{re.escape(line)}$", plain, re.MULTILINE), line


@pytest.mark.parametrize("callback", ["emqx.fleet.progress", "default"])
def test_obstacles_can_be_read(tmp_path: Path, callback: str) -> None:
    refused = upgrade(tmp_path, "-e", "emqx_upgrade_version=4.4.20", ANSIBLE_STDOUT_CALLBACK=callback)
    assert re.search(r"^c0n0 .* 4\.4\.20 .*refused: package$", refused, re.MULTILINE), refused
    assert re.search(
        r"^  \[package\] 3 nodes \(c0n0, c0n1, c0n2\): there is no package of 4\.4\.20", refused, re.MULTILINE
    )
    if callback != "default":
        assert refused.count("there is no package of") == 1
        assert refused.rstrip().endswith("NOT feasible. No node was touched; the obstacles are above.")


def test_settings_that_are_refused_can_be_read(tmp_path: Path) -> None:
    for callback in ("emqx.fleet.progress", "default"):
        output = upgrade(tmp_path, "-e", "emqx_upgrade_lease_seconds=x", ANSIBLE_STDOUT_CALLBACK=callback)
        assert re.search(r"^- emqx_upgrade_lease_seconds is 'x'; expected ", output, re.MULTILINE)
    assert "\\n- emqx_upgrade_lease_seconds" in output, "the message of the task is whole"


def test_what_other_callbacks_print_is_left_alone(tmp_path: Path) -> None:
    """It may be a document for a machine; the table is in the task's result."""
    output = upgrade(tmp_path, ANSIBLE_STDOUT_CALLBACK="minimal")
    assert not re.search(r"^node +from ", output, re.MULTILINE)
    assert re.search(r'"msg": "node +from ', output)
