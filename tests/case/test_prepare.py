"""What enters the network, by formulas."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.arrays import to_host
from itk_infer.case.plan import plan_case
from itk_infer.case.prepare import prepare
from itk_infer.model.window import ModelWindow
from itk_infer.spec.parse import parse_spec
from itk_infer.volume.grid import Grid

RNG = np.random.default_rng(20)


def test_labels_of_a_previous_stage_outside_the_mask_count_as_within():
    """As in nnU-Net, whose mask is where its label map is not negative."""
    image = np.zeros((1, 6, 7, 8), np.float32)
    image[:, 1:4, 1:4, 1:7] = RNG.uniform(5, 9, (3, 3, 6))
    image[:, 1:5, 1:6, 6] = 7  # so that the box holds more than the block
    previous = np.zeros((6, 7, 8), np.uint8)
    previous[4, 4, 2:4] = 1  # where the image is 0
    document = {
        "spec": 1,
        "input": {
            "orientation": None,
            "crop": {"to": "nonzero"},
            "intensity": [{"op": "zscore", "mask": "crop", "outside": "keep"}],
            "previous_labels": [1],
        },
    }
    spec = parse_spec(document, "test")
    window, grid = ModelWindow((4, 5, 6), (4, 5, 6)), Grid((6, 7, 8), (1.0, 1.0, 1.0))
    plan = plan_case(grid, 4, spec, window, channels_out=2, batch=1, want_logits=False)
    found = prepare(image, plan, spec, window, None, previous).volume[:]
    box = (slice(1, 5), slice(1, 6), slice(1, 7))
    inside = (image[0][box] != 0) | (previous[box] == 1)
    values = image[0][box]
    expected = np.where(inside, (values - values[inside].mean()) / values[inside].std(), 0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_array_equal(found[1], previous[box] == 1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.bool_])
@pytest.mark.parametrize("device", [False, True], ids=["array", "tensor"])
def test_shares_of_white_before_the_steps(kind, device):
    """On a device, too, where the type is torch's."""
    document = {
        "input": {
            "dimensions": 2,
            "values": "unit",
            "intensity": [{"op": "standardize", "mean": 0.5, "std": 0.25}],
        }
    }
    spec = parse_spec(document, "test")
    white = np.iinfo(kind).max if kind in (np.uint8, np.uint16) else 1
    image = (np.random.default_rng(0).random((1, 1, 4, 5)) * white).round().astype(kind)
    window, grid = ModelWindow((1, 4, 5), (1, 4, 5)), Grid((1, 4, 5), (1.0, 1.0, 1.0), oriented=False)
    plan = plan_case(grid, 1, spec, window, channels_out=2, batch=1, want_logits=False)
    given = pytest.importorskip("torch").from_numpy(image) if device else image
    found = to_host(prepare(given, plan, spec, window, None).volume[:])
    np.testing.assert_allclose(found, (image.astype(np.float64) / white - 0.5) / 0.25, atol=1e-5)
