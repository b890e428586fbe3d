# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What `make test` says of its stages: a failure is never a success, and the counts come last."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/stages.py"

MAKEFILE = """
good:
\t@echo this is good
bad:
\t@exit 3
one two:
\t@touch begun-$@; until [ -e begun-one ] && [ -e begun-two ]; do sleep 0.01; done
\t@echo first line of $@; sleep 0.1; echo last line of $@
lonely:
\t@touch lonely-begun; sleep 0.5; rm lonely-begun; [ ! -e met ]
visitor:
\t@[ ! -e lonely-begun ] || touch met
late:
\t@sleep 0.5; echo late is over
other-slow: slow
\t@true
slow:
\t@trap 'kill $$!; echo cleaned up; exit 1' TERM INT; sleep 60 >/dev/null 2>&1 & echo started; wait
"""


@pytest.fixture
def stages(tmp_path: Path) -> list[str]:
    """The command, in a project that has nothing but a few targets."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".build").mkdir()
    (tmp_path / "Makefile").write_text(MAKEFILE)
    script = tmp_path / "scripts/stages.py"
    script.write_text(SCRIPT.read_text())
    return [sys.executable, str(script)]


def output_of(command: list[str]) -> str:
    """All that it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def outcome(command: list[str]) -> tuple[int, list[str]]:
    """Exit status and lines of the summary."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout.rpartition("\n\n")[2].splitlines()


def test_all_pass(stages: list[str]) -> None:
    status, lines = outcome([*stages, "good", "good"])
    assert status == 0
    assert lines[-1] == "2 passed, 0 failed"


def test_stops_at_the_first_failure(stages: list[str]) -> None:
    status, lines = outcome([*stages, "good", "bad", "good"])
    assert status == 1
    assert [line.split()[1] for line in lines[:3]] == ["passed", "FAILED", "not"]
    assert lines[-1] == "1 passed, 1 failed"


def test_keeps_going_when_told_to(stages: list[str]) -> None:
    status, lines = outcome([*stages, "--keep-going", "bad", "good"])
    assert status == 1
    assert lines[-1] == "1 passed, 1 failed"


def test_a_target_that_does_not_exist_fails(stages: list[str]) -> None:
    status, lines = outcome([*stages, "missing"])
    assert status == 1
    assert lines[-1] == "0 passed, 1 failed"


def test_interruption_lets_the_target_clean_up(stages: list[str]) -> None:
    with subprocess.Popen([*stages, "slow", "good"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "started\n":
                break
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cleaned up" in output
    assert output.splitlines()[-1] == "0 passed, 1 failed"


def test_two_lanes_are_under_way_at_the_same_time(stages: list[str]) -> None:
    status, lines = outcome([*stages, "--lanes", "2", "one", "two", "good"])
    assert status == 0
    assert [line.split()[0] for line in lines[:3]] == ["one", "two", "good"]
    assert lines[-1] == "3 passed, 0 failed"


def test_the_output_of_each_lane_is_in_one_piece(stages: list[str]) -> None:
    output = output_of([*stages, "--lanes", "2", "one", "two"])
    for name in ("one", "two"):
        assert re.search(
            rf"^=== {name}\nfirst line of {name}\nlast line of {name}\n=== {name}: passed after", output, re.MULTILINE
        )


@pytest.mark.parametrize("names", [["visitor", "lonely", "visitor"], ["lonely", "visitor", "visitor"]])
def test_who_wants_to_be_alone_is(stages: list[str], names: list[str]) -> None:
    status, lines = outcome([*stages, "--lanes", "2", "--alone", "lonely", *names])
    assert status == 0
    assert lines[-1] == "3 passed, 0 failed"


def test_after_a_failure_nothing_begins_and_what_is_under_way_ends(stages: list[str]) -> None:
    done = subprocess.run(
        [*stages, "--lanes", "2", "late", "bad", "good"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert "late is over" in done.stdout
    rows = done.stdout.rpartition("\n\n")[2].splitlines()
    assert [row.split()[1] for row in rows[:3]] == ["passed", "FAILED", "not"]
    assert rows[-1] == "1 passed, 1 failed"


def test_interruption_reaches_every_lane(stages: list[str]) -> None:
    with subprocess.Popen(
        [*stages, "--lanes", "2", "slow", "other-slow", "good"], stdout=subprocess.PIPE, text=True
    ) as process:
        logs = [Path(stages[1]).parents[1] / f".build/stages/{name}.log" for name in ("slow", "other-slow")]
        deadline = time.monotonic() + 30
        while not all(log.exists() and "started" in log.read_text() for log in logs):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.count("cleaned up") == 2
    assert output.splitlines()[-1] == "0 passed, 2 failed"


def test_an_interruption_reaches_a_target_that_has_just_begun(
    stages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come when the target runs and its process is not noted yet."""
    specification = importlib.util.spec_from_file_location("stages_here", stages[1])
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.LOGS.mkdir()
    begin = module.Stages._begin

    def begin_and_be_interrupted(self: Any, name: str) -> Any:
        running = begin(self, name)
        while "started" not in (tmp_path / f".build/stages/{name}.log").read_text():
            time.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        return running

    monkeypatch.setattr(module.Stages, "_begin", begin_and_be_interrupted)
    done = module.Stages(["slow", "good"], 2, frozenset(), False).run()
    assert [(stage.name, stage.outcome) for stage in done] == [("slow", "interrupted"), ("good", "not run")]
    assert "cleaned up" in (tmp_path / ".build/stages/slow.log").read_text()


def test_the_slowest_tests_are_told(stages: list[str]) -> None:
    folder = Path(stages[1]).parents[1]
    many = "".join(f'<testcase classname="tests.test_m" name="test_{n}" time="{n}.5"/>' for n in range(1, 12))
    properties = '<properties><property name="seconds" value="0.1"/></properties>'
    own = f'<testcase classname="t.test_p" name="q" time="99">{properties}</testcase>'
    (folder / "xml").write_text(f"<testsuites><testsuite>{many}{own}</testsuite></testsuites>")
    (folder / "json").write_text(json.dumps({"trouble": 77.25}))
    with (folder / "Makefile").open("a") as makefile:
        makefile.write("durations:\n\t@cp xml .build/durations/some.xml; cp json .build/durations/molecule.json\n")
    told = output_of([*stages, "durations"]).partition("slowest tests:\n")[2].partition("\n\n")[0].splitlines()
    assert len(told) == 10
    assert told[0].split(maxsplit=2) == ["77.2", "s", "molecule: trouble"]
    assert told[1].split(maxsplit=2) == ["11.5", "s", "some: test_m::test_11"]
    assert "test_p" not in "".join(told)
