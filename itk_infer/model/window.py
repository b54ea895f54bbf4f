"""Window size and stride: those of the spec, checked against the sizes that the network fixes."""

from __future__ import annotations

from dataclasses import dataclass

from itk_infer.errors import ConfigError, SpecError
from itk_infer.model.backend import NetworkShape
from itk_infer.spec import ModelSpec, WindowSpec

PartialSize = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """Patch and stride along Z, Y, X; None: the whole axis is in one window.

    Attributes:
        patch: Window size in voxels.
        stride: Distance of windows in voxels; a fraction only if windows are spread evenly.
    """

    patch: PartialSize
    stride: tuple[float | None, float | None, float | None]


def fit_window(spec: ModelSpec, shape: NetworkShape) -> ModelWindow:
    """Determine window size and stride for a spec and a network.

    Raises:
        SpecError: the number of input channels differs, or a label reads an output channel that does not exist.
        ConfigError: patch and stride do not fit each other or the network.
    """
    _check_channels(spec, shape)
    asked, stride = spec.window.patch_size, spec.window.patch_stride
    if asked is not None:
        for axis, (wanted, fixed) in enumerate(zip(asked, shape.size, strict=True)):
            if fixed is not None and wanted != fixed:
                flat = " (it is a 2D network: slices are windows of 1 along Z)" if fixed == 1 else ""
                raise ConfigError(
                    f"patch size {_text(asked)} (Z Y X): along {'ZYX'[axis]} this network takes only "
                    f"{fixed}{flat}; leave the patch size out, or give that number"
                )
        for wanted, multiple in zip(asked, spec.window.multiple_of, strict=True):
            if wanted % multiple:
                raise ConfigError(
                    f"patch size {_text(asked)} (Z Y X): this network needs multiples of "
                    f"{_text(spec.window.multiple_of)}"
                )
    patch: PartialSize = tuple(  # type: ignore[assignment]
        fixed if asked is None else asked[axis] for axis, fixed in enumerate(shape.size)
    )
    if stride is None:
        z, y, x = (None if window is None else _stride(window, spec.window) for window in patch)
        return ModelWindow(patch, (z, y, x))
    for step, window in zip(stride, patch, strict=True):
        if window is None:
            raise ConfigError(
                f"patch stride {_text(stride)} (Z Y X): this model takes the whole volume as one window; "
                "give a patch size as well"
            )
        if step > window:
            raise ConfigError(
                f"patch stride {_text(stride)} (Z Y X) is larger than the patch size {_text(patch)}; "
                "voxels between the windows would be left out"
            )
    return ModelWindow(patch, stride)


def _stride(window: int, rule: WindowSpec) -> float:
    """The stride for a window: a share of its size, at least one voxel."""
    stride = max(1.0, rule.step * window)
    return stride if rule.placement == "even" else int(stride)


def _check_channels(spec: ModelSpec, shape: NetworkShape) -> None:
    named = len(spec.input.channels) + len(spec.input.previous_labels)
    if shape.channels_in is not None and shape.channels_in != named:
        raise SpecError(
            f"the network takes {shape.channels_in} input channels, the model spec names {named}: "
            "list them in input.channels, in the network's order"
        )
    if shape.channels_out is not None:
        spec.output.label_table(shape.channels_out)


def _text(size: PartialSize) -> str:
    return " ".join("whole" if n is None else str(n) for n in size)
