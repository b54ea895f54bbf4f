"""Standardized uptake values by body weight (SUVbw) of PET series.

The formula is that of the Quantitative Imaging Biomarkers Alliance ("vendor-neutral pseudo-code for SUV
calculation", happy path): value in Bq/ml times weight in g, divided by the dose in Bq, decayed to the reference
time of the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from itk_infer.errors import InputError
from itk_infer.volume.dicom.elements import Elements
from itk_infer.volume.dicom.header import FileHeader, numbers_of, text_of

POSITRON, WEIGHT = "1.2.840.10008.5.1.4.1.1.128", 0x00101030
RADIOPHARMACEUTICAL, DOSE, HALF_LIFE = 0x00540016, 0x00181074, 0x00181075
START_TIME, START = 0x00181072, 0x00181078
DECAY_CORRECTION, CORRECTED_IMAGE, UNITS, SUV_TYPE = 0x00541102, 0x00280051, 0x00541001, 0x00541006
PHILIPS_FACTOR = 0x70531000
DAY, WITHOUT_FRACTION = timedelta(days=1), 14


def suv_factor(files: Sequence[FileHeader]) -> float:
    """The factor from the values of a series to SUVbw in g/ml.

    Raises:
        InputError: required attributes are missing; the message contains no values of the patient.
    """
    file = files[0]
    if any(item.text("SOPClassUID") != POSITRON for item in files):
        raise InputError("SUV is asked for (`values` of the rule), and it is not a PET series of single slices")
    units = {item.text("Units") for item in files}
    if len(units) != 1:
        raise InputError("its slices have different Units, so that there is no SUV")
    if units == {"GML"}:
        if text_of(file.data.elements, SUV_TYPE, "") not in ("", "BW"):
            raise InputError("its values are SUV of another type than by body weight (SUVType)")
        return 1.0
    if units == {"CNTS"}:
        factors = {numbers_of(item.data.elements, PHILIPS_FACTOR, 1) for item in files}
        factor = factors.pop() if len(factors) == 1 else None
        if factor is None or factor[0] <= 0:
            raise InputError("its Units are counts (CNTS) without the factor of Philips (7053,1000) to SUV")
        return factor[0]
    if units != {"BQML"}:
        raise InputError("its Units are neither BQML, GML nor CNTS, of which SUV can be computed")
    corrected = text_of(file.data.elements, CORRECTED_IMAGE, "").split("\\")
    if not {"ATTN", "DECY"} <= {word.strip() for word in corrected}:
        raise InputError("its values are not corrected for attenuation and decay (CorrectedImage), as SUV needs")
    dose, half_life = _of_tracer(files, DOSE), _of_tracer(files, HALF_LIFE)
    weight = {numbers_of(item.data.elements, WEIGHT, 1) for item in files}
    kilograms = (weight.pop() if len(weight) == 1 else None) or (0.0,)
    if kilograms[0] <= 0:
        raise InputError("it has no valid PatientWeight, which SUV needs")
    correction = {text_of(item.data.elements, DECAY_CORRECTION, "") for item in files}
    if correction == {"ADMIN"}:
        decayed = dose
    elif correction == {"START"}:
        elapsed = (_scan_start(files) - _injection(files)).total_seconds()
        decayed = dose * math.pow(2, -elapsed / half_life)
    else:
        raise InputError("its DecayCorrection is neither START nor ADMIN, and SUV needs to know the time")
    return kilograms[0] * 1000 / decayed


def _tracer(file: FileHeader) -> Elements:
    items = file.data.elements.get(RADIOPHARMACEUTICAL)
    if not isinstance(items, list) or len(items) != 1:
        raise InputError("it does not describe one radiopharmaceutical, which SUV needs")
    return items[0]


def _of_tracer(files: Sequence[FileHeader], tag: int) -> float:
    values = {numbers_of(_tracer(file), tag, 1) for file in files}
    value = values.pop() if len(values) == 1 else None
    if value is None or value[0] <= 0:
        name = "RadionuclideTotalDose" if tag == DOSE else "RadionuclideHalfLife"
        raise InputError(f"it has no valid {name}, which SUV needs")
    return value[0]


def _scan_start(files: Sequence[FileHeader]) -> datetime:
    """Time of the series or, for derived series, whose time is later, of the first acquisition."""
    first = min(_moment(file.text("AcquisitionDate"), file.text("AcquisitionTime")) for file in files)
    series = _moment(files[0].text("SeriesDate"), files[0].text("SeriesTime"))
    return min(series, first)


def _injection(files: Sequence[FileHeader]) -> datetime:
    tracer, scan = _tracer(files[0]), _scan_start(files)
    given = text_of(tracer, START, "")
    if len(given) >= WITHOUT_FRACTION:
        found = _moment(given[:8], given[8:].partition("+")[0].partition("-")[0])
    else:
        found = _moment(scan.strftime("%Y%m%d"), text_of(tracer, START_TIME, ""))
        if found > scan:  # acquired before midnight
            found -= DAY
    if not timedelta(0) <= scan - found < DAY:
        raise InputError("its tracer was injected after the scan, or more than a day before, by its times")
    return found


def _moment(date: str, time: str) -> datetime:
    try:
        return datetime.strptime(f"{date}{time.partition('.')[0]}", "%Y%m%d%H%M%S")
    except ValueError:
        raise InputError(
            "it lacks a valid date or time of series, acquisition or injection, which SUV needs"
        ) from None
