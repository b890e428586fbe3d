# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Malformed zips and relups, made here, always the same ones: none may crash, hang or take more than its memory."""

import functools
import random
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Callable, List, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import package as p
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.package_maker import NAME, RELUP, make
from ansible_collections.emqx.fleet.tests.unit.plugins.rounds import TIMES, more

#: How often parts of swollen relups are repeated. To watch the memory of such takes long: `make other-rounds` does.
MANY = min(6000 * TIMES, 60000)
#: Bytes that one sample may take at its worst. Samples are small; the reader's own buffers are of some 100 KB.
MEMORY = 48 * 1024 * 1024
#: Seconds of CPU time that one sample may take.
SECONDS = 5.0

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
#: Offset and length of every field that a liar could change, by record.
FIELDS = {
    LOCAL: [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    CENTRAL: [(4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4)],
    END: [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
}
EXTREMES = {2: (0, 1, 0x7FFF, 0xFFFF), 4: (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)}


def zip_samples(good: bytes) -> List[Tuple[str, bytes]]:
    """Every field of every record at its extremes, cuts, flipped bytes, repeated and shuffled parts."""
    samples = []
    for signature, fields in FIELDS.items():
        for offset, length in fields:
            for value in EXTREMES[length]:
                data = bytearray(good)
                # The last record of a kind, and all of them.
                place = good.rfind(signature) + offset
                data[place : place + length] = struct.pack("<H" if length == 2 else "<L", value)
                samples.append(("{0} {1}={2}".format(signature[2:].hex(), offset, value), bytes(data)))
    source = random.Random(4419)
    for number in range(60):
        samples.append(("cut {0}".format(number), good[: source.randrange(len(good))]))
    for number in range(120):
        data = bytearray(good)
        for _flip in range(source.choice((1, 3, 30))):
            data[source.randrange(len(data))] = source.randrange(256)
        samples.append(("flip {0}".format(number), bytes(data)))
    for number in range(40):
        cut, other = sorted((source.randrange(len(good)), source.randrange(len(good))))
        samples.append(("repeat {0}".format(number), good[:other] + good[cut:]))
        samples.append(("drop {0}".format(number), good[:cut] + good[other:]))
    samples.append(("noise", LOCAL + bytes(bytearray(source.randrange(256) for _byte in range(4096))) + END))
    samples.append(("many ends", LOCAL + END * 5000))
    samples.append(("long comment", good + b"x" * 65535))
    samples.append(("two archives", good + good))
    return samples


def relup_samples() -> List[Tuple[str, bytes]]:
    """Mutilated, swollen and deep relups."""
    good = RELUP.format("4.4.19").encode("utf-8")
    source = random.Random(4420)
    samples = [("cut {0}".format(number), good[:number]) for number in range(len(good) - 1)]
    alphabet = b"[]{}<>#=|,.\"'\\$%-_ 0aA\xff\n"
    for number in range(150):
        data = bytearray(good)
        for _change in range(source.choice((1, 2, 8))):
            data[source.randrange(len(data))] = source.choice(alphabet)
        samples.append(("change {0}".format(number), bytes(data)))
    ways = b'{"4.4.19",['
    samples += [
        ("deep", b"[" * MANY),
        ("deep tuples", ways + b"{" * MANY),
        ("deep maps", ways + b"#{a=>" * MANY),
        ("wide", ways + b"a," * MANY),
        ("wide versions", ways + b'{"1",[],[]},' * MANY),
        ("many instructions", ways + b'{"1",[],[' + b"restart_emulator," * 4 * MANY + b"a]}],[]}."),
        ("wide instructions", ways + b'{"1",[],[' + b"a," * MANY + b"a]}],[]}."),
        ("long string", ways + b'{"' + b"a" * 2 * MANY),
        ("escapes", ways + b'{"' + b"\\x{41}" * MANY),
        ("strings", ways + b'"a" ' * MANY),
        ("digits", ways + b"1" * 2 * MANY),
        ("comments", b"%\n" * MANY),
        ("long atom", ways + b"a" * 2 * MANY),
        ("binary", ways + b"<<" + b"1," * MANY),
        ("quotes", b"'" * 2 * MANY),
        ("zeros", b"\0" * 2 * MANY),
    ]
    return samples


def bounded(work: Callable[[], object]) -> None:
    """Do the work within the bounds of time and memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < SECONDS
    assert peak < MEMORY


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make(tmp_path_factory.mktemp("good"), compression=zipfile.ZIP_DEFLATED).read_bytes()


def _read_codes(path: Path, found: List[str]) -> None:
    package = p.read_package(str(path))
    found.extend(problem["code"] for problem in package["problems"] + p.verify_members(str(path)))


def test_malformed_zips(good: bytes, tmp_path: Path) -> None:
    samples = zip_samples(good)
    assert len(samples) >= 200
    refused = 0
    for number, (title, data) in enumerate(samples):
        # Another path for each: answers are kept by path, size and time.
        path = tmp_path / "{0}".format(number) / NAME
        path.parent.mkdir()
        path.write_bytes(data)
        found = []  # type: List[str]

        try:
            bounded(functools.partial(_read_codes, path, found))
        except Exception as exc:
            raise AssertionError("sample '{0}'".format(title)) from exc
        assert set(found) <= set(p.PROBLEM_CODES), title
        refused += bool(found)
    # Some changes are harmless, such as one of a time or a file's rights.
    assert refused > 0.75 * len(samples)


@more
def test_malformed_relups() -> None:
    samples = relup_samples()
    assert len(samples) >= 200
    refused = []
    for title, data in samples:

        def read(title: str = title, data: bytes = data) -> None:
            try:
                p.read_relup(data)
            except ErlangTermError:
                refused.append(title)

        try:
            bounded(read)
        except Exception as exc:
            raise AssertionError("sample '{0}'".format(title)) from exc
    assert [title for title, _data in samples if title.startswith("cut") and title not in refused] == []
    assert len(refused) > 0.75 * len(samples)


def test_variables_that_multiply_each_other(tmp_path: Path) -> None:
    values = [("REL_VSN", "4" * 1000), ("ERTS_VSN", "$REL_VSN" * 1000), ("EMQX_DESCRIPTION", "$ERTS_VSN" * 200)]
    text = "".join("{0}={1}\n".format(name, value) for name, value in values)
    path = make(tmp_path, change={"releases/emqx_vars": text})
    bounded(lambda: p.read_package(str(path)))


def test_a_relup_of_more_ways_than_there_are_versions() -> None:
    way = b'{"1",[],[]}'
    assert p.read_relup(b'{"4.4.19",[' + b",".join([way] * 1000) + b"],[]}.")["upgrade_from"] == ["1"] * 1000
    with pytest.raises(ErlangTermError, match="more values"):
        p.read_relup(b'{"4.4.19",[' + b",".join([way] * p.MAX_RELUP_VALUES) + b"],[]}.")
