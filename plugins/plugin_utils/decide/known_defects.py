# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects of EMQX's own hot upgrades: the table behind the gate ``known_defects`` and ``docs/known-defects.md``.

Versions are as EMQX numbers them: Enterprise and the open source editions count 4.2 and 4.3 differently, so a row says
for each edition which hops it is about. What the change logs call ``e4.3.19`` is Enterprise 4.3.19.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import words_of
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import NodeFacts

Severity = Literal["error", "warning"]
#: What a row rests on: EMQX's change log, a reading of EMQX's source, or a trial with the real scripts.
Verified = Literal["changelog", "source", "run"]

_ALL: tuple[str, ...] = ("ce", "ee", "edge")
#: The editions whose sources are public; they are numbered alike.
_OPEN: tuple[str, ...] = ("ce", "edge")
_EE: tuple[str, ...] = ("ee",)


class Range(NamedTuple):
    """Versions of one series from ``low`` on, and before ``before``; to the end of the series if that is None."""

    low: str
    before: str | None = None

    def holds(self, version: emqx_version.Version) -> bool:
        """Whether ``version`` is meant; a pre-release of ``low`` or of ``before`` is too, for it may be like either."""
        low = emqx_version.parse(self.low)
        if version.series != low.series or (version.major, version.minor, version.patch) < low.key[:3]:
            return False
        return self.before is None or version < emqx_version.parse(self.before)


class Hops(NamedTuple):
    """The hops of some editions that a defect is about."""

    editions: tuple[str, ...]
    source: Range
    target: Range


@dataclass(frozen=True)
class Condition:
    """What must be so on the node: in words, and as a function of its facts and the hop's target."""

    words: str
    holds: Callable[[NodeFacts, str], bool]


@dataclass(frozen=True)
class Defect:
    """A row of the table.

    ``hops``: where it strikes. ``condition``: on which nodes, None for all. ``severity``: ``error`` where clients,
    messages or the node itself are at stake. ``text``: what happens. ``fixed``: the versions that are free of it, empty
    if none is. ``remedy``: what to do. ``source``: where it is told. ``on_hops``: it is asked of the hops of a way;
    ``without_way``: also, or only, where no relup leads to the target, for it tells why.
    """

    id: str
    hops: tuple[Hops, ...]
    condition: Condition | None
    severity: Severity
    text: str
    fixed: str
    remedy: str
    source: str
    verified: Verified
    on_hops: bool = True
    without_way: bool = False


class Hit(NamedTuple):
    """A defect that strikes, and the hops of the way on which it does."""

    defect: Defect
    hops: tuple[tuple[str, str], ...]


def evaluate(facts: NodeFacts, running: str, target: str, path_versions: Sequence[str]) -> list[Hit]:
    """Return the defects that strike a node on its way, errors first, otherwise in the order of the table.

    ``path_versions``: the versions that are switched to, in order; empty where there is no way. A version that is none
    has no defects. An edition that is not known is taken for each.
    """
    stops = [running, *path_versions] if path_versions else [running, target]
    hits = []
    for defect in DEFECTS:
        if not (defect.on_hops if path_versions else defect.without_way):
            continue
        struck = tuple(hop for hop in itertools.pairwise(stops) if _strikes(defect, facts, *hop))
        if struck:
            hits.append(Hit(defect, struck))
    return sorted(hits, key=lambda hit: hit.defect.severity != "error")


def _strikes(defect: Defect, facts: NodeFacts, source: str, target: str) -> bool:
    start, end, edition = _version(source), _version(target), facts.get("edition")
    if start is None or end is None:
        return False
    meant = any(
        (edition is None or edition in hops.editions) and hops.source.holds(start) and hops.target.holds(end)
        for hops in defect.hops
    )
    return meant and (defect.condition is None or defect.condition.holds(facts, target))


def _version(text: str) -> emqx_version.Version | None:
    """The version; Enterprise 4.2 may put an ``e`` before it."""
    number = text.removeprefix("e")
    return emqx_version.parse(number) if emqx_version.is_valid(number) else None


# Conditions. What a node does not tell counts as present.


def _listens(*words: str) -> Callable[[NodeFacts, str], bool]:
    def holds(facts: NodeFacts, _target: str) -> bool:
        rows = facts.get("listeners")
        # Names like mqtt:ssl:external, mqtt:wss:8084, stomp:ssl.
        return rows is None or any(
            not set(words).isdisjoint(re.split(r"[^a-z0-9]+", str(row.get("protocol")).lower())) for row in rows
        )

    return holds


def _uses(word: str) -> Callable[[NodeFacts, str], bool]:
    def holds(facts: NodeFacts, _target: str) -> bool:
        plugins, modules = facts.get("plugins"), facts.get("modules")
        if any(row.get("active") and word in str(row.get("name")) for row in [*(plugins or ()), *(modules or ())]):
            return True
        # Enterprise has such things as modules, and always some: none means that the list could not be read.
        return plugins is None or (facts.get("edition") not in _OPEN and not modules)

    return holds


def _has_plugins(facts: NodeFacts, _target: str) -> bool:
    rows = facts.get("plugins")
    return rows is None or any(row.get("active") for row in rows)


def _never_ran(facts: NodeFacts, target: str) -> bool:
    rows = facts.get("releases") or []
    return not any(row.get("version") == target and row.get("status") != "unpacked" for row in rows)


def _built_for(os_word: str) -> Callable[[NodeFacts, str], bool]:
    return lambda facts, _target: words_of(facts).os == os_word


_TLS = Condition("an `ssl` or `wss` listener exists", _listens("ssl", "wss"))
_WEBSOCKET = Condition("a `ws` or `wss` listener exists", _listens("ws", "wss"))
_PLUGINS = Condition("a plugin is active", _has_plugins)
_JWT = Condition("JWT authentication is active", _uses("jwt"))
_STOMP = Condition("the STOMP gateway is active", _uses("stomp"))
_NEVER_RAN = Condition("the target has not run on this node before", _never_ran)

_4_2, _4_3, _4_4 = Range("4.2.0"), Range("4.3.0"), Range("4.4.0")

#: Every defect that is known. Enterprise 4.3 is numbered five behind the open source editions from its own
#: 4.3.8 on, which is their 4.3.13, by the dates and the contents of both change logs.
DEFECTS: tuple[Defect, ...] = (
    Defect(
        id="tls_new_connections",
        hops=(
            Hops(_ALL, Range("4.4.0", "4.4.7"), Range("4.4.7", "4.4.15")),
            Hops(_OPEN, Range("4.3.0", "4.3.18"), Range("4.3.18")),
            Hops(_EE, Range("4.3.0", "4.3.13"), Range("4.3.13", "4.3.19")),
        ),
        condition=_TLS,
        severity="error",
        text="all new TLS connections fail after the switch, while those that are there stay (esockd 5.8.7)",
        fixed="4.4.15 and e4.3.19, but in no open source 4.3",
        remedy="choose a fixed target, and no version between; a restart of the listener mends it and drops its "
        "clients",
        source="change logs of 4.4.15 and e4.3.19; emqx/emqx#9810; emqx/esockd#170",
        verified="changelog",
    ),
    Defect(
        id="tls_new_connections_back",
        hops=(
            Hops(_ALL, Range("4.4.7"), Range("4.4.0", "4.4.7")),
            Hops(_OPEN, Range("4.3.18"), Range("4.3.0", "4.3.18")),
            Hops(_EE, Range("4.3.13"), Range("4.3.0", "4.3.13")),
        ),
        condition=_TLS,
        severity="warning",
        text="new TLS connections fail after the downgrade on listeners that were started by the newer version: the "
        "older esockd does not know what they hand it",
        fixed="",
        remedy="be ready to restart the TLS listeners, which drops their clients",
        source="emqx/esockd: `ssl_upgrade` of src/esockd_transport.erl in 5.8.6 and 5.8.7",
        verified="source",
    ),
    Defect(
        id="plugin_settings",
        hops=(
            Hops(_ALL, Range("4.2.0", "4.2.2"), _4_2),
            Hops(_OPEN, Range("4.3.0", "4.3.10"), _4_3),
            Hops(_EE, Range("4.3.0", "4.3.6"), _4_3),
        ),
        condition=_PLUGINS,
        severity="error",
        text="settings of plugins are missing after the switch, although the plugins stay active: the script of the "
        "running version copies the old sys.config over the new one",
        fixed="4.2.2, 4.3.10 and e4.3.6 as the running version",
        remedy="bring the node to a fixed version with a restart, and hot from there on; after a switch a restart of "
        "the node brings the settings back",
        source="bin/install_upgrade.escript of emqx/emqx-rel 4.2.0 to 4.2.2 and emqx/emqx v4.3.9 and v4.3.10 (commit "
        "133609a040 of 2021-11-09, before e4.3.6)",
        verified="source",
    ),
    Defect(
        id="stomp_stop",
        hops=(Hops(_OPEN, Range("4.3.0", "4.3.9"), Range("4.3.9", "4.3.10")),),
        condition=_STOMP,
        severity="error",
        text="the STOMP gateway's listener cannot be stopped during the switch, and the switch fails",
        fixed="4.3.10",
        remedy="choose 4.3.10 or later as the target",
        source="change log of 4.3.10; emqx/emqx#6110",
        verified="changelog",
    ),
    Defect(
        id="jwt_hook",
        hops=(
            Hops(_ALL, Range("4.4.0", "4.4.4"), Range("4.4.4", "4.4.11")),
            Hops(_OPEN, Range("4.3.0", "4.3.15"), Range("4.3.15", "4.3.22")),
            Hops(_EE, Range("4.3.0", "4.3.10"), Range("4.3.10", "4.3.17")),
        ),
        condition=_JWT,
        severity="error",
        text="the JWT check that was registered before the switch calls a function that is gone: it is passed over, "
        "and clients are judged by what comes after it",
        fixed="4.3.22, e4.3.17 and 4.4.11",
        remedy="choose a fixed target, and no version between",
        source="change logs of 4.3.22, e4.3.17 and 4.4.11; emqx/emqx#9144",
        verified="changelog",
    ),
    Defect(
        id="jwt_keys",
        hops=(
            Hops(_EE, Range("4.4.0", "4.4.4"), Range("4.4.11")),
            Hops(_EE, Range("4.3.0", "4.3.10"), Range("4.3.17")),
        ),
        condition=_JWT,
        severity="warning",
        text="what holds the JWT keys is restarted during the switch, and clients that connect at that moment may be "
        "refused",
        fixed="",
        remedy="see that clients try again",
        source="change logs of e4.4.11 and e4.3.17",
        verified="changelog",
    ),
    Defect(
        id="retained_messages",
        hops=(Hops(_EE, Range("4.4.0", "4.4.17"), Range("4.4.17", "4.4.19")),),
        condition=None,
        severity="error",
        text="the retainer fails after the switch, and retained messages may not be sent to new subscribers",
        fixed="e4.4.19",
        remedy="choose 4.4.19 or later as the target, and no version between",
        source="change log of e4.4.19; emqx_retainer_sup of emqx/emqx v4.4.18 and v4.4.19",
        verified="changelog",
    ),
    Defect(
        id="websocket_restart",
        hops=(Hops(_EE, Range("4.2.0", "4.2.2"), Range("4.2.1")),),
        condition=_WEBSOCKET,
        severity="error",
        text="the WebSocket listener is restarted by the switch, and its clients are disconnected",
        fixed="e4.2.2 as the running version",
        remedy="accept it at a time when these clients may reconnect",
        source="change log of e4.2.11",
        verified="changelog",
    ),
    Defect(
        id="hot_upgrade_unavailable",
        hops=(Hops(_OPEN, _4_2, Range("4.2.0", "4.2.14")),),
        condition=None,
        severity="error",
        text="EMQX calls the hot upgrade to this version unavailable",
        fixed="4.2.14",
        remedy="choose 4.2.14 as the target; accept it for a package of your own that was tried",
        source="change log of 4.2.14",
        verified="changelog",
        without_way=True,
    ),
    Defect(
        id="hot_configuration",
        hops=(Hops(_EE, _4_2, Range("4.2.0", "4.2.12")),),
        condition=None,
        severity="warning",
        text="the hot configuration can no longer be used after the switch",
        fixed="e4.2.12",
        remedy="choose 4.2.12 or later as the target",
        source="change log of e4.2.12",
        verified="changelog",
    ),
    Defect(
        id="module_status",
        hops=(Hops(_EE, _4_3, Range("4.3.0", "4.3.14")), Hops(_EE, _4_4, Range("4.4.0", "4.4.8"))),
        condition=None,
        severity="warning",
        text="the next restart resets which modules are on",
        fixed="e4.3.14 and e4.4.8",
        remedy="choose a fixed target, or look at the modules after each restart",
        source="change logs of e4.3.14 and e4.4.8",
        verified="changelog",
    ),
    Defect(
        id="license_update",
        hops=(Hops(_EE, _4_3, Range("4.3.10", "4.3.12")), Hops(_EE, _4_4, Range("4.4.4", "4.4.6"))),
        condition=None,
        severity="warning",
        text="a license that is updated after the switch has no effect",
        fixed="e4.3.12 and e4.4.6",
        remedy="choose a fixed target, or update the license before",
        source="change logs of e4.3.12 and e4.4.6",
        verified="changelog",
    ),
    Defect(
        id="influxdb_action",
        hops=(Hops(_EE, Range("4.3.0", "4.3.11"), Range("4.3.11", "4.3.18")),),
        condition=None,
        severity="warning",
        text="the rule action that writes to InfluxDB fails after the switch",
        fixed="e4.3.18",
        remedy="choose 4.3.18 or later as the target if rules write to InfluxDB",
        source="change log of e4.3.18",
        verified="changelog",
    ),
    Defect(
        id="kafka_mechanism",
        hops=(Hops(_EE, Range("4.4.0", "4.4.6"), Range("4.4.6", "4.4.11")),),
        condition=None,
        severity="warning",
        text="the default authentication of Kafka resources changes from PLAIN to NONE",
        fixed="e4.4.11",
        remedy="choose 4.4.11 or later as the target if there are Kafka resources",
        source="change log of e4.4.11",
        verified="changelog",
    ),
    Defect(
        id="resource_alarms",
        hops=(Hops(_EE, _4_3, Range("4.3.0", "4.3.18")), Hops(_EE, _4_4, Range("4.4.0", "4.4.12"))),
        condition=None,
        severity="warning",
        text="false alarms that a resource is down may be raised after the switch, and stay",
        fixed="e4.3.18 and e4.4.12",
        remedy="choose a fixed target, or clear the alarms by hand",
        source="change logs of e4.3.18 and e4.4.12",
        verified="changelog",
    ),
    Defect(
        id="oracle_resources",
        hops=(Hops(_EE, _4_4, Range("4.4.0", "4.4.15")),),
        condition=None,
        severity="warning",
        text="Oracle resources do not connect by themselves after the switch",
        fixed="e4.4.15",
        remedy="choose 4.4.15 or later as the target, or reconnect them by hand",
        source="change log of e4.4.15; emqx/emqx#9862",
        verified="changelog",
    ),
    Defect(
        id="schema_registry",
        hops=(Hops(_EE, _4_4, Range("4.4.0", "4.4.16")),),
        condition=None,
        severity="warning",
        text="the plugin emqx_schema_registry is not started by the switch, and rules that decode by a schema fail",
        fixed="e4.4.16",
        remedy="choose 4.4.16 or later as the target, or start the plugin by hand",
        source="change log of e4.4.16",
        verified="changelog",
    ),
    Defect(
        id="rabbitmq_actions",
        hops=(Hops(_EE, _4_4, Range("4.4.19", "4.4.20")),),
        condition=None,
        severity="warning",
        text="rules send no more messages to RabbitMQ after the switch",
        fixed="e4.4.20",
        remedy="choose another target if rules send to RabbitMQ",
        source="change log of e4.4.20",
        verified="changelog",
    ),
    Defect(
        id="rabbitmq_tdengine",
        hops=(Hops(_EE, _4_4, Range("4.4.0", "4.4.22")),),
        condition=None,
        severity="warning",
        text="RabbitMQ resources may become unavailable, and messages to TDengine fail, after the switch",
        fixed="e4.4.22",
        remedy="choose 4.4.22 or later as the target if there are such resources",
        source="change log of e4.4.22",
        verified="changelog",
    ),
    Defect(
        id="pulsar_back",
        hops=(Hops(_EE, Range("4.4.11"), Range("4.4.0", "4.4.11")),),
        condition=None,
        severity="warning",
        text="after the downgrade, messages that are sent to Pulsar and waited for may count as timed out, and the "
        "clients that sent them are disconnected",
        fixed="",
        remedy="stop the rules that send to Pulsar before the downgrade",
        source="change log of e4.4.11",
        verified="changelog",
    ),
    Defect(
        id="uninstall_old",
        hops=(
            Hops(_ALL, _4_4, Range("4.4.0", "4.4.6")),
            Hops(_OPEN, _4_3, Range("4.3.0", "4.3.17")),
            Hops(_EE, _4_3, Range("4.3.0", "4.3.12")),
        ),
        condition=None,
        severity="warning",
        text="once the version that the node was installed with is uninstalled, the node cannot start if the new one "
        "brought another Erlang runtime",
        fixed="4.3.17, e4.3.12 and 4.4.6",
        remedy="keep the old version installed until the node runs a fixed one",
        source="change logs of 4.3.17, e4.3.12 and 4.4.6; emqx/emqx#8473",
        verified="changelog",
    ),
    Defect(
        id="emqx_vars_back",
        hops=(
            Hops(_ALL, Range("4.4.6"), Range("4.4.0", "4.4.6")),
            Hops(_OPEN, Range("4.3.17"), Range("4.3.0", "4.3.17")),
            Hops(_EE, Range("4.3.12"), Range("4.3.0", "4.3.12")),
        ),
        condition=_NEVER_RAN,
        severity="error",
        text="on a node that was installed with the newer version, no emqx command works once the downgrade is made "
        "permanent: bin/emqx of the older one takes ERTS_PATH and REL_NAME from releases/emqx_vars, where they are not",
        fixed="",
        remedy="accept it only where releases/emqx_vars sets both",
        source="bin/emqx and data/emqx_vars of emqx/emqx v4.4.5 and v4.4.6; emqx/emqx#8473",
        verified="source",
    ),
    Defect(
        id="second_try",
        hops=(
            Hops(_ALL, _4_2, _4_2),
            Hops(_ALL, Range("4.4.0", "4.4.2"), _4_4),
            Hops(_OPEN, Range("4.3.0", "4.3.13"), _4_3),
            Hops(_EE, Range("4.3.0", "4.3.8"), _4_3),
        ),
        condition=None,
        severity="warning",
        text="after a switch that failed, the next one to the same version may stop with {error,eexist}",
        fixed="4.3.13, e4.3.8 and 4.4.2 as the running version",
        remedy="remove the link emqx.tar.gz from the version's folder in releases/ before the next try",
        source="change logs of 4.3.13, e4.3.8 and 4.4.2; emqx/emqx#7121",
        verified="changelog",
    ),
    Defect(
        id="edge_no_relup",
        hops=(Hops(("edge",), _4_2, _4_2), Hops(("edge",), _4_3, _4_3), Hops(("edge",), _4_4, _4_4)),
        condition=None,
        severity="warning",
        text="EMQX publishes no relup for the edge edition",
        fixed="",
        remedy="upgrade with a restart",
        source="scripts/relup-base-vsns.sh of emqx/emqx v4.4.19 (commit ba46be717b)",
        verified="source",
        on_hops=False,
        without_way=True,
    ),
    *(
        Defect(
            id=f"first_for_{word.replace('.', '_')}",
            hops=(Hops(_ALL, _4_4, Range(first, following)),),
            condition=Condition(f"the node's packages are those for {word}", _built_for(word)),
            severity="warning",
            text=f"{first} is the first package for {word}, and has no relup",
            fixed=following,
            remedy=f"go to {first} with a restart, and hot from there on",
            source="`build` and scripts/relup-base-vsns.escript of emqx/emqx v4.4.19",
            verified="source",
            on_hops=False,
            without_way=True,
        )
        for word, first, following in (
            ("debian11", "4.4.2", "4.4.3"),
            ("amzn2", "4.4.12", "4.4.13"),
            ("ubuntu22.04", "4.4.15", "4.4.16"),
        )
    ),
)
