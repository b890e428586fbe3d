# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's log in each form that EMQX writes it in: what of it is of now, and what is of before."""

import os
import subprocess
import time
from pathlib import Path
from typing import Iterator, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import node_log
from ansible_collections.emqx.fleet.plugins.module_utils.command import MASK
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation
from ansible_collections.emqx.fleet.plugins.module_utils.node_log import LogMark, last_lines, read_entries
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, FakeNode

#: 2026-11-27 10:27:50 in UTC.
NOW = 1795775270


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "emqx", "4.4.18")


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    """Not that of the machine that the tests run on: seven hours ahead."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "ICT-7"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def only(line: str) -> node_log.Entry:
    (entry,) = read_entries(line)
    return entry


def utc(moment: float, form: str = "%Y-%m-%dT%H:%M:%S+00:00") -> str:
    return time.strftime(form, time.gmtime(moment))


# One line in every form


@pytest.mark.parametrize(
    ("line", "moment", "level"),
    [
        # A real line of EMQX 4.4.18.
        (
            "2026-11-27T10:27:50.830279+00:00 [warning] [Alarm Handler] Alarm high_cpu_usage is activated, 99% cpu",
            NOW + 0.830279,
            "warning",
        ),
        ("2026-11-27T18:27:50.830279+08:00 [error] emqx_1@10.0.0.1:5000 [MQTT] bad", NOW + 0.830279, "error"),
        ("2026-11-27T07:57:50-02:30 [critical] x", NOW, "critical"),
        ("2026-11-27T10:27:50Z [info] x", NOW, "info"),
        # The default before 4.2, in local time.
        ("2026-11-27 17:27:50.830 [error] x", NOW + 0.83, "error"),
        ("2026/11/27 17:27:50 [debug] x", NOW, "debug"),
        # As the example of the settings has it.
        ("2026-11-27T17:27:50.830279 +07:00 [notice] x", NOW + 0.830279, "notice"),
        # Erlang's own form, which the handler has that nobody set up.
        ("2026-11-27T10:27:50.830279+00:00 error: x", NOW + 0.830279, "error"),
        # JSON, of EMQX 4.3 and later.
        ('{"level":"error","line":7,"mfa":"a:b/1","msg":"x","time":1795775270830279}', NOW + 0.830279, "error"),
        ('{"time":1795775270830279,"level":"warning","msg":"cut in the mid', NOW + 0.830279, "warning"),
        ('{"time":1795775270,"level":"info"}', NOW, "info"),
        ('{"time":1795775270830,"level":"info"}', NOW + 0.83, "info"),
        ('{"time":"2026-11-27T10:27:50Z","level":"alert"}', NOW, "alert"),
        # Erlang's old reports, and run_erl.
        ("=ERROR REPORT==== 27-Nov-2026::17:27:50.830279 ===", NOW, "error"),
        ("=SUPERVISOR REPORT==== 27-Nov-2026::17:27:50 ===", NOW, "info"),
        ("=CRASH REPORT==== 27-Nov-2026::17:27:50.830279 ===", NOW, "error"),
        ("===== ALIVE Fri Nov 27 10:27:50 UTC 2026", NOW, ""),
        ("===== LOGGING STARTED Fri Nov 27 17:27:50 +07 2026", NOW, ""),
        # Not understood.
        ("27.11.2026 [error] x", None, "error"),
        ("{emqx,crash}", None, ""),
        ("2026-99-99T99:99:99+00:00 [error] x", None, "error"),
        ("2026-11-27T10:27:50+00:00", NOW, ""),
    ],
)  # fmt: skip
def test_time_and_level_of_a_line(line: str, moment: Optional[float], level: str) -> None:
    entry = only(line)
    if entry.time is None or moment is None:
        # A date that is none may be one some weeks later to the C library.
        assert moment is None
    else:
        assert entry.time == pytest.approx(moment, abs=0.001)
    assert (entry.level, entry.lines) == (level, [line])


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("%d.%m.%Y %H:%M:%S", "27.11.2026 17:27:50 [error] x"),
        ("%H:%M:%S %z on %m/%d/%Y", "10:27:50 +0000 on 11/27/2026 [error] x"),
        ("%Y%m%d-%H%M%S.%6N%:z", "20261127-172750.000000+07:00 [error] x"),
        ("(%Y-%m-%d %H:%M:%S %::z) ", "(2026-11-27 17:27:50 +07:00:00)  [error] x"),
        ("rfc3339", "2026-11-27T10:27:50+00:00 [error] x"),
        ("%H:%M", "2026-11-27T10:27:50+00:00 [error] x"),
    ],
)
def test_times_in_a_format_of_the_user(node: FakeNode, form: str, line: str) -> None:
    with node.path("etc/emqx.conf").open("a") as stream:
        stream.write("# log.formatter.text.date.format = %Y\n log.formatter.text.date.format = {0} \n".format(form))
    (entry,) = read_entries(line, node_log.date_pattern(node.installation))
    assert (entry.time, entry.level) == (NOW, "error")


def test_settings_that_cannot_be_read(node: FakeNode) -> None:
    node.path("etc/emqx.conf").unlink()
    node.path("etc/emqx.conf").mkdir()
    assert last_lines(node.installation, [], 9) == []


def test_lines_without_a_time_belong_to_the_one_before() -> None:
    text = "\n".join(
        [
            "a line of which the beginning was cut",
            "  and more of it",
            "2026-11-27T10:27:50+00:00 [error] crash of x:",
            "    {badmatch,",
            "        1}",
            "",
            "2026-11-27T10:27:51+00:00 [info] fine",
        ]
    )
    entries = read_entries(text)
    assert [(entry.time, len(entry.lines)) for entry in entries] == [(None, 2), (NOW, 4), (NOW + 1, 1)]
    assert node_log.since(entries, NOW) == entries[1:]
    assert node_log.since(entries, 0) == entries


# The last lines since a moment


def write(node: FakeNode, name: str, *lines: str, age: float = 0) -> Path:
    path = node.path("log", name)
    path.write_text("".join(line + "\n" for line in lines))
    os.utime(str(path), (NOW + 60 - age, NOW + 60 - age))
    return path


def shown(node: FakeNode, moment: float = NOW, count: int = 20) -> List[str]:
    return last_lines(node.installation, [COOKIE], count, moment)


def test_warnings_of_hours_ago_are_left_out(node: FakeNode) -> None:
    old = utc(NOW - 3 * 3600) + " [warning] [Alarm Handler] Alarm high_cpu_usage is activated"
    new = utc(NOW + 5) + " [error] release_handler: x"
    write(node, "emqx.log.1", old, new, utc(NOW + 6) + " [info] y")
    assert shown(node) == [new]
    assert shown(node, 0) == [old, new]
    write(node, "emqx.log.1", old)
    assert shown(node) == []


@pytest.mark.parametrize("offset", ["-11:00", "+00:00", "+05:45", "+14:00"])
def test_the_zone_of_the_log_counts(node: FakeNode, offset: str) -> None:
    seconds = (int(offset[1:3]) * 3600 + int(offset[4:]) * 60) * (-1 if offset.startswith("-") else 1)

    def line(moment: float) -> str:
        return utc(moment + seconds, "%Y-%m-%dT%H:%M:%S") + offset + " [error] x"

    write(node, "emqx.log.1", line(NOW - 60), line(NOW + 60))
    assert shown(node) == [line(NOW + 60)]


def test_times_without_a_zone_are_those_of_the_broker(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process may have been started with another zone than the machine has."""
    broker = subprocess.Popen(["/bin/sleep", "60"], env={"TZ": "UTC"})
    try:
        deadline = time.time() + 10
        while node_log._zone_of(broker.pid) != "UTC" and time.time() < deadline:
            time.sleep(0.01)
        monkeypatch.setattr(Installation, "broker_pid", lambda self: broker.pid)
        before, after = utc(NOW - 60, "%Y-%m-%d %H:%M:%S.000"), utc(NOW + 60, "%Y-%m-%d %H:%M:%S.000")
        write(node, "emqx.log.1", before + " [error] x", after + " [error] y")
        assert shown(node) == [after + " [error] y"]
        assert os.environ["TZ"] == "ICT-7"
        monkeypatch.setattr(Installation, "broker_pid", lambda self: None)
        assert shown(node) == []
    finally:
        broker.kill()
        broker.wait()
    assert only("2026-11-27 17:27:50 [error] x").time == NOW, "the zone is as it was"


def test_a_log_that_wrapped_is_read_in_the_order_of_its_times(node: FakeNode) -> None:
    lines = [utc(NOW + number) + " [error] number {0}".format(number) for number in range(5)]
    write(node, "emqx.log.1", *lines[3:], age=0)
    write(node, "emqx.log.2", *lines[:1], age=9)
    write(node, "emqx.log.3", *lines[1:3], age=5)
    node.path("log/emqx.log.idx").write_bytes(b"\x00\x01[error]\n")
    node.path("log/emqx.log.siz").write_bytes(b"\x00\x01[error]\n")
    node.path("log/emqx.log.4.gz").write_bytes(b"\x1f\x8b[error]\n")
    assert shown(node) == lines
    assert shown(node, NOW + 3) == lines[2:], "a second of slack"
    assert shown(node, 0, count=2) == lines[3:]


def test_several_files_and_a_message_of_many_lines(node: FakeNode) -> None:
    long = [utc(NOW + 1) + " [error] crash"] + ["    line {0}".format(number) for number in range(30)]
    write(node, "emqx.log.1", *(long + [utc(NOW + 3) + " [warning] with " + COOKIE]))
    report = "=ERROR REPORT==== 27-Nov-2026::17:27:52 ==="
    write(node, "erlang.log.1", "===== ALIVE Fri Nov 27 08:00:00 UTC 2026", "crash before", report, "x", age=5)
    expected = long[:4] + [report, "x", utc(NOW + 3) + " [warning] with " + MASK]
    assert shown(node) == expected


def test_lines_of_run_erl_before_the_moment(node: FakeNode) -> None:
    """That the process is alive is told each quarter of an hour, and what comes behind it has no time of its own."""
    write(node, "erlang.log.1", "===== ALIVE Fri Nov 27 10:00:00 UTC 2026", "Crash dump is being written")
    assert shown(node) == []
    write(node, "erlang.log.1", "===== LOGGING STARTED Fri Nov 27 10:27:51 UTC 2026", "Crash dump is being written")
    assert shown(node)[1:] == ["Crash dump is being written"]


def test_json(node: FakeNode) -> None:
    line = '{{"level":"error","msg":"release_handler: x","time":{0}000000}}'
    write(
        node, "emqx.log.1", line.format(NOW - 60), line.format(NOW + 1).replace("error", "info"), line.format(NOW + 2)
    )
    assert shown(node) == [line.format(NOW + 2)]


def test_the_end_of_a_large_log(node: FakeNode) -> None:
    line = utc(NOW) + " [warning] " + "x" * 80
    path = write(node, "emqx.log.1", *([line] * (node_log.READ_BYTES // 50)))
    with path.open("a") as stream:
        stream.write(utc(NOW) + " [error] the last\n")
    found = shown(node, count=10**6)
    assert found[-1].endswith("the last")
    assert set(found[:-1]) == {line}, "none is cut"


# Since a mark


def test_of_a_log_that_began_anew_only_what_is_of_now(node: FakeNode) -> None:
    """A log that wraps writes over a file that is there; what is in one that was renamed is known."""
    now = time.time()
    old = utc(now - 3600) + " [error] release_handler: before\n"
    log = node.path("log/emqx.log.1")
    log.write_text(old * 3)
    mark = LogMark(node.installation)
    # Renamed, and a new one begun.
    log.rename(node.path("log/emqx.log.1.0"))
    new = utc(time.time()) + " [error] release_handler: {0}\n"
    log.write_text(new.format("new"))
    assert mark.errors() == [new.format("new").strip()]
    # Written over, by more than there was.
    mark = LogMark(node.installation)
    log.write_text(old + new.format("again") + "y" * 500 + "\n")
    assert mark.errors() == [new.format("again").strip()]


def test_json_and_messages_of_many_lines_since_a_mark(node: FakeNode) -> None:
    log = node.path("log/emqx.log.1")
    log.write_text("begun\n")
    mark = LogMark(node.installation, [COOKIE])
    moment = time.time()
    lines = [
        '{{"level":"error","msg":"release_handler: {0}","time":{1}}}'.format(COOKIE, int(moment * 10**6)),
        '{{"level":"info","msg":"release_handler: fine","time":{0}}}'.format(int(moment * 10**6)),
        utc(moment) + " [error] Process <0.1.0> crashed:",
        "    something",
        "    {undef,[{x,code_change,[]}]}",
        utc(moment) + " [info] relup done",
    ]
    with log.open("a") as stream:
        stream.write("".join(line + "\n" for line in lines))
    assert mark.errors() == [lines[0].replace(COOKIE, MASK), lines[2], lines[4]]
