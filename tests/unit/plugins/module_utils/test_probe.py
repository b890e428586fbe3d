# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one question to a node, and its answers in every state that a node may be in."""

import random
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, probe
from ansible_collections.emqx.fleet.plugins.module_utils.asking import parse_answer
from ansible_collections.emqx.fleet.plugins.module_utils.clients import COUNTERS, Sample, books, unknown_books
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.plugins.module_utils.probe import Probe, expression, uptime_seconds
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import FakeCommand, FakeNode, wide

FORBIDDEN = '"$`\\\n\r\0'
UNDEFINED = Atom("undefined")


def printed(facts: List[Tuple[str, Any]]) -> str:
    """What the node prints for these facts."""
    return wide([Atom("emqx_fleet"), [(Atom(name), value) for name, value in facts]])


def answered(**facts: Any) -> Probe:
    answer = parse_answer(printed(list(facts.items())) + "\nok\n")
    assert answer is not None
    return Probe(answer)


def listed(*rows: Tuple[str, str]) -> List[Any]:
    """The release table: version and status; the emqx application has the release's version."""
    return [(version, Atom(status), ["emqx-" + version, "emqx-x"]) for version, status in rows]


# The question


def test_nothing_in_it_that_the_command_would_change() -> None:
    for text in (expression(), expression(["/opt/emqx/data/patches/emqx_a.beam"], "4.4.19", settings=True)):
        assert not set(text) & set(FORBIDDEN)
        assert text.endswith(").")
        assert "%" not in text


def test_no_patch_name_and_no_version_can_change_that() -> None:
    random_source = random.Random(20260101)
    alphabet = "abzAZ019_@.-/ '\"$`\\\n\r\t;|&(){}[]<>*?~!%#,=+\u00fc\u20ac\U0001f600\x00\x7f"
    for _unused in range(400):
        name = "".join(random_source.choice(alphabet) for _unused in range(random_source.randint(0, 12)))
        version = "".join(random_source.choice(alphabet) for _unused in range(random_source.randint(0, 12)))
        text = expression(["/data/patches/{0}.beam".format(name), "/da$ta\n`/{0}.beam".format(name)], version)
        assert not set(text) & set(FORBIDDEN)


@pytest.mark.parametrize("name", ["emqx_a\n", "emqx a", "Emqx", "", "1a", "emqx-a", "../emqx"])
def test_names_that_are_no_modules_are_not_asked_for(name: str) -> None:
    if "/" not in name:
        assert expression(["/p/{0}.beam".format(name)]) == expression()


@pytest.mark.parametrize("name", ["end", "after", "emqx_a@b"])
def test_a_module_name_is_no_syntax(name: str) -> None:
    """A patch for a module called ``end`` would otherwise cost every fact."""
    text = expression(["/p/{0}.beam".format(name)])
    assert "{" + name + "," not in text
    assert "list_to_atom({0})".format(asking.characters(name)) in text


def test_check_is_asked_for_only_with_a_version() -> None:
    assert "check_install_release" not in expression()
    assert asking.characters("4.4.19") in expression([], "4.4.19")


# The answer


def test_answer_is_found_between_other_lines() -> None:
    text = printed([("node", Atom("emqx@127.0.0.1"))])
    assert parse_answer("warning: x\n" + text + "\nok\n") == {"node": "emqx@127.0.0.1"}
    for nothing in ("", "ok\n", "Node is not running!\n", text[:-1], text[:20], "x" + text[:-1]):
        assert parse_answer(nothing) is None


@pytest.mark.parametrize(
    "banner",
    [
        "Authorised use only!\n",
        "\x1b]0;emqx@broker1\x07",
        "last login: {emqx_fleet, no\n",
        "{emqx_fleet,",
        "\u00e4\r\n\r\n",
    ],
)
def test_what_the_login_profile_prints_does_not_matter(banner: str) -> None:
    text = printed([("node", Atom("emqx@127.0.0.1"))])
    assert parse_answer(banner + text + "\nok\n" + "logout\n") == {"node": "emqx@127.0.0.1"}


def test_no_word_of_the_expression_is_a_pattern_of_short_names() -> None:
    """EMQX 4.2 lets the shell take each word of it for a pattern of file names in the installation's folder."""
    for word in expression(["/opt/emqx/data/patches/emqx_x.beam"], "4.2.14").split():
        assert not re.match(r"\[[^\]]*\]\Z", word), word
        assert "*" not in word
        assert "?" not in word


@pytest.mark.parametrize("text", ["{emqx_fleet,1}", "{emqx_fleet,[a]}", "{emqx_fleet,[{a,b,c}]}", "{emqx_fleet,[]}.x"])
def test_answer_of_another_shape_is_none(text: str) -> None:
    assert parse_answer(text) is None


def test_ask_believes_only_a_command_that_ended_well(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    asked = probe.ask(node.command, None)
    assert asked.answer is not None
    assert asked.result is not None
    assert (asked.answer.running, asked.result.rc) == ("4.4.18", 0)

    class Lying(FakeCommand):
        def read(self, *unused: str, timeout: Optional[float] = None) -> CommandResult:
            return CommandResult([], 1, printed([("node", Atom("x@y"))]), "", 0.1, 1)

    assert probe.ask(Lying(node), None).answer is None


def test_old_code_is_searched_only_when_asked_for() -> None:
    assert "check_process_code" in probe.expression()
    assert "check_process_code" not in probe.expression(old_code=False)


def test_settings_are_asked_for_only_when_wanted() -> None:
    """Some hundreds of them, of each of some thousand nodes in a plan."""
    assert "get_all_env" in probe.expression(settings=True)
    assert "get_all_env" not in probe.expression()


def test_settings() -> None:
    rows = [(Atom("emqx_retainer"), [(Atom("expiry_interval"), 4294967295), (Atom("odd key"), 0)]), (Atom("sasl"), [])]
    assert answered(settings=rows).settings == {
        "emqx_retainer": {"expiry_interval": 4294967295, "odd key": 0},
        "sasl": {},
    }
    assert answered(settings=[]).settings == {}
    assert answered(settings=[(Atom("a"), [((Atom("k"), 1), 2)])]).settings == {"a": {"(Atom('k'), 1)": 2}}


def test_every_fact_may_be_undefined() -> None:
    names = [name for name, _unused in probe._FACTS]
    for found in (answered(**dict.fromkeys(names, UNDEFINED)), Probe({})):
        assert (found.node, found.pid, found.otp, found.erts, found.sysdescr, found.uptime_seconds) == (None,) * 6
        assert (found.releases, found.permanent, found.running) == ([], None, None)
        assert found.statistic("connections.count") is None
        assert found.cluster == {"running": [], "stopped": [], "members": []}
        assert (found.plugins, found.alarms, found.listeners) == ([], [], [])
        assert found.old_code is None
        assert found.settings is None
        assert found.dry_check("4.4.19") is None
        assert found.patches_in_force is None


@pytest.mark.parametrize("missing", [name for name, _unused in probe._FACTS])
def test_one_undefined_fact_costs_only_itself(tmp_path: Path, missing: str) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    node.extra["facts"] = {missing: UNDEFINED}
    found = probe.ask(node.command, None, (), "4.4.18").answer
    assert found is not None
    whole = {"node": found.node, "pid": found.pid, "otp": found.otp, "erts": found.erts, "sysdescr": found.sysdescr}
    for name, value in whole.items():
        assert (value is None) == (name == missing)
    assert (found.permanent is None) == (missing == "releases")
    assert (found.listeners == []) == (missing == "listeners")


def test_simple_facts() -> None:
    found = answered(
        node=Atom("emqx@127.0.0.1"), pid="4711", otp="25", erts="13.1.5", sysdescr="EMQX Enterprise", uptime="5 seconds"
    )
    assert (found.node, found.pid, found.otp) == ("emqx@127.0.0.1", 4711, "25")
    assert (found.erts, found.sysdescr, found.uptime_seconds) == ("13.1.5", "EMQX Enterprise", 5)
    assert answered(pid="none").pid is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 days, 2 hours, 3 minutes, 4 seconds", 93784),
        ("1 day,2 hours, 3 minutes, 4 seconds", 93784),
        ("12 minutes, 0 seconds", 720),
        ("0 seconds", 0),
        ("", None),
        (None, None),
        ("soon", None),
    ],
)
def test_uptime(text: Optional[str], seconds: Optional[int]) -> None:
    assert uptime_seconds(text) == seconds


# Which version runs


@pytest.mark.parametrize(
    ("rows", "application", "running"),
    [
        ([("4.4.18", "permanent")], "4.4.18", "4.4.18"),
        ([("4.4.18", "permanent"), ("4.4.19", "current")], "4.4.19", "4.4.19"),
        ([("4.4.19", "permanent"), ("4.4.18", "current")], "4.4.18", "4.4.18"),
        # After a half-made commit and a restart: the table says permanent, the code is the old one's.
        ([("4.4.19", "permanent"), ("4.4.18", "old")], "4.4.18", "4.4.18"),
        ([("4.4.19", "permanent"), ("4.4.18", "unpacked")], "4.4.18", "4.4.18"),
        # An application that belongs to no release of the table, or is not known, does not decide.
        ([("4.4.19", "permanent"), ("4.4.18", "old")], "4.4.17", "4.4.19"),
        ([("4.4.19", "permanent"), ("4.4.18", "old")], None, "4.4.19"),
        ([], "4.4.18", None),
    ],
)
def test_running_version(rows: List[Tuple[str, str]], application: Optional[str], running: Optional[str]) -> None:
    facts: Dict[str, Any] = {"releases": listed(*rows)}
    facts["app_version"] = UNDEFINED if application is None else application
    assert answered(**facts).running == running


def test_two_releases_with_one_application_version_leave_it_to_the_table() -> None:
    """Enterprise releases may differ while their emqx application is the same."""
    rows = [("4.4.19", Atom("permanent"), ["emqx-4.4.18"]), ("4.4.18", Atom("old"), ["emqx-4.4.18"])]
    assert answered(releases=rows, app_version="4.4.18").running == "4.4.19"
    rows.append(("4.4.17", Atom("old"), ["emqx-4.4.17"]))
    assert answered(releases=rows, app_version="4.4.17").running == "4.4.17"


# Clients, cluster, plugins


def test_statistics() -> None:
    stats = [(Atom("connections.count"), 7), (Atom("live_connections.count"), 5), (Atom("odd"), Atom("x")), 3]
    found = answered(stats=stats)
    assert found.statistic(*COUNTERS) == 5
    assert found.statistic("connections.count") == 7
    assert found.statistic("odd", "sessions.count") is None
    assert answered(stats=[]).statistic("connections.count") is None


def test_zero_clients_are_not_unknown() -> None:
    assert answered(stats=[(Atom("connections.count"), 0)]).statistic(*COUNTERS) == 0


def told_books(node: Atom, count: int = 3, **changes: Any) -> Any:
    """What a member answers that has evaluated what it was asked, newest sample first."""
    counters = [9, 5, 9, 0, 3, 0, 0, 1]
    sample = (counters, changes.get("sessions", 6), changes.get("connected", 4), counters)
    return (Atom("value"), (node, 1790000000500, [sample] * count, changes.get("others", [])), [])


def test_the_books_of_the_node_itself() -> None:
    node = Atom("emqx@10.0.0.1")
    found = answered(node=node, books=[told_books(node)], survivors=4)
    assert (found.client_books["connected"], found.client_books["came"], found.survivors) == (4, 9, 4)
    assert found.client_books["session_balance"] == [0, 0]
    others = answered(node=node, books=[told_books(node, others=[Atom("emqx_coap")])])
    assert others.client_books["reason"] == "clients of emqx_coap are not counted as those of MQTT are"


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [(Atom("badrpc"), Atom("timeout"))],
        [told_books(Atom("emqx@10.0.0.2"))],
        [told_books(Atom("emqx@10.0.0.1"), sessions=Atom("undefined"))],
        Atom("undefined"),
    ],
)
def test_books_that_the_node_does_not_tell(answer: Any) -> None:
    found = answered(node=Atom("emqx@10.0.0.1"), books=answer, survivors=Atom("undefined"))
    assert found.client_books == unknown_books("the node did not tell its counters")
    assert found.survivors is None


def test_cluster_with_a_member_that_does_not_answer() -> None:
    one, two = Atom("emqx@10.0.0.1"), Atom("emqx@10.0.0.2")
    down = (Atom("badrpc"), Atom("nodedown"))
    found = answered(
        cluster_running=[two, one],
        cluster_stopped=[Atom("emqx@10.0.0.3")],
        members=[(two, down, down), (one, "4.4.18", [(Atom("connections.count"), 4), (Atom("sessions.count"), 6)])],
        books=[down, told_books(one)],
    )
    silent = unknown_books("it did not tell its counters")
    counted = books(1790000000.5, [Sample([9, 5, 9, 0, 3, 0, 0, 1], 6, 4, [9, 5, 9, 0, 3, 0, 0, 1])] * 3)
    assert found.cluster == {
        "running": ["emqx@10.0.0.1", "emqx@10.0.0.2"],
        "stopped": ["emqx@10.0.0.3"],
        "members": [
            {
                "node": "emqx@10.0.0.1",
                "version": "4.4.18",
                "connections": 4,
                "connection_counts": {"connections.count": 4},
                "sessions": 6,
                "client_books": counted,
            },
            {
                "node": "emqx@10.0.0.2",
                "version": None,
                "connections": None,
                "connection_counts": {},
                "sessions": None,
                "client_books": silent,
            },
        ],
    }


def test_plugins_and_alarms() -> None:
    found = answered(
        plugins=[(Atom("emqx_retainer"), Atom("true")), (Atom("emqx_auth_http"), Atom("false"))],
        alarms=[b"too_many_processes", Atom("high_cpu_usage"), "text"],
    )
    assert found.plugins == [{"name": "emqx_auth_http", "active": False}, {"name": "emqx_retainer", "active": True}]
    assert found.alarms == ["high_cpu_usage", "text", "too_many_processes"]


@pytest.mark.parametrize(
    ("listener", "row"),
    [
        ((Atom("mqtt:tcp"), 1883), ("mqtt:tcp", "1883")),
        ((Atom("mqtt:tcp:external"), ("0.0.0.0", 1883)), ("mqtt:tcp:external", "0.0.0.0:1883")),
        ((Atom("mqtt:tcp:internal"), ((127, 0, 0, 1), 11883)), ("mqtt:tcp:internal", "127.0.0.1:11883")),
        ((Atom("mqtt:ssl"), ((0, 0, 0, 0, 0, 0, 0, 1), 8883)), ("mqtt:ssl", "0:0:0:0:0:0:0:1:8883")),
        ((Atom("mqtt:ssl"), ((0xFE80, 0, 0, 0, 0, 0, 0, 0xABC), 8883)), ("mqtt:ssl", "fe80:0:0:0:0:0:0:abc:8883")),
        (("http:dashboard", 18083), ("http:dashboard", "18083")),
        ((b"binary", 1), ("binary", "1")),
        ((Atom("unix"), Atom("undefined")), ("unix", "undefined")),
        (((Atom("a"), 1), 2), None),
    ],
)
def test_listeners_of_all_shapes(listener: Any, row: Optional[Tuple[str, str]]) -> None:
    for name in ("listeners", "web_listeners"):
        (found,) = answered(**{name: [listener]}).listeners
        assert set(found) == {"protocol", "listen_on"}
        if row is not None:
            assert (found["protocol"], found["listen_on"]) == row


def test_listeners_that_are_no_pairs_are_left_out_and_the_rest_is_sorted() -> None:
    found = answered(
        listeners=[(Atom("b"), 2), (Atom("b"), 1), Atom("odd"), (Atom("a"), 1, 2)], web_listeners=[(Atom("a"), 9)]
    )
    assert [row["protocol"] + row["listen_on"] for row in found.listeners] == ["a9", "b1", "b2"]


def test_old_code_without_processes_does_not_count() -> None:
    found = answered(old_code=[(Atom("emqx_connection"), 10), (Atom("emqx_ctl"), 0)])
    assert found.old_code == [{"module": "emqx_connection", "processes": 10}]


def test_dry_check() -> None:
    assert answered(dry_check=Atom("ok")).dry_check("4.4.19") == {"version": "4.4.19", "passed": True, "message": ""}
    refused = answered(dry_check="{error,{no_matching_relup,...}}").dry_check("4.4.19")
    assert refused == {"version": "4.4.19", "passed": False, "message": "{error,{no_matching_relup,...}}"}


def test_patches_in_force() -> None:
    found = answered(patches=[(Atom("emqx_a"), Atom("true")), (Atom("emqx_b"), Atom("false"))])
    assert found.patches_in_force == {"emqx_a": True, "emqx_b": False}
    assert answered(patches=[]).patches_in_force == {}


@pytest.mark.parametrize(("value", "licensed"), [("true", True), ("false", False), ("undefined", False)])
def test_enterprise_is_told_by_its_license(value: str, licensed: bool) -> None:
    assert answered(licensed=Atom(value)).licensed is licensed
