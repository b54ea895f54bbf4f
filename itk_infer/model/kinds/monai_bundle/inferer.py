"""Translate a bundle's inferer to the ``window`` block of a model spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.translation import Translation
from itk_infer.model.kinds.monai_bundle.values import a_number, a_switch, nothing_but, per_axis, whole_per_axis

MAX_BATCH = 64
FLOOR = 1e-3  # smallest weight, as in monai.data.utils.compute_importance_map
_USED = ("roi_size", "sw_batch_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")
# Where sums are kept, and what is shown meanwhile: no effect on the result.
_IGNORED = ("sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim")
_PADDING = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}
_WINDOWS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")


@dataclass(slots=True)
class Inferer(Translation):
    """The windows that an inferer describes.

    Attributes:
        axes: Order in which the network sees the axes.
        window: The ``window`` block.
        padding: The ``padding`` of the ``input`` block.
        batch: Windows per call in the config.
    """

    axes: str = "xyz"
    window: dict[str, Any] = field(default_factory=dict)
    padding: dict[str, Any] = field(default_factory=dict)
    batch: int | None = None


def read_inferer(component: Component | None, dimensions: int) -> Inferer:
    """Read an inferer.

    Args:
        component: The inferer; None: the whole volume is run at once.
        dimensions: Dimensions of the network, 2 or 3.

    Raises:
        ModelError: it is not supported.
    """
    found = Inferer()
    if component is None or component.name == "SimpleInferer":
        if component is not None:
            component.only()
            found.add(component, "the whole volume is one window")
        return found
    slices = component.name == "SliceInferer"
    if not slices and component.name not in _WINDOWS:
        raise component.refused(
            f"is not among the inferers that can be run ({', '.join((*_WINDOWS, 'SliceInferer'))}, SimpleInferer)"
        )
    if slices != (dimensions == 2):
        raise component.refused(f"does not fit a network of {dimensions} dimensions")
    component.only(*_USED, *_IGNORED, "with_coord", *(("spatial_dim",) if slices else ()))
    if a_switch(component, "with_coord"):
        raise component.refused(
            "has with_coord=True, which gives the network positions of windows: not understood"
        )
    _read_windows(component, found, slices)
    return found


def _read_windows(component: Component, found: Inferer, slices: bool) -> None:
    axes = 2 if slices else 3
    given = component.argument("roi_size")
    sizes = whole_per_axis(component, "roi_size", given, axes)
    # MONAI's inferer of slices, too, has an overlap for each of the three axes.
    overlaps = per_axis(component, "overlap", component.argument("overlap", 0.25))
    if any(not 0 <= overlap < 1 for overlap in overlaps):
        raise component.refused(f"has overlap={overlaps}, which must be at least 0 and below 1")
    if any(size <= 0 for size in sizes):
        if any(size > 0 for size in sizes):
            raise component.refused(f"has roi_size={given}: windows that span only some of the axes cannot be run")
        sizes = []
    if slices:
        _slice_axes(component, found)
        del overlaps["xyz".index(found.axes[0])]
    # MONAI's order of operations, because of rounding: int(160 * (1 - 0.8)) is 31.
    strides = [max(1, int(size * (1 - overlap))) for size, overlap in zip(sizes, overlaps, strict=False)]
    if slices:
        sizes, strides = [1, *sizes] if sizes else [], [1, *strides] if sizes else []
    found.window = _blend(component)
    if sizes:
        found.window |= {"patch_size": sizes, "patch_stride": strides}
    found.padding = _padding(component)
    found.batch = _batch(component)
    found.add(
        component,
        f"window.patch_size {sizes or 'null'}, patch_stride {strides or 'null'}, blend {found.window['blend']}, "
        f"padding {found.padding['mode']}",
        roi_size=given,
        overlap=component.argument("overlap", 0.25),
        mode=component.argument("mode", "constant"),
    )


def _batch(component: Component) -> int | None:
    """Windows per call, which change nothing but time and memory; None: more than are run at once."""
    batch = component.argument("sw_batch_size", 1)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise component.refused(f"has sw_batch_size={batch!r:.60}, which must be a positive whole number")
    return batch if batch <= MAX_BATCH else None


def _slice_axes(component: Component, found: Inferer) -> None:
    axis = component.argument("spatial_dim", 0)
    if axis not in (0, 1, 2) or isinstance(axis, bool):
        raise component.refused(f"has spatial_dim={axis!r:.60}, which must be 0, 1 or 2")
    found.axes = "xyz"[axis] + "xyz".replace("xyz"[axis], "")


def _blend(component: Component) -> dict[str, Any]:
    mode = component.argument("mode", "constant")
    if mode == "constant":
        return {"blend": "constant"}
    if mode != "gaussian":
        raise component.refused(f"has mode={mode!r:.60}; constant and gaussian can be run")
    if any(
        value != 0.125 for value in per_axis(component, "sigma_scale", component.argument("sigma_scale", 0.125))
    ):
        raise component.refused("has another sigma_scale than 0.125, which is not understood")
    return {"blend": "gaussian", "gaussian": {"center": "middle", "floor": FLOOR}}


def _padding(component: Component) -> dict[str, Any]:
    mode = component.argument("padding_mode", "constant")
    if not isinstance(mode, str) or mode not in _PADDING:
        raise component.refused(f"has padding_mode={mode!r:.60}; {', '.join(_PADDING)} can be run")
    if mode != "constant":  # where torch takes no value
        nothing_but(component, "cval", 0)
    value = {"value": a_number(component, "cval", 0.0)} if mode == "constant" else {}
    return {"mode": _PADDING[mode], **value}
