"""Small changes of windows: what each does, on the host and with tensors, and that it is always the same."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.arrays import to_host
from itk_infer.model.inferer.perturb import NOISE, flipped, gamma, noise, perturbations, shifted, unchanged

WINDOWS = np.random.default_rng(0).normal(2, 3, (2, 2, 6, 7, 8)).astype(np.float32)


def seen(view, windows=WINDOWS, where="host"):
    """What the network sees, and what comes out if it answers with what it saw."""
    kept = []

    def network(given):
        kept.append(to_host(given))
        return given

    if where == "tensor":
        torch = pytest.importorskip("torch")
        windows = torch.from_numpy(windows.copy())
    answer = view(network)(windows)
    return kept[0], to_host(answer)


BOTH = pytest.mark.parametrize("where", ["host", "tensor"])


@BOTH
def test_noise_is_a_tenth_of_the_spread_of_each_window_and_channel(where):
    given, _ = seen(noise(3, 2), where=where)
    added = given - WINDOWS
    for n in range(2):
        for channel in range(2):
            spread = WINDOWS[n, channel].std()
            assert added[n, channel].std() == pytest.approx(NOISE * spread, rel=0.15)
            assert abs(added[n, channel].mean()) < 3 * NOISE * spread / np.sqrt(added[0, 0].size)
    again, _ = seen(noise(3, 2), where=where)
    np.testing.assert_array_equal(given, again)
    assert not np.allclose(given, seen(noise(4, 2), where=where)[0])
    assert given.dtype == np.float32


@BOTH
@pytest.mark.parametrize("power", [0.8, 1.25])
def test_gamma_keeps_the_least_and_the_largest(where, power):
    given, _ = seen(gamma(power, 2), where=where)
    axes = (2, 3, 4)
    low, high = WINDOWS.min(axis=axes, keepdims=True), WINDOWS.max(axis=axes, keepdims=True)
    expected = low + (high - low) * ((WINDOWS.astype(float) - low) / (high - low)) ** power
    np.testing.assert_allclose(given, expected, atol=1e-4)
    constant = np.full((1, 1, 3, 3, 3), 7, np.float32)
    np.testing.assert_array_equal(seen(gamma(power, 1), constant, where)[0], constant)
    np.testing.assert_array_equal(seen(noise(0, 1), constant, where)[0], constant)


@BOTH
@pytest.mark.parametrize("step", [1, -1])
def test_a_shift_is_undone_in_the_answer(where, step):
    given, answer = seen(shifted(step), where=where)
    middle = slice(1, -1)
    source = tuple(slice(1 - step, n - 1 - step) for n in WINDOWS.shape[2:])
    np.testing.assert_array_equal(given[..., middle, middle, middle], WINDOWS[(..., *source)])
    inside = (..., *(slice(None, -1) if step > 0 else slice(1, None),) * 3)
    np.testing.assert_array_equal(answer[inside], WINDOWS[inside])
    assert given.shape == answer.shape == WINDOWS.shape
    flat = WINDOWS[:, :, :1, :1]
    assert seen(shifted(step), flat, where)[1].shape == flat.shape


@BOTH
@pytest.mark.parametrize("axes", [(2,), (3, 4), (2, 3, 4)], ids=str)
def test_a_mirroring_is_undone_in_the_answer(where, axes):
    given, answer = seen(flipped(axes), where=where)
    np.testing.assert_array_equal(given, np.flip(WINDOWS, axes))
    np.testing.assert_array_equal(answer, WINDOWS)


def test_no_axes_are_no_mirroring():
    assert flipped(()) is unchanged
    np.testing.assert_array_equal(seen(unchanged)[0], WINDOWS)


@BOTH
def test_label_maps_beside_the_image_get_no_noise(where):
    given, _ = seen(noise(0, 1), where=where)
    np.testing.assert_array_equal(given[:, 1], WINDOWS[:, 1])
    assert not np.allclose(given[:, 0], WINDOWS[:, 0])


def test_there_are_as_many_as_are_asked_for_and_none_twice():
    for count in (1, 4, 16):
        views = perturbations(count, 2)
        assert len(views) == count
        inputs = [seen(view)[0].tobytes() for view in views]
        assert len(set(inputs)) == count
    # More of them begin with the same ones.
    np.testing.assert_array_equal(seen(perturbations(3, 2)[2])[0], seen(perturbations(9, 2)[2])[0])
