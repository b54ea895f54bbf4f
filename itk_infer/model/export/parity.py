"""Compare the outputs of an exported network with those of the original, on synthetic windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import to_host
from itk_infer.model.backend import Backend
from itk_infer.spec import OutputSpec
from itk_infer.spec.model_spec import Triplet

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bound:
    """How far outputs may differ.

    Attributes:
        error: Largest difference, relative to the largest output or to 1.
        agreement: Smallest share of voxels with equal labels.
        usual: Relative error above which the user gets a note.
    """

    error: float
    agreement: float
    usual: float


# Measured on networks of MONAI and nnU-Net: relative errors up to 5e-5 (OpenVINO, UNETR).
EXACT = Bound(1e-3, 0.9999, 1e-4)
HALF = Bound(2e-2, 0.999, 2e-2)  # as for networks that run in half precision, see `precision_check`


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison in one library.

    Attributes:
        runtime: The library.
        windows: Number of windows compared.
        error: Largest difference.
        largest: Largest absolute output of the original.
        agreement: Share of voxels with equal labels.
    """

    runtime: str
    windows: int
    error: float
    largest: float
    agreement: float

    @property
    def relative(self) -> float:
        """The error, relative to the largest output or to 1."""
        return self.error / max(1.0, self.largest)

    def within(self, bound: Bound) -> bool:
        """Whether the outputs count as equal."""
        return self.relative <= bound.error and self.agreement >= bound.agreement

    def __str__(self) -> str:
        return (
            f"{self.runtime}: {self.windows} windows, largest difference {self.error:.1e} of {self.largest:.3g}, "
            f"labels equal {self.agreement:.4%}"
        )


def compare(reference: Backend, exported: Backend, runtime: str, sizes: Sequence[Triplet]) -> Comparison:
    """Run three windows through both networks, in one call and one by one.

    Args:
        reference: The original.
        exported: The exported network.
        runtime: Name of the library that runs it.
        sizes: Window sizes Z Y X.

    Raises:
        InferenceError: one of the networks cannot run the windows.
    """
    channels = reference.shape.channels_in or len(reference.spec.input.channels)
    error = largest = 0.0
    same = voxels = count = 0
    for size in sizes:
        windows = made_windows(channels, size)
        calls = [windows, *(windows[number : number + 1] for number in range(len(windows)))]
        for call in calls:
            expected = np.array(to_host(reference.forward(call)), np.float32)
            found = np.array(to_host(exported.forward(call)), np.float32)
            count += len(call)
            if found.shape != expected.shape or not np.isfinite(found).all():
                return Comparison(runtime, count, float("inf"), float(np.abs(expected).max()), 0.0)
            error = max(error, float(np.abs(found - expected).max()))
            largest = max(largest, float(np.abs(expected).max()))
            decided = labels(expected, reference.spec.output)
            same += int(np.count_nonzero(labels(found, reference.spec.output) == decided))
            voxels += decided.size
    return Comparison(runtime, count, error, largest, same / voxels)


def made_windows(channels: int, size: Triplet) -> Floats:
    """Three windows, (3, C, Z, Y, X): noise; smooth waves; noise with a corner of 0, as padding makes it."""
    shape = (channels, *size)
    noise = np.random.default_rng(14).normal(size=(2, *shape)).astype(np.float32)
    phases = np.indices(size, dtype=np.float32)
    waves = np.stack([np.sin(phases[axis % 3] / (3 + axis) + axis) for axis in range(3)]).sum(0)
    smooth = np.stack([waves * (1 + channel) / channels for channel in range(channels)])
    corner = noise[1]
    corner[:, -(size[0] // 3) :, -(size[1] // 3) :, -(size[2] // 3) :] = 0
    return np.stack([noise[0], smooth, corner]).astype(np.float32)


def labels(answers: Floats, output: OutputSpec) -> NDArray[Any]:
    """Decide outputs (N, C, Z, Y, X): number of the largest channel (N, Z, Y, X), or a mask per channel."""
    if output.decision == "argmax":
        largest: NDArray[Any] = np.argmax(answers, axis=1)
        return largest
    limits = output.threshold_by_channel(answers.shape[1])
    shares = np.array([0.5 if limit is None else limit for limit in limits])[:, None, None, None]
    above: NDArray[Any] = answers > (
        shares if output.values == "probabilities" else np.log(shares / (1 - shares))
    ).astype(np.float32)
    return above
