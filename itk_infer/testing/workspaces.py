"""Tests that every workspace of the engine must pass: its results must equal those of host memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace, to_host
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.probe_windows import probe_windows
from itk_infer.engine.segment import Opened, SegmentStats, segment
from itk_infer.engine.slabs import Forward
from itk_infer.engine.windows import place_windows
from itk_infer.engine.workspace import Workspace
from itk_infer.errors import InferenceError
from itk_infer.spec import Label, OutputSpec, Padding
from itk_infer.volume.interpolation import AxisMap, ModelGrid, axis_map
from itk_infer.volume.padding import pad_volume
from itk_infer.volume.slab import DecidedSlab

Triplet = tuple[int, int, int]
MIX = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
ODD = [Label(value, f"organ {value}", "#ff0000", channel) for channel, value in ((1, 7), (2, 40_000), (3, 300))]
TWICE = [Label(value, f"organ {value}", "#ff0000", channel) for channel, value in ((0, 5), (2, 9), (1, 5))]
OUTPUTS = {
    "argmax": OutputSpec(),
    "argmax, odd labels": OutputSpec(labels=tuple(ODD)),
    "threshold": OutputSpec(decision="threshold"),
    "threshold, odd labels": OutputSpec(decision="threshold", labels=tuple(ODD)),
    "argmax, thresholds": OutputSpec(label_thresholds=(("label 1", 0.3), ("label 3", 0.6))),
    "threshold, one each": OutputSpec(decision="threshold", label_thresholds=(("label 2", 0.2), ("label 4", 0.9))),
    "threshold, one value twice": OutputSpec(decision="threshold", labels=tuple(TWICE)),
    "probabilities": OutputSpec(values="probabilities"),
    "probabilities, threshold": OutputSpec(values="probabilities", decision="threshold", threshold=0.3),
}


def network(windows: Array) -> Array:
    """Four channels that depend on the position in the window; for arrays and tensors."""
    xp = namespace(windows)
    ramp = np.linspace(-1, 1, int(np.prod(windows.shape[2:])), dtype=np.float32).reshape(tuple(windows.shape[2:]))
    mixed = xp.tensordot(beside(MIX, windows), windows, axes=((1,), (1,)))
    levels = np.arange(4, dtype=np.float32)[:, None, None, None]
    return xp.moveaxis(mixed, 0, 1) + beside(ramp, windows) * beside(levels, windows)


def beside(values: NDArray[np.float32], windows: Array) -> Array:
    """A host array in the memory of the windows."""
    xp = namespace(windows)
    return values if xp is np else xp.asarray(values, device=windows.device)


def model_of(native: Triplet, size: Triplet) -> ModelGrid:
    """A model's grid of `size` voxels over the same extent."""
    z, y, x = (axis_map(n, m, n / m, "edge") for n, m in zip(native, size, strict=True))
    return ModelGrid((z, y, x))


def outcome(
    workspace: Workspace,
    volume: NDArray[np.float32],
    patch: Triplet,
    stride: Triplet,
    *,
    output: OutputSpec | None = None,
    model: ModelGrid | None = None,
    logits: bool = False,
    uncertainty: bool = False,
    batch: int = 1,
    net: Forward = network,
    repair: Forward | None = None,
) -> tuple[SegmentStats, dict[str, NDArray[Any]]]:
    """Segment a volume (C, Z, Y, X) in a workspace.

    Returns:
        The measurements, and ``labels``, ``masks`` and ``logits`` of all slabs, if there are any.
    """
    z, y, x = (AxisMap(n, n, 1.0, 0.0) for n in volume.shape[1:])
    model = model or ModelGrid((z, y, x))
    grid = place_windows(model.size, patch, stride, (1, 1, 1), "gaussian")
    array = pad_volume(workspace.put(volume), grid.pads, Padding("edge"))
    slabs: list[DecidedSlab] = []
    measured = segment(
        array,
        grid,
        model,
        net,
        output or OutputSpec(),
        lambda decision: Opened(slabs.append, logits, uncertainty),
        workspace=workspace,
        batch=batch,
        repair=repair,
    )
    starts = [0, *itertools.accumulate(len(slab.labels) for slab in slabs)]
    assert [slab.z0 for slab in slabs] == starts[:-1]
    assert all(isinstance(slab.labels, np.ndarray) for slab in slabs)
    parts: dict[str, NDArray[Any]] = {"labels": np.concatenate([slab.labels for slab in slabs])}
    masks = [slab.masks for slab in slabs if slab.masks is not None]
    if masks:
        parts["masks"] = np.concatenate(masks, axis=1)
    if logits:
        parts["logits"] = np.concatenate([slab.logits for slab in slabs if slab.logits is not None], axis=1)
    return measured, parts


def assert_alike(ours: tuple[SegmentStats, dict[str, Any]], hosts: tuple[SegmentStats, dict[str, Any]]) -> None:
    """Raise an AssertionError if two outcomes differ by more than the order of summation explains."""
    (measured, parts), (expected, expected_parts) = ours, hosts
    assert parts.keys() == expected_parts.keys()
    for name, array in expected_parts.items():
        assert parts[name].dtype == array.dtype
        if name == "logits":
            np.testing.assert_allclose(parts[name], array, rtol=2e-3, atol=2e-3)
        else:  # voxels between two labels may differ
            assert np.mean(parts[name] != array) <= 0.01
    assert (measured.uncertainty is None) == (expected.uncertainty is None)
    if measured.uncertainty is not None and expected.uncertainty is not None:
        difference = measured.uncertainty.astype(int) - expected.uncertainty
        assert np.abs(difference).max(initial=0) <= 2
    np.testing.assert_allclose(measured.voxels, expected.voxels, atol=max(2, 0.01 * parts["labels"].size))
    pairs = zip(
        (measured.confidence.overall, *measured.confidence.per_label),
        (expected.confidence.overall, *expected.confidence.per_label),
        strict=True,
    )
    for found, wanted in pairs:
        assert (found is None) == (wanted is None)
        assert found is None or found == pytest.approx(wanted, abs=0.02)


class WorkspaceTests:
    """Tests of a workspace: subclass this class and implement `make`."""

    def make(self, slab_bytes: int | None = None) -> Workspace:
        """Make the workspace under test, with at most `slab_bytes` of float32 logits per slab; None: its own."""
        raise NotImplementedError

    @pytest.mark.parametrize("logits", [False, True], ids=["labels", "logits"])
    @pytest.mark.parametrize("zoom", [None, 0.6, 1.7])
    @pytest.mark.parametrize("output", OUTPUTS)
    def test_it_gives_what_host_memory_gives(self, output: str, zoom: float | None, logits: bool) -> None:
        """Compares labels, masks, logits, counts and confidence, also for small slabs."""
        for seed, (size, slab_bytes) in enumerate((((9, 7, 11), 4000), ((4, 12, 5), 1), ((1, 3, 8), 700))):
            volume = np.random.default_rng(seed).normal(size=(2, *size)).astype(np.float32)
            z, y, x = (max(1, round(n * (zoom or 1))) for n in size)
            asked: dict[str, Any] = {"output": OUTPUTS[output], "logits": logits, "batch": 1 + seed}
            asked["uncertainty"] = True
            asked["model"] = None if zoom is None else model_of((z, y, x), size)
            expected = outcome(HostWorkspace(slab_bytes=slab_bytes), volume, (4, 5, 3), (2, 2, 1), **asked)
            assert_alike(outcome(self.make(slab_bytes), volume, (4, 5, 3), (2, 2, 1), **asked), expected)

    @pytest.mark.parametrize("output", OUTPUTS)
    def test_confidence_is_that_of_the_host(self, output: str) -> None:
        """Compares to within rounding."""
        volume = np.random.default_rng(3).normal(size=(2, 9, 10, 11)).astype(np.float32)
        asked: Any = {"output": OUTPUTS[output]}
        host, _ = outcome(HostWorkspace(), volume, (4, 5, 6), (2, 3, 3), **asked)
        ours, _ = outcome(self.make(), volume, (4, 5, 6), (2, 3, 3), **asked)
        assert ours.confidence.overall == pytest.approx(host.confidence.overall, rel=1e-5)
        assert ours.confidence.foreground == pytest.approx(host.confidence.foreground, rel=1e-4)
        assert ours.confidence.per_label == pytest.approx(host.confidence.per_label, rel=1e-3)
        assert ours.confidence.soft_dice == pytest.approx(host.confidence.soft_dice, rel=1e-4)
        assert ours.confidence.expected == pytest.approx(host.confidence.expected, rel=1e-4)
        assert ours.voxels == pytest.approx(host.voxels, abs=1)

    @pytest.mark.parametrize("native", [None, (9, 5, 7)], ids=["same grid", "resampled"])
    @pytest.mark.parametrize("logits", [False, True], ids=["labels", "logits"])
    def test_of_equal_channels_the_first_wins(self, native: Triplet | None, logits: bool) -> None:
        """Equal logits stay equal through blending and interpolation; here channels 1 and 2 are equal."""
        tied = np.array([0, 4, 4, 2], np.float32)[:, None, None, None]
        model = None if native is None else model_of(native, (6, 6, 6))
        _, parts = outcome(
            self.make(),
            np.zeros((2, 6, 6, 6), np.float32),
            (4, 4, 4),
            (2, 2, 2),
            model=model,
            logits=logits,
            net=lambda windows: windows[:, :1] * 0 + beside(tied, windows),
        )
        assert set(np.unique(parts["labels"])) == {1}

    def test_logits_beyond_half_precision_are_clipped_and_counted(self) -> None:
        """The largest number of float16 is 65504."""
        volume = np.ones((2, 4, 4, 4), np.float32)
        measured, parts = outcome(
            self.make(), volume, (4, 4, 4), (4, 4, 4), logits=True, net=lambda windows: network(windows) * 0 + 1e6
        )
        assert measured.clipped == 4 * 64
        assert (parts["logits"] == np.float16(65504)).all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_broken_windows_are_repaired_alone_or_refused(self, bad: float) -> None:
        """The second window is broken."""
        volume = np.random.default_rng(5).normal(size=(2, 8, 4, 4)).astype(np.float32)
        calls: list[int] = []
        repaired: list[NDArray[Any]] = []

        def breaks(windows: Array) -> Array:
            calls.append(len(windows))
            answers = network(windows) + 0
            if len(calls) == 2:
                answers[0, 1, 2, 3, 1] = bad
            return answers

        def repair(windows: Array) -> Array:
            repaired.append(to_host(windows))
            return network(windows)

        _, expected = outcome(self.make(), volume, (4, 4, 4), (2, 4, 4))
        _, parts = outcome(self.make(), volume, (4, 4, 4), (2, 4, 4), net=breaks, repair=repair)
        np.testing.assert_array_equal(parts["labels"], expected["labels"])
        assert len(repaired) == 1
        np.testing.assert_array_equal(repaired[0][0], volume[:, 2:6])
        calls.clear()
        with pytest.raises(InferenceError, match=r"NaN or infinity in the window at \(2, 0, 0\)"):
            outcome(self.make(), volume, (4, 4, 4), (2, 4, 4), net=breaks)

    @pytest.mark.parametrize(
        "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
    )
    def test_stored_types_and_views_arrive_as_they_are(self, dtype: type[np.generic]) -> None:
        """Also arrays with negative strides, and read-only ones."""
        stored = np.arange(24).astype(dtype).reshape(1, 2, 3, 4)[:, ::-1]
        stored.flags.writeable = False
        np.testing.assert_array_equal(to_host(self.make().put(stored)), stored)

    def test_the_windows_of_most_variance_are_found(self) -> None:
        """These windows are used for comparing precisions."""
        volume = np.zeros((1, 16, 8, 8), np.float32)
        volume[0, 8:] = np.random.default_rng(0).normal(size=(8, 8, 8))
        grid = place_windows((16, 8, 8), (8, 8, 8), (8, 8, 8), (1, 1, 1), "constant")
        probes = probe_windows(self.make().put(volume), grid, 1)
        np.testing.assert_array_equal(to_host(probes)[0], volume[:, 8:])
