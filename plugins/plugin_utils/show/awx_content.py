# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX, or Tower, gets: the objects of ``extensions/awx/content.yml`` as arguments of the modules of ``awx.awx``.

Pure functions. Surveys name settings, and all that they say about one comes from the role's argument spec and from
:data:`settings.RULES`. What AWX demands of names, surveys and workflows is that of AWX 24.6.1
(``awx/main/models/{mixins,workflow}.py``, ``awx/api/views/__init__.py``), and what the modules do with it is that of
``awx.awx`` 24.6.1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import settings

Content = Mapping[str, Any]
Options = Mapping[str, Mapping[str, Any]]
Arguments = Mapping[str, Any]
#: Edges of a node in the content, and what the modules call them.
EDGES = {"success": "success_nodes", "failure": "failure_nodes", "always": "always_nodes"}
#: How the identifiers of approvals begin, and no others: where a node of a job became one of an approval, the module
#: would give the job template the approval's name.
APPROVAL = "approve-"

_KEYS = ("labels", "questions", "template", "templates", "workflows", "credential_types")
#: What of a template is not an argument of ``awx.awx.job_template`` as it stands.
_OWN_OF_TEMPLATE = ("name", "survey", "required", "holds_nodes")
_OWN_OF_WORKFLOW = (*_OWN_OF_TEMPLATE, "nodes", "job_seconds")
_TEXT = {"min": 0, "max": 1024}
_TEXTAREA = {"min": 0, "max": 32768}
_MARKUP = re.compile(r"\b[BCEIOV]\(([^)]*)\)")


class ContentError(ValueError):
    """Content, or arguments for it, that AWX cannot get; ``problems`` are sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def objects(content: Content, options: Options, arguments: Arguments) -> dict[str, Any]:
    """All objects, by their kind, in the order in which AWX needs them. Raises ContentError.

    ``options`` are those of :func:`settings.options_of`. ``arguments``: ``organization``, ``prefix``, ``project``,
    ``project_url``, ``project_branch``, ``project_credential``, ``inventory``, ``execution_environment``,
    ``execution_environment_image``, ``machine_credential``, ``credentials``, ``forks``, ``defaults`` (setting -> what
    surveys suggest) and ``not_asked`` (settings that no survey asks for); what is empty or missing is left to the
    content, or to AWX.
    """
    problems = check(content, options)
    if not problems:
        problems = _bad_arguments(content, options, arguments)
    if problems:
        raise ContentError(problems)
    prefix, organization = arguments["prefix"], arguments["organization"]
    project = arguments.get("project") or f"{prefix}fleet"
    inventory = arguments.get("inventory") or f"{prefix}brokers"
    image = arguments.get("execution_environment_image")
    environment = arguments.get("execution_environment") or (f"{prefix}fleet" if image else "")
    labels = list(content.get("labels") or ())
    common = {"organization": organization, "labels": labels}
    for_template = {
        **common,
        "project": project,
        "inventory": inventory,
        **({"execution_environment": environment} if environment else {}),
        **_credentials(arguments),
    }
    templates = [
        {
            **content["template"],
            **({"forks": arguments["forks"]} if arguments.get("forks") else {}),
            **_without(template, _OWN_OF_TEMPLATE),
            "name": prefix + template["name"],
            "extra_vars": dict(template.get("extra_vars") or {}),
            **_with_survey(template, content, options, arguments),
            **for_template,
        }
        for template in content["templates"]
    ]
    workflows = [
        {
            **_without(workflow, _OWN_OF_WORKFLOW),
            "name": prefix + workflow["name"],
            "extra_vars": dict(workflow.get("extra_vars") or {}),
            **_with_survey(workflow, content, options, arguments),
            **common,
            "nodes": [_node(node, prefix) for node in workflow["nodes"]],
        }
        for workflow in content.get("workflows") or ()
    ]
    found: dict[str, Any] = {
        "organization": organization,
        "labels": [{"name": label, "organization": organization} for label in labels],
        "credential_types": [{**kind, "name": prefix + kind["name"]} for kind in content.get("credential_types") or ()],
        "execution_environments": [
            {"name": environment, "organization": organization, "image": each, "pull": "missing"}
            for each in filter(None, [image])
        ],
        "projects": list(_project(project, arguments)),
        "inventories": [{"name": inventory, "organization": organization}],
        "job_templates": templates,
        "workflows": workflows,
    }
    same = _same_names(found)
    if same:
        raise ContentError(same)
    return found


def merged(contents: Sequence[Content]) -> dict[str, Any]:
    """Several contents as one: lists one behind the other, of dictionaries the later entry."""
    found: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            if isinstance(value, Mapping):
                found[key] = {**found.get(key, {}), **value}
            elif isinstance(value, (list, tuple)):
                found[key] = [*found.get(key, []), *(item for item in value if item not in found.get(key, []))]
            else:
                found[key] = value
    return found


def survey(
    names: Sequence[str],
    required: Iterable[str],
    questions: Mapping[str, str],
    options: Options,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A survey of AWX that asks for settings, by their names without the prefix."""
    spec = [
        question(name, name in required, questions[name], options[name], (defaults or {}).get(name)) for name in names
    ]
    return {"name": "", "description": "", "spec": spec}


def question(name: str, required: bool, words: str, option: Mapping[str, Any], default: Any = None) -> dict[str, Any]:
    """One question.

    A default of a survey wins over the inventory, so that there is one only where AWX's forms demand it, which let
    nobody leave a choice or a number empty, or where ``default`` suggests one.
    """
    kind, more = _kind(name, option)
    if kind in ("multiplechoice", "integer") and default is None:
        default = option["default"]
    found = {
        "question_name": words,
        "question_description": _help(name, option, kind, required),
        "required": required,
        "type": kind,
        "variable": settings.PREFIX + name,
        **more,
    }
    if default is not None:
        found["default"] = _written(default, kind)
    return found


def check(content: Content, options: Options) -> list[str]:
    """Sentences about what is wrong with the content itself."""
    missing = [key for key in ("template", "templates", "questions") if not content.get(key)]
    if missing:
        return [f"The content has no {' and no '.join(missing)}; expected are {', '.join(_KEYS)}."]
    unknown = [key for key in content if key not in _KEYS]
    problems = [f"The content has {key}, which is unknown; expected are {', '.join(_KEYS)}." for key in unknown]
    names = [template["name"] for template in content["templates"]]
    problems += [f"The template {name} is there {count} times; expected is once." for name, count in _repeated(names)]
    for template in content["templates"]:
        problems += _bad_survey(f"The template {template['name']}", template, content, options)
    for workflow in content.get("workflows") or ():
        where = f"The workflow {workflow['name']}"
        found = [*_bad_survey(where, workflow, content, options), *_bad_nodes(where, workflow, names)]
        problems += found or [*_unanswered(where, workflow, content), *_not_parked(where, workflow, content, options)]
    return problems


def longest_gap(workflow: Mapping[str, Any], holds: Iterable[str]) -> tuple[int, list[str]] | None:
    """The longest time for which nodes wait between two jobs that hold them: seconds, and the nodes on that way.

    ``holds`` are the templates that leave nodes reserved. Each job that is not one of them, and the beginning of the
    next one, takes ``job_seconds``. None where an approval on such a way never times out.
    """
    nodes = {node["identifier"]: node for node in workflow["nodes"]}
    holding, job_seconds = set(holds), int(workflow.get("job_seconds") or 0)
    longest: tuple[int, list[str]] = (0, [])

    def ways(node: Mapping[str, Any], seconds: int, way: list[str]) -> Iterator[tuple[int, list[str]] | None]:
        for name in children(node):
            child = nodes[name]
            if "approval" in child:
                timeout = int(child["approval"].get("timeout") or 0)
                if timeout == 0:
                    yield None
                    continue
                yield from ways(child, seconds + timeout, [*way, name])
                continue
            yield seconds + job_seconds, [*way, name]
            if child["template"] not in holding:
                yield from ways(child, seconds + job_seconds, [*way, name])

    for node in workflow["nodes"]:
        if node.get("template") in holding:
            for found in ways(node, 0, [node["identifier"]]):
                if found is None:
                    return None
                longest = max(longest, found, key=lambda way: way[0])
    return longest


def children(node: Mapping[str, Any]) -> list[str]:
    """Identifiers of the nodes behind one, each once, whatever the edge."""
    return list(dict.fromkeys(name for edge in EDGES for name in node.get(edge) or ()))


def plain(text: Any) -> str:
    """The description of an option without its markup."""
    lines = [text] if isinstance(text, str) else text
    return " ".join(_MARKUP.sub(r"\1", str(line)).strip() for line in lines)


def _without(found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in names}


def _credentials(arguments: Arguments) -> dict[str, Any]:
    """Credentials of every template; where none is named, those that somebody gave them stay."""
    named = [arguments.get("machine_credential"), *(arguments.get("credentials") or ())]
    found = list(dict.fromkeys(name for name in named if name))
    return {"credentials": found} if found else {}


def _project(name: str, arguments: Arguments) -> Iterator[dict[str, Any]]:
    """The project; none where no URL is given, for one that is there already."""
    if arguments.get("project_url"):
        yield {
            "name": name,
            "organization": arguments["organization"],
            "scm_type": "git",
            "scm_url": arguments["project_url"],
            "scm_branch": arguments.get("project_branch") or "",
            # All jobs of a run shall be of one revision.
            "scm_update_on_launch": False,
            **({"credential": arguments["project_credential"]} if arguments.get("project_credential") else {}),
        }


def _with_survey(owner: Mapping[str, Any], content: Content, options: Options, arguments: Arguments) -> dict[str, Any]:
    left_out = set(arguments.get("not_asked") or ())
    names = [name for name in owner.get("survey") or () if name not in left_out]
    if not names:
        return {"survey_enabled": False}
    defaults = arguments.get("defaults") or {}
    spec = survey(names, owner.get("required") or (), content["questions"], options, defaults)
    return {"survey_enabled": True, "survey_spec": spec}


def _node(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {"identifier": node["identifier"]}
    if "approval" in node:
        found["approval_node"] = dict(node["approval"])
    else:
        found["unified_job_template"] = prefix + node["template"]
    if node.get("extra_vars"):
        found["extra_data"] = dict(node["extra_vars"])
    found["all_parents_must_converge"] = bool(node.get("converge"))
    return {**found, **{name: list(node.get(edge) or ()) for edge, name in EDGES.items()}}


def _kind(name: str, option: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type of a question, and its bounds or choices."""
    rule = settings.RULES.get(name, settings.Rule())
    if name == "accept":
        return "multiselect", {"choices": "\n".join(settings.can_be_accepted())}
    if option["type"] == "bool":
        return "multiplechoice", {"choices": "yes\nno"}
    if "choices" in option:
        kind = "multiselect" if option["type"] == "list" else "multiplechoice"
        return kind, {"choices": "\n".join(option["choices"])}
    if option["type"] == "list":
        return "textarea", dict(_TEXTAREA)
    if option["type"] == "int" and not rule.seconds:
        return "integer", {"min": int(rule.least), "max": int(rule.most)}
    return "text", dict(_TEXT)


def _help(name: str, option: Mapping[str, Any], kind: str, required: bool) -> str:
    """What the setting is, how it is written, and what it means to leave it empty."""
    said = [plain(option["description"])]
    if settings.RULES.get(name, settings.Rule()).seconds:
        said.append("A time may have a unit, as in 90s, 2m or 1h30m.")
    if kind == "textarea":
        said.append("One in a line, or with commas between them.")
    if not required and kind not in ("multiplechoice", "integer"):
        default = option["default"]
        empty = default in ("", [], None)
        said.append("May be left empty." if empty else f"Left empty, it is {_written(default, 'text')}.")
    return " ".join(said)


def _written(value: Any, kind: str) -> Any:
    """A value as a survey has it: a number for a number, else a text."""
    if kind == "integer":
        return int(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return (", " if kind == "text" else "\n").join(str(element) for element in value)
    return str(value)


def _repeated(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]


def _bad_survey(where: str, owner: Mapping[str, Any], content: Content, options: Options) -> Iterator[str]:
    """What is wrong with the names in a survey."""
    names = list(owner.get("survey") or ())
    for name, count in _repeated(names):
        yield f"{where} asks {count} times for {name}; expected is once."
    for name in dict.fromkeys(names):
        if name not in options:
            near = settings.did_you_mean(str(name), options)
            remedy = f"Did you mean {near}?" if near else "Take it out."
            yield f"{where} asks for {name}; expected are settings, without {settings.PREFIX}. {remedy}"
        elif settings.RULES.get(name, settings.Rule()).secret:
            yield (
                f"{where} asks for {name}, which is a secret; expected are settings that may be read. Surveys keep "
                "what was answered with the job: use a credential."
            )
        elif options[name]["type"] == "dict":
            yield f"{where} asks for {name}, which is no single value; expected is another setting. Take it out."
        elif name not in content["questions"]:
            yield f"{where} asks for {name}, and questions has no words for it; expected are some. Add them."
    for name in owner.get("required") or ():
        if name not in names:
            yield f"{where} requires {name}, which it does not ask for; expected are settings of its survey."
    for name in owner.get("extra_vars") or ():
        setting = str(name).removeprefix(settings.PREFIX)
        if settings.RULES.get(setting, settings.Rule()).secret:
            yield f"{where} has the secret {name} in its extra_vars, which everybody can read. Use a credential."


def _bad_nodes(where: str, workflow: Mapping[str, Any], templates: Sequence[str]) -> Iterator[str]:
    """What is wrong with the nodes of a workflow and their edges."""
    identifiers = [node["identifier"] for node in workflow["nodes"]]
    for name, count in _repeated(identifiers):
        yield f"{where} has the node {name} {count} times; expected is once."
    for node in workflow["nodes"]:
        name = node["identifier"]
        if ("approval" in node) == ("template" in node):
            yield f"{where}: the node {name} is to have either a template or an approval."
        elif "template" in node and node["template"] not in templates:
            near = settings.did_you_mean(node["template"], templates)
            remedy = f"Did you mean {near}?" if near else f"Expected is one of {', '.join(templates)}."
            yield f"{where}: the node {name} has the template {node['template']}, which is not there. {remedy}"
        if name.startswith(APPROVAL) != ("approval" in node):
            yield f"{where}: the node {name} is to begin with {APPROVAL} if it is an approval, and only then."
        targets = [target for edge in EDGES for target in node.get(edge) or ()]
        for target, _count in _repeated(targets):
            yield f"{where}: the node {name} leads to {target} by two edges; AWX allows one. Use always."
        for target in targets:
            if target not in identifiers:
                yield f"{where}: the node {name} leads to {target}, which is not there. Expected is a node of it."
    if not _ends(workflow):
        yield f"{where}: its nodes lead back to where they came from; AWX allows no circles."


def _ends(workflow: Mapping[str, Any]) -> bool:
    """Whether no way through a workflow comes back to where it was."""
    left = {node["identifier"]: set(children(node)) for node in workflow["nodes"]}
    while left:
        ends = [name for name, behind in left.items() if not behind & left.keys()]
        if not ends:
            return False
        for name in ends:
            del left[name]
    return True


def _unanswered(where: str, workflow: Mapping[str, Any], content: Content) -> Iterator[str]:
    """What a template must be told and the workflow does not ask for: the job would not begin."""
    by_name = {template["name"]: template for template in content["templates"]}
    told = {name.removeprefix(settings.PREFIX) for name in workflow.get("extra_vars") or ()}
    told |= set(workflow.get("required") or ())
    for node in workflow["nodes"]:
        if "template" not in node:
            continue
        for name in by_name[node["template"]].get("required") or ():
            if name not in told and settings.PREFIX + name not in (node.get("extra_vars") or {}):
                yield (
                    f"{where}: the template {node['template']} requires {name}, which the workflow does not; expected "
                    "is that it requires it, too."
                )


def _not_parked(where: str, workflow: Mapping[str, Any], content: Content, options: Options) -> Iterator[str]:
    """Whether nodes stay reserved for as long as anybody may take to answer."""
    holds = [template["name"] for template in content["templates"] if template.get("holds_nodes")]
    gap = longest_gap(workflow, holds)
    name = f"{settings.PREFIX}park_seconds"
    if gap is None:
        yield (
            f"{where} has an approval without a timeout while nodes are reserved; expected is one of some hours. "
            "Nobody can reserve nodes forever."
        )
        return
    seconds, way = gap
    if not way:
        return
    given = (workflow.get("extra_vars") or {}).get(name)
    value = options["park_seconds"]["default"] if given is None else given
    read = settings.read({"awx": {name: value}}, options, "status")
    if read.problems.sentences():
        yield from (f"{where}: {sentence}" for sentence in read.problems.sentences())
        return
    parked = read.settings["awx"]["park_seconds"]
    if parked <= seconds:
        yield (
            f"{where} keeps nodes reserved between its jobs for {parked} seconds ({name}), and the way "
            f"{' -> '.join(way)} may take {seconds}: other runs could take the nodes before an approval times out. "
            f"Expected are more than {seconds} seconds. Set {name} in its extra_vars, or shorten the timeouts."
        )


def _bad_arguments(content: Content, options: Options, arguments: Arguments) -> list[str]:
    """Suggested values and settings that are not asked, checked as a run would check them."""
    asked = {
        name
        for owner in (*content["templates"], *(content.get("workflows") or ()))
        for name in owner.get("survey") or ()
    }
    required = {
        name
        for owner in (*content["templates"], *(content.get("workflows") or ()))
        for name in owner.get("required") or ()
    }
    problems = []
    for variable, names in (
        ("defaults", arguments.get("defaults") or {}),
        ("not_asked", arguments.get("not_asked") or ()),
    ):
        for name in names:
            if name not in asked:
                near = settings.did_you_mean(str(name).removeprefix(settings.PREFIX), asked)
                remedy = f"Did you mean {near}?" if near else "Take it out."
                problems.append(
                    f"emqx_awx_{variable} names {name}, which no survey asks for; expected is one of "
                    f"{', '.join(sorted(asked))}. {remedy}"
                )
    for name in arguments.get("not_asked") or ():
        if name in required:
            problems.append(f"emqx_awx_not_asked names {name}, which a run must be told. Take it out.")
    for name, value in (arguments.get("defaults") or {}).items():
        if name in asked:
            read = settings.read({"awx": {settings.PREFIX + name: value}}, options, "status")
            problems += [f"emqx_awx_defaults: {sentence}" for sentence in read.problems.sentences()]
    return problems


def _same_names(found: Mapping[str, Any]) -> list[str]:
    """Names that nodes of a workflow could not tell apart: AWX looks for projects, templates and workflows at once."""
    names = [item["name"] for kind in ("projects", "job_templates", "workflows") for item in found[kind]]
    return [
        f"{count} of the project, the job templates and the workflows are named {name}; expected are different names. "
        "Set emqx_awx_project or emqx_awx_prefix."
        for name, count in _repeated(names)
    ]


def leftovers(
    there: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """What has to go from a workflow before its nodes are brought there.

    ``there``: its nodes as AWX tells them, ``wanted``: as :func:`objects` does. ``nodes`` are no more; of ``edges``
    each node has those that stay, where others go: AWX refuses an edge while another one leads to the same node.
    """
    names = {int(node["id"]): str(node["identifier"]) for node in there}
    by_name = {str(node["identifier"]): node for node in wanted}
    gone = [{"identifier": name} for name in names.values() if name not in by_name]
    edges = []
    for node in there:
        name = str(node["identifier"])
        if name not in by_name:
            continue
        found = {edge: [names[child] for child in node.get(edge) or () if child in names] for edge in EDGES.values()}
        stay = {
            edge: [child for child in found[edge] if child in by_name[name][edge] and child in by_name]
            for edge in found
        }
        if stay != found:
            edges.append({"identifier": name, **stay})
    return {"nodes": gone, "edges": edges}
