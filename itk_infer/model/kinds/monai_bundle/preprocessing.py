"""Read a bundle's preprocessing, transform by transform."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from itk_infer.model.kinds.monai_bundle.geometry import crop, divisible, orient, pad, resize, space
from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.input_block import EVERYWHERE, Preprocessing
from itk_infer.model.kinds.monai_bundle.intensities import INTENSITIES
from itk_infer.model.kinds.monai_bundle.values import alone, nothing_but

READERS = (None, "ITKReader", "NibabelReader")
_OF_LOADING = {
    *("reader", "dtype", "image_only", "ensure_channel_first", "overwriting", "simple_keys", "prune_meta_pattern"),
    *("prune_meta_sep", "expanduser", "affine_lps_to_ras"),
}
OF_CASTS = ("dtype", "data_type", "device", "track_meta", "wrap_sequence")
FLOATS = ("float32", "float", "float64", "double")  # as which numbers keep their values


def read_preprocessing(
    transforms: Sequence[Component], channels: int, made_by: tuple[int, int] = (1, 5)
) -> Preprocessing:
    """Read the transforms.

    Args:
        transforms: The transforms in order.
        channels: Input channels of the network.
        made_by: Version of MONAI that made the bundle; its default arguments apply.

    Raises:
        ModelError: a transform is not supported; the message has its name and place.
    """
    found = Preprocessing(channels=channels, made_by=made_by)
    for transform in transforms:
        handler = _TRANSFORMS.get(transform.name)
        if handler is None:
            raise transform.refused(
                f"is not among the transforms that can be run ({', '.join(sorted(_TRANSFORMS))}). Export the "
                "network to ONNX, and describe its preprocessing in a model spec, if that can say it"
            )
        _check_keys(transform, found)
        handler(transform, found)
    _check_order(transforms, found)
    return found


def _check_order(transforms: Sequence[Component], found: Preprocessing) -> None:
    """Refuse transforms between intensity steps, which a model spec cannot express."""
    every = len(found.steps)
    if found.resampled and found.steps_before_spacing not in (0, every):
        raise transforms[-1].refused(
            "stands in a chain with intensities before and after Spacingd or Resized: not understood"
        )
    if found.steps_before_padding not in (None, every):
        raise transforms[-1].refused("stands in a chain with intensities after a padding: not understood")
    crop = found.crop
    if crop is None:
        return
    if found.crop_before_spacing and found.resampled:
        if found.steps_before_crop or crop.get("beyond") or "multiple_of" in crop:
            raise transforms[-1].refused(
                "stands in a chain with a CropForegroundd before the resampling; there it can only come before "
                "all intensities, with allow_smaller and without k_divisible"
            )
    elif found.steps_before_crop not in (0, every):
        raise transforms[-1].refused(
            "stands in a chain with intensities before and after CropForegroundd: not understood"
        )


def _check_keys(transform: Component, found: Preprocessing) -> None:
    keys = transform.argument("keys", [])
    keys = [keys] if isinstance(keys, str) else list(keys or [])
    if transform.name == "LoadImaged" and keys:
        found.key = str(keys[0])
    others = [key for key in keys if key not in (found.key, "label")]
    if others or found.key not in keys:
        raise transform.refused(f"is for the keys {', '.join(map(str, keys)) or '(none)'}; only one image is read")


def _load(transform: Component, found: Preprocessing) -> None:
    transform.only(*EVERYWHERE, *_OF_LOADING)
    reader = alone(transform.argument("reader"))
    name = reader.name if isinstance(reader, Component) else reader
    if name not in READERS:
        raise transform.refused(f"has reader={name!r:.60}; images are read as NibabelReader and ITKReader do")
    found.add(transform, "images are read as stored")


def _channel_first(transform: Component, found: Preprocessing) -> None:
    """The file's channels, if it has any, are its last axis; that is where MONAI looks by itself, too."""
    transform.only(*EVERYWHERE, "strict_check", "channel_dim")
    nothing_but(transform, "channel_dim", None, "no_channel", -1, 3)
    found.add(transform)


def _cast(transform: Component, found: Preprocessing) -> None:
    transform.only(*EVERYWHERE, *OF_CASTS)
    nothing_but(transform, "dtype", None, *FLOATS)
    found.add(transform)


def _intensity(transform: Component, found: Preprocessing) -> None:
    names, read = INTENSITIES[transform.name]
    transform.only(*EVERYWHERE, *names, "dtype")
    steps = read(transform, found.channels)
    found.steps += steps
    words = "; ".join(" ".join(f"{key}={value}" for key, value in step.items()) for step in steps)
    found.add(transform, words, **{name: transform.argument(name) for name in names if name in transform.raw})


_Handler = Callable[[Component, Preprocessing], None]
_TRANSFORMS: dict[str, _Handler] = {
    "LoadImaged": _load,
    "EnsureChannelFirstd": _channel_first,
    "EnsureTyped": _cast,
    "CastToTyped": _cast,
    "ToTensord": _cast,
    "Orientationd": orient,
    "Spacingd": space,
    "Resized": resize,
    "CropForegroundd": crop,
    "SpatialPadd": pad,
    "DivisiblePadd": divisible,
    **dict.fromkeys(INTENSITIES, _intensity),
}
