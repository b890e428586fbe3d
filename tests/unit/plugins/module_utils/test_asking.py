# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way a question takes, and what comes of it when one way or both do not lead to the node."""

import random
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import asking, facts, peer, probe
from ansible_collections.emqx.fleet.plugins.module_utils.asking import Asked, ask, parse_answer
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import (
    AnswerTimeoutError,
    DistributionError,
    NotListeningError,
)
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import (
    COOKIE,
    PID,
    FakeCommand,
    FakeNode,
    wide,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import more, seeds

NOW = "4.4.18"
BY_COMMAND, BY_VALUE = "printed.", "value."
ANSWER = wide([Atom("emqx_fleet"), [(Atom("node"), Atom("emqx@127.0.0.1"))]])


class Command(FakeCommand):
    """Prints something, and keeps what it was asked and how long it might have taken."""

    def __init__(self, node: FakeNode, rc: int = 0, stdout: str = ANSWER + "\nok\n") -> None:
        super().__init__(node)
        self.said = (rc, stdout)
        self.asked: List[Any] = []

    def _run(self, arguments: List[str], timeout: float, kill: bool) -> CommandResult:
        self.asked.append((arguments, timeout))
        return CommandResult(self.argv(arguments), self.said[0], self.said[1], "it said", 0.1, 1)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "emqx", NOW)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> List[Any]:
    """What the node answers, or the error of asking it; gives the list of the questions."""
    questions: List[Any] = []

    def evaluate(*arguments: Any) -> Any:
        questions.append(arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(asking, "evaluate", evaluate)
    return questions


def asked_of(command: Command, pid: Optional[int] = PID) -> Asked:
    return ask(command, pid, lambda printed: BY_COMMAND if printed else BY_VALUE, lambda answer: answer)


def test_the_node_itself_is_asked_first(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = answering(monkeypatch, ANSWER.encode())
    command = Command(node)
    assert asked_of(command) == Asked({"node": "emqx@127.0.0.1"}, "distribution", None, None)
    [(found, text, timeout)] = questions
    assert (found.node, found.cookie, found.port) == ("emqx@127.0.0.1", COOKIE, 4370)
    assert (text, timeout) == (BY_VALUE, 60.0)
    assert command.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DistributionError("emqx@h is not reached: the cookies differ"), "emqx@h is not reached: the cookies differ."),
        (NotListeningError("emqx@h is not reached: x"), "emqx@h is not reached: x."),
        (DistributionError("the broker's cookie is not known"), "The broker's cookie is not known."),
        (b"", "emqx@127.0.0.1 answers something else than it was asked."),
        (b"{emqx_fleet,", "emqx@127.0.0.1 answers something else than it was asked."),
        (b"\xff\xfe", "emqx@127.0.0.1 answers something else than it was asked."),
        ([1], "emqx@127.0.0.1 answers something else than it was asked."),
        (("atom", "undefined"), "emqx@127.0.0.1 answers something else than it was asked."),
    ],
)
def test_the_command_is_asked_where_that_does_not_work(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str
) -> None:
    answering(monkeypatch, answer)
    command = Command(node)
    found = asked_of(command)
    assert found[:3] == ({"node": "emqx@127.0.0.1"}, "command", reason)
    assert found.result is not None
    assert command.asked == [(["eval", BY_COMMAND], 60.0)]


def test_a_name_or_cookie_that_is_not_known_leaves_the_command(node: FakeNode) -> None:
    node.path("etc/emqx.conf").unlink()
    found = asked_of(Command(node))
    assert found[1:3] == ("command", "The broker's node name is not known.")


def test_a_broker_that_no_command_would_find_is_not_asked_otherwise(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is found out when a run has begun that nothing can be done on it."""
    questions = answering(monkeypatch, ANSWER.encode())
    argv = ["beam.smp", "-name", "emqx@127.0.0.1", "-setcookie", "other", "-epmd_module", "ekka_epmd"]
    monkeypatch.setattr(peer, "_strings", lambda path: argv if "cmdline" in path else [])
    found = asked_of(Command(node, 1, "Node is not running!\n"))
    assert found[:3] == (None, None, "An emqx command has another cookie than emqx@127.0.0.1.")
    assert questions == []
    command = Command(node)
    command.settings["EMQX_NODE_COOKIE"] = "other"
    assert asked_of(command).read_by == "distribution"


def test_a_node_that_hangs_is_not_asked_as_long_again(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, AnswerTimeoutError("emqx@h does not answer within 60 s"))
    command = Command(node)
    assert asked_of(command)[1:3] == ("command", "emqx@h does not answer within 60 s.")
    assert command.asked == [(["eval", BY_COMMAND], asking.LAST_SECONDS)]
    command = Command(node)
    command.timeout = 3.0
    asked_of(command)
    assert command.asked == [(["eval", BY_COMMAND], 3.0)]


@pytest.mark.parametrize(("rc", "stdout"), [(1, "Node is not running!\n"), (1, ANSWER), (0, "ok\n")])
def test_nothing_answers(node: FakeNode, rc: int, stdout: str) -> None:
    command = Command(node, rc, stdout)
    found = asked_of(command)
    assert (found.answer, found.read_by) == (None, None)
    assert found.reason == "emqx@127.0.0.1 is not reached: the cookies differ."
    assert found.result is not None
    assert command.output(found.result) == [*stdout.split("\n")[:1], "it said"]


@pytest.mark.parametrize(("pid", "hidden", "commands"), [(None, False, 0), (None, True, 1), (PID, False, 1)])
def test_a_broker_without_process_and_port_costs_no_command(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, pid: Optional[int], hidden: bool, commands: int
) -> None:
    """One that is only not seen is asked."""
    answering(monkeypatch, NotListeningError("emqx@h is not reached: nothing listens at port 4370"))
    monkeypatch.setattr(asking, "_hides_processes", lambda: hidden)
    command = Command(node, 1, "")
    found = asked_of(command, pid)
    assert found[:3] == (None, None, "emqx@h is not reached: nothing listens at port 4370.")
    assert len(command.asked) == commands
    assert (found.result is None) == (not commands)


def test_who_may_see_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not asking._hides_processes()

    def refused(*_unused: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asking, "open", refused, raising=False)
    assert asking._hides_processes()


@pytest.mark.parametrize("error", [TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError, OverflowError])
def test_an_answer_that_is_not_understood_is_none(node: FakeNode, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    answering(monkeypatch, ANSWER.encode())

    def understand(_answer: Dict[str, Any]) -> Any:
        raise error("x")

    assert ask(Command(node), PID, str, understand)[:2] == (None, None)


def test_no_mark_without_end() -> None:
    assert parse_answer("{emqx_fleet," * 200000) is None
    assert parse_answer("{emqx_fleet,x\n" * 200000) is None


# What is read


def test_both_ways_tell_the_same(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> Dict[str, Any]:
        found = facts.collect(node.installation, node.command, None, "4.4.18", verification=True)[0]
        del found["clock"], found["free_bytes"], found["uptime_seconds"]
        return found

    by_command = read()
    assert len(node.calls) == 1
    node.use_distribution(monkeypatch)
    by_itself = read()
    assert len(node.calls) == 1, "no command"
    assert (by_itself.pop("read_by"), by_itself.pop("read_by_reason")) == ("distribution", None)
    assert by_command.pop("read_by") == "command"
    assert by_command.pop("read_by_reason") == "emqx@127.0.0.1 is not reached: the cookies differ."
    assert by_itself == by_command
    assert by_itself["state"] == "running"


def test_a_stopped_node_tells_why_it_was_not_read(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    node.use_distribution(monkeypatch)
    node.stop()
    found, result = facts.collect(node.installation, node.command)
    assert result is None
    assert node.calls == []
    assert (found["state"], found["read_by"]) == ("stopped", None)
    assert found["read_by_reason"] == "emqx@127.0.0.1 is not reached: nothing listens at port 4370."


@more
def test_an_answer_of_any_form_is_a_probe_or_none(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers may answer anything: facts in other places, other kinds of terms, and no end of them."""
    whole = node.answer(probe.expression([], NOW, True, True)).strip()
    names = [name for name, _unused in probe._FACTS]
    words = ["[]", "{}", "1", "-1", "x", "'a b'", "<<>>", "[1,2]", "{1,2}", "[{1,2}]", "[[]]", "#{}", "1.5", "<0.1.0>"]
    for seed in seeds(400):
        numbers = random.Random(seed)
        if numbers.random() < 0.5:
            parts = ["{{{0},{1}}}".format(numbers.choice(names), value(numbers, words)) for _unused in range(6)]
            text = "{{emqx_fleet,[{0}]}}".format(",".join(parts))
        else:
            place = numbers.randrange(len(whole))
            text = whole[:place] + numbers.choice(words) + whole[place + numbers.randrange(4) :]
        answering(monkeypatch, text.encode("utf-8"))
        found, _result = facts.collect(node.installation, Commandless(node))
        assert found["state"] in ("running", "stopped"), seed


class Commandless(Command):
    """An emqx command that does not work."""

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node, 1, "")


def value(numbers: random.Random, words: List[str], depth: int = 3) -> str:
    kind = numbers.randrange(4) if depth else 0
    if kind < 2:
        return numbers.choice(words)
    parts = ",".join(value(numbers, words, depth - 1) for _unused in range(numbers.randrange(4)))
    return ("[{0}]" if kind == 2 else "{{{0}}}").format(parts)
