"""The network's input volume, whose intensity steps are applied to each part when it is read."""

from __future__ import annotations

from typing import Any

from itk_infer.arrays import Array, namespace
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.foreground import foreground
from itk_infer.volume.intensity import Intensity, runs


class ModelVolume:
    """Stored or resampled voxels with intensity steps applied on access, without a float32 copy of the volume.

    Args:
        voxels: (C, Z, Y, X), any number type.
        intensity: The intensity steps.
        foreground: Mask of the foreground for them, (Z, Y, X) bool.
        labels: Label map that is a further input of the network, (Z, Y, X); None: no such input.
        values: Label values; each becomes a channel after those of the voxels: 1 inside the label, else 0.

    Attributes:
        shape: (C, Z, Y, X).
    """

    def __init__(
        self,
        voxels: Array,
        intensity: Intensity,
        foreground: Array | None = None,
        labels: Array | None = None,
        values: tuple[int, ...] = (),
    ) -> None:
        self._voxels = voxels
        self._intensity = intensity
        self._foreground = foreground
        self._labels = labels
        self._values = values if labels is not None else ()
        self.shape: tuple[int, int, int, int] = (len(voxels) + len(self._values), *voxels.shape[1:])

    def __getitem__(self, where: Any) -> Array:
        """A part of the volume: a new array, (C, ...) float32."""
        inside = where[1:] if isinstance(where, tuple) else ()  # after the channels
        foreground = None if self._foreground is None else self._foreground[inside]
        part = self._intensity(self._voxels[where], foreground)
        if self._labels is None:
            return part
        xp, labels = namespace(part), self._labels[inside]
        each = xp.stack([xp.astype(labels == value, part.dtype) for value in self._values])
        return xp.concat([part, each])

    def settled(self) -> ModelVolume:
        """The same with the intensity steps applied to its voxels in place: float32, and used by nothing else."""
        self._intensity.apply_to(self._voxels, self._foreground)
        nothing = Intensity(self._voxels, ())
        return ModelVolume(self._voxels, nothing, self._foreground, self._labels, self._values)

    def cut(self, box: tuple[slice, slice, slice]) -> ModelVolume:
        """The volume inside a box, Z Y X, as a view."""
        foreground, labels = (None if of is None else of[box] for of in (self._foreground, self._labels))
        return ModelVolume(self._voxels[(slice(None), *box)], self._intensity, foreground, labels, self._values)

    def min(self) -> float:
        """The smallest value of all channels."""
        return min(float(self[(slice(None), *where)].min()) for where in runs(self._voxels[0]))

    def above(self, value: float) -> Array:
        """Mask of the voxels where any channel exceeds a value, (Z, Y, X) bool."""
        return self.foreground(CropRule("above", value))

    def foreground(self, rule: CropRule) -> Array:
        """Mask of the foreground by a rule, (Z, Y, X) bool."""
        mask = self._voxels[0] != self._voxels[0]  # bool, of the same shape, on the same device
        for where in runs(self._voxels[0]):
            mask[where] = foreground(self[(slice(None), *where)], rule)
        return mask
