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
        plane: Of a colour picture; ``grey``: the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
        slice: Which picture of the series, counted from the one that is classified: -1 is the one before it, along
            the normal of the slices. At the ends of a series the last one is repeated.
        window: Level and width: [level - width/2, level + width/2] of the modality's values (HU) to [0, 1]; None:
            the values that `PictureInput.values` names.
    """

    plane: Plane = "grey"
    slice: int = 0
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class PictureResize:
    """How a picture gets the size of the network's input.

    Attributes:
        aspect: ``stretch``: both sides on their own; ``fit``: the longer side fits, the rest is 0, centred;
            ``fill``: the shorter side fits, and the rest is cut off, centred; ``crop``: nothing is resized, the
            centre is cut out, with zeros where the picture is smaller.
        interpolation: Between pixels.
        antialias: Whether a picture that shrinks is smoothed first, as Pillow and torch do on request.
    """

    aspect: Aspect = "stretch"
    interpolation: PictureInterpolation = "linear"
    antialias: bool = True


@dataclass(frozen=True, slots=True)
class PictureInput:
    """How the network's input is made of a picture.

    Attributes:
        channels: Input channels of the network.
        size: Rows and columns of the network's input; None: those of the picture.
        values: ``voi``: as a viewer shows it, in [0, 1]; ``modality``: stored values times slope plus intercept,
            such as HU; ``stored``: as they are in the file.
        view: Which of several VOI windows or lookup tables is applied, counted from 0.
        missing_voi: Where a picture has none: from its smallest to its largest value; over all values that its
            bits can hold; or it is refused.
        resize: How the picture gets this size.
        center_crop: Rows and columns that are cut out of the middle after resizing; None: all.
        intensity: Steps after resizing.
        repair: ``wrapped_12_bit``: head CTs of the RSNA 2019 collection whose values are 1,000 too low and wrapped
            round at 4,096 are put right, which their header shows; ``none``: nothing is.
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
        name: Of the finding.
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
    """What the network's outputs mean.

    Attributes:
        activation: From logits to probabilities; ``none``: the outputs are probabilities already.
        labels: In the order of the tables.
        study: How the pictures of a study are combined: ``max``, ``mean``, ``top3_mean`` (any number) or
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
    """Which files are classified: an attribute of their header, and the values that it may have.

    Attributes:
        keyword: DICOM keyword, such as ``Modality``.
        values: One of them must be among those of the file.
        exclude: Whether files with one of these values are left out instead.
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
