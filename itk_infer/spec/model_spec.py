"""The model spec: preprocessing, sliding window, and the meaning of the output channels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from itk_infer.errors import SpecError
from itk_infer.spec.intensity import OPS, IntensityStep
from itk_infer.spec.labels import Label, default_color, distinct
from itk_infer.spec.postprocessing import Rule, plain_rules
from itk_infer.spec.series_rule import SeriesRule

Triplet = tuple[int, int, int]  # Z, Y, X
PartialSpacing = tuple[float | None, float | None, float | None]  # Z, Y, X in mm
PartialSize = tuple[int | None, int | None, int | None]  # Z, Y, X

Interpolation = Literal["linear", "cubic", "nearest"]
Alignment = Literal["center", "edge"]
Blend = Literal["gaussian", "constant"]
PaddingMode = Literal["constant", "minimum", "edge", "reflect"]
Decision = Literal["argmax", "threshold"]
Placement = Literal["shift_last", "even"]
LATER = {"later": True}  # a key added after version 1: written only if it differs from its default


@dataclass(frozen=True, slots=True)
class Anisotropic:
    """Separate resampling of an axis that is far coarser than the others.

    It is the axis with the largest spacing, if that is more than `threshold` times the smallest, of the source
    grid or else of the target grid. If two axes share the largest spacing, no axis is resampled separately.

    Attributes:
        threshold: Ratio of the largest to the smallest spacing above which an axis is resampled separately.
        axis_interpolation: Interpolation of the image along that axis. Logits always use nearest neighbour there.
    """

    threshold: float = 3.0
    axis_interpolation: Interpolation = "nearest"


@dataclass(frozen=True, slots=True)
class Resampling:
    """Resampling of an image to the model's grid; logits are resampled back linearly, with the same alignment.

    Attributes:
        interpolation: Interpolation of the image.
        alignment: Which positions of both grids coincide.
        order: Before or after the intensity steps.
        size: Rounding of the size of `n` voxels at a new spacing: ``extent`` rounds n * old / new, ``ratio``
            rounds old / new * n.
            They differ where the exact value lies halfway between two numbers; halves go to the even number.
            ``centers`` rounds (n - 1) * old / new + 1, the number of steps between the outer centres plus 1.
        clip: Whether values are limited to the range of the source, which splines exceed at sharp edges: of the
            channel, or of the slice if an axis is resampled separately.
        anisotropic: Separate resampling of a far coarser axis; None: none.
        aspect: With ``input.size``: ``stretch`` resizes every axis to its size; ``fit`` scales all axes by the
            factor of the one that is largest relative to its size; the window is padded to the size.
        antialias: Whether linear interpolation takes the mean over a target voxel's extent when shrinking, with
            the weights of a triangle (as Pillow and torch do), instead of two neighbours.
    """

    interpolation: Interpolation = "linear"
    alignment: Alignment = "center"
    order: Literal["before_intensity", "after_intensity"] = "before_intensity"
    size: Literal["extent", "ratio", "centers"] = field(default="extent", metadata=LATER)
    clip: bool = field(default=False, metadata=LATER)
    anisotropic: Anisotropic | None = field(default=None, metadata=LATER)
    aspect: Literal["stretch", "fit"] = field(default="stretch", metadata=LATER)
    antialias: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, slots=True)
class CropRule:
    """The part of an image that is processed: the smallest box around its foreground; the rest is background.

    Attributes:
        to: ``nonzero``: voxels of which any channel differs from 0; ``above``: exceeds `value`.
        value: Threshold of ``above``, in the units of the image at that point.
        margin: Voxels added on every side.
        after: Step of the preparation after which the box is computed and cropped: ``loading``, from stored values
            on the image's own grid; ``resampling``, from the same on the model's grid; ``intensity``, from values
            of the network's input. Except for the last, statistics of intensity steps are of the box.
        multiple_of: Divisor of the box's size, Z Y X; it grows on both sides, the smaller half before.
        beyond: Whether the margin may exceed the image; voxels outside are 0, also those that `multiple_of` adds.
    """

    to: Literal["nonzero", "above"] = "nonzero"
    value: float = 0.0
    margin: int = 0
    after: Literal["loading", "resampling", "intensity"] = field(default="loading", metadata=LATER)
    multiple_of: Triplet = field(default=(1, 1, 1), metadata=LATER)
    beyond: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, slots=True)
class PadTo:
    """Padding of every volume after the intensity steps, before windows are placed; the smaller half before.

    Attributes:
        size: Smallest size of the padded volume, Z Y X.
        multiple_of: Divisor of the size after that, Z Y X.
        value: Value of the added voxels.
    """

    size: Triplet = (1, 1, 1)
    multiple_of: Triplet = (1, 1, 1)
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Padding:
    """Padding of a volume smaller than the window: half of the rest, rounded down before and up after."""

    mode: PaddingMode = "constant"
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The network's input: channels, orientation, grid and intensities. Triplets are Z, Y, X; spacing in mm.

    Attributes:
        dimensions: 2 for a model of pictures, or of single planes of a volume.
        values: ``stored``, or ``unit``: unsigned integers are divided by the largest of their type, before the
            intensity steps; floats are taken as they are.
        axes: Order of the network's axes in terms of the oriented array: its first axis is the one that is
            named first. All triplets of the spec are in the network's order.
        series: Rules that pick the DICOM series, one per channel; empty: the only one of a study.
        numbered_files: Whether single-channel files may also be named ``case_0000``.
        previous_labels: Values of the label map of a previous stage, each of which becomes an input
            channel after those of the image. Set only by the model's own files.
    """

    channels: tuple[str, ...] = ("",)
    dimensions: Literal[2, 3] = field(default=3, metadata=LATER)
    values: Literal["stored", "unit"] = field(default="stored", metadata=LATER)
    numbered_files: bool = field(default=False, metadata=LATER)
    orientation: str | None = "LPI"
    axes: str = field(default="zyx", metadata=LATER)
    crop: CropRule | None = field(default=None, metadata=LATER)
    spacing: PartialSpacing | None = None
    size: PartialSize | None = None
    resampling: Resampling = Resampling()
    intensity: tuple[IntensityStep, ...] = ()
    padding: Padding = Padding()
    pad_to: PadTo | None = field(default=None, metadata=LATER)
    previous_labels: tuple[int, ...] = field(default=(), metadata=LATER)
    series: tuple[SeriesRule, ...] = field(default=(), metadata=LATER)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """The weights of ``blend: gaussian``; sigma = patch / 8 along each axis.

    Attributes:
        center: ``middle``: (patch - 1) / 2; ``voxel``: patch // 2, half a voxel further for even sizes.
        floor: Smallest weight of a voxel, where the largest of a window is 1; below it, weights are raised to it.
    """

    center: Literal["middle", "voxel"] = "middle"
    floor: float = field(default=0.0, metadata=LATER)


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The sliding window, Z Y X. Size None: the whole volume is one window. Stride None: `step` times the size.

    Attributes:
        step: Stride as a share of the patch.
        placement: ``shift_last``: windows a stride apart, and a last one at the end; ``even``: as few as have no
            larger distance than the stride, evenly spread and rounded.
        gaussian: Centre of the gaussian weights of a window.
        mirror_axes: Axes that may be mirrored.
        mirror: Whether they are mirrored by default.
    """

    patch_size: Triplet | None = None
    patch_stride: Triplet | None = None
    step: float = field(default=0.5, metadata=LATER)
    placement: Placement = field(default="shift_last", metadata=LATER)
    blend: Blend = "gaussian"
    gaussian: Gaussian = field(default=Gaussian(), metadata=LATER)
    multiple_of: Triplet = (1, 1, 1)
    mirror_axes: tuple[int, ...] = ()
    mirror: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The meaning of the network's output channels. ``labels`` None: every channel is a label of its own.

    A threshold model's labels may hold a value several times, each with a channel of its own: their regions are
    one label.

    Channels in ``background`` (given as labels with value 0) have no label. None: channel 0 of an argmax
    model, unless a label reads it.

    Attributes:
        threshold: A voxel has a label of a threshold model where its probability exceeds this.
        label_thresholds: Name of a label and a threshold of its own, in pairs. A label of an argmax model that has
            one takes the voxels where its probability exceeds it; of several such labels the one that exceeds its
            threshold by the largest factor. All other voxels go to the largest of the other channels.
        resample: Values resampled to the image's own grid: ``logits``, or ``probabilities`` (after softmax or
            sigmoid), interpolated linearly and then decided; or ``labels``, from the nearest voxel.
    """

    values: Literal["logits", "probabilities"] = "logits"
    decision: Decision = "argmax"
    threshold: float = 0.5
    label_thresholds: tuple[tuple[str, float], ...] = field(default=(), metadata=LATER)
    resample: Literal["logits", "probabilities", "labels"] = field(default="logits", metadata=LATER)
    labels: tuple[Label, ...] | None = None
    background: tuple[int, ...] | None = None
    postprocessing: tuple[Rule, ...] = field(default=(), metadata=LATER)  # applied to the finished label map

    def label_table(self, channels: int) -> tuple[Label, ...]:
        """The labels of a network with this many output channels, in the order of the spec, each value once.

        Raises:
            SpecError: the spec and the number of channels contradict each other.
        """
        return distinct(self.painting(channels))

    def painting(self, channels: int) -> tuple[Label, ...]:
        """Labels painted into label maps, in this order: one entry per channel, later ones over earlier ones.

        Channels that the spec does not name become labels under their own number, so that no output of the
        network is dropped.

        Raises:
            SpecError: the spec and the number of channels contradict each other.
        """
        if self.decision == "argmax" and channels == 1:
            raise SpecError(
                "the network has one output channel, and the largest of one is always the same: if it is a "
                "logit or a probability per voxel, set output.decision to threshold in the model spec; if it "
                "holds class numbers, export it without the argmax at its end"
            )
        given = self.labels or ()
        named = {label.channel for label in given}
        if self.background is not None:
            named.update(self.background)
        elif self.decision == "argmax":
            named.add(0)
        taken = {label.value for label in given}
        names = {label.name: label for label in given}
        rest = []
        for channel in range(channels):
            value = channel if self.decision == "argmax" else channel + 1
            if channel in named:
                continue
            if value in taken:
                raise SpecError(
                    f"output channel {channel} has no label in output.labels, and its own number {value} is "
                    f"given to another channel: name it, or give it the value 0 if it is background"
                )
            name = f"label {value}"
            if name in names:
                raise SpecError(
                    f"the label with value {names[name].value} is named {name!r}, which is also what output "
                    f"channel {channel} is called for want of a name in output.labels: give both a name"
                )
            rest.append(Label(value, name, default_color(value), channel))
        for label in given:
            if label.channel >= channels:
                raise SpecError(
                    f"label {label.value} ({label.name}) is read from channel {label.channel}, but the "
                    f"network has {channels} output channels, counted from 0: correct output.labels"
                )
        return (*given, *rest)

    def threshold_by_channel(self, channels: int) -> tuple[float | None, ...]:
        """The threshold of every output channel; None where there is none.

        Raises:
            SpecError: a threshold is of a label that there is not, or leaves no channel for the other voxels.
        """
        table = self.label_table(channels)
        own = dict(self.label_thresholds)
        names = [label.name for label in table]
        unknown = [name for name in own if name not in names]
        if unknown:
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            raise SpecError(
                f"output.threshold: there is no label {unknown[0]!r}; there are {', '.join(names[:12])}{more}"
            )
        rest = self.threshold if self.decision == "threshold" else None
        thresholds: list[float | None] = [None] * channels
        for label in table:
            for channel in label.channels:
                thresholds[channel] = own.get(label.name, rest)
        if self.decision == "argmax" and None not in thresholds:
            raise SpecError(
                "output.threshold: every channel of this argmax model has a threshold, and voxels below all of "
                "them need one without: name the background in output.labels (value 0), or leave out a label"
            )
        return tuple(thresholds)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The description of one model, built by `itk_infer.spec.parse`; complete, with defaults filled in."""

    name: str = ""
    version: str = ""
    licence: str = ""
    description: str = ""
    input: InputSpec = field(default_factory=InputSpec)
    window: WindowSpec = field(default_factory=WindowSpec)
    output: OutputSpec = field(default_factory=OutputSpec)

    def to_dict(self) -> dict[str, Any]:
        """The spec as the JSON-ready mapping that `parse_spec` reads back."""
        document: dict[str, Any] = {"spec": 1, **_plain(self)}
        names = {step: op for op, step in OPS.items()}
        document["input"]["intensity"] = [
            {"op": names[type(step)], **{k: v for k, v in _plain(step).items() if v is not None}}
            for step in self.input.intensity
        ]
        if self.input.series:
            document["input"]["series"] = [rule.document() for rule in self.input.series]
        if self.output.postprocessing:
            document["output"]["postprocessing"] = plain_rules(self.output.postprocessing)
        if self.output.label_thresholds:
            document["output"]["threshold"] = dict(self.output.label_thresholds)
            del document["output"]["label_thresholds"]
        background = document["output"].pop("background")
        if self.output.labels is None:
            del document["output"]["labels"]
        elif background is not None:
            document["output"]["labels"] += [{"value": 0, "channel": channel} for channel in background]
        return document


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not f.metadata.get("later") or getattr(value, f.name) != f.default
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
