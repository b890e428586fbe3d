# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write Erlang terms as text.

Two kinds of text are read: what a node prints (``io:format`` with ``~w`` or ``~p``; :func:`parse_term`) and what a file
holds that ``file:consult/1`` accepts (relup, RELEASES; :func:`parse_terms`).

==================================== =======================================================
Erlang                               Python
==================================== =======================================================
``abc``, ``'a b'``                   :class:`Atom`, also ``true``, ``false`` and ``undefined``
``42``, ``16#FF``, ``$a``            :class:`int`
``1.5e3``                            :class:`float`
``"abc"``, ``"abc" "def"``           :class:`str`
``<<"abc">>``, ``<<1,2>>``           :class:`bytes`
``[1,2]``                            :class:`list` (``~w`` prints a string this way: :func:`to_str`)
``[1|2]``                            :class:`ImproperList`
``{a,b}``                            :class:`tuple`
``#{a => b}``                        :class:`dict`, keys made hashable
``<0.1.0>``, ``#Ref<...>``, ``fun``  :class:`Opaque`
==================================== =======================================================

The text may come from anywhere, so the reader takes time linear in its length, never recurses, and raises nothing but
:class:`ErlangTermError`.
"""

import re
from typing import Any, List, NamedTuple, Optional, Pattern, Tuple, Union

#: Deepest nesting that any call reads or writes. Relups nest to 6, answers of a node to about 10.
DEPTH_LIMIT = 256
#: Nesting read unless told otherwise.
DEFAULT_MAX_DEPTH = 100
#: Characters (of a ``bytes`` argument: bytes) read unless told otherwise.
DEFAULT_MAX_BYTES = 16 * 1024 * 1024
#: Values kept unless told otherwise; some 100 MB of memory at the most.
DEFAULT_MAX_VALUES = 1000000
#: Digits of one number. Conversion of digits takes more than linear time, so it is bounded.
MAX_DIGITS = 1000
#: Characters of an atom, as in Erlang itself.
MAX_ATOM = 255


class ErlangTermError(ValueError):
    """The text is not a term, or not one within the bounds.

    Attributes: ``reason`` (the message without the place), ``line`` and ``column`` (both from 1, or None when the
    error has no place in a text).
    """

    def __init__(self, reason: str, line: Optional[int] = None, column: Optional[int] = None) -> None:
        where = "" if line is None else "line {0}, column {1}: ".format(line, column)
        super().__init__(where + reason)
        self.reason = reason
        self.line = line
        self.column = column


class Atom(str):
    """An atom. Equal to the string of its name, so that ``value == "true"`` reads well."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Atom({0})".format(str.__repr__(self))


class Opaque(str):
    """A term that only its own node can use (pid, port, reference, fun), or one left out for its depth: its text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Opaque({0})".format(str.__repr__(self))


class ImproperList(NamedTuple):
    """A list that does not end in the empty list: its elements, and what stands after the bar."""

    items: Tuple[Any, ...]
    tail: Any


#: What stands for a value below ``keep_depth``.
ELIDED = Opaque("...")

# Erlang's scanner takes these as blanks and these as characters of a name (Latin-1 letters included).
_BLANK = "\\x00-\\x20\\x80-\\xa0"
_LOWER = "a-z\xdf-\xf6\xf8-\xff"
_NAME = "A-Za-z0-9_@\xc0-\xd6\xd8-\xf6\xf8-\xff"

# Groups, by number: 1 atom, 2 structure, 3 number, 4 arrow, 5 anything else. A pattern has no repeated groups, since
# each round of one costs memory until the match ends.
_TOKEN = re.compile(
    "[{blank}]*(?:([{lower}][{name}]*)|([{{}}\\[\\],|])|([0-9][0-9_]*)|(=>)|(.))".format(
        blank=_BLANK, lower=_LOWER, name=_NAME
    ),
    re.DOTALL,
)
_G_ATOM, _G_STRUCTURE, _G_NUMBER, _G_ARROW = 1, 2, 3, 4
_BLANKS = re.compile("[{0}]*".format(_BLANK))
_BASED = re.compile("#([0-9A-Za-z_]+)")
_FRACTION = re.compile("\\.([0-9][0-9_]*)(?:[eE]([+-]?[0-9][0-9_]*))?")
_PLAIN = {'"': re.compile('[^"\\\\]*'), "'": re.compile("[^'\\\\]*")}
_OCTAL = re.compile("[0-7]{1,3}")
_HEX_BRACED = re.compile("\\{([0-9A-Fa-f]{1,8})\\}")
_HEX_TWO = re.compile("[0-9A-Fa-f]{2}")
_PID = re.compile("<[0-9]{1,20}\\.[0-9]{1,20}\\.[0-9]{1,20}>")
_OPAQUE = re.compile("#(?:Ref|Port|Fun)<[^<>\\n]{0,512}>")
_CODING = re.compile(b"coding\\s*[:=]\\s*([-a-zA-Z0-9]+)")
_UNQUOTED_ATOM = re.compile("[a-z][A-Za-z0-9_@]*\\Z")

_ESCAPES = {
    "b": "\b",
    "d": "\x7f",
    "e": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "s": " ",
    "t": "\t",
    "v": "\v",
}
_RESERVED = frozenset(
    (
        "after",
        "and",
        "andalso",
        "band",
        "begin",
        "bnot",
        "bor",
        "bsl",
        "bsr",
        "bxor",
        "case",
        "catch",
        "cond",
        "div",
        "end",
        "fun",
        "if",
        "let",
        "not",
        "of",
        "or",
        "orelse",
        "receive",
        "rem",
        "try",
        "when",
        "xor",
    )
)
_CLOSERS = {"[": "]", "{": "}", "#{": "}"}

# What may come next within a container.
_FIRST, _VALUE, _NEXT, _TAIL, _END, _ARROW = "first", "value", "next", "tail", "end", "arrow"
_EXPECTED = {
    _FIRST: "a term or '{0}'",
    _VALUE: "a term",
    _NEXT: "',' or '{0}'",
    _TAIL: "a term",
    _END: "'{0}'",
    _ARROW: "'=>'",
}
_NOTHING = object()


def decode_source(data: bytes) -> str:
    """Decode a file as Erlang does: UTF-8, or what a ``coding:`` comment in the first two lines says.

    Raises :class:`ErlangTermError` for another encoding and for bytes that are not of the encoding.
    """
    encoding = "utf-8"
    for line in data[:4096].split(b"\n", 2)[:2]:
        found = _CODING.search(line) if line.lstrip().startswith(b"%") else None
        if found:
            name = found.group(1).decode("ascii").lower()
            if name not in ("utf-8", "latin-1"):
                raise ErlangTermError("the encoding '{0}' is neither utf-8 nor latin-1".format(name[:40]))
            encoding = name
            break
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
        column = exc.start - (before.rfind(b"\n") + 1) + 1
        raise ErlangTermError("not valid {0}".format(encoding), before.count(b"\n") + 1, column) from exc


def parse_term(text: Union[str, bytes], max_depth: int = DEFAULT_MAX_DEPTH, max_bytes: int = DEFAULT_MAX_BYTES) -> Any:
    """Return the value of the one term in ``text``, as a node prints it; a dot at the end may be left out.

    Raises :class:`ErlangTermError`, also when there is text after the term.
    """
    reader = _Reader(text, max_depth, max_bytes)
    value = reader.term()
    if reader.at_dot():
        reader.skip_dot()
    if not reader.at_end():
        raise reader.error("expected the end of the text")
    return value


def parse_terms(
    text: Union[str, bytes],
    max_depth: int = DEFAULT_MAX_DEPTH,
    max_bytes: int = DEFAULT_MAX_BYTES,
    keep_depth: Optional[int] = None,
    max_values: int = DEFAULT_MAX_VALUES,
) -> List[Any]:
    """Return the values of all terms in ``text``, each ended by a dot, as ``file:consult/1`` does.

    What only a running node has (pids, references) is refused here. ``keep_depth``: containers nested deeper than this
    are read and checked but not kept, and stand as :data:`ELIDED`; the memory needed is then that of the rest.
    ``max_values``: how many values may be kept.
    """
    reader = _Reader(text, max_depth, max_bytes, keep_depth, max_values, False)
    values: List[Any] = []
    while not reader.at_end():
        values.append(reader.term())
        if not reader.at_dot():
            raise reader.error("expected '.' after the term")
        reader.skip_dot()
    return values


class _Reader:
    """One pass over one text. ``pos`` is where the next token is looked for."""

    def __init__(
        self,
        text: Union[str, bytes],
        max_depth: int,
        max_bytes: int,
        keep_depth: Optional[int] = None,
        max_values: int = DEFAULT_MAX_VALUES,
        printed: bool = True,
    ) -> None:
        if len(text) > max_bytes:
            raise ErlangTermError("the text is longer than {0} bytes".format(max_bytes))
        self.text = decode_source(text) if isinstance(text, bytes) else text
        self.pos = 0
        self.max_depth = min(max_depth, DEPTH_LIMIT)
        self.keep_depth = self.max_depth if keep_depth is None else keep_depth
        self.values_left = max_values
        self.printed = printed

    def error(self, reason: str, pos: Optional[int] = None) -> ErlangTermError:
        """Return an error at ``pos``, by default where the next token begins."""
        if pos is None:
            pos = self.pos
        start = self.text.rfind("\n", 0, pos) + 1
        return ErlangTermError(reason, self.text.count("\n", 0, pos) + 1, pos - start + 1)

    def skip_blanks(self) -> None:
        """Move to the next character that is neither blank nor in a comment."""
        text, pos = self.text, self.pos
        while True:
            pos = _behind(_BLANKS, text, pos)
            if not text.startswith("%", pos):
                break
            pos = text.find("\n", pos)
            if pos < 0:
                pos = len(text)
        self.pos = pos

    def at_end(self) -> bool:
        """Tell whether nothing but blanks and comments is left."""
        self.skip_blanks()
        return self.pos >= len(self.text)

    def at_dot(self) -> bool:
        """Tell whether a dot comes next that ends a term."""
        self.skip_blanks()
        if not self.text.startswith(".", self.pos):
            return False
        after = self.pos + 1
        return after >= len(self.text) or self.text[after] == "%" or _behind(_BLANKS, self.text, after) > after

    def skip_dot(self) -> None:
        """Move past the dot that :meth:`at_dot` saw."""
        self.pos += 1

    def term(self) -> Any:
        """Read one term.

        Open containers are kept in ``stack``, never on Python's own, as ``[kind, items, state, key]``.
        """
        text = self.text
        stack: List[List[Any]] = []
        match = _TOKEN.match
        keep_depth = self.keep_depth
        while True:
            token = match(text, self.pos)
            if token is None:
                self.skip_blanks()
                raise self.error("the text ends within a term")
            group = token.lastindex or 0
            start = token.start(group)
            word = token.group(group)
            value: Any = _NOTHING
            state = stack[-1][2] if stack else _VALUE

            if group == _G_STRUCTURE and word not in "[{":
                if not stack:
                    raise self.error("expected a term, not '{0}'".format(word), start)
                self.pos = token.end()
                frame = stack[-1]
                if word == ",":
                    if state != _NEXT:
                        raise self.unexpected(frame, word, start)
                    frame[2] = _VALUE
                    continue
                if word == "|":
                    if state != _NEXT or frame[0] != "[":
                        raise self.unexpected(frame, word, start)
                    frame[2] = _TAIL
                    continue
                if word != _CLOSERS[frame[0]] or state not in (_FIRST, _NEXT, _END):
                    raise self.unexpected(frame, word, start)
                value = self.closed(frame, len(stack))
                stack.pop()
            elif group == _G_ARROW:
                if state != _ARROW:
                    raise self.unexpected(stack[-1] if stack else None, word, start)
                self.pos = token.end()
                stack[-1][2] = _VALUE
                continue
            elif word == "%":
                self.pos = start
                self.skip_blanks()
                continue
            elif state not in (_FIRST, _VALUE, _TAIL):
                raise self.unexpected(stack[-1], word, start)
            else:
                self.pos = token.end()
                if group == _G_ATOM:
                    value = self.atom(word, start)
                elif group == _G_STRUCTURE:
                    self.open(stack, word, start)
                    continue
                elif group == _G_NUMBER:
                    value = self.number(word, start)
                elif word == "#" and text.startswith("{", self.pos):
                    self.pos += 1
                    self.open(stack, "#{", start)
                    continue
                else:
                    value = self.other(word, start)

            if not stack:
                return value
            frame = stack[-1]
            kind = frame[0]
            keep = len(stack) <= keep_depth
            if keep:
                self.values_left -= 1
                if self.values_left < 0:
                    raise self.error("more values than are read of one text", start)
            if kind == "#{":
                if frame[3] is _NOTHING:
                    frame[3] = _frozen(value) if keep else None
                    frame[2] = _ARROW
                else:
                    if keep:
                        frame[1].append((frame[3], value))
                    frame[3] = _NOTHING
                    frame[2] = _NEXT
            elif frame[2] == _TAIL:
                frame[3] = value
                frame[2] = _END
            else:
                if keep:
                    frame[1].append(value)
                frame[2] = _NEXT

    def open(self, stack: List[List[Any]], kind: str, start: int) -> None:
        """Push a container."""
        if len(stack) >= self.max_depth:
            raise self.error("nested deeper than {0}".format(self.max_depth), start)
        stack.append([kind, [], _FIRST, _NOTHING])

    def unexpected(self, frame: Optional[List[Any]], word: str, start: int) -> ErlangTermError:
        """Return the error for a token that cannot stand here."""
        if frame is None:
            expected = _EXPECTED[_VALUE]
        else:
            expected = _EXPECTED[frame[2]].format(_CLOSERS[frame[0]])
        return self.error("expected {0}, not '{1}'".format(expected, word[:40]), start)

    def closed(self, frame: List[Any], depth: int) -> Any:
        """Return the value of a container that has just ended."""
        kind, items, state, tail = frame
        if depth > self.keep_depth:
            return ELIDED
        if kind == "{":
            return tuple(items)
        if kind == "#{":
            return dict(items)
        if state != _END:
            return items
        if isinstance(tail, list):
            return items + tail
        if isinstance(tail, ImproperList):
            return ImproperList(tuple(items) + tail.items, tail.tail)
        if isinstance(tail, str) and not isinstance(tail, (Atom, Opaque)):
            return items + [ord(char) for char in tail]
        return ImproperList(tuple(items), tail)

    def atom(self, word: str, start: int) -> Any:
        """Return an unquoted atom, or the external fun that the word ``fun`` begins."""
        if word == "fun":
            return self.external_fun(start)
        if word in _RESERVED:
            raise self.error("the reserved word '{0}' is not a term".format(word), start)
        if len(word) > MAX_ATOM:
            raise self.error("an atom has at most {0} characters".format(MAX_ATOM), start)
        return Atom(word)

    def external_fun(self, start: int) -> Opaque:
        """Read what follows ``fun`` in ``fun module:function/arity``."""
        parts = []
        for mark in (":", "/", ""):
            self.skip_blanks()
            token = _TOKEN.match(self.text, self.pos)
            group = (token.lastindex or 0) if token else 0
            if token and group == _G_ATOM and mark:
                self.pos = token.end()
                parts.append(format_term(self.atom(token.group(group), start)))
            elif token and token.group(group) == "'" and mark:
                self.pos = token.end()
                parts.append(format_term(self.quoted_atom(token.start(group))))
            elif token and group == _G_NUMBER and not mark:
                self.pos = token.end()
                parts.append(str(self.number(token.group(group), start)))
            else:
                raise self.error("expected 'fun module:function/arity'", start)
            self.skip_blanks()
            if not self.text.startswith(mark, self.pos):
                raise self.error("expected 'fun module:function/arity'", start)
            self.pos += len(mark)
        return Opaque("fun {0}:{1}/{2}".format(*parts))

    def number(self, digits: str, start: int) -> Union[int, float]:
        """Return the number that begins with ``digits``; ``pos`` is behind them."""
        whole = self.digits(digits, start)
        found = _BASED.match(self.text, self.pos)
        if found:
            self.pos = found.end()
            base = int(whole) if len(whole) <= 2 else 0
            if not 2 <= base <= 36:
                raise self.error("the base of a number is from 2 to 36", start)
            try:
                return int(self.digits(found.group(1), start), base)
            except ValueError:
                raise self.error("a digit is not of base {0}".format(base), start) from None
        found = _FRACTION.match(self.text, self.pos)
        if not found:
            return int(whole)
        self.pos = found.end()
        literal = whole + "." + self.digits(found.group(1), start)
        if found.group(2):
            literal += "e" + self.digits(found.group(2), start)
        value = float(literal)
        if value in (float("inf"), float("-inf")):
            raise self.error("the number is too large for a float", start)
        return value

    def digits(self, text: str, start: int) -> str:
        """Return ``text`` without the underscores that may stand between two digits."""
        if len(text) > MAX_DIGITS:
            raise self.error("a number has at most {0} digits".format(MAX_DIGITS), start)
        if "_" in text:
            if text.startswith("_") or text.endswith("_") or "__" in text:
                raise self.error("an underscore stands between two digits", start)
            text = text.replace("_", "")
        return text

    def other(self, word: str, start: int) -> Any:
        """Read a term that begins with the character ``word``; ``pos`` is behind it."""
        if word == '"':
            return self.string(start)
        if word == "'":
            return self.quoted_atom(start)
        if word == "$":
            return self.char(start)
        if word in "+-":
            return self.signed(word, start)
        if word == "<" and self.text.startswith("<", self.pos):
            self.pos += 1
            return self.binary(start)
        if self.printed and word in "<#":
            found = (_PID if word == "<" else _OPAQUE).match(self.text, start)
            if found:
                self.pos = found.end()
                return Opaque(found.group())
        raise self.error("expected a term, not '{0}'".format(word), start)

    def signed(self, sign: str, start: int) -> Union[int, float]:
        """Read the number or character behind a sign."""
        self.skip_blanks()
        token = _TOKEN.match(self.text, self.pos)
        if token is not None and token.lastindex == _G_NUMBER:
            self.pos = token.end()
            value = self.number(token.group(_G_NUMBER), start)
        elif self.text.startswith("$", self.pos):
            self.pos += 1
            value = self.char(start)
        else:
            raise self.error("expected a number after '{0}'".format(sign), start)
        return -value if sign == "-" else value

    def char(self, start: int) -> int:
        """Read the character behind a dollar sign."""
        char = self.text[self.pos : self.pos + 1]
        if not char:
            raise self.error("the text ends within a character", start)
        self.pos += 1
        return ord(self.escape()) if char == "\\" else ord(char)

    def quoted(self, quote: str, start: int) -> str:
        """Read up to the closing ``quote``; ``pos`` is behind the opening one."""
        text = self.text
        plain = _PLAIN[quote]
        parts = []
        while True:
            end = _behind(plain, text, self.pos)
            if end > self.pos:
                parts.append(text[self.pos : end])
            if end >= len(text):
                raise self.error("no closing {0}".format(quote), start)
            self.pos = end + 1
            if text[end] == quote:
                return "".join(parts)
            parts.append(self.escape())

    def escape(self) -> str:
        """Read what follows a backslash."""
        text, pos = self.text, self.pos
        char = text[pos : pos + 1]
        if not char:
            raise self.error("the text ends within an escape", pos - 1)
        self.pos = pos + 1
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "^":
            control = text[pos + 1 : pos + 2]
            if not ("@" <= control <= "_" or "a" <= control <= "z"):
                raise self.error("not a control character", pos - 1)
            self.pos = pos + 2
            return chr(ord(control) & 31)
        if char == "x":
            found = _HEX_BRACED.match(text, pos + 1)
            digits = found.group(1) if found else ""
            if not found:
                found = _HEX_TWO.match(text, pos + 1)
                digits = found.group() if found else ""
            if not found:
                raise self.error("expected hexadecimal digits", pos - 1)
            self.pos = found.end()
            code = int(digits, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise self.error("not a Unicode character", pos - 1)
            return chr(code)
        octal = _OCTAL.match(text, pos)
        if octal:
            self.pos = octal.end()
            return chr(int(octal.group(), 8))
        return char

    def string(self, start: int) -> str:
        """Read a string and those next to it."""
        parts = [self.quoted('"', start)]
        while True:
            behind = self.pos
            self.skip_blanks()
            if not self.text.startswith('"', self.pos):
                self.pos = behind
                return "".join(parts)
            self.pos += 1
            parts.append(self.quoted('"', self.pos - 1))

    def quoted_atom(self, start: int) -> Atom:
        """Read an atom in single quotes."""
        name = self.quoted("'", start)
        if len(name) > MAX_ATOM:
            raise self.error("an atom has at most {0} characters".format(MAX_ATOM), start)
        return Atom(name)

    def binary(self, start: int) -> bytes:
        """Read a binary; ``pos`` is behind ``<<``. Segments are of whole bytes."""
        result = bytearray()
        self.skip_blanks()
        if self.text.startswith(">>", self.pos):
            self.pos += 2
            return b""
        while True:
            self.skip_blanks()
            result += self.segment(start)
            self.skip_blanks()
            if self.text.startswith(">>", self.pos):
                self.pos += 2
                return bytes(result)
            if not self.text.startswith(",", self.pos):
                raise self.error("expected ',' or '>>'")
            self.pos += 1

    def segment(self, start: int) -> bytes:
        """Read one segment of a binary: a string or an integer with an optional size or type."""
        begin = self.pos
        token = _TOKEN.match(self.text, begin)
        if token is None:
            raise self.error("no closing >>", start)
        group = token.lastindex or 0
        word = token.group(group)
        self.pos = token.end()
        value: Any = None
        if word == '"':
            value = self.string(begin)
        elif group == _G_NUMBER:
            value = self.number(word, begin)
        elif word == "$":
            value = self.char(begin)
        elif word in ("+", "-"):
            value = self.signed(word, begin)
        if value is None or isinstance(value, float):
            raise self.error("expected a string or an integer", begin)
        size = 8
        if self.text.startswith(":", self.pos):
            size_token = _TOKEN.match(self.text, self.pos + 1)
            if size_token is None or size_token.lastindex != _G_NUMBER or isinstance(value, str):
                raise self.error("expected the size of an integer")
            digits = size_token.group(_G_NUMBER)
            self.pos = size_token.end()
            size = int(digits) if len(digits) <= 4 and digits.isdigit() else 0
            if size <= 0 or size % 8 or size > 4096:
                raise self.error("only sizes of whole bytes are read", begin)
        if self.text.startswith("/", self.pos):
            kind = _TOKEN.match(self.text, self.pos + 1)
            name = kind.group(_G_ATOM) if kind is not None else None
            if kind is None or name not in ("utf8", "integer"):
                raise self.error("expected the type utf8 or integer")
            self.pos = kind.end()
            if name == "utf8":
                return self.utf8(value, begin)
        numbers = [ord(char) for char in value] if isinstance(value, str) else [value]
        if size == 8:
            return bytes(bytearray(number & 0xFF for number in numbers))
        return (numbers[0] & ((1 << size) - 1)).to_bytes(size // 8, "big")

    def utf8(self, value: Union[str, int], begin: int) -> bytes:
        """Encode a segment of type utf8."""
        try:
            return (value if isinstance(value, str) else chr(value)).encode("utf-8")
        except (ValueError, OverflowError):
            raise self.error("not a Unicode character", begin) from None


def _behind(pattern: "Pattern[str]", text: str, pos: int) -> int:
    """Return where the run of characters that ``pattern`` describes ends; ``pos`` if there is none."""
    found = pattern.match(text, pos)
    return found.end() if found else pos


def _frozen(value: Any) -> Any:
    """Return ``value`` as something that can be the key of a dictionary: lists and maps become tuples."""
    if isinstance(value, (Atom, Opaque)):
        return value
    if isinstance(value, list):
        return tuple([_frozen(item) for item in value])
    if isinstance(value, ImproperList):
        return ImproperList(_frozen(value.items), _frozen(value.tail))
    if isinstance(value, tuple):
        return tuple([_frozen(item) for item in value])
    if isinstance(value, dict):
        return tuple([(key, _frozen(item)) for key, item in value.items()])
    return value


def to_str(value: Any) -> str:
    """Return text, however Erlang held it: a string, a list of characters, a binary (UTF-8) or an atom.

    A list may hold strings, lists and binaries in turn, as an iolist does. Raises :class:`ErlangTermError` for
    anything else.
    """
    parts: List[str] = []
    _collect_text(value, parts, 0)
    return "".join(parts)


def _collect_text(value: Any, parts: List[str], depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise ErlangTermError("nested deeper than {0}".format(DEPTH_LIMIT))
    if isinstance(value, str):
        parts.append(str(value))
    elif isinstance(value, bytes):
        try:
            parts.append(value.decode("utf-8"))
        except UnicodeDecodeError:
            raise ErlangTermError("a binary is not valid UTF-8") from None
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, int) and not isinstance(item, bool):
                if not 0 <= item <= 0x10FFFF or 0xD800 <= item <= 0xDFFF:
                    raise ErlangTermError("the number {0:.40} is not a character".format(str(item)))
                parts.append(chr(item))
            elif isinstance(item, (str, bytes, list)) and not isinstance(item, (Atom, Opaque)):
                _collect_text(item, parts, depth + 1)
            else:
                raise ErlangTermError("a list of characters holds a {0}".format(type(item).__name__))
    else:
        raise ErlangTermError("expected text, not a {0}".format(type(value).__name__))


def format_term(value: Any) -> str:
    """Return the text of a term, such that the parsers of this module read an equal value from it.

    Raises :class:`ErlangTermError` for a value that no term stands for (None, infinity) and for deep nesting.
    """
    return _format(value, 0)


def _format(value: Any, depth: int) -> str:
    if depth > DEPTH_LIMIT:
        raise ErlangTermError("nested deeper than {0}".format(DEPTH_LIMIT))
    if isinstance(value, Opaque):
        return str(value)
    if isinstance(value, Atom):
        return _format_atom(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quote(value, '"')
    if isinstance(value, bytes):
        return "<<{0}>>".format(",".join([str(byte) for byte in bytearray(value)]))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, ImproperList):
        items = ",".join([_format(item, depth + 1) for item in value.items])
        return "[{0}|{1}]".format(items, _format(value.tail, depth + 1))
    if isinstance(value, (list, tuple)):
        shape = "[{0}]" if isinstance(value, list) else "{{{0}}}"
        return shape.format(",".join([_format(item, depth + 1) for item in value]))
    if isinstance(value, dict):
        pairs = ["{0} => {1}".format(_format(key, depth + 1), _format(value[key], depth + 1)) for key in value]
        return "#{{{0}}}".format(", ".join(pairs))
    raise ErlangTermError("no term stands for a {0}".format(type(value).__name__))


def _format_atom(value: str) -> str:
    if len(value) > MAX_ATOM:
        raise ErlangTermError("an atom has at most {0} characters".format(MAX_ATOM))
    if _UNQUOTED_ATOM.match(value) and value not in _RESERVED:
        return str(value)
    return _quote(value, "'")


def _format_float(value: float) -> str:
    text = repr(float(value))
    if "n" in text:
        raise ErlangTermError("no term stands for {0}".format(text))
    mantissa, mark, exponent = text.partition("e")
    # Erlang wants a fraction also where Python leaves it out, as in 1e+22.
    return mantissa + ("" if "." in mantissa else ".0") + mark + exponent


def _quote(text: str, quote: str) -> str:
    parts = []
    for char in text:
        if char in ("\\", quote):
            parts.append("\\" + char)
        elif " " <= char <= "~":
            parts.append(char)
        else:
            parts.append("\\x{{{0:x}}}".format(ord(char)))
    return quote + "".join(parts) + quote
