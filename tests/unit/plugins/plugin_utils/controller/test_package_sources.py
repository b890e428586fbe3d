# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages from folders, files, and a real HTTP server that goes wrong in every way that one can."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.urls import open_url
from ansible_collections.emqx.fleet.plugins.module_utils import package as module_package
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import package_sources
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller.package_sources import (
    DEPTH,
    SourceError,
    load,
    url_of,
)
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import write_package
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.run_maker import make_hop, make_plan

OLD, NEW = "4.4.18", "4.4.19"
NAME = "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
LOGIN = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
SECRET = "s3cret"
#: One to be fetched, and one of a folder.
HASHED = {NAME: NEW, NAME.replace("4.4.19", "4.4.18"): OLD}


def opener(url: str) -> Any:
    return open_url(url, timeout=2)


def no_opener(url: str) -> Any:
    raise AssertionError(f"{url} is fetched")


def names(sources: list[str], base: Path) -> list[str]:
    """The packages, as paths below ``base``."""
    packages = load(sources, str(base), str(base / "cache"), no_opener)
    return [str(Path(package["path"]).relative_to(base)) for package in packages]


def refusal(sources: list[str], base: Path, using: Callable[[str], Any] = no_opener) -> str:
    with pytest.raises(SourceError) as caught:
        load(sources, str(base), str(base / "cache"), using)
    return str(caught.value)


def put(path: Path, version: str = NEW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_package(path, version, [OLD], [OLD])


# Folders and files


def test_zips_of_a_folder_and_below_whatever_their_case(tmp_path: Path) -> None:
    put(tmp_path / "packages/emqx-4.4.17-otp25.2.3-1-debian12-amd64.zip", "4.4.17")
    put(tmp_path / "packages/emqx-4.4.18-otp25.2.3-1-debian12-amd64.ZIP", "4.4.18")
    put(tmp_path / f"packages/4.4/new/{NAME}".replace(".zip", ".Zip"))
    (tmp_path / "packages/README.md").write_text("x")
    put(tmp_path / "packages/.trash/emqx-4.4.16-otp25.2.3-1-debian12-amd64.zip", "4.4.16")
    put(tmp_path / "packages/._emqx-4.4.16-otp25.2.3-1-debian12-amd64.zip", "4.4.16")
    assert names(["packages"], tmp_path) == [
        "packages/4.4/new/emqx-4.4.19-otp25.2.3-1-debian12-amd64.Zip",
        "packages/emqx-4.4.17-otp25.2.3-1-debian12-amd64.zip",
        "packages/emqx-4.4.18-otp25.2.3-1-debian12-amd64.ZIP",
    ]


def test_an_upper_case_suffix_is_the_name_of_a_package(tmp_path: Path) -> None:
    put(tmp_path / NAME.replace(".zip", ".ZIP"))
    (package,) = load([str(tmp_path)], "/", "/nowhere", no_opener)
    assert (package["problems"], package["version"], package["os"]) == ([], NEW, "debian12")


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    put(tmp_path / "packages/a" / NAME)
    (tmp_path / "packages/a/again").symlink_to(tmp_path / "packages")
    (tmp_path / "packages/current").symlink_to(tmp_path / "packages/a")
    (tmp_path / "packages/itself").symlink_to(tmp_path / "packages/itself")
    (tmp_path / "packages/gone.zip").symlink_to(tmp_path / "nowhere")
    assert names(["packages"], tmp_path) == [f"packages/a/{NAME}"]


def test_a_linked_folder_is_looked_through(tmp_path: Path) -> None:
    put(tmp_path / "store" / NAME)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/current").symlink_to(tmp_path / "store")
    assert names(["packages"], tmp_path) == [f"packages/current/{NAME}"]


def test_depth_is_bounded(tmp_path: Path) -> None:
    at_the_end = "/".join(str(level) for level in range(DEPTH))
    put(tmp_path / "packages" / at_the_end / NAME)
    put(tmp_path / "packages" / at_the_end / "beyond" / NAME.replace("4.4.19", "4.4.20"), "4.4.20")
    assert names(["packages"], tmp_path) == [f"packages/{at_the_end}/{NAME}"]


def test_copies_of_a_package_count_once(tmp_path: Path) -> None:
    first = put(tmp_path / "packages" / NAME)
    (tmp_path / "packages/backup").mkdir()
    (tmp_path / "packages/backup" / NAME).write_bytes(first.read_bytes())
    assert len(names(["packages", "packages", f"packages/{NAME}"], tmp_path)) == 1
    # Another file under this name is another package, and the plan says that there are two.
    (tmp_path / "packages/backup" / NAME).write_bytes(first.read_bytes() + b"\0")
    assert len(names(["packages"], tmp_path)) == 2


def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "packages/old").mkdir(parents=True)
    for name in ("README.md", "emqx-4.4.19.tar.gz", "old/emqx-4.4.18.deb"):
        (tmp_path / "packages" / name).write_text("x")
    (tmp_path / "empty").mkdir()
    assert refusal(["packages", "empty"], tmp_path) == (
        "There is no package. Files named *.zip were looked for to 4 levels of folders: "
        f"{tmp_path}/packages has README.md, emqx-4.4.19.tar.gz, old/emqx-4.4.18.deb. {tmp_path}/empty has no files. "
        "Put the packages there, or say in emqx_upgrade_packages where they are."
    )
    # One that has packages is enough.
    put(tmp_path / "others" / NAME)
    assert names(["packages", "others"], tmp_path) == [f"others/{NAME}"]


def test_many_other_files_are_counted(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"file{number}").write_text("x")
    assert "file0, file1, file2, file3, file4 and 3 more." in refusal(["."], tmp_path)


def test_folders_too_deep_are_named(tmp_path: Path) -> None:
    put(tmp_path / "packages/1/2/3/4/5" / NAME)
    assert "packages has 1/2/3/4/5/ (not looked into)." in refusal(["packages"], tmp_path)


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(["packages"], tmp_path) == f"there is no package and no folder of packages at {tmp_path}/packages"
    assert names([], tmp_path) == []


def test_a_file_of_any_name_is_judged_as_a_package(tmp_path: Path) -> None:
    (tmp_path / "emqx.tar.gz").write_text("x")
    (package,) = load(["emqx.tar.gz"], str(tmp_path), "/nowhere", no_opener)
    assert {problem["code"] for problem in package["problems"]} == {"name", "not_a_zip"}


# A server


class Server:
    """Files by path; ``answers`` are functions that write the whole response themselves."""

    def __init__(self, scheme: str, port: int) -> None:
        self.scheme = scheme
        self.port = port
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []

    def url(self, path: str, digest: str = "", user: str = "") -> str:
        return f"{self.scheme}://{user}127.0.0.1:{self.port}/{path}" + (f"#sha256={digest}" if digest else "")


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self) -> None:
            made.asked.append(self.path)
            self.close_connection = True
            with contextlib.suppress(ConnectionError):
                made.answers[self.path.partition("?")[0].lstrip("/")](self)

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_arguments: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    made = Server("https" if context else "http", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def answer(
    body: bytes, code: int = 200, kind: str = "application/zip", length: int | None = None, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def chunked(*chunks: bytes, end: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.wfile.write(b"400\r\nno more than this")

    return write


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Begin an answer, and end the connection as a firewall or a crash does."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"PK\x03\x04 begun")
    handler.wfile.flush()
    time.sleep(0.1)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stalled(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"PK")
    handler.wfile.flush()
    handler.connection.recv(1)


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"this is no HTTP\r\n\r\n")


def at_once(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without a word."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def package(tmp_path: Path) -> bytes:
    return put(tmp_path / "origin" / NAME).read_bytes()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cached(tmp_path: Path) -> list[str]:
    cache = tmp_path / "cache"
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_a_package_is_fetched_once(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(package)
    url = server.url(NAME, digest_of(package).upper())
    for _turn in range(2):
        (found,) = load([f" {url} "], "/", str(tmp_path / "cache"), opener)
        assert (found["problems"], found["version"], found["checksum_source"]) == ([], NEW, "given")
    assert server.asked == [f"/{NAME}"]
    assert cached(tmp_path) == [NAME]


def test_what_lies_there_torn_is_fetched_again(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(package)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(package[:100])
    load([server.url(NAME, digest_of(package))], "/", str(tmp_path / "cache"), opener)
    assert (tmp_path / "cache" / NAME).read_bytes() == package


def test_user_and_password_are_used_and_not_shown(server: Server, tmp_path: Path, package: bytes) -> None:
    def guarded(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization"):
            answer(package)(handler)
        else:
            answer(b"", 401, WWW_Authenticate='Basic realm="packages"')(handler)

    server.answers[NAME] = guarded
    url = server.url(NAME, digest_of(package), user=f"me:{SECRET}@")
    (found,) = load([url], "/", str(tmp_path / "cache"), opener)
    assert found["problems"] == []
    assert SECRET not in str(found)


def test_an_upper_case_suffix_becomes_a_lower_case_one(server: Server, tmp_path: Path, package: bytes) -> None:
    name = NAME.replace(".zip", ".ZIP")
    server.answers[name] = answer(package)
    (found,) = load([server.url(name, digest_of(package))], "/", str(tmp_path / "cache"), opener)
    assert found["problems"] == []
    assert cached(tmp_path) == [NAME]


def test_in_pieces_and_packed_for_the_way(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = chunked(package[:100], package[100:], end=True)
    server.answers["packed/" + NAME] = answer(gzip.compress(package), Content_Encoding="gzip")
    for path in (NAME, "packed/" + NAME):
        cache = tmp_path / path.partition("/")[0]
        (found,) = load([server.url(path, digest_of(package))], "/", str(cache), opener)
        assert found["problems"] == []


def test_a_url_goes_with_its_package_without_credentials(server: Server, tmp_path: Path, package: bytes) -> None:
    """Also where a folder has a copy: nodes may fetch it from the URL."""
    server.answers[NAME] = answer(package)
    put(tmp_path / "packages" / NAME)
    put(tmp_path / "packages" / NAME.replace("4.4.19", "4.4.18"), OLD)
    url = server.url(NAME + f"?token={SECRET}", user=f"me:{SECRET}@")
    sources = ["packages", f"{url}#sha256={digest_of(package).upper()}"]
    found = {row["version"]: row for row in load(sources, str(tmp_path), str(tmp_path / "cache"), opener)}
    shown = f"http://********@127.0.0.1:{server.port}/{NAME}?token=********"
    assert {version: row["url"] for version, row in found.items()} == {NEW: shown, OLD: None}
    assert found[NEW]["problems"] == []
    assert SECRET not in str(found)
    hop = make_hop(url=shown, sha256=digest_of(package))
    assert url_of(hop, sources) == url
    other = [f"{url}#sha256={'0' * 64}", f"https://elsewhere/{NAME}#sha256={digest_of(package)}", "packages"]
    assert url_of(hop, other) == shown, "nothing that was not planned"


def test_each_file_is_hashed_once_whatever_the_number_of_nodes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {name: put(tmp_path / "origin" / name, version).read_bytes() for name, version in HASHED.items()}
    fetched, local = HASHED
    server.answers[fetched] = answer(contents[fetched])
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / local).write_bytes(contents[local])
    hashed: list[str] = []
    real = module_package.sha256_file

    def count(path: str) -> str:
        hashed.append(os.path.basename(path).partition(".part")[0])
        return real(path)

    monkeypatch.setattr(module_package, "sha256_file", count)
    sources = [server.url(fetched, digest_of(contents[fetched])), "packages"]
    packages = load(sources, str(tmp_path), str(tmp_path / "cache"), opener)
    plan = make_plan([["a"], ["b"], ["c"]])
    for node in plan["nodes"].values():
        node["hops"] = [
            make_hop(row["version"], package=row["name"], path=row["path"], sha256=row["sha256"]) for row in packages
        ]
    package_sources.complete_digests(plan)
    assert sorted(hashed) == sorted(HASHED)
    for node in plan["nodes"].values():
        assert {hop["package"]: hop["sha256"] for hop in node["hops"]} == {
            name: digest_of(content) for name, content in contents.items()
        }


FAULTS: dict[str, tuple[Callable[[BaseHTTPRequestHandler], None], str]] = {
    "torn, of a length that was told": (
        answer(b"PK\x03\x04 half", length=26927154),
        "cannot be fetched: the connection ended after 9 of 26927154 bytes. Run the same command again; where that "
        "does not help, fetch the package by hand and give its path.",
    ),
    "torn between pieces": (
        chunked(b"PK\x03\x04", b"half", end=False),
        "cannot be fetched: the connection ended in the middle",
    ),
    "reset": (reset, "cannot be fetched: the connection was reset after "),
    "stalled": (stalled, "cannot be fetched: nothing came for too long after "),
    "no HTTP": (garbage, "cannot be fetched: "),
    "ended at once": (at_once, "cannot be fetched: "),
    "not found": (
        answer(b"no", 404),
        "cannot be fetched: the server says 404 Not Found. Correct the URL in emqx_upgrade_packages.",
    ),
    "not allowed": (
        answer(b"no", 403),
        "cannot be fetched: the server says 403 Forbidden. Give a user and password or a token that may fetch it; a "
        "signed link may be out of date.",
    ),
    "not now": (answer(b"no", 503), "the server says 503 Service Unavailable. Run the same command again"),
    "nothing": (answer(b""), "has led to 0 bytes of application/zip with the SHA-256 e3b0c442"),
    "another file": (
        answer(b"PK\x03\x04 another"),
        "Correct the checksum in emqx_upgrade_packages if it is out of date; otherwise do not use this package.",
    ),
    "a page to log in at": (
        answer(LOGIN, kind="text/html; charset=utf-8"),
        f"has led to {len(LOGIN)} bytes of text/html with the SHA-256 {digest_of(LOGIN)}, not ",
    ),
    "an error as XML": (answer(b"<?xml version='1.0'?><Error/>", kind="application/xml"), "It is a web page"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_is_told_and_leaves_nothing(server: Server, tmp_path: Path, package: bytes, fault: str) -> None:
    write, says = FAULTS[fault]
    server.answers[NAME] = write
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(b"an older one")
    url = server.url(NAME + f"?token={SECRET}", digest_of(package), user=f"me:{SECRET}@")
    message = refusal([url], tmp_path, opener)
    begin = f"http://********@127.0.0.1:{server.port}/{NAME}?token=******** "
    assert message.startswith(begin), message
    assert says in message
    assert SECRET not in message
    assert message.endswith("."), message
    # Another version of the collection, or of the package, may want what was there.
    assert cached(tmp_path) == [NAME]
    assert (tmp_path / "cache" / NAME).read_bytes() == b"an older one"


def test_a_redirect_to_a_page_to_log_in_at(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(b"", 302, Location=server.url(f"login?session={SECRET}"))
    server.answers["login"] = answer(LOGIN, kind="text/html")
    message = refusal([server.url(NAME, digest_of(package))], tmp_path, opener)
    assert f"of text/html at http://127.0.0.1:{server.port}/login?session=******** with the SHA-256" in message
    assert "It is a web page, for example one to log in at" in message
    assert SECRET not in message
    assert cached(tmp_path) == []


def test_redirects_without_end(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(b"", 302, Location=server.url(NAME))
    assert "cannot be fetched: " in refusal([server.url(NAME, digest_of(package))], tmp_path, opener)


def test_a_redirect_to_the_package(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(b"", 302, Location=server.url("store/1"))
    server.answers["store/1"] = answer(package)
    (found,) = load([server.url(NAME, digest_of(package))], "/", str(tmp_path / "cache"), opener)
    assert found["problems"] == []


def test_a_certificate_that_is_not_trusted(tmp_path: Path, package: bytes) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other.example"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(context) as server:
        server.answers[NAME] = answer(package)
        message = refusal([server.url(NAME, digest_of(package), user=f"me:{SECRET}@")], tmp_path, opener)
    assert "certificate" in message
    assert message.endswith(
        "Have the controller trust the certificate of that server (SSL_CERT_FILE), or correct the URL."
    )
    assert SECRET not in message
    assert cached(tmp_path) == []


def test_tls_where_there_is_none(server: Server, tmp_path: Path, package: bytes) -> None:
    url = server.url(NAME, digest_of(package)).replace("http:", "https:")
    assert "Have the controller trust the certificate" in refusal([url], tmp_path, opener)


def test_nobody_listens(tmp_path: Path, package: bytes) -> None:
    with serving() as made:
        url = made.url(NAME, digest_of(package))
    assert "cannot be fetched: Connection refused. Run the same command again" in refusal([url], tmp_path, opener)


def test_a_host_that_is_not_known(tmp_path: Path, package: bytes) -> None:
    url = f"http://me:{SECRET}@nowhere.invalid/{NAME}#sha256={digest_of(package)}"
    message = refusal([url], tmp_path, opener)
    assert message.endswith("Correct the host name, or set https_proxy if the controller has no way there of its own.")
    assert SECRET not in message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"https://me:{SECRET}@host/{NAME}", "needs its checksum; add #sha256= and the 64 hexadecimal digits to it"),
        (f"HTTPS://me:{SECRET}@host/{NAME}#sha256=12", "needs its checksum"),
        (f"https://me:{SECRET}@host/emqx.tar.gz#sha256={'0' * 64}", "does not lead to a zip"),
        (f"https://me:{SECRET}@host/download?file={NAME}#sha256={'0' * 64}", "does not lead to a zip"),
        (f"ftp://me:{SECRET}@host/{NAME}#sha256={'0' * 64}", "only http and https can"),
        (f"s3://{SECRET}@bucket/{NAME}", "only http and https can"),
        (f"https://me:{SECRET}@[host/{NAME}#sha256={'0' * 64}", "is no URL"),
        (f"https://me:{SECRET}/x@host/{NAME}#sha256={'0' * 64}", "written %40 %3A %2F"),
        (f"https://me:7{SECRET}/x@host/{NAME}#sha256={'0' * 64}", "is no URL"),
        (f"https:///{NAME}?token={SECRET}#sha256={'0' * 64}", "is no URL"),
    ],
)
def test_urls_that_cannot_be_right(tmp_path: Path, url: str, says: str) -> None:
    message = refusal([url], tmp_path)
    assert says in message
    assert SECRET not in message


def test_a_port_that_is_none(tmp_path: Path) -> None:
    assert "is no URL" in refusal([f"http://127.0.0.1:70000/{NAME}#sha256={'0' * 64}"], tmp_path)


@pytest.mark.parametrize("sign", [" ", "\t", "\x7f"])
def test_what_python_says_of_a_url_is_not_repeated(tmp_path: Path, package: bytes, sign: str) -> None:
    url = f"http://127.0.0.1:1/a{sign}b/{NAME}?x={SECRET}#sha256={digest_of(package)}"
    with pytest.raises(SourceError) as caught:
        load([url], "/", str(tmp_path / "cache"), opener)
    assert "cannot be fetched: " in str(caught.value)
    assert str(caught.value).count(SECRET) == 1, "but for the URL itself, which has no secret that could be known"
    assert caught.value.__suppress_context__


def test_a_full_disk(server: Server, tmp_path: Path, package: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes nothing, as a file system without room."""
    server.answers[NAME] = answer(package)
    real = open

    def to_nowhere(path: Any, mode: str = "r", **options: Any) -> Any:
        return real("/dev/full" if mode == "wb" else path, mode, **options)

    monkeypatch.setattr(package_sources, "open", to_nowhere, raising=False)
    message = refusal([server.url(NAME, digest_of(package))], tmp_path, opener)
    assert f"cannot be kept as {tmp_path}/cache/{NAME}: No space left on device; make room there." in message


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("x")
    message = refusal([f"http://127.0.0.1:1/{NAME}#sha256={'0' * 64}"], tmp_path, opener)
    assert message.endswith(
        f"cannot be kept as {tmp_path}/cache/{NAME}: File exists; have {tmp_path}/cache be a folder "
        "that may be written to."
    )


def test_what_a_killed_run_left_goes(server: Server, tmp_path: Path, package: bytes) -> None:
    server.answers[NAME] = answer(package)
    (tmp_path / "cache").mkdir()
    old, young = (tmp_path / "cache" / f"{NAME}.part-{pid}" for pid in (11, 12))
    for path in (old, young):
        path.write_bytes(b"PK")
    os.utime(old, (1, 1))
    load([server.url(NAME, digest_of(package))], "/", str(tmp_path / "cache"), opener)
    assert cached(tmp_path) == [NAME, young.name]
