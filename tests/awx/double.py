# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A double of AWX's REST API, as far as ``emqx.fleet.awx_setup`` uses it.

It keeps objects in memory, checks every request against ``fields.yml`` and against AWX's rules for surveys, credential
types and workflows, and answers 400 in AWX's words where one is broken. Every request that changes something, or tries
to, is recorded.
"""

from __future__ import annotations

import copy
import http.server
import itertools
import json
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

FIELDS: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("fields.yml").read_text(encoding="utf-8"))
TOKEN = "token-of-the-double"
_ROOT = "/api/v2/"
_PAGE = 25
_EDGES = ("success_nodes", "failure_nodes", "always_nodes")
_UNIFIED = "unified_job_templates"
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_TYPES: Mapping[str, Any] = {"str": str, "bool": bool, "int": int, "number": (int, float)}


class Change(NamedTuple):
    """A request that is not a GET, and the status that it was answered with."""

    method: str
    path: str
    body: Any
    status: int


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, body: Any, status: int = 400) -> None:
        super().__init__(str(body))
        self.body = body
        self.status = status


class Double:
    """AWX on a port of 127.0.0.1. ``playbooks`` are the files of every project's repository."""

    def __init__(self, playbooks: Iterable[str]) -> None:
        self.playbooks = set(playbooks)
        self.objects: dict[str, dict[int, dict[str, Any]]] = {
            endpoint: {} for endpoint, of in FIELDS.items() if "fields" in of
        }
        self.surveys: dict[int, dict[str, Any]] = {}
        #: (endpoint, id, list) -> ids
        self.lists: dict[tuple[str, int, str], list[int]] = {}
        self.changes: list[Change] = []
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self.add("organizations", name="Default")

    def __enter__(self) -> Double:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """How the modules of awx.awx find it."""
        port = self._server.server_address[1]
        return {"CONTROLLER_HOST": f"http://127.0.0.1:{port}", "CONTROLLER_OAUTH_TOKEN": TOKEN}

    def add(self, endpoint: str, **fields: Any) -> int:
        """Put an object there, which nobody asked for over HTTP; returns its id."""
        return int(self._create(endpoint, fields)["id"])

    def named(self, endpoint: str) -> dict[str, dict[str, Any]]:
        """All objects of an endpoint by their name, or their identifier."""
        return {str(item.get("name", item.get("identifier"))): item for item in self.objects[endpoint].values()}

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """The status and the JSON for a request."""
        with self._lock:
            try:
                status, found = self._route(method, target, body)
            except RefusedError as refused:
                status, found = refused.status, refused.body
            if method != "GET":
                self.changes.append(Change(method, urlsplit(target).path, copy.deepcopy(body), status))
            return status, copy.deepcopy(found)

    def _route(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        url = urlsplit(target)
        if not url.path.startswith(_ROOT) or not url.path.endswith("/"):
            raise RefusedError({"detail": "Not found."}, 404)
        parts = url.path[len(_ROOT) : -1].split("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if len(parts) == 1 and (parts[0] in self.objects or parts[0] == _UNIFIED):
            return self._of_list(method, parts[0], query, url.path, body)
        if parts[0] in self.objects and len(parts) in (2, 3) and parts[1].isdigit():
            found = self.objects[parts[0]].get(int(parts[1]))
            if found is None:
                raise RefusedError({"detail": "Not found."}, 404)
            if len(parts) == 2:
                return self._of_object(method, parts[0], found, body)
            return self._below(method, parts[0], found, parts[2], query, url.path, body)
        raise RefusedError({"detail": "Not found."}, 404)

    def _of_list(self, method: str, endpoint: str, query: dict[str, str], path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._page(
                [self._shown(where, item) for where, item in self._found(endpoint, query)], query, path
            )
        if method == "POST" and endpoint in self.objects and endpoint != "project_updates":
            return 201, self._shown(endpoint, self._create(endpoint, body))
        raise RefusedError({"detail": f'Method "{method}" not allowed.'}, 405)

    def _of_object(self, method: str, endpoint: str, found: dict[str, Any], body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._shown(endpoint, found)
        if method == "PATCH":
            self._check(endpoint, body, found)
            return 200, self._shown(endpoint, found)
        if method == "DELETE" and not FIELDS[endpoint].get("no_delete"):
            self._delete(endpoint, found)
            return 204, None
        raise RefusedError({"detail": f'Method "{method}" not allowed.'}, 405)

    def _below(
        self, method: str, endpoint: str, found: dict[str, Any], name: str, query: dict[str, str], path: str, body: Any
    ) -> tuple[int, Any]:
        if name == "survey_spec" and FIELDS[endpoint].get("survey"):
            if method == "POST":
                self.surveys[found["id"]] = _survey(body)
            elif method == "DELETE":
                self.surveys.pop(found["id"], None)
            return 200, self.surveys.get(found["id"], {}) if method == "GET" else {}
        if name == "create_approval_template" and endpoint == "workflow_job_template_nodes" and method == "POST":
            approval = self._create("workflow_approval_templates", body)
            found["unified_job_template"] = approval["id"]
            return 201, self._shown("workflow_approval_templates", approval)
        if name in FIELDS[endpoint]["lists"]:
            return self._of_sublist(method, endpoint, found, name, query, path, body)
        raise RefusedError({"detail": "Not found."}, 404)

    def _of_sublist(
        self, method: str, endpoint: str, found: dict[str, Any], name: str, query: dict[str, str], path: str, body: Any
    ) -> tuple[int, Any]:
        target = FIELDS[endpoint]["lists"][name]
        members = self.lists.setdefault((endpoint, found["id"], name), [])
        if method == "GET":
            return 200, self._page([self._shown(target, self.objects[target][one]) for one in members], query, path)
        if method != "POST":
            raise RefusedError({"detail": f'Method "{method}" not allowed.'}, 405)
        one = body.get("id")
        if not is_number(one):
            raise RefusedError({"msg": '"id" field must be an integer.'})
        if one not in self.objects[target]:
            raise RefusedError({"detail": f"{FIELDS[target]['type']} with id {one} does not exist."})
        if body.get("disassociate"):
            if one in members:
                members.remove(one)
            return 204, None
        if name in _EDGES:
            self._check_edge(found, name, one)
        if name == "credentials":
            self._check_credential(members, one)
        if one not in members:
            members.append(one)
        return 204, None

    def _check_edge(self, parent: dict[str, Any], name: str, child: int) -> None:
        nodes = "workflow_job_template_nodes"
        if self.objects[nodes][child]["workflow_job_template"] != parent["workflow_job_template"]:
            raise RefusedError({"detail": "Nodes are of different workflows."})
        others = [self.lists.get((nodes, parent["id"], edge), []) for edge in _EDGES if edge != name]
        if any(child in members for members in others):
            raise RefusedError({"Error": "Relationship not allowed."})
        seen, left = set(), [child]
        while left:
            one = left.pop()
            seen.add(one)
            for edge in _EDGES:
                left += [below for below in self.lists.get((nodes, one, edge), []) if below not in seen]
        if parent["id"] in seen:
            raise RefusedError({"Error": "Cycle detected."})

    def _check_credential(self, members: list[int], one: int) -> None:
        kinds = [self.objects["credentials"][member]["credential_type"] for member in members]
        kind = self.objects["credentials"][one]["credential_type"]
        if one not in members and kind in kinds:
            name = self.objects["credential_types"][kind]["name"]
            raise RefusedError({"error": f"Cannot assign multiple {name} credentials."})

    def _create(self, endpoint: str, body: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._check(endpoint, body, found, new=True)
        found["id"] = next(self._ids)
        self.objects[endpoint][found["id"]] = found
        if endpoint == "projects":
            # Saving a project with a source begins an update by itself.
            found["scm_revision"] = "0123456789abcdef0123456789abcdef01234567"
            if found["scm_type"]:
                found["current_update"] = self._create("project_updates", {})["id"]
        return found

    def _check(self, endpoint: str, body: Any, found: dict[str, Any], *, new: bool = False) -> None:
        """Check a request, and put what it says into the object."""
        if not isinstance(body, dict):
            raise RefusedError({"detail": "Invalid data. Expected a dictionary."})
        of = FIELDS[endpoint]
        ignored = {"type", "id", "url", *of.get("read_only", ()), *(() if new else of.get("only_new", ()))}
        errors: dict[str, Any] = {}
        wanted = (
            {name: copy.deepcopy(field.get("default")) for name, field in of["fields"].items()} if new else dict(found)
        )
        for name, value in body.items():
            if name in ignored:
                continue
            if name not in of["fields"]:
                errors[name] = ["This field is not known."]
                continue
            problem = self._problem(of["fields"][name], value)
            if problem:
                errors[name] = [problem]
            default = of["fields"][name].get("default")
            wanted[name] = default if value is None else copy.deepcopy(value)
        for name, field in of["fields"].items():
            if field.get("required") and wanted.get(name) in (None, "") and name not in errors:
                errors[name] = ["This field is required."]
        if errors:
            raise RefusedError(errors)
        self._check_more(endpoint, wanted)
        for together in of.get("unique", ()):
            for other in self.objects[endpoint].values():
                if other is not found and all(other.get(name) == wanted.get(name) for name in together):
                    title = "".join(word.capitalize() for word in of["type"].split("_"))
                    raise RefusedError(
                        {"__all__": [f"{title} with this ({', '.join(together)}) combination already exists."]}
                    )
        found.update(wanted)

    def _problem(self, field: Mapping[str, Any], value: Any) -> str:
        """What is wrong with a value, in the words of AWX's serializers; empty for nothing."""
        kind = field["type"]
        if value is None:
            nullable = field.get("or_null") or kind.startswith("->") or "default" in field
            return "" if nullable else "This field may not be null."
        if kind.startswith("->"):
            if not is_number(value):
                return f"Incorrect type. Expected pk value, received {type(value).__name__}."
            target = kind[2:].strip()
            there = dict(self._all(target))
            return "" if value in there else f'Invalid pk "{value}" - object does not exist.'
        if kind == "bool" and not isinstance(value, bool):
            return "Must be a valid boolean."
        if kind == "int" and not is_number(value):
            return "A valid integer is required."
        if kind == "text" and not isinstance(value, str):
            return "Not a valid string."
        if "choices" in field and value not in field["choices"]:
            return f'"{value}" is not a valid choice.'
        if "least" in field and value < field["least"]:
            return f"Ensure this value is greater than or equal to {field['least']}."
        if "most" in field and len(value) > field["most"]:
            return f"Ensure this field has no more than {field['most']} characters."
        return ""

    def _all(self, endpoint: str) -> list[tuple[int, dict[str, Any]]]:
        if endpoint != _UNIFIED:
            return list(self.objects[endpoint].items())
        kinds = [*(name for name, of in FIELDS.items() if of.get("unified")), "workflow_approval_templates"]
        return [pair for kind in kinds for pair in self.objects[kind].items()]

    def _check_more(self, endpoint: str, wanted: dict[str, Any]) -> None:
        if endpoint == "job_templates":
            self._check_job_template(wanted)
        elif endpoint == "workflow_job_templates":
            _extra_vars(wanted["extra_vars"])
        elif endpoint == "workflow_job_template_nodes":
            self._check_node(wanted)
        elif endpoint == "credential_types":
            _inputs(wanted["inputs"])
            _injectors(wanted["injectors"], [field["id"] for field in wanted["inputs"].get("fields", [])])

    def _check_job_template(self, wanted: dict[str, Any]) -> None:
        project = self.objects["projects"][wanted["project"]]
        wanted["organization"] = project["organization"]
        if not wanted["playbook"]:
            raise RefusedError({"playbook": ["Must select playbook for project."]})
        if wanted["playbook"] not in self.playbooks and not project["allow_override"]:
            raise RefusedError({"playbook": ["Playbook not found for project."]})
        for name in ("scm_branch", "ask_scm_branch_on_launch"):
            if wanted[name] and not project["allow_override"]:
                raise RefusedError({name: ["Project does not allow overriding branch."]})
        if wanted["inventory"] is None and not wanted["ask_inventory_on_launch"]:
            raise RefusedError({"inventory": ["You must either set a default value or ask to prompt on launch."]})
        _extra_vars(wanted["extra_vars"])

    def _check_node(self, wanted: dict[str, Any]) -> None:
        template = self.objects["job_templates"].get(wanted["unified_job_template"] or 0)
        if template is None:
            return
        asked = {question["variable"] for question in self.surveys.get(template["id"], {}).get("spec", [])}
        strange = (
            [] if template["ask_variables_on_launch"] else [name for name in wanted["extra_data"] if name not in asked]
        )
        if strange:
            raise RefusedError(
                {
                    "extra_data": [
                        f"Variables {', '.join(strange)} are not allowed on launch. Check the Prompt on Launch setting "
                        "on the Job Template to include Extra Variables."
                    ]
                }
            )
        for name in ("limit", "inventory", "diff_mode", "verbosity", "forks", "job_slice_count", "timeout", "job_type"):
            if wanted[name] is not None and not template[f"ask_{name}_on_launch"]:
                raise RefusedError({name: "Field is not configured to prompt on launch."})

    def _delete(self, endpoint: str, found: dict[str, Any]) -> None:
        number = found["id"]
        if endpoint == "credential_types" and any(
            credential["credential_type"] == number for credential in self.objects["credentials"].values()
        ):
            raise RefusedError({"detail": "Credential types that are in use cannot be deleted"}, 403)
        if endpoint == "workflow_job_template_nodes":
            approval = self.objects["workflow_approval_templates"].get(found["unified_job_template"] or 0)
            if approval is not None:
                del self.objects["workflow_approval_templates"][approval["id"]]
        if endpoint == "workflow_job_templates":
            for node in list(self.objects["workflow_job_template_nodes"].values()):
                if node["workflow_job_template"] == number:
                    self._delete("workflow_job_template_nodes", node)
        del self.objects[endpoint][number]
        self.surveys.pop(number, None)
        for (owner, owner_id, name), members in list(self.lists.items()):
            if owner == endpoint and owner_id == number:
                del self.lists[owner, owner_id, name]
            elif FIELDS[owner]["lists"][name] == endpoint and number in members:
                members.remove(number)
        unified = FIELDS[endpoint].get("unified")
        for other, of in FIELDS.items():
            for name, field in of.get("fields", {}).items():
                if field["type"] == f"-> {endpoint}" or (unified and field["type"] == f"-> {_UNIFIED}"):
                    for item in self.objects[other].values():
                        if item[name] == number:
                            item[name] = None

    def _found(self, endpoint: str, query: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
        kinds = [name for name, of in FIELDS.items() if of.get("unified")] if endpoint == _UNIFIED else [endpoint]
        items = [(kind, item) for kind in kinds for item in self.objects[kind].values()]
        for kind, name in itertools.product(kinds, query):
            first = name.removeprefix("or__").partition("__")[0]
            if first not in (
                "id",
                "type",
                "page",
                "page_size",
                "order_by",
                *FIELDS[kind]["fields"],
                *FIELDS[kind].get("read_only", ()),
            ):
                raise RefusedError({"detail": f"{FIELDS[kind]['type']} has no field named '{first}'"})
        either = {name[4:]: value for name, value in query.items() if name.startswith("or__")}
        for name, value in query.items():
            if name not in ("page", "page_size", "order_by") and not name.startswith("or__"):
                items = [(kind, item) for kind, item in items if self._matches(kind, item, name, value)]
        if either:
            items = [
                (kind, item)
                for kind, item in items
                if any(self._matches(kind, item, name, value) for name, value in either.items())
            ]
        return items

    def _matches(self, kind: str, item: Mapping[str, Any], name: str, value: str) -> bool:
        if name == "type":
            return value == FIELDS[kind]["type"]
        first, _sign, rest = name.partition("__")
        if not rest:
            return str(item.get(first)) == value
        target = FIELDS[kind]["fields"][first]["type"][2:].strip()
        related = self.objects[target].get(item[first] or 0)
        return related is not None and self._matches(target, related, rest, value)

    def _page(self, items: list[Any], query: Mapping[str, str], path: str) -> dict[str, Any]:
        page, size = int(query.get("page", 1)), int(query.get("page_size", _PAGE))
        more = page * size < len(items)
        others = "".join(f"&{name}={value}" for name, value in query.items() if name != "page")
        return {
            "count": len(items),
            "next": f"{path}?page={page + 1}{others}" if more else None,
            "previous": None,
            "results": items[(page - 1) * size : page * size],
        }

    def _shown(self, endpoint: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """An object as AWX tells of it."""
        url = f"{_ROOT}{endpoint}/{found['id']}/"
        related = {name: f"{url}{name}/" for name in FIELDS[endpoint]["lists"]}
        summary = {}
        if FIELDS[endpoint].get("survey"):
            related["survey_spec"] = f"{url}survey_spec/"
        if endpoint == "projects":
            related["update"] = f"{url}update/"
            if found.get("current_update"):
                summary["current_update"] = {"id": found["current_update"]}
        shown = {key: value for key, value in found.items() if key != "current_update"}
        if endpoint == "workflow_job_template_nodes":
            related["create_approval_template"] = f"{url}create_approval_template/"
            for kind in (*(name for name, of in FIELDS.items() if of.get("unified")), "workflow_approval_templates"):
                if found["unified_job_template"] in self.objects[kind]:
                    related["unified_job_template"] = f"{_ROOT}{kind}/{found['unified_job_template']}/"
            shown.update({edge: list(self.lists.get((endpoint, found["id"], edge), [])) for edge in _EDGES})
        told = FIELDS[endpoint].get("read_only", {})
        return {
            "type": FIELDS[endpoint]["type"],
            "url": url,
            "related": related,
            "summary_fields": summary,
            **told,
            **shown,
        }


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _extra_vars(text: str) -> None:
    try:
        parsed = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        parsed = None
    if not isinstance(parsed, dict):
        raise RefusedError({"extra_vars": ["Cannot parse as JSON or YAML."]})


def _survey(spec: Any) -> dict[str, Any]:
    """A survey as it is kept; the words of a refusal are those of AWX."""
    rules = FIELDS["survey"]
    for name, kind, words in (("name", str, "string"), ("description", str, "string"), ("spec", list, "list of items")):
        if name not in spec:
            raise RefusedError({"error": f"Field '{name}' is missing from survey spec."})
        if not isinstance(spec[name], kind):
            raise RefusedError(
                {"error": f"Expected {words} for field '{name}', received {type(spec[name]).__name__} type."}
            )
    if not spec["spec"]:
        raise RefusedError({"error": "'spec' doesn't contain any items."})
    seen = set()
    for number, question in enumerate(spec["spec"]):
        for name, kind in rules["required"].items():
            if name not in question:
                raise RefusedError({"error": f"'{name}' missing from survey question {number}"})
            if not isinstance(question[name], _TYPES[kind]):
                raise RefusedError({"error": f"'{name}' in survey question {number} expected to be {kind}."})
        strange = [name for name in question if name not in rules["question"]]
        if strange:
            raise RefusedError({"error": f"Survey question {number} has {strange[0]}, which is not known."})
        if question["variable"] in seen:
            raise RefusedError(
                {"error": f"'variable' '{question['variable']}' duplicated in survey question {number}."}
            )
        seen.add(question["variable"])
        _question(number, question)
    return dict(copy.deepcopy(spec))


def _question(number: int, question: Mapping[str, Any]) -> None:
    kind, defaults = question["type"], FIELDS["survey"]["defaults"]
    if kind not in defaults:
        raise RefusedError(
            {"error": f"'{kind}' in survey question {number} is not one of '{', '.join(defaults)}' allowed."}
        )
    default = question.get("default", "")
    if default != "" and (not isinstance(default, _TYPES[defaults[kind]]) or isinstance(default, bool)):
        raise RefusedError(
            {"error": f"Default value {default} in survey question {number} expected to be {defaults[kind]}."}
        )
    for bound in ("min", "max"):
        if not is_number(question.get(bound, 0)):
            raise RefusedError({"error": f"The {bound} limit in survey question {number} expected to be integer."})
    if kind in ("multiselect", "multiplechoice"):
        if "choices" not in question:
            raise RefusedError({"error": f"Survey question {number} of type {kind} must specify choices."})
        if kind == "multiplechoice" and len(default.splitlines()) > 1:
            raise RefusedError({"error": "Multiple Choice (Single Select) can only have one default value."})
        if any(item not in question["choices"].splitlines() for item in default.splitlines()):
            raise RefusedError({"error": "Default choice must be answered from the choices listed."})


def _inputs(inputs: Any) -> None:
    rules = FIELDS["credential_type"]
    strange = [name for name in inputs if name not in rules["inputs"]]
    if strange:
        raise RefusedError({"inputs": [f"Additional properties are not allowed ({strange[0]!r} was unexpected)"]})
    seen = set()
    for field in inputs.get("fields", []):
        for name in ("id", "label"):
            if name not in field:
                raise RefusedError({"inputs": [f"{name!r} is a required property"]})
        strange = [name for name in field if name not in rules["field"]]
        if strange:
            raise RefusedError({"inputs": [f"Additional properties are not allowed ({strange[0]!r} was unexpected)"]})
        if not _VARIABLE.match(field["id"]):
            raise RefusedError({"inputs": [f"{field['id']} is an invalid variable name"]})
        if field["id"] == "tower":
            raise RefusedError({"inputs": ['"tower" is a reserved field name']})
        if field["id"] in seen:
            raise RefusedError({"inputs": [f"field IDs must be unique ({field['id']})"]})
        seen.add(field["id"])
        # Written into the object, as AWX does, so that one without it is never the same again.
        field.setdefault("type", "string")
        for name, allowed in (("type", "field_types"), ("format", "field_formats")):
            if field.get(name) not in (None, *rules[allowed]):
                raise RefusedError({"inputs": [f"{field[name]!r} is not one of {rules[allowed]}"]})
        for name in rules["of_strings"]:
            if name in field and field["type"] != "string":
                raise RefusedError({"inputs": [f"{name} not allowed for {field['type']} type ({field['id']})"]})
    for name in inputs.get("required", []):
        if name not in seen:
            raise RefusedError({"inputs": [f"{name} is no field"]})


def _injectors(injectors: Any, fields: list[str]) -> None:
    strange = [name for name in injectors if name not in FIELDS["credential_type"]["injectors"]]
    if strange:
        raise RefusedError({"injectors": [f"Additional properties are not allowed ({strange[0]!r} was unexpected)"]})
    files = injectors.get("file", {})
    if "template" in files and len(files) > 1:
        raise RefusedError({"injectors": ["Must use multi-file syntax when injecting multiple files"]})
    names: dict[str, Any] = dict.fromkeys(fields, "EXAMPLE")
    filename = "EXAMPLE" if "template" in files else {name.split(".")[1]: "EXAMPLE" for name in files}
    names["tower"] = {"filename": filename}
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for kind, entries in injectors.items():
        for name, template in entries.items():
            if kind == "env" and name.startswith("ANSIBLE_"):
                raise RefusedError({"injectors": [f"Environment variable {name} may affect Ansible configuration"]})
            if not isinstance(template, str):
                raise RefusedError({"injectors": [f"{template!r} is not of type 'string'"]})
            try:
                environment.from_string(template).render(names)
            except TemplateError as error:
                raise RefusedError({"injectors": [f"{name} uses an undefined field ({error})"]}) from error


def _handler(double: Double) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, found = 401, {"detail": "Authentication credentials were not provided."}
            else:
                status, found = double.answer(self.command, self.path, json.loads(body) if body else {})
            data = b"" if status == 204 else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler
