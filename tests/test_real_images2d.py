"""Real pictures and networks: shared/data/images2d and what its README says of them, through the command line."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from itk_infer.cli.main import main
from itk_infer.predictor import Predictor
from itk_infer.run.ledger import Ledger
from itk_infer.volume.pictures import read_picture

pytest.importorskip("onnxruntime")
FOLDS = tuple(f"nuclei_unet_fold{number}" for number in range(3))
FIRST = "fluorescence_5b0bde"


@pytest.fixture(scope="module")
def data(shared):
    return shared / "images2d"


@pytest.fixture(scope="module")
def expected(data):
    return json.loads((data / "expected" / "expected.json").read_text("utf-8"))


def model(data, name):
    return data / "models" / f"{name}.onnx"


def spec(data, name=FOLDS[0]):
    return data / "models" / f"{name}.images2d.json"


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    """The output folder of the ensemble over all pictures."""
    pytest.importorskip("pycocotools")
    output = tmp_path_factory.mktemp("ensemble")
    members = [part for name in FOLDS for part in ("-m", str(model(data, name)))]
    options = ["--spec", str(spec(data)), "--device", "cpu", "--quiet", "--coco", "--probabilities"]
    assert main(["-i", str(data / "images"), "-o", str(output), *members, *options]) == 0
    return output


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def pooled_dice(pairs):
    both, sizes = 0, 0
    for mask, truth in pairs:
        both += np.count_nonzero(mask & truth)
        sizes += np.count_nonzero(mask) + np.count_nonzero(truth)
    return 2 * both / sizes


def test_masks_are_those_of_the_ensemble(data, expected, results):
    pairs = []
    for name, about in expected["images"].items():
        mask, truth = read(results / f"{name}.png") > 0, read(data / "truth" / f"{name}.png") > 0
        np.testing.assert_array_equal(mask, read(data / "expected" / "masks" / f"{name}.png") > 0, err_msg=name)
        assert mask.sum() == about["ensemble"]["pixels_at_half"]
        pairs.append((mask, truth))
    assert pooled_dice(pairs) == pytest.approx(0.925, abs=0.001)


def test_probabilities_of_the_ensemble(data, results):
    with (
        np.load(results / f"{FIRST}.probabilities.npz") as found,
        np.load(data / "expected" / f"probabilities_{FIRST}.npz") as known,
    ):
        np.testing.assert_allclose(found["probabilities"][0], known["ensemble"], atol=1e-3)


# Of pycocotools with NumPy 2, when it decodes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_back_equal(data, results):
    """By pycocotools: every mask of the folder, and the objects of one picture as they were stored by another program."""
    from pycocotools import mask as masks
    from pycocotools.coco import COCO

    coco = COCO(results / "coco.json")
    for image in coco.loadImgs(coco.getImgIds()):
        parts = [coco.annToMask(a) for a in coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))]
        np.testing.assert_array_equal(np.any(parts, axis=0), read(results / image["file_name"]) > 0)
    (image,) = (one for one in coco.loadImgs(coco.getImgIds()) if one["file_name"] == f"{FIRST}.png")
    found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
    stored = json.loads((data / "expected" / f"coco_{FIRST}.json").read_text("utf-8"))["annotations"]

    def key(item):
        return item["bbox"], item["area"], masks.decode(item["segmentation"]).tobytes()

    assert sorted(map(key, found)) == sorted(map(key, stored))


@pytest.mark.parametrize(("fold", "dice"), list(zip(FOLDS, (0.923, 0.920, 0.926))), ids=FOLDS)
def test_one_fold(data, expected, fold, dice):
    predictor = Predictor.load(model(data, fold), spec=spec(data, fold), device="cpu")
    pairs = []
    for name, about in expected["images"].items():
        mask = predictor(data / "images" / f"{name}.png").array > 0
        assert mask.sum() == pytest.approx(about[fold]["pixels_at_half"], rel=0.002)
        pairs.append((mask, read(data / "truth" / f"{name}.png") > 0))
    assert pooled_dice(pairs) == pytest.approx(dice, abs=0.001)


def test_three_classes(data, expected):
    name = "nuclei_unet_3class"
    predictor = Predictor.load(model(data, name), spec=spec(data, name), device="cpu")
    for image, about in expected["images"].items():
        counts = np.bincount(predictor(data / "images" / f"{image}.png").array.ravel(), minlength=3)
        np.testing.assert_allclose(counts, about[name]["pixels"], rtol=0.002, atol=3, err_msg=image)


def test_letterbox(data, expected, tmp_path):
    """Longest side to 192, antialiased, padded with 0; probabilities back, then decided."""
    document = json.loads(spec(data).read_text("utf-8"))
    document["input"] |= {"size": [192, 192], "resampling": {"aspect": "fit", "antialias": True}}
    document["input"]["padding"] = {"mode": "constant", "value": 0}
    document["output"]["resample"] = "probabilities"
    path = tmp_path / "letterbox.json"
    path.write_text(json.dumps(document), "utf-8")
    predictor = Predictor.load(model(data, FOLDS[0]), spec=path, device="cpu")
    for name, about in expected["images"].items():
        mask = predictor(data / "images" / f"{name}.png").array > 0
        known = about["letterbox_192"][FOLDS[0]]
        truth = read(data / "truth" / f"{name}.png") > 0
        assert mask.sum() == pytest.approx(known["pixels_at_half"], rel=0.002)
        assert pooled_dice([(mask, truth)]) == pytest.approx(known["dice_at_half"], abs=0.002)


def test_tiles_see_no_more_than_a_tile(data):
    """Windows of 128 pixels: nearly the same mask, in pieces that overlap."""
    options = {"spec": spec(data), "patch_size": (1, 128, 128), "device": "cpu"}
    path = data / "images" / "fluorescence_0d2bf9.png"
    tiles = Predictor.load(model(data, FOLDS[0]), **options)(path)
    whole = Predictor.load(model(data, FOLDS[0]), spec=spec(data), device="cpu")(path)
    assert (tiles.measurements.windows, whole.measurements.windows) == (25, 1)
    assert pooled_dice([(tiles.array > 0, whole.array > 0)]) > 0.98


def test_all_files_of_formats(data, tmp_path):
    """Right, or refused with a sentence, as the README says: each in a folder of its own, as many share their stem.

    Same pictures give the same masks, whatever file they were stored in.
    """
    pytest.importorskip("tifffile")
    listed = json.loads((data / "formats" / "formats.json").read_text("utf-8"))
    source, output = tmp_path / "in", tmp_path / "out"
    for name in listed:
        folder = source / name.replace(".", "_")
        folder.mkdir(parents=True)
        shutil.copyfile(data / "formats" / name, folder / name)
    arguments = ["-i", str(source), "-o", str(output), "-m", str(model(data, FOLDS[0])), "--spec", str(spec(data))]
    assert main([*arguments, "--recursive", "--quiet", "--device", "cpu"]) == 3  # some are refused
    with closing(Ledger(output, read_only=True)) as ledger:
        states = {name.rpartition("/")[2]: record.state for name, record in ledger.cases().items()}
    copied = (data / "formats" / "float32.tif").read_bytes() == (data / "formats" / "float32_nan.tif").read_bytes()
    refused = {name for name, about in listed.items() if about["group"] == "refused"}
    refused -= {"float32_nan.tif"} if copied else set()  # the one file that is not what its name says
    # Signed integers have no white, and two fluorescence channels no colours: the model is of shares of white in RGB.
    refused |= {"int16_negative.tif", "ome_cyx.ome.tif"}
    assert {name for name, state in states.items() if state == "failed"} == refused
    assert len(states) == 55
    masks = {}
    for name, about in listed.items():
        if about["group"] in ("grey", "rgb") and about["tolerance"] == 0:
            (path,) = (output / name.replace(".", "_")).iterdir()
            masks.setdefault(about["group"], []).append(read_picture(path).pixels)
    assert {group: len(found) for group, found in masks.items()} == {"grey": 5, "rgb": 17}
    for found in masks.values():
        assert all(np.array_equal(mask, found[0]) for mask in found[1:])


def test_frames_of_a_stream(data):
    predictor = Predictor.load(model(data, FOLDS[0]), spec=spec(data), device="cpu")
    names = ("fluorescence_fc5452", "histology_4e9212")
    read_frames = []

    def frames():
        for name in names:
            read_frames.append(name)
            yield read(data / "images" / f"{name}.png")[..., :3]

    results = predictor.predict_frames(frames())
    first = next(results)
    assert read_frames == [names[0]]  # no more is read than is asked for
    np.testing.assert_array_equal(first.array, predictor(data / "images" / f"{names[0]}.png").array)
    assert [result.array.shape for result in results] == [(256, 320)]
