# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching a file of a known size over HTTP, as a node does it: with the standard library alone.

Proxies are those of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``), trusted certificates those of the
system or of ``SSL_CERT_FILE``.
"""

import base64
import socket
import ssl
from http.client import HTTPException
from typing import Any, Iterator, Optional
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ansible_collections.emqx.fleet.plugins.module_utils.errors import NOT_STARTED, FleetError

#: Seconds to wait for a connection, and for each piece of an answer.
TIMEOUT = 60.0
_CHUNK = 1 << 18
_SCHEMES = ("http", "https")
_AGAIN = "Run the same command again"
_OTHER_WAY = "or set emqx_upgrade_package_source=controller, which sends the package to the nodes."
_SILENT = (
    (ConnectionResetError, "the connection was reset"),
    (TimeoutError, "nothing came for too long"),
    # Not the same as the one above before Python 3.10.
    (socket.timeout, "nothing came for too long"),
)


class RefusedRedirectError(Exception):
    """A server led to where nothing must be fetched from; the message says where."""


def chunks(name: str, url: str, size: int) -> Iterator[bytes]:
    """The file that ``url`` leads to, piece by piece; of a longer one than ``size`` bytes one byte more, and no more.

    ``name``: of the package, for messages. User and password of the URL are sent as basic authorization, and on a
    redirect only to the same server. Raises FleetError where the file cannot be fetched, or is of another size.
    """
    address = urlsplit(url)._replace(fragment="")
    got = 0
    told = None  # type: Optional[int]
    try:
        with build_opener(_Redirects()).open(request_for(address), timeout=TIMEOUT) as response:
            place = response.geturl()
            led_to = "" if _without_user(address) == place else " by a redirect to {0}".format(place)
            kind = str(response.headers.get("Content-Type") or "no type").partition(";")[0]
            told = _length(response.headers)
            if told is not None and told != size:
                raise _other_size(name, url, led_to, "{0} bytes of {1}".format(told, kind), size)
            while got <= size and got != told:
                chunk = response.read1(min(_CHUNK, size + 1 - got))
                if not chunk:
                    break
                got += len(chunk)
                yield chunk
    except (OSError, HTTPException, ValueError, EOFError, RefusedRedirectError) as error:
        if isinstance(error, HTTPError):
            error.close()
        begun = " after {0} of {1} bytes".format(got, size) if got else ""
        # Not from it: what Python says of a URL may quote parts of a password.
        raise _not_fetched(name, url, "{0}{1}".format(reason_of(error), begun), remedy_of(error)) from None
    if told is not None and got < told:
        said = "the connection ended after {0} of {1} bytes".format(got, told)
        raise _not_fetched(name, url, said, "{0}, {1}".format(_AGAIN, _OTHER_WAY))
    if got != size:
        found = "{0} bytes of {1}".format(got, kind) if got <= size else "more than that"
        raise _other_size(name, url, led_to, found, size)


def request_for(address: SplitResult) -> Request:
    """A request for a URL, without user and password in it. Raises ValueError for what is no URL of HTTP."""
    if address.scheme.lower() not in _SCHEMES or not address.hostname:
        raise ValueError("it is no URL of http or https")
    request = Request(_without_user(address), headers={"User-Agent": "emqx.fleet"})
    user, sign, _host = address.netloc.rpartition("@")
    if sign:
        name, _colon, password = user.partition(":")
        token = "{0}:{1}".format(unquote(name), unquote(password)).encode("utf-8")
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(token).decode("ascii"))
    return request


def cause_of(error: BaseException) -> BaseException:
    """The error below those that only wrap it."""
    reason = getattr(error, "reason", None)
    return cause_of(reason) if isinstance(reason, BaseException) else error


def reason_of(error: BaseException) -> str:
    """Why a file could not be fetched, in a few words that hold no part of its URL."""
    cause = cause_of(error)
    if isinstance(cause, HTTPError):
        return "the server says {0} {1}".format(cause.code, cause.reason)
    # These end a connection without a word of their own.
    for kind, text in _SILENT:
        if isinstance(cause, kind):
            return text
    if isinstance(cause, HTTPException) and type(cause).__name__ == "IncompleteRead":
        return "the connection ended in the middle"
    if isinstance(cause, ssl.CertificateError):
        return str(cause)
    if (isinstance(cause, ValueError) and not isinstance(cause, OSError)) or type(cause).__name__ == "InvalidURL":
        # Its words quote the URL, in parts that cannot be told to be secret.
        return "the URL is not valid"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    return str(cause).strip().rstrip(".") or type(cause).__name__


def remedy_of(error: BaseException) -> str:
    """What whoever reads of it can do, where a node was to fetch the file."""
    cause = cause_of(error)
    if isinstance(cause, HTTPError) and cause.code in (401, 403, 407):
        way_out = "Give a user and password or a token that may fetch it from the node"
    elif isinstance(cause, HTTPError) and cause.code in (404, 410):
        way_out = "See that the server gives the package to the node as well, correct the URL in emqx_upgrade_packages"
    elif isinstance(cause, (ssl.SSLError, ssl.CertificateError)) or "certificate" in str(cause).lower():
        way_out = "Have the node trust the certificate of that server (SSL_CERT_FILE)"
    elif isinstance(cause, (socket.gaierror, ConnectionRefusedError, TimeoutError, socket.timeout)):
        way_out = "See that the node reaches that server, or has its proxy in https_proxy"
    elif isinstance(cause, RefusedRedirectError):
        way_out = "Give the URL that it leads to"
    else:
        way_out = _AGAIN
    return "{0}, {1}".format(way_out, _OTHER_WAY)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects of HTTP to HTTP, never from an encrypted connection to one that is not."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        try:
            return _redirected(req, urlsplit(urljoin(req.full_url, newurl)))
        except (ValueError, RefusedRedirectError):
            fp.close()
            raise

    #: Unknown to Python before 3.11.
    http_error_308 = HTTPRedirectHandler.http_error_302


def _redirected(request: Request, new: SplitResult) -> Request:
    old = urlsplit(request.full_url)
    if new.scheme not in _SCHEMES or (old.scheme == "https" and new.scheme != "https"):
        raise RefusedRedirectError(
            "it leads to {0} and from https only https is followed, from http both".format(urlunsplit(new))
        )
    made = request_for(new)
    authorization = request.unredirected_hdrs.get("Authorization")
    same_server = (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port)
    if same_server and authorization and not made.has_header("Authorization"):
        made.add_unredirected_header("Authorization", authorization)
    return made


def _without_user(address: SplitResult) -> str:
    return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))


def _length(headers: Any) -> Optional[int]:
    """Bytes of the file; of what is packed for the way the length says nothing of it."""
    length = str(headers.get("Content-Length") or "")
    return int(length) if length.isdigit() and not headers.get("Content-Encoding") else None


def _not_fetched(name: str, url: str, said: str, remedy: str) -> FleetError:
    return FleetError(
        "From {0} the node cannot fetch the package {1}: {2}.".format(_shown(url), name, said),
        failure_class=NOT_STARTED,
        hint=remedy,
    )


def _other_size(name: str, url: str, led_to: str, found: str, size: int) -> FleetError:
    return FleetError(
        "From {0}{1} the node gets {2} for the package {3}, and {4} bytes are expected.".format(
            _shown(url), led_to, found, name, size
        ),
        failure_class=NOT_STARTED,
        hint="See that it is not a page to log in at and that the server gives the node the same file as the "
        "controller, " + _OTHER_WAY,
    )


def _shown(url: str) -> str:
    """For a message, where a blank must follow: what does not would count as a part of a secret at its end."""
    return url.partition("#")[0]
