# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules do on a node, as functions of their arguments, and several of them one after the other.

A node's turn is a handful of modules. Each of them by itself costs a connection and the start of a Python; in one
remote execution they cost that once. A row of calls ends with the first one that failed, or after which whoever asked
for them has to look first. What they returned is written down on the node as they go, so that a row that is asked for
again after a lost connection goes on where it was, and tells of what was done before as well. Where the connection is
lost, the call at work is done to its end, and no further one is begun: nobody would see what came of it.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils import (
    cluster_runs,
    contention,
    facts,
    package_files,
    readiness,
)
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, UNKNOWN, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.module_support import Node, open_node, valid_version
from ansible_collections.emqx.fleet.plugins.module_utils.release import ReleaseManager, Request
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir, write_atomically
from ansible_collections.emqx.fleet.plugins.module_utils.steps import ACCEPTABLE, STATES

Result = Dict[str, Any]
Arguments = Dict[str, Any]

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 1.0


def release(arguments: Arguments, check_mode: bool = False) -> Result:
    """Bring a release into a state, as ``emqx_release`` documents it. Raises FleetError."""
    given = {name: arguments[name] for name in Request._fields if arguments.get(name) is not None}
    request = Request(**dict(given, version=valid_version(arguments["version"]) or ""))
    node = _node(arguments)
    manager = ReleaseManager(node.installation, node.command, request)
    return manager.preview() if check_mode else manager.ensure()


def release_info(arguments: Arguments, check_mode: bool = False) -> Result:
    """Read the node, as ``emqx_release_info`` documents it. Raises FleetError."""
    del check_mode
    version = valid_version(arguments["check_version"])
    node = _node(arguments)
    found, _result = facts.collect(
        node.installation,
        node.command,
        node.state_dir,
        version,
        arguments["old_code"],
        arguments["verification"],
        arguments["survivors_of"],
    )
    return dict(found, changed=False)


def reservation(arguments: Arguments, check_mode: bool = False) -> Result:
    """Reserve the node or give it up, as ``emqx_reservation`` documents it. Raises FleetError."""
    claim = {name: arguments[name] for name in ("id", "who", "controller", "controller_process")}
    absent = arguments["state"] == "absent"
    node = _node(arguments)
    state_dir = node.state_dir
    if check_mode:
        held = state_dir.run()
        return dict(changed=(held is not None and contention.is_same(held, claim)) == absent, reservation=held)
    if absent:
        return dict(changed=state_dir.release(claim))
    wish = cluster_runs.Wish(
        claim,
        arguments["lease"],
        arguments["passed_over"],
        arguments["state"] == "parked",
        arguments["verify_cluster"],
        arguments["look_first"],
        arguments["renew"],
    )
    pid = node.installation.broker_pid()
    answer = cluster_runs.attempt(state_dir, wish, lambda: cluster_runs.read(node.command, pid, state_dir))
    if answer["verdict"] == cluster_runs.HELD:
        return answer
    raise FleetError(answer.pop("message"), hint=answer.pop("hint"), details=answer)


def bring_packages(arguments: Arguments, check_mode: bool = False) -> Result:
    """Have packages lie in the node's folder for them; see :func:`package_files.bring`. Raises FleetError."""
    if check_mode:
        return {"changed": False, "missing": []}
    state_dir = _node(arguments).state_dir
    return package_files.bring(state_dir, arguments["packages"], arguments["received"], arguments["urls"])


def wait(arguments: Arguments, check_mode: bool = False) -> Result:
    """Let seconds pass. Ends the process where nobody waits for its answer any more."""
    if not check_mode:
        pause(arguments["seconds"])
    return {"changed": False}


def pause(seconds: float) -> None:
    """Sleep; a connection that is lost closes the standard output, and whoever is left alone must not go on."""
    watched = select.poll()
    watched.register(1, select.POLLERR | select.POLLHUP)
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        if watched.poll(min(left, _LOOK_SECONDS) * 1000):
            raise SystemExit(1)
        if left <= 0:
            return


def remove(arguments: Arguments, check_mode: bool = False) -> Result:
    """Remove a file or a tree, whether or not it is there. Raises FleetError."""
    path = arguments["path"]
    if not os.path.lexists(path):
        return {"changed": False}
    try:
        if not check_mode and os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif not check_mode:
            os.unlink(path)
    except OSError as error:
        raise FleetError(
            "{0} cannot be removed: {1}.".format(error.filename or path, error.strerror),
            hint="Run as root or as the broker's user, and see that the file system can be written to.",
        ) from error
    return {"changed": True}


class Kind(NamedTuple):
    """A kind of call: what it does, and its arguments as an ``AnsibleModule`` has them."""

    work: Callable[..., Result]
    arguments: Dict[str, Any]


_NODE = dict(executable=dict(type="path"), timeout=dict(type="float", default=600))  # type: Dict[str, Any]

KINDS = {
    "emqx_release": Kind(
        release,
        dict(
            version=dict(type="str", required=True),
            state=dict(type="str", choices=list(STATES), default="permanent"),
            package=dict(type="path"),
            allow_downgrade=dict(type="bool", default=False),
            settle_timeout=dict(type="float", default=120),
            force_switch=dict(type="bool", default=False),
            accept=dict(type="list", elements="str", choices=list(ACCEPTABLE), default=[]),
            lock_timeout=dict(type="float"),
            reconnect_timeout=dict(type="float", default=120),
            **_NODE,
        ),
    ),
    "emqx_release_info": Kind(
        release_info,
        dict(
            check_version=dict(type="str"),
            old_code=dict(type="bool", default=True),
            verification=dict(type="bool", default=False),
            survivors_of=dict(type="float"),
            operation_timeout=dict(type="float", default=0),
            **dict(_NODE, timeout=dict(type="float", default=60)),
        ),
    ),
    "emqx_reservation": Kind(
        reservation,
        dict(
            id=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "parked", "absent"], default="present"),
            lease=dict(type="float", default=120),
            take_over=dict(type="list", elements="str", default=[]),
            verify_cluster=dict(type="bool", default=False),
            renew=dict(type="bool", default=False),
            who=dict(type="str"),
            controller=dict(type="str"),
            controller_process=dict(type="str"),
            reconnect_timeout=dict(type="float", default=120),
            # By its name it might be a password, which it is not.
            passed_over=dict(type="list", elements="str", default=[], no_log=False),
            look_first=dict(type="bool", default=False),
            **_NODE,
        ),
    ),
    "packages": Kind(
        bring_packages,
        dict(
            packages=dict(type="list", elements="dict", required=True),
            received=dict(type="dict", default={}),
            urls=dict(type="dict", default={}),
            **_NODE,
        ),
    ),
    "wait": Kind(wait, dict(seconds=dict(type="float", required=True))),
    "remove": Kind(remove, dict(path=dict(type="path", required=True), **_NODE)),
}  # type: Dict[str, Kind]


class Call(NamedTuple):
    """One of a row: its kind, its checked arguments, and for a reading what it must find for the row to go on.

    ``expect``: ``running``, ``cluster``, ``boots``, ``same``, ``books`` and ``tolerance``, as
    :func:`readiness.is_as_planned` takes them; None for nothing.
    """

    kind: str
    arguments: Arguments
    expect: Optional[Mapping[str, Any]] = None


def perform(
    state_dir: StateDir,
    row: Sequence[Call],
    identity: str,
    lock_timeout: float = 0.0,
    check_mode: bool = False,
) -> List[Result]:
    """Do one call after the other; gives what they returned, up to the one that the row ended with.

    ``identity`` is of this row alone: what was done of it before is not done again. Where another process is still at
    work on it, that one is waited for, ``lock_timeout`` seconds. Raises FleetError where it does not end. Readings
    alone wait for nobody, and leave nothing on the node.
    """
    if check_mode or all(call.kind == "emqx_release_info" for call in row):
        return _go_on(row, [], check_mode, lambda results: None)
    with _progress(state_dir, identity, lock_timeout) as (before, keep):
        return _go_on(row, before, False, keep)


def _go_on(
    row: Sequence[Call], before: List[Result], check_mode: bool, keep: Callable[[List[Result]], None]
) -> List[Result]:
    results = list(before)
    while len(results) < len(row):
        if results and _ends(row[len(results) - 1], results[-1]):
            break
        call = _with_survivors(row[len(results)], results)
        pause(0)
        results.append(_result_of(call, check_mode))
        if not results[-1].get("failed"):
            # What failed is tried again by whoever asks again.
            keep(results)
    return results


def _with_survivors(call: Call, results: Sequence[Result]) -> Call:
    """A later reading of a row counts the clients that are still there of those of the first one."""
    if call.kind != "emqx_release_info" or call.arguments.get("survivors_of") is not None:
        return call
    times = [(result.get("client_books") or {}).get("time") for result in results]
    first = next((time for time in times if time is not None), None)
    return call if first is None else call._replace(arguments=dict(call.arguments, survivors_of=first))


def _ends(call: Call, result: Result) -> bool:
    if result.get("failed") or result.get("missing"):
        return True
    return call.expect is not None and not readiness.is_as_planned(result, **call.expect)


def _result_of(call: Call, check_mode: bool) -> Result:
    """What a call returned; also of one that crashed, since what was done before it must be told."""
    try:
        return KINDS[call.kind].work(call.arguments, check_mode)
    except FleetError as error:
        return dict(error.result(), failed=True)
    except Exception as error:  # noqa: BLE001
        return {
            "failed": True,
            "failure_class": UNKNOWN,
            "msg": "An error in emqx.fleet itself, {0}: {1}".format(type(error).__name__, error),
            "exception": traceback.format_exc(),
        }


def _node(arguments: Arguments) -> Node:
    return open_node(arguments["executable"], arguments["timeout"])


# What was done of a row


@contextlib.contextmanager
def _progress(state_dir: StateDir, identity: str, lock_timeout: float) -> Iterator[Any]:
    """The results that are written down of the row, and what writes down more; one process at a time."""
    state_dir.create()
    path = os.path.join(state_dir.path, "turn.json")
    try:
        handle = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FleetError(
            "The file {0}.lock cannot be opened: {1}.".format(path, error.strerror),
            hint="Run as root or as the broker's user {0}, and make its data directory writable.".format(
                state_dir.owner
            ),
        ) from error
    try:
        state_dir.give(path + ".lock")
        _wait_for(handle, lock_timeout)

        def keep(results: List[Result]) -> None:
            text = json.dumps({"identity": identity, "results": results})
            # Where it cannot be written, a row that is asked for again finds out by itself where the node is.
            with contextlib.suppress(OSError, FleetError):
                write_atomically(path, text, 0o600, state_dir.give)

        yield _load(path, identity), keep
    finally:
        os.close(handle)


def _wait_for(handle: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise FleetError(
                    "Another task of emqx.fleet is at work on this node, and did not end within {0:g} s.".format(
                        timeout
                    ),
                    failure_class=NOT_STARTED,
                    hint="Wait for it to end, and run the same task again.",
                ) from error
        time.sleep(_POLL_SECONDS)


def _load(path: str, identity: str) -> List[Result]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return []
    results = found.get("results") if isinstance(found, dict) and found.get("identity") == identity else None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        return []
    return results
