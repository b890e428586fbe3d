# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the documentation use options that there are; that they run, the integration tests show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emqx.fleet.plugins.doc_fragments.node import ModuleDocFragment
from ansible_collections.emqx.fleet.tests.unit.plugins.documentation import FILES, ROOT, block

MODULES = [name for name in FILES if name.startswith("modules/")]
PREFIX = "emqx.fleet."
#: What Ansible has without being told, or has the user say outside of the example.
MAGIC = ("ansible_", "awx_", "tower_", "hostvars", "inventory_", "groups", "group_names", "play_hosts", "omit", "item")


def options(module: str) -> dict[str, Any]:
    """The argument spec that a module of ours documents."""
    documented = block(ROOT / f"plugins/modules/{module}.py", "DOCUMENTATION")
    fragments = documented.get("extends_documentation_fragment") or []
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"] if "emqx.fleet.node" in fragments else {}
    own = documented.get("options") or {}
    return {name: {**shared.get(name, {}), **own.get(name, {})} for name in {**shared, **own}}


def spec_of(described: Mapping[str, Any]) -> dict[str, Any]:
    spec = {key: described[key] for key in ("type", "elements", "choices", "required", "aliases") if key in described}
    if "suboptions" in described:
        spec["options"] = {name: spec_of(row) for name, row in described["suboptions"].items()}
    return spec


def tasks_in(items: list[Any]) -> Iterator[dict[str, Any]]:
    """All tasks of an example, which is a list of tasks or of plays."""
    for item in items:
        lists = [item[key] for key in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always") if key in item]
        for inner in lists:
            yield from tasks_in(inner)
        if not lists:
            yield item


def errors_of(name: str, arguments: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the arguments of one of our modules, by its documentation; a template may be anything."""
    spec = {option: spec_of(row) for option, row in options(name).items()}
    for option, value in (arguments or {}).items():
        if isinstance(value, str) and "{{" in value and option in spec:
            spec[option] = {"type": "raw"}
    return list(ArgumentSpecValidator(spec).validate(dict(arguments or {})).error_messages)


def test_every_plugin_has_examples() -> None:
    assert len(MODULES) >= 8
    assert [name for name, path in FILES.items() if not block(path, "EXAMPLES")] == []


@pytest.mark.parametrize("name", FILES)
def test_options_of_examples_are_documented(name: str) -> None:
    found = 0
    for task in tasks_in(block(FILES[name], "EXAMPLES")):
        for key, arguments in task.items():
            if key.startswith(PREFIX) and (ROOT / f"plugins/modules/{key[len(PREFIX) :]}.py").exists():
                found += 1
                assert errors_of(key[len(PREFIX) :], arguments) == [], task["name"]
    assert found or not name.startswith("modules/"), "an example of a module does not use it"


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        ("emqx_release", {"version": "4.4.19", "no_such_option": 1}, "no_such_option"),
        ("emqx_release", {}, "version"),
        ("emqx_release", {"version": "4.4.19", "timeout": "soon"}, "timeout"),
        ("emqx_release", {"version": "4.4.19", "state": "there"}, "state"),
        ("emqx_reservation", {"id": "x", "dead": {"a": 1}}, "dead"),
    ],
)
def test_wrong_examples_would_be_seen(module: str, arguments: dict[str, Any], says: str) -> None:
    (error,) = errors_of(module, arguments)
    assert says in error


def used_variables(value: Any) -> set[str]:
    """Variables that templates use."""
    found: set[str] = set()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            texts = inner if isinstance(inner, list) else [inner]
            if key in ("when", "that", "until", "changed_when", "failed_when"):
                texts = [f"{{{{ {text} }}}}" for text in texts if isinstance(text, str)]
            found |= used_variables(inner if isinstance(inner, Mapping) else texts)
        return found
    if isinstance(value, list):
        return found.union(*map(used_variables, value))
    if not isinstance(value, str) or "{{" not in value:
        return found
    environment = jinja2.Environment(autoescape=False)
    return set(jinja2.meta.find_undeclared_variables(environment.parse(value)))


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules_use_only_what_they_have(name: str) -> None:
    """Who copies an example has nothing else."""
    known: set[str] = set()
    for task in tasks_in(block(FILES[name], "EXAMPLES")):
        used = {variable for variable in used_variables(task) if not variable.startswith(MAGIC)}
        assert used <= known | set(task.get("vars") or {}), f"{task['name']}: {used - known}"
        known |= {task["register"]} if "register" in task else set()
        known |= set(task.get("ansible.builtin.set_fact") or {})


def test_a_failed_task_is_spoken_of_only_where_one_has_failed() -> None:
    for name, path in FILES.items():
        for item in block(path, "EXAMPLES"):
            outside = {key: value for key, value in item.items() if key != "rescue"}
            assert "ansible_failed_" not in str(outside), name
