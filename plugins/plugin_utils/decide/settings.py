# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of a run: what people wrote, read as what they meant, and every bad one named. Pure functions.

Types, choices and defaults stand in one place, the entry point ``upgrade`` of the role's argument spec, which is given
to :func:`read`. What that cannot say, units, bounds and who must agree with whom, stands in :data:`RULES`.

Values come from inventories, from ``-e name=value`` and from surveys, so that a list may be one text, a number a text,
and an empty text nothing at all.
"""

from __future__ import annotations

import copy
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emqx.fleet.plugins.module_utils import version as versions
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK, masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide import gates
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed

#: How the variable of a setting begins.
PREFIX = "emqx_upgrade_"
PURPOSES = ("upgrade", "rollback", "commit", "cleanup", "status", "plan", "report", "split")
#: Purposes that need a version; a rollback and a commit may be told one.
NEED_VERSION = ("upgrade", "plan")
#: The parts of a run, in their order.
PARTS = ("plan", "stage", "switch", "soak", "commit")
#: Hooks in the order in which they run.
HOOKS = ("before_fleet", "before_wave", "before_node", "after_node", "after_wave", "after_fleet")
#: The setting that the play's ``hosts`` is made of. It has done its work before anything is read here.
PATTERN = "hosts"
#: Variables of the role that begin like a setting and are none: what the tasks of a hook are told, and what a phase is
#: called for.
NO_SETTINGS = ("hook", "purpose")
#: Names that ``accept`` takes besides those of gates: what the verdicts on a switched node ask for.
ACCEPTED_BY_VERDICTS = ("alarms", "boot_consistent", "known_defects", "patches", "probe")

_DAY = 86400
_HOSTS_SHOWN = 20
_TEXT_SHOWN = 120
_MOST_NODES = 1_000_000
#: Digits of a number that is worth reading; more are nobody's setting.
_DIGITS = 12

_RUN_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}\Z")
_PLAIN_NUMBER = re.compile(rf"[0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{1,{_DIGITS}}})?\Z")
_LIKE_AN_AMOUNT = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?\s*%?\Z")
_SPAN = re.compile(rf"([0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{1,{_DIGITS}}})?)\s*([a-z]+)\s*")
_UNITS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Fraction(1, 1000)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Fraction(1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Fraction(3600)),
    **dict.fromkeys(("d", "day", "days"), Fraction(_DAY)),
}
_WORDS = {
    **dict.fromkeys(("yes", "y", "true", "t", "on", "1"), True),
    **dict.fromkeys(("no", "n", "false", "f", "off", "0"), False),
}
#: Texts that templates and ``-e`` make of null.
_NULLS = ("null", "None")
#: What can stand in a URL and in a header.
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_OMITTED = "__omit_place_holder__"
#: What begins a source of packages after a comma, which may be a part of a URL as well.
_BEGINS = re.compile(r"\s*(?:[a-zA-Z]+://|[/~.])")
#: A URL that has its checksum is complete.
_COMPLETE = re.compile(r"sha256=[0-9A-Fa-f]{64}\s*\Z")


class Problem(NamedTuple):
    """A setting that cannot be used: what was found, what was expected, and the remedy."""

    name: str
    found: str
    expected: str
    remedy: str

    def sentence(self) -> str:
        """Two sentences for people; a remedy may be empty."""
        return f"{PREFIX}{self.name} {self.found}; expected {self.expected}. {self.remedy}".rstrip()


class NotKnown(NamedTuple):
    """A value whose template cannot be worked out: as it was written, and why."""

    written: Any
    reason: str


class SettingError(ValueError):
    """A value that cannot be used, with all the reasons; ``rest`` is what of it can still be looked at."""

    def __init__(self, *problems: Problem, rest: Any = None) -> None:
        super().__init__(" ".join(problem.sentence() for problem in problems))
        self.problems = problems
        self.rest = rest


@dataclass(frozen=True)
class Rule:
    """What the argument spec cannot say about a setting.

    ``fleet_wide``: it must be the same for all hosts of the play. ``seconds``: it is a time, which may have a unit.
    ``amount``: it is a number or a percentage. ``least`` and ``most`` bound a number. ``example`` is what a person may
    copy; by default the default. ``secret``: no message quotes it.
    """

    fleet_wide: bool = False
    seconds: bool = False
    amount: bool = False
    least: float = 0
    most: float = _MOST_NODES
    example: str = ""
    secret: bool = False


#: Every setting but the host pattern, by its name without the prefix.
RULES: Mapping[str, Rule] = {
    "version": Rule(fleet_wide=True, example="4.4.19"),
    "packages": Rule(fleet_wide=True),
    "package_source": Rule(fleet_wide=True),
    "executable": Rule(example="/usr/lib/emqx/bin/emqx"),
    "timeout": Rule(seconds=True, least=1, most=_DAY),
    "accept": Rule(fleet_wide=True, example="clock,space"),
    "allow_downgrade": Rule(fleet_wide=True),
    "max_per_cluster": Rule(fleet_wide=True, least=1),
    "wave_size": Rule(fleet_wide=True, amount=True, example="10%"),
    "canary": Rule(fleet_wide=True, amount=True),
    "coordinators": Rule(fleet_wide=True, example="broker1,broker4"),
    "client_loss_tolerance": Rule(amount=True, example="2%"),
    "stage_throttle": Rule(fleet_wide=True, most=10_000, example="20"),
    "settle_timeout": Rule(seconds=True, most=_DAY),
    "verify_seconds": Rule(seconds=True, most=_DAY),
    "reconnect_timeout": Rule(seconds=True, most=_DAY),
    "max_clock_skew": Rule(fleet_wide=True, seconds=True, least=0.1, most=_DAY, example="10"),
    "pause_seconds": Rule(fleet_wide=True, seconds=True, most=_DAY, example="60"),
    "failure_budget": Rule(fleet_wide=True, amount=True, example="5%"),
    "on_failure": Rule(fleet_wide=True),
    "commit": Rule(fleet_wide=True),
    "soak_seconds": Rule(fleet_wide=True, seconds=True, most=7 * _DAY),
    "soak_interval": Rule(fleet_wide=True, seconds=True, most=_DAY),
    "phases": Rule(fleet_wide=True, example="stage,switch"),
    "waves": Rule(fleet_wide=True),
    "hooks": Rule(fleet_wide=True, example='{"before_node": "hooks/drain.yml"}'),
    "run_id": Rule(fleet_wide=True, example="change-4711"),
    "lease_seconds": Rule(fleet_wide=True, seconds=True, least=30, most=7 * _DAY),
    # A run that waits for its approval between two jobs keeps its nodes for so long.
    "park_seconds": Rule(fleet_wide=True, seconds=True, least=30, most=7 * _DAY),
    "take_over": Rule(fleet_wide=True, example="20260101T120000Z-0a1b2c3d"),
    "probe": Rule(fleet_wide=True),
    "probe_address": Rule(example="10.0.0.11"),
    "probe_port": Rule(most=65535, example="1883"),
    "probe_clients": Rule(least=1, most=100),
    "probe_username": Rule(example="probe"),
    "probe_password": Rule(secret=True),
    "probe_tls": Rule(),
    "probe_ca_file": Rule(example="ca.pem"),
    "probe_cert_file": Rule(example="client.pem"),
    "probe_key_file": Rule(example="client.key"),
    "probe_validate_certs": Rule(),
    "keep_versions": Rule(most=1000),
    "split": Rule(fleet_wide=True, least=1, most=100),
    "split_inventory": Rule(fleet_wide=True, example="parts.yml"),
    "report_file": Rule(fleet_wide=True, example="report.json"),
    "report_html": Rule(fleet_wide=True, example="report.html"),
    "report_junit": Rule(fleet_wide=True, example="report.xml"),
    "report_metrics": Rule(fleet_wide=True, example="/var/lib/node_exporter/emqx_fleet.prom"),
    # Of many webhooks the path is all that keeps others out.
    "webhook": Rule(fleet_wide=True, example="https://hooks.example.com/emqx", secret=True),
    "webhook_token": Rule(fleet_wide=True, secret=True),
}


@dataclass
class Problems:
    """Problems of many hosts; the same one of several is told once."""

    hosts: Sequence[str]
    _by_sentence: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, problem: Problem | str, hosts: Iterable[str] | None = None) -> None:
        """Note a problem of some hosts, by default of all of them."""
        sentence = problem if isinstance(problem, str) else problem.sentence()
        self._by_sentence.setdefault(sentence, {}).update(dict.fromkeys(self.hosts if hosts is None else hosts))

    def sentences(self) -> list[str]:
        """Every problem, with the hosts that have it unless all have."""
        found = []
        for sentence, having in self._by_sentence.items():
            hosts = [host for host in self.hosts if host in having]
            found.append(sentence if len(hosts) == len(self.hosts) else f"{sentence} (On {_named(hosts)}.)")
        return found

    def message(self) -> str:
        """The one message that names all of them; empty where there is none."""
        sentences = self.sentences()
        if not sentences:
            return ""
        lines = "".join(f"\n- {sentence}" for sentence in sentences)
        return (
            f"Nothing was touched, because there {_are(len(sentences), 'problem')} with the settings:{lines}\n"
            "Mend what is named here and run the same command again."
        )


@dataclass(frozen=True)
class Read:
    """What :func:`read` found: typed settings by host, without those that have problems; and names to warn of."""

    settings: dict[str, dict[str, Any]]
    problems: Problems
    warnings: list[str]


def options_of(argument_specs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of the role's argument specs, by name without the prefix."""
    options = argument_specs["argument_specs"]["upgrade"]["options"]
    return {name.removeprefix(PREFIX): dict(spec) for name, spec in options.items()}


def read(
    values: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]], purpose: str = "upgrade"
) -> Read:
    """Read the settings of every host.

    ``values``: host -> variables that begin with the prefix, as plain data, their templates worked out or NotKnown.
    ``options`` are those of :func:`options_of`. A setting that is not there, or empty, has its default. A ``canary``
    that is a host pattern stays one, as text or as a list of texts.
    """
    hosts = list(values)
    problems = Problems(hosts)
    warnings: dict[str, None] = {}
    typed: dict[str, dict[str, Any]] = {}
    # Most hosts of a fleet have the same values, and are read once.
    known: dict[str, tuple[dict[str, Any], list[Problem], list[str]]] = {}
    for host, variables in values.items():
        key = repr(sorted(variables.items()))
        if key not in known:
            known[key] = _read_host(variables, options)
        settings, bad, strange = known[key]
        typed[host] = copy.deepcopy(settings)
        for problem in bad:
            problems.add(problem, [host])
        warnings.update(dict.fromkeys(strange))
    _need_version(typed, problems, purpose)
    for name in (name for name, rule in RULES.items() if rule.fleet_wide):
        _agree(name, typed, problems)
    for host, settings in typed.items():
        if purpose == "upgrade" and {"waves", "phases", "canary"} <= settings.keys():
            for problem in filter(None, [_left_behind(settings)]):
                problems.add(problem, [host])
        if {"soak_seconds", "soak_interval"} <= settings.keys():
            # Not longer than all of the soak, and never nothing.
            settings["soak_interval"] = max(1, min(settings["soak_interval"], settings["soak_seconds"]))
    return Read(typed, problems, list(warnings))


def shown(value: Any) -> str:
    """A value as a message quotes it: in one short line, and no user and password of a URL."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(masked(text).split())
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"


def _quoted(name: str, value: Any) -> str:
    """A setting's value as a message quotes it, but for one that is a secret."""
    return MASK if RULES[name].secret else shown(value)


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name that is closest to a word, whatever its case and the signs between its words; empty if none is."""
    by_form = {_form(name): name for name in known}
    found = difflib.get_close_matches(_form(word), by_form, 1, cutoff)
    return by_form[found[0]] if found else ""


def _form(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name).lower()


def _named(hosts: Sequence[str]) -> str:
    return listed(hosts, _HOSTS_SHOWN)


def _are(count: int, word: str) -> str:
    return f"is 1 {word}" if count == 1 else f"are {count} {word}s"


def _read_host(
    variables: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], list[Problem], list[str]]:
    """Typed settings of one host, their problems, and warnings about names."""
    settings: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, option in options.items():
        if name == PATTERN:
            continue
        try:
            settings[name] = _read_setting(name, option, variables.get(PREFIX + name))
        except SettingError as refused:
            problems += refused.problems
            if refused.rest is not None:
                settings[name] = refused.rest
    if settings.get("soak_interval") == 0 and settings.get("soak_seconds"):
        problems.append(_no_interval(settings["soak_seconds"]))
        del settings["soak_interval"]
    unknown, warnings = _strange_names(variables, options)
    return settings, problems + unknown + _against_spec(settings, options), warnings


def _read_setting(name: str, option: Mapping[str, Any], value: Any) -> Any:
    """What a setting means. Raises SettingError."""
    if isinstance(value, NotKnown):
        raise SettingError(
            Problem(
                name,
                f"is {_quoted(name, value.written)}, which cannot be worked out ({masked(value.reason)})",
                "is a value that is known when the run begins",
                "Define what it is made of, or write the value itself.",
            )
        )
    read_it = _READERS[_kind(option, RULES[name])]
    found = None if _is_empty(value) else read_it(name, option, value)
    if _is_empty(found):
        return copy.deepcopy(option["default"])
    check = _CHECKS.get(name)
    return check(found) if check else found


def _kind(option: Mapping[str, Any], rule: Rule) -> str:
    if rule.amount:
        return "amount"
    if rule.seconds:
        return "seconds"
    return "choice" if "choices" in option and option["type"] == "str" else str(option["type"])


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        text = value.strip()
        return not text or text in _NULLS or text.startswith(_OMITTED)
    return value is None or (isinstance(value, (list, tuple, dict, set)) and not value)


def _refused(name: str, value: Any, expected: str, remedy: str = "") -> SettingError:
    if not remedy and RULES[name].example:
        remedy = f"Write, for example, {PREFIX}{name}={RULES[name].example}."
    return SettingError(Problem(name, f"is {_quoted(name, value)}", expected, remedy))


def _whole(name: str, option: Mapping[str, Any], value: Any) -> int:
    """A whole number within the bounds of the rule."""
    rule = RULES[name]
    number = _number(value)
    if number is None or number.denominator != 1 or not Fraction(str(rule.least)) <= number <= rule.most:
        raise _refused(
            name,
            value,
            f"is a whole number from {rule.least:g} to {rule.most:.0f}",
            f"Write, for example, {PREFIX}{name}={rule.example or option['default']}.",
        )
    return int(number)


def _number(value: Any) -> Fraction | None:
    """A number, also one as a text; None for what is none, or is not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return Fraction(value)
    if isinstance(value, str) and _PLAIN_NUMBER.match(value.strip()):
        return Fraction(value.strip())
    return None


def _seconds(name: str, option: Mapping[str, Any], value: Any) -> int | float:
    """Seconds, from a number or from a text with units."""
    rule = RULES[name]
    number = _number(value)
    if number is None and isinstance(value, str):
        number = _duration(value)
    whole = option["type"] == "int"
    if number is None or (whole and number.denominator != 1) or not Fraction(str(rule.least)) <= number <= rule.most:
        raise _refused(
            name,
            value,
            f"are {'whole ' if whole else ''}seconds from {rule.least:g} to {rule.most:.0f}, or a time with its unit "
            "such as 90s, 2m or 1h30m",
            f"Write, for example, {PREFIX}{name}={rule.example or option['default']}.",
        )
    return int(number) if whole else float(number)


def _duration(text: str) -> Fraction | None:
    """Seconds from a text such as ``1h30m`` or ``2 minutes``, each unit at most once; None where it is none."""
    left, total, used = text.strip().lower(), Fraction(0), set()
    while left:
        found = _SPAN.match(left)
        size = _UNITS.get(found.group(2)) if found else None
        if found is None or size is None or size in used:
            return None
        used.add(size)
        total += Fraction(found.group(1)) * size
        left = left[found.end() :]
    return total if used else None


def _amount(name: str, option: Mapping[str, Any], value: Any) -> int | str | list[str]:
    """A number, or a percentage as a text such as ``5%``. ``canary`` may be a host pattern as well."""
    rule = RULES[name]
    text = value.strip() if isinstance(value, str) else value
    if name == "canary" and not isinstance(text, (bool, int, float, dict)) and not _is_like_an_amount(text):
        return _patterns(name, text)
    percent = isinstance(text, str) and text.endswith("%")
    number = _number(text[:-1] if percent else text)
    most = 100 if percent else rule.most
    if number is None or number.denominator != 1 or number > most:
        pattern = ", or a host pattern" if name == "canary" else ""
        raise _refused(
            name,
            value,
            f"is a whole number from 0 to {rule.most:.0f}, or a percentage from 0% to 100%{pattern}",
            f"Write, for example, {PREFIX}{name}={rule.example or option['default']}.",
        )
    return f"{int(number)}%" if percent else int(number)


def _is_like_an_amount(value: Any) -> bool:
    return isinstance(value, str) and _LIKE_AN_AMOUNT.match(value) is not None


def _patterns(name: str, value: Any) -> str | list[str]:
    """A host pattern, or a list of them. A text is left to Ansible, but for one that is a list in JSON."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        if not isinstance(parsed, list):
            return value
        value = parsed
    return _texts(name, value, lambda: _refused(name, value, "is a number, a percentage, or a host pattern"))


def _flag(name: str, option: Mapping[str, Any], value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if word not in _WORDS:
        raise _refused(name, value, "is yes or no", f"Write, for example, {PREFIX}{name}=yes.")
    return _WORDS[word]


def _text(name: str, option: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, (bool, list, tuple, dict, set)):
        raise _refused(name, value, "is one text")
    return str(value).strip()


def _choice(name: str, option: Mapping[str, Any], value: Any) -> str:
    choices = option["choices"]
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in choices:
        near = did_you_mean(word, choices) if word else ""
        raise _refused(
            name,
            value,
            f"is one of {', '.join(choices)}",
            f"Did you mean {near}?" if near else f"Write, for example, {PREFIX}{name}={option['default']}.",
        )
    return word


def _list(name: str, option: Mapping[str, Any], value: Any) -> list[str]:
    """A list of texts, each once; from a list, or from one text with commas, line by line, or in JSON or YAML."""

    def no_list() -> SettingError:
        example = RULES[name].example or ",".join(option["default"])
        return _refused(
            name,
            value,
            "is a list of texts, or one text with commas between them",
            f"Write, for example, {PREFIX}{name}={example}.",
        )

    return _texts(name, _parts(value, no_list) if isinstance(value, str) else value, no_list)


def _texts(name: str, value: Any, no_list: Callable[[], SettingError]) -> list[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, (list, tuple, set)):
        raise no_list()
    found: dict[str, None] = {}
    for element in value:
        if _is_empty(element):
            continue
        if not isinstance(element, (str, int, float)) or isinstance(element, bool):
            raise no_list()
        found[str(element).strip()] = None
    return list(found)


def _parts(text: str, no_list: Callable[[], SettingError]) -> Any:
    text = text.strip()
    if text.startswith(("[", "- ")):
        # As texts, whatever a number or a date in it would be made.
        try:
            return yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise no_list() from error
    found: list[str] = []
    for line in text.splitlines():
        within = False
        for part in line.split(","):
            if within and not _BEGINS.match(part):
                found[-1] += f",{part}"
            else:
                found.append(part)
            within = "://" in found[-1] and not _COMPLETE.search(found[-1])
    return found


def _dict(name: str, option: Mapping[str, Any], value: Any) -> dict[str, str]:
    """Files by the names of their hooks."""
    given = value
    if isinstance(value, str):
        try:
            given = yaml.load(value, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            given = None
    if not isinstance(given, dict):
        raise _refused(name, value, "are files by the names of their hooks")
    problems = []
    found = {}
    for hook, path in given.items():
        if str(hook) not in HOOKS:
            near = did_you_mean(str(hook), HOOKS)
            problems.append(
                Problem(
                    name,
                    f"names the hook {shown(hook)}",
                    f"is one of {', '.join(HOOKS)}",
                    f"Did you mean {near}?" if near else "Take it out.",
                )
            )
        elif not isinstance(path, str) and path is not None:
            problems.append(
                Problem(
                    name,
                    f"has {shown(path)} for {hook}",
                    "is the path of one file of tasks",
                    "Let that file include others.",
                )
            )
        elif not _is_empty(path):
            found[str(hook)] = str(path).strip()
    known = {hook: found[hook] for hook in HOOKS if hook in found}
    if problems:
        raise SettingError(*problems, rest=known or None)
    return known


_READERS: Mapping[str, Callable[[str, Mapping[str, Any], Any], Any]] = {
    "amount": _amount,
    "seconds": _seconds,
    "choice": _choice,
    "int": _whole,
    "bool": _flag,
    "str": _text,
    "list": _list,
    "dict": _dict,
}


def _version(text: str) -> str:
    if versions.is_valid(text):
        return text
    near = re.sub(r"\A[vVeE]", "", text)
    raise _refused(
        "version",
        text,
        "are three numbers with an optional pre-release, such as 4.4.19 or 4.4.19-rc.1",
        f"Did you mean {near}?" if near != text and versions.is_valid(near) else "",
    )


def _executable(text: str) -> str:
    if not text.startswith("/") or "\n" in text or "\0" in text:
        raise _refused("executable", text, "is an absolute path on the node")
    return text


def _run_id(text: str) -> str:
    if not _RUN_ID.match(text):
        raise _refused("run_id", text, "are at most 100 letters, digits, and signs of . _ : -")
    return text


def _take_over(names: list[str]) -> list[str]:
    bad = [name for name in names if not _RUN_ID.match(name)]
    if bad:
        raise _refused(
            "take_over",
            bad[0],
            "are identifiers of runs, as the refusal by the gate run_lock names them",
        )
    return names


def _phases(names: list[str]) -> list[str]:
    """Parts of a run, in their order; the plan is one of all."""
    problems = []
    for name in names:
        if name.lower() not in PARTS:
            near = did_you_mean(name, PARTS)
            problems.append(
                Problem(
                    "phases",
                    f"names {shown(name)}, which is no part of a run",
                    f"are parts out of {', '.join(PARTS)}",
                    f"Did you mean {near}?" if near else "Take it out.",
                )
            )
    if problems:
        raise SettingError(*problems)
    wanted = {"plan", *(name.lower() for name in names)}
    return [part for part in PARTS if part in wanted]


def _webhook(text: str) -> str:
    try:
        parts = urlsplit(text)
        _port = parts.port
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not _PRINTABLE.match(text):
        raise _refused("webhook", text, "is a URL of http or https with a host")
    return text


def _webhook_token(text: str) -> str:
    if not _PRINTABLE.match(text):
        raise _refused(
            "webhook_token",
            text,
            "is one line of printable ASCII without blanks",
            "Write the token alone, without the word Bearer.",
        )
    return text


def can_be_accepted() -> list[str]:
    """Names that ``accept`` takes: gates that may be accepted, and checks of the verdicts."""
    acceptable = [gate.name for gate in gates.GATES.values() if gate.acceptable]
    return acceptable + [name for name in ACCEPTED_BY_VERDICTS if name not in acceptable]


def _accept(names: list[str]) -> list[str]:
    """Gates that may be accepted, and checks of the verdicts."""
    acceptable = can_be_accepted()
    problems = []
    for name in names:
        if name in acceptable:
            continue
        if name in gates.GATES:
            problems.append(
                Problem(
                    "accept",
                    f"names the gate {name}",
                    f"are gates that can be accepted: {', '.join(acceptable)}",
                    f"{name} guards the node itself; take it out and mend what it tells of.",
                )
            )
            continue
        near = did_you_mean(name, acceptable)
        problems.append(
            Problem(
                "accept",
                f"names {shown(name)}, which is no gate",
                f"are gates that can be accepted: {', '.join(acceptable)}",
                f"Did you mean {near}?" if near else "Take it out.",
            )
        )
    if problems:
        raise SettingError(*problems)
    return names


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "version": _version,
    "executable": _executable,
    "run_id": _run_id,
    "take_over": _take_over,
    "accept": _accept,
    "phases": _phases,
    "webhook": _webhook,
    "webhook_token": _webhook_token,
}


def _no_interval(soak: int) -> Problem:
    return Problem(
        "soak_interval",
        f"is 0 while {PREFIX}soak_seconds is {soak}",
        "are 1 second or more between two looks",
        f"Write, for example, {PREFIX}soak_interval=10; {PREFIX}soak_seconds=0 leaves the watching out.",
    )


def _left_behind(settings: Mapping[str, Any]) -> Problem | None:
    """Canaries without the rest, in a run that would end with them, or without any."""
    if settings["waves"] != "canary":
        return None
    if "commit" in settings["phases"]:
        return Problem(
            "waves",
            "is canary in a run that commits as well",
            "is a run that leaves the commit to a later job, which all nodes take part in",
            f"Write, for example, {PREFIX}phases=stage,switch,soak.",
        )
    if settings["canary"] in (0, "0%"):
        return Problem(
            "waves",
            f"is canary while {PREFIX}canary is {settings['canary']}",
            "are canaries to switch",
            f"Write, for example, {PREFIX}canary=1.",
        )
    return None


def _strange_names(
    variables: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Problem], list[str]]:
    """Variables that look like settings and are none: misspelt ones, and ones that only begin like a setting.

    A user may have variables of his own that begin like ours, for what his settings are made of.
    """
    problems, warnings = [], []
    for variable in variables:
        name = variable.removeprefix(PREFIX)
        if name == variable or name in options or name in NO_SETTINGS:
            continue
        near = did_you_mean(name, options, 0.85)
        if near:
            problems.append(
                Problem(
                    name,
                    "is no setting",
                    "are the settings of emqx.fleet.emqx_upgrade",
                    f"Did you mean {PREFIX}{near}?",
                )
            )
            continue
        longer = [PREFIX + option for option in options if option.startswith(f"{name}_")]
        if longer:
            named = " and ".join(filter(None, [", ".join(longer[:-1]), longer[-1]]))
            warnings.append(f"{variable} is no setting and has no effect; there is {named}.")
    return problems, warnings


def _against_spec(settings: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What Ansible's own check of the argument spec says about the typed settings: nothing, if this file is right."""
    spec = {name: dict(option, required=False) for name, option in options.items() if name in settings}
    result = ArgumentSpecValidator(spec).validate(dict(settings))
    return [
        Problem("settings", f"do not fit the argument spec ({masked(message)})", "are settings that do", "Report it.")
        for message in result.error_messages
    ]


def _need_version(typed: Mapping[str, Mapping[str, Any]], problems: Problems, purpose: str) -> None:
    if purpose in NEED_VERSION and typed and all(settings.get("version") == "" for settings in typed.values()):
        problems.add(
            Problem(
                "version", "is not set", "is the version that the fleet shall run", f"Add -e {PREFIX}version=4.4.19."
            )
        )


def _agree(name: str, typed: Mapping[str, Mapping[str, Any]], problems: Problems) -> None:
    """What holds for the whole play is the same for all of its hosts."""
    first: tuple[str, Any] | None = None
    for host, settings in typed.items():
        if name not in settings:
            continue
        if first is None:
            first = host, settings[name]
        elif settings[name] != first[1]:
            problems.add(
                Problem(
                    name,
                    f"is {_quoted(name, first[1])} on {first[0]} and {_quoted(name, settings[name])} on {host}",
                    "is one value for the whole play",
                    "Set it once for all, with -e or in the variables of the group all.",
                )
            )
            return
