# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What a switch may break without the node noticing: new connections, a listener, a setting; ``emqx_verify`` does."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from .conftest import Pool
from .node import NEW, OLD, Node
from .plays import Played, play
from .side_by_side import job, outcome

STAGING = "/var/tmp"


@dataclass(frozen=True)
class Break:
    """A fault of the broker with its argument, what is said of it, and what the user may accept it by."""

    fault: str
    argument: str
    says: str
    accept: tuple[str, ...] = ()


BREAKS = {
    "nothing": Break("", "", ""),
    "new TLS connections": Break(f"refuse_tls-{NEW}", "", "takes no new TLS connections any more"),
    "new TLS connections, accepted": Break(f"refuse_tls-{NEW}", "", "", ("known_defects",)),
    "a listener": Break("relup_close_listener", "mqtt:ssl:external", "mqtt:ssl:external"),
    "a setting": Break("relup_setting", "2", "changed_by_relup"),
    "a setting, accepted": Break("relup_setting", "2", "", ("known_defects",)),
}


def switched(node: Node, broken: Break) -> Played:
    """Look at a node with a TLS listener, switch it, and verify it."""
    node.reset(start=False, clients=0)
    with node.host.path(f"{node.root}/etc/emqx.conf").open("a", encoding="utf-8") as settings:
        settings.write(f"listener.ssl.external = {node.host.address}:8883\n")
    node.start()
    node.emqx("eval", "application:set_env(emqx, changed_by_relup, 1).")
    if broken.fault:
        node.fault(broken.fault, broken.argument)
    package = node.provide(folder=STAGING)
    common = {"executable": node.host.executable, "wait": 6}
    return play(
        node,
        {
            "before": {"emqx.fleet.emqx_verify": {"version": OLD, "cluster": [node.host.node], **common}},
            "switch": {
                "emqx.fleet.emqx_release": {
                    "version": NEW,
                    "state": "current",
                    "package": package,
                    "executable": node.host.executable,
                }
            },
            "after": {
                "emqx.fleet.emqx_verify": {
                    "before": "{{ result_0.facts }}",
                    "version": NEW,
                    "boots": OLD,
                    "accept": list(broken.accept),
                    **common,
                }
            },
        },
    )


for title, each in BREAKS.items():
    job(f"test_from_outside.py::test_what_breaks_unseen_is_seen[{title}]", functools.partial(switched, broken=each))


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_unseen_is_seen(pool: Pool, request: pytest.FixtureRequest, name: str) -> None:
    played = outcome(pool, request)
    says = BREAKS[name].says
    if not says:
        assert played.rc == 0, played.output
        answers = {row["protocol"]: row["answers"] for row in played.results["before"]["facts"]["listener_answers"]}
        assert answers["mqtt:ssl:external"], answers
        return
    assert played.rc != 0, played.output
    assert says in played.output, played.output
