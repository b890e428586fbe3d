# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reservations of all members of a cluster, read through one of its nodes, and a try to get the cluster.

The node asks the other running members over Erlang's own connections, so they need not be hosts of the run. Each of
them tells where its data is: ``bin/emqx`` of 4.2 to 4.4 starts the virtual machine with ``-mnesia dir`` set to
``$RUNNER_DATA_DIR/mnesia/NODE``; where that is not set, the broker's own ``data_dir`` is taken. That this leads to what
this collection writes is seen each time by the node's own reservation, which is read the same way.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ansible_collections.emqx.fleet.plugins.module_utils import asking, contention
from ansible_collections.emqx.fleet.plugins.module_utils.asking import characters
from ansible_collections.emqx.fleet.plugins.module_utils.command import EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.contention import Member
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import to_str
from ansible_collections.emqx.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir, parse_run

#: Seconds that one call to a member may take.
MEMBER_SECONDS = 5

HELD, WAIT, YIELD, REFUSED, LOST = "held", contention.WAIT, contention.YIELD, "refused", "lost"

# The clock is read before the file: a lease that is renewed in between is then never taken for one that is over.
_RESERVATIONS = (
    "R = fun(N, M, F, A) -> rpc:call(N, M, F, A, %(timeout)d) end,"
    " D = fun(N) -> case R(N, application, get_env, [mnesia, dir]) of"
    " {ok, Dir} -> {ok, filename:dirname(filename:dirname(Dir))};"
    " undefined -> R(N, application, get_env, [emqx, data_dir]);"
    " Other -> Other end end,"
    " [case D(N) of"
    " {ok, Path} -> {N, R(N, os, system_time, [millisecond]),"
    " case R(N, file, read_file, [filename:join([Path, %(fleet)s, %(run)s])]) of"
    " {ok, Text} when byte_size(Text) < 65536 -> Text;"
    " Bad -> lists:sublist(lists:flatten(io_lib:format(%(format)s, [Bad, 25])), 300) end};"
    " Bad -> {N, unknown, lists:sublist(lists:flatten(io_lib:format(%(format)s, [Bad, 25])), 300)}"
    " end || N <- ekka_mnesia:running_nodes()]"
)
_REASONS = (
    ("timeout", "it does not answer within {0} s".format(MEMBER_SECONDS)),
    ("nodedown", "it has no connection to this node"),
    ("eacces", "its broker may not read the file"),
)


class Reading(NamedTuple):
    """What a cluster told: this node's name, the members that told, and those that did not (``node``, ``reason``).

    ``node`` is None where no broker runs on this node, so that there are no members to ask.
    """

    node: Optional[str]
    members: List[Member]
    unread: List[Dict[str, str]]


class Wish(NamedTuple):
    """What a run wants of a node.

    ``claim``: ``id``, ``who``, ``controller``, ``controller_process``. ``lease``: seconds. ``passed_over``: identities
    (:func:`contention.identity`) that do not count. ``parked``: keep the node for a later job of the same identifier.
    ``verify``: ask the members also where the run has the node all the time. ``look_first``: write nothing where it is
    another run's turn, since this run has given way already. ``renew``: the node must be this run's already.
    """

    claim: Dict[str, Any]
    lease: float
    passed_over: Sequence[str] = ()
    parked: bool = False
    verify: bool = False
    look_first: bool = False
    renew: bool = False


def question(printed: bool = True) -> str:
    """The Erlang expression that asks for all members' reservations."""
    code = _RESERVATIONS % {
        "timeout": MEMBER_SECONDS * 1000,
        "fleet": characters("fleet"),
        "run": characters("run.json"),
        "format": characters("~0P"),
    }
    return asking.question([("node", "node()"), ("reservations", code)], printed)


def read(command: EmqxCommand, pid: Optional[int], state_dir: StateDir) -> Reading:
    """The reservations of the cluster's running members, by one question; this node's alone where no broker runs.

    Raises FleetError where the node does not tell.
    """
    if pid is None:
        return Reading(None, [Member(None, time.time(), state_dir.run())], [])
    asked = asking.ask(command, pid, question, parse)
    if asked.answer is None:
        raise FleetError(
            "The node does not tell the reservations of its cluster's members; another run may be at work there.",
            hint="See why {0} eval does not work on the node, and start again.".format(command.installation.executable),
            output=command.output(asked.result) if asked.result else [],
        )
    return asked.answer


def parse(answer: Dict[str, Any]) -> Optional[Reading]:
    """The reading from the node's answer; None where it told no members, or not as expected."""
    rows = answer.get("reservations")
    if not isinstance(rows, list) or not rows:
        return None
    members, unread = [], []
    try:
        node = to_str(answer["node"])
        for name, clock, content in rows:
            told = _told(to_str(name), clock, content)
            if isinstance(told, Member):
                members.append(told)
            else:
                unread.append({"node": to_str(name), "reason": told})
    except (KeyError, TypeError, ValueError):
        return None
    return Reading(node, members, unread)


def _told(node: str, clock: Any, content: Any) -> Union[Member, str]:
    """The member, or why it is not known what it has."""
    reason = "it does not tell its time" if isinstance(content, bytes) else to_str(content)
    if isinstance(clock, int) and (isinstance(content, bytes) or reason == "{error,enoent}"):
        return Member(node, clock / 1000.0, parse_run(content) if isinstance(content, bytes) else None)
    return next((words for word, words in _REASONS if word in reason), reason)


def attempt(state_dir: StateDir, wish: Wish, reading: Callable[[], Reading]) -> Dict[str, Any]:
    """One try of a run to have a node, and with it the cluster; the protocol is in :mod:`contention`.

    Gives ``verdict``: ``held``; ``wait`` or ``yield`` where it is to be tried again; ``refused``; ``lost`` where the
    run had the node and may not go on. And ``reservation`` (null where the run has not got the node), ``changed``,
    ``node``, ``others`` (the reservations that are in the way, with ``node``, ``seconds_left`` and ``identity``),
    ``members_unread``; where it is not held also ``message`` and ``hint``. Raises FleetError.
    """
    claim = wish.claim
    found = state_dir.run()
    own = found is not None and contention.is_same(found, claim)
    if wish.renew and not own:
        return _lost_here(claim, found)
    mine = state_dir.renew(claim, wish.lease, wish.parked)
    if mine is not None and not wish.verify:
        return _answer(HELD, None, reservation=mine)
    passed_over = list(wish.passed_over)
    if wish.look_first and not own:
        seen = reading()
        passed_over = contention.taken_over_by(claim, seen.members, passed_over)
        verdict = contention.decide(seen.members, claim, passed_over)
        if seen.unread or verdict in (contention.YIELD, contention.REFUSE):
            return _not_held(verdict, seen, claim, passed_over)
    written = mine or state_dir.contend(claim, passed_over)
    try:
        seen = reading()
        _check_own(seen, written, state_dir.run())
    except FleetError:
        if mine is None:
            state_dir.release(claim)
        raise
    passed_over = contention.taken_over_by(claim, seen.members, passed_over)
    verdict = contention.decide(seen.members, written or claim, passed_over)
    if verdict == contention.PROCEED and not seen.unread:
        held = state_dir.hold(written, wish.lease, wish.parked, passed_over) if written else None
        if held is not None:
            return _answer(HELD, seen, reservation=held, changed=mine is None)
        if written is None:
            # Whoever was in the way here has left, or was taken over with another node.
            state_dir.contend(claim, passed_over)
        verdict = contention.WAIT
    # A node that the run has stays its own: whoever must not go on gives it up in the end, when nothing is at work.
    if mine is None and (seen.unread or verdict in (contention.YIELD, contention.REFUSE)):
        state_dir.release(claim)
    return _not_held(verdict, seen, claim, passed_over, mine)


def _check_own(seen: Reading, written: Optional[Dict[str, Any]], there: Optional[Dict[str, Any]]) -> None:
    """Raise FleetError where the broker did not find what was written before, and still is there, on its own node."""
    blind = any(member.node == seen.node and not member.reservation for member in seen.members)
    if blind and written and there and contention.is_unbroken(there, written):
        raise FleetError(
            "The broker does not find the reservation that was just written for it: its data is in another directory "
            "than releases/emqx_vars says, so that reservations of other runs would not be found either.",
            hint="Set RUNNER_DATA_DIR there to the directory that the broker was started with, and start again.",
        )


def _answer(verdict: str, seen: Optional[Reading], **more: Any) -> Dict[str, Any]:
    answer = {
        "verdict": verdict,
        "changed": False,
        "reservation": None,
        "node": seen.node if seen else None,
        "others": [],
        "members_unread": seen.unread if seen else [],
    }
    return dict(answer, **more)


def _not_held(
    verdict: str,
    seen: Reading,
    claim: Dict[str, Any],
    passed_over: Sequence[str],
    mine: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Why the run may not go on. ``mine`` is its reservation where it has the node all the same."""
    found = contention.others(seen.members, claim, passed_over)
    rows = [_row(member) for member in found]
    if seen.unread and verdict != contention.REFUSE:
        message, hint = _words_for_unread(seen)
        return _answer(REFUSED, seen, others=rows, message=message, hint=hint, reservation=mine)
    if not found:
        message = "the node took more than {0:g} s to tell the reservations of its cluster's members".format(
            contention.CONTENDER_SECONDS
        )
        return _answer(verdict, seen, message=contention.sentence(message), hint="Start again when it is less busy.")
    if verdict == contention.REFUSE:
        # Contenders give way to those that have the cluster, so there is nothing to say of them.
        found = [member for member in found if contention.is_in_force(member.reservation or {}, claim)]
    said = contention.describe(found, seen.node, claim["id"])
    hint = contention.sentence(contention.remedy(found))
    lost = mine is not None or any(contention.took_over_from(member.reservation or {}, claim) for member in found)
    if verdict == contention.REFUSE:
        if lost:
            return _answer(LOST, seen, others=rows, message=_LOST.format(said), hint=_LOST_HINT, reservation=mine)
        message = "{0} Only one run at a time may work on a cluster.".format(contention.sentence(said))
        return _answer(REFUSED, seen, others=rows, message=message, hint=hint)
    return _answer(verdict, seen, others=rows, message=contention.sentence(said), hint=hint, reservation=mine)


def _row(member: Member) -> Dict[str, Any]:
    reservation = member.reservation or {}
    return dict(
        reservation,
        node=member.node,
        seconds_left=round(member.seconds_left, 3),
        identity=contention.identity(reservation),
        held=contention.is_held(reservation),
    )


_LOST = "This run has the node no more: {0}."
_LOST_HINT = (
    "This run touches nothing more of the cluster. See by emqx.fleet.status what its nodes run, and start again when "
    "the other run has ended."
)


def _lost_here(claim: Dict[str, Any], found: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    if found is None:
        said = "its reservation was taken over by a run that has ended, or was removed"
        return _answer(LOST, None, message=_LOST.format(said), hint=_LOST_HINT)
    here = Member(None, time.time(), found)
    said = contention.describe([here], None, claim["id"])
    return _answer(LOST, None, others=[_row(here)], message=_LOST.format(said), hint=_LOST_HINT)


def _words_for_unread(seen: Reading) -> Tuple[str, str]:
    told = [
        "{0}: {1}".format("this node" if row["node"] == seen.node else row["node"], row["reason"])
        for row in seen.unread
    ]
    names = [row["node"] for row in seen.unread if row["node"] != seen.node]
    message = (
        "Whether another run works on the cluster is not known, since not all of its running members tell their "
        "reservations: {0}.".format("; ".join(told))
    )
    hint = "See that the broker answers (emqx_ctl status), and may read the folder fleet of its data, and start again."
    if names:
        hint += " A member that is gone for good is taken out by: emqx_ctl cluster force-leave {0}.".format(names[0])
    return message, hint
