"""A client of `itk_infer serve`. Needs httpx, which the extra ``client`` installs."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from itk_infer.client.dicom_zip import to_upload
from itk_infer.errors import CaseError, ConfigError, InputError, OutputError
from itk_infer.files.commit import new_file

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 18
PAUSE_S = 0.5  # seconds between two attempts
TIMEOUT_S = 60.0  # seconds without data; in a stream of events, the server writes at least every 15 s
OF_THE_IMAGE = (408, 413, 415, 422)
LATER = (429, 502, 503, 504)  # HTTP statuses after which a request is repeated, of the server or a proxy
OTHER = "the answer is not one of itk_infer serve; is another server running there?"
Document = dict[str, Any]


class Client:
    """A connection to one server; use it as a context manager. Jobs and models are JSON documents of the HTTP API.

    If the server is unreachable or full, requests are repeated for `patience_s`; no job is created twice.

    Args:
        url: URL of the server, such as ``http://127.0.0.1:8000``.
        token: Access token, if the server requires one.
        patience_s: Seconds for which a failing request is repeated.

    Raises:
        ConfigError: httpx is missing, or the URL is invalid.
    """

    def __init__(self, url: str, token: str | None = None, *, patience_s: float = 120.0) -> None:
        try:
            import httpx
        except ModuleNotFoundError:
            raise ConfigError(
                "the client needs httpx, which is not installed: pip install 'itk_infer[client]'"
            ) from None
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            if not url.startswith(("http://", "https://")):
                raise ValueError
            self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S)
        except (httpx.InvalidURL, ValueError):
            raise ConfigError(f"{url}: is no address of a server, such as http://127.0.0.1:8000") from None
        self._url, self._patience_s, self._broken = url, patience_s, httpx.TransportError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[Document]:
        """The models of the server.

        Raises:
            ConfigError: the server does not answer, or refuses the request.
        """
        try:
            found: Any = self._ask("GET", "/v1/models", patience_s=0.0)
            return list(found)
        except _LaterError as error:
            raise ConfigError(str(error)) from None

    def submit(
        self, image: Path, model: str, *, name: str = "", label_format: str = "same", save: Sequence[str] = ()
    ) -> Document:
        """Upload an image and queue a job.

        Args:
            image: A file, or the folder of a DICOM series.
            model: Name of one of `models`.
            name: Name of the job, which the server shows.
            label_format: Format of the label map, as ``--format``.
            save: Names of further outputs.

        Returns:
            The job's document.

        Raises:
            InputError: the image cannot be read, or the server does not take it.
            CaseError, ConfigError: the server is full, refuses the request, or cannot be reached.
        """
        query = {"model": model, "name": name, "format": label_format, "save": list(save)}
        headers = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/octet-stream"}
        with to_upload(image) as path, path.open("rb") as file:
            return self._ask("POST", "/v1/jobs", file, params=query, headers=headers)

    def job(self, job_id: str) -> Document:
        """The current document of a job. Errors as in `submit`."""
        return self._ask("GET", f"/v1/jobs/{job_id}")

    def cancel(self, job_id: str) -> Document:
        """Cancel a job; a job that has ended is deleted with its files. Errors as in `submit`."""
        return self._ask("DELETE", f"/v1/jobs/{job_id}")

    def events(self, job_id: str) -> Iterator[Document]:
        """Yield each event of a job once, until the job ends.

        Besides the events of the command line, there are ``state`` and, last, ``end``, each with the ``job``.
        """
        after, url = 0, f"/v1/jobs/{job_id}/events"
        while True:
            headers = {"Last-Event-ID": str(after)}
            with suppress(_LaterError), self._answer("GET", url, headers=headers) as answer:
                for number, name, data in _messages(answer.iter_lines()):
                    after = number or after
                    yield {"event": name, "job": data} if name in ("state", "end") else data
                    if name == "end":
                        return
            time.sleep(PAUSE_S)
            self.job(job_id)

    def wait(self, job_id: str, on_event: Callable[[Document], None] = lambda event: None) -> Document:
        """Wait until a job is done, and return its document.

        Args:
            job_id: The job.
            on_event: Called with each of `events`.

        Raises:
            CaseError: it failed or was cancelled; the message is the server's reason. Others as in `submit`.
        """
        job: Document = {}
        for event in self.events(job_id):
            on_event(event)
            job = event.get("job", job)
        check_done(job)
        return job

    def fetch(self, job: Document, kind: str, path: Path) -> Path:
        """Download a file of a finished job. It gets its final name after its content is verified.

        Args:
            job: A job that is done.
            kind: A key of its ``files``, such as ``mask``.
            path: Path to write to; an existing file is replaced.

        Raises:
            OutputError: the file cannot be written, or arrived damaged. Others as in `submit`.
        """
        about = job["files"][kind]

        def download() -> str:
            digest = hashlib.sha256()
            with self._answer("GET", about["url"]) as answer, partial.open("wb") as file:
                for chunk in answer.iter_bytes(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
            return digest.hexdigest()

        with new_file(path) as partial:
            if self._patiently(download) != about["sha256"]:
                raise OutputError(f"{path}: did not come as the server has it; fetch it again")
        return path

    def _ask(
        self, method: str, path: str, body: BinaryIO | None = None, patience_s: float | None = None, **words: Any
    ) -> Document:
        """Send a request and return the JSON document of the response."""

        def attempt() -> Any:
            if body is not None:
                body.seek(0)
            with self._answer(method, path, content=body, **words) as answer:
                answer.read()
                try:
                    return answer.json()
                except ValueError:
                    raise ConfigError(f"{self._url}: {OTHER}") from None

        found: Document = self._patiently(attempt, patience_s)
        return found

    def _patiently(self, attempt: Callable[[], Any], patience_s: float | None = None) -> Any:
        """Repeat an attempt until it succeeds, and return its result."""
        deadline = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        while True:
            try:
                return attempt()
            except _LaterError as error:
                if time.monotonic() + error.after_s > deadline:
                    raise
                time.sleep(error.after_s)

    @contextmanager
    def _answer(self, method: str, path: str, **words: Any) -> Iterator[httpx.Response]:
        """Send a request once, and yield its successful response, whose body is not read yet."""
        try:
            with self._http.stream(method, path, **words) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                yield answer
        except self._broken as error:
            reason = f"no answer ({type(error).__name__}); is a server running there?"
            raise _LaterError(f"{self._url}: {reason}") from None

    def _refusal(self, answer: httpx.Response) -> Exception:
        status = answer.status_code
        try:
            reason = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            reason = f"status {status}; {OTHER}"
        if status in LATER:
            return _LaterError(f"{self._url}: {reason}", answer.headers.get("retry-after", ""))
        if status in OF_THE_IMAGE:
            return InputError(reason)
        return CaseError(f"{self._url}: {reason}") if status >= 500 else ConfigError(f"{self._url}: {reason}")


def check_done(job: Document) -> None:
    """Raise `CaseError`, with the server's reason, for an ended job that is not done."""
    if job["state"] != "done":
        raise CaseError(job["reason"] or f"the job is {job['state']}")


class _LaterError(CaseError):
    """A request that may succeed if repeated later."""

    def __init__(self, message: str, after: str = "") -> None:
        super().__init__(message)
        self.after_s = float(after) if after.isdecimal() else PAUSE_S


def _messages(lines: Iterator[str]) -> Iterator[tuple[int, str, Any]]:
    """Number (0: none), name and content of each of the server-sent events in these lines."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])
        fields = {}
