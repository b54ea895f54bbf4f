"""The table of destinations that ``--to`` accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from itk_infer.errors import ConfigError
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Destination
from itk_infer.service.pacs.dicomweb import DicomWeb
from itk_infer.service.pacs.dimse import Dimse
from itk_infer.service.pacs.orthanc import Orthanc


@dataclass(frozen=True, slots=True)
class DestinationKind:
    """A protocol: the form of its addresses, and its implementation."""

    address: str
    open: Callable[[str, Access], Destination]


DESTINATIONS = {
    "orthanc": DestinationKind("URL", Orthanc),
    "stow": DestinationKind("URL", DicomWeb),
    "dicom": DestinationKind("AET@host:port", Dimse),
    "dicoms": DestinationKind("AET@host:port", partial(Dimse, tls=True)),
}


def destination(text: str, access: Access) -> Destination:
    """Parse ``KIND=ADDRESS``; does not connect.

    Raises:
        ConfigError: it is not a valid destination.
    """
    kind, separator, address = text.partition("=")
    if not separator or kind not in DESTINATIONS:
        shown = text if "@" not in text or kind in DESTINATIONS else kind.partition(":")[0]
        ways = ", ".join(f"{name}={about.address}" for name, about in DESTINATIONS.items())
        raise ConfigError(f"{shown}: is not a destination; give one of {ways}")
    return DESTINATIONS[kind].open(address, access)
