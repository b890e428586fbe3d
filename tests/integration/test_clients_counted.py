# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Clients that come and go at a real broker: nobody is told as cut off who was not, and everybody who was."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils.clients import cut_off

from .conftest import Pool
from .node import Node
from .side_by_side import job, outcome

STAYING = 120
#: The forms differ in what they tell of connected clients.
FORMS = {"": "4.4", "4.3": "4.3", "4.2": "4.2"}


def switched(node: Node, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts before and after a switch."""
    before = node.facts()
    result = node.release(version, state="current", allow_downgrade=True)
    assert result.verdict == "done", result.story
    return before, node.facts(survivors_of=before["client_books"]["time"])


def counted(node: Node, rounds: int, form: str = "") -> None:
    """Switches up and down, and clients that are cut off or made to leave."""
    node.reset(form=form, clients=0)
    node.provide()
    node.release(node.new, state="unpacked")
    idle = node.attach(STAYING)
    with node.clients_come_and_go():
        for _round in range(rounds):
            for version in (node.new, node.old):
                before, after = switched(node, version)
                assert cut_off(before["client_books"], after["client_books"]) == 0, (before, after)
                assert after["survivors"] >= STAYING
        assert idle.lost() == 0
        lost = 0
        for number in (1, 10, 100):
            before = node.facts()
            node.emqx("eval", f"emqx_faults:cut_off({number}).")
            after = node.facts(survivors_of=before["client_books"]["time"])
            assert cut_off(before["client_books"], after["client_books"]) == number
            lost += number
        assert idle.lost() == lost, "those who were there longest"
        before = node.facts()
        node.emqx("eval", "emqx_faults:crash(3).")
        assert cut_off(before["client_books"], node.facts()["client_books"]) == 3
        before = node.facts()
        node.emqx("eval", "emqx_faults:close(5).")
        after = node.facts()
        assert cut_off(before["client_books"], after["client_books"]) == 0, "they left as if they had wanted to"
        assert after["client_books"]["left"] >= before["client_books"]["left"] + 5


for _form, _name in FORMS.items():
    job(f"test_of_the_forms[{_name}]", functools.partial(counted, rounds=1, form=_form))
job("test_of_fifty_rounds", functools.partial(counted, rounds=50))


@pytest.mark.parametrize("form", FORMS.values())
def test_of_the_forms(pool: Pool, request: pytest.FixtureRequest, form: str) -> None:
    outcome(pool, request)


@pytest.mark.soak
def test_of_fifty_rounds(pool: Pool, request: pytest.FixtureRequest) -> None:
    outcome(pool, request)
