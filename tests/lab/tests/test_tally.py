# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What a subscriber counts, at instants that the test chooses."""

from __future__ import annotations

from tests.lab.labkit.tally import Incoming, Tally, add_up, subscriber


def heard(*messages: tuple[int, float]) -> Tally:
    """A subscriber to which these numbers came at these seconds."""
    incoming = Incoming("t")
    for number, at in messages:
        incoming.arrived(number, at)
    return Tally("c", "n", "busy", 0, incoming=incoming)


def test_the_longest_gap_is_between_what_came() -> None:
    tally = heard((1, 5.00), (2, 5.05), (4, 5.15), (7, 5.30), (8, 5.35))
    assert subscriber(tally)["max_gap_ms"] == 150
    assert (tally.incoming.longest_ended if tally.incoming else None) == 5.30
    assert subscriber(tally)["gaps"] == 2


def test_the_silence_until_the_end_is_a_gap_as_well() -> None:
    tally = heard((1, 5.00), (2, 5.05))
    assert tally.incoming
    tally.incoming.silence_ends(5.08)
    assert subscriber(tally)["max_gap_ms"] == 50
    tally.incoming.silence_ends(5.75)
    assert subscriber(tally)["max_gap_ms"] == 700


def test_who_heard_one_message_or_none_has_no_gap() -> None:
    assert subscriber(heard((1, 5.0)))["max_gap_ms"] == 0
    assert subscriber(heard())["max_gap_ms"] == 0


def test_of_several_the_longest_counts() -> None:
    tallies = [heard((1, 1.0), (2, 1.2)), heard((1, 1.0), (3, 1.9)), heard((1, 1.0))]
    assert add_up(tallies)["max_gap_ms"] == 900
