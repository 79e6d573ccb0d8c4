"""Asking a web server for a file, or for the rest of one.

The rest is asked for by RFC 9110: ``Range`` with ``If-Range``. Only http and https are spoken, redirects included;
proxies are those of the environment.
"""

import http
import http.client
import re
import ssl
import urllib.error
import urllib.request
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from sightline.downloads.failures import UnreachableError
from sightline.version import __version__

_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed a little later (RFC 9110, RFC 6585)."""
NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class BrokenError(Exception):
    """A transfer that broke off and may go on."""


class NoConnectionError(Exception):
    """No server was reached at all."""


class OutOfRangeError(Exception):
    """The rest of a file was asked for, and the file is not that long."""


def open_url(url: str, *, timeout: float, after: int = 0, version: str | None = None) -> Any:
    """The server's answer with its status (200: the whole file, 206: the rest), headers and body.

    Args:
        url: http or https.
        timeout: seconds without a byte.
        after: ask for what comes after so many bytes; 0: for all.
        version: the version that the rest must be of, as :func:`version_of` gave it; else the whole file comes.

    Raises:
        UnreachableError: the server answers with an error that stays, such as 404.
        OutOfRangeError: there is no such rest.
        BrokenError: the connection broke, or the server asks to come again later.
        NoConnectionError: no server was reached.
    """
    request = urllib.request.Request(_web(url), headers={"User-Agent": f"sightline/{__version__}"})
    request.add_header("Accept-Encoding", "identity")
    if after:
        request.add_header("Range", f"bytes={after}-")
        if version is not None:
            request.add_header("If-Range", version)
    try:
        return _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _answer(error, url) from error
    except urllib.error.URLError as error:
        raise NoConnectionError(str(error.reason)) from error
    except NETWORK as error:
        raise BrokenError(f"{error or type(error).__name__}") from error


def _answer(error: urllib.error.HTTPError, url: str) -> Exception:
    """What a server's error means."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return OutOfRangeError()
    what = f"the server answers {error.code} {error.reason}"
    if error.code in _TEMPORARY:
        return BrokenError(what)
    return UnreachableError(what, place=error.url or url, cause="the file was moved or its server closed")


def _opener() -> urllib.request.OpenerDirector:
    """urllib's opener without its handlers for files, FTP and data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _WebRedirects(),
    ):
        opener.add_handler(handler)
    return opener


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        return super().redirect_request(req, fp, code, msg, headers, _web(newurl))


def _web(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnreachableError("only http and https addresses are followed", place=url, cause="a wrong redirect")
    return url


def total_size(response: Any, start: int) -> int | None:
    """The size of the whole file, where the server says it."""
    of_range = re.match(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if start and of_range:
        return int(of_range[1])
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def version_of(headers: Message) -> str | None:
    """What names this version of the file: a strong ETag, else the date of its last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
