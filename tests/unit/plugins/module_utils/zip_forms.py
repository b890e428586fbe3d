# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""One small archive in every form that zip64 can take, and whether the Erlang of EMQX 4.x reads it."""

import io
import struct
import zipfile
import zlib
from typing import Callable, Dict, List, NamedTuple, Tuple

ROW = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
LOCAL = struct.Struct("<4s5H3L2H")
ALL = 0xFFFFFFFF
MANY = 0xFFFF
#: Where a row of the directory has the size, the packed size and the offset.
FIELDS = {"size": 9, "packed": 8, "offset": 16}


class Form(NamedTuple):
    """``reads``: whether Erlang gets everything out of it. Tried with OTP 25 by ``test_zip_in_erlang``."""

    reads: bool
    make: Callable[[Dict[str, bytes]], bytes]


def plain(files: Dict[str, bytes]) -> bytes:
    """As Python's own module writes it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def in_sequence(zip64: bool, behind: bool) -> Callable[[Dict[str, bytes]], bytes]:
    """Written from the beginning to the end; with ``zip64`` the sizes before each member stand in its zip64 field.

    ``behind``: what went into a pipe has the sizes behind each member. It is written out here, since the versions of
    Python differ in what they write.
    """

    def make(files: Dict[str, bytes]) -> bytes:
        data, directory = b"", b""
        flags = 8 if behind else 0
        for name, content in files.items():
            pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = pressed.compress(content) + pressed.flush()
            crc = zlib.crc32(content) & ALL
            sizes = (len(packed), len(content))
            before = (ALL, ALL) if zip64 else (0, 0) if behind else sizes
            extra = struct.pack("<HHQQ", 1, 16, 0 if behind else sizes[1], 0 if behind else sizes[0]) if zip64 else b""
            words = name.encode("ascii")
            offset = len(data)
            head = (b"PK\x03\x04", 45 if zip64 else 20, flags, 8, 0, 0x21, 0 if behind else crc)
            data += LOCAL.pack(*(head + before + (len(words), len(extra)))) + words + extra + packed
            if behind:
                data += struct.pack("<4sLQQ" if zip64 else "<4sLLL", b"PK\x07\x08", crc, *sizes)
            row = (b"PK\x01\x02", 20, 20, flags, 8, 0, 0x21, crc) + sizes + (len(words), 0, 0, 0, 0, 0, offset)
            directory += ROW.pack(*row) + words
        end = END.pack(b"PK\x05\x06", 0, 0, len(files), len(files), len(directory), len(data), 0)
        return data + directory + end

    return make


def at_end(count: bool = False, length: bool = False, offset: bool = False) -> Callable[[Dict[str, bytes]], bytes]:
    """With a zip64 end of the directory; the numbers named stand there alone."""

    def make(files: Dict[str, bytes]) -> bytes:
        data = plain(files)
        place = data.rindex(b"PK\x05\x06")
        _sig, _disk, _with, _here, rows, size, begin, _comment = END.unpack(data[place:])
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, rows, rows, size, begin)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
        shown = MANY if count else rows
        end = END.pack(b"PK\x05\x06", 0, 0, shown, shown, ALL if length else size, ALL if offset else begin, 0)
        return data[:place] + record + locator + end

    return make


def in_rows(*fields: str) -> Callable[[Dict[str, bytes]], bytes]:
    """With a zip64 field in each row of the directory, in which the numbers named stand alone."""

    def make(files: Dict[str, bytes]) -> bytes:
        data = plain(files)
        rows, end = _rows(data)
        begin = data.index(rows[0][1])
        directory = b""
        for row, whole in rows:
            values = list(row)
            extra = b""
            for name, place in FIELDS.items():
                if name in fields:
                    extra += struct.pack("<Q", values[place])
                    values[place] = ALL
            extra = struct.pack("<HH", 1, len(extra)) + extra
            values[11] = len(extra)
            directory += ROW.pack(*values) + whole[ROW.size :] + extra
        values = list(END.unpack(end))
        values[5] = len(directory)
        return data[:begin] + directory + END.pack(*values)

    return make


def _rows(data: bytes) -> Tuple[List[Tuple[Tuple[int, ...], bytes]], bytes]:
    """Rows of the directory, each as numbers and whole, and the end."""
    place = data.rindex(b"PK\x05\x06")
    end = data[place:]
    rows = []
    at = END.unpack(end)[6]
    while at < place:
        row = ROW.unpack_from(data, at)
        length = ROW.size + sum(row[10:13])
        rows.append((row, data[at : at + length]))
        at += length
    return rows, end


FORMS = {
    "plain": Form(True, plain),
    "plain, in sequence": Form(True, in_sequence(False, False)),
    "plain, into a pipe": Form(True, in_sequence(False, True)),
    "before each member": Form(False, in_sequence(True, False)),
    # Sizes stand behind each member then, and Erlang takes those of the directory.
    "before each member, into a pipe": Form(True, in_sequence(True, True)),
    "an end that is not needed": Form(True, at_end()),
    "number of members": Form(False, at_end(count=True)),
    "size of the directory": Form(True, at_end(length=True)),
    "place of the directory": Form(False, at_end(offset=True)),
    "all of the end": Form(False, at_end(True, True, True)),
    "a field that holds nothing": Form(True, in_rows()),
    "size of a member": Form(True, in_rows("size")),
    "packed size of a member": Form(True, in_rows("packed")),
    "place of a member": Form(False, in_rows("offset")),
    "all of a row": Form(False, in_rows("size", "packed", "offset")),
}
