"""The result of sending an object, independent of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from itk_infer.service.pacs.objects import DicomObject

SUCCESS, DUPLICATE = 0x0000, 0x0111
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored; elements were coerced or dropped (PS3.4, B.2.3)
TEMPORARY = (0xA7,)  # high byte of the status: out of resources
HTTP_TEMPORARY = (401, 403, 407, 408, 423, 425, 429)  # caused by the account or the server, not by the object


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one attempt to send an object.

    Attributes:
        state: ``sent``; ``rejected``: the object will never be accepted; ``waiting``: try again later; ``dead``:
            given up after repeated attempts.
        reason: Reason for the state, without patient data.
    """

    state: Literal["sent", "rejected", "waiting", "dead"]
    reason: str = ""


class Unavailable(Exception):
    """The server cannot be reached or is temporarily unable to answer; the message is a phrase."""


class Link(Protocol):
    """An open connection to a destination."""

    def holds(self, item: DicomObject) -> bool | None:
        """Whether the destination has the object; None if it cannot be queried.

        Raises:
            Unavailable: the connection was lost.
        """
        ...

    def send(self, item: DicomObject) -> Delivery:
        """Send an object.

        Raises:
            Unavailable: the connection was lost.
        """
        ...


class Destination(Protocol):
    """A server that results are sent to.

    Attributes:
        name: Name as given by the user, such as ``orthanc=http://127.0.0.1:8042``.
    """

    name: str

    def connect(self, items: Sequence[DicomObject]) -> AbstractContextManager[Link]:
        """Open a connection for sending these objects.

        Raises:
            Unavailable: no connection can be made.
        """
        ...


def of_status(status: int) -> Delivery:
    """Interpret a status of C-STORE, or a FailureReason of STOW-RS (PS3.4, B.2.3; PS3.7, C)."""
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
    """Interpret an HTTP status of 300 or above."""
    if status in (401, 403, 407):
        return Delivery("waiting", f"HTTP {status}: the server refuses the account; check user and password")
    if status >= 500 or status in HTTP_TEMPORARY:
        return Delivery("waiting", f"HTTP {status}: the server cannot take it at the moment")
    return Delivery("rejected", f"HTTP {status}: the server refuses this object; see its log")
