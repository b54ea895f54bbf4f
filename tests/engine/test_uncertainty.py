"""The map of uncertainty against the definition, on the host and on a device, on the model's grid and back."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.engine.host import HostWorkspace
from itk_infer.spec import OutputSpec
from itk_infer.testing.workspaces import OUTPUTS, beside, model_of, network, outcome

VOLUME = np.random.default_rng(2).normal(size=(2, 9, 10, 11)).astype(np.float32)


def workspace_of(where):
    if where == "host":
        return HostWorkspace(slab_bytes=3000)
    pytest.importorskip("torch")
    from itk_infer.engine.device.workspace import DeviceWorkspace

    return DeviceWorkspace("cpu", slab_bytes=3000)


def mapped(where, **asked):
    measured, parts = outcome(workspace_of(where), VOLUME, (9, 10, 11), (9, 10, 11), uncertainty=True, **asked)
    return measured.uncertainty, parts


def expected(output):
    """From the definition, in float64; the network answers to the whole volume at once."""
    scores = network(VOLUME[None])[0].astype(float)
    if output.decision == "threshold":
        share = scores if output.values == "probabilities" else 1 / (1 + np.exp(-scores))
        share = np.stack([share[list(label.channels)].max(axis=0) for label in output.label_table(len(scores))])
        share = np.clip(share, 0, 1)
        parts = [-np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0) for p in (share, 1 - share)]
        return (parts[0] + parts[1]).max(axis=0) / np.log(2)
    if output.values == "probabilities":
        share = np.clip(scores, 0, None)
        share = np.where(share.sum(axis=0) > 0, share / np.maximum(share.sum(axis=0), 1e-30), 1 / len(share))
    else:
        share = np.exp(scores - scores.max(axis=0))
        share /= share.sum(axis=0)
    return -(share * np.log(np.where(share > 0, share, 1))).sum(axis=0) / np.log(len(share))


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_it_is_the_normalised_entropy(where, name):
    values, _ = mapped(where, output=OUTPUTS[name])
    assert values.dtype == np.uint8
    assert values.shape == VOLUME.shape[1:]
    wanted = expected(OUTPUTS[name]) * 250
    np.testing.assert_allclose(values, wanted, atol=0.51)
    assert values.max() > 100


@pytest.mark.parametrize("where", ["host", "device"])
def test_extremes(where):
    sure = np.array([60, -60, -60, -60], np.float32)[:, None, None, None]
    for scores, value in ((sure, 0), (sure * 0, 250)):

        def net(windows, scores=scores):
            return windows[:, :1] * 0 + beside(scores, windows)

        values, _ = mapped(where, net=net)
        assert (values == value).all()


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("logits", [False, True])
def test_back_to_the_native_grid(where, logits):
    """Linear between the model's voxels, as the same map of another resolution says."""
    from scipy.ndimage import map_coordinates

    size = (7, 13, 8)
    model = model_of(size, VOLUME.shape[1:])
    values, _ = mapped(where, model=model, logits=logits)
    assert values.shape == size
    at = [np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1) for n, m in zip(size, VOLUME.shape[1:])]
    wanted = map_coordinates(expected(OutputSpec()) * 250, np.meshgrid(*at, indexing="ij"), order=1)
    np.testing.assert_allclose(values, wanted, atol=1.01)


@pytest.mark.parametrize("where", ["host", "device"])
def test_it_is_not_kept_where_nobody_asked(where):
    measured, _ = outcome(workspace_of(where), VOLUME, (4, 5, 6), (2, 3, 3))
    assert measured.uncertainty is None
