"""Models of nnU-Net's readers of pictures: NaturalImage2DIO (colours as channels), Tiff3DIO (spacing in a JSON file)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("tifffile")

from support.nnunet_folder import DATASET, architecture, configuration, plans, random_state, write_model  # noqa: E402

from itk_infer.model.kinds.nnunet.architecture import read_architecture  # noqa: E402
from itk_infer.model.kinds.nnunet.json_block import JsonBlock  # noqa: E402
from itk_infer.model.kinds.nnunet.networks import build  # noqa: E402
from itk_infer.predictor import Predictor  # noqa: E402
from itk_infer.run.folder import run_folder  # noqa: E402
from itk_infer.run.settings import RunSettings  # noqa: E402
from itk_infer.volume.pictures import read_label_picture  # noqa: E402

SHAPE = (16, 12)  # a patch
COLOURS = ("R", "G", "B")
RANDOM = np.random.default_rng(9)


@pytest.fixture
def natural(tmp_path):
    """A model folder of 2D pictures in colour, and its weights."""
    state = random_state(architecture(2), 2, inputs=3)
    schemes = {"normalization_schemes": ["RGBTo01Normalization"] * 3, "use_mask_for_norm": [False] * 3}
    flat = configuration(2, spacing=[1.0, 1.0], **schemes)
    properties = {str(number): {} for number in range(3)}
    plan = plans(
        {"2d": flat},
        image_reader_writer="NaturalImage2DIO",
        foreground_intensity_properties_per_channel=properties,
    )
    names = {str(number): name for number, name in enumerate(COLOURS)}
    dataset = {**DATASET, "channel_names": names, "file_ending": ".png"}
    root = write_model(tmp_path / "model", plan=plan, dataset=dataset, name="2d", state=state, axes=(0, 1))
    return root, state


def by_hand(picture, state):
    """Labels of one patch: the network on shares of white, mirrored along no axis."""
    network = build(read_architecture(JsonBlock(configuration(2), "plans.json"), 2), 3, 3)
    network.load_state_dict({k: v for k, v in state.items() if k in network.state_dict()})
    with torch.no_grad():
        planes = torch.from_numpy(np.moveaxis(picture, -1, 0).astype(np.float32) / 255)
        return network.eval()(planes[None])[0].argmax(0).numpy()


def test_colours_are_the_channels_and_the_number_leaves_the_name(natural, tmp_path):
    root, state = natural
    source = tmp_path / "imagesTs"
    source.mkdir()
    pictures = {name: RANDOM.integers(1, 256, (*SHAPE, 3), np.uint8) for name in ("p", "q")}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(source / f"{name}_0000.png")
    predictor = Predictor.load(root, device="cpu", tta=False)
    summary = run_folder(predictor, RunSettings(source, tmp_path / "masks"))
    assert summary.done == ["p.png", "q.png"]
    for name, picture in pictures.items():
        found = read_label_picture(tmp_path / "masks" / f"{name}.png")[0]
        expected = by_hand(picture, state)
        assert len(np.unique(expected)) > 1
        np.testing.assert_array_equal(found, expected)


def test_grey_files_numbered_as_its_channels_are_one_picture(natural, tmp_path):
    root, state = natural
    picture = RANDOM.integers(1, 256, (*SHAPE, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(picture[..., number]).save(tmp_path / "in" / f"p_{number:04d}.png")
    run_folder(Predictor.load(root, device="cpu", tta=False), RunSettings(tmp_path / "in", tmp_path / "out"))
    np.testing.assert_array_equal(read_label_picture(tmp_path / "out" / "p.png")[0], by_hand(picture, state))


def test_a_tiff_with_its_spacing_is_the_volume(tmp_path):
    """The same voxels as NIfTI with that spacing, and as TIFF with the JSON file; another spacing than the plans'."""
    import tifffile

    root = write_model(tmp_path / "model", plan=plans(image_reader_writer="Tiff3DIO"))
    voxels = RANDOM.normal(100, 40, (9, 18, 14)).astype(np.float32)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.8, 2.5))
    volumes, stacks = tmp_path / "volumes", tmp_path / "stacks"
    volumes.mkdir()
    stacks.mkdir()
    sitk.WriteImage(image, str(volumes / "a_0000.nii.gz"))
    tifffile.imwrite(stacks / "a_0000.tif", voxels, photometric="minisblack")
    (stacks / "a.json").write_text(json.dumps({"spacing": [2.5, 0.8, 0.7]}))
    predictor = Predictor.load(root, device="cpu", tta=False, orientation="input")
    for source, out in ((volumes, "from_volume"), (stacks, "from_stack")):
        assert run_folder(predictor, RunSettings(source, tmp_path / out)).failed == {}
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "from_volume" / "a.nii.gz")))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "from_stack" / "a.tif"), expected)
    (stacks / "a.json").unlink()
    run_folder(predictor, RunSettings(stacks, tmp_path / "without"))
    assert (tifffile.imread(tmp_path / "without" / "a.tif") != expected).any()  # 1 mm, as in nnU-Net
