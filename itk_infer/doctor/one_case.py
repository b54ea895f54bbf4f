"""One image with one model: memory, estimated time from a few windows, and options that would shorten it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.doctor.speed import first_and_usual_call, windows_of
from itk_infer.errors import CaseError, ItkInferError
from itk_infer.executors.loader import ModelRequest
from itk_infer.options import Options
from itk_infer.predictor import Predictor
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_header

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
        windows: Number of windows, and of calls with mirrored copies.
        host_memory: Bytes of host memory, without the network.
        device_memory: Bytes of device memory.
        fits: Reason why the case would be refused; empty if it would not.
        seconds: Estimated time in the network.
        knobs: Options that would shorten it, most effective first.
    """

    size: tuple[int, int, int]
    windows: int
    host_memory: int
    device_memory: int
    fits: str
    seconds: float
    knobs: tuple[Knob, ...]

    def lines(self) -> list[str]:
        """The estimates as lines of text for the user."""
        device = f", {self.device_memory / 2**20:,.0f} MiB on the device" if self.device_memory else ""
        lines = [
            f"{' x '.join(map(str, self.size))} voxels, {self.windows} windows",
            f"memory: about {self.host_memory / 2**20:,.0f} MiB beside the network{device}",
            *([f"would be refused: {self.fits}"] if self.fits else []),
            f"time in the network: about {self.seconds:,.1f} s, from a few windows of noise, with its compilation",
        ]
        lines += [f"faster with {knob}" for knob in self.knobs]
        return lines


def one_case(
    request: ModelRequest, image: Path, seconds: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> OneCase:
    """Load a model, read an image's header, and time a few windows of noise.

    Args:
        request: The model.
        image: An image file; of an image in several channel files, one of them.
        seconds: Time for measuring each precision, in seconds.
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
    total = sum(_seconds(part, each, seconds, clock) for part, each in _parts(predictor, plan))
    windows = sum(len(each.windows) for _, each in _parts(predictor, plan))
    return OneCase(
        header.size,
        windows,
        predictor.host_memory(plan).peak,
        plan.device_memory if predictor.backend.tensor_device else 0,
        fits,
        total,
        tuple(_knobs(request, predictor, grid, header.dtype.itemsize, total, seconds, clock)),
    )


def _parts(predictor: Predictor, plan: Any) -> list[tuple[Any, Any]]:
    """Loaded models with their plans: one model, or the members of an ensemble."""
    model = predictor.model
    leaves = model.leaves if isinstance(model, LoadedEnsemble) else (model,)
    return list(zip(leaves, (plan, *plan.beside), strict=True))


def _seconds(model: Any, plan: Any, seconds: float, clock: Callable[[], float]) -> float:
    one = _View(model, plan)
    batch = max(1, model.batch)
    noise = windows_of(one, batch)  # type: ignore[arg-type]
    first, usual = first_and_usual_call(model.backend, noise, seconds, clock)
    return float(max(first - usual, 0) + usual / batch * len(plan.windows) * model.mirrored_copies)


class _View:
    """Adapts a loaded model to `windows_of`, with the patch of a plan, as models of whole volumes have none."""

    def __init__(self, model: Any, plan: Any) -> None:
        self.backend, self.spec = model.backend, model.spec
        self.window = replace(model.window, patch=plan.windows.patch)


def _knobs(
    request: ModelRequest,
    predictor: Predictor,
    grid: Grid,
    itemsize: int,
    total: float,
    seconds: float,
    clock: Callable[[], float],
) -> Sequence[Knob]:
    """Options that would shorten the case by 10 % or more."""
    knobs = []
    model, options = predictor.model, request.options
    first = model.leaves[0] if isinstance(model, LoadedEnsemble) else model
    copies = first.mirrored_copies
    if copies > 1:
        knobs.append(Knob("`tta=False`", 1 / copies, "without mirroring, masks change slightly"))
    windows = len(predictor.plan(grid, itemsize).windows)
    try:
        coarse = _again(request, options.changed(step_size=COARSER, patch_stride=None), predictor)
        fewer = len(coarse.plan(grid, itemsize).windows)
        knobs.append(Knob(f"`step_size={COARSER}`", fewer / windows, "less overlap, masks change slightly"))
    except ItkInferError:
        pass  # not with the other options
    if predictor.backend.precision == "fp32":
        try:
            half = request_with(request, precision="half").load()
        except ItkInferError:
            half = None
        if half is not None and half.backend.precision != "fp32":
            plan = half.plan(grid, itemsize)
            faster = sum(_seconds(part, each, seconds, clock) for part, each in _parts(half, plan))
            price = f"{half.backend.precision}; compared with fp32 on the first case"
            knobs.append(Knob("`precision=half`", faster / total, price))
    return sorted((knob for knob in knobs if knob.factor < 0.9), key=lambda knob: knob.factor)


def request_with(request: ModelRequest, **options: Any) -> ModelRequest:
    """The same model with other options."""
    return ModelRequest(request.paths, request.kind, request.options.changed(**options))


def _again(request: ModelRequest, options: Options, predictor: Predictor) -> Predictor:
    """The model with another stride; its network is not loaded again if the model is a single one."""
    if isinstance(predictor.model, LoadedEnsemble):
        return ModelRequest(request.paths, request.kind, options).load()
    import copy

    backend = copy.copy(predictor.backend)
    spec = backend.spec
    backend.spec = replace(spec, window=replace(spec.window, step=COARSER, patch_stride=None))
    return Predictor(backend, options)
