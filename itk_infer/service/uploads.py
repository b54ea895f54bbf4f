"""Receives uploads within limits of size, duration and number."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from itk_infer.files.commit import remove
from itk_infer.service.refusal import Refusal
from itk_infer.service.service import Service

PAUSE_S = 20.0  # longest time between two parts of an upload, in seconds
GRACE_S = 30.0  # seconds after which the mean rate must exceed `MIN_RATE`
MIN_RATE = 16 << 10  # bytes per second
FORM_FIELDS = 10
DRAIN_S = 5.0
BLOCK = 1 << 20  # bytes per write
CHECK_SPACE = 64 << 20  # bytes between two checks of the free space


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file.

    Attributes:
        path: Path of the file.
        nbytes: Size in bytes.
        sha256: Digest of its content.
    """

    path: Path
    nbytes: int
    sha256: str


class Uploads:
    """Receives uploads for a service.

    Args:
        service: Service whose limits apply.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Receive the body of a request as a file, which is deleted at the end unless it was moved.

        Raises:
            Refusal: ``busy``, ``too_large``, ``slow``, ``no_space`` or ``invalid``.
        """
        settings = self._service.settings
        if self._open >= settings.max_uploads:
            raise Refusal("busy", f"{self._open} uploads are under way, which is the limit; try again", 5)
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > settings.max_upload:
            raise _too_large(settings.max_upload)
        self._open += 1
        path = self._service.new_upload()
        try:
            yield await self._write(request, path)
        finally:
            self._open -= 1
            remove(path)

    @asynccontextmanager
    async def form(self, request: Request) -> AsyncIterator[FormData]:
        """Receive a form of at most `FORM_FIELDS` fields and one file, within the limits of `receive`."""
        settings = self._service.settings
        if self._open >= settings.max_uploads:
            raise Refusal("busy", f"{self._open} uploads are under way, which is the limit; try again", 5)
        self._open += 1
        clock = _Clock(settings.max_upload)

        async def receive() -> Message:
            try:
                async with asyncio.timeout(PAUSE_S):
                    message = await request.receive()
            except TimeoutError:
                raise _paused() from None
            clock.add(len(message.get("body", b"")))
            request.state.received = not message.get("more_body", False)  # `request` itself does not know of it
            return message

        try:
            limited = Request(request.scope, receive)
            try:
                form = await limited.form(max_files=1, max_fields=FORM_FIELDS)
            except ClientDisconnect:
                raise Refusal("invalid", "the upload ended early") from None
            try:
                yield form
            finally:
                await form.close()
        finally:
            self._open -= 1

    @asynccontextmanager
    async def part(self, form: FormData, name: str) -> AsyncIterator[Path]:
        """The file in a form, deleted at the end unless it was moved; its own name is not used.

        Raises:
            Refusal: the form has no such file, or the disk is full.
        """
        file = form.get(name)
        if not isinstance(file, UploadFile):
            raise Refusal("invalid", f"{name}: send a file")
        if self._service.free_bytes() < (file.size or 0):
            raise Refusal("no_space", "the server's disk is nearly full; try again later", 600)
        path = self._service.new_upload()
        try:
            await asyncio.to_thread(_copy, file, path)
            self._service.counters.received(file.size or 0)
            yield path
        finally:
            remove(path)

    async def _write(self, request: Request, path: Path) -> Upload:
        digest, nbytes, checked = hashlib.sha256(), 0, -CHECK_SPACE
        block = bytearray()
        with path.open("xb", buffering=0) as file:

            def write() -> None:
                digest.update(block)
                file.write(block)
                block.clear()

            async for chunk in timed_body(request, self._service.settings.max_upload):
                nbytes += len(chunk)
                if nbytes - checked >= CHECK_SPACE:
                    checked = nbytes
                    if self._service.free_bytes() < CHECK_SPACE:
                        raise Refusal("no_space", "the server's disk is nearly full; try again later", 600)
                block += chunk
                if len(block) >= BLOCK:
                    await asyncio.to_thread(write)
            write()
            await asyncio.to_thread(_sync, file.fileno())
        if nbytes == 0:
            raise Refusal("invalid", "the request has no content; send the image as its body")
        self._service.counters.received(nbytes)
        return Upload(path, nbytes, digest.hexdigest())


async def timed_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the parts of a request's body, up to `limit` bytes in total.

    Raises:
        Refusal: ``too_large``; ``slow``: a part or the whole is too slow; ``invalid``: the client disconnected.
    """
    clock = _Clock(limit)
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(PAUSE_S):  # `wait_for` would make a task for every part
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _paused() from None
        except ClientDisconnect:
            raise Refusal("invalid", "the upload ended early") from None
        clock.add(len(chunk))
        yield chunk


class _Clock:
    """Counts the bytes and the duration of an upload."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._nbytes = 0
        self._began = time.monotonic()

    def add(self, nbytes: int) -> None:
        """Count received bytes.

        Raises:
            Refusal: ``too_large``, ``slow``.
        """
        self._nbytes += nbytes
        if self._nbytes > self._limit:
            raise _too_large(self._limit)
        spent = time.monotonic() - self._began
        if spent > GRACE_S and self._nbytes < MIN_RATE * spent:
            raise Refusal("slow", f"the upload is slower than {MIN_RATE >> 10} KiB/s; send the image again")


async def drain(request: Request, limit: int) -> None:
    """Discard what the client still sends, for a short time: after a reset it may miss the response."""
    if getattr(request.state, "received", False):
        return  # nothing comes any more, and waiting for it would delay the response
    left = limit

    async def read() -> None:
        nonlocal left
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return

    try:
        await asyncio.wait_for(read(), DRAIN_S)
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("xb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


def _paused() -> Refusal:
    return Refusal("slow", f"nothing came for {PAUSE_S:g} s; send the image again")


def _sync(number: int) -> None:
    os.fsync(number)


def _too_large(limit: int) -> Refusal:
    return Refusal("too_large", f"an upload may have {limit / (1 << 20):,.0f} MiB; crop or compress the image")
