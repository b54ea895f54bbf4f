"""Fewer windows a call where memory runs out, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.inferer.out_of_memory import OutOfMemoryRetry, network_error

WINDOWS = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1, 1)


class Network:
    """Doubles; runs out of memory above `room` windows, and reuses the memory of its answers."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.error = room, error or OutOfMemoryError("full")
        self.calls: list[int] = []
        self.memory = np.empty_like(WINDOWS)

    def __call__(self, windows):
        self.calls.append(len(windows))
        if len(windows) > self.room:
            raise self.error
        answer = self.memory[: len(windows)]
        np.multiply(windows, 2, out=answer)
        return answer


@pytest.mark.parametrize(
    ("room", "calls"), [(7, [7]), (6, [7, 3, 3, 1]), (2, [7, 3, 1, 1, 1, 1, 1, 1, 1]), (3, [7, 3, 3, 1])]
)
def test_smaller_calls_give_the_same(room, calls):
    network = Network(room)
    fitting = OutOfMemoryRetry(network)
    np.testing.assert_array_equal(fitting(WINDOWS), 2 * WINDOWS)
    assert network.calls == calls
    assert fitting.max_batch == (None if room == 7 else calls[-1] if room == 2 else 3)


@pytest.mark.parametrize(
    ("given", "one", "calls"), [((4, 3, 1), 1, [4, 4, 1]), ((8, 6, 2), 2, [8, 8, 2]), ((3, 4, 2), 1, [3, 4, 4])]
)
def test_calls_are_filled_up_to_the_usual_number_but_one_window_runs_alone(given, one, calls):
    network = Network(99)
    network.memory = np.empty((8, *WINDOWS.shape[1:]), np.float32)
    fitting = OutOfMemoryRetry(network, fill=True, copies_per_window=one)
    for count in given:
        windows = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
        np.testing.assert_array_equal(fitting(windows), 2 * windows)
    assert network.calls == calls


def test_a_known_limit_holds_from_the_first_call():
    network = Network(3)
    fitting = OutOfMemoryRetry(network, max_batch=3, fill=True)
    np.testing.assert_array_equal(fitting(WINDOWS), 2 * WINDOWS)
    assert network.calls == [3, 3, 1]


def test_what_fitted_once_is_where_the_next_call_begins():
    network = Network(3)
    fitting = OutOfMemoryRetry(network)
    fitting(WINDOWS)
    network.calls.clear()
    fitting(WINDOWS)
    assert network.calls == [3, 3, 1]


@pytest.mark.parametrize("error", [OutOfMemoryError("full"), MemoryError()])
def test_one_window_that_does_not_fit_is_the_end(error):
    network = Network(0, error)
    with pytest.raises((OutOfMemoryError, MemoryError)):
        OutOfMemoryRetry(network)(WINDOWS)
    assert network.calls == [7, 3, 1]


@pytest.mark.parametrize("error", [InferenceError("shape"), RuntimeError("cuDNN error"), ValueError("x")])
def test_other_failures_are_not_tried_again(error):
    network = Network(0, error)
    with pytest.raises(type(error)):
        OutOfMemoryRetry(network)(WINDOWS)
    assert network.calls == [7]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", OutOfMemoryError),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes", OutOfMemoryError),
        ("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 17", OutOfMemoryError),
        ("BFCArena::AllocateRawInternal Available memory of 0 is smaller than requested", OutOfMemoryError),
        ("std::bad_alloc", OutOfMemoryError),
        ("CUDNN_STATUS_EXECUTION_FAILED", InferenceError),
        ("Expected size 4 but got size 5", InferenceError),
    ],
)
def test_what_libraries_call_it(message, kind):
    assert type(network_error(RuntimeError(message), "a sentence")) is kind


def test_a_case_goes_on_with_smaller_calls_and_says_so():
    import SimpleITK as sitk

    from itk_infer.model.kinds.fake import FakeBackend
    from itk_infer.predictor import Predictor
    from itk_infer.spec import parse_spec

    def cramped(windows):
        if len(windows) > 2:
            raise OutOfMemoryError("full")
        return np.concatenate([-windows, windows], axis=1)

    array = np.random.default_rng(0).normal(0, 9, (8, 8, 8)).astype(np.float32)
    spec = parse_spec({"window": {"patch_size": [4, 4, 4]}, "input": {"orientation": "LPS"}}, "t")
    predictor = Predictor(FakeBackend(cramped, spec), batch=8, orientation="input")
    result = predictor(sitk.GetImageFromArray(array))
    usual = Predictor(FakeBackend(None, spec), batch=8, orientation="input")(sitk.GetImageFromArray(array))
    assert sitk.GetArrayFromImage(result.labels).tolist() == sitk.GetArrayFromImage(usual.labels).tolist()
    assert any("memory ran out" in warning for warning in result.measurements.warnings)
    assert predictor.batch_size == 2
