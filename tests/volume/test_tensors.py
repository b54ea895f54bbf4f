"""What is done to a volume before the network is the same for tensors as for arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from itk_infer.arrays import to_host
from itk_infer.spec import Padding, parse_spec
from itk_infer.volume.crop import foreground_crop
from itk_infer.volume.grid import Reorientation
from itk_infer.volume.intensity import apply_intensity
from itk_infer.volume.interpolation import ModelGrid, axis_map
from itk_infer.volume.padding import pad_volume
from itk_infer.volume.resample import to_model_grid

torch = pytest.importorskip("torch", reason="torch is not installed")

STORED = np.random.default_rng(0).integers(-300, 900, (2, 7, 8, 9)).astype(np.int16)
STORED[:, :3, :2] = 0
STEPS = [
    {"op": "window", "level": 100, "width": 400},
    {"op": "clip", "lower": -50, "upper": 200},
    {"op": "clip_percentile", "lower": 0.5, "upper": 99.3},
    {"op": "minmax"},
    {"op": "zscore", "mask": "all"},
    {"op": "zscore", "mask": "nonzero"},
    {"op": "zscore", "mask": "above_mean"},
    {"op": "standardize", "mean": 40, "std": 120},
    {"op": "divide_by_max"},
    {"op": "zscore", "mask": "all", "channels": [1]},
]


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["op"])
@pytest.mark.parametrize("constant", [False, True])
def test_intensity(step, constant):
    array = np.full_like(STORED, 7) if constant else STORED
    steps = parse_spec({"input": {"channels": ["a", "b"], "intensity": [step]}}, "t").input.intensity
    expected = apply_intensity(array, steps)
    found = apply_intensity(tensor(array), steps)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("alignment", ["center", "edge"])
def test_resampling(how, alignment):
    sizes = zip(STORED.shape[1:], (10, 5, 9))
    z, y, x = (axis_map(n, m, n / m, alignment) for n, m in sizes)
    grid = ModelGrid((z, y, x))
    found = to_model_grid(tensor(STORED), grid, how)
    np.testing.assert_allclose(to_host(found), to_model_grid(STORED, grid, how), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("mode", ["constant", "minimum", "edge", "reflect"])
def test_padding(mode):
    array, pads = STORED.astype(np.float32), ((1, 2), (0, 0), (9, 10))
    expected = {
        "constant": lambda: np.pad(array, ((0, 0), *pads), constant_values=-3),
        "minimum": lambda: np.stack([np.pad(c, pads, constant_values=c.min()) for c in array]),
    }.get(mode, lambda: np.pad(array, ((0, 0), *pads), mode=mode))()
    padding = Padding(mode, -3.0)
    np.testing.assert_array_equal(pad_volume(array, pads, padding), expected)
    np.testing.assert_array_equal(to_host(pad_volume(tensor(array), pads, padding)), expected)


def test_turning():
    for axes, flips in itertools.product(
        itertools.permutations(range(3)), itertools.product([False, True], repeat=3)
    ):
        reorientation = Reorientation(axes, flips)
        np.testing.assert_array_equal(to_host(reorientation.apply(tensor(STORED))), reorientation.apply(STORED))
        np.testing.assert_array_equal(reorientation.inverse.apply(reorientation.apply(STORED)), STORED)


def test_cropping():
    array = np.zeros((1, 8, 9, 10), np.float32)
    array[0, 2:5, 3:4, 6:] = 1
    z, y, x = (axis_map(2 * n, n, 2.0, "edge") for n in array.shape[1:])
    grid = ModelGrid((z, y, x))
    assert foreground_crop(tensor(array)[0] > 0.5, grid) == foreground_crop(array[0] > 0.5, grid)
    assert foreground_crop(tensor(array)[0] > 2.0, grid) is None


def test_antialiased_resampling():
    z, y, x = (axis_map(n, m, 1.0, "edge") for n, m in zip(STORED.shape[1:], (7, 3, 4)))
    grid = ModelGrid((z, y, x))
    found = to_model_grid(tensor(STORED), grid, "linear", antialias=True)
    np.testing.assert_allclose(
        to_host(found), to_model_grid(STORED, grid, "linear", antialias=True), rtol=1e-4, atol=2e-3
    )
