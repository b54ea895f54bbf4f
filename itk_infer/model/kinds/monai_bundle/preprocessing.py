"""A bundle's preprocessing as the ``input`` block of a model spec.

MONAI's arrays are (x, y, z): an orientation code names the array's axes in their order. So the network sees the
axes of the oriented image as ``xyz``, and all triplets are in the order of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.intensities import INTENSITIES
from itk_infer.model.kinds.monai_bundle.translation import Translation
from itk_infer.model.kinds.monai_bundle.values import a_switch, alone, nothing_but, per_axis, whole_per_axis

READERS = (None, "ITKReader", "NibabelReader")
_EVERYWHERE = ("keys", "allow_missing_keys", "lazy", "meta_keys", "meta_key_postfix")
_OF_LOADING = {
    *("reader", "dtype", "image_only", "ensure_channel_first", "overwriting", "simple_keys", "prune_meta_pattern"),
    *("prune_meta_sep", "expanduser", "affine_lps_to_ras"),
}


@dataclass(slots=True)
class Preprocessing(Translation):
    """What the transforms say, in the order of MONAI's axes.

    Attributes:
        channels: Input channels of the network.
        key: Under which the image is.
        orientation: Code; None: as stored.
        spacing: In mm; None for an axis that is not resampled.
        interpolation: Of the image.
        steps: Intensity steps.
        steps_before_spacing: How many of them come before the resampling.
        multiple_of: What the size of the volume is made divisible by.
    """

    channels: int = 1
    key: str = "image"
    orientation: str | None = None
    spacing: list[float | None] | None = None
    interpolation: str = "linear"
    steps: list[dict[str, Any]] = field(default_factory=list)
    steps_before_spacing: int = 0
    multiple_of: list[int] = field(default_factory=lambda: [1, 1, 1])

    def document(self, axes: str) -> dict[str, Any]:
        """The ``input`` block, for a network that sees the axes in this order."""
        content: dict[str, Any] = {"orientation": self.orientation, "axes": axes, "numbered_files": True}
        if self.spacing is not None:
            content["spacing"] = in_order(self.spacing, axes)
            content["resampling"] = {
                "interpolation": self.interpolation,
                "alignment": "center",
                "size": "centers",
                "order": "after_intensity" if self.steps_before_spacing else "before_intensity",
            }
        return {**content, "intensity": self.steps}


def in_order(values: Sequence[Any], axes: str) -> list[Any]:
    """Values of x, y and z in the order of `axes`."""
    return [values["xyz".index(axis)] for axis in axes]


def read_preprocessing(transforms: Sequence[Component], channels: int) -> Preprocessing:
    """Read the transforms.

    Args:
        transforms: In their order.
        channels: Input channels of the network.

    Raises:
        ModelError: one is not understood, by its name and place.
    """
    found = Preprocessing(channels=channels)
    for transform in transforms:
        handler = _TRANSFORMS.get(transform.name)
        if handler is None:
            raise transform.refused(
                f"is not among the transforms that can be run ({', '.join(sorted(_TRANSFORMS))}). Export the "
                "network to ONNX, and describe its preprocessing in a model spec, if that can say it"
            )
        _check_keys(transform, found)
        handler(transform, found)
    if found.spacing is not None and found.steps_before_spacing not in (0, len(found.steps)):
        raise transforms[-1].refused(
            "stands in a chain with intensities before and after Spacingd: not understood"
        )
    return found


def _check_keys(transform: Component, found: Preprocessing) -> None:
    keys = transform.argument("keys", [])
    keys = [keys] if isinstance(keys, str) else list(keys or [])
    if transform.name == "LoadImaged" and keys:
        found.key = str(keys[0])
    others = [key for key in keys if key not in (found.key, "label")]
    if others or found.key not in keys:
        raise transform.refused(f"is for the keys {', '.join(map(str, keys)) or '(none)'}; only one image is read")


def _load(transform: Component, found: Preprocessing) -> None:
    transform.only(*_EVERYWHERE, *_OF_LOADING)
    reader = alone(transform.argument("reader"))
    name = reader.name if isinstance(reader, Component) else reader
    if name not in READERS:
        raise transform.refused(f"has reader={name!r:.60}; images are read as NibabelReader and ITKReader do")
    found.add(transform, "images are read as stored")


def _idle(transform: Component, found: Preprocessing) -> None:
    found.add(transform)


def _cast(transform: Component, found: Preprocessing) -> None:
    transform.only(*_EVERYWHERE, "dtype", "data_type", "device", "track_meta", "wrap_sequence")
    nothing_but(transform, "dtype", None, "float32", "float", "float64", "double")
    found.add(transform)


def _orient(transform: Component, found: Preprocessing) -> None:
    transform.only(*_EVERYWHERE, "axcodes", "as_closest_canonical", "labels")
    nothing_but(transform, "labels", None)
    code = "RAS" if a_switch(transform, "as_closest_canonical") else transform.argument("axcodes")
    if not isinstance(code, str) or len(code) != 3:
        raise transform.refused(f"has axcodes={code!r:.60}, which must be a code such as RAS")
    if found.spacing is not None and len(set(found.spacing)) > 1:
        raise transform.refused("stands after Spacingd with different spacings, which would change places")
    found.orientation = code.upper()
    found.add(transform, f"input.orientation {found.orientation}, input.axes xyz", axcodes=code)


def _space(transform: Component, found: Preprocessing) -> None:
    known = ("pixdim", "mode", "padding_mode", "align_corners", "dtype", "diagonal", "scale_extent")
    transform.only(*_EVERYWHERE, *known, "recompute_affine", "min_pixdim", "max_pixdim", "ensure_same_shape")
    for key in ("diagonal", "scale_extent", "recompute_affine"):
        if a_switch(transform, key):
            raise transform.refused(f"has {key}=True, which is not understood")
    for key in ("min_pixdim", "max_pixdim"):
        nothing_but(transform, key, None)
    nothing_but(transform, "padding_mode", "border")
    mode = alone(transform.argument("mode", "bilinear"))
    kinds = {"bilinear": "linear", "nearest": "nearest"}
    if mode not in kinds:
        raise transform.refused(f"has mode={mode!r:.60}; bilinear and nearest can be run")
    if found.spacing is not None:
        raise transform.refused("is the second that changes the spacing")
    given = transform.argument("pixdim")
    if isinstance(given, list | tuple) and len(given) == 2:
        given = [*given, given[-1]]  # the last one holds for what is not named
    spacing = per_axis(transform, "pixdim", given)
    found.spacing = [number if number > 0 else None for number in spacing]
    found.interpolation = kinds[mode]
    found.steps_before_spacing = len(found.steps)
    found.add(transform, f"input.spacing {spacing}, resampling.size centers", pixdim=given, mode=mode)


def _divisible(transform: Component, found: Preprocessing) -> None:
    transform.only(*_EVERYWHERE, "k", "mode", "method", "value")
    nothing_but(transform, "mode", "constant")
    nothing_but(transform, "method", "symmetric")
    nothing_but(transform, "value", 0)
    found.multiple_of = whole_per_axis(transform, "k", transform.argument("k"))
    found.add(transform, f"window.multiple_of {found.multiple_of}", k=found.multiple_of)


def _intensity(transform: Component, found: Preprocessing) -> None:
    names, read = INTENSITIES[transform.name]
    transform.only(*_EVERYWHERE, *names, "dtype")
    steps = read(transform, found.channels)
    found.steps += steps
    words = "; ".join(" ".join(f"{key}={value}" for key, value in step.items()) for step in steps)
    found.add(transform, words, **{name: transform.argument(name) for name in names if name in transform.raw})


_Handler = Callable[[Component, Preprocessing], None]
_TRANSFORMS: dict[str, _Handler] = {
    "LoadImaged": _load,
    "EnsureChannelFirstd": _idle,
    "EnsureTyped": _cast,
    "CastToTyped": _cast,
    "ToTensord": _idle,
    "Orientationd": _orient,
    "Spacingd": _space,
    "DivisiblePadd": _divisible,
    **dict.fromkeys(INTENSITIES, _intensity),
}
