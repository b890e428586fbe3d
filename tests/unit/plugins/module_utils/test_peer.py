# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom to ask, by all that tells the broker's name, cookie and port."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import peer
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import DistributionError, Peer
from ansible_collections.emqx.fleet.plugins.module_utils.peer import Sources, check_that_commands_find, find, peer_of
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import COOKIE, FakeNode

# As the scripts of 4.3 and 4.4 start a broker, and those of 4.2.
NO_EPMD = "-start_epmd false -epmd_module ekka_epmd -proto_dist ekka"
BEAM = "/opt/emqx/bin/emqx -P 2097152 -- -root /opt/emqx -progname opt/emqx/bin/emqx -- -home /root -- -boot /x/start"
VM_ARGS = """\
## -name commented@10.0.0.9
+P 2097152
-env ERL_FULLSWEEP_AFTER 1000
-name emqx3@10.0.0.3
-setcookie from-file
-kernel net_ticktime 120
"""


def argv(more: str, epmd: str = NO_EPMD) -> List[str]:
    return "{0} {1} {2}".format(BEAM, more, epmd).split()


NAMED = argv("-name emqx1@10.0.0.1 -setcookie secret")


def found(**sources: Any) -> Peer:
    return peer_of(Sources(**sources))


def test_the_command_line_of_the_process_comes_first() -> None:
    elsewhere = dict(
        environment={"EMQX_NODE_NAME": "emqx2@b", "EMQX_NODE_COOKIE": "b", "EMQX_NODE__NAME": "c@c"},
        vm_args=VM_ARGS,
        settings={"node.name": "d@d", "node.cookie": "d"},
        variables={"EMQX_DEFAULT_ERLANG_COOKIE": "e"},
    )
    assert found(argv=NAMED, **elsewhere) == Peer("emqx1@10.0.0.1", "secret", 4371)


@pytest.mark.parametrize(
    ("sources", "node", "cookie", "port"),
    [
        (dict(environment={"EMQX_NODE_NAME": "e1@h", "EMQX_NODE_COOKIE": "x"}, vm_args=VM_ARGS), "e1@h", "x", 4371),
        (dict(environment={"EMQX_NAME": "e2", "EMQX_HOST": "h"}, vm_args=VM_ARGS), "e2@h", "from-file", 4372),
        (dict(environment={"EMQX_NAME": "e2"}, vm_args=VM_ARGS), "emqx3@10.0.0.3", "from-file", 4373),
        (dict(environment={"EMQX_NODE__NAME": "no@no"}, vm_args=VM_ARGS), "emqx3@10.0.0.3", "from-file", 4373),
        (
            dict(
                environment={"EMQX_NODE__NAME": "e4@h", "EMQX_NODE__COOKIE": "y"},
                settings={"node.name": "n", "node.cookie": "n"},
            ),
            "e4@h",
            "y",
            4374,
        ),
        (dict(settings={"node.name": "emqx@h5", "node.cookie": "z"}), "emqx@h5", "z", 4370),
        (
            dict(settings={"node.name": "emqx@h5"}, variables={"EMQX_DEFAULT_ERLANG_COOKIE": "usual"}),
            "emqx@h5",
            "usual",
            4370,
        ),
    ],
)
def test_what_the_command_line_does_not_tell(sources: Dict[str, Any], node: str, cookie: str, port: int) -> None:
    """In the order in which ``bin/emqx`` looks for it."""
    assert found(**sources) == Peer(node, cookie, port)
    assert found(argv=BEAM.split() + NO_EPMD.split(), **sources) == Peer(node, cookie, port)


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("emqx@127.0.0.1", 4370),
        ("emqx1@10.0.0.1", 4371),
        ("n2x12@h", 4382),
        ("emqx@host7", 4370),
        # As ekka_dist takes digits that would be no port.
        ("emqx60001@h", 4371),
        ("emqx@::1", 4370),
        ("emqx4294967296@h", 4370 + 4294967296 % 60000),
    ],
)
def test_the_port_comes_from_the_digits_of_the_name(name: str, port: int) -> None:
    assert found(argv=argv("-name {0} -setcookie x".format(name))).port == port


def test_the_ports_may_begin_elsewhere() -> None:
    given = argv("-name emqx2@h -setcookie x -kernel net_ticktime 60 -kernel inet_dist_base_port 5000")
    assert found(argv=given).port == 5002
    written = VM_ARGS + "-kernel inet_dist_base_port 6000\n"
    assert found(vm_args=written).port == 6003
    for odd in ("x", "99999999", "-1", ""):
        given = argv("-name emqx2@h -setcookie x -kernel inet_dist_base_port {0}".format(odd))
        assert found(argv=given).port == 4372, odd


def test_a_port_that_is_none() -> None:
    with pytest.raises(DistributionError, match="emqx59999@h has no port by its name"):
        found(argv=argv("-name emqx59999@h -setcookie x -kernel inet_dist_base_port 60000"))


@pytest.mark.parametrize("epmd", ["-start_epmd true", "-start_epmd true -proto_dist inet_tcp", "", "-start_epmd false"])
def test_a_broker_with_the_port_mapper(epmd: str) -> None:
    given = argv("-name emqx1@h -setcookie x", epmd)
    assert found(argv=given) == Peer("emqx1@h", "x", None, 4369)
    assert found(argv=given, environment={"ERL_EPMD_PORT": "5001"}) == Peer("emqx1@h", "x", None, 5001)


def test_a_port_that_is_given_instead_of_a_port_mapper() -> None:
    assert found(argv=argv("-name emqx1@h -setcookie x", "-start_epmd false -erl_epmd_port 7001")).port == 7001


def test_a_port_that_only_a_module_knows() -> None:
    with pytest.raises(DistributionError, match="a module that only it knows"):
        found(argv=argv("-name emqx1@h -setcookie x", "-epmd_module other_epmd"))


def test_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.socket, "gethostname", lambda: "broker7.example.org")
    assert found(argv=argv("-sname emqx1 -setcookie x")).node == "emqx1@broker7"
    assert found(argv=argv("-sname emqx1@there -setcookie x")).node == "emqx1@there"
    assert found(argv=argv("-name long@h.x -sname emqx1 -setcookie x")).node == "emqx1@broker7", "as erl has it"
    assert found(vm_args="-sname emqx2\n-setcookie x\n") == Peer("emqx2@broker7", "x", 4372)


def test_of_several_names_the_first_counts() -> None:
    assert found(argv=argv("-name a@h -name b@h -setcookie x")).node == "a@h"


@pytest.mark.parametrize(
    "text", ["-setcookie a -setcookie b", "-setcookie some@node a", "-setcookie", "-x -extra -setcookie a"]
)
def test_cookies_that_are_not_the_one_of_the_node(text: str) -> None:
    with pytest.raises(DistributionError, match="cookie is not known"):
        found(argv=argv("-name a@h") + text.split())


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({}, "node name is not known"),
        (dict(settings={"node.name": ""}), "node name is not known"),
        (dict(settings={"node.name": "emqx"}), "emqx is not one of the form"),
        (dict(argv=argv("-name emqx -setcookie x")), "emqx is not one of the form"),
        (dict(environment={"EMQX_NODE_NAME": "a@b@c"}), "a@b@c is not one of the form"),
        (dict(settings={"node.name": "a@b"}), "cookie is not known"),
    ],
)
def test_what_is_not_known(sources: Dict[str, Any], words: str) -> None:
    with pytest.raises(DistributionError, match=words):
        found(**sources)


NAME = {"node.name": "a@h", "node.cookie": "x"}


@pytest.mark.parametrize(
    "sources",
    [
        dict(argv=argv("-name a@h -setcookie x", "-start_epmd true -proto_dist inet_tls")),
        dict(argv=argv("-name a@h -setcookie x", "-start_epmd true -proto_dist inet6_tls")),
        dict(argv=NAMED, environment={"EKKA_PROTO_DIST_MOD": "inet_tls"}),
        dict(argv=NAMED, environment={"EMQX_CLUSTER__PROTO_DIST": "inet_tls"}),
        dict(argv=NAMED, settings={"cluster.proto_dist": "inet_tls"}),
        dict(settings=dict(NAME, **{"cluster.proto_dist": "inet_tls"})),
    ],
)
def test_tls_is_not_spoken(sources: Dict[str, Any]) -> None:
    with pytest.raises(DistributionError, match="in TLS alone"):
        found(**sources)


def test_other_protocols() -> None:
    with pytest.raises(DistributionError, match="a protocol of their own"):
        found(argv=argv("-name a@h -setcookie x", "-proto_dist own"))
    for protocol in ("inet_tcp", "inet6_tcp"):
        assert found(argv=NAMED, environment={"EKKA_PROTO_DIST_MOD": protocol}).port == 4371
    # What the process was started with tells it, whatever the file says now.
    later = {"cluster.proto_dist": "inet_tls"}
    assert found(argv=NAMED, environment={"EKKA_PROTO_DIST_MOD": "inet_tcp"}, settings=later).port == 4371


# Where it is read from


def test_the_files_of_an_installation(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    assert find(node.installation, None, {}) == Peer("emqx@127.0.0.1", COOKIE, 4370)
    assert find(node.installation, 4194305, {}) == Peer("emqx@127.0.0.1", COOKIE, 4370), "its process is gone"
    node.path("data/configs").mkdir()
    for number, age in (("1", 0), ("2", -100), ("3", -50)):
        path = node.path("data/configs", "vm.{0}.args".format(number))
        path.write_text("# x\n-name emqx{0}@h\n-setcookie of{0}\n".format(number))
        changed = path.stat().st_mtime + age
        os.utime(str(path), (changed, changed))
    assert find(node.installation, None, {}) == Peer("emqx1@h", "of1", 4371), "the newest"
    assert find(node.installation, None, {"EMQX_NODE_NAME": "emqx4@h"}) == Peer("emqx4@h", "of1", 4374)


def test_the_last_of_several_settings_counts_and_no_comment(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    node.path("etc/emqx.conf").write_text(
        "## node.name = no@h\nnode.name = a@h\n  node.name=b@h  \n#node.cookie = no\n"
    )
    assert find(node.installation, None, {}) == Peer("b@h", COOKIE, 4370)


def test_a_process_that_runs(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    code = "print(1, flush=True); import time; time.sleep(600)"
    text = [
        sys.executable,
        "-c",
        code,
        *argv("-name emqx5@10.0.0.5 -setcookie cook\xefe", "-epmd_module ekka_epmd")[1:],
    ]
    environment = dict(os.environ, EMQX_X="1", ERL_EPMD_PORT="4000")
    with subprocess.Popen(text, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            assert find(node.installation, process.pid, {}) == Peer("emqx5@10.0.0.5", "cook\xefe", 4375, 4000)
            with pytest.raises(DistributionError, match=r"looks for emqx@127\.0\.0\.1, and the broker is emqx5@"):
                find(node.installation, process.pid, {}, commands_too=True)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({}, None),
        (dict(environment={"EMQX_NODE_NAME": "emqx1@10.0.0.1", "EMQX_NODE_COOKIE": "secret"}, vm_args=VM_ARGS), None),
        (dict(vm_args="-name emqx1@10.0.0.1\n-setcookie secret\n", settings={"node.name": "later@h"}), None),
        (dict(settings={"node.cookie": "secret"}), None),
        (dict(vm_args=VM_ARGS), "looks for emqx3@10.0.0.3, and the broker is emqx1@10.0.0.1"),
        (dict(vm_args="-name emqx1@10.0.0.1\n-setcookie other\n"), "another cookie than emqx1@10.0.0.1"),
        (
            dict(environment={"EMQX_NODE_COOKIE": "other"}, settings={"node.name": "emqx1@10.0.0.1"}),
            "another cookie than emqx1@10.0.0.1",
        ),
    ],
)
def test_a_broker_that_no_command_would_find(written: Dict[str, Any], words: Optional[str]) -> None:
    """Such a node cannot be worked on, so it is not read as if it could."""
    if words is None:
        check_that_commands_find(found(argv=NAMED), Sources(**written))
        return
    with pytest.raises(DistributionError, match=words) as caught:
        check_that_commands_find(found(argv=NAMED), Sources(**written))
    assert "other" not in str(caught.value).replace("another", "")
    assert "secret" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "emqx", "4.4.18")
    node.path("releases/emqx_vars").unlink()
    assert find(node.installation, None, {}) == Peer("emqx@127.0.0.1", COOKIE, 4370)
    node.path("etc/emqx.conf").unlink()
    with pytest.raises(DistributionError, match="node name is not known"):
        find(node.installation, None, {})
