"""Windows a call: doubled while it pays, and no further than memory goes."""

from __future__ import annotations

import pytest

from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.batch_size.search import LEAST_GAIN, MAX_BATCH, find_batch, largest_fitting


class Machine:
    """Seconds of a call, from a table of seconds a window; an exception is raised."""

    def __init__(self, each):
        self.each = each
        self.tried = []

    def __call__(self, batch):
        self.tried.append(batch)
        each = self.each(batch)
        if isinstance(each, Exception):
            raise each
        return each * batch


def always(batch):
    return True


@pytest.mark.parametrize(
    ("each", "batch", "gain", "tried"),
    [
        (lambda n: 1.0, 1, 1, [1, 2]),
        (lambda n: 1 - 0.9 * LEAST_GAIN if n > 1 else 1, 1, 1, [1, 2]),
        (lambda n: 1 - 1.1 * LEAST_GAIN if n > 1 else 1, 2, 1 / (1 - 1.1 * LEAST_GAIN), [1, 2, 4]),
        (lambda n: 1 / min(n, 4), 4, 4, [1, 2, 4, 8]),
        (lambda n: 1 / n, MAX_BATCH, MAX_BATCH, [1, 2, 4, 8, 16, 32, 64]),
        (lambda n: OutOfMemoryError("full") if n == 4 else 1 / n, 2, 2, [1, 2, 4]),
        (lambda n: MemoryError() if n == 4 else 1 / n, 2, 2, [1, 2, 4]),
        (lambda n: InferenceError("Reshape: cannot reshape") if n > 1 else 1, 1, 1, [1, 2]),
        (lambda n: n, 1, 1, [1, 2]),
    ],
    ids=[
        "no gain",
        "too small a gain",
        "just enough",
        "four at once",
        "ever more",
        "memory of the device ends",
        "memory of the host ends",
        "a fixed batch",
        "slower",
    ],
)
def test_the_search(each, batch, gain, tried):
    machine = Machine(each)
    found = find_batch(machine, always)
    assert found.batch == batch
    assert found.gain == pytest.approx(gain)
    assert machine.tried == tried


@pytest.mark.parametrize(("room", "batch"), [(0, 1), (1, 1), (3, 2), (8, 8)])
def test_what_does_not_fit_is_not_tried(room, batch):
    machine = Machine(lambda n: 1 / n)
    assert find_batch(machine, lambda n: n <= room).batch == batch
    assert max(machine.tried) == batch


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("full"), MemoryError(), InferenceError("no"), RuntimeError("a bug")]
)
def test_one_window_that_fails_is_no_finding(error):
    with pytest.raises(type(error)):
        find_batch(Machine(lambda n: error), always)


def test_a_fault_is_not_taken_for_too_many_windows():
    with pytest.raises(RuntimeError):
        find_batch(Machine(lambda n: RuntimeError("a bug") if n == 2 else 1 / n), always)


def test_a_known_batch_is_halved_until_it_fits():
    assert largest_fitting(8, lambda n: n <= 8) == 8
    assert largest_fitting(8, lambda n: n <= 3) == 2
    assert largest_fitting(8, lambda n: False) == 1
