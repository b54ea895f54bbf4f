"""Series with awkward names of folders and labels: right in every DICOM object."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from support import awkward  # noqa: E402
from support.awkward import MANY, MARKUP, NAMES, ONE  # noqa: E402
from support.dicom_files import save_series, uid  # noqa: E402
from support.dicom_results import measurements, seg_frames  # noqa: E402

from itk_infer.model.kinds.fake import FakeBackend  # noqa: E402
from itk_infer.predictor import Predictor  # noqa: E402
from itk_infer.run.folder import run_folder  # noqa: E402
from itk_infer.run.settings import RunSettings  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
SAVE = ("dicom_seg", "dicom_sr", "dicom_report", "dicom_pdf")


def images():
    """One voxel in each of three slices: a single slice is no volume."""
    return {**awkward.images(), ONE: np.full((3, 1, 1), 2, np.int16)}


def run(root, save, **options):
    predictor = Predictor(FakeBackend(awkward.network, awkward.model_spec()), orientation="input", **options)
    return run_folder(predictor, RunSettings(root / "in", root / "out", save=save))


@pytest.fixture(scope="module", params=["binary", "labelmap"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("awkward")
    save_series(root / "in" / "slice", awkward.images()[ONE], series="slice", StudyInstanceUID=uid("slice"))
    for stem, array in images().items():
        save_series(
            root / "in" / stem, array, series=stem, StudyInstanceUID=uid(stem), PatientName="O'<b>Neil</b>^Ann"
        )
    done = run(root, ("dicom_seg",), seg_type=request.param)
    assert sorted(done.done) == sorted(awkward.STEMS)
    assert done.failed == {"slice": "it is a single slice, which is no volume; give the whole series"}
    return root / "out"


@pytest.mark.parametrize("stem", awkward.STEMS)
def test_segments(folder, stem):
    seg = pydicom.dcmread(folder / f"{stem}.seg.dcm")
    numbers = {int(item.SegmentNumber): item.SegmentLabel for item in seg.SegmentSequence if item.SegmentNumber}
    assert [numbers[value] for value in range(1, 301)] == NAMES
    expected = images()[stem]
    counts = np.zeros(301, int)
    for frame in seg_frames(folder / f"{stem}.seg.dcm"):
        if frame.segment:
            counts[frame.segment] += np.count_nonzero(frame.pixels)
        else:
            counts += np.bincount(frame.pixels.ravel(), minlength=301)
    np.testing.assert_array_equal(counts[1:], np.bincount(expected.ravel(), minlength=301)[1:])


def test_measurements_and_pages(tmp_path):
    """Every label has its volume, also one that was not found."""
    values = np.where(images()[MANY] == 7, 0, images()[MANY])
    save_series(tmp_path / "in" / MARKUP, values, PatientName="O'<b>Neil</b>^Ann")
    assert run(tmp_path, SAVE).done == [MARKUP]
    groups = measurements(tmp_path / "out" / f"{MARKUP}.sr.dcm")
    counts = np.bincount(values.ravel(), minlength=301)[1:]
    assert sorted(counts)[:2] == [0, 10]
    found = sorted(group["Volume"][0] for group in groups)
    assert found == pytest.approx(sorted(counts * 2.0 * 1.2 * 1.0 / 1000))
    captured = pydicom.dcmread(tmp_path / "out" / f"{MARKUP}.report.dcm")
    assert (captured.Columns, captured.Rows) == (1060, 760)
    assert str(captured.PatientName) == "O'<b>Neil</b>^Ann"
    assert pydicom.dcmread(tmp_path / "out" / f"{MARKUP}.pdf.dcm").EncapsulatedDocument.startswith(b"%PDF")
