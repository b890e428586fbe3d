# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a run: one HTML file without script and without anything from elsewhere, from the document of the run.

Pure functions. Every text of the document is shown as text: hidden characters are made visible, the rest is escaped by
the template engine, and no text of the document becomes a name of a class, an identifier or an address.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import waves
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_charts as charts
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import page_text as text
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.document import SCHEMA

#: Above so many nodes the clusters are folded, but for those in which something failed.
FOLDED_ABOVE = 50
#: Up to so many nodes all of them are open.
_OPEN_UP_TO = 4
_NAMES_SHOWN = 20
_FILES = Path(__file__).parent / "page_files"
#: Class, sign and word of each verdict.
_VERDICTS = {
    "succeeded": ("good", "✓", "Succeeded"),
    "failed": ("bad", "✕", "Failed"),
    "running": ("busy", "…", "Not ended"),
    "refused": ("warn", "!", "Refused"),
}
#: Class, sign and words of each result.
_RESULTS = {
    "committed": ("good", "✓", "committed"),
    "nothing_to_do": ("calm", "○", "nothing to do"),
    "uncommitted": ("warn", "!", "uncommitted"),
    "not_committed": ("warn", "!", "not committed"),
    "staged": ("busy", "…", "staged"),
    "in_turn": ("busy", "…", "in its turn"),
    "not_begun": ("calm", "○", "not begun"),
    "rolled_back": ("warn", "↩", "went back"),
    "failed_rolled_back": ("bad", "✕", "failed and went back"),
    "failed": ("bad", "✕", "failed"),
}
_FAILED = ("failed", "failed_rolled_back")
#: Results after which nothing is left to do on a node in this run.
_DONE = ("committed", "nothing_to_do", "uncommitted", "staged", "rolled_back")
_PURPOSES = {"upgrade": "Hot upgrade", "commit": "Commit", "rollback": "Roll-back"}
#: What is told of a node before and after its turn.
_COMPARED = ("running", "permanent", "pid", "supervisor", "connections", "sessions", "subscriptions", "uptime_seconds")


class PageError(ValueError):
    """No page can be made of this."""


def of_run(document: Any) -> str:
    """The page of a document ``emqx.fleet/report/1``. Raises PageError where it is none."""
    if not isinstance(document, Mapping):
        raise PageError(
            f"A page is made of a report, which is a dictionary with schema {SCHEMA}; this is {_kind(document)}. Of a "
            "text, such as the contents of a file, make one with the filter from_json."
        )
    if document.get("schema") != SCHEMA:
        raise PageError(
            f"A page is made of a report with schema {SCHEMA}; this one has "
            f"{text.cleaned(str(document.get('schema')))}. Use the release of emqx.fleet that wrote it."
        )
    try:
        return render("report.html.j2", run=_Run(text.cleaned(document)))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, jinja2.UndefinedError) as error:
        raise PageError(
            f"The report has schema {SCHEMA} and is not built like it ({type(error).__name__}: {error}), so no page "
            "can be made of it. Hand it over as a run wrote it."
        ) from error


def render(name: str, **values: Any) -> str:
    """A template of a page, filled in."""
    return _environment().get_template(name).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=text.number, duration=text.duration, moment=text.moment, size=text.size, counted=text.counted
    )
    found.globals.update(nothing=text.NOTHING)
    return found


class _Run:
    """What the template asks of a document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.axis = charts.axis_of(document)
        self.folded = len(document["nodes"]) > FOLDED_ABOVE
        self.verdict = _verdict(document["verdict"])
        self.jobs = [_job(job) for job in document["jobs"]]
        purpose, target = _PURPOSES.get(document["purpose"] or "", "Run"), document["target"]
        towards = "of" if document["purpose"] == "commit" else "to"
        self.heading = f"{purpose} {towards} {target}" if target else f"{purpose} of emqx.fleet"
        self.title = f"{self.verdict['word']}: {self.heading}"
        self.nodes = [
            self._node(place, host, node)
            for place, (host, node) in enumerate(
                sorted(document["nodes"].items(), key=lambda item: waves.natural(item[0])), 1
            )
        ]
        self.clusters = self._clusters()
        self.known_clusters = sum(1 for cluster in self.clusters if cluster["name"])
        self.results = [
            {"count": count, **_result(name)}
            for name, count in sorted(document["totals"]["results"].items(), key=_rank)
        ]
        self.meaning = self._meaning()
        self.attention = [node for node in self.nodes if node["result"]["kind"] == "bad"]
        self.obstacles = [_obstacle(row) for row in (document["plan"] or {}).get("obstacles") or ()]
        self.packages = self._packages()
        self.probe = _probe(document["probe"])
        self.switch = self._switch()
        # A sum over nodes of which none can tell is no zero.
        self.telling = sum(1 for node in self.nodes if node["cut_off"] is not None)
        self.settings = [
            (name.replace("_", " "), _value(value)) for name, value in document["settings"].items() if name != "commit"
        ]
        self.by = _by(document["jobs"][-1])

    def _clusters(self) -> list[dict[str, Any]]:
        """The nodes by cluster, and those of no known one. Where they are folded, those with failures come first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes:
            found.setdefault(node["cluster"] or "", []).append(node)
        names = sorted(found, key=lambda name: (not name, waves.natural(name)))
        clusters = [_cluster(place, name, found[name]) for place, name in enumerate(names, 1)]
        return sorted(clusters, key=lambda cluster: not cluster["open"]) if self.folded else clusters

    def _node(self, place: int, host: str, node: Mapping[str, Any]) -> dict[str, Any]:
        result = _result(node["result"])
        pids = (node["pid_before"], node["pid_after"])
        accounting = node["accounting"]
        probe = ((self.document["probe"] or {}).get("nodes") or {}).get(host)
        return {
            **node,
            "place": place,
            "host": host,
            "result": result,
            "open": result["kind"] == "bad" or len(self.document["nodes"]) <= _OPEN_UP_TO,
            "same_process": None if None in pids else pids[0] == pids[1],
            "cut_off": accounting["cut_off"] if accounting else None,
            "survivors": accounting["survivors"] if accounting else None,
            "timeline": charts.timeline(node["timeline"], self.axis),
            "commands": [entry for entry in node["timeline"] if entry["command"]],
            "seen": charts.clients(node["clients"], self.axis),
            "accounting": _accounting(accounting) if accounting else None,
            "failed_checks": [check for check in node["checks"] if not check["passed"]],
            "passed_checks": [check for check in node["checks"] if check["passed"]],
            "failed": bool(node["message"]),
            "states": _states(node["state_before"], node["state_after"]),
            "probe": _probed(probe) if probe else None,
        }

    def _meaning(self) -> str:
        """What the verdict means, in a sentence."""
        document = self.document
        count, verdict = len(self.nodes), document["verdict"]
        parts = [f"{text.number(row['count'])} {row['word']}" for row in self.results]
        what = f"{text.counted(count, 'node')}: {', '.join(parts)}." if parts else ""
        if verdict == "succeeded":
            rest = "" if document["final"] else " A later job of the run has more to do."
            kept = sum(row["count"] for row in self.results if row["word"] == "uncommitted")
            if kept:
                rest += " What is not committed is not permanent: a restart brings the version before back."
            return f"All that was planned was done, and every reservation was given up. {what}{rest}"
        if verdict == "failed":
            undone = any(row["name"] not in _DONE for row in self.results)
            said = (
                "Not everything that was planned was done."
                if undone
                else "The nodes are done, and the run is not well."
            )
            return f"{said} {what}"
        if verdict == "running":
            return (
                f"The run had not come to its end at {text.moment(document['written'])} UTC. If it does not work any "
                f"more, it was killed or cut off, and this is how far it was known to be. {what}"
            )
        if verdict == "refused":
            earlier = " What earlier jobs of the run did is told here as well." if len(document["jobs"]) > 1 else ""
            return f"Refused before anything was touched: something stands in the way, which is named below.{earlier}"
        return f"This page does not know the verdict {verdict}."

    def _packages(self) -> list[dict[str, Any]]:
        """The packages of all nodes, each once, with how many nodes got it."""
        found: dict[tuple[Any, ...], int] = {}
        for node in self.nodes:
            for hop in node["hops"]:
                key = (hop["version"], hop["package"], hop["sha256"], hop["size"])
                found[key] = found.get(key, 0) + 1
        names = ("version", "package", "sha256", "size")
        rows = [{**dict(zip(names, key, strict=True)), "nodes": count} for key, count in found.items()]
        return sorted(rows, key=lambda row: (waves.natural(str(row["version"])), str(row["package"])))

    def _switch(self) -> dict[str, Any] | None:
        """How long switches took: the longest, on which host, and the middle one; None where there was none."""
        times = sorted(
            (node["switch_seconds"], node["host"]) for node in self.nodes if node["switch_seconds"] is not None
        )
        if not times:
            return None
        return {"longest": times[-1][0], "host": times[-1][1], "median": times[len(times) // 2][0], "count": len(times)}


def _value(value: Any) -> str:
    """The value of a setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or text.NOTHING
    return text.NOTHING if value in (None, "") else str(value)


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    return {**job, "badge": _verdict(job["verdict"])}


def _verdict(name: str) -> dict[str, str]:
    kind, sign, word = _VERDICTS.get(name, ("warn", "?", "Unknown"))
    return {"kind": kind, "sign": sign, "word": word}


def _by(job: Mapping[str, Any]) -> str:
    """Who ran a job, and where."""
    awx, controller = job["awx"] or {}, job["controller"]
    user = awx.get("launched_by") or controller["user"]
    return f"{user}, AWX job {awx['job_id']}" if awx.get("job_id") else f"{user} on {controller['host']}"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _result(name: str) -> dict[str, Any]:
    kind, sign, word = _RESULTS.get(name, ("warn", "?", name.replace("_", " ")))
    return {"name": name if name in _RESULTS else "other", "kind": kind, "sign": sign, "word": word}


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    """Failures first, then what is left to do, then what is done."""
    order = ("bad", "warn", "busy", "good", "calm")
    return order.index(_result(item[0])["kind"]), item[0]


def _cluster(place: int, name: str, nodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node["result"]["name"]] = counts.get(node["result"]["name"], 0) + 1
    cut = [node["cut_off"] for node in nodes if node["cut_off"] is not None]
    return {
        "place": place,
        "name": name,
        "nodes": nodes,
        "results": [{"count": count, **_result(result)} for result, count in sorted(counts.items(), key=_rank)],
        "cut_off": sum(cut) if cut else None,
        "open": any(node["result"]["kind"] == "bad" for node in nodes),
    }


def _obstacle(row: Mapping[str, Any]) -> dict[str, Any]:
    names = list(row["hosts"])
    more = max(0, int(row["count"]) - len(names[:_NAMES_SHOWN]))
    if row["accepted"]:
        kind, sign, word = "warn", "!", "overridden"
    elif row["severity"] == "error":
        kind, sign, word = "bad", "✕", "obstacle"
    else:
        kind, sign, word = "calm", "○", "warning"
    return {**row, "names": names[:_NAMES_SHOWN], "more": more, "kind": kind, "sign": sign, "word": word}


def _accounting(told: Mapping[str, Any]) -> dict[str, Any]:
    """The accounting of a node with its sentences; ``off``: by how many clients its numbers do not add up."""
    numbers = [told[name] for name in ("before", "came", "left", "cut_off", "now")]
    off = None
    if None not in numbers:
        before, came, left, cut_off, now = numbers
        off = before + came - left - cut_off - now
    return {
        **told,
        "off": off,
        "words": _words(told),
        "members": [{"node": name, **row} for name, row in sorted(told["members"].items())],
    }


def _words(told: Mapping[str, Any]) -> list[str]:
    """What the numbers of an accounting are by, and what they say of each client."""
    over = "" if told["seconds"] is None else f" over {text.duration(told['seconds'])}"
    if told["told_by"] != "books":
        reason = f" ({told['reason']})" if told["reason"] else ""
        return [f"The node cannot tell who was cut off{reason}, so the numbers before and after were compared{over}."]
    found = [f"By the node's own counters{over}."]
    if told["survivors"] is not None:
        found.append(f"{text.number(told['survivors'])} of those before are still there on the same connection.")
    if told["replaced"]:
        found.append(f"{text.number(told['replaced'])} were replaced: a new connection took their session.")
    expected = told["expected_left"]
    if expected and None not in expected.values():
        measured, seconds = text.duration(expected["measured_seconds"]), text.duration(expected["seconds"])
        found.append(
            f"{expected['measured_left']:g} left in the {measured} before the switch; by that rate up to "
            f"{expected['at_most']:g} may leave in {seconds}, and {expected['left']:g} did."
        )
    return found


def _states(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a node told of itself before and after, as rows; empty where neither is known."""
    if not before and not after:
        return []
    one, two = before or {}, after or {}
    return [
        {"name": name.replace("_", " "), "before": one.get(name), "after": two.get(name)}
        for name in _COMPARED
        if one.get(name) is not None or two.get(name) is not None
    ]


def _probed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "disconnected": len(row["disconnects"])}


def _probe(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The figures of the client probe by node, and their sum; of what is longest or slowest, the worst."""
    if not told:
        return None
    rows = [{"host": host, **_probed(row)} for host, row in sorted(told["nodes"].items())]
    summed = ("clients", "connected", "disconnected", "sent", "acked", "received", "lost", "duplicated", "reordered")
    total: dict[str, Any] = {"host": None, "address": None}
    total.update({name: sum(row[name] or 0 for row in rows) for name in summed})
    total["longest_gap_ms"] = _worst(row["longest_gap_ms"] for row in rows)
    total["round_trip_ms"] = {
        when: {"p99": _worst(row["round_trip_ms"][when]["p99"] for row in rows)}
        for when in ("before", "during", "after")
    }
    return {**told, "rows": rows, "total": total}


def _worst(values: Iterable[float | None]) -> float | None:
    """The greatest of those that are known."""
    return max((value for value in values if value is not None), default=None)
