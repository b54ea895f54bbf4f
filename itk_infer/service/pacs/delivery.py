"""The result of sending an object, for all protocols."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from itk_infer.service.pacs.objects import DicomObject

SUCCESS, DUPLICATE = 0x0000, 0x0111
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored; elements were coerced or dropped (PS3.4, B.2.3)
TEMPORARY = (0xA7,)  # first byte: out of resources
HTTP_TEMPORARY = (401, 403, 407, 408, 423, 425, 429)  # due to the account or the server's state, not to the object


@dataclass(frozen=True, slots=True)
class Delivery:
    """The end of one attempt.

    Attributes:
        state: ``sent``; ``rejected``: the same object will never be taken; ``waiting``: try again later; ``dead``:
            it was tried for too long.
        reason: Reason for the state, as text without data of the patient.
    """

    state: Literal["sent", "rejected", "waiting", "dead"]
    reason: str = ""


class Unavailable(Exception):
    """The server cannot be reached, or is temporarily unable to answer; the message is a phrase."""


class Link(Protocol):
    """An open connection to a destination."""

    def holds(self, item: DicomObject) -> bool | None:
        """Whether the destination has the object; None: it cannot be asked.

        Raises:
            Unavailable: the connection broke.
        """
        ...

    def send(self, item: DicomObject) -> Delivery:
        """Send an object.

        Raises:
            Unavailable: the connection broke.
        """
        ...


class Destination(Protocol):
    """A server that results are sent to.

    Attributes:
        name: As the user wrote it, such as ``orthanc=http://127.0.0.1:8042``.
    """

    name: str

    def connect(self, items: Sequence[DicomObject]) -> AbstractContextManager[Link]:
        """A connection for these objects.

        Raises:
            Unavailable: there is none.
        """
        ...


def of_status(status: int) -> Delivery:
    """What a status of C-STORE, or a FailureReason of STOW-RS, means (PS3.4, B.2.3; PS3.7, C)."""
    if status == SUCCESS:
        return Delivery("sent")
    if status == DUPLICATE:
        return Delivery("sent", "it was there already")
    if status in WARNINGS:
        return Delivery("sent", f"stored, but elements were changed or dropped (status {status:#06x})")
    if status >> 8 in TEMPORARY:
        return Delivery("waiting", f"the server is out of resources (status {status:#06x}); is its disk full?")
    if status >> 8 == 0xA9 or status >> 12 == 0xC or status in (0x0122, 0x0117, 0x0106):
        return Delivery("rejected", f"the server cannot store this object (status {status:#06x}); see its log")
    return Delivery("waiting", f"the server failed (status {status:#06x})")


def of_http(status: int) -> Delivery:
    """What an HTTP status of 300 or above means."""
    if status in (401, 403, 407):
        return Delivery("waiting", f"HTTP {status}: the server refuses the account; check user and password")
    if status >= 500 or status in HTTP_TEMPORARY:
        return Delivery("waiting", f"HTTP {status}: the server cannot take it at the moment")
    return Delivery("rejected", f"HTTP {status}: the server refuses this object; see its log")
