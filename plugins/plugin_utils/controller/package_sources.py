# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where packages come from: folders and files on the controller, and URLs with their checksum."""

from __future__ import annotations

import errno
import filecmp
import os
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urlparse

from ansible.module_utils import urls
from ansible_collections.emqx.fleet.plugins.module_utils.download import cause_of, reason_of
from ansible_collections.emqx.fleet.plugins.module_utils.package import digest_of, parse_checksum, read_package
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Hop, Plan

Package = dict[str, Any]
#: Gives the response to a request for a URL, as ``urllib`` does: ``read``, ``headers``, ``geturl``.
Opener = Callable[[str], Any]

#: Levels of folders below one that is given that are looked through.
DEPTH = 4
_SUFFIX = ".zip"
_CHECKSUM = "sha256="
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_NAMES_SHOWN = 5
_CHUNK = 1 << 20
_STALE_SECONDS = 24 * 3600
#: What a server may make the libraries raise, besides what is an OSError.
_NETWORK_ERRORS = (OSError, HTTPException, ValueError, EOFError, zlib.error, urls.ConnectionError)


class SourceError(ValueError):
    """A source that is not there, or that cannot be fetched. Credentials of URLs are masked in it."""

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))


def load(sources: Iterable[str], base: str, download_dir: str, opener: Opener) -> list[Package]:
    """Read every package of ``sources``.

    A relative path is taken from ``base``. A folder stands for the zips in it and in the folders below it, by
    :data:`DEPTH` levels; hidden ones are left out, and so are further copies of a package under the same name. A URL
    needs the checksum of what it leads to (``https://…/emqx-4.4.19-….zip#sha256=…``) and is fetched into
    ``download_dir`` with ``opener``, unless what lies there already has that checksum; ``url`` of the package is then
    the URL without its checksum, its credentials masked. Of equal copies the one with a URL counts.

    Raises SourceError for a source that is not there or cannot be fetched, and where no source has any package.
    """
    found: list[Path] = []
    fetched: dict[Path, tuple[str, str]] = {}
    seen: list[str] = []
    for source in (text.strip() for text in sources):
        scheme = _SCHEME.match(source)
        if scheme:
            path, checksum = _fetched(source, scheme.group(1).lower(), download_dir, opener)
            fetched.setdefault(path, (_shown(source), checksum))
            continue
        path = Path(base, os.path.expanduser(source))
        if path.is_dir():
            zips, others = _look_through(path)
            found += zips
            seen.append(_what_is_there(path, others))
        elif path.is_file():
            found.append(path)
        else:
            raise SourceError(f"there is no package and no folder of packages at {path}")
    if seen and not found and not fetched:
        raise SourceError(
            f"There is no package. Files named *.zip were looked for to {DEPTH} levels of folders: {' '.join(seen)} "
            "Put the packages there, or say in emqx_upgrade_packages where they are."
        )
    packages = []
    for path in _without_copies([*fetched, *found]):
        found_at = fetched.get(path)
        package = read_package(str(path), checksum=found_at[1] if found_at else None)
        packages.append({**package, "url": found_at[0] if found_at else None})
    return packages


def url_of(hop: Hop, sources: Iterable[str]) -> str:
    """The URL that nodes fetch a package from: that of the plan, with the credentials that ``sources`` have."""
    for source in (text.strip() for text in sources):
        checksum = parse_checksum(source.partition("#")[2].removeprefix(_CHECKSUM))
        if checksum == hop["sha256"] and _shown(source) == hop["url"]:
            return source.partition("#")[0]
    return str(hop["url"])


def _shown(source: str) -> str:
    return masked(source.partition("#")[0])


def complete_digests(plan: Plan) -> None:
    """Give every hop the SHA-256 of its package, by which nodes tell whether they have it; each file is read once.

    Raises SourceError for a package that cannot be read any more.
    """
    for node in plan["nodes"].values():
        for hop in node["hops"]:
            path = hop["path"]
            if path is None or hop["sha256"] is not None:
                continue
            try:
                hop["sha256"] = digest_of(path)
            except OSError as error:
                raise SourceError(
                    f"the package {path} cannot be read any more: {error.strerror}; packages must stay where they are "
                    "until the run has ended."
                ) from None


# Folders


def _look_through(folder: Path) -> tuple[list[Path], list[str]]:
    """The zips in and below a folder, sorted, and what else there is, as paths within it. A loop of links ends."""
    zips: list[Path] = []
    others: list[str] = []
    visited: set[tuple[int, int]] = set()

    def look(current: Path, depth: int) -> None:
        try:
            status = current.stat()
            entries = sorted(current.iterdir())
        except OSError as error:
            others.append(f"{current.relative_to(folder)} (cannot be read: {error.strerror})")
            return
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        for entry in entries:
            name = str(entry.relative_to(folder))
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if depth < DEPTH:
                    look(entry, depth + 1)
                else:
                    others.append(f"{name}/ (not looked into)")
            elif entry.suffix.lower() == _SUFFIX and entry.is_file():
                zips.append(entry)
            else:
                others.append(name)

    look(folder, 0)
    return zips, others


def _what_is_there(folder: Path, others: list[str]) -> str:
    more = len(others) - _NAMES_SHOWN
    listed = ", ".join(others[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{folder} has {listed or 'no files'}."


def _without_copies(paths: list[Path]) -> list[Path]:
    """Leave out what is listed twice, and further copies of the same file under the same name."""
    kept: dict[str, list[Path]] = {}
    for path in paths:
        same_name = kept.setdefault(path.name.lower(), [])
        if not any(_is_copy(path, other) for other in same_name):
            same_name.append(path)
    wanted = {path for group in kept.values() for path in group}
    return [path for path in dict.fromkeys(paths) if path in wanted]


def _is_copy(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other) or filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


# URLs


def _fetched(url: str, scheme: str, download_dir: str, opener: Opener) -> tuple[Path, str]:
    """Where the package of a URL lies now, and its checksum."""
    address, _sign, fragment = url.partition("#")
    if scheme not in ("http", "https"):
        raise SourceError(f"{address} cannot be fetched: only http and https can; fetch it and give its path")
    checksum = parse_checksum(fragment[len(_CHECKSUM) :]) if fragment.startswith(_CHECKSUM) else None
    if checksum is None:
        raise SourceError(f"{address} needs its checksum; add #sha256= and the 64 hexadecimal digits to it")
    try:
        parts = urlparse(address)
        name = os.path.basename(unquote(parts.path))
        valid = bool(parts.hostname) and (parts.port is None or 0 <= parts.port <= 65535)
    except ValueError:
        valid = False
    if not valid:
        # What Python says of it quotes parts of the password.
        raise SourceError(f"{address} is no URL; signs such as @ : / in its user and password are written %40 %3A %2F")
    if not name.lower().endswith(_SUFFIX):
        raise SourceError(f"{address} does not lead to a zip: its path must end with the name of a package")
    target = Path(os.path.expanduser(download_dir), name[: -len(_SUFFIX)] + _SUFFIX)
    if not (target.is_file() and digest_of(str(target)) == checksum):
        _fetch(address, target, checksum, opener)
    return target, checksum


def _fetch(address: str, target: Path, checksum: str, opener: Opener) -> None:
    """Fetch a file under another name beside its target, and give it its name when it is whole and the right one."""
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_parts(target)
        file = open(part, "wb")  # noqa: SIM115 -- an error of the disk is told from one of the network
    except OSError as error:
        raise _not_kept(address, target, error) from None
    try:
        with file:
            told = _receive(address, file, target, opener)
        found = digest_of(str(part))
        if found != checksum:
            raise SourceError(f"{address} has led to {told} with the SHA-256 {found}, not {checksum}. {_way_out(part)}")
        part.replace(target)
    except OSError as error:
        raise _not_kept(address, target, error) from None
    finally:
        part.unlink(missing_ok=True)


def _receive(address: str, file: Any, target: Path, opener: Opener) -> str:
    """Write what a URL leads to into ``file``; tell what it was, for a message."""
    got = 0
    expected: int | None = None
    try:
        with opener(address) as response:
            headers = getattr(response, "headers", None) or {}
            length = str(headers.get("Content-Length") or "")
            # Of what is packed for the way the length says nothing of the file.
            expected = int(length) if length.isdigit() and not headers.get("Content-Encoding") else None
            kind = str(headers.get("Content-Type") or "no type").partition(";")[0]
            led_to = str(response.geturl()) if hasattr(response, "geturl") else address
            while True:
                chunk = response.read(_CHUNK)
                if not chunk:
                    break
                got += len(chunk)
                _write(file, chunk, address, target)
    except SourceError:
        raise
    except _NETWORK_ERRORS as error:
        if isinstance(error, HTTPError):
            error.close()
        of_all = f" of {expected}" if expected is not None else ""
        begun = f" after {got}{of_all} bytes" if got or expected is not None else ""
        # Not from it: Ansible shows the words of causes as well, and these may hold the whole URL.
        raise SourceError(f"{address} cannot be fetched: {reason_of(error)}{begun}. {_remedy(error)}") from None
    if expected is not None and got < expected:
        raise SourceError(
            f"{address} cannot be fetched: the connection ended after {got} of {expected} bytes. {_AGAIN}"
        )
    redirected = f" at {urldefrag(led_to)[0]}" if _place(led_to) != _place(address) else ""
    return f"{got} bytes of {kind}{redirected}"


def _place(url: str) -> tuple[str | None, int | None, str]:
    """What of a URL tells where it leads; Ansible sends user and password on their own."""
    parts = urlparse(url)
    return parts.hostname, parts.port, parts.path


def _write(file: Any, chunk: bytes, address: str, target: Path) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise _not_kept(address, target, error) from None


def _not_kept(address: str, target: Path, error: OSError) -> SourceError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "make room there" if full else f"have {target.parent} be a folder that may be written to"
    return SourceError(f"{address} cannot be kept as {target}: {error.strerror or 'it cannot be written'}; {remedy}.")


_AGAIN = "Run the same command again; where that does not help, fetch the package by hand and give its path."


def _way_out(part: Path) -> str:
    """What to do about a file that is not the one that was asked for."""
    with open(part, "rb") as stream:
        head = stream.read(512).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html", b"<?xml")) or b"<html" in head:
        return (
            "It is a web page, for example one to log in at; give a URL that leads to the package itself, or fetch it "
            "by hand and give its path."
        )
    return "Correct the checksum in emqx_upgrade_packages if it is out of date; otherwise do not use this package."


def _remedy(error: BaseException) -> str:
    cause = cause_of(error)
    if isinstance(cause, HTTPError):
        if cause.code in (401, 403, 407):
            return "Give a user and password or a token that may fetch it; a signed link may be out of date."
        if cause.code in (404, 410):
            return "Correct the URL in emqx_upgrade_packages."
        return _AGAIN
    if isinstance(cause, (ssl.SSLError, urls.SSLValidationError)) or "certificate" in str(cause).lower():
        return "Have the controller trust the certificate of that server (SSL_CERT_FILE), or correct the URL."
    if isinstance(cause, socket.gaierror):
        return "Correct the host name, or set https_proxy if the controller has no way there of its own."
    if isinstance(cause, (ValueError, InvalidURL)):
        return "Correct the URL in emqx_upgrade_packages."
    return _AGAIN


def _remove_stale_parts(target: Path) -> None:
    """Remove what a run that was killed has left of this download long ago."""
    for part in target.parent.glob(f"{target.name.replace('[', '[[]')}.part-*"):
        try:
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()
        except OSError:
            continue
