# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that only the running node knows, from one question."""

import re
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils import asking
from ansible_collections.emqx.fleet.plugins.module_utils.asking import Asked, characters, question
from ansible_collections.emqx.fleet.plugins.module_utils.clients import (
    COUNTERS,
    METRICS,
    OTHER_PROTOCOLS,
    Sample,
    books,
    unknown_books,
)
from ansible_collections.emqx.fleet.plugins.module_utils.command import EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom, ErlangTermError, to_str

_MODULE_NAME = re.compile(r"[a-z][A-Za-z0-9_@]*\Z")
_UPTIME_PART = re.compile(r"(\d+)\s*(day|hour|minute|second)")
_UNIT_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_MEMBER_TIMEOUT_MS = 5000

# What every member of the cluster evaluates by itself: the counters, the rows, and the counters once more, until three
# samples in a row are alike, at most eight of them, 10 ms apart. Up to 4.3 who is connected is searched for in the rows,
# 1.2 s for a million, which is done twice at most then.
_BOOKS = (
    "(fun() ->"
    " Counters = fun() -> [emqx_metrics:val(N) || N <- [%(metrics)s]] end,"
    " Live = ets:info(emqx_channel_live, size),"
    " Size = fun() -> ets:info(emqx_channel_info, size) end,"
    " Connected = fun() -> case Live of"
    " undefined -> ets:select_count(emqx_channel_info, [{{'_', #{conn_state => connected}, '_'}, [], [true]}]);"
    " _ -> ets:info(emqx_channel_live, size) end end,"
    " Most = case Live =:= undefined andalso Size() > 100000 of true -> 2; false -> 8 end,"
    " Sample = fun() -> B = Counters(), S = Size(), C = Connected(), {B, S, C, Counters()} end,"
    " Loop = fun F([A, A, A | _] = Found) -> Found; F(Found) when length(Found) >= Most -> Found;"
    " F(Found) -> timer:sleep(10), F([Sample() | Found]) end,"
    " {node(), erlang:system_time(millisecond), Loop([Sample()]),"
    " [A || {A, _, _} <- application:which_applications(), lists:member(A, [%(other_protocols)s])]}"
    " end)()."
) % {
    "metrics": ", ".join("'{0}'".format(metric) for _name, metric in METRICS),
    "other_protocols": ", ".join(OTHER_PROTOCOLS),
}

# Each fact is asked for on its own, so that what an older or newer EMQX does not know costs only that fact.
_FACTS = (
    ("node", "node()"),
    ("pid", "os:getpid()"),
    (
        "releases",
        "[{V, S, [L || L <- Ls, lists:prefix(%(emqx_dash)s, L)]} || {_, V, Ls, S} <- release_handler:which_releases()]",
    ),
    ("app_version", "element(2, application:get_key(emqx, vsn))"),
    # 4.2 describes Enterprise as Broker; the application that only Enterprise has tells it.
    ("licensed", "lists:keymember(emqx_license, 1, application:loaded_applications())"),
    ("sysdescr", "lists:flatten(io_lib:format(%(format_s)s, [emqx_sys:sysdescr()]))"),
    ("uptime", "lists:flatten(io_lib:format(%(format_s)s, [emqx_sys:uptime()]))"),
    ("supervisor", "pid_to_list(whereis(emqx_sup))"),
    ("otp", "erlang:system_info(otp_release)"),
    ("erts", "erlang:system_info(version)"),
    ("stats", "emqx_stats:getstats()"),
    ("cluster_running", "ekka_mnesia:running_nodes()"),
    ("cluster_stopped", "ekka_mnesia:cluster_nodes(stopped)"),
    (
        "members",
        "[{N, rpc:call(N, emqx_sys, version, [], %(member_timeout)d),"
        " rpc:call(N, emqx_stats, getstats, [], %(member_timeout)d)}"
        " || N <- ekka_mnesia:running_nodes()]",
    ),
    (
        "books",
        "element(1, rpc:multicall(ekka_mnesia:running_nodes(), erl_eval, exprs,"
        " [element(2, erl_parse:parse_exprs(element(2, erl_scan:string(%(books)s)))), []], %(member_timeout)d))",
    ),
    (
        # Those who were connected by then, in milliseconds by the node's own clock, and still are. The atom is written
        # in this way since a dollar sign would not come through.
        "survivors",
        "(fun(At) -> ets:select_count(emqx_channel_info, [{{'_', #{conn_state => connected,"
        " conninfo => #{connected_at => At}}, '_'}, [{'=<', At, %(survivors_of)d}], [true]}]) end)"
        "(list_to_atom([36,49]))",
    ),
    ("plugins", "[{element(2, P), lists:member(true, tuple_to_list(P))} || P <- emqx_plugins:list()]"),
    ("modules", "[{M, A} || {M, A} <- emqx_modules:list()]"),
    ("alarms", "[maps:get(name, A) || A <- emqx_alarm:get_alarms(activated)]"),
    ("listeners", "[L || {L, _} <- esockd:listeners()]"),
    ("web_listeners", "[{R, proplists:get_value(port, O)} || {R, O} <- ranch:info()]"),
    (
        "old_code",
        "[{M, length([P || P <- processes(), erlang:check_process_code(P, M)])}"
        " || {M, _} <- code:all_loaded(), erlang:check_old_code(M)]",
    ),
    (
        # Values stay on the node: a digest of 32 bits of each, keyed with the cookie, so that without it a guess cannot
        # be checked. phash2 first, since equal maps may have unequal external terms.
        "settings",
        "[{A, [{K, erlang:phash2(erlang:md5(term_to_binary({erlang:get_cookie(), A, K,"
        " erlang:phash2(V, 4294967296)})), 4294967296)} || {K, V} <- application:get_all_env(A)]}"
        " || {A, _, _} <- application:which_applications()]",
    ),
    (
        # A release that is neither unpacked nor old has nothing to check. The reason may hold a whole beam file.
        "dry_check",
        "case [S || {_, V, _, S} <- release_handler:which_releases(), V =:= %(check)s,"
        " S =:= unpacked orelse S =:= old] of"
        " [] -> undefined;"
        " _ -> case catch release_handler:check_install_release(%(check)s) of {ok, _, _} -> ok;"
        " R -> lists:sublist(lists:flatten(io_lib:format(%(format_P)s, [R, 25])), 800) end end",
    ),
    (
        "patches",
        "[{M, erlang:module_loaded(M) andalso"
        " element(2, element(2, beam_lib:md5(F))) =:= M:module_info(md5)} || {M, F} <- %(patches)s]",
    ),
)


def expression(
    patches: Sequence[str] = (),
    check_version: Optional[str] = None,
    old_code: bool = True,
    settings: bool = False,
    survivors_of: Optional[float] = None,
    printed: bool = True,
) -> str:
    """The Erlang expression that prints all facts, or whose value is their text as a binary.

    ``patches``: absolute paths of ``*.beam`` files that shadow modules of the release at the next start.
    ``check_version``: a release that the release handler shall check as if it were to be installed. ``old_code``: look
    at every process for code from before the last switch, which on a node with many clients takes a while.
    ``settings``: digests of every setting of every application, some hundreds of them. ``survivors_of``: a time of the
    node's clock in seconds since 1970; count the clients that are still there of those that were connected by then.
    """
    asked = {
        "dry_check": check_version is not None,
        "old_code": old_code,
        "settings": settings,
        "survivors": survivors_of is not None,
    }
    left_out = {name for name, wanted in asked.items() if not wanted}
    pairs = []
    for path in patches:
        module = path.rpartition("/")[2][: -len(".beam")]
        if _MODULE_NAME.match(module):
            # Not as an atom: a module may have the name of one of Erlang's keywords.
            pairs.append("{{list_to_atom({0}),{1}}}".format(characters(module), characters(path)))
    values = {
        "emqx_dash": characters("emqx-"),
        "format_s": characters("~s"),
        "format_P": characters("~0P"),
        "check": characters(check_version or ""),
        "member_timeout": _MEMBER_TIMEOUT_MS,
        "books": characters(_BOOKS),
        "survivors_of": round((survivors_of or 0) * 1000),
        "patches": "[{0}]".format(",".join(pairs)),
    }
    return question([(name, code % values) for name, code in _FACTS if name not in left_out], printed)


class Probe:
    """What a running node says about itself, in the words of NodeFacts."""

    def __init__(self, answer: Dict[str, Any]) -> None:
        self._answer = answer

    def _text(self, name: str) -> Optional[str]:
        value = self._answer.get(name)
        return None if _missing(value) else to_str(value)

    def _rows(self, name: str) -> List[Any]:
        value = self._answer.get(name)
        return [] if _missing(value) or not isinstance(value, list) else value

    @property
    def node(self) -> Optional[str]:
        """The Erlang node name."""
        return self._text("node")

    @property
    def pid(self) -> Optional[int]:
        """The operating system process."""
        text = self._text("pid")
        return int(text) if text and text.isdigit() else None

    @property
    def otp(self) -> Optional[str]:
        """First number of Erlang/OTP."""
        return self._text("otp")

    @property
    def erts(self) -> Optional[str]:
        """Version of the Erlang runtime system."""
        return self._text("erts")

    @property
    def sysdescr(self) -> Optional[str]:
        """What the broker calls itself."""
        return self._text("sysdescr")

    @property
    def licensed(self) -> bool:
        """Whether the application is loaded that only Enterprise has."""
        return self._text("licensed") == "true"

    @property
    def uptime_seconds(self) -> Optional[int]:
        """Of the broker application up to 4.3.12 and 4.4.1, of the virtual machine from 4.3.13 and 4.4.2 on.

        Across that border it rises or falls without any restart, so it only shows.
        """
        return uptime_seconds(self._text("uptime"))

    @property
    def supervisor(self) -> Optional[str]:
        """The broker's top process in Erlang; another one when a relup crashed and the applications were restarted."""
        return self._text("supervisor")

    @property
    def releases(self) -> List[Dict[str, str]]:
        """The release table."""
        return [{"version": to_str(row[0]), "status": str(row[1])} for row in self._rows("releases")]

    @property
    def permanent(self) -> Optional[str]:
        """The permanent version by the release table."""
        for row in self.releases:
            if row["status"] == "permanent":
                return row["version"]
        return None

    @property
    def running(self) -> Optional[str]:
        """The version whose code runs.

        The release table says ``permanent`` for a version that a restart did not boot, so the version of the loaded
        ``emqx`` application decides, wherever it belongs to exactly one release that the table knows.
        """
        listed = {row["status"]: row["version"] for row in self.releases}
        by_table = listed.get("current") or listed.get("permanent")
        application = self._text("app_version")
        holders = [
            to_str(row[0])
            for row in self._rows("releases")
            if application and "emqx-" + application in [to_str(library) for library in row[2]]
        ]
        if by_table in holders or len(holders) != 1:
            return by_table
        return holders[0]

    def statistic(self, *names: str) -> Optional[int]:
        """The first of these statistics that the node keeps."""
        return _statistic(self._rows("stats"), names)

    @property
    def connection_counts(self) -> Dict[str, int]:
        """Clients by each statistic that counts them."""
        return _statistics(self._rows("stats"), COUNTERS)

    @property
    def client_books(self) -> Dict[str, Any]:
        """What the node tells of its clients, by :mod:`clients`."""
        return self._books.get(self.node or "") or unknown_books("the node did not tell its counters")

    @property
    def survivors(self) -> Optional[int]:
        """Clients that are still there of those before; None where it was not asked for or is not known."""
        value = self._answer.get("survivors")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def _books(self) -> Dict[str, Dict[str, Any]]:
        found = {}
        for row in self._rows("books"):
            # A member that could not evaluate it answers {badrpc, _}, and is left out.
            if not (isinstance(row, tuple) and len(row) == 3 and row[0] == "value"):
                continue
            node, milliseconds, samples, others = row[1]
            rows = [Sample(*sample) for sample in reversed(samples)]
            if all(isinstance(number, int) for sample in rows for number in _numbers(sample)):
                found[to_str(node)] = books(milliseconds / 1000.0, rows, [to_str(name) for name in others])
        return found

    @property
    def cluster(self) -> Dict[str, Any]:
        """The cluster as this node sees it."""
        members = []
        told = self._books
        for node, version, stats in self._rows("members"):
            known = isinstance(stats, list)
            members.append(
                {
                    "node": to_str(node),
                    "version": to_str(version) if isinstance(version, (str, bytes, list)) else None,
                    "connections": _statistic(stats, COUNTERS) if known else None,
                    "connection_counts": _statistics(stats if known else [], COUNTERS),
                    "sessions": _statistic(stats, SESSIONS) if known else None,
                    "client_books": told.get(to_str(node)) or unknown_books("it did not tell its counters"),
                }
            )
        return {
            "running": sorted(to_str(node) for node in self._rows("cluster_running")),
            "stopped": sorted(to_str(node) for node in self._rows("cluster_stopped")),
            "members": sorted(members, key=lambda member: str(member["node"])),
        }

    @property
    def plugins(self) -> List[Dict[str, Any]]:
        """Plugins by name."""
        return self._switched_on("plugins")

    @property
    def modules(self) -> List[Dict[str, Any]]:
        """Modules of the broker by name."""
        return self._switched_on("modules")

    def _switched_on(self, name: str) -> List[Dict[str, Any]]:
        rows = [{"name": to_str(row[0]), "active": row[1] == "true"} for row in self._rows(name)]
        return sorted(rows, key=lambda row: str(row["name"]))

    @property
    def alarms(self) -> List[str]:
        """Names of active alarms."""
        return sorted(to_str(name) for name in self._rows("alarms"))

    @property
    def listeners(self) -> List[Dict[str, str]]:
        """MQTT and web listeners."""
        rows = []
        for listener in self._rows("listeners") + self._rows("web_listeners"):
            if isinstance(listener, tuple) and len(listener) == 2:
                rows.append({"protocol": _listener_name(listener[0]), "listen_on": _listen_on(listener[1])})
        return sorted(rows, key=lambda row: (row["protocol"], row["listen_on"]))

    @property
    def old_code(self) -> Optional[List[Dict[str, Any]]]:
        """Modules with processes that still run code from before the last switch; None where that is not known."""
        if _missing(self._answer.get("old_code")):
            return None
        return [{"module": to_str(row[0]), "processes": row[1]} for row in self._rows("old_code") if row[1]]

    @property
    def settings(self) -> Optional[Dict[str, Dict[str, int]]]:
        """Application -> name of a setting -> digest of its value; None where it was not asked for or is not known.

        A digest can be compared with one of the same node only, and of the same cookie.
        """
        if _missing(self._answer.get("settings")):
            return None
        return {
            "{0}".format(application): {"{0}".format(key): digest for key, digest in rows}
            for application, rows in self._rows("settings")
        }

    def dry_check(self, version: str) -> Optional[Dict[str, Any]]:
        """The release handler's own check of ``version``; None where there was nothing to check."""
        value = self._answer.get("dry_check")
        if _missing(value):
            return None
        passed = value == "ok"
        return {"version": version, "passed": passed, "message": "" if passed else to_str(value)}

    @property
    def patches_in_force(self) -> Optional[Dict[str, bool]]:
        """Module -> whether the code that runs is the patch's; None where the node did not tell."""
        if _missing(self._answer.get("patches")):
            return None
        return {to_str(row[0]): row[1] == "true" for row in self._rows("patches")}


SESSIONS = ("sessions.count",)
SUBSCRIPTIONS = ("subscriptions.count",)


def uptime_seconds(text: Optional[str]) -> Optional[int]:
    """Seconds from EMQX's words, ``1 days, 2 hours, 3 minutes, 4 seconds``."""
    parts = _UPTIME_PART.findall(text or "")
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts) if parts else None


def ask(
    command: EmqxCommand,
    pid: Optional[int],
    patches: Sequence[str] = (),
    check_version: Optional[str] = None,
    old_code: bool = True,
    settings: bool = False,
    survivors_of: Optional[float] = None,
) -> Asked:
    """Ask the broker ``pid`` for everything. The answer is a Probe; None where it did not answer."""

    def build(printed: bool) -> str:
        return expression(patches, check_version, old_code, settings, survivors_of, printed)

    return asking.ask(command, pid, build, _sound)


def _sound(answer: Dict[str, Any]) -> Probe:
    """The Probe, all of which can be read. Raises TypeError, ValueError and the like."""
    probe = Probe(answer)
    for name in dir(Probe):
        if not name.startswith("_"):
            getattr(probe, name)
    for check in (probe.statistic(*COUNTERS), probe.dry_check("")):
        del check
    return probe


def _numbers(sample: Sample) -> List[Any]:
    return [sample.sessions, sample.connected] + list(sample.before) + list(sample.after)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, Atom) and value == "undefined")


def _statistic(rows: Any, names: Sequence[str]) -> Optional[int]:
    return next(iter(_statistics(rows, names).values()), None)


def _statistics(rows: Any, names: Sequence[str]) -> Dict[str, int]:
    known = {str(row[0]): row[1] for row in rows if isinstance(row, tuple) and len(row) == 2}
    return {name: known[name] for name in names if isinstance(known.get(name), int)}


def _listener_name(name: Any) -> str:
    try:
        return to_str(name)
    except ErlangTermError:
        return "{0}".format(name)


def _listen_on(value: Any) -> str:
    """``1883`` or ``127.0.0.1:1883`` from a port, or from an address (text or tuple) and a port."""
    if isinstance(value, tuple) and len(value) == 2:
        address, port = value
        if isinstance(address, tuple):
            separator = "." if len(address) == 4 else ":"
            address = separator.join(str(part) if separator == "." else "{0:x}".format(part) for part in address)
        else:
            address = to_str(address)
        return "{0}:{1}".format(address, port)
    return str(value)
