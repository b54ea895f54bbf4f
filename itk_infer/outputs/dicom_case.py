"""A finished case as DICOM objects need it: segments on the frames of its series, UIDs, what all objects carry.

highdicom builds the objects. It gets neither patient nor study, which are put in afterwards as they are: so no
value of them can be refused, and none can be in one of its messages.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.files.commit import write_bytes
from itk_infer.outputs.sink import FinishedCase
from itk_infer.spec import Label
from itk_infer.spec.label_codes import FREE_TEXT, UNCODED, Code, LabelCode
from itk_infer.volume.dicom.derived import Identity, identity_of, moment_of
from itk_infer.volume.dicom.geometry import Stack
from itk_infer.volume.grid import Reorientation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER, SERIAL_NUMBER = "itk_infer", "0"  # software has none, but the attribute must have a value
FOOT = "Research use only, not for diagnosis"
SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.4"  # what highdicom takes every slice for
KINDS = ("seg", "sr", "report", "pdf")  # in the order of their series numbers


@dataclass(frozen=True)
class DicomCase:
    """A finished case.

    Attributes:
        case: The case, which comes with its source.
        stack: Slices of its series.
    """

    case: FinishedCase
    stack: Stack

    @classmethod
    def of(cls, case: FinishedCase) -> DicomCase:
        """Make one for a finished case that was read from a DICOM series."""
        if case.header.source is None:
            raise RuntimeError("a DICOM object was to be written, and the case came without its series")
        return cls(case, case.header.source)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The label table; the number of a segment is its place in it, from 1, in every case of a model."""
        return self.case.header.labels

    @cached_property
    def segments(self) -> NDArray[Any]:
        """Numbers of segments, 0 for none, (frames, rows, columns), not to be changed: a plane per slice."""
        numbers = np.zeros(max((label.value for label in self.labels), default=0) + 1, np.uint16)
        for number, label in enumerate(self.labels, 1):
            numbers[label.value] = number
        if len(self.labels) < 256:
            numbers = numbers.astype(np.uint8)
        turned = self._back.apply(self.case.labels)
        if turned.dtype == numbers.dtype and np.array_equal(numbers, np.arange(len(numbers))):
            return np.ascontiguousarray(
                turned
            )  # usually a view, as values are places, and axes those of the slices
        return np.ascontiguousarray(numbers[turned])

    @property
    def overlaps(self) -> bool:
        """Whether a voxel may belong to several segments, see `mask`."""
        return self.case.masks is not None

    def mask(self, number: int) -> NDArray[np.bool_]:
        """The voxels of a segment, by its number from 1, (frames, rows, columns)."""
        if self.case.masks is None:
            return np.asarray(self.segments == number)
        return np.asarray(self._back.apply(self.case.masks[number - 1]))

    @cached_property
    def _back(self) -> Reorientation:
        """From the grid of the label map to the slices."""
        grid, back = self.case.header.grid.reoriented(self.stack.grid.orientation)
        if not grid.same_as(self.stack.grid):
            raise RuntimeError("the label map does not lie on the grid of its series")
        return back

    @cached_property
    def identity(self) -> Identity:
        """Patient and study."""
        own = [self.model, *(label.name for label in self.labels)]
        own += [code.meaning for label in self.labels for code in (coded(label).type, *coded(label).modifiers)]
        return identity_of(self.stack.frames[0].file, own)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.case.header.about.get("model") or "unnamed model"

    @cached_property
    def _content(self) -> str:
        digest = hashlib.sha256(self.stack.frames[0].file.text("SeriesInstanceUID").encode())
        header = self.case.header
        own = (header.identity, header.about.get("itk_infer", ""), header.series_number)
        digest.update("".join(f"\0{part}" for part in own).encode() + b"\0")
        for plane in self.segments:  # no copy of the whole
            digest.update(plane.data)
        for number in range(1, len(self.labels) + 1) if self.overlaps else ():
            digest.update(np.packbits(self.mask(number)).data)
        return digest.hexdigest()

    def uid(self, *words: object) -> str:
        """A UID made of series, model, settings, labels, and words: the same for the same work (PS3.5, B.2)."""
        digest = hashlib.sha256("\0".join([self._content, *map(str, words)]).encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"

    def tracking(self, label: Label) -> tuple[str, str]:
        """Tracking ID and UID of a label, the same in all objects of the case."""
        return self.text(label.name), self.uid("tracking", label.value)

    def text(self, words: str, length: int = 64) -> str:
        """Words of our own as the objects can hold them."""
        return self.identity.fitted(words, length) or "-"

    def instance(self, kind: str, variant: str = "") -> dict[str, Any]:
        """Attributes of the program that every object has, as keywords of highdicom.

        Args:
            kind: One of `KINDS`.
            variant: A text that distinguishes further objects of the same kind.
        """
        about = self.case.header.about
        return {
            "series_instance_uid": self.uid("series", kind, variant),
            "series_number": self.case.header.series_number + KINDS.index(kind),
            "sop_instance_uid": self.uid(kind, variant),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.text(f"{self.model} {about.get('model_version', '')}"),
            "software_versions": self.text(about.get("itk_infer", "-")),
            "device_serial_number": SERIAL_NUMBER,
            "series_description": self.text(f"itk_infer {self.model}"),
        }

    @cached_property
    def slices(self) -> list[Dataset]:
        """The slices as single images without patient, whose UIDs are their numbers, from 1; for highdicom."""
        from pydicom.dataset import Dataset

        grid = self.stack.grid
        axes = [float(value) for value in np.reshape(grid.direction_xyz, (3, 3))[:, :2].T.ravel()]
        found = []
        for number, frame in enumerate(self.stack.frames):
            image = Dataset()
            image.SOPClassUID, image.SOPInstanceUID = SINGLE_FRAME, f"2.25.{number + 1}"
            self._study(image)
            image.Rows, image.Columns = grid.size[1:]
            image.ImagePositionPatient = [_decimal(value) for value in frame.position or ()]
            image.ImageOrientationPatient = [_decimal(value) for value in axes]
            image.PixelSpacing = [_decimal(value) for value in grid.spacing[1:]]
            image.SliceThickness = _decimal(grid.spacing[0])
            found.append(image)
        return found

    @cached_property
    def evidence(self) -> list[Dataset]:
        """One header per file of the series, without patient, for objects that refer to whole files."""
        from pydicom.dataset import Dataset

        files = {frame.file.path: frame.file for frame in self.stack.frames}
        found = []
        for file in files.values():
            image = Dataset()
            image.SOPClassUID, image.SOPInstanceUID = file.text("SOPClassUID"), file.text("SOPInstanceUID")
            self._study(image)
            found.append(image)
        return found

    def _study(self, image: Dataset) -> None:
        """UIDs of the series; what highdicom copies of patient and study, empty."""
        file = self.stack.frames[0].file
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(image, keyword, file.text(keyword))
        image.Modality = "OT"  # highdicom asks for one and writes it nowhere
        image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = ""
        image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = ""

    def complete(self, made: Dataset) -> bytes:
        """An object with patient, study and fixed dates, as the bytes of its file."""
        from pydicom.charset import convert_encodings, default_encoding
        from pydicom.dataelem import RawDataElement
        from pydicom.filewriter import correct_ambiguous_vr
        from pydicom.tag import Tag

        for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SpecificCharacterSet"):
            if keyword in made:
                delattr(made, keyword)
        made.ContentDate, made.ContentTime = moment_of(self.stack.frames[0].file)
        for item in made.get("ContributingEquipmentSequence", ()):
            if "ContributionDateTime" in item:
                del item.ContributionDateTime
        correct_ambiguous_vr(made, is_little_endian=True)
        if self.identity.charset:
            made.SpecificCharacterSet = self.identity.charset.split("\\")
        for tag, (kind, value) in self.identity.values.items():
            padded = value + b" " * (len(value) % 2)
            made[tag] = RawDataElement(Tag(tag), kind, len(padded), padded, 0, False, True, True)
        # As if it had been read so: raw elements are then written as they are, and never decoded.
        charset = self.identity.charset
        known = convert_encodings(made.SpecificCharacterSet) if charset else default_encoding
        made.set_original_encoding(False, True, known)
        buffer = BytesIO()
        made.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


def coded(label: Label) -> LabelCode:
    """The code of a label, or that of tissue if the model's spec has none."""
    return label.code or UNCODED


def concept(code: Code, case: DicomCase) -> Any:
    """A code as a `CodedConcept` of highdicom."""
    from highdicom.sr import CodedConcept

    meaning = case.text(code.meaning) if code.scheme == FREE_TEXT else code.meaning
    return CodedConcept(code.value, code.scheme, meaning)


def algorithm(case: DicomCase) -> Any:
    """The model as an algorithm: family, name, version, and its digest as a parameter."""
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    about = case.case.header.about
    return AlgorithmIdentificationSequence(
        name=case.text(case.model),
        family=codes.DCM.ArtificialIntelligence,
        version=case.text(about.get("model_version") or about.get("model_sha256", "-")[:16]),
        source="itk_infer",
        parameters={"sha256": about.get("model_sha256", "-")[:16]},
    )


def write_object(case: DicomCase, made: Dataset, path: Path) -> Path:
    """Complete an object, and write its file; errors as of `building` and `write_bytes`."""
    with building(path):
        data = case.complete(made)
    write_bytes(data, path, track=case.case.header.track)
    return path


@contextmanager
def building(path: Path) -> Iterator[None]:
    """Turn what the libraries raise into an error without values of the files, and keep them from logging any.

    Raises:
        OutputError: they refused to make the object.
    """
    loggers = [logging.getLogger(name) for name in ("highdicom", "pydicom")]
    for logger in loggers:
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise OutputError(
            f"{path}: cannot be made of this series ({type(error).__name__} in highdicom); leave `dicom` out, and "
            "report it"
        ) from None


def _decimal(value: float) -> str:
    """A number as a decimal string, at most 16 characters (PS3.5, 6.2)."""
    texts = (f"{value:.{digits}g}" for digits in range(15, 0, -1))
    return next(text for text in texts if len(text) <= 16)  # one digit always fits
