"""Folders of pictures: which files are a case, what a run writes of them, and what is refused before it is computed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from itk_infer.case.case import Case
from itk_infer.errors import ConfigError
from itk_infer.run.cases import find_cases
from itk_infer.run.destination import with_destination
from itk_infer.run.ledger import Ledger
from itk_infer.run.picture_cases import picture_cases
from itk_infer.run.settings import RunSettings
from itk_infer.spec import InputSpec, parse_spec
from itk_infer.volume.pictures import read_label_picture

RANDOM = np.random.default_rng(4)
PAIR = [{"value": 1, "name": "dark"}, {"value": 2, "name": "bright"}]
GREY = {
    "input": {"dimensions": 2, "intensity": [{"op": "standardize", "mean": 100, "std": 1}]},
    "output": {"labels": PAIR[:1]},
}
CHANNELS = ("a", "b", "c")


def picture(path, channels=1, shape=(12, 15), dtype=np.uint8):
    """A picture of noise; a PNG, whatever its ending."""
    size = shape if channels == 1 else (*shape, channels)
    array = RANDOM.integers(0, 200, size).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, format="PNG")
    return array


def grey_spec(**output):
    return parse_spec({**GREY, "output": {**GREY["output"], **output}}, "test")


def two_labels():
    return parse_spec({"input": GREY["input"], "output": {"decision": "threshold", "labels": PAIR}}, "test")


def both(windows):
    """Dark below 100, bright above 150, in logits."""
    return np.concatenate([-windows, windows - 50], axis=1)


def names(cases):
    return [(case.stem, len(case.paths)) for case in cases]


def listed(folder, files, **wanted):
    cases = [
        Case(PurePosixPath("."), name.rpartition(".")[0], f".{name.rpartition('.')[2]}", (folder / name,))
        for name in files
    ]
    return picture_cases(cases, InputSpec(**wanted))


class TestCases:
    def test_a_picture_holds_its_channels(self, tmp_path):
        picture(tmp_path / "a.png", 3)
        assert names(listed(tmp_path, ["a.png"], channels=CHANNELS)) == [("a", 1)]

    def test_grey_files_numbered_as_channels_are_one_picture(self, tmp_path):
        files = [f"{case}_{number:04d}.png" for case in "pq" for number in range(3)]
        for name in files:
            picture(tmp_path / name)
        assert names(listed(tmp_path, files, channels=CHANNELS)) == [("p", 3), ("q", 3)]

    @pytest.mark.parametrize("channels", [1, 3], ids=["as many frames", "colours"])
    def test_numbered_frames_are_pictures(self, tmp_path, channels):
        """Of a model of three channels: more files than channels, or as many in colour."""
        files = [f"f_{number:04d}.png" for number in range(3 if channels == 3 else 4)]
        for name in files:
            picture(tmp_path / name, channels)
        found = listed(tmp_path, files, channels=CHANNELS)
        assert names(found) == [(name[:-4], 1) for name in files]

    def test_a_year_is_no_channel(self, tmp_path):
        assert names(listed(tmp_path, ["slide_2024.png"], channels=CHANNELS)) == [("slide_2024", 1)]

    def test_names_of_nnu_net(self, tmp_path):
        files = ["p_0000.png", "q_0000.png"]
        for name in files:
            picture(tmp_path / name, 3)
        assert names(listed(tmp_path, files, channels=CHANNELS, numbered_files=True)) == [("p", 1), ("q", 1)]
        assert names(listed(tmp_path, files, channels=CHANNELS)) == [("p_0000", 1), ("q_0000", 1)]

    def test_a_damaged_channel_is_still_one(self, tmp_path):
        for number in range(3):
            (tmp_path / f"p_{number:04d}.png").write_bytes(b"nothing")
        files = [f"p_{number:04d}.png" for number in range(3)]
        assert names(listed(tmp_path, files, channels=CHANNELS)) == [("p", 3)]

    def test_beside_volumes_they_are_passed_over_by_models_of_volumes(self, folder):
        folder.scan("scan.mha")
        picture(folder.source / "preview.png")
        np.save(folder.source / "features.npy", np.zeros((4, 4)))
        flat = find_cases(folder.source, None, recursive=False, wanted=InputSpec(dimensions=2))
        assert [case.name for case in flat.cases] == ["features.npy", "preview.png", "scan.mha"]
        deep = find_cases(folder.source, None, recursive=False, wanted=InputSpec())
        assert [case.name for case in deep.cases] == ["scan.mha"]
        assert [item.name for item in deep.passed] == ["features.npy", "preview.png"]

    def test_alone_they_are_cases_of_any_model(self, folder):
        picture(folder.source / "a.png")
        assert len(find_cases(folder.source, None, recursive=False, wanted=InputSpec()).cases) == 1

    def test_one_channel_that_was_named_stands_for_all_others_for_themselves(self, folder):
        for number in range(3):
            picture(folder.source / f"p_{number:04d}.png")
        one = folder.source / "p_0001.png"
        wanted = InputSpec(channels=CHANNELS, dimensions=2)
        assert names(find_cases(one, None, recursive=False, wanted=wanted).cases) == [("p", 3)]
        wanted = InputSpec(channels=CHANNELS[:2], dimensions=2)
        assert names(find_cases(one, None, recursive=False, wanted=wanted).cases) == [("p_0001", 1)]

    def test_a_preview_does_not_hide_a_study_below(self, tmp_path):
        pytest.importorskip("pydicom")
        from support.dicom_files import save_series, voxels

        place = {"position": [(0.0, 0.0, float(k)) for k in range(4)], "spacing": (1.0, 1.0)}
        save_series(tmp_path / "p1" / "T1", voxels((4, 5, 6), np.int16), series="T1", **place)
        picture(tmp_path / "preview.png")
        found = find_cases(tmp_path, None, recursive=False, wanted=InputSpec())
        assert [len(found.cases), found.cases[0].suffix, found.passed[0].name] == [1, "", "preview.png"]


class TestRun:
    @pytest.mark.parametrize(
        ("name", "mask"),
        [("a.png", "a.png"), ("a.jpg", "a.png"), ("a.BMP", "a.png"), ("a.npy", "a.npy"), ("a.npz", "a.npy")],
    )
    def test_the_mask_is_of_the_kind_of_the_picture(self, folder, name, mask):
        array = picture(folder.source / "a.png")
        if name != "a.png":
            (folder.source / "a.png").unlink()
            if name.endswith("npy"):
                np.save(folder.source / name, array)
            elif name.endswith("npz"):
                np.savez(folder.source / name, array)
            else:
                picture_of = Image.fromarray(array)
                picture_of.save(folder.source / name, format="BMP" if "BMP" in name else "JPEG", quality=100)
        assert folder.run(spec=grey_spec()).done == [name.lower()]
        np.testing.assert_allclose(read_label_picture(folder.output / mask)[0], array > 100, atol=name == "a.jpg")

    def test_pages(self, folder):
        tifffile = pytest.importorskip("tifffile")
        pages = RANDOM.integers(0, 200, (3, 12, 15)).astype(np.uint8)
        tifffile.imwrite(folder.source / "a.tiff", pages, photometric="minisblack")
        assert folder.run(spec=grey_spec()).done == ["a.tiff"]
        np.testing.assert_array_equal(tifffile.imread(folder.output / "a.tif"), pages > 100)
        assert "3 pages are taken as planes along Z" in str(folder.events)
        assert "has 3; save the pages" in folder.run(spec=grey_spec(), format="png").failed["a.tiff"]
        assert "is of one page" in folder.run(spec=grey_spec(), save=("overlays",)).failed["a.tiff"]

    def test_orientation_turns_no_picture(self, folder):
        array = picture(folder.source / "a.png")
        spec = parse_spec({**GREY, "input": {**GREY["input"], "orientation": "RAS"}}, "test")
        folder.run(spec=spec, orientation="RAS")
        np.testing.assert_array_equal(read_label_picture(folder.output / "a.png")[0], array > 100)

    def test_all_outputs_and_a_second_run(self, folder):
        pytest.importorskip("pycocotools")
        pytest.importorskip("tifffile")
        array = picture(folder.source / "a.png", shape=(30, 40))
        save = ("overlays", "contours", "palettes", "probabilities", "probability_pages", "probability_png")
        save += ("yolo", "pictures", "coco", "coco_polygons")
        assert folder.run(both, spec=two_labels(), save=save).done == ["a.png"]
        endings = ("overlay.png", "contours.png", "palette.png", "probabilities.npz", "probabilities.tif")
        endings += ("probability.png", "txt", "pictures.png", "png")
        tables = ["coco-polygons.json", "coco.json", "itk_infer.db", "labels.csv"]
        assert folder.names() == sorted([*(f"a.{ending}" for ending in endings), *tables])
        labels = np.where(array > 150, 2, array < 100).astype(np.uint8)
        np.testing.assert_array_equal(read_label_picture(folder.output / "a.png")[0], labels)
        before = {path: path.stat().st_mtime_ns for path in folder.output.iterdir() if path.suffix != ".db"}
        assert folder.run(both, spec=two_labels(), save=save).skipped == {"a.png": "already done"}
        assert before == {path: path.stat().st_mtime_ns for path in before}
        with closing(Ledger(folder.output, read_only=True)) as ledger:
            assert ledger.outputs()["a.overlay.png"].kind == "overlays"

    def test_results_are_no_input(self, folder):
        picture(folder.source / "a.png")
        folder.run(spec=grey_spec(), save=("overlays",))
        (folder.output / "itk_infer.db").unlink()
        picture(folder.output / "b.png")
        found = find_cases(folder.output, None, recursive=False, wanted=InputSpec(dimensions=2))
        assert [case.name for case in found.cases] == ["b.png"]
        assert [item.name for item in found.passed] == ["a.overlay.png", "a.png"]

    def test_a_plane_for_a_model_of_deep_windows_is_doubted(self, folder):
        picture(folder.source / "a.png")
        spec = parse_spec({"window": {"patch_size": [8, 8, 8]}, "output": {"labels": PAIR[:1]}}, "test")
        folder.run(spec=spec)
        assert "is one plane, and the model's windows are 8 planes deep" in str(folder.events)

    def test_colours_for_a_grey_model_are_told(self, folder):
        picture(folder.source / "a.png", 3)
        folder.run(spec=grey_spec())
        assert "its colours were made grey" in str(folder.events)

    def test_shares_of_white(self, folder):
        """The same picture in 8 and 16 bits, and as floats."""
        array = picture(folder.source / "a.png")
        Image.fromarray(array.astype(np.uint16) * 257).save(folder.source / "b.png")
        np.save(folder.source / "c.npy", (array / 255).astype(np.float32))
        np.save(folder.source / "d.npy", array.astype(np.int16))
        given = {"dimensions": 2, "values": "unit", "intensity": [{"op": "standardize", "mean": 0.5, "std": 1}]}
        spec = parse_spec({"input": given, "output": GREY["output"]}, "test")
        failed = folder.run(spec=spec).failed
        assert list(failed) == ["d.npy"]
        assert "signed integers (int16)" in failed["d.npy"]
        for name in ("a.png", "b.png", "c.npy"):
            np.testing.assert_array_equal(read_label_picture(folder.output / name)[0], array > 127)

    def test_channels_that_do_not_fit_fail_alone(self, folder):
        picture(folder.source / "a.png")
        np.save(folder.source / "b.npy", np.zeros((4, 12, 15), np.uint8))
        summary = folder.run(spec=grey_spec())
        assert summary.done == ["a.png"]
        assert "has 4 channels, and the model takes 1" in summary.failed["b.npy"]

    def test_volumes_have_no_pictures(self, folder):
        folder.scan("a.mha")
        assert "this is a volume" in folder.run(format="png").failed["a.mha"]
        assert "this is a volume" in folder.run(save=("yolo",)).failed["a.mha"]

    def test_a_spacing_beside_a_tiff_counts(self, folder):
        tifffile = pytest.importorskip("tifffile")
        pages = np.full((2, 10, 10), 200, np.uint8)
        tifffile.imwrite(folder.source / "a_0000.tif", pages, photometric="minisblack")
        (folder.source / "a.json").write_text('{"spacing": [5, 2, 1]}')
        folder.run(spec=grey_spec())
        with closing(Ledger(folder.output, read_only=True)) as ledger:
            (record,) = ledger.cases().values()
        assert record.results["findings"][0]["volume_ml"] == 2.0  # 200 pixels of 10 cubic millimetres

    def test_one_file(self, folder):
        array = picture(folder.source / "a.png")
        settings = with_destination(RunSettings(folder.source / "a.png", folder.output / "mask.png"))
        assert (settings.file_name, settings.format) == ("mask.png", "png")
        folder.scan("b.mha")
        with pytest.raises(ConfigError, match="without patient coordinates"):
            with_destination(RunSettings(folder.source / "b.mha", folder.output / "mask.png"))
        assert array.shape == (12, 15)


def test_an_output_whose_package_is_missing_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("itk_infer.outputs.output_kind.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"`coco` needs the package pycocotools: pip install 'itk_infer\[images\]'"
    ):
        RunSettings(tmp_path, tmp_path, save=("coco",))


def test_the_polygons_say_what_they_lose(folder):
    picture(folder.source / "a.png")
    folder.run(spec=grey_spec(), save=("coco_polygons",))
    document = json.loads((folder.output / "coco-polygons.json").read_text("utf-8"))
    assert "lose the holes" in document["info"]["description"]
