"""DICOM objects as outputs of a run: resume, refusals, post-processing, privacy; and one study from end to end."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from support.dicom_files import save_series, voxels  # noqa: E402
from support.dicom_results import complaints, measurements, seg_frames, seg_points  # noqa: E402

from itk_infer.cli.main import main  # noqa: E402
from itk_infer.errors import ConfigError  # noqa: E402
from itk_infer.events import Warned  # noqa: E402
from itk_infer.outputs.registry import OUTPUTS  # noqa: E402
from itk_infer.run.settings import RunSettings  # noqa: E402
from itk_infer.spec import parse_spec  # noqa: E402

ALL = ("dicom_seg", "dicom_sr", "dicom_report", "dicom_pdf")


def two_signs(windows):
    """Label 1 above 60, label 2 from 0 to 60 with a hole, as the network of these tests."""
    return np.concatenate([np.full_like(windows, -0.5), windows - 60, np.zeros_like(windows)], axis=1)


def patient(**attributes):
    return {"PatientName": "Doe^Jane", "PatientBirthDate": "19500102", "PatientSex": "F", **attributes}


def series(folder, shape=(5, 12, 10), **attributes):
    return save_series(folder, voxels(shape, np.int16) - 30, **patient(**attributes))


class TestRun:
    def test_objects_are_made_once_and_missing_ones_again(self, folder):
        series(folder.source / "s")
        assert folder.run(save=ALL).done == ["s"]
        names = ["itk_infer.db", "labels.csv", "s.nii.gz", "s.pdf.dcm", "s.report.dcm", "s.seg.dcm", "s.sr.dcm"]
        assert folder.names() == names
        first = {name: (folder.output / name).read_bytes() for name in names[3:]}
        assert folder.run(save=ALL).skipped == {"s": "already done"}
        (folder.output / "s.sr.dcm").unlink()
        assert folder.run(save=ALL).done == ["s"]
        (note,) = (event.message for event in folder.of(Warned) if "computed again" in event.message)
        assert "its DICOM SR was missing" in note
        assert {name: (folder.output / name).read_bytes() for name in names[3:]} == first

    def test_another_encoding_changes_seg_and_sr_alone(self, folder):
        from itk_infer.model.kinds.fake import FakeBackend
        from itk_infer.predictor import Predictor
        from itk_infer.run.folder import run_folder

        series(folder.source / "s")
        folder.run(save=ALL)
        stamps = {path.name: path.stat().st_mtime_ns for path in folder.output.glob("s.*")}
        first = pydicom.dcmread(folder.output / "s.seg.dcm").SOPInstanceUID
        again = Predictor(FakeBackend(), orientation="LPI", seg_type="labelmap")
        assert run_folder(again, RunSettings(folder.source, folder.output, save=ALL)).done == ["s"]
        changed = {path.name for path in folder.output.glob("s.*") if path.stat().st_mtime_ns != stamps[path.name]}
        assert changed == {"s.seg.dcm", "s.sr.dcm"}
        second = pydicom.dcmread(folder.output / "s.seg.dcm").SOPInstanceUID
        assert second != first
        assert measurements(folder.output / "s.sr.dcm")[0]["segment"][0] == second

    def test_other_series_numbers_change_the_objects_alone(self, folder):
        from itk_infer.model.kinds.fake import FakeBackend
        from itk_infer.predictor import Predictor
        from itk_infer.run.folder import run_folder

        series(folder.source / "s")
        folder.run(save=ALL)

        def numbers():
            found = [pydicom.dcmread(path) for path in sorted(folder.output.glob("*.dcm"))]
            return {ds.Modality: ds.SeriesNumber for ds in found}, {ds.SOPInstanceUID for ds in found}

        first, uids = numbers()
        assert first == {"SEG": 900, "SR": 901, "OT": 902, "DOC": 903}
        stamp = (folder.output / "s.nii.gz").stat().st_mtime_ns
        again = Predictor(FakeBackend(), orientation="LPI", series_number=4500)
        assert run_folder(again, RunSettings(folder.source, folder.output, save=ALL)).done == ["s"]
        second, others = numbers()
        assert second == {"SEG": 4500, "SR": 4501, "OT": 4502, "DOC": 4503}
        assert not uids & others  # an archive must not take them for the earlier ones
        assert (folder.output / "s.nii.gz").stat().st_mtime_ns == stamp

    def test_an_object_that_another_program_changed_is_kept(self, folder):
        series(folder.source / "s")
        folder.run(save=ALL)
        (folder.output / "s.seg.dcm").write_bytes(b"mine")
        (folder.output / "s.sr.dcm").unlink()
        assert folder.run(save=ALL).done == ["s"]
        assert (folder.output / "s.seg.dcm").read_bytes() == b"mine"
        assert any("kept" in event.message for event in folder.of(Warned))

    def test_what_is_no_series_is_refused_before_it_is_computed(self, folder, capfd):
        folder.scan("a.nii.gz")
        series(folder.source / "s")
        called = []

        def function(windows):
            called.append(1)
            return np.concatenate([-windows, windows], axis=1)

        summary = folder.run(function, save=("dicom_seg",), recursive=True)
        assert summary.done == ["s"]
        assert summary.failed == {
            "a.nii.gz": "is not a DICOM series, to which a DICOM SEG refers: give the series, or leave `dicom` out"
        }
        assert len(called) == 1
        assert summary.exit_code == 3

    def test_a_series_without_a_frame_of_reference_is_refused_before_it_is_computed(self, folder):
        series(folder.source / "s", FrameOfReferenceUID="")
        summary = folder.run(lambda windows: 1 / 0, save=("dicom_seg",))
        assert "the FrameOfReferenceUID of 000.dcm is missing or no UID" in summary.failed["s"]
        assert folder.names() == ["itk_infer.db"]

    def test_post_processed_labels_are_those_of_the_objects(self, folder):
        rules = [{"op": "keep_largest", "labels": [1]}]
        spec = parse_spec({"name": "m", "output": {"postprocessing": rules, "labels": [{"value": 1}]}}, "test")
        array = np.zeros((5, 12, 10), np.int16)
        array[1:3, 2:6, 3:7], array[4, 11, 9] = 40, 40
        save_series(folder.source / "s", array, **patient())
        folder.run(lambda windows: np.concatenate([1 - windows, windows - 1], axis=1), spec=spec, save=ALL)
        count = np.count_nonzero(folder.labels("s.nii.gz"))
        assert count == 32
        assert len(seg_points(folder.output / "s.seg.dcm", 1)) == count
        (group,) = measurements(folder.output / "s.sr.dcm")
        assert group["Volume"][0] == pytest.approx(count * 2.0 * 1.2 * 1.0 / 1000)

    @pytest.mark.parametrize("rows", [5, 7, 16])
    @pytest.mark.parametrize("empty", [False, True], ids=["labels", "nothing"])
    def test_pixels_take_an_even_number_of_bytes(self, folder, rows, empty):
        """Unpadded, as OHIF needs it; frames that were added for it are empty ones of the table's labels."""
        array = np.zeros((6, rows, 13), np.int16)
        array[1:4, 1:3, 2:9] = 100
        array[3, 0, :] = 30
        save_series(folder.source / "s", array * (not empty), **patient())
        spec = parse_spec({"output": {"labels": [{"value": 1}, {"value": 2}]}}, "test")

        def function(windows):
            return np.concatenate([np.full_like(windows, 10), windows - 50, 40 - np.abs(windows - 30)], axis=1)

        folder.run(function, spec=spec, save=("dicom_seg",))
        ds = pydicom.dcmread(folder.output / "s.seg.dcm")
        length = -(-ds.NumberOfFrames * ds.Rows * ds.Columns // 8)
        assert len(ds.PixelData) == length
        labels = folder.labels("s.nii.gz")
        assert np.array_equal(np.unique(labels), [0] if empty else [0, 1, 2])
        assert length % 2 == 0
        assert ds.NumberOfFrames < 12  # as all frames of all labels are
        assert ds.NumberOfFrames == 1 or not (empty and rows == 16)
        for number in (1, 2):
            assert len(seg_points(folder.output / "s.seg.dcm", number)) == np.count_nonzero(labels == number)
        assert complaints(folder.output / "s.seg.dcm") == []

    def test_more_labels_than_a_byte_holds(self, folder):
        array = np.arange(300, dtype=np.int16).reshape(3, 10, 10)
        save_series(folder.source / "s", array, **patient())
        spec = parse_spec({"output": {"labels": [{"value": n} for n in range(1, 300)]}}, "test")

        def function(windows):
            return -np.abs(windows - np.arange(300, dtype=np.float32)[:, None, None, None])

        folder.run(function, spec=spec, save=("dicom_seg",))
        frames = seg_frames(folder.output / "s.seg.dcm")
        assert sorted(frame.segment for frame in frames if frame.pixels.sum() == 1) == list(range(1, 300))

    def test_losses_of_the_source_are_noted(self, folder):
        given = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
        series(folder.source / "s", **given, LossyImageCompressionMethod="ISO_10918_1")
        folder.run(save=("dicom_seg",))
        ds = pydicom.dcmread(folder.output / "s.seg.dcm")
        assert ds.LossyImageCompression == "01"
        assert (ds.LossyImageCompressionRatio, ds.LossyImageCompressionMethod) == (12.5, "ISO_10918_1")
        assert complaints(folder.output / "s.seg.dcm") == []

    def test_an_even_number_of_bytes_takes_a_frame_with_room(self):
        from itk_infer.outputs.dicom_seg import _even

        full = np.ones((3, 3, 5), np.uint8)  # 45 bits of one label in all its frames: nothing can be added
        assert _even(full, 1)[0] is full
        segments = full.copy()
        segments[2] = 0  # 30 bits are 4 bytes already
        assert _even(segments, 1)[0] is segments
        segments = np.ones((3, 3, 4), np.uint8)  # 36 bits are 5 bytes; label 2 has no free voxel in any plane
        assert _even(segments, 2)[0] is segments
        segments[1, 0, 0] = 0  # now it has in one
        further, kept = _even(segments, 2)
        assert kept is segments
        assert further[1, 0, 0] == 2
        assert np.count_nonzero(further != segments) == 1

    def test_uptake_values_have_their_unit(self, folder):
        from itk_infer.spec.series_rule import parse_rules

        given = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT", "Units": "GML"}
        series(folder.source / "s", **given)
        rules = parse_rules({"all": [{"Modality": "PT"}], "values": "SUVbw"}, "rule")
        folder.run(save=("dicom_seg", "dicom_sr"), series=rules)
        (group,) = measurements(folder.output / "s.sr.dcm")
        values = voxels((5, 12, 10), np.int16) - 30
        assert group["SUVbw"] == (pytest.approx(values[values > 0].mean(), rel=1e-6), "g/ml{SUVbw}")
        assert complaints(folder.output / "s.sr.dcm") == []


class TestText:
    def test_names_of_labels_beyond_ascii(self, folder):
        series(folder.source / "s", PatientName="Müller^Jürgen", SpecificCharacterSet="ISO_IR 100")
        labels = [{"value": 1, "name": "œdème: cœur\\droit", "code": "Мозг"}]
        folder.run(spec=parse_spec({"name": "modèle œ", "output": {"labels": labels}}, "test"), save=ALL)
        for name in ("seg", "sr", "report", "pdf"):
            ds = pydicom.dcmread(folder.output / f"s.{name}.dcm")
            assert ds.SpecificCharacterSet == "ISO_IR 192"
            assert ds.PatientName == "Müller^Jürgen"
            assert ds.SeriesDescription == "itk_infer modèle œ"
            assert complaints(folder.output / f"s.{name}.dcm") == []
        (segment,) = pydicom.dcmread(folder.output / "s.seg.dcm").SegmentSequence
        assert segment.SegmentLabel == "œdème: cœur/droit"
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Мозг"
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99ITKINFER"

    def test_what_the_library_refuses_is_an_error_without_values(self, folder, monkeypatch):
        import highdicom.seg

        def refuse(*given, **more):
            raise ValueError("Unable to convert 'Doe^Jane'")

        monkeypatch.setattr(highdicom.seg, "Segmentation", refuse)
        series(folder.source / "s")
        (reason,) = folder.run(save=("dicom_seg",)).failed.values()
        assert "cannot be made of this series (ValueError in highdicom)" in reason
        assert "Doe" not in reason
        assert folder.names() == ["itk_infer.db"]

    @pytest.mark.parametrize("name", ["axial", "wrong-charset", "unknown-charset"])
    def test_nothing_of_the_patient_is_anywhere_else(self, folder, shared, capfd, name):
        """In no message, event, name or file but the objects, which are the patient's."""
        cases = shared / "dicom" / "cases"
        canaries = json.loads((cases / "expected.json").read_text("utf-8"))["canaries"].values()
        shutil.copytree(cases / name, folder.source / name)
        assert folder.run(lambda w: np.concatenate([1300 - w, w - 1300], axis=1), save=ALL).exit_code == 0
        printed = capfd.readouterr()
        said = [printed.out, printed.err, *map(repr, folder.events), *folder.names()]
        others = [path.read_bytes() for path in folder.output.iterdir() if path.suffix != ".dcm"]
        everything = b"".join([*(text.encode("utf-8", "replace") for text in said), *others])
        assert not [canary for canary in canaries if canary.encode() in everything]
        assert b"Canary" not in everything
        assert b"CANARY-4711" in (folder.output / f"{name}.seg.dcm").read_bytes()


class TestReport:
    def test_the_picture_is_a_secondary_capture(self, folder):
        series(folder.source / "s")
        folder.run(save=(*ALL, "report_picture"))
        from PIL import Image

        ds = pydicom.dcmread(folder.output / "s.report.dcm")
        drawn = np.asarray(Image.open(folder.output / "s.report.png").convert("RGB"))
        assert ds.pixel_array.shape == drawn.shape
        # All but the title, which names the case in the one and the model in the other, and the time.
        same = ~np.any(ds.pixel_array != drawn, axis=-1)
        assert same[34:350].all()
        assert same.mean() > 0.99
        assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert (ds.BurnedInAnnotation, ds.ConversionType, ds.Modality) == ("NO", "WSD", "OT")
        assert ds.PatientName == "Doe^Jane"
        assert complaints(folder.output / "s.report.dcm") == []

    def test_the_page_is_a_document(self, folder):
        series(folder.source / "s")
        folder.run(save=ALL)
        ds = pydicom.dcmread(folder.output / "s.pdf.dcm")
        assert ds.SOPClassUID.name == "Encapsulated PDF Storage"
        assert (ds.Modality, ds.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
        document = ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]
        assert document.startswith(b"%PDF-")
        assert document.rstrip().endswith(b"%%EOF")
        assert ds.PatientName == "Doe^Jane"
        assert complaints(folder.output / "s.pdf.dcm") == []


class TestRequests:
    def test_an_sr_needs_its_seg(self, tmp_path):
        with pytest.raises(ConfigError, match="`dicom=sr`: a DICOM SR refers to the DICOM SEG .* `dicom=seg,sr`"):
            RunSettings(tmp_path, tmp_path, save=("dicom_sr",))

    def test_without_the_library_nothing_is_begun(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "highdicom", None)
        with pytest.raises(
            ConfigError, match=r"`dicom` needs the package highdicom: pip install 'itk_infer\[dicom\]'"
        ):
            RunSettings(tmp_path, tmp_path, save=("dicom_seg",))

    @pytest.mark.parametrize("given", ["", "seg,foo", "SEG"])
    def test_what_is_no_list_of_objects_is_a_usage_error(self, given, tmp_path, capfd):
        arguments = ["-i", str(tmp_path), "-o", str(tmp_path / "o"), "-m", "m.onnx", "--dicom", given]
        assert main(arguments) == 2
        assert "a list of seg, sr, report, pdf, separated by commas" in capfd.readouterr().err

    def test_what_asks_for_them(self):
        assert [OUTPUTS[name].request for name in ALL] == [
            "--dicom seg",
            "--dicom sr",
            "--dicom report",
            "--dicom pdf",
        ]
        assert OUTPUTS["logits"].request == "--save-logits"

    def test_a_dry_run_names_what_will_be_refused(self, folder, shared, capfd):
        series(folder.source / "s", FrameOfReferenceUID="")
        folder.scan("a.nii.gz")
        model = shared / "dicom" / "formula_box.onnx"
        arguments = [
            "-i",
            folder.source,
            "-o",
            folder.output,
            "-m",
            model,
            "--dicom",
            "seg",
            "--dry-run",
            "--recursive",
        ]
        assert main([str(word) for word in arguments]) == 0
        printed = capfd.readouterr().out
        assert "will fail: the FrameOfReferenceUID" in printed
        assert "a.nii.gz  fail: is not a DICOM series" in printed
        assert "leave --dicom out" in printed


@pytest.fixture(scope="module")
def study(shared, configs, tmp_path_factory):
    """The hippocampus study through the command line with the demo model, and what it printed."""
    folder = shared / "dicom" / "study"
    output = tmp_path_factory.mktemp("study")
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    rule = output / "rule.json"
    rule.write_text(json.dumps(expected["cases"]["hippocampus-study"]["rule"]), "utf-8")
    model = configs.parent / "itk_infer" / "demo" / "hippocampus_unet.onnx"
    words = ["-i", folder / "hippocampus-study", "-o", output / "out", "-m", model, "--dicom", "seg,sr,report"]
    words += ["--series", rule, "--progress", "none"]
    assert main([str(word) for word in words]) == 0
    return output / "out"


def test_a_study_from_dicom_to_dicom(study, shared):
    """Volumes of the demo network, measured before there was this program (shared/data/dicom)."""
    pytest.importorskip("onnxruntime")
    anterior, posterior = measurements(study / "4_HCropVolume.sr.dcm")
    assert anterior["Volume"] == (pytest.approx(1.743, rel=0.02), "ml")
    assert posterior["Volume"] == (pytest.approx(1.943, rel=0.02), "ml")
    assert anterior["Finding"] == posterior["Finding"] == "Hippocampus"
    assert "MR signal intensity" in anterior
    seg = study / "4_HCropVolume.seg.dcm"
    spacing = np.prod([1.0, 1.0, 1.0])
    for number, group in enumerate((anterior, posterior), 1):
        assert len(seg_points(seg, number)) * spacing / 1000 == pytest.approx(group["Volume"][0], rel=1e-3)
    ds = pydicom.dcmread(seg)
    assert len(ds.PixelData) == -(-ds.NumberOfFrames * ds.Rows * ds.Columns // 8)  # unpadded
    for kind in ("seg", "sr", "report"):
        assert complaints(study / f"4_HCropVolume.{kind}.dcm") == []


def test_the_seg_of_a_study_agrees_with_its_manual_labels(study, shared):
    import SimpleITK as sitk

    manual = sitk.ReadImage(str(shared / "dicom" / "study" / "hippocampus-study_labels.nii.gz"))
    array = sitk.GetArrayFromImage(manual)
    for number in (1, 2):
        points = seg_points(study / "4_HCropVolume.seg.dcm", number)
        indices = [manual.TransformPhysicalPointToIndex([float(v) for v in point])[::-1] for point in points]
        hits = sum(int(array[index] == number) for index in indices)
        assert 2 * hits / (len(points) + np.count_nonzero(array == number)) > 0.87
    every = np.concatenate([seg_points(study / "4_HCropVolume.seg.dcm", number) for number in (1, 2)])
    hits = sum(
        int(array[manual.TransformPhysicalPointToIndex([float(v) for v in point])[::-1]] > 0) for point in every
    )
    assert 2 * hits / (len(every) + np.count_nonzero(array)) > 0.9


def test_our_own_results_are_no_input(study, tmp_path, shared):
    from itk_infer.run.cases import find_cases
    from itk_infer.spec import InputSpec

    shutil.copytree(shared / "dicom" / "cases" / "axial", tmp_path / "axial")
    for path in study.glob("*.dcm"):
        shutil.copy(path, tmp_path / "axial")
    found = find_cases(tmp_path, None, recursive=False, wanted=InputSpec())
    assert [case.problem for case in found.cases] == [None]
    assert len(found.passed) == 3
