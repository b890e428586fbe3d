# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What is refused before a run begins, by real ansible-playbook: patterns, tags, settings, hooks.

No node is needed. With another release's commands in EMQX_FLEET_ANSIBLE it shows the same there (`scripts/matrix.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from ansible_collections.emqx.fleet.tests import deprecations

COMMANDS = Path(os.environ.get("EMQX_FLEET_ANSIBLE") or Path(sys.executable).parent)
HOSTS = "{{ lookup('emqx.fleet.play_hosts', emqx_upgrade_hosts | default('all')%s) }}"
INVENTORY = """
[web]
b1
b2
[db]
b3
[odd]
[::1]:2222
broker.example.org:2222
10.0.0.1
[empty]
[all:vars]
# Nothing here may need a connection, an account or an interpreter of the nodes.
ansible_become=true
ansible_become_password=wrong
ansible_python_interpreter=/only/on/nodes
ansible_host=203.0.113.1
"""


@dataclass(frozen=True)
class Done:
    """The end of ansible-playbook; `text` has each run of blanks as one, however wide the screen was."""

    rc: int
    text: str

    @property
    def shown(self) -> list[str]:
        """What tasks said with debug."""
        return re.findall(r'"msg": "SAID (.*?)"', self.text)


Play = Callable[..., Done]


@pytest.fixture(scope="module")
def collections(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection with playbooks that only say which parts of them were run."""
    path = tmp_path_factory.mktemp("collections")
    shutil.copytree(collection, path, dirs_exist_ok=True)
    for name, option in {"parts": "", "whole": ", tags=[]"}.items():
        tasks: list[dict[str, Any]] = [{"name": "Plan", "ansible.builtin.debug": {"msg": "SAID plan"}}]
        if name == "parts":
            tasks[0]["tags"] = ["always", "plan"]
            tasks += [
                {"name": part, "ansible.builtin.debug": {"msg": f"SAID {part}"}, "tags": [part]}
                for part in ("stage", "switch", "commit")
            ]
        for task in tasks:
            task["run_once"] = True
        write(
            path / f"ansible_collections/emqx/fleet/playbooks/{name}.yml",
            [{"name": name, "hosts": HOSTS % option, "gather_facts": False, "tasks": tasks}],
        )
    return path


@pytest.fixture
def run(collections: Path, tmp_path: Path) -> Play:
    """Run ansible-playbook in a folder with an inventory and packages."""
    (tmp_path / "inventory").write_text(INVENTORY, encoding="utf-8")
    (tmp_path / "packages").mkdir()

    def start(*arguments: str, inventory: str = "inventory", may_warn_of: str = "", **environment: str) -> Done:
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(tmp_path / "home"),
            **deprecations.ENVIRONMENT,
            **environment,
        }
        done = subprocess.run(
            (COMMANDS / "ansible-playbook", "-i", inventory, *arguments),
            cwd=tmp_path,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        deprecations.require_none(done.stdout + done.stderr, "ansible-playbook", may_warn_of)
        return Done(done.returncode, " ".join((done.stdout + done.stderr).split()))

    return start


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


# -- the pattern and the tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ["plan", "stage", "switch", "commit"]),
        (("--tags", "stage"), ["plan", "stage"]),
        (("--tags", "always"), ["plan"]),
        (("--tags", "plan,stage"), ["plan", "stage"]),
        (("--tags", "all,never"), ["plan", "stage", "switch", "commit"]),
        (("--tags", "tagged", "--skip-tags", "switch"), ["plan", "stage", "commit"]),
        (("--skip-tags", "commit,slow"), ["plan", "stage", "switch"]),
        (("--limit", "web", "-e", "emqx_upgrade_hosts=all:!b1"), ["plan", "stage", "switch", "commit"]),
        (("-e", '{"emqx_upgrade_hosts": null, "a": 1}', "--tags", "plan"), ["plan"]),
        (("-e", '{"emqx_upgrade_hosts": ["web:!b1", "db"]}', "--limit", "b2", "--tags", "plan"), ["plan"]),
        (("-e", "emqx_upgrade_hosts=::1", "--tags", "plan"), ["plan"]),
        (("-e", "emqx_upgrade_hosts=~b[12]$", "--limit", "web[1]", "--tags", "plan"), ["plan"]),
    ],
)
def test_a_run_that_does_something(run: Play, arguments: tuple[str, ...], said: list[str]) -> None:
    # As strict as it can be set; what Ansible only warns of is then an error as well.
    done = run("emqx.fleet.parts", *arguments, ANSIBLE_HOST_PATTERN_MISMATCH="error")
    assert (done.rc, done.shown) == (0, said), done.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("-e", "emqx_upgrade_hosts=webb"),
            "The host pattern 'webb' (emqx_upgrade_hosts) matches no host of the inventory (",
        ),
        (("-e", "emqx_upgrade_hosts=web:!web"), "The host pattern 'web:!web' (emqx_upgrade_hosts) matches no host of "),
        (("-e", "emqx_upgrade_hosts=web[9]"), "The host pattern 'web[9]' (emqx_upgrade_hosts) cannot be used: "),
        (
            ("-e", "emqx_upgrade_hosts=web", "--limit", "db"),
            "matches 2 hosts of the inventory, and none is within --limit ",
        ),
        (
            ("-e", "emqx_upgrade_hosts=web", "--limit", "@only"),
            "and none is within --limit @only; expected are hosts that ",
        ),
        (("--start-at-task", "commit"), "--start-at-task 'commit' leaves out tasks that the later ones are built on; "),
        (("--step",), "--step asks before each task whether to leave it out, and the later ones are built on all of "),
        (("--tags", "Stage"), "--tags Stage is no tag of this playbook; expected are tags out of "),
        (("--tags", "never"), "--tags never is no tag of this playbook; expected are tags out of "),
        (("--tags", "swich"), "--tags swich is no tag of this playbook; expected are tags out of "),
        (("--tags", "stage,deploy"), "--tags deploy is no tag of this playbook; expected are tags out of "),
        (("--skip-tags", "always"), "--skip-tags always leaves out the plan, without which nothing can be done; "),
        (("--skip-tags", "Switch"), "--skip-tags Switch is no tag of this playbook, so that it would skip nothing; "),
        (("--tags", "stage", "--skip-tags", "stage"), "--skip-tags stage takes out all that --tags stage asks for, "),
    ],
)
def test_a_run_of_nothing(run: Play, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "only").write_text("b3\n", encoding="utf-8")
    done = run("emqx.fleet.parts", *arguments)
    assert done.rc != 0
    assert done.shown == []
    assert re.search(r"No node was touched\. .*" + re.escape(words), done.text), done.text
    assert "Traceback" not in done.text


#: Told by a program, so that nobody parses them.
ODD = ("Edge 1", "edge[1]", "edge:2222", "a, b", "10", "~tilde", "web", "1 Edge")
CHOSEN: Sequence[tuple[str | list[str], list[str]]] = (
    *((name, [name]) for name in ODD),
    (["Edge 1", "10"], ["Edge 1", "10"]),
    ('["Edge 1", "edge[1]"]', ["Edge 1", "edge[1]"]),
    ("Edge 1,edge:2222", ["Edge 1", "edge:2222"]),
    ("Edge 1:10\n~tilde", ["Edge 1", "10", "~tilde"]),
    (["all", "!Edge 1", "!edge[1]", "!edge:2222"], list(ODD[3:])),
    ("all:!Edge 1:!1 Edge", list(ODD[1:-1])),
    (["group", "&Edge 1"], ["Edge 1"]),
    ("group,!edge[1]", ["Edge 1"]),
    ("edge*", ["edge[1]", "edge:2222"]),
)


@pytest.mark.parametrize("native", ["false", "true"])
def test_hosts_of_strange_names(run: Play, tmp_path: Path, native: str) -> None:
    """One play for each pattern says whom it is for."""
    groups = {"all": {"hosts": list(ODD)}, "group": {"hosts": ["Edge 1", "edge[1]"]}}
    told = json.dumps({**groups, "_meta": {"hostvars": {}}})
    program = tmp_path / "told"
    program.write_text(f"#!/bin/sh\necho '{told}'\n", encoding="utf-8")
    program.chmod(0o755)
    say = {"msg": "SAID {{ ansible_play_hosts_all | map('urlencode') | join(' ') }}"}
    plays = [
        {
            "hosts": HOSTS % ", tags=[]",
            "vars": {"emqx_upgrade_hosts": pattern},
            "gather_facts": False,
            "tasks": [{"ansible.builtin.debug": say, "run_once": True}],
        }
        for pattern, _hosts in CHOSEN
    ]
    done = run(str(write(tmp_path / "names.yml", plays)), inventory="told", ANSIBLE_JINJA2_NATIVE=native)
    assert done.rc == 0, done.text
    found = [sorted(map(unquote, said.split())) for said in done.shown]
    for (pattern, hosts), names in zip(CHOSEN, found, strict=True):
        assert names == sorted(hosts), pattern


@pytest.mark.parametrize("mismatch", ["error", "ignore"])
def test_a_pattern_of_nothing_however_strict_ansible_is(run: Play, mismatch: str) -> None:
    done = run("emqx.fleet.parts", "-e", "emqx_upgrade_hosts=webb", ANSIBLE_HOST_PATTERN_MISMATCH=mismatch)
    assert done.rc != 0
    assert done.shown == []
    words = "cannot be used: Could not match supplied host pattern, ignoring: webb; expected is a pattern that "
    assert f"The host pattern 'webb' (emqx_upgrade_hosts) {words}" in done.text or mismatch == "ignore"
    assert "No node was touched. The host pattern 'webb' (emqx_upgrade_hosts) " in done.text


def test_tags_from_a_file_of_settings(run: Play) -> None:
    done = run("emqx.fleet.parts", ANSIBLE_RUN_TAGS="swich")
    assert done.rc != 0
    assert "--tags swich is no tag of this playbook; " in done.text


def test_an_inventory_without_hosts(run: Play, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("[web]\n", encoding="utf-8")
    done = run("emqx.fleet.parts", inventory="none")
    assert done.rc != 0
    assert re.search(r"No node was touched\. The inventory \(\S+/none\) has no hosts; expected is one with ", done.text)


@pytest.mark.parametrize(
    ("arguments", "fine"), [((), True), (("--tags", "always"), True), (("--tags", "stage"), False)]
)
def test_a_playbook_without_tags(run: Play, arguments: tuple[str, ...], fine: bool) -> None:
    done = run("emqx.fleet.whole", *arguments)
    assert (done.rc == 0) == fine
    assert ("--tags stage finds nothing, for this playbook has no tags; " in done.text) != fine


@pytest.mark.parametrize("option", ["--syntax-check", "--list-hosts", "--list-tasks", "--list-tags"])
def test_whoever_only_looks_is_not_refused(run: Play, option: str) -> None:
    arguments = ("-e", "emqx_upgrade_hosts=web", "--tags", "swich", "--start-at-task", "x", option)
    done = run("emqx.fleet.parts", *arguments)
    assert done.rc == 0, done.text
    assert run("emqx.fleet.parts", "-e", "emqx_upgrade_hosts=webb", option).rc == 0
    assert ("b1" in done.text) == (option == "--list-hosts")


def test_a_playbook_around_it_may_have_tags_of_its_own(run: Play, tmp_path: Path) -> None:
    site = write(tmp_path / "site.yml", [{"import_playbook": "emqx.fleet.parts", "tags": ["emqx"]}])
    done = run(str(site), "--tags", "emqx")
    assert (done.rc, done.shown) == (0, ["plan", "stage", "switch", "commit"])
    assert run(str(site), "--tags", "swich").rc != 0


# -- settings ---------------------------------------------------------------------------------------------------------


def questions(answer: Path, **more: Any) -> list[dict[str, Any]]:
    """A playbook that has the settings checked and writes down what was returned; `more` is more of its play."""
    checked = {
        "name": "Check",
        "emqx.fleet.emqx_settings": {"purpose": "{{ purpose | default('upgrade') }}"},
        "register": "checked",
        "run_once": True,
        "tags": ["always", "plan"],
    }
    kept = {
        "name": "Keep",
        "ansible.builtin.copy": {"content": "{{ checked | to_json }}", "dest": str(answer)},
        "delegate_to": "localhost",
        "become": False,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "run_once": True,
        "tags": "always",
        # Not what is tested, and it would show it.
        "no_log": True,
    }
    return [{"hosts": "all", "gather_facts": False, "tasks": [checked, kept], **more}]


@pytest.fixture
def ask(run: Play, tmp_path: Path) -> Callable[..., tuple[Done, dict[str, Any]]]:
    """Have settings checked; gives what was printed and what was returned."""

    def start(*arguments: str, book: str = "ask.yml", **options: str) -> tuple[Done, dict[str, Any]]:
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        if not (tmp_path / book).exists():
            write(tmp_path / book, questions(answer))
        done = run(book, *arguments, **options)
        return done, json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}

    return start


def options(**given: Any) -> list[str]:
    """Settings as they are given with `-e name=value`, with a version unless that is None."""
    given.setdefault("version", "4.4.19")
    given = {name: value for name, value in given.items() if value is not None}
    return [word for name, value in given.items() for word in ("-e", f"emqx_upgrade_{name}={value}")]


def test_settings_as_they_are_given_on_a_command_line(ask: Any, tmp_path: Path) -> None:
    done, answer = ask(
        *options(
            accept="clock,space",
            wave_size="50%",
            canary="web:&b2",
            soak_seconds="2m",
            allow_downgrade="yes",
            report_file="new/report.json",
            coordinators="",
        ),
        "--tags",
        "stage",
    )
    assert done.rc == 0, done.text
    assert set(answer["settings"]) == {"b1", "b2", "b3", "::1", "broker.example.org", "10.0.0.1"}
    found = answer["settings"]["b3"]
    expected = {
        "accept": ["clock", "space"],
        "wave_size": "50%",
        "canary": ["b2"],
        "soak_seconds": 120,
        "allow_downgrade": True,
        "report_file": f"{tmp_path}/new/report.json",
        "coordinators": [],
        "version": "4.4.19",
        "timeout": 600,
    }
    assert {name: found[name] for name in expected} == expected
    assert answer["phases"] == ["plan", "stage"]
    assert not (tmp_path / "new").exists()


def test_settings_from_where_variables_come_from(ask: Any, tmp_path: Path) -> None:
    """Of the inventory, of a play, of an import: every host has what a task of that host would see."""
    group_vars = {
        "all": {"emqx_upgrade_timeout": "{{ minutes * 60 }}", "emqx_upgrade_wave_size": 3, "minutes": 5},
        "web": {"emqx_upgrade_timeout": "{{ hostvars['b3'].minutes }}m", "minutes": 7},
    }
    for group, found in group_vars.items():
        write(tmp_path / f"group_vars/{group}.yml", found)
    write(tmp_path / "host_vars/b3.yml", {"minutes": 9})
    own = {"emqx_upgrade_run_id": 4711, "emqx_upgrade_wave_size": 2}
    write(tmp_path / "ask.yml", questions(tmp_path / "answer.json", vars=own))
    imported = {
        "import_playbook": "ask.yml",
        "vars": {
            "emqx_upgrade_version": " 4.4.19 ",
            "emqx_upgrade_client_loss_tolerance": "{{ ansible_host | length }}%",
        },
    }
    write(tmp_path / "site.yml", [imported])
    done, answer = ask(book="site.yml")
    assert done.rc == 0, done.text
    settings = answer["settings"]
    assert {host: settings[host]["timeout"] for host in ("b1", "b3", "::1")} == {"b1": 540, "b3": 540, "::1": 300}
    for host in settings:
        assert {name: settings[host][name] for name in ("wave_size", "run_id", "version", "client_loss_tolerance")} == {
            "wave_size": 2,
            "run_id": "4711",
            "version": "4.4.19",
            "client_loss_tolerance": "11%",
        }


def test_every_bad_setting_of_every_host_in_one_message(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text(
        "b1 emqx_upgrade_timeout=soon emqx_upgrade_version=4.4.18\nb2\n"
        "[all:vars]\nemqx_upgrade_version=4.4.19\nemqx_upgrade_coordinators={{ nosuch }}\n",
        encoding="utf-8",
    )
    done, _answer = ask(
        *options(
            version=None,
            acccept="x",
            canary="nosuch",
            packages="https://me:secret@h/x.zip#sha256=1,/no/such",
            report_file="/proc/report.json",
            hooks='{"beforenode":"x","before_node":"nosuch.yml"}',
            soak_interval=0,
        ),
        "-vvv",
    )
    assert done.rc == 2
    words = done.text.replace('\\"', '"').replace("\\n", " ")
    for sentence in (
        "Nothing was touched, because there are 10 problems with the settings: - ",
        "- emqx_upgrade_timeout is 'soon'; expected are whole seconds from 1 to 86400, or a time with its unit such as "
        "90s, 2m or 1h30m. Write, for example, emqx_upgrade_timeout=600. (On b1.)",
        "- emqx_upgrade_version is '4.4.18' on b1 and '4.4.19' on b2; expected is one value for the whole play. ",
        "- emqx_upgrade_coordinators is '{{ nosuch }}', which cannot be worked out ('nosuch' is undefined); expected ",
        "- emqx_upgrade_acccept is no setting; expected are the settings of emqx.fleet.emqx_upgrade. Did you mean "
        "emqx_upgrade_accept?",
        "- emqx_upgrade_canary is 'nosuch', which matches no host of the play; expected is a number, a percentage, or "
        "a pattern for hosts of the play. Write, for example, emqx_upgrade_canary=1.",
        "- emqx_upgrade_packages names '/no/such', and there is nothing at /no/such; expected are zips and folders ",
        "- emqx_upgrade_report_file is '/proc/report.json', and nothing can be written into /proc (",
        "- emqx_upgrade_hooks names the hook 'beforenode'; ",
        f"- emqx_upgrade_hooks names 'nosuch.yml' for before_node, and there is no such file in {tmp_path}; ",
        "- emqx_upgrade_soak_interval is 0 while emqx_upgrade_soak_seconds is 60; ",
        " Mend what is named here and run the same command again.",
    ):
        assert sentence in words, sentence
    problems = words[words.index("Nothing was touched") : words.index("Mend what is named")]
    assert "secret" not in problems


def test_passwords_of_urls_are_not_shown(ask: Any) -> None:
    given = json.dumps({"emqx_upgrade_packages": ["https://me:secret@h/x.zip"], "emqx_upgrade_version": "4.4.19"})
    done, answer = ask("-e", given, "-v")
    assert done.rc == 0, done.text
    assert "secret" not in done.text
    assert answer["settings"]["b1"]["packages"] == ["https://me:secret@h/x.zip"]


@pytest.mark.parametrize("purpose", ["rollback", "commit", "cleanup", "status", "split"])
def test_a_way_out_does_not_fail_for_what_it_does_not_need(ask: Any, tmp_path: Path, purpose: str) -> None:
    (tmp_path / "bad.yml").write_text("- nosuch_module:\n", encoding="utf-8")
    given = options(version="", packages="/no/such", canary="nosuch", hooks='{"before_node":"bad.yml"}')
    done, answer = ask(*given, "-e", f"purpose={purpose}")
    assert done.rc == 0, done.text
    assert answer["settings"]["b1"]["canary"] == []
    assert ("emqx_upgrade_hooks cannot be used for before_node" in done.text) == (purpose in ("rollback", "commit"))
    assert ask(*options(timeout="soon"), "-e", f"purpose={purpose}")[0].rc == 2


@pytest.mark.parametrize("playbook", ["status", "split", "plan", "upgrade", "commit", "rollback", "cleanup"])
def test_no_playbook_is_green_where_no_host_can_be_reached(run: Play, tmp_path: Path, playbook: str) -> None:
    """No host answers at that port; of such a fleet nothing is known, so nothing is said of it."""
    (tmp_path / "away").write_text("b1 ansible_host=127.0.0.1 ansible_port=1\n", encoding="utf-8")
    (tmp_path / "packages/emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip").write_bytes(b"")
    version = {} if playbook in ("commit", "rollback") else {"version": "4.4.19"}
    given = options(**{"version": None, **version}, report_file="report.json", reconnect_timeout=0)
    done = run(f"emqx.fleet.{playbook}", *given, inventory="away")
    assert done.rc == 2, done.text
    assert "b1" in done.text
    assert "Connection refused" in done.text
    assert "not touched" not in done.text
    report = tmp_path / "report.json"
    # What ends with a report has one of the refusal as well.
    assert report.exists() == (playbook in ("upgrade", "commit", "rollback")), done.text
    if report.exists():
        told = json.loads(report.read_text(encoding="utf-8"))
        assert (told["ok"], told["ended"]) == (False, True)
        assert "not touched" not in told["message"]


def test_hooks_are_found_beside_the_playbook_and_the_inventory(ask: Any, tmp_path: Path) -> None:
    for folder, hook in {"books": "a", "stock": "b"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{hook}.yml").write_text("- ansible.builtin.ping:\n", encoding="utf-8")
    (tmp_path / "stock/hosts").write_text("b1\n", encoding="utf-8")
    given = options(hooks='{"before_node":"a.yml","after_node":"b.yml"}')
    done, answer = ask(*given, book="books/ask.yml", inventory="stock/hosts")
    assert done.rc == 0, done.text
    assert answer["settings"]["b1"]["hooks"] == {
        "before_node": f"{tmp_path}/books/a.yml",
        "after_node": f"{tmp_path}/stock/b.yml",
    }


# -- hooks ------------------------------------------------------------------------------------------------------------

BROKEN: Mapping[str, str] = {
    "module": "- nosuch_module:\n",
    "collection": "- acme.none.nosuch:\n",
    "keyword": "- ansible.builtin.ping:\n  wen: x\n",
    "tab": "- name: x\n\tansible.builtin.ping:\n",
    "text": "just a text\n",
    "bytes": "\udcff\udcfe",
    "import": "- ansible.builtin.import_tasks: module.yml\n",
    "include": "- ansible.builtin.include_tasks: module.yml\n",
    "role": "- ansible.builtin.include_role: {name: nosuch}\n",
    "meta": "- ansible.builtin.meta: nonsense\n",
    "end": "- ansible.builtin.meta: end_play\n",
    "handler": "- ansible.builtin.debug: {msg: x}\n  changed_when: true\n  notify: nosuch\n",
    "once": "- ansible.builtin.ping:\n  run_once: '{{ later }}'\n",
    "throttle": "- ansible.builtin.ping:\n  throttle: many\n",
    "register": "- ansible.builtin.ping:\n  register: a-b\n",
}
FINE: Mapping[str, str] = {
    "empty": "",
    "comment": "# nothing yet\n",
    "nested": "- ansible.builtin.include_tasks: '{{ emqx_upgrade_hook.name }}.yml'\n",
    "before_wave": "- ansible.builtin.debug: {msg: 'SAID hook'}\n",
    "loop": "- ansible.builtin.include_tasks: '{{ item }}.yml'\n  loop: [before_wave]\n",
}


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """Hooks, and a playbook with a role that goes on whatever becomes of them."""
    folder = tmp_path / "hooks"
    folder.mkdir()
    for name, text in {**BROKEN, **FINE}.items():
        (folder / f"{name}.yml").write_bytes(text.encode(errors="surrogateescape"))
    (folder / "folder.yml").mkdir()
    tasks = [
        {
            "name": "One hook",
            "block": [
                {"name": "Check", "emqx.fleet.emqx_hook": {"path": "{{ file }}", "hook": "before_wave"}},
                {
                    "name": "Run",
                    "ansible.builtin.include_tasks": "{{ file }}",
                    "vars": {"emqx_upgrade_hook": {"name": "before_wave"}},
                },
            ],
            "rescue": [{"name": "Why", "ansible.builtin.debug": {"msg": "SAID {{ ansible_failed_result.msg }}"}}],
        }
    ]
    write(tmp_path / "roles/r/tasks/one.yml", tasks)
    write(
        tmp_path / "roles/r/tasks/main.yml",
        [
            {
                "name": "Every hook",
                "ansible.builtin.include_tasks": "one.yml",
                "loop": "{{ files }}",
                "loop_control": {"loop_var": "file"},
            },
            {"name": "End", "ansible.builtin.debug": {"msg": "SAID the end"}},
        ],
    )
    # Beside a hook of the same name, which is what was meant.
    write(tmp_path / "roles/r/tasks/stage.yml", [{"ansible.builtin.debug": {"msg": "SAID the role's"}}])
    (folder / "stage.yml").write_text("- ansible.builtin.debug: {msg: 'SAID mine'}\n", encoding="utf-8")
    (folder / "twin.yml").write_text("- ansible.builtin.include_tasks: stage.yml\n", encoding="utf-8")
    write(
        tmp_path / "hooks_in_role.yml",
        [
            {
                "hosts": "b1",
                "gather_facts": False,
                "become": False,
                "tasks": [{"ansible.builtin.import_role": {"name": "r"}}],
            }
        ],
    )
    return folder


def test_no_hook_ends_a_run_in_its_middle(run: Play, hooks: Path) -> None:
    names = [*BROKEN, "folder", "gone", "twin"]
    files = [str(hooks / f"{name}.yml") for name in names]
    done = run("hooks_in_role.yml", "-e", json.dumps({"files": files}), may_warn_of=str(hooks / "bytes.yml"))
    assert done.rc == 0, done.text
    assert done.shown[-1] == "the end"
    assert len(done.shown) == len(names) + 1
    for file, said in zip(files, done.shown, strict=False):
        assert said.startswith(f"The file {file} cannot be loaded, so none of its tasks was run. {hooks}/"), said
        assert said.endswith("Mend the file.")
    assert (
        f"includes stage.yml, and Ansible takes {hooks.parent}/roles/r/tasks/stage.yml for that, not " in done.shown[-2]
    )


@pytest.mark.parametrize("name", ["module", "meta", "handler", "once"])
def test_without_the_check_they_would(run: Play, hooks: Path, name: str) -> None:
    """What the check is for. Were this no longer so, the check could go."""
    one = hooks.parent / "roles/r/tasks/one.yml"
    tasks = yaml.safe_load(one.read_text(encoding="utf-8"))
    del tasks[0]["block"][0]
    write(one, tasks)
    done = run("hooks_in_role.yml", "-e", json.dumps({"files": [str(hooks / f"{name}.yml")]}))
    assert done.rc != 0
    assert done.shown == []


def test_what_is_right_runs(run: Play, hooks: Path) -> None:
    done = run("hooks_in_role.yml", "-e", json.dumps({"files": [str(hooks / f"{name}.yml") for name in FINE]}))
    assert done.rc == 0, done.text
    assert done.shown == ["hook", "hook", "hook", "the end"]
    assert (
        "it includes '{{ item }}.yml', whose name is only known when it runs, so that it was not looked at" in done.text
    )
