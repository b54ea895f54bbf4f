"""Translate MONAI's transforms of axes, grids and sizes to the ``input`` block, or refuse them."""

from __future__ import annotations

import ast
from typing import Any

from itk_infer.model.kinds.monai_bundle.expression import Function
from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.input_block import EVERYWHERE, Preprocessing
from itk_infer.model.kinds.monai_bundle.values import a_switch, alone, nothing_but, per_axis, whole_per_axis


def orient(transform: Component, found: Preprocessing) -> None:
    """``Orientationd``."""
    transform.only(*EVERYWHERE, "axcodes", "as_closest_canonical", "labels")
    nothing_but(transform, "labels", None)
    code = "RAS" if a_switch(transform, "as_closest_canonical") else transform.argument("axcodes")
    if not isinstance(code, str) or len(code) != 3:
        raise transform.refused(f"has axcodes={code!r:.60}, which must be a code such as RAS")
    for name, values in (("Spacingd", found.spacing), ("Resized", found.size), *_of_axes(found)):
        if values is not None and len(set(values)) > 1:
            raise transform.refused(f"stands after {name} with different values per axis: not understood")
    found.orientation = code.upper()
    found.add(transform, f"input.orientation {found.orientation}, input.axes xyz", axcodes=code)


def space(transform: Component, found: Preprocessing) -> None:
    """``Spacingd``."""
    known = ("pixdim", "mode", "padding_mode", "align_corners", "dtype", "diagonal", "scale_extent")
    transform.only(*EVERYWHERE, *known, "recompute_affine", "min_pixdim", "max_pixdim", "ensure_same_shape")
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
    if found.resampled or found.steps_before_padding is not None:
        raise transform.refused("is the second that changes the spacing, or stands after a padding")
    given = transform.argument("pixdim")
    if isinstance(given, list | tuple) and len(given) == 2:
        given = [*given, given[-1]]  # the last one holds for what is not named
    spacing = per_axis(transform, "pixdim", given)
    found.spacing = [number if number > 0 else None for number in spacing]
    found.interpolation = kinds[mode]
    found.steps_before_spacing = len(found.steps)
    found.add(transform, f"input.spacing {spacing}, resampling.size centers", pixdim=given, mode=mode)


def _of_axes(found: Preprocessing) -> tuple[tuple[str, list[int] | None], ...]:
    """Other settings with a value per axis, with the names of their transforms."""
    crop = found.crop or {}
    return (
        ("CropForegroundd", crop.get("multiple_of")),
        ("SpatialPadd", found.least),
        ("DivisiblePadd", found.multiple_of),
    )


def resize(transform: Component, found: Preprocessing) -> None:
    """``Resized``."""
    known = ("spatial_size", "size_mode", "mode", "align_corners", "anti_aliasing", "anti_aliasing_sigma", "dtype")
    transform.only(*EVERYWHERE, *known)
    nothing_but(transform, "size_mode", "all")
    nothing_but(transform, "align_corners", None, False)
    if a_switch(transform, "anti_aliasing"):
        raise transform.refused("has anti_aliasing=True, which is not understood")
    mode = alone(transform.argument("mode", "area"))
    kinds = {"trilinear": "linear", "nearest-exact": "nearest"}
    if mode not in kinds:
        raise transform.refused(f"has mode={mode!r:.60}; {' and '.join(kinds)} can be run")
    if found.resampled or found.steps_before_padding is not None:
        raise transform.refused("stands after Spacingd, another Resized or a padding: not understood")
    found.size = whole_per_axis(transform, "spatial_size", transform.argument("spatial_size"))
    if min(found.size) < 1:
        raise transform.refused(f"has spatial_size={found.size}, which must be positive on every axis")
    found.interpolation = kinds[mode]
    found.steps_before_spacing = len(found.steps)
    found.add(transform, f"input.size {found.size}", mode=mode)


def crop(transform: Component, found: Preprocessing) -> None:
    """``CropForegroundd``."""
    known = ("source_key", "select_fn", "channel_indices", "margin", "allow_smaller", "k_divisible", "mode")
    transform.only(*EVERYWHERE, *known, "start_coord_key", "end_coord_key", "value", "constant_values")
    nothing_but(transform, "channel_indices", None)
    if transform.argument("source_key") != found.key:
        raise transform.refused(f"has source_key={transform.argument('source_key')!r:.60}, which is not the image")
    if found.crop is not None or found.steps_before_padding is not None:
        raise transform.refused("is the second crop, or stands after a padding: not understood")
    margins = set(whole_per_axis(transform, "margin", transform.argument("margin", 0)))
    multiples = [max(1, k) for k in whole_per_axis(transform, "k_divisible", transform.argument("k_divisible", 1))]
    if len(margins) > 1 or min(margins) < 0:
        raise transform.refused("has another margin on every axis, or one below 0: not understood")
    rule: dict[str, Any] = {"to": "above", "value": _above(transform), "margin": margins.pop()}
    if rule["margin"] and not a_switch(transform, "allow_smaller", found.made_by < (1, 5)):
        rule["beyond"] = True
    if max(multiples) > 1:
        rule["multiple_of"] = multiples
    if "beyond" in rule or "multiple_of" in rule:  # else nothing is ever added
        nothing_but(transform, "mode", "constant")
        for key in ("value", "constant_values"):
            nothing_but(transform, key, None, 0)
    found.crop, found.steps_before_crop, found.crop_before_spacing = rule, len(found.steps), not found.resampled
    words = ", ".join(f"{key} {value}" for key, value in rule.items())
    found.add(transform, f"input.crop {words}", margin=rule["margin"], k_divisible=multiples)


def _above(transform: Component) -> float:
    """The threshold of the foreground: 0, or the number in a function ``lambda x: x > number``."""
    function = transform.argument("select_fn")
    if function is None:
        return 0.0
    if isinstance(function, Function):
        match function.tree.args.args, function.tree.body:
            case (
                [ast.arg(arg=name)],
                ast.Compare(left=ast.Name(id=of), ops=[ast.Gt()], comparators=[ast.expr() as number]),
            ) if name == of:
                try:
                    return float(ast.literal_eval(number))
                except (TypeError, ValueError):
                    pass
    raise transform.refused(f"has select_fn={str(function)[:80]}, which is not run; lambda x: x > number is known")


def divisible(transform: Component, found: Preprocessing) -> None:
    """``DivisiblePadd``."""
    transform.only(*EVERYWHERE, "k", "mode", "method", "value")
    _check_padding(transform, found)
    found.multiple_of = whole_per_axis(transform, "k", transform.argument("k"))
    found.add(transform, f"size divisible by {found.multiple_of}", k=found.multiple_of)


def pad(transform: Component, found: Preprocessing) -> None:
    """``SpatialPadd``."""
    transform.only(*EVERYWHERE, "spatial_size", "mode", "method", "value")
    _check_padding(transform, found)
    if found.multiple_of != [1, 1, 1] or found.least != [1, 1, 1]:
        raise transform.refused("stands after another padding: not understood")
    sizes = whole_per_axis(transform, "spatial_size", transform.argument("spatial_size"))
    found.least = [max(1, size) for size in sizes]  # -1: as it is
    found.add(transform, f"input.pad_to size {found.least}", spatial_size=sizes)


def _check_padding(transform: Component, found: Preprocessing) -> None:
    nothing_but(transform, "mode", "constant")
    nothing_but(transform, "method", "symmetric")
    nothing_but(transform, "value", None, 0)
    if found.steps_before_padding not in (None, len(found.steps)):
        raise transform.refused("stands in a chain with intensities after a padding: not understood")
    found.steps_before_padding = len(found.steps)
