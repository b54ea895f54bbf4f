"""One configuration of plans.json: how images are prepared, and which network is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.architecture import Architecture, read_architecture
from itk_infer.model.kinds.nnunet.json_block import JsonBlock
from itk_infer.model.kinds.nnunet.resampling import Resampling, read_resampling

SCHEMES = (
    *("ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization"),
    "RGBTo01Normalization",
)


@dataclass(frozen=True, slots=True)
class ForegroundIntensities:
    """Statistics of one channel over the foreground of the training set, in stored units."""

    lower: float
    upper: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Normalization:
    """How one channel is normalised.

    Attributes:
        scheme: One of `SCHEMES`.
        masked: Whether statistics are those of the filled nonzero mask, and only voxels within it change.
        foreground: Statistics of the training set, for `CTNormalization` only.
    """

    scheme: str
    masked: bool
    foreground: ForegroundIntensities | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration with everything that it inherits. Axes are those of the network, after transposition.

    Attributes:
        name: ``3d_fullres``, ...
        dataset_name: Data set that the plans were made for; empty if not stated.
        plans_name: ``nnUNetPlans``, ...
        patch_size: Window in voxels; two entries for a 2D network.
        spacing: Spacing in mm, as many entries.
        architecture: The network.
        normalization: One per channel.
        resampling: Resampling between the image's grid and the network's.
        transpose_forward: Axis of the stored array (z, y, x) that becomes each axis of the network.
        reader: Class that reads images.
        previous_stage: Configuration whose label map is a further input; set only for a cascade's second stage.
    """

    name: str
    dataset_name: str
    plans_name: str
    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    architecture: Architecture
    normalization: tuple[Normalization, ...]
    resampling: Resampling
    transpose_forward: tuple[int, int, int]
    reader: str
    previous_stage: str | None

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.patch_size)


def read_configuration(plans: Mapping[str, Any], name: str, source: str) -> Configuration:
    """Read a configuration of plans.

    Args:
        plans: The content of plans.json, of any version of nnU-Net 2.
        name: Name of the configuration.
        source: Name of the file in messages.

    Raises:
        ModelError: the plans do not have it, or it has a setting that is not supported, which the message names.
    """
    top = JsonBlock(plans, source)
    about = JsonBlock(_inherited(top, name, ()), f"{source}: configuration {name}")
    _only(about, "preprocessor_name", "DefaultPreprocessor", "images are prepared in another way")
    _only(top, "label_manager", "LabelManager", "output channels mean something else")
    patch, spacing = about.integers("patch_size"), about.numbers("spacing")
    if len(patch) not in (2, 3) or min(patch) < 1:
        raise about.wrong("patch_size", "two or three positive whole numbers")
    if len(spacing) != len(patch) or min(spacing) <= 0:
        raise about.wrong("spacing", f"{len(patch)} positive numbers")
    forward = top.integers("transpose_forward") if top.has("transpose_forward") else (0, 1, 2)
    if sorted(forward) != [0, 1, 2]:
        raise top.wrong("transpose_forward", "an order of 0, 1 and 2")
    return Configuration(
        name,
        top.text("dataset_name", ""),
        top.text("plans_name", ""),
        patch,
        spacing,
        read_architecture(about, len(patch)),
        _normalization(about, top),
        read_resampling(about),
        (forward[0], forward[1], forward[2]),
        top.text("image_reader_writer", "SimpleITKIO"),
        about.text("previous_stage") if about.has("previous_stage") else None,
    )


def _inherited(top: JsonBlock, name: str, children: tuple[str, ...]) -> dict[str, Any]:
    """A configuration merged with those that it inherits from; its own values replace theirs as a whole."""
    configurations = top.block("configurations")
    if name not in configurations.content:
        there = ", ".join(map(str, configurations.content)) or "none"
        wanted = f", which {children[-1]} inherits from" if children else " of the checkpoint"
        raise ModelError(
            f"{top.where}: has no configuration {name}{wanted}; there are {there}. Is this file of another model?"
        )
    if name in children:
        raise ModelError(f"{top.where}: configurations inherit from each other in a circle: {', '.join(children)}")
    own = configurations.block(name)
    if not own.has("inherits_from"):
        return dict(own.content)
    return {**_inherited(top, own.text("inherits_from"), (*children, name)), **own.content}


def _only(block: JsonBlock, key: str, understood: str, otherwise: str) -> None:
    name = block.text(key, understood)
    if name != understood:
        raise ModelError(
            f"{block.where}: {key} is {name}, and only {understood} is understood: with another, {otherwise}"
        )


def _normalization(about: JsonBlock, top: JsonBlock) -> tuple[Normalization, ...]:
    schemes = about.items("normalization_schemes")
    masks = about.items("use_mask_for_norm") if about.has("use_mask_for_norm") else [False] * len(schemes)
    if len(masks) != len(schemes) or not all(isinstance(mask, bool) for mask in masks):
        raise about.wrong("use_mask_for_norm", f"true or false for each of {len(schemes)} channels")
    for scheme in schemes:
        if scheme not in SCHEMES:
            raise ModelError(
                f"{about.where}: the normalisation {scheme} is not nnU-Net's own, and what it does is not known; "
                f"{', '.join(SCHEMES)} are understood"
            )
    return tuple(
        Normalization(
            scheme,
            mask and scheme == "ZScoreNormalization",  # nnU-Net's other schemes ignore the mask
            _foreground(top, str(channel)) if scheme == "CTNormalization" else None,
        )
        for channel, (scheme, mask) in enumerate(zip(schemes, masks, strict=True))
    )


def _foreground(top: JsonBlock, channel: str) -> ForegroundIntensities:
    key = "foreground_intensity_properties_per_channel"
    numbers = top.block(key if top.has(key) else "foreground_intensity_properties_by_modality").block(channel)
    lower, upper = numbers.number("percentile_00_5"), numbers.number("percentile_99_5")
    if lower > upper:
        raise ModelError(f"{numbers.where}: percentile_00_5 is above percentile_99_5")
    return ForegroundIntensities(lower, upper, numbers.number("mean"), numbers.number("std"))
