"""Average the logits of several networks that take the same windows, as one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from itk_infer.arrays import Array, namespace
from itk_infer.errors import InferenceError
from itk_infer.model.backend import Backend, Logits, Windows
from itk_infer.model.ensemble import Ensemble, Mean
from itk_infer.model.window import fit_window


class MeanOfNetworks:
    """An ensemble with one ring: windows are cut, blended and resampled once for all members.

    This is exact for logits only: blending and interpolation are linear and can be done after averaging; softmax
    and sigmoid are not.

    Args:
        ensemble: An ensemble for which `share_windows` is true.

    Attributes:
        ensemble: The ensemble.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        first = ensemble.members[0]
        batches = {member.shape.batch for member in ensemble.members}
        self.spec, self.digest = ensemble.spec, ensemble.digest
        # Each network pads a call to its own fixed number of windows.
        self.shape = replace(first.shape, batch=first.shape.batch if len(batches) == 1 else None)
        self.device, self.tensor_device = first.device, first.tensor_device
        self.provider, self.precision = first.provider, first.precision
        self.notes = ensemble.notes

    def forward(self, windows: Windows) -> Logits:
        """See `Backend.forward`."""
        total: Array | None = None
        ensemble = self.ensemble
        for member, weight, order in zip(ensemble.members, ensemble.weights, ensemble.orders, strict=True):
            answer = member.forward(windows)
            xp = namespace(answer)
            part = xp.astype(answer, xp.float32, copy=True)
            if order is not None:
                part = part[:, list(order)]
            if total is not None and total.shape != part.shape:
                raise InferenceError(
                    f"outputs of two members have different shapes, {tuple(total.shape)} and {tuple(part.shape)}"
                )
            part *= weight
            total = part if total is None else total + part
        return total

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        full = self.ensemble.in_full_precision()
        return self if full is self.ensemble or not isinstance(full, Ensemble) else MeanOfNetworks(full)


def averaged(
    members: Sequence[Backend],
    names: Sequence[str],
    weights: Sequence[float] | None = None,
    mean: Mean = "probabilities",
    name: str = "",
) -> Ensemble | MeanOfNetworks:
    """Make an ensemble, with one ring if the result is the same. Arguments and errors are those of `Ensemble`."""
    ensemble = Ensemble(members, names, weights, mean, name)
    return MeanOfNetworks(ensemble) if share_windows(ensemble) else ensemble


def share_windows(ensemble: Ensemble) -> bool:
    """Whether logits are averaged, and all members take the same windows on one device."""
    first, *others = ensemble.members
    if ensemble.mean != "logits" or any(
        isinstance(member, Ensemble) or getattr(member, "previous", None) is not None
        for member in ensemble.members
    ):
        return False

    def seen(member: Backend) -> object:
        window = fit_window(member.spec, member.shape)
        rules = replace(member.spec.window, patch_size=None, patch_stride=None)
        return member.spec.input, rules, window, member.tensor_device, member.precision

    return all(seen(member) == seen(first) for member in others)
