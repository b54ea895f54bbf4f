"""The demo gives the counts its authors published, and a picture that shows them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from itk_infer.cli.commands.demo import SIDES
from itk_infer.cli.main import main

EXPECTED = {"right": (2176, 1923), "left": (2078, 1966)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    assert main(["demo", "-o", str(output)]) == 0
    return output


@pytest.mark.parametrize("side", SIDES)
def test_voxel_counts(demo, side):
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(demo / SIDES[side])))
    found = [np.count_nonzero(labels == value) for value in (1, 2)]
    assert found == pytest.approx(EXPECTED[side], rel=0.02)


def test_the_picture_shows_both_labels_on_both_sides(demo):
    with Image.open(demo / "demo.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for colour in ((0xE6, 0x19, 0x4B), (0xFF, 0xE1, 0x19)):
        near = (np.abs(pixels - colour).sum(axis=2) < 40).nonzero()
        rows = near[0] / pixels.shape[0]
        assert (rows < 0.5).sum() > 200  # right, above
        assert (rows > 0.5).sum() > 200  # left, below


def test_a_second_demo_does_nothing_and_still_draws(demo, capfd):
    (demo / "demo.png").unlink()
    assert main(["demo", "-o", str(demo)]) == 0
    assert "2 skipped" in capfd.readouterr().err
    assert (demo / "demo.png").exists()
