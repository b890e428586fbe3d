# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Name, cookie and port of the broker on this machine, found as ``bin/emqx`` of 4.2 to 4.4 finds them, and better.

The command line of the process that runs is the truth: the virtual machine has put there what was in its file of
arguments. Where it may not be read, they come from where ``bin/emqx`` takes them for a command that asks the node:
``EMQX_NODE_NAME`` or ``EMQX_NAME`` and ``EMQX_HOST``, ``EMQX_NODE_COOKIE``, the newest ``data/configs/vm.*.args``, as
4.3 and 4.4 do, and ``etc/emqx.conf``, as 4.2 does.

``ekka_dist`` listens at 4370 plus the digits at the end of the name before the ``@``, modulo 60000
(``inet_dist_base_port`` of kernel is another base). With ``WITH_EPMD`` the scripts leave that to Erlang's own port
mapper.
"""

import glob
import os
import re
import socket
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.distribution import EPMD_PORT, DistributionError, Peer
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation

#: Where the ports of ``ekka_dist`` begin, and what the digits of a name are taken modulo.
BASE_PORT, MAX_OFFSET = 4370, 60000

_MAX_BYTES = 1 << 20
_DIGITS = re.compile(r"[0-9]+\Z")
_NODE = re.compile(r"[^@\s]+@[^@\s]+\Z")
_SETTING = re.compile(r"^[ \t]*([a-z][a-z_.]*)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_TLS = ("inet_tls", "inet6_tls")
_TCP = ("inet_tcp", "inet6_tcp")


class Sources(NamedTuple):
    """Where a broker's name and cookie may stand.

    ``argv``: of its process, empty where that is not known. ``environment``: of its process, and what the task adds.
    ``vm_args``: text of the newest ``vm.*.args``. ``settings``: of ``emqx.conf``. ``variables``: of ``emqx_vars``.
    """

    argv: Sequence[str] = ()
    environment: Mapping[str, str] = {}
    vm_args: str = ""
    settings: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}


def find(
    installation: Installation, pid: Optional[int], settings: Mapping[str, str], commands_too: bool = False
) -> Peer:
    """The broker ``pid`` of an installation, or the one that its files tell. Raises DistributionError.

    ``settings``: the environment of an ``emqx`` command. ``commands_too``: only one that such a command would find.
    """
    written = Sources(
        environment=settings,
        vm_args=_newest_arguments(installation),
        settings=_settings(_text(os.path.join(installation.etc_dir, "emqx.conf"))),
        variables=installation.variables,
    )
    if pid is None:
        return peer_of(written)
    argv = _strings("/proc/{0}/cmdline".format(pid))
    found = peer_of(written._replace(argv=argv, environment=dict(settings, **_environment(pid))))
    if commands_too:
        check_that_commands_find(found, written)
    return found


def check_that_commands_find(found: Peer, written: Sources) -> None:
    """Raise DistributionError where an ``emqx`` command would look for another name, or with another cookie.

    A node that is read and cannot be worked on would be found out only when a run has begun.
    """
    try:
        theirs = peer_of(written)
    except DistributionError:
        return
    if theirs.node != found.node:
        raise DistributionError("an emqx command looks for {0}, and the broker is {1}".format(theirs.node, found.node))
    if theirs.cookie != found.cookie:
        raise DistributionError("an emqx command has another cookie than {0}".format(found.node))


def peer_of(sources: Sources) -> Peer:
    """Who is to be asked. Raises DistributionError where that is not known, or speaks TLS alone."""
    lines = [line.split() for line in sources.vm_args.splitlines()]
    given = _flags(sources.argv)
    written = _flags([word for words in lines if words and not words[0].startswith("#") for word in words])
    _refuse_other_protocols(sources, given)
    node = _node_name(sources, given, written)
    cookie = _cookie(sources, given, written)
    port = _port(node, given, written)
    epmd_port = _number(sources.environment.get("ERL_EPMD_PORT"), EPMD_PORT)
    if not 0 < (port or epmd_port) < 1 << 16:
        raise DistributionError("{0} has no port by its name".format(node))
    return Peer(node, cookie, port, epmd_port)


def _node_name(sources: Sources, given: Mapping[str, List[List[str]]], written: Mapping[str, List[List[str]]]) -> str:
    environment, settings = sources.environment, sources.settings
    both = (environment.get("EMQX_NAME"), environment.get("EMQX_HOST"))
    candidates = [
        _name_by_flags(given),
        environment.get("EMQX_NODE_NAME"),
        "@".join(part for part in both if part) if all(both) else None,
        _name_by_flags(written),
        environment.get("EMQX_NODE__NAME"),
        settings.get("node.name"),
    ]
    node = next((name for name in candidates if name), None)
    if node is None:
        raise DistributionError("the broker's node name is not known")
    if not _NODE.match(node):
        raise DistributionError("the broker's node name {0} is not one of the form name@host".format(node))
    return node


def _name_by_flags(flags: Mapping[str, List[List[str]]]) -> Optional[str]:
    """Of several names the virtual machine takes the first, and a short one before a long one."""
    for flag in ("-sname", "-name"):
        for values in flags.get(flag, []):
            if values:
                short = flag == "-sname" and "@" not in values[0]
                return "{0}@{1}".format(values[0], socket.gethostname().partition(".")[0]) if short else values[0]
    return None


def _cookie(sources: Sources, given: Mapping[str, List[List[str]]], written: Mapping[str, List[List[str]]]) -> str:
    candidates = [
        _cookie_by_flags(given),
        sources.environment.get("EMQX_NODE_COOKIE"),
        _cookie_by_flags(written),
        sources.environment.get("EMQX_NODE__COOKIE"),
        sources.settings.get("node.cookie"),
        sources.variables.get("EMQX_DEFAULT_ERLANG_COOKIE"),
    ]
    cookie = next((cookie for cookie in candidates if cookie), None)
    if cookie is None:
        raise DistributionError("the broker's cookie is not known")
    return cookie


def _cookie_by_flags(flags: Mapping[str, List[List[str]]]) -> Optional[str]:
    """The one for all nodes: a second value would make it that of one node, and of two nothing is taken."""
    cookies = [values[0] for values in flags.get("-setcookie", []) if len(values) == 1]
    return cookies[0] if len(cookies) == 1 else None


def _port(node: str, given: Mapping[str, List[List[str]]], written: Mapping[str, List[List[str]]]) -> Optional[int]:
    """The port by the name; None where epmd knows it."""
    if given and _first(given, "-epmd_module") != "ekka_epmd" and _first(given, "-proto_dist") != "ekka":
        if "-epmd_module" in given:
            raise DistributionError("{0} has its port from a module that only it knows".format(node))
        fixed = _number(_first(given, "-erl_epmd_port"), 0)
        return fixed or None
    kernel = dict(values[:2] for values in given.get("-kernel", []) + written.get("-kernel", []) if len(values) == 2)
    base = _number(kernel.get("inet_dist_base_port"), BASE_PORT)
    digits = _DIGITS.search(node.partition("@")[0])
    return base + (int(digits.group(0)) % MAX_OFFSET if digits else 0)


def _refuse_other_protocols(sources: Sources, given: Mapping[str, List[List[str]]]) -> None:
    protocol = _first(given, "-proto_dist") or ("ekka" if not given else "inet_tcp")
    if protocol == "ekka":
        # The scripts of 4.3 and 4.4 hand it on in the environment; before, it was a setting of ekka itself.
        protocol = (
            sources.environment.get("EKKA_PROTO_DIST_MOD")
            or sources.environment.get("EMQX_CLUSTER__PROTO_DIST")
            or sources.settings.get("cluster.proto_dist")
            or "inet_tcp"
        )
    if protocol in _TLS:
        raise DistributionError("the broker's nodes talk to each other in TLS alone")
    if protocol not in _TCP:
        raise DistributionError("the broker's nodes talk to each other in a protocol of their own")


def _flags(words: Sequence[str]) -> Dict[str, List[List[str]]]:
    """Values by flag, as ``erl`` reads them: those of each time that it is given."""
    found = {}  # type: Dict[str, List[List[str]]]
    values = []  # type: List[str]
    for word in words:
        if word == "-extra":
            break
        if word[:1] in ("-", "+"):
            values = []
            found.setdefault(word, []).append(values)
        elif word:
            values.append(word.strip("\"'"))
    return found


def _first(flags: Mapping[str, List[List[str]]], flag: str) -> Optional[str]:
    return next((values[0] for values in flags.get(flag, []) if values), None)


def _number(text: Optional[str], default: int) -> int:
    return int(text) if text and len(text) < 7 and text.isdigit() else default


def _settings(text: str) -> Dict[str, str]:
    """Assignments of ``emqx.conf``, of which the last one counts."""
    return {name: value.strip("\"'") for name, value in _SETTING.findall(text)}


def _newest_arguments(installation: Installation) -> str:
    """The newest file of arguments that a start has made."""
    newest, path = -1.0, None
    for candidate in glob.glob(os.path.join(glob.escape(installation.data_dir), "configs", "vm.*.args")):
        try:
            changed = os.stat(candidate).st_mtime
        except OSError:
            continue
        if changed > newest:
            newest, path = changed, candidate
    return _text(path) if path else ""


def _environment(pid: Optional[int]) -> Dict[str, str]:
    if pid is None:
        return {}
    pairs = (entry.partition("=") for entry in _strings("/proc/{0}/environ".format(pid)))
    return {name: value for name, _unused, value in pairs}


def _strings(path: str) -> List[str]:
    """Of a file of ``/proc`` where each ends in a zero; none where it may not be read."""
    text = _text(path)
    return text.split("\0")[:-1] if text.endswith("\0") else text.split("\0")


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
