# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.emqx.fleet.plugins.filter.package_name import FilterModule, package_name


def test_takes_a_name_apart() -> None:
    assert FilterModule().filters() == {"package_name": package_name}
    assert package_name("packages/emqx-ee-4.4.16-otp24.3.4.2-1-centos8-x86_64.zip") == {
        "edition": "ee",
        "version": "4.4.16",
        "otp": "24.3.4.2-1",
        "os": "el8",
        "arch": "amd64",
    }
    assert package_name("emqx-4.2.1.zip") == {
        "edition": "ce",
        "version": "4.2.1",
        "otp": None,
        "os": None,
        "arch": None,
    }


@pytest.mark.parametrize("name", ["emqx.zip", None, 4])
def test_anything_else_is_an_error_of_the_template(name: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"emqx\.fleet\.package_name: "):
        package_name(name)


def test_an_unknown_word_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "ansible_collections.emqx.fleet.plugins.filter.package_name.Display.warning",
        lambda _self, text: said.append(text),
    )
    assert package_name("emqx-4.4.16-otp24-plan9-amd64.zip")["os"] == "plan9"
    assert ["plan9" in line for line in said] == [True]
