"""Compare the outputs of a network in reduced precision with those in fp32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import to_host
from itk_infer.model.backend import Backend, Windows

Floats = NDArray[np.floating[Any]]
# Measured on three trained networks in bf16: two with agreements of at least 0.9997 and errors of at most 0.0065;
# one, whose window is the whole head, with 0.9990 and 0.0138, which is run in fp32.
LEAST_AGREEMENT = 0.999
LARGEST_ERROR = 0.02
MAX_RELATIVE_ERROR = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 5e-2}  # largest relative error of a compiled network


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """A comparison on a few windows.

    Attributes:
        agreement: Share of voxels whose largest channel (or sign, for one channel) is the same.
        error: `relative_error` of the logits.
    """

    agreement: float
    error: float

    @property
    def passed(self) -> bool:
        """Whether reduced precision may be used."""
        return self.agreement >= LEAST_AGREEMENT and self.error <= LARGEST_ERROR

    def __str__(self) -> str:
        return f"label agreement {self.agreement:.5f}, relative logit error {self.error:.4f}"


def check_precision(backend: Backend, full: Backend, windows: Windows) -> SelfCheck:
    """Run windows (N, C_in, Z, Y, X) in the backend's precision and in that of `full`, one by one.

    Windows of air show no differences: choose those with the most contrast.
    """
    same = voxels = 0
    errors = []
    for index in range(len(windows)):
        window = windows[index : index + 1]
        reduced = np.array(to_host(backend.forward(window)), np.float32)
        exact = np.asarray(to_host(full.forward(window)), np.float32)
        same += int(np.count_nonzero(_labels(reduced) == _labels(exact)))
        voxels += _labels(exact).size
        errors.append(relative_error(reduced, exact))
    return SelfCheck(same / voxels, max(errors))


def relative_error(values: Floats, reference: Floats) -> float:
    """Root mean square difference, divided by the root mean square spread of the reference.

    Args:
        values: (N, C, Z, Y, X).
        reference: (N, C, Z, Y, X); its spread is that about the mean over channels, or about its mean if
            there is one channel.

    Returns:
        The ratio; infinity if shapes differ or a value is not finite.
    """
    if values.shape != reference.shape:
        return float("inf")
    centre = None if reference.shape[1] > 1 else reference.mean()
    error = spread = 0.0
    for one, exact in zip(values, reference, strict=True):
        for z in range(exact.shape[1]):  # plane by plane: outputs are large, and memory is scarce while both exist
            part, whole = one[:, z], exact[:, z]
            if not np.isfinite(part).all():
                return float("inf")
            middle = whole.mean(axis=0) if centre is None else centre
            spread += float(np.square(whole - middle).sum(dtype=np.float64))
            error += float(np.square(part - whole).sum(dtype=np.float64))
    count = max(reference.size, 1)
    return float(np.sqrt(error / count) / max(np.sqrt(spread / count), 1e-6))


def _labels(logits: Floats) -> NDArray[np.intp]:
    return np.argmax(logits, axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(np.intp)
