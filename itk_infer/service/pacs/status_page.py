"""The state of a node over HTTP: ``/`` a page, ``/status`` JSON, ``/metrics`` for Prometheus. Read-only."""

from __future__ import annotations

import html
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.service.pacs.status import metrics_text, node_status, status_lines

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>itk_infer node</title><style>body{{font:15px/1.5 sans-serif;margin:2rem;max-width:60rem}}</style>
<h1>itk_infer node</h1><ul>{lines}</ul><p><a href="status">status</a> <a href="metrics">metrics</a></p></html>"""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class StatusPage:
    """An HTTP server for the state of a node. Use it as a context manager.

    Args:
        home: Home of the node, which runs in this process.
        host: Address to listen on.
        port: Port to listen on; 0: any free one.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, home: Path, host: str, port: int) -> None:
        class Handler(_Handler):
            folder = home

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"`page`: {host}:{port} cannot be listened on ({error.strerror}); give another, or `page=none`"
            ) from None
        self._server.daemon_threads = True

    def __enter__(self) -> StatusPage:
        self._thread = threading.Thread(target=self._server.serve_forever, name="status page", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """The URL of the page."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    disable_nagle_algorithm = True  # otherwise responses on a kept connection wait 40 ms for an acknowledgement
    timeout = 10.0

    def do_GET(self) -> None:
        """Respond with the page, JSON or metrics."""
        path = self.path.partition("?")[0]
        if path not in ("/", "/status", "/metrics"):
            self._answer(404, "text/plain", "there are /, /status and /metrics\n")
            return
        try:
            status = node_status(self.folder, watch=False)
        except ConfigError as error:
            self._answer(503, "text/plain", f"{error}\n")
            return
        if path == "/status":
            self._answer(200, "application/json", json.dumps(status))
        elif path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4", metrics_text(status))
        else:
            lines = (line for line in status_lines({**status, "at_work": [_HERE]}))
            listed = "".join(f"<li>{html.escape(line)}" for line in lines if not line.startswith("at work"))
            self._answer(200, "text/html", PAGE.format(lines=listed))

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


_HERE = {"pid": 0, "host": ""}
