"""One image with one model: memory, time estimated from a smaller image, and options that would shorten it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.case.loaded_members import LoadedMembers
from itk_infer.doctor.trial import Trial, trial, windows_of_case
from itk_infer.errors import CaseError, ItkInferError
from itk_infer.executors.loader import ModelRequest
from itk_infer.machine import MIB
from itk_infer.options import Options
from itk_infer.predictor import Predictor
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_header

if TYPE_CHECKING:
    import numpy as np

COARSER = 0.75  # stride of windows, as a share of the patch


@dataclass(frozen=True, slots=True)
class Knob:
    """An option, and its estimated effect.

    Attributes:
        option: The option in backquotes, as in messages.
        factor: Time with the option, as a fraction of the time without.
        price: Its disadvantage.
    """

    option: str
    factor: float
    price: str

    def __str__(self) -> str:
        return f"{self.option}: about {1 / self.factor:.1f} times as fast; {self.price}"


@dataclass(frozen=True, slots=True)
class OneCase:
    """Estimates for one case.

    Attributes:
        size: Voxels of the image, Z Y X.
        windows: Number of windows, those of all members included.
        host_memory: Bytes of host memory, without the network.
        total_memory: Estimated peak of the process, libraries and network included; None where it is not known.
        device_memory: Bytes of device memory.
        fits: Reason why the case would be refused; empty if it would not.
        seconds: Estimated time of the case; 0 if it would be refused.
        once: Of these, the seconds that only the first case of a run takes.
        knobs: Options that would shorten it, most effective first.
    """

    size: tuple[int, int, int]
    windows: int
    host_memory: int
    total_memory: int | None
    device_memory: int
    fits: str
    seconds: float
    once: float
    knobs: tuple[Knob, ...]

    def lines(self) -> list[str]:
        """The estimates as lines of text for the user."""
        device = f", {self.device_memory / MIB:,.0f} MiB on the device" if self.device_memory else ""
        total = f"about {self.total_memory / MIB:,.0f} MiB in total, of which " if self.total_memory else ""
        lines = [
            f"{' x '.join(map(str, self.size))} voxels, {self.windows} windows",
            f"memory: {total}about {self.host_memory / MIB:,.0f} MiB for the image, its sums and its mask{device}",
        ]
        if self.fits:
            return [*lines, f"would be refused: {self.fits}"]
        lines.append(
            f"time: about {self.seconds:,.1f} s, estimated from a smaller image of noise; of these, about "
            f"{self.once:,.1f} s are for the first image of a run only"
        )
        return lines + [f"faster with {knob}" for knob in self.knobs]


def one_case(
    request: ModelRequest, image: Path, seconds: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> OneCase:
    """Load a model, read an image's header, and time a smaller case, see `trial`.

    Args:
        request: The model.
        image: An image file; of an image in several channel files, one of them.
        seconds: Time for measuring each precision, in seconds; see `trial`.
        clock: Returns the time in seconds.

    Raises:
        ItkInferError: the model cannot be loaded, the image cannot be read, or the network fails.
    """
    predictor = request.load()
    header = read_header(image)
    grid = header.grid
    plan = predictor.plan(grid, header.dtype.itemsize)
    fits = ""
    try:
        predictor.model.workspaces.check(plan)
    except CaseError as error:
        fits = str(error)
    found = None if fits else trial(predictor, grid, header.dtype, seconds, clock)
    return OneCase(
        header.size,
        windows_of_case(predictor.model, grid, header.dtype.itemsize),
        predictor.host_memory(plan).peak,
        found.memory if found else None,
        plan.device_memory if predictor.backend.tensor_device else 0,
        fits,
        found.seconds if found else 0.0,
        found.once if found else 0.0,
        tuple(_knobs(request, predictor, grid, header.dtype, found, seconds, clock)) if found else (),
    )


def _knobs(
    request: ModelRequest,
    predictor: Predictor,
    grid: Grid,
    dtype: np.dtype[Any],
    found: Trial,
    seconds: float,
    clock: Callable[[], float],
) -> Sequence[Knob]:
    """Options that would shorten the case by 10 % or more."""
    knobs = []
    model, options = predictor.model, request.options
    first = model.leaves[0] if isinstance(model, LoadedMembers) else model
    copies = first.mirrored_copies
    if copies > 1:
        knobs.append(Knob("`tta=False`", 1 / copies, "without mirroring, masks change slightly"))
    windows = windows_of_case(model, grid, dtype.itemsize)
    try:
        coarse = _again(request, options.changed(step_size=COARSER, patch_stride=None), predictor)
        fewer = windows_of_case(coarse.model, grid, dtype.itemsize)
        knobs.append(Knob(f"`step_size={COARSER}`", fewer / windows, "less overlap, masks change slightly"))
    except ItkInferError:
        pass  # not with the other options
    if predictor.backend.precision == "fp32":
        try:
            half = request_with(request, precision="half").load()
        except ItkInferError:
            half = None
        if half is not None and half.backend.precision != "fp32":
            faster = trial(half, grid, dtype, seconds, clock).seconds
            price = f"{half.backend.precision}; compared with fp32 on the first case"
            knobs.append(Knob("`precision=half`", faster / found.seconds, price))
    return sorted((knob for knob in knobs if knob.factor < 0.9), key=lambda knob: knob.factor)


def request_with(request: ModelRequest, **options: Any) -> ModelRequest:
    """The same model with other options."""
    return ModelRequest(request.paths, request.kind, request.options.changed(**options))


def _again(request: ModelRequest, options: Options, predictor: Predictor) -> Predictor:
    """The model with another stride; its network is not loaded again if the model is a single one."""
    if isinstance(predictor.model, LoadedMembers):
        return ModelRequest(request.paths, request.kind, options).load()
    import copy

    backend = copy.copy(predictor.backend)
    spec = backend.spec
    backend.spec = replace(spec, window=replace(spec.window, step=COARSER, patch_stride=None))
    return Predictor(backend, options)
