# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Did anybody notice? NodeFacts after a switch, held against those from before it.

Every function is pure: facts in, checks out. A check that could not be made has failed. The exception are facts from
before the switch that were gathered without ``verification``, or by a version of this collection that did not know
``listener_answers`` and ``settings``, as an interrupted run leaves them: then there is nothing to compare those with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.emqx.fleet.plugins.module_utils.readiness import absent_members
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.accounting import Watch
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed

Facts = Mapping[str, Any]

#: Settings that EMQX's own relups change, with the reason (sources: ``emqx.appup.src``, ``emqx_relup.erl``,
#: ``emqx_plugins:force_load/0`` and the two applications' ``translate_env``). From 4.4.11 on a relup reads the files of
#: active plugins anew, and so undoes what a plugin worked out from them when it started.
CHANGED_BY_RELUP: Mapping[str, Mapping[str, str]] = {
    "gen_rpc": {
        "insecure_auth_fallback_allowed": "turned on by the relup from 4.4.11 and older, for members not yet upgraded"
    },
    "emqx_web_hook": {
        "path": "worked out from url at the start",
        "pool_opts": "worked out from url and the TLS settings at the start",
        "headers": "brought to another form at the start",
    },
    "emqx_auth_http": {
        "auth_req": "completed from other settings at the start",
        "super_req": "completed from other settings at the start",
        "acl_req": "completed from other settings at the start",
    },
}

_SHOWN_KEYS = 10
_TOLERANCE = re.compile(r"^(\d+)\s*(%?)$")
#: The checks that a tolerance is for.
_COUNTED = ("clients", "disconnects", "sessions", "subscriptions", "cluster_clients")
_WAY_OUT = re.compile(r"To accept this, set emqx_upgrade_client_loss_tolerance to \d+ \(or \d+%\)\.$")


class ToleranceError(ValueError):
    """A tolerance that is neither a number nor a percentage."""


@dataclass(frozen=True)
class Check:
    """One question about a node. ``message`` is empty when it passed."""

    name: str
    passed: bool
    expected: str
    actual: str
    message: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Expectation:
    """What shall hold after a step.

    ``version`` runs and ``boots`` is what a restart starts. ``tolerance`` is how many clients may be missing, as a
    number (``3``) or a percentage of before (``2%``). ``log_errors`` are error lines from the node's own log since the
    switch. ``accepted`` are gates that the user overrode by name.
    """

    version: str
    boots: str
    tolerance: int | str = 0
    log_errors: Sequence[str] = ()
    accepted: Sequence[str] = ()


def allowed_loss(tolerance: int | str, before: int) -> int:
    """How many of ``before`` clients may be missing."""
    found = _TOLERANCE.match(str(tolerance).strip())
    if found is None:
        raise ToleranceError(f"{tolerance!r} is not a client loss tolerance; give a number (3) or a percentage (2%).")
    number = int(found.group(1))
    return before * number // 100 if found.group(2) else number


def ready_to_switch(facts: Facts, expected_running: str, planned_cluster: Iterable[str]) -> list[Check]:
    """Just before a node's turn: it is still as it was planned, and its cluster is whole.

    The node itself goes on with its turn by :func:`readiness.is_as_planned`, which holds where all of these pass.
    """
    return [
        _equal("node_running", "running", facts["state"], "The node is {actual}, so it is not switched."),
        _equal(
            "version_as_planned",
            expected_running,
            facts["running"],
            "The plan was made for {expected}, and the node now runs {actual}; plan again.",
        ),
        _cluster_complete(facts, planned_cluster),
    ]


def after_switch(
    before: Facts,
    after: Facts,
    expectation: Expectation,
    account: Mapping[str, Any] | None = None,
    counted: Facts | None = None,
) -> list[Check]:
    """A node that was switched, against itself before: version, process, cluster, clients, and what it serves.

    ``account``: that of its clients (:class:`accounting.Watch`); by default the one of these facts. ``counted``: facts
    from which on clients are counted, where that is later than ``before``.
    """
    checks = [_equal("node_running", "running", after["state"], "The node is {actual} after the switch.")]
    if after["state"] != "running":
        return checks
    counted = before if counted is None else counted
    account = Watch(counted).look(after) if account is None else account
    clients = _clients(counted, after, account, expectation.tolerance)
    checks += [
        _equal("version", expectation.version, after["running"], "The node runs {actual}, not {expected}."),
        _equal("boots", expectation.boots, after["boot"]["version"], "A restart would boot {actual}, not {expected}."),
        _boot_consistent(after, expectation.accepted),
        _equal(
            "same_process",
            before["pid"],
            after["pid"],
            "The broker's process was {expected} and is {actual}: it was restarted.",
        ),
        _same_supervisor(before, after),
        _cluster_complete(after, before["cluster"]["running"]),
        _cluster_versions(before, after, expectation.version),
        *clients,
        _kept("listeners", _listeners(before), _listeners(after), "These listeners are gone: {missing}."),
        _listeners_answer(before, after, expectation.accepted),
        _kept(
            "plugins",
            _active(before["plugins"]),
            _active(after["plugins"]),
            "These plugins are not active any more: {missing}.",
        ),
        _kept(
            "modules",
            _active(before["modules"]),
            _active(after["modules"]),
            "These modules are not active any more: {missing}.",
        ),
        _settings_kept(before, after, expectation.accepted),
        _no_new_alarms(before, after, expectation.accepted),
        _none_of("node_log", expectation.log_errors, "The node's log has errors about the switch: {found}."),
    ]
    return _with_way_out(checks, _losses(counted, after, account))


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that did not pass."""
    return [check for check in checks if not check.passed]


def summary(checks: Iterable[Check]) -> str:
    """The messages of the failed checks as one sentence after the other; empty when all passed.

    The setting that accepts missing clients is the same in all of them, and is named once, at the end.
    """
    messages = [check.message for check in checks if not check.passed]
    ways_out = dict.fromkeys(found.group() for found in map(_WAY_OUT.search, messages) if found)
    return " ".join([_WAY_OUT.sub("", message).rstrip() for message in messages] + list(ways_out))


def _equal(name: str, expected: Any, actual: Any, message: str) -> Check:
    passed = actual == expected and actual is not None
    return Check(
        name, passed, str(expected), str(actual), "" if passed else message.format(expected=expected, actual=actual)
    )


def _boot_consistent(after: Facts, accepted: Sequence[str]) -> Check:
    if "boot_consistent" in accepted:
        return _none_of("boot_consistent", [], "")
    problems = [
        problem["message"]
        for problem in after["boot"]["problems"]
        if not (problem["code"] == "stale_patch" and "patches" in accepted)
    ]
    return _none_of("boot_consistent", problems, "{found}")


def _same_supervisor(before: Facts, after: Facts) -> Check:
    """A relup that crashes may restart the applications within the same process of the operating system.

    Their top process in Erlang is another one then. The uptime is only shown: by version it is the age of the broker
    application or of the virtual machine, so that it may rise or fall in a switch that restarted nothing.
    """
    was, now = before["supervisor"], after["supervisor"]
    message = ""
    if was is None or now is None:
        message = (
            "It could not be told whether the broker's applications were restarted: emqx_sup was "
            f"{was or 'not known'} before and is {now or 'not known'}."
        )
    elif was != now:
        message = f"The broker's applications were restarted: emqx_sup was {was} and is {now}."
    shown = [f"{facts['supervisor']}, uptime {facts['uptime_seconds']} s" for facts in (before, after)]
    return Check("same_supervisor", not message, shown[0], shown[1], message)


def _listeners_answer(before: Facts, after: Facts, accepted: Sequence[str]) -> Check:
    """What took a new connection before the switch takes one after it; one that did not shows nothing.

    That a listener is gone is the business of another check. ``known_defects`` accepts that TLS fails, and only that.
    """
    name = "listeners_answer"
    if before.get("listener_answers") is None:
        return Check(name, True, "not known", "not compared")
    if after.get("listener_answers") is None:
        return Check(name, False, "known", "not known", "The node's listeners were not tried after the switch.")
    was = {(row["protocol"], row["listen_on"]) for row in before["listener_answers"] if row["answers"]}
    silent = [
        row for row in after["listener_answers"] if not row["answers"] and (row["protocol"], row["listen_on"]) in was
    ]
    said = " ".join(
        f"The listener {row['protocol']} on {row['listen_on']} takes no new {'TLS ' if row['tls'] else ''}connections "
        f"any more: {row['reason']}."
        for row in silent
        if not (row["tls"] and "known_defects" in accepted)
    )
    shown = ", ".join(f"{row['protocol']} {row['listen_on']} does not" for row in silent)
    return Check(name, not said, "all that did before", shown or "all that did before", said)


def _settings_kept(before: Facts, after: Facts, accepted: Sequence[str]) -> Check:
    """Every setting of an application that ran before and runs now is as it was.

    A setting that is new is a default of the new version; one that is gone is one that the user's files no longer
    have a say in, and fails like one that changed. ``known_defects`` accepts both, which ``actual`` still shows.
    """
    name = "settings"
    if before.get("settings") is None:
        return Check(name, True, "not known", "not compared")
    if after.get("settings") is None:
        return Check(name, False, "known", "not known", "The node did not tell its settings after the switch.")
    said = []
    for application, were in sorted(before["settings"].items()):
        are = after["settings"].get(application)
        if are is None:
            continue
        known = CHANGED_BY_RELUP.get(application, {})
        gone = sorted(key for key in were if key not in are and key not in known)
        changed = sorted(key for key in were if key in are and are[key] != were[key] and key not in known)
        if changed:
            said.append(
                f"The settings of application {application} changed in the switch: {listed(changed, _SHOWN_KEYS)}."
            )
        if gone:
            said.append(
                f"Settings of application {application} are gone since the switch: {listed(gone, _SHOWN_KEYS)}."
            )
    found = " ".join(said)
    if said and "known_defects" not in accepted:
        way_out = "`emqx_ctl plugins reload` reads those of a plugin anew from its file; otherwise go back."
        return Check(name, False, "as before", found, f"{found} {way_out}")
    return Check(name, True, "as before", found or "as before")


def _cluster_complete(facts: Facts, expected: Iterable[str]) -> Check:
    absent = absent_members(facts, expected)
    return _none_of("cluster_complete", absent, "These members of the cluster are not running: {found}.")


def _no_new_alarms(before: Facts, after: Facts, accepted: Sequence[str]) -> Check:
    new = [] if "alarms" in accepted else sorted(set(after["alarms"]) - set(before["alarms"]))
    return _none_of("alarms", new, "There are new alarms: {found}.")


def _other_members(facts: Facts) -> dict[str, Mapping[str, Any]]:
    return {str(row["node"]): row for row in facts["cluster"].get("members") or () if row["node"] != facts.get("node")}


def _cluster_versions(before: Facts, after: Facts, version: str) -> Check:
    """The other members run what they ran, or the version that the whole cluster goes to."""
    was = _other_members(before)
    strange = [
        f"{node} runs {row['version']}"
        for node, row in _other_members(after).items()
        if node in was and row["version"] not in (was[node]["version"], version, None)
    ]
    return _none_of("cluster_versions", strange, "Other members of the cluster changed their version: {found}.")


def _clients(before: Facts, after: Facts, account: Mapping[str, Any], tolerance: int | str) -> list[Check]:
    """By the books nobody was cut off, and not more left than usual; where there are none, by the numbers there are."""
    checks = [_cluster_clients(account, tolerance)]
    if account["told_by"] != "books":
        check = _not_less("clients", account["before"], account["now"], tolerance)
        told = f"{check.actual}, by counts: {account['reason']}"
        return [
            *checks,
            replace(check, actual=told if check.actual != "None" else check.actual),
            _not_less("sessions", before["sessions"], after["sessions"], tolerance),
            _not_less("subscriptions", before["subscriptions"], after["subscriptions"], tolerance),
        ]
    allowed = allowed_loss(tolerance, account["before"])
    lost = account["cut_off"]
    books = "{before} were connected, {came} came, {left} left, {replaced} were replaced, {now} are there".format(
        **account
    )
    message = "" if lost <= allowed else f"{_were(lost)} cut off: {books}."
    checks.append(Check("clients", not message, f"at most {allowed} cut off", f"{lost} cut off: {books}", message))
    expected = account["expected_left"]
    if expected is not None:
        checks.append(_disconnects(expected, account["burst"], allowed))
    checks.append(_subscriptions(before, after, account, tolerance))
    return checks


def _disconnects(expected: Mapping[str, Any], burst: int, allowed: int) -> Check:
    left, most = expected["left"], expected["at_most"]
    shown = f"{left} in {expected['seconds']:g} s"
    usual = f"{expected['measured_left']} in the {expected['measured_seconds']:g} s before"
    message = ""
    if burst > allowed:
        message = (
            f"{left} clients were disconnected within {expected['seconds']:g} s; by {usual}, {most} are to be expected "
            "at most."
        )
    return Check("disconnects", not message, f"at most {most}, by {usual}", shown, message)


def _subscriptions(before: Facts, after: Facts, account: Mapping[str, Any], tolerance: int | str) -> Check:
    """None is gone but with clients that left, or were unsubscribed.

    How many the clients had that left is not known; those who stayed must have half of what they had on the average.
    """
    was, now = before["subscriptions"], after["subscriptions"]
    books, then = after["client_books"], before["client_books"]
    ended = books["ended"] - then["ended"] + account["cut_off"]
    if was is None or now is None or not (ended or books["unsubscribed"] - then["unsubscribed"]):
        return _not_less("subscriptions", was, now, tolerance)
    stayed = max(0, then["sessions"] - ended)
    least = was * stayed // max(1, then["sessions"]) // 2 - (books["unsubscribed"] - then["unsubscribed"])
    passed = now >= least
    message = f"The node had {was} subscriptions and has {now}, though {stayed} of {then['sessions']} clients stayed."
    return Check("subscriptions", passed, f"at least {max(0, least)}", str(now), "" if passed else message)


def _were(number: int) -> str:
    return "1 client was" if number == 1 else f"{number} clients were"


def _cluster_clients(account: Mapping[str, Any], tolerance: int | str) -> Check:
    """The clients of the other members; a member that is gone is the business of another check."""
    fewer = []
    for node, row in account["members"].items():
        had, lost = row["before"], row["cut_off"]
        if had is None or lost is None or lost <= allowed_loss(tolerance, had):
            continue
        by_books = f"of {node} {_were(lost)} cut off"
        fewer.append(by_books if row["told_by"] == "books" else f"{node} had {had} and has {row['now']}")
    return _none_of("cluster_clients", fewer, "Other members of the cluster have fewer clients: {found}.")


def _not_less(name: str, was: int | None, now: int | None, tolerance: int | str) -> Check:
    if was is None or now is None:
        return Check(name, False, str(was), str(now), f"The node did not tell its {name}.")
    bound = was - allowed_loss(tolerance, was)
    passed = now >= bound
    return Check(
        name,
        passed,
        f"at least {bound}",
        str(now),
        "" if passed else f"The node had {was} {name} and has {now}; at least {bound} are expected.",
    )


def _losses(before: Facts, after: Facts, account: Mapping[str, Any]) -> list[tuple[int, int]]:
    """How many there were and how many of them are missing, by each count that is compared."""
    pairs = [(account["before"], account["cut_off"]), (account["before"], account["burst"])]
    pairs += [(row["before"], row["cut_off"]) for row in account["members"].values()]
    if account["told_by"] != "books":
        pairs += [
            (before[name], before[name] - after[name])
            for name in ("sessions", "subscriptions")
            if before[name] is not None and after[name] is not None
        ]
    return [(had, missing) for had, missing in pairs if had and missing is not None and missing > 0]


def _with_way_out(checks: list[Check], losses: Sequence[tuple[int, int]]) -> list[Check]:
    """Name the setting by which all that is missing would have passed, and its smallest values."""
    number = max((missing for _had, missing in losses), default=0)
    percent = max((-(-100 * missing // had) for had, missing in losses), default=0)
    way_out = f" To accept this, set emqx_upgrade_client_loss_tolerance to {number} (or {percent}%)."
    return [
        replace(check, message=check.message + way_out)
        if not check.passed and check.name in _COUNTED and check.actual != "None" and check.expected != "None"
        else check
        for check in checks
    ]


def _kept(name: str, was: set[str], now: set[str], message: str) -> Check:
    missing = sorted(was - now)
    return Check(
        name,
        not missing,
        ", ".join(sorted(was)),
        ", ".join(sorted(now)),
        message.format(missing=", ".join(missing)) if missing else "",
    )


def _none_of(name: str, found: Sequence[str], message: str) -> Check:
    listed = "; ".join(found)
    return Check(name, not found, "none", listed or "none", message.format(found=listed) if found else "")


def _listeners(facts: Facts) -> set[str]:
    return {f"{row['protocol']} {row['listen_on']}" for row in facts["listeners"]}


def _active(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {row["name"] for row in rows if row["active"]}
