"""What returns to the image's own grid: logits, probabilities or labels; in host and device memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.segment import Opened, segment
from itk_infer.engine.windows import place_windows
from itk_infer.spec import OutputSpec
from itk_infer.volume.interpolation import AxisMap, ModelGrid

NATIVE, MODEL, STEP = (11, 12, 13), (7, 8, 9), 1.6
LOGITS = np.random.default_rng(0).normal(size=(3, *MODEL)).astype(np.float32) * 4


def interpolated(values, order):
    """float64 reference: positions beyond the edge are clipped to it; of the nearest, halves to the even voxel."""
    positions = [np.clip(np.arange(native) / STEP, 0, model - 1) for native, model in zip(NATIVE, MODEL)]
    if order == 0:
        positions = [np.round(along) for along in positions]
    where = np.stack(np.meshgrid(*positions, indexing="ij"))
    return np.stack([map_coordinates(channel.astype(float), where, order=1) for channel in values])


def softmax(values):
    powers = np.exp(values.astype(float) - values.max(axis=0))
    return powers / powers.sum(axis=0)


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("decision", ["argmax", "threshold"])
@pytest.mark.parametrize("resample", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("want_logits", [False, True])
def test_against_interpolation_of_the_whole_volume(where, decision, resample, want_logits):
    workspace = HostWorkspace()
    if where == "device":
        pytest.importorskip("torch")
        from itk_infer.engine.device.workspace import DeviceWorkspace

        workspace = DeviceWorkspace("cpu")
    axes = [AxisMap(native, model, STEP, 0.0) for native, model in zip(NATIVE, MODEL)]
    if resample == "labels":
        axes = [replace(axis, back="nearest") for axis in axes]
    grid = place_windows(MODEL, (None,) * 3, (None,) * 3, (1, 1, 1), "constant")
    slabs = []

    def network(windows):
        return workspace.put(LOGITS[None])

    volume = workspace.put(np.zeros((1, *MODEL), np.float32))
    output = OutputSpec(decision=decision, resample=resample)
    opened = []

    def open_outputs(found):
        opened.append(found.output.values)
        return Opened(slabs.append, want_logits)

    segment(volume, grid, ModelGrid(tuple(axes)), network, output, open_outputs, workspace=workspace)
    labels = np.concatenate([slab.labels for slab in slabs])
    activated = softmax(LOGITS) if decision == "argmax" else 1 / (1 + np.exp(-LOGITS.astype(float)))
    back = interpolated(activated if resample == "probabilities" else LOGITS, 0 if resample == "labels" else 1)
    bound = 0.5 if resample == "probabilities" else 0
    expected = back.argmax(axis=0)
    if decision == "threshold":
        expected = np.zeros(NATIVE, int)
        for channel in range(3):
            expected[back[channel] > bound] = channel + 1
    sure = np.abs(np.diff(np.sort(back, axis=0)[-2:], axis=0)[0] if decision == "argmax" else back - bound)
    sure = (sure if decision == "argmax" else sure.min(axis=0)) > 1e-4  # no ties
    np.testing.assert_array_equal(labels[sure], expected[sure])
    assert sure.mean() > 0.99
    assert opened == ["probabilities" if resample == "probabilities" else "logits"]
