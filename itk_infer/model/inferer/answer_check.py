"""Checks by a network's first outputs whether they are logits or probabilities, as the model spec declares."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import to_host
from itk_infer.errors import InferenceError
from itk_infer.model.backend import Logits
from itk_infer.spec import OutputSpec

ENOUGH = 4  # outputs to check
SAMPLES = 16  # voxels sampled along each axis
TOLERANCE = 1e-2  # for rounding in half precision and overshoot of interpolation inside the network


class AnswerCheck:
    """Samples a few voxels of every output until its kind is known.

    Args:
        output: The model spec's ``output`` block, which states the kind.

    Attributes:
        done: Whether the kind is known, so that no more outputs need to be checked.
    """

    def __init__(self, output: OutputSpec) -> None:
        self._output = output
        self._seen = 0
        self._sums_to_one = True
        self._reach: tuple[float, float] | None = None
        self.done = False

    def look(self, answers: Logits) -> None:
        """Check one output of the network, (N, C, Z, Y, X); only its first window is sampled.

        Raises:
            InferenceError: the output consists of class numbers.
        """
        if self.done or answers.ndim != 5:
            return
        z, y, x = (slice(None, None, max(1, size // SAMPLES)) for size in answers.shape[2:])
        values = np.asarray(to_host(answers[0][:, z, y, x]), np.float32)
        lowest, highest = float(values.min()), float(values.max())
        if not np.isfinite(values).all() or (lowest == highest and 0 <= lowest <= 1):
            return  # the engine refuses NaN and infinity; a constant output, as in air, may be of either kind
        if len(values) == 1 and lowest >= 0 and highest > 1 and (values == np.round(values)).all():
            raise InferenceError(
                "the network's output is class numbers (whole numbers in one channel), not one logit per class; "
                "export it without the argmax at its end, so that it has one output channel per class"
            )
        if lowest < -TOLERANCE or highest > 1 + TOLERANCE:
            self._reach, self.done = (lowest, highest), True
            return
        self._sums_to_one &= len(values) > 1 and bool((np.abs(values.sum(axis=0) - 1) < TOLERANCE).all())
        self._seen += 1
        self.done = self._seen == ENOUGH

    def warnings(self) -> list[str]:
        """Warnings for the user, once a case is finished."""
        logits = self._output.values == "logits"
        if self._reach is not None and not logits:
            lowest, highest = self._reach
            return [
                f"the model spec says output.values probabilities, but the network's outputs are {lowest:.3g} to "
                f"{highest:.3g}; if these are logits, set output.values to logits"
            ]
        if self._reach is None and self._seen and logits:
            like = ", and the channels of each voxel sum to 1, as after a softmax" if self._sums_to_one else ""
            wrong = "the confidence is" if self._output.decision == "argmax" else "labels and confidence are"
            return [
                f"the network's outputs lie between 0 and 1{like}, but are taken as logits; if they are "
                f"probabilities, {wrong} wrong: set output.values to probabilities in the model spec"
            ]
        return []
