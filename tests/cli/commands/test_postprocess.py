from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from support.folders import Folder

from itk_infer.cli.main import main
from itk_infer.spec import parse_spec

CUBE = np.ones((3, 3, 3))


@pytest.fixture
def masks(tmp_path, monkeypatch):
    """Two masks with a stray voxel each, a label table, and rules."""
    folder = tmp_path / "masks"
    (folder / "below").mkdir(parents=True)
    for name in ("a.nii.gz", "b.mha", "below/c.nrrd"):
        array = np.zeros((4, 5, 6), np.uint8)
        array[1:3, 1:4, 1:3] = 1
        array[0, 0, 5] = 1
        array[3, 4, 5] = 2
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.5, 2.0, 1.0))
        image.SetOrigin((3, 4, 5))
        sitk.WriteImage(image, str(folder / name))
    (folder / "labels.csv").write_text("LabelValue,Name,Color_R\n1,liver,1\n2,spleen,2\n")
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "keep_largest", "labels": ["liver"]}]))
    monkeypatch.chdir(tmp_path)
    return folder


def run(*words, code=0):
    assert main(["postprocess", "masks", "-o", "out", "--postprocess", "rules.json", *words]) == code


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_folder(masks, tmp_path, capsys):
    before = {path: path.read_bytes() for path in masks.rglob("*.*")}
    run()
    assert capsys.readouterr().out.splitlines() == [
        "a.nii.gz: rule 1 keep_largest: liver 13 to 12 voxels",
        "b.mha: rule 1 keep_largest: liver 13 to 12 voxels",
        "2 done, 0 kept, 0 failed",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "b.mha"]
    for name in ("a.nii.gz", "b.mha"):
        expected = array(masks / name)
        expected[0, 0, 5] = 0
        np.testing.assert_array_equal(array(tmp_path / "out" / name), expected)
        image, given = sitk.ReadImage(str(tmp_path / "out" / name)), sitk.ReadImage(str(masks / name))
        np.testing.assert_allclose(image.GetSpacing(), given.GetSpacing())
        np.testing.assert_allclose(image.GetOrigin(), given.GetOrigin())
    assert {path: path.read_bytes() for path in masks.rglob("*.*")} == before


def test_what_is_there_stays(masks, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.nii.gz").write_text("mine")
    run()
    assert "a.nii.gz is there already; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.nii.gz").read_text() == "mine"
    run("--overwrite")
    assert array(tmp_path / "out" / "a.nii.gz").any()


def test_sub_folders_and_single_files(masks, tmp_path, capsys):
    run("--recursive")
    assert array(tmp_path / "out" / "below" / "c.nrrd").any()
    assert main(["postprocess", "masks/b.mha", "-o", "one", "--postprocess", "rules.json"]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["b.mha"]


def test_one_that_fails_stops_no_other(masks, tmp_path, capsys):
    (masks / "a.nii.gz").write_bytes(b"no image")
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 2, 2), 0.5, np.float32)), str(masks / "b.mha"))
    run(code=4)
    error = capsys.readouterr().err
    assert "a.nii.gz: failed: " in error
    assert "b.mha: failed: its values are not whole numbers from 0 to 65535" in error
    run("--recursive", code=3)


def test_values_and_names(masks, tmp_path, capsys):
    (masks / "labels.csv").unlink()
    run(code=4)
    assert "there is no label 'liver'; there are 1 (label 1), 2 (label 2)" in capsys.readouterr().err
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "keep_largest", "labels": [1, 7]}]))
    run()
    (tmp_path / "names.csv").write_text("LabelValue,Name\n0,background\n1,heart\n")
    run("--labels", "names.csv", code=2)
    assert "there is no label 7; there are 1 (heart)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["Value,Name\n1,a\n", "LabelValue,Name\nx,a\n", "LabelValue,Name\n70000,a\n"])
def test_a_table_that_is_none(masks, text, capsys):
    (masks / "labels.csv").write_text(text)
    run(code=2)


def test_folders_that_cannot_be_used(masks, tmp_path, capsys):
    assert main(["postprocess", "masks", "-o", "masks", "--postprocess", "rules.json"]) == 2
    assert main(["postprocess", "absent", "-o", "out", "--postprocess", "rules.json"]) == 2
    assert main(["postprocess", "masks", "-o", "out", "--postprocess", "absent.json"]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["postprocess", "empty", "-o", "out", "--postprocess", "rules.json"]) == 6


def test_what_is_no_segmentation_of_slicer(masks, capsys):
    (masks / "b.mha").rename(masks / "b.seg.nrrd")
    run(code=3)
    assert "b.seg.nrrd: failed" in capsys.readouterr().err


def overlapping(seed=0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, 8, 9, 10)), (0, 1.5, 1.5, 1.5))
    masks = (smooth > 0.3 * smooth.std()) ^ (rng.random(smooth.shape) < 0.02)
    masks[:, :2] = False
    masks[:, 0, 0, 0] = True
    return masks


def largest(mask, structure=CUBE):
    parts, _ = ndimage.label(mask, structure)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def write_segmentation(path, layers, segments):
    """A file as 3D Slicer writes it; segments are (name, layer, value)."""
    image = sitk.Compose([sitk.GetImageFromArray(layer.astype(np.uint8)) for layer in layers])
    image = image if len(layers) > 1 else sitk.VectorIndexSelectionCast(image, 0)
    image.SetSpacing((0.5, 2.0, 1.0))
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    for number, (name, layer, value) in enumerate(segments):
        for key, text in {"ID": f"id {number}", "Name": name, "Layer": layer, "LabelValue": value}.items():
            image.SetMetaData(f"Segment{number}_{key}", str(text))
        image.SetMetaData(f"Segment{number}_Extent", "0 3 0 3 0 3")
    sitk.WriteImage(image, str(path), useCompression=True)


def read_segmentation(path):
    """Masks by name."""
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array = array if array.ndim == 4 else array[..., None]
    found = {}
    while image.HasMetaDataKey(f"Segment{len(found)}_ID"):
        name, layer, value, whole = (
            image.GetMetaData(f"Segment{len(found)}_{key}") for key in ("Name", "Layer", "LabelValue", "Extent")
        )
        assert whole == "0 9 0 8 0 7"
        assert image.GetMetaData(f"Segment{len(found)}_ID") == f"id {len(found)}"
        found[name] = array[..., int(layer)] == int(value)
    assert image.GetMetaData("Segmentation_MasterRepresentation") == "Binary labelmap"
    assert image.GetMetaData("itk_infer_postprocessed")
    assert image.GetSpacing() == (0.5, 2.0, 1.0)
    return found


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 1, 1)])
def test_segments_that_overlap(masks, tmp_path, values, capsys):
    """Each by itself, whatever values the layers use; closing makes two of one layer overlap."""
    one, two, three = overlapping()
    apart = three & ~two
    segments = [("whole", 0, values[0]), ('co,re "x"', 1, values[1]), ("rest", 2, values[2])]
    write_segmentation(masks / "b.seg.nrrd", [one * values[0], two * values[1], apart * values[2]], segments)
    (tmp_path / "rules.json").write_text(
        json.dumps([{"op": "keep_largest", "labels": ["whole", 'co,re "x"']}, {"op": "close", "mm": 2.1}])
    )
    assert main(["postprocess", "masks/b.seg.nrrd", "-o", "out", "--postprocess", "rules.json"]) == 0
    assert 'rule 1 keep_largest: co,re "x"' in capsys.readouterr().out

    def closed(mask):
        padded = np.pad(mask, 8)
        near = ndimage.distance_transform_edt(~padded, (1.0, 2.0, 0.5)) <= 2.1
        return (ndimage.distance_transform_edt(near, (1.0, 2.0, 0.5)) > 2.1)[8:-8, 8:-8, 8:-8]

    found = read_segmentation(tmp_path / "out/b.seg.nrrd")
    assert list(found) == ["whole", 'co,re "x"', "rest"]
    for mask, expected in zip(found.values(), (largest(one), largest(two), apart), strict=True):
        np.testing.assert_array_equal(mask, closed(expected))


def test_segments_of_one_layer_become_apart_where_they_must(masks, tmp_path):
    one, two, three = overlapping(1)
    segments = [("a", 0, 1), ("b", 0, 2), ("c", 1, 1)]
    two = two & ~one
    write_segmentation(masks / "b.seg.nrrd", [one + 2 * two, three], segments)
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "close", "mm": 2.1, "labels": ["a", "b"]}]))
    assert main(["postprocess", "masks/b.seg.nrrd", "-o", "out", "--postprocess", "rules.json"]) == 0
    found = read_segmentation(tmp_path / "out/b.seg.nrrd")
    assert (found["a"] & found["b"]).any()
    assert (found["a"] >= one).all()
    assert (found["b"] >= two).all()
    np.testing.assert_array_equal(found["c"], three)


def test_segments_of_a_single_layer_are_a_label_map(masks, tmp_path):
    """What a rule adds to one takes no voxel of another."""
    one, two, _ = overlapping(2)
    two = two & ~one
    write_segmentation(masks / "b.seg.nrrd", [one + 2 * two], [("liver", 0, 1), ("spleen", 0, 2)])
    sitk.WriteImage(sitk.ReadImage(str(masks / "b.seg.nrrd")), str(masks / "plain.mha"))
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "close", "mm": 2.1}, {"op": "keep_largest"}]))
    run()
    found = read_segmentation(tmp_path / "out/b.seg.nrrd")
    plain = array(tmp_path / "out/plain.mha")
    np.testing.assert_array_equal(found["liver"], plain == 1)
    np.testing.assert_array_equal(found["spleen"], plain == 2)


@pytest.mark.parametrize("named", [True, False])
def test_a_file_with_one_mask_per_label(masks, tmp_path, named, capsys):
    """It is found in a folder, too; names are those of the table, in its order."""
    arrays = overlapping(3)[:2]
    image = sitk.JoinSeries([sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in arrays])
    sitk.WriteImage(image, str(masks / "a_channels.nii.gz"))
    if not named:
        (masks / "labels.csv").unlink()
        (tmp_path / "rules.json").write_text(json.dumps([{"op": "keep_largest", "labels": [1]}]))
    run()
    name = "liver" if named else "label 1"
    assert f"a_channels.nii.gz: rule 1 keep_largest: {name}" in capsys.readouterr().out
    found = array(tmp_path / "out/a_channels.nii.gz")
    np.testing.assert_array_equal(found, np.stack([largest(arrays[0]), arrays[1]]))


def test_files_of_masks_that_cannot_be_used(masks, capsys):
    volume = sitk.GetImageFromArray(np.full((3, 4, 5), 3, np.uint8))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(masks / "four.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries([volume * 0] * 3), str(masks / "three_channels.nii.gz"))
    write_segmentation(masks / "gap.seg.nrrd", [np.full((3, 4, 5), 7)], [("a", 0, 1)])
    write_segmentation(masks / "layer.seg.nrrd", [np.ones((3, 4, 5))], [("a", 4, 1)])
    sitk.WriteImage(volume, str(masks / "none.seg.nrrd"))
    (masks / "torn.seg.nrrd").write_bytes((masks / "gap.seg.nrrd").read_bytes()[:-30])
    run(code=3)
    err = capsys.readouterr().err
    for words in (
        "four.nii.gz: failed: volume 1 holds other values than 0 and 1",
        "three_channels.nii.gz: failed: has 3 volumes, and the label table 2 labels",
        "gap.seg.nrrd: failed: holds values that belong to no segment",
        "layer.seg.nrrd: failed: has no layer 4",
        "none.seg.nrrd: failed: has no segments of 3D Slicer",
        "torn.seg.nrrd: failed: ",
    ):
        assert words in err


def test_names_are_those_of_the_run_that_made_the_masks(tmp_path, monkeypatch, capsys):
    """labels.csv has an apostrophe for each quotation mark, and is sorted; volumes are in the order of the spec."""
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path)
    scan = folder.scan("a.mha")
    labels = [{"value": 4, "name": 'high, "core"', "channel": 1}, {"value": 1, "name": "low", "channel": 0}]
    spec = parse_spec({"output": {"decision": "threshold", "labels": labels}}, "spec")
    both = lambda windows: np.concatenate([windows[:, :1] + 30, windows[:, :1] - 20], axis=1)  # noqa: E731
    assert folder.run(both, spec=spec, save=("channel_masks",)).done == ["a.mha"]
    Path("rules.json").write_text(
        json.dumps([{"op": "keep_largest", "labels": ['high, "core"'], "connectivity": 6}])
    )
    assert main(["postprocess", str(folder.output), "-o", "clean", "--postprocess", "rules.json"]) == 0
    out = capsys.readouterr().out
    assert 'a_channels.nii.gz: rule 1 keep_largest: high, "core"' in out
    found = array("clean/a_channels.nii.gz")
    np.testing.assert_array_equal(found, np.stack([largest(scan > 20, None), scan > -30]))
