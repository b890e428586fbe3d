# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
import contextlib
from typing import Any, Tuple

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import package_name as p
from hypothesis import given
from hypothesis import strategies as st

REAL = [
    ("emqx-4.4.16-otp24.3.4.2-1-ubuntu20.04-amd64.zip", ("ce", "4.4.16", "24.3.4.2-1", "ubuntu20.04", "amd64"), "4.4"),
    ("emqx-ee-4.4.16-otp24.3.4.2-1-el8-arm64.zip", ("ee", "4.4.16", "24.3.4.2-1", "el8", "arm64"), "4.4"),
    (
        "emqx-edge-4.4.0-rc.1-otp24.1.5-3-centos7-amd64.zip",
        ("edge", "4.4.0-rc.1", "24.1.5-3", "centos7", "amd64"),
        "4.4",
    ),
    ("emqx-4.4.19-otp1-otp25.2.3-1-debian12-amd64.zip", ("ce", "4.4.19-otp1", "25.2.3-1", "debian12", "amd64"), "4.4"),
    ("emqx-ubuntu20.04-4.3.10-amd64.zip", ("ce", "4.3.10", None, "ubuntu20.04", "amd64"), "4.3"),
    ("emqx-ee-centos7-4.3.5-amd64.zip", ("ee", "4.3.5", None, "centos7", "amd64"), "4.3"),
    ("emqx-el7-4.3.0-rc.1-amd64.zip", ("ce", "4.3.0-rc.1", None, "el7", "amd64"), "4.3"),
    ("emqx-ubuntu20.04-4.2.1-x86_64.zip", ("ce", "4.2.1", None, "ubuntu20.04", "x86_64"), "4.3"),
    ("emqx-4.2.1.zip", ("ce", "4.2.1", None, None, None), "4.2"),
    # Published: the download pages and release notes of 4.2 to 4.4, packages.mk of emqx-rel, build of emqx.
    ("emqx-centos7-4.2.14-x86_64.zip", ("ce", "4.2.14", None, "centos7", "x86_64"), "4.3"),
    ("emqx-opensuse-4.2.14-x86_64.zip", ("ce", "4.2.14", None, "opensuse", "x86_64"), "4.3"),
    ("emqx-raspbian9-4.2.14-armv7l.zip", ("ce", "4.2.14", None, "raspbian9", "armv7l"), "4.3"),
    ("emqx-debian10-4.2.14-mips64.zip", ("ce", "4.2.14", None, "debian10", "mips64"), "4.3"),
    ("emqx-edge-raspbian10-4.2.14-armv7l.zip", ("edge", "4.2.14", None, "raspbian10", "armv7l"), "4.3"),
    ("emqx-ee-centos7-e4.2.3-x86_64.zip", ("ee", "e4.2.3", None, "centos7", "x86_64"), "4.3"),
    ("emqx-ee-e4.2.3.zip", ("ee", "e4.2.3", None, None, None), "4.2"),
    ("emqx-ee-debian10-4.3.19-amd64.zip", ("ee", "4.3.19", None, "debian10", "amd64"), "4.3"),
    ("emqx-ubuntu18.04-4.3.13-rc.1-arm64.zip", ("ce", "4.3.13-rc.1", None, "ubuntu18.04", "arm64"), "4.3"),
    ("emqx-raspbian10-4.3.16-beta.1-arm.zip", ("ce", "4.3.16-beta.1", None, "raspbian10", "arm"), "4.3"),
    ("emqx-macos-4.3.0-amd64.zip", ("ce", "4.3.0", None, "macos", "amd64"), "4.3"),
    (
        "emqx-4.4.4-rc.1-otp24.1.5-3-macos10-amd64.zip",
        ("ce", "4.4.4-rc.1", "24.1.5-3", "macos10", "amd64"),
        "4.4",
    ),
    (
        "emqx-4.4.10-alpha.2-otp24.1.5-3-debian11-arm64.zip",
        ("ce", "4.4.10-alpha.2", "24.1.5-3", "debian11", "arm64"),
        "4.4",
    ),
    ("emqx-edge-4.4.16-otp24.3.4.2-1-raspbian10-arm.zip", ("edge", "4.4.16", "24.3.4.2-1", "raspbian10", "arm"), "4.4"),
    ("emqx-ee-4.2.1-rc.1.zip", ("ee", "4.2.1-rc.1", None, None, None), "4.2"),
]

VERSIONS = st.from_regex(r"\A(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){2}(-(rc|beta|alpha)\.[0-9]{1,2})?\Z")
OTPS = st.from_regex(r"\A[1-9][0-9](\.[0-9]{1,2}){0,3}(-[0-9])?\Z")
OS_WORDS = st.sampled_from(["ubuntu20.04", "debian12", "el8", "centos7", "amzn2", "raspbian10", "plan9", "haiku1.2"])
ARCH_WORDS = st.sampled_from(["amd64", "arm64", "x86_64", "aarch64", "arm", "riscv64"])
NAMES = st.one_of(
    st.builds(p.PackageName, st.sampled_from(p.EDITIONS), VERSIONS, OTPS, OS_WORDS, ARCH_WORDS),
    st.builds(p.PackageName, st.sampled_from(p.EDITIONS), VERSIONS, st.none(), OS_WORDS, ARCH_WORDS),
    st.builds(p.PackageName, st.sampled_from(p.EDITIONS), VERSIONS, st.none(), st.none(), st.none()),
)


@pytest.mark.parametrize(("name", "parts", "style"), REAL)
def test_takes_real_names_apart(name: str, parts: Tuple[Any, ...], style: str) -> None:
    parsed = p.parse("/srv/packages/" + name)
    assert tuple(parsed) == parts
    assert parsed.style == style
    assert parsed.format() == name
    assert parsed.warnings() == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "emqx.zip",
        "emqx-.zip",
        "emqx-ee.zip",
        "emqx-4.4.zip",
        "emqx-v4.4.1.zip",
        "emqx-e4.4.1.zip",
        "emqx-ee-centos7-e4.3.5-amd64.zip",
        "emqx-ee-centos7-v4.2.3-x86_64.zip",
        "emqx-4.4.016.zip",
        "emqx-4.4.16-el8-amd64.zip",
        "emqx-4.4.16-amd64.zip",
        "emqx-4.4.16-otp24-el8.zip",
        "emqx-4.4.16-otp-el8-amd64.zip",
        "emqx-el8-4.4.16.zip",
        "emqx-el8-4.3.0-rc1.zip",
        "emqx-4.4.16-otp24.3.4.2-1-el8-amd64.rpm",
        "emqx-4.4.16-otp24.3.4.2-1-el8-amd64",
        "kafka-4.4.16-otp24-el8-amd64.zip",
        "emqx-4.4.16-otp24-el8-amd64.zip/",
        "emqx-" + "a" * 300 + ".zip",
        None,
    ],
)
def test_refuses_anything_else_with_an_example(name: Any) -> None:
    with pytest.raises(p.PackageNameError):
        p.parse(name)


@given(NAMES)
def test_parse_and_format_are_inverse(name: p.PackageName) -> None:
    assert p.parse(name.format()) == name
    assert p.parse(name.format()).format() == name.format()


@given(st.text(alphabet="emqx-.zip0123456789otparcdl", max_size=40).map(lambda text: "emqx-" + text + ".zip"))
def test_what_parses_formats_to_the_same_name(text: str) -> None:
    try:
        parsed = p.parse(text)
    except p.PackageNameError:
        return
    assert parsed.format() == text


@given(st.text(max_size=60))
def test_garbage_raises_only_the_documented_error(text: str) -> None:
    for name in (text, "emqx-" + text, "emqx-" + text + ".zip"):
        with contextlib.suppress(p.PackageNameError):
            p.parse(name)


@pytest.mark.parametrize(
    ("parts", "style"),
    [
        (("ce", "4.4.1", None, "el8", "amd64"), "4.4"),
        (("ce", "4.4.1", "24", "el8", "amd64"), "4.3"),
        (("ce", "4.4.1", "24", None, None), "4.2"),
        (("pro", "4.4.1", None, None, None), None),
        (("ce", "4.4", None, None, None), None),
        (("ce", "4.4.1", None, "el-8", "amd64"), None),
        (("ce", "4.4.1", "x", "el8", "amd64"), None),
        (("ce", "4.4.1", None, None, None), "5.0"),
    ],
)
def test_format_refuses_what_it_could_not_read_back(parts: Tuple[Any, ...], style: Any) -> None:
    with pytest.raises(p.PackageNameError):
        p.PackageName(*parts).format(style)


@pytest.mark.parametrize(
    ("word", "same"),
    [("centos7", "el7"), ("centos8", "el8"), ("rhel8", "el8"), ("Rocky8.9", "el8"), ("el7", "el7"), ("plan9", "plan9")]
    + [("debian12.4", "debian12"), ("ubuntu20.04.6", "ubuntu20.04"), ("raspbian9", "raspbian9"), ("macosx", "macos")]
    + [("opensuse-leap15.5", "opensuse"), ("opensuse15.2", "opensuse"), ("opensuse", "opensuse"), ("amzn2.0", "amzn2")]
    + [("opensuse-tumbleweed20240101", "opensuse"), ("sles15.5", "sles15"), ("amazonlinux2", "amzn2")]
    + [("amzn2023", "amzn2023"), ("alpine3.15.1", "alpine3.15"), ("debian", "debian"), ("centos", "centos")],
)
def test_systems_have_aliases(word: str, same: str) -> None:
    assert p.normalise_os(word) == same


@pytest.mark.parametrize(
    ("word", "same"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm"), ("vax", "vax")]
    + [
        ("arm64", "arm64"),
        ("arm", "arm"),
        ("armhf", "arm"),
        ("armv6l", "arm"),
        ("mips64el", "mips64"),
        ("army", "army"),
    ],
)
def test_architectures_have_aliases(word: str, same: str) -> None:
    assert p.normalise_arch(word) == same


@pytest.mark.parametrize("word", ["macos", "macos10", "macos11", "windows"])
def test_what_is_not_for_linux(word: str) -> None:
    assert p.is_known_os(word)
    assert not p.is_linux(word)
    assert all(p.is_linux(other) for other in ("debian12", "opensuse", "raspbian9", "plan9"))


def test_unknown_words_are_warned_about() -> None:
    found = p.parse("emqx-4.4.16-otp24-haiku1-vax.zip").warnings()
    assert ["haiku1" in found[0], "vax" in found[1]] == [True, True]
    assert p.parse("emqx-4.4.16-otp24-centos8-x86_64.zip").warnings() == []
