"""Speed of the bundled network on this machine, by library and precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from itk_infer.errors import ItkInferError
from itk_infer.model.backend import Backend
from itk_infer.options_of_models import PrecisionChoice, Provider
from itk_infer.predictor import Predictor

SECONDS = 10.0  # for all measurements together
WAYS: tuple[tuple[str, Provider, PrecisionChoice], ...] = (
    ("cpu", "cpu", "fp32"),
    ("cpu", "openvino", "fp32"),
    ("cpu", "openvino", "half"),
    ("cuda", "cuda", "fp32"),
    ("cuda", "cuda", "half"),
)


@dataclass(frozen=True, slots=True)
class Speed:
    """The result of one measurement.

    Attributes:
        device: ``cpu`` or ``cuda:0``.
        provider: Library that ran the network.
        precision: Number format.
        voxels_per_second: Voxels of the network's input per second.
    """

    device: str
    provider: str
    precision: str
    voxels_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.device}, {self.provider}, {self.precision}: the bundled network takes "
            f"{self.voxels_per_second / 1e6:,.2f} million voxels per second"
        )


def speeds(seconds: float = SECONDS, clock: Callable[[], float] = time.perf_counter) -> Iterator[Speed]:
    """Time the bundled network by all available libraries and precisions; yield one result for each.

    Args:
        seconds: Total time for all measurements, in seconds.
        clock: Returns the time in seconds.
    """
    seen = set()
    with resources.as_file(resources.files("itk_infer") / "demo" / "hippocampus_unet.onnx") as path:
        for device, provider, precision in WAYS:
            try:
                predictor = Predictor.load(path, device=device, provider=provider, precision=precision)
            except ItkInferError:
                continue  # not available on this machine
            backend = predictor.backend
            way = (
                backend.device,
                "onnxruntime" if backend.provider == "cpu" else backend.provider,
                backend.precision,
            )
            if way in seen:
                continue
            seen.add(way)
            each = seconds_per_call(backend, windows_of(predictor, 1), seconds / len(WAYS), clock)
            yield Speed(*way, float(np.prod([n or 1 for n in predictor.window.patch])) / each)


def windows_of(predictor: Predictor, count: int) -> Any:
    """Windows of noise for a model, on its device."""
    backend = predictor.backend
    channels = backend.shape.channels_in or len(predictor.spec.input.channels)
    shape = (count, channels, *(n or 64 for n in predictor.window.patch))
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if backend.tensor_device is not None:  # pragma: no cover
        import torch

        return torch.from_numpy(values).to(backend.tensor_device)
    return values


def seconds_per_call(
    backend: Backend, windows: Any, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The shortest duration of a call within about `seconds`, after one uncounted call."""
    from itk_infer.arrays import to_host

    to_host(backend.forward(windows))
    best, begun = float("inf"), clock()
    while best == float("inf") or clock() - begun < seconds:
        start = clock()
        to_host(backend.forward(windows))  # copying the result waits for the device
        best = min(best, max(clock() - start, 1e-9))
    return best
