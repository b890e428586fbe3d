# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Write docs/awx-content.md and docs/awx-workflow.svg from the content for AWX, or look whether they are what it says.

usage: awx_doc.py [--check]
"""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml
from generated_page import ROOT, main, table

PREFIX = "EMQX "
INTRODUCTION = """\
<!-- Made by scripts/awx_doc.py from extensions/awx/content.yml and the role's argument spec; change it there. -->
# What AWX gets

The objects that `emqx.fleet.awx_setup` brings to AWX or Tower, as
[`extensions/awx/content.yml`](../extensions/awx/content.yml) has them. Names begin with `emqx_awx_prefix`, which is
`EMQX ` unless told otherwise.

## Variables of emqx.fleet.awx_setup

The connection is that of `awx.awx`: `CONTROLLER_HOST`, `CONTROLLER_OAUTH_TOKEN`, `CONTROLLER_VERIFY_SSL` and its other
variables of the environment, or `tower_cli.cfg`. With `--check` it tells what would change, once AWX has had all of
it.

"""
EXPORT = (
    "`emqx_awx_export`",
    "",
    "Path of a file. The content is written there as variables for `infra.aap_configuration`, and AWX is not asked.",
)
SURVEYS = """
## Surveys

Each question is about one setting; type, choices, bounds, default and help are those of the role. What a survey sends
wins over the inventory, an answer that was left empty included: depending on its release, AWX sends nothing, an empty
text or null, and the last two mean the default of the role. So ask for what is decided for each run, and set in the
inventory what is not: `emqx_awx_not_asked` takes a question out, and `emqx_awx_defaults` fills it in beforehand.
Choices and numbers have their default filled in, since the forms of some releases let nobody leave them empty.

"""
CREDENTIALS = """
## Credential types

The secrets of a run reach it by these alone: they are in no survey and in no extra variables of a template, which
everybody can read. Make a credential of a type and name it in `emqx_awx_credentials`. The Erlang cookie needs none: it
is read on each node, is used there, and never leaves it.

Certificates and keys are written to files for the time of a job, and the settings get their paths. A field that is left
empty is an empty setting, which wins over the inventory, too.

"""
EDGES = {"success": "success", "failure": "failure", "always": "always"}

# The picture: one column for the way of a success, one for the way after a failure.
_WIDTH, _HEIGHT, _STEP, _TOP, _LEFT, _SIDE, _BUS = 270, 46, 72, 56, 30, 450, 375
_STYLE = """\
.ground{fill:#ffffff}.box{fill:#f6f8fa;stroke:#57606a;stroke-width:1.5}.asks{stroke-dasharray:6 4}
text{font:14px system-ui,sans-serif;fill:#1f2328}.small{font-size:12px;fill:#57606a}
path{fill:none;stroke-width:2}.success{stroke:#1a7f37}.failure{stroke:#cf222e;stroke-dasharray:7 4}
.always{stroke:#0969da;stroke-dasharray:2 4}
.tip-success{fill:#1a7f37}.tip-failure{fill:#cf222e}.tip-always{fill:#0969da}
@media (prefers-color-scheme:dark){.ground{fill:#0d1117}.box{fill:#161b22;stroke:#8b949e}text{fill:#e6edf3}
.small{fill:#9198a1}.success{stroke:#3fb950}.failure{stroke:#f85149}.always{stroke:#58a6ff}
.tip-success{fill:#3fb950}.tip-failure{fill:#f85149}.tip-always{fill:#58a6ff}}
"""


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """The content, and what AWX gets of it."""
    # Under its full name the collection is in a copy of the checkout.
    tree = subprocess.run([sys.executable, ROOT / "scripts/tree.py"], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(Path(tree.stdout.strip()).parents[2]))
    from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings
    from ansible_collections.emqx.fleet.plugins.plugin_utils.show import awx_content

    content = yaml.safe_load((ROOT / "extensions/awx/content.yml").read_text(encoding="utf-8"))
    specs = yaml.safe_load((ROOT / "roles/emqx_upgrade/meta/argument_specs.yml").read_text(encoding="utf-8"))
    arguments = {"organization": "Default", "prefix": PREFIX}
    return content, awx_content.objects(content, settings.options_of(specs), arguments)


def page() -> str:
    """The page's text."""
    content, objects = load()
    sections = [INTRODUCTION, table(("Variable", "Default", "What"), _variables()), _templates(content, objects)]
    sections += [_workflow(content, workflow) for workflow in objects["workflows"]]
    sections += [SURVEYS, *_surveys(objects), CREDENTIALS, *_credential_types(objects)]
    labels = ", ".join(f"`{label['name']}`" for label in objects["labels"])
    sections += [f"\n## Labels\n\n{labels}, of all templates and workflows. AWX removes a label that nothing has.\n"]
    return "".join(sections)


def _variables() -> list[tuple[str, str, str]]:
    """The options of the module that works the content out."""
    tree = ast.parse((ROOT / "plugins/modules/emqx_awx_content.py").read_text(encoding="utf-8"))
    texts = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    options = yaml.safe_load(str(texts["DOCUMENTATION"]))["options"]
    rows = [
        (f"`emqx_awx_{name}`", _default(option.get("default")), _code(option["description"]))
        for name, option in options.items()
        if name != "apply"
    ]
    return [*rows, EXPORT]


def _default(value: Any) -> str:
    value = ", ".join(value) if isinstance(value, list) else value
    return f"`{value}`" if value not in ("", [], {}, None) else ""


def _code(text: str) -> str:
    for sign in "CVO":
        while f"{sign}(" in text:
            head, _sign, rest = text.partition(f"{sign}(")
            inner, _end, tail = rest.partition(")")
            text = f"{head}`{inner}`{tail}"
    return text


def _templates(content: Mapping[str, Any], objects: Mapping[str, Any]) -> str:
    common = content["template"]
    rows = []
    for template in objects["job_templates"]:
        asks = [question["variable"].removeprefix("emqx_upgrade_") for question in _questions(template)]
        given = ", ".join(f"`{name}: {value}`" for name, value in template["extra_vars"].items())
        asked = ", ".join(f"`{name}`" for name in asks)
        rows.append((f"`{template['name']}`", f"`{template['playbook']}`", template["description"], given, asked))
    return (
        "\n## Job templates\n\n"
        + table(("Template", "Playbook", "What it does", "Extra variables", "Asks for"), rows)
        + f"\nAll of them work on {common['forks']} nodes at the same time (`forks`), run once at a time, are never "
        "sliced (a slice would see a part of a cluster), have no time limit, and ask for a limit. Which part of a run "
        "a job is for is said by its playbook, so that none needs tags.\n"
    )


def _workflow(content: Mapping[str, Any], workflow: Mapping[str, Any]) -> str:
    (found,) = (one for one in content["workflows"] if PREFIX + one["name"] == workflow["name"])
    rows = []
    for node in found["nodes"]:
        what = f"asks: {node['approval']['name']}" if "approval" in node else f"`{PREFIX}{node['template']}`"
        waits = _hours(node["approval"]["timeout"]) if "approval" in node else ""
        leads = [", ".join(f"`{child}`" for child in node.get(edge) or ()) for edge in EDGES]
        rows.append((f"`{node['identifier']}`", what, waits, *leads))
    given = ", ".join(f"`{name}: {value}`" for name, value in workflow["extra_vars"].items())
    return (
        f"\n## The workflow `{workflow['name']}`\n\n{workflow['description']}\n\n"
        "![The nodes of the workflow and the ways between them](awx-workflow.svg)\n\n"
        + table(("Node", "What", "Times out after", "On success", "On failure", "Always"), rows)
        + "\nA node that failed is no failure of the workflow where a way leads on from it: then the end of that way "
        "counts. So every way after a failure ends in `report`, which fails unless the run was a success, and from "
        "which none leads on. An approval that is denied, or times out, has failed.\n\n"
        f"Its extra variables: {given}. That is how long nodes stay reserved between two jobs, and it is longer than "
        "the approvals on any way between two of them may take; `emqx.fleet.awx_setup` refuses content where it is "
        "not.\n"
    )


def _hours(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds} s"


def _questions(owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(owner.get("survey_spec", {"spec": []})["spec"])


def _surveys(objects: Mapping[str, Any]) -> Iterable[str]:
    for owner in (*objects["workflows"], *objects["job_templates"]):
        rows = []
        for question in _questions(owner):
            kind = question["type"]
            bounds = f"{question['min']} to {question['max']}" if kind == "integer" else ""
            choices = ", ".join(f"`{choice}`" for choice in question.get("choices", "").splitlines())
            rows.append(
                (
                    question["question_name"] + (" (required)" if question["required"] else ""),
                    f"`{question['variable']}`",
                    kind,
                    choices or bounds,
                    _default(question.get("default")),
                    question["question_description"],
                )
            )
        if rows:
            what = "workflow" if owner in objects["workflows"] else "job template"
            titles = ("Question", "Variable", "Type", "Choices, bounds", "Default", "Help")
            yield f"### Survey of the {what} `{owner['name']}`\n\n{table(titles, rows)}\n"


def _credential_types(objects: Mapping[str, Any]) -> Iterable[str]:
    for kind in objects["credential_types"]:
        injected = kind["injectors"]["extra_vars"]
        rows = []
        for field in kind["inputs"]["fields"]:
            variables = [name for name, template in injected.items() if _is_of(field["id"], template)]
            needed = " (required)" if field["id"] in kind["inputs"].get("required", ()) else ""
            secret = "yes" if field.get("secret") else ""
            rows.append(
                (
                    field["label"] + needed,
                    secret,
                    ", ".join(f"`{name}`" for name in variables),
                    field.get("help_text", ""),
                )
            )
        titles = ("Field", "Secret", "Injected as", "Help")
        yield f"### `{kind['name']}`\n\n{kind['description']}\n\n{table(titles, rows)}\n"


def _is_of(field: str, template: str) -> bool:
    return template.strip("{} ") == field or f"filename.{field} " in template


def picture() -> str:
    """The workflow as SVG: the way of a success on the left, what follows a failure on the right."""
    content, _objects = load()
    (workflow,) = content["workflows"]
    nodes = {node["identifier"]: node for node in workflow["nodes"]}
    main_way = _main_way(workflow["nodes"])
    side = [name for name in nodes if name not in main_way]
    # Those at the side end one row above the end of the main way, in which they lead.
    rows = {name: row for row, name in enumerate(main_way)}
    rows |= {name: len(main_way) - 1 - 2 * (len(side) - number) + 1 for number, name in enumerate(side)}
    height = _TOP + len(main_way) * _STEP
    width = _SIDE + _WIDTH + 60
    parts = [f'<rect class="ground" width="{width}" height="{height}"/>', *_legend()]
    for child, edge in itertools.product(nodes, EDGES):
        parents = [name for name, node in nodes.items() if child in (node.get(edge) or ())]
        parts += _edges(edge, parents, child, rows, main_way)
    parts += [_box(node, name in main_way, rows[name]) for name, node in nodes.items()]
    tips = "".join(
        f'<marker id="{edge}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path class="tip-{edge}" style="stroke:none" d="M0 0L10 5L0 10z"/></marker>'
        for edge in EDGES
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img">\n'
        f"<!-- Made by scripts/awx_doc.py from extensions/awx/content.yml; change it there. -->\n"
        f"<title>{escape(PREFIX + workflow['name'])}</title>\n<desc>{escape(workflow['description'])}</desc>\n"
        f"<style>\n{_STYLE}</style>\n<defs>{tips}</defs>\n{body}\n</svg>\n"
    )


def _main_way(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The way on which every node succeeds."""
    by_name = {node["identifier"]: node for node in nodes}
    way = [nodes[0]["identifier"]]
    while by_name[way[-1]].get("success"):
        way.append(by_name[way[-1]]["success"][0])
    return way


def _legend() -> list[str]:
    found = []
    for number, (edge, words) in enumerate(
        (("success", "on success"), ("failure", "on failure"), ("always", "always"))
    ):
        left = _LEFT + number * 150
        found.append(f'<path class="{edge}" d="M{left} 26h40" marker-end="url(#{edge})"/>')
        found.append(f'<text class="small" x="{left + 50}" y="30">{words}</text>')
    return found


def _y(row: int) -> int:
    return _TOP + row * _STEP


def _box(node: Mapping[str, Any], on_main_way: bool, row: int) -> str:
    left = _LEFT if on_main_way else _SIDE
    if "approval" in node:
        below = f"{node['identifier']}, times out after {_hours(node['approval']['timeout'])}"
        title, kind, corner = node["approval"]["name"], "box asks", _HEIGHT // 2
    else:
        title, below, kind, corner = f"{PREFIX}{node['template']}", node["identifier"], "box", 6
    middle, top = left + _WIDTH // 2, _y(row)
    return (
        f'<rect class="{kind}" x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="{corner}"/>'
        f'<text x="{middle}" y="{top + 20}" text-anchor="middle">{escape(title)}</text>'
        f'<text class="small" x="{middle}" y="{top + 37}" text-anchor="middle">{escape(below)}</text>'
    )


def _edges(
    edge: str, parents: Sequence[str], child: str, rows: Mapping[str, int], main_way: Sequence[str]
) -> Iterable[str]:
    """All edges of one kind that lead to a node; those that turn to the side meet before they get there."""
    end, half = _y(rows[child]), _HEIGHT // 2
    across = [rows[name] for name in parents if name in main_way and child not in main_way]
    for row in across:
        yield f'<path class="{edge}" d="M{_LEFT + _WIDTH} {_y(row) + half}H{_BUS}"/>'
    if across:
        yield f'<path class="{edge}" d="M{_BUS} {_y(min(across)) + half}V{_y(max(across)) + half}"/>'
        yield _arrow(edge, f"M{_BUS} {end + half}H{_SIDE}")
    for name in parents:
        begin = _y(rows[name])
        if (name in main_way) == (child in main_way):
            left = (_LEFT if name in main_way else _SIDE) + _WIDTH // 2
            yield _arrow(edge, f"M{left} {begin + _HEIGHT}V{end}")
        elif child in main_way and rows[name] + 1 >= rows[child]:
            yield _arrow(edge, f"M{_SIDE + _WIDTH // 2} {begin + _HEIGHT}V{end + half - 6}H{_LEFT + _WIDTH}")
        elif child in main_way:
            yield _arrow(edge, f"M{_SIDE + _WIDTH} {begin + half}h30V{end + half + 8}H{_LEFT + _WIDTH}")


def _arrow(edge: str, drawn: str) -> str:
    return f'<path class="{edge}" d="{drawn}" marker-end="url(#{edge})"/>'


if __name__ == "__main__":
    sys.exit(main(__doc__, "docs/awx-content.md", page) or main(__doc__, "docs/awx-workflow.svg", picture))
