"""SUVbw by hand: 370 MBq of fluorine-18 (6586.2 s), one hour before the scan, 70 kg."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydicom")
from pydicom.dataset import Dataset
from support.dicom_files import save_series, voxels

from itk_infer.case.images import volume_of_images
from itk_infer.errors import InputError, SpecError
from itk_infer.run.cases import find_cases
from itk_infer.spec import InputSpec
from itk_infer.spec.series_rule import parse_rules
from itk_infer.volume.dicom.reading import read_series, series_sha256

RULE = {"all": [{"Modality": "PT"}], "values": "SUVbw"}
AN_HOUR_LATER = 370e6 * 2 ** (-3600 / 6586.2)


def tracer(**given):
    item = Dataset()
    given = {
        "RadiopharmaceuticalStartTime": "081500",
        "RadionuclideTotalDose": 370e6,
        "RadionuclideHalfLife": 6586.2,
    } | given
    for keyword, value in given.items():
        if value is not None:
            setattr(item, keyword, value)
    return [item]


def pet(folder, **attributes):
    given = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": "70",
        "SeriesDate": "20240229",
        "SeriesTime": "091500.25",
        "AcquisitionDate": "20240229",
        "AcquisitionTime": "091500",
        "RescaleSlope": "100.5",
        "RescaleIntercept": "0",
        "RadiopharmaceuticalInformationSequence": tracer(),
        **attributes,
    }
    return save_series(folder, voxels(), **{key: value for key, value in given.items() if value is not None})


FAULTS = {
    "no PET": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "not a PET series"),
    "mixed units": ({"Units": ["BQML", "GML", "GML", "GML", "GML"]}, "different Units"),
    "lean body mass": ({"Units": "GML", "SUVType": "LBM"}, "another type"),
    "counts": ({"Units": "CNTS"}, "factor of Philips"),
    "other units": ({"Units": "PROPCPS"}, "neither BQML"),
    "uncorrected": ({"CorrectedImage": ["DECY"]}, "not corrected for attenuation"),
    "no weight": ({"PatientWeight": None}, "no valid PatientWeight"),
    "weight 0": ({"PatientWeight": "0"}, "no valid PatientWeight"),
    "no decay correction": ({"DecayCorrection": "NONE"}, "DecayCorrection is neither"),
    "no tracer": ({"RadiopharmaceuticalInformationSequence": None}, "one radiopharmaceutical"),
    "no dose": (
        {"RadiopharmaceuticalInformationSequence": tracer(RadionuclideTotalDose=None)},
        "RadionuclideTotalDose",
    ),
    "half-life 0": (
        {"RadiopharmaceuticalInformationSequence": tracer(RadionuclideHalfLife=0)},
        "RadionuclideHalfLife",
    ),
    "no injection": (
        {"RadiopharmaceuticalInformationSequence": tracer(RadiopharmaceuticalStartTime=None)},
        "date or time",
    ),
    "injected the day before": (
        {"RadiopharmaceuticalInformationSequence": tracer(RadiopharmaceuticalStartDateTime="20240228081500")},
        "more than a day before",
    ),
}


def case_of(folder, rule=RULE):
    (case,) = find_cases(folder, None, recursive=False, wanted=InputSpec(series=parse_rules(rule, "rule"))).cases
    return case


@pytest.mark.parametrize(
    ("attributes", "factor"),
    [
        pytest.param({}, 70_000 / AN_HOUR_LATER, id="START"),
        pytest.param({"DecayCorrection": "ADMIN"}, 70_000 / 370e6, id="ADMIN"),
        pytest.param({"SeriesTime": "120000"}, 70_000 / AN_HOUR_LATER, id="derived later"),
        pytest.param(
            {
                "RadiopharmaceuticalInformationSequence": tracer(
                    RadiopharmaceuticalStartDateTime="20240229081500.00+0100"
                )
            },
            70_000 / AN_HOUR_LATER,
            id="date and time",
        ),
        pytest.param(
            {
                "RadiopharmaceuticalInformationSequence": tracer(RadiopharmaceuticalStartTime="233000"),
                "SeriesTime": "003000",
                "AcquisitionTime": "003000",
            },
            70_000 / AN_HOUR_LATER,
            id="before midnight",
        ),
        pytest.param({"Units": "GML"}, 1, id="SUV already"),
    ],
)
def test_values(tmp_path, attributes, factor):
    pet(tmp_path / "s", **attributes)
    case = case_of(tmp_path)
    assert case.problem is None
    volume = read_series(case.series[0])
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, voxels() * 100.5 * factor, rtol=1e-5)
    assert volume.stack.values == "SUVbw"
    assert volume.sha256 == series_sha256(case.series[0])
    stored = case_of(tmp_path, {"Modality": "PT"})
    assert read_series(stored.series[0]).sha256 != volume.sha256  # another input for the ledger
    assert stored.series[0].stamp() != case.series[0].stamp()


def test_counts_of_philips(tmp_path):
    for path in pet(tmp_path / "s", Units="CNTS"):
        import pydicom

        ds = pydicom.dcmread(path)
        ds.add_new(0x70530010, "LO", "Philips PET Private Group")
        ds.add_new(0x70531000, "DS", "0.000351")
        ds.save_as(path)
    np.testing.assert_allclose(
        read_series(case_of(tmp_path).series[0]).array, voxels() * 100.5 * 0.000351, rtol=1e-5
    )


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_missing_is_said_before_anything_is_computed(tmp_path, name):
    attributes, says = FAULTS[name]
    pet(tmp_path / "s", **attributes)
    problem = case_of(tmp_path, {"all": [{"Modality": "PT"}], "values": "SUVbw"}).problem
    assert says in problem
    with pytest.raises(InputError, match=says):
        volume_of_images(tmp_path, parse_rules(RULE, "rule"))
    assert case_of(tmp_path, {"Modality": "PT"}).problem is None


def test_the_rule_is_read_back_and_checked():
    (rule,) = parse_rules(RULE, "rule")
    assert rule.values == "SUVbw"
    assert parse_rules(rule.document(), "again") == (rule,)
    assert "values" not in parse_rules({"Modality": "PT"}, "rule")[0].document()
    with pytest.raises(SpecError, match="stored or SUVbw"):
        parse_rules({"values": "SUVlbm"}, "rule")
