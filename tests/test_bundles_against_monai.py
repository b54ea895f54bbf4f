"""Chains of a bundle's transforms, run here by their model spec and by MONAI itself, for any image."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer import Predictor
from itk_infer.case.clock import Clock
from itk_infer.case.images import volume_of_images
from itk_infer.case.network_run import NetworkRun
from itk_infer.engine.host import HostWorkspace
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.kinds.monai_bundle.config_spec import translate
from itk_infer.model.kinds.monai_bundle.graph import ConfigGraph
from itk_infer.spec import parse_spec

torch = pytest.importorskip("torch", reason="torch is not installed")
monai = pytest.importorskip("monai", reason="monai is not installed")
SOME = settings(max_examples=12, deadline=None, report_multiple_bugs=False)
CLASSES = 4
SCALE = {"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 100, "b_min": 0, "b_max": 1, "clip": True}
NORMALISE = {"_target_": "NormalizeIntensityd", "nonzero": True}
SOFTMAX = {"_target_": "Activationsd", "softmax": True}
ARGMAX = {"_target_": "AsDiscreted", "argmax": True}
WINDOW = (12, 10, 8)
sizes = st.tuples(*[st.integers(9, 18)] * 3)
spacings = st.tuples(*[st.sampled_from([0.8, 1.0, 1.5, 2.2, 3.0])] * 3)


def network(windows):
    """Logits that depend on the neighbourhood of a voxel, so that a wrong place shows."""
    xp = torch if isinstance(windows, torch.Tensor) else np
    first = windows[:, 0]
    moved = xp.roll(first, 1, 2) if xp is torch else np.roll(first, 1, 2)
    return xp.stack([0.3 + 0 * first, first * 2 - moved, xp.sin(first * 7) + moved, xp.cos(first * 5)], 1)


def blob(seed: int, size, share: float) -> np.ndarray:
    """Values above 0 in a part of the image, below it around; z, y, x.

    With 0 around, noise of MONAI's interpolation, 1e-17 and the like, would be foreground for it.
    """
    rng = np.random.default_rng(seed)
    image = np.full(size, -50, np.float32)
    low = [int(rng.integers(0, n // 2)) for n in size]
    high = [max(a + 2, int(a + share * (n - a))) for a, n in zip(low, size)]
    where = tuple(slice(a, b) for a, b in zip(low, high))
    image[where] = rng.uniform(1, 120, image[where].shape)
    return image


def image_of(array: np.ndarray, spacing) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing])
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS: MONAI's world is the array's own
    return image


def config(chain, after, **inferer):
    return {
        "preprocessing": {"_target_": "Compose", "transforms": [{"keys": "image", **one} for one in chain]},
        "postprocessing": {"_target_": "Compose", "transforms": [{"keys": "pred", **one} for one in after]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": list(WINDOW), "overlap": 0.5, **inferer},
    }


def ours(chain, after, image: sitk.Image, **inferer):
    """What enters the network on the padded model grid, x y z, and the labels, z y x."""
    content = config([*chain], [*after], **inferer)
    parts = translate(ConfigGraph(content, "inference.json"), {}, 1, CLASSES, 3, "inference.json")
    spec = parse_spec(parts.document, "test")
    predictor = Predictor(FakeBackend(network, spec), orientation="input", crop_foreground=None)
    volume, _ = volume_of_images(image)
    plan = predictor.plan(volume.grid, volume.array.itemsize)
    run = NetworkRun(predictor.model, HostWorkspace(), volume, None, plan, Clock())
    return run.prepared.volume[:][0], sitk.GetArrayFromImage(predictor(image).labels)


def theirs(chain, back, image: sitk.Image, *, nearest: bool):
    """The same of MONAI's own transforms and inferer; `back`: labels or probabilities are brought back."""
    from monai import transforms
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose, Invertd

    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = torch.diag(torch.tensor([*image.GetSpacing(), 1.0], dtype=torch.float64))
    made = [
        getattr(transforms, one["_target_"])(keys="image", **{k: v for k, v in one.items() if k != "_target_"})
        for one in chain
    ]
    compose = Compose(made)
    item = compose({"image": MetaTensor(torch.from_numpy(array.copy())[None], affine=affine)})
    entering = item["image"].as_tensor().numpy()[0].copy()
    logits = SlidingWindowInferer(WINDOW, overlap=0.5)(item["image"][None], network)[0]
    answer = torch.softmax(logits, 0)
    item["pred"] = answer.argmax(0, keepdim=True).float() if back == "labels" else answer
    invert = Invertd(keys="pred", transform=compose, orig_keys="image", nearest_interp=nearest, to_tensor=True)
    result = invert(item)["pred"].as_tensor().numpy()
    # A voxel exactly one step from the box has weights of 0 or of rounding noise, by which MONAI decides there.
    noise = result.sum(0) < 1e-4
    labels = result[0].round() if back == "labels" else np.where(noise, 0, result.argmax(0))
    return entering, labels.transpose(2, 1, 0).astype(np.uint8)


def inside_of(volume: np.ndarray, size) -> np.ndarray:
    """The volume without the padding of its windows: half of what is missing, rounded down, before it."""
    begin = [max(0, patch - n) // 2 for patch, n in zip(WINDOW, size)]
    return volume[tuple(slice(a, a + n) for a, n in zip(begin, size))]


def compare(chain, after, image, *, back="probabilities", nearest=False, allowed=0):
    entering, labels = ours(chain, after, image)
    expected, expected_labels = theirs(chain, back, image, nearest=nearest)
    found = inside_of(entering, expected.shape)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.count_nonzero(labels != expected_labels) <= allowed


BACK = {"_target_": "Invertd", "transform": "@preprocessing", "nearest_interp": False}


@SOME
@given(
    seed=st.integers(0, 10_000),
    size=sizes,
    spacing=spacings,
    margin=st.integers(0, 3),
    k=st.sampled_from([1, 4, [4, 8, 2]]),
    smaller=st.booleans(),
    first=st.booleans(),
)
def test_crop_to_the_foreground_and_its_way_back(seed, size, spacing, margin, k, smaller, first):
    """On the model's grid, before or after the intensities, beyond the image with zeros or not."""
    crop = {"_target_": "CropForegroundd", "source_key": "image", "margin": margin, "k_divisible": k}
    crop["allow_smaller"] = smaller
    steps = [crop, NORMALISE] if first else [SCALE, crop]
    chain = [{"_target_": "Spacingd", "pixdim": [1.5, 1.2, 2.0], "mode": "bilinear"}, *steps]
    compare(chain, [SOFTMAX, BACK, ARGMAX], image_of(blob(seed, size, 0.7), spacing), allowed=2)


@SOME
@given(seed=st.integers(0, 10_000), size=sizes, margin=st.integers(0, 2))
def test_crop_before_the_grid_changes(seed, size, margin):
    crop = {"_target_": "CropForegroundd", "source_key": "image", "margin": margin, "allow_smaller": True}
    chain = [crop, {"_target_": "Spacingd", "pixdim": [1.5, 1.2, 2.0], "mode": "bilinear"}, SCALE]
    compare(chain, [SOFTMAX, BACK, ARGMAX], image_of(blob(seed, size, 0.7), (1.0, 2.0, 1.5)), allowed=2)


@SOME
@given(seed=st.integers(0, 10_000), size=sizes, least=st.sampled_from([[16, 16, 16], [-1, 25, 9], [20, 3, 11]]))
def test_paddings(seed, size, least):
    chain = [
        SCALE,
        {"_target_": "SpatialPadd", "spatial_size": least},
        {"_target_": "DivisiblePadd", "k": [8, 3, 1]},
    ]
    image = image_of(blob(seed, size, 1.0), (1.0, 1.0, 1.0))
    entering, labels = ours(chain, [SOFTMAX, BACK, ARGMAX], image)
    expected, expected_labels = theirs(chain, "probabilities", image, nearest=False)
    np.testing.assert_allclose(inside_of(entering, expected.shape), expected, atol=2e-5)
    np.testing.assert_array_equal(labels, expected_labels)


@SOME
@given(seed=st.integers(0, 10_000), size=sizes, mode=st.sampled_from(["trilinear", "nearest-exact"]))
def test_resized(seed, size, mode):
    chain = [{"_target_": "Resized", "spatial_size": [12, 20, 9], "mode": mode}, SCALE]
    image = image_of(blob(seed, size, 1.0), (1.0, 2.0, 1.5))
    entering, labels = ours(chain, [SOFTMAX, BACK, ARGMAX], image)
    expected, expected_labels = theirs(chain, "probabilities", image, nearest=False)
    np.testing.assert_allclose(inside_of(entering, expected.shape), expected, atol=2e-5)
    if mode == "trilinear":  # else MONAI brings probabilities back by the nearest voxel, too
        assert np.count_nonzero(labels != expected_labels) <= 2
