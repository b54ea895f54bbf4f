"""DICOM SR: volume and mean value of every label, as a measurement report on the SEG (PS3.16, TID 1500)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.outputs.dicom_case import (
    MANUFACTURER,
    SERIAL_NUMBER,
    DicomCase,
    algorithm,
    building,
    coded,
    concept,
    write_object,
)
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Triple = tuple[str, str, str]  # value, scheme and meaning of a code
ANATOMICAL = "91723000"
VOLUME = ("118565006", "SCT", "Volume")
ML = ("ml", "UCUM", "milliliter")
MEAN = ("373098007", "SCT", "Mean")
PROCEDURE = ("363679005", "SCT", "Imaging procedure")
# What the values of an image are, and in which units, by modality.
INTENSITY = {
    "CT": (("112031", "DCM", "Attenuation Coefficient"), ("[hnsf'U]", "UCUM", "Hounsfield unit")),
    "MR": (("110852", "DCM", "MR signal intensity"), ("1", "UCUM", "no units")),
}
SUV = (("126401", "DCM", "SUVbw"), ("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight"))
VALUE = ("Q4LE", "IBSI", "Mean intensity")
UNITS = {"BQML": ("Bq/ml", "UCUM", "Becquerels/milliliter"), "GML": ("g/ml", "UCUM", "Gram/milliliter")}
NO_UNITS = ("1", "UCUM", "no units")
SEG_CLASSES = {"binary": "1.2.840.10008.5.1.4.1.1.66.4", "labelmap": "1.2.840.10008.5.1.4.1.1.66.7"}


class SrOutput:
    """Writes an SR once the label map is finished; see `CaseOutput`.

    Args:
        path: File to write.
        header: The case, with its source and its image.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        dicom = DicomCase.of(case)
        with building(self._path):
            made = measurement_report(dicom)
        return write_object(dicom, made, self._path)

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def measurement_report(case: DicomCase) -> Dataset:
    """The SR of a case, without patient and study: partial, preliminary and not verified."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    segmentation = _segmentation(case)
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=case.uid("observer"),
        name=case.text(f"itk_infer {case.model}"),
        manufacturer_name=MANUFACTURER,
        model_name=case.text(case.model),
        serial_number=SERIAL_NUMBER,
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=_code(PROCEDURE),
        imaging_measurements=[
            _group(case, segmentation, number, voxels, mean)
            for number, (voxels, mean) in enumerate(_measured(case), 1)
        ],
    )
    return sr.Comprehensive3DSR(
        evidence=[segmentation, *case.evidence],
        content=content,
        is_final=False,
        **case.instance("sr", case.case.header.seg_type),
    )


def _segmentation(case: DicomCase) -> Dataset:
    """A reference to the SEG of the case. Its UIDs are derived from the case, so it need not be written yet."""
    from pydicom.dataset import Dataset

    kind, found = case.case.header.seg_type, Dataset()
    instance = case.instance("seg", kind)
    found.update(case.evidence[0])
    found.SOPClassUID, found.SOPInstanceUID = SEG_CLASSES[kind], instance["sop_instance_uid"]
    found.SeriesInstanceUID = instance["series_instance_uid"]
    return found


def _measured(case: DicomCase) -> list[tuple[int, float | None]]:
    """Voxels and mean value of each label; None where it has no voxels. One plane at a time."""
    image = case.case.header.image
    if image is None:
        raise RuntimeError("an SR was to be written, and the case came without its image")
    counts = np.zeros(len(case.labels) + 1, np.int64)
    sums = np.zeros(len(case.labels) + 1)
    planes = image.array[0]
    if case.overlaps:
        for number in range(1, len(counts)):
            for mask, values in zip(case.mask(number), planes, strict=True):
                counts[number] += np.count_nonzero(mask)
                sums[number] += values[mask].sum(dtype=np.float64)
    for segments, values in () if case.overlaps else zip(case.segments, planes, strict=True):
        flat = segments.ravel()
        counts += np.bincount(flat, minlength=len(counts))
        sums += np.bincount(flat, values.ravel(), minlength=len(counts))
    return [(int(n), float(total / n) if n else None) for n, total in zip(counts[1:], sums[1:], strict=True)]


def _group(case: DicomCase, segmentation: Dataset, number: int, voxels: int, mean: float | None) -> Any:
    """The measurements of one label."""
    from highdicom import sr

    label = case.labels[number - 1]
    code, (tracking_id, tracking_uid) = coded(label), case.tracking(label)
    volume = voxels * case.stack.grid.voxel_volume_ml
    measurements = [sr.Measurement(_code(VOLUME), _rounded(volume), _code(ML))]
    if mean is not None:
        value, unit = _values(case)
        measurements.append(sr.Measurement(_code(value), _rounded(mean), _code(unit), derivation=_code(MEAN)))
    about = algorithm(case)[0]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracking_uid, identifier=tracking_id),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            number,
            source_series=sr.SourceSeriesForSegmentation(case.evidence[0].SeriesInstanceUID),
        ),
        finding_category=concept(code.category, case),
        finding_type=concept(code.type, case),
        finding_sites=_sites(case, label),
        algorithm_id=sr.AlgorithmIdentification(
            about.AlgorithmName, about.AlgorithmVersion, parameters=[about.AlgorithmParameters]
        ),
        measurements=measurements,
    )


def _sites(case: DicomCase, label: Label) -> Any:
    """The finding site of an anatomical structure, with its modifier and side; None for other labels."""
    from highdicom import sr

    code = coded(label)
    if code.category.value != ANATOMICAL:
        return None
    modifier, side = code.modifier and concept(code.modifier, case), code.side and concept(code.side, case)
    return [sr.FindingSite(concept(code.type, case), laterality=side, topographical_modifier=modifier)]


def _values(case: DicomCase) -> tuple[Triple, Triple]:
    """Codes of the quantity and the unit of the series' values."""
    if case.stack.values == "SUVbw":
        return SUV
    file = case.stack.frames[0].file
    modality, kind = file.text("Modality"), file.text("RescaleType")
    if modality in INTENSITY and (modality != "CT" or kind in ("", "HU")):
        return INTENSITY[modality]
    return VALUE, UNITS.get(file.text("Units"), NO_UNITS)


def _code(code: Triple) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def _rounded(value: float) -> float:
    """A number that a decimal string of 16 characters holds."""
    return float(f"{value:.9g}")
