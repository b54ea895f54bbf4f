"""Serves the page to this machine only.

Requests need the token in the address. Requests with another host name are refused (DNS rebinding), and decisions
are accepted from this page only. The page may not load external resources.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

from itk_infer.errors import ConfigError
from itk_infer.viewer.session import ERRORS, Session

HOST = "127.0.0.1"
MAX_BODY = 100_000  # largest size of a decision, in bytes
ASSETS = {
    "": ("index.html", "text/html; charset=utf-8"),
    "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
    "canvas.js": ("canvas.js", "text/javascript; charset=utf-8"),
    "niivue.umd.js": ("niivue.umd.js", "text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ViewerServer(ThreadingHTTPServer):
    """The HTTP server; `serve_forever` runs it, `server_close` ends it.

    Args:
        session: The output folder.
        port: Port to listen on; 0: any free one.

    Attributes:
        token: Token that every address must contain.

    Raises:
        ConfigError: the port is in use.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {port}: cannot be opened ({error}); give another `port`, or 0 for any"
            ) from None

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore lost connections, which a browser may close; other errors are handled in `_Handler`."""


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    disable_nagle_algorithm = True  # otherwise responses on a kept connection wait 40 ms for an acknowledgement
    server_version = "itk_infer"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *_: Any) -> None:
        """Log nothing, because addresses contain the token."""

    def _answer(self, make: Callable[[list[str]], tuple[bytes, str]]) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        port = self.server.server_port
        hosts = (f"{HOST}:{port}", f"localhost:{port}")
        known = parts and hmac.compare_digest(parts[0].encode("utf-8", "replace"), self.server.token.encode())
        if self.headers.get("Host") not in hosts or not known:
            text = "Open the address that itk_infer view has printed, with its token."
            self._send(HTTPStatus.FORBIDDEN, text.encode(), "text/plain; charset=utf-8")
            return
        try:
            data, kind = make(parts[1:])
        except LookupError:
            self._send(HTTPStatus.NOT_FOUND, b"There is no such page.", "text/plain; charset=utf-8")
        except ERRORS as error:
            self._send(HTTPStatus.CONFLICT, str(error).encode("utf-8", "replace"), "text/plain; charset=utf-8")
        except MemoryError:
            text = "There is not enough memory to show this volume; close other programs and try again."
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, text.encode(), "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, data, kind)

    def _get(self, parts: list[str]) -> tuple[bytes, str]:
        session = self.server.session
        match parts:
            case [name]:
                if name == "cases":
                    document: Any = {"folder": str(session.folder), "cases": session.cases()}
                else:
                    file, kind = ASSETS[name]
                    return (files("itk_infer.viewer") / "page" / file).read_bytes(), kind
            case ["case", name]:
                document = session.details(name)
            case ["target", name, what]:
                document = session.target(name, what)
            case ["volume", name, part]:
                return session.volume(name, part.removesuffix(".nii")), "application/octet-stream"
            case _:
                raise LookupError(parts)
        return json.dumps(document).encode(), "application/json"

    def _post(self, parts: list[str]) -> tuple[bytes, str]:
        match parts:
            case ["review", name]:
                origin = f"http://{self.headers['Host']}"
                if self.headers.get("Origin") != origin or self.headers.get_content_type() != "application/json":
                    raise ConfigError("decisions are taken from this page only")
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 < length <= MAX_BODY:
                    raise ConfigError("the decision is too long; shorten the note")
                try:
                    words = json.loads(self.rfile.read(length))
                except ValueError:
                    words = None
                if not isinstance(words, dict):
                    raise ConfigError("the decision cannot be read; load the page again")
                return json.dumps(self.server.session.decide(name, words)).encode(), "application/json"
        raise LookupError(parts)

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
