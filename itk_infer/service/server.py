"""The server process: uvicorn, with time limits for connections that send no request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from itk_infer.errors import ConfigError
from itk_infer.run.stop import StopRequest
from itk_infer.service.guard import Access
from itk_infer.service.rest import make_app
from itk_infer.service.service import Service

HEADER_S = 10.0  # seconds for the headers of a request to arrive
MOST_CONNECTIONS = 512
KEEP_ALIVE_S = 10
LEAVE_S = 5
BACKLOG = 256
POLL_S = 0.2


class PatientProtocol(H11Protocol):
    """HTTP protocol that closes connections without a request in time, and those beyond `MOST_CONNECTIONS`."""

    def connection_made(self, transport: Any) -> None:
        """Start the time limit, see asyncio."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(HEADER_S, self._close_if_silent)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit, see asyncio."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Restart the time limit for the next request of the connection."""
        super().on_response_complete()
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(HEADER_S + KEEP_ALIVE_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def bound_socket(address: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named, as asyncio sets TCP_NODELAY only then; without it, responses are delayed by 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{address}:{port}: cannot be used ({error.strerror}); is another server running there?"
        ) from None
    return listening


def run_server(
    service: Service,
    access: Access,
    listening: socket.socket,
    stop: StopRequest,
    on_start: Callable[[], None] = lambda: None,
    *,
    monai_label: bool = False,
) -> None:
    """Serve requests until a signal arrives or the service ends.

    Args:
        service: The service, whose context the caller has entered.
        access: Rules for accepting requests.
        listening: Result of `bound_socket`.
        stop: Set by signals.
        on_start: Called when the server accepts requests.
        monai_label: Whether to serve the interface of MONAI Label, too.

    Raises:
        InterruptedRunError: a signal arrived.
        ModelError: none of the models can be loaded.
    """
    server = _Server(
        uvicorn.Config(
            make_app(service, access, monai_label=monai_label),
            http=PatientProtocol,
            ws="none",
            log_config=None,
            log_level="critical",  # messages of exceptions may contain names, see `rest.py`
            access_log=False,  # paths and queries contain names that clients chose
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LEAVE_S,
            h11_max_incomplete_event_size=32 << 10,
            lifespan="off",
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="http", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            stop.check()
            threading.Event().wait(0.01)
        on_start()
        checked = False
        while thread.is_alive() and not service.stopping.wait(POLL_S):
            stop.check()
            if service.described.is_set() and not checked:
                checked = True
                service.check_models()
    finally:
        service.stopping.set()
        server.should_exit = True
        thread.join(LEAVE_S + 5)
    if service.problem is not None:
        raise service.problem


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the program's main thread."""

    def install_signal_handlers(self) -> None:
        """Install no signal handlers."""
