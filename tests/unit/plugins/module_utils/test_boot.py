# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart boots, on directories laid out as the traps leave them, and the repair of each."""

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import boot
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import VERSIONED_BIN_FILES
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import ERTS, FakeNode, bin_content

OLD, NEW = "4.4.18", "4.4.19"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    """A node of the old version, with the new one running and not committed."""
    made = FakeNode(tmp_path / "emqx", OLD)
    made.add_release(NEW, "current")
    return made


def codes(found: boot.Boot) -> List[str]:
    return [problem.code for problem in found.problems]


def commit(node: FakeNode, stop_after: Optional[str] = None) -> None:
    if stop_after is not None:
        node.next_time("install", stop_after=stop_after)
    node.run(["install", NEW])


def examine(node: FakeNode, permanent: Optional[str] = NEW) -> boot.Boot:
    return boot.examine(node.installation, permanent)


def snapshot(node: FakeNode) -> Dict[str, Any]:
    """Mode, owner and content of every file."""
    found = {}
    for path in sorted(node.root.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path)] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, path.read_bytes())
    return found


# What boots


def test_fresh_node_is_consistent(node: FakeNode) -> None:
    found = boot.examine(node.installation, OLD, NEW, has_current=True)
    assert (found.version, found.erts, found.consistent) == (OLD, ERTS, True)
    assert found.as_dict() == {"version": OLD, "erts": ERTS, "consistent": True, "problems": []}


def test_committed_node_boots_what_the_last_lines_say(node: FakeNode) -> None:
    commit(node)
    assert examine(node).as_dict() == {"version": NEW, "erts": ERTS, "consistent": True, "problems": []}
    assert examine(node, OLD).version == NEW
    assert set(codes(examine(node, OLD))) == {"emqx_vars", "start_erl", "bin_file"}


HALF_COMMITS = {
    "table": ["emqx_vars"] + ["bin_file"] * 6,
    "emqx": ["emqx_vars"] + ["bin_file"] * 6,
    "cuttlefish": ["emqx_vars"] + ["bin_file"] * 4,
    "nodetool": ["emqx_vars"] + ["bin_file"] * 3,
    "install_upgrade.escript": ["emqx_vars"] + ["bin_file"] * 2,
    "no_dot_erlang.boot": ["emqx_vars"],
}


@pytest.mark.parametrize("stop_after", sorted(HALF_COMMITS))
def test_commit_killed_at_each_place_is_seen_and_completed(node: FakeNode, stop_after: str) -> None:
    commit(node, stop_after)
    found = examine(node)
    assert found.version == OLD
    assert codes(found) == HALF_COMMITS[stop_after]
    assert all(problem.repairable for problem in found.problems)
    changed = boot.complete_commit(node.installation, NEW)
    assert len(changed) == len(found.problems)
    assert {problem.path for problem in found.problems} == set(changed)
    assert examine(node).as_dict() == {"version": NEW, "erts": ERTS, "consistent": True, "problems": []}
    assert boot.complete_commit(node.installation, NEW) == []


def test_torn_cuttlefish_is_named(node: FakeNode) -> None:
    commit(node)
    node.path("bin/cuttlefish").write_bytes(b"#!/bi")
    (problem,) = examine(node).problems
    assert (problem.code, problem.path, problem.repairable) == ("bin_file", str(node.path("bin/cuttlefish")), True)
    assert "is not the file of 4.4.19" in problem.message


def test_commented_and_indented_assignments(node: FakeNode) -> None:
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write('#REL_VSN="1.1.1"\n  REL_VSN="4.4.19"  \n## REL_VSN="2.2.2"\n')
    assert examine(node, OLD).version == NEW


def test_start_erl_disagrees(node: FakeNode) -> None:
    commit(node)
    node.path("releases/start_erl.data").write_text("13.1.5 4.4.18")
    found = examine(node)
    assert codes(found) == ["start_erl"]
    assert found.version == NEW
    assert found.problems[0].message == "start_erl.data names 4.4.18, but 4.4.19 is permanent."


@pytest.mark.parametrize("text", ["", "13.1.5", "13.1.5 4.4.19 more", None])
def test_start_erl_torn_or_gone(node: FakeNode, text: Optional[str]) -> None:
    commit(node)
    path = node.path("releases/start_erl.data")
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert codes(examine(node)) == ["start_erl"]
    assert boot.complete_commit(node.installation, NEW) == [str(path)]
    assert path.read_text() == "13.1.5 4.4.19"


def test_erts_disagrees(node: FakeNode) -> None:
    commit(node)
    with node.path("releases/emqx_vars").open("a") as stream:
        stream.write('ERTS_VSN="12.3.2"\n')
    found = examine(node)
    assert (codes(found), found.erts) == (["erts"], "12.3.2")
    assert boot.complete_commit(node.installation, NEW) == [str(node.path("releases/emqx_vars"))]
    assert examine(node).consistent


def test_no_dot_erlang_differs(node: FakeNode) -> None:
    commit(node)
    node.path("bin/no_dot_erlang.boot").write_bytes(b"of another")
    (problem,) = examine(node).problems
    assert problem.path.endswith("bin/no_dot_erlang.boot")
    boot.complete_commit(node.installation, NEW)
    assert node.path("bin/no_dot_erlang.boot").read_bytes() == b"no_dot_erlang of 4.4.19"


def test_without_copies_what_is_there_counts(node: FakeNode) -> None:
    """A version that was installed and never hot upgraded to may have no copies with its version."""
    for name in VERSIONED_BIN_FILES:
        node.path("bin", "{0}-{1}".format(name, OLD)).unlink()
    assert boot.examine(node.installation, OLD).consistent


@pytest.mark.parametrize("left", ["absent", "empty"])
def test_file_and_copy_both_missing_cannot_be_repaired(node: FakeNode, left: str) -> None:
    commit(node)
    node.path("bin/nodetool-4.4.19").unlink()
    node.path("bin/nodetool").unlink()
    if left == "empty":
        node.path("bin/nodetool").write_bytes(b"")
    node.path("bin/emqx_ctl").write_bytes(b"#!/bi")
    torn, problem = examine(node).problems
    assert torn.repairable
    assert (problem.code, problem.path, problem.repairable) == ("bin_file", str(node.path("bin/nodetool")), False)
    assert boot.commit_obstacles(node.installation, NEW) == [str(node.path("bin/nodetool-4.4.19"))]
    before = snapshot(node)
    with pytest.raises(FleetError) as caught:
        boot.complete_commit(node.installation, NEW)
    assert snapshot(node) == before, "nothing is begun that cannot be ended"
    assert caught.value.failure_class == REFUSED


def test_release_that_never_had_a_no_dot_erlang_is_consistent(node: FakeNode) -> None:
    node.path("bin/no_dot_erlang.boot").unlink()
    node.path("releases/4.4.18/no_dot_erlang.boot").unlink()
    assert boot.examine(node.installation, OLD).consistent
    node.path("bin/no_dot_erlang.boot").write_bytes(b"")
    assert codes(boot.examine(node.installation, OLD)) == ["bin_file"]


def test_every_missing_commit_file_is_an_obstacle(node: FakeNode) -> None:
    assert boot.commit_obstacles(node.installation, NEW) == []
    needed = ["bin/{0}-{1}".format(name, NEW) for name in VERSIONED_BIN_FILES]
    needed += ["releases/4.4.19/" + name for name in ("no_dot_erlang.boot", "start.boot")]
    for name in needed:
        content = node.path(name).read_bytes()
        node.path(name).write_bytes(b"")
        assert boot.commit_obstacles(node.installation, NEW) == [str(node.path(name))]
        node.path(name).unlink()
        assert boot.commit_obstacles(node.installation, NEW) == [str(node.path(name))]
        node.path(name).write_bytes(content)


def test_release_folder_without_boot_file_is_not_repairable(node: FakeNode) -> None:
    commit(node)
    shutil.rmtree(str(node.path("releases/4.4.19")))
    found = examine(node)
    assert codes(found) == ["release_missing"]
    assert not found.problems[0].repairable


def test_node_runs_what_is_not_permanent(node: FakeNode) -> None:
    commit(node)
    assert codes(boot.examine(node.installation, NEW, OLD, has_current=False)) == ["running"]
    assert boot.examine(node.installation, NEW, OLD, has_current=True).consistent
    assert boot.examine(node.installation, NEW, NEW, has_current=False).consistent
    assert boot.examine(node.installation, NEW, None).consistent


def test_stale_patches_are_problems_of_the_boot(node: FakeNode) -> None:
    found = boot.examine(node.installation, OLD, stale_patches=["/data/patches/emqx_a.beam", "/data/patches/b.beam"])
    assert [(p.code, p.path, p.repairable) for p in found.problems] == [
        ("stale_patch", "/data/patches/emqx_a.beam", False),
        ("stale_patch", "/data/patches/b.beam", False),
    ]


def test_emqx_4_2_has_no_version_in_its_vars(node: FakeNode) -> None:
    path = node.path("releases/emqx_vars")
    lines = [line for line in path.read_text().splitlines() if "_VSN" not in line]
    path.write_text("\n".join(lines) + "\n")
    found = boot.examine(node.installation, OLD)
    assert (found.version, found.erts, found.consistent) == (OLD, ERTS, True)
    commit(node, "no_dot_erlang.boot")
    assert examine(node).as_dict() == {"version": NEW, "erts": ERTS, "consistent": True, "problems": []}
    node.path("releases/start_erl.data").write_text("13.1.5 4.4.18")
    assert examine(node).version == OLD
    assert boot.complete_commit(node.installation, NEW) == [str(node.path("releases/start_erl.data"))]
    assert "REL_VSN" not in path.read_text()


def test_nothing_names_a_version(node: FakeNode) -> None:
    node.path("releases/emqx_vars").unlink()
    node.path("releases/start_erl.data").unlink()
    found = boot.examine(node.installation, None)
    assert (found.version, codes(found), found.problems[0].repairable) == (None, ["nothing_to_boot"], False)


# The repair


@pytest.mark.parametrize(
    "torn", ['REL_VSN="4.4.1', 'REL_VSN="', 'REL_VSN="4.4.19"\nERTS_VSN="13', 'REL_VSN="4.4.19"', 'REL_VSN="4.4.19"\n']
)
def test_vars_torn_in_the_last_line(node: FakeNode, torn: str) -> None:
    """Dropped, since it would swallow what is appended; afterwards a shell reads the file and gets both values."""
    commit(node, "no_dot_erlang.boot")
    path = node.path("releases/emqx_vars")
    whole = path.read_text()
    path.write_text(whole + torn)
    assert boot.complete_commit(node.installation, NEW) in ([str(path)], [])
    assert examine(node).consistent
    assert path.read_text().startswith(whole)
    sourced = subprocess.check_output(
        ["sh", "-euc", 'RUNNER_ROOT_DIR=/r; . "$1"; echo "$REL_VSN $ERTS_VSN $RUNNER_BIN_DIR"', "sh", str(path)]
    )
    assert sourced == b"4.4.19 13.1.5 /r/bin\n"


def test_vars_torn_in_the_erts_line_boot_nothing_good(node: FakeNode) -> None:
    """A torn ERTS_VSN alone is a problem, too: no shell can read the file."""
    commit(node)
    path = node.path("releases/emqx_vars")
    path.write_text(path.read_text() + 'REL_VSN="4.4.19"\nERTS_VSN="13')
    assert codes(examine(node)) != []
    boot.complete_commit(node.installation, NEW)
    assert examine(node).consistent
    subprocess.check_call(["sh", "-euc", 'RUNNER_ROOT_DIR=/r; . "$1"', "sh", str(path)])


def test_other_bytes_of_vars_stay(node: FakeNode) -> None:
    path = node.path("releases/emqx_vars")
    text = b"EMQX_DESCRIPTION='caf\xe9 \xff'\n" + path.read_bytes()
    path.write_bytes(text)
    commit(node, "no_dot_erlang.boot")
    boot.complete_commit(node.installation, NEW)
    assert path.read_bytes() == text + b'REL_VSN="4.4.19"\nERTS_VSN="13.1.5"\n'


def test_mode_and_owner_stay_and_nothing_is_left(node: FakeNode) -> None:
    commit(node, "table")
    node.path("bin/cuttlefish").chmod(0o751)
    node.path("releases/emqx_vars").chmod(0o640)
    node.path("releases/start_erl.data").write_text("")
    node.path("releases/start_erl.data").chmod(0o604)
    if os.geteuid() == 0:
        for name in ("bin/cuttlefish", "bin/emqx", "releases/emqx_vars"):
            os.chown(str(node.path(name)), 1234, 2345)
    before = snapshot(node)
    changed = boot.complete_commit(node.installation, NEW)
    after = snapshot(node)
    assert sorted(after) == sorted(before)
    assert {path: row[:3] for path, row in after.items()} == {path: row[:3] for path, row in before.items()}
    assert {path for path in after if after[path] != before[path]} == set(changed)


def test_missing_file_gets_mode_and_owner_of_the_command(node: FakeNode) -> None:
    commit(node)
    node.path("bin/nodetool").unlink()
    node.path("bin/emqx").chmod(0o755)
    node.path("bin/nodetool-4.4.19").chmod(0o600)
    if os.geteuid() == 0:
        os.chown(str(node.path("bin/emqx")), 1234, 2345)
    assert boot.complete_commit(node.installation, NEW) == [str(node.path("bin/nodetool"))]
    found, model = node.path("bin/nodetool").stat(), node.path("bin/emqx").stat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (model.st_mode, model.st_uid, model.st_gid)


def failing_after(calls: int, real: Callable[..., Any]) -> Callable[..., Any]:
    left = [calls]

    def function(*args: Any, **kwargs: Any) -> Any:
        if left[0] <= 0:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(args[0]))
        left[0] -= 1
        return real(*args, **kwargs)

    return function


@pytest.mark.parametrize("name", ["rename", "fsync", "chmod"])
def test_interrupted_anywhere_a_second_run_completes_it(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    commit(node, "emqx")
    node.path("releases/start_erl.data").write_text("")
    interruptions = 0
    raised = FleetError("")
    for calls in range(40):
        shutil.rmtree(str(node.root) + ".copy", ignore_errors=True)
        shutil.copytree(str(node.root), str(node.root) + ".copy")
        files = set(snapshot(node))
        boots_before = examine(node).version
        with monkeypatch.context() as patch:
            patch.setattr("os." + name, failing_after(calls, getattr(os, name)))
            try:
                boot.complete_commit(node.installation, NEW)
            except FleetError as error:
                raised = error
            else:
                break
        interruptions += 1
        assert raised.failure_class == REFUSED
        assert "Read-only file system" in raised.message
        assert str(node.root) in raised.message
        assert raised.hint
        assert set(snapshot(node)) == files, "nothing is left behind"
        assert examine(node).version in (boots_before, NEW)
        # What boots changes last, when all else is in place.
        if examine(node).version == NEW:
            assert examine(node).consistent
        for path in VERSIONED_BIN_FILES:
            assert node.path("bin", path).read_bytes() in (b"#!/bi", bin_content(path, OLD), bin_content(path, NEW))
        boot.complete_commit(node.installation, NEW)
        assert examine(node).consistent
        shutil.rmtree(str(node.root))
        shutil.copytree(str(node.root) + ".copy", str(node.root))
    assert examine(node).consistent
    assert interruptions >= 7


@pytest.mark.parametrize("name", ["rename", "fsync", "chmod"])
def test_killed_anywhere_a_second_run_leaves_nothing_over(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    commit(node, "emqx")
    files = set(snapshot(node))

    def killed(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os." + name, killed)
        with pytest.raises(KeyboardInterrupt):
            boot.complete_commit(node.installation, NEW)
    assert set(snapshot(node)) > files, "it was killed with a file half made"
    boot.complete_commit(node.installation, NEW)
    assert examine(node).consistent
    assert set(snapshot(node)) == files


def test_unwritable_file_is_named_by_its_own_path(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(node, "no_dot_erlang.boot")
    monkeypatch.setattr(os, "rename", failing_after(0, os.rename))
    with pytest.raises(FleetError) as caught:
        boot.complete_commit(node.installation, NEW)
    assert ": {0}: Read-only".format(node.path("releases/emqx_vars")) in caught.value.message


def test_erts_unknown_is_refused(node: FakeNode) -> None:
    commit(node, "no_dot_erlang.boot")
    node.path("releases/RELEASES").unlink()
    node.path("releases/start_erl.data").unlink()
    before = snapshot(node)
    with pytest.raises(FleetError, match="ERTS version") as caught:
        boot.complete_commit(node.installation, NEW)
    assert caught.value.failure_class == REFUSED
    assert str(node.path("releases/emqx_vars")) in caught.value.hint
    assert snapshot(node) == before


def test_symbolic_link_to_a_directory_elsewhere(tmp_path: Path) -> None:
    """``/usr/bin/emqx`` is a link in packages of distributions; the files lie where it leads."""
    node = FakeNode(tmp_path / "real", OLD)
    link = tmp_path / "emqx-link"
    link.symlink_to(node.path("bin/emqx"))
    from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation

    assert Installation(str(link)).root_dir == str(node.root)
