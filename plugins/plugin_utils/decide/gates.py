# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates: what must hold before anything on a node is touched.

Each gate is a pure function of the node's facts, the package and the context, and is registered by its name, under
which a user may accept its failure (``emqx_upgrade_accept``). Gates whose failure could only destroy something cannot
be accepted. A gate's docstring and registration are also its row in ``docs/gates.md`` (``scripts/gates_doc.py``).

A message names no host and no figure that differs from node to node, so that equal obstacles of a thousand nodes make
one line; what differs stands in ``actual``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ansible_collections.emqx.fleet.plugins.module_utils import contention
from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.module_utils.package_name import is_linux
from ansible_collections.emqx.fleet.plugins.module_utils.space import space_needed
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import (
    listed,
    misses,
    otp_major,
    version_key,
    words_of,
)
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.hops import Path, find_path, find_way_back
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.known_defects import Hit, Severity
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.known_defects import evaluate as find_defects
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import GateResult, NodeFacts, Package, PackageSource

Action = Literal["upgrade", "commit", "none"]
#: When a gate is asked: for what a node has to do, or once its release is unpacked.
Asked = Literal["upgrade", "commit", "none", "staged"]

#: The first version that upgrades hot, by EMQX's own documentation.
OLDEST_VERSION = "4.2.0"
#: What the modules need on a node.
OLDEST_PYTHON = (3, 6)
#: Seconds that the clocks of a cluster may be apart, unless told otherwise.
DEFAULT_MAX_CLOCK_SKEW = 10.0

_MIB = 1024 * 1024


class GateError(ValueError):
    """Gates were named that are not there, or whose failure cannot be accepted."""


@dataclass(frozen=True)
class ClusterView:
    """What a whole cluster shows, for the gates that one node's facts do not decide.

    ``label``: its name in the plan. ``versions``: running version by node name, as far as known. ``stopped``: members
    that do not run. ``outside``: members that no host of the run is. ``explained``: versions that nodes of the cluster
    run because of this very upgrade. ``duplicates``: node names that more than one host goes by. ``clock_spread``:
    seconds between the clocks that are furthest apart, None where they were not compared.
    """

    label: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    explained: frozenset[str] = frozenset()
    duplicates: frozenset[str] = frozenset()
    clock_spread: float | None = None


@dataclass(frozen=True)
class Context:
    """What the gates know besides the node and the package.

    ``target``: the version the node shall run. ``path``: the way there; worked out from the package alone if None.
    ``package_reason``: why there is no package. ``run_id``: this run, whose own reservation is no obstacle.
    ``dry_check``: what the node's own check of the unpacked release said (``passed``, ``message``), None before.
    ``package_source``: who brings packages to the nodes.
    """

    target: str
    path: Path | None = None
    package_reason: str = ""
    allow_downgrade: bool = False
    accept: frozenset[str] = frozenset()
    run_id: str | None = None
    cluster: ClusterView | None = None
    max_clock_skew: float = DEFAULT_MAX_CLOCK_SKEW
    dry_check: Mapping[str, Any] | None = None
    package_source: PackageSource = "controller"


class Outcome(NamedTuple):
    """What a gate found. ``message`` is empty when it passed; ``severity`` is the gate's where it is None."""

    passed: bool
    expected: str
    actual: str
    message: str = ""
    severity: Severity | None = None


class _Case(NamedTuple):
    """What a gate is given."""

    facts: NodeFacts
    package: Package | None
    context: Context
    path: Path
    cluster: ClusterView


Check = Callable[[_Case], Outcome | None]


@dataclass(frozen=True)
class Gate:
    """A gate: its check returns None where it has nothing to say, for example for want of a package.

    ``actions``: for which of a node's actions it is asked; ``staged`` is no action of a node but later than the plan,
    once its release is unpacked (:func:`evaluate_dry_check`).
    """

    name: str
    severity: Severity
    acceptable: bool
    actions: frozenset[Asked]
    summary: str
    way_out: str
    check: Check


#: Every gate by name, in the order in which they are asked and reported.
GATES: dict[str, Gate] = {}

_ALWAYS: tuple[Asked, ...] = ("upgrade", "commit", "none")
_CHANGE: tuple[Asked, ...] = ("upgrade", "commit")
_UPGRADE: tuple[Asked, ...] = ("upgrade",)


def _gate(
    name: str,
    *,
    severity: Severity = "error",
    acceptable: bool = False,
    actions: tuple[Asked, ...] = _UPGRADE,
    way_out: str,
) -> Callable[[Check], Check]:
    """Register a gate; its docstring is the summary."""

    def register(check: Check) -> Check:
        summary = " ".join((check.__doc__ or "").split())
        GATES[name] = Gate(name, severity, acceptable, frozenset(actions), summary, way_out, check)
        return check

    return register


def evaluate(
    facts: NodeFacts, package: Package | None, context: Context, *, failed_only: bool = False
) -> list[GateResult]:
    """Return the result of every gate that is asked for what the node has to do.

    ``package``: the one of the target version, or None. ``failed_only`` leaves out what passed, which a plan of
    thousands of nodes does.
    """
    action = action_for(facts, context.target)
    path = context.path
    if path is None:
        running = facts.get("running")
        # One package and one node: its relup covers the running version, or that version's own leads back to it.
        path = (
            find_path(str(running), context.target, [*release_left(facts), package]) if package and running else Path()
        )
    case = _Case(facts, package, context, path, context.cluster or view_of(facts))
    results: list[GateResult] = []
    for gate in GATES.values():
        if action not in gate.actions:
            continue
        outcome = gate.check(case)
        if outcome is None or (failed_only and outcome.passed):
            continue
        results.append(_result(gate, outcome, context.accept))
    return results


def evaluate_dry_check(found: Mapping[str, Any] | None, accept: Iterable[str] = ()) -> GateResult:
    """The gate ``dry_check``, which is asked of a node once its release is unpacked, and before any node is switched.

    ``found``: what ``emqx_release`` returned as ``dry_check`` (``version``, ``passed``, ``message``); None or empty
    where nothing is unpacked, which passes. ``accept``: the names that the user accepts, all of them. A failure that
    was not accepted refuses the node (:func:`refused`); ``message`` is for the user.
    """
    context = Context(target="", accept=frozenset(accept), dry_check=found or None)
    gate = GATES["dry_check"]
    outcome = gate.check(_Case({}, None, context, Path(), ClusterView()))
    return _result(gate, outcome or _passed("nothing found", "not asked, for nothing is unpacked"), context.accept)


def _result(gate: Gate, outcome: Outcome, accept: frozenset[str]) -> GateResult:
    return {
        "name": gate.name,
        "passed": outcome.passed,
        "severity": outcome.severity or gate.severity,
        "accepted": not outcome.passed and gate.acceptable and gate.name in accept,
        "expected": outcome.expected,
        "actual": outcome.actual,
        "message": outcome.message,
    }


def refused(results: Iterable[GateResult]) -> bool:
    """Whether an error was found that the user did not accept."""
    return any(not row["passed"] and row["severity"] == "error" and not row["accepted"] for row in results)


def check_accept(names: Iterable[str]) -> frozenset[str]:
    """Return the names of gates that a user wants to accept; raise :class:`GateError` for any that cannot be."""
    wanted = frozenset(names)
    unknown = sorted(wanted - GATES.keys())
    if unknown:
        raise GateError(f"there is no gate {listed(unknown)}; the gates are {', '.join(GATES)}")
    never = sorted(name for name in wanted if not GATES[name].acceptable)
    if never:
        possible = ", ".join(gate.name for gate in GATES.values() if gate.acceptable)
        raise GateError(f"the gate {listed(never)} cannot be accepted, for it guards the node; these can: {possible}")
    return wanted


def action_for(facts: NodeFacts, target: str) -> Action:
    """Return what a node has to do to run ``target`` for good.

    ``none``: it runs it, it is permanent and a restart would boot it. ``commit``: it runs it, but one of the other two
    is missing. Stale patches are not healed by a commit and have a gate of their own.
    """
    if facts.get("state") != "running" or facts.get("running") != target:
        return "upgrade"
    if facts.get("permanent") != target or _boot_problems(facts) or _boots(facts) != target:
        return "commit"
    return "none"


def view_of(facts: NodeFacts) -> ClusterView:
    """Return the cluster as the one node sees it."""
    cluster = facts.get("cluster") or {}
    members = cluster.get("members") or []
    return ClusterView(
        versions={str(row["node"]): str(row["version"]) for row in members if row.get("version")},
        stopped=tuple(sorted(cluster.get("stopped") or ())),
    )


def _boots(facts: NodeFacts) -> str | None:
    version = (facts.get("boot") or {}).get("version")
    return None if version is None else str(version)


def _boot_problems(facts: NodeFacts) -> list[Mapping[str, Any]]:
    problems = (facts.get("boot") or {}).get("problems") or []
    return [row for row in problems if row.get("code") != "stale_patch"]


def _status(facts: NodeFacts, version: str) -> str | None:
    for row in facts.get("releases") or []:
        if row.get("version") == version:
            return str(row.get("status"))
    return None


def release_left(facts: NodeFacts) -> list[Package]:
    """Return the release that runs as far as a downgrade asks for it: by where its relup on the node leads back to."""
    running = str(facts.get("running"))
    back = (facts.get("ways_back") or {}).get(running)
    return [{"version": running, "relup": {"upgrade_from": [], "downgrade_to": back}}] if back else []


def _to_unpack(case: _Case) -> list[Package]:
    """Return the packages of the way whose releases are not on the node yet."""
    # Where the switch unpacks, a release that is unpacked already is uninstalled first.
    gone = ("unpacked",) if case.facts.get("unpacks_in_switch") else ()
    known = {row.get("version") for row in case.facts.get("releases") or [] if row.get("status") not in gone}
    way = case.path.packages or ((case.package,) if case.package else ())
    return [package for package in way if package.get("name") and package.get("version") not in known]


def _passed(expected: str, actual: object) -> Outcome:
    return Outcome(True, expected, str(actual))


# The node itself


@_gate("node_running", actions=_ALWAYS, way_out="Start the broker, or wait until it answers.")
def _node_running(case: _Case) -> Outcome:
    """The broker runs and answers."""
    state = case.facts.get("state")
    if state == "running" and case.facts.get("running"):
        return _passed("running", state)
    reasons = {
        "stopped": "the broker is stopped, and only a running one can be upgraded hot; start it",
        "unreachable": "the broker's process is there but does not answer; find out why, then start again",
    }
    said = case.facts.get("msg")
    unread = f"the node could not be read: {str(said).strip().rstrip('.')}" if said else "nothing is known of the node"
    message = reasons.get(str(state), f"{unread}; make its host reachable and start again")
    torn = _boot_problems(case.facts)
    if str(state) in reasons and torn and all(row.get("repairable") for row in torn):
        message = (
            f"the broker is {state}, and its files are those of a commit that was cut short: emqx_release with state: "
            f"permanent and version: {case.facts.get('permanent')} completes it, then start again"
        )
    return Outcome(False, "running", str(state), message)


@_gate("node_python", actions=_ALWAYS, way_out="Set `ansible_python_interpreter` to a newer Python.")
def _node_python(case: _Case) -> Outcome:
    """The Python that Ansible uses on the node is 3.6 or later."""
    text = str((case.facts.get("host") or {}).get("python"))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    expected = ".".join(map(str, OLDEST_PYTHON)) + " or later"
    if len(numbers) == 2 and numbers >= OLDEST_PYTHON:
        return _passed(expected, text)
    found = "not known" if text == "None" else text
    message = f"Python on the node is {found}, {expected} is needed; set ansible_python_interpreter"
    return Outcome(False, expected, found, message)


@_gate("platform", actions=_ALWAYS, way_out="Upgrade such a node with a restart.")
def _platform(case: _Case) -> Outcome:
    """The machine runs Linux, and the packages are for it: only there EMQX's hot upgrade is supported."""
    system = (case.facts.get("host") or {}).get("system")
    if system != "Linux":
        return Outcome(False, "Linux", str(system), f"the machine runs {system}; EMQX upgrades hot on Linux only")
    for package in (case.package, *case.path.packages):
        word = package.get("os") if package else None
        if package and word and not is_linux(str(word)):
            message = f"{package.get('name')} is for {word}; use the package for Linux that is built for the node"
            return Outcome(False, "Linux", str(word), message)
    return _passed("Linux", system)


@_gate("container", acceptable=True, way_out="Replace the image, or accept it if the installation lies on a volume.")
def _container(case: _Case) -> Outcome:
    """The broker does not run in a container, where a restart brings the image back and the hot upgrade is lost."""
    found = case.facts.get("container")
    if not found:
        return _passed("no container", "no container")
    message = (
        f"the broker runs in a container ({found}): a restart of it brings back the version of its image, so a hot "
        "upgrade there is lost; replace the image, or accept this if the installation lies on a volume"
    )
    return Outcome(False, "no container", str(found), message)


@_gate("min_version", actions=_ALWAYS, way_out="Upgrade with a restart.")
def _min_version(case: _Case) -> Outcome | None:
    """The running version and the target are 4.2.0 or later and before 5: what this way of upgrading is for."""
    expected = f"{OLDEST_VERSION} or later, before 5.0.0"
    for version in (case.facts.get("running"), case.context.target):
        if version is None:
            continue
        if not emqx_version.is_valid(version):
            return Outcome(False, expected, str(version), f"{version} is not a version that the emqx command takes")
        parsed = emqx_version.parse(version)
        if parsed < emqx_version.parse(OLDEST_VERSION) or parsed.major > 4:
            message = f"{version} cannot be upgraded hot in this way, only {expected}; upgrade with a restart"
            return Outcome(False, expected, str(version), message)
    return _passed(expected, case.facts.get("running"))


@_gate(
    "duplicate_node", acceptable=True, actions=_CHANGE, way_out="List every node once; `--limit` to one of the hosts."
)
def _duplicate_node(case: _Case) -> Outcome | None:
    """No other host of the run is the same node: it would be switched twice at once."""
    node = case.facts.get("node")
    if not node:
        return None
    if node not in case.cluster.duplicates:
        return _passed("one host", "one host")
    return Outcome(
        False, "one host", "several hosts", f"several hosts of the inventory are the node {node}; leave one of them"
    )


@_gate("operation", actions=_CHANGE, way_out="Wait for it to end.")
def _operation(case: _Case) -> Outcome:
    """No operation of this collection works on the node: of two commands at once, one ends half-way."""
    holder = case.facts.get("operation")
    if not holder:
        return _passed("none", "none")
    actual = f"{holder.get('what')}, process {holder.get('pid')} of {holder.get('user')} since {holder.get('since')}"
    return Outcome(False, "none", actual, f"the operation '{holder.get('what')}' is at work; wait for it to end")


@_gate(
    "run_lock",
    actions=_CHANGE,
    way_out="Wait for that run or, if it is gone, until its lease is over; or `-e emqx_upgrade_take_over=RUN`.",
)
def _run_lock(case: _Case) -> Outcome:
    """No other fleet run has reserved the node with a lease that still holds."""
    run = case.facts.get("run")
    if not run or run.get("id") == case.context.run_id:
        return _passed("no other run", "no other run")
    clock = case.facts.get("clock")
    # Where the node's clock is not known, nothing is known to have gone by since.
    holder = contention.Member(None, (run.get("since") or 0.0) if clock is None else clock, run)
    if holder.seconds_left <= 0:
        return _passed("no other run", f"the lease of {run.get('who')} has run out")
    actual = f"the run {run.get('id')} of {run.get('who')}, for {holder.seconds_left:.0f} s more"
    # The words of the refusal by the node itself: who comes first has the same to do after either.
    message = f"{contention.describe([holder])}; {contention.remedy([holder])}"
    return Outcome(False, "no other run", actual, message)


# The package


@_gate("package", way_out="Put the package for these nodes into the catalogue, or leave only one that fits.")
def _package(case: _Case) -> Outcome:
    """There is a package of the target version, and only one that could be meant."""
    expected = f"a package of {case.context.target}"
    if case.package is not None:
        return _passed(expected, case.package.get("name") or "the release that is on the node")
    return Outcome(False, expected, "none", case.context.package_reason or f"there is no {expected[2:]}")


@_gate("package_sound", actions=_ALWAYS, way_out="Fetch the package again.")
def _package_sound(case: _Case) -> Outcome | None:
    """The packages of the whole way are sound: whole zips of EMQX, holding what their names say."""
    return _problems(case, lambda code: not code.startswith("checksum"), "sound")


@_gate("checksum", actions=_ALWAYS, way_out="Fetch the package again, or correct the checksum.")
def _checksum(case: _Case) -> Outcome | None:
    """The packages have the SHA-256 that was given, or that stands in the `.sha256` file beside them."""
    return _problems(case, lambda code: code.startswith("checksum"), "as given")


@_gate(
    "package_source",
    way_out="Give their URLs in `emqx_upgrade_packages`, or `-e emqx_upgrade_package_source=controller`.",
)
def _package_source(case: _Case) -> Outcome | None:
    """Where nodes fetch their packages themselves, the packages of the whole way have URLs."""
    if case.package is None or case.context.package_source != "node":
        return None
    packages = {id(row): row for row in (case.package, *case.path.packages)}.values()
    local = [str(row["name"]) for row in packages if row.get("name") and not row.get("url")]
    if not local:
        return _passed("packages with URLs", "packages with URLs")
    message = (
        f"nodes are to fetch their packages themselves, and {listed(local)} {'has' if len(local) == 1 else 'have'} no "
        "URL but only a file on the controller; give URLs with #sha256= in emqx_upgrade_packages, or have the "
        "controller send the files (emqx_upgrade_package_source=controller)"
    )
    return Outcome(False, "packages with URLs", "files on the controller", message)


def _problems(case: _Case, mine: Callable[[str], bool], expected: str) -> Outcome | None:
    if case.package is None:
        return None
    for package in {id(row): row for row in (case.package, *case.path.packages)}.values():
        found = [row for row in package.get("problems") or [] if mine(str(row.get("code")))]
        if found:
            said = "; ".join(str(row.get("message")) for row in found[:3])
            codes = listed(sorted({str(row.get("code")) for row in found}))
            return Outcome(False, expected, codes, f"{package.get('name')} must not be used: {said}")
    return _passed(expected, expected)


def _word_gate(case: _Case, index: str, label: str, way_out: str) -> Outcome | None:
    """Compare one word of the node with that of the packages."""
    if case.package is None:
        return None
    words = words_of(case.facts)
    wanted = getattr(words, index)
    if wanted is None:
        return Outcome(False, f"a known {label}", "not known", f"the node's {label} could not be found out; {way_out}")
    for package in (case.package, *case.path.packages):
        if index in misses(words, package):
            built = otp_major(package.get("otp")) if index == "otp" else package.get(index)
            message = f"the node has {label} {wanted}, but {package.get('name')} is for {label} {built}; {way_out}"
            return Outcome(False, str(wanted), str(built), message)
    return _passed(str(wanted), case.package.get(index) or "not said")


@_gate("edition", actions=_ALWAYS, way_out="Use the package of the node's own edition.")
def _edition(case: _Case) -> Outcome | None:
    """The package is of the node's edition; the command itself does not look."""
    return _word_gate(case, "edition", "edition", "use the package of the node's own edition")


@_gate("otp", actions=_ALWAYS, way_out="Use the package that is built for the node's OTP.")
def _otp(case: _Case) -> Outcome | None:
    """The package is built for the same first number of Erlang/OTP as runs: 24.1.5 to 24.3.4 is allowed."""
    return _word_gate(case, "otp", "OTP", "use the package built for the node's OTP")


@_gate("os", acceptable=True, actions=_ALWAYS, way_out="Use the package that is built for the node's operating system.")
def _os(case: _Case) -> Outcome | None:
    """The package is built for the operating system that the running release was built for."""
    return _word_gate(case, "os", "system", "use the package built for the node's system")


@_gate("arch", actions=_ALWAYS, way_out="Use the package that is built for the node's architecture.")
def _arch(case: _Case) -> Outcome | None:
    """The package is built for the node's architecture."""
    return _word_gate(case, "arch", "architecture", "use the package built for the node's architecture")


# The way


def _ends(case: _Case) -> tuple[emqx_version.Version, emqx_version.Version] | None:
    running, target = case.facts.get("running"), case.context.target
    if not emqx_version.is_valid(running) or not emqx_version.is_valid(target):
        return None
    return emqx_version.parse(str(running)), emqx_version.parse(target)


@_gate("series", way_out="Upgrade to another series with a restart.")
def _series(case: _Case) -> Outcome | None:
    """Both versions are of one series x.y, or of 4.4 and 4.5: for any other the command crashes."""
    ends = _ends(case)
    if ends is None:
        return None
    running, target = ends
    expected = f"{running.major}.{running.minor}"
    if emqx_version.same_series(running, target):
        return _passed(expected, target)
    message = f"there is no hot upgrade from {running} to {target}, of another series; upgrade with a restart"
    return Outcome(False, expected, str(target), message)


@_gate("direction", way_out="Set `emqx_upgrade_allow_downgrade` if a downgrade is meant.")
def _direction(case: _Case) -> Outcome | None:
    """The target is newer, unless a downgrade was allowed: it is safe only right after the upgrade."""
    ends = _ends(case)
    if ends is None:
        return None
    running, target = ends
    if target >= running or case.context.allow_downgrade:
        return _passed(f"{running} or later", target)
    message = f"{target} is older than the running {running}; allow the downgrade if it is meant"
    return Outcome(False, f"{running} or later", str(target), message)


@_gate("relup", way_out="Add the package of the version that the message names, or upgrade with a restart.")
def _relup(case: _Case) -> Outcome | None:
    """The relups of the packages at hand lead from the running version to the target."""
    ends = _ends(case)
    if ends is None or case.package is None or not emqx_version.same_series(*ends):
        return None
    expected = f"a way from {ends[0]} to {ends[1]}"
    if case.path.found:
        return _passed(expected, " -> ".join((str(ends[0]), *case.path.versions)))
    reason = case.path.reason or f"the relup does not cover {ends[0]}"
    return Outcome(False, expected, "none", reason)


@_gate("way_back", severity="warning", acceptable=True, way_out="Know that the way back is a restart.")
def _way_back(case: _Case) -> Outcome | None:
    """The relups also lead back, so that the run can be rolled back without a restart."""
    ends = _ends(case)
    if ends is None or not case.path.found or ends[1] <= ends[0]:
        return None
    running = str(ends[0])
    back = find_way_back(running, case.path)
    if back:
        return _passed(f"back to {running}", " -> ".join((case.path.versions[-1], *back)))
    message = (
        f"the relup of {case.path.packages[-1].get('name')} does not lead back to {running}: after a failure only a "
        "restart of the node brings the old version back"
    )
    return Outcome(False, f"back to {running}", "no way back", message)


@_gate("relup_restarts", way_out="Use a package whose relup does not, go over another version, or take a restart.")
def _relup_restarts(case: _Case) -> Outcome | None:
    """No relup on the way restarts the Erlang virtual machine, which would disconnect every client."""
    if not case.path.found:
        return None
    here = str(case.facts.get("running"))
    left = {str(package["version"]): package for package in (*release_left(case.facts), *case.path.packages)}
    found = []
    for package in case.path.packages:
        there = str(package["version"])
        # A downgrade follows the relup of the release that is left.
        upwards = version_key(there) > version_key(here)
        asked = package if upwards else left.get(here, {})
        relup = asked.get("relup") or {}
        if (here in (relup.get("restarts") or ())) if upwards else (there in (relup.get("restarts_down") or ())):
            found.append(f"{here} -> {there} ({asked.get('name') or 'on the node'})")
        here = there
    if not found:
        return _passed("no restart", "none found")
    message = (
        f"a relup restarts the Erlang virtual machine on the way, which disconnects every client: {listed(found)}; use "
        "a package whose relup does not, go over another version, or upgrade with a restart"
    )
    return Outcome(False, "no restart", listed(found), message)


@_gate(
    "known_defects",
    acceptable=True,
    way_out="Choose a target that is fixed, go over another version, or accept what the message tells.",
)
def _known_defects(case: _Case) -> Outcome | None:
    """None of the [known defects](known-defects.md) of EMQX is met on the way; the less harmful are a warning."""
    ends = _ends(case)
    words = words_of(case.facts)
    # Another edition's defects say nothing; the gate `edition` refuses the node.
    strange = words.edition is None or (case.package is not None and "edition" in misses(words, case.package))
    if ends is None or strange or not emqx_version.same_series(*ends):
        return None
    hits = find_defects(case.facts, str(ends[0]), str(ends[1]), case.path.versions)
    if not hits:
        return _passed("none", "none")
    met = (f"{hit.defect.id} on {', '.join(' -> '.join(hop) for hop in hit.hops)}" for hit in hits)
    message = f"EMQX has known defects on this way: {'; '.join(map(_told, hits))}"
    # Errors come first.
    severity = hits[0].defect.severity
    if severity == "error":
        message += "; accept known_defects if that may happen"
    return Outcome(False, "none", "; ".join(met), message, severity)


def _told(hit: Hit) -> str:
    defect = hit.defect
    fixed = f"fixed in {defect.fixed}" if defect.fixed else "not fixed"
    return f"{defect.id}: {defect.text} ({fixed}; {defect.remedy})"


@_gate(
    "dry_check",
    acceptable=True,
    actions=("staged",),
    way_out="Remove the unpacked release and stage a package that fits, or accept it: the switch checks once more.",
)
def _dry_check(case: _Case) -> Outcome | None:
    """Once the release is unpacked, the node's own release handler finds nothing against it."""
    found = case.context.dry_check
    if found is None:
        return None
    if found.get("passed"):
        return _passed("nothing found", "nothing found")
    message = (
        f"the node's own check refuses {found.get('version') or 'the release'}: {found.get('message') or 'no reason'}; "
        "remove it (emqx_release with state: absent) and stage a package that fits, or accept dry_check if it should "
        "be tried all the same, which the emqx command checks once more"
    )
    return Outcome(False, "nothing found", "refused", message)


@_gate(
    "unpack_in_switch",
    severity="warning",
    acceptable=True,
    way_out="Know that the switch takes longer there, and that what it unpacks was checked by the package alone.",
)
def _unpack_in_switch(case: _Case) -> Outcome | None:
    """The node's release can be unpacked and checked before the switch: by 4.3.13-4.3.22 and 4.4.2-4.4.14 it cannot."""
    expected = "unpacked before the switch"
    if not case.facts.get("unpacks_in_switch"):
        return _passed(expected, expected)
    if not _to_unpack(case):
        return None
    message = (
        "the node's upgrade script unpacks in the switch itself: its own dry check is not to be had before, and the "
        "switch takes the time of the unpack as well; only the package is staged"
    )
    return Outcome(False, expected, "unpacked in the switch", message)


# The state of the node


@_gate(
    "release_table", acceptable=True, way_out="Make the version that runs permanent, or go back, before the next one."
)
def _release_table(case: _Case) -> Outcome:
    """No version runs without being permanent, other than one that a fleet run brought or that is gone back from."""
    expected = "nothing current but not permanent"
    left = [
        str(row.get("version"))
        for row in case.facts.get("releases") or []
        if row.get("status") == "current" and row.get("version") != case.context.target
    ]
    if not left:
        return _passed(expected, "settled")
    ends = _ends(case)
    if ends is not None and ends[1] < ends[0]:
        return _passed(expected, f"{listed(left)}, which is gone back from")
    if case.facts.get("run"):
        return _passed(expected, f"{listed(left)}, of a fleet run that goes on")
    message = f"{listed(left)} runs and is not permanent; commit it or go back first, with the playbooks for that"
    return Outcome(False, expected, listed(left), message)


@_gate(
    "boot_consistent",
    acceptable=True,
    way_out="Run `emqx_release` with `state: permanent` for the running version, which repairs it.",
)
def _boot_consistent(case: _Case) -> Outcome:
    """A restart would boot what the release table calls permanent, from whole files."""
    found = _boot_problems(case.facts)
    if not found:
        return _passed("consistent", "consistent")
    said = " ".join(str(row.get("message")) for row in found[:3])
    repairable = all(row.get("repairable") for row in found)
    way_out = "emqx_release with state: permanent repairs it" if repairable else "repair the installation first"
    codes = listed(sorted({str(row.get("code")) for row in found}))
    return Outcome(False, "consistent", codes, f"a restart would not boot what it should: {said} {way_out}")


@_gate("patches", acceptable=True, actions=_CHANGE, way_out="Remove the patches that the target makes needless.")
def _patches(case: _Case) -> Outcome:
    """There are no patches in `data/patches`: a later restart would load them over the new release."""
    modules = sorted(str(row.get("module")) for row in case.facts.get("patches") or [])
    if not modules:
        return _passed("none", "none")
    message = (
        f"data/patches holds {listed(modules)}, which the next restart loads over {case.context.target}; remove what "
        "the new version makes needless"
    )
    return Outcome(False, "none", listed(modules), message)


@_gate("stray_packages", way_out="Move the other packages out of `releases/`.")
def _stray_packages(case: _Case) -> Outcome | None:
    """The command would find no zip in `releases/` but ours: it takes every `emqx-*VERSION*.zip`, and two crash it."""
    stray = []
    for package in _to_unpack(case):
        version = str(package.get("version"))
        for row in case.facts.get("packages") or []:
            name = str(row.get("name"))
            matches = name.startswith("emqx-") and name.endswith(".zip") and version in name[5:-4]
            ours = name == package.get("name") and row.get("size") == package.get("size")
            if matches and not ours:
                stray.append(name)
    if not stray:
        return _passed("none but ours", "none")
    names = listed(sorted(set(stray)))
    message = f"the command for {case.context.target} would also take {names} in releases/; move it away"
    return Outcome(False, "none but ours", names, message)


@_gate("permissions", actions=_CHANGE, way_out="Give the directories and files back to the broker's user.")
def _permissions(case: _Case) -> Outcome:
    """The broker's user can write to what an upgrade writes to."""
    paths = sorted(str(path) for path in case.facts.get("unwritable") or [])
    if not paths:
        return _passed("writable", "writable")
    message = f"the broker's user cannot write to {listed(paths)}; give it the right to"
    return Outcome(False, "writable", listed(paths), message)


@_gate(
    "package_manager",
    severity="warning",
    acceptable=True,
    actions=_CHANGE,
    way_out="Hold the package: `apt-mark hold emqx`, `dnf versionlock add emqx`.",
)
def _package_manager(case: _Case) -> Outcome:
    """No package that could be upgraded or reinstalled, which resets what boots, owns the installation."""
    owner = case.facts.get("package_manager")
    if not owner:
        return _passed("none, or held", "none")
    name, package = str(owner.get("name")), str(owner.get("package"))
    actual = f"{package} {owner.get('version')} of {name}"
    if owner.get("held"):
        return _passed("none, or held", f"{actual}, held")
    hold = {
        "dpkg": f"apt-mark hold {package}",
        "rpm": f"dnf versionlock add {package} (or yum versionlock add, zypper addlock)",
    }
    message = (
        f"the installation belongs to the package {package} of {name}, whose next upgrade or reinstall resets what a "
        f"restart boots; hold it: {hold.get(name, 'lock its version')}"
    )
    return Outcome(False, "none, or held", actual, message)


@_gate("space", acceptable=True, way_out="Make room; the `cleanup` playbook removes what earlier upgrades left.")
def _space(case: _Case) -> Outcome | None:
    """There is room for the packages, the tree in `/tmp` and the release; a full disk leaves a torn one behind."""
    packages = _to_unpack(case)
    root = str(case.facts.get("root_dir"))
    free: Mapping[str, Any] = case.facts.get("free_bytes") or {}
    if not packages:
        return None
    needed = _needed_by_path(packages, root, [path for path in free if path != root])
    shared = _file_systems(case.facts, free)
    short: list[str] = []
    shown: list[str] = []
    for paths in shared:
        want = sum(needed.get(path, 0) for path in paths)
        have = min(int(free[path]) for path in paths)
        shown.append(f"{have // _MIB} MiB in {' and '.join(paths)}")
        if have < want:
            short.append(f"{-(-want // _MIB)} MiB in {' and '.join(paths)}")
    if root not in free:
        return Outcome(False, "room", "not known", "the free space of the node is not known; read its facts again")
    if not short:
        return _passed("room", "; ".join(shown))
    message = (
        f"{listed(str(row.get('name')) for row in packages)} needs {'; '.join(short)}, and there is less; make room"
    )
    return Outcome(False, "; ".join(short), "; ".join(shown), message)


def _needed_by_path(packages: list[Package], root: str, temporary: list[str]) -> dict[str, int]:
    """Return bytes by path. Hops are unpacked one after the other; what an unpack leaves in `/tmp` is removed."""
    needed = {root: 0} | dict.fromkeys(temporary, 0)
    for package in packages:
        sizes = {"size": int(package.get("size") or 0), "unpacked_size": int(package.get("unpacked_size") or 0)}
        # The staged zip itself also lies below the root directory.
        needed[root] += sizes["size"]
        for path in temporary:
            both = space_needed(sizes, root, path)
            needed[path] = max(needed[path], both[path])
        needed[root] += space_needed(sizes, root, "")[root]
    return needed


def _file_systems(facts: NodeFacts, free: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the paths that share a file system: of the same device, or without that known, of equal free space."""
    devices: Mapping[str, Any] = facts.get("devices") or {}
    groups: dict[Any, list[str]] = {}
    for path in sorted(free):
        groups.setdefault(devices.get(path, ("free", free[path])), []).append(path)
    return [tuple(paths) for paths in groups.values()]


@_gate("alarms", severity="warning", acceptable=True, actions=_CHANGE, way_out="See what the alarms say first.")
def _alarms(case: _Case) -> Outcome:
    """No alarm is active on the node."""
    names = sorted(str(name) for name in case.facts.get("alarms") or [])
    if not names:
        return _passed("none", "none")
    return Outcome(False, "none", listed(names), f"alarms are active: {listed(names)}; see to them first")


# The cluster


@_gate("cluster_complete", acceptable=True, way_out="Start the stopped members, or remove them from the cluster.")
def _cluster_complete(case: _Case) -> Outcome:
    """Every member of the cluster runs."""
    if not case.cluster.stopped:
        return _passed("all members run", "all members run")
    names = listed(case.cluster.stopped)
    message = f"the cluster misses {names}; start it, or make it leave the cluster"
    return Outcome(False, "all members run", names, message)


@_gate("cluster_mixed", acceptable=True, way_out="Bring the cluster to one version first.")
def _cluster_mixed(case: _Case) -> Outcome:
    """The cluster runs one version, besides those that this run brings: the target and the hops to it."""
    explained = case.cluster.explained | {case.context.target} | set(case.path.versions)
    found = sorted(set(case.cluster.versions.values()) - explained)
    if len(found) <= 1:
        return _passed("one version", found[0] if found else case.context.target)
    message = f"the cluster runs {listed(found)} side by side, which this run does not explain; bring it to one version"
    return Outcome(False, "one version", listed(found), message)


@_gate(
    "cluster_in_run", severity="warning", acceptable=True, actions=_CHANGE, way_out="Run without `--limit` afterwards."
)
def _cluster_in_run(case: _Case) -> Outcome:
    """Every member of the cluster is a host of the run, so that the cluster ends with one version."""
    if not case.cluster.outside:
        return _passed("all members", "all members")
    names = listed(case.cluster.outside)
    message = (
        f"{names} of the cluster is not in this run and keeps its version; run it for the whole cluster afterwards"
    )
    return Outcome(False, "all members", names, message)


@_gate("clock", severity="warning", acceptable=True, way_out="Let NTP set the clocks of the cluster's machines.")
def _clock(case: _Case) -> Outcome:
    """The clocks of the cluster are not further apart than the bound (10 seconds unless set)."""
    bound = f"at most {case.context.max_clock_skew:g} s apart"
    spread = case.cluster.clock_spread
    if spread is None or spread <= case.context.max_clock_skew:
        return _passed(bound, "not compared" if spread is None else f"{spread:.1f} s apart")
    return Outcome(False, bound, f"{spread:.1f} s apart", f"the clocks of the cluster are not {bound}; set them")
