"""A predictor whose backend takes tensors: the same answers, the volume and the ring on the device.

torch's CPU stands for a GPU; where there is one, it is used as well.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.arrays import namespace
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec

torch = pytest.importorskip("torch", reason="torch is not installed")

GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)
DEVICES = pytest.mark.parametrize("device", ["cpu", GPU])
ARRAY = np.random.default_rng(0).normal(20, 50, (20, 22, 24)).astype(np.int16)
SPEC = {
    "input": {
        "orientation": "RAS",
        "spacing": [1.5, 1.0, 1.0],
        "intensity": [{"op": "clip_percentile", "lower": 2, "upper": 98}, {"op": "zscore", "mask": "nonzero"}],
    },
    "window": {"patch_size": [8, 8, 8], "mirror_axes": [0, 2]},
}


def image(array=ARRAY):
    made = sitk.GetImageFromArray(array)
    made.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    return made


def blurred(windows):
    """A function of a voxel's neighbourhood, so that mirroring, windows and order matter."""
    xp = namespace(windows)
    left, up = xp.roll(windows, 1, axis=4), xp.roll(windows, 1, axis=2)
    return xp.concat([-windows, left + up, 0.5 * up], axis=1)


class Seen:
    """Runs `blurred`, and remembers what kinds of arrays came."""

    def __init__(self):
        self.kinds = []

    def __call__(self, windows):
        self.kinds.append(type(windows))
        return blurred(windows)


def predictor(device, function=blurred, spec=SPEC, **options):
    shape = NetworkShape(channels_out=3)
    return Predictor(FakeBackend(function, parse_spec(spec, "t"), shape, tensor_device=device), **options)


@DEVICES
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch": 3},
        {"tta": True},
        {"skip_empty": True},
        {"skip_empty": -1.0},
        {"crop_foreground": 1.0},
        {"orientation": "input"},
    ],
)
def test_the_answers_are_those_of_the_host(device, options):
    array = ARRAY.copy()
    array[:10, :12] = 0  # air, for windows to be skipped and cropped
    host = predictor(None, **options)(image(array))
    there = predictor(device, **options)(image(array))
    expected, got = (sitk.GetArrayFromImage(result.labels) for result in (host, there))
    assert np.mean(expected != got) <= 0.001  # rounding where two logits are equal
    assert 0.05 < np.mean(expected == 1) < 0.9
    assert there.measurements.warnings == host.measurements.warnings
    assert there.confidence == pytest.approx(host.confidence, rel=1e-3)
    assert there.labels.GetDirection() == host.labels.GetDirection()


@DEVICES
def test_windows_never_leave_the_device(device):
    function = Seen()
    predictor(device, function)(image())
    assert set(function.kinds) == {torch.Tensor}


def test_what_does_not_fit_on_the_device_is_summed_on_the_host():
    function = Seen()
    expected = sitk.GetArrayFromImage(predictor(None)(image()).labels)
    tight = predictor("cpu", function, max_vram=100_000)
    result = tight(image())
    assert set(function.kinds) == {np.ndarray}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), expected)
    (warning,) = result.measurements.warnings
    assert "summed in host memory" in warning
    assert "`max_vram`" in warning
    assert tight.plan(tight_grid(), 2).device_memory > 100_000
    wide = predictor("cpu", max_vram=10**9)(image())
    assert wide.measurements.warnings == ()


def test_on_a_device_the_host_needs_less():
    there, host = predictor("cpu"), predictor(None)
    plan = there.plan(tight_grid(), 2)
    assert there.host_memory(plan).peak < host.host_memory(plan).peak == plan.memory.peak
    crowded = predictor("cpu", max_vram=100_000)
    assert crowded.host_memory(plan) == plan.memory
    # No ring of windows: stored image, label map, and slabs of labels on their way.
    assert there.host_memory(plan).running < 0.5 * plan.memory.running


def tight_grid():
    from itk_infer.volume.grid import Grid

    return Grid(ARRAY.shape, (1.0, 1.0, 1.0))


def test_a_device_that_runs_full_beside_the_network_is_left_for_the_host(monkeypatch, tmp_path):
    from itk_infer.engine.device.accumulator import DeviceAccumulator

    adds = []
    add = DeviceAccumulator.add

    def full(self, *arguments):
        adds.append(1)
        if len(adds) == 40:  # slabs have gone to the sinks by now
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        add(self, *arguments)

    monkeypatch.setattr(DeviceAccumulator, "add", full)
    expected = sitk.GetArrayFromImage(predictor(None)(image()).labels)
    one = predictor("cpu")
    first, second = one(image()), one(image())
    for result in (first, second):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), expected)
    assert any("from here on overlaps are summed in host memory" in text for text in first.measurements.warnings)
    assert second.measurements.warnings == ()
    assert len(adds) == 40  # never tried again


def test_a_network_with_no_room_beside_the_ring_gets_the_whole_device():
    """One window alone does not fit: volume and ring make room, and windows come from the host."""
    from itk_infer.errors import OutOfMemoryError

    def needs_room(windows):
        if not isinstance(windows, np.ndarray):
            raise OutOfMemoryError("the network failed: CUDA out of memory")
        return blurred(windows)

    expected = sitk.GetArrayFromImage(predictor(None)(image()).labels)
    result = predictor("cpu", needs_room, batch=4)(image())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), expected)
    assert any("from here on overlaps are summed in host memory" in text for text in result.measurements.warnings)
    with pytest.raises(OutOfMemoryError):  # the host has nowhere to go
        predictor(None, lambda windows: needs_room(torch.from_numpy(windows)))(image())


def test_bfloat16_answers_are_checked_like_others():
    """NumPy does not know it; the self-check compares on the host."""

    class Half(FakeBackend):
        precision = "bf16"

        def __init__(self):
            def function(windows):
                answers = blurred(windows)
                return answers if isinstance(answers, np.ndarray) else answers.bfloat16()

            super().__init__(function, parse_spec(SPEC, "t"), NetworkShape(channels_out=3), tensor_device="cpu")
            self.precision = "bf16"

        def in_full_precision(self):
            return FakeBackend(blurred, self.spec, self.shape, tensor_device="cpu")

    expected = sitk.GetArrayFromImage(predictor(None)(image()).labels)
    result = Predictor(Half())(image())
    assert np.mean(sitk.GetArrayFromImage(result.labels) != expected) < 0.02
    assert not any("differs too much" in text for text in result.measurements.warnings)


def test_what_was_found_out_before_the_device_ran_full_is_still_told(monkeypatch):
    from itk_infer.engine.device.accumulator import DeviceAccumulator

    def full(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DeviceAccumulator, "add", full)

    class Wrong(FakeBackend):
        def __init__(self):
            super().__init__(lambda w: blurred(w) * 0, parse_spec(SPEC, "t"), NetworkShape(channels_out=3), "cpu")
            self.precision = "fp16"

        def in_full_precision(self):
            return FakeBackend(blurred, self.spec, self.shape, tensor_device="cpu")

    told = Predictor(Wrong())(image()).measurements.warnings
    assert any("fp16 differs too much" in text for text in told)
    assert any("summed in host memory" in text for text in told)


def test_other_errors_of_a_device_are_not_taken_for_full_memory(monkeypatch):
    from itk_infer.engine.device.accumulator import DeviceAccumulator

    def broken(self, *arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(DeviceAccumulator, "add", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        predictor("cpu")(image())


@DEVICES
def test_the_network_alone_running_full_gets_fewer_windows_of_the_same_case(device):
    from itk_infer.errors import OutOfMemoryError

    calls = []

    def small(windows):
        calls.append(len(windows))
        if len(windows) > 2:
            raise OutOfMemoryError("full")
        return blurred(windows)

    expected = sitk.GetArrayFromImage(predictor(None)(image()).labels)
    one = predictor(device, small, batch=8)
    result = one(image())
    assert np.mean(sitk.GetArrayFromImage(result.labels) != expected) <= 0.001
    assert calls[:3] == [8, 4, 2]
    assert set(calls[3:]) == {1, 2}  # what is left over at the end is one window
    assert one.batch_size == 2
    assert any("2 window(s) per call" in text for text in result.measurements.warnings)


def test_careful_keeps_to_the_host():
    function = Seen()
    predictor("cpu", function).safe_mode()(image())
    assert set(function.kinds) == {np.ndarray}
