"""The spec of a model that classifies pictures: its input, and the meaning of its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from itk_infer.spec.intensity import IntensityStep

Values = Literal["voi", "modality", "stored"]
MissingVoi = Literal["minmax", "range", "refuse"]
Repair = Literal["none", "wrapped_12_bit"]
Plane = Literal["grey", "red", "green", "blue"]
Aspect = Literal["stretch", "fit", "fill", "crop"]
PictureInterpolation = Literal["linear", "cubic", "nearest"]
Activation = Literal["sigmoid", "softmax", "none"]


@dataclass(frozen=True, slots=True)
class PictureChannel:
    """One input channel of the network.

    Attributes:
        plane: Plane of a colour picture; ``grey``: the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
        slice: Offset of the picture in the series from the classified one: -1 is the one before it, along
            the normal of the slices. At the ends of a series the last one is repeated.
        window: Level and width: [level - width/2, level + width/2] of the modality's values (HU) to [0, 1]; None:
            the values that `PictureInput.values` names.
    """

    plane: Plane = "grey"
    slice: int = 0
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class PictureResize:
    """Resizing of a picture to the network's input.

    Attributes:
        aspect: ``stretch``: both sides independently; ``fit``: the longer side fits, the rest is 0, centred;
            ``fill``: the shorter side fits, and the rest is cut off, centred; ``crop``: no resizing, the
            centre is cut out, padded with zeros if the picture is smaller.
        interpolation: Interpolation between pixels.
        antialias: Whether a picture that shrinks is smoothed first, as Pillow and torch do on request.
    """

    aspect: Aspect = "stretch"
    interpolation: PictureInterpolation = "linear"
    antialias: bool = True


@dataclass(frozen=True, slots=True)
class PictureInput:
    """Conversion of a picture to the network's input.

    Attributes:
        channels: Input channels of the network.
        size: Rows and columns of the network's input; None: those of the picture.
        values: ``voi``: as a viewer shows it, in [0, 1]; ``modality``: stored values times slope plus intercept,
            such as HU; ``stored``: as in the file.
        view: Index of the VOI window or lookup table to apply, counted from 0.
        missing_voi: Range of a picture without VOI: from its smallest to its largest value; all values that its
            bits can hold; or the picture is refused.
        resize: Resizing of the picture to `size`.
        center_crop: Rows and columns that are cut out of the middle after resizing; None: all.
        intensity: Steps after resizing.
        repair: ``wrapped_12_bit``: corrects head CTs of the RSNA 2019 collection whose values are 1,000 too low,
            modulo 4,096, recognised by their header; ``none``: no correction.
    """

    channels: tuple[PictureChannel, ...] = (PictureChannel(),)
    size: tuple[int, int] | None = None
    values: Values = "voi"
    view: int = 0
    missing_voi: MissingVoi = "minmax"
    resize: PictureResize = PictureResize()
    center_crop: tuple[int, int] | None = None
    intensity: tuple[IntensityStep, ...] = ()
    repair: Repair = "none"

    @property
    def reach(self) -> int:
        """Number of neighbouring pictures that the input needs on either side; 0: none."""
        return max(abs(channel.slice) for channel in self.channels)


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One finding that the network gives a probability for.

    Attributes:
        name: Name of the finding.
        channel: Output of the network.
        threshold: A picture is positive from this probability on.
        parent: Name of the more general label that includes this one; empty: none.
    """

    name: str
    channel: int
    threshold: float = 0.5
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ClassOutput:
    """Meaning of the network's outputs.

    Attributes:
        activation: Conversion of logits to probabilities; ``none``: the outputs are probabilities already.
        labels: Labels, in the order of the tables.
        study: Rule that combines the pictures of a study: ``max``, ``mean``, ``top3_mean`` (any number) or
            ``noisy_or``.
        mirrored: Whether the probabilities are the mean of those of the picture and of its mirror image, left to
            right.
    """

    activation: Activation
    labels: tuple[ClassLabel, ...]
    study: str = "max"
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class SelectRule:
    """A condition on the files to classify: an attribute of their header, and accepted values.

    Attributes:
        keyword: DICOM keyword, such as ``Modality``.
        values: Accepted values; the file must have one of them.
        exclude: Whether files with one of these values are excluded instead.
    """

    keyword: str
    values: tuple[str, ...]
    exclude: bool = False


@dataclass(frozen=True, slots=True)
class ClassifySpec:
    """The description of a model that classifies pictures, built by `itk_infer.spec.classify_parse`."""

    output: ClassOutput
    input: PictureInput = PictureInput()
    name: str = ""
    version: str = ""
    licence: str = ""
    description: str = ""
    select: tuple[SelectRule, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The spec as the JSON-ready mapping that `parse_classify_spec` reads back, complete."""
        from itk_infer.spec.classify_parse import document_of

        return document_of(self)
