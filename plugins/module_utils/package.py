# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an EMQX package (zip) is, read without unpacking it, and every reason why it must not be used.

A package may come from anywhere, so nothing in it is trusted: what is read is bounded in memory and time
(:data:`MAX_DIRECTORY_BYTES`, :data:`MAX_MEMBERS`, the size of each file that is looked into), and whatever is wrong
becomes a problem with a code from :data:`PROBLEM_CODES`, never an exception.
"""

import copy
import hashlib
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from typing import Any, BinaryIO, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.emqx.fleet.plugins.module_utils import package_name
from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import (
    Atom,
    ErlangTermError,
    Opaque,
    parse_terms,
)
from ansible_collections.emqx.fleet.plugins.module_utils.installation import (
    LICENSE_APPLICATION,
    NO_DOT_ERLANG,
    VERSIONED_BIN_FILES,
    assigned_name,
    decide_edition,
    parse_vars,
    platform_of,
)

#: Bytes of a zip's directory. A real package has some 5,000 members and 1 MB.
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
#: Members of a zip.
MAX_MEMBERS = 30000
#: Bytes of all members together.
MAX_UNPACKED_BYTES = 4 * 1024**3
#: How many times larger than the zip the members may be, once they are larger than :data:`BOMB_FREE_BYTES`.
#: Beams and scripts shrink to about a third.
MAX_RATIO = 100
#: Bytes below which a good compression rouses no suspicion.
BOMB_FREE_BYTES = 64 * 1024 * 1024
#: Bytes of a relup. EMQX 4.4.19's has 40 KB; one for every earlier version of a series stays below 1 MB.
MAX_RELUP_BYTES = 16 * 1024 * 1024
#: Bytes of any other file that is looked into.
MAX_TEXT_BYTES = 1024 * 1024
#: Values of a relup that are kept while it is read: one an instruction, of which EMQX 4.4.19's has some 1,000.
MAX_RELUP_VALUES = 100000
#: Instructions of a relup that restart the virtual machine, and with it disconnect every client.
RESTARTS = ("restart_emulator", "restart_new_emulator")

#: The one folder of a package.
TOP = "emqx"
_CHUNK = 256 * 1024
#: Packages whose answers are kept.
_CACHED = 512
_MAX_LINE = 500
# Of a zip's parts: the end of its directory, a row of it, and what stands before a member.
_EOCD = struct.Struct("<4s4H2LH")
_ROW = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EOCD_SPAN = 65535 + _EOCD.size
#: What stands in place of a number that is in the zip64 part.
_IN_ZIP64 = 0xFFFFFFFF
_COUNT_IN_ZIP64 = 0xFFFF
#: A bit of a member's flags: sizes follow the member, and before it stands nothing.
_SIZES_FOLLOW = 0x8
_SHA256 = re.compile("[0-9a-fA-F]{64}\\Z")
_DRIVE = re.compile("[A-Za-z]:")

#: Every code of a problem, with what it means.
PROBLEM_CODES = {
    "unreadable": "the file is missing, not a regular file, or may not be read",
    "name": "the file name is not that of an EMQX package",
    "not_a_zip": "the file is no zip archive",
    "truncated": "the zip archive ends too early",
    "damaged": "the zip archive contradicts itself, or a member does not match its checksum",
    "too_large": "the zip's directory or a file in it is larger than any real package has it",
    "bomb": "the members are far larger than the archive can honestly hold",
    "zip64": "the archive is in the form zip64, which the Erlang of EMQX 4.x does not read",
    "encrypted_member": "a member is encrypted",
    "compression": "a member is compressed in a way that Erlang does not read",
    "duplicate_member": "two members have one path",
    "unsafe_path": "a member would be unpacked outside its folder",
    "symlink": "a member is a symbolic link",
    "special_member": "a member is neither a file nor a folder",
    "top_folder": "there is more than the one top folder emqx/",
    "missing_member": "a file that the upgrade or a later start needs is missing or empty",
    "version_mismatch": "the version inside is not that of the name",
    "edition_mismatch": "the edition inside is not that of the name",
    "platform_mismatch": "the operating system or architecture inside is not that of the name",
    "otp_mismatch": "the Erlang runtime inside is not that of the name's OTP",
    "rel_unreadable": "the file emqx.rel is not what release_handler reads",
    "no_relup": "there is no relup, so no version can be upgraded hot to this one",
    "relup_unreadable": "the relup is not what release_handler reads",
    "relup_mismatch": "the relup leads to another version",
    "checksum": "the file does not have the expected SHA-256",
    "checksum_format": "what should be a SHA-256 is none",
}

# What the zip module raises for archives that are not sound, besides its own error.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    KeyError,
)


class _TooLargeError(Exception):
    """More would have to be read at once than any real package asks for."""


class _Problems:
    """Problems by code; equal ones of many members make one line."""

    def __init__(self) -> None:
        self._messages: List[Tuple[str, str]] = []
        self._members: Dict[str, List[str]] = {}

    def add(self, code: str, message: str) -> None:
        """Add a problem of the whole package."""
        self._messages.append((code, message))

    def add_member(self, code: str, name: str) -> None:
        """Add a problem of one member."""
        self._members.setdefault(code, []).append(name)

    def rows(self) -> List[Dict[str, str]]:
        """Return ``code`` and ``message`` of each problem."""
        rows = [{"code": code, "message": message} for code, message in self._messages]
        for code in sorted(self._members):
            names = self._members[code]
            more = " and {0} more".format(len(names) - 1) if len(names) > 1 else ""
            rows.append({"code": code, "message": "{0}: {1}{2}".format(PROBLEM_CODES[code], _shown(names[0]), more)})
        return rows


class _BoundedFile(io.RawIOBase):
    """A file that refuses to be read in larger pieces than an honest zip directory has."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._size = size

    def read(self, size: Optional[int] = -1) -> bytes:
        """Read exactly as the file does, up to the bound."""
        if size is None or size < 0:
            size = max(0, self._size - self._stream.tell())
        if size > MAX_DIRECTORY_BYTES:
            raise _TooLargeError()
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as the file does."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._stream.tell()

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


class _Inspection(NamedTuple):
    """What was found in a package of one size and time of modification."""

    facts: Dict[str, Any]
    problems: List[Dict[str, str]]
    warnings: List[str]


_inspected: Dict[Tuple[Any, ...], _Inspection] = {}
_digests: Dict[Tuple[Any, ...], str] = {}


def read_package(path: str, checksum: Optional[str] = None, with_sha256: bool = False) -> Dict[str, Any]:
    """Return the Package shape of ``docs/architecture.md`` for the zip at ``path``.

    ``checksum``: the expected SHA-256, in hexadecimal with or without ``sha256:`` before it; without one, what a
    ``.sha256`` file beside the package says. The digest is computed only to be compared, or if ``with_sha256``.
    Nothing is raised for a bad package, however bad: see ``problems``. Only the parts that decide are read; for the
    checksum of every member see :func:`verify_members`. Answers are kept by path, size and modification time.
    """
    name = os.path.basename(path)
    package: Dict[str, Any] = {
        "name": name,
        "path": path,
        "size": 0,
        "edition": None,
        "version": None,
        "otp": None,
        "os": None,
        "arch": None,
        "erts": None,
        "built_on": None,
        "relup": None,
        "unpacked_size": 0,
        "sha256": None,
        "checksum_source": None,
        "problems": [],
        "warnings": [],
    }
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        key = (os.path.abspath(path), found.st_size, found.st_mtime_ns)
        if key not in _inspected:
            if len(_inspected) >= _CACHED:
                _inspected.clear()
            with open(path, "rb") as stream:
                _inspected[key] = _inspect(name, stream, found.st_size)
        package.update(copy.deepcopy(_inspected[key].facts))
        package["size"] = found.st_size
        package["problems"] = copy.deepcopy(_inspected[key].problems)
        package["warnings"] = list(_inspected[key].warnings)
        _check_digest(package, checksum, with_sha256)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        package["problems"].append({"code": "unreadable", "message": "{0} cannot be read: {1}".format(path, reason)})
    return package


def describe(path: str, checksum: Optional[str] = None, whole: bool = False) -> Dict[str, Any]:
    """:func:`read_package`, and with ``whole`` also the checksum of every member among its ``problems``."""
    package = read_package(path, checksum=checksum)
    if whole and not package["problems"]:
        package["problems"] = verify_members(path)
    return package


def sha256_file(path: str) -> str:
    """Return the SHA-256 of a file in lower-case hexadecimal, read in pieces. Raises :class:`OSError`."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(path: str) -> str:
    """Return what :func:`sha256_file` does, reading the same file once, whatever it is called meanwhile."""
    found = os.stat(path)
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if key not in _digests:
        if len(_digests) >= _CACHED:
            _digests.clear()
        _digests[key] = sha256_file(path)
    return _digests[key]


def read_sidecar(path: str) -> Optional[str]:
    """Return what ``<path>.sha256`` says, or None where there is no such file.

    EMQX's own holds the bare digest; what ``sha256sum`` writes (digest, blanks, name) is taken as well. Anything else
    comes back as it stands, cut to a line, for :func:`read_package` to refuse. Raises :class:`OSError` for a file
    that is there and cannot be read.
    """
    try:
        with open(path + ".sha256", "rb") as stream:
            text = stream.read(4096).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    words = text.split()
    return words[0][:80] if words else ""


def parse_checksum(text: str) -> Optional[str]:
    """Return the digest of ``sha256:HEX`` or ``HEX`` in lower case, None if it is not one."""
    bare = text.strip()
    if bare.lower().startswith("sha256:"):
        bare = bare[len("sha256:") :]
    return bare.lower() if _SHA256.match(bare) else None


def read_relup(data: bytes) -> Dict[str, Any]:
    """Return ``target``, ``upgrade_from``, ``downgrade_to``, ``restarts`` and ``restarts_down`` of a relup file.

    The form is release_handler's: ``{Vsn, [{UpFromVsn, Descr, Instructions}], [{DownToVsn, Descr, Instructions}]}.``
    ``restarts`` are the versions of ``upgrade_from``, ``restarts_down`` those of ``downgrade_to``, whose instructions
    have one of :data:`RESTARTS`, which are plain atoms there. The whole text is checked, what the instructions hold
    is not kept. Raises :class:`ErlangTermError`.
    """
    terms = parse_terms(data, max_bytes=MAX_RELUP_BYTES, keep_depth=4, max_values=MAX_RELUP_VALUES)
    if len(terms) != 1:
        raise ErlangTermError("a relup is one term, not {0}".format(len(terms)))
    relup = terms[0]
    if not (isinstance(relup, tuple) and len(relup) == 3):
        raise ErlangTermError("a relup has three parts: version, upgrades and downgrades")
    ups, downs = _relup_ways(relup[1]), _relup_ways(relup[2])
    return {
        "target": _relup_version(relup[0]),
        "upgrade_from": [version for version, _restarts in ups],
        "downgrade_to": [version for version, _restarts in downs],
        "restarts": [version for version, restarts in ups if restarts],
        "restarts_down": [version for version, restarts in downs if restarts],
    }


def verify_members(path: str) -> List[Dict[str, str]]:
    """Read every member to its end and return the problems found: a wrong checksum or size, or broken compression.

    Slower than :func:`read_package` (about a second for 100 MB) and bounded in memory.
    """
    problems = _Problems()
    try:
        with open(path, "rb") as stream:
            archive = _open(stream, os.fstat(stream.fileno()).st_size, problems)
            if archive is None:
                return problems.rows()
            for info in archive.infolist():
                try:
                    for _chunk in _chunks(archive, info):
                        pass
                except _READ_ERRORS:
                    problems.add_member("damaged", info.filename)
                except _TooLargeError:
                    problems.add_member("too_large", info.filename)
    except OSError as exc:
        problems.add("unreadable", "{0} cannot be read: {1}".format(path, exc.strerror or exc))
    return problems.rows()


def _check_digest(package: Dict[str, Any], checksum: Optional[str], wanted: bool) -> None:
    """Compare the digest with what is expected of it."""
    path = package["path"]
    source = "given"
    if checksum is None:
        source = "sidecar"
        checksum = read_sidecar(path)
    if checksum is None:
        package["warnings"].append(
            "{0} is not verified: no checksum is given and there is no {0}.sha256 beside it".format(package["name"])
        )
    if checksum is not None or wanted:
        package["sha256"] = digest_of(path)
    if checksum is None:
        return
    package["checksum_source"] = source
    expected = parse_checksum(checksum)
    if expected is None:
        package["problems"].append(
            {
                "code": "checksum_format",
                "message": "the {0} checksum {1!r} is not a SHA-256 in hexadecimal".format(source, _shown(checksum)),
            }
        )
    elif expected != package["sha256"]:
        package["problems"].append(
            {
                "code": "checksum",
                "message": "the SHA-256 is {0}, the {1} checksum says {2}; fetch the package again".format(
                    package["sha256"], source, expected
                ),
            }
        )


def _inspect(name: str, stream: BinaryIO, size: int) -> _Inspection:
    """Return what is known of a package from its name and content."""
    facts: Dict[str, Any] = {}
    problems = _Problems()
    warnings: List[str] = []
    parts: Optional[package_name.PackageName] = None
    try:
        parts = package_name.parse(name)
        warnings += parts.warnings()
        facts.update(edition=parts.edition, version=parts.version, otp=parts.otp)
        facts["os"] = package_name.normalise_os(parts.os) if parts.os else None
        facts["arch"] = package_name.normalise_arch(parts.arch) if parts.arch else None
    except package_name.PackageNameError as exc:
        problems.add("name", str(exc))
    try:
        archive = _open(stream, size, problems)
        if archive is not None:
            _check_form(stream, size, archive, problems)
            members = _members(archive, size, problems)
            facts["unpacked_size"] = sum(info.file_size for info in members.values())
            _Contents(archive, members, problems, warnings).read(facts, parts)
    except _READ_ERRORS as exc:
        problems.add("damaged", "the zip archive cannot be read: {0}".format(_shown(str(exc))))
    except _TooLargeError:
        problems.add("too_large", PROBLEM_CODES["too_large"])
    return _Inspection(facts, problems.rows(), warnings)


def _open(stream: BinaryIO, size: int, problems: _Problems) -> Optional[zipfile.ZipFile]:
    """Return the archive, or None if its directory cannot be read."""
    begin = stream.read(4)
    if begin not in (b"PK\x03\x04", b"PK\x05\x06"):
        problems.add("not_a_zip", "the file is empty" if size == 0 else PROBLEM_CODES["not_a_zip"])
        return None
    stream.seek(max(0, size - _EOCD_SPAN))
    if b"PK\x05\x06" not in stream.read(_EOCD_SPAN):
        problems.add("truncated", "the zip archive ends before its directory, after {0} bytes".format(size))
        return None
    try:
        return zipfile.ZipFile(_BoundedFile(stream, size))
    except _TooLargeError:
        problems.add("too_large", "the zip's directory is larger than {0} bytes".format(MAX_DIRECTORY_BYTES))
    except _READ_ERRORS as exc:
        problems.add("damaged", "the zip's directory cannot be read: {0}".format(_shown(str(exc))))
    return None


def _check_form(stream: BinaryIO, size: int, archive: zipfile.ZipFile, problems: _Problems) -> None:
    """Refuse what Python reads and Erlang's ``zip`` does not, up to OTP 26: numbers that stand in a zip64 part.

    Tried with OTP 25: with one at the end of the directory it says ``bad_central_directory``; an offset in a row of the
    directory makes it unpack nothing and say ``ok``; a size before a member, which Erlang takes rather than the
    directory's, crashes it. So does a size there that is not the directory's. The directory's own size it needs not,
    and what is in zip64 parts and stands in the usual places as well does no harm.
    """
    begin = max(0, size - _EOCD_SPAN)
    stream.seek(begin)
    end = stream.read(_EOCD_SPAN)
    place = end.rfind(b"PK\x05\x06")
    _sig, _disk, _with_dir, here, count, _length, offset, _comment = _EOCD.unpack_from(end, place)
    found = _COUNT_IN_ZIP64 in (here, count) or offset == _IN_ZIP64
    if not found and offset != archive.start_dir:
        problems.add("damaged", "the zip's directory is not where its end says: something stands before the archive")
    stream.seek(archive.start_dir)
    directory = stream.read(MAX_DIRECTORY_BYTES)
    place = 0
    for info in archive.infolist()[:MAX_MEMBERS]:
        row = _ROW.unpack_from(directory, place)
        place += _ROW.size + sum(row[10:13])
        flags, packed, offset = row[3], row[8], row[16]
        if not 0 <= info.header_offset <= size:
            # Found below as well, with what else is wrong.
            continue
        stream.seek(info.header_offset)
        local = stream.read(_LOCAL.size)
        if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
            problems.add_member("damaged", info.filename)
            continue
        before = _LOCAL.unpack(local)[7]
        if offset == _IN_ZIP64 or (packed if flags & _SIZES_FOLLOW else before) == _IN_ZIP64:
            found = True
        elif not flags & _SIZES_FOLLOW and before != info.compress_size:
            problems.add_member("damaged", info.filename)
    if found:
        problems.add(
            "zip64",
            "{0}, and so emqx could not unpack it; take the package as EMQX published it, or pack it anew: "
            "unzip it, and `zip -r` the folder {1}/ into a file, not into a pipe".format(PROBLEM_CODES["zip64"], TOP),
        )


def _members(archive: zipfile.ZipFile, size: int, problems: _Problems) -> Dict[str, zipfile.ZipInfo]:
    """Return the files of the archive by path, after checks of every member that need no reading of it."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        problems.add("too_large", "the zip has {0} members, more than {1}".format(len(infos), MAX_MEMBERS))
        return {}
    files: Dict[str, zipfile.ZipInfo] = {}
    folders: Set[str] = set()
    tops = set()
    for info in infos:
        name = info.filename
        # zipfile cuts a name at a zero byte; orig_filename is what stands in the archive.
        if _unsafe(getattr(info, "orig_filename", name)):
            problems.add_member("unsafe_path", info.orig_filename)
            continue
        _check_kind(info, problems)
        tops.add(name.split("/", 1)[0] if "/" in name else name + " (not a folder)")
        path = name.rstrip("/")
        if name.endswith("/"):
            folders.add(path)
        elif path in files:
            problems.add_member("duplicate_member", name)
        else:
            files[path] = info
        if info.header_offset < 0 or info.header_offset + 30 + info.compress_size > size:
            problems.add_member("damaged", name)
    for path in files:
        folders.update(_parents(path))
    for path in sorted(folders.intersection(files)):
        problems.add_member("duplicate_member", path)
    if tops != {TOP}:
        shown = ", ".join(_shown(top) for top in sorted(tops)[:5]) or "nothing"
        problems.add("top_folder", "the archive must hold the one folder {0}/; it holds {1}".format(TOP, shown))
    _check_sizes(infos, size, problems)
    return files


def _check_kind(info: zipfile.ZipInfo, problems: _Problems) -> None:
    """Refuse what Erlang's zip reader would not take, or would take for something else."""
    if info.flag_bits & 0x41:
        problems.add_member("encrypted_member", info.filename)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problems.add_member("compression", info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        problems.add_member("symlink", info.filename)
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problems.add_member("special_member", info.filename)


def _check_sizes(infos: Iterable[zipfile.ZipInfo], size: int, problems: _Problems) -> None:
    """Refuse archives whose members overlap or grow without measure."""
    packed = unpacked = 0
    for info in infos:
        packed += info.compress_size
        unpacked += info.file_size
    if packed > size:
        problems.add("bomb", "the members claim {0} bytes of an archive of {1}: they overlap".format(packed, size))
    if unpacked > MAX_UNPACKED_BYTES or unpacked > max(BOMB_FREE_BYTES, size * MAX_RATIO):
        problems.add("bomb", "an archive of {0} bytes would unpack to {1}".format(size, unpacked))


def _unsafe(name: str) -> bool:
    """Tell whether a member's path could leave the folder that it is unpacked in, or hides something."""
    if not name or name.startswith("/") or "\\" in name or _DRIVE.match(name):
        return True
    if any(char < " " or char == "\x7f" for char in name):
        return True
    parts = name.rstrip("/").split("/")
    return any(part in ("", ".", "..") for part in parts)


def _parents(path: str) -> Iterable[str]:
    cut = path.rfind("/")
    while cut > 0:
        path = path[:cut]
        yield path
        cut = path.rfind("/")


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterable[bytes]:
    with archive.open(info) as stream:
        while True:
            chunk = stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk


class _Contents:
    """What the files inside a package say."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        members: Dict[str, zipfile.ZipInfo],
        problems: _Problems,
        warnings: List[str],
    ) -> None:
        self._archive = archive
        self._members = members
        self._problems = problems
        self._warnings = warnings

    def read(self, facts: Dict[str, Any], parts: Optional[package_name.PackageName]) -> None:
        """Complete and cross-check ``facts``, which hold what the name says, if it is a name."""
        values = _variables(self._text("releases/emqx_vars") or "")
        version = self._version(values.get("REL_VSN"), facts.get("version"))
        facts["version"] = version
        release = "releases/{0}/".format(version)
        applications = self._rel(release + "emqx.rel", version) if version else []
        facts["edition"] = self._edition(
            values.get("EMQX_DESCRIPTION") or values.get("EMQX_DISCR"), applications, facts.get("edition")
        )
        facts["erts"] = values.get("ERTS_VSN")
        facts["otp"] = self._otp(facts["erts"], parts)
        if version is None:
            return
        self._need([release + name for name in ("emqx.rel", "start.boot")])
        if emqx_version.parse(version).series > (4, 2):
            # Whichever later version of the series commits it copies this file (from 4.3.18 and 4.4.7 on), and all
            # packages but those of 4.2, made by an older relx, have it here.
            self._need([release + NO_DOT_ERLANG])
        # Making the release permanent copies these; without one the command crashes half-way through the commit.
        # They are the same five in the scripts and packages of every version from 4.2.0 on.
        self._need(["bin/{0}-{1}".format(name, version) for name in VERSIONED_BIN_FILES])
        self._platform(release + "BUILT_ON", facts)
        facts["relup"] = self._relup(release + "relup", version)

    def _need(self, names: Iterable[str]) -> None:
        for name in names:
            info = self._members.get("{0}/{1}".format(TOP, name))
            if info is None or info.file_size == 0:
                self._problems.add_member("missing_member", name)

    def _bytes(self, name: str, limit: int) -> Optional[bytes]:
        """Return a file of the package, None if it is not there or larger than ``limit`` (which is a problem)."""
        info = self._members.get("{0}/{1}".format(TOP, name))
        if info is None:
            return None
        if info.flag_bits & 0x41:
            return None
        data = bytearray()
        if info.file_size <= limit:
            for chunk in _chunks(self._archive, info):
                data += chunk
                if len(data) > limit:
                    break
        if info.file_size > limit or len(data) > limit:
            self._problems.add("too_large", "{0} has more than {1} bytes".format(name, limit))
            return None
        return bytes(data)

    def _text(self, name: str, needed: bool = True) -> Optional[str]:
        if needed:
            self._need([name])
        data = self._bytes(name, MAX_TEXT_BYTES)
        return None if data is None else data.decode("utf-8", "replace")

    def _version(self, inside: Optional[str], named: Optional[str]) -> Optional[str]:
        if inside is None:
            return named
        if not emqx_version.is_valid(inside):
            self._problems.add("version_mismatch", "REL_VSN {0!r} is not a version".format(_shown(inside)))
            return named
        # The letter of Enterprise 4.2 may stand in the name alone: the command finds a package by the version inside.
        if named is not None and named not in (inside, "e" + inside):
            self._problems.add(
                "version_mismatch",
                "the name says {0}, but the package holds {1}; give the package the name it came with".format(
                    named, inside
                ),
            )
        return inside

    def _edition(self, description: Optional[str], applications: List[Any], named: Optional[str]) -> Optional[str]:
        folder = "{0}/lib/{1}-".format(TOP, LICENSE_APPLICATION)
        licensed = LICENSE_APPLICATION in applications or any(name.startswith(folder) for name in self._members)
        inside = decide_edition(licensed, description)
        if inside is None:
            if description is not None:
                self._warnings.append("EMQX_DESCRIPTION {0!r} names no known edition".format(_shown(description)))
            return named
        if named is not None and inside != named:
            self._problems.add(
                "edition_mismatch",
                "the name says edition {0}, but the package holds {1} ({2}{3}); give the package the name it came "
                "with".format(
                    named,
                    inside,
                    _shown(str(description)),
                    ", with the application " + LICENSE_APPLICATION if licensed else "",
                ),
            )
        return inside

    def _otp(self, erts: Optional[str], parts: Optional[package_name.PackageName]) -> Optional[str]:
        inside = otp_of_erts(erts)
        if parts is None or parts.otp is None:
            return inside
        if inside is not None and inside != parts.otp_major:
            self._problems.add(
                "otp_mismatch",
                "the name says OTP {0}, but the package holds ERTS {1} of OTP {2}".format(parts.otp, erts, inside),
            )
        return parts.otp

    def _rel(self, member: str, version: str) -> List[Any]:
        """Return the applications that ``emqx.rel`` lists.

        Compare its version, under which the node would unpack the package.
        """
        data = self._bytes(member, MAX_TEXT_BYTES)
        if not data:
            return []
        try:
            _release, (name, inside), _erts, applications = parse_terms(
                data, keep_depth=4, max_values=MAX_RELUP_VALUES
            )[0][:4]
        except (ErlangTermError, IndexError, TypeError, ValueError) as exc:
            self._problems.add("rel_unreadable", "{0} is no release file: {1}".format(member, _shown(str(exc))))
            return []
        if (name, inside) != (TOP, version):
            self._problems.add(
                "version_mismatch",
                "{0} is of {1} {2}, not of {3} {4}".format(
                    member, _shown(str(name)), _shown(str(inside)), TOP, version
                ),
            )
        rows = applications if isinstance(applications, list) else []
        return [row[0] for row in rows if isinstance(row, tuple) and row]

    def _platform(self, member: str, facts: Dict[str, Any]) -> None:
        # Not in 4.2, maybe not in Enterprise packages, and no commit reads it.
        text = self._text(member, False)
        if text is None:
            return
        facts["built_on"] = _shown(text.strip())
        built_for = platform_of(text)
        if built_for.os is not None:
            self._compare("os", built_for.os, facts)
        if built_for.arch is not None:
            self._compare("arch", built_for.arch, facts)

    def _compare(self, key: str, inside: str, facts: Dict[str, Any]) -> None:
        named = facts.get(key)
        if named is None:
            facts[key] = inside
        elif named != inside:
            self._problems.add(
                "platform_mismatch",
                "the name says {0}, but the package was built on {1}".format(named, facts["built_on"]),
            )

    def _relup(self, member: str, version: str) -> Optional[Dict[str, Any]]:
        if "{0}/{1}".format(TOP, member) not in self._members:
            self._problems.add("no_relup", "{0} is missing: {1}".format(member, PROBLEM_CODES["no_relup"]))
            return None
        data = self._bytes(member, MAX_RELUP_BYTES)
        if data is None:
            return None
        try:
            relup = read_relup(data)
        except ErlangTermError as exc:
            self._problems.add("relup_unreadable", "{0} cannot be read: {1}".format(member, exc))
            return None
        if relup["target"] != version:
            self._problems.add(
                "relup_mismatch",
                "the relup leads to {0}, the package holds {1}".format(_shown(relup["target"]), version),
            )
        return relup


def _variables(text: str) -> Dict[str, str]:
    """Return the variables of ``emqx_vars`` that tell what a package is.

    Each is taken from its last line, and from short lines only: a stranger's ``A=$A$A`` would double with each line.
    """
    lines = {}
    for line in text.splitlines():
        name = assigned_name(line)
        if name in ("REL_VSN", "ERTS_VSN", "EMQX_DESCRIPTION", "EMQX_DISCR") and len(line) <= _MAX_LINE:
            lines[name] = line
    return parse_vars("\n".join(lines.values()), "")


def otp_of_erts(erts: Optional[str]) -> Optional[str]:
    """Return the first number of the OTP that an ERTS version belongs to: 13.1.5 is of OTP ``25``."""
    found = re.match("([0-9]{1,4})[.]([0-9]{1,4})", erts or "")
    if found is None:
        return None
    major, minor = int(found.group(1)), int(found.group(2))
    if major >= 11:
        return str(major + 12)
    if major == 10:
        return "22" if minor >= 4 else "21"
    return None


def _relup_ways(entries: Any) -> List[Tuple[str, bool]]:
    """Return the version of each way, and whether it restarts the virtual machine."""
    if entries == "":
        # "" and [] are one and the same term.
        return []
    if not isinstance(entries, list):
        raise ErlangTermError("the ways of a relup are a list")
    ways = []
    for entry in entries:
        if not (isinstance(entry, tuple) and len(entry) == 3):
            raise ErlangTermError("a way of a relup has three parts: version, description and instructions")
        instructions = entry[2] if isinstance(entry[2], list) else []
        restarts = any(isinstance(item, Atom) and item in RESTARTS for item in instructions)
        ways.append((_relup_version(entry[0]), restarts))
    return ways


def _relup_version(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, (Atom, Opaque)):
        raise ErlangTermError("the version in a relup is a string")
    return value


def _shown(text: str) -> str:
    """Return text of a stranger in a form fit for a message."""
    return "".join(char if char.isprintable() else "?" for char in text[:120])
