# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials in URLs are masked, whatever stands around them, and nothing else is."""

from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK, masked, may_hold_secret, names_secret

HIDDEN = "s3cret"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:s3cret@host/a.zip", "https://********@host/a.zip"),
        ("https://s3cret@host/a.zip", "https://********@host/a.zip"),
        ("https://:s3cret@host", "https://********@host"),
        ("HTTPS://me:s3cret@host:8443/a.zip#sha256=ab", "HTTPS://********@host:8443/a.zip#sha256=ab"),
        ("https://me:p@s3cret@host/a", "https://********@host/a"),
        ("https://me:p/s3cret@host/a", "https://********@host/a"),
        ("https://me:p@a/s3cret@host/a", "https://********@host/a"),
        ("https://me:p?s3cret#@host/a", "https://********@host/a"),
        ("https://me%40corp:s3cret%2F@[fe80::1]:8080/a", "https://********@[fe80::1]:8080/a"),
        ("ftp://me:s3cret@host/a s3://s3cret@bucket/b", "ftp://********@host/a s3://********@bucket/b"),
        ("git+ssh://me:s3cret@host/a", "git+ssh://********@host/a"),
        ('{"url": "http://me:s3cret@host/"}', '{"url": "http://********@host/"}'),
        (r"http:\/\/me:s3cret@host\/a", r"http:\/\/********@host\/a"),
        ("(https://me:s3cret@host/a)", "(https://********@host/a)"),
        ("<urlopen error https://me:s3cret@host/a>", "<urlopen error https://********@host/a>"),
        ("mysql://root:s3cret@db:3306/emqx", "mysql://********@db:3306/emqx"),
        ("https://host/a.zip?token=s3cret", "https://host/a.zip?token=********"),
        ("https://host/a.zip?v=1&private_token=s3cret&x=2", "https://host/a.zip?v=1&private_token=********&x=2"),
        ("https://host/a?X-Amz-Signature=s3cret&X-Amz-Expires=9", "https://host/a?X-Amz-Signature=********&X-Amz-Expires=9"),
        ("https://host/a?X-Amz-Credential=s3cret%2F2026", "https://host/a?X-Amz-Credential=********"),
        ("https://host/a?X-Amz-Security-Token=s3cret", "https://host/a?X-Amz-Security-Token=********"),
        ("https://host/a?sv=2022&sig=s3cret%3D", "https://host/a?sv=2022&sig=********"),
        ("https://host/a?Key-Pair-Id=s3cret&Policy=s3cret", "https://host/a?Key-Pair-Id=********&Policy=********"),
        ("https://host/a?PASSWORD=s3cret;b=1", "https://host/a?PASSWORD=********;b=1"),
        ("/a.zip?x=1&token=s3cret of a server", "/a.zip?x=1&token=******** of a server"),
        ("https://host/a#access_token=s3cret", "https://host/a#access_token=********"),
        ("https://me:s3cret@host/a?sig=s3cret#sha256=ab", "https://********@host/a?sig=********#sha256=ab"),
    ],
)  # fmt: skip
def test_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert HIDDEN not in masked(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "emqx@10.0.0.1 runs 4.4.18",
        "https://host/packages/emqx@4.4.19.zip",
        "https://host:8080/a@b/emqx.zip?v=4.4.19&os=el8#sha256=0123",
        "http://[::1]:8080/a@b",
        "http://127.0.0.1:9/x and emqx1@10.0.0.1",
        "/srv/packages/emqx-4.4.19.zip",
        "password=x is no URL's",
        "see https://host/a, or mail to ops@host",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "ansible_become_password",
        "ansible_ssh_pass",
        "api_token",
        "VAULT_SECRET",
        "db_passwd",
        "aws_access_key",
        "a_cookie",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", ["emqx_upgrade_version", "emqx_upgrade_keep_versions", "ansible_user", "canary"])
def test_other_names(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://me:s3cret@host/a", True),
        (["a.zip", "https://host/a?token=s3cret"], True),
        ({"hooks": {"password": "s3cret"}}, True),
        ({"after_node": "/h.yml"}, False),
        ("--password s3cret", True),
        ("-o ProxyCommand='sshpass -p s3cret ssh jump'", True),
        ("token: s3cret", True),
        ("password=s3cret", True),
        ("-o IdentityFile=/keys/id", False),
        ("https://host/a.zip#sha256=ab", False),
        ("/usr/lib/emqx/bin/emqx", False),
        ("25%", False),
        (3, False),
        (True, False),
        (None, False),
    ],
)
def test_values(value: Any, expected: bool) -> None:
    assert may_hold_secret(value) is expected


def test_mask_tells_nothing() -> None:
    assert len(masked("https://me:x@h")) == len(masked("https://me:much-longer-secret@h"))
    assert set(MASK) == {"*"}
