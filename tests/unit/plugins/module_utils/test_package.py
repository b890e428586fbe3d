# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Packages: what is read from sound ones, and the reason for which each kind of bad one is refused."""

import hashlib
import os
import stat
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import package as p
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError, parse_term, to_str
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.package_maker import (
    NAME,
    RELUP,
    VARS,
    contents,
    make,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.zip_forms import FORMS

RELEASE = "releases/4.4.19/"


def codes(found: Dict[str, Any]) -> List[str]:
    return sorted(problem["code"] for problem in found["problems"])


def read(path: Path, **options: Any) -> Dict[str, Any]:
    return p.read_package(str(path), **options)


def test_reads_a_sound_package(tmp_path: Path) -> None:
    path = make(tmp_path)
    found = read(path)
    warning = found.pop("warnings")
    assert found == {
        "name": NAME,
        "path": str(path),
        "size": path.stat().st_size,
        "edition": "ce",
        "version": "4.4.19",
        "otp": "25.2.3-1",
        "os": "debian12",
        "arch": "amd64",
        "erts": "13.1.5",
        "built_on": "25.2.3-x86_64-pc-linux-gnu-64-debian12",
        "relup": {
            "target": "4.4.19",
            "upgrade_from": ["4.4.18", "4.4.17"],
            "downgrade_to": ["4.4.18"],
            "restarts": [],
            "restarts_down": [],
        },
        "unpacked_size": sum(len(content) for content in contents().values()),
        "sha256": None,
        "checksum_source": None,
        "problems": [],
    }
    assert "not verified" in warning[0]
    assert p.verify_members(str(path)) == []


def test_takes_from_inside_what_the_name_does_not_say(tmp_path: Path) -> None:
    found = read(make(tmp_path, name="emqx-4.4.19.zip"))
    assert [found[key] for key in ("edition", "otp", "os", "arch")] == ["ce", "25", "debian12", "amd64"]
    assert found["problems"] == []


def test_words_have_aliases(tmp_path: Path) -> None:
    name = "emqx-4.4.19-otp25.2.3-1-centos8-x86_64.zip"
    found = read(make(tmp_path, name=name, change={RELEASE + "BUILT_ON": "x86_64-unknown-linux-gnu-64-el8"}))
    assert (found["os"], found["arch"], found["problems"]) == ("el8", "amd64", [])


def test_folders_are_no_problem(tmp_path: Path) -> None:
    assert codes(read(make(tmp_path, more=[("emqx/", ""), ("emqx/lib/", ""), ("emqx/log/", "")]))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({RELEASE + "relup": None}, ["no_relup"]),
        ({RELEASE + "relup": "{a"}, ["relup_unreadable"]),
        ({RELEASE + "relup": '{"4.4.19",[]}.'}, ["relup_unreadable"]),
        ({RELEASE + "relup": RELUP.format("4.4.18")}, ["relup_mismatch"]),
        ({RELEASE + "emqx.rel": None}, ["missing_member"]),
        ({RELEASE + "emqx.rel": "?"}, ["rel_unreadable"]),
        ({RELEASE + "emqx.rel": "a."}, ["rel_unreadable"]),
        ({RELEASE + "emqx.rel": '{release,{"emqx","4.4.18"},{erts,"13"},[]}.'}, ["version_mismatch"]),
        ({RELEASE + "start.boot": ""}, ["missing_member"]),
        ({RELEASE + "no_dot_erlang.boot": None}, ["missing_member"]),
        ({RELEASE + "BUILT_ON": None}, []),
        ({RELEASE + "BUILT_ON": "25.2.3-x86_64-pc-linux-gnu-64-ubuntu20.04"}, ["platform_mismatch"]),
        ({RELEASE + "BUILT_ON": "25.2.3-aarch64-unknown-linux-gnu-64-debian12"}, ["platform_mismatch"]),
        ({RELEASE + "BUILT_ON": "x86_64-pc-linux-gnu-ubuntu20.04"}, ["platform_mismatch"]),
        ({RELEASE + "BUILT_ON": "25.2.3-x86_64-pc-linux-gnu-64"}, []),
        ({RELEASE + "BUILT_ON": "25.2.3-vax-dec-ultrix-32-haiku1"}, []),
        ({"bin/nodetool-4.4.19": None}, ["missing_member"]),
        ({"bin/install_upgrade.escript-4.4.19": ""}, ["missing_member"]),
        ({"releases/emqx_vars": None}, ["missing_member"]),
        ({"releases/emqx_vars": VARS.format("4.4.19").replace("Broker", "Enterprise")}, ["edition_mismatch"]),
        ({"releases/emqx_vars": VARS.format("4.4.19").replace("Broker", "Thing")}, []),
        ({"releases/emqx_vars": VARS.format("4.4.19").replace("13.1.5", "12.3")}, ["otp_mismatch"]),
        ({"releases/emqx_vars": VARS.format("x")}, ["version_mismatch"]),
        ({"releases/emqx_vars": VARS.format("4.4.19") + "A=$A$A\n" * 2000}, []),
        ({"releases/emqx_vars": VARS.format("4.4.19") + "REL_VSN=$REL_VSN$REL_VSN\n" * 2000}, ["version_mismatch"]),
    ],
)
def test_one_thing_wrong_is_one_problem(tmp_path: Path, change: Dict[str, Any], expected: List[str]) -> None:
    found = read(make(tmp_path, change=change))
    assert codes(found) == expected
    assert all(problem["message"] for problem in found["problems"])


# The lines of emqx_vars by data/emqx_vars of the tags v4.2.14 (of emqx-rel), v4.3.0, v4.3.16, v4.4.0, v4.4.5 and
# v4.4.18; "EMQ X" became "EMQX" on the way.
DESCRIPTIONS = [
    ("4.2.14", 'EMQX_DISCR="{0}"', "EMQ X {0}"),
    ("4.3.0", "export EMQX_DESCRIPTION='{0}'", "EMQ X {0}"),
    ("4.3.16", "export EMQX_DESCRIPTION='{0}'", "EMQX {0}"),
    ("4.4.0", "export EMQX_DESCRIPTION='{0}'", "EMQ X {0}"),
    ("4.4.5", "export EMQX_DESCRIPTION='{0}'", "EMQX {0}"),
    ("4.4.18", "EMQX_DESCRIPTION='{0}'", "EMQX {0}"),
]
WORDS = {"ce": "Broker", "ee": "Enterprise", "edge": "Edge"}


def named(version: str, edition: str) -> str:
    return "emqx-{0}debian10-{1}-amd64.zip".format("" if edition == "ce" else edition + "-", version)


def edition_change(version: str, line: str) -> Dict[str, Any]:
    text = 'REL_VSN="{0}"\nERTS_VSN="11.1.8"\n{1}\n'.format(version, line)
    return {"releases/emqx_vars": text, "releases/{0}/BUILT_ON".format(version): None}


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("inside", WORDS)
@pytest.mark.parametrize(("version", "line", "words"), DESCRIPTIONS)
def test_a_package_under_the_name_of_another_edition_is_refused(
    tmp_path: Path, version: str, line: str, words: str, inside: str, name: str
) -> None:
    change = edition_change(version, line.format(words.format(WORDS[inside])))
    found = read(make(tmp_path, name=named(version, name), version=version, change=change))
    assert found["edition"] == inside
    assert codes(found) == ([] if name == inside else ["edition_mismatch"])


@pytest.mark.parametrize("way", ["emqx.rel", "lib"])
@pytest.mark.parametrize("name", ["ce", "ee"])
def test_enterprise_4_2_calls_itself_broker_and_is_told_by_its_license(tmp_path: Path, name: str, way: str) -> None:
    change = edition_change("4.2.3", 'EMQX_DISCR="EMQ X Broker"')
    if way == "emqx.rel":
        applications = '{kernel,"6.5"},{emqx_license,"4.2.3",load}'
        change["releases/4.2.3/emqx.rel"] = '{release,{"emqx","4.2.3"},{erts,"10.7"},[' + applications + "]}."
    else:
        change["lib/emqx_license-4.2.3/ebin/emqx_license.app"] = "x"
    found = read(make(tmp_path, name=named("4.2.3", name), version="4.2.3", change=change))
    assert (found["edition"], codes(found)) == ("ee", [] if name == "ee" else ["edition_mismatch"])
    if name == "ce":
        assert "emqx_license" in found["problems"][0]["message"]


def test_the_description_that_a_shell_would_read(tmp_path: Path) -> None:
    """The last line wins, whatever its form."""
    text = VARS.format("4.4.19") + "export EMQX_DESCRIPTION='EMQX Enterprise' # not the name's\n"
    assert codes(read(make(tmp_path, change={"releases/emqx_vars": text}))) == ["edition_mismatch"]


@pytest.mark.parametrize(
    ("version", "expected"), [("4.2.14", []), ("4.3.0", ["missing_member"]), ("4.4.6", ["missing_member"])]
)
def test_boot_file_of_the_release_is_needed_where_packages_have_it(
    tmp_path: Path, version: str, expected: List[str]
) -> None:
    """Packages of 4.2 have it in bin/ alone; all later ones have it, and what copies it is the source's script."""
    change: Dict[str, Any] = {"releases/{0}/no_dot_erlang.boot".format(version): None}
    found = read(make(tmp_path, name="emqx-{0}.zip".format(version), version=version, change=change))
    assert codes(found) == expected


@pytest.mark.parametrize("name", ["cuttlefish", "nodetool", "emqx_ctl", "emqx", "install_upgrade.escript"])
@pytest.mark.parametrize("version", ["4.2.0", "4.2.14", "4.3.0", "4.4.0"])
def test_what_a_commit_of_any_version_copies_is_needed(tmp_path: Path, version: str, name: str) -> None:
    change: Dict[str, Any] = {"bin/{0}-{1}".format(name, version): None}
    found = read(make(tmp_path, name="emqx-{0}.zip".format(version), version=version, change=change))
    assert codes(found) == ["missing_member"]


@pytest.mark.parametrize(
    ("name", "inside", "expected"),
    [
        ("e4.2.3", "e4.2.3", []),
        ("4.2.3", "4.2.3", []),
        # The command looks for the version inside in the names of zips: emqx-*4.2.3*.zip finds this one ...
        ("e4.2.3", "4.2.3", []),
        # ... and emqx-*e4.2.3*.zip not that one.
        ("4.2.3", "e4.2.3", ["version_mismatch"]),
        ("e4.2.4", "4.2.3", ["version_mismatch"]),
    ],
)
def test_the_letter_of_enterprise_4_2(tmp_path: Path, name: str, inside: str, expected: List[str]) -> None:
    change = edition_change(inside, 'EMQX_DISCR="EMQ X Enterprise"')
    found = read(make(tmp_path, name="emqx-ee-centos7-{0}-x86_64.zip".format(name), version=inside, change=change))
    assert (found["version"], codes(found)) == (inside, expected)


def test_a_version_that_is_not_the_names_is_told(tmp_path: Path) -> None:
    found = read(make(tmp_path, version="4.4.18"))
    assert found["version"] == "4.4.18"
    assert codes(found) == ["version_mismatch"]
    assert "the name says 4.4.19, but the package holds 4.4.18" in found["problems"][0]["message"]


def test_a_name_that_is_none_is_told(tmp_path: Path) -> None:
    found = read(make(tmp_path, name="broker.zip"))
    assert (codes(found), found["version"]) == (["name"], "4.4.19")


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("/etc/passwd", "unsafe_path"),
        ("emqx/../../etc/passwd", "unsafe_path"),
        ("emqx/..", "unsafe_path"),
        ("../emqx/a", "unsafe_path"),
        ("emqx\\..\\a", "unsafe_path"),
        ("C:/a", "unsafe_path"),
        ("emqx//a", "unsafe_path"),
        ("emqx/./a", "unsafe_path"),
        ("emqx/a\n", "unsafe_path"),
        ("other/file", "top_folder"),
        ("file", "top_folder"),
        ("emqx", "duplicate_member"),
        ("emqx/releases", "duplicate_member"),
        ("emqx/releases/emqx_vars/x", "duplicate_member"),
    ],
)
def test_a_member_at_a_bad_place_is_refused(tmp_path: Path, member: str, code: str) -> None:
    assert code in codes(read(make(tmp_path, more=[(member, "x")])))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_path_are_refused(tmp_path: Path) -> None:
    found = read(make(tmp_path, more=[("emqx/releases/emqx_vars", VARS.format("4.4.19"))] * 3))
    assert codes(found) == ["duplicate_member"]
    assert "emqx/releases/emqx_vars and 2 more" in found["problems"][0]["message"]


@pytest.mark.parametrize(
    ("mode", "code"), [(stat.S_IFLNK | 0o777, "symlink"), (stat.S_IFIFO, "special_member"), (stat.S_IFREG, None)]
)
def test_only_files_and_folders_are_taken(tmp_path: Path, mode: int, code: Optional[str]) -> None:
    info = zipfile.ZipInfo("emqx/bin/strange")
    info.external_attr = mode << 16
    assert codes(read(make(tmp_path, more=[(info, "/etc/passwd")]))) == ([code] if code else [])


def test_compression_that_erlang_does_not_read_is_refused(tmp_path: Path) -> None:
    assert codes(read(make(tmp_path, compression=zipfile.ZIP_BZIP2))) == ["compression"]
    assert codes(read(make(tmp_path, compression=zipfile.ZIP_STORED))) == []


def _patched(path: Path, signature: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes of every record of a kind."""
    data = bytearray(path.read_bytes())
    place = data.find(signature)
    while place >= 0:
        data[place + offset : place + offset + len(value)] = value
        place = data.find(signature, place + 4)
    path.write_bytes(bytes(data))
    return path


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = _patched(make(tmp_path), b"PK\x01\x02", 8, b"\x01\x00")
    assert "encrypted_member" in codes(read(path))


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = _patched(make(tmp_path), b"PK\x01\x02", 20, struct.pack("<L", 5000))
    assert "bomb" in codes(read(path))


def test_a_bomb_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = make(tmp_path, more=[("emqx/lib/zeros", b"\0" * (p.BOMB_FREE_BYTES + 1))])
    assert codes(read(path)) == ["bomb"]


def test_a_lying_bomb_is_not_read_further_than_its_bound(tmp_path: Path) -> None:
    path = make(tmp_path, change={"releases/emqx_vars": b"#" * 5000000})
    assert "too_large" in codes(read(path))
    # The directory now claims that each member unpacks to 100 bytes.
    _patched(path, b"PK\x01\x02", 24, struct.pack("<L", 100))
    assert "damaged" in codes(read(path))


def test_a_large_relup_is_not_read(tmp_path: Path) -> None:
    path = make(tmp_path, change={RELEASE + "relup": b"%" * (p.MAX_RELUP_BYTES + 1)})
    assert "too_large" in codes(read(path))


def test_a_large_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path)
    monkeypatch.setattr(p, "MAX_DIRECTORY_BYTES", 500)
    assert codes(read(path)) == ["too_large"]


def test_many_members_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path)
    monkeypatch.setattr(p, "MAX_MEMBERS", 5)
    assert "too_large" in codes(read(path))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_a_zip"),
        (b"PK", "not_a_zip"),
        (b"\x1f\x8b" + b"x" * 100, "not_a_zip"),
        (b"PK\x03\x04" + b"x" * 100, "truncated"),
        (b"PK\x05\x06" + b"\0" * 18, "top_folder"),
        (b"PK\x05\x06" + b"\xff" * 18, "damaged"),
    ],
)
def test_what_is_no_whole_zip_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    assert code in codes(read(path))
    p.verify_members(str(path))


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert codes(read(path)) == ["truncated"]
    assert [row["code"] for row in p.verify_members(str(path))] == ["truncated"]


def test_a_damaged_member_is_found(tmp_path: Path) -> None:
    path = make(tmp_path, compression=zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FOR1", b"FOR2"))
    # Only what decides is read at first; every member only when asked.
    assert codes(read(path)) == []
    found = p.verify_members(str(path))
    assert [row["code"] for row in found] == ["damaged"]
    assert "emqx.beam" in found[0]["message"]
    path.write_bytes(data.replace(b"REL_VSN", b"REL-VSN"))
    assert codes(read(path)) == ["damaged"]


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_what_is_no_file_is_unreadable(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(str(path))
    assert codes(read(path)) == ["unreadable"]
    if kind != "fifo":
        assert [row["code"] for row in p.verify_members(str(path))] == ["unreadable"]


def test_compares_with_a_given_checksum(tmp_path: Path) -> None:
    path = make(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for checksum in (digest, digest.upper(), "sha256:" + digest):
        found = read(path, checksum=checksum)
        assert (codes(found), found["sha256"], found["checksum_source"]) == ([], digest, "given")
        assert found["warnings"] == []
    assert codes(read(path, checksum="0" * 64)) == ["checksum"]
    assert codes(read(path, checksum="md5:abc")) == ["checksum_format"]


def test_compares_with_the_sidecar(tmp_path: Path) -> None:
    path = make(tmp_path)
    sidecar = tmp_path / (NAME + ".sha256")
    digest = p.sha256_file(str(path))
    for text, expected in (
        (digest, []),
        (digest + "  " + NAME + "\n", []),
        ("0" * 64, ["checksum"]),
        ("", ["checksum_format"]),
        ("<html>", ["checksum_format"]),
    ):
        sidecar.write_text(text)
        found = read(path)
        assert (codes(found), found["checksum_source"]) == (expected, "sidecar")
    # A given checksum goes before the file.
    assert codes(read(path, checksum=digest)) == []


def test_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = make(tmp_path)
    first = read(path, with_sha256=True)
    first["problems"].append("mine")
    assert read(path, with_sha256=True)["problems"] == []
    make(tmp_path, change={RELEASE + "relup": None})
    os.utime(str(path), (1, 1))
    second = read(path, with_sha256=True)
    assert codes(second) == ["no_relup"]
    assert second["sha256"] != first["sha256"]


def test_an_unchanged_package_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path)
    first = read(path, with_sha256=True)
    monkeypatch.setattr(p, "_inspect", None)
    monkeypatch.setattr(p, "sha256_file", None)
    assert read(path, with_sha256=True) == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RELUP.format("4.4.19"), ("4.4.19", ["4.4.18", "4.4.17"], ["4.4.18"])),
        ('{"1",[],[]}.', ("1", [], [])),
        ('{"1","",""}.', ("1", [], [])),
        ('{"1",[{"0","why",[]}],[]}. % end', ("1", ["0"], [])),
    ],
)
def test_reads_a_relup(text: str, expected: Any) -> None:
    found = p.read_relup(text.encode("utf-8"))
    assert (found["target"], found["upgrade_from"], found["downgrade_to"]) == expected


def test_tells_the_ways_that_restart_the_machine() -> None:
    ways = (
        '{{"4.4.{0}",[],[{{load_object_code,{{a,"1",[a]}}}},point_of_no_return,{1}]}}'.format(number, last)
        for number, last in enumerate(
            [
                "{load,{a,brutal_purge,soft_purge}}",
                "restart_emulator",
                "restart_new_emulator,{apply,{a,b,[]}}",
                # Words of an instruction are none.
                '{apply,{a,b,[restart_emulator]}},"restart_emulator"',
                "'restart_emulator'",
            ]
        )
    )
    text = '{"4.4.19",[' + ",".join(ways) + '],[{"4.4.3",[],[restart_emulator]},{"4.4.2",[restart_emulator],[]}]}.'
    found = p.read_relup(text.encode("utf-8"))
    assert (found["restarts"], found["restarts_down"]) == (["4.4.1", "4.4.2", "4.4.4"], ["4.4.3"])
    assert len(found["upgrade_from"]) == 5


@pytest.mark.parametrize(
    "text",
    ["", "a.", '{"1",[],[]}', '{"1",[],[]}. {"1",[],[]}.', '{"1",[]}.', "{a,[],[]}.", "{1,[],[]}.", '{"1",a,[]}.']
    + ['{"1",[a],[]}.', '{"1",[{"0",[]}],[]}.', '{"1",[{a,[],[]}],[]}.', '{"1",[{"0",[],[}],[]}.', '{"1","a",[]}.']
    + ['{"1",[{<0.1.0>,[],[]}],[]}.', '["1",[],[]].', '{"1",[{"0",[],[[}]]}],[]}.'],
)
def test_refuses_what_is_no_relup(text: str) -> None:
    with pytest.raises(ErlangTermError):
        p.read_relup(text.encode("utf-8"))


def test_erlang_reads_the_same_relups(tmp_path: Path) -> None:
    """The answers of ``erl`` and ours are equal, for what is read and for what is refused."""
    way = '{"4.4.%d",[],[{load_module,emqx_%d,brutal_purge,soft_purge,[]},{apply,{m,f,[\'A b\',<<"x">>,#{a=>1.5}]}}]}'
    ways = ",\n".join(way % (number, number) for number in range(19))
    texts = [
        RELUP.format("4.4.19"),
        '{"4.4.19",[' + ways + "],[" + ways + "]}.",
        '%% coding: latin-1\n{"1\xe9",[],[]}.\n',
        '{"4.4" ".19",\n[{"4.\\x{34}.18",[],[]}],[]}.',
        '{"1",[{"0",[],[point_of_no_return}],[]}.',
        '{"1",[],[]}',
        '{"1",[],[],[]}.',
        "\xff",
    ]
    for number, text in enumerate(texts):
        (tmp_path / "{0:02}.relup".format(number)).write_bytes(text.encode("latin-1"))
    program = (
        "V = fun(L) -> [V || {V, _, _} <- L] end, lists:foreach(fun(F) -> case catch file:consult(F) of "
        '{ok, [{T, U, D}]} -> io:format("~w~n", [{T, V(U), V(D)}]); _ -> io:format("error~n") end end, '
        'lists:sort(filelib:wildcard("*.relup"))), halt().'
    )
    answer = subprocess.run(
        ["erl", "-noshell", "-eval", program], cwd=str(tmp_path), stdout=subprocess.PIPE, check=True, timeout=60
    )
    lines = answer.stdout.decode("ascii").splitlines()
    assert [line == "error" for line in lines] == [False] * 4 + [True] * 4
    for text, line in zip(texts, lines):
        try:
            found = p.read_relup(text.encode("latin-1"))
        except ErlangTermError:
            assert line == "error"
        else:
            mine = (found["target"], found["upgrade_from"], found["downgrade_to"])
            assert _charlists(parse_term(line)) == mine


def _charlists(term: Any) -> Any:
    target, ups, downs = term
    return (to_str(target), [to_str(item) for item in ups], [to_str(item) for item in downs])


@pytest.mark.parametrize(
    ("erts", "otp"),
    [("13.1.5", "25"), ("12.3.2.2", "24"), ("11.1", "23"), ("10.7", "22"), ("10.3", "21"), ("9.0", None), ("x", None)]
    + [(None, None), ("14.0", "26")],
)
def test_knows_the_otp_of_a_runtime(erts: Optional[str], otp: Optional[str]) -> None:
    assert p.otp_of_erts(erts) == otp


# Forms that Python reads and the node's Erlang does not

FILES = {
    "emqx/" + name: content if isinstance(content, bytes) else content.encode() for name, content in contents().items()
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_zip64_that_emqx_could_not_unpack(tmp_path: Path, form: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(FORMS[form].make(FILES))
    found = read(path)
    assert p.verify_members(str(path)) == [], "Python reads it"
    assert codes(found) == ([] if FORMS[form].reads else ["zip64"])
    if not FORMS[form].reads:
        assert found["problems"][0]["message"] == (
            "the archive is in the form zip64, which the Erlang of EMQX 4.x does not read, and so emqx could not "
            "unpack it; take the package as EMQX published it, or pack it anew: unzip it, and `zip -r` the folder "
            "emqx/ into a file, not into a pipe"
        )


def test_a_size_before_a_member_that_is_not_the_one_of_the_directory(tmp_path: Path) -> None:
    """Erlang believes what stands before the member."""
    path = make(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x03\x04", 1)
    data[place + 18 : place + 22] = struct.pack("<L", struct.unpack("<L", data[place + 18 : place + 22])[0] - 1)
    path.write_bytes(bytes(data))
    assert codes(read(path)) == ["damaged"]


def test_something_before_the_archive(tmp_path: Path) -> None:
    path = make(tmp_path)
    path.write_bytes(b"PK\x03\x04 a beginning of something" + path.read_bytes())
    assert "damaged" in codes(read(path))
