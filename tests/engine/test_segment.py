"""The slab engine against a plain float64 reference that holds everything at once."""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.segment import Opened, segment
from itk_infer.engine.slabs import finished_slabs
from itk_infer.engine.windows import place_windows
from itk_infer.errors import InferenceError, SpecError
from itk_infer.spec import OutputSpec, Padding
from itk_infer.volume.interpolation import AxisMap, ModelGrid, axis_map
from itk_infer.volume.padding import pad_volume

SLABS = st.integers(1, 6000)  # bytes: from one plane a slab to all of them
KERNEL = np.random.default_rng(1).normal(size=(3, 1)).astype(np.float32)


def network(windows):
    """Position-dependent inside the window, so that a wrong origin or weight shows."""
    ramp = np.linspace(-1, 1, np.prod(windows.shape[2:]), dtype=np.float32).reshape(windows.shape[2:])
    mixed = np.einsum("oc,nczyx->nozyx", KERNEL, windows)
    return mixed + ramp * np.arange(1, 4, dtype=np.float32)[:, None, None, None]


def same(size):
    z, y, x = (AxisMap(n, n, 1.0, 0.0) for n in size)
    return ModelGrid((z, y, x))


def profile(patch, blend):
    if blend == "constant":
        return np.ones(patch)
    offsets = np.arange(patch) - (patch - 1) / 2
    return np.exp(-0.5 * (offsets / (patch / 8)) ** 2)


def reference(volume, patch, stride, blend):
    """Sum of weighted windows over sum of weights, whole volume, float64."""
    pads = [(max(0, p - n) // 2, max(0, p - n) - max(0, p - n) // 2) for n, p in zip(volume.shape[1:], patch)]
    padded = np.pad(volume, ((0, 0), *pads)).astype(np.float32)
    weight = np.einsum("z,y,x->zyx", *(profile(p, blend) for p in patch))
    total, count = np.zeros((3, *padded.shape[1:])), np.zeros(padded.shape[1:])
    starts = []
    for n, p, s in zip(padded.shape[1:], patch, stride):
        starts.append(sorted({*range(0, n - p + 1, s), n - p}))
    for origin in itertools.product(*starts):
        where = tuple(slice(o, o + p) for o, p in zip(origin, patch))
        total[(slice(None), *where)] += network(padded[(slice(None), *where)][None])[0].astype(float) * weight
        count[where] += weight
    crop = tuple(slice(before, before + n) for (before, _), n in zip(pads, volume.shape[1:]))
    return (total / count)[(slice(None), *crop)]


def run(volume, patch, stride, blend, *, batch=1, workspace=None, output=OutputSpec(), model=None, net=network):
    size = volume.shape[1:]
    grid = place_windows(model.size if model else size, patch, stride, (1, 1, 1), blend)
    slabs = []
    array = pad_volume(volume, grid.pads, Padding())
    found = segment(
        array,
        grid,
        model or same(size),
        net,
        output,
        lambda decision: Opened(slabs.append, True),
        batch=batch,
        workspace=workspace,
    )
    z = 0
    for slab in slabs:
        assert slab.z0 == z  # ascending, without gaps
        z += len(slab.labels)
    return found, np.concatenate([s.labels for s in slabs]), np.concatenate([s.logits for s in slabs], axis=1)


@st.composite
def problems(draw):
    size = tuple(draw(st.integers(1, 14)) for _ in range(3))
    patch = tuple(draw(st.integers(1, 8)) for _ in range(3))
    stride = tuple(draw(st.integers(1, p)) for p in patch)
    return size, patch, stride, draw(st.sampled_from(["gaussian", "constant"]))


@settings(deadline=None, max_examples=60)
@given(problems(), st.integers(1, 5), SLABS, st.integers(0, 2**31))
def test_equals_a_float64_whole_volume_reference(problem, batch, slab_bytes, seed):
    size, patch, stride, blend = problem
    volume = np.random.default_rng(seed).normal(size=(1, *size)).astype(np.float32)
    grid = place_windows(size, patch, stride, (1, 1, 1), blend)
    array = pad_volume(volume, grid.pads, Padding())
    slabs = list(finished_slabs(array, grid, network, HostWorkspace(slab_bytes=slab_bytes), batch=batch))
    logits = np.concatenate([slab.logits for slab in slabs], axis=1)
    np.testing.assert_allclose(logits, reference(volume, patch, stride, blend), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(problems(), SLABS, st.integers(1, 9))
def test_slab_height_and_batch_change_nothing(problem, slab_bytes, batch):
    size, patch, stride, blend = problem
    volume = np.random.default_rng(3).normal(size=(1, *size)).astype(np.float32)
    model = ModelGrid(
        tuple(axis_map(n, max(1, round(n * 0.7)), n / max(1, round(n * 0.7)), "center") for n in size)
    )
    for other in (None, model):
        small = volume if other is None else volume[:, : other.size[0], : other.size[1], : other.size[2]]
        one = run(small, patch, stride, blend, model=other)
        two = run(
            small, patch, stride, blend, model=other, workspace=HostWorkspace(slab_bytes=slab_bytes), batch=batch
        )
        np.testing.assert_array_equal(one[1], two[1])
        np.testing.assert_array_equal(one[2], two[2])
        assert one[0].voxels == two[0].voxels


@pytest.mark.parametrize("alignment", ["center", "edge"])
@pytest.mark.parametrize("output", [OutputSpec(), OutputSpec(decision="threshold")], ids=["argmax", "threshold"])
def test_native_decision_equals_resampling_all_logits_first(alignment, output):
    from scipy.ndimage import map_coordinates

    native, small = (17, 9, 20), (11, 13, 7)
    spacing = [n / m for n, m in zip(native, small)]
    model = ModelGrid(tuple(axis_map(n, m, s, alignment) for n, m, s in zip(native, small, spacing)))
    volume = np.random.default_rng(5).normal(size=(1, *small)).astype(np.float32)
    found, labels, logits = run(volume, (5, 6, 7), (2, 3, 4), "gaussian", model=model, output=output)
    on_model = reference(volume, (5, 6, 7), (2, 3, 4), "gaussian")
    where = np.meshgrid(*(axis.model_positions() for axis in model.axes), indexing="ij")
    expected = np.stack([map_coordinates(c, where, order=1, mode="nearest") for c in on_model])
    np.testing.assert_allclose(logits, expected, atol=5e-3)  # logits are float16 here
    if output.decision == "argmax":
        wanted = np.argmax(expected, axis=0)
    else:
        wanted = np.zeros(native, int)
        for channel in range(3):
            wanted[expected[channel] > 0] = channel + 1
    margin = np.sort(expected, axis=0)
    sure = (margin[-1] - margin[-2] > 1e-4) & (np.abs(expected) > 1e-4).all(axis=0)
    np.testing.assert_array_equal(labels[sure], wanted[sure])
    assert sure.mean() > 0.99
    counts = [np.count_nonzero(labels == value) for value in (1, 2)]
    if output.decision == "argmax":
        assert list(found.voxels) == counts
    else:
        assert found.voxels[0] == np.count_nonzero(expected[0] > 0)  # overlaps count in full


def test_nan_and_wrong_shapes_are_refused():
    volume = np.zeros((1, 4, 4, 4), np.float32)
    for net, words in (
        (lambda w: np.full((1, 2, *w.shape[2:]), np.nan, np.float32), "NaN or infinity"),
        (lambda w: np.full((1, 2, *w.shape[2:]), -np.inf, np.float32), "NaN or infinity"),
        (lambda w: w[..., :-1], "shape"),
        (lambda w: w[0], "shape"),
    ):
        with pytest.raises(InferenceError, match=words):
            run(volume, (2, 2, 2), (2, 2, 2), "constant", net=net)


def test_a_windows_logits_are_freed_before_slabs_are_yielded():
    """Members of an ensemble wait for each other between two slabs, and each would keep its own."""
    answers = []

    def forward(windows):
        answer = np.concatenate([windows, -windows], axis=1)
        answers.append(weakref.ref(answer))
        return answer

    grid = place_windows((8, 4, 4), (4, 4, 4), (2, 4, 4), (1, 1, 1), "gaussian")
    slabs = finished_slabs(np.ones((1, 8, 4, 4), np.float32), grid, forward, HostWorkspace())
    alive = [sum(answer() is not None for answer in answers) for _ in slabs]
    assert len(answers) == 3
    assert alive == [0] * len(alive)


def test_one_channel_argmax_is_an_error_not_an_empty_mask():
    with pytest.raises(SpecError, match="threshold"):
        run(np.zeros((1, 4, 4, 4), np.float32), (2, 2, 2), (2, 2, 2), "constant", net=lambda w: w)


def test_logits_beyond_float16_are_clipped_and_counted():
    volume = np.zeros((1, 2, 2, 2), np.float32)
    volume[0, 0, 0, 0], volume[0, 1, 1, 1] = 1e5, 100
    found, labels, logits = run(
        volume, (2, 2, 2), (2, 2, 2), "constant", net=lambda w: np.concatenate([-w, w], axis=1)
    )
    assert found.clipped == 2  # the voxel, in both channels
    assert np.isfinite(logits).all()
    assert logits[1, 0, 0, 0] == np.finfo(np.float16).max
    assert labels[0, 0, 0] == labels[1, 1, 1] == 1
