"""The events of a job as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict

from starlette.concurrency import run_in_threadpool

from itk_infer.service.event_log import read_events
from itk_infer.service.refusal import Refusal
from itk_infer.service.service import Service
from itk_infer.service.views import job_view

POLL_S = 0.1
ALIVE_S = 15.0  # seconds between comments, which keep proxies from closing the connection
LONGEST_S = 24 * 3600.0


async def event_stream(
    service: Service, job_id: str, after: int, is_gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """Yield the events of a job with numbers above `after`, and finally ``end``, with the job.

    Args:
        service: Service of the job.
        job_id: The job.
        after: Number of the last event that the client has received.
        is_gone: Returns whether the client has disconnected.
    """
    spoke, began = time.monotonic(), time.monotonic()
    state = ""
    while time.monotonic() - began < LONGEST_S and not service.stopping.is_set():
        try:
            job = await run_in_threadpool(service.queue.get, job_id)
        except Refusal:  # the job was deleted meanwhile
            return
        for number, line in await run_in_threadpool(read_events, service.folder_of(job_id), after):
            after, spoke = number, time.monotonic()
            yield _event(json.loads(line)["event"], line, number)
        if job.has_ended:
            view = await run_in_threadpool(job_view, job, service)
            yield _event("end", json.dumps(asdict(view)))
            return
        if job.state != state:
            state, spoke = job.state, time.monotonic()
            view = await run_in_threadpool(job_view, job, service)
            yield _event("state", json.dumps(asdict(view)))
        elif time.monotonic() - spoke > ALIVE_S:
            spoke = time.monotonic()
            yield b": waiting\n\n"
        if await is_gone():
            return
        await asyncio.sleep(POLL_S)


def _event(name: str, data: str, number: int | None = None) -> bytes:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {name}\ndata: {data}\n\n".encode()
