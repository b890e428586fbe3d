# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
import itertools
from typing import Any, List

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import version as v
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(min_value=0, max_value=500)
PRE_PART = st.from_regex(r"\A[a-zA-Z0-9]{1,4}\Z")
TEXTS = st.builds(
    lambda a, b, c, pre: "{0}.{1}.{2}{3}".format(a, b, c, "-" + ".".join(pre) if pre else ""),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.lists(PRE_PART, max_size=3),
)


@pytest.mark.parametrize(
    "text", ["4.4.19", "4.4.19-rc.1", "0.0.0", "4.4.19-0-b", "4.4.19+build.5", "4.4.19-a+b", "e4.2.3"]
)
def test_takes_what_the_command_takes(text: str) -> None:
    assert v.is_valid(text)
    assert str(v.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "v4.4.19", "e4.4.19", "4.4", "abc", "4.4.019", "4.4.19-", "4.4.19\n", "4.4.1²", "4.4.19/x", "4.4.19 ", None, 4]
    + ["4.4." + "9" * 200, "e4.3.10", "e4.20.1", "ee4.2.3", "v4.2.3", "e4.2", "E4.2.3", "e14.2.3"],
)
def test_refuses_what_makes_the_command_crash(text: Any) -> None:
    assert not v.is_valid(text)
    with pytest.raises(v.VersionError):
        v.parse(text)


def test_orders_by_semantic_versioning() -> None:
    ordered = [
        "4.4.9",
        "4.4.19-1",
        "4.4.19-2",
        "4.4.19-10",
        "4.4.19-alpha",
        "4.4.19-alpha.1",
        "4.4.19-rc.2",
        "4.4.19-rc.10",
        "4.4.19",
    ]
    ordered += ["4.4.19+a", "4.4.20", "4.5.0", "5.0.0"]
    parsed = [v.parse(text) for text in ordered]
    for one, other in itertools.combinations(parsed, 2):
        assert one < other
        assert other > one
        assert one != other
    assert sorted(set(parsed)) == parsed


def test_enterprise_4_2_is_ordered_by_its_numbers() -> None:
    texts = ["4.2.2", "e4.2.3-rc.1", "4.2.3", "e4.2.3", "4.2.10", "e4.2.11", "4.3.0"]
    assert [str(version) for version in sorted(v.parse(text) for text in reversed(texts))] == texts
    assert v.parse("e4.2.3") != v.parse("4.2.3")
    assert v.same_series(v.parse("e4.2.3"), v.parse("e4.2.4"))


@given(st.lists(TEXTS, min_size=2, max_size=5))
def test_is_a_total_order(texts: List[str]) -> None:
    parsed = sorted(v.parse(text) for text in texts)
    for one, other in zip(parsed, parsed[1:]):
        assert (one < other) + (one == other) + (one > other) == 1
        assert (one == other) == (str(one) == str(other))
        assert one != other or hash(one) == hash(other)


@given(TEXTS)
def test_reads_its_own_text(text: str) -> None:
    parsed = v.parse(text)
    assert (str(parsed), parsed) == (text, v.parse(str(parsed)))
    assert parsed.series == (parsed.major, parsed.minor)


@given(st.text(max_size=30))
def test_garbage_raises_only_the_documented_error(text: str) -> None:
    if v.is_valid(text):
        v.parse(text)
    else:
        with pytest.raises(v.VersionError):
            v.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("4.4.1", "4.4.19", True),
        ("4.4.1", "4.5.0", True),
        ("4.5.0", "4.4.1", True),
        ("4.3.1", "4.4.0", False),
        ("4.5.0", "4.6.0", False),
        ("5.0.0", "4.4.0", False),
    ],
)
def test_knows_the_series_that_upgrade_hot(one: str, other: str, same: bool) -> None:
    assert v.same_series(v.parse(one), v.parse(other)) is same
