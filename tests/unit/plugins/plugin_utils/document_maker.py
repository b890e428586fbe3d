# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes documents of runs as they come out, with figures like those of real ones; the same ones each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.show import document
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.document import rfc3339

OLD, NEW = "4.4.18", "4.4.19"
#: 2026-11-28 01:02:03.250 UTC
START = 1_795_827_723.25
SHA = "4b1d6f0e0a6a1c64f1a4f9a5c1f0f7c40d8c9e2b7a53d6a0c2f1e8d7b6a59483"
PACKAGE = f"emqx-{NEW}-otp25.2.3-1-debian12-amd64.zip"
COMMAND = (
    f"ansible-playbook -i inventory emqx.fleet.upgrade -e emqx_upgrade_version={NEW} -e emqx_upgrade_packages=packages"
)
CHECKS = (
    ("node_running", "running"),
    ("version", NEW),
    ("boots", OLD),
    ("boot_consistent", "consistent"),
    ("same_process", "1402"),
    ("same_supervisor", "<0.1862.0>"),
    ("cluster_complete", "3 members"),
    ("cluster_versions", "as before"),
    ("cluster_clients", "none missing"),
    ("clients", "none cut off"),
    ("sessions", "none missing"),
    ("subscriptions", "none missing"),
    ("listeners", "5"),
    ("listeners_answer", "all"),
    ("plugins", "2 active"),
    ("settings_kept", "none changed"),
    ("no_new_alarms", "none"),
    ("node_log", "no errors"),
)


def small() -> dict[str, Any]:
    """A run that went well on one cluster of three, whose clients came and went, with a gate overridden and a probe."""
    nodes = {f"broker{place}.example.com": _switched(place, wave=place) for place in (1, 2, 3)}
    obstacles = [
        _obstacle("clock", "warning", "Its clock is 3.1 s ahead of the controller's.", ["broker2.example.com"], True),
        _obstacle("package_manager", "warning", "dpkg may undo the upgrade; hold the package.", sorted(nodes), False),
    ]
    return _whole(nodes, plan=_plan(nodes, obstacles, ["clock"]), seconds=146.4, probe=_probe(nodes))


def failed() -> dict[str, Any]:
    """A run in which the second node lost clients and went back, and the third was not begun."""
    nodes = {f"broker{place}.example.com": _switched(place, wave=place, commits=False) for place in (1, 2)}
    nodes["broker1.example.com"]["result"] = "not_committed"
    nodes["broker2.example.com"] = _gone_back(nodes["broker2.example.com"])
    nodes["broker3.example.com"] = _idle(3, "not_begun", wave=3)
    message = (
        "broker2.example.com failed in phase switch: The clients were 117 before and 5 of them were cut off. "
        f"broker2.example.com went back to {OLD}. These nodes were not touched: broker3.example.com. To go on, mend "
        f"what is named here and run it again, which skips the nodes that are done: {COMMAND}"
    )
    return _whole(nodes, plan=_plan(nodes), seconds=64.8, verdict="failed", message=message)


def large(clusters: int = 167, count: int = 500) -> dict[str, Any]:
    """A run of a large fleet, in two jobs with three hours between them, with a failed node and one never reached."""
    nodes = {}
    for place in range(1, count + 1):
        cluster = (place - 1) % clusters + 1
        nodes[f"broker{place:03}"] = _switched(place, wave=(place - 1) // clusters + 1, cluster=f"emqx@c{cluster:03}n1")
    nodes["broker042"] = _gone_back(nodes["broker042"])
    last = f"broker{count:03}"
    nodes[last] = _unreached(nodes[last])
    found = _whole(
        nodes,
        plan=_plan(nodes),
        seconds=412.7,
        verdict="failed",
        message="broker042 failed in phase switch: It lost clients.",
    )
    earlier = {**found["jobs"][0], "phases": ["plan", "stage"], "seconds": 95.2, "verdict": "succeeded"}
    earlier.update(started=rfc3339(START - 11_000), finished=rfc3339(START - 10_904.8))
    awx = {
        "job_id": "4712",
        "job_template": "EMQX: switch",
        "workflow_job_id": "4700",
        "launched_by": "anna",
        "project_revision": "8c1f0e2",
    }
    found["jobs"] = [
        {**earlier, "awx": {**awx, "job_id": "4711", "job_template": "EMQX: stage"}},
        {**found["jobs"][0], "awx": awx},
    ]
    return {**found, "started": earlier["started"], "seconds": round(95.2 + 412.7, 3)}


def refused() -> dict[str, Any]:
    """A run that was refused before there was a plan."""
    message = "Nothing was touched, because there is 1 problem with the settings:\n- emqx_upgrade_version is missing."
    found = _whole({}, plan=None, seconds=0.4, verdict="refused", message=message)
    return {**found, "run_id": None, "purpose": None, "target": None, "commit": None, "phases": [], "final": False}


def blocked() -> dict[str, Any]:
    """A run that was refused by obstacles, one of them a host that could not be reached."""
    nodes = {f"broker{place}": _idle(place, "not_begun", wave=None) for place in (1, 2)}
    nodes["broker2"] = _unreached(nodes["broker2"])
    obstacles = [
        _obstacle("readable", "error", "The node could not be read: no route to host.", ["broker2"], False),
        _obstacle("space", "error", "There are 12 MiB free and 180 MiB are needed.", ["broker1"], False),
    ]
    plan = {**_plan(nodes, obstacles), "feasible": False, "waves": []}
    return _whole(nodes, plan=plan, seconds=1.9, verdict="refused", message="2 obstacles stand in the way.")


def running() -> dict[str, Any]:
    """A run that is under way: the first node is switched, the second has its turn."""
    nodes = {"broker1": _switched(1, wave=1, commits=False), "broker2": _idle(2, "in_turn", wave=2)}
    nodes["broker1"]["result"] = "not_committed"
    message = "The run has not come to its end."
    return _whole(nodes, plan=_plan(nodes), seconds=31.0, verdict="running", message=message)


def rollback() -> dict[str, Any]:
    """A roll-back as a run of its own, of nodes that cannot tell who was cut off."""
    nodes = {}
    for place in (1, 2):
        node = _switched(place, wave=None, commits=False)
        node.update(action="commit", result="rolled_back", to=OLD, running=OLD, permanent=OLD, boots=OLD)
        node["from"] = NEW
        node["accounting"] = _by_counts(120, 118)
        nodes[f"broker{place}"] = node
    return {**_whole(nodes, plan=_plan(nodes), seconds=22.5), "purpose": "rollback", "target": OLD}


ALL = {
    "small": small,
    "failed": failed,
    "large": large,
    "refused": refused,
    "blocked": blocked,
    "running": running,
    "rollback": rollback,
}


def _whole(
    nodes: Mapping[str, dict[str, Any]],
    plan: Mapping[str, Any] | None,
    seconds: float,
    verdict: str = "succeeded",
    message: str = "",
    probe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    ended = verdict != "running"
    end = rfc3339(START + seconds)
    job = {
        "started": rfc3339(START),
        "finished": end if ended else None,
        "seconds": seconds,
        "phases": ["plan", "stage", "switch", "commit"],
        "verdict": verdict,
        "command": COMMAND,
        "controller": {"host": "control1", "user": "anna", "process": "4711@88123"},
        "awx": None,
        "versions": {"collection": "0.1.0", "ansible_core": "2.19.14", "python": "3.11.2"},
    }
    return {
        "schema": document.SCHEMA,
        "run_id": "20261128T010203Z-5f2c9a1e",
        "purpose": "upgrade",
        "target": NEW,
        "verdict": verdict,
        "ok": verdict == "succeeded",
        "ended": ended,
        "final": ended,
        "message": message,
        "table": [],
        "commit": "fleet",
        "phases": job["phases"],
        "started": job["started"],
        "finished": job["finished"],
        "seconds": seconds,
        "written": end,
        "jobs": [job],
        "settings": {
            "canary": 1,
            "max_per_cluster": 1,
            "client_loss_tolerance": 0,
            "failure_budget": "0",
            "on_failure": "rollback_node",
            "commit": "fleet",
            "soak_seconds": 60,
        },
        "plan": plan,
        "probe": probe,
        "nodes": dict(nodes),
        "totals": document.totals(nodes),
    }


def _switched(place: int, wave: int | None, commits: bool = True, cluster: str = "emqx@10.0.3.11") -> dict[str, Any]:
    """A node that was switched in its wave, and watched and committed with the others."""
    host = 10.3 + 14.5 * ((wave or place) - 1) + 0.05 * (place % 7)
    stage, switch, soak, commit = START + 2.1, START + host, START + 58, START + 121
    before = 110 + place % 37
    came, left = 9 + place % 5, 7 + place % 4
    now = before + came - left
    rows = [
        _entry(stage, "stage", "turn", None, 6.42 + 0.07 * (place % 9)),
        _entry(stage + 2.9, "stage", "unpack", NEW, 2.31, ["emqx", "unpack", NEW], [f"Unpacked successfully: {NEW!r}"]),
        _entry(stage + 5.3, "stage", "clean_up", NEW, 0.04),
        _entry(switch, "switch", "turn", None, 8.61),
        _entry(
            switch + 0.4,
            "switch",
            "switch",
            NEW,
            0.31 + 0.01 * (place % 8),
            ["emqx", "upgrade", "--no-permanent", NEW],
            [f"Release {NEW} is already unpacked, now installing.", f"Installed Release: {NEW}"],
            now,
        ),
        _entry(soak, "soak", "turn", None, 60.4),
    ]
    if commits:
        rows += [
            _entry(commit, "commit", "turn", None, 4.1),
            _entry(
                commit + 0.6,
                "commit",
                "commit",
                NEW,
                1.28,
                ["emqx", "install", NEW],
                ["Made release permanent: 4.4.19"],
            ),
        ]
    drift = (0, 1, 1, 0, -2, -2, -1, 0, 2)
    times = [stage, switch + 0.2, switch + 0.9, switch + 5.2, *(soak + 10 * step for step in range(6)), commit + 3]
    seen = [
        {
            "at": rfc3339(at),
            "phase": "switch" if at < soak else "soak",
            "connected": now if at == times[-1] else before + drift[(step + place) % len(drift)],
            "cut_off": None if at <= switch + 0.2 else 0,
        }
        for step, at in enumerate(times)
    ]
    boots = NEW if commits else OLD
    return {
        "node": f"emqx@10.0.3.{10 + place}",
        "cluster": cluster,
        "action": "upgrade",
        "result": "committed" if commits else "uncommitted",
        "reached": True,
        "from": OLD,
        "to": NEW,
        "running": NEW,
        "permanent": boots,
        "boots": boots,
        "switch_seconds": round(0.31 + 0.01 * (place % 8), 2),
        "clients_before": before,
        "clients_after": now,
        "pid_before": 1400 + place,
        "pid_after": 1400 + place,
        "wave": wave,
        "hops": [{"version": NEW, "package": PACKAGE, "sha256": SHA, "size": 48_311_220}],
        "way_back": [OLD],
        "gates": [],
        "gates_accepted": [],
        "actions": [{"action": "switch", "version": NEW, "seconds": 0.3}],
        "checks": [_check(name, actual) for name, actual in CHECKS],
        "phase": None,
        "task": None,
        "message": None,
        "failure_class": None,
        "output": [],
        "releases": [
            {"version": NEW, "status": "permanent" if commits else "current"},
            {"version": OLD, "status": "old"},
        ],
        "log": [],
        "crash_dumps": [],
        "rollback_message": None,
        "reservation": None,
        "timeline": rows,
        "clients": seen,
        "accounting": {
            "told_by": "books",
            "reason": None,
            "seconds": round(commit + 3 - switch, 1),
            "before": before,
            "now": now,
            "came": came,
            "left": left,
            "replaced": before + came - left - now,
            "cut_off": 0,
            "survivors": before - left,
            "expected_left": {
                "measured_seconds": 8.0,
                "measured_left": 1,
                "per_second": 0.125,
                "at_most": 11,
                "left": 1,
                "seconds": 1.5,
            },
            "burst": 0,
            "members": {
                f"emqx@10.0.3.{10 + other}": {
                    "told_by": "books",
                    "before": 110 + other,
                    "now": 111 + other,
                    "came": 3,
                    "left": 2,
                    "cut_off": 0,
                }
                for other in (1, 2, 3)
                if other != place and place <= 3
            },
        },
        "state_before": _state(OLD, OLD, 1400 + place, before, 86_400),
        "state_after": _state(NEW, boots, 1400 + place, now, 86_540),
    }


def _gone_back(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node after its clients were cut off and it went back."""
    lost = 5
    rows = [row for row in node["timeline"] if row["phase"] in ("stage", "switch")]
    end = document_time(rows[-1]["at"])
    rows += [
        _entry(end + 9, "rollback", "turn", None, 5.2),
        _entry(end + 9.4, "rollback", "switch", OLD, 0.36, ["emqx", "downgrade", OLD], ["Installed Release: 4.4.18"]),
        {
            **_entry(
                end + 12.1,
                "rollback",
                "uninstall",
                NEW,
                0.9,
                ["emqx", "uninstall", NEW],
                ["{error, in_use}", "escript: exception error"],
            ),
            "rc": 1,
        },
    ]
    before = node["clients_before"]
    seen = [dict(row) for row in node["clients"][:4]]
    counts = ((before, None), (before, None), (before - lost, lost), (before - lost + 1, lost))
    for row, (connected, cut_off) in zip(seen, counts, strict=True):
        row.update(connected=connected, cut_off=cut_off)
    books = {
        **node["accounting"],
        "now": before - lost + 1,
        "came": 1,
        "left": 0,
        "cut_off": lost,
        "survivors": before - lost,
        "burst": 0,
    }
    what = f"The clients were {before} before, and {lost} of them were cut off in the switch."
    return {
        **node,
        "result": "failed_rolled_back",
        "running": OLD,
        "permanent": OLD,
        "boots": OLD,
        "clients_after": before - lost + 1,
        "pid_after": node["pid_before"],
        "checks": [
            *node["checks"][:9],
            {
                **_check("clients", f"{lost} cut off"),
                "passed": False,
                "expected": "none cut off",
                "message": f"{lost} connections ended that the broker did not tell of.",
            },
            *node["checks"][10:],
        ],
        "phase": "switch",
        "task": f"Switch to {NEW}",
        "message": what,
        "failure_class": "changed",
        "output": ["Release 4.4.19 is already unpacked, now installing.", "Installed Release: 4.4.19"],
        "log": [
            "2026-11-28T01:02:29.104+00:00 [error] supervisor: esockd_connection_sup, reason: killed",
            "2026-11-28T01:02:29.106+00:00 [error] 5 connections ended by code purge",
        ],
        "crash_dumps": [
            {
                "path": "/var/log/emqx/crash.dump",
                "size": 1_244_160,
                "time": START + 27,
                "slogan": "Kernel pid terminated",
            }
        ],
        "timeline": rows,
        "clients": seen,
        "accounting": books,
        "state_after": _state(OLD, OLD, node["pid_before"], before - lost + 1, 86_480),
    }


def _idle(place: int, result: str, wave: int | None) -> dict[str, Any]:
    """A node with which nothing was done."""
    nothing = dict.fromkeys(
        (
            "running",
            "permanent",
            "boots",
            "switch_seconds",
            "clients_before",
            "clients_after",
            "pid_before",
            "pid_after",
        )
    )
    empty: dict[str, Any] = {name: [] for name in ("actions", "checks", "releases", "timeline", "clients")}
    states = {"accounting": None, "state_before": None, "state_after": None}
    return {**_switched(place, wave), **nothing, **empty, **states, "result": result}


def _unreached(node: Mapping[str, Any]) -> dict[str, Any]:
    """A host that never answered: nothing is known of its node."""
    unknown = dict.fromkeys(("node", "cluster", "action", "from", "wave"))
    return {**_idle(1, "not_begun", None), **unknown, "reached": False, "hops": [], "way_back": [], "to": node["to"]}


def _by_counts(before: int, now: int) -> dict[str, Any]:
    nothing = dict.fromkeys(("came", "left", "replaced", "cut_off", "survivors", "expected_left", "burst"))
    reason = "EMQX 4.2 does not count connections that ended"
    return {
        "told_by": "counts",
        "reason": reason,
        "seconds": 12.0,
        "before": before,
        "now": now,
        **nothing,
        "members": {},
    }


def _entry(
    at: float,
    phase: str,
    action: str,
    version: str | None,
    seconds: float,
    command: Sequence[str] = (),
    output: Sequence[str] = (),
    clients: int | None = None,
) -> dict[str, Any]:
    return {
        "at": rfc3339(at),
        "phase": phase,
        "action": action,
        "version": version,
        "seconds": round(seconds, 3),
        "clients": clients,
        "command": list(command),
        "rc": 0 if command else None,
        "output": list(output),
    }


def document_time(text: str) -> float:
    """Seconds since 1970 of a time of a document."""
    return datetime.fromisoformat(text).timestamp()


def _check(name: str, actual: str) -> dict[str, Any]:
    return {"name": name, "passed": True, "expected": actual, "actual": actual, "message": ""}


def _state(running: str, permanent: str, pid: int, clients: int, uptime: int) -> dict[str, Any]:
    return {
        "state": "running",
        "running": running,
        "permanent": permanent,
        "pid": pid,
        "supervisor": "<0.1862.0>",
        "uptime_seconds": uptime,
        "connections": clients,
        "sessions": clients + 4,
        "subscriptions": 3 * clients,
    }


def _obstacle(gate: str, severity: str, message: str, hosts: Sequence[str], accepted: bool) -> dict[str, Any]:
    return {
        "gate": gate,
        "severity": severity,
        "accepted": accepted,
        "message": message,
        "hosts": list(hosts),
        "count": len(hosts),
    }


def _plan(
    nodes: Mapping[str, Mapping[str, Any]], obstacles: Sequence[Mapping[str, Any]] = (), accepted: Sequence[str] = ()
) -> dict[str, Any]:
    numbers = sorted(Counter(node["wave"] for node in nodes.values() if node["wave"]))
    return {
        "feasible": True,
        "waves": [
            {
                "number": number,
                "kind": "canary" if number == 1 else "wave",
                "hosts": [host for host, node in nodes.items() if node["wave"] == number],
            }
            for number in numbers
        ],
        "obstacles": [dict(row) for row in obstacles],
        "warnings": [],
        "accepted": list(accepted),
    }


def _probe(nodes: Mapping[str, Any]) -> dict[str, Any]:
    rows = {}
    for place, host in enumerate(nodes, 1):
        rows[host] = {
            "address": f"10.0.3.{10 + place}:1883",
            "clients": 4,
            "connected": 4,
            "disconnects": [],
            "sent": 5840 + place,
            "acked": 5840 + place,
            "received": 5840 + place,
            "lost": 0,
            "duplicated": 0,
            "reordered": 0,
            "longest_gap_ms": 212 + 9 * place,
            "longest_gap_at": START + 11 + place,
            "round_trip_ms": {
                when: {"median": median, "p99": p99, "max": p99 * 1.4, "count": 1900}
                for when, median, p99 in (("before", 0.8, 2.1), ("during", 0.9, 9.4), ("after", 0.8, 2.2))
            },
        }
    return {"id": "probe-1", "started": START + 4, "ended": START + 140, "error": None, "clients": 12, "nodes": rows}
