"""A DICOMweb server as a destination: STOW-RS to store, QIDO-RS to verify (PS3.18, 10.5 and 10.6)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from itk_infer.service.pacs.access import Access, server_url
from itk_infer.service.pacs.delivery import Delivery, Unavailable, of_http, of_status
from itk_infer.service.pacs.http_server import HttpFault, HttpServer
from itk_infer.service.pacs.objects import DicomObject

JSON = "application/dicom+json"
FAILED, REASON = "00081198", "00081197"  # FailedSOPSequence, FailureReason


class DicomWeb:
    """A DICOMweb server; implements `Destination` and `Link`.

    Args:
        url: URL of the service, such as ``http://127.0.0.1:8042/dicom-web``.
        access: Account and certificates.

    Raises:
        ConfigError: the URL or the account is not valid.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._http = HttpServer(server_url(url), access)
        self.name = f"stow={self._http.url}"

    @contextmanager
    def connect(self, items: Sequence[DicomObject]) -> Iterator[DicomWeb]:
        """See `Destination`."""
        yield self

    def holds(self, item: DicomObject) -> bool | None:
        """See `Link`."""
        path = f"/studies/{item.study}/series/{item.series}/instances?SOPInstanceUID={item.uid}"
        try:
            status, answer = self._http.ask(path, headers={"Accept": JSON})
        except HttpFault as fault:
            if fault.status == 404:
                return False
            if 400 <= fault.status < 500 and fault.status not in (401, 403, 429):
                return None  # it supports STOW-RS only
            raise Unavailable(of_http(fault.status).reason) from None
        try:
            return status != 204 and bool(json.loads(answer or b"[]"))
        except ValueError:
            return None

    def send(self, item: DicomObject) -> Delivery:
        """See `Link`."""
        mark = uuid.uuid4().hex
        head = f"--{mark}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + item.path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={mark}'
        try:
            _, answer = self._http.ask("/studies", body, {"Content-Type": kind, "Accept": JSON})
        except HttpFault as fault:
            return _failure(fault.body) or of_http(fault.status)
        return _failure(answer) or Delivery("sent")


def _failure(answer: bytes) -> Delivery | None:
    """The failure that a STOW-RS response reports for an object; None if it reports none."""
    try:
        failed = json.loads(answer)[FAILED]["Value"]
        status = int(failed[0][REASON]["Value"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return of_status(status)
