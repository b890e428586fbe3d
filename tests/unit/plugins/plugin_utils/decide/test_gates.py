# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Every gate: what fails it, that nothing else does, and what it says."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates as g
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.gates import ClusterView, Context
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.hops import find_path
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import GateResult
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import Facts, make_facts, make_package
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[5]
TARGET = Context("4.4.19")
RELEASES = [{"version": "4.4.18", "status": "permanent"}]
CURRENT = [{"version": "4.4.17", "status": "permanent"}, {"version": "4.4.18", "status": "current"}]
LOCK: dict[str, Any] = {"pid": 12, "user": "root", "since": 1.0, "what": "switch"}
RUN: dict[str, Any] = {"id": "r1", "who": "ann@desk", "since": 1.0, "lease_until": 1_700_000_100.0}
BAD_BOOT = {
    "version": "4.4.17",
    "consistent": False,
    "problems": [{"code": "emqx_vars", "path": "/x", "message": "A restart boots 4.4.17.", "repairable": True}],
}
PATCHED_BOOT = {
    "version": "4.4.18",
    "consistent": False,
    "problems": [{"code": "stale_patch", "path": "/x", "message": "x", "repairable": False}],
}
DPKG: dict[str, Any] = {"name": "dpkg", "package": "emqx", "version": "4.4.18", "held": False}
MIXED = {"emqx@a": "4.4.17", "emqx@b": "4.4.18"}


def failed(facts: Facts, package: dict[str, Any] | None, context: Context = TARGET) -> dict[str, GateResult]:
    return {row["name"]: row for row in g.evaluate(facts, package, context) if not row["passed"]}


def test_nothing_stands_in_the_way_of_a_sound_node() -> None:
    fetches = dataclasses.replace(TARGET, package_source="node")
    results = g.evaluate(make_facts(), make_package(url="https://files/x.zip"), fetches)
    assert {row["name"] for row in results} == set(g.GATES) - {"dry_check"}
    for row in results:
        assert row["passed"], row
        assert row["message"] == ""
        assert not row["accepted"]
        assert row["expected"]
        assert row["actual"]


def test_the_nodes_that_pass_are_not_listed_if_not_asked_for() -> None:
    assert g.evaluate(make_facts(), make_package(), TARGET, failed_only=True) == []


@pytest.mark.parametrize(("back", "expected"), [(["4.4.18"], set()), (["4.4.17"], {"relup"}), ([], {"relup"})])
def test_the_relup_on_the_node_leads_back(back: list[str], expected: set[str]) -> None:
    facts = make_facts(running="4.4.19") | {"ways_back": {"4.4.19": back}}
    found = failed(facts, make_package("4.4.18"), Context("4.4.18", allow_downgrade=True))
    assert set(found) == expected


CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # gate, changes of the facts, of the package, of the context
    ("node_running", {"state": "stopped"}, {}, {}),
    ("node_running", {"state": "unreachable"}, {}, {}),
    ("node_running", {"state": None}, {}, {}),
    ("node_python", {"host": {"system": "Linux", "python": "3.5.9"}}, {}, {}),
    ("node_python", {"host": {"system": "Linux", "python": "2.7.18"}}, {}, {}),
    ("node_python", {"host": {"system": "Linux"}}, {}, {}),
    ("platform", {"host": {"system": "Windows", "python": "3.11.2"}}, {}, {}),
    ("platform", {"os": "macos10"}, {"os": "macos10"}, {}),
    ("container", {"container": "docker"}, {}, {}),
    ("duplicate_node", {}, {}, {"cluster": ClusterView(duplicates=frozenset(["emqx@node1"]))}),
    ("operation", {"operation": LOCK}, {}, {}),
    ("run_lock", {"run": RUN}, {}, {}),
    ("run_lock", {"run": RUN}, {}, {"run_id": "r2"}),
    ("package_sound", {}, {"problems": [{"code": "truncated", "message": "it ends early"}]}, {}),
    ("checksum", {}, {"problems": [{"code": "checksum", "message": "it differs"}]}, {}),
    ("package_source", {}, {}, {"package_source": "node"}),
    ("package_source", {}, {"url": None}, {"package_source": "node"}),
    ("edition", {"edition": "ee"}, {}, {}),
    ("edition", {"edition": None}, {}, {}),
    ("otp", {"otp": "24"}, {}, {}),
    ("otp", {"otp": None}, {}, {}),
    ("os", {"os": "ubuntu20.04"}, {}, {}),
    ("arch", {"arch": "arm64"}, {}, {}),
    ("relup", {}, {"relup": {"target": "4.4.19", "upgrade_from": ["4.4.17"], "downgrade_to": []}}, {}),
    ("relup", {}, {"relup": None}, {}),
    ("way_back", {}, {"relup": {"target": "4.4.19", "upgrade_from": ["4.4.18"], "downgrade_to": []}}, {}),
    ("relup_restarts", {}, {"relup": {**make_package()["relup"], "restarts": ["4.4.17", "4.4.18"]}}, {}),
    (
        "known_defects",
        {"running": "4.4.6", "listeners": [{"protocol": "mqtt:ssl:external", "listen_on": "8883"}]},
        {"version": "4.4.7", "upgrade_from": ["4.4.6"]},
        {"target": "4.4.7"},
    ),
    ("unpack_in_switch", {"unpacks_in_switch": True}, {}, {}),
    ("release_table", {"releases": CURRENT}, {}, {}),
    ("boot_consistent", {"boot": BAD_BOOT}, {}, {}),
    ("patches", {"patches": [{"module": "emqx_x", "path": "/p", "stale": False}]}, {}, {}),
    ("stray_packages", {"packages": [{"name": "emqx-4.4.190-x.zip", "path": "/p", "size": 1}]}, {}, {}),
    ("stray_packages", {"packages": [{"name": make_package()["name"], "path": "/p", "size": 1}]}, {}, {}),
    ("stray_packages", {"packages": [{"name": make_package(edition="ee")["name"], "path": "/p", "size": 1}]}, {}, {}),
    ("package_manager", {"package_manager": DPKG}, {}, {}),
    ("package_manager", {"package_manager": {**DPKG, "name": "rpm"}}, {}, {}),
    ("permissions", {"unwritable": ["/opt/emqx/bin"]}, {}, {}),
    ("space", {"free_bytes": {"/opt/emqx": 1 << 30, "/tmp": 10 << 20}}, {}, {}),
    ("space", {"free_bytes": {"/opt/emqx": 100 << 20, "/tmp": 1 << 30}}, {}, {}),
    ("space", {"free_bytes": {}}, {}, {}),
    ("alarms", {"alarms": ["high_cpu"]}, {}, {}),
    ("cluster_complete", {}, {}, {"cluster": ClusterView(stopped=("emqx@b",))}),
    ("cluster_complete", {"cluster": {"running": ["emqx@node1"], "stopped": ["emqx@b"], "members": []}}, {}, {}),
    ("cluster_mixed", {}, {}, {"cluster": ClusterView(versions=MIXED)}),
    ("cluster_in_run", {}, {}, {"cluster": ClusterView(outside=("emqx@b",))}),
    ("clock", {}, {}, {"cluster": ClusterView(clock_spread=11.0)}),
]


@pytest.mark.parametrize(("name", "of_facts", "of_package", "of_context"), CASES)
def test_one_thing_wrong_fails_one_gate(
    name: str, of_facts: dict[str, Any], of_package: dict[str, Any], of_context: dict[str, Any]
) -> None:
    found = failed(make_facts(**of_facts), make_package(**of_package), dataclasses.replace(TARGET, **of_context))
    assert list(found) == [name]
    row = found[name]
    assert row["message"]
    assert row["severity"] == g.GATES[name].severity
    assert not row["accepted"]


def test_every_gate_has_a_case() -> None:
    others = {"min_version", "package", "series", "direction", "dry_check"}
    assert {case[0] for case in CASES} | others == set(g.GATES)


@pytest.mark.parametrize(
    ("running", "target", "names"),
    [
        ("4.1.0", "4.1.5", {"min_version"}),
        ("5.0.0", "5.0.1", {"min_version"}),
        ("4.3.10", "4.4.19", {"series"}),
        ("4.4.19", "4.5.0", set()),
        ("4.4.20", "4.4.19", {"direction"}),
        ("broken", "4.4.19", {"min_version"}),
    ],
)
def test_versions(running: str, target: str, names: set[str]) -> None:
    package = make_package(target, [running])
    if running == "4.4.20":
        # A downgrade asks the relup of the version that is left.
        newer = make_package("4.4.20", [], [target])
        path = find_path(running, target, [package, newer])
        assert set(failed(make_facts(running=running), package, Context(target, path=path))) == names
        allowed = Context(target, path=path, allow_downgrade=True)
        assert failed(make_facts(running=running), package, allowed) == {}
    else:
        assert set(failed(make_facts(running=running), package, Context(target))) == names


@pytest.mark.parametrize(
    "of_facts",
    [
        # The lease of another run is over, and this run's own reservation is none against itself.
        {"run": RUN | {"lease_until": 1_699_999_999.0}},
        {"run": RUN | {"id": "mine"}},
        # A fleet run that died between two hops.
        {"releases": CURRENT, "run": RUN | {"id": "mine"}},
        # Our own package is there already.
        {"packages": [{"name": make_package()["name"], "path": "/p", "size": make_package()["size"]}]},
        # Another version's zip whose name does not hold ours.
        {"packages": [{"name": make_package("4.4.18")["name"], "path": "/p", "size": 1}]},
        # The release is unpacked: neither space nor a zip is needed.
        {
            "releases": [*RELEASES, {"version": "4.4.19", "status": "unpacked"}],
            "free_bytes": {"/opt/emqx": 0, "/tmp": 0},
            "packages": [{"name": "emqx-4.4.190-x.zip", "path": "/p", "size": 1}],
        },
        {"boot": PATCHED_BOOT},
        {"package_manager": DPKG | {"held": True}},
        # It restarts from other versions, and on the way back.
        {"_package": {"relup": {**make_package()["relup"], "restarts": ["4.4.17"], "restarts_down": ["4.4.18"]}}},
        {"os": "centos7", "arch": "x86_64", "_package": {"os": "el7"}},
        {"otp": "24", "_package": {"otp": "24.3.4.2-1"}},
        # What the release says of itself is absent, or is no word of a system or an architecture: the machine decides.
        {"os": None, "arch": None},
        {"os": "gnu", "arch": "25.2.3"},
    ],
)
def test_what_is_no_obstacle(of_facts: dict[str, Any]) -> None:
    changes: dict[str, Any] = dict(of_facts)
    package = make_package(**changes.pop("_package", {}))
    assert failed(make_facts(**changes), package, dataclasses.replace(TARGET, run_id="mine")) == {}


def test_a_package_that_is_not_for_linux_is_refused_whatever_is_accepted() -> None:
    results = g.evaluate(
        make_facts(), make_package(os="macos10"), dataclasses.replace(TARGET, accept=frozenset(["os"]))
    )
    assert {row["name"]: row["accepted"] for row in results if not row["passed"]} == {"platform": False, "os": True}
    assert g.refused(results)


@pytest.mark.parametrize(("host_os", "expected"), [("el7", set()), ("el8", {"os"})])
def test_the_machine_decides_where_the_release_does_not_tell(host_os: str, expected: set[str]) -> None:
    """4.2, and an Enterprise release without BUILT_ON; a newer system than the package's has to be accepted."""
    facts = make_facts(os=None, arch=None)
    facts["host"] = facts["host"] | {"os": host_os}
    assert set(failed(facts, make_package(os="el7"))) == expected


def test_enterprise_4_2_goes_its_way_by_versions_with_a_letter() -> None:
    first = make_package("e4.2.3", ["e4.2.2"], edition="ee")
    second = make_package("e4.2.10", ["e4.2.3"], edition="ee")
    facts = make_facts(running="e4.2.2", edition="ee")
    path = find_path("e4.2.2", "e4.2.10", [first, second])
    assert path.versions == ("e4.2.3", "e4.2.10")
    # Of known defects only such as are warned of.
    found = failed(facts, second, Context("e4.2.10", path=path))
    assert [name for name, row in found.items() if row["severity"] == "error"] == []
    back = make_facts(running="e4.2.10", edition="ee", ways_back={"e4.2.10": ["e4.2.3"]})
    found = failed(back, first, Context("e4.2.3"))
    assert [name for name, row in found.items() if row["severity"] == "error"] == ["direction"]
    assert set(failed(facts, make_package("e4.3.1", edition="ee"), Context("e4.3.1"))) == {"min_version"}


def test_the_relup_of_each_hop_is_asked_for_restarts() -> None:
    first, last = make_package("4.4.18", ["4.4.17"]), make_package("4.4.19", ["4.4.18"])
    first["relup"]["restarts"] = ["4.4.17"]
    path = find_path("4.4.17", "4.4.19", [first, last])
    row = failed(make_facts(running="4.4.17"), last, Context("4.4.19", path=path))["relup_restarts"]
    assert row["actual"] == f"4.4.17 -> 4.4.18 ({first['name']})"
    assert "disconnects every client" in row["message"]
    # What is left decides on the way down, not what is gone to.
    back = find_path("4.4.19", "4.4.17", [last, first, make_package("4.4.17", [], [])])
    down = Context("4.4.17", path=back, allow_downgrade=True)
    assert failed(make_facts(running="4.4.19"), make_package("4.4.17", [], []), down) == {}
    first["relup"] |= {"restarts": [], "restarts_down": ["4.4.17"]}
    assert list(failed(make_facts(running="4.4.19"), make_package("4.4.17", [], []), down)) == ["relup_restarts"]


def test_a_known_defect_is_as_severe_as_the_harm_it_does() -> None:
    package = make_package("4.4.5", ["4.4.4"])
    row = failed(make_facts(running="4.4.4"), package, Context("4.4.5"))["known_defects"]
    assert (row["severity"], row["actual"]) == ("warning", "uninstall_old on 4.4.4 -> 4.4.5")
    assert row["message"] == (
        "EMQX has known defects on this way: uninstall_old: once the version that the node was installed with is "
        "uninstalled, the node cannot start if the new one brought another Erlang runtime (fixed in 4.3.17, e4.3.12 "
        "and 4.4.6; keep the old version installed until the node runs a fixed one)"
    )
    worse = failed(
        make_facts(running="4.4.3", plugins=[{"name": "emqx_auth_jwt", "active": True}]),
        package | {"version": "4.4.5", "relup": {"upgrade_from": ["4.4.3"], "downgrade_to": ["4.4.3"]}},
        Context("4.4.5"),
    )["known_defects"]
    assert worse["severity"] == "error"
    assert worse["actual"] == "jwt_hook on 4.4.3 -> 4.4.5; uninstall_old on 4.4.3 -> 4.4.5"
    assert worse["message"].endswith("; accept known_defects if that may happen")


def test_a_defect_of_a_hop_between_is_told() -> None:
    """4.4.6 -> 4.4.19 alone is sound, but not by way of 4.4.14."""
    facts = make_facts(running="4.4.6", listeners=[{"protocol": "mqtt:wss:8084", "listen_on": "8084"}])
    last = make_package("4.4.19", ["4.4.14"])
    path = find_path("4.4.6", "4.4.19", [make_package("4.4.14", ["4.4.6"]), last])
    row = failed(facts, last, Context("4.4.19", path=path))["known_defects"]
    assert (row["severity"], row["actual"]) == ("error", "tls_new_connections on 4.4.6 -> 4.4.14")
    assert "known_defects" not in failed(facts, make_package("4.4.19", ["4.4.6"]), Context("4.4.19"))


def test_why_there_is_no_relup_is_told() -> None:
    package = make_package("4.4.15", [], os="ubuntu22.04")
    found = failed(make_facts(running="4.4.14", os="ubuntu22.04"), package, Context("4.4.15"))
    assert set(found) == {"relup", "known_defects"}
    assert found["known_defects"]["severity"] == "warning"
    assert "4.4.15 is the first package for ubuntu22.04" in found["known_defects"]["message"]


@pytest.mark.parametrize(
    ("owner", "remedy"),
    [
        (DPKG, "apt-mark hold emqx"),
        (DPKG | {"package": "emqx-ee"}, "apt-mark hold emqx-ee"),
        (DPKG | {"name": "rpm"}, "dnf versionlock add emqx"),
    ],
)
def test_a_package_is_told_how_to_be_held(owner: dict[str, Any], remedy: str) -> None:
    row = failed(make_facts(package_manager=owner), make_package())["package_manager"]
    assert remedy in row["message"]
    assert not g.refused([row])


def test_no_package() -> None:
    found = failed(make_facts(), None, dataclasses.replace(TARGET, package_reason="there is no package of 4.4.19"))
    assert list(found) == ["package"]
    assert found["package"]["message"] == "there is no package of 4.4.19"


def test_a_mixed_cluster_is_explained_by_the_run() -> None:
    for versions in ({"a": "4.4.18", "b": "4.4.19"}, {"a": "4.4.18"}, {}):
        assert (
            failed(make_facts(), make_package(), dataclasses.replace(TARGET, cluster=ClusterView(versions=versions)))
            == {}
        )
    view = ClusterView(versions=MIXED, explained=frozenset(["4.4.18"]))
    assert failed(make_facts(), make_package(), dataclasses.replace(TARGET, cluster=view)) == {}


def test_space_adds_up_where_the_paths_share_a_file_system() -> None:
    # 30 MiB zip, 60 MiB tree: 106 MiB in /tmp, 136 MiB below the root directory.
    room = {"/opt/emqx": 200 << 20, "/tmp": 200 << 20}
    assert failed(make_facts(free_bytes=room, devices={"/opt/emqx": 1, "/tmp": 2}), make_package()) == {}
    assert list(failed(make_facts(free_bytes=room, devices={"/opt/emqx": 1, "/tmp": 1}), make_package())) == ["space"]
    # Without devices, equal numbers are taken for one file system.
    assert list(failed(make_facts(free_bytes=room, devices=None), make_package())) == ["space"]
    room = {"/opt/emqx": 250 << 20, "/tmp": 250 << 20}
    assert failed(make_facts(free_bytes=room, devices={"/opt/emqx": 1, "/tmp": 1}), make_package()) == {}


@pytest.mark.parametrize("name", [name for name, gate in g.GATES.items() if gate.acceptable and name != "dry_check"])
def test_an_accepted_failure_is_recorded_and_refuses_nothing(name: str) -> None:
    case = next(case for case in CASES if case[0] == name)
    accepted = dataclasses.replace(TARGET, accept=frozenset([name]), **case[3])
    results = g.evaluate(make_facts(**case[1]), make_package(**case[2]), accepted)
    assert [row["accepted"] for row in results if row["name"] == name] == [True]
    assert [row["name"] for row in results if not row["passed"]] == [name]
    assert not g.refused(results)


@pytest.mark.parametrize("name", [name for name, gate in g.GATES.items() if not gate.acceptable])
def test_what_could_only_destroy_cannot_be_accepted(name: str) -> None:
    with pytest.raises(g.GateError, match=name):
        g.check_accept([name])
    for case in CASES:
        if case[0] == name:
            context = dataclasses.replace(TARGET, accept=frozenset([name]), **case[3])
            assert g.refused(g.evaluate(make_facts(**case[1]), make_package(**case[2]), context))


def test_a_node_that_is_reserved_says_by_whom_and_how_to_take_over() -> None:
    run = RUN | {"since": 1_700_000_000.0, "controller": "desk", "controller_process": "7@7", "held": True}
    clock = run["lease_until"] - 100
    (row,) = failed(make_facts(run=run, clock=clock), make_package()).values()
    assert row["message"] == (
        "the run r1 of ann@desk has reserved this node since 2023-11-14 22:13 UTC, for at most 2 minutes more unless "
        "it renews that; wait until it has ended or, if it is gone, until that time is over; "
        "-e emqx_upgrade_take_over=r1 takes over at once"
    )
    wanted = run | {"held": False}
    (row,) = failed(make_facts(run=wanted, clock=clock), make_package()).values()
    assert row["message"] == (
        "the run r1 of ann@desk is just about to reserve this node; start again in a minute, when it is decided which "
        "run has the cluster"
    )


def test_the_guards_of_the_node_cannot_be_accepted() -> None:
    never = {name for name, gate in g.GATES.items() if gate.severity == "error" and not gate.acceptable}
    assert {"package_sound", "checksum", "edition", "otp", "arch", "series", "relup", "operation", "run_lock"} <= never
    assert g.check_accept(["patches", "os"]) == {"patches", "os"}
    with pytest.raises(g.GateError, match="there is no gate colour"):
        g.check_accept(["colour"])


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({}, "upgrade"),
        ({"running": "4.4.19"}, "none"),
        ({"running": "4.4.19", "permanent": "4.4.18"}, "commit"),
        ({"running": "4.4.19", "boot": BAD_BOOT}, "commit"),
        ({"running": "4.4.19", "boot": {"version": "4.4.18", "problems": []}}, "commit"),
        ({"running": "4.4.19", "boot": {**PATCHED_BOOT, "version": "4.4.19"}}, "none"),
        ({"running": "4.4.19", "state": "stopped"}, "upgrade"),
    ],
)
def test_what_a_node_has_to_do(changes: dict[str, Any], action: str) -> None:
    facts = make_facts(running=changes.pop("running", "4.4.18")) | changes
    assert g.action_for(facts, "4.4.19") == action


def test_a_done_node_is_not_held_up_by_what_only_matters_to_a_switch() -> None:
    facts = make_facts(running="4.4.19", alarms=["x"], unwritable=["/opt"], packages=[{"name": "emqx-4.4.19-x.zip"}])
    assert failed(facts, make_package()) == {}
    assert set(failed(facts | {"edition": "ee"}, make_package())) == {"edition"}


def test_messages_are_the_same_on_every_node() -> None:
    """Figures and names of one node stand in ``actual``, so that equal failures can be grouped."""
    for name, of_facts, of_package, of_context in CASES:
        context = dataclasses.replace(TARGET, **of_context)
        messages = set()
        for number in (1, 2):
            changes = copy.deepcopy(of_facts)
            if changes.get("free_bytes"):
                changes["free_bytes"]["/tmp"] += number
            if changes.get("operation"):
                changes["operation"]["pid"] = number
            facts = make_facts(**changes) | {"pid": number, "clock": 1_700_000_000.0 + number}
            messages.add(failed(facts, make_package(**of_package), context)[name]["message"])
        assert len(messages) == 1, name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "4.4.18", "4.4.19", "running", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "version"]), inner, max_size=2),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["state", "running", "permanent", "edition", "otp"], JSON)))
def test_half_known_nodes_are_judged_all_the_same(facts: Facts) -> None:
    results = g.evaluate(facts, make_package(), TARGET)
    assert g.refused(results) or g.action_for(facts, "4.4.19") != "upgrade"


def test_nothing_known_is_refused() -> None:
    assert g.refused(g.evaluate({}, make_package(), TARGET))


def test_the_page_of_gates_is_what_the_code_says() -> None:
    command = [sys.executable, "scripts/gates_doc.py", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for gate in g.GATES.values():
        assert gate.summary.endswith(".")
        assert gate.way_out.endswith(".")


@pytest.mark.parametrize("state", ["stopped", "unreachable"])
@pytest.mark.parametrize("repairable", [True, False])
def test_a_node_that_a_killed_commit_silenced_is_told_its_way_out(state: str, repairable: bool) -> None:
    torn = {"code": "bin_file", "path": "bin/nodetool", "message": "torn", "repairable": repairable}
    facts = make_facts(state=state, permanent="4.4.19", boot={"version": "4.4.18", "problems": [torn]})
    message = failed(facts, make_package())["node_running"]["message"]
    assert ("state: permanent and version: 4.4.19" in message) is repairable


# Later than the plan


REFUSED = {"version": "4.4.19", "passed": False, "message": "{error,{no_matching_relup,...}}"}


def test_the_dry_check_of_a_release_that_is_unpacked() -> None:
    for found in (None, {}, {"version": "4.4.19", "passed": True, "message": ""}):
        row = g.evaluate_dry_check(found)
        assert (row["name"], row["passed"], row["accepted"], row["message"]) == ("dry_check", True, False, "")
        assert not g.refused([row])
    assert g.evaluate_dry_check(None)["actual"] == "not asked, for nothing is unpacked"


def test_a_dry_check_that_fails_refuses_unless_it_is_accepted() -> None:
    row = g.evaluate_dry_check(REFUSED, ["patches"])
    assert g.refused([row])
    assert row == {
        "name": "dry_check",
        "passed": False,
        "severity": "error",
        "accepted": False,
        "expected": "nothing found",
        "actual": "refused",
        "message": "the node's own check refuses 4.4.19: {error,{no_matching_relup,...}}; remove it (emqx_release with "
        "state: absent) and stage a package that fits, or accept dry_check if it should be tried all the same, which "
        "the emqx command checks once more",
    }
    row = g.evaluate_dry_check(REFUSED, ["patches", "dry_check"])
    assert (row["passed"], row["accepted"]) == (False, True)
    assert not g.refused([row])
    assert g.check_accept(["dry_check"]) == {"dry_check"}


def test_no_gate_is_asked_in_the_plan_that_can_only_be_asked_later() -> None:
    accepting = dataclasses.replace(TARGET, dry_check=REFUSED)
    assert "dry_check" not in {row["name"] for row in g.evaluate(make_facts(), make_package(), accepting)}


def test_every_gate_is_asked_somewhere() -> None:
    """None may stand in the documentation that nobody asks."""
    plan = {name for name, gate in g.GATES.items() if gate.actions & {"upgrade", "commit", "none"}}
    assert set(g.GATES) - plan == {g.evaluate_dry_check(None)["name"]}
