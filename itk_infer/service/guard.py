"""Access control of requests by Host header, origin and token, before the body is read."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from itk_infer.errors import ConfigError
from itk_infer.service.problems import problem

# Paths that need no token: health checks, the page, and the login of MONAI Label's clients.
PAGE = ("/", "/page.css", "/page.js", "/canvas.js", "/niivue.umd.js")
OPEN = ("/healthz", "/readyz", "/auth/", "/auth/token", *PAGE)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN = 16
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Rules for accepting requests.

    Attributes:
        tokens: A request must carry one of them; empty: no token is needed.
        hosts: Accepted values of the Host header, without ports, lower case.
        origins: Other origins whose web pages may send requests, such as ``https://viewer.example``.
    """

    tokens: tuple[bytes, ...] = ()
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()

    def knows_token(self, header: str | None) -> bool:
        """Whether an Authorization header holds a valid token; all are compared, in constant time."""
        scheme, _, given = (header or "").partition(" ")
        matches = [hmac.compare_digest(token, given.strip().encode()) for token in self.tokens]
        return scheme.lower() == "bearer" and any(matches)

    def knows_host(self, header: str | None) -> bool:
        """Whether a Host header names this server."""
        return host_name(header or "") in self.hosts

    def knows_origin(self, header: str | None) -> bool:
        """Whether a request has no Origin header, the origin of this server, or an allowed one."""
        if header is None or header in self.origins:
            return True
        return host_name(urlsplit(header).netloc) in self.hosts


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets; empty if the header is malformed."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower() if "@" not in header and "/" not in header else ""
    except ValueError:
        return ""


def make_access(
    address: str, token_file: Path | None, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()
) -> Access:
    """Make the rules for a server at an address.

    Args:
        address: Address that the server is bound to.
        token_file: File with one token per line; None: no token is needed.
        hosts: Further accepted values of the Host header.
        origins: See `Access`.

    Raises:
        ConfigError: others can reach the address and there is no token, or the file holds none or a short one.
    """
    local = is_loopback(address)
    if not local and token_file is None:
        raise ConfigError(
            f"`address={address}` can be reached from other machines; give a `token_file`, or an address of this "
            "machine alone, such as 127.0.0.1"
        )
    own = () if address in ("0.0.0.0", "::") else (address.lower(),)
    names = tuple(dict.fromkeys((*LOOPBACK, *own, *(host.lower() for host in hosts))))
    return Access(() if token_file is None else _tokens(token_file), names, origins)


def is_loopback(address: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _tokens(path: Path) -> tuple[bytes, ...]:
    try:
        lines = path.read_text("utf-8").split()
    except (OSError, UnicodeError):
        raise ConfigError(f"{path}: cannot be read; `token_file` names a file with one token per line") from None
    if not lines:
        raise ConfigError(f"{path}: is empty; write one token per line, such as that of `openssl rand -hex 32`")
    if any(len(line) < MIN_TOKEN for line in lines):
        raise ConfigError(f"{path}: holds a token of less than {MIN_TOKEN} characters; make a longer one")
    return tuple(line.encode() for line in lines)


class Guard:
    """ASGI middleware that applies `Access`, and sets security headers in every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, see the ASGI specification."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        access = self._access
        if len(headers.getlist("host")) != 1 or not access.knows_host(headers.get("host")):
            return problem(421, "the Host header is none of this server's names; give it when the server starts")
        if not access.knows_origin(headers.get("origin")):
            return problem(403, "a web page of another server may not call this one, unless it was started so")
        link = scope["path"] == "/" and scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        foreign = headers.get("sec-fetch-site") == "cross-site" and headers.get("origin") not in access.origins
        if foreign and not link:
            return problem(403, "a web page of another server may not call this one, unless it was started so")
        preflight = scope["method"] == "OPTIONS" and headers.get("origin") in access.origins
        free = preflight or not access.tokens or scope["path"] in OPEN
        if not free and not access.knows_token(headers.get("authorization")):
            needed = {"WWW-Authenticate": "Bearer"}
            return problem(401, "send the header Authorization: Bearer TOKEN", headers=needed)
        return None
