# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of tasks that Ansible cannot load, or that would end a run in its middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.playbook.play import Play
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import hooks

OUTSIDE = "An error there ends the whole run, and no rescue sees it."
Check = Callable[..., hooks.Found]


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    init_plugin_loader([])


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Look at a hook with this text; ``files`` lie beside it, ``play`` is more of the play that it would run in."""

    def look(text: str | bytes, play: dict[str, Any] | None = None, secrets: Any = None, **files: str) -> hooks.Found:
        for name, content in files.items():
            (tmp_path / f"{name}.yml").write_text(content, encoding="utf-8")
        hook = tmp_path / "hook.yml"
        hook.write_bytes(text if isinstance(text, bytes) else text.encode())
        loader = DataLoader()
        loader.set_basedir(str(tmp_path))
        loader.set_vault_secrets(secrets)
        inventory = InventoryManager(loader=loader, sources=["b1,b2"])
        manager = VariableManager(loader=loader, inventory=inventory)
        HostVars(inventory=inventory, loader=loader, variable_manager=manager)
        written = {"name": "p", "hosts": "all", "tasks": [{"ansible.builtin.debug": {"msg": "x"}}], **(play or {})}
        made = Play.load(written, variable_manager=manager, loader=loader)
        task = made.compile()[1].block[0]
        return hooks.check(str(hook), "before_node", task, inventory.get_host("b1"), loader, manager)

    return look


def only(found: hooks.Found, tmp_path: Path) -> str:
    (problem,) = found.problems
    return problem.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n---\n",
        "[]",
        "- ansible.builtin.debug:\n",
        "- debug: msg=x\n  when: later is defined\n",
        "- block:\n    - ping:\n  rescue:\n    - ping:\n  always:\n    - ping:\n",
        "- ansible.builtin.meta: flush_handlers\n",
        "- name: '{{ later }}'\n  ansible.builtin.debug:\n    msg: '{{ later }}'\n  loop: '{{ later }}'\n",
        "- ansible.builtin.debug:\n  run_once: '{{ inventory_hostname == \"b1\" }}'\n  throttle: '{{ 1 + 1 }}'\n",
    ],
)
def test_what_can_be_loaded(check: Check, text: str) -> None:
    assert check(text) == hooks.Found()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("just a text", "/hook.yml: it is no list of tasks"),
        ("a: b\n", "/hook.yml: it is no list of tasks"),
        ("- a text\n- 5\n", None),
        (b"\xff\xfe\x00", "/hook.yml: it is no text in UTF-8"),
        ("- name: x\n\tping:\n", "/hook.yml:2:1: YAML parsing failed: Tabs are usually invalid in YAML"),
        ("- meta: end_play\n", "/hook.yml:1: meta: end_play takes nodes out of the run in the middle of their turn. "),
        ("- meta: end_host\n  when: x\n", "/hook.yml:1: meta: end_host takes nodes out of the run in the middle of "),
        (
            "- meta: end_batch\n",
            "/hook.yml:1: meta: end_batch takes nodes out of the run in the middle of their turn. ",
        ),
        ("- meta: nonsense\n", f"/hook.yml:1: meta: nonsense is not known to Ansible. {OUTSIDE}"),
        (
            "- ping:\n  notify: restart\n",
            f"/hook.yml:1: it notifies the handler 'restart', which is not there. {OUTSIDE}",
        ),
        (
            "- block:\n    - ping:\n  run_once: '{{ later }}'\n",
            "/hook.yml:2: run_once is '{{ later }}', which cannot be worked out now ('later' is undefined). "
            f"{OUTSIDE} Write the value itself",
        ),
        ("- ping:\n  throttle: '{{ later }}'\n", "/hook.yml:1: throttle is '{{ later }}', which cannot be worked out "),
        ("- ping:\n  throttle: many\n", "/hook.yml:1: throttle is 'many', which cannot be worked out now ("),
        ("- ping:\n  any_errors_fatal: '{{ later }}'\n", "/hook.yml:1: any_errors_fatal is '{{ later }}', which "),
        ("- nosuch_module:\n", "/hook.yml:1:3: couldn't resolve module/action 'nosuch_module'."),
        ("- acme.none.nosuch:\n", "/hook.yml:1:3: couldn't resolve module/action 'acme.none.nosuch'."),
        ("- ping:\n  wen: x\n", "/hook.yml:1:3: conflicting action statements: ping, wen"),
        ("- name: nothing\n", "/hook.yml:1:3: no module/action detected in task"),
        ("- block: x\n", "/hook.yml:1:3: A malformed block was encountered"),
        ("- ping:\n  vars: [1]\n", "/hook.yml:2:9: Vars in a Task must be specified as a dictionary"),
        ("- ping:\n  register: a-b\n", "/hook.yml:2:13: Invalid 'register' specified: "),
        ("- include_tasks:\n", "/hook.yml:1:3: No file specified for include_tasks"),
        ("- include_tasks: {file: a, foo: b}\n", "/hook.yml:1:3: Invalid options for include_tasks: foo"),
        (
            "- include_role: {name: nosuch}\n",
            "/hook.yml:1: it includes the role nosuch, and the role 'nosuch' was not ",
        ),
        ("- import_role: {name: nosuch}\n", "/hook.yml:1:23: the role 'nosuch' was not found in "),
        ("- include_tasks: nosuch.yml\n", "/hook.yml:1: it includes nosuch.yml, and there is no such file"),
    ],
)
def test_what_cannot_be(check: Check, tmp_path: Path, text: str, problem: str | None) -> None:
    found = check(text)
    assert found.warnings == []
    if problem is None:
        assert found.problems == [
            f"{tmp_path}/hook.yml: entry 1 of the list is no task",
            f"{tmp_path}/hook.yml: entry 2 of the list is no task",
        ]
    else:
        assert only(found, tmp_path).startswith(problem)


def test_every_mistake_of_a_file_is_told_once(check: Check) -> None:
    found = check("- nosuch_a:\n- ping:\n- nosuch_b:\n- ping:\n  notify: [x, x]\n")
    assert [problem.rpartition("/hook.yml:")[2][:40] for problem in found.problems] == [
        "1:3: couldn't resolve module/action 'nos",
        "3:3: couldn't resolve module/action 'nos",
        "4: it notifies the handler 'x', which is",
    ]


@pytest.mark.parametrize("how", ["import_tasks", "include_tasks", "ansible.builtin.include_tasks"])
def test_what_it_includes_is_looked_at(check: Check, tmp_path: Path, how: str) -> None:
    found = check(f"- {how}: one.yml\n", one=f"- {how}: two.yml\n", two="- nosuch_module:\n")
    assert only(found, tmp_path).startswith("/two.yml:1:3: couldn't resolve module/action 'nosuch_module'.")
    found = check(f"- {how}: two.yml\n", two="- meta: end_play\n")
    assert only(found, tmp_path).startswith("/two.yml:1: meta: end_play takes nodes out")


def test_folders_are_told_of(check: Check, tmp_path: Path) -> None:
    (tmp_path / "sub.yml").mkdir()
    assert only(check("- include_tasks: sub.yml\n"), tmp_path) == "/sub.yml: it is a folder, not a file of tasks"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.yml").write_text("- include_tasks: b.yml\n", encoding="utf-8")
    (tmp_path / "in/b.yml").write_text("- nosuch_module:\n", encoding="utf-8")
    assert only(check("- include_tasks: in/a.yml\n"), tmp_path).startswith("/in/b.yml:1:3: couldn't resolve")


def test_a_file_that_includes_itself_is_looked_at_once(check: Check, tmp_path: Path) -> None:
    assert check("- include_tasks: hook.yml\n  when: more\n") == hooks.Found()


def test_names_that_are_known_now(check: Check, tmp_path: Path) -> None:
    found = check(
        "- include_tasks: '{{ emqx_upgrade_hook.name }}-{{ inventory_hostname }}-{{ site }}.yml'\n",
        {"vars": {"site": "x"}},
        **{"before_node-b1-x": "- nosuch_module:\n"},
    )
    assert only(found, tmp_path).startswith("/before_node-b1-x.yml:1:3: couldn't resolve")
    for word in ("run", "version", "wave", "hosts[1]"):
        assert check(f"- include_tasks: '{{{{ emqx_upgrade_hook.{word} }}}}.yml'\n").warnings == []


@pytest.mark.parametrize(
    "text",
    ["- include_tasks: '{{ item }}.yml'\n  loop: [a]\n", "- include_role: {name: '{{ later }}'}\n"],
)
def test_names_that_are_not(check: Check, tmp_path: Path, text: str) -> None:
    found = check(text)
    assert found.problems == []
    (warning,) = found.warnings
    name = "{{ item }}.yml" if "item" in text else "{{ later }}"
    assert warning == (
        f"{tmp_path}/hook.yml:1: it includes '{name}', whose name is only known when it runs, so that it was not "
        f"looked at"
    )


def test_a_file_that_may_never_be_included(check: Check, tmp_path: Path) -> None:
    found = check("- include_tasks: nosuch.yml\n  when: later\n- include_role: {name: nosuch}\n  when: later\n")
    assert found.problems == []
    assert found.warnings[0] == (
        f"{tmp_path}/hook.yml:1: it includes nosuch.yml, and there is no such file; it has a condition, so it is let "
        f"pass"
    )
    assert len(found.warnings) == 2
    # But that it cannot be loaded is known whatever the condition is.
    assert len(check("- include_tasks: a.yml\n  when: false\n", a="- nosuch_module:\n").problems) == 1


def make_role(path: Path, **files: str) -> None:
    for name, text in files.items():
        file = path / name.replace("_", "/", 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".yml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("how", ["import_role", "include_role"])
def test_roles_are_looked_at(check: Check, tmp_path: Path, how: str) -> None:
    role = tmp_path / "roles/r"
    make_role(role, tasks_main="- ping:\n", tasks_more="- include_tasks: bad.yml\n", tasks_bad="- nosuch_module:\n")
    assert check(f"- {how}: {{name: r}}\n") == hooks.Found()
    found = check(f"- {how}: {{name: r, tasks_from: more}}\n")
    assert only(found, tmp_path).startswith("/roles/r/tasks/bad.yml:1:3: couldn't resolve")
    assert "tasks/none" in only(check(f"- {how}: {{name: r, tasks_from: none}}\n"), tmp_path)


def test_a_broken_role_is_told_of_with_its_place(check: Check, tmp_path: Path) -> None:
    make_role(tmp_path / "roles/r", tasks_main="- nosuch_module:\n")
    assert only(check("- include_role: {name: r}\n  when: later\n"), tmp_path).startswith(
        "/hook.yml:1: it includes the role r, and /roles/r/tasks/main.yml:1:3: couldn't resolve module/action "
    )


def test_handlers_that_are_there(check: Check, tmp_path: Path) -> None:
    make_role(
        tmp_path / "roles/r", tasks_main="- ping:\n  notify: in role\n", handlers_main="- name: in role\n  ping:\n"
    )
    text = "- include_role: {name: r}\n- ping:\n  notify: [of play, heard, 'r : in role', '{{ later }}']\n"
    handlers = [{"name": "of play", "ansible.builtin.ping": None}, {"ansible.builtin.ping": None, "listen": "heard"}]
    assert check(text, {"handlers": handlers}) == hooks.Found()
    assert len(check(text, {"handlers": handlers[:1]}).problems) == 1


def test_a_file_that_is_not_there(check: Check, tmp_path: Path) -> None:
    assert only(check("- import_tasks: gone.yml\n"), tmp_path) == (
        "/hook.yml: there is no file /gone.yml, or it cannot be read"
    )
    (tmp_path / "a.yml").symlink_to("gone.yml")
    assert only(check("- include_tasks: a.yml\n"), tmp_path) == (
        "/hook.yml:1: it includes a.yml, and there is no such file"
    )


def test_a_file_that_cannot_be_read(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so that the refusal is put into the loader's mouth."""

    def refuse(_loader: DataLoader, path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(DataLoader, "load_from_file", refuse)
    assert only(check("- ping:\n"), tmp_path) == "/hook.yml: [Errno 13] Permission denied: '/hook.yml'"


def test_an_encrypted_file(check: Check, tmp_path: Path) -> None:
    vault = VaultLib([("default", VaultSecret(b"pw"))])
    encrypted = vault.encrypt("- nosuch_module:\n")
    assert only(check(encrypted), tmp_path) == "/hook.yml: A vault password must be specified to decrypt data"
    found = check(encrypted, secrets=[("default", VaultSecret(b"pw"))])
    assert only(found, tmp_path).startswith("/hook.yml:1:3: couldn't resolve")
    found = check(encrypted, secrets=[("default", VaultSecret(b"other"))])
    assert only(found, tmp_path).startswith("/hook.yml: Decryption failed")
