"""A DICOM application entity as a destination: C-STORE, and C-FIND to verify if supported (PS3.4, B and C)."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ConfigError
from itk_infer.service.pacs.access import Access, dicom_address
from itk_infer.service.pacs.delivery import Delivery, Unavailable, of_status
from itk_infer.service.pacs.objects import DicomObject

if TYPE_CHECKING:
    from pynetdicom.association import Association

FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model, FIND
MOST_CONTEXTS = 127  # presentation contexts, beside the one for C-FIND


def load_pynetdicom() -> Any:
    """Import pynetdicom, with its log disabled: at level DEBUG it prints identifying data of patients.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pynetdicom
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"DICOM connections need {error.name}, which is not installed: pip install 'itk_infer[pacs]'"
        ) from None
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
    return pynetdicom


class Dimse:
    """A DICOM application entity; implements `Destination`.

    Args:
        address: ``AET@host:port``.
        access: Own title and, for TLS, certificates.
        tls: Whether to encrypt.

    Raises:
        ConfigError: the address or the certificates are not valid, or pynetdicom is not installed.
    """

    def __init__(self, address: str, access: Access, *, tls: bool = False) -> None:
        self._address = dicom_address(address)
        self._access = access
        self._tls = access.client_context() if tls else None
        self._asks = True
        self.name = f"{'dicoms' if tls else 'dicom'}={address}"
        load_pynetdicom()

    @contextmanager
    def connect(self, items: Sequence[DicomObject]) -> Iterator[DimseLink]:
        """See `Destination`."""
        pynetdicom = load_pynetdicom()
        entity = pynetdicom.AE(ae_title=self._access.aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._access.timeout
        entity.connection_timeout = min(10.0, self._access.timeout)
        wanted = dict.fromkeys((item.sop_class, item.syntax) for item in items)
        for sop_class, syntax in list(wanted)[:MOST_CONTEXTS]:
            entity.add_requested_context(sop_class, syntax)
        entity.add_requested_context(FIND)
        link = DimseLink(lambda: self._associate(entity), asks=self._asks)
        try:
            yield link
        finally:
            self._asks = link.asks
            link.close()
            entity.shutdown()

    def _associate(self, entity: Any) -> Association:
        there = self._address
        tls = None if self._tls is None else (self._tls, there.host)
        link: Association = entity.associate(there.host, there.port, ae_title=there.aet, tls_args=tls)
        if not link.is_established:
            raise Unavailable(_refused(link))
        no_delay(link)
        return link


class _Aborted(Exception):
    """The application entity ended the association instead of answering."""


class DimseLink:
    """An association with an application entity, renewed where a question ends it; implements `Link`.

    Args:
        associate: Opens an association; raises `Unavailable` if it cannot.
        asks: Whether to ask for objects.

    Attributes:
        asks: False once it is known that the application entity ends an association in which it is asked.
    """

    def __init__(self, associate: Callable[[], Association], *, asks: bool) -> None:
        self._associate = associate
        self.asks = asks
        self._open()

    def _open(self) -> None:
        self._link = self._associate()
        self._accepted = {
            (context.abstract_syntax, context.transfer_syntax[0]) for context in self._link.accepted_contexts
        }

    def close(self) -> None:
        """Release the association, if there still is one."""
        if self._link.is_established:
            self._link.release()

    def holds(self, item: DicomObject) -> bool | None:
        """See `Link`. Orthanc ends the association of callers that may store, and may not ask."""
        if not self.asks or not any(context == FIND for context, _ in self._accepted):
            return None
        for _ in range(2):  # it may be by chance that the association ended here, once
            try:
                return self._find(item)
            except _Aborted:
                self._open()
        self.asks = False
        return None

    def _find(self, item: DicomObject) -> bool | None:
        from pydicom.dataset import Dataset

        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID, query.SeriesInstanceUID = item.study, item.series
        query.SOPInstanceUID = item.uid
        found = False
        for status, identifier in self._ask(lambda: list(self._link.send_c_find(query, FIND))):
            if "Status" not in status:
                raise _Aborted
            if status.Status in (0xFF00, 0xFF01):
                found = found or (identifier is not None and identifier.get("SOPInstanceUID") == item.uid)
            elif status.Status != 0x0000:
                return None
        return found

    def send(self, item: DicomObject) -> Delivery:
        """See `Link`."""
        if (item.sop_class, item.syntax) not in self._accepted:
            return Delivery(
                "rejected", f"the server takes no objects of the class {item.sop_class} in syntax {item.syntax}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of pydicom contain values
            status = self._ask(lambda: self._link.send_c_store(item.path))
        if "Status" not in status:  # the association was aborted, as by Orthanc for unknown callers
            raise Unavailable("ended the connection; does it know our AE title?")
        return of_status(status.Status)

    def _ask(self, request: Any) -> Any:
        if not self._link.is_established:
            raise Unavailable("ended the connection")
        try:
            return request()
        except (RuntimeError, ValueError, AttributeError) as error:
            raise Unavailable(f"broke the connection ({type(error).__name__})") from None


def no_delay(link: Association) -> None:
    """Set TCP_NODELAY: without it, each small message waits for an acknowledgement, 40 ms and more."""
    transport = link.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _refused(link: Association) -> str:
    """Reason why there is no association."""
    if link.is_rejected and link.acceptor.primitive is not None:
        diagnostic = link.acceptor.primitive.diagnostic or 0
        words = {3: "it does not know our AE title", 7: "its AE title is another one"}
        return f"refuses the connection ({words.get(diagnostic, f'diagnostic {diagnostic}')})"
    return "cannot be reached, or ended the connection"
