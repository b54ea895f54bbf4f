"""Receives studies by C-STORE. Success is returned only after an instance is on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from itk_infer.errors import ConfigError
from itk_infer.service.pacs.access import Access, DicomAddress
from itk_infer.service.pacs.dimse import load_pynetdicom, no_delay
from itk_infer.service.pacs.room import DISK_FAULTS, is_full
from itk_infer.service.pacs.spool import Spool
from itk_infer.volume.dicom.elements import Damaged, parse
from itk_infer.volume.dicom.header import is_uid, text_of

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

VERIFICATION = "1.2.840.10008.1.1"
MOST_ASSOCIATIONS = 32
SUCCESS, NO_ROOM, NOT_STORED, NO_STUDY = 0x0000, 0xA700, 0xA701, 0xC000
STUDY_TAG = 0x0020000D


class Receiver:
    """A C-STORE server. Use it as a context manager.

    Args:
        address: Own title, host and port.
        spool: Stores the instances.
        access: Certificates for TLS.
        allowed: Application entity titles that may connect; empty: all.
        min_free: Bytes of the disk that must stay free.
        folder: A folder on the disk of the spool.
        tell: Called with sentences for the administrator.

    Raises:
        ConfigError: on entering: the address cannot be used, or pynetdicom is not installed.
    """

    def __init__(
        self,
        address: DicomAddress,
        spool: Spool,
        access: Access,
        allowed: Sequence[str],
        *,
        min_free: int,
        folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._address = address
        self._spool = spool
        self._access = access
        self._allowed = allowed
        self._min_free = min_free
        self._folder = folder
        self._tell = tell
        self._tls = access.server_context()
        self.received = 0
        self.refused = 0

    def __enter__(self) -> Receiver:
        pynetdicom = load_pynetdicom()
        from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

        entity = pynetdicom.AE(ae_title=self._address.aet)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(VERIFICATION)
        entity.require_called_aet = True
        entity.require_calling_aet = list(self._allowed)
        entity.maximum_associations = MOST_ASSOCIATIONS
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._access.timeout
        try:
            self._server = entity.start_server(
                (self._address.host, self._address.port),
                block=False,
                evt_handlers=[(evt.EVT_C_STORE, self._on_store), (evt.EVT_CONN_OPEN, _send_at_once)],
                ssl_context=self._tls,
            )
        except OSError as error:
            raise ConfigError(
                f"{self._address.host}:{self._address.port}: cannot be listened on ({error.strerror})"
            ) from None
        self._entity = entity
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    @property
    def port(self) -> int:
        """Port on which the server listens."""
        return int(self._server.socket.getsockname()[1])

    def _on_store(self, event: Event) -> int:
        status = self._store(event)
        if status == SUCCESS:
            self.received += 1
        else:
            self.refused += 1
        return status

    def _store(self, event: Event) -> int:
        request = cast("C_STORE", event.request)
        uid, sop_class = str(request.AffectedSOPInstanceUID), str(request.AffectedSOPClassUID)
        if not is_uid(uid):
            return NO_STUDY
        if shutil.disk_usage(self._folder).free < self._min_free:
            self._tell("the disk is nearly full: what is sent is refused (0xA700), and stays with its sender")
            return NO_ROOM
        try:
            data = event.encoded_dataset()  # with a file header, otherwise as received
            study = _study_uid(data)
            if not study:
                return NO_STUDY
            self._spool.store(study, uid, sop_class, data)
        except DISK_FAULTS as error:
            full = is_full(error)
            why = "the disk is full" if full else getattr(error, "strerror", "") or type(error).__name__
            self._tell(f"an instance could not be kept, and stays with its sender: {why}")
            return NO_ROOM if full else NOT_STORED
        return SUCCESS


def _send_at_once(event: Event) -> None:
    """Set TCP_NODELAY: without it, responses may wait for an acknowledgement."""
    no_delay(event.assoc)


def _study_uid(data: bytes) -> str:
    """The StudyInstanceUID in a file; empty if there is none."""
    try:
        elements = parse(data, frozenset({STUDY_TAG}), whole=True).elements
    except Damaged:
        return ""
    return text_of(elements, STUDY_TAG, "")
