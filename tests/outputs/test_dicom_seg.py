"""SEG and SR of the forty series: the box lies where the formula puts it, read back by others than what wrote it."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from support.dicom_results import complaints, measurements, seg_frames, seg_points, tool  # noqa: E402

from itk_infer.model.kinds.fake import FakeBackend  # noqa: E402
from itk_infer.predictor import Predictor  # noqa: E402
from itk_infer.run.folder import run_folder  # noqa: E402
from itk_infer.run.settings import RunSettings  # noqa: E402
from itk_infer.spec import parse_spec  # noqa: E402

ACCEPTED = (
    "axial", "column-negated", "coronal", "empty-tags", "enhanced-multiframe", "implicit-vr",
    "instance-numbers-shuffled", "jitter", "jpeg-2000", "jpeg-ls", "junk-files", "localizer-inside", "no-extension",
    "oblique-double", "per-slice-rescale", "prone", "reversed", "rle", "sagittal", "same-file-twice",
    "signs-differ", "tags-contradict-positions", "unknown-charset", "wrong-charset",
)  # fmt: skip
SPEC = {
    "name": "box",
    "version": "1",
    "output": {
        "labels": [
            {"value": 3, "name": "nothing"},
            {
                "value": 7,
                "name": "box",
                "color": "#e6194b",
                "code": {"type": "Hippocampus", "modifier": "Anterior", "side": "Left"},
                "channel": 2,
            },
            {"value": 0, "channel": 0},
        ],
    },
}
SPEC["output"]["labels"][0]["channel"] = 1
BOX = 2  # its segment


def box_of(windows):
    box = windows - 1299.5
    return np.concatenate([-box, np.full_like(box, -1e6), box], axis=1)


@pytest.fixture(scope="module")
def cases(shared):
    return shared / "dicom" / "cases"


@pytest.fixture(scope="module")
def expected(cases):
    return json.loads((cases / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def results(cases, tmp_path_factory):
    """Segments a case once, and gives the folder of its results and its name."""
    done = {}

    def run(name, **options):
        key = name, *options.items()
        if key not in done:
            output = tmp_path_factory.mktemp("results")
            predictor = Predictor(FakeBackend(box_of, parse_spec(SPEC, "test")), **options)
            summary = run_folder(predictor, RunSettings(cases / name, output, save=("dicom_seg", "dicom_sr")))
            (case,) = summary.done
            done[key] = output / case
        return done[key]

    return run


def part(case, kind):
    return case.with_name(f"{case.name}.{kind}.dcm")


def in_box(points, expected):
    low, high = (np.array(corner) for corner in expected["box_lps"])
    return bool(((points >= low - 1e-3) & (points <= high + 1e-3)).all())


def slices_of(folder):
    """Position and SOP class of every slice by SOPInstanceUID and frame, of the files that are images."""
    found = {}
    for path in folder.rglob("*"):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:
            continue
        if "PerFrameFunctionalGroupsSequence" in ds:
            for index, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
                found[ds.SOPInstanceUID, index] = item.PlanePositionSequence[0].ImagePositionPatient
        elif "ImagePositionPatient" in ds:
            found[ds.SOPInstanceUID, 0] = ds.ImagePositionPatient
    return found


@pytest.mark.filterwarnings("ignore")  # pydicom's, about what is wrong in the source
@pytest.mark.parametrize("name", ACCEPTED)
def test_the_segment_is_the_box_on_the_frames_of_the_series(name, cases, expected, results):
    about, case = expected["cases"][name], results(name)
    points = seg_points(part(case, "seg"), BOX)
    assert len(points) == about["box_voxels"]
    assert in_box(points, expected)
    assert not len(seg_points(part(case, "seg"), 1))
    slices = slices_of(cases / name)
    for frame in seg_frames(part(case, "seg")):
        np.testing.assert_allclose(np.array(slices[frame.source], float), frame.position, atol=1e-4)
    nothing, box = measurements(part(case, "sr"))
    assert nothing["Volume"] == (0.0, "ml")
    exact = 1e-6 if name != "jitter" else 1e-4  # its slices are up to 4 micrometres off an even grid
    assert box["Volume"] == (pytest.approx(about["box_ml"], rel=exact), "ml")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["axial", "oblique-double", "reversed", "per-slice-rescale", "enhanced-multiframe"]
)
def test_as_one_label_map(name, expected, results):
    about, case = expected["cases"][name], results(name, seg_type="labelmap")
    assert pydicom.dcmread(part(case, "seg")).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    points = seg_points(part(case, "seg"), BOX)
    assert len(points) == about["box_voxels"]
    assert in_box(points, expected)


@pytest.mark.parametrize("orientation", ["LPI", "RAS", "input"])
def test_the_orientation_of_the_label_map_does_not_matter(orientation, expected, results):
    points = seg_points(part(results("oblique-double", orientation=orientation), "seg"), BOX)
    assert len(points) == expected["cases"]["oblique-double"]["box_voxels"]
    assert in_box(points, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ACCEPTED)
def test_patient_and_study_are_those_of_the_series(name, cases, results):
    """As bytes, so that names in wrong character sets stay what they are."""
    case, source = results(name), None
    made = [pydicom.dcmread(part(case, kind)) for kind in ("seg", "sr")]
    for path in sorted((cases / name).rglob("*")):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:
            continue
        if "PatientID" in ds and "Rows" in ds:
            source = ds
            break
    for ds in made:
        assert ds.StudyInstanceUID == source.StudyInstanceUID
        assert ds.SeriesInstanceUID != source.SeriesInstanceUID
        for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyID"):
            given = source.get_item(keyword)
            raw = (given.value or b"") if given is not None else b""
            assert ds.get_item(keyword).value.strip() == raw.strip(), keyword
        assert ds.SeriesDescription == "itk_infer box"
        assert "InstanceCreationDate" not in ds
    assert made[0].FrameOfReferenceUID == source.FrameOfReferenceUID


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["axial", "enhanced-multiframe", "wrong-charset", "unknown-charset", "empty-tags"]
)
def test_a_validator_finds_nothing_wrong(name, results):
    for kind in ("seg", "sr"):
        assert complaints(part(results(name), kind)) == []


def test_another_reader_of_reports_reads_it(results):
    done = subprocess.run(
        [tool("dsrdump"), str(part(results("axial"), "sr"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr.strip() == ""
    assert '"Volume")="1.4112" (ml,UCUM,"milliliter")' in done.stdout
    assert "Hippocampus" in done.stdout


def test_labels_are_segments_with_codes_and_colours(results):
    nothing, box = pydicom.dcmread(part(results("axial"), "seg")).SegmentSequence
    assert (nothing.SegmentNumber, nothing.SegmentLabel) == (1, "nothing")
    assert nothing.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    (kind,) = box.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("5366008", "SCT")
    assert [m.CodeMeaning for m in kind.SegmentedPropertyTypeModifierCodeSequence] == ["Anterior", "Left"]
    assert box.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    group = measurements(part(results("axial"), "sr"))[1]
    assert (group["Finding"], group["Finding Site"], group["Tracking Identifier"]) == ("Hippocampus",) * 2 + (
        "box",
    )
    assert group["segment"] == (pydicom.dcmread(part(results("axial"), "seg")).SOPInstanceUID, BOX)


@pytest.mark.filterwarnings("ignore")
def test_mean_values_have_the_unit_of_the_series(cases, results, expected):
    formula = expected["formula"]
    points = seg_points(part(results("axial"), "seg"), BOX)
    mean = np.round(formula["base"] + points @ np.array(formula["per_mm_lps"]) + formula["box_add"]).mean()
    group = measurements(part(results("axial"), "sr"))[1]
    assert group["Attenuation Coefficient"] == (pytest.approx(mean, abs=0.01), "[hnsf'U]")
    group = measurements(part(results("per-slice-rescale"), "sr"))[1]
    assert group["Mean intensity"] == (pytest.approx(mean, abs=0.6), "Bq/ml")


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_the_same_work_gives_the_same_bytes(cases, results, tmp_path, seg_type):
    first = results("axial", seg_type=seg_type)
    spec = parse_spec(SPEC, "test")
    for name, function in (("same", box_of), ("other", lambda windows: box_of(windows - 350))):
        predictor = Predictor(FakeBackend(function, spec), seg_type=seg_type)
        settings = RunSettings(cases / "axial", tmp_path / name, save=("dicom_seg", "dicom_sr"))
        assert run_folder(predictor, settings).exit_code == 0
    uids = set()
    for kind in ("seg", "sr"):
        again = (tmp_path / "same" / f"axial.{kind}.dcm").read_bytes()
        assert again == part(first, kind).read_bytes()
        uids |= {pydicom.dcmread(path / f"axial.{kind}.dcm").SOPInstanceUID for path in tmp_path.iterdir()}
    assert len(uids) == 4  # other labels, other objects
    assert all(uid.startswith("2.25.") and len(uid) <= 44 for uid in uids)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["axial", "oblique-double", "sagittal", "enhanced-multiframe"])
@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_dcmqi_reads_the_segmentation_back(name, seg_type, results, expected, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    source = part(results(name, seg_type=seg_type), "seg")
    arguments = ["--inputDICOM", source, "--outputDirectory", tmp_path, "-t", "nrrd", "--mergeSegments"]
    subprocess.run([tool("segimage2itkimage"), *map(str, arguments)], capture_output=True, check=True)
    (image,) = (sitk.ReadImage(str(path)) for path in tmp_path.glob("*.nrrd"))
    array = sitk.GetArrayFromImage(image)
    indices = np.argwhere(array == BOX)
    assert len(indices) == np.count_nonzero(array) == expected["cases"][name]["box_voxels"]
    points = np.array([image.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]]) for index in indices])
    assert in_box(points, expected)
    about = json.loads(next(tmp_path.glob("*.json")).read_text("utf-8"))
    segments = [segment for group in about["segmentAttributes"] for segment in group]
    box = next(segment for segment in segments if segment["labelID"] == BOX)
    assert box["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "5366008"
    assert np.abs(np.array(box["recommendedDisplayRGBValue"]) - (0xE6, 0x19, 0x4B)).max() <= 2


def test_dcmqi_reads_the_report_back(results, tmp_path):
    path = tmp_path / "report.json"
    source = part(results("axial"), "sr")
    arguments = ["--inputDICOM", source, "--outputMetadata", path]
    subprocess.run([tool("tid1500reader"), *map(str, arguments)], capture_output=True, check=True)
    groups = json.loads(path.read_text("utf-8"))["Measurements"]
    box = next(group for group in groups if group["TrackingIdentifier"] == "box")
    (volume,) = (item for item in box["measurementItems"] if item["quantity"]["CodeMeaning"] == "Volume")
    assert float(volume["value"]) == pytest.approx(1.4112)
    assert box["segmentationSOPInstanceUID"] == pydicom.dcmread(part(results("axial"), "seg")).SOPInstanceUID
    assert box["ReferencedSegment"] == BOX


@pytest.mark.parametrize("name", ["axial", "sagittal", "reversed"])
def test_labels_that_overlap_are_whole_segments(name, cases, expected, tmp_path):
    """Of the box, the whole, and every second slice of it, which is painted over the whole."""
    spec = {
        "name": "overlap",
        "output": {
            "decision": "threshold",
            "labels": [
                {"value": 1, "name": "whole"},
                {"value": 2, "name": "half"},
                {"value": 3, "name": "nothing"},
            ],
        },
    }

    def two(windows):
        box = windows - 1299.5
        half = box.copy()
        half[..., ::2] = -1
        return np.concatenate([box, half, np.full_like(box, -1)], axis=1)

    def written(seg_type):
        predictor = Predictor(FakeBackend(two, parse_spec(spec, "test")), seg_type=seg_type)
        settings = RunSettings(cases / name, tmp_path / seg_type, save=("dicom_seg", "dicom_sr"))
        (case,) = run_folder(predictor, settings).done
        return tmp_path / seg_type / case

    binary, labelmap = written("binary"), written("labelmap")
    whole, half = (
        {tuple(point) for point in seg_points(part(binary, "seg"), number).round(3)} for number in (1, 2)
    )
    assert len(whole) == expected["cases"][name]["box_voxels"]
    assert in_box(np.array(list(whole)), expected)
    assert set() < half < whole
    assert pydicom.dcmread(part(binary, "seg")).SegmentsOverlap == "YES"
    assert not len(seg_points(part(binary, "seg"), 3))
    # In one map, what both have is the later one's.
    assert len(seg_points(part(labelmap, "seg"), 1)) == len(whole) - len(half)
    assert len(seg_points(part(labelmap, "seg"), 2)) == len(half)
    volumes = [measurements(part(case, "sr"))[0]["Volume"][0] for case in (binary, labelmap)]
    assert volumes[0] == pytest.approx(volumes[1] * len(whole) / (len(whole) - len(half)), rel=1e-4)
