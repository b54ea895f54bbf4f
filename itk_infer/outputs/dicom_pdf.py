"""The report picture as a page of a DICOM Encapsulated PDF (PS3.3, A.45.1)."""

from __future__ import annotations

import hashlib
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.dicom_case import DicomCase, building, write_object
from itk_infer.outputs.sink import FinishedCase, OutputHeader

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
DOTS_PER_INCH = 100


class PdfOutput:
    """Writes the report picture of a case as an Encapsulated PDF; see `CaseOutput`.

    Args:
        path: File to write.
        header: The case, with its source and its image.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        from itk_infer.outputs.report_picture import report_picture

        dicom = DicomCase.of(case)
        document = pdf_of(report_picture(case, f"itk_infer {dicom.model}"))  # no time, as in the Secondary Capture
        with building(self._path):
            made = encapsulated(document, dicom)
        return write_object(dicom, made, self._path)

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def pdf_of(picture: NDArray[np.uint8]) -> bytes:
    """A document of one page, the same bytes for the same picture.

    Args:
        picture: Red, green and blue, (rows, columns, 3).
    """
    from PIL import Image

    file, never = BytesIO(), time.gmtime(0)
    Image.fromarray(picture).save(
        file, format="PDF", resolution=DOTS_PER_INCH, quality=95, creationDate=never, modDate=never
    )
    return file.getvalue()


def encapsulated(document: bytes, case: DicomCase) -> Dataset:
    """A PDF as an object of a case, without patient and study.

    Args:
        document: The PDF.
        case: The case that it is about.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made, about = Dataset(), case.instance("pdf", hashlib.sha256(document).hexdigest())
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ENCAPSULATED_PDF, about["sop_instance_uid"]
    made.StudyInstanceUID = case.evidence[0].StudyInstanceUID
    made.Modality, made.SeriesInstanceUID = "DOC", about["series_instance_uid"]
    made.SeriesNumber, made.InstanceNumber = about["series_number"], about["instance_number"]
    made.SeriesDescription = about["series_description"]
    made.Manufacturer, made.ManufacturerModelName = about["manufacturer"], about["manufacturer_model_name"]
    made.DeviceSerialNumber, made.SoftwareVersions = about["device_serial_number"], about["software_versions"]
    made.ConversionType = "WSD"  # made by a workstation
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = "NO"
    made.DocumentTitle = about["series_description"]
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    made.EncapsulatedDocumentLength = len(document)
    return made
