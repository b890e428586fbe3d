# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people write as a setting, what it means, and what they are told where it means nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates, probe_check, settings, verdicts, waves

ROOT = Path(__file__).resolve().parents[5]
SPECS = yaml.safe_load((ROOT / "roles/emqx_upgrade/meta/argument_specs.yml").read_text(encoding="utf-8"))
OPTIONS = settings.options_of(SPECS)
SHA = "0123456789abcdef" * 4


def read(purpose: str = "upgrade", **given: Any) -> settings.Read:
    """The settings of one host, with a version unless one is given."""
    given.setdefault("version", "4.4.19")
    return settings.read({"b1": {settings.PREFIX + name: value for name, value in given.items()}}, OPTIONS, purpose)


def meaning(name: str, value: Any) -> Any:
    found = read(**{name: value})
    assert found.problems.sentences() == []
    return found.settings["b1"][name]


def complaint(name: str, value: Any, purpose: str = "upgrade") -> str:
    (sentence,) = read(purpose, **{name: value}).problems.sentences()
    return sentence


def test_nothing_given_is_every_default() -> None:
    found = read()
    assert found.problems.sentences() == []
    assert found.problems.message() == ""
    defaults = {name: option["default"] for name, option in OPTIONS.items() if name != "hosts"}
    assert found.settings == {"b1": {**defaults, "version": "4.4.19"}}


@pytest.mark.parametrize("empty", ["", "  ", "\n", None, [], {}, (), "null", "None", "__omit_place_holder__0a"])
@pytest.mark.parametrize("name", [name for name in settings.RULES if name != "version"])
def test_empty_is_the_default(name: str, empty: Any) -> None:
    assert meaning(name, empty) == OPTIONS[name]["default"]


@pytest.mark.parametrize("name", ["packages", "accept", "coordinators", "take_over", "canary"])
@pytest.mark.parametrize("empty", ["[]", " [ ] ", [""], [None, " "], '[""]'])
def test_a_list_of_nothing_is_the_default(name: str, empty: Any) -> None:
    assert meaning(name, empty) == OPTIONS[name]["default"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        # texts
        ("version", " 4.4.19 ", "4.4.19"),
        ("version", "4.4.19-rc.1\n", "4.4.19-rc.1"),
        ("version", "e4.2.3", "e4.2.3"),
        ("run_id", 4711, "4711"),
        ("run_id", " change-1:a_b.c ", "change-1:a_b.c"),
        ("executable", " /usr/bin/emqx ", "/usr/bin/emqx"),
        ("report_file", " r.json ", "r.json"),
        # lists
        ("accept", "clock", ["clock"]),
        ("accept", "clock, space", ["clock", "space"]),
        ("accept", "clock\nspace\n", ["clock", "space"]),
        ("accept", " clock ,, space , clock ", ["clock", "space"]),
        ("accept", '["clock", "space"]', ["clock", "space"]),
        ("accept", "['clock']", ["clock"]),
        ("accept", "[clock, space]", ["clock", "space"]),
        ("accept", "- clock\n- space\n", ["clock", "space"]),
        ("accept", ["space", " clock ", "space"], ["space", "clock"]),
        ("accept", ("clock",), ["clock"]),
        ("coordinators", 3, ["3"]),
        ("coordinators", "emqx@10.0.0.1,b 2", ["emqx@10.0.0.1", "b 2"]),
        ("take_over", "20260101T000000Z-ab,x:1", ["20260101T000000Z-ab", "x:1"]),
        ("take_over", "[1, 2]", ["1", "2"]),
        ("packages", "packages,/srv/more", ["packages", "/srv/more"]),
        ("packages", "a,https://h/x.zip?v=1,2#sha256=1,b", ["a", "https://h/x.zip?v=1,2#sha256=1,b"]),
        ("packages", f"https://h/x.zip?v=1,2#sha256={SHA},b,c", [f"https://h/x.zip?v=1,2#sha256={SHA}", "b", "c"]),
        ("packages", "https://h/x.zip,/srv/b,c", ["https://h/x.zip", "/srv/b", "c"]),
        ("packages", "https://h/x.zip\nb", ["https://h/x.zip", "b"]),
        # yes and no
        *[("allow_downgrade", word, True) for word in (True, "yes", "Yes", " true ", "TRUE", "on", "1", 1, "y", "t")],
        *[("allow_downgrade", word, False) for word in (False, "no", "No", "false", "off", "0", 0, "n", "F")],
        # whole numbers
        ("max_per_cluster", "3", 3),
        ("max_per_cluster", " 3 ", 3),
        ("max_per_cluster", 2.0, 2),
        ("keep_versions", "0", 0),
        ("stage_throttle", "20", 20),
        ("stage_throttle", 0, 0),
        ("stage_throttle", 10_000, 10_000),
        ("split", "1", 1),
        ("split", 100, 100),
        ("split", "", 2),
        ("split_inventory", " parts.yml ", "parts.yml"),
        # seconds
        ("timeout", 90, 90),
        ("timeout", "90", 90),
        ("timeout", "90s", 90),
        ("timeout", " 90 S ", 90),
        ("timeout", "2m", 120),
        ("timeout", "2 minutes", 120),
        ("timeout", "1h", 3600),
        ("timeout", "1h30m", 5400),
        ("timeout", "1 h 30 min 5 sec", 5405),
        ("timeout", "1.5m", 90),
        ("timeout", "2000ms", 2),
        ("timeout", "1d", 86400),
        ("soak_seconds", "7d", 604800),
        ("lease_seconds", "30", 30),
        ("max_clock_skew", "2.5", 2.5),
        ("max_clock_skew", "500ms", 0.5),
        ("max_clock_skew", "0.1", 0.1),
        ("pause_seconds", 0, 0),
        # amounts
        ("wave_size", "5", 5),
        ("wave_size", 5.0, 5),
        ("wave_size", "5%", "5%"),
        ("wave_size", " 5 % ", "5%"),
        ("failure_budget", "100%", "100%"),
        ("failure_budget", "0%", "0%"),
        ("client_loss_tolerance", "3", 3),
        ("canary", "0", 0),
        ("canary", " 10 %", "10%"),
        # host patterns
        ("canary", "all:!b1", "all:!b1"),
        ("canary", "web:&db", "web:&db"),
        ("canary", "~b[0-9]+", "~b[0-9]+"),
        ("canary", "a[1:2]", "a[1:2]"),
        ("canary", "10.0.0.1", "10.0.0.1"),
        ("canary", "[::1]", "[::1]"),
        ("canary", ["b1", " b2 "], ["b1", "b2"]),
        ("canary", '["b1", "b2"]', ["b1", "b2"]),
        # choices
        ("commit", " Node ", "node"),
        ("on_failure", "rollback_wave", "rollback_wave"),
        ("package_source", " Node ", "node"),
        ("package_source", "", "controller"),
        # hooks, always in the order in which they run
        ("hooks", {"after_node": "b.yml", "before_node": " a.yml "}, {"before_node": "a.yml", "after_node": "b.yml"}),
        ("hooks", '{"before_node": "a.yml"}', {"before_node": "a.yml"}),
        ("hooks", "before_node: a.yml", {"before_node": "a.yml"}),
        ("hooks", {"before_node": ""}, {}),
        ("hooks", {"before_node": None, "after_node": "b.yml"}, {"after_node": "b.yml"}),
    ],
)
def test_what_people_write(name: str, value: Any, expected: Any) -> None:
    found = meaning(name, value)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "v4.4.19"),
        ("version", "4.4"),
        ("version", 4.4),
        ("version", ["4.4.19"]),
        ("version", True),
        ("timeout", "10 parsecs"),
        ("timeout", "1h1h"),
        ("timeout", "-5"),
        ("timeout", -5),
        ("timeout", 0),
        ("timeout", "0s"),
        ("timeout", "1.5"),
        ("timeout", 1.5),
        ("timeout", "500ms"),
        ("timeout", "1,5"),
        ("timeout", "2d"),
        ("timeout", "nan"),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", "inf"),
        ("timeout", "1e3"),
        ("timeout", True),
        ("timeout", [5]),
        ("timeout", {"seconds": 5}),
        pytest.param("timeout", "9" * 5000, id="5000 digits"),
        pytest.param("timeout", 10**400, id="400 digits"),
        ("timeout", "٣"),
        ("timeout", "5%"),
        ("lease_seconds", 29),
        ("max_clock_skew", 0),
        ("max_per_cluster", 0),
        ("max_per_cluster", "1.5"),
        ("max_per_cluster", "two"),
        ("max_per_cluster", "2m"),
        ("keep_versions", -1),
        ("keep_versions", "-1"),
        ("stage_throttle", -1),
        ("stage_throttle", 10_001),
        ("stage_throttle", "5%"),
        ("split", 0),
        ("split", 101),
        ("split", "50%"),
        ("split_inventory", ["parts.yml"]),
        ("wave_size", "101%"),
        ("wave_size", "-1"),
        ("wave_size", "5.5%"),
        ("wave_size", "5.5"),
        ("wave_size", "%"),
        ("wave_size", "5%%"),
        ("wave_size", "10.0.0.1"),
        ("wave_size", [5]),
        ("wave_size", True),
        ("failure_budget", "many"),
        ("failure_budget", "9" * 50),
        ("client_loss_tolerance", 0.5),
        ("canary", "-1"),
        ("canary", "1.5"),
        ("canary", "200%"),
        ("canary", True),
        ("canary", {"b1": 1}),
        ("canary", [["b1"]]),
        ("allow_downgrade", "perhaps"),
        ("allow_downgrade", 2),
        ("allow_downgrade", ["yes"]),
        ("on_failure", "rollback"),
        ("on_failure", 1),
        ("commit", False),
        ("accept", {"clock": True}),
        ("accept", True),
        ("accept", "[clock"),
        ("accept", [["clock"]]),
        ("accept", ["clock", {"a": 1}]),
        ("accept", "all"),
        ("run_id", "a b"),
        ("run_id", "a/b"),
        ("run_id", "x" * 101),
        ("run_id", ["a"]),
        ("take_over", "a b"),
        ("executable", "bin/emqx"),
        ("executable", "~/emqx"),
        ("hooks", "drain.yml"),
        ("hooks", ["drain.yml"]),
        ("hooks", {"before_nodes": "x.yml"}),
        ("hooks", {"before_node": ["x.yml"]}),
        ("hooks", "{before_node"),
        ("report_file", {"path": "x"}),
    ],
)
def test_what_means_nothing(name: str, value: Any) -> None:
    """It is told of under its name, in one line, with what was expected; and no other setting suffers."""
    found = read(**{name: value})
    (sentence,) = found.problems.sentences()
    assert sentence.startswith(f"emqx_upgrade_{name} ")
    assert "; expected " in sentence
    assert "\n" not in sentence
    assert len(sentence) < 700
    assert set(settings.RULES) - set(found.settings["b1"]) == {name}


def test_a_hook_of_a_wrong_name_hides_no_other() -> None:
    """So that the files of the others are looked at, and one message tells of all."""
    found = read(hooks={"befor_node": "x.yml", "after_node": "y.yml"})
    assert len(found.problems.sentences()) == 1
    assert found.settings["b1"]["hooks"] == {"after_node": "y.yml"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "timeout",
            "10 parsecs",
            "emqx_upgrade_timeout is '10 parsecs'; expected are whole seconds from 1 to 86400, or a time with its unit "
            "such as 90s, 2m or 1h30m. Write, for example, emqx_upgrade_timeout=600.",
        ),
        (
            "max_clock_skew",
            "-1",
            "emqx_upgrade_max_clock_skew is '-1'; expected are seconds from 0.1 to 86400, or a time with its unit such "
            "as 90s, 2m or 1h30m. Write, for example, emqx_upgrade_max_clock_skew=10.",
        ),
        (
            "max_per_cluster",
            1.5,
            "emqx_upgrade_max_per_cluster is 1.5; expected is a whole number from 1 to 1000000. Write, for example, "
            "emqx_upgrade_max_per_cluster=1.",
        ),
        (
            "split",
            "half",
            "emqx_upgrade_split is 'half'; expected is a whole number from 1 to 100. Write, for example, "
            "emqx_upgrade_split=2.",
        ),
        (
            "client_loss_tolerance",
            "0.5%",
            "emqx_upgrade_client_loss_tolerance is '0.5%'; expected is a whole number from 0 to 1000000, or a "
            "percentage from 0% to 100%. Write, for example, emqx_upgrade_client_loss_tolerance=2%.",
        ),
        (
            "canary",
            "150%",
            "emqx_upgrade_canary is '150%'; expected is a whole number from 0 to 1000000, or a percentage from 0% to "
            "100%, or a host pattern. Write, for example, emqx_upgrade_canary=1.",
        ),
        (
            "version",
            "v4.4.19",
            "emqx_upgrade_version is 'v4.4.19'; expected are three numbers with an optional pre-release, such as "
            "4.4.19 or 4.4.19-rc.1. Did you mean 4.4.19?",
        ),
        (
            "version",
            4.4,
            "emqx_upgrade_version is '4.4'; expected are three numbers with an optional pre-release, such as 4.4.19 or "
            "4.4.19-rc.1. Write, for example, emqx_upgrade_version=4.4.19.",
        ),
        (
            "commit",
            "flete",
            "emqx_upgrade_commit is 'flete'; expected is one of fleet, node, never. Did you mean fleet?",
        ),
        (
            "on_failure",
            "rollback-node",
            "emqx_upgrade_on_failure is 'rollback-node'; expected is one of stop, rollback_node, rollback_wave, "
            "rollback_fleet. Did you mean rollback_node?",
        ),
        (
            "allow_downgrade",
            "maybe",
            "emqx_upgrade_allow_downgrade is 'maybe'; expected is yes or no. Write, for example, "
            "emqx_upgrade_allow_downgrade=yes.",
        ),
        (
            "packages",
            {"a": "b"},
            'emqx_upgrade_packages is {"a": "b"}; expected is a list of texts, or one text with commas between them. '
            "Write, for example, emqx_upgrade_packages=packages.",
        ),
        (
            "run_id",
            "job 7",
            "emqx_upgrade_run_id is 'job 7'; expected are at most 100 letters, digits, and signs of . _ : -. Write, "
            "for example, emqx_upgrade_run_id=change-4711.",
        ),
        (
            "take_over",
            ["ok", "not ok"],
            "emqx_upgrade_take_over is 'not ok'; expected are identifiers of runs, as the refusal by the gate run_lock "
            "names them. Write, for example, emqx_upgrade_take_over=20260101T120000Z-0a1b2c3d.",
        ),
        (
            "executable",
            "emqx",
            "emqx_upgrade_executable is 'emqx'; expected is an absolute path on the node. Write, for example, "
            "emqx_upgrade_executable=/usr/lib/emqx/bin/emqx.",
        ),
        (
            "hooks",
            "drain.yml",
            "emqx_upgrade_hooks is 'drain.yml'; expected are files by the names of their hooks. Write, for example, "
            'emqx_upgrade_hooks={"before_node": "hooks/drain.yml"}.',
        ),
        (
            "hooks",
            {"befor_node": "x.yml"},
            "emqx_upgrade_hooks names the hook 'befor_node'; expected is one of before_fleet, before_wave, "
            "before_node, after_node, after_wave, after_fleet. Did you mean before_node?",
        ),
        (
            "hooks",
            {"before_node": ["a.yml", "b.yml"]},
            'emqx_upgrade_hooks has ["a.yml", "b.yml"] for before_node; expected is the path of one file of tasks. Let '
            "that "
            "file include others.",
        ),
        (
            "accept",
            "Known Defect",
            "emqx_upgrade_accept names 'Known Defect', which is no gate; expected are gates that can be accepted: "
            + ", ".join([*(gate.name for gate in gates.GATES.values() if gate.acceptable), "probe"])
            + ". Did you mean known_defects?",
        ),
        (
            "accept",
            "relup",
            "emqx_upgrade_accept names the gate relup; expected are gates that can be accepted: "
            + ", ".join([*(gate.name for gate in gates.GATES.values() if gate.acceptable), "probe"])
            + ". relup guards the node itself; take it out and mend what it tells of.",
        ),
        (
            "coordinators",
            settings.NotKnown("{{ firsts }}", "'firsts' is undefined"),
            "emqx_upgrade_coordinators is '{{ firsts }}', which cannot be worked out ('firsts' is undefined); expected "
            "is a value that is known when the run begins. Define what it is made of, or write the value itself.",
        ),
    ],
)
def test_the_words_of_a_complaint(name: str, value: Any, sentence: str) -> None:
    assert complaint(name, value) == sentence


def test_every_bad_name_of_a_list_is_told() -> None:
    found = read(accept=["relup", "nosuch", "clock"], hooks={"a": "x", "b": "y"}).problems.sentences()
    assert [sentence.partition(";")[0] for sentence in found] == [
        "emqx_upgrade_accept names the gate relup",
        "emqx_upgrade_accept names 'nosuch', which is no gate",
        "emqx_upgrade_hooks names the hook 'a'",
        "emqx_upgrade_hooks names the hook 'b'",
    ]


@pytest.mark.parametrize("purpose", settings.PURPOSES)
def test_only_an_upgrade_and_its_plan_need_a_version(purpose: str) -> None:
    found = read(purpose, version="")
    expected = "emqx_upgrade_version is not set; expected is the version that the fleet shall run. "
    expected += "Add -e emqx_upgrade_version=4.4.19."
    assert found.problems.sentences() == ([expected] if purpose in ("upgrade", "plan") else [])


@pytest.mark.parametrize("purpose", settings.PURPOSES)
def test_a_version_that_is_none_is_told_whatever_it_is_for(purpose: str) -> None:
    assert complaint("version", "4.4.x", purpose).startswith("emqx_upgrade_version is '4.4.x'; expected are three ")


@pytest.mark.parametrize(
    ("soak", "interval", "expected"), [(60, 10, 10), (5, 10, 5), (0, 10, 1), (0, 0, 1), (1, 1, 1), ("1m", "2m", 60)]
)
def test_an_interval_is_within_the_soak(soak: Any, interval: Any, expected: int) -> None:
    assert read(soak_seconds=soak, soak_interval=interval).settings["b1"]["soak_interval"] == expected


def test_an_interval_of_nothing() -> None:
    assert read(soak_interval="0").problems.sentences() == [
        "emqx_upgrade_soak_interval is 0 while emqx_upgrade_soak_seconds is 60; expected are 1 second or more between "
        "two looks. Write, for example, emqx_upgrade_soak_interval=10; emqx_upgrade_soak_seconds=0 leaves the watching "
        "out."
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cannary", "canary"),
        ("wave_sizes", "wave_size"),
        ("wavesize", "wave_size"),
        ("WAVE_SIZE", "wave_size"),
        ("verison", "version"),
        ("versions", "version"),
        ("soak_second", "soak_seconds"),
        ("package", "packages"),
        ("acept", "accept"),
        ("hots", "hosts"),
        ("runid", "run_id"),
        ("report_files", "report_file"),
    ],
)
def test_a_name_that_is_nearly_one(name: str, near: str) -> None:
    assert complaint(name, None) == (
        f"emqx_upgrade_{name} is no setting; expected are the settings of emqx.fleet.emqx_upgrade. "
        f"Did you mean emqx_upgrade_{near}?"
    )


@pytest.mark.parametrize(
    "name", ["hook", "purpose", "hosts", "packages_dir", "old_version", "my_hooks", "node_timeout", "ticket"]
)
def test_a_name_of_the_users_own_is_left_alone(name: str) -> None:
    found = read(**{name: "x"})
    assert (found.problems.sentences(), found.warnings) == ([], [])


def test_a_name_that_stops_too_early_is_warned_of() -> None:
    found = read(soak=5, report="x.json")
    assert found.problems.sentences() == []
    assert found.warnings == [
        "emqx_upgrade_soak is no setting and has no effect; there is emqx_upgrade_soak_seconds and "
        "emqx_upgrade_soak_interval.",
        "emqx_upgrade_report is no setting and has no effect; there is emqx_upgrade_report_file, "
        "emqx_upgrade_report_html, emqx_upgrade_report_junit and emqx_upgrade_report_metrics.",
    ]


def several(**by_host: dict[str, Any]) -> settings.Read:
    values = {
        host: {settings.PREFIX + name: value for name, value in {"version": "4.4.19", **given}.items()}
        for host, given in by_host.items()
    }
    return settings.read(values, OPTIONS)


@pytest.mark.parametrize("value", ["https://hooks.example.com", "http://me:x@[::1]:8080/a?b=c", " https://h/x\n"])
def test_a_webhook(value: str) -> None:
    assert meaning("webhook", value) == value.strip()


@pytest.mark.parametrize(
    "value",
    ["hidden", "ftp://h/hidden", "https:///hidden", "https://h:x/hidden", "http://[::1/hidden", "https://h/hid den"],
)
def test_what_is_no_webhook_is_not_quoted(value: str) -> None:
    assert complaint("webhook", value) == (
        "emqx_upgrade_webhook is ********; expected is a URL of http or https with a host. Write, for example, "
        "emqx_upgrade_webhook=https://hooks.example.com/emqx."
    )


@pytest.mark.parametrize("value", ["Bearer hidden", "hidden\nX-Other: 1", "hidden\r", "hidd\u00e9n", ["hidden"]])
def test_a_token_that_cannot_be_one_is_not_quoted(value: Any) -> None:
    if value == "hidden\r":
        assert meaning("webhook_token", value) == "hidden"
        return
    said = complaint("webhook_token", value)
    assert said.startswith("emqx_upgrade_webhook_token is ********; expected is one ")
    assert "hidden" not in said


def test_secrets_that_differ_are_not_quoted() -> None:
    for name, values in {
        "webhook_token": ("hidden1", "hidden2"),
        "webhook": ("https://hidden1", "https://hidden2"),
    }.items():
        (said,) = several(b1={name: values[0]}, b2={name: values[1]}).problems.sentences()
        assert said.startswith(f"emqx_upgrade_{name} is ******** on b1 and ******** on b2; expected is one value ")
        (said,) = several(b1={name: settings.NotKnown("{{ hidden }}", "no such variable")}).problems.sentences()
        assert "hidden" not in said


def test_one_message_for_all_hosts() -> None:
    found = several(b1={"timeout": "x", "accept": "q"}, b2={"timeout": "x"}, b3={"timeout": "y"})
    assert found.problems.message() == (
        "Nothing was touched, because there are 3 problems with the settings:\n"
        "- emqx_upgrade_timeout is 'x'; expected are whole seconds from 1 to 86400, or a time with its unit such as "
        "90s, 2m or 1h30m. Write, for example, emqx_upgrade_timeout=600. (On b1, b2.)\n"
        "- emqx_upgrade_accept names 'q', which is no gate; expected are gates that can be accepted: "
        + ", ".join([*(gate.name for gate in gates.GATES.values() if gate.acceptable), "probe"])
        + ". Take it out. (On b1.)\n"
        "- emqx_upgrade_timeout is 'y'; expected are whole seconds from 1 to 86400, or a time with its unit such as "
        "90s, 2m or 1h30m. Write, for example, emqx_upgrade_timeout=600. (On b3.)\n"
        "Mend what is named here and run the same command again."
    )


def test_of_many_hosts_the_first_twenty_are_named() -> None:
    hosts = {f"b{number}": {"timeout": "x"} for number in range(30)}
    (sentence,) = several(**hosts, c={}).problems.sentences()
    assert sentence.endswith(" (On " + ", ".join(f"b{number}" for number in range(20)) + " and 10 more.)")
    (sentence,) = several(**hosts).problems.sentences()
    assert sentence.endswith("emqx_upgrade_timeout=600.")


@pytest.mark.parametrize("name", [name for name, rule in settings.RULES.items() if not rule.fleet_wide])
def test_what_may_differ_from_host_to_host(name: str) -> None:
    value = {"executable": "/x", "probe_tls": "yes", "probe_validate_certs": "no"}.get(name, 33)
    found = several(b1={name: value}, b2={})
    assert found.problems.sentences() == []
    assert found.settings["b1"][name] != found.settings["b2"][name]


def test_what_holds_for_the_whole_play_is_one_value() -> None:
    values: dict[str, Any] = {
        "version": "4.4.18",
        "packages": "other",
        "package_source": "node",
        "accept": "clock",
        "lease_seconds": 90,
        "park_seconds": 90,
        "hooks": {"before_node": "x"},
        "commit": "node",
        "on_failure": "rollback_node",
        "allow_downgrade": "yes",
        "report_file": "r.json",
        "canary": "b1",
        "probe": "yes",
        "webhook": "https://h",
        "phases": "stage",
        "waves": "rest",
    }
    for name, rule in settings.RULES.items():
        if not rule.fleet_wide:
            continue
        (sentence,) = several(b1={}, b2={name: values.get(name, 7)}, b3={}).problems.sentences()
        assert sentence.startswith(f"emqx_upgrade_{name} is "), name
        assert sentence.endswith(
            " on b2; expected is one value for the whole play. Set it once for all, with -e or in the variables of the "
            "group all."
        )
    (sentence,) = several(b1={}, b2={"version": "4.4.18"}).problems.sentences()
    assert sentence.startswith("emqx_upgrade_version is '4.4.19' on b1 and '4.4.18' on b2; expected ")


def test_two_spellings_of_one_value_are_one() -> None:
    found = several(
        b1={"wave_size": " 5 %", "packages": "a, b", "soak_seconds": "2m"},
        b2={"wave_size": "5%", "packages": ["a", "b"], "soak_seconds": 120},
    )
    assert found.problems.sentences() == []


def test_hosts_do_not_share_what_can_be_changed() -> None:
    found = several(b1={}, b2={})
    found.settings["b1"]["accept"].append("x")
    assert found.settings["b2"]["accept"] == []
    assert OPTIONS["accept"]["default"] == []


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("https://me:pw@host/x.zip", "'https://********@host/x.zip'"),
        ("http://me:p@w@host/x.zip?sig=1", "'http://********@host/x.zip?sig=********'"),
        (["https://me:pw@a/x", "https://you:pw@b/y"], '["https://********@a/x", "https://********@b/y"]'),
        ({"a": "https://token@h/"}, '{"a": "https://********@h/"}'),
        ("a\n b", "'a b'"),
        ("é", "'é'"),
        (None, "null"),
    ],
)
def test_how_a_value_is_quoted(value: Any, quoted: str) -> None:
    assert settings.shown(value) == quoted


def test_a_long_value_is_cut() -> None:
    assert settings.shown("x" * 1000) == "'" + "x" * 119 + "…"


@pytest.mark.parametrize(
    "name", ["packages", "executable", "run_id", "accept", "canary", "wave_size", "timeout", "hooks"]
)
def test_no_complaint_tells_a_password(name: str) -> None:
    values: tuple[Any, ...] = ({"a": "https://me:secret@h/x"}, "https://me:secret@h/x y", [["https://me:secret@h/x"]])
    for value in values:
        given: dict[str, Any] = {name: value}
        assert "secret" not in read(**given).problems.message()
    bad = settings.NotKnown("https://me:secret@h/{{ x }}", "in https://me:secret@h/{{ x }}")
    assert "secret" not in complaint(name, bad)


@pytest.mark.parametrize(
    "value", [["s3cret"], {"a": "s3cret"}, True, settings.NotKnown("s3cret {{ x }}", "'x' is undefined")]
)
def test_no_complaint_about_a_password_tells_it(value: Any) -> None:
    said = complaint("probe_password", value)
    assert said.startswith("emqx_upgrade_probe_password is ********")
    assert "s3cret" not in said


# -- that the parts agree ---------------------------------------------------------------------------------------------


def test_every_setting_has_a_rule_and_a_kind() -> None:
    assert set(settings.RULES) | {settings.PATTERN} == set(OPTIONS)
    numbers = {name for name, option in OPTIONS.items() if option["type"] in ("int", "float")}
    assert numbers - {name for name, rule in settings.RULES.items() if rule.seconds} == {
        "max_per_cluster",
        "keep_versions",
        "stage_throttle",
        "split",
        "probe_port",
        "probe_clients",
    }
    assert {name for name, option in OPTIONS.items() if option["type"] == "raw"} - {settings.PATTERN} == {
        name for name, rule in settings.RULES.items() if rule.amount
    }


def test_examples_mean_something() -> None:
    for name, rule in settings.RULES.items():
        if rule.example:
            meaning(name, rule.example)


def test_what_the_verdicts_accept_can_be_accepted() -> None:
    asked = {
        str(node.left.value)
        for module in (verdicts, probe_check)
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Constant)
        and isinstance(node.comparators[0], ast.Name)
        and node.comparators[0].id == "accepted"
    }
    assert asked == set(settings.ACCEPTED_BY_VERDICTS)
    assert meaning("accept", sorted(asked)) == sorted(asked)


def test_what_is_read_is_what_the_deciding_parts_take() -> None:
    for value in ("5", "5%", " 5 % ", 5.0):
        waves.amount("wave_size", meaning("wave_size", value), 100)
        verdicts.allowed_loss(meaning("client_loss_tolerance", value), 100)
    assert OPTIONS["max_clock_skew"]["default"] == gates.DEFAULT_MAX_CLOCK_SKEW


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("switch", ["plan", "switch"]),
        ("commit, Stage", ["plan", "stage", "commit"]),
        (["soak"], ["plan", "soak"]),
        ("plan", ["plan"]),
        (list(settings.PARTS), list(settings.PARTS)),
    ],
)
def test_parts_of_a_run(value: Any, parts: list[str]) -> None:
    assert meaning("phases", value) == parts


def test_what_is_no_part_of_a_run() -> None:
    assert complaint("phases", "swich") == (
        "emqx_upgrade_phases names 'swich', which is no part of a run; expected are parts out of plan, stage, switch, "
        "soak, commit. Did you mean switch?"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"waves": "canary"}, "emqx_upgrade_waves is canary in a run that commits as well"),
        ({"waves": "canary", "phases": "switch", "canary": 0}, "is canary while emqx_upgrade_canary is 0"),
        ({"waves": "canary", "phases": "switch", "canary": "0%"}, "is canary while emqx_upgrade_canary is 0%"),
    ],
)
def test_canaries_that_would_be_left_alone(given: dict[str, Any], words: str) -> None:
    (sentence,) = read(**given).problems.sentences()
    assert words in sentence
    assert read(waves="canary", phases="stage,switch").problems.sentences() == []
    assert read(waves="rest").problems.sentences() == []
