# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The package has no direct way from what runs, so every node takes a version in between; idle clients stay."""

from __future__ import annotations

from harness import NEW, OLD, OLDEST, PACKAGES, VARIANTS, Scenario, verbs

FLEET = {"clusters": {"blue": {"hosts": {"h1": {"version": OLDEST}, "h2": {"version": OLDEST}}}}}


def converge(scenario: Scenario) -> None:
    """Do it."""
    between = next(PACKAGES.glob(f"emqx-{OLD}-*.zip"))
    scenario.playbook(
        "upgrade",
        emqx_upgrade_version=NEW,
        emqx_upgrade_packages=[str(between), str(VARIANTS / "hop")],
    )


def verify(scenario: Scenario) -> None:
    """See what became of it."""
    run = scenario.run_of("upgrade")
    assert run.code == 0, run.message
    assert f"{OLD} > {NEW}" in run.output
    scenario.require_clients_kept()
    scenario.require_same_processes()
    for state in scenario.require(NEW, NEW).values():
        done = verbs(state.journal)
        assert done == [f"unpack {OLD}", f"unpack {NEW}", f"switch {OLD}", f"switch {NEW}", f"commit {NEW}"]
        assert state.statuses == {NEW: "permanent", OLD: "old", OLDEST: "old"}
        assert state.leftovers == []
        assert state.reserved is None
