"""The preprocessing of a bundle, collected and translated to the ``input`` block of a model spec.

MONAI's arrays are (x, y, z): an orientation code names the array's axes in their order. So the network sees the
axes of the oriented image as ``xyz``, and all triplets are in the order of the config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.translation import Translation

EVERYWHERE = ("keys", "allow_missing_keys", "lazy", "meta_keys", "meta_key_postfix")


@dataclass(slots=True)
class Preprocessing(Translation):
    """What the transforms describe, in the order of MONAI's axes.

    Attributes:
        channels: Input channels of the network.
        made_by: Version of MONAI that made the bundle.
        key: Key of the image in MONAI's dictionaries.
        orientation: Orientation code; None: as stored.
        spacing: In mm; None for an axis that is not resampled.
        interpolation: Interpolation of the image.
        steps: Intensity steps.
        steps_before_spacing: Number of intensity steps before the resampling.
        size: Size in voxels that the volume is resized to; None: it is not.
        crop: The spec's rule for the crop to the foreground, without ``after``.
        steps_before_crop: Number of intensity steps before the crop.
        crop_before_spacing: Whether the crop comes before the resampling.
        least: Size that the volume is padded to.
        multiple_of: The volume is padded to a multiple of this size.
        steps_before_padding: Number of intensity steps before the padding; None: there is no padding.
    """

    channels: int = 1
    made_by: tuple[int, int] = (1, 5)
    key: str = "image"
    orientation: str | None = None
    spacing: list[float | None] | None = None
    interpolation: str = "linear"
    steps: list[dict[str, Any]] = field(default_factory=list)
    steps_before_spacing: int = 0
    size: list[int] | None = None
    crop: dict[str, Any] | None = None
    steps_before_crop: int = 0
    crop_before_spacing: bool = False
    least: list[int] = field(default_factory=lambda: [1, 1, 1])
    multiple_of: list[int] = field(default_factory=lambda: [1, 1, 1])
    steps_before_padding: int | None = None

    @property
    def resampled(self) -> bool:
        """Whether the model's grid differs from the image's."""
        return self.spacing is not None or self.size is not None

    def document(self, axes: str) -> dict[str, Any]:
        """The ``input`` block, for a network that sees the axes in this order."""
        content: dict[str, Any] = {"orientation": self.orientation, "axes": axes, "numbered_files": True}
        order = "after_intensity" if self.steps_before_spacing else "before_intensity"
        if self.size is not None:
            content["size"] = in_order(self.size, axes)
            content["resampling"] = {"interpolation": self.interpolation, "order": order}
        if self.spacing is not None:
            content["spacing"] = in_order(self.spacing, axes)
            content["resampling"] = {
                "interpolation": self.interpolation,
                "alignment": "center",
                "size": "centers",
                "order": order,
            }
        if self.crop is not None:
            content["crop"] = self.crop | {"after": self._crop_after}
            if "multiple_of" in self.crop:
                content["crop"]["multiple_of"] = in_order(self.crop["multiple_of"], axes)
        return {**content, "intensity": self.steps}

    @property
    def _crop_after(self) -> str:
        if self.crop_before_spacing and self.resampled:
            return "loading"
        return "intensity" if self.steps_before_crop else "resampling"


def in_order(values: Sequence[Any], axes: str) -> list[Any]:
    """Values of x, y and z in the order of `axes`."""
    return [values["xyz".index(axis)] for axis in axes]
