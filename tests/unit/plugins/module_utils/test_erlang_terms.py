# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import erlang_terms as e
from hypothesis import given
from hypothesis import strategies as st

ATOMS = st.text(max_size=20).map(e.Atom)
SCALARS = st.one_of(
    ATOMS,
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
KEYS = st.one_of(st.integers(), st.binary(max_size=8), ATOMS)
TERMS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal also in type, which Python's own comparison does not ask for (1 == 1.0, Atom("a") == "a")."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abc", e.Atom("abc")),
        ("'a b\\'c'", e.Atom("a b'c")),
        ("'emqx@127.0.0.1'", e.Atom("emqx@127.0.0.1")),
        ("''", e.Atom("")),
        ("42", 42),
        ("-7", -7),
        ("- 7", -7),
        ("+7", 7),
        ("1_000", 1000),
        ("16#fF", 255),
        ("2#1010", 10),
        ("$a", 97),
        ("$\\n", 10),
        ("$ ", 32),
        ("1.5", 1.5),
        ("-1.5e-3", -0.0015),
        ("1.0e10", 1e10),
        ('"a" "b"%c\n"d"', "abd"),
        ('"\\x41\\x{20ac}\\101\\e\\^a"', "A\u20acA\x1b\x01"),
        ('""', ""),
        ("[]", []),
        ("[1,2|[3]]", [1, 2, 3]),
        ('[1|"a"]', [1, 97]),
        ("[1,2|3]", e.ImproperList((1, 2), 3)),
        ("[1|[2|3]]", e.ImproperList((1, 2), 3)),
        ("{}", ()),
        ("{a,{b}}", (e.Atom("a"), (e.Atom("b"),))),
        ("<<>>", b""),
        ('<<"ab",1,$c>>', b"ab\x01c"),
        ("<<300,-1>>", b",\xff"),
        ("<<258:16>>", b"\x01\x02"),
        ('<<"\u20ac"/utf8>>', b"\xe2\x82\xac"),
        ("#{}", {}),
        ("#{a => 1,[x] => {2}}", {e.Atom("a"): 1, (e.Atom("x"),): (2,)}),
        ("<0.123.0>", e.Opaque("<0.123.0>")),
        ("#Ref<0.1.2.3>", e.Opaque("#Ref<0.1.2.3>")),
        ("#Port<0.6>", e.Opaque("#Port<0.6>")),
        ("#Fun<erl_eval.45.1>", e.Opaque("#Fun<erl_eval.45.1>")),
        ("fun lists:map/2", e.Opaque("fun lists:map/2")),
        (" % comment\n a . % more", e.Atom("a")),
    ],
)
def test_reads(text: str, value: object) -> None:
    read = e.parse_term(text)
    assert same(read, value), read


@pytest.mark.parametrize(
    "text",
    [
        "",
        " % a",
        "{",
        "[1,]",
        "[,1]",
        "[1|2,3]",
        "[1|]",
        "{1|2}",
        "a b",
        "#{a}",
        "#{a=>}",
        "#{a=>1=>2}",
        "{a}}",
        "A",
        "_",
    ]
    + ["1_", "1__0", "37#1", "1#0", "2#2", "16#", "1.0e999", "<<a>>", "<<1", "<<1:3>>", "<<1.0>>", '<<"a":16>>']
    + ["'a", '"\\', '"\\xz"', '"\\x{110000}"', '"\\x{d800}"', "$", "-a", "fun", "fun a", "fun a:b/", "when", "a..", "?"]
    + ["<0.1>", "#Ref<", "#", "=>", ",", "|", "]", "'" + "a" * 256 + "'", "a" * 256, "9" * 2000, "\ud800"]
    + ["[" * 500, "{a," * 500, "#{a=>" * 500, "a.b", "\u20ac"],
)
def test_refuses_with_line_and_column(text: str) -> None:
    with pytest.raises(e.ErlangTermError) as caught:
        e.parse_term(text)
    assert caught.value.line is not None
    assert str(caught.value).startswith("line {0}, column {1}: ".format(caught.value.line, caught.value.column))


def test_an_error_tells_its_place() -> None:
    with pytest.raises(e.ErlangTermError) as caught:
        e.parse_term("{a,\n  [1,2}.\n")
    assert (caught.value.line, caught.value.column) == (2, 7)
    assert "expected ',' or ']', not '}'" in caught.value.reason


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a.", 1), ("a. {b}.\n%x\n[c].", 3), ("1.5.", 1)])
def test_consults(text: str, count: int) -> None:
    assert len(e.parse_terms(text)) == count


@pytest.mark.parametrize("text", ["a", "a. b", "a.b.", "<0.1.0>.", "#Ref<0.1.2>.", "a b."])
def test_does_not_consult(text: str) -> None:
    with pytest.raises(e.ErlangTermError):
        e.parse_terms(text)


def test_leaves_out_what_is_deep_but_checks_it() -> None:
    assert e.parse_terms("{a,[b,{c}]}.", keep_depth=1) == [("a", e.ELIDED)]
    assert e.parse_terms("{a,[b,{c}]}.", keep_depth=2) == [("a", ["b", e.ELIDED])]
    with pytest.raises(e.ErlangTermError):
        e.parse_terms("{a,[b,{c]}}.", keep_depth=1)


def test_bounds_depth_length_and_number_of_values() -> None:
    assert e.parse_term("[" * 10 + "]" * 10, max_depth=10) is not None
    for text, bounds in (("[" * 11 + "]" * 11, {"max_depth": 10}), ("a" * 11, {"max_bytes": 10})):
        with pytest.raises(e.ErlangTermError):
            e.parse_term(text, **bounds)
    with pytest.raises(e.ErlangTermError):
        e.parse_terms("[{0}1].".format("1," * 100), max_values=100)
    with pytest.raises(e.ErlangTermError):
        e.parse_term("[" * 1000 + "]" * 1000, max_depth=10000)


@given(TERMS)
def test_reads_what_it_writes(value: object) -> None:
    text = ""
    try:
        text = e.format_term(value)
    except UnicodeEncodeError:
        pytest.fail("format_term does not encode")
    if any(0xD800 <= ord(char) <= 0xDFFF for char in repr(value)) or "\\ud" in repr(value):
        return
    assert same(e.parse_term(text), value)
    assert same(e.parse_terms(text + ".\n"), [value])


@given(st.text(max_size=60))
def test_garbage_raises_only_the_documented_error(text: str) -> None:
    for function in (e.parse_term, e.parse_terms):
        with contextlib.suppress(e.ErlangTermError):
            function(text)


@given(st.text(alphabet="[]{}<>#=|,.\"'\\$%-+_ 0aAé€:/~fun\n", max_size=60))
def test_garbage_of_erlang_characters_raises_only_the_documented_error(text: str) -> None:
    for function in (e.parse_term, e.parse_terms):
        with contextlib.suppress(e.ErlangTermError):
            function(text)


@given(st.binary(max_size=60))
def test_garbage_bytes_raise_only_the_documented_error(data: bytes) -> None:
    with contextlib.suppress(e.ErlangTermError):
        e.parse_terms(data)


@pytest.mark.parametrize("head", ["%% coding: latin-1\n", "%% -*- coding: latin-1 -*-\n", "\n% coding=latin-1\n"])
def test_heeds_the_coding_comment(head: str) -> None:
    assert e.parse_terms(head.encode() + b'"\xe9".') == ["\xe9"]


@pytest.mark.parametrize("data", [b'"\xe9".', b"%% coding: koi8-r\na.", b'%% coding: utf-8\n"\xff".'])
def test_refuses_other_bytes(data: bytes) -> None:
    with pytest.raises(e.ErlangTermError):
        e.parse_terms(data)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (e.Atom("a"), "a"), ([104, 105], "hi"), (b"\xc3\xa9", "\xe9"), ([[104], b"i", "!"], "hi!"), ([], "")],
)
def test_to_str_takes_every_kind_of_text(value: object, text: str) -> None:
    assert e.to_str(value) == text
    assert not isinstance(e.to_str(value), e.Atom)


@pytest.mark.parametrize("value", [1, None, (1,), [1.5], [-1], [0x110000], [0xD800], b"\xff", [e.Atom("a")], {}])
def test_to_str_refuses_what_is_no_text(value: object) -> None:
    with pytest.raises(e.ErlangTermError):
        e.to_str(value)


@pytest.mark.parametrize("value", [None, float("inf"), float("nan"), object(), e.Atom("a" * 256)])
def test_format_refuses_what_is_no_term(value: object) -> None:
    with pytest.raises(e.ErlangTermError):
        e.format_term(value)


@pytest.mark.parametrize(
    "unit",
    ["{a,", "[1,", "%\n", '"\\a', '"a" ', "1_", "'a',", "a,", "<<1>>,", " \n"],
)
def test_takes_time_linear_in_the_length(unit: str) -> None:
    def seconds(count: int) -> float:
        text = "[" + unit * count
        started = time.process_time()
        with contextlib.suppress(e.ErlangTermError):
            e.parse_term(text)
        return time.process_time() - started

    small = min(seconds(2000) for _try in range(3))
    # Ten times the text, with room for noise; were it quadratic, it would take a hundred times as long.
    assert min(seconds(20000) for _try in range(3)) < max(small * 40, 0.05)


def test_erlang_reads_the_same(tmp_path: Path) -> None:
    good = [
        '{"4.4.19",[{"4.4.18",[],[{load_module,a}]}],[]}.',
        '\'a\\x{e9}b\'. 16#fF. $\\^a. "a" "b\\d\\101".',
        '#{a => [1|2], 1.5e3 => <<"x"/utf8,300,258:16>>}.',
        "%% coding: latin-1\n[- 5, +3, -$a, 1_000, fun lists:map/2].",
        "[].\n% nothing\n{}.\n",
    ]
    bad = ["{a", "a b.", "[1,].", "a", "{A}.", "1.0e999.", "'a", "a.b.", "when.", "<<1.0>>.", "<0.1.0>.", "37#1."]
    for number, text in enumerate(good + bad):
        (tmp_path / "{0:02}.terms".format(number)).write_bytes(text.encode("latin-1"))
    program = (
        'lists:foreach(fun(F) -> case catch file:consult(F) of {ok, T} -> io:format("~w~n", [T]); '
        '_ -> io:format("error~n") end end, lists:sort(filelib:wildcard("*.terms"))), halt().'
    )
    answer = subprocess.run(
        ["erl", "-noshell", "-eval", program], cwd=str(tmp_path), stdout=subprocess.PIPE, check=True, timeout=60
    )
    lines = answer.stdout.decode("latin-1").splitlines()
    assert len(lines) == len(good + bad)
    for text, line in zip(good + bad, lines):
        try:
            mine = e.parse_terms(text.encode("latin-1"))
        except e.ErlangTermError:
            assert line == "error", text
        else:
            assert line != "error", text
            assert _as_printed(mine) == _as_printed(e.parse_term(line)), text


def _as_printed(value: object) -> object:
    """Strings as the lists of characters that ~w prints."""
    if isinstance(value, str) and not isinstance(value, (e.Atom, e.Opaque)):
        return [ord(char) for char in value]
    if isinstance(value, e.ImproperList):
        return e.ImproperList(tuple(_as_printed(item) for item in value.items), _as_printed(value.tail))
    if isinstance(value, list):
        return [_as_printed(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_as_printed(item) for item in value)
    if isinstance(value, dict):
        return {_as_printed(key): _as_printed(item) for key, item in value.items()}
    return value
