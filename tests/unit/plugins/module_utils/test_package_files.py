# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages that lie on a node, come from the controller, or from a real HTTP server that goes wrong in many ways."""

import contextlib
import hashlib
import os
import ssl
import stat
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
from ansible_collections.emqx.fleet.plugins.module_utils import contention, download, package_files
from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.state_dir import StateDir
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.fake_node import USER

NAME = "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
BODY = b"PK\x03\x04" + bytes(range(256)) * 3000
OLDER = b"an older one"
SECRET = "s3cret"
Write = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine, and no long waiting."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "TIMEOUT", 2.0)


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(str(tmp_path / "data" / "fleet"), USER)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wanted(name: str = NAME, body: bytes = BODY) -> Dict[str, Any]:
    return {"name": name, "size": len(body), "sha256": digest_of(body)}


def put(state_dir: StateDir, body: bytes, name: str = NAME) -> Path:
    path = Path(package_files.folder(state_dir.path)) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def files(state_dir: StateDir) -> Dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(package_files.folder(state_dir.path)).iterdir()}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The files that are read only to be hashed."""
    names: List[str] = []
    real = package_files.sha256_file

    def count(path: str) -> str:
        names.append(os.path.basename(path))
        return real(path)

    monkeypatch.setattr(package_files, "sha256_file", count)
    return names


# What is there, and what is sent


def test_what_is_there_is_hashed_once_and_nothing_else_is_done(state_dir: StateDir, hashed: List[str]) -> None:
    path = put(state_dir, BODY)
    before = path.stat()
    assert package_files.bring(state_dir, [wanted()], {}, {}) == {"changed": False, "missing": []}
    assert hashed == [NAME]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(("body", "reads"), [(OLDER, []), (BODY[:-1] + b"x", [NAME])])
def test_another_file_of_that_name_is_missing_and_stays(
    state_dir: StateDir, hashed: List[str], body: bytes, reads: List[str]
) -> None:
    put(state_dir, body)
    assert package_files.bring(state_dir, [wanted()], {}, {}) == {"changed": False, "missing": [NAME]}
    assert (files(state_dir), hashed) == ({NAME: body}, reads)


def test_what_was_sent_is_taken_in_and_hashed_on_its_way(
    state_dir: StateDir, tmp_path: Path, hashed: List[str]
) -> None:
    put(state_dir, OLDER)
    put(state_dir, b"of a process that was killed", NAME + ".part")
    sent = tmp_path / "sent"
    sent.write_bytes(BODY)
    assert package_files.bring(state_dir, [wanted()], {NAME: str(sent)}, {}) == {"changed": True, "missing": []}
    assert (files(state_dir), hashed) == ({NAME: BODY}, [])
    assert stat.S_IMODE(os.stat(os.path.join(package_files.folder(state_dir.path), NAME)).st_mode) == 0o644


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (BODY[:100], "Of the package {0}, 100 bytes came to the node, and {1} were sent.".format(NAME, len(BODY))),
        (BODY[:-1] + b"x", "came to the node with the SHA-256 {0}, and ".format(digest_of(BODY[:-1] + b"x"))),
    ],
)
def test_what_is_not_what_was_sent_is_not_taken_in(state_dir: StateDir, tmp_path: Path, body: bytes, says: str) -> None:
    put(state_dir, OLDER)
    sent = tmp_path / "sent"
    sent.write_bytes(body)
    with pytest.raises(FleetError) as caught:
        package_files.bring(state_dir, [wanted()], {NAME: str(sent)}, {})
    assert says in caught.value.message
    assert caught.value.failure_class == NOT_STARTED
    assert files(state_dir) == {NAME: OLDER}


def test_a_link_in_the_place_of_a_part_leads_nowhere(state_dir: StateDir, tmp_path: Path) -> None:
    """The folder is that of the broker's user, and root writes there."""
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    place = put(state_dir, OLDER)
    place.with_name(NAME + ".part").symlink_to(other)
    sent = tmp_path / "sent"
    sent.write_bytes(BODY)
    package_files.bring(state_dir, [wanted()], {NAME: str(sent)}, {})
    assert (files(state_dir), other.read_bytes()) == ({NAME: BODY}, b"of somebody else")


def test_a_folder_that_cannot_be_made(state_dir: StateDir) -> None:
    Path(state_dir.path).mkdir(parents=True)
    Path(package_files.folder(state_dir.path)).write_text("x")
    with pytest.raises(FleetError, match=r"The package cannot be kept in .*/packages: File exists"):
        package_files.bring(state_dir, [wanted()], {}, {})


# What the node fetches


class Server:
    """Answers by path, which write the whole response themselves; and what was asked for."""

    def __init__(self, scheme: str, port: int) -> None:
        self.scheme = scheme
        self.port = port
        self.answers: Dict[str, Write] = {}
        self.asked: List[str] = []
        self.authorized: List[Optional[str]] = []

    def url(self, path: str = NAME, user: str = "") -> str:
        return "{0}://{1}127.0.0.1:{2}/{3}".format(self.scheme, user, self.port, path)


@contextlib.contextmanager
def serving(context: Optional[ssl.SSLContext] = None) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.authorized.append(self.headers.get("Authorization"))
            self.close_connection = True
            with contextlib.suppress(ConnectionError):
                made.answers[self.path.partition("?")[0].lstrip("/")](self)

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Quiet(ThreadingMixIn, HTTPServer):
        daemon_threads = True

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
    body: bytes, code: int = 200, kind: str = "application/zip", length: Optional[int] = None, **headers: str
) -> Write:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def of_no_length(body: bytes) -> Write:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/zip")
        handler.end_headers()
        handler.wfile.write(body)

    return write


def chunked(*chunks: bytes, end: bool = True) -> Write:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        handler.wfile.write(b"0\r\n\r\n" if end else b"400\r\nno more than this")

    return write


class Endless:
    """Never stops by itself; ``taken`` are bytes that the other side could have read, or that lie in buffers."""

    def __init__(self) -> None:
        self.taken = 0
        self.ended = threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
                self.taken += 65536
        finally:
            self.ended.set()


def stalled(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(b"PK")
    handler.wfile.flush()
    handler.connection.recv(1)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def fetch(state_dir: StateDir, url: str) -> Dict[str, Any]:
    return package_files.bring(state_dir, [wanted()], {}, {NAME: url})


def refusal(state_dir: StateDir, url: str) -> str:
    """What is said of a failure that leaves everything as it was."""
    put(state_dir, OLDER)
    with pytest.raises(FleetError) as caught:
        fetch(state_dir, url)
    assert files(state_dir) == {NAME: OLDER}
    assert caught.value.failure_class == NOT_STARTED
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    told = str(caught.value.result())
    assert SECRET not in told
    return str(caught.value.result()["msg"])


@pytest.mark.parametrize("write", [answer(BODY), of_no_length(BODY), chunked(BODY[:100], BODY[100:])])
def test_a_package_is_fetched_once(state_dir: StateDir, server: Server, hashed: List[str], write: Write) -> None:
    server.answers[NAME] = write
    put(state_dir, OLDER)
    assert fetch(state_dir, server.url()) == {"changed": True, "missing": []}
    assert (files(state_dir), hashed) == ({NAME: BODY}, [])
    assert stat.S_IMODE(os.stat(os.path.join(package_files.folder(state_dir.path), NAME)).st_mode) == 0o644
    assert fetch(state_dir, server.url()) == {"changed": False, "missing": []}
    assert (server.asked, hashed) == (["/" + NAME], [NAME])


def test_what_has_no_url_is_missing_all_the_same(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = answer(BODY)
    told = package_files.bring(state_dir, [wanted(), wanted("other.zip")], {}, {NAME: server.url()})
    assert told == {"changed": True, "missing": ["other.zip"]}


def test_user_and_password_are_sent_decoded_and_not_shown(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = answer(BODY)
    fetch(state_dir, server.url(user="me:p%40ss%3A@"))
    assert server.authorized == ["Basic bWU6cEBzczo="]
    server.answers[NAME] = answer(b"no", 401)
    said = refusal(state_dir, server.url(NAME + "?token=" + SECRET, user="me:{0}@".format(SECRET)))
    assert said == (
        "From http://********@127.0.0.1:{1}/{0}?token=******** the node cannot fetch the package {0}: the server says "
        "401 Unauthorized. Give a user and password or a token that may fetch it from the node, or set "
        "emqx_upgrade_package_source=controller, which sends the package to the nodes.".format(NAME, server.port)
    )


ALTERED = BODY[:-1] + b"x"
LOGIN = b"<html>Sign in</html>"
FAULTS: Dict[str, Any] = {
    "not found": (answer(b"no", 404), ": the server says 404 Not Found. See that the server gives the package"),
    "not now": (answer(b"no", 503), ": the server says 503 Service Unavailable. Run the same command again, or set "),
    "short, of a length that was told": (
        answer(BODY[:100], length=len(BODY)),
        ": the connection ended after 100 of {0} bytes. Run the same command again, or set".format(len(BODY)),
    ),
    "short, of no length": (
        of_no_length(BODY[:100]),
        " the node gets 100 bytes of application/zip for the package {0}, and {1} bytes are expected. See ".format(
            NAME, len(BODY)
        ),
    ),
    "short between pieces": (chunked(BODY[:4], BODY[4:100], end=False), " after "),
    "stalled": (stalled, ": nothing came for too long after 2 of {0} bytes. See that the node".format(len(BODY))),
    "a page to log in at": (
        answer(LOGIN, kind="text/html; charset=utf-8"),
        " the node gets 20 bytes of text/html for the package {0}, and {1} bytes are expected. See that".format(
            NAME, len(BODY)
        ),
    ),
    "longer": (
        of_no_length(BODY + b"x"),
        " the node gets more than that for the package {0}, and {1} bytes".format(NAME, len(BODY)),
    ),
    "another file of that size": (
        answer(ALTERED),
        " with the SHA-256 {0}, and {1} is expected. See that".format(digest_of(ALTERED), digest_of(BODY)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_is_told_and_leaves_nothing(state_dir: StateDir, server: Server, fault: str) -> None:
    write, says = FAULTS[fault]
    server.answers[NAME] = write
    said = refusal(state_dir, server.url(NAME + "?token=" + SECRET, user="me:{0}@".format(SECRET)))
    shown = "http://********@127.0.0.1:{0}/{1}?token=********".format(server.port, NAME)
    assert shown in said
    assert says in said


def test_of_a_body_without_end_one_byte_more_than_expected_is_read(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = endless = Endless()
    kept: List[int] = []

    def read() -> None:
        for chunk in download.chunks(NAME, server.url(), 1000):
            kept.append(len(chunk))

    with pytest.raises(FleetError, match="the node gets more than that"):
        read()
    assert sum(kept) == 1001
    assert endless.ended.wait(30), "the connection was closed"
    assert endless.taken < 64 << 20


def test_a_length_that_is_another_one_is_not_read_at_all(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = answer(b"", length=1 << 40)
    said = refusal(state_dir, server.url())
    assert " the node gets {0} bytes of application/zip for the package ".format(1 << 40) in said


def test_nobody_listens(state_dir: StateDir) -> None:
    with serving() as made:
        url = made.url()
    assert ": Connection refused. See that the node reaches that server, or has its proxy in" in refusal(state_dir, url)


def test_a_host_that_is_not_known(state_dir: StateDir) -> None:
    said = refusal(state_dir, "http://me:{0}@nowhere.invalid/{1}".format(SECRET, NAME))
    assert "From http://********@nowhere.invalid/{0} the node ".format(NAME) in said
    assert "See that the node reaches that server" in said


@pytest.mark.parametrize("url", ["ftp://host/x.zip", "file:///etc/passwd", "http:///x.zip", "http://h:x/x.zip"])
def test_what_is_no_url_of_http(state_dir: StateDir, url: str) -> None:
    assert ": the URL is not valid. " in refusal(state_dir, url)


def test_a_proxy_of_the_environment(state_dir: StateDir, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://packages.invalid/" + NAME
    server.answers[url] = answer(BODY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:{0}".format(server.port))
    assert fetch(state_dir, url)["changed"]
    assert server.asked == [url]


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(state_dir: StateDir, server: Server, code: int) -> None:
    server.answers[NAME] = answer(b"", code, Location="/store/1?token=" + SECRET)
    server.answers["store/1"] = answer(BODY)
    assert fetch(state_dir, server.url(user="me:pw@"))["changed"]
    assert server.asked == ["/" + NAME, "/store/1?token=" + SECRET]
    assert server.authorized == ["Basic bWU6cHc="] * 2


def test_user_and_password_are_not_told_to_another_server(state_dir: StateDir, server: Server) -> None:
    with serving() as other:
        server.answers[NAME] = answer(b"", 302, Location=other.url("store/1"))
        other.answers["store/1"] = answer(BODY)
        assert fetch(state_dir, server.url(user="me:pw@"))["changed"]
    assert (server.authorized, other.authorized) == (["Basic bWU6cHc="], [None])


def test_a_redirect_to_something_else_is_told(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = answer(b"", 302, Location=server.url("login?session=" + SECRET))
    server.answers["login"] = answer(LOGIN, kind="text/html")
    said = refusal(state_dir, server.url())
    assert " by a redirect to http://127.0.0.1:{0}/login?session=******** the node gets 20 ".format(server.port) in said


def test_redirects_without_end(state_dir: StateDir, server: Server) -> None:
    server.answers[NAME] = answer(b"", 302, Location=server.url())
    assert " the node cannot fetch the package " in refusal(state_dir, server.url())
    assert len(server.asked) < 20


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x.zip", "file:///etc/passwd", "http://me:" + SECRET + "/x@h/y"])
def test_a_redirect_to_what_is_not_fetched(state_dir: StateDir, server: Server, target: str) -> None:
    server.answers[NAME] = answer(b"", 302, Location=target)
    assert " the node cannot fetch the package " in refusal(state_dir, server.url())


# TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Server]:
    """A server with a certificate of its own making, ``certificate.pem``."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(certificate), str(key))
    with serving(context) as made:
        yield made


def test_a_certificate_that_is_trusted(
    state_dir: StateDir, secure: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    secure.answers[NAME] = answer(b"", 302, Location=secure.url("store/1"))
    secure.answers["store/1"] = answer(BODY)
    assert fetch(state_dir, secure.url())["changed"]


def test_a_certificate_that_is_not_trusted(state_dir: StateDir, secure: Server) -> None:
    secure.answers[NAME] = answer(BODY)
    said = refusal(state_dir, secure.url(user="me:{0}@".format(SECRET)))
    assert "certificate" in said.partition("Have the node")[0]
    assert "Have the node trust the certificate of that server (SSL_CERT_FILE), or set " in said
    assert secure.asked == []


def test_from_an_encrypted_connection_to_one_that_is_not_is_no_way(
    state_dir: StateDir, secure: Server, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    secure.answers[NAME] = answer(b"", 302, Location=server.url(NAME + "?token=" + SECRET))
    server.answers[NAME] = answer(BODY)
    said = refusal(state_dir, secure.url())
    assert (
        ": it leads to http://127.0.0.1:{0}/{1}?token=******** and from https only https is followed, from "
        "http both. Give the URL that it leads to, or set ".format(server.port, NAME)
    ) in said
    assert server.asked == []


# The run that waits


def test_the_reservation_of_the_run_is_kept_meanwhile(state_dir: StateDir, server: Server) -> None:
    """A download may take longer than a lease, and the controller that would renew it waits for the node."""
    now = time.time()
    claim = {"id": "run-1", "who": "ann@desk", "controller": "desk", "controller_process": "7@7"}
    contender = state_dir.contend(claim)
    assert contender is not None
    assert state_dir.hold(contender, 5.0) is not None
    server.answers[NAME] = answer(BODY)
    fetch(state_dir, server.url())
    run = state_dir.run()
    assert run is not None
    assert run["lease_until"] > now + 60
    assert contention.is_same(run, claim)
