"""A picture as a DICOM Secondary Capture, which every viewer shows (PS3.3, A.8.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.dicom_case import DicomCase, building, write_object
from itk_infer.outputs.sink import FinishedCase, OutputHeader

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class CaptureOutput:
    """Writes the picture of a case as a Secondary Capture; see `CaseOutput`.

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
        picture = report_picture(case, f"itk_infer {dicom.model}")  # no time: the same work gives the same bytes
        with building(self._path):
            made = capture(picture, dicom)
        return write_object(dicom, made, self._path)

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def capture(picture: NDArray[np.uint8], case: DicomCase, *, shows_patient: bool = False) -> Dataset:
    """A picture as an object of a case, without patient and study.

    Args:
        picture: Red, green and blue, (rows, columns, 3).
        case: The case that it shows.
        shows_patient: Whether its text identifies the patient or the study.
    """
    from highdicom.sc import SCImage

    content = hashlib.sha256(picture.tobytes()).hexdigest()
    source = case.evidence[0]
    made = SCImage(
        np.ascontiguousarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        patient_orientation=("L", "P"),
        **case.instance("report", content),
    )
    made.ConversionType = "WSD"  # made by a workstation
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.BurnedInAnnotation = "YES" if shows_patient else "NO"
    made.SecondaryCaptureDeviceManufacturer = made.Manufacturer
    made.SecondaryCaptureDeviceManufacturerModelName = made.ManufacturerModelName
    made.SecondaryCaptureDeviceSoftwareVersions = made.SoftwareVersions
    made.PatientOrientation = made.Laterality = None  # several planes have no common orientation or side
    del made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture
    return made
