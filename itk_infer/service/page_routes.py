"""The web page at ``/``: upload an image, follow its job, view the result. Loads no external resources.

The page's files can be fetched without a token. They hold no data; the requests that they send need a token.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Annotated

from fastapi import FastAPI, Header, Response

OWN, VIEWER = "service/page", "viewer/page"
SCRIPT = "text/javascript; charset=utf-8"
ASSETS = {
    "/": (OWN, "index.html", "text/html; charset=utf-8"),
    "/page.css": (OWN, "page.css", "text/css; charset=utf-8"),
    "/page.js": (OWN, "page.js", SCRIPT),
    "/canvas.js": (VIEWER, "canvas.js", SCRIPT),
    "/niivue.umd.js": (VIEWER, "niivue.umd.js", SCRIPT),
}
# The page opens volumes from memory, through URLs of the schemes blob: and data:.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(app: FastAPI) -> None:
    """Add the routes of the page to an application."""
    for path, (folder, name, kind) in ASSETS.items():
        _add(app, path, (files("itk_infer") / folder / name).read_bytes(), kind)


def _add(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}

    @app.get(path, include_in_schema=False)
    async def asset(if_none_match: Annotated[str, Header()] = "") -> Response:
        if if_none_match == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)
