# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""How a question gets to the running node, and its answer back.

It is asked over the Erlang distribution protocol, which takes some milliseconds. Where that does not work, the same is
asked by ``emqx eval``, which starts a virtual machine two or three times and takes more than a second.

``bin/emqx`` hands its arguments to ``su - USER -c "emqx \"$ARG\""`` when it drops to its runner user, so the
expression contains no double quote, dollar sign, back-quote or backslash: strings are written as lists of characters.
EMQX 4.2 hands them on without quotes besides: they are split at blanks, which does no harm, and each word is taken for
a pattern of file names, so there are as few words as there can be.
The answer is one line, ``{emqx_fleet,[...]}``, printed with ``~w``; before it in the line may stand what the runner
user's login profile prints.
"""

import os
import re
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import peer
from ansible_collections.emqx.fleet.plugins.module_utils.command import CommandResult, EmqxCommand
from ansible_collections.emqx.fleet.plugins.module_utils.distribution import (
    AnswerTimeoutError,
    DistributionError,
    NotListeningError,
    evaluate,
)
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import ErlangTermError, parse_term

DISTRIBUTION, COMMAND = "distribution", "command"
#: Seconds for the command where the node was asked already and the time is up: for what the command says of it.
LAST_SECONDS = 15.0

_FORBIDDEN = re.compile(r"[\"$`\\\n]")
_NEEDLESS_BLANKS = re.compile(r"(?<=[^\w']) +| +(?=[^\w'])")
_MARK = "{emqx_fleet,"
# Places where an answer may begin; a profile may print the mark once or twice, but does not.
_MAX_MARKS = 20


class Asked(NamedTuple):
    """What came of a question.

    ``answer``: what ``understand`` made of it; None where the node did not answer. ``read_by``: ``distribution`` or
    ``command``, None without an answer. ``reason``: why not by the distribution protocol, None where it was; without
    secrets. ``result``: of the command, None where none was run.
    """

    answer: Any
    read_by: Optional[str]
    reason: Optional[str]
    result: Optional[CommandResult]


def ask(
    command: EmqxCommand,
    pid: Optional[int],
    build: Callable[[bool], str],
    understand: Callable[[Dict[str, Any]], Any],
) -> Asked:
    """Ask the broker ``pid`` of the command's installation; None where no process of it is seen.

    ``build``: the expression, printed by itself or as a value. ``understand``: something of the answer's parts by name,
    or None where they are not what was asked for.
    """
    timeout = None  # type: Optional[float]
    try:
        return Asked(_by_distribution(command, pid, build(False), understand), DISTRIBUTION, None, None)
    except NotListeningError as error:
        reason = _sentence(error)
        if pid is None and not _hides_processes():
            return Asked(None, None, reason, None)
    except AnswerTimeoutError as error:
        reason, timeout = _sentence(error), min(command.timeout, LAST_SECONDS)
    except DistributionError as error:
        reason = _sentence(error)
    text = build(True)
    result = command.read("eval", text) if timeout is None else command.read("eval", text, timeout=timeout)
    answer = _understood(parse_answer(result.stdout), understand) if result.rc == 0 else None
    return Asked(answer, None if answer is None else COMMAND, reason, result)


def _by_distribution(
    command: EmqxCommand, pid: Optional[int], question_text: str, understand: Callable[[Dict[str, Any]], Any]
) -> Any:
    found = peer.find(command.installation, pid, dict(command.settings, **os.environ), commands_too=True)
    text = evaluate(found, question_text, command.timeout)
    parsed = parse_answer(text.decode("utf-8", "replace")) if isinstance(text, bytes) else None
    answer = _understood(parsed, understand)
    if answer is None:
        raise DistributionError("{0} answers something else than it was asked".format(found.node))
    return answer


def _understood(parsed: Optional[Dict[str, Any]], understand: Callable[[Dict[str, Any]], Any]) -> Any:
    try:
        return None if parsed is None else understand(parsed)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # A term may have any form, and only what was asked for has the one that is read.
        return None


def _hides_processes() -> bool:
    """Whether ``/proc`` shows processes of others only to some (``hidepid``), so that a broker may be there unseen."""
    try:
        with open("/proc/1/cmdline", "rb") as stream:
            return not stream.read(1)
    except OSError:
        return True


def _sentence(error: DistributionError) -> str:
    text = "{0}.".format(error)
    return text[:1].upper() + text[1:] if text[:1].islower() and "@" not in text.split(" ")[0] else text


def characters(text: str) -> str:
    """An Erlang string as a list of character codes."""
    return "[{0}]".format(",".join(str(ord(character)) for character in text))


def question(parts: Sequence[Tuple[str, str]], printed: bool = True) -> str:
    """The expression that asks for these parts (name, Erlang code) as :func:`parse_answer` reads them.

    It prints them, or without ``printed`` its value is their text as a binary.
    """
    texts = ["{{{0}, T(fun() -> {1} end)}}".format(name, code) for name, code in parts]
    text = "T = fun(F) -> try F() catch _:_ -> undefined end end, {0}({1}, [{{emqx_fleet, [{2}]}}]){3}.".format(
        "io:format" if printed else "unicode:characters_to_binary(io_lib:format",
        characters("~w~n"),
        ", ".join(texts),
        "" if printed else ")",
    )
    text = _NEEDLESS_BLANKS.sub("", text)
    if _FORBIDDEN.search(text):
        raise ValueError("the expression has a character that bin/emqx would change: {0!r}".format(text))
    return text


def parse_answer(stdout: str) -> Optional[Dict[str, Any]]:
    """The parts by name, as Erlang terms; None where the output holds no answer."""
    tries = 0
    for line in stdout.splitlines():
        start = line.find(_MARK)
        while start >= 0 and tries < _MAX_MARKS:
            tries += 1
            try:
                return {str(name): value for name, value in parse_term(line[start:])[1]}
            except (ErlangTermError, TypeError, ValueError):
                start = line.find(_MARK, start + 1)
    return None
