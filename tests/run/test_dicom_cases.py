"""DICOM series as cases of a run: names, resume, what is passed over, and nothing of the patient anywhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from support.dicom_files import save, save_series, slice_of, voxels
from support.folders import write_scan

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError, NoInputError
from itk_infer.events import Warned
from itk_infer.run.cases import find_cases
from itk_infer.run.series_table import series_table
from itk_infer.spec import InputSpec
from itk_infer.spec.series_rule import parse_rules
from itk_infer.volume.dicom.series_files import SeriesFiles


def find(source, *, recursive=False, rule=None, channels=1, **options):
    wanted = InputSpec(("",) * channels, series=parse_rules(rule, "rule") if rule else ())
    return find_cases(source, None, recursive=recursive, wanted=wanted, **options)


def names(source, **options):
    return [case.name for case in find(source, **options).cases]


def problem(source, **options):
    (case,) = find(source, **options).cases
    return case.problem


class TestNames:
    def test_a_series_is_named_after_its_folder_at_any_depth(self, tmp_path):
        save_series(tmp_path / "a" / "b" / "c", voxels(), study="1")
        save_series(tmp_path / "d", voxels(), study="2")
        assert names(tmp_path) == ["a/b/c", "d"]
        assert names(tmp_path / "d") == ["d"]

    def test_two_series_in_a_folder_have_their_numbers(self, tmp_path):
        save_series(tmp_path / "a" / "x", voxels(), study="1", SeriesNumber=3)
        for path in (tmp_path / "a" / "x").iterdir():
            path.rename(tmp_path / "a" / f"x{path.name}")
        save_series(tmp_path / "a", voxels(), study="2", SeriesNumber=4)
        assert names(tmp_path) == ["a_S3", "a_S4"]

    def test_equal_names_are_told_apart(self, tmp_path):
        for study in ("1", "2"):
            save_series(tmp_path / f"s{study}", voxels(), study=study)
        found = names(tmp_path, case_name="{PatientID}_{StudyDate}")
        assert len(set(found)) == 2
        assert all(name.startswith("P1_20240229_") for name in found)

    def test_tags_only_where_they_are_asked_for_and_fit_for_a_file(self, tmp_path):
        save_series(tmp_path / "s", voxels(), PatientID="../../x y", AccessionNumber="")
        assert names(tmp_path, case_name="{PatientID}-{AccessionNumber}") == ["x-y-no-AccessionNumber"]
        for template in ("{Patient}", "name"):
            with pytest.raises(ConfigError, match="case_name"):
                find(tmp_path, case_name=template)

    def test_beside_volumes(self, tmp_path):
        write_scan(tmp_path / "a.nii.gz")
        save_series(tmp_path / "a", voxels(), study="1")
        for path in (tmp_path / "a").iterdir():
            path.rename(tmp_path / path.name)
        assert names(tmp_path) == ["a.nii.gz", tmp_path.name]
        save_series(tmp_path / "b", voxels(), study="2")
        assert names(tmp_path, recursive=True) == ["a.nii.gz", "b", tmp_path.name]
        write_scan(tmp_path / "b.nii.gz")
        clash = [case.problem for case in find(tmp_path, recursive=True).cases if case.name.startswith("b")]
        assert all("would write the same outputs" in words for words in clash)

    def test_one_file_of_many_frames(self, tmp_path, shared):
        source = next((shared / "dicom" / "cases" / "enhanced-multiframe").iterdir())
        path = shutil.copy(source, tmp_path / "volume.dcm")
        assert names(path) == ["volume"]


class TestChoice:
    def test_rules(self, tmp_path):
        save_series(tmp_path / "thin", voxels((9, 4, 4)), series="thin", SeriesDescription="T1 thin")
        thick = [(0.0, 0.0, 5.0 * k) for k in range(5)]
        save_series(tmp_path / "thick", voxels(), series="thick", position=thick, SeriesDescription="T1 thick +C")
        for rule, expected in (
            ({"SeriesDescription": "THIN"}, "thin"),
            ({"slices": {"min": 9}}, "thin"),
            ({"spacing": {"min": 4, "max": 6}}, "thick"),
            ({"extent_mm": {"min": 20}}, "thick"),
            ({"contrast": True}, "thick"),
            ({"0008,103E": "thick"}, "thick"),
            ({"all": [{"plane": "axial"}], "prefer": ["thinnest"]}, "thin"),
            ({"all": [{"Modality": "CT"}], "prefer": ["most_slices"]}, "thin"),
            ({"any": [{"SeriesDescription": "FLAIR"}, {"SeriesDescription": "thick"}]}, "thick"),
            ({"ImageType": {"has": "axial"}, "SliceThickness": {"max": 2}}, None),
            ({"SeriesNumber": 8}, None),
        ):
            (case,) = find(tmp_path, rule=rule).cases
            assert case.name == (expected or tmp_path.name), rule
        assert "SeriesNumber is 8" in problem(tmp_path, rule={"SeriesNumber": 8})
        assert "2 series of its study fit the rule" in problem(tmp_path, rule={"Modality": "CT"})
        assert "'T1 thin' (CT, 9 axial slices of 2 mm)" in problem(tmp_path)

    def test_a_rule_for_each_channel(self, tmp_path):
        for name in ("T1", "T2"):
            save_series(tmp_path / name, voxels(), series=name, SeriesDescription=name)
        rules = [{"SeriesDescription": "T2"}, {"SeriesDescription": "T1"}]
        (case,) = find(tmp_path, rule=rules, channels=2).cases
        assert case.problem is None
        assert [path.name for path in case.paths] == ["T2", "T1"]
        assert "takes 2 channels" in problem(tmp_path, channels=2)
        with pytest.raises(ConfigError, match="holds 2 rules"):
            find(tmp_path, rule=rules)

    def test_a_series_per_slice_gets_a_hint(self, tmp_path):
        for k in range(6):
            save(slice_of(k, voxels()[0], series=str(k)), tmp_path / f"{k}.dcm")
        found = find(tmp_path, rule={"SeriesNumber": 7, "slices": 1}).cases
        assert "fit the rule" in found[0].problem
        table = series_table(tmp_path)
        assert {row.state for row in table.rows} == {"refused"}
        assert "each has a SeriesInstanceUID of its own" in table.rows[0].verdict

    def test_a_damaged_file_beside_a_series_may_be_one_of_its_slices(self, tmp_path):
        paths = save_series(tmp_path / "s", voxels())
        paths[-1].write_bytes(paths[-1].read_bytes()[:300])
        assert "004.dcm, beside its files, is damaged" in problem(tmp_path)
        paths[-1].write_bytes(b"")
        assert "004.dcm, beside its files, is damaged or empty" in problem(tmp_path)
        paths[-1].unlink()
        assert problem(tmp_path) is None

    def test_only_what_is_never_segmented(self, tmp_path):
        save_series(tmp_path, voxels(), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
        with pytest.raises(NoInputError, match="set aside 1 DICOM series that is no case: 000.dcm"):
            find(tmp_path)


class TestRun:
    def test_results_are_reused_until_a_slice_changes(self, folder):
        array = voxels(dtype=np.int16)
        paths = save_series(folder.source / "a" / "scan", array)
        assert folder.run().done == ["a/scan"]
        assert (folder.output / "a" / "scan.nii.gz").exists()
        assert np.count_nonzero(folder.labels("a/scan.nii.gz")) == np.count_nonzero(array > 0)
        assert folder.run().skipped == {"a/scan": "already done"}
        for path in paths:  # the same content under other names
            path.rename(path.with_suffix(".x"))
        assert folder.run().skipped == {"a/scan": "already done"}
        save(slice_of(4, array[4] + 1, series="series"), folder.source / "a" / "scan" / "004.x")
        assert folder.run().done == ["a/scan"]
        assert any("another input" in event.message for event in folder.of(Warned))
        save(slice_of(5, array[0]), folder.source / "a" / "scan" / "late.dcm")
        assert folder.run().done == ["a/scan"]
        assert folder.labels("a/scan.nii.gz").shape == (6, 12, 10)

    def test_a_bad_series_fails_alone(self, folder):
        save_series(folder.source / "good", voxels(), study="1")
        save_series(folder.source / "bad", voxels(), study="2", position=[(0.0, 0.0, 0.0)] * 5)
        summary = folder.run()
        assert summary.done == ["good"]
        assert "5 slices lie at one position" in summary.failed["bad"]
        assert summary.exit_code == 3

    def test_a_series_that_changes_meanwhile_is_refused(self, folder):
        paths = save_series(folder.source / "s", voxels())
        (case,) = find(folder.source).cases
        paths[2].unlink()
        from itk_infer.errors import InputError
        from itk_infer.executors.reading import read_case, reading_memory

        with pytest.raises((InputError, OSError)):
            read_case(case)
        assert reading_memory(case) is None

    def test_names_of_partial_files_are_swept_in_sub_folders(self, folder):
        save_series(folder.source / "a" / "scan", voxels())
        folder.run()
        left = folder.output / "a" / ".partial-0123456789ab.scan.nii.gz"
        left.write_bytes(b"half")
        folder.run()
        assert not left.exists()


def test_the_python_api_takes_a_folder(tmp_path):
    from itk_infer.errors import InputError
    from itk_infer.model.kinds.fake import FakeBackend
    from itk_infer.predictor import Predictor
    from itk_infer.spec import parse_spec

    array = voxels(dtype=np.int16)
    save_series(tmp_path / "T1", array, series="T1", SeriesDescription="T1")
    result = Predictor(FakeBackend())(tmp_path / "T1")
    assert result.labels.GetSize() == (10, 12, 5)
    save_series(tmp_path / "T2", array, series="T2", SeriesDescription="T2")
    with pytest.raises(InputError, match="2 series that may be meant"):
        Predictor(FakeBackend())(tmp_path)
    with_rule = FakeBackend(spec=parse_spec({"input": {"series": {"SeriesDescription": "T2"}}}, "test"))
    assert Predictor(with_rule)(tmp_path).labels.GetSize() == (10, 12, 5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no DICOM series"):
        Predictor(FakeBackend())(tmp_path / "empty")


def test_stamps_change_with_any_file(tmp_path):
    paths = save_series(tmp_path, voxels())
    series = SeriesFiles(tuple(paths))
    before = series.stamp()
    assert series.stamp() == before
    shutil.copy(paths[1], tmp_path / "copy")
    (tmp_path / "copy").replace(paths[1])
    assert series.stamp() != before


@pytest.fixture(scope="module")
def network(shared):
    return shared / "dicom" / "formula_box.onnx"


ACCEPTED = (
    "axial",
    "coronal",
    "oblique-double",
    "column-negated",
    "per-slice-rescale",
    "enhanced-multiframe",
    "jpeg-ls",
)


@pytest.mark.parametrize("name", ACCEPTED)
def test_from_dicom_to_label_map(name, shared, network, tmp_path):
    import SimpleITK as sitk

    cases = shared / "dicom" / "cases"
    expected = json.loads((cases / "expected.json").read_text("utf-8"))
    assert (
        main(["-i", str(cases / name), "-o", str(tmp_path / "o"), "-m", str(network), "--progress", "none"]) == 0
    )
    labels = sitk.ReadImage(str(tmp_path / "o" / f"{name}.nii.gz"))
    box = np.argwhere(sitk.GetArrayFromImage(labels) > 0)
    assert len(box) == expected["cases"][name]["box_voxels"]
    points = np.array([labels.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]]) for index in box])
    low, high = np.array(expected["box_lps"])
    assert ((points >= low - 1e-3) & (points <= high + 1e-3)).all()


def test_nothing_of_a_patient_is_written_or_said(shared, network, tmp_path, capfd):
    """Names of the fixture's patient, in no file, name, event or message of a run, good or refused."""
    cases = shared / "dicom" / "cases"
    expected = json.loads((cases / "expected.json").read_text("utf-8"))
    canaries = [value.encode() for value in expected["canaries"].values()] + [b"20240229", b"Canary", b"CANARY"]
    for name in (
        "axial",
        "duplicate-positions",
        "hospital-study",
        "no-series-uid",
        "tilt",
        "two-patients",
        "wrong-charset",
    ):
        main(
            [
                "-i",
                str(cases / name),
                "-o",
                str(tmp_path / name),
                "-m",
                str(network),
                "--progress",
                "json",
                "--verbose",
            ]
        )
        main(["series", str(cases / name), "--json"])
    said = "".join(capfd.readouterr()).encode()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) > 10
    for canary in canaries:
        assert canary not in said
        assert not [path for path, data in written.items() if canary in data or canary in str(path).encode()]


def test_the_demo_network_on_the_hippocampus_study(shared, tmp_path, capfd):
    demo = next((shared / "demo").glob("*.onnx"), None)
    if demo is None:
        pytest.skip("the demo network is not there")
    rule = tmp_path / "rule.json"
    rule.write_text('{"series": {"SeriesDescription": "HippoCrop"}}')
    study = shared / "dicom" / "study"
    about = json.loads((study / "expected.json").read_text("utf-8"))["cases"]["hippocampus-study"][
        "demo_network_ml"
    ]
    command = ["-i", str(study / "hippocampus-study"), "-o", str(tmp_path / "o"), "-m", str(demo)]
    assert main([*command, "--series", str(rule), "--progress", "json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    volumes = next(event["volumes_ml"] for event in events if event["event"] == "case_done")
    assert volumes["anterior hippocampus"] == pytest.approx(about["1"], rel=0.02)
    assert volumes["posterior hippocampus"] == pytest.approx(about["2"], rel=0.02)
