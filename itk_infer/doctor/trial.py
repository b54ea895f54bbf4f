"""Time and memory of a case, from a smaller one: the same model on noise, with the case's spacing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.machine import host_memory
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.predictor import Predictor
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import Volume

STEPS = 12  # of the search for the size of the smaller case


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found.

    Attributes:
        seconds: Estimated duration of the case, its compilation included.
        once: Of these, the seconds that only the first case of a run takes: compiling and checking the network.
        memory: Estimated peak of the host memory of the process, libraries and network included, in bytes; None
            where the system does not say.
    """

    seconds: float
    once: float
    memory: int | None


def windows_of_case(model: LoadedModel, grid: Grid, itemsize: int) -> int:
    """Number of windows of a case, those of all members, models of a recipe and stages included."""
    if isinstance(model, LoadedRecipe):
        return sum(windows_of_case(member, grid, itemsize) for member in model.members)
    plan = model.plan(grid, itemsize)
    own = sum(len(each.windows) for each in (plan, *plan.beside))
    return own if model.previous is None else own + windows_of_case(model.previous, grid, itemsize)


def trial(
    predictor: Predictor,
    grid: Grid,
    dtype: np.dtype[np.generic],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Segment noise: one window per network, then more, up to about as many as run in `seconds`; each size twice.

    Whole cases are run, because windows take longer between preparing, blending and deciding than one after the
    other.

    Args:
        predictor: The model.
        grid: Grid of the case, as stored.
        dtype: Type of a stored voxel.
        seconds: Time for the larger of the smaller cases, in seconds.
        clock: Returns the time in seconds.

    Raises:
        CaseError: the network fails.
    """

    def timed(size: Grid) -> float:
        start = clock()
        predictor.run(_noise(size, dtype, len(predictor.spec.input.channels)), _discarded)
        return max(clock() - start, 1e-9)

    every = windows_of_case(predictor.model, grid, dtype.itemsize)
    tried = _with_windows(
        predictor.model, grid, dtype.itemsize, windows_of_case(predictor.model, _scaled(grid, 0), dtype.itemsize)
    )
    some = windows_of_case(predictor.model, tried, dtype.itemsize)
    first, again = timed(tried), timed(tried)
    once = max(0.0, first - again)
    while some < every and again < seconds / 2:
        larger = _with_windows(predictor.model, grid, dtype.itemsize, max(int(seconds / again * some), some + 1))
        more = windows_of_case(predictor.model, larger, dtype.itemsize)
        if more <= some:
            break
        # The first may compile the network anew, for several windows per call.
        first, again = timed(larger), timed(larger)
        once += max(0.0, first - again)
        tried, some = larger, more
    return Trial(once + again / some * every, once, _memory(predictor, grid, tried, dtype.itemsize))


def _with_windows(model: LoadedModel, grid: Grid, itemsize: int, most: int) -> Grid:
    """The case's grid, made smaller along all axes until it has at most `most` windows, or as few as possible."""
    low, high = 0.0, 1.0
    if windows_of_case(model, grid, itemsize) <= most:
        return grid
    for _ in range(STEPS):
        middle = (low + high) / 2
        few = windows_of_case(model, _scaled(grid, middle), itemsize) <= most
        low, high = (middle, high) if few else (low, middle)
    return _scaled(grid, low)


def _scaled(grid: Grid, share: float) -> Grid:
    z, y, x = (max(1, int(size * share)) for size in grid.size)
    return replace(grid, size=(z, y, x))


def _noise(grid: Grid, dtype: np.dtype[np.generic], channels: int) -> Volume:
    """Positive noise, which no crop of background and no rule for empty windows leaves out."""
    values: NDArray[np.generic] = np.random.default_rng(0).integers(1, 101, (channels, *grid.size)).astype(dtype)
    return Volume(values, grid, "noise")


def _discarded(header: OutputHeader) -> list[LabelMapSink]:
    return [LabelMapSink(None, header)]


def _memory(predictor: Predictor, grid: Grid, tried: Grid, itemsize: int) -> int | None:
    """The peak so far, and what the case needs beyond the one that was tried."""
    seen = host_memory()
    if seen is None:
        return None
    whole, part = (predictor.host_memory(predictor.plan(each, itemsize)).peak for each in (grid, tried))
    return seen.peak + max(0, whole - part)
