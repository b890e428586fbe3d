# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One cluster, one run: the protocol by which runs reserve nodes, as pure functions, and the words for it.

Every node has room for one reservation, ``<data_dir>/fleet/run.json``. Only the module on that node writes it, under a
lock; everybody reads it, through any member of the cluster. A reservation has a lease, which is judged by the clock of
the node that holds the file and by no other: the reader is told by that node how many seconds are left. Where "there"
stands below, it means there with a lease that is not over.

One try (``cluster_runs.attempt``):

1. The run writes its reservation as a **contender** (``held: false``), for ``CONTENDER_SECONDS``. Where another run's
   reservation is there already, it writes nothing.
2. Then it reads the reservations of all running members of the cluster, its own node's among them.
3. No other run's is there: it marks its own as **held**, provided that it was there all the time, and has the node.
4. One that is held is there: it takes its own away and is refused. A run that comes to this with a node that it holds
   has lost the cluster, and does nothing more there.
5. There are other contenders only. The one that comes first (:func:`key`: by the run's identifier) leaves its
   reservation and tries again; the others take theirs away, and only look until somebody holds the cluster or nobody
   wants it any more. So does another task of the run that gets it, for a further node.

*Never two.* Of two runs that both got to 3., one wrote its reservation last. It read after it had written, hence after
the other had written, and the other's was there all the time up to its mark, and after that for as long as it is
renewed: so it was seen, and 3. was not got to. Nothing here depends on a clock but that each node's own goes on.
A reservation whose lease was over for an instant may have been overlooked; whoever renews one goes through all of it
again.

*At least one.* Nobody takes a reservation away for one that only looks. Of all contenders one comes first; all others
take theirs away because of it, or because somebody holds the cluster. Where it dies, its reservation is over after
``CONTENDER_SECONDS``, which is less than the others have patience for.

Reservations that do not count are named to a try one by one (``passed_over``): of runs whose process is known to have
ended, and those that a user told a run to take over. A run takes over what it finds held when it begins, and nothing
that is reserved later: of two that were told to take over from each other, one is refused. What was passed over stands
in the reservation (``took_over``), so that its owner, if it lives, is told when it comes by.

A run is known by its identifier and its process on the controller: jobs that were given one identifier, such as the
slices of a job, are as many runs. A reservation that is kept for a later job (``parked``) names no process, and is any
job's with the same identifier; one that goes on from it (``resumes``) comes before runs that do not.
"""

import json
import math
import re
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

#: Seconds that the reservation of a contender lasts: longer than a node takes to tell those of all members.
CONTENDER_SECONDS = 30.0
#: The setting by which a run takes over from others.
TAKE_OVER = "emqx_upgrade_take_over"

PROCEED, WAIT, YIELD, REFUSE = "proceed", "wait", "yield", "refuse"

_PLAIN_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]*\Z")
_NAMES_SHOWN = 6

Reservation = Mapping[str, Any]


class Member(NamedTuple):
    """A running member of the cluster: its clock (seconds since 1970), and the reservation that it holds, if any.

    ``node`` is None where it is this node and its name is not known.
    """

    node: Optional[str]
    clock: float
    reservation: Optional[Reservation]

    @property
    def seconds_left(self) -> float:
        """What is left of the lease by the member's own clock."""
        return float(self.reservation["lease_until"]) - self.clock if self.reservation else 0.0


# Who is who


def identity(reservation: Reservation) -> str:
    """The run as one process of one controller; a parked reservation names none."""
    words = [str(reservation.get(name) or "") for name in ("id", "controller", "controller_process")]
    return " ".join(words).rstrip() if words[2] else words[0]


def is_same(one: Reservation, other: Reservation) -> bool:
    """Whether the reservations are of one run: of the same process, or one of them is kept for any job of that id."""
    parked = not one.get("controller_process") or not other.get("controller_process")
    return bool(one["id"] == other["id"] and (parked or identity(one) == identity(other)))


def is_held(reservation: Reservation) -> bool:
    """Whether it is more than a contender's; one of a version that knew no contenders is."""
    return reservation.get("held", True) is not False


def key(reservation: Reservation) -> Any:
    """What decides among contenders: the smallest comes first."""
    return (not reservation.get("resumes"), identity(reservation))


def took_over_from(other: Reservation, claim: Reservation) -> bool:
    """Whether ``other`` was told to take over from this very run."""
    return identity(claim) in (other.get("took_over") or ())


def taken_over_by(claim: Reservation, members: Sequence[Member], passed_over: Sequence[str] = ()) -> List[str]:
    """What the run passes over here, and what it took over with another node of the cluster: it is one run."""
    found = set(passed_over)
    for member in members:
        if member.reservation and identity(member.reservation) == identity(claim):
            found.update(member.reservation.get("took_over") or ())
    return sorted(found)


def is_in_force(other: Reservation, claim: Reservation) -> bool:
    """Whether another run's reservation stands before this run whichever comes first."""
    return is_held(other) or took_over_from(other, claim)


def others(members: Sequence[Member], claim: Reservation, passed_over: Sequence[str] = ()) -> List[Member]:
    """The members that another run has reserved, as far as that counts."""
    return [
        member
        for member in members
        if member.reservation
        and member.seconds_left > 0
        and not is_same(member.reservation, claim)
        and (identity(member.reservation) not in passed_over or took_over_from(member.reservation, claim))
    ]


# One node's reservation


def contend(
    found: Optional[Reservation], claim: Reservation, now: float, passed_over: Sequence[str] = ()
) -> Optional[Dict[str, Any]]:
    """The reservation to write at the beginning of a try; None where another run's is in the way.

    ``claim``: ``id``, ``who``, ``controller``, ``controller_process``. One's own that is held stays so.
    """
    here = [Member(None, now, found)]
    if others(here, claim, passed_over):
        return None
    own = found is not None and is_same(found, claim)
    mine = found if found and own and found["lease_until"] > now else None
    resumes = bool(mine and (mine.get("resumes") or (is_held(mine) and identity(mine) != identity(claim))))
    held = bool(mine and is_held(mine) and not resumes)
    until = now + CONTENDER_SECONDS
    return dict(
        claim,
        since=(mine.get("since") if mine else None) or round(now, 3),
        lease_until=round(max(until, mine["lease_until"]) if mine and held else until, 3),
        held=held,
        resumes=resumes and not held,
        took_over=sorted(set(passed_over) | set((found.get("took_over") or ()) if found and own else ())),
    )


def is_unbroken(found: Reservation, written: Reservation) -> bool:
    """Whether what was ``written`` was there ever since, as far as no lease was over: who begins anew says so."""
    return is_same(found, written) and found.get("since") == written.get("since")


def hold(
    found: Optional[Reservation],
    written: Reservation,
    now: float,
    lease: float,
    parked: bool = False,
    passed_over: Sequence[str] = (),
) -> Optional[Dict[str, Any]]:
    """The reservation to write at the end of a try, for ``lease`` seconds.

    None where the one ``written`` at its beginning was not there all the time: it was replaced, its lease was over, or
    another try of the same run, whose answer is not waited for any more, began anew after that (``since``).
    ``parked``: keep it for a later job with the same identifier.
    """
    if found is None or found["lease_until"] <= now or not is_unbroken(found, written):
        return None
    return dict(
        found,
        who=written.get("who"),
        controller=written.get("controller"),
        controller_process="" if parked else written.get("controller_process"),
        lease_until=round(now + lease, 3),
        held=True,
        resumes=False,
        took_over=sorted(set(found.get("took_over") or ()) | set(passed_over)),
    )


def extend(found: Optional[Reservation], now: float, seconds: float) -> Optional[Dict[str, Any]]:
    """The reservation to write while an operation is at work on the node, so that it stands for ``seconds`` more.

    None where there is none that is in force, or where it stands for longer anyway.
    """
    if found is None or not is_held(found) or not now < found["lease_until"] < now + seconds:
        return None
    return dict(found, lease_until=round(now + seconds, 3))


def is_renewable(found: Optional[Reservation], claim: Reservation, now: float) -> bool:
    """Whether the run has the node and had it all the time, so that nobody need be asked again.

    A parked reservation must go through a try: of several jobs that it is kept for, one gets the cluster.
    """
    return found is not None and is_held(found) and found["lease_until"] > now and identity(found) == identity(claim)


# The decision


def decide(members: Sequence[Member], claim: Reservation, passed_over: Sequence[str] = ()) -> str:
    """What a run does after it has read all members: ``proceed``, ``wait``, ``yield`` or ``refuse``.

    ``claim`` is its reservation as it was written, or would be.
    """
    found = others(members, claim, passed_over)
    reservations = [member.reservation for member in found if member.reservation]
    if not reservations:
        return PROCEED
    if any(is_in_force(reservation, claim) for reservation in reservations):
        return REFUSE
    return WAIT if key(claim) < min(key(reservation) for reservation in reservations) else YIELD


# Words


def describe(found: Sequence[Member], own: Optional[str] = None, run_id: Optional[str] = None) -> str:
    """Who has reserved which nodes, since when and for how long: one clause for each run.

    ``found`` is not empty; ``own`` is this node's name, ``run_id`` the run that is told. Minutes are exact enough to
    act on, and let most nodes of a run have equal words.
    """
    by_run = {}  # type: Dict[str, List[Member]]
    for member in found:
        by_run.setdefault(identity(member.reservation or {}), []).append(member)
    return "; ".join(_of_one_run(members, own, run_id) for members in by_run.values())


def _of_one_run(members: Sequence[Member], own: Optional[str], run_id: Optional[str]) -> str:
    reservations = [member.reservation or {} for member in members]
    first = reservations[0]
    name = "{0} {1}".format("another job of the run" if first["id"] == run_id else "the run", first["id"])
    if first.get("who"):
        name += " of {0}".format(first["who"])
    here = [member for member in members if member.node is None or member.node == own]
    there = sorted({str(member.node) for member in members if member not in here})
    places = (["this node"] if here else []) + (["{0} of the same cluster".format(_listed(there))] if there else [])
    where = " and ".join(places)
    if not any(is_held(reservation) for reservation in reservations):
        return "{0} is just about to reserve {1}".format(name, where)
    since = [reservation["since"] for reservation in reservations if reservation.get("since")]
    when = " since {0}".format(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(since)))) if since else ""
    # Times in a reservation are rounded, which must not make two minutes three.
    minutes = max(1, math.ceil(max(member.seconds_left for member in members) / 60.0 - 0.01))
    return "{0} has reserved {1}{2}, for at most {3} minute{4} more unless it renews that".format(
        name, where, when, minutes, "" if minutes == 1 else "s"
    )


def remedy(found: Sequence[Member]) -> str:
    """What to do about reservations of others, with the exact setting that takes over."""
    held = sorted(
        {str(member.reservation["id"]) for member in found if member.reservation and is_held(member.reservation)}
    )
    if not held:
        return "start again in a minute, when it is decided which run has the cluster"
    return "wait until it has ended or, if it is gone, until that time is over; {0} takes over at once".format(
        setting(held)
    )


def setting(run_ids: Sequence[str]) -> str:
    """The extra variable that takes over from these runs, as it is typed."""
    if len(run_ids) == 1 and _PLAIN_IDENTIFIER.match(run_ids[0]):
        return "-e {0}={1}".format(TAKE_OVER, run_ids[0])
    text = json.dumps({TAKE_OVER: list(run_ids)})
    return "-e '{0}'".format(text.replace("'", "'\\''"))


def sentence(text: str) -> str:
    """The words with a capital at the beginning and a full stop at the end."""
    return "{0}{1}.".format(text[:1].upper(), text[1:])


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMES_SHOWN])
    if len(names) > _NAMES_SHOWN:
        shown.append("{0} more".format(len(names) - _NAMES_SHOWN))
    return shown[0] if len(shown) == 1 else "{0} and {1}".format(", ".join(shown[:-1]), shown[-1])
