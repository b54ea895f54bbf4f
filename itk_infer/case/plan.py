"""The plan of a case, made before its image is read: sizes, windows, predicted memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from itk_infer.engine.host import MEMBER_SLAB_BYTES
from itk_infer.engine.memory import CaseSize, Memory, predict_device_memory, predict_memory
from itk_infer.engine.windows import WindowGrid, place_windows
from itk_infer.model.window import ModelWindow
from itk_infer.spec import ModelSpec
from itk_infer.volume.box import Box
from itk_infer.volume.grid import Grid, Reorientation
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.padding import NO_PADS, Pads, padded_size, pads_to, sum_of
from itk_infer.volume.postprocess import bytes_per_voxel
from itk_infer.volume.resample import model_grid

HELD_RESULTS = 3  # arrays of a range of planes: a member's, the mean of its group, and the mean of all


@dataclass(frozen=True, slots=True)
class CasePlan:
    """Sizes, windows and predicted memory of a case.

    Attributes:
        native: The case's grid, in the model's orientation.
        reorientation: From the stored axes to the model's orientation.
        model: The model's grid over the same extent.
        windows: The windows on the model's grid.
        work: The sizes that memory is predicted from.
        warnings: Signs of a wrong header, one sentence each.
        beside: Plans of the other members of an ensemble, which run in step with this one.
        ranges: Ranges of native planes in each of which the members run one after the other instead; 1: in step.
    """

    native: Grid
    reorientation: Reorientation
    model: ModelGrid
    windows: WindowGrid
    work: CaseSize
    warnings: tuple[str, ...] = ()
    beside: tuple[CasePlan, ...] = ()
    ranges: int = 1

    @property
    def memory(self) -> Memory:
        """Predicted peak of host memory, with volume and ring in host memory."""
        if not self.beside:
            return predict_memory(self.work)
        own, *others = (predict_memory(one.work, slab_bytes=MEMBER_SLAB_BYTES) for one in (self, *self.beside))
        if self.ranges == 1:
            return own.beside(*others, shared=self.work.shared)
        depth, height, width = self.native.size
        planes = -(-depth // self.ranges)
        held = HELD_RESULTS * 4 * self.work.channels_out * planes * height * width
        return own.one_by_one(*others, held=held)

    @property
    def memory_beside_device(self) -> Memory:
        """Predicted peak of host memory, with volume and ring on a device."""
        return predict_memory(self.work, on_device=True)

    @property
    def device_memory(self) -> int:
        """Predicted peak of device memory, with volume and ring on the device, in bytes."""
        return predict_device_memory(self.work)

    def over(self, model: ModelGrid, spec: ModelSpec, window: ModelWindow, around: Pads = NO_PADS) -> CasePlan:
        """Return the plan of the same case on another grid of the model, with `around` voxels of 0 around it."""
        windows = _windows(model, spec, window, around)
        return replace(self, model=model, windows=windows, work=replace(self.work, model=model, windows=windows))

    def inside(self, part: Box, spec: ModelSpec, window: ModelWindow) -> CasePlan:
        """Return the plan of the same case if the network sees only a box of the native array."""
        z, y, x = (side.stop - side.start for side in part)
        return self.over(_model_grid(replace(self.native, size=(z, y, x)), spec), spec, window)

    def with_batch(self, batch: int) -> CasePlan:
        """Return the plan of the same case with this number of windows per call."""
        return replace(self, work=replace(self.work, batch=batch))


def plan_case(
    grid: Grid,
    itemsize: int,
    spec: ModelSpec,
    window: ModelWindow,
    *,
    channels_out: int | None,
    batch: int,
    want_logits: bool,
    want_uncertainty: bool = False,
    members: int = 1,
) -> CasePlan:
    """Plan a case.

    Args:
        grid: The case's grid as stored.
        itemsize: Bytes of a stored voxel.
        spec: The model spec.
        window: Patch and stride, fitted to the network.
        channels_out: Output channels; None: one per label, and a background.
        batch: Windows per call.
        want_logits: Whether logits will be written.
        want_uncertainty: Whether a map of uncertainty is drawn or written.
        members: Outputs of the network per window that are blended separately.
    """
    native, reorientation = grid.reoriented(spec.input.orientation, spec.input.axes)
    model = _model_grid(native, spec)
    windows = _windows(model, spec, window)
    channels_out = channels_out or len(spec.output.labels or ()) + 1
    rule = spec.input.resampling
    layered = bool(spec.output.postprocessing) and spec.output.decision == "threshold"
    work = CaseSize(
        model,
        windows,
        len(spec.input.channels) + len(spec.input.previous_labels),
        channels_out,
        itemsize,
        batch,
        want_logits,
        cubic=rule.interpolation == "cubic" and not model.identity,
        scaled_first=rule.order == "after_intensity" and not model.identity,
        postprocess=bytes_per_voxel(spec.output.postprocessing, layered),
        want_uncertainty=want_uncertainty,
        members=members,
        masks=channels_out if layered else 0,
    )
    return CasePlan(native, reorientation, model, windows, work, _warnings(native, model, window))


def _model_grid(native: Grid, spec: ModelSpec) -> ModelGrid:
    """The model's grid; where the spec resamples labels, each native voxel takes the logits of the nearest one."""
    grid = model_grid(native, spec.input)
    if spec.output.resample != "labels":
        return grid
    z, y, x = (axis if axis.identity else replace(axis, back="nearest") for axis in grid.axes)
    return replace(grid, axes=(z, y, x))


def _warnings(native: Grid, model: ModelGrid, window: ModelWindow) -> tuple[str, ...]:
    """A warning where resampling leaves less than one window of image: the spacing may be wrong."""
    depth = window.patch[0] or 1
    if not native.oriented and native.size[0] == 1 < depth:
        return (
            f"it is one plane, and the model's windows are {depth} planes deep; if it is a slice of a volume, "
            "stack the slices to a .nii.gz file",
        )
    patch = tuple(wanted or size for wanted, size in zip(window.patch, model.size, strict=True))
    if model.identity or math.prod(model.size) >= math.prod(patch):
        return ()
    sizes, spacing = (" x ".join(f"{value:.4g}" for value in values) for values in (model.size, native.spacing))
    return (
        f"at the model's spacing it has {sizes} voxels (Z Y X), fewer than one window of "
        f"{' x '.join(map(str, patch))}; check that its spacing of {spacing} mm is right",
    )


def _windows(model: ModelGrid, spec: ModelSpec, window: ModelWindow, around: Pads = NO_PADS) -> WindowGrid:
    """Windows over the model's grid, extended by `around` and by `PadTo`, which both count as padding."""
    rule = spec.window
    around = sum_of(around, pads_to(padded_size(model.size, around), spec.input.pad_to))
    windows = place_windows(
        padded_size(model.size, around),
        window.patch,
        window.stride,
        rule.multiple_of,
        rule.blend,
        placement=rule.placement,
        center=rule.gaussian.center,
        floor=rule.gaussian.floor,
    )
    return windows if around == NO_PADS else windows.without(around)
