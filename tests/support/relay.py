"""A server in front of another one, which counts what is posted and can keep its answers back, or refuse."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Relay:
    """Passes requests on to 127.0.0.1:port.

    Attributes:
        posts: How often each path was posted to.
        silent: While set, answers of POST are kept back, after the other server has given them.
        held: Set once an answer is kept back.
        refuse: A status with which POST is answered, instead of passing it on; 0: it is passed on.
    """

    def __init__(self, port: int) -> None:
        relay = self
        self.posts: Counter[str] = Counter()
        self.silent, self.held, self.refuse = threading.Event(), threading.Event(), 0
        self.seen: list[str] = []  # Authorization headers

        class Handler(BaseHTTPRequestHandler):
            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                relay.seen.append(self.headers.get("Authorization", ""))
                if self.command == "POST":
                    relay.posts[self.path] += 1
                    if relay.refuse and self.path != "/tools/lookup":
                        self._answer(relay.refuse, b"{}")
                        return
                link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")}
                link.request(self.command, self.path, body or None, headers)
                answer = link.getresponse()
                content = answer.read()
                link.close()
                if self.command == "POST" and relay.silent.is_set() and self.path != "/tools/lookup":
                    relay.held.set()
                    while relay.silent.is_set():
                        threading.Event().wait(0.01)
                self._answer(answer.status, content)

            do_GET = do_POST = _pass_on

            def _answer(self, status: int, content: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # the one that asked is gone

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Relay:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()
