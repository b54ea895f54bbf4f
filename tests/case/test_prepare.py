"""What enters the network, by formulas."""

from __future__ import annotations

import numpy as np

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
