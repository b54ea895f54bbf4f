"""An Orthanc server, by its REST interface: https://orthanc.uclouvain.be/book/users/rest.html."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from itk_infer.service.pacs.access import Access, server_url
from itk_infer.service.pacs.delivery import Delivery, Unavailable, of_http
from itk_infer.service.pacs.http_server import HttpFault, HttpServer
from itk_infer.service.pacs.objects import DicomObject

PAGE = 1000  # changes per request
GONE = 404


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance in Orthanc: its Orthanc identifier, its SOPInstanceUID, and the modality of its series."""

    id: str
    uid: str
    modality: str


class Orthanc:
    """An Orthanc server. All methods raise `Unavailable` if it cannot be reached, or refuses the account.

    Args:
        url: URL of its REST interface.
        access: Account and certificates.

    Raises:
        ConfigError: the URL or the account is not valid.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._http = HttpServer(server_url(url), access)
        self.name = f"orthanc={self._http.url}"

    def changes(self, since: int) -> tuple[list[dict[str, Any]], int, bool]:
        """Changes after a number: the changes, the number of the last one, and whether there are no more."""
        page = self._json(f"/changes?since={since}&limit={PAGE}")
        return page["Changes"], page["Last"], page["Done"]

    def last_change(self) -> int:
        """The number of the latest change."""
        return int(self._json("/changes?last")["Last"])

    def study_of(self, change: dict[str, Any]) -> str | None:
        """Identifier of the study that a change concerns; None if it concerns none, or the study is deleted."""
        level, identifier = change["ResourceType"], change["ID"]
        if level == "Study":
            return str(identifier)
        if level not in ("Series", "Instance"):
            return None
        parent = self._found(f"/{'series' if level == 'Series' else 'instances'}/{identifier}/study")
        return None if parent is None else str(parent["ID"])

    def is_stable(self, study: str) -> bool | None:
        """Whether no instance was added recently; None if the study is deleted."""
        found = self._found(f"/studies/{study}")
        return None if found is None else bool(found["IsStable"])

    def instances(self, study: str) -> list[Instance]:
        """The instances of a study; empty if it is deleted."""
        series, instances = self._found(f"/studies/{study}/series"), self._found(f"/studies/{study}/instances")
        if series is None or instances is None:
            return []
        modality = {item["ID"]: item["MainDicomTags"].get("Modality", "") for item in series}
        return [
            Instance(
                item["ID"],
                item["MainDicomTags"].get("SOPInstanceUID", ""),
                modality.get(item["ParentSeries"], ""),
            )
            for item in instances
        ]

    def file(self, instance: str) -> bytes | None:
        """The file of an instance; None if it is deleted."""
        try:
            return self._http.ask(f"/instances/{instance}/file")[1]
        except HttpFault as fault:
            _check_gone(fault)
            return None

    # --- a destination ------------------------------------------------------------------------

    @contextmanager
    def connect(self, items: Sequence[DicomObject]) -> Iterator[Orthanc]:
        """See `Destination`."""
        yield self

    def holds(self, item: DicomObject) -> bool:
        """See `Link`."""
        try:
            found = self._http.json("/tools/lookup", item.uid.encode())
        except HttpFault as fault:
            raise _unavailable(fault) from None
        return any(match.get("Type") == "Instance" for match in found)

    def send(self, item: DicomObject) -> Delivery:
        """See `Link`."""
        try:
            _, answer = self._http.ask("/instances", item.path.read_bytes(), {"Content-Type": "application/dicom"})
        except HttpFault as fault:
            return of_http(fault.status)
        there = b'"AlreadyStored"' in answer
        return Delivery("sent", "it was there already" if there else "")

    def _json(self, path: str) -> Any:
        try:
            return self._http.json(path)
        except HttpFault as fault:
            raise _unavailable(fault) from None

    def _found(self, path: str) -> Any:
        try:
            return self._http.json(path)
        except HttpFault as fault:
            _check_gone(fault)
            return None


def _check_gone(fault: HttpFault) -> None:
    if fault.status != GONE:
        raise _unavailable(fault) from None


def _unavailable(fault: HttpFault) -> Unavailable:
    delivery = of_http(fault.status)
    if delivery.state == "waiting":
        return Unavailable(delivery.reason)
    return Unavailable(f"HTTP {fault.status}: answers otherwise than an Orthanc; is the URL right?")
