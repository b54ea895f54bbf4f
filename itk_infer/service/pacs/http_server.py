"""Requests to an HTTP server with the standard library: no redirects, one time limit, own messages."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Unavailable


class HttpFault(Exception):
    """The server returned an HTTP error; the message does not contain the response, which may name patients.

    Args:
        status: HTTP status.
        body: Body of the response.
    """

    def __init__(self, status: int, body: bytes = b"") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Rejects redirects, which would send the password to another server."""

    def redirect_request(self, *_: Any) -> None:
        """Return None: no redirect is followed."""


class HttpServer:
    """Sends requests to one HTTP server.

    Args:
        url: URL of the server, without a trailing slash.
        access: Account, certificates, time limit.

    Raises:
        ConfigError: the account or the certificates cannot be read.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url = url
        self._timeout = access.timeout
        self._headers: dict[str, str] = {}
        account = access.account(url)
        if account is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=access.https_context()))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request: POST if there is a body, otherwise GET.

        Returns:
            Status and body of the response.

        Raises:
            HttpFault: the status is not one of success.
            Unavailable: there is no response.
        """
        request = urllib.request.Request(self.url + path, body, {**self._headers, **(headers or {})})
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return answer.status, answer.read()  # raises if the response is shorter than announced
        except urllib.error.HTTPError as error:
            with error:
                raise HttpFault(error.code, _rest_of(error)) from None
        except urllib.error.URLError as error:
            raise Unavailable(f"cannot be reached ({_why(error.reason)})") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"broke the connection ({_why(error)})") from None

    def json(self, path: str, body: bytes | None = None) -> Any:
        """As `ask`, and parse the response as JSON.

        Raises:
            Unavailable: it is not JSON; possibly the URL belongs to a different server.
        """
        try:
            return json.loads(self.ask(path, body)[1])
        except ValueError:
            raise Unavailable("answers something else than JSON; is the URL right?") from None


def _rest_of(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(1 << 20)
    except (OSError, http.client.HTTPException):
        return b""


def _why(reason: object) -> str:
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)
